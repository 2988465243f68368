"""A call's bookings: what is asked of the ledger, and the one reading of its answer. Pure.

At every step the whole call is priced again: what its settled seconds cost is posted, what its further reserved
seconds would cost on top is held. A transfer moves only the differences, so pieces never add up wrong.

What every phase of a call does with the answer:

============  ====================================================  =================================================
reading       the ledger says                                       so
============  ====================================================  =================================================
Booked        the transfer is in the journal                        the session is as the transfer says
Unknown       nothing: it was not reached, or its answer was lost   ask again, with the same id and the same contents
Insufficient  there is not enough money                             plan again with what is left
Behind        it has lost our last transfers, or all of them        `failover` posts them again
Lost          the session is not ours, or our books differ          let go of it, and have a person look
============  ====================================================  =================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any
from zoneinfo import ZoneInfo

from charging.call import told
from charging.call.commands import Doubt, Post, Step, Tell
from charging.call.events import KeptAnswer, Posted
from charging.call.model import Context, Pending, Session, Short, State
from charging.clock import MICROSECONDS, Instant, day_name, month_and_edge_us, month_name
from charging.ledger.balances import (
    bundle,
    divided,
    due_grant,
    granted,
    held_rooms,
    is_money,
    left,
    rooms,
    ruled_by,
    spendable,
)
from charging.ledger.model import (
    AMOUNT_MAX,
    CALLS,
    LEGS_MAX,
    ZERO,
    Balance,
    Closed,
    Kept,
    Kind,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    SessionChange,
    Transfer,
    day_spend,
)
from charging.pricing.funding import Pools, plan
from charging.pricing.packs import PACK, PACKS_MAX, last_day_of
from charging.pricing.rate import Funding, bundle_use, charge, consumed
from charging.records import dataclass, replace

# --- how far the money goes -------------------------------------------------------------------------------------


def months_between(zone: ZoneInfo, from_us: int, until_us: int) -> tuple[str, ...]:
    """The month or the two months (``YYYY-MM``, in ``zone``) of a stretch of less than 28 days."""
    first, edge_us = month_and_edge_us(zone, from_us)
    last = first if until_us < edge_us else month_name(zone, until_us)
    return (first,) if first == last else (first, last)


@dataclass(frozen=True, slots=True)
class Extension:
    """What a session should settle and hold next."""

    funding: Funding
    cost: int
    """Micro-euro: what credit pays for all of it."""
    used: Funding
    """The part of it that is settled."""
    used_cost: int
    """Micro-euro: what credit pays for that part."""
    short: Short
    promos: Mapping[str, int] = field(default_factory=dict)
    """Micro-euro that it may take of promotional credit, by balance, in the order in which they pay."""

    @property
    def covered_s(self) -> int:
        """How many seconds from the answer it pays for."""
        return self.funding[-1].end_s if self.funding else 0

    @property
    def fixed_s(self) -> int:
        """The end of the seconds that are settled."""
        return self.used[-1].end_s if self.used else 0


def extend(session: Session, balances: Mapping[str, Balance], used_s: int, target_s: int) -> Extension:
    """Plan to settle up to the increment that holds second ``used_s``, and to reserve up to second ``target_s`` or as
    far as the money goes. What is not settled yet is planned again, so that free seconds which another call gave back
    are used first (R10)."""
    rate, start_us = session.rate, session.start_us
    fixed = consumed(rate, start_us, session.funding, session.fixed_s)
    fixed_s = fixed[-1].end_s if fixed else 0
    # Never less than is covered already: the switch's deadline is not moved back.
    target_s = max(min(target_s, rate.max_call_s), fixed_s, session.covered_s)
    credit = _credit_pool(session, balances)
    cap = _cap_pool(session, balances)
    pools = Pools(min(credit, cap), _bundle_pools(session, balances, bundle_use(fixed), target_s))
    planned = plan(rate, start_us, fixed, pools, target_s)
    short = Short.NO
    if planned.at_maximum:
        short = Short.COST
    elif planned.short:
        short = Short.DAY if cap < credit else Short.MONEY
    elif planned.covered_s >= rate.max_call_s:
        short = Short.CAP
    used, used_cost = fixed, planned.fixed_credit
    if used_s > fixed_s:
        used = consumed(rate, start_us, planned.funding, used_s)
        used_cost = planned.credit if used == planned.funding else charge(rate, start_us, used)
    promos = rooms(balances, session.day, session.held)
    return Extension(planned.funding, planned.credit, used, used_cost, short, promos)


def within_means(session: Session, balances: Mapping[str, Balance], billed_s: int) -> Funding:
    """Plan what pays for a call that is over, up to second ``billed_s`` or as far as the money goes. Of a month whose
    first grant was of nothing no more is granted: that grant has its id."""
    balances = {key: one for key, one in balances.items() if one.posted or not key.startswith(granted(""))}
    fixed = consumed(session.rate, session.start_us, session.funding, session.fixed_s)
    target_s = max(billed_s, fixed[-1].end_s if fixed else 0)
    credit = min(_credit_pool(session, balances), _cap_pool(session, balances))
    pools = Pools(credit, _bundle_pools(session, balances, bundle_use(fixed), target_s))
    return plan(session.rate, session.start_us, fixed, pools, target_s).funding


def _credit_pool(session: Session, balances: Mapping[str, Balance]) -> int:
    """What the whole call may cost, in micro-euro: the available credit, and what the call itself has posted and
    holds."""
    own = sum(amount for part in (session.held, session.posted) for key, amount in part.items() if is_money(key))
    return max(0, spendable(balances, session.day, session.held).available + own)


def _cap_pool(session: Session, balances: Mapping[str, Balance]) -> int:
    if session.day_cap is None:
        return AMOUNT_MAX
    key = day_spend(session.day)
    left = session.day_cap + balances.get(key, ZERO).available
    return max(0, left + session.held.get(key, 0) + session.posted.get(key, 0))


def _bundle_pools(
    session: Session, balances: Mapping[str, Balance], fixed: Mapping[str, int], target_s: int
) -> dict[str, int]:
    """Free seconds by month beyond the settled part: what is left, the grant that is due, and what the call holds
    unused. A month whose bundle does not pay for this destination is left out, unless it pays for this call already:
    then a larger plan of other rules, which raised it meanwhile, changes nothing (R10, R11)."""
    until_us = session.start_us + target_s * MICROSECONDS
    pools: dict[str, int] = {}
    if session.rate.packs:
        pools |= pack_pools(session, balances, fixed)
    for month in months_between(session.rate.zone_info, session.start_us, until_us):
        key = bundle(month)
        if not _pays(session, balances, month) and key not in bundle_use(session.funding):
            continue
        available = left(balances, month, session.free_seconds).available
        own = session.held.get(key, 0) + session.posted.get(key, 0) - fixed.get(key, 0)
        pools[key] = max(0, available + own)
    return pools


def _pays(session: Session, balances: Mapping[str, Balance], month: str) -> bool:
    """Whether a month's bundle pays for a call of these rules that would begin to use it now."""
    return session.rate.paid_by(ruled_by(balances, month, session.granted_as, session.free_seconds))


