"""Ports of the engine: what the runner needs of the switch and of its observer. Adapters and tests' fakes implement
them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from charging.call.events import BlackBoxRead, Leg
from charging.call.storage import Record
from charging.clock import Instant
from charging.engine.told import Told
from charging.errors import SwitchError
from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class Legs:
    """The two channels of a session; ``None`` where the switch has no such channel."""

    caller: Leg | None = None
    callee: Leg | None = None
    others: tuple[Leg, ...] = ()
    """Channels that bear the session's name and are neither."""
    nameless: bool = False
    """Whether one that was asked about does not bear it."""

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
    """The switch, as the sending of a fax sees it."""

    @property
    def proven_mono_us(self) -> int | None:
        """Up to this monotonic reading (µs) the switch has reported everything; ``None`` if it never has."""

    async def send_fax(self, order: FaxOrder) -> None:
        """Have the switch dial and send; return when the order is taken. Raises SwitchError if it may not be."""

    async def is_sending(self, session: str) -> bool:
        """Whether a leg is dialled, or sends, for this fax. Before there is one, the switch itself takes no second
        order. Raises SwitchError."""


class Switch(Protocol):
    """The switch, as a session sees it. Every method raises SwitchError if the switch could not be asked or did not
    obey, unless it says otherwise, and ends within the adapter's own time-out."""

    @property
    def proven_mono_us(self) -> int | None:
        """Up to this monotonic reading (µs) the switch has reported everything; ``None`` if it never has."""

    @property
    def started(self) -> str:
        """When the switch was started, in its own words: another text after each start; empty while it is not known."""

    async def look(self) -> Look:
        """List every channel that belongs to a session of this daemon."""

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        """Ask about channels of sessions (``""``: of none), each channel alone, all in one write. Channels that are
        gone, or are not the session's, are left out. Returns for each session, in this order, its answer, or why there
        is none. Raises nothing."""

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        """Whether this caller's channel exists and its dialplan now asks what to do with the call, in the conversation
        of this ``proof``."""

    async def is_rehearsal(self, caller_uid: str) -> bool:
        """Whether the caller is the rehearsal's of `charging check --call`. No call from outside can claim to be."""

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        """Have the switch itself cut each of these channels, by unique id, at its instant. A channel that is gone is no
        error. Returns for each, in this order, why the switch did not obey, or ``None``. Raises nothing."""

    async def fax_pages(self, uids: Sequence[str]) -> int | None:
        """How many pages have been confirmed of the fax that one of these channels sends; ``None``: none sends one."""

    async def hang_up(self, uid: str) -> None:
        """End the channel. One that is gone is no error."""

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        """Play a prompt to one leg, and return what became of it."""

    async def black_boxes_of(self, sessions: Sequence[str]) -> Sequence[BlackBoxRead | SwitchError]:
        """Read the switch's own record of each of these calls, by one question. Returns them, or why there was no
        answer, in their order."""

    async def black_boxes(self, booked: Container[str] = ()) -> Mapping[str, BlackBoxRead | None]:
        """Read all records, by key: a session's id, or another word for a call without a session. Of ``booked`` it is
        only seen that they are there (``None``): after a busy minute those are nearly all."""

    async def delete_records(self, keys: Sequence[str]) -> None:
        """Have records deleted, by key. The switch does so after this returns, if at all: ``black_boxes`` shows what is
        left."""


class Observer(Protocol):
    """Logs and counts what happens."""

    def __call__(self, what: Told, session: Record | None = None) -> None:
        """Something happened, to a session or (``None``) to the daemon."""
