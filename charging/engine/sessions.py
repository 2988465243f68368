"""The open sessions of this daemon's switch, and what reaches them: events, money, steps of the clock, drains.

`recovery` brings stored ones to life, `black_boxes` sees to the switch's records of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from charging.call.commands import Find, Forget
from charging.call.events import ClockJumped, Draining, FundsChanged, SessionSwitchEvent
from charging.call.fax import Fax
from charging.call.missed_steps import SeenStep
from charging.call.model import STEPS_MAX, Policy, Session, Short, State
from charging.call.storage import Record, overdue_s
from charging.call.switch_events import BridgeEntered, ChannelReplaced, DialEnded, DialStarted, SwitchEvent
from charging.clock import MICROSECONDS, Clock, Instant, WatchedClock, parted_us
from charging.engine import told
from charging.engine.booked import BookedRecords
from charging.engine.closed import ClosedRecords
from charging.engine.findings import Findings, Kind, booked_unread
from charging.engine.looker import Looker
from charging.engine.ports import Observer, Switch
from charging.engine.rounds import Rounds
from charging.engine.runner import SessionRunner, leg_of
from charging.ledger.port import Ledger
from charging.tasks import Tasks


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


class Registry:
    """The sessions' home (see `runner.Home`)."""

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
        self.doubts = 1
        """How often our copy of the open sessions was found to be incomplete, or may be (`Recovery` looks)."""
        self.found = asyncio.Event()
        """Set when the switch names a session that is not open here."""
        self.steps: deque[SeenStep] = deque(maxlen=STEPS_MAX)
        self._watched = WatchedClock(clock, policy.clock_jump_ms, self._stepped)
        self.now = self._watched.now
        self.looker = Looker(switch)
        self.rounds = Rounds(ledger, switch, self.looker, clock, observe, lambda: self.leads())

    async def run(self) -> NoReturn:
        """Serve the sessions' turns, and watch the clocks, for ever. Raises the error that a session failed with."""
        tasks = Tasks()
        try:
            tasks.begin(self.rounds.run(), "rounds")
            tasks.begin(self._watched.watch(), "clock-watch")
            await tasks.failure()
        finally:
            await tasks.end()

    # --- sessions ---------------------------------------------------------------------------------------------

    def start(self, session: Record) -> None:
        """Let an open session act, or go on acting. On a daemon that stands by nothing starts: the daemon that leads
        finds it."""
        if self.leads() and self.open.find(session.id) is None:
            self.begin(session).wake()

    def begin(self, session: Record) -> SessionRunner:
        """Return the runner of a session that opens or comes to life; it acts when it is woken."""
        runner = SessionRunner(session, self, self.policy)
        self.open.add(runner)
        return runner

    def ended(self, runner: SessionRunner) -> None:
        """Remove a session that is closed or was stopped."""
        session, now_us = runner.session, self.clock.now().mono_us
        if not self.open.remove(runner) or session.state is not State.CLOSED:
            return
        if isinstance(session, Session) and session.answered is None:
            self.closed.add_unanswered(session.id, now_us)
        if runner.booked is not None and self.policy.is_shared:
            self.closed.add(runner.booked, now_us)
        self.funds_changed(session.account)

    async def lay_down(self) -> None:
        """Let go of every session and change nothing: another daemon ticks the switch, or may."""
        runners = list(self.open.runners.values())
        for runner in runners:
            runner.stop()
        await self.rounds.questions.end()
        for runner in runners:
            self.ended(runner)
        self.doubt()

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
        elif isinstance(event, DialStarted | DialEnded | BridgeEntered) and self.leads():
            # Another daemon's desk has opened this session: fetch it, then ask the switch what it has missed.
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
