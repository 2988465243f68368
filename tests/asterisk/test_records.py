"""Black-box records on a real Asterisk: whose each is; what is booked is soon gone, and nothing is ordered then."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from charging.asterisk.control import KEY_ENDS
from charging.engine.black_boxes import HOUSEKEEPING_S
from charging.lab import CallState, Lab, mobile
from charging.lab.ami import LabAmi, Message
from tests.asterisk.engine import engine, is_as_long
from tests.asterisk.parties import NUMBER, black_box_record, forward, only_record, operator_sets, records_gone
from tests.asterisk.several import site
from tests.asterisk.stub_agi import serving
from tests.asterisk.waiting import eventually
from tests.integration.redis_servers import RedisServer

pytestmark = pytest.mark.asterisk


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def orders_to_delete(lab: Lab) -> AsyncIterator[list[str]]:
    """The maintenance channels that are originated, as they come."""
    seen: list[str] = []

    def note(event: Message) -> None:
        channel = event.get("DestChannel", "")
        if event["Event"] == "DialBegin" and channel.startswith("Local/s@charging-maintenance"):
            seen.append(channel)

    ami = LabAmi(lab.switch.charging_ami, note)
    await ami.connect()
    try:
        yield seen
    finally:
        await ami.close()


async def looked_again(times: int) -> None:
    """The daemon has had the time to look at the black box that often."""
    until = time.monotonic() + times * HOUSEKEEPING_S + 1

    async def over() -> bool:
        return time.monotonic() > until

    await eventually(over, "time to pass", times * HOUSEKEEPING_S + 30)


async def talked(lab: Lab) -> None:
    """A call that was answered, and is over."""
    call = await lab.place_call(NUMBER)
    await call.wait_state(CallState.ANSWERED)
    await call.hang_up()
    await call.wait_end()


async def test_booked_records_are_deleted_and_then_nothing_is_ordered_any_more(lab: Lab, tmp_path: Path) -> None:
    """Of a call that is charged, of one that nobody answered for, and of one that has no session."""
    async with engine(lab, tmp_path) as live, orders_to_delete(lab) as orders:
        await talked(lab)
        await (await lab.place_call("+31859999998")).wait_end(30)
        assert await lab.switch.black_box()
        await live.cdr()
        await records_gone(lab)
        ordered = len(orders)
        assert 1 <= ordered <= 3
        await looked_again(2)
        assert len(orders) == ordered
        assert live.daemon.events("records_not_deleted") == []


async def test_records_are_deleted_also_where_the_dialplan_asks_the_daemon_that_stands_by(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        site(redis.url, tmp_path) as place,
        place.pair(lab) as (one, two),
        operator_sets(lab, "CHARGING_AGI", f"127.0.0.1:{two.daemon.agi_port}"),
        orders_to_delete(lab) as orders,
    ):
        await talked(lab)
        await two.heard("call_decided")
        await one.nothing_reserved()
        await place.audited()
        await records_gone(lab)
        ordered = len(orders)
        assert 1 <= ordered <= 2
        await looked_again(2)
        assert len(orders) == ordered
        assert one.daemon.events("records_not_deleted") == []


async def test_daemons_with_different_switch_ids_leave_each_others_records_alone(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    """The one whose call it was is dead when the call ends; the other one looks, more than once."""
    async with site(redis.url, tmp_path) as place, place.daemon(lab, "one", "east") as east:
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await east.heard("tick_posted")
        await east.daemon.kill()
        await call.hang_up()
        await call.wait_end()
        session, record = await only_record(lab)
        assert record["switch"] == "east"
        async with place.daemon(lab, "two", "west") as west:
            await west.heard("records_of_another_switch")
            await looked_again(2)
            assert set(await lab.switch.black_box()) == {session}
            await east.daemon.start()
            await east.nothing_reserved()
            (cdr,) = await place.audited()
            assert (cdr["switch"], cdr["proof"]) == ("east", "black_box")
            assert is_as_long(cdr, call.duration_s), cdr
            await records_gone(lab)


# --- what the dialplan notes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "up"),
    [("{file}", "74859.03-74919.28"), ("{file}-that-is-not-there", "-"), ("no", "-"), ("{file}'$(id)", "-")],
    ids=["up", "no file", "off", "no name"],
)
async def test_leg_notes_how_long_the_machine_was_up_at_its_answer_and_at_its_end(lab: Lab, said: str, up: str) -> None:
    """By which no step of the clock is billed, whoever reads the record."""
    file = lab.switch.folder / "uptime"
    file.write_text("74859.03 23087.75\n", encoding="ascii")
    async with (
        operator_sets(lab, "CHARGING_UPTIME", said.format(file=file)),
        serving(forward(mobile.answers()), lab.agi_port),
    ):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        file.write_text("74919.28 23147.75\n", encoding="ascii")
        await call.hang_up()
        await call.wait_end()
        record = await black_box_record(lab)
    file.unlink()
    assert (record["up"], record["dial"], record["phase"]) == (up, "ANSWER", "dial")


async def test_a_call_that_was_answered_under_an_older_dialplan_leaves_its_record_under_this_one(lab: Lab) -> None:
    """A new version's dialplan comes by `dialplan reload`, under calls: it ends what the older one has answered."""
    shipped = lab.switch.folder / "etc" / "charging" / "extensions_charging.conf"
    ours = shipped.read_text()
    older = re.sub(r"Set\(CHARGING_ANSWERED_(UP|FOR)=.*\)$", "NoOp()", ours, flags=re.MULTILINE)
    assert older.count("NoOp()") == ours.count("NoOp()") + 2
    shipped.write_text(older)
    try:
        await lab.switch.cli("dialplan reload")
        async with serving(forward(mobile.answers()), lab.agi_port):
            call = await lab.place_call(NUMBER)
            await call.wait_state(CallState.ANSWERED)
            shipped.write_text(ours)
            await lab.switch.cli("dialplan reload")
            await call.hang_up()
            await call.wait_end()
            record = await black_box_record(lab)
    finally:
        shipped.write_text(ours)
        await lab.switch.cli("dialplan reload")
    assert (record["up"], record["dial"]) == ("-", "ANSWER")
    assert set(await lab.switch.black_box()) == {"s-1"}


