"""Calls on a real Asterisk that end in mails: a real daemon, a real mail server, and who reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from charging.lab import Call, Lab
from charging.lab.daemon import DaemonProcess
from charging.lab.ports import free_port
from charging.ledger.accounts import Language
from tests.asterisk.engine import NUMBER, Engine, engine
from tests.asterisk.story_time import ZONE, StoryTime, in_words
from tests.integration.smtp_server import Mailbox, mail_server

pytestmark = pytest.mark.asterisk

ADDRESS = "anna@example.nl"
PAUSE_MIN = 15
MAIL = """\
mail:
  port: {port}
  sender_address: service@voice.example
  sender_name: Voice
  top_up_url: https://www.voice.example/top-up
  retry_first_s: 1
  retry_most_s: 1
"""


@dataclass
class Post:
    """Anna's mailbox, and who writes to it."""

    clocks: Path
    port: int
    mailbox: Mailbox = field(default_factory=Mailbox)

    def prepare(self, daemon: DaemonProcess) -> None:
        """Before it starts."""
        with daemon.settings.open("a") as settings:
            settings.write(MAIL.format(port=self.port))
        tariff = daemon.tariff.read_text()
        daemon.tariff.write_text(tariff.replace("calls_at_once: 5, ", "calls_at_once: 5, low_credit: 0.01, "))

    def later(self, daemon: DaemonProcess, minutes: int) -> None:
        """When it is started again, so much time has passed."""
        calendar = StoryTime(self.clocks, datetime.now(ZONE))
        calendar.move(calendar.now + timedelta(minutes=minutes))
        story = Path(__file__).with_name("story_daemon.py")
        daemon.program = (sys.executable, str(story), str(daemon.settings), str(calendar.file))

    async def mail(self, live: Engine, how_many: int) -> EmailMessage:
        """The mail of this number, to her, once it has come."""

        async def come() -> bool:
            return len(self.mailbox.got) >= how_many

        await live.until(come, f"{how_many} mails", 20)
        assert len(self.mailbox.got) == how_many
        assert set(self.mailbox.recipients) == {ADDRESS}
        return self.mailbox.got[-1]


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path / "clocks", free_port())


@pytest.fixture
def reads(post: Post) -> Iterator[None]:
    """Her mail server works."""
    with mail_server(post.mailbox, port=post.port):
        yield


def words(message: EmailMessage, form: str = "plain") -> str:
    """The mail's text, every space an ordinary one."""
    body = message.get_body((form,))
    assert body is not None
    return " ".join(body.get_content().split())


async def rings_in_vain(live: Engine, caller: str = "") -> Call:
    """A caller whom nobody answers: he hears ringing and gives up; no phone rings, and nothing is stored for him."""
    before = len(live.daemon.events("call_decided"))
    call = await live.call(**({"caller": caller} if caller else {}))
    decided = await live.heard("call_decided", times=before + 1)
    assert (decided["decision"], decided["reason"]) == ("reject", "no_credit")
    await call.hang_up()
    await call.wait_end()
    assert (call.was_answered, call.mobiles) == (False, [])
    return call


@pytest.mark.usefixtures("reads")
async def test_r13_calls_that_credit_cannot_answer_are_told_at_once_then_together_and_none_is_lost(
    lab: Lab, tmp_path: Path, post: Post
) -> None:
    async with engine(
        lab, tmp_path, plan="voice_free", credit="0", language=Language.EN, email=ADDRESS, prepare=post.prepare
    ) as live:
        first = await rings_in_vain(live)
        told = await post.mail(live, 1)
        assert told["Subject"] == f"Missed call from {first.caller}"
        for form in ("plain", "html"):
            text = words(told, form)
            assert first.caller in text
            assert NUMBER in text
            assert in_words(datetime.now(ZONE).date(), Language.EN) + " at " in text
            assert "too low to forward it or to take a voicemail" in text
            assert "https://www.voice.example/top-up" in text or form == "html"
        await rings_in_vain(live, first.caller)
        await live.daemon.kill()
        await live.daemon.start()
        await rings_in_vain(live, first.caller)
        other = await rings_in_vain(live, "+31201112233")
        assert await live.daemon.stop() == 0
        assert len(post.mailbox.got) == 1
        post.later(live.daemon, PAUSE_MIN + 1)
        await live.daemon.start()
        together = await post.mail(live, 2)
        assert " ".join(str(together["Subject"]).split()) == "You missed 3 calls"
        assert f"{first.caller}: 2 times, last on " in words(together)
        assert f"{other.caller}: " in words(together)
        await _counted(live)


async def _counted(live: Engine) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{live.daemon.http_port}") as daemon:

        async def shown() -> bool:
            text = (await daemon.get("/metrics")).text
            return 'charging_notices_total{kind="missed-calls",result="sent"} 1.0' in text

        await live.until(shown, "the mail to be counted")
        assert "charging_mail_up 1.0" in (await daemon.get("/metrics")).text


@pytest.mark.usefixtures("reads")
async def test_r15_r23_credit_that_ends_with_a_call_is_told_when_the_call_is_booked(
    lab: Lab, tmp_path: Path, post: Post
) -> None:
    def in_one_piece(daemon: DaemonProcess) -> None:
        """She has nothing low yet, whoever looks (after nine the daily sweep does, at the start); and the three seconds
        are one increment, so that a late first tick leaves nothing of them."""
        post.prepare(daemon)
        tariff = daemon.tariff.read_text().replace("low_credit: 0.01", "low_credit: 0.003")
        daemon.tariff.write_text(tariff.replace("increments: 1/1}", "increments: 3/3}"))

    one_tick = {"tick_s": 60, "horizon_s": 60}
    async with engine(lab, tmp_path, credit="0.003", policy=one_tick, email=ADDRESS, prepare=in_one_piece) as live:
        call = await live.call()
        await call.wait_end(20)
        assert (await live.cdr())["billed_s"] == 3
        told = await post.mail(live, 1)
        assert told["Subject"] == "Uw beltegoed is op"
        assert "We kunnen geen oproepen meer naar u doorschakelen" in words(told)
        assert "rechtstreeks naar uw voicemail gestuurd" in words(told)


async def test_r15_a_call_is_charged_to_its_end_while_the_mail_server_stalls(
    lab: Lab, tmp_path: Path, post: Post
) -> None:
    post.mailbox.at_rcpt[ADDRESS] = "stall"
    with mail_server(post.mailbox, port=post.port):
        async with engine(lab, tmp_path, credit="0.014", email=ADDRESS, prepare=post.prepare) as live:
            call = await live.call()
            await live.heard("notice_put")
            await call.wait_end(30)
            assert (await live.cdr())["billed_s"] == 14
            await live.nothing_reserved()
            assert await live.posted() == 0
            assert post.mailbox.got == []
