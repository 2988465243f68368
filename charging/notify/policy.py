"""Which notice is due. Pure.

Rules
-----
1. A notice belongs to a *crossing*, and its id names what last cured the condition (see ``model.py``). The id stays the
   same until the condition is cured, and an id that was sent is not due again. So it does not matter how often, or
   after how long a pause, the account is looked at. Credit that came in and did not suffice has cured nothing: a second
   notice needs enough credit since the first.
2. The amounts are the *posted* ones. Value that a running call has reserved may come back, and a later release would
   contradict the notice. Ticks post as a call goes on, so the notice still comes in time.
3. R15: credit below the plan's ``low_credit``. An account that never had credit gets no notice. Free minutes pay only
   for calls to the destinations that the plan names. If a forward target is not among them, the notice is about that
   target, for which there are no free minutes.
4. R16: fewer free seconds than ``low_free_seconds`` *and* less credit than a call needs to begin. If there are several
   forward targets, the dearest counts: the notice warns that one of them can no longer be reached. If free minutes pay
   for no target, there is no notice. Both notices say what happens to calls that are not forwarded: paid voicemail
   takes them for as long as credit pays a message; after that they are not answered (R13).
5. R20: the tariff names days ahead of the end of credit. One notice is sent, for the nearest of them that has come;
   earlier ones that were missed (a daemon that was down, a date that moved nearer) are not sent late. Only available
   credit expires, so an account without any gets no notice. While the subscription still runs the notice is about the
   subscription: renewing it is the cure.
6. Each gift with an end, promotional credit or a pack, has notices of its own: on those of the tariff's days ahead that
   are a week or less, or on the last of them. If it was given for a shorter time, the notice comes at once. Months'
   free minutes and pieces end by the calendar, and have no notice.
7. R13: every missed call; those that come soon after a mail wait and are reported together (``missed.py``). The reason
   is the one at the time of the call (:class:`Cause`). The advice is about the present: the notice says that credit
   bought since suffices only if that credit pays a forward or a message.
8. A closed account gets no notices; a suspended one only those of rules 5 and 6. An account without a mail
   address is looked at again once it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import date
from zoneinfo import ZoneInfo

from charging.call.decide import Subscriber
from charging.clock import local_reading
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.balances import PROMO, is_free_seconds, is_money, left, spendable
from charging.ledger.credit_life import CreditEvents, credit_life, days_until, paid_until
from charging.ledger.model import CREDIT, Balance
from charging.notify.missed import Batch
from charging.notify.model import (
    GIFT,
    TEXT_LENGTH_MAX,
    Expiry,
    Facts,
    GiftEnding,
    LowCredit,
    LowFreeMinutes,
    MissedCall,
    MissedCalls,
    MissedFrom,
    Notice,
    NoticeKind,
    SubscriptionEnding,
)
from charging.pricing.money import CENT
from charging.pricing.packs import PACK, WORDS, PackTerms, edition_of, kind_of_pack, last_day_of, name_of
from charging.pricing.rate import cost_to_begin
from charging.records import dataclass
from charging.tariff.plans import Plan
from charging.tariff.tariff import Refusal, Tariff

LOW_CREDIT, LOW_FREE_MINUTES = "low-credit", "low-free-minutes"
"""Topics: what the ids of these notices begin with."""
GIFT_DAYS_MAX = 7
NO_CURE = "never"
"""Stands in an id for the cure of an account that had none yet."""

Sent = Mapping[str, str]
"""By topic, the id of the last notice that was handed to the outbox."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything about an account that decides which notices are due."""

    account: Account
    plan: Plan | None
    """``None``: the tariff does not have the account's plan."""
    balances: Mapping[str, Balance]
    day: str = ""
    """``YYYY-MM-DD`` in the operator's zone, on which it is looked at."""
    pack_seconds: int = 0
    """Left of packs that pay for every destination and have not ended."""
    message_price: int = 0
    """Micro-euro of a message on those of its numbers that have paid voicemail, VAT included; 0: none has."""
    free_messages: int = 0
    """Left of those that pay for it before credit does."""
    forward_cost: int | None = None
    """See :func:`forward_cost`; of the forward targets that the plan's free minutes (may) pay."""
    uncovered_cost: int | None = None
    """The same, of those that they never pay."""
    last_cure: str | None = None
    """The id of the last transfer that brought credit from outside (a top-up, a correction); ``None``: never."""
    events: CreditEvents = field(default_factory=CreditEvents)
    sent: Sent = field(default_factory=dict)
    peaks: Mapping[str, int] = field(default_factory=dict)
    """By topic, the highest posted credit since a notice of it was handed to the outbox."""

    @property
    def credit(self) -> int:
        """Micro-euro, with promotional credit; never negative, as a notice says it."""
        return max(0, spendable(self.balances, self.day).posted)

    @property
    def bought(self) -> int:
        """Micro-euro of credit that was bought: what R19 lets expire."""
        return max(0, self.balances.get(CREDIT, Balance()).posted)

    @property
    def paid_voicemail(self) -> bool:
        """Whether any of its numbers has paid voicemail."""
        return self.message_price > 0

    @property
    def can_forward(self) -> bool:
        """Whether credit alone could begin a call to every forward target."""
        return self.pays(self.forward_cost) and self.pays(self.uncovered_cost)

    def pays(self, cost: int | None) -> bool:
        """Whether credit suffices for it; ``None``: there is nothing to pay."""
        return cost is None or self.credit >= cost

    def had(self, credit: int, topic: str) -> bool:
        """Whether there was so much since the last notice of ``topic``, or has been none."""
        return self.peaks.get(topic, credit) >= credit

    def free_seconds(self, month: str) -> int:
        """Left of a month's free seconds, with what the plan gives beyond those that were granted, and of packs."""
        return max(0, left(self.balances, month, self.plan.free_seconds if self.plan else 0).posted) + self.pack_seconds


