"""A simulated city's ledger in a SQLite file, on a disk that may lose what was not flushed to it.

The store is the engine's own, but for its threads: what they would do is done in the loop, between two of its turns, so
that a story is told the same each time. By a cut of the power every daemon dies in the middle of one of the store's
writes; what the disk has then is the ledger, and nothing may be missing that was acknowledged. A backup is made by
SQLite while calls run, and restored as `charging ledger restore` does it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from charging.clock import Clock
from charging.ledger.sqlite.restore import copied, locked, put_in_place
from charging.ledger.sqlite.store import SqliteStore
from charging.ledger.sqlite.writer import Writer, answer, carry_over
from tests.simulation.disk import Disk

if TYPE_CHECKING:
    from tests.simulation.city import City

CUT_WITHIN_S = 5
A_MOMENT = 0.002
"""Days."""
ROWS_TO_A_REST = 40
"""So many are written, and the log is carried over into the file: often, for the power to fail in the middle."""


class _AtOnce:
    """In the place of a pool of threads."""

    def submit(self, work: Callable[..., None], *arguments: object) -> Future[None]:
        done: Future[None] = Future()
        work(*arguments)
        done.set_result(None)
        return done

    def shutdown(self, **_how: bool) -> None:
        return


class _NextTurn:
    """In the place of a writing thread and of what wakes it: jobs that are put to it in one turn of the loop share a
    commit."""

    ident = None

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def start(self) -> None:
        return

    def __enter__(self) -> None:
        return

    def __exit__(self, *_how: object) -> None:
        return

    def notify(self) -> None:
        if self._writer._queue:
            asyncio.get_running_loop().call_soon(self._carry_out)

    def _carry_out(self) -> None:
        while self._writer._queue:
            batch = self._writer._next_batch()
            self._writer._carry_out(batch)
            answer(batch)
        if self._writer._rows_in_log >= ROWS_TO_A_REST:
            self._writer._rows_in_log = 0
            carry_over(self._writer._connection)


class FiledLedger(SqliteStore):
    """See the module."""

    def __init__(self, folder: Path, clock: Clock, chance: random.Random) -> None:
        super().__init__(folder / "ledger.db", clock=clock)
        self.disk = Disk(folder, chance)
        at_once, turn = cast(Any, _AtOnce()), cast(Any, _NextTurn(self._writer))
        self._reader._pool = self._reader._lasting = at_once
        self._writer._thread = self._writer._wake = turn

    async def close(self) -> None:
        await super().close()
        self._writer._disconnect()
        self.disk.forget()


def ledgers(folder: Path, seed: int) -> Callable[[Clock], FiledLedger]:
    """What makes one ledger after another, each on a disk of its own."""
    numbers, chance = count(), random.Random(f"disk{seed}")

    def made(clock: Clock) -> FiledLedger:
        own = folder / f"disk-{next(numbers)}"
        own.mkdir()
        return FiledLedger(own, clock, chance)

    return made


async def cut_power(city: City, operations: int, away_s: float) -> None:
    """The machine of the ledger and its daemons loses its power at one of the next writes to the disk, or flushes."""
    ledger = city.store
    if not isinstance(ledger, FiledLedger) or city.is_off:
        return
    for switch in range(city.setting.switches):
        city.trouble(switch, CUT_WITHIN_S + away_s)
    ledger.disk.went_off = city.die
    ledger.disk.cuts_in = operations
    for _ in range(10 * CUT_WITHIN_S):
        if ledger.disk.is_off:
            city.counts["power cut in a write"] += 1
            break
        await city.clock.advance(0.1)
    else:
        ledger.disk.cut_power()
    city.counts["power cut"] += 1
    city.counts["write that was not flushed"] += ledger.disk.unflushed
    city.store = after = await _on_again(city, ledger)
    await city.leap(away_s / 86_400)
    assert await after.self_check() == [], "the file is whole"


async def _on_again(city: City, before: FiledLedger) -> FiledLedger:
    """The ledger as the disk has it."""
    city.is_off = True
    for daemon in list(city.alive()):
        await daemon.kill()
    after = cast(FiledLedger, city.new_store())
    before.disk.after_power_cut(after.disk.folder)
    after.disk.look_again()
    await before.close()
    await after.open()
    return after


async def restore(city: City, seconds: float, lines: Callable[[City], Any], audited: Callable[[City], Any]) -> None:
    """SQLite copies the ledger while calls run; so many seconds later it is restored, by a command, and the copy is
    it."""
    before = city.store
    assert isinstance(before, FiledLedger)
    copy, archived = before.disk.folder / f"backup-{city.clock.now().mono_us}.db", city.counts["archived"]
    await before.backup(copy)
    since_us, then = city.clock.now().mono_us, await lines(city)
    await city.clock.advance(seconds)
    if city.store is not before or city.counts["archived"] != archived:
        return
    city.counts["backup restored"] += 1
    city.counts["backup of a file restored"] += 1
    city.is_off = True
    for daemon in list(city.alive()):
        await daemon.kill()
    await before.close()
    after = cast(FiledLedger, city.new_store())
    _put_in_place(copy, before, after)
    await after.open()
    city.store = after
    city.is_off = False
    assert await lines(city) == then, "a backup is the ledger of its moment"
    await city.people.forget(since_us)
    await city.leap(A_MOMENT, partial(audited, city))


def _put_in_place(backup: Path, before: FiledLedger, after: FiledLedger) -> None:
    """As `charging ledger restore`, over the ledger that is there."""
    ledger, new = before.disk.folder / "ledger.db", after.disk.folder
    with locked(ledger), copied(backup, ledger) as copy:
        put_in_place(copy, ledger, before.disk.folder / "kept.db")
    ledger.rename(new / ledger.name)
    after.disk.look_again()
