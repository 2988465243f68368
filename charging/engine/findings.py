"""What contradicts a booking: kept in the store for a person to look at, never deleted unread.

A session is booked by the best evidence there is when it ends. A record of the switch that comes later, or that nobody
was there to read, is compared with what was booked; so are the events of a call with its record.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any

from charging.call import voicemail
from charging.call.events import BlackBoxRead
from charging.call.model import Proof, Session
from charging.call.storage import Record
from charging.clock import MICROSECONDS, Clock
from charging.engine import told
from charging.engine.ports import Observer
from charging.errors import LedgerError
from charging.ledger.documents import Put
from charging.ledger.model import CdrRow
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass
from charging.unguessable import opened_us

COLLECTION = "findings"
"""Of documents, one a finding, under the session's id and the kind."""

DIFFERENCE_MS = 1000
"""Between a record and a booking by events. Those differ by how late an event was."""

SEARCHED_S = 120
"""So long before and after a record's end the CDR of its session is looked for."""

UNANSWERED_MAX_S = 3600
"""A forward that nobody answers ends within so long: its caller has heard it ring, and has spoken to a mailbox."""

PAGE = 200


class Kind(StrEnum):
    """How a booking is contradicted."""

    EVENTS_CONTRADICT_RECORD = "events_contradict_record"
    """The call was booked by its record, and the events say another length."""
    LEG_OUTLIVED_RECORD = "leg_outlived_record"
    """The call was booked by its events: the switch saw its leg alive after the end that its record notes."""
    RECORD_CONTRADICTS_BOOKING = "record_contradicts_booking"
    RECORD_WITHOUT_BOOKING = "record_without_booking"
    """The switch noted a call, a fax or a message of a session that has no CDR."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it is stored."""

    session: str
    kind: Kind
    found_us: int
    """When it was found, wall clock."""
    account: str = ""
    """Empty where it is not known."""
    done_us: int | None = None
    """When someone acknowledged it; ``None``: it is open."""
    done_reason: str = ""
    """What he did about it."""
    figures: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)
    """All other members: what was noted, and what was booked."""


CODEC = Codec(Finding)


@dataclass(frozen=True, slots=True)
class Booked:
    """What was booked of one session."""

    used_ms: int = 0
    pieces: int | None = None
    """Messages or pages; ``None`` for a forward."""
    account: str = ""
    """Who was charged; empty where a CDR does not say."""
    stepped: bool = False
    """Whether clocks stepped while it lasted and the smaller duration was booked: a longer record is known to be
    wrong."""


def booked_unread(record: Record) -> Booked:
    """What a session was booked as that has just closed without its record: no messages and no pages."""
    if isinstance(record, Session):
        if record.duration is None:
            return Booked(account=record.account)
        return Booked(record.duration.used_ms, None, record.account, record.duration.proof is Proof.CLOCK_JUMP)
    return Booked(pieces=0, account=record.account)


def booked_by(cdr: str) -> Booked:
    """What a session was booked as, by its CDR's JSON text."""
    fields: Mapping[str, Any] = json.loads(cdr)
    pieces, stepped = fields.get("messages", fields.get("pages")), fields.get("proof") == Proof.CLOCK_JUMP
    return Booked(fields.get("used_ms", 0), pieces, fields.get("account", ""), stepped)


def contradiction(box: BlackBoxRead, booked: Booked | None) -> Kind | None:
    """How a record of the switch contradicts what was booked; ``None`` if it does not. ``booked`` is ``None`` if
    nothing was."""
    if booked is None:
        noted = box.answered_ms > DIFFERENCE_MS or box.fax_pages > 0
        return Kind.RECORD_WITHOUT_BOOKING if noted else None
    if booked.pieces is None:
        longer_ms = box.answered_ms - booked.used_ms
        differs = abs(longer_ms) > DIFFERENCE_MS and not (booked.stepped and longer_ms > 0)
    else:
        differs = booked.pieces != max(box.fax_pages, int(box.message_stored))
    return Kind.RECORD_CONTRADICTS_BOOKING if differs else None


class Findings:
    """Keeps findings, and looks up what was booked."""

    def __init__(self, store: Store, clock: Clock, observe: Observer) -> None:
        self._store = store
        self._clock = clock
        self._observe = observe

    async def keep(self, session: str, kind: Kind, fields: Mapping[str, object]) -> bool:
        """Store a finding and log it, once. ``False`` if the store could not answer: try again later."""
        figures = dict(fields)
        account = str(figures.pop("account", ""))
        finding = Finding(session, kind, self._clock.now().wall_us, account, figures=figures)
        try:
            answer = await self._store.documents.put_document(COLLECTION, f"{session}/{kind}", CODEC.dump(finding))
        except LedgerError as error:
            self._observe(told.LedgerFailed(str(error), type(error).__name__))
            return False
        if answer is Put.CREATED:
            self._observe(told.BookingContradicted(session, kind, fields))
        return True

    async def booked(self, session: str, ended_us: int) -> Booked | None:
        """What was booked of a session that ended about then; ``None`` if nothing is found. Raises LedgerError."""
        cdr = await self._cdr(session, ended_us, ended_us + SEARCHED_S * MICROSECONDS)
        return None if cdr is None else booked_by(cdr)

    async def unanswered(self, sessions: Collection[str]) -> set[str]:
        """Which of these sessions have ended without a forward that was answered, by their CDRs. Raises LedgerError."""
        opened = {session: opened_us(session) for session in sessions}
        known = {one: us for one, us in opened.items() if us is not None}
        cdrs = {one: await self._cdr(one, us, us + UNANSWERED_MAX_S * MICROSECONDS) for one, us in known.items()}
        return {one for one, cdr in cdrs.items() if cdr is not None and _owes_nothing(json.loads(cdr))}

    async def _cdr(self, session: str, since_us: int, until_us: int) -> str | None:
        """Return the CDR of a session that ended between these times, or up to `SEARCHED_S` before. The CDRs of all
        accounts are read from then on until it is found."""
        since_us -= SEARCHED_S * MICROSECONDS
        after: tuple[int, str] | None = None
        while True:
            rows = await self._store.cdrs(since_us=since_us, until_us=until_us, after=after, limit=PAGE)
            found: CdrRow | None = next((row for row in rows if row.session == session), None)
            if found is not None:
                return found.document
            if len(rows) < PAGE:
                return None
            after = rows[-1].ended_us, rows[-1].session


def _owes_nothing(cdr: Mapping[str, Any]) -> bool:
    """Whether nothing more is to be paid for what its caller does afterwards."""
    return bool(cdr["service"] == voicemail.SERVICE or cdr.get("proof") == Proof.NEVER_ANSWERED)


def noted(box: BlackBoxRead) -> dict[str, object]:
    """Return a record of the switch as the fields of a finding."""
    return {
        "dial_status": box.dial_status,
        "answered_ms": box.answered_ms,
        "ended_us": box.ended_us,
        "message_stored": box.message_stored,
        "fax_pages": box.fax_pages,
        "number": box.number,
        "switch": box.switch,
    }
