"""How fast a website has a balance: requests a second and the slowest hundredth, on 1 and on 16 kept connections.

The public interface of `charging run --sandbox` and a bare FastAPI are asked in turns on one machine. The goal: at
least 0.6 of its requests, and a p99 of at most 3 times its own.

Both are processes of their own; whoever asks is a third. The account has no call, and the ledger is SQLite. The CPU of
the public interface is that of its process and of the daemon, which decides calls and has none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from charging.cli.sandbox import sandbox_at
from charging.lab.ports import free_port

START_S = 120
CONNECTIONS = (1, 16)
SHARE_MIN, P99_MAX = 0.6, 3.0
PATH = "/v1/accounts/demo/balance"


@dataclass
class Side:
    """One of the two, and how long each request to it took, by the number of connections."""

    port: int
    token: str
    pids: tuple[int, ...]
    seconds: dict[int, list[float]] = field(default_factory=lambda: {one: [] for one in CONNECTIONS})
    rates: dict[int, list[float]] = field(default_factory=lambda: {one: [] for one in CONNECTIONS})
    cpu_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CONNECTIONS, 0.0))
    """Of its processes: on a busy machine this says more than the requests do."""

    async def ask(self, connections: int, until: float) -> None:
        """On so many connections, one request after the other on each."""
        begun, before, used = time.perf_counter(), len(self.seconds[connections]), self._cpu_s()
        await asyncio.gather(*(self._connection(connections, until) for _ in range(connections)))
        asked = len(self.seconds[connections]) - before
        self.rates[connections].append(asked / (time.perf_counter() - begun))
        self.cpu_s[connections] += self._cpu_s() - used

    def _cpu_s(self) -> float:
        of_each = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in self.pids)
        return sum(int(user) + int(system) for user, system in of_each) / os.sysconf("SC_CLK_TCK")

    async def _connection(self, connections: int, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = f"GET {PATH} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        try:
            while (begun := time.perf_counter()) < until:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                length = next(one for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.seconds[connections].append(time.perf_counter() - begun)
        finally:
            writer.close()

    def rate(self, connections: int) -> float:
        return statistics.median(self.rates[connections])

    def cpu_ms(self, connections: int) -> float:
        return self.cpu_s[connections] / len(self.seconds[connections]) * 1000

    def p99_ms(self, connections: int) -> float:
        return statistics.quantiles(self.seconds[connections], n=100)[-1] * 1000


@asynccontextmanager
async def shipped(folder: Path) -> AsyncIterator[Side]:
    """The public interface of a sandbox."""
    config, port = folder / "charging.yaml", free_port()
    await asyncio.to_thread(sandbox_at, config)  # which has a loop of its own
    text = config.read_text().replace("api:\n  #port: 9479", f"api:\n  port: {port}\n  requests_per_minute: 1000000")
    for other in ("9478", "9480", "9481"):
        text = text.replace(f"#port: {other}", f"port: {free_port()}")
    config.write_text(text)
    program = Path(sys.executable).with_name("charging")
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            program, "--config", config, "run", "--sandbox", stdout=log, stderr=log
        )
    try:
        token = await _token(folder / "token", port)
        yield Side(port, token, (process.pid, *_children(process.pid)))
    finally:
        process.terminate()
        await process.wait()


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _told(file: Path) -> str:
    return file.read_text().strip() if file.exists() else "none"


async def _token(file: Path, port: int) -> str:
    """The sandbox's token, once it is good for an answer."""
    async with asyncio.timeout(START_S), httpx.AsyncClient() as client:
        while True:
            token = _told(file)
            with suppress(httpx.TransportError):
                headers = {"Authorization": f"Bearer {token}"}
                if (await client.get(f"http://127.0.0.1:{port}{PATH}", headers=headers)).is_success:
                    return token
            await asyncio.sleep(0.1)


@asynccontextmanager
async def bare(balance: str) -> AsyncIterator[Side]:
    """A bare FastAPI that answers this."""
    port = free_port()
    command = (sys.executable, "-m", "tests.benchmarks.bare_api", str(port))
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(balance.encode())
    process.stdin.close()
    async with httpx.AsyncClient() as client:
        while process.returncode is None:
            try:
                await client.get(f"http://127.0.0.1:{port}{PATH}")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    try:
        yield Side(port, "none", (process.pid,))
    finally:
        process.kill()
        await process.wait()


async def bench(folder: Path, seconds: float, rounds: int) -> bool:
    """Print what was measured; whether the goal is reached."""
    async with shipped(folder) as mine, httpx.AsyncClient(headers={"Authorization": f"Bearer {mine.token}"}) as client:
        balance = (await client.get(f"http://127.0.0.1:{mine.port}{PATH}")).text
        async with bare(balance) as theirs:
            for _ in range(rounds):
                for connections in CONNECTIONS:
                    for side in (mine, theirs):
                        await side.ask(connections, time.perf_counter() + seconds)
    reached = True
    for connections in CONNECTIONS:
        share = mine.rate(connections) / theirs.rate(connections)
        p99 = mine.p99_ms(connections) / theirs.p99_ms(connections)
        reached &= share >= SHARE_MIN and p99 <= P99_MAX
        rates = f"{mine.rate(connections):.0f} requests/s, a bare FastAPI {theirs.rate(connections):.0f}"
        slowest = f"p99 {mine.p99_ms(connections):.1f} ms, {theirs.p99_ms(connections):.1f} ms"
        goals = f"{share:.2f} of it (goal {SHARE_MIN}); {slowest}: {p99:.1f} times (goal {P99_MAX:.0f})"
        cpu = f"{mine.cpu_ms(connections):.2f} and {theirs.cpu_ms(connections):.2f} ms of CPU a request"
        sys.stdout.write(f"{connections} connections: {rates}: {goals}; {cpu}\n")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        asyncio.run(bench(Path(folder), options.seconds, options.rounds))


if __name__ == "__main__":
    main()
