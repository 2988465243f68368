"""The public interface as the daemon serves it: where its section stands in the settings, with the store's tokens."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from charging import app_api, priority
from charging.clock import SystemClock
from charging.door import CannotServe
from charging.lab.ports import free_port
from charging.settings import load_config
from tests.fakes.ami import eventually
from tests.integration.command import Command, Place
from tests.integration.test_cli_run import SETTINGS, daemon


def place_with(folder: Path, more: str = "") -> Place:
    place = Place(folder)
    place.write()
    place.config.write_text(SETTINGS.format(agi=free_port(), http=free_port()) + more)
    return place


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def ask(port: int, path: str, token: str = "") -> httpx.Response:
    await eventually(lambda: is_served(port), "the public interface is served")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=200) as client:
        return await client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})


async def test_the_daemon_serves_who_has_a_token_also_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the console, whoever logs in; and the customers' page, whom the website sends there."""
    port, console, customers = free_port(), free_port(), free_port()
    place = place_with(
        tmp_path, f"api: {{port: {port}}}\nconsole: {{port: {console}}}\ncustomer_page: {{port: {customers}}}\n"
    )
    charging = Command(place, capsys).beside
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert (await charging("console", "user", "add", "ada", "--role", "admin")).code == 0
    early = (await charging("token", "add", "made before the daemon", "--scope", "read", "--json")).json["token"]
    async with daemon(place):
        assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
        made = (await charging("token", "add", "the website", "--scope", "read", "--json")).json
        assert (await ask(port, "/accounts/anna", early)).json()["id"] == "anna"
        assert (await ask(port, "/accounts/anna")).status_code == 401
        assert "anna" in await seen_in_console(console, "/accounts/anna")
        link = (await charging("account", "page-link", "anna", "--json")).json["url"]
        assert "anna" in await seen_by_customer(customers, link)
        assert "manager link" in await seen_in_console(console, "/health")
    async with daemon(place):
        assert (await ask(port, "/accounts/anna", made["token"])).json()["id"] == "anna"
        assert (await charging("token", "revoke", made["id"])).code == 0
        assert (await ask(port, "/accounts/anna", made["token"])).status_code == 401


async def seen_in_console(port: int, place: str) -> str:
    """A page, after logging in."""
    await eventually(lambda: is_served(port), "the console is served")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=200) as browser:
        form = await browser.get("/login", params={"next": place})
        (token,) = re.findall('name="token" value="([0-9a-f]+)"', form.text)
        given = {"token": token, "name": "ada", "password": "correct horse battery", "next": place}
        entered = await browser.post("/login", data=given, headers=_cookies_of(form))
        assert (entered.status_code, entered.headers["location"]) == (303, place)
        return (await browser.get(place, headers=_cookies_of(entered))).text


async def seen_by_customer(port: int, link: str) -> str:
    """The first page, after coming in by the website's link."""
    await eventually(lambda: is_served(port), "the customers' page is served")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=200) as browser:
        form = await browser.get(link[link.index("/enter") :])
        given = dict(re.findall('name="(token|link)" value="([^"]+)"', form.text))
        entered = await browser.post("/enter", data=given, headers=_cookies_of(form))
        assert (entered.status_code, entered.headers["location"]) == (303, "/"), entered.text
        again = await browser.post("/enter", data=given, headers=_cookies_of(form))
        assert again.status_code == 403, "once"
        return (await browser.get("/", headers=_cookies_of(entered))).text


def _cookies_of(answer: httpx.Response) -> dict[str, str]:
    """A browser sends Secure cookies to loopback over plain HTTP; httpx does not."""
    return {"cookie": "; ".join(one.partition(";")[0] for one in answer.headers.get_list("set-cookie"))}


