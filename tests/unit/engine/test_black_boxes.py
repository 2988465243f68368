"""What the switch noted of calls that are over: booked, deleted for certain, and left alone where it is another's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sized
from dataclasses import replace
from typing import Any

import pytest

from charging.call.decide import Decision
from charging.call.decided import FALLBACK, Fallback, TurnedAway, explanation
from charging.call.events import BlackBoxRead
from charging.engine.black_boxes import HOUSEKEEPING_S, LOOKED_UP_A_TURN_MAX, NOTED_A_TURN_MAX
from charging.engine.sessions import DELETE_AT_ONCE_MAX, BookedRecords
from charging.errors import LinkDown
from charging.ledger.model import Kept, Kind
from charging.safe_text import hidden
from charging.service.decisions import QUEUE_MAX
from charging.tasks import Breath
from tests.fakes.effort import turns_of
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig

PRICE = 100_000
"""Of a message in the tests' plan ``free``."""
NOBODYS = "nosession-1700000000.1"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


async def charges(rig: Rig) -> int:
    """How often a message was charged."""
    return len([line async for line in rig.store.journal("anna") if line.kind is Kind.CHARGE])


async def ended_call(rig: Rig) -> str:
    """The session of a call that is booked."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(5)
    await rig.hang_up(call)
    return call.session


async def test_booked_record_is_deleted_and_then_nothing_is_ordered_any_more(rig: Rig) -> None:
    session = await ended_call(rig)
    await rig.clock.advance(10)
    assert rig.switch.deleted == [[session]]
    assert rig.switch.records == {}
    await rig.clock.advance(600)
    assert rig.switch.deleted == [[session]]


async def test_a_booked_record_is_not_read_again_and_still_counts_as_there(rig: Rig) -> None:
    rig.switch.deletes = False
    session = await ended_call(rig)
    await rig.clock.advance(60)
    assert rig.switch.records_read == []
    assert rig.heard("records_not_deleted")[0] == {"records": 1}
    assert len(rig.switch.deleted) > 1, "it is there, and ordered again"
    assert session in rig.registry.booked


async def test_a_look_at_many_records_lets_calls_between(rig: Rig) -> None:
    """Strangers can ring often while no daemon runs; each call leaves a record."""
    box = BlackBoxRead(True, "BUSY", number="+31201234567", by_leg=True)
    rig.switch.records = {f"nosession-{number}.1": box for number in range(1_000)}
    looking = asyncio.create_task(rig.black_boxes._housekeep())
    assert await turns_of(looking) >= 4 * 1_000 // Breath.TURNS, "four times through all"
    assert await looking


async def test_records_of_calls_that_were_turned_away_go_faster_than_a_stranger_can_ring(rig: Rig) -> None:
    """A call that gets no session leaves one, whoever rings; a switch with millions of them answers no order."""
    box = BlackBoxRead(True, number="+31201234567", by_leg=True)
    for second in range(60):
        rig.switch.records |= {f"nosession-{second}.{number}": box for number in range(250)}
        await rig.clock.advance(1)
    assert len(rig.switch.records) <= 250 * 30, "those of one look and the next, of 15,000"
    await rig.clock.advance(60)
    assert rig.switch.records == {}


async def test_calls_that_are_over_leave_nothing_behind_in_the_daemon(rig: Rig) -> None:
    def held() -> dict[str, int]:
        home = rig.registry
        parts = (home, home.open, home.booked, home.closed, home.rounds, rig.recovery, rig.black_boxes)
        members = ((f"{type(part).__name__}.{name}", one) for part in parts for name, one in vars(part).items())
        return {name: len(one) for name, one in members if isinstance(one, Sized)}

    await rig.clock.advance(60)
    before = held()
    for _ in range(5):
        await ended_call(rig)
        await rig.clock.advance(60)
    assert held() == before


async def test_record_that_the_switch_keeps_is_ordered_again_ever_more_seldom_and_said(rig: Rig) -> None:
    rig.switch.deletes = False
    session = await ended_call(rig)
    await rig.clock.advance(600)
    assert rig.heard("records_not_deleted")[0] == {"records": 1}
    assert 6 <= len(rig.switch.deleted) <= 10, "10, 20, 40, 80 and then every 120 seconds"
    rig.switch.deletes = True
    await rig.clock.advance(250)
    assert rig.switch.records == {}
    assert {key for keys in rig.switch.deleted for key in keys} == {session}


async def test_record_is_deleted_when_the_link_is_back(rig: Rig) -> None:
    session = await ended_call(rig)
    rig.switch.up = False
    await rig.clock.advance(60)
    assert rig.heard("maintenance_postponed")
    assert rig.switch.deleted == []
    rig.switch.up = True
    await rig.clock.advance(120)
    assert rig.switch.deleted == [[session]]


async def test_record_of_a_caller_who_was_turned_away_is_deleted(rig: Rig) -> None:
    await rig.subscriber(credit=0)
    answer = await rig.ring()
    assert answer.session is None
    rig.switch.leave_message(NOBODYS, "u1", stored=False)
    await rig.clock.advance(21)
    assert rig.switch.records == {}


async def test_record_that_comes_long_after_its_session_was_booked_is_deleted(rig: Rig) -> None:
    """The caller whose forward failed talks to the included voicemail for a while, and only then hangs up."""
    await rig.subscriber(credit=EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    await rig.desk.unanswered(call.session, "BUSY")
    await rig.clock.advance(60)
    assert await rig.store.sessions() == []
    rig.switch.leave_message(call.session, "u1")
    await rig.clock.advance(21)
    assert rig.switch.records == {}
    assert (await rig.balance()).available == EURO


async def test_message_that_the_fallback_took_is_charged_while_the_daemon_lives(rig: Rig) -> None:
    """A daemon that was late with one answer is neither restarted nor connected again."""
    await rig.subscriber(credit=EURO, plan="free")
    rig.switch.leave_message(NOBODYS, "u1", fallback=True)
    await rig.clock.advance(21)
    assert (await rig.balance()).available == EURO - PRICE
    assert rig.switch.records == {}


async def test_paid_voicemail_that_another_daemon_sold_is_booked_when_its_record_appears(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    rig.registry.leads = lambda: False
    answer = await rig.ring()
    assert answer.session is not None
    rig.registry.leads = lambda: True
    rig.switch.leave_message(answer.session, "u1")
    await rig.clock.advance(12)
    assert (await rig.balance()).posted == EURO - PRICE
    await rig.clock.advance(20)
    assert rig.switch.records == {}


@pytest.mark.parametrize("state", ["{}", "[]", "garbage", '{"kind":"fax","opened":[]}', "[" * 100_000], ids=range(5))
async def test_record_of_a_session_that_can_not_be_read_is_kept_for_whoever_looks(rig: Rig, state: str) -> None:
    await rig.subscriber(credit=EURO)
    call = await rig.talking()
    await rig.kill_daemon()
    await rig.store.keep_session("anna", call.session, Kept(state, follows=1))
    rig.switch.end(call.session)
    await rig.start_daemon()
    await rig.clock.advance(60)
    assert list(rig.switch.records) == [call.session]
    assert len(rig.heard("session_unreadable")) == 1


async def test_calls_of_a_newer_version_go_on_are_booked_and_said_once(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    calls = [await rig.talking() for _ in range(2)]
    await rig.kill_daemon()
    for call in calls:
        (stored,) = [one for one in await rig.store.sessions() if one.id == call.session]
        state = json.dumps(json.loads(stored.state) | {"promotion": {"percent": 10}})
        await rig.store.keep_session("anna", call.session, Kept(state, stored.epoch, stored.sequence))
    await rig.start_daemon()
    await rig.clock.advance(120)
    (line,) = rig.heard("newer_version_read")
    assert line["members"] == ("promotion",)
    assert [json.loads(one.state)["promotion"] for one in await rig.store.sessions()] == [{"percent": 10}] * 2
    for call in calls:
        rig.switch.end(call.session)
    await rig.clock.advance(10)
    assert await rig.reserved() == {}
    assert {json.loads(row.document)["used_ms"] for row in await rig.store.cdrs()} == {120_000}


async def test_daemon_that_stands_by_deletes_nothing(rig: Rig) -> None:
    session = await ended_call(rig)
    rig.registry.leads = lambda: False
    await rig.recovery.stand_by()
    await rig.clock.advance(60)
    assert rig.switch.deleted == []
    rig.registry.leads = lambda: True
    await rig.recovery.lead(2)
    await rig.clock.advance(11)
    assert rig.switch.deleted == [[session]]


# --- the records of another switch.id ---------------------------------------------------------------------------


@pytest.mark.parametrize(("switch", "is_ours"), [("test", True), ("", True), ("other", False)])
async def test_record_of_another_switch_id_is_neither_charged_nor_deleted(rig: Rig, switch: str, is_ours: bool) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    rig.switch.leave_message(NOBODYS, "u1", fallback=True)
    rig.switch.records[NOBODYS] = replace(rig.switch.records[NOBODYS], switch=switch)
    await rig.clock.advance(60)
    await rig.kill_daemon()
    await rig.start_daemon()
    await rig.clock.advance(60)
    assert await charges(rig) == (1 if is_ours else 0)
    assert (NOBODYS in rig.switch.records) is not is_ours
    assert bool(rig.heard("records_of_another_switch")) is not is_ours


async def test_another_switch_id_is_told_once_each(rig: Rig) -> None:
    for number, switch in enumerate(("east", "east", "west")):
        rig.switch.records[f"s-{number}"] = BlackBoxRead(True, switch=switch)
        await rig.clock.advance(21)
    assert [fields["switches"] for fields in rig.heard("records_of_another_switch")] == [["east"], ["east", "west"]]


async def test_every_answer_names_the_switch_that_decided(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    answers = [await rig.ring(), await rig.ring("+31209999999")]
    await rig.subscriber(plan="free", forward_to="")
    answers.append(await rig.ring())
    assert [(each.decision, each.switch) for each in answers] == [
        ("forward", "test"),
        ("reject", "test"),
        ("voicemail", "test"),
    ]


# --- which to order, and which are gone --------------------------------------------------------------------------


def test_booked_records_are_gone_only_when_they_are_not_seen() -> None:
    booked = BookedRecords()
    booked.add("a")
    booked.add("b")
    assert booked.seen({"a", "b"}) == 0, "nothing was ordered yet"
    assert booked.to_delete() == ["a", "b"]
    assert booked.seen({"b"}) == 1
    assert "a" not in booked
    assert booked.to_delete() == ["b"]
    assert booked.seen(()) == 0
    assert booked.to_delete() == []


def test_booked_records_are_ordered_deleted_so_many_at_once_oldest_first() -> None:
    booked = BookedRecords()
    keys = [f"k{number}" for number in range(DELETE_AT_ONCE_MAX + 1)]
    for key in keys:
        booked.add(key)
    assert booked.to_delete() == keys[:-1]
    assert booked.to_delete() == keys[-1:], "nothing is named twice without a look"
    assert booked.to_delete() == []
    assert booked.seen(keys[-1:]) == 1
    assert booked.to_delete() == keys[-1:]


# --- what nobody decided over ---------------------------------------------------------------------------------


def undecided(number: str = NUMBER, **more: Any) -> BlackBoxRead:
    box = BlackBoxRead(
        True, undecided=True, number=number, caller="+31201234567", cause=19, ended_us=1_000, by_leg=True
    )
    return replace(box, **more)


async def test_a_call_that_found_no_daemon_is_kept_with_why_once_a_daemon_reads_of_it(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    rig.switch.records = {NOBODYS: undecided()}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    (kept,) = rig.kept
    assert (kept.outcome, kept.reason, kept.at_us) == (FALLBACK, Fallback.UNDECIDED, 1_000)
    assert (kept.number, kept.account) == (NUMBER, "anna")
    assert (kept.caller, kept.detail) == ("+3120123xxxx", "ended with cause 19")
    assert "no daemon gave the switch a decision" in explanation(kept)
    assert rig.switch.records == {}, "and its record is deleted"


@pytest.mark.parametrize(
    ("why", "reason", "number", "detail"),
    [
        ("number", TurnedAway.CROWD, NUMBER, "so many waited for a decision for this number"),
        ("mailbox", TurnedAway.CROWD, NUMBER, "so many spoke to this mailbox"),
        ("fax_caller", TurnedAway.CROWD, NUMBER, "so many faxes came in from this caller's number"),
        ("mailbox_full", TurnedAway.MAILBOX_FULL, NUMBER, ""),
        ("no_number", TurnedAway.NO_NUMBER, hidden(NUMBER), ""),
        ("a later dialplan's word", TurnedAway.CROWD, NUMBER, ""),
    ],
)
async def test_a_call_that_the_switch_turned_away_by_itself_is_kept_with_why(
    rig: Rig, why: str, reason: TurnedAway, number: str, detail: str
) -> None:
    await rig.subscriber(credit=EURO)
    rig.switch.records = {"nosession-turned-1.2": undecided(undecided=False, turned=why)}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    (kept,) = rig.kept
    assert (kept.outcome, kept.reason, kept.number, kept.detail) == (Decision.REJECT, reason, number, detail)
    assert explanation(kept).startswith("not answered: ")
    assert rig.switch.records == {}, "and its record is deleted"


async def test_of_a_withheld_caller_nothing_is_kept(rig: Rig) -> None:
    rig.switch.records = {NOBODYS: undecided("+31209999999", withheld=True)}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    (kept,) = rig.kept
    assert (kept.caller, kept.withheld, kept.number) == ("", True, "+3120999xxxx")


async def test_what_the_daemon_has_explained_itself_is_not_told_twice(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    rig.switch.up = False
    await rig.clock.advance(rig.policy.horizon_s + 1)
    with pytest.raises(LinkDown):
        await rig.ring()
    rig.switch.up = True
    rig.switch.records = {f"nosession-{rig.caller_uid}": undecided()}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    assert [one.reason for one in rig.decided] == [Fallback.SWITCH_SILENT]
    assert rig.switch.records == {}


async def test_nor_is_an_answer_that_its_caller_did_not_wait_for(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    answer = await rig.ring()
    assert answer.session is not None
    await rig.desk.abandoned(answer.session)
    rig.switch.records = {f"nosession-{rig.caller_uid}": undecided()}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    assert [one.reason for one in rig.decided] == ["credit", Fallback.NOT_DELIVERED]


async def test_of_a_flood_that_nobody_decided_over_the_ledger_is_asked_about_some(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    rig.switch.records = {f"nosession-{number}.1": undecided() for number in range(3 * LOOKED_UP_A_TURN_MAX)}
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    assert len(rig.decided) == 3 * LOOKED_UP_A_TURN_MAX, "all are kept"
    assert len([one for one in rig.decided if one.account]) == LOOKED_UP_A_TURN_MAX


async def test_after_a_long_time_without_a_daemon_no_more_is_noted_at_once_than_can_be_kept(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    rig.switch.records = {f"nosession-{number}.1": undecided() for number in range(NOTED_A_TURN_MAX + 1)}
    rig.switch.records["nosession-turned-away"] = undecided(undecided=False, no_room=True)
    await rig.clock.advance(HOUSEKEEPING_S + 1)
    assert len(rig.decided) == NOTED_A_TURN_MAX < QUEUE_MAX / 2
    for _ in range(10):
        await rig.clock.advance(HOUSEKEEPING_S + 1)
    assert len(rig.decided) == NOTED_A_TURN_MAX + 1, "the others at the next turns, once each"
    assert rig.switch.records == {}
