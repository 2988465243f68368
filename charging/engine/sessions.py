"""All open sessions of this daemon's switch: starting, finding, waking and recovering them.

Recovery is the ordinary start. Whenever the AMI link comes up (the first time too), every open session of the switch is
read from its stored record, is given what the switch knows of it, and goes on or ends by that.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import NoReturn

from charging.call.commands import Find, Forget
from charging.call.events import BlackBoxRead, ClockJumped, Draining, FundsChanged, SessionSwitchEvent, SwitchRestarted
from charging.call.fax import Fax
from charging.call.missed_steps import SeenStep, with_missed_steps
from charging.call.model import STEPS_MAX, Policy, Session, Short, State
from charging.call.storage import Record, overdue_s, revive
from charging.call.switch_events import BridgeEntered, ChannelReplaced, DialEnded, DialStarted, SwitchEvent
from charging.call.told import SessionReasserted
from charging.clock import MICROSECONDS, Clock, Instant, WatchedClock, parted_us
from charging.engine import told
from charging.engine.booked import DELETE_AT_ONCE_MAX, BookedRecords
from charging.engine.closed import ClosedRecords
from charging.engine.findings import Findings, Kind, booked_unread, contradiction, noted
from charging.engine.looker import Looker, switch_said
from charging.engine.ports import Legs, Look, Observer, Switch
from charging.engine.rounds import Rounds
from charging.engine.runner import SessionRunner, leg_of
from charging.engine.undecided import Undecided
from charging.errors import LedgerError, SwitchError
from charging.ledger.model import OpenSession
from charging.ledger.port import IDS_REMEMBERED_S, Ledger
from charging.stored import newer_members
from charging.tasks import Breath, Tasks, first_of, in_turns

AUDIT_S = 10
"""Between two comparisons of the switch's channels and deadlines with ours."""

AUDIT_REST = 100
"""So many times as long as the last comparison took there is none, if that is longer: calls go before it."""

AUDIT_MAX_S = 60
"""The longest such pause."""

FOUND_PAUSE_S = 2
"""Between two that events ask for which name a session we do not know: whoever can forge those cannot keep us busy."""

HOUSEKEEPING_S = 10
"""Between two looks at the black box, which is cleaned where there is something to clean."""

HOUSEKEEPING_MAX_S = 120
"""The same, while the switch does not obey."""

BOOKED_A_TURN_MAX = 200
"""Records that no session waits for, of one such look, which are some questions to the ledger each."""

LOOKED_UP_A_TURN_MAX = 50
"""Of calls over which nobody decided, so many are looked up whose number was called; of the others it stays masked."""

NOTED_A_TURN_MAX = 2_000
"""Of them all: what keeps decisions has room for 10,000, and those of the calls of now are among them."""

EXPLAINED_MAX = 10_000
DELETE_ORDERS_MAX = 20
DELETE_PAUSE_S = 1
"""Orders to delete after one look, and between two of them: more records a second than calls can be decided, so that a
stranger who rings and rings leaves no more in the switch than is taken out."""

NO_SESSION = "nosession-"
"""How the black box's key of a call begins that never got a session."""


