"""The sessions of this daemon's switch: which are open, whose turn it is, which are booked; and what reaches them:
events, money, steps of the clock, drains.

Sessions wait most of the time: one queue of deadlines holds when each wants to be woken. Those that are due within the
same stretch of :data:`TOGETHER_US` act at one moment, and ask together (`runner.Questions`). If very many have
something to do at once (after an outage, say), a limited number acts at a time, and then the one whose paid time ends
first. `recovery` brings stored ones to life, `black_boxes` sees to the switch's records of them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import NoReturn

from charging.call.commands import Find, Forget
from charging.call.decide import source_of
from charging.call.events import ClockJumped, Draining, Event, FundsChanged, SessionSwitchEvent
from charging.call.fax import Fax
from charging.call.missed_steps import SeenStep, with_missed_steps
from charging.call.model import STEPS_MAX, Policy, Session, Short, State
from charging.call.storage import Record, overdue_s, revive
from charging.call.switch_events import ChannelReplaced, SwitchEvent
from charging.call.voicemail import Voicemail
from charging.clock import MICROSECONDS, Bell, Clock, Instant, WatchedClock, parted_us
from charging.engine import told
from charging.engine.closed import ClosedRecords
from charging.engine.early import EarlyEvents, OpenedAside
from charging.engine.findings import Booked, Findings, Kind, booked_unread
from charging.engine.looker import Looker
from charging.engine.paid_first import PaidFirst
from charging.engine.ports import Observer, Switch
from charging.engine.runner import Questions, SessionRunner, leg_of
from charging.engine.turns import Acting
from charging.engine.uncharged import Uncharged
from charging.ledger.model import OpenSession
from charging.ledger.port import Ledger
from charging.tasks import Tasks

TOGETHER_US = 100_000
"""What falls due within one such stretch is woken at its end: at most so much later than it wished. A tick is due a
whole horizon before its call's money ends."""

AT_ONCE_MAX = 1600
"""Sessions that act at the same time: while as many as share a commit wait for the ledger's thread, there is enough to
do for the loop's."""

A_TURN_MAX = 32
"""Sessions that go on within one turn of the loop: new callers wait no longer than for these."""

DELETE_AT_ONCE_MAX = 500
"""Records of one order: a busy switch's calls of ten seconds."""

EXPLAINED_MAX = 10_000
"""Calls over which nobody decided, remembered so that none is kept twice."""

NO_SESSION = "nosession-"
"""How the black box's key of a call begins that never got a session."""

UNREAD_MAX = 20_000
"""Sessions that closed without their record, remembered with what they were booked as; the CDR tells it of older
ones."""


# --- which are open -----------------------------------------------------------------------------------------------


