"""Decide what becomes of an incoming call (forward, voicemail, or not answered), and why. Pure.

The rules of the service that apply: R6–R8 (what a plan pays for), R10 (free minutes first), R12 (no money: straight to
voicemail), R13 (no money and paid voicemail: not answered), R23 (nothing is dialled that is not paid).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

from charging.call.booking import Extension, extend, months_between
from charging.call.model import LoopEvidence, Policy, Session, Short
from charging.clock import MICROSECONDS, Instant, day_name
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.balances import ruled_by, spendable
from charging.ledger.model import CALLS, CREDIT, Balance, day_spend
from charging.pricing.rate import Rate, bundle_of, cost_to_begin, only_rounding_pays
from charging.records import dataclass, replace
from charging.tariff.plans import Plan
from charging.tariff.tariff import Refusal, Tariff


class Decision(StrEnum):
    """What the dialplan is to do."""

    FORWARD = "forward"
    VOICEMAIL = "voicemail"
    REJECT = "reject"
    """Not answered: the caller pays nothing."""


class Reason(StrEnum):
    """Why a call was decided so. The first two are forwards; the others say why a call is not forwarded."""

    FREE_MINUTES = "free_minutes"
    """The month's free minutes pay for the first seconds."""
    CREDIT = "credit"
    """Credit pays from the first second."""
    UNKNOWN_NUMBER = "unknown_number"
    """Nobody has this number."""
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_SUSPENDED = "account_suspended"
    UNKNOWN_PLAN = "unknown_plan"
    """The account's plan is not in the tariff: the operator must mend one of them."""
    NO_TARGET = "no_target"
    """The subscriber has not said where to forward to."""
    NOT_COVERED = "not_covered"
    """The tariff has no price for the target."""
    BLOCKED = "blocked"
    PREMIUM = "premium"
    LOOP = "loop"
    """The target is one of the operator's own numbers."""
    NOT_A_NUMBER = "not_a_number"
    """The target is no certain number: what would be dialled might be another than what is priced."""
    CAME_BACK = "came_back"
    """It is the forward of a call that rings still, diverted back to the subscriber's number."""
    DRAINING = "draining"
    """The switch is about to be restarted, and the operator turns new calls away: the carrier may try another way."""
    OVERLOADED = "overloaded"
    """The daemon is behind with the calls that run: the carrier may try another way."""
    TOO_MANY_WAIT = "too_many_wait"
    """Too many of the same caller, or to the same number, are being decided about: this one finds it busy."""
    TOO_MANY_GIVEN_UP = "too_many_given_up"
    """Too many calls of this caller to this number have ended without anything charged: this one finds it busy."""
    TOO_MANY_UNANSWERED = "too_many_unanswered"
    """Too many forwards of the account were dialled and cost nothing: this call is not dialled."""
    TOO_MANY_MESSAGES = "too_many_messages"
    """Voicemail was due, and this caller has left too many messages for this number: he finds it busy."""
    NO_ROOM = "no_room"
    """Voicemail was due, and the switch's disk for it is nearly full; or that of the ledger is full, and what the
    ledger has kept of it is for the calls that run."""
    TOO_MANY_CALLS = "too_many_calls"
    """The plan's limit of calls at once."""
    DAY_LIMIT = "day_limit"
    """The plan's limit of credit a day."""
    NO_CREDIT = "no_credit"
    """Neither free minutes nor credit for a first increment (R12, R13)."""
    FORWARD_FAILED = "forward_failed"
    """The forward was busy, declined or not answered."""


@dataclass(frozen=True, slots=True)
class NotForwarded:
    """A call that is not forwarded."""

    decision: Decision
    reason: Reason
    sells_voicemail: bool = False
    """Rejected, unless the price of a message can be reserved (R13)."""

    @property
    def is_missed(self) -> bool:
        """Whether credit would have made a forward or a message of the call. The subscriber is then notified (R13)."""
        return self.decision is Decision.REJECT and (self.sells_voicemail or self.reason is Reason.NO_CREDIT)


