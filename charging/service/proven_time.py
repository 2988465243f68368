"""Whether the wall clock may be believed. That is asked before anything that cannot be undone: the expiry of credit and
of free minutes (R11, R19).

A machine that starts with a wrong clock (an empty battery, a clock set by hand) would let a year's credit expire in one
round. So the ledger keeps a *note* of the time at which the clock was last believed; every daemon that believes its own
clock renews the note each minute. The time since the note, less the time that this process has measured on its
monotonic clock, is *unexplained*:

==========================  ==========================================================================================
unexplained                 then
==========================  ==========================================================================================
up to FREE_S                believed: a restart
up to OUTAGE_S              believed once this process has run as long, and at most for SETTLE_S: an outage. By then a
                            clock that is set over the network is right. Meanwhile nothing expires; nobody is asked
more, or before the note    nothing expires until the clock is right again, or an operator confirms the time
==========================  ==========================================================================================

Nothing expires either while the clock of a Redis server is more than SKEW_S away. A clock that steps while the daemon
runs is treated like a restart. To expire credit late harms no customer; to expire it early does.

What is bought or given while the clock is behind the note is dated by the note (`dated`). Else it would be years old,
and expire, as soon as the clock is right. What a payment's age decides is decided by a clock that is believed
(`proven`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog

from charging.clock import MICROSECONDS, Clock, Instant
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass

COLLECTION = "clock"
NOTE = "believed"
FREE_S = 600
SETTLE_S = 6 * 3600
OUTAGE_S = 4 * 24 * 3600
"""A long weekend."""
SKEW_S = 300
"""Between two machines' clocks."""
STEP_S = 60
"""By which wall and monotonic clock may drift apart before it is a step."""
RENEWED_S = 30
TRACE_S = 36 * 3600
"""An older version's ledger has no note: a call that ended so shortly before now stands for it."""
CONFIRM = "if it is right, run `charging ledger confirm-time`; if not, set the clock (and let chrony keep it)"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """The note, as it is stored."""

    wall_us: int
    """When the clock was last believed, by itself."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Note)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why the clock is not believed now."""

    why: str
    asks: bool
    """Whether an operator is needed; else it passes by itself."""


def doubt(now: Instant, noted_us: int | None, watched_since: Instant, store_us: int | None = None) -> Doubt | None:
    """Whether to believe the wall clock of ``now``; ``None``: believe it.

    ``noted_us``: the note's time; ``None``: there is none, nor what stands for it. ``watched_since``: when this process
    began to see both clocks run evenly after the note. ``store_us``: the clock of the store's server.
    """
    wall = _shown(now.wall_us)
    if noted_us is None:
        return Doubt(f"the clock says {wall}, and no call of the ledger ended within 36 hours before; {CONFIRM}", True)
    if store_us is not None and abs(store_us - now.wall_us) > SKEW_S * MICROSECONDS:
        return Doubt(f"the clock says {wall}, the ledger's server {_shown(store_us)}: set the one that is wrong", True)
    since_s = (now.wall_us - noted_us) // MICROSECONDS
    if since_s < -SKEW_S:
        return Doubt(f"the clock says {wall}, the ledger knows of {_shown(noted_us)} already; {CONFIRM}", True)
    watched_s = round(watched_since.seconds_until(now))
    unexplained_s = since_s - watched_s
    if unexplained_s > OUTAGE_S:
        last = f"was last believed at {_shown(noted_us)}, {unexplained_s // 86_400} days unaccounted for"
        return Doubt(f"the clock says {wall} and {last}; {CONFIRM}", True)
    if unexplained_s > FREE_S and watched_s < min(unexplained_s, SETTLE_S):
        return Doubt(f"the clock is believed in {min(unexplained_s, SETTLE_S) - watched_s} s if it runs evenly", False)
    return None


