"""Every store keeps the port's promises about money, sessions and ids."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from charging.clock import MICROSECONDS, SystemClock
from charging.ledger.accounts import Account
from charging.ledger.model import (
    LEGS_MAX,
    Applied,
    Balance,
    CdrRow,
    Closed,
    JournalLine,
    Kept,
    Kind,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    Transfer,
)
from charging.ledger.port import Store, Wanted
from tests.contract.money_scenarios import SCENARIOS
from tests.contract.scenario import ENDED_US, add_account, assert_sound, run


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(store: Store, scenario: str) -> None:
    await add_account(store)
    await run(store, SCENARIOS[scenario])
    if scenario != "a_leg_that_raises_available_is_never_refused":  # which ends with a debt, on purpose
        await assert_sound(store)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario_that_happens_to_many_accounts_at_a_time(store: Store, scenario: str) -> None:
    """SQLite books the ticks of many by statements for all of them: each is answered as it would be alone."""
    beside = [f"b{number}" for number in range(5)]
    for account in ("a", *beside):
        await add_account(store, account)
    await run(store, SCENARIOS[scenario], beside)
    alone = await store.snapshot("a")
    for account in beside:
        found = await store.snapshot(account)
        assert (found.balances, found.last_number) == (alone.balances, alone.last_number)
        assert [replace(one, account="a") for one in found.sessions] == list(alone.sessions)
    if scenario != "a_leg_that_raises_available_is_never_refused":
        await assert_sound(store)


async def test_ticks_that_are_applied_together_are_each_decided_by_what_was_answered_before(store: Store) -> None:
    accounts = [f"a{number}" for number in range(8)]
    for account in accounts:
        await add_account(store, account)
        await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", 100),)))
        await store.apply(Transfer("r1", account, Kind.RESERVE, 1, (Leg("credit", 0, 60),), "s", Opened("x", "")))

    def tick(account: str, number: int, taken: int = 10, epoch: int = 0, session: str = "s") -> Transfer:
        legs = (Leg("credit", -taken, 0),)
        state = f'{{"of":"{account} \\n é"}}'
        return Transfer(f"x{number}", account, Kind.EXTEND, 1, legs, session, Kept(state, epoch, number))

    first, second, *others = accounts
    begun = [
        (tick(first, 1), ()),
        (tick(second, 1, epoch=7), ()),
        *((tick(account, 1), ()) for account in others),
    ]
    following = [
        (tick(first, 2), ()),
        (tick(second, 2, epoch=6), ()),  # an older daemon's
        (tick(others[0], 9), ()),  # transfers were lost
        (tick(others[1], 2, taken=900), ()),
        (tick(others[2], 2, session="t"), ()),
        (tick("nobody", 1), ()),
    ]
    answers = [await _outcomes(store, some) for some in (begun, following)]
    refused = [Outcome.FENCED, Outcome.OUT_OF_SEQUENCE, Outcome.INSUFFICIENT, Outcome.SESSION_NOT_OPEN]
    refused.append(Outcome.ACCOUNT_NOT_FOUND)
    assert answers == [[Outcome.CREATED] * len(accounts), [Outcome.CREATED, *refused]]
    again = await _outcomes(store, [*begun, *following])
    assert again == [Outcome.EXISTS] * (len(accounts) + 1) + refused
    assert await store.balances(first) == {"credit": Balance(80, 60)}
    assert await store.balances(second) == {"credit": Balance(90, 60)}
    stored = {one.account: one for one in await store.sessions()}
    assert stored[first] == OpenSession("s", first, "x", f'{{"of":"{first} \\n é"}}', {"credit": 60}, 0, 1, 3)
    assert stored[second].epoch == 7
    await assert_sound(store)


async def _outcomes(store: Store, wanted: Sequence[Wanted]) -> list[Outcome]:
    return [answer.outcome for answer in await store.apply_all(wanted) if isinstance(answer, Applied)]


def opening(account: str, name: str, wanted: int = 60) -> Transfer:
    legs = Leg("credit", 0, wanted), Leg("calls", 0, 1, -2)
    return Transfer(f"r{name}", account, Kind.RESERVE, 1, legs, f"s{name}", Opened("x", f"é {account}"))


def closing(account: str) -> Transfer:
    legs = Leg("credit", 0, -60), Leg("calls", 0, -1)
    return Transfer("c1", account, Kind.SETTLE, 2, legs, "s1", Closed("{}", 2, 0, 1))


def grant(account: str) -> Transfer:
    return Transfer("g1", account, Kind.GRANT, 1, (Leg("bundle:2026-11", 300),))


async def test_openings_that_come_together_are_each_decided_by_what_was_answered_before(store: Store) -> None:
    accounts = [f"a{number}" for number in range(8)]
    for account in accounts:
        await add_account(store, account)
        await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", 100),)))
    place = (await store.feed.read_feed(0, 100))[-1].place
    first, second, third, granted, *others = accounts
    for account in (second, third):
        await store.apply(opening(account, "1"))
    wanted = [
        (opening(first, "1"), ()),
        (Transfer("x1", second, Kind.EXTEND, 1, (Leg("credit", -10, 0),), "s1", Kept("kept", 0, 1)), ()),
        *((opening(account, "1"), ()) for account in others),
        (opening(granted, "1"), [grant(granted)]),
        (opening(first, "3", 40), ()),
        (opening(second, "2", 30), ()),
        (closing(third), ()),
        (opening(third, "1"), ()),
        (opening(others[0], "2", 150), ()),
        (opening("nobody", "1"), ()),
    ]
    answers = await _outcomes(store, wanted)
    created = [Outcome.CREATED] * (len(wanted) - 3)
    assert answers == [*created, Outcome.EXISTS, Outcome.INSUFFICIENT, Outcome.ACCOUNT_NOT_FOUND]
    late = replace(opening(third, "3"), session="s1"), ()  # it has its CDR
    again = await _outcomes(store, [*wanted[:-2], late])
    assert again == [Outcome.EXISTS] * (len(wanted) - 2) + [Outcome.SESSION_EXISTS]
    assert (await store.balances(first))["credit"] == Balance(100, 100)
    assert (await store.balances(granted))["bundle:2026-11"] == Balance(300, 0)
    stored = {(one.account, one.id): one for one in await store.sessions()}
    holds = {"credit": 60, "calls": 1}
    assert stored[first, "s1"] == OpenSession("s1", first, "x", f"é {first}", holds, 0, 1, 1)
    assert (third, "s1") not in stored
    told = await store.feed.read_feed(place, 100)
    assert [entry.place for entry in told] == sorted({entry.place for entry in told})
    opened = {(entry.found.account, entry.found.id) for entry in told if isinstance(entry.found, JournalLine)}
    assert opened >= {(account, "r1") for account in accounts}
    await assert_sound(store)


async def test_a_leg_that_moves_nothing_begins_its_balance_all_the_same(store: Store) -> None:
    await add_account(store)
    await run(store, "r1 reserve s1:open credit= calls=/1@-2 -> created credit 0/0 calls 0/1")
    assert await store.balances("a") == {"credit": Balance(0, 0), "calls": Balance(0, 1)}
    await assert_sound(store)


async def test_an_unknown_account_is_refused(store: Store) -> None:
    await run(store, "t1 top_up credit=+100 -> account_not_found credit 0/0")
    await add_account(store)
    await run(store, "t1 top_up credit=+100 -> created credit 100/0")


async def test_an_id_is_unique_within_its_account_only(store: Store) -> None:
    for account in ("a", "b"):
        await add_account(store, account)
        applied = await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", 5),)))
        assert applied.outcome is Outcome.CREATED
    assert await store.balances("b") == {"credit": Balance(5, 0)}


async def test_accounts_and_balances_whose_names_run_together_stay_apart(store: Store) -> None:
    for account in ("a", "a.b", "a-b", "a_b"):
        await store.directory.put_account(Account(account, "voice_free"))
        await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", len(account)),)))
    assert await store.balances("a") == {"credit": Balance(1, 0)}
    assert await store.balances("a.b") == {"credit": Balance(3, 0)}


async def test_a_session_is_stored_with_its_money_and_forgotten_when_it_closes(store: Store) -> None:
    await add_account(store)
    await run(store, "t1 top_up credit=+100 -> created")
    opened = Transfer(
        "s1/0", "a", Kind.RESERVE, 7, (Leg("credit", 0, 60), Leg("calls", 0, 1, -1)), "s1", Opened("sw", "één", 2, 4)
    )
    await store.apply(opened)
    expected = OpenSession("s1", "a", "sw", "één", {"credit": 60, "calls": 1}, 2, 7, 5)
    assert list(await store.sessions()) == [expected]
    await store.apply(Transfer("s1/1", "a", Kind.EXTEND, 8, (Leg("credit", 0, -60),), "s1", Kept("two", 3, 5)))
    assert list(await store.sessions()) == [OpenSession("s1", "a", "sw", "two", {"calls": 1}, 3, 7, 6)]
    await store.apply(Transfer("s1/2", "a", Kind.SETTLE, 9, (Leg("calls", 0, -1),), "s1", Closed("{}", 8, 3, 6)))
    assert list(await store.sessions()) == []


async def test_a_leg_of_nothing_makes_a_balance_of_nothing(store: Store) -> None:
    """By which a month's grants are known to be counted, though there was none."""
    await add_account(store)
    legs = (Leg("bundle:2026-11", 60), Leg("granted:2026-11", 0))
    assert (await store.apply(Transfer("c1", "a", Kind.CORRECT, 1, legs, reason="x"))).outcome is Outcome.CREATED
    assert await store.balances("a") == {"bundle:2026-11": Balance(60), "granted:2026-11": Balance()}
    await assert_sound(store)


