"""Whether the switch's disk for voicemail has room.

Strangers who leave messages could fill the disk; and if the ledger or the switch's database is on it, no call could be
decided any more. So while little is free, no caller is sent to voicemail. Messages that Asterisk takes without a daemon
are not limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from charging.clock import Clock
from charging.engine.ports import Observer
from charging.engine.told import SpoolFull, SpoolHasRoom

LOOK_S = 10
"""Between two looks. A message grows by 20 kB a second."""
FULL_BYTES = 500_000_000
"""With less than this free no message is taken: the hundreds that are being left just then still fit."""
ROOM_BYTES = 600_000_000
"""With this free they are taken again."""


class SpoolWatch:
    """Looks at the free space, and reports when the disk is full and when it has room again."""

    def __init__(
        self,
        clock: Clock,
        observe: Observer,
        free: Callable[[], int | None],
        show: Callable[[int | None], None],
    ) -> None:
        """``free`` returns the free bytes, and may wait for the disk; ``None`` means that the folder is on another
        machine and nothing is known. ``show`` is given the result of each look."""
        self.has_room = True
        self._clock = clock
        self._observe = observe
        self._free = free
        self._show = show

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            self.saw(await asyncio.to_thread(self._free))
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    def saw(self, free: int | None) -> None:
        """Take the result of a look, in bytes."""
        self._show(free)
        had = self.has_room
        self.has_room = free is None or free >= (FULL_BYTES if had else ROOM_BYTES)
        if self.has_room is not had:
            megabytes = (free or 0) // 1_000_000
            self._observe(SpoolHasRoom(megabytes) if self.has_room else SpoolFull(megabytes))
