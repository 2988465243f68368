"""What contradicts a booking is kept, counted and told, and never deleted unread; what an event says is not believed
where the switch, asked alone, denies it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

import pytest

from charging.call.events import BlackBoxRead, Leg
from charging.call.switch_events import BridgeEntered, ChannelEnded, DialEnded
from charging.clock import MICROSECONDS
from charging.engine.black_boxes import BOOKED_A_TURN_MAX, HOUSEKEEPING_S
from charging.engine.findings import (
    COLLECTION,
    PAGE,
    SEARCHED_S,
    UNANSWERED_MAX_S,
    Booked,
    Findings,
    Kind,
    booked_by,
    contradiction,
)
from charging.engine.ports import Legs, Look
from charging.engine.recovery import AUDIT_S
from charging.errors import LedgerUnavailable
from charging.ledger.metered import PARTS
from charging.ledger.model import CdrRow
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.unguessable import session_id
from tests.fakes.rig import EURO, Rig, make_rig
from tests.fakes.switch import FakeCall

LOOKED_S = 3 * HOUSEKEEPING_S


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


class Counting:
    """A store that counts what its ledger is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        self.reads += name not in PARTS
        return getattr(self._store, name)


async def wait_until(rig: Rig, came: Callable[[], bool]) -> None:
    for _ in range(10 * AUDIT_S):
        if came():
            return
        await rig.clock.advance(0.5)
    pytest.fail("it has not come")


async def findings(rig: Rig) -> list[dict[str, object]]:
    return [json.loads(one.body) for one in await rig.store.documents.list_documents(COLLECTION)]


