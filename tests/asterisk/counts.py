"""Whether Asterisk counts its channels rightly: one that it has left, or counts and does not list, keeps it from
ending gracefully for ever."""

from __future__ import annotations

import asyncio
import contextlib

from charging.lab import LabError
from charging.lab.process import AsteriskProcess

ID_IN_USE = "already in use by channel"
BEGINS = " built by "
"""In the first line of its log after a start."""


def miscounted(switch: AsteriskProcess) -> str:
    """The line of its log, since its last start, that tells of a channel which it refused, and counts ever since as one
    that has gone; empty if there is none."""
    log = (switch.folder / "log" / "messages").read_text("utf-8", "replace")
    lines = log.rpartition(BEGINS)[2].splitlines()
    return next((line for line in lines if ID_IN_USE in line), "")


async def stops_gracefully(switch: AsteriskProcess, deadline_s: float) -> bool:
    """Have it stop once it counts no channel, as an operator does; whether it did in time."""
    ordered = asyncio.create_task(_ordered(switch))
    try:
        async with asyncio.timeout(deadline_s):
            while switch.is_running:  # noqa: ASYNC110 - another process has no Event for us
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    finally:
        ordered.cancel()
    return True


async def _ordered(switch: AsteriskProcess) -> None:
    with contextlib.suppress(LabError, OSError):
        await switch.cli("core stop gracefully")