def pack_pools(session: Session, balances: Mapping[str, Balance], fixed: Mapping[str, int] = {}) -> dict[str, int]:
    """Seconds left beyond the settled part, in the packs that pay for this destination and have not ended: those that
    the call holds, and the next in paying order, PACKS_MAX in all. Empty packs are left out."""
    day = day_name(session.rate.zone_info, session.start_us + session.fixed_s * MICROSECONDS)
    held = {name for name in session.held if name.startswith(PACK)}
    every = (name for name in {*balances, *held} if name.startswith(PACK))
    packs = [name for name in every if session.rate.pack_rules(name) is not None]
    pools: dict[str, int] = {}
    for name in sorted((name for name in packs if last_day_of(name) >= day), key=session.rate.paying_order):
        mine = session.held.get(name, 0) + session.posted.get(name, 0) - fixed.get(name, 0)
        left_s = max(0, balances.get(name, ZERO).available + mine)
        if left_s and (name in held or len(held | pools.keys()) < PACKS_MAX):
            pools[name] = left_s
    return pools


# --- what is asked of the ledger --------------------------------------------------------------------------------


def grants_for(session: Session, funding: Funding, balances: Mapping[str, Balance], at_us: int) -> tuple[Transfer, ...]:
    """The grants that are due of the bundles in this funding. The ledger skips a grant that was made meanwhile. Of a
    month that begins in the call no more is granted than the call itself uses: the account may have another plan by
    then, or be closed (R11)."""
    first = month_name(session.rate.zone_info, session.start_us)
    due = []
    for source, used_s in sorted(bundle_use(funding).items()):
        if source.startswith(PACK):
            continue
        month, gives_s = source.removeprefix("bundle:"), session.free_seconds
        if month > first:
            own_s = session.held.get(source, 0) + session.posted.get(source, 0)
            lacks_s = max(0, used_s - own_s - balances.get(source, ZERO).available)
            gives_s = min(gives_s, balances.get(granted(month), ZERO).posted + lacks_s)
        due.append(due_grant(session.account, month, balances, gives_s, at_us, session.granted_as))
    return tuple(one for one in due if one is not None)


