"""A simulated town of subscribers: several switches, several daemons for each, one ledger, and everything that can
happen to them. A story (`tests.simulation.story`) tells what does; the inspector (`tests.simulation.inspector`) looks
at the books afterwards."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zoneinfo import ZoneInfo

from agi.port import Answer, IncomingCall
from charging.call.model import Policy
from charging.call.switch_events import SwitchEvent
from charging.clock import MICROSECONDS
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.model import CREDIT, Balance
from charging.ledger.port import Store
from charging.service.proven_time import OUTAGE_S, confirm_time
from charging.tariff.tariff import Tariff
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.fakes.switch import FakeCall, FakeSwitch
from tests.simulation import faxes
from tests.simulation.asking import ask
from tests.simulation.callers import Caller
from tests.simulation.loop import CityClock
from tests.simulation.machine import Daemon
from tests.simulation.numbers import MOVING, Numbers, spelled
from tests.simulation.people import People
from tests.simulation.post import DOMAIN, Post
from tests.simulation.setting import PLANS, Setting, tariff_of
from tests.simulation.steps import Steps

BEGUN = {
    "2026-11-30T22:40:00": "at a month's end",  # in Amsterdam
    "2026-12-31T22:30:00": "at a year's end",
    "2026-03-29T00:30:00": "in a night when the clocks change",
    "2026-10-25T00:20:00": "in a night when the clocks change",
    "2028-02-28T22:30:00": "before a 29 February",
}
"""Moments, UTC, soon after which something happens to the calendar."""
ACCOUNTS = 12
TARGETS = ("+31612345678", "+31687654321")
ABROAD = "+12125550123"  # Pro's free minutes do not pay for it
MENDED_WITHIN_S = 700
"""Every fault and every top-up that waits is over by then."""
CLOSED_WITHIN_S = 1200
"""Every session is closed by then, once its call has ended."""
TOLD_WITHIN_S = 900
"""What is due in the morning is in the mailboxes by then."""
RUSH_S = 2
"""So long a lease's answer waits for a call to be opened."""


def _happened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


