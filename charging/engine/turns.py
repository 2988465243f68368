"""What sessions, their home and those who give them turns know of each other (`runner`, `sessions`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from charging.call import commands as do
from charging.call.events import Event
from charging.call.storage import Record
from charging.clock import Clock, Instant
from charging.engine.ports import Observer, Switch
from charging.ledger.port import Ledger

if TYPE_CHECKING:
    from charging.engine.runner import Questions, SessionRunner


class Legs(Protocol):
    """Where sessions are found by their forwarded leg."""

    def leg_changed(self, runner: SessionRunner, was: str, now: str) -> None:
        """The forwarded leg's unique id was ``was`` and is ``now``; empty if there is no leg."""


class Acting(Protocol):
    """A session, as those see it who give it turns and answers."""

    session: Record
    alarm_us: int | None
    """When it wants to be woken next, by the monotonic clock."""

    def wake(self) -> None:
        """The moment that it wanted to be woken at has come."""

    def go_on(self) -> bool:
        """Do what there is to do. ``False`` if it waits for an answer, which `answered` brings."""

    def answered(self, event: Event | None) -> None:
        """Take the answer to what it asked; ``None`` if the answer says nothing."""


class Turns(Protocol):
    """Who gives sessions their turns (`sessions.Rounds`)."""

    clock: Clock
    questions: Questions

    def wake_at(self, acting: Acting, at_us: int | None) -> None:
        """Wake the session at ``at_us`` (monotonic, µs) instead of any earlier wish; ``None``: do not wake it."""

    def take(self, acting: Acting) -> None:
        """Give the session a turn, now or when another has finished."""

    def again(self, acting: Acting) -> None:
        """Let the session go on in the next turn of the loop."""

    def call_soon(self) -> None:
        """Take the next turn of the loop, for what waits to be asked."""

    def answer(self, answers: Sequence[tuple[Acting, Event | None]]) -> None:
        """Give each session its answer, and let them go on at once."""

    def fail(self, error: BaseException) -> None:
        """Stop all turns by this error: it is a fault of the program."""


class Home(Protocol):
    """What all sessions of one switch share."""

    switch: Switch
    ledger: Ledger
    observe: Observer

    @property
    def rounds(self) -> Turns:
        """Who gives them their turns."""

    @property
    def open(self) -> Legs:
        """All that are open."""

    def leads(self) -> bool:
        """Whether this daemon is the one that ticks the switch."""

    def now(self) -> Instant:
        """Read the clocks; a step of the wall clock is offered to every session first."""

    def forget(self, record: Record, how: do.Forget) -> None:
        """The session's end is booked: have its black-box record deleted."""

    async def keep_finding(self, session: str, finding: do.Find) -> None:
        """Keep a finding that contradicts a booking."""

    def doubt(self) -> None:
        """Our copy of the open sessions may be incomplete: reload them at the next audit."""

    def ended(self, runner: SessionRunner) -> None:
        """The session is closed."""
