"""Webhooks by a whole daemon and a real program: what is booked is told, once at least and in order, whoever dies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from charging.clock import SystemClock
from charging.web import signed_post
from charging.web.settings import Webhook
from charging.web.signed_post import Hook, Kind, Receiver
from tests.integration.command import Command, Ran
from tests.integration.test_api_daemon import place_with
from tests.integration.test_cli_run import daemon
from tests.integration.webhook_program import CLOSE, DRIP, HANG, SECRET, Told, program

Ask = Callable[..., Awaitable[Ran]]
WAITED_S = 150
"""For a process that gives way to all others, on a machine that many share."""
TOP_UPS = "credit.topped_up"
SECTION = """webhooks:
  - name: site
    url: {url}
    secret_file: secret
    events: [credit.topped_up, notice.queued, setting.changed]
"""


def secret_in(folder: Path) -> None:
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)


async def begun(folder: Path) -> None:
    """An endpoint is told what happens once someone sends to it."""

    async def is_logged() -> bool:
        return "webhook_turn_taken" in (folder / "log").read_text()

    await _until(is_logged, "a sender has its turn")


@dataclass
class Watched:
    """What the program does at each top-up, by account and number: it may kill someone before it answers."""

    kills: dict[str, Callable[[], None]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """At the first time; then it is taken."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Top-ups and the ids of their messages."""

    def __call__(self, told: Told) -> int:
        if told.message["type"] != TOP_UPS:
            return 200
        which = str(told.data["transfer"]).removeprefix("top-up/")
        self.seen.append((which, told.id))
        self.kills.pop(which, lambda: None)()
        return self.answers.pop(which, 204)

    def of(self, account: str) -> list[tuple[str, str]]:
        """Each once, in the order in which they came first."""
        return list(dict.fromkeys(one for one in self.seen if one[0].startswith(account)))


async def paid(charging: Ask, first: int, last: int) -> None:
    for number in range(first, last + 1):
        for account in ("anna", "bert"):
            ran = await charging("top-up", account, "10", "--id", f"{account}-{number}")
            assert ran.code == 0, ran.err