async def test_sessions_are_found_by_switch_and_account_oldest_first(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    for account, session, switch, at_us in [("a", "s1", "x", 3), ("b", "s2", "x", 1), ("a", "s3", "y", 2)]:
        transfer = Transfer(f"{session}/0", account, Kind.RESERVE, at_us, (), session, Opened(switch, ""))
        assert (await store.apply(transfer)).outcome is Outcome.CREATED

    async def ids(**which: str) -> list[str]:
        return [session.id for session in await store.sessions(**which)]

    assert await ids() == ["s2", "s3", "s1"]
    assert await ids(switch="x") == ["s2", "s1"]
    assert await ids(account="a") == ["s3", "s1"]
    assert await ids(switch="x", account="a") == ["s1"]
    assert await ids(switch="z") == []


async def test_session_is_found_by_its_id_and_no_other(store: Store) -> None:
    await add_account(store)
    for session in ("s1", "s11", "s"):
        transfer = Transfer(f"{session}/0", "a", Kind.RESERVE, 1, (), session, Opened("x", ""))
        assert (await store.apply(transfer)).outcome is Outcome.CREATED
        found = await store.session(session)
        assert found is not None
        assert (found.id, found.account) == (session, "a")
        assert await store.session(session, "x") == found
    assert await store.session("s1", "y") is None
    for unknown in ("s2", "s1 a", "s?", "s*", "[s]1", "\\s1", ""):
        assert await store.session(unknown) is None


async def test_session_is_found_by_its_id_and_by_the_page_among_very_many(store: Store) -> None:
    await add_account(store)
    ids = [f"s{n:04}" for n in range(2500)]
    opened = (Transfer(f"{one}/0", "a", Kind.RESERVE, 1, (), one, Opened(f"x{one[-1]}", "")) for one in ids)
    await asyncio.gather(*(store.apply(one) for one in opened))
    found = [await store.session(f"s{n:04}", f"x{n % 10}") for n in (0, 1777, 2499)]
    assert [one.id for one in found if one is not None] == ["s0000", "s1777", "s2499"]
    pages, after = [], ""
    while page := await store.sessions_page(after, 1001):
        pages.append([one.id for one in page])
        after = page[-1].id
    assert [len(one) for one in pages] == [1001, 1001, 498]
    assert [one for page in pages for one in page] == ids


async def test_a_kept_record_is_stored_without_a_journal_line(store: Store) -> None:
    await add_account(store)
    await run(store, "r1 reserve s1:open:2 -> created")
    assert await store.keep_session("a", "s1", Kept("new", 1, 1)) is Outcome.FENCED
    assert await store.keep_session("a", "s1", Kept("new", 1, 7)) is Outcome.FENCED
    assert await store.keep_session("a", "s1", Kept("new", 3, 0)) is Outcome.OUT_OF_SEQUENCE
    assert await store.keep_session("a", "s1", Kept("new", 3, 2)) is Outcome.OUT_OF_SEQUENCE
    assert await store.keep_session("a", "s1", Kept("new", 3, 1)) is Outcome.CREATED
    assert await store.keep_session("a", "s2", Kept("new", 3, 1)) is Outcome.SESSION_NOT_OPEN
    assert await store.keep_session("b", "s1", Kept("new", 3, 1)) is Outcome.SESSION_NOT_OPEN
    (session,) = await store.sessions()
    assert (session.state, session.epoch, session.sequence) == ("new", 3, 1)
    assert [line.id async for line in store.journal("a")] == ["r1"]


async def test_a_change_out_of_sequence_is_answered_with_the_session_as_it_is_stored(store: Store) -> None:
    await add_account(store)
    await run(store, "t1 top_up credit=+100 -> created")
    await run(store, "r1 reserve s1:open:2 credit=/60 calls=/1@-1 -> created")
    late = Transfer("s1/9", "a", Kind.EXTEND, 9, (Leg("credit", -5, 5),), "s1", Kept("lost", 2, 3))
    applied = await store.apply(late)
    (stored,) = await store.sessions()
    assert (applied.outcome, applied.session) == (Outcome.OUT_OF_SEQUENCE, stored)
    assert (await store.apply(replace(late, change=Kept("found", 2, 1)))).session is None


async def test_the_journal_is_numbered_without_gaps_and_its_sum_is_the_balance(store: Store) -> None:
    await add_account(store)
    await run(store, SCENARIOS["a_reservation_lowers_available_and_a_settlement_gives_the_rest_back"])
    await run(store, "f1 reserve s9:open credit=/9999 after g1 bundle:2026-11=+1 -> insufficient")
    await run(store, "f1 top_up credit=+1 after g1 bundle:2026-11=+7 -> created credit 16/0 bundle:2026-11 7/0")
    lines = [line async for line in store.journal("a")]
    assert [line.id for line in lines] == ["t1", "r1", "x1", "x2", "e1", "g1", "f1"]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert sum(leg.posted for line in lines for leg in line.legs if leg.balance == "credit") == 16
    assert [line.number async for line in store.journal("a", after=5)] == [6, 7]
    assert [line async for line in store.journal("b")] == []


async def test_a_journal_line_reads_back_as_it_was_written(store: Store) -> None:
    await add_account(store)
    await run(store, "t1 top_up credit=+100 -> created")
    legs = (Leg("credit", -1, 60, -3), Leg("bundle:2026-11", 5))
    transfer = Transfer("s1/0", "a", Kind.RESERVE, 77, legs, "s1", Opened("sw", ""), "“why” 'é\n")
    assert (await store.apply(transfer)).outcome is Outcome.CREATED
    (line,) = [line async for line in store.journal("a", after=1)]
    assert (line.number, line.id, line.account, line.kind, line.at_us) == (2, "s1/0", "a", Kind.RESERVE, 77)
    assert line.legs == (Leg("credit", -1, 60), Leg("bundle:2026-11", 5))
    assert (line.session, line.reason, line.digest) == ("s1", "“why” 'é\n", transfer.digest)


async def test_journal_pages_go_back_from_the_newest(store: Store) -> None:
    await add_account(store)
    for number in range(1, 8):
        await store.apply(Transfer(f"t{number}", "a", Kind.TOP_UP, number, (Leg("credit", 1),)))

    async def page(before: int | None, limit: int) -> list[int]:
        return [line.number for line in await store.journal_page("a", before, limit)]

    assert await page(None, 3) == [7, 6, 5]
    assert await page(5, 3) == [4, 3, 2]
    assert await page(2, 3) == [1]
    assert await page(1, 3) == []
    assert await page(99, 3) == [7, 6, 5]


async def test_a_cdr_is_written_with_the_settlement_and_found_by_time_and_account(store: Store) -> None:
    await add_account(store, "a")
    await add_account(store, "b")
    for account, session, ended_us in [("a", "s1", 30), ("b", "s2", 10), ("a", "s3", 20), ("a", "s4", 20)]:
        await store.apply(Transfer(f"{session}/0", account, Kind.RESERVE, 1, (), session, Opened("x", "")))
        closed = Closed(f'{{"s":"{session}"}}', ended_us, follows=1)
        await store.apply(Transfer(f"{session}/1", account, Kind.SETTLE, 2, (), session, closed))

    async def ids(**which: object) -> list[str]:
        return [row.session for row in await store.cdrs(**which)]  # type: ignore[arg-type]

    assert await ids() == ["s2", "s3", "s4", "s1"]
    assert await ids(account="a") == ["s3", "s4", "s1"]
    assert await ids(since_us=20, until_us=30) == ["s3", "s4"]
    assert await ids(limit=2) == ["s2", "s3"]
    assert await ids(after=(20, "s3")) == ["s4", "s1"]
    assert await ids(account="a", after=(20, "s4"), limit=1) == ["s1"]
    assert list(await store.cdrs(limit=1)) == [CdrRow("s2", "b", 10, '{"s":"s2"}')]


async def test_a_session_closed_without_a_cdr_leaves_none(store: Store) -> None:
    await add_account(store)
    await run(store, "r1 reserve s1:open -> created")
    await run(store, "e1 release s1:close -> created")
    assert await store.cdrs(until_us=ENDED_US + 1) == []


async def test_fifty_reservations_at_once_with_money_for_twenty_get_exactly_twenty(store: Store) -> None:
    await add_account(store)
    await run(store, "t1 top_up credit=+2039 -> created")

    def reserve(number: int) -> Transfer:
        return Transfer(
            f"s{number}/0", "a", Kind.RESERVE, number, (Leg("credit", 0, 100),), f"s{number}", Opened("x", "")
        )

    answers = await asyncio.gather(*(store.apply(reserve(number)) for number in range(50)))
    outcomes = [answer.outcome for answer in answers]
    assert outcomes.count(Outcome.CREATED) == 20
    assert outcomes.count(Outcome.INSUFFICIENT) == 30
    assert await store.balances("a") == {"credit": Balance(2039, 2000)}
    assert len(await store.sessions()) == 20


async def test_the_same_id_sent_many_times_at_once_is_carried_out_once(store: Store) -> None:
    await add_account(store)
    top_up = Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 100),))
    answers = await asyncio.gather(*(store.apply(top_up) for _ in range(40)))
    assert [answer.outcome for answer in answers].count(Outcome.CREATED) == 1
    assert [answer.outcome for answer in answers].count(Outcome.EXISTS) == 39
    assert await store.balances("a") == {"credit": Balance(100, 0)}