def due(standing: Standing, tariff: Tariff, now_us: int) -> list[Notice]:
    """The notices that are due at ``now_us`` (wall clock) and were not sent."""
    account = standing.account
    if account.status is Status.CLOSED or not account.email:
        return []
    found = [_expiry(standing, tariff, now_us), *_gifts(standing, tariff, now_us)]
    if account.status is Status.ACTIVE and standing.plan is not None:
        found += [
            _low_credit(standing, standing.plan, tariff, now_us),
            _low_free_minutes(standing, standing.plan, tariff, now_us),
        ]
    return [notice for notice in found if notice is not None and standing.sent.get(notice.topic) != notice.id]


@dataclass(frozen=True, slots=True)
class Headroom:
    """What may still be charged before a notice can come due by it."""

    credit: int
    """Micro-euro."""
    free_seconds: int

    def after(self, settled: Mapping[str, int]) -> Headroom | None:
        """What is left of it after a charge, by balance; ``None``: that may have brought a notice about."""
        free = sum(amount for key, amount in settled.items() if is_free_seconds(key))
        money = sum(amount for key, amount in settled.items() if is_money(key))
        left_over = Headroom(self.credit - money, self.free_seconds - free)
        return None if min(left_over.credit, left_over.free_seconds) < 0 else left_over


def headroom(standing: Standing, tariff: Tariff, now_us: int) -> Headroom:
    """How far an account is from where rules 3 and 4 next look at what it has."""
    steps = (standing.plan.low_credit if standing.plan else 0, standing.forward_cost or 0, standing.uncovered_cost or 0)
    least_free = standing.plan.low_free_seconds if standing.plan else 0
    free = standing.free_seconds(tariff.month_of(now_us))
    return Headroom(
        standing.credit - max((step for step in steps if step <= standing.credit), default=0),
        free - least_free if free >= least_free else free,
    )


