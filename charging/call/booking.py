"""The one reading of a ledger's answer, and what every phase of a call does with it. Pure.

============  ====================================================  =================================================
reading       the ledger says                                       so
============  ====================================================  =================================================
Booked        the transfer is in the journal                        the session is as the transfer says
Unknown       nothing: it was not reached, or its answer was lost   ask again, with the same id and the same contents
Insufficient  there is not enough money                             plan again with what is left
Behind        it has lost our last transfers, or all of them        `failover` posts them again
Lost          the session is not ours, or our books differ          let go of it, and have a person look
============  ====================================================  =================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from charging.call import told
from charging.call.commands import Doubt, Post, Step, Tell
from charging.call.events import KeptAnswer, Posted
from charging.call.model import Context, Pending, Session, State
from charging.call.transfers import adopt
from charging.frozen import replace
from charging.ledger.model import Opened, OpenSession, Outcome


@dataclass(frozen=True, slots=True)
class Booked:
    """The transfer is in the journal."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The ledger gave no answer: the transfer may or may not be in the journal."""


@dataclass(frozen=True, slots=True)
class Insufficient:
    """Refused: a balance would go below its floor. Another call of the account was faster."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The ledger has lost transfers that it had acknowledged, by a fail-over."""

    stored: OpenSession | None
    """The session as it is stored; ``None``: the ledger has never heard of it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Refused for good: another daemon holds the session, it is closed, or our books differ."""

    outcome: Outcome


Reading = Booked | Unknown | Insufficient | Behind | Lost


def reading_of(event: Posted) -> Reading:
    """Read the ledger's answer to a transfer that changes a session."""
    change = event.transfer.change
    assert change is not None, "a session's transfer changes it"
    if event.applied is None:
        return Unknown()
    if event.applied.outcome.applied:
        return Booked()
    match event.applied.outcome, event.applied.session:
        case (Outcome.OUT_OF_SEQUENCE, OpenSession() as stored) if stored.sequence < change.follows:
            return Behind(stored)
        case (Outcome.SESSION_NOT_OPEN, _) if not isinstance(change, Opened):
            return Behind(None)
        case (Outcome.INSUFFICIENT, _):
            return Insufficient()
        case (outcome, _):
            return Lost(outcome)


def reading_of_kept(event: KeptAnswer) -> Reading:
    """Read the ledger's answer to a record that was stored without moving money. ``Behind`` has no stored session here:
    the answer to the next transfer brings it."""
    match event.outcome:
        case None:
            return Unknown()
        case Outcome.CREATED:
            return Booked()
        case Outcome.SESSION_NOT_OPEN | Outcome.OUT_OF_SEQUENCE:
            return Behind(None)
        case outcome:
            return Lost(outcome)


def is_awaited(session: Session, event: Posted) -> bool:
    """Whether the event answers the transfer that the session waits for. Answers to earlier attempts have the same
    id."""
    return session.pending is not None and session.pending.transfer.id == event.transfer.id


def after_booking(session: Session, pending: Pending) -> Session:
    """Return the session as its booked transfer leaves it."""
    return adopt(session, pending.funding, pending.fixed_s, pending.short, pending.transfer.legs)


def set_aside(session: Session) -> Session:
    """Return the session without its pending transfer."""
    return replace(session, pending=None, retry_mono_us=None)


def ask_later(session: Session, wait_s: float, context: Context) -> Step:
    """The ledger gave no answer: repeat the request after ``wait_s`` seconds."""
    return Step(replace(session, retry_mono_us=context.in_s(wait_s)), (Tell(told.LedgerNotReached()),))


def post_again(session: Session) -> Step:
    """Send the pending transfer again, unchanged: the ledger applies an id once."""
    pending = session.pending
    assert pending is not None, "there is something to ask about"
    again = replace(pending, attempts=pending.attempts + 1)
    return Step(replace(session, pending=again, retry_mono_us=None), (Post(pending.transfer, pending.grants),))


def lose(session: Session, outcome: Outcome) -> Step:
    """Let go of a session that is closed, belongs to another daemon or differs from our books. Nothing more is booked
    from this record; the daemon that owns the session goes on from the stored one. Logged as an error: a person should
    look."""
    return Step(replace(session, state=State.CLOSED, pending=None), (Tell(told.SessionLost(outcome)), Doubt()))


def tell_tick(session: Session, pending: Pending) -> Tell:
    """Report that a tick's transfer is in the journal."""
    return Tell(told.TickPosted(settled_by(pending), session.covered_s, session.short))


def settled_by(pending: Pending) -> dict[str, int]:
    """Return what a transfer took, by balance: micro-euro or seconds."""
    return {leg.balance: -leg.posted for leg in pending.transfer.legs if leg.posted}
