"""``charging run`` with clocks that a test moves, for stories that last a year: ``story_daemon.py SETTINGS CLOCKS``.

Everything else is the daemon as it is. When SIGUSR1 comes it reads the file CLOCKS again, as if the time that it tells
had passed while nothing happened: both clocks have moved, and whoever slept that long wakes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path

import structlog

from charging import app_api
from charging.app import Engine, build, serve
from charging.clock import MICROSECONDS, Instant, SystemClock
from charging.ledger.memory import MemoryStore
from charging.ledger.redis.store import RedisStore
from charging.logs import configure_logs
from charging.settings import load_config

POLL_S = 0.01

log = structlog.get_logger("charging.story")


class MovedClock:
    """The machine's clocks, and what the file adds to them (`charging.clock.Clock`)."""

    boot = ""  # its monotonic readings go on from the file's number

    def __init__(self, file: Path) -> None:
        self._file = file
        self._machine = SystemClock()
        self._moved = asyncio.Event()
        self.read()

    def read(self) -> None:
        """Take the file's two numbers, in µs: what comes on top of the monotonic and of the wall clock."""
        self._mono_us, self._wall_us = map(int, self._file.read_text().split())
        self._moved.set()
        self._moved = asyncio.Event()

    def now(self) -> Instant:
        machine = self._machine.now()
        return Instant(machine.mono_us + self._mono_us, machine.wall_us + self._wall_us)

    async def sleep_until(self, mono_us: int) -> None:
        while (left_us := mono_us - self.now().mono_us) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_us / MICROSECONDS):
                    await self._moved.wait()


async def tell_when_ready(engine: Engine, moved: Instant) -> None:
    """The lease is renewed and the switch heard after the move, so calls can come."""
    while not engine.lease.holds or (engine.link.proven_mono_us or 0) < moved.mono_us:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    log.info("clocks_moved", wall_us=moved.wall_us)


async def live(engine: Engine, clock: MovedClock) -> None:
    """Until killed."""
    tellers: set[asyncio.Task[None]] = set()

    def move() -> None:
        clock.read()
        teller = asyncio.create_task(tell_when_ready(engine, clock.now()), name="clocks-moved")
        tellers.add(teller)
        teller.add_done_callback(tellers.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, move)
    await serve(engine, asyncio.Event())


class _ReadClock(MovedClock):
    """For the process of the public interface, which nobody tells of a move."""

    def now(self) -> Instant:
        self.read()
        return super().now()


def main(settings: str, clocks: str, *listeners: str) -> int:
    """``charging run``, or with ``listeners`` the public interface's process."""
    if listeners:
        return app_api.main(listeners, _ReadClock(Path(clocks)))
    configure_logs()
    RedisStore.wall_us = MemoryStore.wall_us  # type: ignore[method-assign, assignment]  # the Redis is not in the story
    moved_clock = MovedClock(Path(clocks))
    program = (sys.executable, __file__, settings, clocks)
    asyncio.run(live(replace(build(load_config(Path(settings)), moved_clock), api_program=program), moved_clock))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