def missed_calls(
    account: Account, batch: Batch, credit: int, at_us: int, zone: str, *, suffices: bool, bought: bool
) -> Notice:
    """The notice of R13. ``credit``: now, in micro-euro. ``suffices``: see :func:`can_answer`. ``bought``: whether
    credit was bought since the last of the calls."""

    def local(wall_us: int) -> str:
        return local_reading(ZoneInfo(zone), wall_us).isoformat(timespec="minutes")

    credit, key = max(0, credit), f"missed-call/{batch.id}"
    topped_up = bought and suffices
    if batch.calls == 1:
        (one,) = batch.callers
        facts = MissedCall(one.number, one.caller, local(one.last_us), credit, topped_up, suffices, batch.causes)
        return _notice(account, NoticeKind.MISSED_CALL, key, at_us, facts)
    callers = sorted(batch.callers, key=lambda one: one.last_us, reverse=True)
    several = MissedCalls(
        calls=batch.calls,
        first=local(batch.first_us),
        last=local(batch.last_us),
        callers=tuple(MissedFrom(one.number, one.caller, one.times, local(one.last_us)) for one in callers),
        others=batch.others,
        credit=credit,
        topped_up=topped_up,
        suffices=suffices,
        causes=batch.causes,
    )
    return _notice(account, NoticeKind.MISSED_CALLS, key, at_us, several)


def forward_cost(
    tariff: Tariff,
    plan: Plan,
    numbers: Iterable[Number],
    at_us: int,
    *,
    covered: bool | None = None,
    bundle_plan: str | None = None,
    held: Mapping[str, PackTerms] = {},
) -> int | None:
    """The credit (micro-euro) that is needed to begin a call to the dearest forward target of the numbers at ``at_us``
    (wall clock, µs); ``None`` if no number is forwarded to a target with a price.

    ``covered``: count only the targets that free minutes pay for (true) or do not (false); ``None``: all. The rules of
    free minutes are those of ``bundle_plan``, or else of the plan. ``held``: the rules under which months were granted,
    by edition."""
    costs = []
    for number in numbers:
        to = number.forward_to
        rate = tariff.rate_for(plan.name, to, at_us, held) if to else Refusal.NOT_COVERED
        if not isinstance(rate, Refusal) and covered in (None, rate.paid_by(bundle_plan or plan.name)):
            costs.append(cost_to_begin(rate, at_us))
    return max(costs, default=None)


def can_answer(tariff: Tariff, account: Account, numbers: Iterable[Number], credit: int, at_us: int) -> bool:
    """Whether so much credit pays a forward or a message on each of the account's numbers at ``at_us``."""
    plan = tariff.plan(account.plan)
    if plan is None or credit <= 0:
        return False
    price = tariff.message_price(plan, at_us)
    costs = [
        (forward_cost(tariff, plan, [number], at_us), Subscriber(number, account, plan, price).message_price)
        for number in numbers
    ]
    return bool(costs) and all(
        (forward is not None and forward <= credit) or 0 < message <= credit for forward, message in costs
    )


def _low_credit(standing: Standing, plan: Plan, tariff: Tariff, now_us: int) -> Notice | None:
    if (
        standing.last_cure is None
        or standing.credit >= plan.low_credit
        or not standing.had(plan.low_credit, LOW_CREDIT)
    ):
        return None
    free, can_forward = standing.free_seconds(tariff.month_of(now_us)), standing.can_forward
    if free and standing.uncovered_cost is not None:
        free, can_forward = 0, standing.pays(standing.uncovered_cost)
    facts = LowCredit(
        standing.credit, free, can_forward, standing.paid_voicemail, standing.message_price, standing.free_messages
    )
    return _notice(standing.account, NoticeKind.LOW_CREDIT, f"{LOW_CREDIT}/{standing.last_cure}", now_us, facts)


