"""Buying credit on the customers' page: one of the amounts on sale, credited once, and only by what the provider itself
answers. Mollie and Stripe are doubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Language
from charging.ledger.model import CREDIT, Balance, Kind
from charging.log_limit import LINES
from charging.metrics import PAYMENTS
from charging.service import payments
from charging.service.page_tokens import PageTokens
from charging.service.payments import Outcome, Payment, State
from charging.service.refusal import Refused
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

    def restart(self, key: str = KEY) -> None:
        """As after a restart of the process: nothing is remembered but what is stored."""
        self.shop.service.page_tokens = PageTokens(self.shop.store, self.shop.clock, PLACE)
        asks = Asks(self.shop.service, private=PRIVATE)
        chosen = {"payment_provider": self.double.name, "payment_key_env": "KEY", "payment_hook_secret_env": "HOOK"}
        settings = CustomerPage.model_validate({"url": PLACE.url, "payment_url": "https://provider.test", **chosen})
        made = till_of(settings, asks, self.http, SecretStr(key), SecretStr(HOOK_SECRET))
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

    async def wait(self, days: int) -> None:
        """Time goes on, and what is due is looked at."""
        for _ in range(4 * days):
            await self.shop.clock.advance(6 * 3_600)
            await self.till.look_at(await self.shop.service.payments.due())


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
    assert one.back == f"{PLACE.url}{page}?back"
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

    await looked(market, lambda: eventually(lambda: shop.became == ["credited"], "it is looked at"))
    assert await market.credit() == 25 * EURO


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
        killed.setattr(shop.store.documents, "update_document", dies)
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


@pytest.mark.parametrize("before", ["open", "failed", "stuck"])
async def test_r21_money_that_was_taken_back_before_it_was_credited_is_never_credited(
    market: Market, before: str
) -> None:
    """The hook was lost, and the operator pays it back: of that we hear."""
    _, page = await market.begun()
    one = market.double.only()
    if before == "failed":
        one.status = "expired"
        assert await market.tell() == 200
    elif before == "stuck":
        market.double.down = True
        await market.wait(payments.OPEN_DAYS + 1)
        market.double.down = False
    assert (await market.payment()).state.value == before
    one.status, one.taken_back = "paid", True
    assert await market.tell() == 200
    assert await market.credit() == 0
    one.taken_back = False
    assert await market.tell() == 200
    assert await market.credit() == 0, "nor by an older answer"
    found = await market.payment()
    assert (found.state, found.why) == (State.STUCK, "paid back before it was credited")
    visitor = await market.visitor()
    assert "Neem contact met ons op" in await visitor.get(page)


async def test_r21_what_was_credited_and_not_noted_before_it_was_taken_back_is_noted_so(
    market: Market, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.begun()
    market.double.only().status = "paid"

    async def dies(_document: object) -> bool:
        raise LedgerUnavailable("killed")

    with monkeypatch.context() as killed:
        killed.setattr(shop.store.documents, "update_document", dies)
        assert await market.tell() == 503
    market.double.only().taken_back = True
    with structlog.testing.capture_logs() as logs:
        assert await market.tell() == 200
    assert (await market.payment()).state is State.CREDITED
    assert "payment_taken_back" in [line["event"] for line in logs]


@pytest.mark.parametrize("older", ["open", "over", "refused"])
async def test_an_older_answer_changes_nothing_of_what_a_newer_one_has_booked(
    market: Market, shop: Shop, monkeypatch: pytest.MonkeyPatch, older: str
) -> None:
    """Both are booked at once: what the older one says is only written after the newer one."""
    await market.begun()
    one = await market.payment()
    if older == "open":
        await shop.clock.advance((payments.OPEN_DAYS + 1) * 86_400)
    service = shop.service.payments
    paid = Outcome(one.reference, True, False, one.amount, "EUR")
    said = {"open": replace(paid, is_paid=False), "over": replace(paid, is_paid=False, is_over=True)}
    read, go = asyncio.Event(), asyncio.Event()
    whole = service.get

    async def slow(id: str) -> Payment | Refused:
        found = await whole(id)
        read.set()
        await go.wait()
        return found

    with monkeypatch.context() as slowed:
        slowed.setattr(service, "get", slow)
        late = asyncio.create_task(service.settle(one.id, said.get(older, replace(paid, amount=1))))
        await read.wait()
    await service.settle(one.id, paid)
    await service.settle(one.id, replace(paid, taken_back=True))
    go.set()
    await late
    found = await market.payment()
    assert (found.state, found.taken_back) == (State.CREDITED, True)
    assert await market.credit() == 25 * EURO


@pytest.mark.parametrize("cause", ["key", "provider"])
async def test_what_the_provider_could_not_be_asked_about_for_too_long_is_stuck_and_told(
    market: Market, cause: str
) -> None:
    """It may be paid: nobody is told that nothing was taken."""
    _, page = await market.begun()
    one = market.double.only()
    one.status = "paid"
    known = market.double
    if cause == "key":
        market.restart("revoked")
    else:
        market.double = Stripe() if market.double.name == "mollie" else Mollie()
        market.restart()
    with structlog.testing.capture_logs() as logs:
        await market.wait(payments.OPEN_DAYS + 1)
    found = await market.payment()
    assert (found.state, found.why) == (State.STUCK, f"the provider could not be asked for {payments.OPEN_DAYS} days")
    events = [line["event"] for line in logs]
    assert events.count("payment_not_credited") == 1
    assert events.count("payment_of_another_provider") == (cause == "provider")
    visitor = await market.visitor()
    text = await visitor.get(page)
    assert "Er is niets afgeschreven" not in text
    assert "Neem contact met ons op" in text
    market.double = known
    market.restart()
    await market.tell(one)
    assert await market.credit() == 0, "a person decides"


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
    over = await visitor.get(page)
    assert "Er is niets afgeschreven" in over
    assert '<a class="button main" href="/buy">Opnieuw proberen</a>' in over
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


async def test_no_customer_uses_up_what_the_provider_lets_an_operator_ask(
    market: Market, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He knows the hooks of his payments, and may have begun hundreds."""
    monkeypatch.setattr(tills, "LOOKS_OF_ACCOUNT_PER_MINUTE", 30)
    market.restart()
    visitor = await market.visitor()
    for _ in range(5):
        await visitor.send("/buy", {"amount": "25.00"})
    his = list(market.double.payments.values())
    codes = [await market.tell(one) for one in his for _ in range(10)]
    assert codes.count(200) == 30
    await shop.service.accounts.add("ben", "light", Language.NL)
    ben = await market.visitor("ben")
    await ben.send("/buy", {"amount": "25.00"})
    (of_ben,) = (one for one in market.double.payments.values() if one not in his)
    of_ben.status = "paid"
    assert await market.tell(of_ben) == 200
    assert shop.became == ["credited"]