class City:
    """See the module."""

    archived_us = 0
    """Wall clock: what came before is archived."""

    def __init__(self, setting: Setting, seed: int, store: Callable[[FakeClock], Store]) -> None:
        self.setting = setting
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.clock = CityClock(setting.start)
        self.asking = 0  # questions of the city's own to the ledger, while time would pass
        self.clock.at_work = lambda: bool(self.asking) or any(one and one.ledger.busy for one in self.daemons)
        self.new_store = partial(store, self.clock)
        self.store = self.new_store()
        self.archives = Path(mkdtemp(prefix="archives-"))  # where months that are over lie
        self.office = faxes.Office(self)
        self.post = Post(self)
        self.edition = 0
        self._tariffs = [tariff_of(setting, edition) for edition in range(len(setting.rates))]
        self.switches = [FakeSwitch(self.clock) for _ in range(setting.switches)]
        for switch in self.switches:
            switch.notes_uptime, switch.tells_since = setting.apart, not setting.is_old
            switch.up_longer_us = 10**12 if setting.apart else 0
        self.daemons: list[Daemon | None] = [None] * (setting.switches * setting.daemons)
        self.callers: list[Caller] = []
        self.of_session: dict[str, Caller] = {}
        self.trouble_until_us = [self.clock.now().mono_us + setting.grace_s * MICROSECONDS] * setting.switches
        self.troubles: list[tuple[int, int, int]] = []
        """What was wrong: at which switch, from when until when it was mended, monotonic."""
        self.people = People(self)
        self.numbers = Numbers(self)
        self._spelling = random.Random(f"spelling{seed}")
        self.wrong_us: list[tuple[int, int]] = []  # what clocks showed while they were years wrong, from when to when
        self.is_morning = False
        """Whether everything has run undisturbed since nine o'clock, and nobody has called."""
        self._is_on = _happened()
        self.rush = 0  # so many call as soon as a lease is gained, in the very moment
        self.is_over = False  # those who still talk are made to hang up
        self._names = 0
        self.steps = Steps(self)
        self._calls: set[asyncio.Task[None]] = set()
        self._doings: set[asyncio.Task[None]] = set()  # faults, and what people and programs do
        shared = setting.daemons > 1
        self.policy = Policy(
            tick_s=setting.tick_s,
            horizon_s=setting.horizon_s,
            warn_before_s=min(20, setting.horizon_s),
            retry_s=10 if setting.is_slow else 1,
            short_poll_s=setting.pace if shared or setting.switches > 1 else 0,
        )
        for index, switch in enumerate(self.switches):
            switch.deliver = partial(self._deliver, index)

    def _deliver(self, switch: int, event: SwitchEvent) -> None:
        for daemon in self.of(switch):
            daemon.line.deliver(event)

    # --- who and where ----------------------------------------------------------------------------------------

    @property
    def tariff(self) -> Tariff:
        return self._tariffs[self.edition]

    @property
    def is_off(self) -> bool:
        """Every machine: nobody starts a daemon."""
        return not self._is_on.is_set()

    @is_off.setter
    def is_off(self, off: bool) -> None:
        if off:
            self._is_on.clear()
        else:
            self._is_on.set()

    @property
    def is_troubled(self) -> bool:
        """Whether anything is wrong now, or was a while ago."""
        return self.is_off or any(until_us >= self.clock.now().mono_us for until_us in self.trouble_until_us)

    def of(self, switch: int) -> list[Daemon]:
        """The daemons of a switch that are not dead."""
        first = switch * self.setting.daemons
        found = self.daemons[first : first + self.setting.daemons]
        return [one for one in found if one is not None and not one.process.dead]

    def alive(self) -> Iterator[Daemon]:
        """Every daemon that runs."""
        return (one for one in self.daemons if one is not None and not one.process.dead)

    def switch_of(self, daemon: int) -> int:
        return daemon // self.setting.daemons

    def trouble(self, switch: int, seconds: float, *, seen: bool = False) -> None:
        """Something is wrong at a switch for so long. ``seen``: its daemons see the clocks all the same."""
        now = self.clock.now()
        self.trouble_until_us[switch] = max(
            self.trouble_until_us[switch], now.plus(seconds + self.setting.grace_s).mono_us
        )
        self.troubles.append((switch, now.mono_us, now.plus(seconds).mono_us))
        if not seen:
            self.steps.unwatched += self.troubles[-1:]

    async def begin(self) -> None:
        """Subscribers with their numbers and first credit, and every daemon."""
        self.counts[f"begun {BEGUN.get(self.setting.start, 'on some day')}"] += 1
        await self.store.open()
        for index in range(ACCOUNTS):
            account, plan = f"a{index}", PLANS[index % len(PLANS)]
            mailbox, now_us = f"{account}@{DOMAIN}", self.clock.now().wall_us
            await self.store.directory.put_account(Account(account, plan, Language.EN, mailbox, created_us=now_us))
            number = Number(f"+3120123450{index:02}", account, forward_to=TARGETS[0])
            await self.store.directory.put_number(number, None)
            self.people.credited[account] = 0
        await self.numbers.begin(list(self.people.credited), TARGETS[1])
        for index in range(len(self.daemons)):
            self.start(index)
        await self.clock.advance(2)
        for index in range(ACCOUNTS):
            poor, rich = (100 * EURO, 5_000 * EURO) if self.setting.is_slow else (1 * EURO, 20 * EURO)
            await self.people.top_up(index, self.chance.choice((50_000, poor, rich, rich)))

    def start(self, index: int) -> None:
        """Start a daemon where none runs."""
        before = self.daemons[index]
        if self.is_off or (before is not None and not before.process.dead):
            return
        self._names += 1
        switch = self.switch_of(index)
        self.daemons[index] = daemon = Daemon(
            f"d{index}-{self._names}",
            clock=self.clock,
            boot=f"boot-{self._names}" if self.setting.apart else self.clock.boot,
            store=self.store,
            switch=self.switches[switch],
            switch_id=f"s{switch}",
            policy=self.policy,
            tariff=lambda: self.tariff,
            chance=self.chance,
            counts=self.counts,
            lease_s=self.setting.lease_s,
            granted=self._rush,
            fax=lambda one: self.office.desk(one, switch),
            notices=lambda one: self.post.notices(one, switch),
            settled=self._settled,
        )
        daemon.start()

    def _settled(self, session: str) -> None:
        if (caller := self.of_session.get(session)) is not None:
            caller.settled_us = self.clock.now().mono_us

    def live(self, life: Coroutine[Any, Any, None]) -> None:
        """Something goes on beside the story."""
        self._doings.add(asyncio.create_task(life))

    def ring(self, account: int, switch: int, ring_s: float, talk_s: float, after: str) -> None:
        """Somebody calls an account's own number; see `call`."""
        own, account = f"+3120123450{account % ACCOUNTS:02}", account % ACCOUNTS
        self._calls.add(asyncio.create_task(self.call(f"a{account}", own, switch, ring_s, talk_s, after)))

    def ring_moving(self, index: int, switch: int, ring_s: float, talk_s: float, after: str) -> None:
        """Somebody calls a number that is one account's today, and another's tomorrow."""
        number = MOVING[index % len(MOVING)]
        self._calls.add(asyncio.create_task(self.call("", number, switch, ring_s, talk_s, after)))

    def check_lives(self) -> None:
        """Raises what a daemon, or the city itself, has failed with."""
        for daemon in self.alive():
            daemon.failed()
        for lives in (self._calls, self._doings):
            for task in [one for one in lives if one.done()]:
                lives.discard(task)
                task.result()

    async def _rush(self, daemon: Daemon) -> None:
        """Its switch's lease is a daemon's, which has not heard of it yet: it does in the moment in which a call of
        those that come now is opened."""
        switch = int(daemon.switch_id.removeprefix("s"))
        if not self.rush or self.of(switch)[:1] != [daemon]:
            return
        callers, self.rush = self.rush, 0
        self.counts["lease gained as calls were opened"] += 1
        for _ in range(callers):
            self.ring(self.chance.randrange(ACCOUNTS), switch, 5.0, self.chance.choice((20.0, 200.0)), "leave")
        await daemon.ledger.opened_within(RUSH_S)

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now().plus(seconds).mono_us)

    def is_wrong(self, wall_us: int) -> bool:
        """Whether clocks showed that time when they were months or years wrong."""
        return any(first <= wall_us <= last for first, last in self.wrong_us)

    async def wait_for_daemons(self) -> None:
        """A second, after which it may be asked again; while every machine is off, for days, until they are on."""
        await self._is_on.wait()
        await self.wait(1)

    def any_daemon(self) -> Daemon | None:
        """One that people's commands reach."""
        healthy = [one for one in self.alive() if not one.process.is_frozen and not one.ledger.failing]
        return healthy[0] if healthy else None

    # --- callers ----------------------------------------------------------------------------------------------

    async def call(self, account: str, number: str, switch: int, ring_s: float, talk_s: float, after: str) -> None:
        """A caller comes. ``after``: what he does where nobody talks: ``message`` or ``leave``."""
        self._names += 1
        unseen_s = self.steps.unseen_s()
        shown, dialled = f"+31107{654320 + self._names}", spelled(number, self._spelling)
        caller = Caller(
            f"u{self._names}", account, number, dialled, switch, shown, stepped_s=unseen_s, owners={account}
        )
        caller.began_us = self.clock.now().mono_us
        self.callers.append(caller)
        try:
            await self._lead_through(caller, ring_s, talk_s, after)
        finally:
            caller.over_us = self.clock.now().mono_us
            if caller.talked is not None and not caller.talked.caller_alive:
                self.switches[switch].calls.pop(caller.talked.session, None)

    async def _lead_through(self, caller: Caller, ring_s: float, talk_s: float, after: str) -> None:
        asked = IncomingCall(caller.dialled, caller.shown, caller.uid, "PJSIP/world-1", is_withheld=False)
        is_moving = not caller.account
        if is_moving:
            self.numbers.begin_asking(caller)
        answer = await ask(self, caller, lambda desk: desk.incoming(asked))
        if is_moving:
            self.numbers.end_asking(caller)
            if len(caller.owners) == 1:
                (owner,) = caller.owners
                caller.account = owner or ""
        if answer is None:
            await self._voicemail(caller, f"nosession-{caller.uid}", after, "fallback")
        elif answer.decision != "forward":
            self._turned(caller, answer)
            if answer.decision == "voicemail":
                await self._turned_to_voicemail(caller, answer, after)
        elif after == "vanish":
            self.counts["caller vanished"] += 1
        else:
            await self._forwarded(caller, answer, ring_s, talk_s, after)
        if is_moving:
            self.numbers.end_call(caller)

    async def _forwarded(self, caller: Caller, answer: Answer, ring_s: float, talk_s: float, after: str) -> None:
        assert answer.session is not None
        assert answer.quota_s is not None
        switch = self.switches[caller.switch]
        caller.session = answer.session
        self.of_session[answer.session] = caller
        caller.talked = call = switch.dial(answer.session, answer.quota_s, caller.uid)
        await self._until_ended(call, min(ring_s, answer.ring_s))
        if not call.caller_alive:  # the switch died
            return
        if talk_s and ring_s < answer.ring_s:
            await self._talk(caller, call, talk_s)
            return
        if after == "leave":
            switch.end(call.session)
            return
        switch.fail(call.session, "NOANSWER" if ring_s >= answer.ring_s else "BUSY")
        said = await ask(self, caller, lambda desk: desk.unanswered(call.session, call.status))
        if not call.caller_alive:
            return
        if said is None:
            await self._voicemail(caller, call.session, after, "fallback")
        elif said.decision == "voicemail":
            await self._turned_to_voicemail(caller, said, after)
        else:
            self._turned(caller, said)
            switch.end(call.session)

    def _turned(self, caller: Caller, answer: Answer) -> None:
        self.counts[f"turned: {answer.reason}"] += 1
        if answer.decision == "reject":
            caller.turned += (answer.reason,)
            caller.turned_us = self.clock.now().mono_us

    async def _talk(self, caller: Caller, call: FakeCall, talk_s: float) -> None:
        self.switches[caller.switch].answer(call.session)
        self.counts["call answered"] += 1
        await self._until_ended(call, talk_s)
        if call.caller_alive:
            self.switches[caller.switch].end(call.session)
            return
        if caller.lost or self.is_over:
            return
        caller.was_cut, caller.cut_wall_us = True, self.clock.now().wall_us
        caller.calm = self.clock.now().mono_us > self.trouble_until_us[caller.switch] and caller.account != ""
        self.asking += 1
        caller.available = (await self.store.balances(caller.account)).get(CREDIT, Balance()).available
        self.asking -= 1
        self.counts["call cut"] += 1

    async def _until_ended(self, call: FakeCall, seconds: float) -> None:
        ended = asyncio.create_task(call.ended.wait())
        patience = asyncio.create_task(self.wait(seconds))
        await asyncio.wait((ended, patience), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        patience.cancel()

    async def _turned_to_voicemail(self, caller: Caller, answer: Answer, after: str) -> None:
        sold = answer.session is not None
        key = answer.session or caller.session
        await self._voicemail(caller, key or f"nosession-{caller.uid}", after, "sold" if sold else "free")

    async def _voicemail(self, caller: Caller, key: str, after: str, why: str) -> None:
        """The caller hears the greeting, and speaks or not."""
        switch = self.switches[caller.switch]
        if why == "sold":  # the switch shows the caller's channel under the session's name
            switch.calls.setdefault(key, FakeCall(key, 0, caller.uid, ""))
        await self.wait(self.chance.choice((1, 8, 40)))
        stored = after == "message"
        if caller.lost or (why == "sold" and not switch.calls[key].caller_alive):  # who has left speaks no more
            return
        switch.dialled = caller.dialled
        switch.leave_message(key, caller.uid, stored=stored, fallback=why == "fallback")
        if stored:
            caller.messages.append(f"{why} {key}")
            self.counts[f"message {why}"] += 1

    # --- faults -----------------------------------------------------------------------------------------------

    async def kill(self, index: int, after_awaits: int, away_s: float) -> None:
        """A daemon dies at its n-th await from now, and comes back."""
        daemon = self.daemons[index]
        if daemon is None or daemon.process.dead:
            return
        self.trouble(self.switch_of(index), away_s + 5)
        self.counts["daemon killed"] += 1
        daemon.process.dies_in = after_awaits
        await self.wait(5)
        await daemon.kill()
        await self.wait(away_s)
        self.start(index)

    async def freeze(self, index: int, seconds: float) -> None:
        daemon = self.daemons[index]
        if daemon is None or daemon.process.dead or daemon.process.is_frozen:
            return
        self.trouble(self.switch_of(index), seconds)
        self.counts["daemon frozen"] += 1
        daemon.process.freeze()
        await self.wait(seconds)
        daemon.process.thaw()
        if not daemon.process.dead:
            daemon.line.thawed()

    async def cut_link(self, index: int, seconds: float) -> None:
        daemon = self.daemons[index]
        if daemon is None or daemon.process.dead or not daemon.line.is_up:
            return
        self.trouble(self.switch_of(index), seconds)
        self.counts["link cut"] += 1
        daemon.line.cut()
        await self.wait(seconds)
        daemon.line.mend()

    async def disturb(self, index: int, line: str, share: float, seconds: float) -> None:
        """``line``: ``disobeys``, ``garbles`` or ``failing``, of a daemon's lines."""
        daemon = self.daemons[index]
        if daemon is None or daemon.process.dead:
            return
        self.trouble(self.switch_of(index), seconds)
        self.counts[f"line {line}"] += 1
        lines = daemon.ledger if line == "failing" else daemon.line
        setattr(lines, line, share)
        await self.wait(seconds)
        setattr(lines, line, 0.0)

    async def disturb_mail(self, fault: str, share: float, seconds: float) -> None:
        """``fault``: ``down``, ``puts off`` or ``forgets``, of the mail server."""
        self.counts[f"mail server {fault}"] += 1
        setattr(self.post, {"down": "is_down", "puts-off": "puts_off", "forgets": "forgets"}[fault], share)
        await self.wait(seconds)
        setattr(self.post, {"down": "is_down", "puts-off": "puts_off", "forgets": "forgets"}[fault], 0.0)

    async def keep_records(self, index: int, seconds: float) -> None:
        """A switch deletes no record for a while, whoever orders it: its maintenance is broken."""
        self.counts["records not deleted"] += 1
        self.switches[index].deletes = False
        await self.wait(seconds)
        self.switches[index].deletes = True

    async def restart_switch(self, index: int) -> None:
        """Asterisk dies with its calls and comes back at once; links fall and come up."""
        self.trouble(index, 5)
        self.counts["switch restarted"] += 1
        for caller in self.callers:
            if caller.switch == index and (caller.talked is None or caller.talked.caller_alive):
                caller.lost = True
        switch = self.switches[index]
        ending = [one for one in switch.calls.values() if one.caller_alive]
        switch.restart()
        for call in ending:
            call.ended.set()
        for daemon in self.of(index):
            daemon.line.cut()
        await self.wait(2)
        for daemon in self.of(index):
            daemon.line.mend()

    def lose_machine(self, switch: int, away_s: float) -> None:
        """Asterisk dies with its calls, and with every daemon of it."""
        for daemon in self.of(switch):
            daemon.die()
        self.live(self.restart_switch(switch))
        self.trouble(switch, away_s)
        self.live(self._come_back(switch, away_s))

    async def _come_back(self, switch: int, away_s: float) -> None:
        await self.wait(away_s)
        for index in range(len(self.daemons)):
            if self.switch_of(index) == switch:
                self.start(index)

    async def leap(self, days: float, work: Callable[[], Awaitable[None]] | None = None) -> None:
        """Nobody works for days: every daemon is off. After a long time an operator confirms what it is. ``work`` is
        done before the daemons start again."""
        self.counts["days off"] += 1
        for index in range(self.setting.switches):
            self.trouble(index, days * 86_400)
        for daemon in list(self.alive()):
            await daemon.kill()
        self.is_off = True
        await self.clock.advance(days * 86_400)
        if days * 86_400 > OUTAGE_S:
            await confirm_time(self.store, self.clock)
        if work is not None:
            await work()
        self.is_off = False
        for index in range(len(self.daemons)):
            self.start(index)
        await self.clock.advance(self.setting.lease_s)

    def die(self) -> None:
        """Every daemon, at once: the machine that they run on has no power."""
        for daemon in list(self.alive()):
            daemon.die()

    # --- the end ----------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Everything is mended, every call ends, and what was left open closes. What nothing happens in is not waited
        for."""
        await self._until(self._is_calm, MENDED_WITHIN_S)
        for index in range(len(self.daemons)):
            self.start(index)
        await self.clock.advance(max(60, self.setting.tick_s + 10))
        self.is_over = True
        self.end_calls()
        await self._until(self._is_closed, CLOSED_WITHIN_S)
        await self.clock.advance(60 + 2 * self.setting.audit_s + self.setting.lease_s)
        self.check_lives()
        ghosts = [one.id for one in await self.store.sessions()]
        assert not ghosts, (ghosts, "are open though nobody talks, and wait for a restart")
        # The next but one, for what a daemon forgot as it was killed, and calls that were missed in a pause of hours.
        await self.morning(2, TOLD_WITHIN_S)

    async def morning(self, days: int, told_within_s: int) -> None:
        """Ten o'clock, so many days ahead, and as long as it takes until everything is told that is due. Until then
        nobody works; somebody confirms the time."""
        local = datetime.fromtimestamp(self.clock.now().wall_us / MICROSECONDS, ZoneInfo("Europe/Amsterdam"))
        ten = local.replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=days)
        await self.leap((ten.timestamp() - local.timestamp()) / 86_400, self._confirm)
        await self.clock.advance(told_within_s)
        self.check_lives()

    async def _confirm(self) -> None:
        await confirm_time(self.store, self.clock)

    def end_calls(self) -> None:
        """Everybody hangs up."""
        for switch in self.switches:
            for call in list(switch.calls.values()):
                switch.end(call.session)

    async def _is_calm(self) -> bool:
        return not self._doings

    async def _is_closed(self) -> bool:
        return not self._doings and not self._calls and not await self.store.sessions()

    async def _until(self, is_so: Callable[[], Awaitable[bool]], most_s: int) -> None:
        for _ in range(0, most_s, self.setting.pace):
            self.check_lives()
            if await is_so():
                return
            await self.clock.advance(self.setting.pace)

    async def close(self) -> None:
        """Stop every task."""
        for daemon in list(self.alive()):
            daemon.die()
        tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.close()
        shutil.rmtree(self.archives)
