"""Finding the open sessions again: at a start, after a take-over, and whenever something may be missing.

Recovery is the ordinary start. Whenever the AMI link comes up (the first time too), every open session of the switch is
read from its stored record, is given what the switch knows of it, and goes on or ends by that. Audits compare the
switch's channels with the sessions, in both directions.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NoReturn

from charging.call.events import SwitchRestarted
from charging.call.fax import Fax
from charging.call.told import SessionReasserted
from charging.engine import told
from charging.engine.looker import switch_said
from charging.engine.ports import Legs, Look
from charging.engine.runner import SessionRunner
from charging.engine.sessions import Registry
from charging.errors import LedgerError, SwitchError
from charging.ledger.model import OpenSession
from charging.records import newer_members
from charging.tasks import Breath, first_of, in_turns

AUDIT_S = 10
"""Between two comparisons of the switch's channels and deadlines with ours."""

AUDIT_REST = 100
"""So many times as long as the last comparison took there is none, if that is longer: calls go before it."""

AUDIT_MAX_S = 60
"""The longest such pause."""

FOUND_PAUSE_S = 2
"""Between two that events ask for which name a session we do not know: whoever can forge those cannot keep us busy."""

NAMED_LEAST_S, NAMED_REST = 0.1, 10
"""Between two readings of the stored sessions alone, for which events of set-ups ask: so many times as long as the last
one took, and the first at least. Events that a stranger forges take no more than such a part of the loop."""


