"""The engine's heart without Asterisk and without a disk: store, registry and desk on a fake switch and clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import NoReturn

from agi.port import Answer, IncomingCall
from charging.call.decided import Decided
from charging.call.events import BlackBoxRead
from charging.call.model import Policy, Session
from charging.call.storage import Record
from charging.engine.black_boxes import BlackBoxes
from charging.engine.desk import Desk, MissedCall
from charging.engine.findings import Findings
from charging.engine.left_messages import LeftMessages
from charging.engine.recovery import Recovery
from charging.engine.runner import ENDS_TOGETHER_S, SessionRunner
from charging.engine.sessions import Registry
from charging.engine.told import Told, UnexpectedEventMet, fields_of, name_of
from charging.engine.undecided import Undecided
from charging.ledger.accounts import Account, Number
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Transfer
from charging.ledger.port import Store
from charging.pricing.rate import Step
from charging.tariff.plans import Plan
from charging.tariff.tariff import Destination, Price, RateTable, Refusal, Tariff, TopUps
from charging.tasks import Tasks
from tests.fakes.clock import FakeClock, stopped
from tests.fakes.switch import FakeCall, FakeSwitch

EURO = 1_000_000
NUMBER = "+31201234567"
TARGET = "+31612345678"

DESTINATIONS = {
    "nl_mobile": Destination("nl_mobile", ("+316",)),
    "nl_premium": Destination("nl_premium", ("+31900",), refuse=Refusal.PREMIUM),
}


def make_tariff(price: int = 60_000, increment_s: int = 1, plans: Mapping[str, Plan] | None = None) -> Tariff:
    """``price`` is micro-euro a minute: 60,000 makes 1,000 a second."""
    steps = (Step(0, price, 60, increment_s),)
    known = {
        "light": Plan("light", "table", max_calls=5),
        "pro": Plan("pro", "table", is_paid=True, free_seconds=600, max_calls=5),
        "free": Plan("free", "table", voicemail_paid=True, voicemail_price=100_000),
    }
    return Tariff(
        revision="r1",
        digest="d1",
        zone="Europe/Amsterdam",
        region="NL",
        plans=plans or known,
        destinations=DESTINATIONS,
        tables={"table": RateTable("table", {"nl_mobile": Price(steps)})},
        top_ups=TopUps(10 * EURO, ()),
    )


class Rig:
    """Everything between the dialplan's question and the books, ready to be driven by a test."""

    def __init__(self, clock: FakeClock, store: Store, switch: FakeSwitch, policy: Policy, tariff: Tariff) -> None:
        self.clock, self.store, self.switch, self.policy, self.tariff = clock, store, switch, policy, tariff
        self.told: list[Told] = []
        self.missed: list[MissedCall] = []
        self.decided: list[Decided] = []
        self.wire()
        self._task: asyncio.Task[object] | None = None
        self._calls = 0

    def wire(self) -> None:
        """Make the daemon's parts; nothing runs yet."""
        left = LeftMessages(self.store, lambda: self.tariff, self.clock, self.observe, self.policy)
        self.registry = registry = Registry(
            ledger=self.store,
            switch=self.switch,
            clock=self.clock,
            policy=self.policy,
            switch_id="test",
            observe=self.observe,
            findings=Findings(self.store, self.clock, self.observe),
        )
        self.recovery = Recovery(registry)
        undecided = Undecided(self.store.directory, lambda: self.tariff, self.clock, "test", self.decided.append)
        self.black_boxes = BlackBoxes(self.recovery, left.charge, undecided)
        self.desk = Desk(
            store=self.store,
            tariff=lambda: self.tariff,
            registry=registry,
            switch=self.switch,
            clock=self.clock,
            policy=self.policy,
            switch_id="test",
            observe=self.observe,
            missed=self._note_missed,
            keep=lambda made: self.decided.append(made()),
        )

    @property
    def kept(self) -> list[Decided]:
        """The decisions as they are stored."""
        return [one.masked() for one in self.decided]

    async def run(self) -> NoReturn:
        """Serve the sessions, and the daemon's duties to them."""
        tasks = Tasks()
        try:
            for duty in (self.registry.run(), self.recovery.run(), self.recovery.find_named(), self.black_boxes.run()):
                tasks.begin(duty, "duty")
            await tasks.failure()
        finally:
            await tasks.end()

    async def _note_missed(self, call: MissedCall) -> None:
        self.missed.append(call)

    def observe(self, what: Told, session: Record | None = None) -> None:
        assert not isinstance(what, UnexpectedEventMet), what
        self.told.append(what)

    def heard(self, what: str) -> list[Mapping[str, object]]:
        """The fields of everything told under this name."""
        return [fields_of(one) for one in self.told if name_of(type(one)) == what]

    # --- the daemon -------------------------------------------------------------------------------------------

    async def start_daemon(self) -> None:
        self.wire()
        self.switch.deliver = self.registry.deliver
        self._task = asyncio.create_task(self.run(), name="engine")
        await asyncio.sleep(0)
        self.switch.begin()
        await self.recovery.reconcile()
        self.switch.reconciled()
        await self.clock.advance(0)

    async def kill_daemon(self) -> None:
        """As `kill -9`: nothing is told to anyone. Raises what the engine has died of before."""
        self.switch.deliver = lambda _event: None
        if self._task is not None:
            task, self._task = self._task, None
            await stopped(task)

    # --- accounts ---------------------------------------------------------------------------------------------

    async def subscriber(self, credit: int = 0, plan: str = "light", **number: object) -> str:
        await self.store.directory.put_account(Account("anna", plan))
        fields: dict[str, object] = {"forward_to": TARGET, **number}
        made = Number(NUMBER, "anna", **fields)  # type: ignore[arg-type]
        await self.store.directory.put_number(made, await self.store.directory.number(NUMBER))
        if credit:
            await self.credit(credit)
        return "anna"

    async def credit(self, amount: int, key: str = "first") -> None:
        at_us = self.clock.now().wall_us
        await self.store.apply(Transfer(f"top-up/{key}", "anna", Kind.TOP_UP, at_us, (Leg(CREDIT, amount),)))
        self.registry.funds_changed("anna")

    async def balance(self, key: str = CREDIT) -> Balance:
        return (await self.store.balances("anna")).get(key, Balance())

    async def reserved(self) -> dict[str, int]:
        """Whatever is still set aside; empty when nothing runs."""
        return {key: one.reserved for key, one in (await self.store.balances("anna")).items() if one.reserved}

    # --- calls ------------------------------------------------------------------------------------------------

    async def ring(
        self,
        number: str = NUMBER,
        *,
        withheld: bool = False,
        caller: str | None = None,
        diverted: tuple[str, ...] = (),
        is_diverted_further: bool = False,
    ) -> Answer:
        """A caller comes, each with a number of his own; the decision."""
        self._calls += 1
        shown = f"+31107{654320 + self._calls}" if caller is None else caller
        call = IncomingCall(number, shown, self.caller_uid, "PJSIP/world-1", withheld, diverted, is_diverted_further)
        return await self.desk.incoming(call)

    @property
    def caller_uid(self) -> str:
        """Of the last caller's channel."""
        return f"u{self._calls}"

    async def ringing(self, *, withheld: bool = False, caller: str | None = None) -> FakeCall:
        """A call that is being dialled."""
        answer = await self.ring(withheld=withheld, caller=caller)
        assert answer.decision == "forward", answer
        assert answer.session is not None
        assert answer.quota_s is not None
        call = self.switch.dial(answer.session, answer.quota_s, self.caller_uid)
        await self.clock.advance(0)
        return call

    async def talking(self) -> FakeCall:
        """A call that was answered just now."""
        call = await self.ringing()
        self.switch.answer(call.session)
        await self.clock.advance(0)
        return call

    async def hang_up(self, call: FakeCall) -> None:
        self.switch.end(call.session)
        await self.clock.advance(ENDS_TOGETHER_S)

    async def hang_up_unrecorded(self, call: FakeCall, record: BlackBoxRead | None = None) -> None:
        """The call ends, and the switch has no record of it, or this one."""
        self.switch.note = lambda session, _record: record
        self.switch.end(call.session)
        self.switch.note = lambda session, noted: noted
        await self.clock.advance(ENDS_TOGETHER_S)

    def runner_of(self, call: FakeCall) -> SessionRunner:
        runner = self.registry.open.find(call.session)
        assert runner is not None, "the session is open"
        return runner

    def session_of(self, call: FakeCall) -> Session:
        session = self.runner_of(call).session
        assert isinstance(session, Session)
        return session


