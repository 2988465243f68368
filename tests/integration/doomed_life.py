"""One call's whole life, in a process that may be killed in it, and what the next daemon makes of what is left.

The switch is the world outside: it is saved at the moment of death, and goes on, with its clock, without a daemon.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charging.call.model import Policy
from charging.clock import MICROSECONDS, Instant
from charging.engine.leadership import LeaseKeeper
from charging.ledger.accounts import Account, Number
from charging.ledger.balances import promo
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Transfer
from charging.ledger.port import Store
from charging.pricing.packs import pack_of
from charging.service.events import Events, Line, Place, What
from charging.service.refusal import Refused
from charging.tariff.plans import Pack
from tests.fakes.clock import FakeClock, stopped
from tests.fakes.killing_store import KillingStore, Reaper, When
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_tariff, plan
from tests.fakes.switch import FakeCall, FakeSwitch
from tests.integration.killing_ground import watched

TOP_UP = 10 * EURO
GIFT = EURO // 50
"""Of promotional credit: less than the call costs."""
FREE_S = 90
TALK_S = 190.4
"""Through the free seconds, into credit, over three ticks."""
RING_S = 3
NOVEMBER_S = 57
"""Of a call over the month's end: fewer than its free seconds."""
DECEMBER_US = 1_796_079_600 * MICROSECONDS
"""2026-12-01T00:00 in Amsterdam."""
AWAY_S = 20
"""Between a death and the next daemon's start: within the horizon."""
PACK_S = 5
"""Of an add-on pack, which pays after the months' free seconds."""
TARIFF = replace(
    plan(plan(make_tariff(), "pro", free_seconds=FREE_S), "free", free_messages=1),
    packs={"addon": Pack("addon", "Add-on", PACK_S, days=60)},
)


@dataclass
class Daemon:
    """Registry, desk and lease on a store that is watched."""

    rig: Rig
    store: KillingStore
    keeper: LeaseKeeper
    task: asyncio.Task[None]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and wait for the store in every moment of it."""
        clock = self.rig.clock
        end_us = clock.now().mono_us + round(seconds * MICROSECONDS)
        await self.store.rest()
        while (deadline := clock.next_deadline_us) is not None and deadline <= end_us:
            await clock.jump()
            await self.store.rest()
        await clock.advance((end_us - clock.now().mono_us) / MICROSECONDS)

    async def stop(self) -> None:
        await stopped(self.task)
        await self.store.as_store.close()


async def start(killing: KillingStore, switch: FakeSwitch, plan: str = "pro", forward_to: str = TARGET) -> Daemon:
    """A daemon that leads, on a store whose operator has seen to it that anna has her account, number and money."""
    store = killing.as_store
    await store.open()
    rig = Rig(switch.clock, store, switch, Policy(), TARIFF)
    await store.directory.put_account(Account("anna", plan))
    await store.directory.put_number(Number(NUMBER, "anna", forward_to=forward_to))
    money = Leg(CREDIT, TOP_UP), Leg(promo("2027-01-01"), GIFT), Leg(pack_of("addon", "2027-01-01"), PACK_S)
    await store.apply(Transfer("top-up/1", "anna", Kind.TOP_UP, 1, money))
    registry = rig.registry
    switch.deliver = registry.deliver
    keeper = LeaseKeeper(
        store.leases,
        switch.clock,
        switch_id="test",
        owner="local",
        ttl_s=240,
        observe=rig.observe,
    )
    registry.leads = lambda: keeper.holds

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(rig.run())
            await asyncio.sleep(0)
            tasks.create_task(keeper.run(rig.recovery))

    daemon = Daemon(rig, killing, keeper, asyncio.create_task(run()))
    await daemon.pass_time(0)
    return daemon


async def talk(daemon: Daemon) -> None:
    """The call, from wherever it stands to its end and half a minute more. A caller who got no answer calls again."""
    switch = daemon.rig.switch
    call = next(iter(switch.calls.values()), None) or await _dialled(daemon)
    if call.answered is None:
        await daemon.pass_time(RING_S)
        switch.answer(call.session)
    if call.caller_alive:
        await daemon.pass_time(_left_s(call, switch))
        switch.end(call.session)
    await daemon.pass_time(30)


def _left_s(call: FakeCall, switch: FakeSwitch) -> float:
    """How long its parties will talk on."""
    assert call.answered is not None
    return TALK_S - (switch.clock.now().mono_us - call.answered.mono_us) / MICROSECONDS


async def _dialled(daemon: Daemon) -> FakeCall:
    answer = await daemon.rig.ring()
    assert answer.decision == "forward", answer
    assert answer.session is not None
    assert answer.quota_s is not None
    return daemon.rig.switch.dial(answer.session, answer.quota_s, f"u{daemon.rig._calls}")


# --- the world outside ------------------------------------------------------------------------------------------


def save(switch: FakeSwitch, file: Path) -> None:
    """What lives on when the daemon dies."""
    calls = [
        {name: value for name, value in vars(call).items() if name not in ("ended", "countdown")}
        for call in switch.calls.values()
    ]
    file.write_bytes(pickle.dumps((switch.clock.now(), calls, switch.records)))


def restore(file: Path) -> FakeSwitch:
    """The switch as it was then; its deadlines count again. Needs a running loop."""
    now, calls, records = pickle.loads(file.read_bytes())
    assert isinstance(now, Instant)
    switch = FakeSwitch(FakeClock(now.mono_us, now.wall_us))
    switch.records = records
    for fields in calls:
        call = switch.calls[fields["session"]] = FakeCall(**fields)
        if call.caller_alive and call.deadline_mono_us is not None:
            switch._count_down(call, call.deadline_mono_us)
    return switch


async def go_on_alone(switch: FakeSwitch) -> None:
    """Nobody is there but the parties, who hang up when they want to."""
    passed_s = 0.0
    for call in switch.calls.values():
        if call.caller_alive and call.answered is not None and _left_s(call, switch) <= AWAY_S:
            passed_s = _left_s(call, switch)
            await switch.clock.advance(passed_s)
            switch.end(call.session)
    await switch.clock.advance(AWAY_S - passed_s)


# --- the two processes ------------------------------------------------------------------------------------------


def doomed(url: str, at: int, when: When, world: Path, told: Path) -> None:
    """The first process: lives a call's whole life, or dies at one of its writes. Tells the writes it has made."""
    _live_at(FakeClock(), url, at, when, world, told)


