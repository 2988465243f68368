"""Nobody talks before the answer: what is said until then is paid by nobody."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from charging.lab import Lab
from tests.asterisk.parties import NUMBER, forward, operator_sets
from tests.asterisk.raw_call import VOICE_S, Voice, raw_call, voice
from tests.asterisk.sip_phone import ANSWERS, TALKS_BEFORE, phone
from tests.asterisk.stub_agi import serving

pytestmark = pytest.mark.asterisk

TALKS_S = 1.0
ENOUGH = 20
"""Packets by which a conversation is known; two parties send 100 in this time."""


async def both_talk(lab: Lab, caller: Voice, mobile: Voice) -> None:
    """For a second, to every port where the switch may listen."""
    first, last = (int(port) for port in await rtp_ports(lab))
    for _ in range(int(TALKS_S / VOICE_S)):
        for party in (caller, mobile):
            party.say(range(first, last + 1, 2))
        await asyncio.sleep(VOICE_S)


async def rtp_ports(lab: Lab) -> list[str]:
    lines = (lab.switch.folder / "etc/rtp.conf").read_text().splitlines()
    return [line.partition("=")[2].strip() for line in lines if line.startswith("rtp")]


@pytest.mark.parametrize(
    ("setting", "does", "talked"),
    [("no", TALKS_BEFORE, False), ("", TALKS_BEFORE, False), ("yes", TALKS_BEFORE, True), ("no", ANSWERS, True)],
)
async def test_r3_nobody_is_heard_before_the_answer_unless_the_operator_lets_them(
    lab: Lab, setting: str, does: str, talked: bool
) -> None:
    with contextlib.closing(await voice()) as caller, contextlib.closing(await voice()) as mobile:
        async with (
            operator_sets(lab, "CHARGING_EARLY_MEDIA", setting),
            phone(lab, does=does, media=mobile.port),
            serving(forward("+31610000000"), lab.agi_port),
            raw_call(lab, NUMBER, media=caller.port) as call,
        ):
            await call.is_answered("INVITE", *({180, 183} if does == TALKS_BEFORE else {200}))
            await asyncio.sleep(0.5)
            await both_talk(lab, caller, mobile)
            print(call.answers, caller.heard, mobile.heard)
            assert (caller.heard > ENOUGH, mobile.heard > ENOUGH) == (talked, talked)
