"""A real daemon and a real mail server: what people do at the command line, and what time does, ends in a mail.

There is no Asterisk here; calls that end in a mail are in `tests/asterisk/test_notices.py`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from charging.lab.ports import free_port
from charging.ledger.open import open_store
from charging.service.events import Events, Place
from charging.web.sockets import is_answered
from tests.asterisk.story_time import TENTH, StoryTime, at
from tests.fakes.ami import eventually
from tests.integration import command
from tests.integration.command import REPOSITORY, TARIFF, Command
from tests.integration.smtp_server import Mailbox, mail_server
from tests.integration.test_cli_run import SETTINGS

ADDRESS = "anna@example.nl"
MAIL = """\
mail:
  port: {port}
  sender_address: service@voice.example
  sender_name: Voice
  top_up_url: https://www.voice.example/top-up
  retry_first_s: 1
  retry_most_s: 1
"""
LOW = """\
  light: {rates: standard, paid_subscription: yes, voicemail: {paid: no}, low_credit: 2.50}
  free: {rates: standard, paid_subscription: no, voicemail: {paid: no}, low_credit: 2.50}
expiry: {notices_days: [60, 30, 7, 1]}
"""
STORY = REPOSITORY / "tests" / "asterisk" / "story_daemon.py"


@dataclass
class Post:
    """The operator's daemon, command and mail server."""

    place: command.Place
    charging: Command
    mailbox: Mailbox
    mail_port: int
    http_port: int

    async def run(self, *arguments: str) -> str:
        """What a command prints; it succeeds."""
        ran = await self.charging.beside(*arguments)
        assert ran.code == 0, ran
        return ran.out

    async def anna(self, plan: str = "light") -> None:
        await self.run("account", "add", "anna", "--plan", plan, "--email", ADDRESS)

    def subjects(self) -> list[str]:
        """Of the mails that came, in order."""
        assert set(self.mailbox.recipients) <= {ADDRESS}
        return [" ".join(str(one["Subject"]).split()) for one in self.mailbox.got]

    async def mails(self, how_many: int) -> list[str]:
        """The subjects, once so many have come."""
        await eventually(lambda: len(self.mailbox.got) >= how_many, f"{how_many} mails: {self.subjects()}")
        return self.subjects()

    async def events(self) -> list[str]:
        """Of all accounts, the types of what happened, as another process reads them."""
        store = open_store(f"sqlite:///{self.place.folder / 'ledger.db'}", reads_only=True)
        await store.open()
        try:
            answer = await Events(store).of_all(Place(), 200)
        finally:
            await store.close()
        assert isinstance(answer, tuple)
        return [one.what.value for one in answer[0]]

    async def metric(self, name: str, **labels: str) -> float:
        """As Prometheus reads it."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.http_port}/metrics")).text
        samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
        (value,) = (one.value for one in samples if (one.name, one.labels) == (name, labels))
        return float(value)

    async def until_metric(self, expected: float, name: str, **labels: str) -> None:
        async with asyncio.timeout(20):
            while await self.metric(name, **labels) != expected:  # noqa: ASYNC110 - another process has no Event for us
                await asyncio.sleep(0.05)

    def log(self) -> str:
        return (self.place.folder / "log").read_text()


@pytest.fixture
def post(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Post:
    place = command.Place(tmp_path)
    place.write()
    found = Post(place, Command(place, capsys), Mailbox(), free_port(), free_port())
    settings = SETTINGS.format(agi=free_port(), http=found.http_port)
    place.config.write_text(settings + MAIL.format(port=found.mail_port))
    light, _, rest = TARIFF.partition("  light: ")
    tariff = light + LOW.partition("expiry:")[0] + rest.partition("\n")[2] + "expiry:" + LOW.partition("expiry:")[2]
    (tmp_path / "tariff.yaml").write_text(tariff)
    return found


@asynccontextmanager
async def daemon(post: Post, clocks: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """``charging run``, or the same with clocks that a file moves."""
    run = (Path(sys.executable).with_name("charging"), "run", "--config", post.place.config)
    moved = (sys.executable, STORY, post.place.config, clocks)
    with (post.place.folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(one) for one in (moved if clocks else run)),
            stderr=log,
            env={"TEST_AMI_SECRET": "x", "PYTHONPATH": str(REPOSITORY)},
        )
    try:
        await eventually(lambda: is_answered(post.place.socket) or process.returncode is not None, "the daemon answers")
        assert process.returncode is None, post.log()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_r15_what_people_do_to_credit_is_looked_at_at_once_and_told_in_the_accounts_language(post: Post) -> None:
    with mail_server(post.mailbox, port=post.mail_port):
        async with daemon(post):
            await post.anna()
            await post.run("top-up", "anna", "10")
            await post.run("account", "correct", "anna", "-8.00", "--reason", "charged back")
            assert await post.mails(1) == ["Uw beltegoed is bijna op: nog € 2,00"]
            await post.run("account", "set", "anna", "--language", "en")
            await post.run("top-up", "anna", "10")
            await post.run("account", "correct", "anna", "-11.98", "--reason", "charged back")
            assert (await post.mails(2))[1:] == ["Your credit is running low: €0.02 left"]
            await post.until_metric(2, "charging_notices_total", kind="low-credit", result="sent")
            assert await post.metric("charging_mail_up") == 1
            told = await post.events()
            assert told.count("notice.sent") == 2
            assert told.index("credit.low") < told.index("notice.sent")
    message = post.mailbox.got[0]
    body = message.get_body(("plain",))
    assert body is not None
    assert "https://www.voice.example/top-up" in body.get_content()
    assert message.get_body(("html",)) is not None


async def test_r15_who_had_no_address_is_told_when_he_has_one(post: Post) -> None:
    with mail_server(post.mailbox, port=post.mail_port):
        async with daemon(post):
            await post.run("account", "add", "anna", "--plan", "light")
            await post.run("top-up", "anna", "10")
            await post.run("account", "correct", "anna", "-10.00", "--reason", "charged back")
            await post.run("account", "set", "anna", "--email", ADDRESS)
            assert await post.mails(1) == ["Uw beltegoed is op"]


async def test_r15_a_mail_server_that_is_away_is_seen_and_what_waits_goes_out_after_a_restart(post: Post) -> None:
    async with daemon(post) as process:
        await post.anna()
        await post.run("top-up", "anna", "10")
        await post.run("account", "correct", "anna", "-8.00", "--reason", "charged back")
        await post.until_metric(0, "charging_mail_up")
        await post.run("top-up", "anna", "25")
        assert '"27.00"' in await post.run("account", "show", "anna", "--json"), "money does not wait for mails"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    with mail_server(post.mailbox, port=post.mail_port):
        async with daemon(post):
            assert await post.mails(1) == ["Uw beltegoed is bijna op: nog € 2,00"]
            await post.until_metric(1, "charging_notices_total", kind="low-credit", result="sent")
            assert await post.metric("charging_mail_up") == 1
    assert len(post.mailbox.got) == 1
    assert "mail_server_failed" in post.log()


def _swept_more_than(post: Post, times: int) -> bool:
    return post.log().count("accounts_swept") > times


async def test_r20_expiry_is_told_on_each_of_the_days_once_until_it_is_cured(post: Post, tmp_path: Path) -> None:
    """Anna does not use her credit for a year, Ben pays for his subscription by the year."""
    calendar = StoryTime(tmp_path / "clocks", at(TENTH, "10:00:00"))
    next_year = TENTH.year + 1

    async def passes(daemon: asyncio.subprocess.Process, *days: date) -> list[str]:
        """The subjects of what comes on these mornings."""
        before = len(post.mailbox.got)
        for day in days:
            sweeps = post.log().count("accounts_swept")
            calendar.move(at(day, "09:30:00"))
            daemon.send_signal(signal.SIGUSR1)
            await eventually(partial(_swept_more_than, post, sweeps), "the morning's look")
            await eventually(lambda: post.log().count('"notice_sent"') == post.log().count('"notice_put"'), "the mails")
        return post.subjects()[before:]

    with mail_server(post.mailbox, port=post.mail_port):
        async with daemon(post, calendar.file) as process:
            await post.anna("free")
            await post.run("account", "add", "ben", "--plan", "light", "--email", ADDRESS, "--language", "en")
            await post.run("subscription", "paid", "ben", "--until", f"{next_year}-01-15")
            for account in ("anna", "ben"):
                await post.run("top-up", account, "10")
            assert await passes(process, date(TENTH.year, 11, 10)) == []
            assert await passes(process, date(TENTH.year, 11, 11)) == ["Uw beltegoed van € 10,00 vervalt over 60 dagen"]
            assert await passes(process, date(TENTH.year, 11, 16)) == [
                "Your subscription is ending, and with it your credit of €10.00"
            ]
        async with daemon(post, calendar.file) as process:
            assert await passes(process, date(TENTH.year, 11, 17)) == []
            assert await passes(process, date(TENTH.year, 12, 11)) == ["Uw beltegoed van € 10,00 vervalt over 30 dagen"]
            await post.run("top-up", "anna", "10")
            await post.run("subscription", "paid", "ben", "--until", f"{next_year + 1}-01-15")
            mornings = (date(TENTH.year, 12, 16), *(date(next_year, 1, day) for day in (3, 9, 10, 14, 15, 16)))
            assert await passes(process, *mornings) == []
            shown = await post.run("account", "show", "ben", "--json")
            assert '"10.00"' in shown, "the subscription keeps it"
