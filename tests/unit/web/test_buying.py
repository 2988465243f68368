"""Buying credit on the customers' page: one of the amounts on sale, credited once, and only by what the provider itself
answers. Mollie and Stripe are doubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from charging.errors import LedgerUnavailable
from charging.ledger.model import CREDIT, Balance, Kind
from charging.metrics import PAYMENTS
from charging.service import payments
from charging.service.page_tokens import PageTokens
from charging.service.payments import Payment, State
from charging.tariff.tariff import TopUps
from charging.web.asks import Asks
from charging.web.customers import till as tills
from charging.web.customers.app import PRIVATE, customers_app
from charging.web.customers.providers import SIGNED_WITHIN_S
from charging.web.customers.till import till_of
from charging.web.settings import CustomerPage
from tests.fakes.ami import eventually
from tests.fakes.providers import HOOK_SECRET, KEY, Double, Kept, Mollie, Stripe, signed
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_customers import PLACE, Place, Visitor

__all__ = ["shop"]


class Market(Place):
    """The page with a till, and the provider behind it."""

    def __init__(self, shop: Shop, double: Double) -> None:
        super().__init__(shop)
        self.double = double
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(double.app()), base_url="https://provider.test")
        self.restart()

    def restart(self) -> None:
        """As after a restart of the process: nothing is remembered but what is stored."""
        self.shop.service.page_tokens = PageTokens(self.shop.store, self.shop.clock, PLACE)
        asks = Asks(self.shop.service, private=PRIVATE)
        chosen = {"payment_provider": self.double.name, "payment_key_env": "KEY", "payment_hook_secret_env": "HOOK"}
        settings = CustomerPage.model_validate({"url": PLACE.url, "payment_url": "https://provider.test", **chosen})
        made = till_of(settings, asks, self.http, SecretStr(KEY), SecretStr(HOOK_SECRET))
        assert made is not None
        self.till = made
        self.app = customers_app(asks, settings, made)

    async def begun(self, amount: str = "25.00") -> tuple[Visitor, str]:
        """A customer, and the page of the payment that he has begun."""
        visitor = await self.visitor()
        answer = await visitor.send("/buy", {"amount": amount})
        assert answer.status_code == 303, answer.text
        return visitor, answer.headers["location"]

    async def tell(self, one: Kept | None = None) -> int:
        """The provider tells the hook; the status that it is answered."""
        now_s = self.shop.clock.now().wall_us // 1_000_000
        return await self.post(self.double.told(one or self.double.only(), now_s))

    async def post(self, told: httpx.Request) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as http:
            return (await http.send(told)).status_code

    async def credit(self) -> int:
        return (await self.shop.store.balances("anna")).get(CREDIT, Balance()).posted

    async def payment(self) -> Payment:
        ((one,), _) = await self.shop.service.payments.page("", 10)
        return one


@pytest.fixture(params=[Mollie, Stripe], ids=["mollie", "stripe"])
async def market(shop: Shop, request: pytest.FixtureRequest) -> AsyncIterator[Market]:
    await shop.anna()
    made = Market(shop, request.param())
    yield made
    await made.http.aclose()


async def looked(market: Market, look: Callable[[], Awaitable[Any]]) -> None:
    """``look`` while open payments are looked at."""
    looking = asyncio.create_task(market.till.keep_looking())
    try:
        await look()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_r2_credit_is_bought_and_works_at_once(market: Market, shop: Shop) -> None:
    visitor, page = await market.begun()
    one = market.double.only()
    assert (one.amount, one.currency) == ("25.00", "EUR")
    assert one.back == PLACE.url + page
    text = await visitor.get(page)
    assert f"https://provider.test/checkout/{one.reference}" in text
    assert await market.credit() == 0, "nothing before it is paid"
    one.status = "paid"
    assert await market.tell() == 200
    assert await market.credit() == 25 * EURO
    assert shop.told == ["anna"], "R22: running calls are told"
    assert "is bij uw tegoed opgeteld" in await visitor.get(page)
    (line,) = [line async for line in shop.store.journal("anna")]
    assert (line.kind, line.id) == (Kind.TOP_UP, f"top-up/{market.double.name}-{one.reference}")
    assert line.actor == f"payment:{market.double.name}"


def test_each_end_of_a_payment_has_its_count_from_the_start() -> None:
    assert {*PAYMENTS} == {*State, payments.TAKEN_BACK} - {State.OPEN}


async def test_what_is_told_many_times_is_credited_once(market: Market) -> None:
    visitor, page = await market.begun()
    market.double.only().status = "paid"
    codes = await asyncio.gather(*(market.tell() for _ in range(4)), visitor.http.get(page))
    assert 200 in codes
    await market.tell()
    market.restart()
    await market.tell()
    assert await market.credit() == 25 * EURO
    assert (await market.payment()).state is State.CREDITED
    assert market.shop.became == ["credited"]


async def test_what_was_paid_while_we_were_down_is_credited_after(market: Market, shop: Shop) -> None:
    """No hook has reached us, and the customer did not come back."""
    await market.begun()
    market.double.only().status = "paid"
    assert await shop.service.payments.due() == [], "a start looks at all that is open, due or not"
    market.restart()

    async def look() -> None:
        async def credited() -> bool:
            return await market.credit() == 25 * EURO

        for _ in range(1_000):
            if await credited():
                return
            await asyncio.sleep(0)
        raise AssertionError("it was not looked at")

    await looked(market, look)


async def test_what_the_provider_says_again_when_we_are_back_is_credited(market: Market) -> None:
    await market.begun()
    market.double.only().status = "paid"
    market.double.down = True
    assert await market.tell() == 503, "by which it says it again"
    market.double.down = False
    assert await market.tell() == 200
    assert await market.credit() == 25 * EURO


async def test_a_kill_between_the_credit_and_its_note_credits_once(
    market: Market, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.begun()
    market.double.only().status = "paid"

    async def dies(_document: object) -> bool:
        raise LedgerUnavailable("killed")

    with monkeypatch.context() as killed:
        killed.setattr(shop.store, "update_document", dies)
        assert await market.tell() == 503
    market.restart()
    assert await market.tell() == 200
    assert await market.credit() == 25 * EURO
    assert (await market.payment()).state is State.CREDITED


@pytest.mark.parametrize("amount", ["9.99", "11.00", "0.01", "-25.00", "25", "1000000", "", "NaN"])
async def test_r2_only_an_amount_on_sale_is_begun(market: Market, amount: str) -> None:
    visitor = await market.visitor()
    assert (await visitor.send("/buy", {"amount": amount})).status_code == 422
    assert market.double.asked == []


async def test_a_claim_that_the_provider_does_not_confirm_credits_nothing(market: Market) -> None:
    visitor, page = await market.begun()
    assert await market.tell() == 200
    await visitor.get(page + "?status=paid&amount=1000")
    for status in ("pending", "authorized", "open"):
        market.double.only().status = status
        await market.tell()
    assert await market.credit() == 0


@pytest.mark.parametrize(("amount", "currency"), [("24.99", "EUR"), ("25.00", "USD"), ("250.00", "EUR")])
async def test_what_was_paid_otherwise_than_asked_is_stuck_and_told(market: Market, amount: str, currency: str) -> None:
    visitor, page = await market.begun()
    one = market.double.only()
    one.status, one.amount, one.currency = "paid", amount, currency
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert await market.tell() == 200
    assert await market.credit() == 0
    assert (await market.payment()).state is State.STUCK
    assert market.shop.became == ["stuck"], "counted once, so that an alert tells a person"
    assert "payment_not_credited" in [line["event"] for line in logs]
    assert "Neem contact met ons op" in await visitor.get(page)


async def test_another_payment_of_the_provider_is_not_taken_for_ours(market: Market) -> None:
    await market.begun()
    one = market.double.only()
    one.status, one.ours = "paid", "f" * 32
    await market.tell()
    assert await market.credit() == 0


async def test_r2_what_was_on_sale_when_it_was_begun_is_credited_though_it_is_not_any_more(
    market: Market, shop: Shop
) -> None:
    await market.begun()
    object.__setattr__(shop.tariff, "top_ups", TopUps(50 * EURO, (50 * EURO,)))
    market.double.only().status = "paid"
    await market.tell()
    assert await market.credit() == 25 * EURO


async def test_r21_what_was_paid_for_a_closed_account_is_stuck(market: Market, shop: Shop) -> None:
    await market.begun()
    await shop.service.accounts.close("anna", "cancelled")
    market.double.only().status = "paid"
    await market.tell()
    assert (await market.payment()).state is State.STUCK
    assert await market.credit() == 0


async def test_r21_money_that_is_taken_back_is_told_and_takes_no_credit(market: Market) -> None:
    await market.begun()
    market.double.only().status = "paid"
    await market.tell()
    market.double.only().taken_back = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert await market.tell() == 200
    assert [line["event"] for line in logs].count("payment_taken_back") == 1
    assert (await market.payment()).taken_back
    assert market.shop.became == ["credited", "taken_back"]
    assert await market.credit() == 25 * EURO


async def test_a_payment_is_shown_to_its_customer_alone(market: Market, shop: Shop) -> None:
    _, page = await market.begun()
    await shop.service.accounts.add("ben", "light")
    other = await market.visitor("ben")
    await other.get(page, 404)
    await Visitor(market.app).get(page, 401)


async def test_a_provider_that_is_away_takes_no_money_and_is_said_so(market: Market, shop: Shop) -> None:
    market.double.down = True
    visitor = await market.visitor()
    assert (await visitor.send("/buy", {"amount": "25.00"})).status_code == 503
    assert (await market.payment()).checkout == ""
    await shop.clock.advance(payments.UNMADE_S + 1)
    await looked(market, lambda: eventually(lambda: bool(shop.store), "a look"))
    await shop.service.payments.not_now((await market.payment()).id)
    assert (await market.payment()).state is State.FAILED


async def test_a_payment_that_expires_is_over_and_costs_no_more_looks(market: Market, shop: Shop) -> None:
    visitor, page = await market.begun()
    market.double.only().status = "expired"
    await market.tell()
    assert (await market.payment()).state is State.FAILED
    assert market.shop.became == ["failed"]
    assert "Er is niets afgeschreven" in await visitor.get(page)
    await shop.clock.advance(10 * 86_400)
    assert await shop.service.payments.due() == []


async def test_open_payments_are_looked_at_less_often_as_they_age_and_are_given_up(market: Market, shop: Shop) -> None:
    await market.begun()
    looks = 0
    for _ in range(2 * 24 * (payments.OPEN_DAYS + 1)):
        await shop.clock.advance(1_800)
        for payment in await shop.service.payments.due():
            looks += await market.till.look(payment)
    assert 100 < looks < 200
    assert (await market.payment()).state is State.FAILED
    market.double.only().status = "paid"
    await market.tell()
    assert await market.credit() == 25 * EURO, "and yet: what is paid is credited"


async def test_hooks_and_begun_payments_are_limited(market: Market) -> None:
    visitor = await market.visitor()
    codes = [(await visitor.send("/buy", {"amount": "25.00"})).status_code for _ in range(7)]
    assert codes == [303] * 6 + [429]
    one = next(iter(market.double.payments.values()))
    codes = [await market.tell(one) for _ in range(tills.LOOKS_PER_MINUTE + 1)]
    assert codes == [200] * tills.LOOKS_PER_MINUTE + [503]


async def test_a_hook_that_names_none_of_our_payments_asks_nobody(market: Market) -> None:
    asked = list(market.double.asked)
    stranger = Kept("tr_1", "f" * 32, "25.00", "EUR", "", f"{PLACE.url}/hooks/mollie/{'f' * 32}", "paid")
    if market.double.name == "stripe":
        stranger.hook = f"{PLACE.url}/hooks/stripe"
    assert await market.tell(stranger) == 200, "which tells nothing of what there is"
    assert market.double.asked == asked


@pytest.mark.parametrize(
    "headers",
    [
        lambda body, now: {},
        lambda body, now: signed(body + b" ", now),
        lambda body, now: signed(body, now, "whsec_guess"),
        lambda body, now: signed(body, now - SIGNED_WITHIN_S - 1),
        lambda body, now: signed(body, now + SIGNED_WITHIN_S + 1),
        lambda body, now: {"Stripe-Signature": signed(body, now)["Stripe-Signature"].replace("v1=", "v0=")},
        lambda body, now: {"Stripe-Signature": f"t={now}," + signed(body, now - 1)["Stripe-Signature"]},
        lambda body, now: {"Stripe-Signature": "t=,v1="},
    ],
    ids=["none", "other body", "other secret", "too old", "of the future", "other scheme", "two times", "empty"],
)
async def test_what_stripe_has_not_signed_lately_asks_nobody(shop: Shop, headers: Callable[[bytes, int], Any]) -> None:
    await shop.anna()
    double = Stripe()
    market = Market(shop, double)
    await market.begun()
    double.only().status = "paid"
    asked, body, now_s = list(double.asked), double.event(double.only()), shop.clock.now().wall_us // 1_000_000
    told = httpx.Request("POST", f"{PLACE.url}/hooks/stripe", content=body, headers=headers(body, now_s))
    assert await market.post(told) == 400
    assert double.asked == asked
    assert await market.credit() == 0
    assert await market.tell() == 200
    await market.http.aclose()
