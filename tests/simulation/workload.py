"""Random days in the life of the engine: calls, faults and top-ups, all from one seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from agi.port import Declined
from charging.call.model import Session, State, from_json
from charging.clock import Instant
from charging.errors import ChargingError, LinkDown, SwitchError
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.pricing.money import MICRO
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import Rig
from tests.fakes.switch import OVERSHOOT_MS, FakeCall

CALM_US = 250 * MICRO

ANCHORED_WITHIN_S = 4
"""An answer may be known as badly as a step of the clocks may go unseen, and a deadline may be off by a second."""

Action = Callable[[], Awaitable[None]]


class Workload:
    """Drives a rig; `run` returns once every call has ended and every fault is mended."""

    def __init__(self, rig: Rig, store: FaultyStore, chance: random.Random) -> None:
        self.rig = rig
        self.store = store
        self.chance = chance
        self.topped_up = 0
        self.calls: list[FakeCall] = []
        self.lost: set[str] = set()
        """Sessions whose switch died with them: no record, no events."""
        self.forgotten: set[str] = set()
        """Sessions that a fail-over of the ledger has lost from beginning to end."""
        self.tight: set[str] = set()
        """Sessions whose reservation others may have taken while a fail-over had lost it."""
        self.stepped: dict[str, float] = {}
        """Sessions before whose booking the time of day was stepped: by how many seconds, either way. A step that may
        have come before an end that nobody has heard of yet is taken off: the smaller duration is billed."""
        self.short_of_money = 0
        """Calls that were booked as far as what others had left paid."""
        self.alive = True
        self._disobeyed = False
        self._keys = 0
        self._opened_in_vain: set[str] = set()
        """Sessions whose opening a fail-over has lost: known to the daemon alone, until something is booked of them."""
        self._calm_until_us = 0
        """Until then one fault has to be mended before the next comes: a fail-over with a second one can lose money."""

    async def run(self, steps: int) -> None:
        await self._top_up()
        for _ in range(steps):
            weights, actions = zip(*self._possible_actions(), strict=True)
            await self.chance.choices(actions, weights)[0]()
            await self.rig.clock.advance(self.chance.choice((0, 0, 0.05, 0.7, 3, 11, 35, 90)))
            await self._check_deadlines()
        await self._mend()

    def _possible_actions(self) -> list[tuple[int, Action]]:
        calls: list[tuple[int, Action]] = [
            (10, self._new_call),
            (6, self._answer),
            (6, self._hang_up),
            (2, self._fail),
        ]
        if self.rig.clock.now().mono_us < self._calm_until_us:
            return calls
        faults: list[tuple[int, Action]] = [
            (2, self._top_up),
            (2, self._toggle_link),
            (2, self._toggle_daemon),
            (4, self._toggle_ledger),
            (1, self._restart_switch),
            (3, self._toggle_obedience),
            (2, self._step_clock),
            (2, self._gain_lease),
            (1, self._restart_twice),
        ]
        return [*calls, *faults, (2 if self.rig.policy.is_shared else 0, self._fail_over)]

    async def _new_call(self) -> None:
        if not self.alive:
            return
        try:
            answer = await self.rig.ring()
        except ChargingError:
            return  # the dialplan falls back
        if answer.session is None or answer.quota_s is None or self.chance.random() < 0.1:
            return  # the caller left before the switch dialled
        self.calls.append(self.rig.switch.dial(answer.session, answer.quota_s, self.rig.caller_uid))

    def _pick(self, answered: bool) -> FakeCall | None:
        fitting = [one for one in self.calls if one.caller_alive and (one.answered is not None) is answered]
        return self.chance.choice(fitting) if fitting else None

    async def _answer(self) -> None:
        if (call := self._pick(answered=False)) is not None:
            self.rig.switch.answer(call.session)

    async def _hang_up(self) -> None:
        """Sometimes all at once, so that what each gives back is sought by none and every one settles."""
        for _ in range(self.chance.choice((1, 1, 4))):
            if (call := self._pick(answered=self.chance.random() < 0.8)) is not None:
                self.rig.switch.end(call.session)

    async def _fail(self) -> None:
        call = self._pick(answered=False)
        if call is None:
            return
        self.rig.switch.fail(call.session, "BUSY")
        if self.alive and self.rig.switch.up and not self.store.failing:
            with contextlib.suppress(Declined):  # a session that this daemon never saw: the dialplan falls back
                await self.rig.desk.unanswered(call.session, "BUSY")
        self.rig.switch.end(call.session)

    async def _top_up(self) -> None:
        self._keys += 1
        amount = self.chance.randrange(20, 400) * MICRO // 1000
        healthy, self.store.failing = self.store.failing, 0.0
        await self.rig.credit(amount, f"k{self._keys}")
        self.store.failing = healthy
        self.topped_up += amount

    async def _toggle_link(self) -> None:
        if self.rig.switch.up:
            self.rig.switch.up = False
            return
        self.rig.switch.reconnect()
        if self.alive:
            await self._reconcile()

    async def _reconcile(self) -> None:
        try:
            await self.rig.recovery.reconcile()
            self.rig.switch.reconciled()
        except SwitchError:  # the link is dropped again, for it proves nothing until this is done
            self.rig.switch.up = False

    async def _toggle_daemon(self) -> None:
        if self.alive:
            await self.rig.kill_daemon()
            self.alive = False
            self.forgotten |= self._opened_in_vain - await self._known()
            return
        self.rig.switch.up = True
        self.rig.switch.disobeys, self._disobeyed = lambda: False, False
        self.alive = True
        await self.rig.start_daemon()

    async def _toggle_ledger(self) -> None:
        self.store.failing = 0.0 if self.store.failing else self.chance.choice((0.3, 0.7, 0.9, 1.0))

    async def _toggle_obedience(self) -> None:
        """Orders and questions to the switch get lost, while it goes on telling."""
        share, self._disobeyed = (0.0, False) if self._disobeyed else (self.chance.choice((0.3, 0.9, 1.0)), True)
        self.rig.switch.disobeys = lambda: self.chance.random() < share

    async def _step_clock(self) -> None:
        """Seen by the daemon, which can store what it has seen: else nobody could tell."""
        if not self.alive or self.store.failing:
            return
        by_s = self.chance.choice((-30, -5, 5, 40))
        self.rig.clock.step_wall(by_s)
        booked = {row.session for row in await self.store.cdrs(limit=10_000)}
        for call in (one for one in self.calls if one.session not in booked):
            self.stepped[call.session] = self.stepped.get(call.session, 0) + abs(by_s)
        await self.rig.clock.advance(1.1)

    async def _gain_lease(self) -> None:
        """In the moment in which a call is decided: what is open is taken over, it too."""
        if not self.alive or self._disobeyed or not self.rig.switch.up:
            return
        self.forgotten |= self._opened_in_vain - await self._known()  # what is taken over comes from the ledger
        gained: list[asyncio.Task[None]] = []
        registry = self.rig.registry
        self.store.reserved = lambda: gained.append(asyncio.create_task(self.rig.recovery.lead(registry.epoch)))
        await self._new_call()
        self.store.reserved = None
        await asyncio.gather(*gained)

    async def _restart_twice(self) -> None:
        """With a tick in between, whose order to the switch is lost."""
        if not self.alive or not self.rig.switch.up:
            return
        await self._toggle_daemon()
        await self.rig.clock.advance(self.chance.choice((1, 40)))
        await self._toggle_daemon()
        self.rig.switch.set_deadline = _not_obeyed  # type: ignore[method-assign, assignment]
        await self.rig.clock.advance(self.chance.choice((1.5, 62)))
        await self._toggle_daemon()
        del self.rig.switch.set_deadline
        await self._toggle_daemon()
        await self.rig.clock.advance(2)

    async def _restart_switch(self) -> None:
        self.lost |= {one.session for one in self.calls if one.caller_alive}
        self.rig.switch.restart()
        if self.alive and self.rig.switch.up:
            await self._reconcile()

    async def _fail_over(self) -> None:
        """The ledger loses what was acknowledged in the last moments. Half the times there is money for all of it to be
        booked again; else other calls may take what was reserved."""
        await self._mend_faults()
        is_tight = self.chance.random() < 0.5
        for _ in range(0 if is_tight else 40):
            await self._top_up()
        self.store.remember()
        self._calm_until_us = self.rig.clock.now().mono_us + CALM_US
        for _ in range(self.chance.randrange(4)):
            weights, actions = zip(*self._possible_actions(), strict=True)
            await self.chance.choices(actions, weights)[0]()
            await self.rig.clock.advance(self.chance.choice((0, 0.05, 3, 35, 70)))
        booked = {row.session for row in await self.store.cdrs(limit=10_000)}
        known = await self._known()
        self.store.fail_over()
        lost = known - await self._known()
        if is_tight:
            await self._others_take()
            still_booked = {row.session for row in await self.store.cdrs(limit=10_000)}
            self.tight |= {one.session for one in self.calls} - still_booked
        self.forgotten |= lost & booked
        self._opened_in_vain |= lost - booked

    async def _others_take(self) -> None:
        """Another service of the account spends most of what there seems to be now."""
        self._keys += 1
        available = (await self.rig.balance()).available
        taken = self.chance.randrange(available // 2, available + 1)
        leg = Leg(CREDIT, -taken)
        await self.store.apply(Transfer(f"others/{self._keys}", "anna", Kind.CORRECT, 0, (leg,), reason="others"))
        self.topped_up -= taken

    async def _known(self) -> set[str]:
        """The sessions that the ledger knows, open or closed."""
        booked = {row.session for row in await self.store.cdrs(limit=10_000)}
        return booked | {record.id for record in await self.store.sessions()}

    async def _mend_faults(self) -> None:
        self.store.failing = 0.0
        self.rig.switch.reconnect()
        self.rig.switch.disobeys, self._disobeyed = lambda: False, False
        if self.alive:
            await self.rig.recovery.reconcile()
            self.rig.switch.reconciled()
        else:
            await self.rig.start_daemon()
            self.alive = True
        await self.rig.clock.advance(100)

    async def _mend(self) -> None:
        await self._mend_faults()
        for call in self.calls:
            self.rig.switch.end(call.session)
        await self.rig.clock.advance(120)

    async def _check_deadlines(self) -> None:
        """Money first, then time: no call's deadline on the switch lies beyond what is reserved for it."""
        now = self.rig.clock.now()
        behind = now.mono_us < self._calm_until_us  # the ledger may be, until the next tick
        for record in await self.store.sessions() if not behind else ():
            call = self.rig.switch.calls.get(record.id)
            if call is None or call.answered is None or call.deadline_mono_us is None or not call.caller_alive:
                continue
            session = from_json(record.state, now, 0)
            if session.state in (State.RESERVED, State.RINGING, State.RUNNING):
                allowed_us = (session.covered_s + 1) * MICRO + OVERSHOOT_MS * 1000
                assert call.deadline_mono_us - call.answered.mono_us <= allowed_us, record.id
                self._check_enforced(call)
        for key, balance in (await self.store.balances("anna")).items():
            if key == "credit" or key.startswith(bundle("")):
                assert balance.available >= 0, (key, balance)

    def _check_enforced(self, call: FakeCall) -> None:
        """Nobody who has paid is cut early: the switch holds the deadline that its session believes it to hold."""
        runner = self.rig.registry.open.find(call.session) if self.alive else None
        if runner is None or not isinstance(session := runner.session, Session) or not session.anchored:
            return
        assert call.answered is not None
        assert call.deadline_mono_us is not None
        if session.state is State.RUNNING and session.technology and session.enforced_s == session.covered_s:
            held_s = (call.deadline_mono_us - call.answered.mono_us) / MICRO
            assert held_s >= session.covered_s - ANCHORED_WITHIN_S, (call.session, held_s, session.covered_s)


async def _not_obeyed(_uid: str, _at: Instant) -> None:
    raise LinkDown
