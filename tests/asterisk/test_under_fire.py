"""The real switch under fire: dozens of callers at a time while the daemon, its links, the ledger, the disk, the mail
and Asterisk itself are killed, frozen, filled and restored. Afterwards the journal, the CDRs, the black box and what
SIPp wrote down of every call say the same, to the second that two clocks' readings allow.

``FIRE_MINUTES`` (20) and ``FIRE_SEED`` (the day) choose another fire.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from charging.asterisk.black_box import BlackBoxRecord, parse_record
from charging.lab import Lab, LabError, mobile
from charging.lab.call import Party
from charging.lab.daemon import DaemonProcess
from charging.lab.ports import free_port
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, CdrRow, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.pricing.money import parse_euro
from tests.asterisk.conftest import FIGURES
from tests.asterisk.engine import MEASURES_APART_S, number_of, tariff
from tests.asterisk.fire import Act, Said, callers, files_cannot_grow, planned_acts, planned_calls, said_by
from tests.asterisk.waiting import eventually
from tests.asterisk.warm_daemon import WarmDaemon
from tests.fakes.relay import Relay
from tests.integration.redis_servers import RedisServer
from tests.integration.smtp_server import Mailbox, mail_server

BURNS_S = float(os.environ.get("FIRE_MINUTES", "20")) * 60
SEED = int(os.environ.get("FIRE_SEED") or datetime.datetime.now(datetime.UTC).strftime("%Y%m%d"))
POLICY = {"tick_s": 2, "horizon_s": 12, "warn_before_s": 5, "setup_timeout_s": 2, "black_box_wait_s": 2, "ring_s": 3}
RICH, POOR = "1000.00", "0.03"
TOP_UP, TOP_UP_EVERY_S = "0.02", 3.0
PATIENCE_S = 120
"""For all to be booked once nothing burns any more."""

PAGE = 500

TARGETS = [
    *(mobile.answers(), mobile.answers(1), mobile.answers(2), mobile.answers_mute()),
    *(mobile.hangs_up(6), mobile.hangs_up(15), mobile.never_answers(), mobile.busy()),
]
"""Where subscribers' calls go. Each comes twice: for one who has much credit, and for one who has little."""

MAIL = """\
mail:
  port: {port}
  sender_address: service@voice.example
  sender_name: Voice
  top_up_url: https://www.voice.example/top-up
  retry_first_s: 1
  retry_most_s: 5
"""

pytestmark = [pytest.mark.asterisk, pytest.mark.long, pytest.mark.timeout(BURNS_S + 600)]


@dataclass
class BlackBox:
    """The records that the switch has told the daemon, as they passed on the way."""

    records: dict[str, BlackBoxRecord] = field(default_factory=dict)
    _carried: bytes = b""

    def heard(self, chunk: bytes) -> None:
        text = self._carried + chunk
        for key, value in re.findall(rb"\r\nKey: ([\w.-]+)\r\nVal: (v2[^\r\n]*)\r\n", text):
            record = parse_record(key.decode(), value.decode())
            if record is not None:
                self.records[record.key] = record
        self._carried = text[-1000:]