async def booked_without_record(rig: Rig) -> FakeCall:
    """A call of five seconds whose record does not come in time."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(5)
    await rig.hang_up_unrecorded(call)
    await rig.clock.advance(20)
    assert await rig.store.sessions() == []
    return call


def record(answered_ms: int) -> BlackBoxRead:
    return BlackBoxRead(True, "ANSWER", answered_ms, by_leg=True)


async def test_record_that_comes_late_and_says_otherwise_is_a_finding_before_it_is_deleted(rig: Rig) -> None:
    call = await booked_without_record(rig)
    rig.switch.records[call.session] = record(20_000)
    await rig.clock.advance(LOOKED_S)
    (found,) = await findings(rig)
    assert (found["kind"], found["session"]) == ("record_contradicts_booking", call.session)
    assert (found["answered_ms"], found["booked_ms"]) == (20_000, 5000)
    assert len(rig.heard("booking_contradicted")) == 1
    assert rig.switch.records == {}


async def test_record_that_comes_late_and_says_the_same_is_none(rig: Rig) -> None:
    call = await booked_without_record(rig)
    rig.switch.records[call.session] = record(5400)
    await rig.clock.advance(LOOKED_S)
    assert await findings(rig) == []
    assert rig.switch.records == {}


async def test_record_is_compared_with_the_cdr_after_a_restart(rig: Rig) -> None:
    call = await booked_without_record(rig)
    await rig.kill_daemon()
    stamp = rig.clock.now().wall_us
    rig.switch.records[call.session] = replace(record(20_000), ended_us=stamp)
    rig.switch.records["1a2b-unknown"] = replace(record(7000), ended_us=stamp)
    rig.switch.records["1a2b-nothing"] = BlackBoxRead(True, "BUSY", ended_us=stamp)
    await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    kinds = {one["session"]: one["kind"] for one in await findings(rig)}
    assert kinds == {call.session: "record_contradicts_booking", "1a2b-unknown": "record_without_booking"}
    assert rig.switch.records == {}


async def test_record_stays_in_the_switch_while_the_finding_cannot_be_kept(rig: Rig) -> None:
    call = await booked_without_record(rig)
    kept, rig.store.documents.put_document = rig.store.documents.put_document, _out_of_reach  # type: ignore[method-assign, assignment]
    rig.switch.records[call.session] = record(20_000)
    await rig.clock.advance(LOOKED_S)
    assert list(rig.switch.records) == [call.session]
    rig.store.documents.put_document = kept  # type: ignore[method-assign]
    await rig.clock.advance(LOOKED_S)
    assert len(await findings(rig)) == 1
    assert rig.switch.records == {}


async def test_record_stays_in_the_switch_while_what_was_booked_can_not_be_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(**_named: object) -> NoReturn:
        raise LedgerUnavailable("away")

    call = await booked_without_record(rig)
    await rig.kill_daemon()
    rig.switch.records[call.session] = replace(record(20_000), ended_us=rig.clock.now().wall_us)
    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "cdrs", away)
        await rig.start_daemon()
        await rig.clock.advance(LOOKED_S)
        assert list(rig.switch.records) == [call.session]
    await rig.clock.advance(LOOKED_S)
    assert len(await findings(rig)) == 1
    assert rig.switch.records == {}


async def ended_ago(rig: Rig, ago_s: float, count: int) -> None:
    """The switch deletes nothing, and holds so many records of calls that no ledger knows."""
    stamp = rig.clock.now().wall_us - round(ago_s * MICROSECONDS)
    rig.switch.records |= {f"1a2b-{n}": replace(record(7000), ended_us=stamp) for n in range(count)}


async def test_link_is_up_before_the_leftover_records_are_compared(rig: Rig) -> None:
    """Running calls are extended only when it is up; 50,000 comparisons are a minute."""
    await rig.subscriber(credit=10 * EURO)
    await rig.kill_daemon()
    await ended_ago(rig, 3600, 50_000)
    counted = Counting(rig.store)
    rig.store = cast(Store, counted)
    await rig.start_daemon()
    assert counted.reads <= 3, "the daemon leads, and the link is up"
    await rig.clock.advance(HOUSEKEEPING_S)
    assert BOOKED_A_TURN_MAX / 2 <= counted.reads <= 3 * BOOKED_A_TURN_MAX
    assert len(await findings(rig)) == BOOKED_A_TURN_MAX


async def test_leftover_records_are_all_compared_some_at_each_look(rig: Rig) -> None:
    await ended_ago(rig, 3600, 2 * BOOKED_A_TURN_MAX + 1)
    await rig.clock.advance(3 * HOUSEKEEPING_S)
    assert len(await findings(rig)) == 2 * BOOKED_A_TURN_MAX + 1


@pytest.mark.parametrize(("ago_s", "found"), [(IDS_REMEMBERED_S - 60, 1), (IDS_REMEMBERED_S + 60, 0)])
async def test_record_whose_cdr_may_be_archived_contradicts_nothing(rig: Rig, ago_s: int, found: int) -> None:
    await ended_ago(rig, ago_s, 1)
    await rig.clock.advance(LOOKED_S)
    assert len(await findings(rig)) == found
    assert rig.switch.records == {}


async def test_finding_is_told_once_though_the_switch_goes_on_telling_of_it(rig: Rig) -> None:
    rig.switch.deletes = False
    await ended_ago(rig, 60, 1)
    for _ in range(2):
        await rig.clock.advance(LOOKED_S)
        await rig.kill_daemon()
        await rig.start_daemon()
    await rig.clock.advance(LOOKED_S)
    assert len(rig.heard("booking_contradicted")) == len(await findings(rig)) == 1


async def _out_of_reach(*_arguments: object) -> None:
    from charging.errors import LedgerUnavailable

    raise LedgerUnavailable


async def test_ordinary_call_leaves_no_finding_and_costs_one_question_about_its_channel(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(150)
    await rig.hang_up(call)
    await rig.clock.advance(LOOKED_S)
    assert await findings(rig) == []
    assert rig.switch.asked_alone == 1, "before the first tick charges"
    assert not rig.heard("event_contradicted")


@pytest.mark.parametrize(
    ("box", "booked", "kind"),
    [
        (record(6000), Booked(5000), None),
        (record(6001), Booked(5000), Kind.RECORD_CONTRADICTS_BOOKING),
        (record(0), Booked(5000), Kind.RECORD_CONTRADICTS_BOOKING),
        (record(1001), None, Kind.RECORD_WITHOUT_BOOKING),
        (BlackBoxRead(True, "BUSY"), None, None),
        (BlackBoxRead(True, "BUSY", message_stored=True), Booked(0), None),
        (BlackBoxRead(True, message_stored=True), Booked(pieces=0), Kind.RECORD_CONTRADICTS_BOOKING),
        (BlackBoxRead(True, message_stored=True), Booked(pieces=1), None),
        (BlackBoxRead(True, fax_pages=2), Booked(pieces=2), None),
        (BlackBoxRead(True, fax_pages=2), Booked(pieces=1), Kind.RECORD_CONTRADICTS_BOOKING),
        (BlackBoxRead(True, fax_pages=1), None, Kind.RECORD_WITHOUT_BOOKING),
    ],
)
def test_what_contradicts(box: BlackBoxRead, booked: Booked | None, kind: Kind | None) -> None:
    assert contradiction(box, booked) is kind


@pytest.mark.parametrize(
    ("cdr", "booked"),
    [
        ('{"service":"forward","used_ms":4213}', Booked(4213)),
        ('{"service":"voicemail","messages":1}', Booked(pieces=1)),
        ('{"service":"fax","pages":2,"document_pages":3}', Booked(pieces=2)),
    ],
)
def test_what_a_cdr_says_was_booked(cdr: str, booked: Booked) -> None:
    assert booked_by(cdr) == booked


# --- forged, lost and late events -------------------------------------------------------------------------------


async def test_forged_end_makes_no_call_free(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(10)
    forged = ChannelEnded(call.session, call.callee_uid, "PJSIP/mobile-1", "callee", 16, None)
    rig.registry.deliver(forged)
    await rig.clock.advance(50)
    assert rig.heard("event_contradicted") == [{"denied": "end"}]
    await rig.hang_up(call)
    assert rig.heard("call_settled")[0]["billed_s"] == 60
    assert await findings(rig) == []


async def test_forged_answer_of_a_ringing_call_charges_nothing(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    stamp = rig.clock.now().wall_us
    for forged in (
        DialEnded(call.session, "ANSWER", call.caller_uid, call.callee_uid, stamp),
        BridgeEntered(call.session, call.callee_uid, "PJSIP/mobile-1", "callee", "x", "simple_bridge", stamp),
    ):
        rig.registry.deliver(forged)
    await rig.clock.advance(65)
    assert rig.heard("event_contradicted") == [{"denied": "answer"}]
    assert (await rig.balance()).posted == 10 * EURO
    rig.switch.answer(call.session)
    await rig.clock.advance(7)
    await rig.hang_up(call)
    assert rig.heard("call_settled")[0]["billed_s"] == 7


async def test_forged_channels_of_others_are_not_hung_up(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    rig.registry.deliver(BridgeEntered(call.session, "victim", "PJSIP/x", "", "b", "simple_bridge", None))
    await rig.clock.advance(5)
    assert rig.switch.hung_up == []
    assert rig.session_of(call).state == "running"


async def test_events_that_contradict_the_record_do_not_overrule_it(rig: Rig) -> None:
    """The switch noted twenty seconds; the events told of an end after five that nothing took back."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(5)
    await rig.hang_up_unrecorded(call, record=record(20_000))
    assert rig.heard("call_settled")[0]["billed_s"] == 20
    (found,) = await findings(rig)
    assert (found["kind"], found["booked_ms"], found["events_ms"]) == ("events_contradict_record", 20_000, 5000)


