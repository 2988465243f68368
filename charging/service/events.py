"""Events for other programs: what happens to one account or to all, as an ordered stream that is read by a cursor.

The events of an account are made from its journal and its CDRs, which are written in one atomic step with the money. So
every booking is an event and every event a booking, even if a daemon is killed or another takes over, and the stream
costs calls nothing. The cursor is the number of the journal's line. Ticks of a running call (EXTEND) are no events.

The events of all accounts are made from the ledger's feed (`charging.ledger.feed`): the same lines, and events that are
no bookings: calls that were not forwarded, notices, changed settings. The cursor is the place in the feed; a document
of several decisions makes several events, told apart by their part. The stream can be limited to one account.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Annotated, Any

import structlog

from charging.call.decide import Decision
from charging.call.decided import Decided, Turn, bodies
from charging.ledger.balances import PROMO, is_free_seconds, money_in
from charging.ledger.documents import Document
from charging.ledger.feed import FeedEntry
from charging.ledger.model import CREDIT, CdrRow, JournalLine, Kind
from charging.ledger.port import Ledger, Store
from charging.pricing.money import format_euro
from charging.pricing.packs import PACK, WORDS, is_pack, last_day_of, name_of, sort_of
from charging.records import NEWER, Codec, dataclass
from charging.service.actor import sees_actors
from charging.service.changes import Act, Change, readable
from charging.service.money import reason_shown
from charging.service.months import BUNDLE
from charging.service.privacy import cdr_shown
from charging.service.refusal import Code, Refused, unknown_account

ENTRIES_MAX = 200
"""Of the feed that one request looks into."""
LINES_MAX = 1_000
"""Of the journal that one request looks into; the next one goes on from there."""


log = structlog.get_logger(__name__)


class What(StrEnum):
    """What can happen."""

    TOPPED_UP = "credit.topped_up"
    CORRECTED = "credit.corrected"
    EXPIRED = "credit.expired"
    PROMOTION_GRANTED = "credit.granted"
    """Promotional credit, or taken back."""
    PROMOTION_EXPIRED = "credit.grant_expired"
    MINUTES_GRANTED = "minutes.granted"
    MINUTES_EXPIRED = "minutes.expired"
    PIECES_GRANTED = "pieces.granted"
    """Free fax pages or messages."""
    PIECES_EXPIRED = "pieces.expired"
    CALL_BEGUN = "call.begun"
    CALL_ENDED = "call.ended"
    VOICEMAIL_BEGUN = "voicemail.begun"
    VOICEMAIL_ENDED = "voicemail.ended"
    FAX_BEGUN = "fax.begun"
    FAX_ENDED = "fax.ended"
    CALL_REFUSED = "call.refused"
    """Not forwarded. This and those below are no bookings: the journal does not have them."""
    CREDIT_LOW = "credit.low"
    CREDIT_EXPIRING = "credit.expiring"
    MINUTES_LOW = "minutes.low"
    NOTICE = "notice.queued"
    """Another notice to the subscriber is on its way."""
    NOTICE_SENT = "notice.sent"
    """The mail server has taken it."""
    NOTICE_FAILED = "notice.failed"
    """It cannot be sent, ever."""
    SETTING_CHANGED = "setting.changed"
    RESTORED = "ledger.restored"
    """From a copy: what was told since that was made is undone. It is no account's."""


_NOTICES = {
    "low-credit": What.CREDIT_LOW,
    "low-free-minutes": What.MINUTES_LOW,
    "credit-expiry": What.CREDIT_EXPIRING,
}
"""By the words of `charging.notify.model.NoticeKind`, which is no part of the domain."""
_SETTINGS = frozenset(
    (Act.ACCOUNT_MADE, Act.ACCOUNT_EDITED, Act.ACCOUNT_ERASED, Act.NUMBER_ADDED, Act.NUMBER_EDITED, Act.NUMBER_REMOVED)
)


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """What became of a notice, as the outbox stores it."""

    account: str
    notice: str
    """Its id."""
    kind: str
    """One of `charging.notify.model.NoticeKind`."""
    at_us: int
    """When, wall clock."""
    sent: bool
    """Taken by the mail server; else it was given up."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


NOTICE_RESULT = Codec(NoticeResult)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was booked."""

    number: int
    """Of the journal's line, or the place in the feed."""
    what: What
    account: str
    at_us: int
    """Wall clock."""
    data: Mapping[str, Any]
    part: int = 0
    """From 1, of what tells several events at one place."""
    mark: str = ""
    """Of the journal's line."""

    @property
    def id(self) -> str:
        """The cursor behind it."""
        return str(Line(self.number, self.mark) if self.mark else Place(self.number, self.part))


