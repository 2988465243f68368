"""What the runner needs of the switch and of whoever watches: ports, fulfilled by adapters and by tests' fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from charging.call.events import BlackBoxRead, Leg
from charging.call.storage import Record
from charging.clock import Instant
from charging.engine.told import Told
from charging.errors import SwitchError


@dataclass(frozen=True, slots=True)
class Legs:
    """The two channels of a session; ``None`` where the switch has no such channel."""

    caller: Leg | None = None
    callee: Leg | None = None
    others: tuple[Leg, ...] = ()
    """Channels that bear the session's name and are neither."""

    @property
    def uids(self) -> tuple[str, ...]:
        """Of every channel."""
        return tuple(leg.uid for leg in (self.callee, self.caller, *self.others) if leg is not None)


@dataclass(frozen=True, slots=True)
class Look:
    """What the switch knew of all sessions at one moment."""

    asked_mono_us: int
    legs: Mapping[str, Legs]
    """By session; a session that is not in it has no channel. Those of another ``switch.id`` are left out."""
    doubtful: frozenset[str] = frozenset()
    """Sessions of which the switch's words cannot be believed, neither that a channel lives nor that it is gone."""


class PromptResult(StrEnum):
    """How a prompt fared."""

    PLAYED = "played"
    """In the subscriber's ear, beside the conversation."""
    FALLBACK = "fallback"
    """By the second way, which interrupts the conversation for its length."""
    FAILED = "failed"
    UNHEARD = "unheard"
    """Nothing was wrong, but the subscriber had the other party on hold, or the call ended first."""


@dataclass(frozen=True, slots=True)
class FaxOrder:
    """A fax that is paid, to be dialled now."""

    session: str
    """Makes the order idempotent: the switch carries out one of a session only."""
    switch: str
    """The ``switch.id`` of the daemon that orders it, which the black box notes."""
    number: str
    """The sender's, E.164."""
    target: str
    """E.164."""
    file: str
    """The TIFF, a path on the switch."""
    header: str
    """What stands above every page; no commas."""
    dial_by_us: int
    """Wall clock: the switch must not dial after this."""
    ring_s: int
    send_s: int
    """After so many seconds the switch ends it."""


class FaxLine(Protocol):
    """The switch, as far as sending a fax is concerned."""

    @property
    def proven_mono_us(self) -> int | None:
        """Up to then the switch has told everything; ``None``: never yet."""

    async def send_fax(self, order: FaxOrder) -> None:
        """Have the switch dial and send; returns when the order is taken. Raises SwitchError where it may not be."""


class Switch(Protocol):
    """The switch, as far as a session is concerned. Every method raises SwitchError where the switch could not be asked
    or did not obey, and ends within the adapter's own time-out."""

    @property
    def proven_mono_us(self) -> int | None:
        """Up to then the switch has told everything; ``None``: never yet."""

    async def look(self) -> Look:
        """Ask for every channel that belongs to a session of ours."""

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        """Ask for channels of sessions, each alone, all of them together. One that is gone, or is not the session's, is
        not in its answer. For each session, in this order, its answer, or why there is none. Raises nothing."""

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        """Whether there is this caller's channel, and its dialplan asks now what to do with the call, in the
        conversation of this ``proof``."""

    async def is_rehearsal(self, caller_uid: str) -> bool:
        """Whether the caller is that of `charging check --call`, which no call from outside can say of itself."""

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        """Have the switch itself cut each of these channels, by unique id, at its instant; one that is gone is fine.
        For each, in this order: what kept the switch from obeying, or ``None``. Raises nothing."""

    async def hang_up(self, uid: str) -> None:
        """End the channel; one that is gone is fine."""

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        """Play a prompt to one leg."""

    async def black_box(self, session: str) -> BlackBoxRead:
        """The switch's own record of one call."""

    async def black_boxes(self) -> Mapping[str, BlackBoxRead]:
        """All records that are there, by key: a session's id, or another word for a call without one."""

    async def delete_records(self, keys: Sequence[str]) -> None:
        """Have records deleted, by key. Done soon after this returns, if at all: ``black_boxes`` shows what is left."""


class Observer(Protocol):
    """Whoever logs and counts."""

    def __call__(self, what: Told, session: Record | None = None) -> None:
        """Something happened, to a session or (``None``) to the daemon."""
