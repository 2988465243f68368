"""Free minutes left after a change of plan have the rules of the plan that granted them (R8, R10, R11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from charging.clock import MICROSECONDS
from charging.ledger.balances import bundle, grant, granted, left, raised_by
from charging.ledger.given_packs import COLLECTION
from charging.ledger.model import Kind, Leg, Outcome, Transfer
from charging.pricing.packs import PackTerms
from charging.service.ledger_contents import LedgerContents
from charging.service.money import Money
from charging.service.months import Months
from charging.service.quotes import Asked, Quotes
from charging.tariff.plans import Plan
from charging.tariff.tariff import Destination, Tariff
from charging.whatif.quote import Limit, Quote
from tests.contract.scenario import assert_sound
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_rig, make_tariff, plan

NOVEMBER, DECEMBER = "2026-11", "2026-12"
AMERICA = "+12125550123"
PLANS = {
    "light": Plan("light", "table"),
    "pro": Plan("pro", "table", free_seconds=600, free_destinations=frozenset({"nl_mobile"}), free_increment_s=30),
    "small": Plan("small", "table", free_seconds=300),
}


def the_tariff() -> Tariff:
    tariff = make_tariff()
    table = tariff.tables["table"]
    prices = {**table.prices, "america": table.prices["nl_mobile"]}
    return replace(
        tariff,
        plans=MappingProxyType(PLANS),
        destinations={**tariff.destinations, "america": Destination("america", ("+1",))},
        tables={"table": replace(table, prices=prices)},
    )


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(tariff=the_tariff()) as one:
        yield one


async def move_to(rig: Rig, plan: str) -> None:
    stored = await rig.store.directory.account("anna")
    assert stored is not None
    assert await rig.store.directory.put_account(replace(stored, plan=plan))


async def forward_to(rig: Rig, target: str) -> None:
    number = await rig.store.directory.number(NUMBER)
    assert number is not None
    assert await rig.store.directory.put_number(replace(number, forward_to=target), number)


async def call(rig: Rig, seconds: float) -> None:
    one = await rig.talking()
    await rig.clock.advance(seconds)
    await rig.hang_up(one)


@pytest.mark.parametrize("credit", [0, EURO])
@pytest.mark.parametrize("given_s", [0, 120])
async def test_r10_a_larger_plan_of_other_rules_takes_no_minutes_from_a_call_that_runs(
    rig: Rig, credit: int, given_s: int
) -> None:
    """Whether they are its plan's, or were given: Pro's minutes pay for no call to America."""
    await rig.subscriber(credit=credit, plan="light" if given_s else "small")
    if given_s:
        gift = Leg(bundle(NOVEMBER), given_s), Leg(granted(NOVEMBER), 0)
        assert (await rig.store.apply(Transfer("gift", "anna", Kind.CORRECT, 1, gift))).outcome is Outcome.CREATED
    await forward_to(rig, AMERICA)
    one = await rig.talking()
    await rig.clock.advance(10)
    await move_to(rig, "pro")
    await Months(rig.store, lambda: rig.tariff, rig.clock).raise_to_plan("anna")
    assert (await rig.balance(granted(NOVEMBER))).posted == 600
    await rig.clock.advance(80.1)
    await rig.hang_up(one)
    assert (await rig.balance()).posted == credit
    assert (await rig.balance(bundle(NOVEMBER))).posted == 600 + given_s - 90


async def of_december(rig: Rig, gives: int) -> int:
    """What an account has of December whose plan gives so much."""
    return left(await rig.store.balances("anna"), DECEMBER, gives).posted


def before_midnight(rig: Rig, seconds: int) -> None:
    """So long before November ends."""
    end = datetime(2026, 12, 1, tzinfo=ZoneInfo(rig.tariff.zone)).timestamp()
    rig.clock.step_wall(end - seconds - rig.clock.now().wall_us / MICROSECONDS)


async def left_over(rig: Rig, credit: int = EURO) -> None:
    """Of Pro's 600 seconds 570 are left, and the account is Light's."""
    await rig.subscriber(credit=credit, plan="pro")
    await call(rig, 10)
    await move_to(rig, "light")


async def test_r8_left_over_minutes_pay_no_destination_that_they_did_not_pay_before(rig: Rig) -> None:
    await left_over(rig)
    await forward_to(rig, AMERICA)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - 100_000
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570


async def test_r10_left_over_minutes_go_first_where_they_did_before_in_their_own_increments(rig: Rig) -> None:
    await left_over(rig)
    await call(rig, 31.1)
    assert (await rig.balance()).posted == EURO
    assert (await rig.balance(bundle(NOVEMBER))).posted == 510


@pytest.mark.parametrize(("target", "decision"), [(TARGET, "forward"), (AMERICA, "voicemail")])
async def test_r12_left_over_minutes_alone_begin_only_what_they_pay(rig: Rig, target: str, decision: str) -> None:
    await left_over(rig, credit=0)
    await forward_to(rig, target)
    assert (await rig.ring()).decision == decision


async def test_r11_minutes_of_the_next_month_that_a_call_before_midnight_granted_keep_their_rules(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    before_midnight(rig, 30)
    await call(rig, 10)  # its horizon reaches into December
    set_aside = await of_december(rig, 0)
    assert set_aside > 0
    await move_to(rig, "light")
    await rig.clock.advance(60)
    await forward_to(rig, AMERICA)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - 100_000
    assert await of_december(rig, 0) == set_aside


@pytest.mark.parametrize("plan", ["light", "pro"])
async def test_r11_a_call_over_midnight_grants_the_new_month_no_more_than_it_uses_itself(rig: Rig, plan: str) -> None:
    """Who leaves a plan with minutes while he is called has none of its next month, but for that call."""
    await rig.subscriber(credit=EURO, plan="pro")
    before_midnight(rig, 65)
    one = await rig.talking()
    await move_to(rig, plan)
    await rig.clock.advance(125.1)
    await rig.hang_up(one)
    assert (await rig.balance()).posted == EURO, "it goes on with the rules it began with"
    set_aside_s = 90  # at most: a tick, and the horizon beyond it
    assert (await rig.balance(granted(DECEMBER))).posted <= 60 + set_aside_s
    assert (await rig.balance(bundle(DECEMBER))).posted <= set_aside_s
    await call(rig, 120.1)
    is_paid = (await rig.balance()).posted < EURO - 20_000
    assert is_paid == (plan == "light")
    assert is_paid or await of_december(rig, 600) == 600 - 180
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


async def test_r11_calls_that_go_over_midnight_together_share_the_new_months_minutes(rig: Rig) -> None:
    """Each lacks what the other has set aside of it, and brings it."""
    await rig.subscriber(credit=0, plan="pro")
    before_midnight(rig, 100)
    running = [await rig.talking() for _ in range(2)]
    await rig.clock.advance(220.1)
    for one in running:
        await rig.hang_up(one)
    assert await of_december(rig, 600) == 600 - 2 * 120
    assert (await rig.balance(bundle(NOVEMBER))).posted == 600 - 2 * 120, "100 s, in increments of 30"
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


async def test_r11_a_call_over_midnight_uses_each_months_minutes_by_their_own_rules(rig: Rig) -> None:
    """November's are Pro's, and pay for no call to America; December's are Small's, and do."""
    await left_over(rig)
    await move_to(rig, "small")
    await forward_to(rig, AMERICA)
    before_midnight(rig, 40)
    await call(rig, 100.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570
    assert await of_december(rig, 300) == 300 - 60
    assert (await rig.balance()).posted == EURO - 40_000


async def test_r11_a_call_over_midnight_uses_each_months_minutes_in_their_own_increments(rig: Rig) -> None:
    """November's are Pro's, in 30 seconds; December's are Small's, in seconds: it used 60 of them for 40."""
    await left_over(rig)
    await move_to(rig, "small")
    before_midnight(rig, 40)
    quotes = Quotes(rig.store, lambda: rig.tariff, rig.clock)
    quote = await quotes.quote(Asked(TARGET, account="anna"), 100)
    assert isinstance(quote, Quote)
    assert [(line.from_s, line.increment_s, line.free_s) for line in quote.lines] == [(0, 30, 60), (60, 1, 40)]
    await call(rig, 100.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570 - 60
    assert await of_december(rig, 300) == 300 - 40


async def test_r11_a_call_that_rings_over_midnight_uses_the_new_months_minutes_in_their_own_increments(
    rig: Rig,
) -> None:
    await left_over(rig)
    await move_to(rig, "small")
    before_midnight(rig, 5)
    answer = await rig.ring()
    assert answer.session is not None
    assert answer.quota_s is not None
    one = rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid)
    await rig.clock.advance(10)
    rig.switch.answer(one.session)
    await rig.clock.advance(0)
    await rig.clock.advance(7.1)
    await rig.hang_up(one)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570
    assert await of_december(rig, 300) == 300 - 7


async def test_a_restart_knows_the_increments_of_both_months(rig: Rig) -> None:
    await left_over(rig)
    await move_to(rig, "small")
    before_midnight(rig, 40)
    one = await rig.talking()
    await rig.clock.advance(20)
    await rig.kill_daemon()
    await rig.start_daemon()
    await rig.clock.advance(80.1)
    await rig.hang_up(one)
    assert await of_december(rig, 300) == 300 - 40


@pytest.mark.parametrize("target", [TARGET, AMERICA])
async def test_what_is_quoted_of_left_over_minutes_is_what_is_charged(rig: Rig, target: str) -> None:
    await left_over(rig)
    await forward_to(rig, target)
    quotes = Quotes(rig.store, lambda: rig.tariff, rig.clock)
    quote = await quotes.quote(Asked(target, account="anna"), 100)
    limit = await quotes.limit(Asked(target, account="anna"), 0)
    assert isinstance(quote, Quote)
    assert isinstance(limit, Limit)
    assert limit.seconds == (570 if target == TARGET else 0)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - quote.total


# --- an edit of the tariff within a month -------------------------------------------------------------------------

ELSEWHERE = frozenset({"nl_premium"})


def kept(rig: Rig, month: str = NOVEMBER) -> str:
    """Under which name a month of Pro is granted by the tariff of now."""
    return raised_by(month, rig.tariff.granted_as("pro"))


async def edited(rig: Rig, **changes: object) -> None:
    """Ten seconds of a call have granted Pro's 600, of which 570 are left; then the tariff is edited."""
    await rig.subscriber(credit=EURO, plan="pro")
    await call(rig, 10)
    rig.tariff = plan(rig.tariff, "pro", **changes)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("changes", [{"free_destinations": ELSEWHERE}, {"free_seconds": 0}])