def doomed_over_midnight(url: str, at: int, when: When, world: Path, told: Path) -> None:
    """The same, with a call that is answered NOVEMBER_S before November ends."""
    _live_at(FakeClock(wall_us=DECEMBER_US - (NOVEMBER_S + RING_S) * MICROSECONDS), url, at, when, world, told)


def _live_at(clock: FakeClock, url: str, at: int, when: When, world: Path, told: Path) -> None:
    switch = FakeSwitch(clock)
    reaper = Reaper(at, when, lambda: save(switch, world))
    asyncio.run(_live(url, reaper, switch))
    told.write_text(json.dumps(reaper.writes))


async def _live(url: str, reaper: Reaper, switch: FakeSwitch) -> None:
    async with watched(url, reaper) as store:
        daemon = await start(store, switch)
        await talk(daemon)
        await daemon.stop()


def doomed_message(url: str, at: int, when: When, world: Path, told: Path) -> None:
    """The life of a message that the plan includes."""
    switch = FakeSwitch(FakeClock())
    reaper = Reaper(at, when, lambda: save(switch, world))

    async def live() -> None:
        async with watched(url, reaper) as store:
            daemon = await start(store, switch, "free", "")
            await _leave(daemon)
            await daemon.stop()

    asyncio.run(live())
    told.write_text(json.dumps(reaper.writes))


async def _leave(daemon: Daemon) -> None:
    answer = await daemon.rig.ring()
    assert answer.decision == "voicemail", answer
    daemon.rig.switch.leave_message(answer.session or "", f"u{daemon.rig._calls}")
    await daemon.pass_time(30)


async def recover_message(url: str, world: Path) -> tuple[dict[str, Balance], list[dict[str, Any]], list[str]]:
    """The next process: balances, CDRs and findings in the end. A caller who left no message calls again."""
    switch = restore(world)
    await switch.clock.advance(AWAY_S)
    daemon = await start(KillingStore(url, None), switch, "free", "")
    await daemon.pass_time(60)
    store = daemon.rig.store
    if not any(json.loads(row.document)["messages"] for row in await store.cdrs()):
        await _leave(daemon)
    cdrs = [json.loads(row.document) for row in await store.cdrs()]
    found = dict(await store.balances("anna")), cdrs, [str(one) async for one in verify(store)]
    await daemon.stop()
    return found


@dataclass
class Books:
    """What stands in the end."""

    balances: dict[str, Balance]
    open_sessions: Sequence[Any]
    openings: int
    cdrs: list[dict[str, Any]]
    findings: list[str]
    talked_ms: list[int]
    """By the switch's black box."""
    not_deleted: list[str]
    """What is still in that."""
    answered_us: int
    """Wall clock: when the call's time began."""
    cut: bool
    """Whether the call ended before its parties wanted."""
    told: list[tuple[str, Any]]
    """The account's events, each with the CDR that it tells."""


async def told(store: Store) -> list[tuple[str, Any]]:
    """What a program is told that asks until nothing is new."""
    events, found, cursor, before = Events(store), [], Line(), Line(-1)
    while cursor != before:
        before = cursor
        answer = await events.page("anna", cursor, 2)
        assert not isinstance(answer, Refused)
        page, cursor = answer
        found += [(one.what.value, one.data.get("cdr")) for one in page]
    assert found == [one for one in await all_events(events) if one[0] in BOOKED]
    return found


BOOKED = {what.value for what in What if what not in (What.CALL_REFUSED, What.NOTICE, What.SETTING_CHANGED)}


async def all_events(events: Events) -> list[tuple[str, Any]]:
    """The same of the stream of all accounts."""
    found: list[tuple[str, Any]] = []
    place, before = Place(), Place(-1)
    while place != before:
        before = place
        answer = await events.of_all(place, 2)
        assert not isinstance(answer, Refused)
        page, place = answer
        found += [(one.what.value, one.data.get("cdr")) for one in page if one.account == "anna"]
    return found


async def recover(url: str, world: Path) -> Books:
    """The next process: starts after a while, goes on with what is left, and shows the books."""
    switch = restore(world)
    await go_on_alone(switch)
    daemon = await start(KillingStore(url, None), switch)
    await talk(daemon)
    store = daemon.rig.store
    lines = [line async for line in store.journal("anna")]
    books = Books(
        dict(await store.balances("anna")),
        await store.sessions(),
        sum(line.kind is Kind.RESERVE for line in lines),
        [json.loads(row.document) for row in await store.cdrs()],
        [str(one) async for one in verify(store)],
        [call.noted_ms for call in switch.calls.values() if call.noted_ms is not None],
        list(switch.records),
        next(call.answered.wall_us for call in switch.calls.values() if call.answered is not None),
        any(call.true_ms < TALK_S * 1000 for call in switch.calls.values()),
        await told(store),
    )
    await daemon.stop()
    return books
