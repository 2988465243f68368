"""Voicemail on a real Asterisk: per piece where it is paid, free where it is included, and never without its price."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.daemon import DaemonProcess
from tests.asterisk.engine import Engine, engine
from tests.asterisk.parties import leave_message, records_gone

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
        await refused.wait_end(20)
        assert not refused.was_answered, "the caller pays nothing"
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - PRICE


async def test_r7_included_voicemail_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_light", forward_to=mobile.busy()) as live:
        call = await live.call()
        await _leaves_a_message(live, call)
        await live.nothing_reserved()
        assert await live.posted() == CREDIT


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