async def test_what_is_applied_together_is_answered_each_by_itself_and_none_touches_another(store: Store) -> None:
    await add_account(store)
    await run(store, "t1 top_up credit=+100 -> created\nr1 reserve s1:open credit=/60 -> created")
    grant = Transfer("g1", "a", Kind.GRANT, 1, (Leg("bundle:2026-11", 600),))

    def reserve(session: str, amount: int, account: str = "a") -> Transfer:
        legs = (Leg("credit", 0, amount),)
        return Transfer(f"{session}/0", account, Kind.RESERVE, 1, legs, session, Opened("x", ""))

    wanted = [
        (reserve("s2", 30), [grant]),
        (reserve("s3", 50), ()),
        (reserve("s4", 1, account="nobody"), ()),
        (Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 100),)), ()),
        (reserve("s5", 10), ()),
    ]
    answers = await _outcomes(store, wanted)
    created = Outcome.CREATED
    assert answers == [created, Outcome.INSUFFICIENT, Outcome.ACCOUNT_NOT_FOUND, Outcome.EXISTS, created]
    assert await store.balances("a") == {"credit": Balance(100, 100), "bundle:2026-11": Balance(600, 0)}
    assert await store.apply_all([]) == []
    await assert_sound(store)


async def test_balances_of_several_accounts_come_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    for account, amount in (("a", 5), ("b", 7)):
        await add_account(store, account)
        await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", amount),)))
    seven, five = {"credit": Balance(7, 0)}, {"credit": Balance(5, 0)}
    for times in (1, 2, 30):  # few and many are read in two ways
        found = await store.balances_of(["b", "nobody", "a"] * times)
        assert list(found) == [seven, {}, five] * times
    assert list(await store.balances_of([])) == []