@dataclass(frozen=True, slots=True)
class Line:
    """How far someone has read of an account's journal."""

    number: int = 0
    mark: str = ""
    """Tells the line from one that has its number after a restore; empty: whichever has it."""

    def __str__(self) -> str:
        return f"{self.number}-{self.mark}" if self.mark else str(self.number)


@dataclass(frozen=True, slots=True)
class Place:
    """How far someone has read of the events of all accounts."""

    place: int = 0
    part: int = 0
    """So many of the place's events are told; 0: all."""

    def __str__(self) -> str:
        return f"{self.place}.{self.part}" if self.part else str(self.place)


@dataclass(eq=False, slots=True)
class Reader:
    """An open stream."""

    who: str = ""
    """Has it open."""
    must_go: bool = False
    """For another's."""


class Events:
    """The events of each account, and of all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.streams: list[Reader] = []
        """That are open now; the oldest stands first."""

    async def page(self, account: str, after: Line, limit: int) -> tuple[list[Event], Line] | Refused:
        """Up to ``limit`` events after the cursor ``after`` (0: from the first that is kept), oldest first, and the
        cursor to go on from. A page may be empty though more follow: go on until the cursor does not change. Refused if
        lines after the cursor were archived, or its own line is no longer in the journal. Raises LedgerError."""
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        found: list[JournalLine] = []
        place, looked, stands = after, 0, not after.number
        async for line in self._store.journal(account, max(0, after.number - 1)):
            is_opening = line.kind is Kind.OPENING
            if is_opening and line.number > after.number > 0:
                return _archived(f"what was booked before {line.number}", line.number)
            if line.number == after.number:
                if not (stands := is_opening or after.mark in ("", _mark(line))):
                    break
                continue
            place, looked = Line(line.number, _mark(line)), looked + 1
            if _what(line) is not None:
                found.append(line)
            if len(found) == limit or looked == LINES_MAX:
                break
        if not stands:
            return _rewound(str(after), await self._first_kept(account))
        return list(await asyncio.gather(*(_event(self._store, line) for line in found))), place

    async def _first_kept(self, account: str) -> str:
        """The cursor behind what was archived of the account. Which of the lines behind it a reader had before
        a restore cannot be told."""
        async for line in self._store.journal(account):
            return str(line.number if line.kind is Kind.OPENING else 0)
        return "0"

    async def end(self) -> Place:
        """The cursor after everything that has happened until now. Raises LedgerError."""
        return Place(await self._store.feed.last_place())

    async def of_all(
        self, after: Place, limit: int, *, over_gaps: bool = False, account: str | None = None
    ) -> tuple[list[Event], Place] | Refused:
        """Up to ``limit`` events of all accounts, or of one, after the cursor ``after``, in the feed's order, and the
        cursor to go on from; as `page`. ``over_gaps``: skip what was archived instead of refusing. Raises
        LedgerError."""
        entries = await self._store.feed.read_feed(max(0, after.place - 1), ENTRIES_MAX)
        if not over_gaps and after.place:
            if (rewound := await self._rewound(entries, after)) is not None:
                return rewound
            if gone := _gone([one for one in entries if one.place > after.place], account):
                return _archived(f"what was told up to {gone}", gone)
        found: list[Event] = []
        place = after
        for entry in entries:
            if entry.place == after.place and not after.part:
                continue
            begun = after.part if entry.place == after.place else 0
            told = [one for one in await self._told(entry, account) if one.part > begun or not begun]
            room = limit - len(found)
            found += told[:room]
            if len(told) > room:
                if room:
                    place = Place(entry.place, told[room - 1].part)
                break
            if _is_gap(entry, account) and found and not over_gaps:
                break  # the next request is refused for the gap
            place = Place(entry.place)
        return found, place

    async def _rewound(self, entries: Sequence[FeedEntry], after: Place) -> Refused | None:
        """Refused where the feed, which is ``entries`` from the cursor's own place on, has not that place. What has
        come since is at larger ones (`charging.ledger.feed`, 2), so a reader goes on from the last below."""
        if entries and entries[0].place == after.place:
            return None
        before = await self._store.feed.last_place(after.place)
        if not before and entries and _is_gap(entries[0], None):
            return None  # it was archived
        return _rewound(str(after), str(before))

    async def _told(self, entry: FeedEntry, account: str | None) -> list[Event]:
        """What stands at a place, of an account or of any; nothing: it was archived or forgotten, or tells nothing."""
        if isinstance(entry.found, JournalLine):
            if _what(entry.found) is None or account not in (None, entry.account):
                return []
            return [replace(await _event(self._store, entry.found), number=entry.place, mark="")]
        try:
            told = _of_document(entry.place, entry.found) if entry.found is not None else []
            return [one for one in told if account is None or one.account in (account, "")]
        except (AttributeError, KeyError, TypeError, ValueError):
            log.error("event_unreadable", document=entry.document)
            return []


def _is_gap(entry: FeedEntry, account: str | None) -> bool:
    """Whether a line, of an account or of any, was archived."""
    return entry.found is None and bool(entry.account) and account in (None, entry.account)


def _gone(entries: Sequence[FeedEntry], account: str | None) -> int:
    """The last place of those at the head whose lines were archived; 0: the first stands."""
    gone = 0
    for entry in entries:
        if entry.found is not None and account in (None, entry.account or account):
            break
        gone = entry.place if _is_gap(entry, account) else gone
    return gone


def _of_document(place: int, document: Document) -> list[Event]:
    """The events of a decision, a notice, what became of one, or a change. Raises as the readers of those."""
    match document.collection:
        case "decisions":
            told = [_refused(document.id, number, one) for number, one in enumerate(bodies(document.body))]
            shown = [one for one in told if one is not None]
            return [replace(one, number=place, part=part) for part, one in enumerate(shown, 1)]
        case "notices":
            notice = json.loads(json.loads(document.body)["notice"])
            kind = str(notice["kind"])
            data = {"notice": notice["id"], "kind": kind}
            return [Event(place, _NOTICES.get(kind, What.NOTICE), notice["account"], notice["at_us"], data)]
        case "notice-results":
            result = NOTICE_RESULT.load(document.body)
            what = What.NOTICE_SENT if result.sent else What.NOTICE_FAILED
            data = {"notice": result.notice, "kind": result.kind}
            return [Event(place, what, result.account, result.at_us, data)]
        case "changes" if (change := readable(document)) is not None and change.done:
            return _of_change(place, document.id, change)
    return []


def _of_change(place: int, id: str, change: Change) -> list[Event]:
    if change.act == Act.LEDGER_RESTORED:
        return [Event(place, What.RESTORED, "", change.at_us, {"after": str(change.after["after"]), "change": id})]
    if change.act not in _SETTINGS:
        return []
    facts = {"act": change.act, "change": id, "fields": sorted({*change.before, *change.after})}
    of = {"number": change.number} if change.number else {}
    by = {"actor": change.actor} if sees_actors() else {}
    return [Event(place, What.SETTING_CHANGED, change.account, change.at_us, facts | of | by)]


def _refused(document: str, number: int, decided: Decided) -> Event | None:
    """``None``: it was forwarded, or is no account's."""
    if decided.turn is not Turn.INCOMING or decided.outcome == Decision.FORWARD or not decided.account:
        return None
    data = {"reason": decided.reason, "outcome": decided.outcome, "number": decided.number}
    return Event(0, What.CALL_REFUSED, decided.account, decided.at_us, data | {"decision": f"{document}.{number}"})


