"""Random days in the life of the engine: calls, faults and top-ups, all from one seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

from charging.errors import ChargingError
from charging.ledger.model import bundle
from charging.money import MICRO
from charging.session.model import State, from_json
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import Rig
from tests.fakes.switch import OVERSHOOT_MS, FakeCall

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
        self.alive = True
        self._keys = 0

    async def run(self, steps: int) -> None:
        await self._top_up()
        for _ in range(steps):
            weights, actions = zip(*self._actions(), strict=True)
            await self.chance.choices(actions, weights)[0]()
            await self.rig.clock.advance(self.chance.choice((0, 0, 0.05, 0.7, 3, 11, 35, 90)))
            await self._check_deadlines()
        await self._mend()

    def _actions(self) -> list[tuple[int, Action]]:
        return [
            (10, self._new_call),
            (6, self._answer),
            (6, self._hang_up),
            (2, self._fail),
            (2, self._top_up),
            (2, self._toggle_link),
            (2, self._toggle_daemon),
            (4, self._toggle_ledger),
            (1, self._restart_switch),
        ]

    async def _new_call(self) -> None:
        if not self.alive:
            return
        try:
            answer = await self.rig.ring()
        except ChargingError:
            return  # the dialplan falls back
        if answer.session is None or answer.quota_s is None or self.chance.random() < 0.1:
            return  # the caller left before the switch dialled
        self.calls.append(self.rig.switch.dial(answer.session, answer.quota_s, f"c{len(self.calls)}"))

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
            with contextlib.suppress(KeyError):  # a session that this daemon never saw: the dialplan falls back
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
        self.rig.switch.up = not self.rig.switch.up
        if self.rig.switch.up and self.alive:
            await self.rig.registry.reconcile()

    async def _toggle_daemon(self) -> None:
        if self.alive:
            await self.rig.kill_daemon()
            self.alive = False
            return
        self.rig.switch.up = True
        self.alive = True
        await self.rig.start_daemon()

    async def _toggle_ledger(self) -> None:
        self.store.failing = 0.0 if self.store.failing else self.chance.choice((0.3, 0.7, 0.9, 1.0))

    async def _restart_switch(self) -> None:
        self.lost |= {one.session for one in self.calls if one.caller_alive}
        self.rig.switch.restart()
        if self.alive and self.rig.switch.up:
            await self.rig.registry.reconcile(True)

    async def _mend(self) -> None:
        self.store.failing = 0.0
        self.rig.switch.up = True
        if not self.alive:
            await self.rig.start_daemon()
        else:
            await self.rig.registry.reconcile()
        await self.rig.clock.advance(100)
        for call in self.calls:
            self.rig.switch.end(call.session)
        await self.rig.clock.advance(120)

    async def _check_deadlines(self) -> None:
        """Money first, then time: no call's deadline on the switch lies beyond what is reserved for it."""
        now = self.rig.clock.now()
        for record in await self.store.sessions():
            call = self.rig.switch.calls.get(record.id)
            if call is None or call.answered is None or call.deadline_mono_us is None or not call.caller_alive:
                continue
            session = from_json(record.state, now, 0)
            if session.state in (State.RESERVED, State.RINGING, State.RUNNING):
                allowed_us = (session.covered_s + 1) * MICRO + OVERSHOOT_MS * 1000
                assert call.deadline_mono_us - call.answered.mono_us <= allowed_us, record.id
        for key, balance in (await self.store.balances("anna")).items():
            if key == "credit" or key.startswith(bundle("")):
                assert balance.available >= 0, (key, balance)
