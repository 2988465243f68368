"""The stored records of open sessions: a forwarded call, a paid voicemail, or a fax. Pure."""

from __future__ import annotations

import json

from charging.call.fax import Fax
from charging.call.model import Session, from_json, is_as_written
from charging.call.voicemail import Voicemail
from charging.clock import MICROSECONDS, Instant

Record = Session | Voicemail | Fax

_PIECES: dict[str, type[Voicemail] | type[Fax]] = {one.KIND: one for one in (Voicemail, Fax)}


def revive(text: str, now: Instant, epoch: int, boot: str = "") -> Record:
    """Read a stored record. ``boot`` is as in `Session.from_json`. Raises ValueError if the text is no record."""
    try:
        kind = None if is_as_written(text) else _PIECES.get(json.loads(text).get("kind"))
        return from_json(text, now, epoch, boot) if kind is None else kind.revived(text, now, epoch)
    except Exception as error:  # a record edited by hand can raise anything
        raise ValueError(f"not a session's record ({type(error).__name__}: {error}): {text[:100]}") from error


def day_of_set_up(text: str) -> str:
    """The day of the set-up, ``YYYY-MM-DD``, as a stored record has it; empty if it has none."""
    try:
        return str(json.loads(text).get("day", ""))
    except (ValueError, AttributeError):  # a record edited by hand must not fail here
        return ""


def overdue_s(record: Record, now: Instant) -> int:
    """For how many seconds a session has been open beyond the moment at which it should have been over; 0 if it is not
    late."""
    return max(0, now.wall_us - record.due_us) // MICROSECONDS