async def test_record_that_the_leg_outlives_takes_back_nothing(rig: Rig) -> None:
    """Somebody was put in the leg's place as it was answered, and its record was written then."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(65)
    await rig.hang_up_unrecorded(call, record=record(2))
    assert rig.heard("call_settled")[0]["billed_s"] == 65
    (found,) = await findings(rig)
    assert (found["kind"], found["booked_ms"], found["record_ms"]) == ("leg_outlived_record", 65_000, 2)
    assert len(rig.heard("booking_contradicted")) == 1


async def test_what_was_seen_of_a_leg_is_known_after_a_restart(rig: Rig) -> None:
    """It ended while no daemon ran. What was charged for life that the switch has proven stays charged."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(65)
    proven_ms = rig.session_of(call).proven_ms
    await rig.kill_daemon()
    await rig.hang_up_unrecorded(call, record=replace(record(40), lasted_ms=40))
    await rig.start_daemon()
    await rig.clock.advance(10)
    assert 60_000 <= proven_ms <= 65_000
    assert 60 <= cast(int, rig.heard("call_settled")[0]["billed_s"]) <= 65
    (found,) = await findings(rig)
    assert (found["kind"], found["record_ms"]) == ("leg_outlived_record", 40)


# --- the audit, both ways round ---------------------------------------------------------------------------------