@pytest.mark.timeout(600)
async def test_what_is_booked_is_told_in_order_though_sender_and_daemon_are_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody connects: the process that sends is started with the daemon, and again after it was killed."""
    secret_in(tmp_path)
    watched = Watched(answers={"anna-3": 500, "bert-2": 503, "bert-5": CLOSE})

    def pid() -> int:
        return int(re.findall(r'"pid": ?([0-9]+)', (tmp_path / "log").read_text())[-1])

    async with program() as site:
        site.answer = watched
        place = place_with(tmp_path, SECTION.format(url=site.url))
        charging = Command(place, capsys).beside
        async with daemon(place) as running:
            await begun(tmp_path)
            for account in ("anna", "bert"):
                assert (await charging("account", "add", account, "--plan", "pro")).code == 0
            await _until(_holds(lambda: len(site.told) == 2), "the program is told of both accounts")
            watched.kills["anna-2"] = lambda: os.kill(pid(), signal.SIGKILL)
            watched.kills["bert-4"] = lambda: os.kill(running.pid, signal.SIGKILL)
            await paid(charging, 1, 3)
            assert (await charging("top-up", "anna", "10", "--id", "anna-4")).code == 0
            await charging("top-up", "bert", "10", "--id", "bert-4")  # the daemon may die before it has answered
            await _until(_holds(lambda: not watched.kills), "sender and daemon are killed")
            await running.wait()
        async with daemon(place, "log-2"):
            await paid(charging, 4, 6)
            await _until(_holds(lambda: len(watched.of("anna")) == len(watched.of("bert")) == 6), "all is told")
            (state,) = (await charging("webhook", "list", "--json")).json
            assert (state["dead"], state["off"]) == (0, False)
    for account in ("anna", "bert"):
        assert [which for which, _ in watched.of(account)] == [f"{account}-{number}" for number in range(1, 7)]
    assert len(watched.seen) > 12, "what was not thanked for is told again"
    assert len({id for _, id in watched.seen}) == 12, "with the same id"


@pytest.mark.timeout(600)
async def test_one_that_refuses_or_has_gone_is_shown_and_told_again_by_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_in(tmp_path)
    monkeypatch.setenv("TEST_AMI_SECRET", "x")
    async with program() as site:
        site.answer = lambda told: 200 if told.message["type"] != TOP_UPS else 400
        place = place_with(tmp_path, SECTION.format(url=site.url))
        charging = Command(place, capsys).beside

        async def letters() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await charging("webhook", "letters", "site", "--json")).json
            return found

        async with daemon(place):
            await begun(tmp_path)
            tried = await charging("webhook", "test", "site")
            assert (tried.code, site.told[-1].message["type"]) == (0, "webhook.test")
            assert (await charging("webhook", "test", "other")).code == 1
            assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
            for number in (1, 2, 3):
                assert (await charging("top-up", "anna", "10", "--id", f"anna-{number}")).code == 0
            await _until(lambda: _has(letters, 3), "three letters")
            first, second, _ = await letters()
            assert first["why"] == "it answered 400"
            assert (second["tries"], second["why"]) == (0, "one before it was not taken")
            assert (await charging("webhook", "drop", "site", first["event"])).code == 0
            assert (await charging("webhook", "drop", "site", first["event"])).code == 1
            assert (await charging("webhook", "drop", "site")).code == 2
            assert (await charging("webhook", "drop", "site", "--account", "bert", "--json")).json["letters"] == 0
            site.answer = lambda _told: 410
            assert (await charging("webhook", "resend", "site", "--json")).json == {"webhook": "site", "letters": 2}

            async def is_off() -> bool:
                return bool((await charging("webhook", "list", "--json")).json[0]["off"])

            await _until(is_off, "it is switched off")
            site.answer = lambda _told: 200
            found = (await charging("check", "--json")).json
            (told_off,) = [one["text"] for one in found if one["part"] == "webhooks"]
            assert "it has answered 410" in told_off
            assert (await charging("webhook", "resend", "site")).code == 0
            await _until(lambda: _has(letters, 0), "all is taken")
            found = (await charging("check", "--json")).json
            assert "answers" in next(one["text"] for one in found if one["part"] == "webhooks")
            assert site.asked[-1].startswith("HEAD ")
            noted = (await charging("changes", "--json")).json
            assert {"webhook.resent", "webhook.dropped"} <= {one["act"] for one in noted}
        taken = [one.data["transfer"] for one in site.of("anna", TOP_UPS)][-2:]
        assert taken == ["top-up/anna-2", "top-up/anna-3"]


def _holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return condition()

    return asked


async def _has(letters: Callable[[], Awaitable[list[dict[str, Any]]]], count: int) -> bool:
    return len(await letters()) == count


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(WAITED_S):
            while not await condition():  # noqa: ASYNC110  another process does it
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


def receiver_of(url: str) -> Receiver:
    settings = Webhook.model_validate({"name": "site", "url": url, "secret_env": "SECRET"})
    return Receiver(Hook.of(settings, SECRET), SystemClock())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (200, None),
        (DRIP, None),
        (204, None),
        (302, Kind.REFUSED),
        (400, Kind.REFUSED),
        (500, Kind.REFUSED),
        (410, Kind.GONE),
        (429, Kind.AWAY),
        (503, Kind.AWAY),
        (HANG, Kind.AWAY),
        (CLOSE, Kind.AWAY),
    ],
)
async def test_each_answer_and_none_has_its_meaning(
    answer: int, kind: Kind | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer == HANG:
        monkeypatch.setattr(signed_post, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(signed_post, "BODY_S", 0.1)
    async with program() as site:
        site.answer = lambda _told: answer
        receiver = receiver_of(site.url)
        try:
            failure = await receiver.post("evt_1", signed_post.sample(1))
        finally:
            await receiver.close()
    assert (failure and failure.kind) == kind
    assert len(site.told) == 1


async def test_one_that_does_not_listen_is_not_reached() -> None:
    async with program() as site:
        url = site.url
    receiver = receiver_of(url)
    try:
        failure = await receiver.post("evt_1", signed_post.sample(1))
    finally:
        await receiver.close()
    assert failure is not None
    assert failure.kind is Kind.UNREACHED


async def test_a_connection_is_kept_for_the_next_event() -> None:
    async with program() as site:
        receiver = receiver_of(site.url)
        connections: set[int] = set()
        serve = site.serve

        async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(id(writer))
            await serve(reader, writer)

        site.serve = counted  # type: ignore[method-assign]
        try:
            for number in range(5):
                assert await receiver.post(f"evt_{number}", signed_post.sample(1)) is None
        finally:
            await receiver.close()
    assert len(connections) == 1


@pytest.mark.parametrize("named", ["localhost", "other.example"])
async def test_the_receiver_proves_by_its_certificate_that_it_is_who_the_settings_name(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address that was looked up before; the name is still what is asked for."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", f"/CN={named}", "-addext", f"subjectAltName=DNS:{named}")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)  # noqa: ASYNC221
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    async with program(tls) as site:
        receiver = receiver_of(f"https://localhost:{site.port}/hooks")
        try:
            failure = await receiver.post("evt_1", signed_post.sample(1))
        finally:
            await receiver.close()
    if named == "localhost":
        assert failure is None
    else:
        assert failure is not None
        assert (failure.kind, len(site.told)) == (Kind.UNREACHED, 0)
        assert "certificate" in failure.why
