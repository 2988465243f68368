"""A session: all that is known of one charged call, as one frozen record. Pure.

The record is stored with the money, as JSON text. A daemon that starts later goes on by the prices and rules that the
call started with. Every field is stored unless it is declared `VOLATILE` (`charging.records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from charging.clock import MICROSECONDS, Instant
from charging.ledger.model import Balance, Transfer
from charging.pricing.rate import Funding, Rate, Segment
from charging.records import NEWER, RECORD, ROW, VOLATILE, Codec, dataclass, moved_instants, replace

RECORD_VERSION = 1

STEPS_MAX = 8
"""So many steps of the wall clock during one call are told apart."""

UNBOUND_MS = 10**12
"""Longer than any call: about thirty years."""

LOOKS_FOR_CALLER = 2
"""So many find neither the caller's channel nor one that bears the session's name, a moment apart, before a decision
counts as lost with him: one that was put into his place has its name only once it has the decision."""

PICKED_UP = "picked_up"
"""Why a call was ended (`Session.hangup_reason`) that another phone took over while it rang."""


class LoopEvidence(StrEnum):
    """How to recognise a forward that comes back to the number while it rings. Diversion and History-Info always count,
    and so does a caller who shows the called number or that of the phone that rings."""

    HEADERS = "headers"
    """By nothing else."""
    CALLER = "caller"
    """By the same shown caller: two people behind one switchboard number are taken for one."""
    ANY = "any"
    """By two withheld or two unknown callers, too, who are taken for one."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's settings that the core decides by, in seconds unless the name says otherwise."""

    tick_s: int = 60
    horizon_s: int = 60
    """Quota is always reserved this far ahead, as long as funds allow: so long may a daemon be away."""
    warn_before_s: int = 60
    """At most ``horizon_s``: a call knows its own end that early, because it has reserved that far."""
    answer_tolerance_ms: int = 200
    """Comes off a call's length before rounding up, for the switch's own lateness in cutting; not off its first
    second."""
    ring_s: int = 30
    setup_timeout_s: int = 10
    """How long after a decision its dialling must have begun, before the switch is asked."""
    black_box_wait_s: int = 5
    proof_max_age_s: int = 6
    """A tick charges nothing over a link that has been silent for longer than this."""
    backstop_s: int = 5
    """How much later than the subscriber's leg the caller's is cut, should it live on alone."""
    retry_s: int = 1
    """Between two attempts at a ledger or switch that does not answer."""
    short_poll_s: int = 0
    """How often a call that runs out looks for money, where other daemons share the ledger and may learn
    of it (R22); 0: this daemon is told itself."""
    clock_jump_ms: int = 2000
    """The wall and monotonic clocks may differ by so much before the smaller duration is billed."""
    given_up_a_minute: int = 20
    """So many calls of one caller to one number may end uncharged in the long run; 0: as many as come."""
    messages_an_hour: int = 10
    """So many messages of one caller to one number are taken in the long run; 0: as many as come."""
    keep_withheld: bool = False
    """Whether the operator keeps numbers that their callers withhold, for his own eyes."""
    loop_evidence: LoopEvidence = LoopEvidence.CALLER
    drain_s: int = 0
    """While the switch is about to be restarted: quota is reserved so far ahead; 0: it is not."""
    refuses_new: bool = False
    """Whether new calls are turned away meanwhile."""

    @property
    def reach_s(self) -> int:
        """How many seconds ahead a call reserves, as long as its funds allow."""
        return max(self.horizon_s + self.tick_s, self.drain_s)

    @property
    def is_shared(self) -> bool:
        """Whether other daemons share the ledger, and so may open sessions of this switch."""
        return self.short_poll_s > 0


class Context(NamedTuple):
    """What every step of a session is given besides the session and the event."""

    now: Instant
    policy: Policy

    def in_s(self, seconds: float) -> int:
        """The monotonic reading, in µs, that many seconds from now."""
        return self.now.mono_us + round(seconds * MICROSECONDS)

    def is_due(self, mono_us: int | None) -> bool:
        """Whether a wake-up is set and its moment has come."""
        return mono_us is not None and mono_us <= self.now.mono_us


