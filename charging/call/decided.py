"""Why a call was decided so: the record of one decision, refused calls too, and the words for it. Pure.

It is kept for some days, to answer a customer (`charging.service.decisions` stores it). It is no part of the books: no
money depends on it. Numbers of other people are masked as they are kept (:meth:`Decided.masked`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from agi.port import Answer, IncomingCall
from charging.call.decide import Decision, NotForwarded, Reason, Subscriber, Unsold
from charging.call.model import Session
from charging.call.storage import Record
from charging.call.voicemail import Voicemail
from charging.clock import MICROSECONDS, Instant
from charging.ledger.accounts import Number
from charging.ledger.balances import left, spendable
from charging.ledger.model import Balance
from charging.records import dataclass, replace
from charging.safe_text import HIDDEN, hidden
from charging.tariff.tariff import Tariff

DETAIL_CHARACTERS = 200


class Turn(StrEnum):
    """Which question of the dialplan was answered."""

    INCOMING = "incoming"
    UNANSWERED = "unanswered"
    """What to do after a forward that nobody took."""
    DELIVERY = "delivery"
    """An answer of before could not be told to the dialplan."""


class Fallback(StrEnum):
    """Why there was no decision, or none that the dialplan heard. It then does what the operator chose for that."""

    LEDGER_UNAVAILABLE = "ledger_unavailable"
    SWITCH_SILENT = "switch_silent"
    """Nothing was heard over AMI for longer than the horizon."""
    UNPROVEN = "unproven"
    """The switch has no such call."""
    DECLINED = "declined"
    """Left to another daemon."""
    TOO_LATE = "too_late"
    """The daemon took longer than the dialplan waits, or was told to stop meanwhile."""
    NOT_DELIVERED = "not_delivered"
    FAILED = "failed"
    """A fault of the program."""
    UNDECIDED = "undecided"
    """The switch's own note of a call that ended without a decision."""


class TurnedAway(StrEnum):
    """Why the switch refused a call by itself, and asked no daemon."""

    NO_NUMBER = "no_number"
    CROWD = "crowd"
    MAILBOX_FULL = "mailbox_full"


FLOODED: Final = (Fallback.UNPROVEN, Reason.UNKNOWN_NUMBER, Reason.TOO_MANY_WAIT, Reason.TOO_MANY_GIVEN_UP)
"""What strangers can bring about in any number, whatever they dial, and what holds no line for long: the first without
a call, whoever reaches FastAGI, the others any caller. So few of each are kept and logged."""


def flood_of(outcome: str, reason: str, called: str) -> str | None:
    """Of what few are kept and logged in a minute: of each of FLOODED, and of each other reason for one number
    ``called`` (or account): a caller can hang up at once and ring again. ``None``: any number, for it sets money aside
    and leaves a CDR."""
    if reason in FLOODED:
        return reason
    return None if outcome == Decision.FORWARD else f"{reason} {called}"