@pytest.mark.parametrize("named", ["a FIFO", "/dev/zero"])
async def test_leg_waits_for_no_file_that_does_not_answer(lab: Lab, named: str) -> None:
    """Who answers and who called are waiting to hear each other; and the record must be written."""
    fifo = lab.switch.folder / "fifo"
    os.mkfifo(fifo)
    try:
        async with (
            operator_sets(lab, "CHARGING_UPTIME", str(fifo) if named == "a FIFO" else named),
            serving(forward(mobile.answers()), lab.agi_port),
        ):
            call = await lab.place_call(NUMBER)
            await call.wait_state(CallState.ANSWERED, 5)
            assert call.outside.answered_us is not None
            assert call.mobile.answered_us is not None
            assert call.outside.answered_us - call.mobile.answered_us < 1_500_000
            await call.hang_up()
            await call.wait_end()
            record = await black_box_record(lab)
    finally:
        fifo.unlink()
    assert (record["up"], record["dial"]) == ("-", "ANSWER")


async def test_record_names_the_switch_of_the_daemon_that_decided(lab: Lab) -> None:
    async with (
        operator_sets(lab, "CHARGING_SWITCH", "of-the-trunk"),
        serving(forward(mobile.hangs_up(0.1), CHARGING_SWITCH="east"), lab.agi_port),
    ):
        await (await lab.place_call(NUMBER)).wait_end()
        assert (await black_box_record(lab))["switch"] == "east"


@pytest.mark.parametrize(("said", "noted"), [("", ""), ("west-2", "west-2"), ("We|st=1,${X}", "est1")])
async def test_record_of_a_call_that_nobody_decided_names_what_the_operator_has_set(
    lab: Lab, said: str, noted: str
) -> None:
    async with operator_sets(lab, "CHARGING_SWITCH", said), operator_sets(lab, "CHARGING_FALLBACK", "reject"):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        await call.hang_up()
        await call.wait_end()
        key, record = await only_record(lab)  # before the setting is taken back: the switch writes it after the end
    assert key.startswith("nosession-")
    assert record["switch"] == noted


async def test_many_records_are_told_in_parts_that_leave_out_none(lab: Lab) -> None:
    """What the switch finds by a pattern is what ends so, whatever the sign."""
    keys = {f"walls-{sign}{end}" for sign in "x.-" for end in KEY_ENDS} | {"walls-A"}
    for key in keys:
        await lab.switch.action("DBPut", {"Family": "charging", "Key": key, "Val": "v2|dial=BUSY"})
    try:
        parts: dict[str, set[str]] = {}
        for end in KEY_ENDS:
            told = await lab.switch.listing("DBGetTree", {"Family": "charging", "Key": f"%{end}"})
            parts[end] = {one["Key"].removeprefix("/charging/") for one in told}
            assert all(key.lower().endswith(end) for key in parts[end]), end
        assert keys <= set().union(*parts.values())
    finally:
        for key in keys:
            await lab.switch.action("DBDel", {"Family": "charging", "Key": key})
