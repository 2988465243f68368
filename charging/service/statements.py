"""The statement of a month: an account's journal in a customer's words. `statement` is pure.

Every sum comes from the journal alone, so opening balance, lines and closing balance always add up. CDRs only add the
number called, the beginning and the duration. A call that was charged in several months has one line in each, with
what was charged in that month; its duration is shown in the first only. If lines of a month were archived, there is no
statement of that month. The opening line that replaces them gives the opening balance of the first month after them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS, Clock
from charging.ledger.accounts import Account
from charging.ledger.balances import PROMO, SECONDS, bundle, is_free_seconds
from charging.ledger.model import CREDIT, CdrRow, JournalLine, Kind
from charging.ledger.port import Store
from charging.pricing.packs import PACK, SORTS, is_pack, sort_of
from charging.service.money import reason_shown
from charging.service.privacy import for_customer
from charging.service.refusal import Code, Refused, unknown_account
from charging.service.turns import QueueBounds, Turns
from charging.tariff.tariff import Tariff, vat_within

Document = dict[str, Any]
"""A CDR, as `charging.call.finished` writes it."""

CALL = "call"
VOICEMAIL = "voicemail"
USAGE = {"forward": CALL, "voicemail": VOICEMAIL, "fax": "fax"}
"""The kinds of the lines that sessions made, by the service that their CDRs name; where none is known it is a call."""
CORRECT = "correct"
PROMOTION = "promotion"
PROMOTION_EXPIRED = "promotion_expired"
PACK_GIVEN = "pack"
PACK_EXPIRED = "pack_expired"
PIECES_GIVEN = "pieces"
PIECES_EXPIRED = "pieces_expired"
OTHERS = {Kind.CHARGE: VOICEMAIL, Kind.TOP_UP: "top_up", Kind.EXPIRE: "expire"}
"""The kinds of the lines that no session made; whatever else may have changed the credit is a correction. So every line
belongs to one of the sums of a statement, and they lead from its opening to its closing balance."""

_ENDS = frozenset({Kind.SETTLE, Kind.RELEASE, Kind.CHARGE})
"""With each of these a session is over."""

CDR_ROWS = 1_000
BOUNDS = QueueBounds(at_once=2, waiting=100, of_account=12, what="statements", advice="ask again when those are there")
"""A statement's work grows with all that the account has had, and its customer asks for it: so one of an account is
made at a time, and a year's twelve may wait."""
SETTLED_WITHIN_US = 2 * 24 * 3600 * MICROSECONDS
"""CDRs ending this far outside the month are still searched; older ones are shown without a number."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


class Part(StrEnum):
    """How much of a call's charge a line is."""

    WHOLE = "whole"
    FIRST = "first"
    """More was posted in later months."""
    CONTINUED = "continued"
    """Some was posted in earlier months."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that changed the credit, or a call, fax or message that something free has paid."""

    at_us: int
    """When the call began, where that is in the month and it is no continued one; else when the first piece was
    posted."""
    kind: str
    """One of `USAGE`, of `OTHERS`, or `CORRECT`."""
    credit: int
    """Micro-euro; negative took."""
    balance: int
    """Posted credit after it, micro-euro."""
    promotional: int
    """Micro-euro of promotional credit, which is no part of the balance; negative took."""
    free_seconds: int
    reason: str
    id: str
    """The session's or the transfer's."""
    cdr: Document
    """The CDR of the call, message or fax; empty if the line has none (yet)."""
    part: Part = Part.WHOLE
    pieces: Mapping[str, int] = field(default_factory=dict)
    """Free fax pages and messages that it has used, by their sort; negative: that were given."""
    is_running: bool = False
    """The call goes on, so it has no CDR yet."""

    @property
    def seconds(self) -> int | None:
        """For how many seconds the whole call was charged; ``None`` in the months that it is continued in, and where no
        CDR tells."""
        seconds = self.cdr.get("charged_s")
        return seconds if isinstance(seconds, int) and self.part is not Part.CONTINUED else None

    @property
    def began_us(self) -> int | None:
        """When the call was answered, or the message or fax began, as its CDR says."""
        return _instant_us(self.cdr.get("answered") or self.cdr.get("set_up"))


@dataclass(frozen=True, slots=True)
class FreeSeconds:
    """The bundle of the month; of pages and messages the same."""

    granted: int = 0
    used: int = 0
    expired: int = 0

    @property
    def left(self) -> int:
        """Seconds, or pieces."""
        return self.granted - self.used - self.expired