class State(StrEnum):
    """The state of a session. `table.py` has the transitions."""

    RESERVED = "reserved"
    """The decision is made and its money set aside; nothing is dialled yet."""
    RINGING = "ringing"
    RUNNING = "running"
    """Answered: the paid time runs."""
    ENDING = "ending"
    """The call is over; how long it lasted is being found out."""
    SETTLING = "settling"
    """How long it lasted is decided and stored; the money is being booked."""
    CLOSED = "closed"


class Short(StrEnum):
    """Why a reservation ends before the horizon."""

    NO = "no"
    MONEY = "money"
    """The account's free seconds and credit are used up: the subscriber is warned."""
    DAY = "day"
    """The plan's credit a day is used up: no warning, it is not about money."""
    CAP = "cap"
    """The plan's longest call: no warning. Sessions of older versions say so of the credit a day as well."""
    COST = "cost"
    """The rate's maximum, where it ends calls: no warning, no top-up moves it."""


class Proof(StrEnum):
    """The evidence for a call's length."""

    BLACK_BOX = "black_box"
    EVENTS = "events"
    UNPROVEN = "unproven"
    """Nothing but the last second at which the call was seen alive."""
    CLOCK_JUMP = "clock_jump"
    """The clocks disagreed: the smaller duration."""
    NEVER_ANSWERED = "never_answered"


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a call lasted; decided once, never changed."""

    used_ms: int
    """As measured, before the tolerance."""
    billed_s: int
    """Whole seconds that count, before increments; never more than the funding covers."""
    overrun_s: int
    """Seconds beyond the paid deadline: not the customer's cost, but an alarm."""
    proof: Proof
    ended_us: int
    """Wall clock."""
    newer: Annotated[tuple[Any, ...], NEWER] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """A transfer whose outcome is not known yet, and what it does to the session once it is applied."""

    transfer: Transfer
    grants: tuple[Transfer, ...]
    funding: Funding
    fixed_s: int
    short: Short
    since_mono_us: int
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Means:
    """What may pay for a message before bought credit does."""

    promos: Mapping[str, int] = field(default_factory=dict)
    """Micro-euro of promotional credit, by balance."""
    free: tuple[str, ...] = ()
    """The included message that does, by balance; empty: none is left."""
    grants: tuple[Transfer, ...] = ()
    """Those that are due of it."""


