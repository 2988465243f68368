"""Real Redis servers for tests: started on free ports, killed, frozen, restarted, and always ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from charging.lab.ports import free_port

DEADLINE_S = 90
PROMOTED_S = 90
"""A sentinel that a busy machine lets wait for two seconds is in TILT for thirty: it watches, and promotes nobody."""
SECOND_PORT = 10_000
"""A node of a cluster talks to the others on a port this much higher."""


def wait_until(condition: object, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask ``condition`` until it answers true; the deadline is for a busy machine."""
    assert callable(condition)
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


class RedisServer:
    """One redis-server process (or sentinel) with a folder of its own."""

    def __init__(self, folder: Path, *settings: str, port: int | None = None, sentinel: bool = False) -> None:
        self.port = port or free_port(SECOND_PORT)
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir(parents=True)
        self._sentinel = sentinel
        self._cli_options: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "save ''", *settings]
        if not sentinel:
            lines += ["appendonly yes", "appendfsync always", "repl-diskless-sync-delay 0"]
        (self.folder / "redis.conf").write_text("\n".join(lines).replace("''", '""') + "\n")

    def listen_by_tls(self) -> None:
        """Take the port for TLS; the settings name the certificate. redis-cli is then told so too."""
        path = self.folder / "redis.conf"
        plain = path.read_text().replace(f"port {self.port}\n", "", 1)
        path.write_text(f"port 0\ntls-port {self.port}\n{plain}")
        self._cli_options = ["--tls", "--insecure"]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        command = ["redis-server", str(self.folder / "redis.conf"), *(["--sentinel"] if self._sentinel else [])]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        wait_until(
            lambda: self.cli("ping").startswith(("PONG", "NOAUTH")), f"redis-server at {self.port} does not answer"
        )
        return self

    def cli(self, *words: str) -> str:
        """The answer to a command, by redis-cli."""
        command = ["redis-cli", "-p", str(self.port), *self._cli_options, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S).stdout

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """At once, as if the power went."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_cluster(servers: Sequence[RedisServer], replicas: int = 0) -> None:
    """Join started servers (with ``cluster-enabled yes``) to a cluster, with so many replicas of each master."""
    addresses = [f"127.0.0.1:{server.port}" for server in servers]
    options = ["--cluster-yes", "--cluster-replicas", str(replicas)]
    command = ["redis-cli", "--cluster", "create", *addresses, *options]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    wait_until(
        lambda: all("cluster_state:ok" in server.cli("cluster", "info") for server in servers), "no cluster state ok"
    )