@pytest.mark.parametrize(
    ("grant", "why"),
    [
        (Transfer("g", "b", Kind.GRANT, 1), "account"),
        (Transfer("g", "a", Kind.GRANT, 1, (), "s", Opened("x", "")), "account"),
        (Transfer("t", "a", Kind.GRANT, 1), "ids"),
    ],
)
async def test_a_grant_of_another_account_session_or_the_same_id_is_a_programming_error(
    store: Store, grant: Transfer, why: str
) -> None:
    await add_account(store)
    with pytest.raises(ValueError, match=why):
        await store.apply(Transfer("t", "a", Kind.TOP_UP, 1), [grant])


async def test_a_server_of_its_own_tells_the_time(store: Store) -> None:
    wall_us = await store.wall_us()
    if wall_us is not None:
        assert abs(wall_us - SystemClock().now().wall_us) < 60 * MICROSECONDS


async def test_a_balance_that_is_zero_is_dropped_and_others_are_not(store: Store) -> None:
    await add_account(store)
    await run(
        store,
        """t1 top_up credit=+5 day:2026-11-21=+1 bundle:2026-11=+9 -> created
           t2 correct day:2026-11-21=-1 -> created
           r1 reserve s1:open bundle:2026-11=-4/5 bundle:2026-12=/0 -> created""",
    )
    await store.drop_balances("a", ["credit", "day:2026-11-21", "bundle:2026-11", "unheard-of"])
    assert sorted(await store.balances("a")) == ["bundle:2026-11", "bundle:2026-12", "credit"]
    await assert_sound(store)
    await run(store, "t3 correct day:2026-11-21=+2 -> created day:2026-11-21 2/0")
    await assert_sound(store)


