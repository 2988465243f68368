"""What the journal says about an account's notices, folded line by line, and what was sent. Pure.

Kept as a document for each account, so that a look reads only the journal's new lines. It is no second truth: lost,
it is folded anew from the journal; only what was sent would be forgotten, and the outbox remembers that for a while.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from charging.ledger.model import CREDIT, JournalLine, Kind
from charging.notify.model import Notice

_USES = (Kind.RESERVE, Kind.EXTEND, Kind.SETTLE)


@dataclass(frozen=True, slots=True)
class Record:
    """One account's."""

    read_to: int = 0
    """The number of the last journal line that is in it."""
    last_cure: str | None = None
    """The id of the last transfer that brought credit from outside."""
    purchase_us: int | None = None
    """When credit was last bought."""
    use_us: int | None = None
    """When a call, voicemail or fax last took credit."""
    sent: Mapping[str, str] = field(default_factory=dict)
    """By topic, the id of the last notice that was handed to the outbox."""

    def with_sent(self, notice: Notice) -> Record:
        """The record after ``notice`` was handed to the outbox."""
        return replace(self, sent={**self.sent, notice.topic: notice.id})

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` makes an equal record of it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record that :meth:`to_json` wrote. Raises ``TypeError`` or ``ValueError`` else."""
        return cls(**json.loads(text))


def folded(record: Record, line: JournalLine) -> Record:
    """The record after one more line of the journal."""
    record = replace(record, read_to=line.number)
    credit = sum(leg.posted for leg in line.legs if leg.balance == CREDIT)
    if credit > 0 and line.kind is Kind.TOP_UP:
        return replace(record, last_cure=line.id, purchase_us=line.at_us)
    if credit > 0 and line.kind is Kind.CORRECT:
        return replace(record, last_cure=line.id)
    if credit > 0 and line.kind is Kind.OPENING and record.last_cure is None:
        # Lines before it are archived: it stands for a purchase of which only this is known.
        return replace(record, last_cure=line.id, purchase_us=line.at_us)
    if credit < 0 and line.kind in _USES:
        return replace(record, use_us=line.at_us)
    return record