class OpenSessions:
    """Their runners, the oldest first: found by session, account and forwarded leg, and counted."""

    def __init__(self, clock: Clock, horizon_s: int) -> None:
        """``horizon_s``: so far ahead a running call is paid."""
        self.runners: dict[str, SessionRunner] = {}
        self._clock = clock
        self._horizon_s = horizon_s
        self._of_account: defaultdict[str, dict[str, SessionRunner]] = defaultdict(dict)
        self._of_leg: dict[str, SessionRunner] = {}
        self._closed_meanwhile: set[str] | None = None

    def add(self, runner: SessionRunner) -> None:
        """Add a session that opens or comes to life."""
        session = runner.session
        self.runners[session.id] = self._of_account[session.account][session.id] = runner
        self.leg_changed(runner, "", leg_of(session))

    def remove(self, runner: SessionRunner) -> bool:
        """Remove a session that is closed or was stopped. ``False`` if this runner is not among them."""
        session = runner.session
        if self.runners.get(session.id) is not runner:
            return False
        del self.runners[session.id]
        self.leg_changed(runner, leg_of(session), "")
        of_account = self._of_account[session.account]
        del of_account[session.id]
        if not of_account:
            del self._of_account[session.account]
        if self._closed_meanwhile is not None and session.state is State.CLOSED:
            self._closed_meanwhile.add(session.id)
        return True

    def watch_closing(self, watch: bool) -> set[str]:
        """Return a set to which every session is added that closes from now on, until it is called with ``False``:
        whoever asks the ledger for the open sessions may be answered as if those were open."""
        found: set[str] = set()
        self._closed_meanwhile = found if watch else None
        return found

    def leg_changed(self, runner: SessionRunner, was: str, now: str) -> None:
        """The forwarded leg's unique id was ``was`` and is ``now``; empty if there is no leg."""
        if self._of_leg.get(was) is runner:
            del self._of_leg[was]
        if now:
            self._of_leg[now] = runner

    def find(self, session: str) -> SessionRunner | None:
        """Return the runner of an open session, or ``None``."""
        return self.runners.get(session)

    def of_leg(self, uid: str) -> SessionRunner | None:
        """Return the runner whose forwarded leg has this unique id, or ``None``."""
        return self._of_leg.get(uid)

    def calls(self) -> list[Session]:
        """Return every forwarded call, the oldest first."""
        calls = (one.session for one in self.runners.values())
        return sorted((one for one in calls if isinstance(one, Session)), key=lambda one: one.opened.wall_us)

    def calls_of(self, account: str) -> list[Session]:
        """Return every forwarded call of the account, the oldest first; other accounts' calls cost no time."""
        calls = (one.session for one in self._of_account.get(account, {}).values())
        return sorted((one for one in calls if isinstance(one, Session)), key=lambda one: one.opened.wall_us)

    def unanswered(self, account: str) -> list[Session]:
        """Return the account's forwarded calls that are not answered yet, dialled or not."""
        return [one for one in self.calls_of(account) if one.state in (State.RESERVED, State.RINGING)]

    def faxes(self) -> list[Fax]:
        """Return every fax that is being sent or not booked yet."""
        return [one.session for one in self.runners.values() if isinstance(one.session, Fax)]

    def counts(self) -> Counter[State]:
        """Count the forwarded calls in each state."""
        return Counter(one.session.state for one in self.runners.values() if isinstance(one.session, Session))

    def overdue_s(self) -> int:
        """For how many seconds the most overdue session has been open beyond its end; 0 if none is overdue."""
        now = self._clock.now()
        return max((overdue_s(one.session, now) for one in self.runners.values()), default=0)

    def tick_overdue_s(self) -> float:
        """For how many seconds the most overdue tick of a running call has been due; 0 if none is."""
        calls = (one.session for one in self.runners.values())
        due_us = (one.tick_mono_us for one in calls if isinstance(one, Session) and one.state is State.RUNNING)
        now_us = self._clock.now().mono_us
        return max((now_us - one for one in due_us if one is not None and one < now_us), default=0) / MICROSECONDS

    def are_paid_ahead(self) -> bool:
        """Whether the switch has confirmed every running call and cuts none within 0.9 horizons, unless its money ends
        before. Among many calls one tick is always just due, so a tenth of the horizon is allowed for."""
        least_us = self._clock.now().plus(self._horizon_s * 0.9).mono_us
        # The last to be cut is the last to be paid: going backwards finds an unpaid call at once.
        calls = (one.session for one in reversed(self.runners.values()))
        running = (one for one in calls if isinstance(one, Session) and one.state is State.RUNNING)
        return all(
            one.confirmed and (one.short is not Short.NO or one.at(one.enforced_s).mono_us >= least_us)
            for one in running
        )


# --- whose turn it is ---------------------------------------------------------------------------------------------