async def test_a_transfer_of_many_balances_sees_each_as_it_is(store: Store) -> None:
    """A call over many gifts: as many legs as a transfer may have."""
    await add_account(store)
    names = [f"promo:2027-01-{day:02d}" for day in range(1, LEGS_MAX + 1)]
    given, taken = ([Leg(name, amount) for name in names] for amount in (5, -3))
    assert (await store.apply(Transfer("t1", "a", Kind.CORRECT, 1, tuple(given)))).outcome is Outcome.CREATED
    assert (await store.apply(Transfer("t2", "a", Kind.CORRECT, 2, tuple(taken)))).outcome is Outcome.CREATED
    assert (await store.apply(Transfer("t3", "a", Kind.CORRECT, 3, tuple(taken)))).outcome is Outcome.INSUFFICIENT
    assert await store.balances("a") == dict.fromkeys(names, Balance(2, 0))
    await assert_sound(store)


async def test_a_line_tells_who_had_it_written_and_a_repeated_transfer_changes_that_no_more(store: Store) -> None:
    await add_account(store)
    by_alice = Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 7),), actor="cli:alice")
    assert (await store.apply(by_alice)).outcome is Outcome.CREATED
    assert (await store.apply(Transfer("t2", "a", Kind.TOP_UP, 2, (Leg("credit", 7),)))).outcome is Outcome.CREATED
    assert (await store.apply(replace(by_alice, actor="cli:bob"))).outcome is Outcome.EXISTS
    assert [line.actor async for line in store.journal("a")] == ["cli:alice", ""]
    assert [line.actor for line in await store.journal_page("a", None, 10)] == ["", "cli:alice"]


async def test_a_cdr_is_found_by_its_account_and_session(store: Store) -> None:
    await add_account(store)
    await run(store, "r1 reserve s1:open credit= -> created\ne1 settle s1:close+cdr credit= -> created")
    (row,) = await store.cdrs()
    assert await store.cdr("a", "s1") == row
    assert await store.cdr("a", "s2") is None
    assert await store.cdr("b", "s1") is None