async def test_a_start_looks_at_all_that_is_open(shop: Shop) -> None:
    market, many = Market(shop, Mollie()), payments.PAGE + 5
    for number in range(many):
        await shop.service.accounts.add(f"c{number}", "light", Language.NL)
        made = await shop.service.payments.begin(f"c{number}", 25 * EURO, "mollie")
        assert isinstance(made, Payment)
        await shop.service.payments.known_by(made.id, f"tr_{number}", "https://provider.test/checkout")
        market.double.payments[f"tr_{number}"] = Kept(f"tr_{number}", made.id, "25.00", "EUR", "", "", "paid")
    market.restart()
    assert await shop.service.payments.due() == [], "they are due later"

    await looked(market, lambda: eventually(lambda: shop.became == ["credited"] * many, "all are looked at"))
    await market.http.aclose()


async def test_a_payment_that_cannot_be_read_keeps_none_of_the_others_waiting(market: Market, shop: Shop) -> None:
    await shop.store.documents.put_document(payments.COLLECTION, "0" * 32, '{"id": 1}', 0)
    await market.begun()
    market.double.only().status = "paid"
    with structlog.testing.capture_logs() as logs:
        await market.wait(1)
    assert await market.credit() == 25 * EURO
    assert [line["event"] for line in logs].count("payment_unreadable") == 1


async def test_what_was_never_paid_is_forgotten_and_what_was_is_kept(market: Market, shop: Shop) -> None:
    visitor, _ = await market.begun()
    market.double.only().status = "paid"
    await market.tell()
    await visitor.send("/buy", {"amount": "25.00"})
    await market.wait(payments.KEPT_DAYS - 1)
    assert len(await shop.store.documents.list_documents(payments.COLLECTION)) == 2
    await market.wait(1)
    assert (await market.payment()).state is State.CREDITED