class Rounds:
    """Gives the sessions of one switch their turns. An event (`SessionRunner.offer`) or a moment (`run`) has it `take`
    a session, which then goes on (`_go_on`) until it waits; what was asked meanwhile is put as one question each, and
    `answer` lets those who asked go on."""

    def __init__(
        self,
        ledger: Ledger,
        switch: Switch,
        looker: Looker,
        clock: Clock,
        observe: Observer,
        leads: Callable[[], bool],
    ) -> None:
        """``leads`` says whether this daemon may give orders to the switch."""
        self.clock = clock
        self.questions = Questions(self, ledger, switch, looker, observe, leads)
        self._due: dict[int, dict[Acting, None]] = {}
        """Who wants to be woken, by the end of the stretch in which that is."""
        self._ends: list[int] = []
        """The ends of those stretches: a heap."""
        self._rests_until_us: int | None = None
        self._sooner = Bell(clock)
        self._failure: BaseException | None = None
        self._ready: deque[Acting] = deque()
        """Who goes on in the next turn of the loop."""
        self._is_called = False
        self._acting = 0
        self._waiting: list[tuple[int, int, Acting]] = []
        """Who acts once others are through: a heap, by when each is cut."""
        self._order = count()
        self._is_over = False

    # --- when -------------------------------------------------------------------------------------------------

    def wake_at(self, acting: Acting, at_us: int | None) -> None:
        """Wake the session at ``at_us`` (monotonic, µs) instead of any earlier wish; ``None``: do not wake it."""
        if acting.alarm_us == at_us:
            return
        if acting.alarm_us is not None:
            self._due.get(_end_of(acting.alarm_us), {}).pop(acting, None)
        acting.alarm_us = at_us
        if at_us is None:
            return
        end_us = _end_of(at_us)
        if end_us not in self._due:
            self._due[end_us] = {}
            heapq.heappush(self._ends, end_us)
        self._due[end_us][acting] = None
        if self._rests_until_us is None or end_us < self._rests_until_us:
            self._sooner.ring()

    async def run(self) -> NoReturn:
        """Wake sessions when they are due, for ever. Raises the error that a session failed with: it is a fault of the
        program."""
        try:
            while self._failure is None:
                self._wake_due()
                self._rests_until_us = self._ends[0] if self._ends else None
                await self._sooner.rest_until(self._rests_until_us)
            raise self._failure
        finally:
            self._is_over = True
            await self.questions.end()

    def _wake_due(self) -> None:
        now_us = self.clock.now().mono_us
        while self._ends and (self._ends[0] <= now_us or not self._due[self._ends[0]]):
            for acting in self._due.pop(heapq.heappop(self._ends)):
                acting.alarm_us = None
                acting.wake()

    # --- whose turn -------------------------------------------------------------------------------------------

    def take(self, acting: Acting) -> None:
        """Give the session a turn, now or when another has finished."""
        if self._acting < AT_ONCE_MAX:
            self._acting += 1
            self.again(acting)
        else:
            heapq.heappush(self._waiting, (self._cut_at_us(acting), next(self._order), acting))

    def again(self, acting: Acting) -> None:
        """Let the session go on in the next turn of the loop."""
        self._ready.append(acting)
        self.call_soon()

    def call_soon(self) -> None:
        """Take the next turn of the loop, for what waits to be asked."""
        if not self._is_called and not self._is_over:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_called = False
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised by run
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Have `run` raise the error: it is a fault of the program."""
        self._failure = self._failure or error
        self._sooner.ring()

    def _go_on(self) -> None:
        if self._is_over:
            return
        for _ in range(min(len(self._ready), A_TURN_MAX)):
            if self._ready.popleft().go_on():
                self._next()
        self.questions.put()
        if self._ready:
            self.call_soon()

    def answer(self, answers: Sequence[tuple[Acting, Event | None]]) -> None:
        """Give each session its answer, and let them go on at once."""
        for acting, event in answers:
            acting.answered(event)
            self._ready.append(acting)
        self._go_on()

    def _next(self) -> None:
        """One session has finished: another acts in its place."""
        if self._waiting:
            self.again(heapq.heappop(self._waiting)[2])
        else:
            self._acting -= 1

    def _cut_at_us(self, acting: Acting) -> int:
        """When a running call is cut, as a monotonic reading; any other session counts as due now, since it holds up a
        caller or other calls' money."""
        session, now = acting.session, self.clock.now()
        return now.mono_us + max(0, session.due_us - now.wall_us) if session.state is State.RUNNING else now.mono_us


# --- which are booked ---------------------------------------------------------------------------------------------


class BookedRecords:
    """What is known of the black box's records: the keys of those that are booked, in the order in which they were.

    The switch does not tell whether it deleted a record, so nothing is taken on trust: a record counts as deleted when
    a look at the black box no longer shows it, and is ordered deleted until then.
    """

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._ordered: set[str] = set()
        """Since the last look."""
        self._unread: OrderedDict[str, Booked] = OrderedDict()
        self._explained: OrderedDict[str, None] = OrderedDict()
        self.shown: frozenset[str] = frozenset()
        """Keys that the last look at the black box showed."""

    def add_unread(self, key: str, booked: Booked) -> None:
        """Note a session that was booked without its record: the record is compared when it comes."""
        self._unread[key] = booked
        while len(self._unread) > UNREAD_MAX:
            self._unread.popitem(last=False)

    def unread(self, key: str) -> Booked | None:
        """What a session was booked as that was booked without its record; ``None`` if it is not known here."""
        return self._unread.get(key)

    def add(self, key: str) -> None:
        """Note that this record is booked."""
        self._keys[key] = None
        self._unread.pop(key, None)

    def explain(self, key: str) -> None:
        """Note that the reason why nothing was decided is kept, for the call of this record."""
        self._explained[key] = None
        while len(self._explained) > EXPLAINED_MAX:
            self._explained.popitem(last=False)

    def is_explained(self, key: str) -> bool:
        """Whether that reason is kept already."""
        return key in self._explained

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def seen(self, boxes: Collection[str]) -> int:
        """Take a look at the black box, by its keys: booked keys that are not among them are gone. Returns how many are
        left that were ordered deleted; it should be 0."""
        self.shown = frozenset(boxes)
        self._keys = {key: None for key in self._keys if key in boxes}
        left = len(self._ordered & self._keys.keys())
        self._ordered.clear()
        return left

    def to_delete(self) -> list[str]:
        """Return the next keys to order deleted, the oldest first, without those that were ordered since the last
        look."""
        keys = list(islice((key for key in self._keys if key not in self._ordered), DELETE_AT_ONCE_MAX))
        self._ordered.update(keys)
        return keys