async def test_r10_what_a_month_was_granted_pays_as_it_did_whatever_an_edit_says(
    rig: Rig, restarted: bool, changes: dict[str, object]
) -> None:
    await edited(rig, **changes)
    if restarted:
        await rig.kill_daemon()
        await rig.start_daemon()
    quotes = Quotes(rig.store, lambda: rig.tariff, rig.clock)
    limit, quote = (
        await quotes.limit(Asked(TARGET, account="anna"), 0),
        await quotes.quote(Asked(TARGET, account="anna"), 31),
    )
    assert isinstance(limit, Limit)
    assert isinstance(quote, Quote)
    assert limit.seconds == 570
    assert quote.total == 0
    await call(rig, 31.1)
    assert (await rig.balance()).posted == EURO
    assert (await rig.balance(bundle(NOVEMBER))).posted == 510
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


async def test_an_edit_that_opens_a_destination_opens_it_to_the_next_months_minutes(rig: Rig) -> None:
    await edited(rig, free_destinations=None)
    await forward_to(rig, AMERICA)
    await call(rig, 30.1)
    assert (await rig.balance()).posted == EURO - 30_000
    before_midnight(rig, -10)
    await call(rig, 30.1)
    assert (await rig.balance()).posted == EURO - 30_000
    assert (await rig.balance(bundle(DECEMBER))).posted == 570