class Registry:
    """The open sessions."""

    _restarted_us = 0  # wall clock: when the switch was seen to have been restarted; 0: never

    def __init__(
        self,
        *,
        ledger: Ledger,
        switch: Switch,
        clock: Clock,
        policy: Policy,
        switch_id: str,
        observe: Observer,
        charge_message: Callable[[str, BlackBoxRead], Awaitable[bool]],
        findings: Findings,
        undecided: Undecided,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``charge_message`` books a voicemail message left without a decision; ``False``: call it again later.
        ``findings`` keeps what contradicts a booking, ``undecided`` the calls that no daemon decided over."""
        self.epoch = 0
        self.leads = leads
        """Whether this daemon is the one that ticks the switch; without a lease there is no other."""
        self.ledger, self.switch, self.observe = ledger, switch, observe
        self._clock, self._switch_id = clock, switch_id
        self.policy = self.usual = policy  # a drain changes the first
        self._charge_message = charge_message
        self._findings, self._undecided = findings, undecided
        self._explained: OrderedDict[str, None] = OrderedDict()  # keys of records: why nothing was decided is kept
        self._runners: dict[str, SessionRunner] = {}
        self._of_account: defaultdict[str, dict[str, SessionRunner]] = defaultdict(dict)
        self._of_leg: dict[str, SessionRunner] = {}  # by the unique id of the forwarded leg
        self._booked, self._closed = BookedRecords(), ClosedRecords()
        self._seen: frozenset[str] = frozenset()
        """Keys of the records that the last look at the black box showed."""
        self._looked_through: frozenset[str] = frozenset()
        self._left_over: frozenset[str] = frozenset()
        """What was there before the stored sessions were last read; and of that, the records of no open session."""
        self._strangers: frozenset[str] = frozenset()
        """Other switches' names that were seen in this switch's black box."""
        self._doubts, self._doubts_settled = 1, 0
        self._restoring = asyncio.Lock()
        self._closed_meanwhile: set[str] = set()
        """Sessions that closed while the stored ones are asked for: the answer may still show them open."""
        self._said: set[str] = set()
        """Once logged: open sessions whose records cannot be read, and members that only a newer version knows."""
        self._stray: frozenset[str] = frozenset()
        """Sessions of channels that the last look saw and nobody charges."""
        self._found, self._found_again_us = asyncio.Event(), 0
        self._watched = WatchedClock(clock, policy.clock_jump_ms, self._stepped)
        self.now = self._watched.now
        self._tasks, self._looker = Tasks(), Looker(switch)
        self.rounds = Rounds(ledger, switch, self._looker, clock, observe, lambda: self.leads())
        self._steps: deque[SeenStep] = deque(maxlen=STEPS_MAX)

    async def run(self) -> NoReturn:
        """Serve the sessions' turns and the periodic duties, for ever. Raises the error of a duty that fails."""
        try:
            self._tasks.begin(self.rounds.run(), "rounds")
            self._tasks.begin(self._audit_for_ever(), "session-audit")
            self._tasks.begin(self._housekeep_for_ever(), "black-box-housekeeping")
            self._tasks.begin(self._watched.watch(), "clock-watch")
            await self._tasks.failure()
        finally:
            await self._tasks.end()

    # --- sessions ---------------------------------------------------------------------------------------------

    def start(self, session: Record) -> None:
        """Let an open session act, or go on acting. On a daemon that stands by nothing starts: the daemon that leads
        finds it."""
        if self.leads() and session.id not in self._runners:
            self._begin(session).wake()

    def _begin(self, session: Record) -> SessionRunner:
        runner = SessionRunner(session, self, self.policy)
        self._runners[session.id] = self._of_account[session.account][session.id] = runner
        self.leg_changed(runner, "", leg_of(session))
        return runner

    def leg_changed(self, runner: SessionRunner, was: str, now: str) -> None:
        if self._of_leg.get(was) is runner:
            del self._of_leg[was]
        if now:
            self._of_leg[now] = runner

    def ended(self, runner: SessionRunner) -> None:
        """Remove a session that is closed or was stopped."""
        session = runner.session
        if self._runners.get(session.id) is not runner:
            return
        del self._runners[session.id]
        self.leg_changed(runner, leg_of(session), "")
        of_account = self._of_account[session.account]
        del of_account[session.id]
        if not of_account:
            del self._of_account[session.account]
        if session.state is not State.CLOSED:
            return
        if isinstance(session, Session) and session.answered is None:
            self._closed.add_unanswered(session.id, self._clock.now().mono_us)
        if self._restoring.locked():
            self._closed_meanwhile.add(session.id)
        if runner.booked is not None and self.policy.is_shared:
            self._closed.add(runner.booked, self._clock.now().mono_us)
        self.funds_changed(session.account)

    # --- the lease --------------------------------------------------------------------------------------------

    async def lead(self, epoch: int) -> None:
        """Tick the switch from now on: take over all its open sessions, whichever daemon opened them."""
        self.epoch = epoch
        await self._lay_down()
        try:
            await self.reconcile()
        except SwitchError as error:
            # Without a link there is nothing to take over yet: the link reconciles as it comes up.
            self.observe(told.TakeOverAwaitedLink(str(error)))

    async def stand_by(self) -> None:
        """Let go of every session and change nothing: another daemon ticks the switch, or may."""
        await self._lay_down()

    async def _lay_down(self) -> None:
        runners = list(self._runners.values())
        for runner in runners:
            runner.stop()
        await self.rounds.end()
        for runner in runners:
            self.ended(runner)
        self.doubt()

    def doubt(self) -> None:
        """We lost the answer to an opening transfer: reload open sessions at the next audit."""
        self._doubts += 1

    def find(self, session: str) -> SessionRunner | None:
        """Return the runner of an open session, or ``None``."""
        return self._runners.get(session)

    def sessions(self) -> list[Session]:
        """Return every open forwarded call, the oldest first."""
        calls = (one.session for one in self._runners.values())
        return sorted((one for one in calls if isinstance(one, Session)), key=lambda one: one.opened.wall_us)

    def sessions_of(self, account: str) -> list[Session]:
        """Return every open forwarded call of the account, the oldest first; other accounts' calls cost no time."""
        calls = (one.session for one in self._of_account.get(account, {}).values())
        return sorted((one for one in calls if isinstance(one, Session)), key=lambda one: one.opened.wall_us)

    def unanswered(self, account: str) -> list[Session]:
        """Return the account's forwarded calls that are not answered yet, dialled or not."""
        return [one for one in self.sessions_of(account) if one.state in (State.RESERVED, State.RINGING)]

    def counts(self) -> Counter[State]:
        """Count the open forwarded calls in each state."""
        return Counter(one.session.state for one in self._runners.values() if isinstance(one.session, Session))

    def overdue_s(self) -> int:
        """For how many seconds the most overdue session has been open beyond its end; 0 if none is overdue."""
        now = self._clock.now()
        return max((overdue_s(one.session, now) for one in self._runners.values()), default=0)

    def tick_overdue_s(self) -> float:
        """For how many seconds the most overdue tick of a running call has been due; 0 if none is."""
        calls = (one.session for one in self._runners.values())
        due_us = (one.tick_mono_us for one in calls if isinstance(one, Session) and one.state is State.RUNNING)
        now_us = self._clock.now().mono_us
        return max((now_us - one for one in due_us if one is not None and one < now_us), default=0) / MICROSECONDS

    def are_paid_ahead(self) -> bool:
        """Whether the switch has confirmed every running call and cuts none within 0.9 horizons, unless its money ends
        before. Among many calls one tick is always just due, so a tenth of the horizon is allowed for."""
        least_us = self._clock.now().plus(self.policy.horizon_s * 0.9).mono_us
        # The last to be cut is the last to be paid: going backwards finds an unpaid call at once.
        calls = (one.session for one in reversed(self._runners.values()))
        running = (one for one in calls if isinstance(one, Session) and one.state is State.RUNNING)
        return all(
            one.confirmed and (one.short is not Short.NO or one.at(one.enforced_s).mono_us >= least_us)
            for one in running
        )

    def faxes(self) -> list[Fax]:
        """Return every fax that is being sent or not booked yet."""
        return [one.session for one in self._runners.values() if isinstance(one.session, Fax)]

    def deliver(self, event: SwitchEvent) -> None:
        """Hand an event of the switch to its session. Events of closed sessions come late; that is normal."""
        if isinstance(event, ChannelReplaced):  # of any channel at all: strangers can make many (INVITE with Replaces)
            runner = self._of_leg.get(event.uid)
        elif isinstance(event, SessionSwitchEvent):
            runner = self._runners.get(event.session)
        else:
            return
        if runner is not None:
            runner.told_us = self._clock.now().mono_us
            runner.offer(event)
        elif isinstance(event, DialStarted | DialEnded | BridgeEntered) and self.leads():
            # Another daemon's desk has opened this session: fetch it, then ask the switch what it has missed.
            self._found.set()

    def funds_changed(self, account: str) -> None:
        """The account can spend more (R22): wake its calls, the oldest first."""
        for session in self.sessions_of(account):
            self._runners[session.id].offer(FundsChanged())

    def reach(self, drain_s: int, *, refuses_new: bool = False) -> None:
        """Reserve ``drain_s`` seconds ahead from now on, running calls at once; 0 ends the drain (`drain`)."""
        if bool(drain_s) != bool(self.policy.drain_s):
            calls = len(self._runners)
            self.observe(told.DrainBegun(calls) if drain_s else told.DrainEnded(calls))
        self.policy = policy = replace(self.usual, drain_s=drain_s, refuses_new=refuses_new)
        for session in self.sessions():
            runner = self._runners[session.id]
            runner.policy = policy
            runner.offer(Draining())

    # --- recovery ---------------------------------------------------------------------------------------------

    async def reconcile(self, restarted: bool = False) -> None:
        """The link is up: restore stored sessions, and give every session what the switch knows of it. ``restarted``
        says that Asterisk was restarted: every fax is given that event, and a drain ends. Raises SwitchError."""
        if restarted:
            self._restarted_us = self._clock.now().wall_us
            for fax in self.faxes():
                self._runners[fax.id].offer(SwitchRestarted())
        if restarted and self.policy.drain_s:
            self.reach(0)
        if not self.leads():
            return
        if self.switch.proven_mono_us is not None:
            await self._restore()
            await self._audit()
            return
        # The first time each session has just been restored and asks for itself: a list would hold up those answers.
        async with self._restoring:  # a take-over has read what is stored, or is about to
            is_known = self._doubts_settled == self._doubts
        if not is_known:
            await self._restore()

    async def _restore(self) -> None:
        """Read stored sessions that have no runner here. If the ledger does not answer, the next audit tries again:
        meanwhile the calls live on their reservations."""
        async with self._restoring:
            self.now()
            doubts = self._doubts  # the answer may lack what is doubted from here on
            seen = self._seen  # before the sessions are read: a call that ends in between is still open there
            epoch = self.epoch
            revived: list[SessionRunner] = []
            try:
                stored = await self.ledger.sessions(switch=self._switch_id)
                async for record in in_turns(stored):
                    if not self.leads() or self.epoch != epoch:  # another daemon restores them, or may have
                        break
                    if record.id not in self._runners and record.id not in self._closed_meanwhile:
                        revived += self._revive(record)
                if revived:
                    self.observe(told.SessionsRestored(len(revived)))
                if self.leads() and self.epoch == epoch:
                    self._doubts_settled = doubts
                    self._looked_through, self._left_over = seen, seen.difference(record.id for record in stored)
            except LedgerError as error:
                self.doubt()
                self.observe(told.SessionsNotRestored(str(error)))
            finally:
                self._closed_meanwhile.clear()
                for runner in revived:  # all are restored by now: the first to be cut goes first
                    runner.wake()

    def _revive(self, record: OpenSession) -> tuple[SessionRunner, ...]:
        """Return the runner of a stored session, not started yet; nothing if the record cannot be read."""
        now = self._clock.now()
        if (closed := self._closed.get(record.id)) is not None:
            # The ledger has lost the session's end: book it again.
            self.observe(SessionReasserted(), closed)
            return (self._begin(replace(closed, retry_mono_us=now.mono_us)),)
        try:
            session = revive(record.state, now, max(self.epoch, record.epoch), self._clock.boot)
        except ValueError as error:
            # It stays open with its money reserved: a person must look. `charging ledger verify` names it.
            if record.id not in self._said:
                self._said.add(record.id)
                self.observe(told.SessionUnreadable(record.id, str(error)))
            return ()
        newer = tuple(newer_members(session))
        if not self._said.issuperset(newer):
            self._said.update(newer)
            self.observe(told.NewerVersionRead(record.id, newer))
        if isinstance(session, Session):
            session = with_missed_steps(session, self._steps, now, self._clock.boot, self.policy)
        elif isinstance(session, Fax) and session.opened.wall_us <= self._restarted_us:
            session = replace(session, restarted=True)
        runner = self._begin(session)
        self.observe(told.SessionRestored(session.state), session)
        return (runner,)

    async def _book_the_rest(self, boxes: Mapping[str, BlackBoxRead]) -> None:
        """Book what is left of records whose sessions are closed: messages that the dialplan's fallback took, and
        contradictions of a booking; some each turn, since calls need the ledger meanwhile. A call without session or
        message needs no question."""
        rest = [key async for key in in_turns(boxes) if self._is_nobodys(key) and self._is_over(key)]
        asked, noted = [], 0
        async for key in in_turns(rest):
            box = boxes[key]
            asks = box.message_stored or not key.startswith(NO_SESSION)
            if noted == NOTED_A_TURN_MAX and (box.undecided or box.turned) and not asks:
                continue
            if box.no_room:
                self.observe(told.SwitchHadNoRoom())
            if asks:
                asked.append(key)
            else:
                noted += await self._note_undecided(key, box, look_up=noted < LOOKED_UP_A_TURN_MAX)
                self._booked.add(key)
        for key in islice(asked, BOOKED_A_TURN_MAX):
            if not await self._book_left_over(key, boxes[key]):
                return

    async def _note_undecided(self, key: str, box: BlackBoxRead, *, look_up: bool) -> bool:
        """Keep why no daemon decided over the call, once. Returns whether it was kept now."""
        if not (box.undecided or box.turned) or key in self._explained:
            return False
        await self._undecided.note(box, look_up=look_up)
        self.explained(key)
        return True

    def explained(self, key: str) -> None:
        """Note that the reason why nothing was decided is kept, for the call of this record."""
        self._explained[key] = None
        while len(self._explained) > EXPLAINED_MAX:
            self._explained.popitem(last=False)

    def _is_over(self, key: str) -> bool:
        """Whether it is certain that no open session waits for this record."""
        return key in self._left_over or self._booked.unread(key) is not None

    async def _book_left_over(self, key: str, box: BlackBoxRead) -> bool:
        """Book what a record holds besides its session. ``False`` if the ledger could not answer: the record stays."""
        if box.message_stored and box.fallback and not await self._charge_message(key, box):
            return False
        await self._note_undecided(key, box, look_up=True)
        if not await self._compare(key, box):
            return False
        self._booked.add(key)
        return True

    async def _compare(self, key: str, box: BlackBoxRead) -> bool:
        """Compare a record with what was booked, and keep a contradiction. ``False``: the ledger could not answer."""
        if key.startswith(NO_SESSION) or self._may_be_archived(box):
            return True
        try:
            booked = self._booked.unread(key) or await self._findings.booked(key, box.ended_us or 0)
        except LedgerError as error:
            self.observe(told.LedgerFailed(str(error), type(error).__name__))
            return False
        kind = contradiction(box, booked)
        if kind is None:
            return True
        was: dict[str, object] = {}
        if booked is not None:
            was = {"account": booked.account, "booked_ms": booked.used_ms, "booked_pieces": booked.pieces}
        return await self._findings.keep(key, kind, {**noted(box), **was})

    def _may_be_archived(self, box: BlackBoxRead) -> bool:
        """Whether the call ended so long ago that its CDR may be archived: then a missing CDR means nothing."""
        return box.ended_us is not None and self._clock.now().wall_us - box.ended_us > IDS_REMEMBERED_S * MICROSECONDS

    async def keep_finding(self, session: str, finding: Find) -> None:
        await self._findings.keep(session, Kind(finding.kind), finding.fields)

    async def _audit(self) -> None:
        """Compare the switch's channels with our sessions, in both directions. Raises SwitchError."""
        known, breath = list(self._runners), Breath()
        look = await self._looker.look()
        for session in known:
            if session not in look.doubtful and (runner := self._runners.get(session)) is not None:
                runner.hear(switch_said(look, session))
            await breath.take()
        await self._end_strays(look)

    async def _end_strays(self, look: Look) -> None:
        """Hang up channels that talk under a session's name, if no session charges them in two looks in a row and each
        is confirmed alone. The caller of an unanswered forward, whom the operator moved, is left alone."""
        own = {key for key in self._closed.unanswered(look) if look.legs[key].callee is None}
        talking = {key for key, legs in look.legs.items() if key not in self._runners and _talks(legs)} - own
        again, self._stray = talking & self._stray, frozenset(talking)
        if self._doubts_settled < self._doubts or not self.leads():
            return
        if talking - again:
            self._found.set()
        for session in again:
            for uid in look.legs[session].uids:
                (alone,) = await self.switch.look_at([(session, (uid,))])
                if isinstance(alone, SwitchError):
                    raise alone
                if _talks(alone) and session not in self._runners:
                    self.observe(told.LegWithoutSession(session, uid))
                    await self.switch.hang_up(uid)

    async def _audit_for_ever(self) -> NoReturn:
        pause_s = float(AUDIT_S)
        while True:
            await self._audit_due(pause_s)
            if not self.leads():
                continue
            began = self._clock.now()
            try:
                if self._doubts_settled < self._doubts or self.policy.is_shared:
                    await self._restore()
                await self._audit()
            except SwitchError as error:
                self.observe(told.AuditPostponed(str(error)))
            took_s = began.seconds_until(self._clock.now())
            pause_s = min(AUDIT_MAX_S, max(AUDIT_S, took_s * AUDIT_REST))

    async def _audit_due(self, pause_s: float) -> None:
        """Return when the next audit is due, or when an unknown session was seen."""
        await first_of(self._rest(pause_s), self._found.wait())
        if self._found.is_set():
            await self._clock.sleep_until(self._found_again_us)
            self._found_again_us = self._clock.now().plus(FOUND_PAUSE_S).mono_us
            self.doubt()
            self._found.clear()

    async def _rest(self, pause_s: float) -> None:
        """Pause between two audits: for AUDIT_S only, if calls may be without a runner, for these are paid no
        further."""
        await self._pause(AUDIT_S)
        left_s = pause_s - AUDIT_S
        while left_s > 0 and self._doubts_settled >= self._doubts:
            await self._pause(min(left_s, AUDIT_S))
            left_s -= AUDIT_S

    # --- the black box ----------------------------------------------------------------------------------------

    def forget(self, record: Record, how: Forget) -> None:
        """A session is booked: mark its black-box record as booked, so that it is deleted. With `look_again`, first
        book a leftover voicemail message from it; a record that has not been read is compared when it comes."""
        if how.look_again:
            self.doubt()
            self._found.set()
        elif how.recorded:
            self._booked.add(record.id)
        else:
            self._booked.add_unread(record.id, booked_unread(record))

    async def _black_boxes(self) -> Mapping[str, BlackBoxRead]:
        """Read the records that are this daemon's to book. Raises SwitchError."""
        boxes = await self.switch.black_boxes()
        strangers = frozenset([box.switch async for box in in_turns(boxes.values())]) - {"", self._switch_id}
        if strangers - self._strangers:
            self.observe(told.RecordsOfAnotherSwitch(sorted(strangers)))
        self._strangers |= strangers
        return {key: box async for key, box in in_turns(boxes.items()) if box.switch not in strangers}

    async def _housekeep_for_ever(self) -> NoReturn:
        wait_s = HOUSEKEEPING_S
        while True:
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, HOUSEKEEPING_MAX_S)
            try:
                if not self.leads() or await self._housekeep():
                    wait_s = HOUSEKEEPING_S
                await self._delete_booked()
            except SwitchError as error:
                self.observe(told.MaintenancePostponed(str(error)))

    async def _housekeep(self) -> bool:
        """Book records that no session waits for; whether the switch has deleted what it was told to. Raises
        SwitchError."""
        boxes = await self._black_boxes()
        self._seen = frozenset(boxes)
        left = self._booked.seen(boxes)
        if [key async for key in in_turns(boxes) if key not in self._looked_through and self._is_nobodys(key)]:
            await self._restore()
        await self._book_the_rest(boxes)
        if left:
            self.observe(told.RecordsNotDeleted(left))
        return not left

    async def _delete_booked(self) -> None:
        """Have the switch delete records that are booked, in batches. Raises SwitchError."""
        for _ in range(DELETE_ORDERS_MAX):
            if not self.leads() or not (keys := self._booked.to_delete()):
                return
            await self.switch.delete_records(keys)
            if len(keys) == DELETE_AT_ONCE_MAX:
                await self._pause(DELETE_PAUSE_S)

    def _is_nobodys(self, key: str) -> bool:
        return key not in self._runners and key not in self._booked

    def _stepped(self, before: Instant, after: Instant) -> None:
        """The wall clock was stepped: tell every session. A step moves the switch's deadlines, which are set again at
        once."""
        jumped = ClockJumped(parted_us(before, after), before.mono_us)
        self.observe(told.ClockJumped(jumped.by_us // 1000))
        self._steps.append(SeenStep(after.mono_us, jumped))
        for runner in self._runners.values():
            runner.offer(jumped)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().mono_us + round(seconds * MICROSECONDS))


def _talks(legs: Legs) -> bool:
    return any(leg.bridged for leg in (legs.caller, legs.callee, *legs.others) if leg is not None)
