"""What the ledger keeps without reading it, read for its audit: the records of open sessions, and CDRs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from charging.call.storage import overdue_s, revive
from charging.clock import Instant
from charging.ledger.balances import bundle, promo
from charging.ledger.model import CREDIT, CdrRow, OpenSession
from charging.pricing.money import parse_euro
from charging.pricing.packs import MESSAGES, PACK, PAGES


class LedgerContents:
    """See `charging.ledger.books.audit_calls.Contents`."""

    def __init__(self, now: Instant) -> None:
        self._now = now

    @property
    def now_us(self) -> int:
        return self._now.wall_us

    def overdue_s(self, session: OpenSession) -> int:
        return overdue_s(revive(session.state, self._now, session.epoch), self._now)

    def charged(self, cdr: CdrRow) -> Mapping[str, int]:
        """What a CDR says was taken, by balance: micro-euro, seconds or pieces. Raises ValueError for another text."""
        try:
            document = json.loads(cdr.document)
            free = {bundle(month): int(used) for month, used in document.get("free_seconds", {}).items()}
            free |= {PACK + name: int(used) for name, used in document.get("packs", {}).items()}
            for sort, member in ((PAGES, "free_pages"), (MESSAGES, "free_messages")):
                free |= {f"{sort}:{name}": int(used) for name, used in document.get(member, {}).items()}
            given = {promo(day): parse_euro(part) for day, part in document.get("promotional", {}).items()}
            taken = {CREDIT: parse_euro(document["cost"]) - sum(given.values()), **given, **free}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a CDR ({type(error).__name__}: {error}): {cdr.document[:100]}") from error
        return {name: amount for name, amount in taken.items() if amount}