@asynccontextmanager
async def make_rig(
    policy: Policy | None = None, tariff: Tariff | None = None, store: Store | None = None
) -> AsyncIterator[Rig]:
    """A running engine."""
    clock = FakeClock()
    rig = Rig(clock, store or MemoryStore(clock), FakeSwitch(clock), policy or Policy(), tariff or make_tariff())
    await rig.start_daemon()
    try:
        yield rig
    finally:
        await rig.kill_daemon()
        countdowns = [call.countdown for call in rig.switch.calls.values() if call.countdown is not None]
        for countdown in countdowns:
            countdown.cancel()
        await asyncio.gather(*countdowns, return_exceptions=True)


def with_short_code(tariff: Tariff, code: str = "1233") -> Tariff:
    """The tariff, in which a short code has a price."""
    table = tariff.tables["table"]
    help_line = Destination("help", (), short_codes=(code,))
    prices = {**table.prices, "help": table.prices["nl_mobile"]}
    return replace(
        tariff,
        destinations={**tariff.destinations, "help": help_line},
        tables={**tariff.tables, "table": replace(table, prices=prices)},
    )


def plan(tariff: Tariff, name: str, **changes: object) -> Tariff:
    """The tariff with one plan changed."""
    plans = {**tariff.plans, name: replace(tariff.plans[name], **changes)}  # type: ignore[arg-type]
    return replace(tariff, plans=MappingProxyType(plans))
