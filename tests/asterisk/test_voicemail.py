"""Voicemail on a real Asterisk: per piece where it is paid, free where it is included, and never without its price."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.daemon import DaemonProcess
from tests.asterisk.engine import NUMBER, Engine, engine, every_page
from tests.asterisk.parties import leave_message, records_gone
from tests.asterisk.test_check_live import Edit, edited
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

PRICE = 150_000
CREDIT = 10_000_000


async def _leaves_a_message(live: Engine, call: Call) -> None:
    await call.wait_state(CallState.ANSWERED, 30)
    await leave_message(live.lab, call, seconds=4)
    await call.wait_end(20)


async def test_r3_r6_forward_that_fails_becomes_a_voicemail_charged_per_piece(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy()) as live:
        call = await live.call()
        await live.heard("voicemail_reserved", deadline_s=30)
        await _leaves_a_message(live, call)
        cdr = await live.cdr()
        assert (cdr["service"], cdr["messages"], cdr["cost"], cdr["dial_status"]) == ("voicemail", 1, "0.15", "BUSY")
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PRICE


async def test_r12_r13_too_little_to_forward_goes_straight_to_paid_voicemail(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_free", credit="0.20", price="60.00") as live:
        call = await live.call()
        await _leaves_a_message(live, call)
        assert call.mobiles == [], "the phone did not ring"
        assert (await live.cdr())["cost"] == "0.15"
        await live.nothing_reserved()
        assert await live.posted() == 200_000 - PRICE


async def test_r3_caller_who_leaves_no_message_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy()) as live:
        call = await live.call(hang_up_after_s=0.5)
        await call.wait_end(20)
        assert (await live.cdr())["messages"] == 0
        await live.nothing_reserved()
        assert await live.posted() == CREDIT


async def test_r13_strangers_who_leave_messages_spend_no_more_than_the_days_credit(lab: Lab, tmp_path: Path) -> None:
    def one_message_a_day(daemon: DaemonProcess) -> None:
        tariff = daemon.tariff.read_text()
        paid = "voicemail: {paid: yes, price: 0.15}"
        daemon.tariff.write_text(tariff.replace(paid, f"{paid}\n    credit_a_day: 0.29"))

    async with engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy(), prepare=one_message_a_day) as live:
        await _leaves_a_message(live, await live.call())
        assert (await live.cdr())["cost"] == "0.15"
        refused = await live.call()
        told = await live.heard("message_not_sold", deadline_s=20)
        assert told["reason"] == "day_limit"
        await refused.wait_end(40)
        assert not refused.was_answered, "the caller pays nothing"
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PRICE


async def test_r7_included_voicemail_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_light", forward_to=mobile.busy()) as live:
        call = await live.call()
        await _leaves_a_message(live, call)
        await live.nothing_reserved()
        assert await live.posted() == CREDIT


RECEPTION = """
[reception]
exten => o,1,{0}
exten => answers,1,Answer()
 same => n,Wait(60)
"""
TALKS = "Goto(answers,1)"
DIALS = "Dial(Local/answers@reception/n)"
OWN_BOX = "VoiceMail(200@default,s)"
ANOTHER_SUBSCRIBER = "Goto(charging-incoming,+31850000002,1)"


@contextlib.asynccontextmanager
async def urgent_message(box: Path) -> AsyncIterator[None]:
    """One that somebody has left before: Asterisk counts it in where it is asked how many the INBOX has."""
    (box / "Urgent").mkdir(parents=True, exist_ok=True)
    message = box / "Urgent/msg0000.txt"
    message.write_text("[message]\ncategory=x\nmsg_id=1\nflag=Urgent\nduration=5\n")
    try:
        yield
    finally:
        message.unlink()


@contextlib.asynccontextmanager
async def reception(lab: Lab, tmp_path: Path, goes_on: str) -> AsyncIterator[Engine]:
    """The operator's own voicemail.conf lets callers press 0, and ``goes_on`` is what becomes of them."""
    async with (
        edited(lab, Edit("extensions.conf", "[trunk]", f"{RECEPTION.format(goes_on)}[trunk]")),
        edited(lab, Edit("voicemail.conf", "[general]", "[general]\noperator = yes\nexitcontext = reception")),
        engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy(), others=1) as live,
    ):
        await live.daemon.patch("/numbers/+31850000002", {"forward_to": mobile.answers()})
        yield live


def _box(lab: Lab) -> Path:
    return lab.switch.folder / f"spool/voicemail/charging/{NUMBER[1:]}"