@dataclass(frozen=True, slots=True)
class Promotional:
    """The promotional credit of the month, micro-euro: it is a gift, so it is in no sum of what was bought and used."""

    opening: int = 0
    given: int = 0
    """Less what was taken back."""
    used: int = 0
    expired: int = 0

    @property
    def left(self) -> int:
        """Micro-euro."""
        return self.opening + self.given - self.used - self.expired


@dataclass(frozen=True, slots=True)
class VatOfUsage:
    """What was used on the days of one rate."""

    rate: int
    """Hundredths of a percent."""
    usage: int
    """Micro-euro, VAT included."""

    @property
    def vat(self) -> int:
        """The VAT within it: micro-euro, in whole cents."""
        return vat_within(self.usage, self.rate)


@dataclass(frozen=True, slots=True)
class Statement:
    """Micro-euro; times are wall clock in microseconds."""

    account: Account
    month: str
    zone: str
    is_over: bool
    """``False``: the month goes on; more can come."""
    opening: int
    closing: int
    lines: tuple[Line, ...]
    free: FreeSeconds
    promotional: Promotional
    pieces: Mapping[str, FreeSeconds]
    """Free fax pages and messages of the month, which the plan gave, by their sort."""
    vat: tuple[VatOfUsage, ...]
    """By the rates of the month's days, at least one."""

    def total(self, *kinds: str) -> int:
        """Micro-euro that the lines of these kinds add up to."""
        return sum(line.credit for line in self.lines if line.kind in kinds)

    @property
    def usage(self) -> int:
        """Micro-euro that calls, messages and faxes cost, VAT included: credit is bought and spent with the VAT in
        it."""
        return -self.total(*USAGE.values())

    @property
    def usage_vat(self) -> int:
        """The VAT within it: micro-euro, in whole cents."""
        return sum(part.vat for part in self.vat)


@dataclass(slots=True)
class _Group:
    """The journal lines that make one line of the statement."""

    at_us: int
    kind: str
    id: str
    reason: str
    is_session: bool
    credit: int = 0
    promotional: int = 0
    free_seconds: int = 0
    pieces: Counter[str] = field(default_factory=Counter)

    @property
    def key(self) -> str:
        """A transfer may have the id of a session."""
        return ("call " if self.is_session else "") + self.id


