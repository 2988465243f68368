"""Quotes and limits, for a plan or for an account as it is."""

from __future__ import annotations

import pytest

from charging.service.quotes import CALL_SECONDS_MAX, Asked
from charging.service.refusal import Code
from charging.whatif.quote import Limit, Quote
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused

MOBILE = "0612345678"


async def test_a_plans_quote_is_the_tariffs(shop: Shop) -> None:
    quote = await shop.service.quotes.quote(Asked(MOBILE, plan="light"), 90)
    assert isinstance(quote, Quote)
    assert (quote.number, quote.total, quote.start_us) == ("+31612345678", 90_000, shop.clock.now().wall_us)


async def test_an_accounts_quote_uses_the_free_seconds_it_has_left(shop: Shop) -> None:
    await shop.anna("pro")
    quote = await shop.service.quotes.quote(Asked(MOBILE, account="anna"), 700)
    assert isinstance(quote, Quote)
    assert quote.total == 100_000
    quote = await shop.service.quotes.quote(Asked(MOBILE, account="anna", free_seconds=0), 700)
    assert isinstance(quote, Quote)
    assert quote.total == 700_000


async def test_a_limit_is_what_the_accounts_credit_reaches(shop: Shop) -> None:
    await shop.anna("light")
    await shop.service.money.top_up("anna", 10 * EURO, "k")
    found = await shop.service.quotes.limit(Asked(MOBILE, account="anna"), None)
    assert isinstance(found, Limit)
    assert (found.seconds, found.total, found.next_total) == (10_000, 10 * EURO, 10 * EURO + 1000)
    found = await shop.service.quotes.limit(Asked(MOBILE, account="anna"), 5_000)
    assert isinstance(found, Limit)
    assert found.seconds == 5


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (Asked("x", plan="light"), Code.INVALID),
        (Asked(MOBILE, plan="none"), Code.INVALID),
        (Asked(MOBILE), Code.INVALID),
        (Asked(MOBILE, plan="light", account="anna"), Code.INVALID),
        (Asked(MOBILE, account="nobody"), Code.NOT_FOUND),
        (Asked("+4930123456", plan="light"), Code.NOT_ALLOWED),
        (Asked("0900 1234", plan="light"), Code.NOT_ALLOWED),
        (Asked("+31 00 252 7123456", plan="light"), Code.INVALID),
    ],
)
async def test_what_has_no_price_is_refused(shop: Shop, asked: Asked, code: Code) -> None:
    refused(await shop.service.quotes.quote(asked, 60), code)
    refused(await shop.service.quotes.limit(asked, EURO), code)


async def test_a_limit_without_an_account_needs_an_amount(shop: Shop) -> None:
    refused(await shop.service.quotes.limit(Asked(MOBILE, plan="light"), None), Code.INVALID)


async def test_how_long_a_call_may_be_asked_for(shop: Shop) -> None:
    asked = Asked(MOBILE, plan="light")
    assert isinstance(await shop.service.quotes.quote(asked, CALL_SECONDS_MAX), Quote)
    refused(await shop.service.quotes.quote(asked, CALL_SECONDS_MAX + 1), Code.INVALID)
    refused(await shop.service.quotes.quote(asked, -1), Code.INVALID)
