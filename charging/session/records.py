"""The records of open sessions: a forwarded call, a paid voicemail, or a fax. Pure."""

from __future__ import annotations

import json

from charging.clock import Instant
from charging.session import core, fax, voicemail
from charging.session.commands import Command
from charging.session.events import Event
from charging.session.fax import Fax, fax_from
from charging.session.model import Policy, Session, from_json
from charging.session.voicemail import Voicemail, voicemail_from

Record = Session | Voicemail | Fax


def revive(text: str, now: Instant, epoch: int) -> Record:
    """A stored record, brought back to life. Raises ValueError, KeyError or TypeError where the text is none."""
    stored = json.loads(text)
    match stored.get("kind"):
        case voicemail.RECORD_KIND:
            return voicemail_from(stored, now, epoch)
        case fax.RECORD_KIND:
            return fax_from(stored, now, epoch)
    return from_json(text, now, epoch)


def step(record: Record, event: Event, now: Instant, policy: Policy) -> tuple[Record, tuple[Command, ...]]:
    """What an event does to a record. Raises UnexpectedEvent."""
    match record:
        case Voicemail():
            return voicemail.step(record, event, now, policy)
        case Fax():
            return fax.step(record, event, now, policy)
    return core.step(record, event, now, policy)


def wake_at(record: Record, policy: Policy) -> int | None:
    """The monotonic reading at which a record wants a Woke, or ``None``."""
    match record:
        case Voicemail():
            return voicemail.wake_at(record)
        case Fax():
            return fax.wake_at(record)
    return core.wake_at(record, policy)