@dataclass(frozen=True, slots=True)
class Session:
    """One charged call."""

    id: str
    account: str
    number: str
    caller: str
    """Empty where it is unknown, or withheld and not kept (`Policy.keep_withheld`)."""
    target: str
    plan: str
    language: str
    switch: str
    reason: str
    """Why it was forwarded: ``free_minutes`` or ``credit``."""
    rate: Annotated[Rate, RECORD]
    free_seconds: int
    """The plan's free seconds a month: what a bundle that is not there yet will hold."""
    max_calls: int
    day: str
    """The day, in the operator's zone, whose spending the call counts towards: that of its set-up."""
    day_cap: int | None
    """Micro-euro that may be spent on that day."""
    opened: Instant
    caller_uid: str
    epoch: int = 0
    withheld: bool = False
    """The caller does not want his number to be told: no customer sees it."""

    state: State = State.RESERVED
    callee_uid: str = ""
    dial_status: str = ""
    answered: Instant | None = None
    """By our clocks, when the switch's word arrived."""
    anchored: Annotated[bool, VOLATILE] = True
    """Whether ``answered`` is to be relied upon. Not where the switch's word came late, nor in a new process, which
    knows of it by the time of day alone: then the switch is asked how long the call has lasted, before anything is
    charged, warned of or moved."""
    answered_us: int | None = None
    """By the switch's own stamp."""
    inferred: bool = False
    """Whether the answer was not reported: both readings of it come from the switch's countdown."""
    steps: tuple[tuple[int, int], ...] = ()
    """How the wall clock was stepped since the answer, as the watch of the clocks saw it: how many ms after the answer,
    and by how many µs. The oldest of many are added up."""
    unwatched: tuple[tuple[int, int], ...] = ()
    """When the clocks had been read last before a step: ``(seen_ms, since_ms)``, both after the answer (negative:
    before it). A daemon that was frozen sees a step long after it came. Records of before have none: it came when it
    was seen."""
    boot: str = ""
    """Which boot of which machine kept it last (`charging.clock.Clock.boot`); empty in records of before."""
    read_mono_us: int = 0
    """When, by its monotonic clock, the clocks were read for the record: at the set-up, and after each step."""
    apart_us: int = 0
    """By how much the wall clock was ahead of the monotonic one then."""
    stepped_mono_us: Annotated[int | None, VOLATILE] = None
    """When the last step was seen."""
    begun_mono_us: int | None = None
    """When it was set up, by the monotonic clock of ``boot``: no call has lasted longer than since then. ``None``: not
    known, as another boot has kept it since, or the record is one of before."""
    reckoned: Annotated[bool, VOLATILE] = False
    """Another process knew of its end, and when that was is reckoned back from the time of day."""
    even_mono_us: int | None = None
    """Until when, by the same clock, no step was seen since the set-up; ``None``: none was seen at all."""
    technology: str = ""
    """Of the bridge; empty until it is joined."""
    left: Instant | None = None
    left_us: int | None = None
    caller_left: Annotated[bool, VOLATILE] = False
    """Whether the caller's channel left its bridge too, as it does where the call is over."""
    kept_alone: Annotated[bool, VOLATILE] = False
    """Whether nobody but the forwarded leg was left in the bridge then, and a prompt was being played: one by feature
    code keeps the leg on the line until it is over, and each second of that would be paid for. Or it is the first
    there, and nobody has come yet: a switch that has no descriptor left for the caller's place leaves it so."""
    replaced_by: Annotated[str, VOLATILE] = ""
    """The unique id of a channel of no session that took the forwarded leg's place in its bridge, by an event."""
    ended: Instant | None = None
    caller_gone: bool = False
    never_dialled: Annotated[bool, VOLATILE] = False
    """Whether its caller left before any leg was made, and the switch, asked, knows of nobody: nobody writes a record
    any more."""
    doubted: Annotated[int, VOLATILE] = 0
    """Which look comes next for the channel of a caller of whom it is not known whether he got the decision, the first
    being 1; 0: it is not in doubt."""
    confirmed: bool = False
    """Whether the switch, asked about the forwarded leg alone, has said that it is answered and speaks. Until then
    events alone say so, and nothing is charged by them, no channel that they name is given an order. In a new process
    it is asked again."""
    vouched: Annotated[bool, VOLATILE] = False
    """Whether it had said so to the process before this one, of the same clocks. Such a call, with money, is paid ahead
    before the switch is asked again: thousands wait for that after an outage."""
    proven_ms: int = 0
    """So long after the answer the call was last known to be alive."""
    seen_ms: int = 0
    """The same by the switch's own word: it was asked, and the leg, once confirmed, was in its bridge."""

    sequence: int = 1
    """Of the next transfer."""
    funding: tuple[Annotated[Segment, ROW], ...] = ()
    fixed_s: int = 0
    """The end of the seconds that are settled."""
    posted: Mapping[str, int] = field(default_factory=dict)
    """What the call has cost so far, by balance."""
    held: Mapping[str, int] = field(default_factory=dict)
    promos: Annotated[Mapping[str, int], VOLATILE] = field(default_factory=dict)
    """What it may take of promotional credit at its end, by balance, where that is more than it holds: its last ticks
    were lost, or its price rose. Empty: what it holds."""
    short: Short = Short.NO
    pending: Annotated[Pending | None, VOLATILE] = None
    replans: Annotated[int, VOLATILE] = 0
    """Refused attempts since the last that was applied."""

    enforced_s: int = 0
    """Seconds after the answer at which the switch will cut, as far as we know."""
    ahead: Annotated[bool, VOLATILE] = False
    """Whether the record does not know what has paid for those seconds: until the next tick has asked for the money."""
    doubtful_s: tuple[int, ...] = ()
    """Later ones that it was told since, without our having heard whether it obeyed; the last few."""
    warned: bool = False
    prompting: Annotated[bool, VOLATILE] = False
    """Whether a prompt was ordered of which it is not known yet what became of it."""
    prompts: int = 0
    message_left: bool = False
    """The dialplan's fallback took a voicemail message, which is to be charged once the forward is booked."""
    turning: Annotated[Transfer | None, VOLATILE] = None
    """The transfer by which a failed forward becomes a paid voicemail, while its outcome is not known."""
    turning_price: Annotated[int, VOLATILE] = 0
    turning_means: Annotated[Means, VOLATILE] = field(default_factory=lambda: Means())
    """What may pay that."""
    hangup_reason: str = ""
    """In the words of whoever ordered the end."""
    cut_by: str = ""
    """``operator``, ``transfer`` or ``overdue``, where the end was ordered."""
    duration: Annotated[Duration, ROW] | None = None
    recorded: Annotated[bool, VOLATILE] = False
    """Whether the switch's own record was read before the length was decided."""
    deadline_due: Annotated[bool, VOLATILE] = False
    """Whether the deadline is to be set once the call is confirmed."""

    check_mono_us: Annotated[int | None, VOLATILE] = None
    """When to ask the switch what it knows."""
    tick_mono_us: Annotated[int | None, VOLATILE] = None
    look_mono_us: Annotated[int | None, VOLATILE] = None
    """When to look whether another daemon has booked money that lets the call go on."""
    seen: Annotated[Mapping[str, Balance] | None, VOLATILE] = None
    """The balances by which the last such look found nothing more."""
    retry_mono_us: Annotated[int | None, VOLATILE] = None
    """When to try the ledger or the switch again."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)

    @property
    def stepped_us(self) -> int:
        """The sum of all steps of the wall clock since the answer, in µs."""
        return sum(by_us for _, by_us in self.steps)

    @property
    def follows(self) -> int:
        """The number of the last transfer that was applied."""
        return self.sequence - 1

    @property
    def granted_as(self) -> str:
        """The edition of the plan under which the session makes grants of the month's bundle."""
        return self.rate.granted_as or self.plan

    @property
    def covered_s(self) -> int:
        """How many seconds from the answer are paid: settled or reserved, and within the longest call."""
        return min(self.funding[-1].end_s, self.rate.max_call_s) if self.funding else 0

    @property
    def start_us(self) -> int:
        """The moment from which the call is priced (wall clock, µs): the switch's stamp of the answer, else our reading
        of it; before the answer, the set-up."""
        if self.answered_us is not None:
            return self.answered_us
        return self.opened.wall_us if self.answered is None else self.answered.wall_us

    @property
    def was_answered(self) -> bool:
        """Whether the call was answered, by an event or by the switch's record alone."""
        return self.answered is not None or self.answered_us is not None

    @property
    def due_us(self) -> int:
        """When the reservation ends (wall clock, µs). By then the call should be over, and soon afterwards booked."""
        return self.start_us + self.covered_s * MICROSECONDS

    def elapsed_ms(self, mono_us: int) -> int:
        """Milliseconds from the answer to a monotonic reading in µs; 0 before the answer."""
        return 0 if self.answered is None else max(0, (mono_us - self.answered.mono_us) // 1000)

    def stepped(self, by_us: int, mono_us: int, since_mono_us: int) -> Session:
        """Add a step of the wall clock by ``by_us``, seen at ``mono_us``; it came after ``since_mono_us``, when the
        clocks had been read last. All are µs."""
        seen_ms = self.elapsed_ms(mono_us)
        since_ms = 0 if self.answered is None else (since_mono_us - self.answered.mono_us) // 1000
        steps, since = (*self.steps, (seen_ms, by_us)), dict(self.unwatched)
        since[seen_ms] = min(since.get(seen_ms, seen_ms), since_ms)
        if len(steps) > STEPS_MAX:
            (first_ms, first_us), (at_ms, second_us), *later = steps
            steps = ((at_ms, first_us + second_us), *later)
            since[at_ms] = min(since.pop(first_ms, first_ms), since.get(at_ms, at_ms))
        even_us = since_mono_us if self.even_mono_us is None else self.even_mono_us
        unwatched = tuple(since.items())
        return replace(self, steps=steps, unwatched=unwatched, stepped_mono_us=mono_us, even_mono_us=even_us)

    def read_on(self, boot: str, now: Instant) -> Session:
        """Note a reading of the clocks on this ``boot``. It includes every step that is known."""
        return replace(self, boot=boot, read_mono_us=now.mono_us, apart_us=now.apart_us)

    def since_set_up_ms(self, mono_us: int) -> int:
        """Milliseconds from the set-up to a monotonic reading in µs, which no call can have lasted by then;
        `UNBOUND_MS` if that is not known."""
        return UNBOUND_MS if self.begun_mono_us is None else max(0, mono_us - self.begun_mono_us) // 1000

    def at(self, second: int) -> Instant:
        """The instant ``second`` seconds after the answer. The session must be answered."""
        assert self.answered is not None, "only an answered call has seconds"
        return self.answered.plus(second)

    def to_json(self) -> str:
        """Return the record as it is stored."""
        return _CODEC.dump(self)


def _steps_of_before(members: dict[str, Any]) -> None:
    """Records of older versions have only the sum of the steps: take it for one step at the answer."""
    if summed_us := members.pop("stepped_us", 0):
        members.setdefault("steps", [[0, summed_us]])


_CODEC = Codec(Session, {"version": RECORD_VERSION}, {"stepped_us": _steps_of_before}, shared="rate", sparse=True)

is_as_written = _CODEC.wrote
"""Whether a text begins as sessions do."""


def from_json(text: str, now: Instant, epoch: int, boot: str = "") -> Session:
    """Read a stored session for this process. ``boot`` names the reader's clocks: if the record was kept on the same
    boot, its monotonic readings stay valid; on another, they are made again from the time of day. Raises ValueError if
    the text is no such record."""
    stored = _CODEC.load(text)
    is_own = bool(boot) and stored.boot == boot
    then = Instant(now.mono_us, now.mono_us + stored.apart_us) if is_own else now
    # Set-up and answer were read before all steps in the record.
    moved: dict[str, Any] = moved_instants(stored, then, stored.stepped_us, before_steps=("opened", "answered"))
    if not is_own:
        moved |= {"begun_mono_us": None, "even_mono_us": None}
    elif (begun_us := stored.begun_mono_us) is not None:
        moved["opened"] = Instant(begun_us, stored.opened.wall_us)
        if (answered := moved.get("answered")) is not None:
            moved["answered"] = Instant(max(begun_us, answered.mono_us), answered.wall_us)
    seen_us = then.mono_us - (then.wall_us - stored.read_mono_us - stored.apart_us) if _tells_when(stored) else None
    acts = _first_acts(stored.state, now)
    return replace(
        stored,
        **moved,
        **acts,
        epoch=epoch,
        anchored=stored.answered is None,
        confirmed=False,
        vouched=stored.confirmed and is_own,
        stepped_mono_us=seen_us,
        reckoned=stored.left is not None or stored.ended is not None,
    )


def _tells_when(stored: Session) -> bool:
    """Whether the record says when the last step was seen; on another boot, by the time of day."""
    return bool(stored.steps and stored.read_mono_us)


def _first_acts(state: State, now: Instant) -> dict[str, Any]:
    """When a session in this state does what first in a new process: it books if the length is decided, else asks the
    switch. A running one ticks after a second."""
    if state is State.SETTLING:
        return {"retry_mono_us": now.mono_us}
    tick = now.mono_us + MICROSECONDS if state is State.RUNNING else None
    return {"check_mono_us": now.mono_us, "tick_mono_us": tick}
