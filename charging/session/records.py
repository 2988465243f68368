"""The records of open sessions: a forwarded call, or a paid voicemail. Pure."""

from __future__ import annotations

import json

from charging.clock import Instant
from charging.session import core, voicemail
from charging.session.commands import Command
from charging.session.events import Event
from charging.session.model import Policy, Session, from_json
from charging.session.voicemail import RECORD_KIND, Voicemail, voicemail_from

Record = Session | Voicemail


def revive(text: str, now: Instant, epoch: int) -> Record:
    """A stored record, brought back to life. Raises ValueError, KeyError or TypeError where the text is none."""
    stored = json.loads(text)
    if stored.get("kind") == RECORD_KIND:
        return voicemail_from(stored, now, epoch)
    return from_json(text, now, epoch)


def step(record: Record, event: Event, now: Instant, policy: Policy) -> tuple[Record, tuple[Command, ...]]:
    """What an event does to a record. Raises UnexpectedEvent."""
    if isinstance(record, Voicemail):
        return voicemail.step(record, event, now, policy)
    return core.step(record, event, now, policy)


def wake_at(record: Record, policy: Policy) -> int | None:
    """The monotonic reading at which a record wants a Woke, or ``None``."""
    return voicemail.wake_at(record) if isinstance(record, Voicemail) else core.wake_at(record, policy)