@dataclass
class Site:
    """Everything that burns."""

    lab: Lab
    daemon: WarmDaemon
    ami: Relay
    agi: Relay
    mail: Relay
    redis: RedisServer | None
    struck: Counter[str] = field(default_factory=Counter)
    killed_s: list[float] = field(default_factory=list)
    """When the switch was killed."""
    slow_s: list[tuple[float, float]] = field(default_factory=list)
    """From when until when it was frozen, or busy with reading its configuration."""

    def acts(self) -> dict[str, tuple[asyncio.Lock, Callable[[float], Any]]]:
        """What can strike, by name, with the lock of the thing that it strikes."""
        daemon, ami, agi, mail, switch, ledger = (asyncio.Lock() for _ in range(6))
        found = {
            "daemon killed": (daemon, self._daemon_killed),
            "daemon stopped": (daemon, self._daemon_stopped),
            "daemon frozen": (daemon, self._daemon_frozen),
            "daemon's disk full": (daemon, self._disk_full),
            "AMI link cut": (ami, lambda s: _cut(self.ami, s)),
            "AMI link half open": (ami, lambda s: _half_open(self.ami, s)),
            "AGI cut": (agi, lambda s: _cut(self.agi, s)),
            "AGI half open": (agi, lambda s: _half_open(self.agi, s)),
            "mail server gone": (mail, lambda s: _cut(self.mail, s)),
            "mail server silent": (mail, lambda s: _half_open(self.mail, s)),
            "switch killed": (switch, self._switch_killed),
            "switch frozen": (switch, self._switch_frozen),
            "switch reloaded": (switch, self._switch_reloaded),
        }
        if self.redis is not None:
            found |= {
                "Redis killed": (ledger, self._redis_killed),
                "Redis frozen": (ledger, self._redis_frozen),
                "Redis' disk full": (ledger, self._redis_full),
            }
        return found

    async def burn(self, acts: list[Act]) -> None:
        known = self.acts()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for act in acts:
                await asyncio.sleep(max(0.0, began + act.at_s - time.monotonic()))
                group.create_task(self._strike(act, *known[act.what]))

    async def _strike(self, act: Act, lock: asyncio.Lock, strike: Callable[[float], Any]) -> None:
        async with lock:
            await strike(act.lasts_s)
            self.struck[act.what] += 1

    async def _started(self) -> None:
        """Begun again until it runs, as a supervisor does: its ledger may be away just now."""
        while True:
            try:
                return await self.daemon.start(wait_for_switch=False)
            except LabError:
                await self.daemon.kill()

    async def _daemon_killed(self, lasts_s: float) -> None:
        await self.daemon.kill()
        await asyncio.sleep(lasts_s)
        await self._started()

    async def _daemon_stopped(self, lasts_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await self.daemon.stop()
        await self.daemon.kill()
        await asyncio.sleep(lasts_s)
        await self._started()

    async def _daemon_frozen(self, lasts_s: float) -> None:
        self.daemon.send(signal.SIGSTOP)
        await asyncio.sleep(lasts_s)
        self.daemon.send(signal.SIGCONT)

    async def _disk_full(self, lasts_s: float) -> None:
        with files_cannot_grow(self.daemon.pid):
            await asyncio.sleep(lasts_s)

    async def _switch_killed(self, lasts_s: float) -> None:
        await self.lab.switch.kill()
        self.killed_s.append(time.time())
        await self.lab.world.process.cli("channel request hangup all")
        await asyncio.sleep(lasts_s)
        await self.lab.switch.start()

    async def _switch_frozen(self, lasts_s: float) -> None:
        began_s = time.time()
        self.lab.switch.freeze()
        await asyncio.sleep(lasts_s)
        self.lab.switch.thaw()
        self.slow_s.append((began_s, time.time()))

    async def _switch_reloaded(self, _lasts_s: float) -> None:
        began_s = time.time()
        await self.lab.switch.cli("core reload")
        self.slow_s.append((began_s, time.time()))

    def late_s(self, at_s: float) -> float:
        """How much later the switch may have done what was due at a moment, for it was not running."""
        return sum(ended - began for began, ended in self.slow_s if began - 1 <= at_s <= ended)

    async def _redis_killed(self, lasts_s: float) -> None:
        assert self.redis is not None
        self.redis.kill()
        await asyncio.sleep(lasts_s)
        await asyncio.to_thread(self.redis.start)

    async def _redis_frozen(self, lasts_s: float) -> None:
        assert self.redis is not None
        self.redis.freeze()
        await asyncio.sleep(lasts_s)
        self.redis.thaw()

    async def _redis_full(self, lasts_s: float) -> None:
        """It ends itself then (``appendfsync always``)."""
        assert self.redis is not None
        with files_cannot_grow(self.redis.pid):
            await asyncio.sleep(lasts_s)
        if not self.redis.is_running:
            await asyncio.to_thread(self.redis.start)


async def _cut(relay: Relay, lasts_s: float) -> None:
    relay.refusing = True
    relay.cut()
    await asyncio.sleep(lasts_s)
    relay.refusing = False


async def _half_open(relay: Relay, lasts_s: float) -> None:
    relay.freeze()
    await asyncio.sleep(lasts_s)
    relay.thaw()


class Shop:
    """Sells credit to those who have little, and asks again with the same key until it is told that it is booked."""

    def __init__(self, daemon: DaemonProcess, accounts: list[str]) -> None:
        self._daemon = daemon
        self._accounts = accounts
        self.sold: Counter[str] = Counter()
        self.asked = 0

    async def sell(self, until: asyncio.Event) -> None:
        """One sale after the other, each until it is acknowledged; the last one too."""
        while not until.is_set():
            account = self._accounts[sum(self.sold.values()) % len(self._accounts)]
            await self._sold(account, f"sale-{sum(self.sold.values())}")
            self.sold[account] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), TOP_UP_EVERY_S)

    async def _sold(self, account: str, key: str) -> None:
        while True:
            self.asked += 1
            try:
                await asyncio.wait_for(
                    self._daemon.post(f"/accounts/{account}/top-ups", {"amount": TOP_UP}, key), timeout=5
                )
            except (LabError, OSError, TimeoutError, ConnectionError):
                await asyncio.sleep(0.2)
            except Exception as error:  # httpx's, of which each kind of a lost answer is one
                if not type(error).__module__.startswith("httpx"):
                    raise
                await asyncio.sleep(0.2)
            else:
                return


