"""What the journal says about an account's notices, folded line by line, and what was sent. Pure.

Kept as a document for each account, so that a look reads only the journal's new lines. It is no second truth: lost,
it is folded anew from the journal; only what was sent would be forgotten, and the outbox remembers that for a while.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from charging.ledger.credit_events import CreditHistory
from charging.ledger.model import JournalLine
from charging.notify.model import Notice


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
    history = CreditHistory(record.last_cure, record.purchase_us, record.use_us).after(line)
    return replace(
        record,
        read_to=line.number,
        last_cure=history.cure,
        purchase_us=history.purchase_us,
        use_us=history.use_us,
    )
