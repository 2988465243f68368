"""The daemon as a process of its own beside a lab: started, asked over its control socket, frozen, killed.

Only what an operator has is used here: a folder with the settings, the command, signals, HTTP on the control socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from charging.lab.errors import LabError
from charging.lab.lab import Lab
from charging.lab.ports import free_port
from charging.lab.process import DIE_WITH_OWNER, POLL_S

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0

SETTINGS = """\
switch:
  id: {switch_id}
  lease_s: {lease_s}
  ami:
    host: 127.0.0.1
    port: {ami_port}
    user: charging
    secret_env: CHARGING_AMI_SECRET
  prompts_dir_on_switch: {prompts_dir}
agi:
  port: {agi_port}
ledger:
  url: {ledger_url}
tariff: tariff.yaml
control:
  socket: control.sock
http:
  port: {http_port}
api:
  port: {api_port}
  requests_per_minute: 1000000
charging:
{charging}
fax:
  folder: {fax_folder}
logs:
  format: json
  level: debug
"""


class Begun(Protocol):
    """A process that was begun: what is used of asyncio's."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """The exit code; ``None`` while it runs, negative if a signal ended it."""

    def send_signal(self, signal: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int:
        """Wait until it has ended. Returns the exit code."""


class DaemonProcess:
    """``charging run`` on a lab's switch."""

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        tariff: str,
        charging: Mapping[str, int],
        *,
        ledger_url: str = "",
        ami_port: int = 0,
        agi_port: int = 0,
        switch_id: str = "lab",
        lease_s: int = 15,
    ) -> None:
        """``folder`` is made and filled; ``charging`` is the section of that name in the settings. Other ports than
        the lab's put something in between, or make this a second daemon beside the one that the dialplan asks."""
        self.folder = folder
        self.http_port = free_port()
        self.api_port = free_port()
        self.agi_port = agi_port or lab.agi_port
        self.ledger = folder / "ledger.db"
        self.log = folder / "daemon.log"
        self.tariff = folder / "tariff.yaml"
        self._lab = lab
        self._process: Begun | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.tariff.write_text(tariff)
        self.settings = folder / "charging.yaml"
        self.settings.write_text(
            SETTINGS.format(
                ami_port=ami_port or lab.switch.charging_ami.port,
                prompts_dir=lab.prompts_dir,
                fax_folder=lab.switch.folder / "fax",
                agi_port=self.agi_port,
                switch_id=switch_id,
                lease_s=lease_s,
                ledger_url=ledger_url or "sqlite:///ledger.db",
                http_port=self.http_port,
                api_port=self.api_port,
                charging="\n".join(f"  {name}: {value}" for name, value in charging.items()) or "  {}",
            )
        )
        self.program: tuple[str, ...] = (sys.executable, "-m", "charging", "--config", str(self.settings), "run")
        """What is started."""
        transport = httpx.AsyncHTTPTransport(uds=str(folder / "control.sock"))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://daemon", timeout=30)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        await self._client.aclose()

    @property
    def environment(self) -> dict[str, str]:
        """What the daemon is started with."""
        return os.environ | {"CHARGING_AMI_SECRET": self._lab.switch.charging_ami.secret}

    async def start(self, *, wait_for_switch: bool = True) -> None:
        """Start it and wait until it answers (and has reconciled with the switch).

        Raises:
            LabError: it ended, or is not ready in time; with the end of its log.
        """
        self._process = await self._begin()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._is_ready(wait_for_switch):  # noqa: ASYNC110 - another process has no Event for us
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            await self.kill()
            raise LabError(f"the daemon was not ready in time: {self.last_words()}") from error
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def _begin(self) -> Begun:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *DIE_WITH_OWNER,
                str(os.getpid()),
                *self.program,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    async def _is_ready(self, wait_for_switch: bool) -> bool:
        assert self._process is not None, "started"
        if self._process.returncode is not None:
            raise LabError(f"the daemon ended with {self._process.returncode}: {self.last_words()}")
        try:
            facts = (await self.get("/health"))["facts"]
        except (httpx.HTTPError, LabError):
            return False
        return facts["ami"] == "up" or not wait_for_switch

    def send(self, number: signal.Signals) -> None:
        """Send it a signal (SIGSTOP and SIGCONT freeze it and wake it up)."""
        assert self._process is not None, "started"
        self._process.send_signal(number)

    async def kill(self) -> None:
        """``kill -9``; nothing happens where it is not running."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """Ask it to stop, as a supervisor does; its exit code."""
        assert self._process is not None, "started"
        self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """A resource of the control interface. Raises LabError where it refuses."""
        return await self._ask("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """Post to the control interface. Raises LabError where it refuses."""
        return await self._ask("POST", path, json=body, headers={"Idempotency-Key": key} if key else {})

    async def upload(self, path: str, data: bytes, key: str, **params: str) -> dict[str, Any]:
        """Post a document to the control interface. Raises LabError where it refuses."""
        return await self._ask("POST", path, content=data, params=params, headers={"Idempotency-Key": key})

    async def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Put to the control interface. Raises LabError where it refuses."""
        return await self._ask("PUT", path, json=body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Patch at the control interface. Raises LabError where it refuses."""
        return await self._ask("PATCH", path, json=body)

    async def delete(self, path: str) -> dict[str, Any]:
        """Delete at the control interface. Raises LabError where it refuses."""
        return await self._ask("DELETE", path)

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = await self._client.request(method, path, **request)
        if response.is_error:
            raise LabError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        found: dict[str, Any] = response.json()
        return found

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The log's lines that are JSON, of one event or all."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in found if not name or one.get("event") == name]

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