def _account(index: int) -> str:
    return f"subscriber-{index:02d}"


async def _furnish(store: Store) -> None:
    for index, target in enumerate([*TARGETS, *TARGETS]):
        who = _account(index)
        await store.directory.put_account(Account(who, "voice_light", Language.NL, f"{who}@example.nl"))
        await store.directory.put_number(Number(number_of(index), who, target))
        legs = (Leg(CREDIT, parse_euro(POOR if index >= len(TARGETS) else RICH)),)
        await store.apply(Transfer("top-up/0", who, Kind.TOP_UP, time.time_ns() // 1000, legs))


@contextlib.asynccontextmanager
async def _site(lab: Lab, folder: Path, redis: RedisServer | None, box: BlackBox) -> AsyncIterator[Site]:
    behind = free_port()
    with mail_server(Mailbox()) as mail_port:
        async with (
            Relay(lab.switch.charging_ami.port) as ami,
            Relay(behind, lab.agi_port) as agi,
            Relay(mail_port) as mail,
        ):
            ami.on_answer = box.heard
            daemon = WarmDaemon(
                lab,
                folder / "daemon",
                tariff().replace("calls_at_once: 5", "calls_at_once: 50"),
                POLICY,
                ledger_url=redis.url if redis else "",
                ami_port=ami.port,
                agi_port=behind,
                lease_s=6,
            )
            with daemon.settings.open("a") as settings:
                settings.write(MAIL.format(port=mail.port))
            store = open_store(redis.url if redis else f"sqlite:///{daemon.ledger}")
            await store.open()
            try:
                await _furnish(store)
            finally:
                await store.close()
            async with daemon:
                yield Site(lab, daemon, ami, agi, mail, redis)


@pytest.mark.parametrize("ledger", ["sqlite", "redis"])
async def test_after_a_fire_journal_cdrs_black_box_and_the_callers_own_record_say_the_same(
    lab: Lab, tmp_path: Path, ledger: str, record_property: Callable[[str, object], None]
) -> None:
    box = BlackBox()
    seed = SEED
    numbers = [number_of(index) for index in range(2 * len(TARGETS))]
    rings = planned_calls(seed, BURNS_S, numbers)
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path / "redis")) if ledger == "redis" else None
        async with _site(lab, tmp_path, redis, box) as site:
            shop = Shop(site.daemon, [_account(index) for index in range(len(TARGETS), 2 * len(TARGETS))])
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group, callers(lab, tmp_path / "callers", rings) as sipp:
                group.create_task(shop.sell(over))
                await site.burn(planned_acts(seed, BURNS_S, sorted(site.acts())))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sipp.wait(), PATIENCE_S)
                over.set()
            await lab.world.process.cli("channel request hangup all")

            async def idle() -> bool:
                return not (await site.daemon.get("/calls"))["items"] and not await lab.switch.black_box()

            await eventually(idle, f"all calls to be booked; {site.daemon.last_words()}", PATIENCE_S)
            assert await site.daemon.stop() == 0
        said = said_by(tmp_path / "callers" / "said.log")
        store = open_store(redis.url if redis else f"sqlite:///{site.daemon.ledger}")
        await store.open()
        try:
            report = await _Audit(store, said, site, box, shop).report()
        finally:
            await store.close()
    record_property(FIGURES, f"fire {seed} on {ledger}, {BURNS_S / 60:g} minutes, {len(rings)} calls dialled: {report}")


