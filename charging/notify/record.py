"""The state of an account's notices: facts from its journal, folded line by line, and which notices were sent. Pure.

It is stored as a document for each account, so that a look reads only the journal's new lines. If the document is lost,
the facts are folded from the journal again. Only the list of sent notices would be lost, and the outbox remembers those
for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from charging.ledger.balances import PROMO, money_in
from charging.ledger.credit_life import CreditHistory
from charging.ledger.model import JournalLine, Kind
from charging.notify.model import GIFT, Notice
from charging.records import NEWER, Codec, dataclass, replace

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """One account's."""

    read_to: int = 0
    """The number of the last journal line that is in it."""
    last_cure: str | None = None
    """The id of the last transfer that brought credit from outside, bought or given."""
    purchase_us: int | None = None
    """When credit was last bought, or given."""
    use_us: int | None = None
    """When a call, voicemail or fax last took credit."""
    credit: int = 0
    """Posted, bought and given, after the last line that was read."""
    sent: Mapping[str, str] = field(default_factory=dict)
    """By topic, the id of the last notice that was handed to the outbox."""
    peaks: Mapping[str, int] = field(default_factory=dict)
    """By topic, the highest posted credit since then that could be spent."""
    promos: Mapping[str, int] = field(default_factory=dict)
    """What of the credit was given, by balance: it ends with a day, and the line that says so may come later."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)

    def spendable(self, day: str) -> int:
        """The credit without what had ended before ``day`` (``YYYY-MM-DD``, local)."""
        return self.credit - sum(amount for name, amount in self.promos.items() if name.removeprefix(PROMO) < day)

    def with_sent(self, notice: Notice, day: str) -> Record:
        """The record after ``notice`` was handed to the outbox, on a local ``day``."""
        sent, peaks = {**self.sent, notice.topic: notice.id}, {**self.peaks, notice.topic: self.spendable(day)}
        for topic in [topic for topic in sent if _is_over(topic, notice.at_us)]:
            del sent[topic]
            peaks.pop(topic, None)
        return replace(self, sent=sent, peaks=peaks)

    @property
    def lasting(self) -> Record:
        """What must not be lost: the rest the journal tells again."""
        return replace(self, read_to=0, use_us=None, credit=0, promos={}, peaks={})

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` makes an equal record of it."""
        return _CODEC.dump(self)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record that :meth:`to_json` wrote. Raises ValueError else."""
        record = _CODEC.load(text)
        if '"peaks":' in text:
            return record
        # By a version that did not keep them: only what was sent cannot be folded again.
        return cls(sent=record.sent, peaks=dict.fromkeys(record.sent, 0))


_CODEC = Codec(Record)


def _is_over(topic: str, at_us: int) -> bool:
    """Whether it is that of a gift which had ended by then, in every zone: it is never looked at again."""
    if not topic.startswith(GIFT):
        return False
    ended = date.fromisoformat(topic.removeprefix(GIFT)[:10]) + timedelta(days=2)
    return ended < (_EPOCH + timedelta(microseconds=at_us)).date()


def folded(record: Record, line: JournalLine, day_of: Callable[[int], date]) -> Record:
    """The record after one more line of the journal. ``day_of``: the local day of a wall clock in microseconds."""
    history = CreditHistory(record.last_cure, record.purchase_us, record.use_us).after(line)
    # An opening stands for all the lines up to its own, those that were read among them.
    before = 0 if line.kind is Kind.OPENING else record.credit
    credit = before + money_in(line.legs)
    promos = {} if line.kind is Kind.OPENING else dict(record.promos)
    for leg in (leg for leg in line.legs if leg.balance.startswith(PROMO)):
        promos[leg.balance] = promos.get(leg.balance, 0) + leg.posted
    gives = line.session is None and any(leg.balance.startswith(PROMO) and leg.posted > 0 for leg in line.legs)
    is_gift = gives and line.kind is not Kind.OPENING
    cure = line.id if is_gift else history.cure
    if line.kind is Kind.OPENING and record.last_cure is not None and history.purchase_us == record.purchase_us:
        cure = record.last_cure  # it names purchases alone: a gift that came after the last one is known from its line
    after = replace(
        record,
        read_to=line.number,
        last_cure=cure,
        purchase_us=history.purchase_us,
        use_us=history.use_us,
        credit=credit,
        promos={name: amount for name, amount in promos.items() if amount > 0},
    )
    spendable = after.spendable(day_of(line.at_us).isoformat()) if after.promos else credit
    return replace(after, peaks={topic: max(peak, spendable) for topic, peak in record.peaks.items()})
