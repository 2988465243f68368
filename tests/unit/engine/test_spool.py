"""Strangers cannot fill the switch's disk with messages: while little is free nobody is sent to voicemail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from charging.asterisk.black_box import parse_record
from charging.call.decide import NO_ROOM, Decision, NotForwarded, Reason, without_voicemail
from charging.call.events import BlackBoxRead
from charging.engine import told
from charging.engine.desk import Desk
from charging.engine.observer import MeteredObserver
from charging.engine.spool import AGAIN_BYTES, END_BYTES, FULL_BYTES, ROOM_BYTES, Memory, MemoryWatch, SpoolWatch
from charging.errors import LinkDown
from charging.fax import convert
from charging.ledger.accounts import Account, Number
from charging.metrics import Metrics, Room
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig


def watch(rig: Rig, heard: list[told.Told]) -> SpoolWatch:
    return SpoolWatch(rig.clock, lambda what, _session=None: heard.append(what), lambda: None, lambda _free: None)


def with_room(rig: Rig, has_room: bool) -> Desk:
    rig.desk._has_room = lambda: has_room
    return rig.desk


async def test_it_is_full_below_one_mark_has_room_from_another_on_and_says_each_once() -> None:
    async with make_rig() as rig:
        heard: list[told.Told] = []
        spool = watch(rig, heard)
        seen = []
        for free in (FULL_BYTES, FULL_BYTES - 1, FULL_BYTES - 2, ROOM_BYTES - 1, ROOM_BYTES, FULL_BYTES):
            spool.saw(free)
            seen.append(spool.has_room)
        assert seen == [True, False, False, False, True, True]
        assert heard == [told.SpoolFull(499), told.SpoolHasRoom(600)]


@pytest.mark.parametrize(
    ("looks", "ended"),
    [
        ([END_BYTES], []),
        ([END_BYTES - 1], [399]),
        # Nobody is left who records; a log may still grow.
        ([END_BYTES - 1, END_BYTES - AGAIN_BYTES], [399]),
        ([END_BYTES - 1, END_BYTES - 1 - AGAIN_BYTES], [399, 398]),
        # Some room was made, and someone records again.
        ([100_000_000, 200_000_000, 200_000_001 - AGAIN_BYTES], [100]),
        ([100_000_000, 200_000_000, 200_000_000 - AGAIN_BYTES], [100, 199]),
        ([END_BYTES - 1, END_BYTES, END_BYTES - 1], [399, 399]),
        ([END_BYTES - 1, None, END_BYTES - 1], [399, 399]),
        ([None], []),
    ],
)
async def test_who_records_is_hung_up_before_the_disk_is_full(looks: list[int | None], ended: list[int]) -> None:
    """Asterisk writes all audio that comes, also what comes faster than time."""
    async with make_rig() as rig:
        heard: list[told.Told] = []
        frees = iter(looks)

        async def end() -> int:
            return 3

        observe = lambda what, _session=None: heard.append(what)  # noqa: E731
        spool = SpoolWatch(rig.clock, observe, lambda: next(frees), lambda _free: None, end)
        for _ in looks:
            await spool.look()
        assert [one for one in heard if isinstance(one, told.RecordingsEnded)] == [
            told.RecordingsEnded(3, free_mb) for free_mb in ended
        ]


async def test_a_switch_that_cannot_be_told_to_end_them_is_told_at_the_next_look() -> None:
    async with make_rig() as rig:
        heard: list[told.Told] = []
        answers: list[int | LinkDown] = [LinkDown("lost"), 2]

        async def end() -> int:
            answer = answers.pop(0)
            if isinstance(answer, LinkDown):
                raise answer
            return answer

        observe = lambda what, _session=None: heard.append(what)  # noqa: E731
        spool = SpoolWatch(rig.clock, observe, lambda: END_BYTES - 1, lambda _free: None, end)
        for _ in range(3):
            await spool.look()
        assert (heard, answers) == ([told.SpoolFull(399), told.RecordingsEnded(2, 399)], [])


@pytest.mark.parametrize(
    ("looks", "ended"),
    [
        ([200], []),
        ([199], [199]),
        ([199, 199], [199]),
        ([199, 196], [199, 196]),
        ([199, 200, 199], [199, 199]),
        ([None], []),
    ],
)
async def test_who_sends_a_fax_is_hung_up_before_it_has_taken_all_memory(
    looks: list[int | None], ended: list[int]
) -> None:
    """Asterisk keeps every dot of a page that never ends; the kernel ended Asterisk, and all calls with it."""
    async with make_rig() as rig:
        heard: list[told.Told] = []
        frees = iter(looks)

        def free() -> int | None:
            megabytes = next(frees)
            return None if megabytes is None else megabytes * 1_000_000

        async def end() -> int:
            return 2

        observe = lambda what, _session=None: heard.append(what)  # noqa: E731
        shown: list[int | None] = []
        memory = MemoryWatch(rig.clock, observe, Memory(free, 200_000_000), shown.append, end)
        for _ in looks:
            await memory.look()
        assert shown == [None if megabytes is None else megabytes * 1_000_000 for megabytes in looks]
        assert heard == [told.FaxesEnded(2, free_mb) for free_mb in ended]


async def test_where_nobody_recorded_nothing_is_said() -> None:
    async with make_rig() as rig:
        heard: list[told.Told] = []
        spool = SpoolWatch(
            rig.clock, lambda what, _session=None: heard.append(what), lambda: END_BYTES - 1, lambda _free: None
        )
        await spool.look()
        assert heard == [told.SpoolFull(399)]


@pytest.mark.parametrize("what", [told.RecordingsEnded(3, 249), told.FaxesEnded(3, 249)])
def test_who_was_hung_up_counts_as_one_who_could_leave_no_message(what: told.Told) -> None:
    metrics = Metrics()
    MeteredObserver(metrics)(what)
    assert b'charging_messages_refused_total{reason="no_room"} 3.0' in metrics.render()


def test_what_is_not_known_looks_neither_full_nor_empty() -> None:
    metrics = Metrics()
    for free, shown in ((None, "NaN"), (7, "7.0"), (None, "NaN")):
        metrics.set_free(Room.DISK, free)
        metrics.set_free(Room.MEMORY, free)
        rendered = metrics.render().decode()
        assert f"\ncharging_voicemail_free_bytes {shown}\n" in rendered
        assert f"\ncharging_switch_memory_free_bytes {shown}\n" in rendered


async def test_where_the_spool_is_another_machines_nothing_is_said_of_it() -> None:
    async with make_rig() as rig:
        heard: list[told.Told] = []
        spool = watch(rig, heard)
        spool.saw(None)
        assert (spool.has_room, heard) == (True, [])


@pytest.mark.parametrize(
    ("has_room", "decision", "reason"), [(True, "voicemail", "no_credit"), (False, "reject", "no_room")]
)
async def test_while_the_disk_is_nearly_full_no_message_is_taken(has_room: bool, decision: str, reason: str) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=0)
        with_room(rig, has_room)
        answer = await rig.ring()
        assert (answer.decision, answer.reason) == (decision, reason)


async def test_who_can_be_forwarded_is_whatever_the_disk_and_a_failed_forward_leaves_no_message() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        with_room(rig, False)
        call = await rig.ringing()
        rig.switch.fail(call.session, "BUSY")
        answer = await rig.desk.unanswered(call.session, "BUSY")
        assert (answer.decision, answer.reason) == ("reject", "no_room")
        assert (await rig.balance()).available == 10 * EURO


async def test_r13_no_money_is_held_for_a_message_and_who_had_none_is_told_of_his_call() -> None:
    async with make_rig() as rig:
        await rig.store.directory.put_account(Account("anna", "free"))
        await rig.store.directory.put_number(Number(NUMBER, "anna"))
        with_room(rig, False)
        answer = await rig.ring()
        assert (answer.decision, answer.reason, answer.session) == ("reject", "no_room", None)
    poor = NotForwarded(Decision.REJECT, Reason.NO_CREDIT, sells_voicemail=True)
    assert without_voicemail(poor, NO_ROOM) == NotForwarded(Decision.REJECT, Reason.NO_CREDIT)
    assert without_voicemail(poor, NO_ROOM).is_missed


async def test_who_was_turned_away_by_the_switchs_own_look_is_counted_once_and_told() -> None:
    """With a daemon that was dead, or on another machine, the switch's record is all that tells of it."""
    async with make_rig() as rig:
        full = BlackBoxRead(True, fallback=False, no_room=True, number=NUMBER)
        rig.switch.records = {"nosession-1700000000.1": full, "nosession-1700000000.2": BlackBoxRead(True, "BUSY")}
        await rig.clock.advance(30)
        assert rig.told.count(told.SwitchHadNoRoom()) == 1
        metrics = Metrics()
        MeteredObserver(metrics)(told.SwitchHadNoRoom())
        assert b'charging_messages_refused_total{reason="no_room"} 1.0' in metrics.render()


@pytest.mark.parametrize(("text", "no_room"), [("v2|vm=NOROOM|vmfile=", True), ("v2|vm=FAILED|vmfile=", False)])
def test_the_switchs_record_says_that_it_had_no_room(text: str, no_room: bool) -> None:
    record = parse_record("nosession-1700000000.1", text)
    assert record is not None
    assert record.no_room is no_room


def test_what_strangers_leave_ends_before_subscribers_documents_do_and_both_leave_room_for_the_ledger() -> None:
    """On one disk, as the shipped settings have it: mails first, then messages, then documents."""
    minfree = re.search(r"^queue_minfree = ([0-9]+)$", Path("docs/fax-by-mail.md").read_text(), re.MULTILINE)
    assert minfree is not None
    bounds = [int(minfree[1]), ROOM_BYTES, FULL_BYTES, END_BYTES, convert.ROOM_BYTES, convert.LEFT_BYTES, 250_000_000]
    assert bounds == sorted(bounds, reverse=True)
