"""The command ``charging`` as tests run it: in this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charging.cli import main
from charging.lab.ports import free_port

REPOSITORY = Path(__file__).parents[2]

SETTINGS = """\
switch:
  ami: {{host: 127.0.0.1, port: {ami_port}, secret_env: TEST_AMI_SECRET}}
  prompts_dir_on_switch: {prompts}
agi: {{port: {agi_port}}}
http: {{port: {http_port}}}
ledger: {{url: "sqlite:///ledger.db"}}
tariff: tariff.yaml
control: {{socket: control.sock}}
"""
AGI_PORT = free_port()
"""Of every daemon of this process of tests: they come one after another, and other processes have others."""
TARIFF = """\
revision: test-1
zone: Europe/Amsterdam
region: NL
vat: {percent: 21, included: yes}
top_up: {minimum: 10.00, amounts: [10.00, 25.00]}
destinations:
  nl: {prefixes: ["+31"]}
  premium: {prefixes: ["+31900", "+31906", "+3166"], refuse: premium}
rates:
  standard:
    destinations:
      nl: {price: 0.06, increments: 60/60}
plans:
  light: {rates: standard, paid_subscription: yes, voicemail: {paid: no}}
  pro: {rates: standard, paid_subscription: yes, free_minutes: {minutes: 10}, voicemail: {paid: no}}
packs:
  addon_60: {minutes: 60, days: 30}
"""


@dataclass
class Place:
    """A folder with settings and a tariff."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "charging.yaml"

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def write(self, ami_port: int = 1, prompts: Path = REPOSITORY / "prompts") -> None:
        ports = {"ami_port": ami_port, "agi_port": AGI_PORT, "http_port": free_port()}
        self.config.write_text(SETTINGS.format(prompts=prompts, **ports))
        (self.folder / "tariff.yaml").write_text(TARIFF)


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """The one line that it refused with: exit 1, nothing else said."""
        assert self.code == 1, self
        assert self.out == "", self
        (line,) = self.err.splitlines()
        assert line.startswith("charging: ")
        return line.removeprefix("charging: ")


class Command:
    """Runs the command in this process: the same code, without the interpreter's start."""

    def __init__(self, place: Place, capture: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self._capture = capture

    def __call__(self, *arguments: str) -> Ran:
        self._capture.readouterr()
        code = main(["--config", str(self.place.config), *arguments])
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)

    async def beside(self, *arguments: str) -> Ran:
        """The same in a thread, while this test's loop plays whatever the command talks to."""
        return await asyncio.to_thread(self, *arguments)


async def run_process(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """The command as a process, without a terminal."""
    program = Path(sys.executable).with_name("charging")
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(180):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:  # else the next test is told of what this one has left
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
