"""``charging check --call`` on a real Asterisk with a running daemon: rings nobody and is charged to nobody.

It says of each promise whether it was kept, and each set-up that would break one is told, with what to do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.asterisk import rehearsal
from charging.cli import check_call
from charging.cli.check_files import Wanted, findings, rehearsed
from charging.cli.check_results import CheckResult, Grade
from charging.lab import CallState, Lab
from charging.lab.daemon import DaemonProcess
from charging.ledger.accounts import REHEARSAL
from charging.service.rehearsals import REASON
from charging.settings import load_config
from tests.asterisk.engine import NUMBER, Engine, engine, every_page
from tests.asterisk.raw_call import raw_call
from tests.asterisk.several import site
from tests.asterisk.test_check_live import EXTENSIONS, GLOBALS, MANAGER, Edit, edited
from tests.asterisk.waiting import eventually
from tests.integration.redis_servers import RedisServer

pytestmark = pytest.mark.asterisk

SPARE = "+31850000055"
"""A number that no customer has."""
TALK_S = 6


class Said:
    """What the rehearsal said."""

    def __init__(self, found: list[CheckResult]) -> None:
        self.found = [one for one in found if one.part == "rehearsal"]

    def wrong(self) -> list[str]:
        return [one.text for one in self.found if one.grade is not Grade.OK]

    def __contains__(self, words: str) -> bool:
        return any(words in one.text for one in self.found)


async def rehearse(daemon: DaemonProcess, context: str = "trunk", number: str = SPARE) -> Said:
    """The rehearsal alone, without the looks that go before it."""

    def run() -> list[CheckResult]:
        return list(rehearsed(load_config(daemon.settings), Wanted(number, context)))

    return Said(await asyncio.to_thread(run))


@pytest.fixture(autouse=True)
def short(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A call of some seconds, and little patience; and nothing has left by the trunk."""
    monkeypatch.setenv("CHARGING_AMI_SECRET", lab.switch.charging_ami.secret)
    monkeypatch.setattr(check_call, "TALK_S", TALK_S)
    monkeypatch.setattr(rehearsal, "ARRIVES_S", 4.0)
    rung = list(lab.world.stray_mobiles)
    yield
    assert lab.world.stray_mobiles == rung


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


async def journal(daemon: DaemonProcess) -> list[tuple[str, str]]:
    """Kinds and reasons of the rehearsal's account, oldest first."""
    lines = await every_page(daemon, f"/accounts/{REHEARSAL}/journal")
    return [(line["kind"], line["reason"]) for line in reversed(lines)]


async def test_a_right_set_up_keeps_every_promise_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        before = await live.balance(), await live.journal()

        def run() -> list[CheckResult]:
            return list(findings(live.daemon.settings, live=False, call=Wanted(SPARE, "trunk")))

        found = await asyncio.to_thread(run)
        said = Said(found)
        assert said.wrong() == []
        assert [one.text for one in found if one.grade is Grade.PROBLEM] == [], "--call looks as --live does first"
        assert f"{SPARE}@trunk leads to charging-incoming" in said
        assert "decided: forward (credit), 6 s reserved" in said
        assert "the switch itself ends it after 6 s" in said
        assert "the warning was heard at the far end" in said
        assert "hung up by the switch at the end of the paid time" in said
        assert "(the black box) was written" in said
        assert "billed 6 s, € 0.06" in said
        assert "the books are at zero again" in said
        assert ("correct", REASON) in await journal(live.daemon)
        assert (await live.balance(), await live.journal()) == before, "no customer's"
        numbers = (await live.daemon.get("/numbers"))["items"]
        assert [one["number"] for one in numbers] == [NUMBER], "out of service again"
        loud = [line["event"] for line in live.daemon.events() if line["level"] in ("warning", "error", "critical")]
        assert set(loud) <= {"tariff_warning"}, "only of its tariff, which has no credit_a_day"