def api_pids(place: Place) -> list[int]:
    """The processes of the public interface that the daemon has started, the newest last."""
    lines = [json.loads(line) for line in (place.folder / "log").read_text().splitlines() if line.startswith("{")]
    return [line["pid"] for line in lines if line["event"] == "api_process_started"]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def expendable(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@dataclass
class Website:
    place: Place
    port: int
    token: str
    daemon: asyncio.subprocess.Process

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        await eventually(lambda: is_served(self.port), "the public interface is served")
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": "k1"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=200) as client:
            return await client.request(method, path, headers=headers, **request)


@pytest.fixture
async def website(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Website]:
    port = free_port()
    place = place_with(tmp_path, f"api: {{port: {port}}}\n")
    charging = Command(place, capsys).beside
    token = (await charging("token", "add", "x", "--scope", "read", "--scope", "credit", "--json")).json["token"]
    assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
    async with daemon(place) as process:
        yield Website(place, port, token, process)


async def test_what_is_changed_by_the_daemon_is_read_at_once_by_the_process_of_the_api(website: Website) -> None:
    """R22."""
    made = await website.ask("POST", "/accounts/anna/top-ups", json={"amount": "25.00"})
    assert (made.status_code, made.json()["available"], made.headers["content-type"]) == (
        201,
        "25.00",
        "application/json",
    )
    again = await website.ask("POST", "/accounts/anna/top-ups", json={"amount": "25.00"})
    assert (again.status_code, again.json()["created"]) == (200, False)
    (line,) = (await website.ask("GET", "/accounts/anna/journal")).json()["items"]
    assert (line["id"], line["kind"]) == (made.json()["transfer"], "top_up")
    assert (await website.ask("GET", "/accounts/anna/balance")).json()["credit"]["now"] == "25.00"
    assert (await website.ask("GET", "/accounts/nobody/balance")).status_code == 404
    refused = await website.ask("POST", "/accounts/anna/top-ups", json={"amount": "1.00"})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


async def test_the_process_of_the_api_gives_way_to_calls(website: Website) -> None:
    """For processors, and where memory is short: it would inherit what protects the daemon (OOMScoreAdjust)."""
    assert (await website.ask("GET", "/accounts/anna")).status_code == 200
    (pid,) = api_pids(website.place)
    theirs, ours = (os.getpriority(os.PRIO_PROCESS, one) for one in (pid, website.daemon.pid))
    assert theirs == min(ours + priority.NICENESS, 19)
    assert expendable(pid) == priority.EXPENDABLE


async def test_the_process_of_the_api_is_started_anew_and_ends_with_the_daemon(website: Website) -> None:
    assert api_pids(website.place) == [], "nobody has asked yet"
    assert (await website.ask("GET", "/accounts/anna")).status_code == 200
    (first,) = api_pids(website.place)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "api_process_ended" in (website.place.folder / "log").read_text(), "it is noticed")
    assert (await website.ask("GET", "/accounts/anna")).json()["id"] == "anna"
    second = api_pids(website.place)[-1]
    assert second != first
    website.daemon.kill()
    await website.daemon.wait()
    await eventually(lambda: not is_there(second), "nothing is left behind")


async def test_a_process_of_the_api_that_starts_while_the_tariff_on_disk_is_bad_answers_by_the_one_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the folder of the settings, in which that would be kept, cannot be written."""
    port = free_port()
    place = place_with(tmp_path, f"api: {{port: {port}}}\neditions: {{folder: in-the-way/editions}}\n")
    (place.folder / "in-the-way").write_text("a file")
    charging = Command(place, capsys).beside
    token = (await charging("token", "add", "x", "--scope", "read", "--json")).json["token"]
    assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
    async with daemon(place):
        before = (await ask(port, "/accounts/anna/balance", token)).json()
        (place.folder / "tariff.yaml").write_text("plans: what is this")
        os.kill(api_pids(place)[0], signal.SIGKILL)
        await eventually(lambda: "api_process_ended" in (place.folder / "log").read_text(), "it is noticed")
        again = await ask(port, "/accounts/anna/balance", token)
        assert (again.status_code, again.json()) == (200, before)


async def test_a_process_of_the_api_whose_loop_stands_is_ended_and_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that speaks goes on; that it was frozen is loud (`api_process_frozen`)."""
    monkeypatch.setattr(app_api, "FROZEN_S", 1)
    port = free_port()
    place = place_with(tmp_path, f"api: {{port: {port}}}\n")
    config = load_config(place.config, {"TEST_AMI_SECRET": "x"})
    pids = tmp_path / "pids"
    program = ("sh", "-c", f"echo $$ >>{pids}; for i in 1 2 3 4; do echo alive; sleep 0.4; done; kill -STOP $$")
    keeping = asyncio.create_task(app_api.keep_api(config, SystemClock(), lambda front, why: None, program))
    await eventually(lambda: is_served(port), "it is listened on")
    await eventually(lambda: pids.exists() and len(pids.read_text().split()) >= 2, "a second one is started")
    first = int(pids.read_text().split()[0])
    assert not is_there(first)
    keeping.cancel()
    await asyncio.wait([keeping])


