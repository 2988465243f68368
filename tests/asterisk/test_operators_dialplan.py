"""Money does not depend on how the operator's dialplan brings a call to us, nor on what it does with the channels.

Each way in is charged for the forwarded leg's own time, as the mobile itself measured it: ring groups and queue members
whose Local channel Asterisk optimises away, callers who were answered before, with the daemon alive and dead.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.engine.recovery import AUDIT_S
from charging.lab import Call, Lab
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, billed_s_of, engine, is_as_long
from tests.asterisk.operator_setup import (
    DIALLED_BEFORE,
    QUEUE,
    RING_GROUP,
    RING_GROUP_N,
    SECOND_RING_GROUP,
    STRAIGHT,
    WELCOME,
    WELCOME_AND_RING_GROUP,
    operator_setup,
)
from tests.asterisk.parties import operator_sets
from tests.asterisk.test_warning import LEAK_DB, speech_s

pytestmark = pytest.mark.asterisk

CREDIT = 10_000_000
PAID_S = 8
"""With ``POLICY``: a tick or two, the warning, and the cut."""

WAYS_IN = [
    STRAIGHT,
    RING_GROUP,
    RING_GROUP_N,
    SECOND_RING_GROUP,
    QUEUE,
    WELCOME,
    WELCOME_AND_RING_GROUP,
    DIALLED_BEFORE,
]
FALSE_ALARMS = (
    "clocks_disagreed",
    "quota_overrun",
    "end_unproven",
    "leg_without_session",
    "event_contradicted",
    "booking_contradicted",
    "unpaid_channel_seen",
)


@pytest_asyncio.fixture(loop_scope="session")
async def set_up(lab: Lab) -> AsyncIterator[Lab]:
    async with operator_setup(lab):
        yield lab
        await lab.reset()


async def charged_exactly(live: Engine, call: Call, credit: int = CREDIT) -> None:
    """By the forwarded leg's own record, to the second by the mobile's measure, and without a false alarm."""
    cdr = await live.cdr()
    assert cdr["proof"] == "black_box", cdr
    assert is_as_long(cdr, call.mobile.connected_s), cdr
    assert cdr["billed_s"] == billed_s_of(cdr["used_ms"])
    assert await live.posted() == credit - cdr["billed_s"] * SECOND
    await live.nothing_reserved()
    assert len((await live.daemon.get("/cdrs"))["items"]) == 1
    for event in FALSE_ALARMS:
        assert not live.daemon.events(event), event


async def _talk(live: Engine, call: Call, seconds: float) -> None:
    """Until the mobile has been connected that long; then the subscriber hangs up."""
    await call.wait_for(lambda: bool(call.mobiles) and call.mobile.was_answered, "the mobile's answer", 30)
    answered_us = call.mobile.answered_us
    assert answered_us is not None

    async def long_enough() -> bool:
        return time.time_ns() // 1000 - answered_us >= seconds * 1e6

    await live.until(long_enough, "the conversation to last", seconds + 30)
    await call.mobile_hangs_up()


def _only_the_subscriber_is_warned(call: Call) -> None:
    assert speech_s(Sound.read(call.mobile_heard), CALLER_TONE_HZ) > 1.0, "the subscriber heard no prompt"
    talking = Sound.read(call.caller_heard).rest_track(MOBILE_TONE_HZ)[-(PAID_S - 1) * 50 : -25]
    assert sum(level > LEAK_DB for level in talking) <= 5, "the caller heard the prompt"


@pytest.mark.parametrize("way_in", WAYS_IN)
async def test_forward_is_charged_exactly_warned_and_cut_whatever_stands_before_it(
    set_up: Lab, tmp_path: Path, way_in: str
) -> None:
    async with engine(set_up, tmp_path, credit=f"0.{PAID_S:03d}") as live:
        call = await set_up.place_call(way_in)
        await call.wait_for(lambda: bool(call.mobiles) and call.mobile.ended_us is not None, "the mobile's end", 25)
        assert abs(call.mobile.connected_s - PAID_S) < MEASURES_APART_S
        await call.hang_up()
        await call.wait_end(15)
        await charged_exactly(live, call, PAID_S * SECOND)
        assert live.daemon.events("tick_posted"), "not all was reserved at once"
        assert [one["result"] for one in live.daemon.events("prompt_played")] == ["played"]
        _only_the_subscriber_is_warned(call)


@pytest.mark.parametrize("way_in", [RING_GROUP, QUEUE, WELCOME_AND_RING_GROUP, DIALLED_BEFORE])
async def test_forward_is_charged_exactly_by_a_daemon_that_was_dead_at_its_end(
    set_up: Lab, tmp_path: Path, way_in: str
) -> None:
    async with engine(set_up, tmp_path, policy={"horizon_s": 45, "warn_before_s": 5}) as live:
        call = await set_up.place_call(way_in)
        await live.heard("bridge_joined", deadline_s=30)
        await live.daemon.kill()
        await _talk(live, call, 3.4)
        await call.wait_end(15)
        await live.daemon.start()
        await charged_exactly(live, call)


@pytest.mark.parametrize("suffix", ["@outbound", "@outbound/n"])
async def test_forward_through_the_operators_outbound_dialplan_is_charged_exactly(
    set_up: Lab, tmp_path: Path, suffix: str
) -> None:
    async with (
        operator_sets(set_up, "CHARGING_DIAL_PREFIX", "Local/"),
        operator_sets(set_up, "CHARGING_DIAL_SUFFIX", suffix),
        engine(set_up, tmp_path) as live,
    ):
        call = await set_up.place_call(STRAIGHT)
        await _talk(live, call, AUDIT_S + 3)  # the audit sees both halves of the Local channel
        await call.wait_end(15)
        await charged_exactly(live, call)
        assert len(live.daemon.events("tick_posted")) >= 3