# --- what reaches them --------------------------------------------------------------------------------------------


class Registry:
    """The sessions' home (see `runner.Home`): takes what happens to the switch, to money and to the clocks, and hands
    it to the sessions that it concerns."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        switch: Switch,
        clock: Clock,
        policy: Policy,
        switch_id: str,
        observe: Observer,
        findings: Findings,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``findings`` keeps what contradicts a booking."""
        self.epoch = 0
        self.leads = leads
        """Whether this daemon is the one that ticks the switch; without a lease there is no other."""
        self.ledger, self.switch, self.observe, self.findings = ledger, switch, observe, findings
        self.clock, self.switch_id = clock, switch_id
        self.policy = self.usual = policy  # a drain changes the first
        self.open = OpenSessions(clock, policy.horizon_s)
        self.booked, self.closed = BookedRecords(), ClosedRecords()
        self.uncharged = Uncharged(policy, clock, observe)
        self.doubts = 1
        """How often our copy of the open sessions was found to be incomplete, or may be (`Recovery` looks)."""
        self._early = EarlyEvents(self.closed if policy.is_shared else None)
        self.aside = OpenedAside(policy.ring_s + policy.setup_timeout_s)
        self.found, self.named = asyncio.Event(), asyncio.Event()
        """Set when the switch names a session that is not open here; the second by events of set-ups."""
        self.steps: deque[SeenStep] = deque(maxlen=STEPS_MAX)
        self._watched = WatchedClock(clock, policy.clock_jump_ms, self._stepped)
        self.now = self._watched.now
        self.looker = Looker(switch)
        self.rounds = Rounds(ledger, switch, self.looker, clock, observe, lambda: self.leads())
        self.paid_first = PaidFirst(self, clock)

    async def run(self) -> NoReturn:
        """Serve the sessions' turns, and watch the clocks, for ever. Raises the error that a session failed with."""
        tasks = Tasks()
        try:
            tasks.begin(self.rounds.run(), "rounds")
            tasks.begin(self._watched.watch(), "clock-watch")
            await tasks.failure()
        finally:
            await tasks.end()
            await self.paid_first.end()

    # --- sessions ---------------------------------------------------------------------------------------------

    def start(self, session: Record, source: str = "") -> None:
        """Let a session that has just opened act: when it is to be checked, or when something reaches it before. On a
        daemon that stands by it does not: the daemon that leads finds it. ``source``: who called (`given_up`)."""
        if self.leads() and self.open.find(session.id) is None:
            runner = self.begin(session)
            runner.source = source
            self.rounds.wake_at(runner, session.check_mono_us)
        elif not self.leads():
            self.aside.add(session, source)

    def begin(self, session: Record) -> SessionRunner:
        """Return the runner of a session that opens or comes to life; it acts when it is woken."""
        runner = SessionRunner(session, self, self.policy)
        self.open.add(runner)
        return runner

    def revive(self, stored: OpenSession) -> SessionRunner:
        """Return the runner of a stored session that has none here: another daemon opened it, or this one before it was
        started. It acts when it is woken (`paid_first`). Raises ValueError (its record cannot be read)."""
        now, boot = self.clock.now(), self.clock.boot
        session = revive(stored.state, now, max(self.epoch, stored.epoch), boot)
        if isinstance(session, Session):
            session = with_missed_steps(session, self.steps, now, boot, self.policy)
        self.observe(told.SessionRestored(session.state), session)
        runner = self.begin(session)
        if isinstance(session, Session) and session.state in (State.RESERVED, State.RINGING):
            for event in self._early.take(session.id):
                runner.offer(event, wakes=False)
            runner.source = "" if session.withheld else source_of(session.caller, session.number)
        return runner

    def ended(self, runner: SessionRunner) -> None:
        """Remove a session that is closed or was stopped."""
        session, now_us = runner.session, self.clock.now().mono_us
        if not self.open.remove(runner) or session.state is not State.CLOSED:
            return
        talked_s = session.duration.billed_s if isinstance(session, Session) and session.duration is not None else 0
        if not talked_s or session.account in self.uncharged.in_vain.accounts:
            self.uncharged.closed(session, runner.booked, runner.source, talked_s)
        if isinstance(session, Voicemail) or (isinstance(session, Session) and session.answered is None):
            self.closed.add_unanswered(session.id, now_us)
        if runner.booked is not None and self.policy.is_shared:
            self.closed.add(runner.booked, now_us)
        self.funds_changed(session.account)

    def doubt(self) -> None:
        """We lost the answer to an opening transfer: reload open sessions at the next audit."""
        self.doubts += 1

    def forget(self, record: Record, how: Forget) -> None:
        """A session is booked: mark its black-box record as booked, so that it is deleted. With `look_again`, first
        book a leftover voicemail message from it; a record that has not been read is compared when it comes."""
        if how.look_again:
            self.doubt()
            self.found.set()
        elif how.recorded:
            self.booked.add(record.id)
        else:
            self.booked.add_unread(record.id, booked_unread(record))

    async def keep_finding(self, session: str, finding: Find) -> None:
        """Keep a finding that contradicts a booking."""
        await self.findings.keep(session, Kind(finding.kind), finding.fields)

    async def pause(self, seconds: float) -> None:
        """Return after ``seconds``."""
        await self.clock.sleep_until(self.clock.now().mono_us + round(seconds * MICROSECONDS))

    # --- what reaches them ------------------------------------------------------------------------------------

    def deliver(self, event: SwitchEvent) -> None:
        """Hand an event of the switch to its session. Events of closed sessions come late; that is normal."""
        if isinstance(event, ChannelReplaced):  # of any channel at all: strangers can make many (INVITE with Replaces)
            runner = self.open.of_leg(event.uid)
        elif isinstance(event, SessionSwitchEvent):
            runner = self.open.find(event.session)
        else:
            return
        if runner is not None:
            runner.told_us = self.clock.now().mono_us
            runner.offer(event)
        elif not self.leads():
            if (over := self.aside.over(event, self.clock.now())) is not None:
                self.uncharged.ended_aside(*over)
        elif self._early.keep(event):
            # Another daemon's desk has opened this session: fetch it, then ask the switch what it has missed.
            if self.policy.is_shared:
                self.named.set()
            self.found.set()

    def funds_changed(self, account: str) -> None:
        """The account can spend more (R22): wake its calls, the oldest first."""
        for session in self.open.calls_of(account):
            self.open.runners[session.id].offer(FundsChanged())

    def reach(self, drain_s: int, *, refuses_new: bool = False) -> None:
        """Reserve ``drain_s`` seconds ahead from now on, running calls at once; 0 ends the drain (`drain`)."""
        if bool(drain_s) != bool(self.policy.drain_s):
            calls = len(self.open.runners)
            self.observe(told.DrainBegun(calls) if drain_s else told.DrainEnded(calls))
        self.policy = policy = replace(self.usual, drain_s=drain_s, refuses_new=refuses_new)
        for session in self.open.calls():
            runner = self.open.runners[session.id]
            runner.policy = policy
            runner.offer(Draining())

    def _stepped(self, before: Instant, after: Instant) -> None:
        """The wall clock was stepped: tell every session. A step moves the switch's deadlines, which are set again at
        once."""
        jumped = ClockJumped(parted_us(before, after), before.mono_us)
        self.observe(told.ClockJumped(jumped.by_us // 1000))
        self.steps.append(SeenStep(after.mono_us, jumped))
        for runner in self.open.runners.values():
            runner.offer(jumped)


def _end_of(at_us: int) -> int:
    """The end of the stretch in which a moment lies."""
    return -(-at_us // TOGETHER_US) * TOGETHER_US
