"""What a daemon reads and does before it sees to the calls that run: an outage ends when they are paid ahead again."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charging.app import Engine
from charging.app_start import ALL_S, CALLS_FIRST_S, ROUNDS_WAIT_S, YOUNG_S, calls_come_first, collect
from tests.fakes.clock import FakeClock

CONFIG = Path(__file__).parents[2] / "config"
FOR_PEOPLE = ("fastapi", "starlette", "uvicorn", "httpx", "charging.web.server", "charging.app_api")
"""Web servers and what is served by them: half of all that a daemon imports."""


def test_a_daemon_sees_to_calls_before_it_reads_what_people_ask() -> None:
    code = f"import sys, charging.app; print(*[one for one in {FOR_PEOPLE!r} if one in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == []


NO_PROGRAM = """
import subprocess, sys
from pathlib import Path
from charging.app import build
from charging.settings import load_config

def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a program is started")

subprocess.Popen.__init__ = refuse
build(load_config(Path(sys.argv[1]), {"CHARGING_AMI_SECRET": "x"}))
"""


def test_a_daemon_that_sends_faxes_waits_for_no_other_program_before_it_sees_to_calls(tmp_path: Path) -> None:
    settings = tmp_path / "charging.yaml"
    shutil.copy(CONFIG / "charging.yaml", settings)
    shutil.copy(CONFIG / "tariff.yaml", tmp_path)
    assert "\nfax:" in settings.read_text()
    ran = subprocess.run([sys.executable, "-c", NO_PROGRAM, str(settings)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@dataclass
class Link:
    """A link to the switch that is on its way, until it is not."""

    is_coming: bool = True
    is_up: bool = False


class Waiting:
    """A daemon that has just been started."""

    def __init__(self) -> None:
        self.clock, self.link, self.paid_ahead = FakeClock(), Link(), False
        registry: Any = SimpleNamespace(are_paid_ahead=lambda: self.paid_ahead)
        come_first = partial(calls_come_first, self.clock, self.link, registry)
        engine: Any = SimpleNamespace(calls_come_first=come_first)
        self.task = asyncio.create_task(come_first(CALLS_FIRST_S))
        self.rounds = 0
        self.looking = asyncio.create_task(Engine.after_calls(engine, self._look()))

    async def _look(self) -> None:
        self.rounds += 1

    async def looks_after(self, seconds: float) -> bool:
        await self.clock.advance(seconds)
        return self.rounds == 1

    async def listens_after(self, seconds: float) -> bool:
        await self.clock.advance(seconds)
        return self.task.done()


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


async def test_people_are_listened_to_once_running_calls_are_paid_ahead(waiting: Waiting) -> None:
    assert not await waiting.listens_after(1)
    waiting.link.is_coming, waiting.link.is_up = False, True
    assert not await waiting.listens_after(1)
    waiting.paid_ahead = True
    assert await waiting.listens_after(1)


@pytest.mark.parametrize(
    ("holds", "is_known", "has_restored", "is_paid", "is_ahead"),
    [
        (False, False, False, True, False),  # the link can be up before the ledger has said who sees to its calls
        (False, True, False, True, True),  # another daemon does
        (True, True, False, True, False),  # none is found yet: that is no sign of none
        (True, True, True, False, False),
        (True, True, True, True, True),
    ],
)
def test_calls_are_paid_ahead_once_all_were_found_or_are_anothers(
    holds: bool, is_known: bool, has_restored: bool, is_paid: bool, is_ahead: bool
) -> None:
    engine: Any = SimpleNamespace(
        lease=SimpleNamespace(holds=holds, is_known=is_known),
        recovery=SimpleNamespace(has_restored=has_restored),
        registry=SimpleNamespace(open=SimpleNamespace(are_paid_ahead=lambda: is_paid)),
    )
    assert Engine.are_paid_ahead(engine) is is_ahead


async def test_people_are_listened_to_at_once_where_there_is_no_switch_to_be_reached(waiting: Waiting) -> None:
    assert not await waiting.listens_after(1)
    waiting.link.is_coming = False
    assert await waiting.listens_after(1)


async def test_people_are_listened_to_in_time_however_long_calls_take(waiting: Waiting) -> None:
    waiting.link.is_coming, waiting.link.is_up = False, True
    assert not await waiting.listens_after(CALLS_FIRST_S - 1)
    assert await waiting.listens_after(2)


async def test_accounts_are_looked_at_once_running_calls_are_paid_ahead(waiting: Waiting) -> None:
    """A start with thousands of calls takes its CPU for them: who is told of what, and when, nobody waits for."""
    waiting.link.is_coming, waiting.link.is_up = False, True
    assert not await waiting.looks_after(CALLS_FIRST_S + 1)
    waiting.paid_ahead = True
    assert await waiting.looks_after(1)


async def test_accounts_are_looked_at_in_time_however_long_calls_take(waiting: Waiting) -> None:
    waiting.link.is_coming, waiting.link.is_up = False, True
    assert not await waiting.looks_after(ROUNDS_WAIT_S - 1)
    assert await waiting.looks_after(2)


async def test_a_daemon_that_is_stopped_before_looks_at_no_account(waiting: Waiting) -> None:
    assert not await waiting.looks_after(1)
    waiting.looking.cancel()
    assert not await waiting.looks_after(ROUNDS_WAIT_S)


class Circle:
    """Refers to itself: only a search frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def no_other_search() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_other_search")
async def test_garbage_is_searched_for_every_two_seconds_among_new_objects_and_once_an_hour_among_all() -> None:
    clock = FakeClock()
    searching = asyncio.create_task(collect(clock))
    kept = Circle()
    new, old = weakref.ref(Circle()), weakref.ref(kept)
    await clock.advance(YOUNG_S - 0.001)
    assert new() is not None
    await clock.advance(0.001)
    assert new() is None
    del kept
    await clock.advance(ALL_S - 2 * YOUNG_S)
    assert old() is not None, "thousands of calls are old, too"
    await clock.advance(YOUNG_S)
    assert old() is None
    searching.cancel()