class Cause(StrEnum):
    """Why a call was missed, as the subscriber is notified (R13)."""

    NO_CREDIT = "no_credit"
    """Credit was too low to forward it or to take a message."""
    NO_MESSAGE = "no_message"
    """It was not forwarded for a reason that is not money, and credit was too low to take a message."""
    CREDIT_IN_USE = "credit_in_use"
    """There was enough; other calls or a fax had it reserved."""
    TOO_MANY_CALLS = "too_many_calls"
    """As many calls ran as the plan allows, and what they left of the credit was too little to take a message."""
    DAY_LIMIT = "day_limit"
    """What the plan lets calls and messages of a day cost was used up, or reserved, but for less than a message."""


class Unsold(StrEnum):
    """Why no paid message was taken."""

    NO_CREDIT = "no_credit"
    """There was too little available."""
    DAY_LIMIT = "day_limit"
    """The plan's credit a day left too little, and credit itself would have paid it."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """The account and the number that are called, with the plan and its prices."""

    number: Number
    account: Account
    plan: Plan
    voicemail_price: int
    """Micro-euro of a message now, were it paid; VAT included."""

    @property
    def voicemail_paid(self) -> bool:
        """Whether a message must be paid (R13): a property of the number, by default the plan's."""
        return self.plan.charges_voicemail(self.number.paid_voicemail)

    @property
    def message_price(self) -> int:
        """The price of a voicemail message in micro-euro; 0 if it is included."""
        return self.voicemail_price if self.voicemail_paid else 0

    @property
    def buys(self) -> bool:
        """Whether the account can buy anything: not if it is closed or suspended."""
        return self.account.status is Status.ACTIVE


def turned(reason: Reason, subscriber: Subscriber | None) -> NotForwarded:
    """Decide what becomes of a call that is not forwarded. If its voicemail is to be paid, the price must be reserved
    first."""
    if subscriber is None or reason is Reason.ACCOUNT_CLOSED:
        return NotForwarded(Decision.REJECT, reason)
    if not subscriber.voicemail_paid:
        return NotForwarded(Decision.VOICEMAIL, reason)
    return NotForwarded(Decision.REJECT, reason, sells_voicemail=subscriber.buys)


def subscriber_of(
    tariff: Tariff, number: Number | None, account: Account | None, now_us: int
) -> Subscriber | NotForwarded:
    """Find whose number it is, with the plan and the price of a message at ``now_us`` (wall clock)."""
    if number is None or account is None:
        return turned(Reason.UNKNOWN_NUMBER, None)
    plan = tariff.plan(account.plan)
    if plan is None:
        return turned(Reason.UNKNOWN_PLAN, None)
    return Subscriber(number, account, plan, tariff.message_price(plan, now_us))


def mailbox_of(number: Number) -> str:
    """The voicemail box that a number's callers reach."""
    return number.mailbox or number.number.lstrip("+")


def obstacle(account: Account, number: Number, target_is_ours: bool) -> Reason | None:
    """What stands against forwarding, before any price is looked at; ``None`` if nothing does."""
    if account.status is Status.CLOSED:
        return Reason.ACCOUNT_CLOSED
    if account.status is Status.SUSPENDED:
        return Reason.ACCOUNT_SUSPENDED
    if not number.forward_to:
        return Reason.NO_TARGET
    return Reason.LOOP if target_is_ours else None


CAME_BACK = NotForwarded(Decision.REJECT, Reason.CAME_BACK)
"""Never answered, by voicemail neither: an answer would be that of the forward that rings, and would be charged as one.
Busy, that forward fails, and its caller comes to voicemail once."""


DRAINING = NotForwarded(Decision.REJECT, Reason.DRAINING)
OVERLOADED = NotForwarded(Decision.REJECT, Reason.OVERLOADED)
NO_ROOM = NotForwarded(Decision.REJECT, Reason.NO_ROOM)
TOO_MANY_WAIT = NotForwarded(Decision.REJECT, Reason.TOO_MANY_WAIT)
TOO_MANY_MESSAGES = NotForwarded(Decision.REJECT, Reason.TOO_MANY_MESSAGES)
TOO_MANY_GIVEN_UP = NotForwarded(Decision.REJECT, Reason.TOO_MANY_GIVEN_UP)