def _wanted(session: Session, extension: Extension) -> tuple[dict[str, int], dict[str, int]]:
    """What the whole call should have posted and should hold, by balance: what is used is posted."""
    promos, cost, most = extension.promos, extension.used_cost, extension.cost
    posted = divided(cost, promos, session.posted) | bundle_use(extension.used)
    whole = divided(most, promos, session.posted) | bundle_use(extension.funding)
    if session.day_cap is not None:
        key = day_spend(session.day)
        posted[key], whole[key] = cost, most
    held = {key: amount - posted.get(key, 0) for key, amount in whole.items()}
    return posted, held


def _legs(session: Session, posted: Mapping[str, int], held: Mapping[str, int]) -> tuple[Leg, ...]:
    floors = {CALLS: -session.max_calls}
    if session.day_cap is not None:
        floors[day_spend(session.day)] = -session.day_cap
    was_posted, was_held = session.posted, session.held
    legs = []
    for key in sorted({*posted, *held, *was_posted, *was_held}):
        taken = posted.get(key, 0) - was_posted.get(key, 0)
        reserved = held.get(key, 0) - was_held.get(key, 0)
        if taken or reserved:
            legs.append(Leg(key, -taken, reserved, floors.get(key, 0)))
    return tuple(legs)


def reserve_transfer(
    session: Session, extension: Extension, at_us: int, reason: str, *, is_only_try: bool = False
) -> tuple[Session, Transfer]:
    """Make the transfer that opens the session with its first reservation, of which nothing is settled, and the session
    that it leaves. ``reason`` says why the call is forwarded; ``at_us`` is wall clock."""
    posted, held = _wanted(session, extension)
    held[CALLS] = 1
    legs = _legs(session, posted, held)
    enforced_s = min(extension.covered_s, session.rate.max_call_s)
    after = adopt(session, extension.funding, 0, extension.short, legs, enforced_s=enforced_s, reason=reason)
    change = Opened(session.switch, after.to_json(), session.epoch, session.follows, is_only_try)
    return after, _transfer(session, Kind.RESERVE, at_us, legs, change)


def extend_transfer(
    session: Session, extension: Extension, balances: Mapping[str, Balance], at_us: int, mono_us: int
) -> tuple[Pending, Session] | None:
    """Make a tick's transfer, and the session that it leaves; ``None`` if nothing changes. ``balances`` are those that
    it was planned with, ``at_us`` is wall clock, ``mono_us`` monotonic.

    The transfer has no legs if the next stretch costs nothing more (a free destination, a maximum that is reached, a
    minimum that is not). It is made all the same, since the deadline follows what is stored.
    """
    posted, held = _wanted(session, extension)
    held[CALLS] = session.held.get(CALLS, 0)
    legs = _legs(session, posted, held)
    if not legs and extension.funding == session.funding:
        return None
    after = adopt(session, extension.funding, extension.fixed_s, extension.short, legs)
    change = Kept(after.to_json(), session.epoch, session.follows)
    transfer = _transfer(session, Kind.EXTEND, at_us, legs, change)
    grants = grants_for(session, extension.funding, balances, at_us)
    return Pending(transfer, grants, extension.funding, extension.fixed_s, extension.short, mono_us), after


Charged = tuple[Mapping[str, int], Funding]
"""What a whole call cost, by balance, and the funding that it used."""


def final_charge(session: Session, billed_s: int) -> Charged:
    """What ``billed_s`` seconds cost in all."""
    used = consumed(session.rate, session.start_us, session.funding, billed_s)
    cost = charge(session.rate, session.start_us, used)
    promos = session.promos or held_rooms(session.held)
    posted, _ = _wanted(session, Extension(used, cost, used, cost, session.short, promos))
    return posted, used


def close_transfer(
    session: Session,
    charged: Charged,
    cdr: str,
    ended_us: int,
    now: Instant,
    balances: Mapping[str, Balance] = {},
) -> Pending | None:
    """Make the last transfer: the exact charge, the rest given back. ``balances`` are those that it was planned with,
    if it was planned again. ``None`` if there are too many balances for one transfer: a fail-over has lost the ticks
    that settled them.

    The grants of the bundles that it uses go before it: a month may have begun while the ledger was away, and a
    fail-over may have lost a grant. The ledger skips grants that it has.
    """
    posted, used = charged
    legs = _legs(session, posted, {})
    if len(legs) > LEGS_MAX:
        return None
    kind = Kind.SETTLE if any(leg.posted for leg in legs) or any(session.posted.values()) else Kind.RELEASE
    transfer = _transfer(session, kind, now.wall_us, legs, Closed(cdr, ended_us, session.epoch, session.follows))
    grants = grants_for(session, used, balances, now.wall_us)
    return Pending(transfer, grants, used, used[-1].end_s if used else 0, session.short, now.mono_us)


def _transfer(session: Session, kind: Kind, at_us: int, legs: tuple[Leg, ...], change: SessionChange) -> Transfer:
    return Transfer(
        id=f"{session.id}/{session.sequence}/{kind}",
        account=session.account,
        kind=kind,
        at_us=at_us,
        legs=legs,
        session=session.id,
        change=change,
        reason="call",
    )