async def test_leg_that_talks_without_a_session_is_hung_up_within_seconds_and_told(rig: Rig) -> None:
    call = rig.switch.dial("1a2b-nobody", 60, "u9")
    rig.switch.answer(call.session)
    await rig.clock.advance(2 * AUDIT_S)
    assert {fields["session"] for fields in rig.heard("leg_without_session")} == {call.session}
    assert call.callee_uid in rig.switch.hung_up
    assert not rig.registry.open.calls(), "no event makes a session"


async def test_leg_without_a_session_in_one_look_alone_is_left(rig: Rig) -> None:
    """Its session may be about to come to life."""
    call = rig.switch.dial("1a2b-nobody", 60, "u9")
    rig.switch.answer(call.session)
    look, shown = rig.switch.look, list[frozenset[str]]()

    async def noted() -> Look:
        found = await look()
        shown.append(frozenset(found.legs))
        return found

    rig.switch.look = noted  # type: ignore[method-assign]
    await wait_until(rig, lambda: any(call.session in legs for legs in shown))
    assert rig.switch.hung_up == []
    await rig.clock.advance(AUDIT_S)
    assert call.callee_uid in rig.switch.hung_up


async def test_leg_without_a_session_that_the_switch_denies_when_it_is_asked_alone_is_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[object]()

    async def gone(about: Sequence[object]) -> list[Legs]:
        asked.extend(about)
        return [Legs() for _ in about]

    monkeypatch.setattr(rig.switch, "look_at", gone)
    call = rig.switch.dial("1a2b-nobody", 60, "u9")
    rig.switch.answer(call.session)
    await rig.clock.advance(2 * AUDIT_S)
    assert asked
    assert rig.switch.hung_up == []


async def test_no_leg_is_hung_up_while_the_stored_sessions_can_not_be_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them may be its own."""

    async def away(**_named: object) -> NoReturn:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(rig.store, "sessions", away)
    call = rig.switch.dial("1a2b-nobody", 60, "u9")
    rig.switch.answer(call.session)
    await rig.clock.advance(5 * AUDIT_S)
    assert rig.switch.hung_up == []


@pytest.mark.parametrize("restarts", [False, True], ids=["", "the daemon is started again meanwhile"])
async def test_whoever_a_caller_goes_on_to_after_a_paid_message_is_the_operators_own(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """His channel is gone; the reception's bears the session's name, as it was dialled by his."""
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    answer = await rig.ring()
    assert answer.session is not None
    rig.switch.leave_message(answer.session, rig.caller_uid)
    await rig.clock.advance(1)
    if restarts:
        await rig.kill_daemon()
        await rig.start_daemon()
    leg = Leg("reception", bridged=True, up=True, time_left_ms=None)
    shown = {answer.session: Legs(others=(leg,))}

    async def look() -> Look:
        return Look(rig.clock.now().mono_us, shown)

    async def look_at(asked: Sequence[tuple[str, object]]) -> list[Legs]:
        return [shown.get(session, Legs()) for session, _ in asked]

    monkeypatch.setattr(rig.switch, "look", look)
    monkeypatch.setattr(rig.switch, "look_at", look_at)
    await rig.clock.advance(5 * AUDIT_S)
    assert rig.switch.hung_up == []
    shown["1a2b-nobody"] = Legs(callee=leg)
    await rig.clock.advance(5 * AUDIT_S)
    assert "reception" in rig.switch.hung_up, "the audit goes on"


@pytest.mark.parametrize("restarts", [False, True], ids=["", "the daemon is started again meanwhile"])
async def test_caller_who_was_moved_while_it_rang_is_the_operators_own(rig: Rig, restarts: bool) -> None:
    """The forward that nobody answered is given back; to whom he talks then is no call of ours."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, "CANCEL")
    await rig.clock.advance(2 * rig.policy.setup_timeout_s)
    assert await rig.reserved() == {}
    call.answered = rig.clock.now()  # he is bridged to someone of the operator's
    if restarts:
        await rig.kill_daemon()
        await rig.start_daemon()
    await rig.clock.advance(5 * AUDIT_S)
    assert (rig.switch.hung_up, rig.heard("leg_without_session")) == ([], [])
    call.callee_alive = True
    await rig.clock.advance(3 * AUDIT_S)
    assert call.callee_uid in rig.switch.hung_up, "a forwarded leg that talks is none"


