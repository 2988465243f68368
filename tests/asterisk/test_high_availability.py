"""The recipe of docs/high-availability.md, from nothing: three Redis with Sentinels, two daemons, a real switch.

The files are the page's own. Its machines are addresses of the loopback here, each with the usual ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from charging.demo.commands import charging
from charging.lab import CallState, Lab, mobile
from charging.lab.daemon import DaemonProcess
from tests.asterisk.engine import NUMBER, SECOND, Engine, tariff
from tests.asterisk.parties import operator_sets
from tests.asterisk.several import talking
from tests.integration.redis_servers import wait_until
from tests.pages import DOCS, text_of

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(240)]

PAGE = text_of(DOCS / "high-availability.md")
PASSWORDS = {
    "REDIS_PASSWORD": "of-redis",
    "SENTINEL_PASSWORD": "of-sentinel",
    "LEDGER_PASSWORD": "of-the-ledger",
}
ALPHA, BETA, GAMMA = 11, 12, 13
POLICY = {"tick_s": 2, "horizon_s": 24, "warn_before_s": 5, "setup_timeout_s": 5, "black_box_wait_s": 2}
LEASE_S = 10
AGI_PORT = 4573
REDIS, SENTINEL = 6379, 26379


def file_of_the_page(name: str) -> str:
    """The block whose first line says that it is this file."""
    (found,) = re.findall(rf"^```\w+\n[#;] {re.escape(name)}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


class Machines:
    """alpha, beta and gamma: Redis and a Sentinel on each, as the page says."""

    def __init__(self, folder: Path) -> None:
        chance = random.SystemRandom()
        self._net = f"127.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}"
        self._folder = folder
        self._processes: dict[tuple[int, str], subprocess.Popen[bytes]] = {}

    def address(self, machine: int) -> str:
        return f"{self._net}.{machine}"

    def written(self, text: str, machine: int) -> str:
        """A text of the page with this machine's addresses, passwords and folder."""
        text = text.replace("10.0.0.10", "127.0.0.1").replace("10.0.0", self._net)
        for word, password in PASSWORDS.items():
            text = text.replace(word, password)
        folder = self._folder / str(machine)
        folder.mkdir(exist_ok=True)
        text = text.replace("/var/lib/redis", str(folder)).replace("/etc/charging", str(folder))
        return re.sub(r"\bOWN\b", self.address(machine), text)

    def start(self, machine: int, kind: str) -> None:
        """``redis`` or ``sentinel``, with the files that are there, else with the page's."""
        path = self._folder / f"{machine}-{kind}.conf"
        if not path.exists():
            text = file_of_the_page(f"/etc/redis/{kind}.conf")
            if kind == "redis" and machine != ALPHA:
                text += file_of_the_page("/etc/redis/redis.conf, on beta and gamma")
            path.write_text(self.written(text, machine))
        command = ["redis-server", str(path), *(["--sentinel"] if kind == "sentinel" else [])]
        with path.with_suffix(".log").open("ab") as log:
            self._processes[machine, kind] = subprocess.Popen(command, stdout=log, stderr=log)
        port = REDIS if kind == "redis" else SENTINEL
        wait_until(lambda: self.asked(machine, port, "ping").startswith("PONG"), f"{kind} of {machine}")

    def asked(self, machine: int, port: int, *words: str) -> str:
        password = PASSWORDS["REDIS_PASSWORD" if port == REDIS else "SENTINEL_PASSWORD"]
        login = "--no-auth-warning", "-a", password
        command = ["redis-cli", "-h", self.address(machine), "-p", str(port), *login, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout

    def kill(self, machine: int, kind: str) -> None:
        process = self._processes.pop((machine, kind))
        process.kill()
        process.wait()

    def stop(self) -> None:
        for machine, kind in list(self._processes):
            self.kill(machine, kind)

    def primary(self) -> str:
        """Its address, as beta's Sentinel tells."""
        return self.asked(BETA, SENTINEL, "sentinel", "get-master-addr-by-name", "charging").split("\n")[0]

    def all_known(self) -> bool:
        told = [self.asked(machine, SENTINEL, "info", "sentinel") for machine in (ALPHA, BETA, GAMMA)]
        known = all(all(word in one for word in ("status=ok", "slaves=2", "sentinels=3")) for one in told)
        return known and self.asked(ALPHA, REDIS, "info", "replication").count("state=online") == 2


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    try:
        for kind in ("redis", "sentinel"):
            for machine in (ALPHA, BETA, GAMMA):
                found.start(machine, kind)
        wait_until(found.all_known, "the Sentinels know the Redis and one another")
        yield found
    finally:
        found.stop()


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``new`` in the place of those in ``old``, section by section."""
    both = {key: merged(old[key], new[key]) for key in old.keys() & new.keys() if isinstance(new[key], dict)}
    return {**old, **new, **both}


def daemon_on(lab: Lab, machines: Machines, machine: int, folder: Path) -> Engine:
    """The page's settings in those that the lab needs (its ports and prompts), not started yet."""
    daemon = DaemonProcess(lab, folder / f"daemon-{machine}", tariff(), POLICY, agi_port=AGI_PORT, lease_s=LEASE_S)
    page = yaml.safe_load(machines.written(file_of_the_page("/etc/charging/charging.yaml"), machine))
    for setting, password in (("password_file", "LEDGER_PASSWORD"), ("sentinel_password_file", "SENTINEL_PASSWORD")):
        secret = Path(page["ledger"][setting])
        secret.write_text(PASSWORDS[password])
        secret.chmod(0o600)
    daemon.settings.write_text(yaml.safe_dump(merged(yaml.safe_load(daemon.settings.read_text()), page)))
    return Engine(lab, daemon)


@contextlib.asynccontextmanager
async def dialplan_asks_both(lab: Lab, machines: Machines) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for line in machines.written(file_of_the_page("charging-globals.conf"), ALPHA).splitlines():
            name, _, value = line.partition(" = ")
            await stack.enter_async_context(operator_sets(lab, name, value))
        yield


def ticks_of(*daemons: Engine) -> int:
    return sum(len(one.daemon.events("tick_posted")) for one in daemons)


async def reached(ticks: int, *daemons: Engine) -> bool:
    return ticks_of(*daemons) >= ticks


def leads(one: Engine) -> bool:
    """Whether it holds the lease of the switch, as its log tells."""
    return len(one.daemon.events("lease_gained")) > len(one.daemon.events("lease_lost"))


async def test_recipe_for_high_availability_keeps_a_call_through_the_loss_of_redis_and_of_a_daemon(
    lab: Lab, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARGING_AMI_SECRET", lab.switch.charging_ami.secret)
    alpha, beta = (daemon_on(lab, machines, machine, tmp_path) for machine in (ALPHA, BETA))
    for one in (alpha, beta):
        await charging(one.daemon.settings, "check")
    async with dialplan_asks_both(lab, machines), alpha.daemon:
        await alpha.heard("lease_gained")
        async with beta.daemon:
            await charging(alpha.daemon.settings, "account", "add", "anna", "--plan", "voice_light")
            await charging(alpha.daemon.settings, "number", "add", "anna", NUMBER, "--forward-to", mobile.answers())
            await charging(beta.daemon.settings, "top-up", "anna", "10", "--id", "order-1")
            call = await talking(alpha)
            await alpha.heard("tick_posted")

            await asyncio.to_thread(machines.kill, ALPHA, "redis")
            lost = machines.address(ALPHA)
            await asyncio.to_thread(wait_until, lambda: machines.primary() != lost, "another primary")
            ticks = ticks_of(alpha, beta)
            await alpha.until(lambda: reached(ticks + 2, alpha, beta), "ticks after the fail-over", 40)

            # A fail-over that took longer than the lease has handed the switch over: the one that leads now is killed.
            leading, other = (alpha, beta) if leads(alpha) else (beta, alpha)
            await leading.daemon.kill()
            ticks = ticks_of(other)
            await other.until(lambda: reached(ticks + 2, other), "ticks of the other daemon", 40)
            assert call.state is CallState.ANSWERED
            await charging(other.daemon.settings, "top-up", "anna", "10", "--id", "order-2")
            another = await talking(other)
            for running in (call, another):
                await running.hang_up()
                await running.wait_end()
            cdrs = await other.cdrs(2)
            await other.nothing_reserved(30)
            assert [cdr["proof"] for cdr in cdrs] == ["black_box", "black_box"]
            assert abs(sum(cdr["used_ms"] for cdr in cdrs) / 1000 - call.duration_s - another.duration_s) < 2

            await asyncio.to_thread(machines.start, ALPHA, "redis")
            await asyncio.to_thread(
                wait_until,
                lambda: "master_link_status:up" in machines.asked(ALPHA, REDIS, "info", "replication"),
                "alpha's Redis is a replica now",
            )
            await leading.daemon.start()
            await charging(other.daemon.settings, "ledger", "verify")
            assert await other.posted() == 20_000_000 - sum(cdr["billed_s"] for cdr in cdrs) * SECOND
