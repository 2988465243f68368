"""Fax pages and messages that a plan includes, or a pack brings: reserved, used before credit, given back, granted,
lapsed, shown, stated, told, quoted and priced again."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.call.pieces import Allowance, allowance
from charging.fax.desk import FaxSent, TooLittle
from charging.ledger.credit_life import credit_event
from charging.ledger.model import Balance, Kind, Leg, Outcome, Transfer, day_spend
from charging.pricing.packs import MESSAGES, PACKS_MAX, PAGES, PieceRules, pack_of, shares
from charging.pricing.rate import Step
from charging.service.balance import BalanceView
from charging.service.events import Line
from charging.service.gifts import PackGiven, PackWish
from charging.service.ledger_contents import LedgerContents
from charging.service.quotes import Asked, FaxQuote, Quotes
from charging.service.refusal import Code
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import statement_page
from charging.service.statements import FreeSeconds, Statement, Statements
from charging.tariff.plans import Pack
from charging.tariff.tariff import Price, RateTable, Tariff
from charging.whatif.past import past_of
from charging.whatif.rerate import rerate
from tests.contract.scenario import assert_sound
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan
from tests.unit.service.conftest import Shop, refused
from tests.unit.service.house import House
from tests.unit.service.test_fax import PAGE, TARGET, Office

MONTH, DAY = "2026-11", "2026-11-21"
PAGES_NOW, MESSAGES_NOW = f"{PAGES}:{MONTH}", f"{MESSAGES}:{MONTH}"
PRICE = 100_000
PACKS = {
    "fax10": Pack("fax10", "Ten pages", 10, 30, sort=PAGES),
    "mobile5": Pack("mobile5", "Five to mobiles", 5, 30, frozenset({"nl_mobile"}), sort=PAGES),
    "notes": Pack("notes", "Messages", 3, 30, sort=MESSAGES),
}
FAX10, NOTES = pack_of("fax10", "2026-12-20", "pages:"), pack_of("notes", "2026-12-20", "vmail:")


def tariff_of(pages: int = 2, messages: int = 1) -> Tariff:
    tables = {"table": RateTable("table", {"nl_mobile": Price((Step(0, 60_000, 60, 1),), fax_page=PAGE)})}
    made = replace(make_tariff(), tables=tables, packs=PACKS)
    made = plan(made, "light", free_pages=pages)
    return plan(made, "free", free_messages=messages, max_credit_per_day=EURO)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(tariff=tariff_of(), store=FaultyStore(random.Random(1))) as one:
        yield one


async def give(rig: Rig, name: str, count: int) -> None:
    transfer = Transfer(f"correct/{name}/{count}", "anna", Kind.CORRECT, 1, (Leg(name, count),), reason="bought")
    assert (await rig.store.apply(transfer)).outcome is Outcome.CREATED


async def held(rig: Rig) -> dict[str, int]:
    return {name: amount for name, amount in (await rig.reserved()).items() if not name.startswith("unpaid:")}


async def sound(rig: Rig) -> None:
    await assert_sound(rig.store, LedgerContents(rig.clock.now()))


# --- faxes ----------------------------------------------------------------------------------------------------


async def test_r9_pages_of_the_month_pay_before_credit_and_are_given_back_where_they_are_not_sent(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    office = Office(rig)
    view = await office.sent()
    assert await held(rig) == {"credit": PAGE, PAGES_NOW: 2}
    assert view.cost == "0.08"
    await office.ends(view.session, "FAILED", 1)
    assert (await rig.balance()).posted == EURO
    assert await rig.balance(PAGES_NOW) == Balance(1)
    cdr = json.loads((await rig.store.cdrs())[0].document)
    assert (cdr["cost"], cdr["free_pages"]) == ("0.00", {MONTH: 1})
    assert [credit_event(line) for line in [one async for one in rig.store.journal("anna")][-1:]] == [None]
    await sound(rig)


async def test_r14_a_fax_that_free_pages_pay_needs_no_credit_and_one_page_more_does(rig: Rig) -> None:
    await rig.subscriber()
    office = Office(rig, pages=2)
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 2)
    assert await rig.balance(PAGES_NOW) == Balance(0)
    answer = await office.send("next")
    assert isinstance(answer, TooLittle)
    assert (answer.free_pages, answer.needed) == (0, PAGE)
    await give(rig, FAX10, 1)
    answer = await office.send("more")
    assert isinstance(answer, TooLittle)
    assert (answer.pages, answer.free_pages, answer.missing) == (2, 1, PAGE)
    await rig.credit(PAGE)
    assert isinstance(await office.send("enough"), FaxSent)
    await sound(rig)


async def test_the_plans_credit_a_day_is_not_touched_by_what_is_free(rig: Rig) -> None:
    rig.tariff = plan(rig.tariff, "light", max_credit_per_day=PAGE)
    await rig.subscriber(credit=EURO)
    office = Office(rig)
    answer = await office.send(by_mail=True)
    assert isinstance(answer, FaxSent), answer
    await office.ends(answer.view.session, "SUCCESS", 3)
    assert (await rig.balance(day_spend(DAY))).posted == -PAGE
    office.pages = 1
    refused(await office.send("2", by_mail=True), Code.NOT_ALLOWED)


async def test_a_fax_takes_packs_in_their_order_and_pays_the_rest(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    mobile = pack_of("mobile5", "2026-12-31", "pages:")
    for name, count in ((FAX10, 1), (mobile, 1)):
        await give(rig, name, count)
    office = Office(rig, pages=5)
    view = await office.sent()
    assert await held(rig) == {mobile: 1, PAGES_NOW: 2, FAX10: 1, "credit": PAGE}
    await office.ends(view.session, "PARTLY", 2)
    left = [(await rig.balance(name)).posted for name in (mobile, PAGES_NOW, FAX10)]
    assert (left, (await rig.balance()).posted) == ([0, 1, 1], EURO)


async def test_a_restart_charges_what_it_reserved(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    view = await Office(rig).sent()
    await rig.kill_daemon()
    await rig.start_daemon()
    await Office(rig).ends(view.session, "SUCCESS", 3)
    assert ((await rig.balance(PAGES_NOW)).posted, (await rig.balance()).posted) == (0, EURO - PAGE)


async def test_pages_for_some_destinations_pay_no_others(rig: Rig) -> None:
    rig.tariff = plan(rig.tariff, "light", free_pages_to=frozenset({"nl_fixed"}))
    await rig.subscriber(credit=EURO)
    assert (await Office(rig).sent()).cost == "0.24"


async def test_r10_the_months_pages_pay_as_they_were_granted_whatever_an_edit_says(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    office = Office(rig)
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 1)
    rig.tariff = plan(rig.tariff, "light", free_pages_to=frozenset({"nl_fixed"}))
    told = await Quotes(rig.store, lambda: rig.tariff, rig.clock).fax(Asked(TARGET, account="anna"), 1)
    assert isinstance(told, FaxQuote)
    assert (told.free_pages, told.total) == (1, 0)
    view = await office.sent(key="second")
    await office.ends(view.session, "SUCCESS", 1)
    assert ((await rig.balance(PAGES_NOW)).posted, (await rig.balance()).posted) == (0, EURO)
    await sound(rig)


# --- messages -------------------------------------------------------------------------------------------------


async def test_r13_a_free_message_is_taken_without_credit_and_the_next_is_not_answered(rig: Rig) -> None:
    await rig.subscriber(plan="free", forward_to="")
    answer = await rig.ring()
    assert (answer.decision, await rig.reserved()) == ("voicemail", {MESSAGES_NOW: 1})
    assert (await rig.ring()).decision == "reject"
    rig.switch.leave_message(answer.session or "", "u1")
    await rig.clock.advance(1)
    assert await rig.balance(MESSAGES_NOW) == Balance(0)
    cdr = json.loads((await rig.store.cdrs())[0].document)
    assert (cdr["cost"], cdr["free_messages"]) == ("0.00", {MONTH: 1})
    assert (await rig.balance(day_spend(DAY))).posted == 0
    await sound(rig)


async def test_r3_a_caller_who_leaves_no_message_uses_none(rig: Rig) -> None:
    await rig.subscriber(plan="free", forward_to="")
    answer = await rig.ring()
    rig.switch.leave_message(answer.session or "", "u1", stored=False)
    await rig.clock.advance(1)
    assert await rig.balance(MESSAGES_NOW) == Balance(1)


@pytest.mark.parametrize(("undelivered", "held"), [(True, {}), (False, {MESSAGES_NOW: 1})])
async def test_caller_who_leaves_before_he_is_answered_holds_no_message(
    rig: Rig, undelivered: bool, held: dict[str, int]
) -> None:
    """One line that does so again and again would hold all that an account has."""
    await rig.subscriber(plan="free", forward_to="")
    answer = await rig.ring()
    assert answer.session is not None
    await rig.desk.abandoned(answer.session, undelivered=undelivered)
    await rig.clock.advance(0.1)
    assert await rig.reserved() == held
    await rig.clock.advance(60)
    assert await rig.balance(MESSAGES_NOW) == Balance(1)


@pytest.mark.parametrize(("is_there", "held"), [(False, {}), (True, {MESSAGES_NOW: 1})])
async def test_caller_who_leaves_as_he_is_answered_holds_no_message(
    rig: Rig, is_there: bool, held: dict[str, int]
) -> None:
    """Before Asterisk has read the answer: no channel ever bears its name. It is asked twice, a second apart."""
    await rig.subscriber(plan="free", forward_to="")
    answer = await rig.ring()
    assert answer.session is not None
    if is_there:
        rig.switch.nameless.add(rig.caller_uid)
    await rig.desk.abandoned(answer.session)
    await rig.clock.advance(1.1)
    assert await rig.reserved() == held
    await rig.clock.advance(60)
    assert await rig.balance(MESSAGES_NOW) == Balance(1)


async def test_a_forward_that_fails_becomes_a_free_message(rig: Rig) -> None:
    await rig.subscriber(credit=60_000, plan="free")
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert (answer.decision, await rig.reserved()) == ("voicemail", {MESSAGES_NOW: 1})
    rig.switch.leave_message(call.session, "u1")
    await rig.clock.advance(1)
    assert ((await rig.balance()).posted, (await rig.balance(MESSAGES_NOW)).posted) == (60_000, 0)
    await sound(rig)


async def test_a_free_message_that_another_took_at_that_moment_is_paid_by_credit(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await give(rig, MESSAGES_NOW, 1)
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    store, read = rig.store, rig.store.balances

    async def read_before_another(account: str) -> Mapping[str, Balance]:
        found = await read(account)
        store.balances = read  # type: ignore[method-assign]
        await give(rig, MESSAGES_NOW, -1)
        return found

    store.balances = read_before_another  # type: ignore[method-assign]
    assert (await rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"
    assert await rig.reserved() == {"credit": PRICE, day_spend(DAY): PRICE}


async def test_a_message_that_the_fallback_took_uses_a_free_one_once(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1700000000.1", "u1", fallback=True)
    for _ in range(2):
        await rig.start_daemon()
        await rig.clock.advance(21)
        await rig.kill_daemon()
    assert ((await rig.balance()).posted, (await rig.balance(MESSAGES_NOW)).posted) == (EURO, 0)
    (row,) = await rig.store.cdrs()
    assert json.loads(row.document)["free_messages"] == {MONTH: 1}
    await sound(rig)


# --- given, granted, lapsed ------------------------------------------------------------------------------------


@pytest.fixture
def packed(shop: Shop) -> Shop:
    shop.tariff = tariff_of()
    return shop


async def test_a_pack_of_pieces_is_given_once_and_never_more_is_taken_back_than_there_is(packed: Shop) -> None:
    await packed.anna()
    gifts = packed.service.gifts
    first, again = [await gifts.give_pack("anna", PackWish("fax10"), "bought", "k") for _ in range(2)]
    assert isinstance(first, PackGiven)
    assert isinstance(again, PackGiven)
    assert (first.created, again.created, again.left, first.last_day) == (True, False, Balance(10), date(2026, 12, 20))
    refused(await gifts.give_pack("anna", PackWish("fax10", pieces=-11), "mistake", "k2"), Code.INSUFFICIENT)
    refused(await gifts.give_pack("anna", PackWish("fax10", minutes=1), "mistake", "k3"), Code.INVALID)
    refused(await gifts.give_pack("anna", PackWish("fax10", pieces=0), "mistake", "k4"), Code.INVALID)
    seen = await packed.service.balances.view("anna")
    assert isinstance(seen, BalanceView)
    assert [(one.sort, one.pack, one.last_day, one.left) for one in seen.pieces] == [
        (PAGES, "", "2026-11-30", 2),
        (PAGES, "fax10", "2026-12-20", 10),
    ]
    assert seen.packs == ()
    events = await packed.service.events.page("anna", Line(), 10)
    assert isinstance(events, tuple)
    assert [(one.what, one.data["kind"], one.data["pieces"]) for one in events[0]] == [
        ("pieces.granted", "fax_pages", 10)
    ]


async def test_an_upgrade_grants_the_difference_and_a_downgrade_takes_nothing(packed: Shop) -> None:
    packed.tariff = plan(packed.tariff, "pro", free_pages=7)
    await packed.anna()

    async def becomes(name: str) -> None:
        await packed.service.accounts.edit("anna", lambda one: replace(one, plan=name))

    await becomes("pro")
    await becomes("light")
    found = allowance(packed.tariff, "light", PAGES, packed.clock.now().wall_us, TARGET)
    assert found.pools(await packed.store.balances("anna")) == {PAGES_NOW: 7}
    await becomes("pro")
    assert found.pools(await packed.store.balances("anna")) == {PAGES_NOW: 7}


async def test_pieces_lapse_with_their_month_and_their_last_day_and_what_is_held_waits(house: House) -> None:
    pack = pack_of("fax10", "2026-11-30", "pages:")
    for name in (PAGES_NOW, pack, f"{PAGES}:2026-12"):
        assert await house.move(Kind.CORRECT, Leg(name, 5), reason="given") is Outcome.CREATED
    await house.credit_after_turn("2026-11-30T23:59:59")
    assert [(await house.balance(name)).posted for name in (PAGES_NOW, pack)] == [5, 5]
    await house.call("s1", Leg(pack, 0, 2))
    await house.credit_after_turn("2026-12-01T00:01:00")
    assert await house.balance(pack) == Balance(5, 2)
    assert (await house.balance(PAGES_NOW)).posted == 0
    await house.hang_up("s1", Kind.SETTLE, Leg(pack, -1, -2))
    await house.credit_after_turn("2026-12-01T00:03:00")
    assert (await house.balance(pack)).posted == 0
    assert (await house.balance(f"{PAGES}:2026-12")).posted == 5
    await house.credit_after_turn("2027-02-01T12:00:00")
    assert {PAGES_NOW, pack} & (await house.store.balances("anna")).keys() == set()


# --- told, quoted, priced again ---------------------------------------------------------------------------------


async def test_statement_tells_pages_beside_money_and_adds_up(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await give(rig, FAX10, 10)
    office = Office(rig, pages=13)
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 13)
    made = await Statements(rig.store, lambda: rig.tariff, rig.clock).of("anna", MONTH)
    assert isinstance(made, Statement)
    assert made.pieces[PAGES] == FreeSeconds(2, 2, 0)
    faxed = next(line for line in made.lines if line.kind == "fax")
    assert (faxed.credit, faxed.pieces) == (-PAGE, {PAGES: 12})
    assert "waarvan gratis: 12" in statement_page(made)
    rows = [row.split(",") for row in statement_csv(made).splitlines()]
    assert {len(row) for row in rows} == {17}
    assert next(row[15] for row in rows if row[1] == "fax") == "12"


async def test_what_a_quote_says_is_charged(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await give(rig, FAX10, 1)
    quotes = Quotes(rig.store, lambda: rig.tariff, rig.clock)
    found = await quotes.fax(Asked(TARGET, account="anna"), 5)
    assert isinstance(found, FaxQuote)
    assert (found.total, found.free) == (2 * PAGE, {PAGES_NOW: 2, FAX10: 1})
    later = await quotes.fax(Asked(TARGET, account="anna", at_us=rig.clock.now().wall_us + 40 * 86_400 * 10**6), 5)
    assert isinstance(later, FaxQuote)
    assert later.free == {f"{PAGES}:2026-12": 2}
    office = Office(rig, pages=5)
    view = await office.sent()
    await office.ends(view.session, "SUCCESS", 5)
    assert (await rig.balance()).posted == EURO - found.total
    planned = await quotes.fax(Asked(TARGET, plan="light"), 5)
    assert isinstance(planned, FaxQuote)
    assert planned.free_pages == 2


async def test_pages_of_the_past_are_priced_again_with_those_of_each_month_and_what_packs_paid(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    await give(rig, FAX10, 1)
    office = Office(rig, pages=2)
    for key in ("a", "b"):
        view = await office.sent(key)
        await office.ends(view.session, "SUCCESS", 2)
    past = [one for row in await rig.store.cdrs() if (one := past_of(json.loads(row.document))) is not None]
    (same,) = rerate(rig.tariff, past, {})
    assert (same.paid, same.would_pay) == (PAGE, PAGE)
    (none,) = rerate(plan(rig.tariff, "light", free_pages=0), past, {})
    assert none.would_pay == 3 * PAGE
    (more,) = rerate(plan(rig.tariff, "light", free_pages=3), past, {})
    assert more.would_pay == 0


ROOMS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))


@given(st.integers(0, 40), ROOMS)
def test_pieces_are_shared_out_whole_and_in_order(count: int, rooms: Mapping[str, int]) -> None:
    found = shares(count, rooms)
    assert sum(found.values()) == min(count, sum(rooms.values()))
    assert all(0 < part <= rooms[name] for name, part in found.items())
    used = [name for name, room in rooms.items() if room]
    assert list(found) == used[: len(found)]
    assert all(found[name] == rooms[name] for name in list(found)[:-1])


DAYS = st.dates(date(2026, 11, 19), date(2026, 12, 3))


@given(st.lists(st.tuples(DAYS, st.integers(-1, 3)), max_size=12), st.integers(0, 3))
def test_what_may_pay_has_not_ended_and_the_soonest_end_goes_first(packs: list[tuple[date, int]], month: int) -> None:
    balances = {pack_of("x", day.isoformat(), "pages:"): Balance(left) for day, left in packs}
    rules = PieceRules({"p": True}, {"x": (50, True)})
    found = Allowance(PAGES, "p", month, MONTH, DAY, rules).pools(balances)
    ends = [name.split(":")[1].ljust(10, "~") for name in found]
    assert ends == sorted(ends)
    open_packs = sorted(name for name, one in balances.items() if one.available > 0 and name.split(":")[1] >= DAY)
    assert [name for name in found if name.count(":") == 2] == open_packs[:PACKS_MAX]
    assert found.get(PAGES_NOW, 0) == month
