"""Tries that name a secret: what is good passes, whoever else tries, and no address waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from charging.web import guesses
from charging.web.guesses import Guesses
from tests.fakes.clock import FakeClock

LIMIT = 3
STRANGER, NEIGHBOUR = "192.0.2.1", "192.0.2.2"


class Ledger:
    """What a look finds, if it is answered."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def hangs(self) -> str | None:
        self.is_asked.set()
        await self.answers.wait()
        return None


async def good() -> str | None:
    return "anna"


async def bad() -> str | None:
    return None


@pytest.fixture
async def tries() -> Guesses:
    """Both addresses have used up what they may."""
    made = Guesses(FakeClock(), LIMIT)
    for host in (STRANGER, NEIGHBOUR):
        for _ in range(LIMIT):
            assert await made.looked(host, bad) == (None, 0)
    return made


async def looked(tries: Guesses, host: str, look: Callable[[], Awaitable[str | None]]) -> tuple[str | None, bool]:
    found, wait_s = await tries.looked(host, look)
    return found, wait_s > 0


async def test_beyond_the_limit_what_is_good_passes_and_what_is_bad_has_to_wait(tries: Guesses) -> None:
    assert await looked(tries, STRANGER, good) == ("anna", False)
    assert await looked(tries, STRANGER, bad) == (None, True)


async def test_who_waits_for_a_ledger_that_does_not_answer_holds_up_no_other_address(tries: Guesses) -> None:
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(looked(tries, STRANGER, ledger.hangs))
        await ledger.is_asked.wait()
        async with asyncio.timeout(60):
            assert await looked(tries, NEIGHBOUR, good) == ("anna", False)
        ledger.answers.set()
    assert waiting.result() == (None, True)


async def test_who_has_no_turn_in_time_is_asked_to_come_again(tries: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand tries of one address, each as long as a ledger's deadline, would be hours."""
    monkeypatch.setattr(guesses, "TURN_S", 0.01)
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        group.create_task(looked(tries, STRANGER, ledger.hangs))
        await ledger.is_asked.wait()
        async with asyncio.timeout(60):
            assert await looked(tries, STRANGER, good) == (None, True)
        ledger.answers.set()
    assert await looked(tries, STRANGER, good) == ("anna", False)