def without_voicemail(outcome: NotForwarded, instead: NotForwarded) -> NotForwarded:
    """Decide what becomes of a call if no message can be taken (for want of room, say): it is not answered. If credit
    would have forwarded it, the subscriber is notified as usual (R13)."""
    if outcome.decision is Decision.VOICEMAIL or (outcome.sells_voicemail and outcome.reason is not Reason.NO_CREDIT):
        return instead
    return replace(outcome, sells_voicemail=False) if outcome.sells_voicemail else outcome


def source_of(caller: str, number: str) -> str:
    """Who calls, and whom, as it is counted how often he gives up, or leaves a message: a number may be written in
    several ways."""
    return f"{caller[-9:]} to {number[-9:]}"


ALIKE_MAX = 8
"""Readings of one number that differ. There are five at most: +31…, 0031…, 31…, 0…, and a carrier's own prefix."""
_TAIL = 4
"""Digits at the end of a number, which are the same however the rest is written."""


def spellings(tariff: Tariff, written: str) -> tuple[str, ...]:
    """The normalised numbers that a number from the network may stand for, the likeliest first."""
    read = (tariff.normalise(written), tariff.normalise("+" + written.lstrip("+")))
    return tuple(dict.fromkeys(one for one in read if one))


def is_among(tariff: Tariff, number: str, written: Sequence[str]) -> bool:
    """Whether ``number``, normalised, is one of those that the network wrote.

    A stranger may have written a hundred, and reading one takes 0.3 ms in the loop that decides calls. So only those
    that end as the number does are read. Of more than ``ALIKE_MAX`` such none is: whoever writes a number in so many
    ways names it.
    """
    alike = {one for one in written if one.endswith(number[-_TAIL:])}
    return len(alike) > ALIKE_MAX or any(number in spellings(tariff, one) for one in alike)


def is_returned(
    caller: str, withheld: bool, ringing: Session, spelled: Callable[[str], Collection[str]], by: LoopEvidence
) -> bool:
    """Whether a call to the number of a forward that rings is that forward, coming back: it shows the subscriber's
    number, or that of the phone that rings and diverts, or what the operator counts as evidence (``by``). ``spelled``
    gives the readings of a number. An empty ``caller`` is withheld or unknown: such callers cannot be told apart."""
    if not caller or (withheld and ringing.withheld and by is LoopEvidence.ANY):
        return by is LoopEvidence.ANY and withheld == ringing.withheld and (withheld or not ringing.caller)
    proofs = [ringing.number, ringing.target]
    if by is not LoopEvidence.HEADERS:
        proofs.append(ringing.caller)
    shown = set(spelled(caller))
    return any(shown & set(spelled(one)) for one in proofs if one)


def is_beyond_day(missed: NotForwarded, subscriber: Subscriber, balances: Mapping[str, Balance], day: str) -> bool:
    """Whether no paid message was taken because of the plan's credit a day, and not for want of credit. ``day`` is
    ``YYYY-MM-DD`` in the operator's zone."""
    cap, price = subscriber.plan.max_credit_per_day, subscriber.message_price
    if cap is None or not missed.sells_voicemail or spendable(balances, day).available < price:
        return False
    return cap + balances.get(day_spend(day), Balance()).available < price


def cause_of(
    missed: NotForwarded,
    subscriber: Subscriber,
    rate: Rate | Refusal,
    posted: int,
    at_us: int,
    *,
    beyond_day: bool = False,
) -> Cause:
    """Why a call was missed. ``posted`` is the credit in micro-euro, including what is reserved; ``rate`` is the
    target's; ``beyond_day`` comes from :func:`is_beyond_day`."""
    if beyond_day:
        return Cause.DAY_LIMIT
    if missed.reason is Reason.TOO_MANY_CALLS:
        return Cause.TOO_MANY_CALLS
    wanted_money = missed.reason is Reason.NO_CREDIT
    pays_forward = wanted_money and not isinstance(rate, Refusal) and posted >= max(1, cost_to_begin(rate, at_us))
    if pays_forward or (missed.sells_voicemail and posted >= subscriber.message_price):
        return Cause.CREDIT_IN_USE
    return Cause.NO_CREDIT if wanted_money else Cause.NO_MESSAGE


