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
from charging.call.commands import Context, Doubt, Post, Step, Tell
from charging.call.events import KeptAnswer, Posted
from charging.call.model import Pending, Session, State
from charging.call.transfers import adopt
from charging.frozen import replace
from charging.ledger.model import Opened, OpenSession, Outcome


@dataclass(frozen=True, slots=True)
class Booked:
    """It stands in the journal."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not stand in the journal."""


@dataclass(frozen=True, slots=True)
class Insufficient:
    """Refused: a balance would go below its floor. Another call of the account was faster."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A fail-over has lost what was acknowledged before."""

    stored: OpenSession | None
    """The session as it is stored; ``None``: the ledger has never heard of it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Refused for good."""

    outcome: Outcome


Reading = Booked | Unknown | Insufficient | Behind | Lost


def reading_of(event: Posted) -> Reading:
    """What the answer to a session's transfer means."""
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
    """What the answer to a record that was stored without any money means. How far behind the ledger is, the next
    transfer tells."""
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
    """Whether this answers the transfer whose outcome the session waits for."""
    return session.pending is not None and session.pending.transfer.id == event.transfer.id


def after_booking(session: Session, pending: Pending) -> Session:
    """The session, now that its transfer is booked."""
    return adopt(session, pending.funding, pending.fixed_s, pending.short, pending.transfer.legs)


def set_aside(session: Session) -> Session:
    """The session without the transfer that it waited for."""
    return replace(session, pending=None, retry_mono_us=None)


def ask_later(session: Session, wait_s: float, context: Context) -> Step:
    """The ledger could not answer: what it was asked is asked again."""
    return Step(replace(session, retry_mono_us=context.in_s(wait_s)), (Tell(told.LedgerNotReached()),))


def post_again(session: Session) -> Step:
    """Ask again with the same transfer."""
    pending = session.pending
    assert pending is not None, "there is something to ask about"
    again = replace(pending, attempts=pending.attempts + 1)
    return Step(replace(session, pending=again, retry_mono_us=None), (Post(pending.transfer, pending.grants),))


def lose(session: Session, outcome: Outcome) -> Step:
    """The session has passed to another daemon, is closed, or our books differ: nothing more is booked from this
    record. Whoever holds the session goes on from the stored one. Loud: a person should look."""
    return Step(replace(session, state=State.CLOSED, pending=None), (Tell(told.SessionLost(outcome)), Doubt()))


def tell_tick(session: Session, pending: Pending) -> Tell:
    """A tick's transfer is in the journal."""
    return Tell(told.TickPosted(settled_by(pending), session.covered_s, session.short))


def settled_by(pending: Pending) -> dict[str, int]:
    """What a transfer took, by balance."""
    return {leg.balance: -leg.posted for leg in pending.transfer.legs if leg.posted}