async def test_a_stranger_who_rings_its_number_meanwhile_finds_none(lab: Lab, tmp_path: Path) -> None:
    """He would be forwarded for the rehearsal's money, and it would be told as broken."""
    async with engine(lab, tmp_path) as live:
        running = asyncio.create_task(rehearse(live.daemon))

        async def is_in_service() -> bool:
            return SPARE in [one["number"] for one in (await live.daemon.get("/numbers"))["items"]]

        await eventually(is_in_service, "the number to be in service", 20)
        async with raw_call(lab, SPARE) as stranger:
            assert await stranger.is_answered("INVITE", 200, 404) == 404
        said = await running
        assert said.wrong() == []
        assert "the books are at zero again" in said
        cdrs = [one["account"] for one in (await live.daemon.get("/cdrs"))["items"]]
        assert cdrs == [REHEARSAL]


async def test_two_at_once_while_a_customer_talks_are_one_and_a_refusal(lab: Lab, tmp_path: Path) -> None:
    """They would share one account's money. Numbers are as a carrier may write them."""
    async with engine(lab, tmp_path) as live:
        talking = await live.call()
        await talking.wait_state(CallState.ANSWERED)
        first, second = await asyncio.gather(
            rehearse(live.daemon, number="0850000055"), rehearse(live.daemon, number="31850000056")
        )
        assert [*first.wrong(), *second.wrong()] == [
            "another rehearsal runs: wait until it has ended, then check again"
        ]
        assert "the books are at zero again" in (first if not first.wrong() else second)
        assert talking.state is CallState.ANSWERED


async def test_on_redis_and_without_a_trunk(lab: Lab, redis: RedisServer, tmp_path: Path) -> None:
    no_trunk = Edit(GLOBALS, "CHARGING_DIAL_SUFFIX = @world", "CHARGING_DIAL_SUFFIX = @nowhere")
    async with (
        edited(lab, no_trunk),
        site(redis.url, tmp_path) as place,
        place.daemon(lab, "one") as live,
    ):
        said = await rehearse(live.daemon)
    assert said.wrong() == []
    assert "the books are at zero again" in said


async def test_a_quota_that_is_not_set_and_a_hang_up_handler_that_is_missing(lab: Lab, tmp_path: Path) -> None:
    push = " same => n,Set(CHANNEL(hangup_handler_push)=charging-legbox,s,1)\n"
    edits = (Edit(EXTENSIONS, "iIS(${CHARGING_QUOTA})", "iI"), Edit(EXTENSIONS, push, ""))
    async with engine(lab, tmp_path) as live, edited(lab, *edits):
        said = await rehearse(live.daemon)
    quota, box = said.wrong()
    assert quota.startswith("Dial has no S(quota): ASTERISK DOES NOT END A CALL")
    assert box.startswith("the call was booked by events: THE BLACK BOX IS NOT WRITTEN")
    assert "the books are at zero again" in said


async def test_a_black_box_that_is_not_written_and_a_warning_that_does_not_sound(lab: Lab, tmp_path: Path) -> None:
    write = "Set(DB(charging/${CHARGING_BLACKBOX})=${CHARGING_RECORD})"
    edits = (
        Edit(EXTENSIONS, write, "NoOp()"),
        Edit(EXTENSIONS, " same => n,Playback(${CHARGING_PROMPT})\n same => n,Hangup(", " same => n,Hangup("),
    )
    async with engine(lab, tmp_path) as live, edited(lab, *edits):
        said = await rehearse(live.daemon)
    heard, box = said.wrong()
    assert heard.startswith("the subscriber does NOT hear the warning (R17)")
    assert "THE BLACK BOX IS NOT WRITTEN" in box