@dataclass(slots=True)
class _Reader:
    """Goes through the journal once."""

    from_us: int
    until_us: int
    month: str
    opening: int = 0
    after: int = 0
    bundles: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the month's seconds (SECONDS) and pieces, by sort: what was granted, used, and has expired."""
    promotional: Promotional = field(default_factory=Promotional)
    groups: dict[str, _Group] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    """Sessions of which something was posted before the month."""
    later: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def read(self, line: JournalLine) -> None:
        if line.session is not None and line.kind in _ENDS:
            self.ended.add(line.session)
        posted = {leg.balance: leg.posted for leg in line.legs}
        for sort in (SECONDS, *SORTS):
            self._read_bundle(line, sort, posted.get(bundle(self.month, sort), 0))
        credit = posted.get(CREDIT, 0)
        given = sum(amount for key, amount in posted.items() if key.startswith(PROMO))
        self._read_promotional(line, given)
        free = -sum(amount for key, amount in posted.items() if is_free_seconds(key))
        if line.session is None and line.kind is not Kind.CORRECT and not any(key.startswith(PACK) for key in posted):
            free = 0  # the plan's own, which the month's figures tell
        pieces = _pieces(line, posted)
        if line.at_us < self.from_us:
            self.opening += credit
        elif line.at_us < self.until_us:
            self.after += credit
        if credit or free or given or pieces:
            self._read_change(line, credit, free, given, pieces)

    def _read_bundle(self, line: JournalLine, sort: str, posted: int) -> None:
        if line.session is not None:
            self.bundles[sort, "used"] -= posted
        elif line.kind is Kind.EXPIRE:
            self.bundles[sort, "expired"] -= posted
        else:
            self.bundles[sort, "granted"] += posted

    def of_month(self, sort: str) -> FreeSeconds:
        """The month's seconds, or its pieces of a sort."""
        return FreeSeconds(*(self.bundles[sort, what] for what in ("granted", "used", "expired")))

    def _read_promotional(self, line: JournalLine, given: int) -> None:
        now = self.promotional
        if line.at_us < self.from_us:
            self.promotional = replace(now, opening=now.opening + given)
        elif line.at_us >= self.until_us:
            pass
        elif line.session is not None:
            self.promotional = replace(now, used=now.used - given)
        elif line.kind is Kind.EXPIRE:
            self.promotional = replace(now, expired=now.expired - given)
        else:
            self.promotional = replace(now, given=now.given + given)

    def _read_change(self, line: JournalLine, credit: int, free: int, given: int, pieces: Mapping[str, int]) -> None:
        id, is_session = line.session or line.id, line.session is not None
        if line.at_us < self.from_us:
            self.earlier.add(id)
        elif line.at_us >= self.until_us:
            self.later.add(id)
        else:
            kind = OTHERS.get(line.kind, CALL if line.session else CORRECT)
            if given and line.session is None:
                kind = PROMOTION_EXPIRED if line.kind is Kind.EXPIRE else PROMOTION
            elif line.session is None and any(leg.balance.startswith(PACK) for leg in line.legs):
                kind = PACK_EXPIRED if line.kind is Kind.EXPIRE else PACK_GIVEN
            elif line.session is None and pieces:
                kind = PIECES_EXPIRED if line.kind is Kind.EXPIRE else PIECES_GIVEN
            made = _Group(line.at_us, kind, id, "" if kind in USAGE.values() else reason_shown(line), is_session)
            group = self.groups.setdefault(made.key, made)
            group.credit += credit
            group.promotional += given
            group.free_seconds += free
            group.pieces.update(pieces)

    def shows(self, session: str) -> bool:
        """Whether a line of the statement is the session's."""
        return f"call {session}" in self.groups

    def line(self, group: _Group, cdrs: Mapping[str, Document]) -> Line:
        """What a group makes, with a balance of 0."""
        if group.kind not in USAGE.values():
            amounts = group.credit, 0, group.promotional, group.free_seconds
            return Line(group.at_us, group.kind, *amounts, group.reason, group.id, {}, pieces=dict(group.pieces))
        cdr = for_customer(cdrs.get(group.id, {}))
        kind = USAGE.get(str(cdr.get("service")), group.kind)
        part = Part.CONTINUED if group.id in self.earlier else Part.FIRST if group.id in self.later else Part.WHOLE
        amounts = group.credit, 0, group.promotional, group.free_seconds
        is_running = group.is_session and group.id not in self.ended
        line = Line(group.at_us, kind, *amounts, "", group.id, cdr, part, dict(group.pieces), is_running)
        began_us = line.began_us
        if began_us is None or part is Part.CONTINUED or not self.from_us <= began_us < self.until_us:
            return line
        return replace(line, at_us=began_us)


def _pieces(line: JournalLine, posted: Mapping[str, int]) -> dict[str, int]:
    """Free pages and messages that a line has used (positive), given or let lapse (negative) of a pack, by sort; the
    month's own are told by its figures."""
    found: Counter[str] = Counter()
    for name, amount in posted.items():
        sort = sort_of(name)
        if sort is not None and amount and (line.session is not None or is_pack(name)):
            found[sort] -= amount
    return dict(found)


def statement(
    account: Account,
    month: str,
    tariff: Tariff,
    now_us: int,
    journal: Iterable[JournalLine],
    cdrs: Mapping[str, Document],
) -> Statement:
    """The statement of ``month`` (``YYYY-MM`` in the operator's zone) from the account's journal, of which no line of
    that month is archived; ``cdrs`` are known CDRs by session."""
    reader = _reader(month, tariff)
    for entry in journal:
        reader.read(entry)
    return _made(account, tariff, now_us, reader, cdrs)


def _reader(month: str, tariff: Tariff) -> _Reader:
    return _Reader(*month_bounds_us(month, tariff.zone), month)


def _made(account: Account, tariff: Tariff, now_us: int, reader: _Reader, cdrs: Mapping[str, Document]) -> Statement:
    """What the reader makes once it has read all."""
    from_us, until_us, month = reader.from_us, reader.until_us, reader.month
    lines = []
    balance = reader.opening
    for line in sorted((reader.line(group, cdrs) for group in reader.groups.values()), key=lambda one: one.at_us):
        balance += line.credit
        lines.append(replace(line, balance=balance))
    closing = reader.opening + reader.after
    assert closing == balance, "the lines of a statement lead from its opening to its closing balance"
    is_over = now_us >= until_us
    vat = _vat_of_usage(lines, tariff, from_us, until_us)
    pieces = {sort: reader.of_month(sort) for sort in SORTS}
    sums = reader.opening, closing, tuple(lines), reader.of_month(SECONDS), reader.promotional, pieces
    return Statement(account, month, tariff.zone, is_over, *sums, vat)


