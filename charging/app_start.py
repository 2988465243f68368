"""What goes first when a daemon starts: the calls that run.

An outage ends for a call once it is paid ahead again, and all of a start happens within the time that is paid for. So
whatever can wait does, and nothing searches through thousands of new objects for garbage meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import count
from typing import NoReturn, Protocol

import structlog

from charging.clock import Clock
from charging.ledger.sqlite.store import SqliteStore
from charging.ledger.sqlite.upgrade import due, rehearsed, upgrade
from charging.sandbox import ground
from charging.settings import Settings

log = structlog.get_logger("charging.app")

GARBAGE_MANY = 20_000
"""New objects, before those that refer to each other in circles are searched for."""

YOUNG_S, ALL_S = 2, 3600
"""So often the newest objects alone are searched, and all that are not frozen. A tick gives its call new objects in the
place of old ones, which makes no more of them: left to itself the collector looked once in a minute, at all that 10,000
calls hold, and held them up for a tenth of a second."""

NOT_BY_ITSELF = 1_000_000
"""So many searches of the newest before the collector would look at older ones by itself."""

CALLS_FIRST_S = 10
"""So long after its start a daemon sees to running calls before it reads what listens to people, at most."""

ROUNDS_WAIT_S = 60
"""The same for what looks at all accounts, or at each that was charged: nobody waits for it."""

CALLS_LOOK_S = 0.1

THREADS_SWITCH_S = 0.001
"""So long the loop's thread keeps the interpreter where the ledger's wants it, which needs it six times a commit. With
Python's own 5 ms those were most of a commit while thousands of calls are paid ahead."""


class Link(Protocol):
    """What a start needs to know of the link to the switch."""

    @property
    def is_coming(self) -> bool: ...

    @property
    def is_up(self) -> bool: ...


class Calls(Protocol):
    """What a start needs to know of the calls."""

    def are_paid_ahead(self) -> bool: ...


async def calls_come_first(clock: Clock, link: Link, calls: Calls, most_s: float) -> None:
    """Return as soon as the running calls are paid ahead again, or after ``most_s`` seconds."""
    until_us = clock.now().plus(most_s).mono_us
    while (now := clock.now()).mono_us < until_us and (link.is_coming or link.is_up):
        if link.is_up and calls.are_paid_ahead():
            return
        await clock.sleep_until(now.plus(CALLS_LOOK_S).mono_us)


def spare_collector(*, youngest_only: bool = False) -> None:
    """What there is now (modules, the tariff) lives as long as the daemon: never look through it again for garbage.
    What a call makes is freed by counting; the rest can wait for GARBAGE_MANY objects, for each search of them holds
    all calls up. Nor is it searched now, while running calls wait (it has some 1,400 objects of garbage); once they are
    seen to (``youngest_only``) the newest are."""
    if youngest_only:
        gc.collect(0)
    gc.freeze()
    gc.set_threshold(GARBAGE_MANY, NOT_BY_ITSELF, NOT_BY_ITSELF)
    gc.enable()


async def collect(clock: Clock) -> NoReturn:
    """Search the newest objects for garbage while they are few, and all once an hour, for ever."""
    for search in count(1):
        await clock.sleep_until(clock.now().plus(YOUNG_S).mono_us)
        gc.collect(0 if search % (ALL_S // YOUNG_S) else 2)
    raise AssertionError("count has no end")


def share_interpreter() -> None:
    """Let the ledger's thread have the interpreter soon where it wants it."""
    sys.setswitchinterval(THREADS_SWITCH_S)


async def upgrade_ledger(settings: Settings, clock: Clock) -> None:
    """Upgrade an older program's SQLite ledger to our schema, after a copy, and log it: calls must not wait for an
    operator. Other daemons may use a Redis, so there it is left to `charging ledger upgrade`."""
    file = settings.ledger.sqlite_file
    if file is None or (step := await asyncio.to_thread(due, file)) is None:
        return
    if settings.sandbox:  # a real ledger is refused before anything changes it
        with rehearsed(step) as made:
            store = SqliteStore(made)
            await store.open()
            try:
                await ground.check(store.documents, is_sandbox=True)
            finally:
                await store.close()
    copy = step.copy_at(clock.now().wall_us)
    log.warning("ledger_upgrade_began", schema=step.stored, to=step.newest, copy=str(copy))
    await asyncio.to_thread(upgrade, step, copy)
    log.warning("ledger_upgrade_done", schema=step.newest, copy=str(copy))