def adopt(
    session: Session, funding: Funding, fixed_s: int, short: Short, legs: tuple[Leg, ...], **further: Any
) -> Session:
    """Return the session after a transfer with these legs was applied; nothing is pending any more. ``further`` changes
    other fields with it."""
    posted, held = dict(session.posted), dict(session.held)
    for leg in legs:
        posted[leg.balance] = posted.get(leg.balance, 0) - leg.posted
        held[leg.balance] = held.get(leg.balance, 0) + leg.reserved
    return replace(
        session,
        funding=funding,
        fixed_s=fixed_s,
        short=short,
        posted={key: amount for key, amount in posted.items() if amount},
        held={key: amount for key, amount in held.items() if amount},
        promos={},
        sequence=session.sequence + 1,
        replans=0,
        pending=None,
        retry_mono_us=None,
        **further,
    )


# --- what the ledger answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Booked:
    """The transfer is in the journal."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The ledger gave no answer: the transfer may or may not be in the journal."""


@dataclass(frozen=True, slots=True)
class Insufficient:
    """Refused: a balance would go below its floor. Another call of the account was faster."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The ledger has lost transfers that it had acknowledged, by a fail-over."""

    stored: OpenSession | None
    """The session as it is stored; ``None``: the ledger has never heard of it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Refused for good: another daemon holds the session, it is closed, or our books differ."""

    outcome: Outcome


Reading = Booked | Unknown | Insufficient | Behind | Lost


def reading_of(event: Posted) -> Reading:
    """Read the ledger's answer to a transfer that changes a session."""
    change = event.transfer.change
    assert change is not None, "a session's transfer changes it"
    if event.applied is None:
        return Unknown()
    if event.applied.outcome.applied:
        return Booked()
    match event.applied.outcome, event.applied.session:
        case (Outcome.OUT_OF_SEQUENCE, OpenSession() as stored) if stored.sequence < change.follows:
            return Behind(stored)
        case (Outcome.SESSION_NOT_OPEN, _) if not isinstance(change, Opened):
            return Behind(None)
        case (Outcome.INSUFFICIENT, _):
            return Insufficient()
        case (outcome, _):
            return Lost(outcome)


def reading_of_kept(event: KeptAnswer) -> Reading:
    """Read the ledger's answer to a record that was stored without moving money. ``Behind`` has no stored session here:
    the answer to the next transfer brings it."""
    match event.outcome:
        case None:
            return Unknown()
        case Outcome.CREATED:
            return Booked()
        case Outcome.SESSION_NOT_OPEN | Outcome.OUT_OF_SEQUENCE:
            return Behind(None)
        case outcome:
            return Lost(outcome)


def is_awaited(session: Session, event: Posted) -> bool:
    """Whether the event answers the transfer that the session waits for. Answers to earlier attempts have the same
    id."""
    return session.pending is not None and session.pending.transfer.id == event.transfer.id


def after_booking(session: Session, pending: Pending, **further: Any) -> Session:
    """Return the session as its booked transfer leaves it; ``further`` changes other fields with it."""
    return adopt(session, pending.funding, pending.fixed_s, pending.short, pending.transfer.legs, **further)


def set_aside(session: Session) -> Session:
    """Return the session without its pending transfer."""
    return replace(session, pending=None, retry_mono_us=None)


def ask_later(session: Session, wait_s: float, context: Context) -> Step:
    """The ledger gave no answer: repeat the request after ``wait_s`` seconds."""
    return Step(replace(session, retry_mono_us=context.in_s(wait_s)), (Tell(told.LedgerNotReached()),))


def post_again(session: Session) -> Step:
    """Send the pending transfer again, unchanged: the ledger applies an id once."""
    pending = session.pending
    assert pending is not None, "there is something to ask about"
    again = replace(pending, attempts=pending.attempts + 1)
    return Step(replace(session, pending=again, retry_mono_us=None), (Post(pending.transfer, pending.grants),))


def lose(session: Session, outcome: Outcome) -> Step:
    """Let go of a session that is closed, belongs to another daemon or differs from our books. Nothing more is booked
    from this record; the daemon that owns the session goes on from the stored one. Logged as an error: a person should
    look."""
    return Step(replace(session, state=State.CLOSED, pending=None), (Tell(told.SessionLost(outcome)), Doubt()))


def tell_tick(session: Session, pending: Pending) -> Tell:
    """Report that a tick's transfer is in the journal."""
    return Tell(told.TickPosted(settled_by(pending), session.covered_s, session.short))


def settled_by(pending: Pending) -> dict[str, int]:
    """Return what a transfer took, by balance: micro-euro or seconds."""
    return {leg.balance: -leg.posted for leg in pending.transfer.legs if leg.posted}
