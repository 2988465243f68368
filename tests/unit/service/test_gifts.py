"""Promotional credit: given and taken back with a reason, shown, told, stated, and gone when its last day is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from charging.ledger.accounts import Account, Language
from charging.ledger.balances import PROMOS_MAX, divided, promo, rooms, spendable
from charging.ledger.credit_life import CreditEvent, credit_event
from charging.ledger.model import AMOUNT_MAX, CREDIT, Balance, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.remembered import remember
from charging.pricing.packs import PACKS_MAX, pack_of
from charging.service.balance import BalanceView
from charging.service.events import Line
from charging.service.gifts import Given, PackGiven, PackWish
from charging.service.refusal import Code, Refused
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import statement_page
from charging.service.statements import Promotional, Statement, statement
from charging.service.trail import Sought
from charging.tariff.plans import Pack
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused
from tests.unit.service.house import House

LAST = date(2026, 12, 31)
NAME = promo("2026-12-31")
ELEVEN_YEARS = date(2037, 12, 31)


async def give(shop: Shop, amount: int = 5 * EURO, last_day: date = LAST, key: str = "k1") -> Given:
    given = await shop.service.gifts.give_credit("anna", amount, last_day, "welcome", key)
    assert isinstance(given, Given), given
    return given


async def view(shop: Shop) -> BalanceView:
    seen = await shop.service.balances.view("anna")
    assert isinstance(seen, BalanceView)
    return seen


async def test_it_is_given_once_for_each_key_and_tells_running_calls(shop: Shop) -> None:
    await shop.anna()
    first, again = await give(shop), await give(shop)
    assert (first.created, again.created, again.left) == (True, False, Balance(5 * EURO))
    assert shop.told == ["anna", "anna"]
    line = await anext(aiter(shop.store.journal("anna")))
    assert (line.kind, line.reason, line.legs) == (Kind.CORRECT, "welcome", (Leg(NAME, 5 * EURO),))
    answer = await shop.service.gifts.give_credit("anna", EURO, LAST, "welcome", "k1")
    refused(answer, Code.KEY_REUSED)


async def test_it_is_no_bought_credit_and_is_shown_beside_it(shop: Shop) -> None:
    await shop.anna()
    await give(shop)
    await give(shop, EURO, date(2026, 11, 21), "k2")
    seen = await view(shop)
    assert seen.credit.posted == 0
    assert [(one.last_day, one.now) for one in seen.promotions] == [("2026-11-21", EURO), ("2026-12-31", 5 * EURO)]


async def test_what_is_taken_back_is_never_more_than_there_is(shop: Shop) -> None:
    await shop.anna()
    await give(shop)
    refused(await shop.service.gifts.give_credit("anna", -5 * EURO - 1, LAST, "mistake", "k2"), Code.INSUFFICIENT)
    assert (await give(shop, -5 * EURO, key="k3")).left == Balance(0)


@pytest.mark.parametrize(
    ("amount", "last_day", "reason", "code"),
    [
        (0, LAST, "x", Code.INVALID),
        (2**53, LAST, "x", Code.INVALID),
        (EURO, date(2026, 11, 20), "x", Code.NOT_ALLOWED),
        (EURO, ELEVEN_YEARS, "x", Code.NOT_ALLOWED),
        (EURO, LAST, " ", Code.INVALID),
    ],
)
async def test_what_cannot_be_given(shop: Shop, amount: int, last_day: date, reason: str, code: Code) -> None:
    await shop.anna()
    refused(await shop.service.gifts.give_credit("anna", amount, last_day, reason, "k1"), code)
    assert await shop.store.balances("anna") == {}


async def test_nobody_and_a_closed_account_are_given_nothing(shop: Shop) -> None:
    refused(await shop.service.gifts.give_credit("nobody", EURO, LAST, "x", "k1"), Code.NOT_FOUND)
    await shop.anna()
    await shop.service.accounts.close("anna", "left")
    answer = await shop.service.gifts.give_credit("anna", EURO, LAST, "x", "k1")
    assert not isinstance(answer, Given)


async def test_more_than_a_balance_can_hold_is_refused_and_no_outage(shop: Shop) -> None:
    await shop.anna()
    await give(shop, AMOUNT_MAX)
    refused(await shop.service.gifts.give_credit("anna", 1, LAST, "x", "k2"), Code.NOT_ALLOWED)


@pytest.mark.parametrize("meanwhile", ["its last day is over", "closed", "archived and closed"])
async def test_r18_a_gift_that_was_given_is_answered_so_again_whatever_has_happened(shop: Shop, meanwhile: str) -> None:
    await shop.anna()
    given, day = await give(shop), date(2026, 11, 21)
    short = await give(shop, EURO, day, "k2")
    await later(shop, meanwhile)
    again = await give(shop)
    assert (again.created, again.transfer, again.left) == (False, given.transfer, given.left)
    if meanwhile != "its last day is over":
        await shop.clock.advance(86_400)
    assert (await give(shop, EURO, day, "k2")).transfer == short.transfer
    new = await shop.service.gifts.give_credit("anna", EURO, day, "welcome", "new")
    assert isinstance(new, Refused)


async def later(shop: Shop, meanwhile: str) -> None:
    if meanwhile.startswith("archived"):
        await remember(shop.store, [line async for line in shop.store.journal("anna")], shop.clock.now().wall_us)
    if meanwhile.endswith("closed"):
        await shop.service.accounts.close("anna", "left")
    else:
        await shop.clock.advance(86_400)


async def test_an_account_has_some_ends_at_once_and_more_of_each(shop: Shop) -> None:
    await shop.anna()
    for day in range(1, PROMOS_MAX + 1):
        await give(shop, EURO, date(2026, 12, day), f"k{day}")
    refused(await shop.service.gifts.give_credit("anna", EURO, LAST, "x", "more"), Code.NOT_ALLOWED)
    assert (await give(shop, EURO, date(2026, 12, 1), "again")).left == Balance(2 * EURO)


async def test_requests_at_the_same_time_give_no_more_ends_than_one_after_the_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.anna()
    shop.tariff = replace(shop.tariff, packs={"addon": Pack("addon", "Add-on", 600, 30)})
    gifts, read, asked = shop.service.gifts, shop.store.balances, range(1, 11)

    async def balances(account: str) -> Mapping[str, Balance]:
        found = await read(account)
        await asyncio.sleep(0)  # as a real store, which lets others read meanwhile
        return found

    monkeypatch.setattr(shop.store, "balances", balances)
    days = [date(2026, 12, day) for day in asked]
    credit = [gifts.give_credit("anna", EURO, day, "x", f"credit-{day}") for day in days]
    packs = [gifts.give_pack("anna", PackWish("addon", day), "x", f"pack-{day}") for day in days]
    answers = await asyncio.gather(*credit, *packs)
    assert sum(isinstance(one, Given) for one in answers) == PROMOS_MAX
    assert sum(isinstance(one, PackGiven) for one in answers) == PACKS_MAX


async def test_who_did_it_is_noted(shop: Shop) -> None:
    await shop.anna()
    await give(shop)
    page = await shop.service.changes(Sought(account="anna"), None, 10)
    assert isinstance(page, tuple)
    note = next(one.change for one in page[0] if one.change.act == "credit.granted")
    assert note.done
    assert note.before == {"promotional": "0.00"}
    assert (note.after["promotional"], note.after["last_day"]) == ("5.00", "2026-12-31")


# --- its end --------------------------------------------------------------------------------------------------


async def promotional(house: House, euro: int, last_day: str) -> None:
    assert await house.move(Kind.CORRECT, Leg(promo(last_day), euro * EURO), reason="gift") is Outcome.CREATED


async def left_after(house: House, local: str, last_day: str) -> int:
    await house.credit_after_turn(local)
    return (await house.balance(promo(last_day))).posted


@pytest.mark.parametrize("last_day", ["2026-11-30", "2027-03-28", "2026-12-31"])
async def test_it_lapses_as_its_last_day_ends_in_the_operators_zone(house: House, last_day: str) -> None:
    await promotional(house, 5, last_day)
    following = date.fromisoformat(last_day).toordinal() + 1
    assert await left_after(house, f"{last_day}T23:59:59", last_day) == 5 * EURO
    assert await left_after(house, f"{date.fromordinal(following)}T00:00:00", last_day) == 0
    assert await house.expiries() == [f"expire/promo:{last_day}"]
    assert house.told == ["anna"]


async def test_a_call_that_began_before_the_end_postpones_it_though_it_holds_none(house: House) -> None:
    await promotional(house, 5, "2026-11-30")
    await house.until("2026-11-30T23:59:00")
    await house.call("s1", Leg("calls", 0, 1, -5))
    assert await left_after(house, "2026-12-01T00:01:00", "2026-11-30") == 5 * EURO
    await house.hang_up("s1", Kind.RELEASE, Leg("calls", 0, -1))
    assert await left_after(house, "2026-12-01T00:03:00", "2026-11-30") == 0


async def test_a_call_that_began_after_the_end_postpones_nothing(house: House) -> None:
    await promotional(house, 5, "2026-11-30")
    await house.until("2026-12-01T00:00:01")
    await house.call("s1", Leg("calls", 0, 1, -5))
    assert await left_after(house, "2026-12-01T00:01:00", "2026-11-30") == 0


@pytest.mark.parametrize(("day", "left"), [("2026-11-30", 5 * EURO), ("2026-12-01", 0)])
async def test_a_call_that_a_fail_over_opened_again_after_the_end_counts_by_the_day_of_its_set_up(
    house: House, day: str, left: int
) -> None:
    await promotional(house, 5, "2026-11-30")
    await house.until("2026-12-01T00:00:00")
    await house.call("s1", Leg("calls", 0, 1, -5), state=f'{{"day": "{day}"}}')
    assert await left_after(house, "2026-12-01T00:01:00", "2026-11-30") == left


async def test_two_daemons_let_it_lapse_once(house: House) -> None:
    await promotional(house, 5, "2026-11-30")
    await house.until("2026-12-01T12:00:00")
    await asyncio.gather(house.another().turn(), house.another().turn())
    assert await house.expiries() == ["expire/promo:2026-11-30"]
    assert (await house.balance(promo("2026-11-30"))).posted == 0


async def test_an_empty_one_of_long_ago_is_forgotten(house: House) -> None:
    await promotional(house, 5, "2026-11-30")
    await left_after(house, "2026-12-01T12:00:00", "2026-11-30")
    await house.credit_after_turn("2027-02-01T12:00:00")
    assert promo("2026-11-30") not in await house.store.balances("anna")


async def test_r19_a_gift_begins_no_year_but_spending_it_does(house: House) -> None:
    await house.top_up()
    await house.until("2027-06-01T12:00")
    await promotional(house, 5, "2027-12-31")
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0
    lines = [line async for line in house.store.journal("anna")]
    assert credit_event(lines[1]) is None
    await house.move(Kind.SETTLE, Leg(promo("2027-12-31"), -EURO))
    lines = [line async for line in house.store.journal("anna")]
    assert credit_event(lines[-1]) is CreditEvent.USE


# --- what is told of it ---------------------------------------------------------------------------------------


async def stated(shop: Shop, month: str = "2026-11") -> Statement:
    made = await shop.service.statements.of("anna", month)
    assert isinstance(made, Statement)
    return made


async def test_a_statement_tells_it_apart_from_what_was_bought(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "t1")
    await give(shop)
    used = (Leg(CREDIT, -EURO // 2), Leg(NAME, -2 * EURO))
    opened = Opened("test", "{}")
    at_us = shop.clock.now().wall_us
    assert (await shop.store.apply(Transfer("s/1", "anna", Kind.RESERVE, at_us, used, "s", opened))).outcome.applied
    made = await stated(shop)
    assert (made.opening, made.closing, made.usage) == (0, 9_500_000, 500_000)
    assert made.promotional == Promotional(opening=0, given=5 * EURO, used=2 * EURO, expired=0)
    assert made.promotional.left == 3 * EURO
    assert [(line.kind, line.credit, line.promotional) for line in made.lines] == [
        ("top_up", 10 * EURO, 0),
        ("promotion", 0, 5 * EURO),
        ("call", -EURO // 2, -2 * EURO),
    ]
    assert ",part,promotional," in statement_csv(made).splitlines()[0]
    for language, word in ((Language.NL, "Actietegoed"), (Language.EN, "Promotional credit")):
        await shop.service.accounts.change("anna", {"language": language})
        page = statement_page(await stated(shop))
        assert word in page
        assert "welcome" in page


async def test_what_lapses_is_stated_as_lapsed(house: House) -> None:
    await promotional(house, 5, "2026-11-30")
    await house.credit_after_turn("2026-12-01T12:00:00")
    lines = [line async for line in house.store.journal("anna")]
    made = statement(Account("anna", "free"), "2026-12", house.tariff, house.clock.now().wall_us, lines, {})
    assert [(one.kind, one.promotional) for one in made.lines] == [("promotion_expired", -5 * EURO)]
    assert made.promotional == Promotional(opening=5 * EURO, expired=5 * EURO)


# --- the arithmetic -------------------------------------------------------------------------------------------


def test_what_counts_on_a_day_ends_on_it_or_later_and_the_soonest_pays_first() -> None:
    balances = {promo("2026-11-30"): Balance(5), promo("2026-11-21"): Balance(7, 4), promo("2026-11-20"): Balance(9)}
    assert list(rooms(balances, "2026-11-21").items()) == [(promo("2026-11-21"), 3), (promo("2026-11-30"), 5)]
    assert spendable({**balances, CREDIT: Balance(10, 1)}, "2026-11-21") == Balance(22, 5)


def test_an_amount_is_divided_and_what_was_paid_before_stays_where_it_was() -> None:
    assert divided(10, {"promo:a": 3, "promo:b": 4}) == {"promo:a": 3, "promo:b": 4, CREDIT: 3}
    assert divided(10, {"promo:a": 3}, {CREDIT: 6, "day:x": 6}) == {CREDIT: 7, "promo:a": 3}
    assert divided(0, {"promo:a": 3}) == {CREDIT: 0}


# --- packs of minutes -----------------------------------------------------------------------------------------

PACKS = {
    "addon": Pack("addon", "Add-on 60", 3600, 30),
    "belgium": Pack("belgium", "Belgium", 600, 1, frozenset({"nl_mobile"})),
}


@pytest.fixture
def packed(shop: Shop) -> Shop:
    shop.tariff = replace(shop.tariff, packs=PACKS)
    return shop


async def pack(shop: Shop, wish: PackWish, key: str = "p1") -> PackGiven:
    given = await shop.service.gifts.give_pack("anna", wish, "bought", key)
    assert isinstance(given, PackGiven), given
    return given


async def test_a_pack_lasts_its_days_the_first_is_today_and_is_given_once(packed: Shop) -> None:
    await packed.anna()
    given, again = await pack(packed, PackWish("addon")), await pack(packed, PackWish("addon"))
    assert (given.last_day, given.amount, given.created) == (date(2026, 12, 20), 3600, True)
    assert (again.created, again.left) == (False, Balance(3600))
    assert (await pack(packed, PackWish("belgium"), "p2")).last_day == date(2026, 11, 21)
    seen = await view(packed)
    assert [(one.title, one.last_day, one.now) for one in seen.packs] == [
        ("Belgium", "2026-11-21", 600),
        ("Add-on 60", "2026-12-20", 3600),
    ]
    assert packed.told == ["anna"] * 3


async def test_minutes_of_a_pack_are_taken_back_never_more_than_there_are(packed: Shop) -> None:
    await packed.anna()
    await pack(packed, PackWish("addon", LAST))
    answer = await packed.service.gifts.give_pack("anna", PackWish("addon", LAST, -61), "mistake", "p2")
    refused(answer, Code.INSUFFICIENT)
    assert (await pack(packed, PackWish("addon", LAST, -60), "p3")).left == Balance(0)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (PackWish("none"), Code.INVALID),
        (PackWish("addon", minutes=0), Code.INVALID),
        (PackWish("addon", date(2026, 11, 20)), Code.NOT_ALLOWED),
    ],
)
async def test_what_pack_cannot_be_given(packed: Shop, wish: PackWish, code: Code) -> None:
    await packed.anna()
    refused(await packed.service.gifts.give_pack("anna", wish, "x", "p1"), code)
    assert await packed.store.balances("anna") == {}


@pytest.mark.parametrize("wish", [PackWish("addon"), PackWish("addon", LAST, 7)])
async def test_r18_a_pack_that_was_given_is_answered_so_again_though_the_tariff_has_it_no_more(
    packed: Shop, wish: PackWish
) -> None:
    await packed.anna()
    given = await pack(packed, wish)
    packed.tariff = replace(packed.tariff, packs={})
    await packed.service.accounts.close("anna", "left")
    await packed.clock.advance(50 * 86_400)
    assert await pack(packed, wish) == replace(given, created=False)
    none = refused(await packed.service.gifts.give_pack("anna", wish, "bought", "new"), Code.INVALID)
    assert ("which has none" in none.message, "`packs`" in none.advice) == (True, True)
    refused(await packed.service.gifts.give_pack("anna", replace(wish, pack="a b"), "bought", "p1"), Code.INVALID)
    refused(await packed.service.gifts.give_pack("anna", replace(wish, minutes=8), "bought", "p1"), Code.CLOSED)


async def test_an_account_has_some_packs_at_once(packed: Shop) -> None:
    await packed.anna()
    for day in range(1, PACKS_MAX + 1):
        await pack(packed, PackWish("addon", date(2026, 12, day)), f"p{day}")
    refused(await packed.service.gifts.give_pack("anna", PackWish("addon", LAST), "x", "more"), Code.NOT_ALLOWED)


async def test_a_pack_lapses_as_its_last_day_ends_and_a_call_that_holds_some_postpones_it(house: House) -> None:
    name = pack_of("addon", "2026-11-30")
    assert await house.move(Kind.CORRECT, Leg(name, 600), reason="bought") is Outcome.CREATED
    await house.credit_after_turn("2026-11-30T23:59:59")
    assert (await house.balance(name)).posted == 600
    await house.call("s1", Leg(name, 0, 60))
    await house.credit_after_turn("2026-12-01T00:01:00")
    assert await house.balance(name) == Balance(600, 60)
    await house.hang_up("s1", Kind.SETTLE, Leg(name, -60, -60))
    await house.credit_after_turn("2026-12-01T00:03:00")
    assert (await house.balance(name)).posted == 0
    assert await house.expiries() == [f"expire/{name}"]
    await house.credit_after_turn("2027-02-01T12:00:00")
    assert name not in await house.store.balances("anna")


async def test_a_pack_is_noted_stated_and_told(packed: Shop) -> None:
    await packed.anna()
    await pack(packed, PackWish("addon", LAST))
    page = await packed.service.changes(Sought(account="anna"), None, 10)
    assert isinstance(page, tuple)
    note = next(one.change for one in page[0] if one.change.act == "minutes.granted")
    assert (note.after["pack"], note.after["free_seconds"]) == ("2026-12-31:addon", 3600)
    made = await stated(packed)
    assert [(line.kind, line.credit, line.reason) for line in made.lines] == [("pack", 0, "bought")]
    assert "Minutenbundel" in statement_page(made)
    events = await packed.service.events.page("anna", Line(), 10)
    assert isinstance(events, tuple)
    assert [(one.what, one.data["pack"], one.data["seconds"]) for one in events[0]] == [
        ("minutes.granted", "addon", 3600)
    ]
