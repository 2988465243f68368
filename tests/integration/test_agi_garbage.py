"""Of a FastAGI conversation that is over nothing stays that only a search for garbage would find: the daemon looks
through all that is old but once an hour, and a flood of callers who leave would fill its memory until then."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from agi.protocol import Request
from agi.server import AgiOutcome, AgiServer, Conversation
from charging.clock import SystemClock
from tests.fakes.agi_client import AgiClient
from tests.fakes.ami import eventually


@pytest.fixture
def no_search() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize(
    ("client", "outcome"),
    [
        (AgiClient(), AgiOutcome.ANSWERED),
        (AgiClient(leave_at="CHARGING_DECISION"), AgiOutcome.CALLER_LEFT),
        (AgiClient(refuse="CHARGING_DECISION"), AgiOutcome.BAD_REQUEST),
    ],
)
async def test_a_conversation_that_is_over_is_let_go(client: AgiClient, outcome: AgiOutcome) -> None:
    met: list[weakref.ref[Conversation]] = []
    outcomes: list[AgiOutcome] = []

    async def answer(request: Request, conversation: Conversation) -> None:
        assert request.script == "incoming"
        met.append(weakref.ref(conversation))
        await conversation.set_variables([("CHARGING_DECISION", "reject")])

    server = AgiServer({"incoming": answer}, SystemClock(), observer=lambda _route, how, _seconds: outcomes.append(how))
    await server.start("127.0.0.1", 0)
    await client.call(server.port, "incoming")
    await eventually(lambda: outcomes == [outcome])
    await eventually(lambda: met[0]() is None, "it was let go")
    await server.close()
