"""How a switch's dialplan asks its daemons what to do with a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from agi.port import Answer, Declined, Unproven
from charging.engine.desk import Desk
from charging.errors import ChargingError
from tests.simulation.callers import Caller
from tests.simulation.machine import Daemon

if TYPE_CHECKING:
    from tests.simulation.city import City

AGI_S = 2.5
"""How long the dialplan waits for one daemon."""

Ask = Callable[[Desk], Coroutine[Any, Any, Answer]]


async def ask(city: City, caller: Caller, question: Ask) -> Answer | None:
    """One daemon after the other; ``None``: none has answered."""
    for daemon in city.of(caller.switch):
        served = asyncio.create_task(_serve(city, daemon, question))
        patience = asyncio.create_task(city.wait(AGI_S + 0.5))
        await asyncio.wait((served, patience), return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        if served.done():
            if (answer := served.result()) is not None:
                return answer
        else:
            city.counts["caller not answered in time"] += 1
            city.live(_deliver_late(daemon, served))
        caller.unheard += 1
    return None


async def _serve(city: City, daemon: Daemon, question: Ask) -> Answer | None:
    """As `agi.server` does: with a deadline, within the daemon's process."""
    work = asyncio.create_task(question(daemon.desk))
    limit = asyncio.create_task(daemon.clock.sleep_until(city.clock.now().plus(AGI_S).mono_us))
    await asyncio.wait((work, limit), return_when=asyncio.FIRST_COMPLETED)
    limit.cancel()
    if not work.done():
        work.cancel()
        await asyncio.wait((work,))
    failed = None if work.cancelled() else work.exception()  # asked for, also where nobody is there to hear of it
    if work.cancelled() or daemon.process.dead:
        return None
    if isinstance(failed, ChargingError | Declined | Unproven | TimeoutError):
        return None
    return work.result()


async def _deliver_late(daemon: Daemon, served: asyncio.Task[Answer | None]) -> None:
    """The dialplan has gone on without this answer."""
    answer = await served
    if answer is not None and answer.session is not None and not daemon.process.dead:
        await daemon.desk.abandoned(answer.session)