class Recovery:
    """Restores and audits the open sessions of one switch."""

    _restarted_us = 0  # wall clock: when the switch was seen to have been restarted; 0: never

    def __init__(self, registry: Registry) -> None:
        self.registry, self._open = registry, registry.open
        self._switch, self._clock, self._observe = registry.switch, registry.clock, registry.observe
        self.looked_through: frozenset[str] = frozenset()
        """Keys of the black-box records that were there before the stored sessions were last read."""
        self.left_over: frozenset[str] = frozenset()
        """Those of them that are the records of no open session."""
        self._doubts_settled = 0
        self.has_restored = False
        """Whether the stored sessions have been read, all of them, at least once."""
        self._restoring = asyncio.Lock()
        self._said: set[str] = set()
        """Once logged: open sessions whose records cannot be read, and members that only a newer version knows."""
        self._stray: frozenset[str] = frozenset()
        """Sessions of channels that the last look saw and nobody charges."""
        self._found_again_us = 0

    # --- the lease --------------------------------------------------------------------------------------------

    async def lead(self, epoch: int) -> None:
        """Tick the switch from now on: take over all its open sessions, whichever daemon opened them."""
        self.registry.epoch = epoch
        await self.stand_by()
        await self.restore()  # each asks for itself: a list of all channels would hold up those answers

    async def stand_by(self) -> None:
        """Let go of every session and change nothing: another daemon ticks the switch, or may."""
        runners = list(self._open.runners.values())
        for runner in runners:
            runner.stop()
        await self.registry.paid_first.end()
        await self.registry.rounds.questions.end()
        for runner in runners:
            self.registry.ended(runner)
        self.registry.doubt()

    # --- restoring --------------------------------------------------------------------------------------------

    async def reconcile(self, restarted: bool = False) -> None:
        """The link is up: restore stored sessions, and give every session what the switch knows of it. ``restarted``
        says that Asterisk was restarted: every fax is given that event, and a drain ends. Raises SwitchError."""
        if restarted:
            self._restarted_us = self._clock.now().wall_us
        for fax in self._open.faxes():
            if restarted or fax.is_of_another_start(self._switch.started):
                self._open.runners[fax.id].offer(SwitchRestarted())
        if restarted and self.registry.policy.drain_s:
            self.registry.reach(0)
        if not self.registry.leads():
            return
        if self._switch.proven_mono_us is not None:
            await self.restore()
            await self._audit()
            return
        # The first time each session has just been restored and asks for itself: a list would hold up those answers.
        async with self._restoring:  # a take-over has read what is stored, or is about to
            is_known = self._doubts_settled == self.registry.doubts
        if not is_known:
            await self.restore()

    async def restore(self) -> None:
        """Read stored sessions that have no runner here. If the ledger does not answer, the next audit tries again:
        meanwhile the calls live on their reservations."""
        revived: list[SessionRunner] = []
        async with self._restoring:
            self.registry.now()
            doubts = self.registry.doubts  # the answer may lack what is doubted from here on
            # Before the sessions are read: a call that ends in between is still open there.
            seen, closed = self.registry.booked.shown, self._open.watch_closing(True)
            epoch = self.registry.epoch
            try:
                stored = await self.registry.ledger.sessions(switch=self.registry.switch_id)
                async for record in in_turns(stored):
                    if not self.registry.leads() or self.registry.epoch != epoch:
                        break  # another daemon restores them, or may have
                    if record.id not in self._open.runners and record.id not in closed:
                        revived += self._revive(record)
                if revived:
                    self._observe(told.SessionsRestored(len(revived)))
                if self.registry.leads() and self.registry.epoch == epoch:
                    self._doubts_settled, self.has_restored = doubts, True
                    self.looked_through, self.left_over = seen, seen.difference(record.id for record in stored)
            except LedgerError as error:
                self.registry.doubt()
                self._observe(told.SessionsNotRestored(str(error)))
            finally:
                self._open.watch_closing(False)
                # All are restored by now: the first to be cut goes first. Where a lost link breaks this off, those that
                # were are no longer found by the next.
                self.registry.paid_first.begin(revived)

    def _revive(self, record: OpenSession) -> tuple[SessionRunner, ...]:
        """Return the runner of a stored session, not started yet; nothing if the record cannot be read."""
        now = self._clock.now()
        if (closed := self.registry.closed.get(record.id)) is not None:
            # The ledger has lost the session's end: book it again.
            self._observe(SessionReasserted(), closed)
            return (self.registry.begin(replace(closed, retry_mono_us=now.mono_us)),)
        try:
            runner = self.registry.revive(record)
        except ValueError as error:
            # It stays open with its money reserved: a person must look. `charging ledger verify` names it.
            if record.id not in self._said:
                self._said.add(record.id)
                self._observe(told.SessionUnreadable(record.id, str(error)))
            return ()
        newer = tuple(newer_members(runner.session))
        if not self._said.issuperset(newer):
            self._said.update(newer)
            self._observe(told.NewerVersionRead(record.id, newer))
        if isinstance(runner.session, Fax) and self._is_before_restart(runner.session):
            runner.session = replace(runner.session, restarted=True)
        return (runner,)

    def _is_before_restart(self, fax: Fax) -> bool:
        """Whether the switch was restarted since the fax was opened: seen by this daemon, or before it was started."""
        return fax.opened.wall_us <= self._restarted_us or fax.is_of_another_start(self._switch.started)

    async def find_named(self) -> NoReturn:
        """Read what is stored soon after an event of a set-up has named a session that is not open here, for ever. The
        desk of another daemon has opened it, and if its caller has left, it holds a place and money for nothing."""
        while True:
            await self.registry.named.wait()
            self.registry.named.clear()
            began = self._clock.now()
            if self.registry.leads():
                await self.restore()
            took_s = began.seconds_until(self._clock.now())
            await self.registry.pause(max(NAMED_LEAST_S, took_s * NAMED_REST))

    # --- audits -----------------------------------------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Audit now and then, for ever."""
        pause_s = float(AUDIT_S)
        while True:
            await self._audit_due(pause_s)
            if not self.registry.leads():
                continue
            began = self._clock.now()
            try:
                if self._doubts_settled < self.registry.doubts or self.registry.policy.is_shared:
                    await self.restore()
                await self._audit()
            except SwitchError as error:
                self._observe(told.AuditPostponed(str(error)))
            took_s = began.seconds_until(self._clock.now())
            pause_s = min(AUDIT_MAX_S, max(AUDIT_S, took_s * AUDIT_REST))

    async def _audit(self) -> None:
        """Compare the switch's channels with our sessions, in both directions. Raises SwitchError."""
        known, breath = list(self._open.runners), Breath()
        look = await self.registry.looker.look()
        for session in known:
            if session not in look.doubtful and (runner := self._open.runners.get(session)) is not None:
                runner.hear(switch_said(look, session))
            await breath.take()
        await self._end_strays(look)

    async def _end_strays(self, look: Look) -> None:
        """Hang up channels that talk under a session's name, if no session charges them in two looks in a row and each
        is confirmed alone. The caller of an unanswered forward, whom the operator moved, is left alone. Raises
        SwitchError."""
        own = {key for key in self.registry.closed.unanswered(look) if look.legs[key].callee is None}
        talking = {key for key, legs in look.legs.items() if key not in self._open.runners and _talks(legs)} - own
        again, self._stray = talking & self._stray, frozenset(talking)
        if self._doubts_settled < self.registry.doubts or not self.registry.leads():
            return
        if talking - again:
            self.registry.found.set()
        for session in again - await self._known_unanswered({key for key in again if look.legs[key].callee is None}):
            for uid in look.legs[session].uids:
                (alone,) = await self._switch.look_at([(session, (uid,))])
                if isinstance(alone, SwitchError):
                    raise alone
                if _talks(alone) and session not in self._open.runners:
                    self._observe(told.LegWithoutSession(session, uid))
                    await self._switch.hang_up(uid)

    async def _known_unanswered(self, sessions: set[str]) -> set[str]:
        """Those whose CDRs say that nobody answered a forward, before this process was there; all of them while the
        ledger does not answer."""
        try:
            found = await self.registry.findings.unanswered(sessions)
        except LedgerError as error:
            self._observe(told.LedgerFailed(str(error), type(error).__name__))
            return sessions
        for session in found:
            self.registry.closed.add_unanswered(session, self._clock.now().mono_us)
        return found

    async def _audit_due(self, pause_s: float) -> None:
        """Return when the next audit is due, or when an unknown session was seen."""
        await first_of(self._rest(pause_s), self.registry.found.wait())
        if self.registry.found.is_set():
            await self._clock.sleep_until(self._found_again_us)
            self._found_again_us = self._clock.now().plus(FOUND_PAUSE_S).mono_us
            self.registry.doubt()
            self.registry.found.clear()

    async def _rest(self, pause_s: float) -> None:
        """Pause between two audits: for AUDIT_S only, if calls may be without a runner, for these are paid no
        further."""
        await self.registry.pause(AUDIT_S)
        left_s = pause_s - AUDIT_S
        while left_s > 0 and self._doubts_settled >= self.registry.doubts:
            await self.registry.pause(min(left_s, AUDIT_S))
            left_s -= AUDIT_S


def _talks(legs: Legs) -> bool:
    return any(leg.bridged for leg in (legs.caller, legs.callee, *legs.others) if leg is not None)
