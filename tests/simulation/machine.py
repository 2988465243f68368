"""One daemon of a simulated city: its process, which can be killed or frozen at any of its awaits, and the lines that
join it to the ledger and to its switch, which can be cut, slow, deaf or forgetful."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from charging.app_notices import Notices
from charging.call.events import BlackBoxRead
from charging.call.model import Policy
from charging.call.storage import Record
from charging.call.switch_events import SwitchEvent
from charging.call.told import CallSettled
from charging.clock import Instant
from charging.engine.black_boxes import BlackBoxes
from charging.engine.desk import Desk
from charging.engine.findings import Findings
from charging.engine.leadership import LeaseKeeper
from charging.engine.left_messages import LeftMessages
from charging.engine.ports import Legs, Look, PromptResult
from charging.engine.recovery import Recovery
from charging.engine.sessions import Registry
from charging.engine.told import Told, UnexpectedEventMet, name_of
from charging.engine.undecided import Undecided
from charging.errors import LedgerUnavailable, LinkDown, SwitchError
from charging.fax.desk import FaxDesk
from charging.ledger.metered import PARTS
from charging.ledger.port import Store
from charging.service.caretaker import Caretaker
from charging.service.live import RegistryCalls
from charging.service.proven_time import ProvenTime
from charging.service.service import Service
from charging.tariff.tariff import Tariff
from tests.fakes.clock import FakeClock, stopped
from tests.fakes.switch import FakeSwitch, failure_of

LEASE_S = 15
JITTER = 4
"""Turns of the loop between answers that come in the same moment."""
RECONNECT_S = 1


class Loud:
    """In the place of a module's log: what a task says of a fault of ours, and survives, ends the story."""

    def __init__(self, module: str) -> None:
        self._module = module

    def error(self, event: str, **fields: object) -> None:
        """Raises AssertionError."""
        raise AssertionError(f"{self._module}: {event} {fields}")

    def __getattr__(self, _level: str) -> Callable[..., None]:
        return lambda *_event, **_fields: None


LOUD = ("charging.notify.notifier", "charging.notify.missed_desk", "charging.notify.worker", "charging.app_notices")
"""Modules of which every error is a fault of ours."""


UNACKNOWLEDGED = ("acquire_lease", "renew_lease", "release_lease")
"""Writes that wait for no replica: their epochs fence."""
WRITES = frozenset(
    (
        *UNACKNOWLEDGED,
        *("apply", "apply_all", "keep_session", "drop_balances", "put_account", "put_number", "remove_number"),
        *("put_document", "update_document", "delete_document"),
    )
)


@dataclass
class Process:
    """Whether a program runs; every await on the outside passes through `turn`, where it may stand still or end."""

    dead: bool = False
    dies_in: int | None = None
    """So many awaits from now it is killed, as `kill -9` does."""
    killed: Callable[[], None] = lambda: None
    _runs: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._runs.set()

    @property
    def is_frozen(self) -> bool:
        return not self._runs.is_set()

    def freeze(self) -> None:
        self._runs.clear()

    def thaw(self) -> None:
        self._runs.set()

    async def turn(self) -> None:
        """Go on as soon as the process runs; a dead one never does."""
        while self.is_frozen and not self.dead:
            await self._runs.wait()
        if self.dies_in is not None and not self.dead:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.dead = True
                self.killed()
        if self.dead:
            raise asyncio.CancelledError


class MachineClock:
    """The city's clock, as a process reads it: one that is frozen does not wake."""

    def __init__(self, clock: FakeClock, process: Process, boot: str) -> None:
        self._clock = clock
        self._process = process
        self.boot = boot

    def now(self) -> Instant:
        return self._clock.now()

    async def sleep_until(self, mono_us: int) -> None:
        await self._clock.sleep_until(mono_us)
        await self._process.turn()