@pytest.mark.parametrize(("starved", "goes_on"), [(True, True), (False, False)])
async def test_a_process_of_the_api_that_others_keep_from_the_processor_is_not_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starved: bool, goes_on: bool
) -> None:
    monkeypatch.setattr(app_api, "FROZEN_S", 0.5)
    monkeypatch.setattr(app_api, "starved_for_s", lambda _pid: time.monotonic() if starved else 0.0)
    port = free_port()
    config = load_config(place_with(tmp_path, f"api: {{port: {port}}}\n").config, {"TEST_AMI_SECRET": "x"})
    spoken = tmp_path / "spoken"
    silence = f"sleep 1.5; touch {spoken}; exec cat >/dev/null" if starved else "exec sleep 600"
    program = ("sh", "-c", f"echo alive; {silence}")
    keeping = asyncio.create_task(app_api.keep_api(config, SystemClock(), lambda front, why: None, program))
    await eventually(lambda: is_served(port), "it is listened on")
    with capture_logs() as logs:
        await eventually(lambda: spoken.exists() or any(one["event"] == "api_process_frozen" for one in logs), "either")
    assert spoken.exists() is goes_on
    keeping.cancel()
    await asyncio.wait([keeping])


def test_linux_tells_for_how_long_a_process_has_waited_for_a_processor() -> None:
    assert app_api.starved_for_s(os.getpid()) > 0
    assert app_api.starved_for_s(2**22 + 1) == 0, "there is no such process"


async def test_ports_that_the_process_of_a_killed_daemon_has_still_are_waited_for(tmp_path: Path) -> None:
    port = free_port()
    config = load_config(place_with(tmp_path, f"api: {{port: {port}}}\n").config, {"TEST_AMI_SECRET": "x"})
    with socket.socket() as still, capture_logs() as logs:
        still.bind(("127.0.0.1", port))
        still.listen()
        keeping = asyncio.create_task(app_api.keep_api(config, SystemClock(), lambda front, why: None, ("true",)))
        await eventually(lambda: any(one["event"] == "port_waited_for" for one in logs), "it says so")
    await eventually(lambda: is_served(port), "it is listened on")
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_ports_that_stay_taken_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_api, "PORTS_WAIT_S", 0.3)
    port = free_port()
    config = load_config(place_with(tmp_path, f"api: {{port: {port}}}\n").config, {"TEST_AMI_SECRET": "x"})
    with socket.socket() as another:
        another.bind(("127.0.0.1", port))
        another.listen()
        with pytest.raises(CannotServe, match=r"api\.port: cannot listen"):
            await app_api.keep_api(config, SystemClock(), lambda front, why: None, ("true",))


async def test_daemon_that_is_told_to_stop_takes_the_process_of_the_api_with_it(website: Website) -> None:
    assert (await website.ask("GET", "/accounts/anna")).status_code == 200
    (pid,) = api_pids(website.place)
    website.daemon.terminate()
    assert await website.daemon.wait() == 0
    assert not is_there(pid)


async def test_changes_are_refused_and_reading_goes_on_while_the_daemon_does_not_answer(website: Website) -> None:
    assert (await website.ask("GET", "/accounts/anna")).status_code == 200
    website.place.socket.unlink()
    refused = await website.ask("POST", "/accounts/anna/top-ups", json={"amount": "25.00"})
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "unavailable", "30")
    assert (await website.ask("GET", "/accounts/anna")).status_code == 200
    assert (await website.ask("GET", "/health")).status_code == 503, "the next call's money could not be written"


async def test_a_port_of_the_api_that_is_taken_is_told_with_its_section(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = place_with(tmp_path, f"api: {{port: {taken.getsockname()[1]}}}\n")
        async with daemon(place) as process:
            assert await process.wait() == 1
    assert "choose another host or port under `api` in charging.yaml" in (tmp_path / "log").read_text()
