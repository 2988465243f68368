"""What a call of an account would be if it were made: decided as the desk decides, priced as ticks price. Pure.

What is known of *now* is not true of another instant. A forecast for another instant says what it takes from now, and
leaves out what only now can have: the calls that run, and what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from charging.call.booking import extend, months_between, pack_pools
from charging.call.decide import NotForwarded, Reason, Setup, Subscriber, afford, draft_of, obstacle
from charging.call.model import Policy, Session, Short
from charging.clock import MICROSECONDS, Instant, day_name
from charging.ledger.accounts import Account, Number
from charging.ledger.balances import PROMO, bundle, granted, left, rooms, ruled_by
from charging.ledger.model import AMOUNT_MAX, CALLS, CREDIT, Balance, day_spend
from charging.pricing.money import format_euro
from charging.pricing.packs import last_day_of, name_of
from charging.pricing.rate import Funding, Rate, charge
from charging.records import replace
from charging.tariff.plans import Plan

Balances = Mapping[str, Balance]

_POLICY = Policy()
"""Whether a call is begun does not depend on it, nor do its price and its length."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long the call could last."""

    refused: Reason | None
    """Why it would not be forwarded; then it lasts 0 seconds."""
    seconds: int
    """The second at which it is cut."""
    total: int
    """Micro-euro of credit that the whole of it costs."""
    ends: Short
    """What cuts it."""
    next_total: int | None
    """Micro-euro with one more increment; ``None``: neither money nor the day's limit is what ends it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call, to which number, at what price."""

    account: Account
    plan: Plan
    target: str
    """E.164 or a short code."""
    rate: Rate

    def subscriber(self) -> Subscriber:
        """As at the set-up of a call to a number of the account that is forwarded to the target."""
        return Subscriber(Number("", self.account.id, forward_to=self.target), self.account, self.plan, 0)


def forecast(caller: Caller, balances: Balances, at_us: int, *, target_is_ours: bool) -> Forecast:
    """How long a call that is answered at ``at_us`` (wall clock) could last on these balances."""
    subscriber = caller.subscriber()
    refused = obstacle(caller.account, subscriber.number, target_is_ours)
    begun = afford(_setup(at_us), subscriber, caller.rate, balances, _POLICY) if refused is None else None
    if begun is None or isinstance(begun, NotForwarded):
        return Forecast(refused if begun is None else begun.reason, 0, 0, Short.NO, None)
    draft = begun.draft
    found = extend(draft, balances, 0, draft.rate.max_call_s)
    covered_s = min(found.funding[-1].end_s, draft.rate.max_call_s)
    further = None
    if found.short in (Short.MONEY, Short.DAY):
        further = _cost(draft, extend(*_without_limits(draft, balances), 0, covered_s + 1).funding)
    return Forecast(None, covered_s, _cost(draft, found.funding), found.short, further)


def funding_of(caller: Caller, balances: Balances, at_us: int, seconds: int) -> tuple[Funding, Rate]:
    """Who pays which second of a call of so many seconds, had the account all the credit that it needs; and the rate,
    with the rules of the month's bundle."""
    draft = draft_of(_setup(at_us), caller.subscriber(), caller.rate, balances, _POLICY)
    return extend(*_without_limits(draft, balances), 0, seconds).funding, draft.rate


def at_another_time(balances: Balances) -> Balances:
    """The balances without what only now has: calls that run hold what will be used or given back by then."""
    return {key: Balance(one.posted) for key, one in balances.items() if key != CALLS}


def with_free_seconds(balances: Balances, rate: Rate, at_us: int, free_seconds: int) -> Balances:
    """The balances with another number of free seconds left in each month that a call of then touches."""
    months = months_between(rate.zone_info, at_us, at_us + rate.max_call_s * MICROSECONDS)
    kept = {key: one for key, one in balances.items() if key not in map(granted, months)}
    return {**kept, **{bundle(month): Balance(free_seconds) for month in months}}


def free_seconds_used(caller: Caller, balances: Balances, at_us: int, seconds: int) -> tuple[str, ...]:
    """The free seconds that a forecast takes for given, month by month, in sentences."""
    rate, plan = caller.rate, caller.plan
    told = []
    for month in months_between(rate.zone_info, at_us, at_us + seconds * MICROSECONDS):
        pays = rate.paid_by(ruled_by(balances, month, rate.granted_as or plan.name, plan.free_seconds))
        left_s = left(balances, month, plan.free_seconds).available
        if pays and (bundle(month) in balances or left_s):
            whole = "" if bundle(month) in balances else ", all that the plan gives"
            told.append(f"free seconds of {month}: {left_s}{whole}")
    draft = draft_of(_setup(at_us), caller.subscriber(), rate, balances, _POLICY)
    for name, left_s in pack_pools(draft, balances).items():
        told.append(f"seconds of {name_of(name)} through {last_day_of(name)}: {left_s}")
    return tuple(told)


def credit_used(caller: Caller, balances: Balances, at_us: int, *, now: bool) -> tuple[str, ...]:
    """The money that a forecast takes for given, in sentences. ``now``: whether the call is made now."""
    day = day_name(caller.rate.zone_info, at_us)
    credit = balances.get(CREDIT, Balance()).available
    only = "what is not reserved now" if now else "as now, whatever calls that run now have reserved"
    told = [f"credit: {format_euro(credit)}, {only}"]
    for name, room in rooms(balances, day).items():
        told.append(f"promotional credit through {name.removeprefix(PROMO)}: {format_euro(room)}, {only}")
    if caller.plan.max_credit_per_day is not None:
        room = caller.plan.max_credit_per_day + balances.get(day_spend(day), Balance()).available
        told.append(f"the plan's credit a day: {format_euro(max(0, room))} left of {day}")
    return tuple(told)


def _setup(at_us: int) -> Setup:
    return Setup("", "", 0, "", withheld=False, caller_uid="", now=Instant(0, at_us))


def _without_limits(draft: Session, balances: Balances) -> tuple[Session, Balances]:
    return replace(draft, day_cap=None), {**balances, CREDIT: Balance(AMOUNT_MAX)}


def _cost(draft: Session, funding: Funding) -> int:
    return charge(draft.rate, draft.start_us, funding)