class _Audit:
    """Compares the four records; says every difference at once."""

    def __init__(self, store: Store, said: dict[str, Said], site: Site, box: BlackBox, shop: Shop) -> None:
        self._store, self._said, self._site, self._box, self._shop = store, said, site, box, shop
        self._wrong: list[str] = []
        self._counts: Counter[str] = Counter()

    async def report(self) -> str:
        """What was compared. Raises AssertionError with every difference."""
        cdrs = await _all_cdrs(self._store)
        by_caller: dict[str, dict[str, Any]] = {}
        for cdr in cdrs:
            if cdr["service"] == "forward" and cdr["used_ms"]:
                if not cdr["answered"]:
                    self._wrong.append(f"charged, and not said when it was answered: {cdr}")
                if cdr["caller"] in by_caller:
                    self._wrong.append(f"charged twice: {by_caller[cdr['caller']]} and {cdr}")
                by_caller[cdr["caller"]] = cdr
        assert self._said, "SIPp has dialled"
        for caller, said in self._said.items():
            self._call(said, by_caller.get(caller))
        for caller in set(by_caller) - set(self._said):
            self._unsaid(by_caller[caller])
        await self._books(cdrs)
        assert not self._wrong, "\n".join([f"{len(self._wrong)} differences", *self._wrong])
        return f"{dict(sorted(self._counts.items()))}; struck: {dict(sorted(self._site.struck.items()))}"

    def _call(self, said: Said, cdr: dict[str, Any] | None) -> None:
        """A call that SIPp saw answered. By voicemail, it has no CDR of a forward."""
        over_s = said.hung_up_s if said.ended_s is None else said.ended_s
        killed = [at for at in self._site.killed_s if said.answered_s <= at <= over_s]
        if cdr is None and killed:
            self._counts["ended by the death of the switch, nothing proven"] += 1
            return
        if cdr is None:
            legs = [one for one in self._site.lab.world.stray_mobiles if one.shown == said.caller]
            if talked := [one for one in legs if _together_s(one, said) > MEASURES_APART_S]:
                self._wrong.append(f"talked and not charged: {said} {talked}")
            self._counts["answered by voicemail"] += 1
            return
        self._counts[f"proof: {cdr['proof']}"] += 1
        self._counts[f"cut: {cdr['cut']}"] += 1
        used_s = cdr["used_ms"] / 1000
        if killed or said.ended_s is None:
            self._counts["ended by the death of the switch"] += 1
            most = (killed[0] if killed else said.hung_up_s) - said.answered_s
            if used_s > most + MEASURES_APART_S:
                self._wrong.append(f"charged beyond the switch's death, {used_s} of {most} s: {said} {cdr}")
            return
        least = said.hung_up_s - said.answered_s
        most = said.ended_s - said.answered_s + self._site.late_s(said.ended_s)
        if not least - MEASURES_APART_S <= used_s <= most + MEASURES_APART_S:
            self._wrong.append(f"{used_s} s for {least:.3f} to {most:.3f}: {said} {cdr}")
        record = self._box.records.get(cdr["session"])
        if record is not None and record.conversation_ms is not None:
            self._counts["compared with a black box"] += 1
            if abs(record.conversation_ms / 1000 - used_s) >= MEASURES_APART_S:
                self._wrong.append(f"the black box differs: {record} {cdr}")

    def _unsaid(self, cdr: dict[str, Any]) -> None:
        """A forward that was answered, of which SIPp saw no answer: the switch died with it in its hands."""
        started = datetime.datetime.fromisoformat(cdr["answered"]).timestamp()
        if not any(started - 5 <= at <= started + 10 for at in self._site.killed_s) or cdr["used_ms"] > 10_000:
            self._wrong.append(f"charged and never heard of: {cdr}")

    async def _books(self, cdrs: list[dict[str, Any]]) -> None:
        self._wrong += [str(finding) async for finding in verify(self._store)]
        self._wrong += [f"still open: {one}" for one in await self._store.sessions()]
        for index in range(2 * len(TARGETS)):
            who = _account(index)
            balances = await self._store.balances(who)
            lines = [line async for line in self._store.journal(who)]
            sold = sum(leg.posted for line in lines if line.kind is Kind.TOP_UP for leg in line.legs)
            paid = parse_euro(POOR if index >= len(TARGETS) else RICH) + self._shop.sold[who] * parse_euro(TOP_UP)
            spent = sum(parse_euro(cdr["cost"]) for cdr in cdrs if cdr["account"] == who)
            if sold != paid or balances[CREDIT].posted != paid - spent:
                self._wrong.append(f"{who}: paid {paid}, credited {sold}, spent {spent}, left {balances[CREDIT]}")
            self._wrong += [f"{who}: {key} reserved: {one}" for key, one in balances.items() if one.reserved]
        self._counts["sales"] = sum(self._shop.sold.values())
        self._counts["asked for again"] = self._shop.asked - self._counts["sales"]


def _together_s(mobile: Party, said: Said) -> float:
    """For how long both were in a conversation."""
    if mobile.answered_us is None:
        return 0.0
    ended_s = time.time() if mobile.ended_us is None else mobile.ended_us / 1e6
    return min(ended_s, said.ended_s or said.hung_up_s) - max(mobile.answered_us / 1e6, said.answered_s)


async def _all_cdrs(store: Store) -> list[dict[str, Any]]:
    found: list[CdrRow] = []
    while page := await store.cdrs(after=(found[-1].ended_us, found[-1].session) if found else None, limit=PAGE):
        found += page
    return [json.loads(row.document) for row in found]