def _vat_of_usage(lines: Iterable[Line], tariff: Tariff, from_us: int, until_us: int) -> tuple[VatOfUsage, ...]:
    """By the rates that count in the month; each line by that of its day."""
    usage = dict.fromkeys(tariff.vat.during(tariff.day_of(from_us), tariff.day_of(until_us - 1)), 0)
    for line in lines:
        if line.kind in USAGE.values():
            usage[tariff.vat.on(tariff.day_of(line.at_us))] -= line.credit
    return tuple(VatOfUsage(rate, amount) for rate, amount in usage.items())


def _archived(first: JournalLine, month: str, tariff: Tariff) -> Refused | None:
    """Why there is no statement of a month of which lines may have been taken out of the ledger; ``first`` is the
    journal's."""
    if first.kind is not Kind.OPENING or month > (last := tariff.month_of(first.at_us)):
        return None
    first_whole = tariff.month_of(month_bounds_us(last, tariff.zone)[1])
    files = f"journal-{month}.jsonl and cdrs-{month}.jsonl, in the folder that `charging ledger archive` was given"
    return Refused(
        Code.ARCHIVED,
        f"what the ledger held of {month} was archived: see {files}",
        f"statements are of {first_whole} and later; keep those of other months before they are archived",
    )


def month_bounds_us(month: str, zone: str) -> tuple[int, int]:
    """Its first moment and that of the next month, in the operator's zone."""
    year, number = int(month[:4]), int(month[5:])
    following = (year + number // 12, number % 12 + 1)
    return _first_us(year, number, zone), _first_us(*following, zone)


def _first_us(year: int, month: int, zone: str) -> int:
    return round(datetime(year, month, 1, tzinfo=ZoneInfo(zone)).timestamp()) * MICROSECONDS


def local_time(wall_us: int, zone: str) -> datetime:
    """On the operator's clock, to the second."""
    return datetime.fromtimestamp(wall_us // MICROSECONDS, UTC).astimezone(ZoneInfo(zone))


class Statements:
    """Makes statements of what is in the store."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._turns = Turns(clock, BOUNDS)

    async def of(self, account: str, month: str) -> Statement | Refused:
        """An account's statement of a month that has begun."""
        if not _MONTH.fullmatch(month):
            return Refused(Code.INVALID, f"found the month {month[:20]!r}, expected one such as 2026-11")
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        tariff, now_us = self._tariff(), self._clock.now().wall_us
        if month > tariff.month_of(now_us):
            return Refused(Code.NOT_ALLOWED, f"the month {month} has not begun", "ask for this month or an earlier one")
        return await self._turns.run(account, partial(self._read, stored, month, tariff, now_us))

    async def _read(self, account: Account, month: str, tariff: Tariff, now_us: int) -> Statement | Refused:
        """Line by line: who has a hundred thousand has no more in memory than their month's changes, and other requests
        are answered between the ledger's pages."""
        reader, first = _reader(month, tariff), True
        async for line in self._store.journal(account.id):
            if first and (refused := _archived(line, month, tariff)) is not None:
                return refused
            first = False
            reader.read(line)
        cdrs = await self._cdrs(account.id, reader)
        return await asyncio.to_thread(_made, account, tariff, now_us, reader, cdrs)

    async def _cdrs(self, account: str, reader: _Reader) -> dict[str, Document]:
        """Of the statement's own lines."""
        found: dict[str, Document] = {}
        after: tuple[int, str] | None = None
        while True:
            rows = await self._store.cdrs(
                account=account,
                since_us=max(0, reader.from_us - SETTLED_WITHIN_US),
                until_us=reader.until_us + SETTLED_WITHIN_US,
                after=after,
                limit=CDR_ROWS,
            )
            found |= {row.session: _document(row) for row in rows if reader.shows(row.session)}
            if len(rows) < CDR_ROWS:
                return found
            after = rows[-1].ended_us, rows[-1].session


def _instant_us(text: object) -> int | None:
    """Of an ISO 8601 text with its offset; ``None`` for what is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1) if moment.tzinfo else None


def _document(row: CdrRow) -> Document:
    try:
        document = json.loads(row.document)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