async def test_r1_whether_a_caller_owes_is_read_among_the_cdrs_of_his_own_time(rig: Rig) -> None:
    """However many calls there have been since he rang: the look-up after a restart holds up nobody's."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.clock.advance(20)
    rig.switch.fail(call.session, "CANCEL")
    await rig.clock.advance(2 * rig.policy.setup_timeout_s)
    (cdr,) = await rig.store.cdrs()
    of_others = [
        replace(cdr, session=f"s{later_s}", ended_us=cdr.ended_us + later_s * MICROSECONDS)
        for later_s in range(1, 9000)
    ]
    await rig.store.restore_cdrs(of_others)
    read, cdrs = list[CdrRow](), rig.store.cdrs

    async def noted(**asked: Any) -> Sequence[CdrRow]:
        read.extend(rows := await cdrs(**asked))
        return rows

    rig.store.cdrs = noted  # type: ignore[method-assign]
    assert await Findings(rig.store, rig.clock, rig.observe).unanswered({call.session}) == {call.session}
    assert cdr in read
    assert len(read) <= PAGE
    read.clear()
    never = session_id(cdr.ended_us)
    assert await Findings(rig.store, rig.clock, rig.observe).unanswered({never, "s1", "", "f" * 99}) == set()
    assert len(read) < UNANSWERED_MAX_S + SEARCHED_S


async def test_session_whose_leg_went_unheard_is_settled_within_seconds(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(15)
    deliver, rig.switch.deliver = rig.switch.deliver, lambda _event: None
    rig.switch.end(call.session)
    rig.switch.deliver = deliver
    await rig.clock.advance(AUDIT_S)
    assert rig.heard("call_settled")[0]["billed_s"] == 15


async def test_strangers_who_name_sessions_cannot_keep_the_daemon_busy(rig: Rig) -> None:
    looks, look, read = list[str](), rig.switch.look, rig.store.sessions

    async def counted():  # type: ignore[no-untyped-def]
        looks.append("channels")
        return await look()

    async def counted_too(**which: str) -> object:
        looks.append("sessions")
        return await read(**which)

    rig.switch.look = counted  # type: ignore[method-assign]
    rig.store.sessions = counted_too  # type: ignore[method-assign, assignment]
    for number in range(200):
        rig.registry.deliver(DialEnded(f"1a2b-{number}", "ANSWER", "u", "v", None))
        await rig.clock.advance(0.1)
    assert looks.count("channels") <= 12
    assert looks.count("sessions") <= 12


@pytest.mark.parametrize("step_s", [-40, 40])
async def test_a_record_that_a_step_of_the_clock_made_wrong_contradicts_no_booking(step_s: int) -> None:
    """The smaller duration was booked, knowingly; the record is still there as another daemon looks."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(100)
        rig.clock.step_wall(step_s)
        await rig.clock.advance(20.1)
        rig.switch.deletes = False
        await rig.hang_up(call)
        await rig.clock.advance(10)
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(60)
        assert not rig.heard("booking_contradicted")