FALLBACK = "fallback"
"""The outcome of what was not decided; the others are those of :class:`Decision`."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. A member that is ``None`` or empty was not known, or not looked at, when it was made."""

    at_us: int
    """Wall clock: when the dialplan asked."""
    turn: Turn
    outcome: str
    reason: str
    """Of :class:`Reason`, :class:`Fallback` or :class:`TurnedAway`."""
    switch: str
    """The ``switch.id`` of the daemon."""
    took_ms: int
    """From the question to the decision."""
    daemon: str = ""
    """Its host and process."""
    number: str = ""
    """The subscriber's; as it was dialled where it is nobody's, or was not looked up."""
    account: str = ""
    plan: str = ""
    caller: str = ""
    """Empty where it is withheld or unknown."""
    withheld: bool = False
    target: str = ""
    destination: str = ""
    """Of the tariff."""
    credit_available: int | None = None
    """Micro-euro, before this call took any."""
    credit_reserved: int | None = None
    """Micro-euro: held by other calls."""
    free_seconds: int | None = None
    """Left of the month's, before this call took any; whether they pay for this destination is another matter."""
    message_price: int | None = None
    """Micro-euro of a voicemail message, where it was tried to be reserved."""
    message_refusal: str = ""
    """Of :class:`Unsold`; empty where a message was taken, or not for sale."""
    quota_s: int | None = None
    """Seconds that were reserved at first."""
    session: str = ""
    detail: str = ""
    """How the dialling ended, or what went wrong, in the program's words."""

    def masked(self) -> Decided:
        """The same without the last digits of other people's numbers: of the caller's, the target's, and of a dialled
        one that is no account's."""
        number = self.number if self.account else hidden(self.number)
        return replace(self, number=number, caller=hidden(self.caller), target=hidden(self.target))

    def to_plain(self) -> dict[str, Any]:
        """For JSON, without what has its default; :meth:`from_plain` makes an equal value of it."""
        members = zip(_NAMES, _members(self), strict=True)
        return {name: value for name, value in members if name in _REQUIRED or value != _DEFAULTS[name]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Decided:
        """What :meth:`to_plain` made, now or in a later version. Raises KeyError, TypeError or ValueError else."""
        known = {name: value for name, value in plain.items() if name in _REQUIRED or name in _DEFAULTS}
        return cls(**{**known, "turn": Turn(plain["turn"])})


_REQUIRED = frozenset("at_us turn outcome reason switch took_ms".split())
_DEFAULTS = {one.name: one.default for one in fields(Decided) if one.name not in _REQUIRED}
_NAMES = tuple([one.name for one in fields(Decided)])
_members = attrgetter(*_NAMES)


@dataclass(slots=True)
class Notes:
    """What is learnt about a call while it is decided over."""

    turn: Turn
    began: Instant
    tariff: Tariff | None = None
    """By which the number that was rung is read."""
    asked: str = ""
    """That number, as the network wrote it."""
    number: str = ""
    account: str = ""
    caller: str = ""
    withheld: bool = False
    subscriber: Subscriber | None = None
    destination: str = ""
    balances: Mapping[str, Balance] | None = None
    day: str = ""
    """``YYYY-MM-DD``, in the operator's zone, on which the balances were looked at."""
    message_price: int | None = None
    message_refusal: str = ""
    session: str = ""
    detail: str = ""
    caller_uid: str = ""
    source: str = ""
    """Who called, and whom, as it is counted. Neither is kept."""

    @classmethod
    def of(cls, request: IncomingCall, tariff: Tariff, began: Instant) -> Notes:
        """Before anything is looked up."""
        asked, uid, withheld = request.number, request.unique_id, request.is_withheld
        return cls(Turn.INCOMING, began, tariff, asked, caller=request.caller, withheld=withheld, caller_uid=uid)

    def belongs_to(self, number: Number | None, found: Subscriber | NotForwarded) -> None:
        """Whose call it is, as far as it is anyone's."""
        if number is not None:
            self.number, self.account = number.number, number.account
        if isinstance(found, Subscriber):
            self.subscriber = found

    def begun_by(self, record: Record) -> None:
        """The session that an earlier decision opened."""
        self.session, self.number, self.account = record.id, record.number, record.account
        if isinstance(record, Session | Voicemail):
            self.caller, self.withheld, self.caller_uid = record.caller, record.withheld, record.caller_uid

    def saw(self, balances: Mapping[str, Balance], day: str) -> None:
        """What money there was."""
        self.balances, self.day = balances, day

    def decided(self, answer: Answer, over: Instant) -> Decided:
        """What the dialplan is told."""
        return self._made(answer.decision, answer.reason, over, answer.switch, answer)

    def failed(self, why: Fallback, detail: str, over: Instant, switch: str) -> Decided:
        """There is no answer."""
        self.detail = detail
        return self._made(FALLBACK, why, over, switch, None)

    def _made(self, outcome: str, reason: str, over: Instant, switch: str, answer: Answer | None) -> Decided:
        whose, (available, reserved, free_seconds) = self.subscriber, self._money()
        return Decided(
            at_us=self.began.wall_us,
            turn=self.turn,
            outcome=str(outcome),
            reason=str(reason),
            switch=switch,
            took_ms=max(0, over.mono_us - self.began.mono_us) // (MICROSECONDS // 1000),
            number=self.number or self._nobodys(),
            account=self.account,
            plan="" if whose is None else whose.plan.name,
            caller="" if self.withheld else self.caller,
            withheld=self.withheld,
            target="" if whose is None else whose.number.forward_to,
            destination=self.destination,
            credit_available=available,
            credit_reserved=reserved,
            free_seconds=free_seconds,
            message_price=self.message_price,
            message_refusal=str(self.message_refusal),
            quota_s=None if answer is None else answer.quota_s,
            session=(answer and answer.session) or self.session,
            detail=self.detail[:DETAIL_CHARACTERS],
        )

    def _nobodys(self) -> str:
        """The number that was rung: it is nobody's, or was not looked up."""
        if self.tariff is None:
            return ""
        spelt = self.tariff.normalise(self.asked) or self.tariff.normalise("+" + self.asked.lstrip("+"))
        return spelt or self.asked

    def _money(self) -> tuple[int | None, int | None, int | None]:
        """Credit available and reserved, and free seconds."""
        if self.balances is None or self.subscriber is None:
            return None, None, None
        credit = spendable(self.balances, self.day)
        free = left(self.balances, self.day[:7], self.subscriber.plan.free_seconds)
        return credit.available, credit.reserved, max(0, free.available)


# --- in words -------------------------------------------------------------------------------------------------

_OUTCOMES = {
    Decision.FORWARD: "forwarded",
    Decision.VOICEMAIL: "sent to voicemail",
    Decision.REJECT: "not answered",
    FALLBACK: "not decided: the dialplan took its fallback",
}
_LOOK = "see the daemon's log of that moment"
_WORDS: Mapping[str, tuple[str, str]] = {
    Reason.FREE_MINUTES: ("the month's free minutes pay for the first seconds", ""),
    Reason.CREDIT: ("credit pays from the first second", ""),
    Reason.UNKNOWN_NUMBER: (
        "the number dialled belongs to no account",
        "if it should be someone's: `charging number add ACCOUNT NUMBER`",
    ),
    Reason.ACCOUNT_CLOSED: ("the account is closed", "a closed account takes no more calls; remove its numbers"),
    Reason.ACCOUNT_SUSPENDED: (
        "the account is suspended",
        "`charging account show ACCOUNT` tells why; once that is settled `charging account activate ACCOUNT`",
    ),
    Reason.UNKNOWN_PLAN: (
        "the account's plan is not in the tariff",
        "give the account a plan of the tariff, or put the plan back: `charging tariff check`",
    ),
    Reason.NO_TARGET: (
        "no number to forward to is set",
        "`charging number set NUMBER --forward-to …`, or the customer does it",
    ),
    Reason.NOT_COVERED: (
        "the tariff has no price for the number that it is forwarded to",
        "`charging tariff quote` shows it; add the destination to the tariff, or "
        "`charging number set NUMBER --forward-to …`",
    ),
    Reason.BLOCKED: (
        "the tariff refuses the destination",
        "`charging number set NUMBER --forward-to …`, or change the destination's `refuse`",
    ),
    Reason.PREMIUM: (
        "the target is a premium number, which the tariff refuses",
        "`charging number set NUMBER --forward-to …`",
    ),
    Reason.LOOP: ("it is forwarded to one of your own numbers", "`charging number set NUMBER --forward-to …`"),
    Reason.NOT_A_NUMBER: (
        "the number that it is forwarded to is no certain number: what is dialled might be another than what is priced",
        "`charging number set NUMBER --forward-to …`, with nothing between the country code and the number, such as "
        "+31612345678; `charging check` shows all such numbers",
    ),
    Reason.CAME_BACK: (
        "it is the forward of a call that still rang, diverted back to the number",
        "the customer's phone diverts to his own number here: he should end that; the first call went on as decided",
    ),
    Reason.DRAINING: (
        "Asterisk was about to be restarted, and new calls were turned away (`charging drain --refuse-new`)",
        "`charging drain --end` takes them again; a restart of Asterisk or of the daemon does, too",
    ),
    Reason.OVERLOADED: (
        "the daemon was behind with the calls that ran, and turned new ones away",
        "see `charging_loop_lag_seconds`: the machine is too small, or something else keeps it busy",
    ),
    Reason.TOO_MANY_WAIT: (
        "too many of the same caller, or to this number, were being decided about",
        "a flood, which the trunk or an SBC should bound (docs/security.md); the others had their turn",
    ),
    Reason.TOO_MANY_GIVEN_UP: (
        "too many calls of the same caller to this number were given up before anyone answered, or left no message",
        "who calls so? `charging.given_up_a_minute` is the limit (docs/security.md)",
    ),
    Reason.TOO_MANY_UNANSWERED: (
        "too many forwards of the account were dialled and cost nothing, and this one was not dialled",
        "who calls so? `charging.given_up_a_minute` is the limit (docs/security.md): a carrier may bill an answer that "
        "comes as the caller gives up",
    ),
    Reason.TOO_MANY_MESSAGES: (
        "voicemail was due, and the same caller has left too many messages for this number",
        "who calls so? `charging.messages_an_hour` is the limit (docs/security.md)",
    ),
    Reason.NO_ROOM: (
        "voicemail was due, and the switch's disk for messages is nearly full; or the ledger's disk is full",
        "make room on the disk of /var/spool/asterisk/voicemail, or of `ledger.url`, or give it one of its own",
    ),
    Reason.TOO_MANY_CALLS: (
        "as many calls of the account ran as its plan allows at once",
        "`charging calls --account ACCOUNT` shows those that run; `calls_at_once` of the plan is the limit",
    ),
    Reason.DAY_LIMIT: (
        "the plan's limit of credit a day was reached",
        "it opens again at midnight; `credit_a_day` of the plan is the limit",
    ),
    Reason.NO_CREDIT: (
        "neither free minutes nor credit sufficed for the first seconds",
        "a top-up works at once: `charging top-up ACCOUNT AMOUNT`; what others held is free when they end",
    ),
    Reason.FORWARD_FAILED: (
        "it was forwarded, and the phone was busy, declined or did not answer",
        "`detail` is how the dialling ended; CHANUNAVAIL or CONGESTION is the trunk's: see the switch's log",
    ),
    Fallback.LEDGER_UNAVAILABLE: (
        "the ledger could not be asked, or did not answer in time",
        "look at /health and the store's own log; what was reserved by then is given back",
    ),
    Fallback.SWITCH_SILENT: (
        "the switch had not been heard over AMI for longer than `charging.horizon_s`",
        "`charging check --live`; a call could not have been charged while it ran",
    ),
    Fallback.UNPROVEN: (
        "the switch, asked over AMI, had no such call",
        "the caller hung up just then; or a stranger asks: check `agi.allow` (docs/security.md)",
    ),
    Fallback.DECLINED: (
        "this daemon left the question to the one that looks after the call",
        "its decision stands beside this one; if there is none, that daemon was away",
    ),
    Fallback.TOO_LATE: (
        "the decision took longer than `agi.request_timeout_s`, or the daemon was told to stop",
        "see charging_agi_seconds and charging_ledger_operation_seconds of that moment",
    ),
    Fallback.NOT_DELIVERED: (
        "the answer could not be told to the dialplan",
        "the caller hung up, or the dialplan's guard had passed; the session's CDR tells whether anything was charged",
    ),
    Fallback.FAILED: ("the program failed", f"{_LOOK} and report it"),
    TurnedAway.NO_NUMBER: (
        "what was dialled is no number (an optional +, then digits): the switch said so itself (404)",
        "see the INVITE's request line (`pjsip set logger on`): the number's digits that could be read stand here",
    ),
    TurnedAway.CROWD: (
        "too many came at once: the switch turned this one away by itself",
        "a flood, or a daemon that stands still? See docs/monitor.md, CHARGING_ASKING_… and CHARGING_VAIN_…",
    ),
    TurnedAway.MAILBOX_FULL: (
        "the mailbox has as many new messages as it takes: the switch turned this caller away by itself (busy)",
        "have its subscriber listen to them, and delete some; more fit with CHARGING_VOICEMAIL_MESSAGES and maxmsg",
    ),
    Fallback.UNDECIDED: (
        "no daemon gave the switch a decision (this is the switch's own note, at the call's end)",
        "did a daemon run then? Would `charging check --live` find it? See the switch's log of that moment",
    ),
}


def explanation(decided: Decided) -> str:
    """What became of the call and why, in a sentence."""
    outcome = _OUTCOMES.get(decided.outcome, decided.outcome)
    why = _WORDS.get(decided.reason, (decided.reason, ""))[0]
    if decided.outcome == Decision.REJECT and decided.message_price:
        if decided.message_refusal == Unsold.DAY_LIMIT:
            return f"{outcome}: {why}, and of the plan's credit a day too little was left for a voicemail message"
        return f"{outcome}: {why}, and credit did not suffice for a voicemail message either"
    return f"{outcome}: {why}"


def advice(decided: Decided) -> str:
    """What to do about it; empty: nothing."""
    words = _WORDS.get(decided.reason, ("", _LOOK))[1]
    if decided.message_refusal == Unsold.DAY_LIMIT and decided.reason != Reason.DAY_LIMIT:
        words = f"{words}; for messages: {_WORDS[Reason.DAY_LIMIT][1]}"
    number = "" if decided.number.endswith(HIDDEN) else decided.number
    return words.replace("ACCOUNT", decided.account or "ACCOUNT").replace("NUMBER", number or "NUMBER")


def bodies(text: str) -> list[Decided]:
    """The decisions of a stored document. Raises AttributeError, KeyError, TypeError or ValueError where it is
    damaged."""
    return [Decided.from_plain(one) for one in json.loads(text)]


def body(decisions: list[Decided]) -> str:
    """The same, to be stored."""
    return json.dumps([one.to_plain() for one in decisions], ensure_ascii=False, separators=(",", ":"))