class LedgerLine:
    """The way to the ledger: what is asked may not arrive, or be done without an answer."""

    def __init__(
        self,
        store: Store,
        process: Process,
        clock: FakeClock,
        chance: random.Random,
        counts: Counter[str],
        granted: Callable[[], Awaitable[None]],
    ) -> None:
        """``granted``: a lease is the daemon's; it hears of that once this returns."""
        self._store = store
        self._process = process
        self._clock = clock
        self._chance = chance
        self._counts = counts
        self._granted = granted
        self._opened: asyncio.Event | None = None
        """What waits for the next call that is opened."""
        self.failing = 0.0
        """The share of requests that fail, half of them after they were carried out; 1: out of reach."""
        self.busy = 0
        """Requests that are on their way now."""

    @property
    def as_store(self) -> Store:
        """The same object, as the Store that it is in all but its type."""
        return cast(Store, self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        self.__dict__[name] = made = _LinePart(self, found) if name in PARTS else self.over(found)  # asked once
        return made

    def over(self, found: Any) -> Any:
        """What is asked by this line."""
        if inspect.isasyncgenfunction(found):
            return functools.partial(self._walk, found)
        return functools.partial(self._ask, found) if inspect.iscoroutinefunction(found) else found

    async def opened_within(self, seconds: float) -> None:
        """Wait until the ledger has carried out the opening of a call, which has not heard of it yet either."""
        self._opened = asyncio.Event()
        opened, patience = (
            asyncio.create_task(one)
            for one in (self._opened.wait(), self._clock.sleep_until(self._clock.now().plus(seconds).mono_us))
        )
        await asyncio.wait((opened, patience), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        patience.cancel()
        self._opened = None

    async def _walk(
        self, method: Callable[..., AsyncIterator[Any]], *arguments: Any, **options: Any
    ) -> AsyncIterator[Any]:
        rows = method(*arguments, **options)
        while True:
            await self._process.turn()
            if self.failing and self._chance.random() < self.failing:
                self._counts["request lost"] += 1
                raise LedgerUnavailable
            self.busy += 1
            try:
                row = await anext(rows)
            except StopAsyncIteration:
                return
            finally:
                self.busy -= 1
            yield row

    async def _ask(self, method: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        await self._process.turn()
        fails = self.failing and self._chance.random() < self.failing
        writes, is_cut_off = method.__name__ in WRITES, getattr(self._store, "is_cut_off", False)
        if writes and getattr(self._store, "is_read_only", False):
            self._counts["write refused: read only"] += 1
            raise LedgerUnavailable("READONLY You can't write against a read only replica.")
        if fails and (self.failing >= 1 or self._chance.random() < 0.5):
            self._counts["request lost"] += 1
            raise LedgerUnavailable
        self.busy += 1
        try:
            answer = await method(*arguments, **options)
        finally:
            self.busy -= 1
        if method.__name__ == "acquire_lease" and answer:
            await self._granted()
        if method.__name__ == "apply" and self._opened is not None:
            self._opened.set()
            for _ in range(self._chance.randrange(JITTER)):
                await asyncio.sleep(0)
        await self._process.turn()
        if is_cut_off and writes and method.__name__ not in UNACKNOWLEDGED:
            self._counts["write not acknowledged"] += 1
            raise LedgerUnavailable("only 0 of 1 replicas have what was written so far; ask again")
        if fails:
            self._counts["answer lost"] += 1
            raise LedgerUnavailable
        return answer


class _LinePart:
    """What stands beside the ledger in a store."""

    def __init__(self, line: LedgerLine, part: Any) -> None:
        self._line = line
        self._part = part

    def __getattr__(self, name: str) -> Any:
        self.__dict__[name] = made = self._line.over(getattr(self._part, name))
        return made


class SwitchLine:
    """The way to the switch and back: `charging.engine.ports.Switch`, of one daemon."""

    def __init__(
        self, switch: FakeSwitch, clock: FakeClock, process: Process, chance: random.Random, counts: Counter[str]
    ) -> None:
        self._switch = switch
        self._clock = clock
        self._process = process
        self._chance = chance
        self._counts = counts
        self._proven: int | None = None
        self._is_reconciled = False
        self._held_back: list[SwitchEvent] = []
        self.hear: Callable[[SwitchEvent], None] = lambda _event: None
        self.is_up = True
        self.came_up = asyncio.Event()
        self.disobeys = 0.0
        """The share of orders and questions that fail, though events come."""
        self.garbles = 0.0
        """The share of events that are lost, late (behind others) or doubled."""
        self.late: set[asyncio.Task[None]] = set()

    def deliver(self, event: SwitchEvent) -> None:
        """The switch tells of something."""
        if not self.is_up or self._process.dead:
            return
        if self._process.is_frozen:
            self._held_back.append(event)  # in the socket
            return
        if self.garbles and self._chance.random() < self.garbles:
            self._garble(event)
        else:
            self.hear(event)

    def _garble(self, event: SwitchEvent) -> None:
        fault = self._chance.choice(("event lost", "event late", "event doubled"))
        self._counts[fault] += 1
        if fault == "event late":
            task = asyncio.create_task(self._later(event, self._chance.choice((0.01, 0.3, 2.0))))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
        elif fault == "event doubled":
            self.hear(event)
            self.hear(event)

    async def _later(self, event: SwitchEvent, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().plus(seconds).mono_us)
        if self.is_up and not self._process.dead:
            self.hear(event)

    def thawed(self) -> None:
        """What has waited in the socket is read."""
        held_back, self._held_back = self._held_back, []
        for event in held_back:
            self.hear(event)

    def cut(self) -> None:
        self.proven_mono_us  # noqa: B018  the last moment in which it was proven
        self.is_up = self._is_reconciled = False  # Asterisk may have been restarted: a new link proves nothing yet
        self._held_back.clear()

    def reconciled(self) -> None:
        """From now on the link proves the past."""
        if not self._is_reconciled:
            self._proven, self._is_reconciled = self._clock.now().mono_us, True

    def mend(self) -> None:
        self.is_up = True
        self.came_up.set()

    @property
    def proven_mono_us(self) -> int | None:
        if self.is_up and self._is_reconciled and not self._process.is_frozen:
            self._proven = self._clock.now().mono_us
        return self._proven

    @property
    def started(self) -> str:
        return self._switch.started

    @property
    def starts(self) -> int:
        """How often Asterisk was started again: it says when it was."""
        return self._switch.starts

    async def reach(self) -> None:
        """Raises LinkDown where an order or a question does not get through."""
        await self._process.turn()
        if not self.is_up or self.forgets():
            self._counts["order lost"] += 1
            raise LinkDown

    def forgets(self) -> bool:
        """Whether this one is lost: on its way, or its answer."""
        return bool(self.disobeys) and self._chance.random() < self.disobeys

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        await self.reach()
        return await self._switch.is_asking(caller_uid, proof)

    async def is_rehearsal(self, caller_uid: str) -> bool:
        await self.reach()
        return await self._switch.is_rehearsal(caller_uid)

    async def look(self) -> Look:
        await self.reach()
        return await self._switch.look()

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        return [await self._look_at(one) for one in asked]

    async def _look_at(self, asked: tuple[str, Sequence[str]]) -> Legs | SwitchError:
        try:
            await self.reach()
        except SwitchError as error:
            return error
        (answer,) = await self._switch.look_at([asked])
        return answer

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        return [await failure_of(self.set_deadline(uid, at)) for uid, at in deadlines]

    async def set_deadline(self, uid: str, at: Instant) -> None:
        await self.reach()
        await self._switch.set_deadline(uid, at)

    async def fax_pages(self, uids: Sequence[str]) -> int | None:
        await self.reach()
        return await self._switch.fax_pages(uids)

    async def hang_up(self, uid: str) -> None:
        await self.reach()
        await self._switch.hang_up(uid)

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        await self.reach()
        return await self._switch.play_prompt(session, sequence, callee_uid, language, prompt)

    async def black_boxes_of(self, sessions: Sequence[str]) -> Sequence[BlackBoxRead | SwitchError]:
        return [await self._black_box_of(session) for session in sessions]

    async def _black_box_of(self, session: str) -> BlackBoxRead | SwitchError:
        try:
            await self.reach()
        except SwitchError as error:
            return error
        (answer,) = await self._switch.black_boxes_of([session])
        return answer

    async def black_boxes(self, booked: Container[str] = ()) -> Mapping[str, BlackBoxRead | None]:
        await self.reach()
        return await self._switch.black_boxes(booked)

    async def delete_records(self, keys: Sequence[str]) -> None:
        await self.reach()
        await self._switch.delete_records(keys)


class Daemon:
    """A daemon that runs: the parts of `charging.app.build` that touch calls and money, on simulated lines."""

    def __init__(
        self,
        name: str,
        *,
        clock: FakeClock,
        boot: str,
        store: Store,
        switch: FakeSwitch,
        switch_id: str,
        policy: Policy,
        tariff: Callable[[], Tariff],
        chance: random.Random,
        counts: Counter[str],
        lease_s: int,
        granted: Callable[[Daemon], Awaitable[None]],
        fax: Callable[[Daemon], FaxDesk],
        notices: Callable[[Daemon], Notices],
        settled: Callable[[str], None],
    ) -> None:
        """``settled`` hears of each call that is booked, by its session."""
        self.name = name
        self._settled = settled
        self.switch_id = switch_id
        self.counts = counts
        self.process = Process(killed=self.die)
        self.chance = chance
        self.clock = own = MachineClock(clock, self.process, boot)
        self.ledger = LedgerLine(store, self.process, clock, chance, counts, functools.partial(granted, self))
        self.line = SwitchLine(switch, clock, self.process, chance, counts)
        self.notices = notices(self)
        self._observe = self.notices.watching(self._count)
        self.lease, self.registry = self._engine(policy, lease_s)
        self.recovery, self.black_boxes = self._recovery(policy, tariff)
        self.desk = Desk(
            store=self.ledger.as_store,
            tariff=tariff,
            registry=self.registry,
            switch=self.line,
            clock=own,
            policy=policy,
            switch_id=switch_id,
            observe=self._observe,
            missed=self.notices.missed,
        )
        self.caretaker, self.service = self._office(tariff, fax(self))
        self.line.hear = self.registry.deliver
        self._tasks: list[asyncio.Task[NoReturn]] = []

    def _engine(self, policy: Policy, lease_s: int) -> tuple[LeaseKeeper, Registry]:
        seen = self.ledger.as_store
        lease = LeaseKeeper(
            seen.leases,
            self.clock,
            switch_id=self.switch_id,
            owner=self.name,
            ttl_s=lease_s,
            observe=self._observe,
            fit=lambda: self.line.is_up,
        )
        registry = Registry(
            ledger=seen,
            switch=self.line,
            clock=self.clock,
            policy=policy,
            switch_id=self.switch_id,
            observe=self._observe,
            findings=Findings(seen, self.clock, self._observe),
            leads=lambda: lease.holds,
        )
        return lease, registry

    def _recovery(self, policy: Policy, tariff: Callable[[], Tariff]) -> tuple[Recovery, BlackBoxes]:
        seen, recovery = self.ledger.as_store, Recovery(self.registry)
        left = LeftMessages(seen, tariff, self.clock, self._observe, policy)
        undecided = Undecided(seen.directory, tariff, self.clock, self.switch_id, lambda _decided: None)
        return recovery, BlackBoxes(recovery, left.charge, undecided)

    def _office(self, tariff: Callable[[], Tariff], fax: FaxDesk) -> tuple[Caretaker, Service]:
        seen, changed = self.ledger.as_store, self.registry.funds_changed
        believed = ProvenTime(seen, self.clock).believed
        caretaker = Caretaker(seen, tariff, self.clock, changed, believed=believed)
        live = RegistryCalls(self.registry)
        return caretaker, Service(
            store=seen,
            tariff=tariff,
            clock=self.clock,
            funds_changed=changed,
            live=live,
            fax=fax,
            touched=self.notices.touched,
        )

    def start(self) -> None:
        """The ordinary start."""
        engine = self.registry.run(), self.recovery.run(), self.recovery.find_named(), self.black_boxes.run()
        calls = *engine, self.lease.run(self.recovery), self.caretaker.run(), self._keep_link()
        duties = *calls, self.notices.look_for_ever(), *self.notices.duties().values()
        self._tasks = [asyncio.create_task(duty) for duty in duties]

    def die(self) -> None:
        """At once; what its tasks end with is not asked for."""
        self.process.dead = True
        self.process.thaw()
        for task in self._tasks:
            task.cancel()

    async def kill(self) -> None:
        """As `kill -9`: nothing is told to anyone, and nothing is cleaned up."""
        self.die()
        await self.gone()

    async def gone(self) -> None:
        """Wait until a killed daemon is. Raises what a task of it had failed with before."""
        tasks, self._tasks = self._tasks, []
        await stopped(*tasks)

    def failed(self) -> None:
        """Raises what a task has failed with: on a real machine it would have brought the daemon down."""
        for task in self._tasks:
            if task.done() and not self.process.dead:
                task.result()

    async def _keep_link(self) -> NoReturn:
        """As `charging.asterisk.link` does: each time the link is up, sessions are compared with the switch."""
        self.line.came_up.set()
        started = self.line.starts
        while True:
            await self.line.came_up.wait()
            await self.process.turn()
            self.line.came_up.clear()
            if not self.line.is_up:
                continue
            try:
                await self.recovery.reconcile(restarted=self.line.starts != started)
                self.line.reconciled()
                started = self.line.starts
            except SwitchError:
                await self.clock.sleep_until(self.clock.now().plus(RECONNECT_S).mono_us)
                self.line.came_up.set()

    def _count(self, what: Told, session: Record | None = None) -> None:
        assert not isinstance(what, UnexpectedEventMet), what
        if isinstance(what, CallSettled) and session is not None:
            self._settled(session.id)
        self.counts[f"told {name_of(type(what))}"] += 1
