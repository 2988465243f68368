"""The notices to subscribers, as frozen data. Pure.

A *notice* is one message to one subscriber, sent once. Its id names the crossing that it belongs to. So if the notice
is found due again, it gets the same id, and the outbox takes it only once:

========================  =========================================  ============================================
kind                      id                                         rule
========================  =========================================  ============================================
``low-credit``            ``low-credit/<last cure>``                 R15; a top-up cures
``low-free-minutes``      ``low-free-minutes/<month>/<last cure>``   R16; a new month or a top-up cures
``missed-call``           ``missed-call/<call>``                     R13; one call
``missed-calls``          ``missed-call/<first call>``               R13; those that came soon after another mail
``credit-expiry``         ``expiry/<last day>/<days ahead>``         R20; whatever moves the day cures
``subscription-ending``   the same                                   R20, while the subscription still runs
``gift-ending``           ``gift:<last day>:<gift>/<days ahead>``     none; each gift is told by itself
``fax-refused``           ``fax-refused/<request>``                  R14; the return mail to a fax by mail
========================  =========================================  ============================================

Facts are what a template may say. Days and local times are texts in the operator's zone (``2026-11-21``,
``2026-11-21T14:05``), so that rendering needs neither zone nor tariff; amounts are micro-euro.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from charging.call.decide import Cause
from charging.ledger.accounts import Language
from charging.notify.missed import CAUSES_UNKNOWN
from charging.pricing.money import CENT
from charging.records import dataclass

GIFT = "gift:"
"""What the topics of gifts begin with; a day and the gift follow."""

TEXT_LENGTH_MAX = 200
"""Of a fact that came from outside (a caller's number, the name of a document)."""


class NoticeKind(StrEnum):
    """What a subscriber can be told."""

    LOW_CREDIT = "low-credit"
    LOW_FREE_MINUTES = "low-free-minutes"
    MISSED_CALL = "missed-call"
    MISSED_CALLS = "missed-calls"
    CREDIT_EXPIRY = "credit-expiry"
    SUBSCRIPTION_ENDING = "subscription-ending"
    GIFT_ENDING = "gift-ending"
    FAX_REFUSED = "fax-refused"


@dataclass(frozen=True, slots=True)
class LowCredit:
    """Credit is nearly gone."""

    credit: int
    free_seconds_left: int
    """Of this month; 0 also for plans that have none, and where they do not pay calls to some forward target."""
    can_forward: bool
    """Whether credit could still begin a call to the dearest of the account's forward targets; where free minutes are
    left and do not pay calls to all of them, to the dearest of those that they do not pay."""
    paid_voicemail: bool
    """What happens to calls that cannot be forwarded: with paid voicemail they are not answered (R13), unless credit
    pays a message."""
    message_price: int = 0
    """Micro-euro of a voicemail message; 0: included, or not for sale."""
    free_messages: int = 0
    """Left of those that the plan gives or a pack brings, where messages are to be paid."""

    @property
    def can_take_voicemail(self) -> bool:
        """Whether credit pays a message where one is to be paid."""
        return 0 < self.message_price <= self.credit

    @property
    def gone(self) -> bool:
        """Whether nothing is left: less than a cent is nothing to a reader, unless a call can be begun with it, or a
        message taken."""
        return self.credit <= 0 or (self.credit < CENT and not self.can_forward and not self.can_take_voicemail)


@dataclass(frozen=True, slots=True)
class LowFreeMinutes:
    """Free minutes are nearly gone, and credit does not suffice to go on with."""

    month: str
    """``2026-11``."""
    free_seconds_left: int
    credit: int
    paid_voicemail: bool
    """As of :class:`LowCredit`, like the price and the free messages."""
    message_price: int = 0
    free_messages: int = 0

    @property
    def can_take_voicemail(self) -> bool:
        """As of :class:`LowCredit`."""
        return 0 < self.message_price <= self.credit

    @property
    def gone(self) -> bool:
        """Whether there is no credit that a reader could see, or that takes a message."""
        return self.credit < CENT and not self.can_take_voicemail


@dataclass(frozen=True, slots=True)
class MissedCall:
    """A call was not answered for want of credit."""

    number: str
    """The subscriber's own, that was rung."""
    caller: str
    """Empty: withheld."""
    at: str
    """Local time."""
    credit: int
    topped_up: bool = False
    """Whether credit was bought since, and suffices."""
    suffices: bool = False
    """Whether credit now pays a forward or a message, on each number that was rung."""
    causes: tuple[Cause, ...] = CAUSES_UNKNOWN
    """The one; of several calls each once, in the order of :class:`Cause`."""

    @property
    def until_midnight(self) -> bool:
        """Whether more credit would not help: only the plan's credit a day was used up."""
        return self.suffices and self.causes == (Cause.DAY_LIMIT,)


@dataclass(frozen=True, slots=True)
class MissedFrom:
    """Calls from one caller to one number."""

    number: str
    caller: str
    """As of :class:`MissedCall`, like the number."""
    times: int
    last: str
    """Local time of the last of them."""


@dataclass(frozen=True, slots=True)
class MissedCalls:
    """Several calls were not answered for want of credit."""

    calls: int
    """All of them, 2 at least."""
    first: str
    """Local time."""
    last: str
    callers: tuple[MissedFrom, ...]
    """Whose last call is the newest first."""
    others: int
    """Calls from callers that are not named."""
    credit: int
    topped_up: bool = False
    """As of :class:`MissedCall`, since the last of them; so are the next ones."""
    suffices: bool = False
    causes: tuple[Cause, ...] = CAUSES_UNKNOWN

    @property
    def until_midnight(self) -> bool:
        """As of :class:`MissedCall`."""
        return self.suffices and self.causes == (Cause.DAY_LIMIT,)

    @property
    def number(self) -> str:
        """The only number that was rung; empty where there may be several."""
        numbers = {one.number for one in self.callers}
        return "" if self.others or len(numbers) > 1 else numbers.pop()


@dataclass(frozen=True, slots=True)
class Expiry:
    """Credit expires."""

    credit: int
    last_day: str
    """The last local day on which it can be used."""
    days_left: int
    """0: today is the last day."""


@dataclass(frozen=True, slots=True)
class GiftEnding:
    """Promotional credit, or what is left of a pack, ends."""

    kind: str
    """``credit``, ``minutes``, ``fax_pages`` or ``messages``."""
    title: str
    """What customers call the pack; empty: it is credit."""
    amount: int
    """Micro-euro, seconds, pages or messages that are left."""
    last_day: str
    """The last local day on which it can be used."""
    days_left: int
    """0: today is the last day."""


@dataclass(frozen=True, slots=True)
class FaxRefused:
    """A fax handed in by mail was not sent for want of credit."""

    document: str
    """The name of what was handed in; may be empty."""
    number: str
    pages: int
    cost: int
    credit: int

    @property
    def missing(self) -> int:
        """Micro-euro that a top-up must bring at least."""
        return max(0, self.cost - self.credit)


@dataclass(frozen=True, slots=True)
class SubscriptionEnding:
    """The paid subscription ends, and with it (or soon after it) credit expires."""

    credit: int
    paid_through: str
    """The last local day for which the subscription is paid."""
    last_day: str
    """As of :class:`Expiry`; not before ``paid_through``."""
    days_left: int


Facts = LowCredit | LowFreeMinutes | MissedCall | MissedCalls | Expiry | SubscriptionEnding | GiftEnding | FaxRefused

FACTS: dict[NoticeKind, type[Facts]] = {
    NoticeKind.LOW_CREDIT: LowCredit,
    NoticeKind.LOW_FREE_MINUTES: LowFreeMinutes,
    NoticeKind.MISSED_CALL: MissedCall,
    NoticeKind.MISSED_CALLS: MissedCalls,
    NoticeKind.CREDIT_EXPIRY: Expiry,
    NoticeKind.SUBSCRIPTION_ENDING: SubscriptionEnding,
    NoticeKind.GIFT_ENDING: GiftEnding,
    NoticeKind.FAX_REFUSED: FaxRefused,
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell one subscriber once."""

    id: str
    """Unique within the account; see the table above."""
    kind: NoticeKind
    account: str
    language: Language
    address: str
    """Where it goes: the account's mail address when it became due, or who handed the fax in."""
    at_us: int
    """When it became due, wall clock."""
    facts: Facts

    @property
    def topic(self) -> str:
        """What the id begins with: crossings of one topic follow one another."""
        return self.id.partition("/")[0]

    @property
    def key(self) -> str:
        """Unique among all accounts."""
        return f"{self.account}/{self.id}"

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` makes an equal notice of it."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Notice:
        """The notice that :meth:`to_json` wrote. Raises ``KeyError``, ``TypeError`` or ``ValueError`` else."""
        plain: dict[str, Any] = json.loads(text)
        kind = NoticeKind(plain.pop("kind"))
        facts = _facts(kind, plain.pop("facts"))
        return cls(kind=kind, language=Language(plain.pop("language")), facts=facts, **plain)


def _facts(kind: NoticeKind, plain: dict[str, Any]) -> Facts:
    if kind is NoticeKind.MISSED_CALLS:
        plain["callers"] = tuple(MissedFrom(**one) for one in plain["callers"])
    if "causes" in plain:
        plain["causes"] = tuple(map(Cause, plain["causes"]))
    return FACTS[kind](**plain)
