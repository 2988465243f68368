"""The test mode: a developer's five minutes, typed from docs/sandbox.md, and what keeps it apart from real money."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from charging.app_start import upgrade_ledger
from charging.cli import main
from charging.cli import sandbox as cli_sandbox
from charging.cli.sandbox import sandbox_at
from charging.clock import SystemClock
from charging.errors import ChargingError
from charging.lab.ports import free_port
from charging.ledger.sqlite.file import schema_versions
from charging.settings import load_config
from tests.fakes.ami import DEADLINE_S
from tests.integration.test_docs_requests import BLOCK, Curl
from tests.integration.test_sqlite_upgrade import DUMPS, schema_of
from tests.pages import DOCS, text_of

pytestmark = pytest.mark.timeout(420)

START_S = 240
GET = 'curl -H "Authorization: Bearer $TOKEN" "http://127.0.0.1:9479/v1{}"'


@dataclass
class Sandbox:
    """A folder as `charging run --sandbox` makes it, with ports of its own."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "charging.yaml"

    def lay_down(self) -> None:
        sandbox_at(self.config)
        text = self.config.read_text()
        for port in ("9478", "9479", "9480", "9481"):
            self.ports[port] = free_port()
            assert f"#port: {port}" in text
            text = text.replace(f"#port: {port}", f"port: {self.ports[port]}")
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[port]}")
        self.config.write_text(text)

    async def curl(self, line: str) -> Any:
        """What a line of the page is answered."""
        answer = await self._asked(line)
        assert answer.is_success, (line, answer.text)
        assert answer.headers["x-charging-sandbox"] == "yes"
        return answer.json()

    async def _asked(self, line: str) -> httpx.Response:
        for port, own in self.ports.items():
            line = line.replace(f":{port}", f":{own}")
        token = (self.folder / "token").read_text().strip()
        return await Curl.of(line.replace("$TOKEN", token), self.folder).answer()

    async def get(self, path: str) -> Any:
        return await self.curl(GET.format(path))

    async def _answers(self) -> bool:
        """Of a process that is started by its first guest, and started again if that takes it too long. On a busy
        machine the ledger may take too long for the first question."""
        try:
            return (await self._asked(GET.format("/health"))).status_code != httpx.codes.SERVICE_UNAVAILABLE
        except httpx.TransportError:
            return False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        program = Path(sys.executable).with_name("charging")
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                program, "--config", self.config, "run", "--sandbox", stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(START_S):
                while process.returncode is None and not await self._answers():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            yield process
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE_S):
                    assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    made = Sandbox(tmp_path / "box")
    made.lay_down()
    return made


async def until(what: Any, condition: Any) -> Any:
    """What is answered once the condition holds for it."""
    async with asyncio.timeout(60):
        while not condition(found := await what()):  # noqa: ASYNC110 - another process has no Event for us
            await asyncio.sleep(0.2)
    return found