async def _goes_on_to_the_operator(live: Engine, goes_on: str, *, saves: bool = True) -> Call:
    """A caller who has spoken: Asterisk asks him whether to keep what was said. He is there when this returns."""
    box = _box(live.lab)
    call = await live.call()
    await live.heard("voicemail_reserved", deadline_s=30)
    await call.wait_state(CallState.ANSWERED, 30)
    await call.press("#", on_mobile=False)

    async def is_recorded(by: Path = box) -> bool:  # Asterisk writes two seconds at a time
        return any(one.stat().st_size >= 64_000 for one in by.glob("tmp/*.wav"))  # noqa: ASYNC240

    await eventually(is_recorded, "four seconds to be recorded", 40)
    await call.press("01" if saves else "00", on_mobile=False)

    async def is_there() -> bool:
        if goes_on == ANOTHER_SUBSCRIBER:
            return bool(live.daemon.events("call_answered"))
        if goes_on == OWN_BOX:
            return await is_recorded(box.parent.parent / "default/200")
        return any(one["Context"] == "reception" for one in await live.lab.switch.channels())

    await eventually(is_there, "the receptionist", 40)
    return call


@pytest.mark.parametrize(
    ("saves", "pieces", "goes_on"),
    [
        (True, 1, TALKS),
        (False, 0, TALKS),
        (True, 1, DIALS),
        (False, 0, DIALS),
        (True, 1, OWN_BOX),
        (False, 0, OWN_BOX),
        (True, 1, ANOTHER_SUBSCRIBER),
    ],
)
async def test_r3_message_is_charged_though_its_caller_goes_on_to_the_operator(
    lab: Lab, tmp_path: Path, saves: bool, pieces: int, goes_on: str
) -> None:
    box = _box(lab)
    async with urgent_message(box), reception(lab, tmp_path, goes_on) as live:
        before = len(list(box.glob("INBOX/*.txt")))
        call = await _goes_on_to_the_operator(live, goes_on, saves=saves)
        await call.hang_up()
        await call.wait_end(20)
        calls = await live.cdrs(2 if goes_on == ANOTHER_SUBSCRIBER else 1)
        (cdr,) = [one for one in calls if one["service"] == "voicemail"]
        assert cdr["messages"] == pieces
        assert len(list(box.glob("INBOX/*.txt"))) - before == pieces
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - pieces * PRICE


@pytest.mark.parametrize(
    ("goes_on", "folder", "pieces"),
    [(OWN_BOX, "Old", 1), (OWN_BOX, "Deleted", 1), (TALKS, "Old", 1), (TALKS, "", 1), (OWN_BOX, "", 0)],
)
async def test_r3_message_that_is_listened_to_while_its_caller_talks_to_the_operator_is_charged(
    lab: Lab, tmp_path: Path, goes_on: str, folder: str, pieces: int
) -> None:
    """It is moved, and its name goes to another, a short one; without a folder it is deleted for good: nothing tells
    then that it was left, if VoiceMail has named another message since."""
    box = _box(lab)
    async with reception(lab, tmp_path, goes_on) as live:
        call = await _goes_on_to_the_operator(live, goes_on)
        newest = max(box.glob("INBOX/*.txt"))
        text = newest.read_text()
        category = re.search("^category=.+$", text, re.M)
        assert category is not None
        there = box / (folder or "Old")
        there.mkdir(exist_ok=True)
        if folder:
            (there / f"msg{len(list(there.glob('*.txt'))):04}.txt").write_text(text)
        newest.write_text(re.sub("duration=.*", "duration=1", text.replace(category[0], "category=x")))
        await call.hang_up()
        await call.wait_end(20)
        assert (await live.cdr())["messages"] == pieces
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - pieces * PRICE


async def test_message_goes_into_the_numbers_own_mailbox(lab: Lab, tmp_path: Path) -> None:
    """Whose name has every kind of character that one may have."""
    own = "Team_2-nl"
    await lab.switch.add_mailbox(own, own.replace("-", ""))
    async with engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy(), mailbox=own) as live:
        call = await live.call()
        await call.wait_state(CallState.ANSWERED, 30)
        await leave_message(lab, call, seconds=4, mailbox=own)
        await call.wait_end(20)
        assert (await live.cdr())["messages"] == 1
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PRICE
        assert list((lab.switch.folder / f"spool/voicemail/charging/{own}/INBOX").glob("*.wav"))


async def test_message_taken_while_the_daemon_was_dead_is_charged_when_it_is_back(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_free") as live:
        await live.daemon.kill()
        call = await live.call()
        await _leaves_a_message(live, call)
        await live.daemon.start()
        told = await live.heard("left_message_charged")
        assert told["charged_micro_euro"] == PRICE
        assert await live.posted() == CREDIT - PRICE
        await records_gone(lab)

        async def kept() -> list[dict[str, Any]]:
            return [one for one in await every_page(live.daemon, "/decisions") if one["reason"] == "undecided"]

        (why,) = await eventually(kept, "why it was not forwarded", 20)
        assert (why["number"], why["account"], why["outcome"]) == (NUMBER, "anna", "fallback")
        assert why["detail"] == "a message was left"


async def test_daemon_killed_while_the_message_is_left_charges_it_once(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy()) as live:
        call = await live.call()
        await live.heard("voicemail_reserved", deadline_s=30)
        await call.wait_state(CallState.ANSWERED, 30)
        await live.daemon.kill()
        await _leaves_a_message(live, call)
        await live.daemon.start()
        assert (await live.cdr())["cost"] == "0.15"
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PRICE
