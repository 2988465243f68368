"""Whether the switch's machine has room for what strangers leave: on the disk for voicemail, and in memory for faxes.

Strangers who leave messages could fill the disk; and if the ledger or the switch's database is on it, no call could be
decided any more. So while little is free, no caller is sent to voicemail. Asterisk writes all audio that comes, also
what comes faster than time, so no bound in seconds bounds what is being recorded: while very little is free, who leaves
a message or a fax is hung up. What is written without a daemon is not limited so.

Asterisk keeps a fax's page in memory, with every dot of it, until the page ends; and a page has no bound: a white line
is a few bits on the line and 216 bytes in memory. So while very little memory is free, who sends a fax is hung up: else
the kernel would end Asterisk, and all calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

from charging.clock import Clock
from charging.engine.ports import Observer
from charging.engine.told import FaxesEnded, RecordingsEnded, SpoolFull, SpoolHasRoom
from charging.errors import SwitchError
from charging.records import dataclass

LOOK_S = 1
"""Between two looks. Three callers who sent audio a hundred and sixty times faster than time wrote 8 MB a second."""
FULL_BYTES = 500_000_000
"""With less than this free no message is taken: the hundreds that are being left just then still fit, if they come at
the pace of speech."""
ROOM_BYTES = 600_000_000
"""With this free they are taken again."""
END_BYTES = 400_000_000
"""With less than this free, what is being recorded ends: before documents find no room (`charging.fax.convert`), for
strangers must not keep subscribers from sending faxes. What is left below both is the ledger's."""
AGAIN_BYTES = 1_000_000
"""When so much less is free than before, someone records who had not been there."""


RESERVE_BYTES, RESERVE_PART = 250_000_000, 8
"""With less memory than this free, and less than this part of all, the receiving of faxes ends. Ten lines by sound
bring 2 MB a second, and a hundred times that where they send it as fast as the switch can read it."""


async def nobody() -> int:
    """Hang up nobody, and return how many calls that were."""
    return 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the switch's machine."""

    free: Callable[[], int | None]
    """Returns what can still be given, in bytes; ``None`` means that it is another machine and nothing is known."""
    reserve: int
    """With less than this free, in bytes, the receiving of faxes ends."""


class Ending:
    """Ends what uses something up, once little of it is left, and again if that has brought nothing."""

    def __init__(self, below: int, end: Callable[[], Awaitable[int]], tell: Callable[[int, int], None]) -> None:
        """``end`` hangs up who uses it up, and returns how many did; raises SwitchError. ``tell`` is given that, and
        the bytes that are left."""
        self._below = below
        self._end = end
        self._tell = tell
        self._ended_at: int | None = None
        """The most that has been free since all were ended; ``None``: they need not be."""

    async def saw(self, free: int | None) -> None:
        """Take the result of a look, in bytes; ``None``: nothing is known."""
        if free is None or free >= self._below:
            self._ended_at = None
        elif self._ended_at is not None and free > self._ended_at - AGAIN_BYTES:
            self._ended_at = max(self._ended_at, free)
        else:
            with suppress(SwitchError):  # at the next look
                calls = await self._end()
                self._ended_at = free
                if calls:
                    self._tell(calls, free)


class MemoryWatch:
    """Looks at the free memory of the switch's machine, reports it, and ends the faxes that come in before it is used
    up."""

    def __init__(
        self,
        clock: Clock,
        observe: Observer,
        memory: Memory,
        show: Callable[[int | None], None],
        end: Callable[[], Awaitable[int]] = nobody,
    ) -> None:
        """``show`` is given the result of each look. ``end`` hangs up who sends faxes, and returns how many did; raises
        SwitchError."""
        self._clock = clock
        self._memory = memory
        self._show = show
        self._ending = Ending(memory.reserve, end, lambda calls, free: observe(FaxesEnded(calls, free // 1_000_000)))

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    async def look(self) -> None:
        """Look once, and do what is due."""
        free = self._memory.free()
        self._show(free)
        await self._ending.saw(free)


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
        self._ending = Ending(END_BYTES, end, lambda calls, free: observe(RecordingsEnded(calls, free // 1_000_000)))

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    async def look(self) -> None:
        """Look once, and do what is due."""
        free = await asyncio.to_thread(self._free)
        self.saw(free)
        await self._ending.saw(free)

    def saw(self, free: int | None) -> None:
        """Take the result of a look, in bytes."""
        self._show(free)
        had = self.has_room
        self.has_room = free is None or free >= (FULL_BYTES if had else ROOM_BYTES)
        if self.has_room is not had:
            megabytes = (free or 0) // 1_000_000
            self._observe(SpoolHasRoom(megabytes) if self.has_room else SpoolFull(megabytes))
