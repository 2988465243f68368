"""Before Asterisk is restarted gracefully: it will take no more orders, so what a call may last is reserved beforehand.

From the first moment of `core restart gracefully` on Asterisk refuses every AMI action until its last call has ended. A
call then lives as long as its deadline, which a running daemon keeps only `horizon_s` ahead. A drain reserves as far as
the account's money goes (at most the longest call of the plan), and tells the switch.
"""

from __future__ import annotations

from dataclasses import dataclass

from charging.call.model import Session, Short, State
from charging.clock import Clock, Instant
from charging.engine.sessions import Registry

LONGEST_S = 99_999
"""The longest quota that the dialplan takes; a plan's longest call is mostly much shorter."""
GROWTH = 4
"""Of the rounds' reach: more would leave a later call of an account less, fewer would take longer."""
ROUND_MS = 2_500
"""At most, for the ledger and the switch to answer for every call."""
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Drained:
    """How far a drain has come."""

    is_on: bool
    refuses_new: bool = False
    paid: tuple[Session, ...] = ()
    """Calls that run, are reserved as far as they can be, and whose deadline the switch has."""
    ringing: tuple[Session, ...] = ()
    """Calls that are not answered yet: they are extended as soon as they are."""
    behind: tuple[Session, ...] = ()
    """Calls that run and could not be extended: the ledger or the switch did not answer in time."""


class Drain:
    """Begins and ends a drain, and says how far it has come."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    async def begin(self, *, refuse_new: bool) -> Drained:
        """Reserve, and return when every running call has what it can have, or after some seconds for each round.

        Each round reaches further: otherwise the first of several calls that share an account's money would take it
        all. May be repeated.
        """
        reach_s = 2 * self._registry.usual.reach_s
        while reach_s < LONGEST_S and not self._all_reach(LONGEST_S):
            await self._reach(reach_s, refuse_new)
            reach_s *= GROWTH
        await self._reach(LONGEST_S, refuse_new)
        return self.state()

    def end(self) -> Drained:
        """Reserve as usual from now on. What is reserved already stays so until it is used or the call ends."""
        self._registry.reach(0)
        return self.state()

    def state(self) -> Drained:
        """How far the drain has come."""
        policy, now = self._registry.policy, self._clock.now()
        if not policy.drain_s:
            return Drained(is_on=False)
        paid, ringing, behind = list[Session](), list[Session](), list[Session]()
        for one in self._registry.open.calls():
            if one.state in (State.RESERVED, State.RINGING):
                ringing.append(one)
            elif one.state is State.RUNNING:
                (paid if reaches(one, now, policy.drain_s) else behind).append(one)
        return Drained(True, policy.refuses_new, tuple(paid), tuple(ringing), tuple(behind))

    async def _reach(self, reach_s: int, refuse_new: bool) -> None:
        self._registry.reach(reach_s, refuses_new=refuse_new)
        until_us = self._clock.now().mono_us + ROUND_MS * 1000
        while not self._all_reach(reach_s) and (now := self._clock.now()).mono_us < until_us:
            await self._clock.sleep_until(now.plus(LOOK_S).mono_us)

    def _all_reach(self, reach_s: int) -> bool:
        now = self._clock.now()
        return all(reaches(one, now, reach_s) for one in self._registry.open.calls() if one.state is State.RUNNING)


def reaches(session: Session, now: Instant, reach_s: int) -> bool:
    """Whether a running call is reserved so far ahead, or as far as it can be, and the switch knows it. Pure."""
    if session.pending is not None or session.enforced_s != session.covered_s:
        return False
    ahead_s = session.covered_s - session.elapsed_ms(now.mono_us) // 1000
    return session.short is not Short.NO or session.covered_s >= session.rate.max_call_s or ahead_s >= reach_s
