"""What happens to an account, as programs are told it: an ordered stream, by a cursor.

The events are the account's journal in other words, and its CDRs: what stands in one atomic step with the money. So
nothing is told that was not booked, and nothing booked is not told, whenever a daemon is killed or another takes over;
and no call pays for it. A line's number, without gaps, is the cursor. A running call's own extensions tell nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charging.ledger.model import CREDIT, CdrRow, JournalLine, Kind
from charging.ledger.port import Ledger, Store
from charging.ledger.promotions import PROMO, is_free_seconds, money_in
from charging.pricing.money import format_euro
from charging.pricing.packs import PACK, last_day_of, name_of
from charging.pricing.pieces import WORDS, is_pack, sort_of
from charging.service.actor import sees_actors
from charging.service.money import reason_shown
from charging.service.months import BUNDLE
from charging.service.privacy import cdr_shown
from charging.service.refusal import Code, Refused, unknown_account

LINES_MAX = 1_000
"""Of the journal that one request looks into; the next one goes on from there."""


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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was booked."""

    number: int
    """Of the journal's line: the cursor behind it."""
    what: What
    account: str
    at_us: int
    """Wall clock."""
    data: Mapping[str, Any]


class AccountEvents:
    """The events of each account."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.streams: Counter[str] = Counter()
        """That are open now, by who has them open."""

    async def page(self, account: str, after: int, limit: int) -> tuple[list[Event], int] | Refused:
        """Up to ``limit`` events behind the cursor ``after`` (0: from the first that is kept), oldest first; and the
        cursor behind what was looked into, from which to go on. There may be none, though more follow: go on until the
        cursor stays. Refuses a cursor behind which lines were archived. Raises LedgerError."""
        if await self._store.account(account) is None:
            return unknown_account(account)
        found: list[JournalLine] = []
        place, seen = after, 0
        async for line in self._store.journal(account, after):
            if line.kind is Kind.OPENING and after:
                return _archived(line)
            seen, place = seen + 1, line.number
            if _what(line) is not None:
                found.append(line)
            if len(found) == limit or seen == LINES_MAX:
                break
        return list(await asyncio.gather(*(_event(self._store, line) for line in found))), place


def _archived(opening: JournalLine) -> Refused:
    message = f"what was booked before {opening.number} was archived"
    return Refused(Code.ARCHIVED, message, f"go on with after={opening.number}; the archive's files have the rest")


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
    return Event(line.number, what, line.account, line.at_us, data)


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
            found |= {"seconds": leg.posted, **pack}
        elif (sort := sort_of(leg.balance)) is not None:
            month = {"month": leg.balance.partition(":")[2]}
            pack = {"pack": name_of(leg.balance), "last_day": last_day_of(leg.balance)}
            found |= {"kind": WORDS[sort], "pieces": leg.posted, **(pack if is_pack(leg.balance) else month)}
        elif leg.balance.startswith(BUNDLE):
            found |= {"seconds": leg.posted, "month": leg.balance.removeprefix(BUNDLE)}
    by = {"actor": line.actor} if sees_actors() else {}
    return found | {"reason": reason_shown(line), "transfer": line.id, **by}
