"""``charging ledger upgrade``: an older ledger to this program's schema, with a copy first; or a rehearsal of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from charging.cli.failure import Refusal
from charging.cli.in_process import store_of
from charging.cli.ledger_idle import assert_exact, refuse_beside_a_daemon
from charging.clock import SystemClock
from charging.ledger.redis.schema import SCHEMA
from charging.ledger.redis.store import RedisStore
from charging.ledger.sqlite.upgrade import Due, due, rehearsed, upgrade
from charging.settings import Settings


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, or would be."""

    stored: int
    newest: int
    seconds: float
    backup: Path | None
    """``None``: nothing was due, or it was a rehearsal."""


def upgrade_ledger(settings: Settings, copy: Path | None, *, dry_run: bool) -> Step | None:
    """``None``: the ledger has this program's schema. A rehearsal may be beside the older program's daemon. Raises
    Refusal, LedgerError."""
    file = settings.ledger.sqlite_file
    if not dry_run:
        refuse_beside_a_daemon(settings)
    if file is None:
        return asyncio.run(_of_redis(settings, copy, dry_run))
    if not file.exists():
        raise Refusal(f"there is no ledger {file}: look at ledger.url")
    step = due(file)
    return None if step is None else _of_file(step, copy, dry_run)


def _of_file(step: Due, copy: Path | None, dry_run: bool) -> Step:
    clock = SystemClock()
    began = clock.now()
    if dry_run:
        with rehearsed(step) as made:
            asyncio.run(assert_exact(made, step.file, clock))
            return Step(step.stored, step.newest, began.seconds_until(clock.now()), None)
    kept = copy or step.copy_at(began.wall_us)
    upgrade(step, kept)
    return Step(step.stored, step.newest, began.seconds_until(clock.now()), kept)


async def _of_redis(settings: Settings, copy: Path | None, dry_run: bool) -> Step | None:
    store = store_of(settings, upgrades=True)
    assert isinstance(store, RedisStore), "by its URL"
    clock = SystemClock()
    began = clock.now()
    try:
        stored = await store.schema.stored()
        if stored is None or stored >= SCHEMA:
            return None
        await store.schema.assert_may_upgrade(stored)
        if dry_run:
            return Step(stored, SCHEMA, began.seconds_until(clock.now()), None)
        if copy is None:
            raise Refusal("a Redis ledger's copy needs a place: name a new file by --backup FILE")
        await store.backup(copy)
        await store.open()
        return Step(stored, SCHEMA, began.seconds_until(clock.now()), copy)
    finally:
        await store.close()