class ProvenTime:
    """Watches the clocks of one process, and keeps the note."""

    def __init__(self, store: Store, clock: Clock, held: Callable[[int], None] = lambda _level: None) -> None:
        """``held`` is called with 0 (believed), 1 (waiting) or 2 (an operator is needed); it must not block."""
        self._store = store
        self._clock = clock
        self._held = held
        self._since: Instant | None = None
        self._last: Instant | None = None
        """Of the last look."""
        self._version: int | None = None
        """Of the note as we know it."""
        self._told: Doubt | None = None

    async def believed(self) -> bool:
        """Look at the clocks; to be called each minute or so. Raises LedgerError."""
        note = await self._store.documents.get_document(COLLECTION, NOTE)
        noted_us = await _noted_us(self._store, note, self._clock)
        store_us = await self._store.wall_us()
        now = self._clock.now()
        found = doubt(now, noted_us, self._watched_since(now, note), store_us)
        self._tell(found)
        if found is None and (note is None or now.wall_us - noted(note) > RENEWED_S * MICROSECONDS):
            version = await _write(self._store, note, now.wall_us)
            self._version = version or self._version
        return found is None

    def _watched_since(self, now: Instant, note: Document | None) -> Instant:
        version = note.version if note is not None else 0
        if self._since is None or abs(_drift_s(self._since, now)) > STEP_S:
            self._since = now
        elif self._last is not None and self._version != version:  # renewed by another, after our last look
            self._since = max(self._since, self._last)
        self._version, self._last = version, now
        return self._since

    def _tell(self, found: Doubt | None) -> None:
        self._held(0 if found is None else 2 if found.asks else 1)
        before, self._told = self._told, found
        if found is None:
            if before is not None:
                log.info("expiry_goes_on")
        elif before is None or before.asks != found.asks:
            if found.asks:
                log.error("expiry_held", why=found.why)
            else:
                log.warning("expiry_waits", why=found.why)


async def dated(store: Store, clock: Clock) -> int:
    """The wall clock, µs, by which something is bought or given now: where it is behind the note, the note's time.
    Raises LedgerUnavailable."""
    note, now_us = await store.documents.get_document(COLLECTION, NOTE), clock.now().wall_us
    try:
        noted_us = now_us if note is None else noted(note)
    except LedgerCorrupt:  # which is told where the clock is looked at; credit works all the same (R22)
        return now_us
    return noted_us if noted_us - now_us > SKEW_S * MICROSECONDS else now_us


async def proven(store: Store, clock: Clock) -> int:
    """The wall clock, µs, that it is at least by all that is known: while the clock is not believed and an operator is
    needed, the note's. 0: nothing is known, for the note cannot be read. Raises LedgerUnavailable."""
    now_us = clock.now().wall_us
    try:
        if not await time_warning(store, clock):
            return now_us
        note = await store.documents.get_document(COLLECTION, NOTE)
        return now_us if note is None else min(now_us, noted(note))
    except LedgerCorrupt:  # which is told where the clock is looked at
        return 0


async def time_warning(store: Store, clock: Clock) -> str:
    """Why nothing expires until an operator confirms the time; empty if nothing is to be done. Raises LedgerError."""
    noted_us = await _noted_us(store, await store.documents.get_document(COLLECTION, NOTE), clock)
    store_us = await store.wall_us()
    now = clock.now()
    found = doubt(now, noted_us, now, store_us)
    return f"credit and free minutes do not expire: {found.why}" if found is not None and found.asks else ""


async def confirm_time(store: Store, clock: Clock) -> int:
    """Note, on an operator's word, that the clock is right. Returns the noted wall clock, µs. Raises LedgerError."""
    while True:
        note = await store.documents.get_document(COLLECTION, NOTE)
        now_us = clock.now().wall_us
        if await _write(store, note, now_us):
            log.warning("time_confirmed", before=None if note is None else _shown(noted(note)), now=_shown(now_us))
            return now_us


def noted(note: Document) -> int:
    """The wall clock of the note, µs. Raises LedgerCorrupt."""
    try:
        return _CODEC.load(note.body).wall_us
    except ValueError as error:
        raise LedgerCorrupt("the ledger's note of the time cannot be read: `charging ledger confirm-time`") from error


async def _write(store: Store, note: Document | None, wall_us: int) -> int:
    """Put another time into the note: its version; 0: someone else was faster."""
    body = _CODEC.dump(Note(wall_us))
    if note is None:
        return 1 if await store.documents.put_document(COLLECTION, NOTE, body) is Put.CREATED else 0
    return note.version + 1 if await store.documents.update_document(replace(note, body=body)) else 0


async def _noted_us(store: Store, note: Document | None, clock: Clock) -> int | None:
    """The note's time. A ledger without one takes the clock's where it has no calls, or one that ended just now."""
    if note is not None:
        return noted(note)
    now_us = clock.now().wall_us
    recent = await store.cdrs(since_us=now_us - TRACE_S * MICROSECONDS, limit=1)
    agrees = recent[0].ended_us <= now_us + SKEW_S * MICROSECONDS if recent else not await store.cdrs(limit=1)
    return now_us if agrees else None


def _drift_s(before: Instant, now: Instant) -> int:
    return ((now.wall_us - before.wall_us) - (now.mono_us - before.mono_us)) // MICROSECONDS


def _shown(wall_us: int) -> str:
    try:
        return datetime.fromtimestamp(wall_us // MICROSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{wall_us} µs"
