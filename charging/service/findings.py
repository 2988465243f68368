"""Findings: facts that contradict a booking (`charging.engine.findings`). For the person who looks at them: what each
means, what to do, and the acknowledgement that it was done. A finding is never deleted; its acknowledgement is written
beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charging.clock import Clock
from charging.engine.findings import CODEC, COLLECTION, Kind
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document
from charging.ledger.port import Store
from charging.service import text
from charging.service.refusal import Code, Refused

PAGE_ROWS = 1000
LOOK = "`charging ledger findings` shows their ids"

MEANINGS = {
    Kind.EVENTS_CONTRADICT_RECORD: (
        "The call was booked by the switch's own record, and the events say another length.",
        "The record is what the switch measured, so nothing is to be corrected. Find out whether events were lost (the "
        "AMI link) or forged (`charging_contradicted_events_total`).",
    ),
    Kind.RECORD_CONTRADICTS_BOOKING: (
        "It was booked without the switch's record, and the record that came later says otherwise.",
        "Correct the difference: `charging account correct {account} AMOUNT --reason …` (a minus takes); "
        "`charging tariff quote` says what the seconds cost.",
    ),
    Kind.RECORD_WITHOUT_BOOKING: (
        "The switch noted a call or a fax of a session that has no CDR in this ledger.",
        "Find its CDR (archived? another ledger?); if there is none, charge it: "
        "`charging account correct {account} -AMOUNT --reason …`.",
    ),
}
"""What each kind means, and what to do."""


@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """One of them."""

    id: str
    """``SESSION/KIND``."""
    kind: Kind
    session: str
    found_us: int
    account: str
    """Empty where it is not known."""
    figures: Mapping[str, Any]
    """What was noted, and what was booked."""
    done_us: int | None
    """When someone acknowledged it; ``None``: it is open."""
    reason: str
    """What he did about it."""

    @property
    def meaning(self) -> str:
        return MEANINGS[self.kind][0]

    @property
    def advice(self) -> str:
        return MEANINGS[self.kind][1].format(account=self.account or "ACCOUNT")


class Findings:
    """The findings in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def all(self) -> list[ReportedFinding]:
        """Every finding, the newest first. Raises LedgerError."""
        found: list[ReportedFinding] = []
        after = ""
        while page := await self._store.documents.list_documents(COLLECTION, after, PAGE_ROWS):
            found += map(_finding, page)
            after = page[-1].id
        return sorted(found, key=lambda one: (one.found_us, one.id), reverse=True)

    async def acknowledge(self, id: str, reason: str) -> ReportedFinding | Refused:
        """Note beside a finding what was done about it, once. Raises LedgerError."""
        if (wrong := text.reason(reason)) is not None:
            return wrong
        document = (
            await self._store.documents.get_document(COLLECTION, id) if id.isascii() and 0 < len(id) <= 300 else None
        )
        if document is None:
            return Refused(Code.NOT_FOUND, f"there is no finding {id[:80]!r}", LOOK)
        if (known := _finding(document)).done_us is not None:
            return Refused(Code.EXISTS, f"finding {id!r} is done already: {known.reason}")
        done = replace(CODEC.load(document.body), done_us=self._clock.now().wall_us, done_reason=reason.strip())
        changed = replace(document, body=CODEC.dump(done))
        if not await self._store.documents.update_document(changed):
            return Refused(Code.CONFLICT, f"someone else has just changed finding {id!r}", LOOK)
        return _finding(changed)


def _finding(document: Document) -> ReportedFinding:
    try:
        found = CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt(f"the finding {document.id} cannot be read") from error
    return ReportedFinding(
        id=document.id,
        kind=found.kind,
        session=found.session,
        found_us=found.found_us,
        account=found.account,
        done_us=found.done_us,
        reason=found.done_reason,
        figures=found.figures,
    )