async def test_an_edit_that_gives_more_gives_all_of_them_its_rules(rig: Rig) -> None:
    await edited(rig, free_seconds=900, free_increment_s=1)
    await call(rig, 31.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 900 - 30 - 31


async def test_the_increment_is_that_of_the_grant(rig: Rig) -> None:
    await edited(rig, free_increment_s=1)
    await call(rig, 31.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570 - 60


async def test_destinations_that_are_called_otherwise_since_are_paid_as_before(rig: Rig) -> None:
    await edited(rig)
    numbers = rig.tariff.destinations["nl_mobile"].prefixes
    named = {name: one for name, one in rig.tariff.destinations.items() if name != "nl_mobile"}
    price = rig.tariff.tables["table"].prices["nl_mobile"]
    tables = {"table": replace(rig.tariff.tables["table"], prices={"gsm": price})}
    rig.tariff = replace(rig.tariff, destinations={**named, "gsm": Destination("gsm", numbers)}, tables=tables)
    await call(rig, 31.1)
    assert (await rig.balance()).posted == EURO
    assert (await rig.balance(bundle(NOVEMBER))).posted == 510


async def test_what_an_older_version_granted_follows_the_plan_of_its_name(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    grant = the_grant(rig, "pro")
    assert (await rig.store.apply(grant)).outcome.applied
    await call(rig, 10)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570
    rig.tariff = plan(rig.tariff, "pro", free_destinations=ELSEWHERE)
    await call(rig, 10)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570


async def test_rules_that_are_lost_are_those_of_the_plan(rig: Rig) -> None:
    await edited(rig)
    for document in await rig.store.documents.list_documents(COLLECTION):
        assert await rig.store.documents.delete_document(document)
    await rig.kill_daemon()
    await rig.start_daemon()
    rig.tariff = plan(rig.tariff, "pro", free_increment_s=1)
    await call(rig, 31.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570 - 31


@pytest.mark.parametrize("by", ["call", "upgrade", "downgrade", "support"])
async def test_the_rules_are_kept_before_anyone_grants_under_them(rig: Rig, by: str) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    service = (rig.store, lambda: rig.tariff, rig.clock)
    months = Months(*service)
    match by:
        case "call":
            await call(rig, 1)
        case "upgrade":
            assert (await rig.store.apply(the_grant(rig, "small", 300))).outcome.applied
            assert await months.raise_to_plan("anna") == 300
        case "downgrade":
            stored = await rig.store.directory.account("anna")
            assert stored is not None
            await months.keep(stored, replace(stored, plan="light"))
        case "support":
            await Money(*service, rig.registry.funds_changed).grant_minutes("anna", 1, "sorry", "k1")
    assert (await rig.balance(kept(rig))).posted == 600
    edition = kept(rig).rpartition(":")[2]
    (document,) = await rig.store.documents.list_documents(COLLECTION)
    assert document.id == edition
    assert PackTerms.read(edition, document.body).edition == edition


def the_grant(rig: Rig, plan: str, seconds: int = 600) -> Transfer:
    """As a version without editions made it."""
    return grant("anna", NOVEMBER, seconds, rig.clock.now().wall_us, plan)
