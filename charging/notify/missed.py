"""Which missed calls go into which mail (R13). Pure.

The first missed call is reported by a mail at once. After a mail there is a pause; calls within it are reported
together in one mail at its end, and one that comes after it at once. With each mail the pause is twice as long, up to
PAUSE_MOST_S, until no call has come for QUIET_S after one. So a robot that dials all day, or once after each pause,
causes a dozen mails a day instead of thousands, and still no call is left out: calls are listed by caller, and calls of
callers beyond CALLERS_MAX are counted.

A batch is *frozen* before it is put into the outbox, and does not change until it is there. So after a crash, or in
another daemon, the same calls are put under the same id, and the outbox takes them once. A call that comes meanwhile
waits for the next batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any

from charging.call.decide import Cause
from charging.clock import MICROSECONDS
from charging.records import NEWER, RECORD, Codec, dataclass

PAUSE_MOST_S = 4 * 3600
QUIET_S = 4 * 3600
"""After a pause; then the next one is short again."""
CALLERS_MAX = 20
"""Of a batch; of further ones only the number of calls is kept."""
SEEN_MAX = 50
"""Newest calls that are known again where their recording is repeated."""
CAUSES_UNKNOWN = (Cause.NO_CREDIT,)
"""Taken for those of calls that were recorded before causes were."""


@dataclass(frozen=True, slots=True)
class Call:
    """One missed call."""

    id: str
    """Unique to the call."""
    number: str
    """The subscriber's own, that was rung."""
    caller: str
    """Empty: withheld."""
    at_us: int
    """Wall clock."""
    cause: Cause = Cause.NO_CREDIT


@dataclass(frozen=True, slots=True)
class Caller:
    """All calls of a batch from one caller to one number."""

    number: str
    caller: str
    times: int
    last_us: int
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that one mail names; one at least."""

    id: str
    """Of its first call."""
    first_us: int
    last_us: int
    callers: tuple[Annotated[Caller, RECORD], ...]
    """In the order of their first calls."""
    others: int = 0
    """Calls from callers beyond CALLERS_MAX."""
    causes: tuple[Cause, ...] = CAUSES_UNKNOWN
    """Why they were missed: each once, in the order of :class:`Cause`."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many."""
        return sum(one.times for one in self.callers) + self.others

    def with_call(self, call: Call) -> Batch:
        """The batch with one more."""
        first_us, last_us = min(self.first_us, call.at_us), max(self.last_us, call.at_us)
        causes = tuple(cause for cause in Cause if cause in (*self.causes, call.cause))
        grown = replace(self, first_us=first_us, last_us=last_us, causes=causes)
        for place, known in enumerate(self.callers):
            if (known.number, known.caller) == (call.number, call.caller):
                more = replace(known, times=known.times + 1, last_us=max(known.last_us, call.at_us))
                return replace(grown, callers=(*self.callers[:place], more, *self.callers[place + 1 :]))
        if len(self.callers) == CALLERS_MAX:
            return replace(grown, others=self.others + 1)
        return replace(grown, callers=(*self.callers, Caller(call.number, call.caller, 1, call.at_us)))


@dataclass(frozen=True, slots=True)
class Missed:
    """One account's."""

    waiting: Annotated[Batch, RECORD] | None = None
    """Calls that wait for the next mail."""
    frozen: Annotated[Batch, RECORD] | None = None
    """Calls that are being put into the outbox."""
    told_us: int | None = None
    """When a batch was last frozen, wall clock; ``None``: never."""
    pause_s: int = 0
    """After that."""
    seen: tuple[str, ...] = ()
    """Ids of the newest calls."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)

    @property
    def due_us(self) -> int:
        """When something is due: a batch is to be reported, or the record deleted because it is no longer needed."""
        if self.frozen is not None:
            return self.frozen.last_us
        return self._quiet_ends_us if self.waiting is None else max(self.waiting.first_us, self._pause_ends_us)

    @property
    def is_quiet(self) -> bool:
        """Nothing waits: once it is due there is nothing left to remember."""
        return self.frozen is None and self.waiting is None

    def with_call(self, call: Call) -> Missed:
        """The record with one more call; unchanged if the call was recorded before."""
        if call.id in self.seen:
            return self
        caller = Caller(call.number, call.caller, 1, call.at_us)
        first = Batch(call.id, call.at_us, call.at_us, (caller,), causes=(call.cause,))
        waiting = first if self.waiting is None else self.waiting.with_call(call)
        return replace(self, waiting=waiting, seen=(*self.seen, call.id)[-SEEN_MAX:])

    def with_frozen(self, now_us: int, first_pause_s: int) -> Missed:
        """The record with the waiting calls frozen, if they are due and no other batch is frozen."""
        if self.frozen is not None or self.waiting is None or now_us < self.due_us:
            return self
        went_on = self.told_us is not None and self.waiting.first_us < self._quiet_ends_us
        pause_s = min(2 * self.pause_s, max(PAUSE_MOST_S, first_pause_s)) if went_on else first_pause_s
        return replace(self, waiting=None, frozen=self.waiting, told_us=now_us, pause_s=pause_s)

    def without_frozen(self) -> Missed:
        """The record after the frozen batch was put into the outbox."""
        return replace(self, frozen=None)

    @property
    def _pause_ends_us(self) -> int:
        return 0 if self.told_us is None else self.told_us + self.pause_s * MICROSECONDS

    @property
    def _quiet_ends_us(self) -> int:
        """When it no longer matters that something was told."""
        return self._pause_ends_us + (QUIET_S * MICROSECONDS if self.pause_s else 0)

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` makes an equal value of it."""
        return _CODEC.dump(self)

    @classmethod
    def from_json(cls, text: str) -> Missed:
        """What :meth:`to_json` wrote. Raises ValueError else."""
        return _CODEC.load(text)


_CODEC = Codec(Missed)