def _low_free_minutes(standing: Standing, plan: Plan, tariff: Tariff, now_us: int) -> Notice | None:
    month = tariff.month_of(now_us)
    free = standing.free_seconds(month)
    if free >= plan.low_free_seconds or standing.pays(standing.forward_cost):
        return None
    told_this_month = standing.sent.get(LOW_FREE_MINUTES, "").startswith(f"{LOW_FREE_MINUTES}/{month}/")
    if told_this_month and not standing.had(standing.forward_cost or 0, LOW_FREE_MINUTES):
        return None
    voicemail = standing.paid_voicemail, standing.message_price, standing.free_messages
    facts = LowFreeMinutes(month, free, standing.credit, *voicemail)
    key = f"{LOW_FREE_MINUTES}/{month}/{standing.last_cure or NO_CURE}"
    return _notice(standing.account, NoticeKind.LOW_FREE_MINUTES, key, now_us, facts)


def _expiry(standing: Standing, tariff: Tariff, now_us: int) -> Notice | None:
    life = credit_life(paid_until(standing.account, standing.plan, now_us), standing.events, tariff.zone)
    available = standing.balances.get(CREDIT, Balance()).available
    if life is None or available <= 0:
        return None
    today = tariff.day_of(now_us)
    left = days_until(life.last_day, today)
    reached = [days for days in tariff.expiry_notices_days if days >= left]
    if left < 0 or not reached:
        return None
    last_day = life.last_day.isoformat()
    key = f"expiry/{last_day}/{min(reached)}"
    if life.paid_through is not None and life.paid_through >= today:
        ending = SubscriptionEnding(standing.bought, life.paid_through.isoformat(), last_day, left)
        return _notice(standing.account, NoticeKind.SUBSCRIPTION_ENDING, key, now_us, ending)
    return _notice(standing.account, NoticeKind.CREDIT_EXPIRY, key, now_us, Expiry(standing.bought, last_day, left))


def _gifts(standing: Standing, tariff: Tariff, now_us: int) -> Iterator[Notice]:
    days = [days for days in tariff.expiry_notices_days if days <= GIFT_DAYS_MAX] or [*tariff.expiry_notices_days[-1:]]
    today = tariff.day_of(now_us)
    for name, one in sorted(standing.balances.items()):
        gift = _gift(name, one.available, tariff)
        if gift is None:
            continue
        kind, title, last_day = gift
        ahead = days_until(date.fromisoformat(last_day), today)
        reached = [each for each in days if each >= ahead]
        if ahead >= 0 and reached:
            facts = GiftEnding(kind, title, one.available, last_day, ahead)
            what = name.partition(":")[0] + "".join(name.partition(last_day)[2:])
            key = f"{GIFT}{last_day}:{what}/{min(reached)}"
            yield _notice(standing.account, NoticeKind.GIFT_ENDING, key, now_us, facts)


def _gift(balance: str, left: int, tariff: Tariff) -> tuple[str, str, str] | None:
    """Kind, title and last day of a gift of which its owner can use something; ``None``: it is none."""
    if balance.startswith(PROMO):
        return ("credit", "", balance.removeprefix(PROMO)) if left >= CENT else None
    kind, name = kind_of_pack(balance), name_of(balance)
    if kind is None or (name not in tariff.packs and edition_of(balance) == name):
        return None
    least, what = (60, "minutes") if kind == PACK else (1, WORDS[kind[:-1]])
    title = tariff.packs[name].title if name in tariff.packs else name
    return (what, title, last_day_of(balance)) if left >= least else None


def _notice(account: Account, kind: NoticeKind, key: str, at_us: int, facts: Facts) -> Notice:
    return Notice(key, kind, account.id, account.language, account.email, at_us, facts)


def plain(text: str) -> str:
    """What came from outside as one bounded line."""
    return "".join(one for one in text if one.isprintable())[:TEXT_LENGTH_MAX].strip()