def _archived(what: str, last: int) -> Refused:
    advice = f"go on with after={last}; the archive's files have the rest"
    return Refused(Code.ARCHIVED, f"{what} was archived", advice, after=str(last))


def _rewound(cursor: str, after: str) -> Refused:
    message = f"what was told up to {cursor} is in the ledger no more: it was restored from an older copy"
    advice = f"undo what was told behind {after}, and go on with after={after}"
    return Refused(Code.REWOUND, message, advice, after=after)


def _mark(line: JournalLine) -> str:
    """What a line that takes the number of one that a restore has undone does not have."""
    return hashlib.sha256(f"{line.id} {line.at_us}".encode()).hexdigest()[:8]


def _what(line: JournalLine) -> What | None:
    """``None``: it tells nothing of its own."""
    is_credit = any(leg.balance == CREDIT for leg in line.legs)
    is_given = any(leg.balance.startswith(PROMO) for leg in line.legs)
    is_bundle = any(is_free_seconds(leg.balance) for leg in line.legs)
    is_pieces = any(sort_of(leg.balance) is not None for leg in line.legs)
    match line.kind:
        case Kind.TOP_UP:
            return What.TOPPED_UP
        case Kind.CORRECT | Kind.GRANT if is_pieces:
            return What.PIECES_GRANTED
        case Kind.EXPIRE if is_pieces:
            return What.PIECES_EXPIRED
        case Kind.CORRECT:
            return What.CORRECTED if is_credit else What.PROMOTION_GRANTED if is_given else What.MINUTES_GRANTED
        case Kind.GRANT:
            return What.MINUTES_GRANTED
        case Kind.EXPIRE if is_credit:
            return What.EXPIRED
        case Kind.EXPIRE if is_given and line.reason != "long_over":
            return What.PROMOTION_EXPIRED
        case Kind.EXPIRE if is_bundle and line.reason != "long_over":
            return What.MINUTES_EXPIRED
        case Kind.RESERVE:
            return _of_session(line, "begun")
        case Kind.SETTLE | Kind.RELEASE | Kind.CHARGE:
            return _of_session(line, "ended")
    return None


