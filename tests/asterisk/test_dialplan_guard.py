"""No daemon, whatever is wrong with it, holds a caller longer than the guard: ASTERISK.md's table, row by row.

The guard is the shipped one of three seconds, or longer where it is not to come into it; every row ends in the
operator's fallback, and nothing is forwarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest

from charging.lab import Call, CallState, Lab, mobile
from tests.asterisk.engine import MEASURES_APART_S
from tests.asterisk.parties import NUMBER, answered_ms, decide, forward, leave_message, only_record, operator_sets
from tests.asterisk.stub_agi import StubAgi, close, reset, serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

AT_ONCE_S = 1.0
BUSY_S = 15.0
"""By how much more a busy machine may make it (2.4 s were seen): what is not held to the guard lasts for ever."""
GUARD_S = 3
LONG_GUARD_S = 30
"""Where the guard is not to come into it: at once is long before it, on a busy machine too."""
LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(1)
"""


@contextlib.asynccontextmanager
async def frozen_daemon(port: int) -> AsyncIterator[None]:
    """A process that listened and was then stopped: the kernel still takes its connections."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTENER, str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def nobody(port: int) -> AsyncIterator[None]:
    yield


def broken(**how: object) -> Callable[[int], contextlib.AbstractAsyncContextManager[object]]:
    return lambda port: serving(StubAgi(**how), port)  # type: ignore[arg-type]


def half_answer(port: int) -> contextlib.AbstractAsyncContextManager[object]:
    """Decides, and hangs up before it has said the quota."""
    stub = StubAgi({"incoming": {"CHARGING_DECISION": "forward", "CHARGING_TARGET": mobile.answers()}})
    return serving(stub, port)


ROWS = [
    pytest.param(nobody, AT_ONCE_S, id="not listening"),
    pytest.param(broken(hurt=close), AT_ONCE_S, id="closes after the header"),
    pytest.param(broken(hurt=reset), AT_ONCE_S, id="resets after the header"),
    pytest.param(half_answer, AT_ONCE_S, id="dies in the middle of its answer"),
    pytest.param(broken(is_silent=True), GUARD_S, id="accepts and never replies"),
    pytest.param(frozen_daemon, GUARD_S, id="is frozen"),
]


@pytest.mark.parametrize(("daemon", "within_s"), ROWS)
async def test_a_broken_daemon_costs_the_caller_no_more_than_the_guard(
    lab: Lab, daemon: Callable[[int], contextlib.AbstractAsyncContextManager[object]], within_s: float
) -> None:
    guard_s = LONG_GUARD_S if within_s == AT_ONCE_S else GUARD_S
    async with daemon(lab.agi_port), operator_sets(lab, "CHARGING_GUARD_S", f"{guard_s}"):
        call, waited_s = await _answered_after(lab)
        await call.hang_up()
        await call.wait_end()
    assert within_s - AT_ONCE_S <= waited_s <= within_s + BUSY_S
    assert call.mobiles == [], "voicemail answered"
    key, record = await only_record(lab)
    assert key.startswith("nosession-")
    assert (record["phase"], record["number"], record["caller"]) == ("fallback", NUMBER, call.caller)


async def _answered_after(lab: Lab) -> tuple[Call, float]:
    started = time.monotonic()
    call = await lab.place_call(NUMBER)
    await call.wait_state(CallState.ANSWERED)
    return call, time.monotonic() - started


async def test_a_daemon_that_answers_is_obeyed_before_the_guard(lab: Lab) -> None:
    async with (
        serving(forward(mobile.answers()), lab.agi_port),
        operator_sets(lab, "CHARGING_GUARD_S", f"{LONG_GUARD_S}"),
    ):
        call, waited_s = await _answered_after(lab)
    assert waited_s < LONG_GUARD_S
    assert [leg.target for leg in call.mobiles] == [mobile.answers()]


async def test_the_guard_does_not_cut_the_call_that_it_let_through(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=GUARD_S + 1)
        await call.wait_end()
    assert call.duration_s >= GUARD_S + 1 - 0.05


@pytest.mark.parametrize("nonsense", ["", "0", "x", "100", "-1"])
async def test_a_guard_that_is_no_number_of_seconds_counts_as_three(lab: Lab, nonsense: str) -> None:
    async with operator_sets(lab, "CHARGING_GUARD_S", nonsense), serving(StubAgi(is_silent=True), lab.agi_port):
        _call, waited_s = await _answered_after(lab)
    assert GUARD_S - 0.2 <= waited_s <= GUARD_S + BUSY_S


async def test_the_operator_may_choose_to_reject_in_place_of_voicemail(lab: Lab) -> None:
    async with operator_sets(lab, "CHARGING_FALLBACK", "reject"), operator_sets(lab, "CHARGING_NO_ANSWER_S", "1"):
        call = await lab.place_call(NUMBER)
        await call.wait_end()
    assert (call.was_answered, call.cause) == (False, 19)
    _key, record = await only_record(lab)
    assert (record["phase"], record["vm"]) == ("fallback", "")


async def test_a_message_left_while_the_daemon_is_dead_is_in_the_black_box(lab: Lab) -> None:
    call = await lab.place_call(NUMBER)
    await call.wait_state(CallState.ANSWERED)
    await leave_message(lab, call, seconds=3)
    _key, record = await only_record(lab)
    assert (record["phase"], record["vm"]) == ("fallback", "SUCCESS")
    assert record["vmfile"]


async def test_a_daemon_that_dies_while_the_phone_rings_leaves_the_caller_the_fallback(lab: Lab) -> None:
    async with serving(forward(mobile.never_answers(), CHARGING_RING_S="1"), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
    await call.wait_state(CallState.ANSWERED)
    await call.hang_up()
    await call.wait_end()
    key, record = await only_record(lab)
    assert (key, record["phase"], record["dial"]) == ("s-1", "fallback", "NOANSWER")


async def test_a_daemon_that_freezes_while_the_phone_rings_holds_the_caller_no_longer_than_the_guard(lab: Lab) -> None:
    async with serving(forward(mobile.never_answers(), CHARGING_RING_S="1"), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        stub.is_silent = True
        started = time.monotonic()
        await call.wait_state(CallState.ANSWERED)
    assert time.monotonic() - started <= 1 + GUARD_S + BUSY_S


async def test_a_caller_who_gives_up_while_the_daemon_is_silent_leaves_nothing_behind(lab: Lab) -> None:
    async with serving(StubAgi(is_silent=True), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        await eventually(stub.was_asked, "the dialplan to ask")
        await call.hang_up()
        await call.wait_end()
        _key, record = await only_record(lab)
    assert record["phase"] == "decide"
    assert await lab.switch.channels() == []


async def test_no_daemon_is_needed_for_the_black_box(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
    await call.hang_up()
    await call.wait_end()
    _key, record = await only_record(lab)
    assert abs(answered_ms(record) / 1000 - call.duration_s) < MEASURES_APART_S
    assert call.outside.ended_us is not None
    assert abs(float(record["ended"]) - call.outside.ended_us / 1e6) < BUSY_S


async def test_a_refusal_by_the_daemon_is_not_the_fallback(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("reject", "unknown_number")}), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_end()
    _key, record = await only_record(lab)
    assert (record["decision"], record["phase"]) == ("reject", "reject")