_REFUSALS = {
    Refusal.UNKNOWN_PLAN: Reason.UNKNOWN_PLAN,
    Refusal.NOT_COVERED: Reason.NOT_COVERED,
    Refusal.BLOCKED: Reason.BLOCKED,
    Refusal.PREMIUM: Reason.PREMIUM,
    Refusal.LOOP: Reason.LOOP,
    Refusal.NOT_A_NUMBER: Reason.NOT_A_NUMBER,
}


def refused(refusal: Refusal, subscriber: Subscriber) -> NotForwarded:
    """Decide for a target that the tariff has no rate for."""
    return turned(_REFUSALS[refusal], subscriber)


@dataclass(frozen=True, slots=True)
class Setup:
    """What is known of a call at its set-up, besides the subscriber."""

    session: str
    switch: str
    epoch: int
    caller: str
    withheld: bool
    caller_uid: str
    now: Instant
    boot: str = ""
    """Of the clocks that ``now`` is a reading of."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A call that can be forwarded: the session to open, the reason, and what the session should hold."""

    draft: Session
    reason: Reason
    extension: Extension


def afford(
    setup: Setup, subscriber: Subscriber, rate: Rate, balances: Mapping[str, Balance], policy: Policy
) -> Forward | NotForwarded:
    """Plan the first stretch: one horizon and one tick, or as much as can be paid. Returns why not if nothing can."""
    if not subscriber.number.forward_to.startswith("+"):
        return turned(Reason.NOT_COVERED, subscriber)  # a short code: the dialplan dials E.164 alone
    if balances.get(CALLS, Balance()).reserved >= subscriber.plan.max_calls:
        return turned(Reason.TOO_MANY_CALLS, subscriber)
    draft = draft_of(setup, subscriber, rate, balances, policy)
    extension = extend(draft, balances, 0, policy.reach_s)
    credit = spendable(balances, draft.day).available
    if not extension.funding or only_rounding_pays(draft.rate, draft.start_us, extension.funding, credit):
        return turned(_UNPAID.get(extension.short, Reason.NO_CREDIT), subscriber)
    reason = Reason.CREDIT if extension.funding[0].source == CREDIT else Reason.FREE_MINUTES
    return Forward(draft, reason, extension)


_UNPAID = {
    Short.DAY: Reason.DAY_LIMIT,
    Short.COST: Reason.NOT_COVERED,  # its first increment alone is above the maximum: it has no price that is allowed
}


RINGS_MAX_S = 3600
"""A call that is answered later than this after its set-up has ended before: no switch rings so long."""


def draft_of(
    setup: Setup, subscriber: Subscriber, rate: Rate, balances: Mapping[str, Balance], policy: Policy
) -> Session:
    """Make the session before anything is reserved for it. Its free seconds follow the rules of each month's bundle."""
    number, account, plan = subscriber.number, subscriber.account, subscriber.plan
    latest_us = setup.now.wall_us + (rate.max_call_s + RINGS_MAX_S) * MICROSECONDS
    edition = rate.granted_as or plan.name
    ruled = {
        bundle_of(month): ruled_by(balances, month, edition, plan.free_seconds)
        for month in months_between(rate.zone_info, setup.now.wall_us, latest_us)
    }
    rate = rate.under(ruled.pop(next(iter(ruled))), ruled)
    return Session(
        id=setup.session,
        account=account.id,
        number=number.number,
        caller=setup.caller,
        withheld=setup.withheld,
        target=number.forward_to,
        plan=plan.name,
        language=account.language.value,
        switch=setup.switch,
        reason="",
        rate=rate,
        free_seconds=plan.free_seconds,
        max_calls=plan.max_calls,
        day=day_name(rate.zone_info, setup.now.wall_us),
        day_cap=plan.max_credit_per_day,
        opened=setup.now,
        boot=setup.boot,
        read_mono_us=setup.now.mono_us,
        apart_us=setup.now.apart_us,
        begun_mono_us=setup.now.mono_us,
        caller_uid=setup.caller_uid,
        epoch=setup.epoch,
        check_mono_us=setup.now.plus(policy.setup_timeout_s).mono_us,
    )