OTHERS = """
[elsewhere]
exten => _X.,1,Ringing()
 same => n,Wait(60)
exten => _+X.,1,Ringing()
 same => n,Wait(60)
[own-trunk]
exten => _+X.,1,Set(__CHARGING_DIAL_PREFIX=PJSIP/)
 same => n,Set(__CHARGING_DIAL_SUFFIX=@world)
 same => n,Goto(charging-incoming,${EXTEN},1)
[trunk]"""


async def test_contexts_that_do_not_lead_to_us_or_dial_past_us(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live, edited(lab, Edit("extensions.conf", "\n[trunk]", OTHERS)):
        absent = await rehearse(live.daemon, "nowhere")
        elsewhere = await rehearse(live.daemon, "elsewhere")
        past = await rehearse(live.daemon, "own-trunk")
        assert await live.daemon.get("/calls") == {"items": [], "next": None}
        async with edited(lab, Edit(GLOBALS, f"CHARGING_AGI = 127.0.0.1:{lab.agi_port}", "CHARGING_AGI = 127.0.0.1:9")):
            (unasked,) = (await rehearse(live.daemon)).wrong()
    assert "leads to charging-incoming, but no daemon gave a decision" in unasked
    assert "CHARGING_AGI" in unasked
    goto = f"exten => {SPARE},1,Goto(charging-incoming,${{EXTEN}},1)"
    for said, words in (
        (absent, "the context has no such extension"),
        (elsewhere, "it did not lead to charging-incoming"),
    ):
        (line,) = said.wrong()
        assert words in line
        assert goto in line
        assert "the books are at zero again (€ 0.06 taken back)" in said
    (line,) = past.wrong()
    assert line.startswith("the call left as PJSIP/world-"), line


async def test_what_cannot_be_run_is_refused_before_anything_is_changed(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        (customers,) = (await rehearse(live.daemon, number=NUMBER)).wrong()
        assert (await live.daemon.get("/accounts"))["items"][0]["id"] == "anna"
        async with edited(lab, Edit(MANAGER, "write = call,reporting,originate", "write = call,reporting")):
            (may_not, *_) = (await rehearse(live.daemon)).wrong()
        await live.daemon.kill()
        (away,) = (await rehearse(live.daemon)).wrong()
    assert f"{NUMBER} is a number of account 'anna'" in customers
    assert "write = call,reporting,originate" in may_not
    assert "start it (`systemctl start charging`)" in away


async def broken_off(live: Engine, how: signal.Signals) -> int | None:
    """The command, which gets a signal as its call is answered; its exit code."""
    command = ("--config", str(live.daemon.settings), "check", "--call", SPARE, "--context", "trunk")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "charging", *command, env=os.environ, stdout=asyncio.subprocess.DEVNULL
    )
    await live.heard("bridge_joined", 60)
    process.send_signal(how)
    return await process.wait()


async def test_one_that_is_interrupted_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        assert await broken_off(live, signal.SIGINT) == 130
        assert (await live.daemon.get("/calls"))["items"] == []
        assert [one["number"] for one in (await live.daemon.get("/numbers"))["items"]] == [NUMBER]
        credit = (await live.daemon.get(f"/accounts/{REHEARSAL}/balance"))["credit"]
        assert (credit["posted"], credit["reserved"]) == ("0.00", "0.00")


async def test_one_that_was_killed_is_cleaned_up_by_the_next(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        assert await broken_off(live, signal.SIGKILL) == -signal.SIGKILL
        (busy,) = (await rehearse(live.daemon)).wrong()
        assert "another rehearsal runs" in busy
        (open_call,) = (await live.daemon.get("/calls"))["items"]
        await live.daemon.delete(f"/calls/{open_call['session']}")
        await live.cdr()
        assert (await live.daemon.get(f"/numbers/{SPARE}"))["account"] == REHEARSAL
        said = await rehearse(live.daemon)
        assert said.wrong() == []
        balance = await live.daemon.get(f"/accounts/{REHEARSAL}/balance")
        assert balance["credit"]["posted"] == "0.00"
