"""Who may ask FastAGI, which has no password: the switch, by its address."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agi.routes import routes_for
from agi.server import AgiOutcome, AgiServer
from charging.clock import SystemClock
from charging.door import DoorRefusal
from charging.sources import Sources
from tests.fakes.agi_client import AgiClient, header
from tests.fakes.ami import eventually
from tests.integration.test_agi_server import CALLER, CHANNEL, LIMITS, NUMBER, UID, Desk


@pytest.mark.parametrize("source", ["127.0.0.2", "127.0.0.3"])
async def test_an_address_that_is_not_the_switchs_is_turned_away_at_the_door(source: str) -> None:
    desk, outcomes, turned = Desk(), list[AgiOutcome](), list[DoorRefusal]()
    server = AgiServer(
        routes_for(desk),
        SystemClock(),
        limits=LIMITS,
        admits=Sources(["127.0.0.1/32"], "").admits,
        observer=lambda route, outcome, seconds: outcomes.append(outcome),
        turned=turned.append,
    )
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    writer.write(header("incoming", NUMBER, CALLER, UID, CHANNEL))
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.transport.abort()
    assert (turned, outcomes, desk.calls) == ([DoorRefusal.SOURCE], [], [])
    await AgiClient().call(server.port, "incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "")
    await eventually(lambda: outcomes == [AgiOutcome.ANSWERED])
    await server.close()
