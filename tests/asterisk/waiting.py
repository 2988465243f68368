"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

POLL_S = 0.02
Value = TypeVar("Value")


async def eventually(look: Callable[[], Awaitable[Value | None]], what: str, deadline_s: float = 30.0) -> Value:
    """Look again and again until there is something true to see, and give that."""
    deadline = time.monotonic() + deadline_s
    while not (value := await look()):
        assert time.monotonic() < deadline, f"waited {deadline_s} s in vain for {what}"
        await asyncio.sleep(POLL_S)
    return value
