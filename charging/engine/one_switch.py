"""Whether the daemons that share a switch's lease hear one and the same switch.

A lease is of a name. Two Asterisks whose daemons have one ``switch.id`` (``asterisk``, if it is left out) would share
it: one daemon books the calls of both, looks for all of them at its own Asterisk, and closes those of the other as
never answered. So the daemon that holds the lease writes down when its switch was started, in the switch's own words,
and one that stands by compares that with its own. If they differ for DOUBTED_S, while another holds the lease, it
decides no calls (its dialplan asks the next daemon, or falls back), and does not seek the lease: while the other is
restarted it would end the calls of the other switch, and take its place. That ends once nobody has held the lease for
two horizons: the other switch's calls are over, and it is gone, or has another ``switch.id`` now.

One switch that is restarted is noted sooner than that, by whoever holds the lease; if he went down with it, his lease
runs out before.
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
from charging.ledger.documents import Document
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass

COLLECTION = "switches"
LOOK_S = 10
DOUBTED_S = 60
"""At least, and twice as long as a lease lasts. After a restart of the switch both links are up again long before; else
the one that is down loses the lease."""
HORIZONS = 2
"""Behind the first, the calls of a switch whose daemon is away have been cut."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a switch from others, by its ``switch.id``."""

    started: str
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Mark)


class Lease(Protocol):
    """`charging.engine.leadership.LeaseKeeper`."""

    switch_id: str
    ttl_s: float

    @property
    def owner(self) -> str: ...

    @property
    def holds(self) -> bool: ...


class OneSwitch:
    """Of one daemon."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        started: Callable[[], str],
        observe: Observer,
        lease: Callable[[], Lease],
        horizon_s: int,
    ) -> None:
        """``started`` returns when the switch was, in its own words, and nothing while it is not heard. ``lease``
        returns what keeps ours; it asks whether `is_another`, and is made later. ``horizon_s``: for so long calls live
        whose daemon is away."""
        self._store = store
        self._clock = clock
        self._started = started
        self._observe = observe
        self._lease = lease
        self._freed_us = HORIZONS * horizon_s * MICROSECONDS
        self._differs_us: int | None = None
        self._free_us: int | None = None
        """Since when the marks differ, and nobody holds the lease, by the monotonic clock."""
        self.is_another = False
        """Another switch has our ``switch.id`` in the ledger."""

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            try:
                await self.look()
            except LedgerError:  # meanwhile anything may have become of the lease
                self._differs_us = self._free_us = None
            await self._clock.sleep_until(self._clock.now().plus(LOOK_S).mono_us)

    async def look(self) -> None:
        """Write the mark, or compare it. Raises LedgerError."""
        if not (started := self._started()):  # it may have been restarted meanwhile
            self._differs_us = self._free_us = None
            return
        lease = self._lease()
        stored = await self._store.documents.get_document(COLLECTION, lease.switch_id)
        if lease.holds:
            await self._write(lease.switch_id, stored, started)
        if lease.holds or stored is None or _started(stored) == started:
            self._differs_us, self._free_us, self.is_another = None, None, False
        else:
            self._differs(lease, is_held=await self._is_anothers(lease))

    async def _is_anothers(self, lease: Lease) -> bool:
        held, name = await self._store.leases.held_leases(), f"switch {lease.switch_id} by "
        return any(one.startswith(name) and one != name + lease.owner for one in held)

    async def _write(self, switch_id: str, stored: Document | None, started: str) -> None:
        documents = self._store.documents
        if stored is None:
            await documents.put_document(COLLECTION, switch_id, _CODEC.dump(Mark(started)))
        elif _started(stored) != started:
            await documents.update_document(replace(stored, body=_CODEC.dump(Mark(started))))

    def _differs(self, lease: Lease, *, is_held: bool) -> None:
        now_us = self._clock.now().mono_us
        if not is_held:
            self._differs_us, free_us = None, now_us if self._free_us is None else self._free_us
            self._free_us = free_us
            self.is_another = self.is_another and now_us - free_us < self._freed_us
            return
        differs_us = now_us if self._differs_us is None else self._differs_us
        self._differs_us, self._free_us = differs_us, None
        if not self.is_another and now_us - differs_us >= max(DOUBTED_S, 2 * lease.ttl_s) * MICROSECONDS:
            self.is_another = True
            self._observe(SwitchIdTaken(lease.switch_id))


def _started(stored: Document) -> str:
    """Empty if it cannot be read: the next who holds the lease writes it again."""
    with suppress(ValueError):
        return _CODEC.load(stored.body).started
    return ""
