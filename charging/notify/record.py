"""What the journal says about an account's notices, folded line by line, and what was sent. Pure.

Kept as a document for each account, so that a look reads only the journal's new lines. It is no second truth: lost,
it is folded anew from the journal; only what was sent would be forgotten, and the outbox remembers that for a while.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from charging.ledger.model import JournalLine, Kind
from charging.notify.model import Notice
from charging.service.expiry import CreditEvent, credit_event


@dataclass(frozen=True, slots=True)
class Record:
    """One account's."""

    read_to: int = 0
    """The number of the last journal line that is in it."""
    last_cure: str | None = None
    """The id of the last transfer that brought credit from outside."""
    purchase_us: int | None = None
    """When credit was last bought, or given."""
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
    event = credit_event(line)
    if event is CreditEvent.USE:
        return replace(record, use_us=line.at_us)
    if event is None or (line.kind is Kind.OPENING and record.last_cure is not None):
        # Lines before an opening are archived. Where they were read, more is known than it says.
        return record
    return replace(record, last_cure=line.id, purchase_us=line.at_us)