def _of_session(line: JournalLine, how: str) -> What | None:
    """A session's lines have its service as their reason; those that older programs wrote otherwise are not told."""
    service = f"{line.reason}.{how}"
    return What(service) if service in set(What) else None


async def _event(ledger: Ledger, line: JournalLine) -> Event:
    what = _what(line)
    assert what is not None, "it was looked at before"
    data: dict[str, Any] = {} if line.session is None else {"session": line.session}
    if what in (What.CALL_ENDED, What.VOICEMAIL_ENDED, What.FAX_ENDED):
        data |= _ending(line, await ledger.cdr(line.account, line.session or ""))
    elif line.session is None:
        data |= _moved(line)
    return Event(line.number, what, line.account, line.at_us, data, mark=_mark(line))


def _ending(line: JournalLine, row: CdrRow | None) -> dict[str, Any]:
    """Its whole cost, and its CDR, if it has left one that can be read."""
    cdr = cdr_shown(row.document) if row is not None else None
    if cdr is not None and isinstance(cdr.get("cost"), str):
        return {"cost": cdr["cost"], "cdr": cdr}
    return {"cost": format_euro(-money_in(line.legs)), "cdr": cdr}


def _moved(line: JournalLine) -> dict[str, Any]:
    """What a line that is no session's has given or taken, and why."""
    found: dict[str, Any] = {}
    for leg in line.legs:
        if leg.balance == CREDIT:
            found["amount"] = format_euro(leg.posted)
        elif leg.balance.startswith(PROMO):
            found |= {"amount": format_euro(leg.posted), "last_day": leg.balance.removeprefix(PROMO)}
        elif leg.balance.startswith(PACK):
            pack = {"pack": name_of(leg.balance), "last_day": last_day_of(leg.balance)}
            found |= {"seconds": leg.posted + found.get("seconds", 0), **pack}
        elif (sort := sort_of(leg.balance)) is not None:
            month = {"month": leg.balance.partition(":")[2]}
            pack = {"pack": name_of(leg.balance), "last_day": last_day_of(leg.balance)}
            pieces = leg.posted + found.get("pieces", 0)
            found |= {"kind": WORDS[sort], "pieces": pieces, **(pack if is_pack(leg.balance) else month)}
        elif leg.balance.startswith(BUNDLE):
            found |= {"seconds": leg.posted, "month": leg.balance.removeprefix(BUNDLE)}
    by = {"actor": line.actor} if sees_actors() else {}
    return found | {"reason": reason_shown(line), "transfer": line.id, **by}