async def test_an_account_has_so_many_open_payments_at_most(market: Market, shop: Shop) -> None:
    visitor = await market.visitor()

    async def buys() -> int:
        await shop.clock.advance(60)
        return (await visitor.send("/buy", {"amount": "25.00"})).status_code

    assert [await buys() for _ in range(payments.OPEN_MOST + 1)] == [303] * payments.OPEN_MOST + [503]
    one = next(iter(market.double.payments.values()))
    one.status = "expired"
    await market.tell(one)
    assert [await buys() for _ in range(2)] == [303, 503]


async def test_open_payments_are_counted_through_a_restart_and_for_each_account_alone(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.add("ben", "light", Language.EN)

    async def begins(account: str) -> bool:
        """By a process that has just started."""
        await shop.clock.advance(1)
        daemon = Shop(shop.clock, shop.store, shop.tariff).service
        return isinstance(await daemon.payments.begin(account, 25 * EURO, "mollie"), Payment)

    assert [await begins("anna") for _ in range(payments.OPEN_MOST + 1)] == [True] * payments.OPEN_MOST + [False]
    assert await begins("ben")
    begun, _ = await shop.service.payments.page("", 100, account="anna")
    assert [one.made_us for one in begun] == sorted((one.made_us for one in begun), reverse=True)
    outcome = Outcome("tr_1", is_paid=False, is_over=True, amount=25 * EURO, currency="EUR")
    await shop.service.payments.known_by(begun[-1].id, "tr_1", "https://provider.test/1")
    await shop.service.payments.settle(begun[-1].id, outcome)
    assert [await begins("anna") for _ in range(2)] == [True, False]
    await shop.clock.advance(payments.OPEN_DAYS * 86_400 + 60)
    assert not await begins("anna"), "they are open until someone has looked at them"


async def test_a_purchase_that_fails_at_the_provider_is_logged_with_what_to_do(market: Market) -> None:
    market.restart("revoked")
    visitor = await market.visitor()
    with structlog.testing.capture_logs() as logs:
        assert (await visitor.send("/buy", {"amount": "25.00"})).status_code == 503
    (why,) = [line["why"] for line in logs if line["event"] == "payment_not_begun"]
    assert "401" in why
    assert any(words in why for words in ("failed to authenticate", "Invalid API Key provided"))
    assert "customer_page.payment_key_file" in why


async def test_a_stuck_payment_is_told_once_however_often_it_is_looked_at(market: Market) -> None:
    await market.begun()
    one = market.double.only()
    one.status, one.amount = "paid", "24.00"
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            assert await market.tell() == 200
    assert [line["event"] for line in logs].count("payment_not_credited") == 1


@pytest.mark.parametrize(
    ("status", "state"),
    [("processing", State.OPEN), ("tried", State.OPEN), ("failed", State.FAILED), ("canceled", State.FAILED)],
)
async def test_a_stripe_payment_that_was_sent_off_and_has_failed_is_over(shop: Shop, status: str, state: State) -> None:
    await shop.anna()
    market = Market(shop, Stripe())
    await market.begun()
    market.double.only().status = status
    assert await market.tell() == 200
    assert (await market.payment()).state is state
    await market.http.aclose()


async def test_a_hook_that_names_none_of_our_payments_is_logged_sparingly(market: Market) -> None:
    stranger = Kept("tr_1", "f" * 32, "25.00", "EUR", "", f"{PLACE.url}/hooks/mollie/{'f' * 32}", "paid")
    if market.double.name == "stripe":
        stranger.hook = f"{PLACE.url}/hooks/stripe"
    with structlog.testing.capture_logs() as logs:
        for _ in range(2 * LINES):
            assert await market.tell(stranger) == 200
    assert [line["event"] for line in logs] == ["payment_hook_unknown"] * LINES


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
    asked, body, now_s = (
        list(double.asked),
        double.told(double.only(), 0).content,
        shop.clock.now().wall_us // 1_000_000,
    )
    told = httpx.Request("POST", f"{PLACE.url}/hooks/stripe", content=body, headers=headers(body, now_s))
    assert await market.post(told) == 400
    assert double.asked == asked
    assert await market.credit() == 0
    assert await market.tell() == 200
    await market.http.aclose()
