"""Whether the daemons that share a switch's lease hear one and the same switch.

A lease is of a name. Two Asterisks whose daemons have one ``switch.id`` (``asterisk``, if it is left out) would share
it: one daemon books the calls of both, looks for all of them at its own Asterisk, and closes those of the other as
never answered. So the daemon that holds the lease writes down when its switch was started, in the switch's own words,
and one that stands by compares that with its own. If they differ for DOUBTED_S it decides no calls (its dialplan asks
the next daemon, or falls back), and does not seek the lease: while the other is away it would end the calls of the
other switch, and take its place. A restart of the switch is noted sooner than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from typing import Annotated, Any, NoReturn, Protocol

from charging.clock import MICROSECONDS, Clock
from charging.engine.ports import Observer
from charging.engine.told import SwitchIdTaken
from charging.errors import LedgerError
from charging.ledger.documents import Document, Documents
from charging.records import NEWER, Codec, dataclass

COLLECTION = "switches"
LOOK_S = 10
DOUBTED_S = 60
"""Both links are up again long before, after a restart of the switch; else the one that is down loses the lease."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a switch from others, by its ``switch.id``."""

    started: str
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Mark)


class Started(Protocol):
    """`charging.engine.ports.Switch`."""

    @property
    def started(self) -> str: ...


class OneSwitch:
    """Of one daemon."""

    def __init__(
        self,
        documents: Documents,
        clock: Clock,
        switch: Started,
        switch_id: str,
        observe: Observer,
        holds: Callable[[], bool],
    ) -> None:
        """``holds``: whether the lease is ours."""
        self._documents = documents
        self._clock = clock
        self._holds = holds
        self._switch = switch
        self._switch_id = switch_id
        self._observe = observe
        self._differs_us: int | None = None
        """Since when, by the monotonic clock."""
        self.is_another = False
        """Another switch has our ``switch.id`` in the ledger."""

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            with suppress(LedgerError):
                await self.look()
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    async def look(self) -> None:
        """Write the mark, or compare it. Raises LedgerError."""
        if not (started := self._switch.started):
            return
        stored = await self._documents.get_document(COLLECTION, self._switch_id)
        if self._holds():
            self._differs(is_so=False)
            await self._write(stored, started)
        else:
            self._differs(is_so=stored is not None and _started(stored) != started)

    async def _write(self, stored: Document | None, started: str) -> None:
        if stored is None:
            await self._documents.put_document(COLLECTION, self._switch_id, _CODEC.dump(Mark(started)))
        elif _started(stored) != started:
            await self._documents.update_document(replace(stored, body=_CODEC.dump(Mark(started))))

    def _differs(self, *, is_so: bool) -> None:
        now = self._clock.now()
        if not is_so:
            self._differs_us, self.is_another = None, False
            return
        since_us = self._differs_us = now.mono_us if self._differs_us is None else self._differs_us
        if not self.is_another and now.mono_us - since_us >= DOUBTED_S * MICROSECONDS:
            self.is_another = True
            self._observe(SwitchIdTaken(self._switch_id))


def _started(stored: Document) -> str:
    """Empty if it cannot be read: the next who holds the lease writes it again."""
    with suppress(ValueError):
        return _CODEC.load(stored.body).started
    return ""
