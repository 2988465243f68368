"""Waiting for a condition, with a deadline; and the end of a test that pytest-timeout gave up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

POLL_S = 0.02
UNWINDS_S = 60
Value = TypeVar("Value")


async def eventually(look: Callable[[], Awaitable[Value | None]], what: str, deadline_s: float = 30.0) -> Value:
    """Look again and again until there is something true to see, and give that."""
    deadline = time.monotonic() + deadline_s
    while not (value := await look()):
        assert time.monotonic() < deadline, f"waited {deadline_s} s in vain for {what}"
        await asyncio.sleep(POLL_S)
    return value


async def end_given_up(test: Callable[..., Any]) -> None:
    """Cancel a test that goes on after its end, and wait until it has put everything away.

    pytest-timeout raises out of the loop, not in the test: that would go on beside the next ones of its worker, with
    its daemon on the port that theirs need.
    """
    left = [one for one in asyncio.all_tasks() if getattr(one.get_coro(), "cr_code", None) is test.__code__]
    for one in left:
        one.cancel()
    if left:
        await asyncio.wait(left, timeout=UNWINDS_S)
