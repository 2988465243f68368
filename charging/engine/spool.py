"""Whether the switch's disk for voicemail has room.

Strangers who leave messages could fill the disk; and if the ledger or the switch's database is on it, no call could be
decided any more. So while little is free, no caller is sent to voicemail. Asterisk writes all audio that comes, also
what comes faster than time, so no bound in seconds bounds what is being recorded: while very little is free, who leaves
a message or a fax is hung up. What is written without a daemon is not limited so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from charging.clock import Clock
from charging.engine.ports import Observer
from charging.engine.told import RecordingsEnded, SpoolFull, SpoolHasRoom
from charging.errors import SwitchError

LOOK_S = 1
"""Between two looks. Three callers who sent audio a hundred and sixty times faster than time wrote 8 MB a second."""
FULL_BYTES = 500_000_000
"""With less than this free no message is taken: the hundreds that are being left just then still fit, if they come at
the pace of speech."""
ROOM_BYTES = 600_000_000
"""With this free they are taken again."""
END_BYTES = 250_000_000
"""With less than this free, what is being recorded ends."""
AGAIN_BYTES = 1_000_000
"""When so much less is free than before, someone records who had not been there."""


async def nobody() -> int:
    """Hang up nobody, and return how many calls that were."""
    return 0


class SpoolWatch:
    """Looks at the free space, reports when the disk is full and when it has room again, and ends what fills it."""

    def __init__(
        self,
        clock: Clock,
        observe: Observer,
        free: Callable[[], int | None],
        show: Callable[[int | None], None],
        end: Callable[[], Awaitable[int]] = nobody,
    ) -> None:
        """``free`` returns the free bytes, and may wait for the disk; ``None`` means that the folder is on another
        machine and nothing is known. ``show`` is given the result of each look. ``end`` hangs up who records there, and
        returns how many did; raises SwitchError."""
        self.has_room = True
        self._clock = clock
        self._observe = observe
        self._free = free
        self._show = show
        self._end = end
        self._ended_at: int | None = None
        """The most that has been free since all recordings were ended; ``None``: they need not be."""

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    async def look(self) -> None:
        """Look once, and do what is due."""
        free = await asyncio.to_thread(self._free)
        self.saw(free)
        if free is None or free >= END_BYTES:
            self._ended_at = None
        elif self._ended_at is None or free <= self._ended_at - AGAIN_BYTES:
            await self._end_recordings(free)
        else:
            self._ended_at = max(self._ended_at, free)

    async def _end_recordings(self, free: int) -> None:
        try:
            calls = await self._end()
        except SwitchError:
            return  # at the next look
        self._ended_at = free
        if calls:
            self._observe(RecordingsEnded(calls, free // 1_000_000))

    def saw(self, free: int | None) -> None:
        """Take the result of a look, in bytes."""
        self._show(free)
        had = self.has_room
        self.has_room = free is None or free >= (FULL_BYTES if had else ROOM_BYTES)
        if self.has_room is not had:
            megabytes = (free or 0) // 1_000_000
            self._observe(SpoolHasRoom(megabytes) if self.has_room else SpoolFull(megabytes))
