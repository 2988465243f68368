"""Running calls that an outage has left with less than a horizon are paid ahead before anything else is done for them:
at a start there may be thousands.

They take the steps of the table, as each would take them in turns of its own (`runner`), but many at a time, and one
step of all before the next: so they take half as long. Whoever meets anything but the usual answer goes on by himself
from there, as any session does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from charging.call.booking import settled_by
from charging.call.commands import SetDeadline
from charging.call.events import Posted, Woke
from charging.call.model import Context, Pending, Session
from charging.call.paid_first import Reserved, order_of, paid_first, reserved_first, waiting
from charging.call.told import DeadlineMoved, TickPosted
from charging.clock import Clock
from charging.engine import told
from charging.engine.runner import Hold, SessionRunner
from charging.engine.turns import Home
from charging.errors import LedgerError, LinkDown, SwitchError
from charging.ledger.model import Applied, Balance, Outcome
from charging.tasks import end, in_turns, together

TOGETHER = 200
"""Calls that take their steps together. They have two orders each on their way to the switch, of the 2,000 that a link
takes."""

GROUPS_MAX = 8
"""So many groups are on their way at the same time: while others wait for the ledger, which commits together what has
come meanwhile, and for the switch, the steps of one are thought through."""

PROOF_S = 3
"""So long a start waits for the link's first proof, without which nothing is reserved. It comes once the link is up."""

LOOK_S = 0.02
"""How often it looks for that."""

Planned = tuple[Hold, Reserved]
"""A session, and what it reserves."""


class PaidFirst:
    """Sees to the sessions that have just come to life."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._at_switch = asyncio.Lock()
        """One group's orders at a time: other sessions need the link, too."""
        self._paying: set[asyncio.Task[None]] = set()

    def begin(self, runners: Sequence[SessionRunner]) -> None:
        """Let sessions act that have just come to life; those that may be paid first are, the first to be cut first.
        Returns at once."""
        first: list[Hold] = []
        for runner in runners:
            if (hold := Hold.of(runner)) is None:
                runner.wake()
            elif hold.session.vouched:
                first.append(hold)
            else:
                hold.release()
        if first:
            first.sort(key=lambda hold: hold.session.due_us)
            task = asyncio.create_task(self._pay(first), name="paid-first")
            self._paying.add(task)
            task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Break off what is under way, of sessions that were stopped, and return when it has ended."""
        await end(self._paying)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._paying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._home.rounds.fail(error)

    async def _pay(self, holds: Sequence[Hold]) -> None:
        await self._proof()
        groups = deque(holds[at : at + TOGETHER] for at in range(0, len(holds), TOGETHER))
        paid: list[tuple[Hold, Session]] = []
        try:
            await together((self._pay_groups(groups, paid) for _ in range(GROUPS_MAX)), "paid-first-group")
        finally:
            for hold, after in paid:  # each asks the switch next: once all are paid
                hold.release(after)

    async def _proof(self) -> None:
        """Return once the link is proven, or after PROOF_S."""
        until_us = self._clock.now().plus(PROOF_S).mono_us
        while self._home.switch.proven_mono_us is None and (now := self._clock.now()).mono_us < until_us:
            await self._clock.sleep_until(now.plus(LOOK_S).mono_us)

    async def _pay_groups(self, groups: deque[Sequence[Hold]], paid: list[tuple[Hold, Session]]) -> None:
        while groups:
            planned = await self._plan(groups.popleft())
            booked = await self._book(planned) if planned else []
            paid += await self._move(booked) if booked else []

    async def _plan(self, group: Sequence[Hold]) -> list[Planned]:
        """What each reserves."""
        found: Sequence[Mapping[str, Balance] | LedgerError]
        try:
            found = await self._home.ledger.balances_of([one.session.account for one in group])
        except LedgerError as error:
            found = [error] * len(group)
        planned: list[Planned] = []
        async for hold, balances in in_turns(zip(group, found, strict=True)):
            reserved = None
            if not hold.is_disturbed and not isinstance(balances, LedgerError):
                woke, context = Woke(self._home.switch.proven_mono_us), Context(self._home.now(), hold.policy)
                reserved = reserved_first(hold.session, balances, woke, context)
            if reserved is None:
                hold.release()
            else:
                planned.append((hold, reserved))
        return planned

    async def _book(self, planned: Sequence[Planned]) -> list[Planned]:
        """Those whose reservation is in the journal."""
        found: Sequence[Applied | LedgerError]
        try:
            found = await self._home.ledger.apply_all(
                [(one.pending.transfer, one.pending.grants) for _, one in planned]
            )
        except LedgerError as error:
            found = [error] * len(planned)
        booked: list[Planned] = []
        for (hold, reserved), answer in zip(planned, found, strict=True):
            if not isinstance(answer, LedgerError) and answer.outcome.applied:
                booked.append((hold, reserved))
            elif isinstance(answer, LedgerError):
                self._home.observe(told.LedgerFailed(str(answer), type(answer).__name__), hold.session)
                self._leave(hold, reserved.pending, None)
            else:
                self._leave(hold, reserved.pending, answer)
        return booked

    async def _move(self, booked: Sequence[Planned]) -> list[tuple[Hold, Session]]:
        """Those whose deadline the switch has moved, and their sessions."""
        orders = [order_of(reserved.after, hold.policy) for hold, reserved in booked]
        async with self._at_switch:
            errors = await self._order(orders)
        paid: list[tuple[Hold, Session]] = []
        async for (hold, reserved), order, error in in_turns(zip(booked, orders, errors, strict=True)):
            if error is not None:
                self._leave(hold, reserved.pending, Applied(Outcome.CREATED))
                continue
            after = paid_first(reserved.after, order, Context(self._home.now(), hold.policy))
            self._home.observe(TickPosted(settled_by(reserved.pending), order.covered_s, after.short), after)
            self._home.observe(DeadlineMoved(order.covered_s), after)
            paid.append((hold, after))
        return paid

    async def _order(self, orders: Sequence[SetDeadline]) -> list[SwitchError | None]:
        if not self._home.leads():  # this daemon was frozen: another may have moved these calls' deadlines since
            return [LinkDown()] * len(orders)
        legs = [one for order in orders for one in ((order.callee_uid, order.at), (order.caller_uid, order.backstop))]
        found = await self._home.switch.set_deadlines(legs)
        return [callee or caller for callee, caller in zip(found[::2], found[1::2], strict=True)]

    def _leave(self, hold: Hold, pending: Pending, applied: Applied | None) -> None:
        """Leave a session to the steps of the table, from the ledger's answer on."""
        asked = waiting(hold.session, pending, Context(self._home.now(), hold.policy))
        hold.release(asked, Posted(pending.transfer, applied))
