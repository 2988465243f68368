"""RTCP of strangers: what a party's reports cost the switch."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from charging.lab import Lab
from tests.asterisk.parties import NUMBER, decide
from tests.asterisk.raw_call import raw_call, voice
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.test_early_media import rtp_ports
from tests.asterisk.waiting import eventually
from tests.house import ROOT

pytestmark = pytest.mark.asterisk

REPORTS = 175
"""Empty receiver reports (RFC 3550, 6.4.2) that fit into a packet of 1,400 bytes."""
PACKETS = 20
LISTENER = "stasis/m:manager:core"
"""What waits for AMI."""


async def _done(lab: Lab) -> int | None:
    """How many messages AMI has had, once none waits for anyone."""
    table = (await lab.switch.cli("core show taskprocessors")).splitlines()
    rows = [line.split() for line in table if line.startswith("stasis/")]
    return None if any(int(row[2]) for row in rows) else sum(int(row[1]) for row in rows if row[0].startswith(LISTENER))


async def _messages(lab: Lab) -> int:
    return await eventually(lambda: _done(lab), "the switch to be at rest")


async def _waiting(ports: range) -> dict[int, int]:
    """What is not read yet, in bytes, at each of these ports that someone listens at (`proc_pid_net(5)`)."""
    table = await asyncio.to_thread(Path("/proc/net/udp").read_text)
    rows = [line.split() for line in table.splitlines()[1:]]
    waiting = {int(row[1].partition(":")[2], 16): int(row[4].partition(":")[2], 16) for row in rows}
    return {port: size for port, size in waiting.items() if port in ports}


async def test_reports_of_a_partys_rtcp_are_no_messages_that_amis_wait_behind(lab: Lab) -> None:
    first, last = (int(port) for port in await rtp_ports(lab))
    ports = range(first + 1, last + 1, 2)
    others = await _waiting(ports)  # of a call before, whose end nobody may read any more
    with contextlib.closing(await voice()) as stranger:
        async with (
            serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
            raw_call(lab, NUMBER, media=stranger.port) as call,
        ):
            await call.is_answered("INVITE", 200)
            before = await _messages(lab)
            own = sorted((await _waiting(ports)).keys() - others.keys())

            async def is_read() -> bool:
                waiting = await _waiting(ports)
                return not any(waiting.get(port) for port in own)

            assert own
            for _ in range(PACKETS):
                stranger.send(b"\x80\xc9\x00\x01\x00\x00\x00\x01" * REPORTS, own)
            await eventually(is_read, "the switch to have read them")
            assert await _messages(lab) - before < PACKETS * REPORTS / 2


def test_the_lab_sets_what_the_page_on_security_asks_for() -> None:
    ours = (ROOT / "charging/lab/conf/stasis.conf").read_text().partition("\n")[2]
    assert f"```ini\n{ours}```" in (ROOT / "docs/security.md").read_text()