async def test_the_first_five_minutes_go_as_the_page_says(sandbox: Sandbox) -> None:
    """And a call that runs when the process is killed is settled at the next start."""
    lines = [line for line in "".join(BLOCK.findall(text_of(DOCS / "sandbox.md"))).splitlines() if line]
    assert lines[:2] == ["charging run --sandbox", "TOKEN=$(cat charging-sandbox/token)"]
    ring, balance, events, correct, poor, calls, top_up, fax, faxes, page, link = lines[2:]
    assert page == ".venv/bin/python docs/examples/credit_page.py charging-sandbox", "see test_credit_page"
    async with sandbox.running() as process:
        assert (await sandbox.get("/health"))["sandbox"] is True
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{sandbox.ports['9478']}/health")).json()["sandbox"] is True
        first = await sandbox.curl(ring)
        assert (first["decision"], first["target"], first["state"]) == ("forward", "+31612345678", "ringing")
        seen = await until(lambda: sandbox.curl(balance), lambda it: it["calls"] and it["calls"][0]["answered"])
        assert seen["calls"][0]["session"] == first["session"]
        told = await until(lambda: sandbox.curl(events), lambda it: it["items"][-1]["type"] == "call.ended")
        assert [one["type"] for one in told["items"]] == ["credit.topped_up", "call.begun", "call.ended"]
        assert told["items"][-1]["data"]["cdr"]["answered"]
        await sandbox.curl(correct)
        await sandbox.curl(poor)
        cut = (await until(lambda: sandbox.curl(calls), lambda it: it["items"][-1]["state"] == "over"))["items"][-1]
        assert (cut["was_cut"], cut["heard"]) == (True, ["en/credit_low"])
        after = await until(lambda: sandbox.curl(balance), lambda it: not it["calls"])
        assert (after["credit"]["reserved"], float(after["credit"]["posted"]) < 0.01) == ("0.00", True)
        await sandbox.curl(top_up)
        assert (await sandbox.curl(link))["url"].startswith(f"http://127.0.0.1:{sandbox.ports['9481']}/enter?token=")
        assert (await sandbox.curl(fax))["cost"] == "0.15"
        over = await until(lambda: sandbox.curl(faxes), lambda it: it["items"][-1]["ended"])
        assert (over["items"][-1]["state"], over["items"][-1]["cost"]) == ("partly_sent", "0.10")
        await sandbox.curl(poor)
        await until(lambda: sandbox.curl(balance), lambda it: it["calls"] and it["calls"][0]["answered"])
        process.kill()
        await process.wait()
    async with sandbox.running():
        settled = await until(lambda: sandbox.curl(balance), lambda it: not it["calls"])
        assert (settled["credit"]["reserved"], settled["credit"]["posted"] < "9.91") == ("0.00", True)
    assert "sandbox_started" in (sandbox.folder / "log").read_text()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_sandbox_and_real_money_never_meet(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flag, settings and ledger must agree, each with each of the others."""
    monkeypatch.setenv("TEST_AMI_SECRET", "x")
    config, own = str(sandbox.config), sandbox.config.read_text()
    assert main(["--config", config, "run"]) == 1
    assert "a sandbox's settings" in said(capsys)

    real = own.replace("sandbox: yes", "sandbox: no").replace("CHARGING_NO_SECRET", "TEST_AMI_SECRET")
    sandbox.config.write_text(real)
    assert main(["--config", config, "run", "--sandbox"]) == 1
    assert "no sandbox's" in said(capsys)
    assert main(["--config", config, "run"]) == 1
    assert "the ledger is a sandbox's" in said(capsys)

    sandbox.config.write_text(re.sub("sqlite:///var/charging.db", "sqlite:///var/real.db", real))
    assert main(["--config", config, "account", "add", "anna", "--plan", "voice_light"]) == 0
    sandbox.config.write_text(re.sub("sqlite:///var/charging.db", "sqlite:///var/real.db", own))
    assert main(["--config", config, "run", "--sandbox"]) == 1
    assert "was not made by a sandbox" in said(capsys)

    sandbox.config.write_text(own.replace("sqlite:///var/charging.db", "redis://127.0.0.1:6379/0"))
    assert main(["--config", config, "run", "--sandbox"]) == 1
    assert "ledger.url" in said(capsys)


@pytest.mark.parametrize("is_marked", [False, True])
async def test_an_older_ledger_is_upgraded_if_it_is_a_sandboxs_and_else_refused_as_it_is(
    sandbox: Sandbox, is_marked: bool
) -> None:
    file = sandbox.folder / "var" / "old.db"
    dump = max(DUMPS, key=lambda one: int(one.stem.removeprefix("schema-")))
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
        if is_marked:
            connection.execute(
                "INSERT INTO documents (collection, id, body, version) VALUES ('sandbox', 'sandbox', '{}', 1)"
            )
        connection.commit()
    before = schema_of(file)
    sandbox.config.write_text(sandbox.config.read_text().replace("var/charging.db", "var/old.db"))
    settings = load_config(sandbox.config).settings
    if is_marked:
        await upgrade_ledger(settings, SystemClock())
        assert schema_of(file) == max(schema_versions())
        return
    with pytest.raises(ChargingError, match="was not made by a sandbox"):
        await upgrade_ledger(settings, SystemClock())
    assert (schema_of(file), [one.name for one in file.parent.glob("old.db*")]) == (before, ["old.db"])


def test_nothing_is_laid_down_where_something_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("x")
    assert main(["--config", str(tmp_path / "charging.yaml"), "run", "--sandbox"]) == 1
    assert "not empty" in said(capsys)
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]


STEPS = ("make_state_folder", "_mark", "_settle", "_write_secret")


@pytest.mark.parametrize("step", STEPS)
def test_a_first_start_that_is_interrupted_is_made_whole_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    """Ctrl-C, a signal or a power failure, before or after each step."""

    def interrupted(*_given: object) -> NoReturn:
        raise KeyboardInterrupt

    config = tmp_path / "box" / "charging.yaml"
    with monkeypatch.context() as patched:
        patched.setattr(cli_sandbox, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            sandbox_at(config)
    assert "Making a sandbox" in capsys.readouterr().out
    assert not config.exists()
    assert sandbox_at(config) == config
    made = {one.name for one in config.parent.iterdir()}
    assert made == {config.name, *cli_sandbox.MADE}
    load_config(config)


def test_a_half_made_folder_in_which_something_else_lies_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"charging.yaml.new", "tariff.yaml", "mine"}
    for name in left:
        (tmp_path / name).write_text("x")
    assert main(["--config", str(tmp_path / "charging.yaml"), "run", "--sandbox"]) == 1
    assert "not empty" in said(capsys)
    assert {one.name for one in tmp_path.iterdir()} == left


def test_of_two_first_starts_at_a_time_one_makes_the_sandbox(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "charging.yaml"
    with cli_sandbox._alone(tmp_path / "charging.yaml.new"):
        assert main(["--config", str(config), "run", "--sandbox"]) == 1
    assert "another `charging run --sandbox`" in said(capsys)
    assert sandbox_at(config) == config
