"""A forwarded call on a real Asterisk, charged by a daemon that is a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from charging.lab import Call, CallState, Lab, mobile
from charging.pricing.money import parse_euro
from tests.asterisk.engine import NUMBER, POLICY, SECOND, Engine, billed_s_of, engine, is_as_long

pytestmark = pytest.mark.asterisk


async def test_r10_free_minutes_first_and_credit_after_within_one_call(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_pro", free_seconds=4) as live:
        call = await live.call(hang_up_after_s=9.6)
        await call.wait_end(20)
        cdr = await live.cdr()
        assert cdr["proof"] == "black_box"
        assert is_as_long(cdr, call.duration_s), cdr
        billed_s = billed_s_of(cdr["used_ms"])
        assert cdr["billed_s"] == billed_s >= 9
        assert list(cdr["free_seconds"].values()) == [4]
        paid = (billed_s - 4) * SECOND
        assert parse_euro(cdr["cost"]) == paid
        assert await live.posted() == 10_000_000 - paid
        await _journal_agrees(live)


async def _journal_agrees(live: Engine) -> None:
    """Every line sums to the balance, and to what the CDR says."""
    taken = sum(parse_euro(leg["posted"].lstrip("-")) for leg in await _credit_legs(live))
    cdr = await live.cdr()
    assert taken == parse_euro(cdr["cost"])
    await live.nothing_reserved()


async def _credit_legs(live: Engine) -> list[dict[str, str]]:
    return [
        leg
        for line in await live.journal()
        for leg in line["legs"]
        if leg["balance"] == "credit" and line["session"] and leg["posted"].startswith("-")
    ]


async def test_r4_balance_falls_during_the_call(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        call = await live.call()
        await call.wait_state(CallState.ANSWERED)
        seen: list[int] = []
        for ticks in (2, 4):
            await live.heard("tick_posted", times=ticks)
            seen.append(await live.posted())
        assert 10_000_000 > seen[0] > seen[1]
        live_call = (await live.daemon.get("/calls"))["items"][0]
        assert live_call["state"] == "running"
        await call.hang_up()
        await call.wait_end()
        await live.cdr()


async def test_call_that_costs_nothing_goes_on_beyond_its_first_quota(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, price="0", credit="0.00") as live:
        call = await live.call()
        await live.heard("deadline_moved", times=5, deadline_s=20)
        answered_us = call.outside.answered_us or 0
        first_quota_s = POLICY["tick_s"] + POLICY["horizon_s"]

        async def outlived() -> bool:
            return time.time_ns() // 1000 > answered_us + (first_quota_s + 2) * 1_000_000

        await live.until(outlived, "the end of the first quota", 20)
        assert call.state is CallState.ANSWERED
        await call.hang_up()
        await call.wait_end()
        cdr = await live.cdr()
        assert (cdr["cost"], cdr["overrun_s"], cdr["proof"]) == ("0.00", 0, "black_box")
        assert cdr["billed_s"] > first_quota_s
        await _journal_agrees(live)


@pytest.mark.parametrize("who", ["caller", "subscriber"])
async def test_either_side_may_hang_up_and_only_the_time_talked_is_charged(lab: Lab, tmp_path: Path, who: str) -> None:
    target = mobile.hangs_up(2.5) if who == "subscriber" else mobile.answers()
    async with engine(lab, tmp_path, forward_to=target) as live:
        call = await live.call(hang_up_after_s=2.5 if who == "caller" else None)
        await call.wait_end(15)
        assert (await live.cdr())["billed_s"] == 3
        await live.nothing_reserved()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (mobile.busy(), "BUSY"),
        (mobile.declines(), "BUSY"),
        (mobile.does_not_exist(), "CHANUNAVAIL"),
        (mobile.unreachable(), "CONGESTION"),
        (mobile.early_media(1.0), "BUSY"),
    ],
)
async def test_forward_that_fails_goes_to_voicemail_and_costs_nothing(
    lab: Lab, tmp_path: Path, target: str, status: str
) -> None:
    async with engine(lab, tmp_path, forward_to=target) as live:
        call = await live.call(hang_up_after_s=2)
        await call.wait_end(20)
        cdr = await live.cdr()
        assert (cdr["billed_s"], cdr["cost"], cdr["proof"]) == (0, "0.00", "never_answered")
        assert call.was_answered, "by voicemail"
        decided = await live.heard("call_decided", times=2)
        assert (decided["decision"], decided["reason"]) == ("voicemail", "forward_failed")
        await live.nothing_reserved()
        assert await live.posted() == 10_000_000


async def test_call_that_is_not_answered_goes_to_voicemail_and_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, forward_to=mobile.never_answers(), policy={"ring_s": 2}) as live:
        call = await live.call(hang_up_after_s=2)
        await call.wait_end(20)
        assert (await live.cdr())["dial_status"] == "NOANSWER"
        assert call.was_answered
        await live.nothing_reserved()


async def test_caller_who_gives_up_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, forward_to=mobile.never_answers()) as live:
        call = await live.call()
        await call.wait_state(CallState.RINGING)
        await call.hang_up()
        await call.wait_end()
        assert (await live.cdr())["billed_s"] == 0
        await live.nothing_reserved()
        assert await live.posted() == 10_000_000


async def test_two_calls_share_what_is_left_and_each_ends_with_its_own_reservation(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.009", policy={"tick_s": 1, "horizon_s": 5}) as live:
        calls: list[Call] = [await live.call(), await live.call()]
        for call in calls:
            await call.wait_end(30)
        cdrs = await live.cdrs(2)
        assert sum(parse_euro(cdr["cost"]) for cdr in cdrs) == 9 * SECOND
        assert all(cdr["overrun_s"] == 0 for cdr in cdrs)
        lengths = sorted(call.duration_s for call in calls)
        assert lengths[0] == pytest.approx(3, abs=0.35)
        assert lengths[1] == pytest.approx(6, abs=0.35)
        assert await live.posted() == 0
        await live.nothing_reserved()


async def test_r22_top_up_in_the_last_seconds_goes_on_and_warns_again_later(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.008") as live:
        call = await live.call()
        await live.heard("warning_due")
        await live.heard("prompt_played")
        await live.top_up("0.01", "more")
        again = await live.heard("warning_due", times=2, deadline_s=20)
        assert again["prompt"] == "credit_low"
        await call.wait_end(20)
        assert call.duration_s == pytest.approx(18, abs=0.35)
        assert (await live.cdr())["warnings"] == 2
        assert await live.posted() == 0


async def test_operator_hangs_up_a_call(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        call = await live.call()
        await live.heard("call_answered")
        session = (await live.daemon.get("/calls"))["items"][0]["session"]
        await live.daemon.delete(f"/calls/{session}?reason=complaint")
        await call.wait_end()
        assert (await live.cdr())["hangup_reason"] == "complaint"


async def test_dialled_number_with_a_plus_is_charged_like_any_other(lab: Lab, tmp_path: Path) -> None:
    assert NUMBER.startswith("+")
    async with engine(lab, tmp_path) as live:
        for number in (NUMBER, NUMBER.removeprefix("+")):
            call = await lab.place_call(number, hang_up_after_s=1.5)
            await call.wait_end()
        assert [cdr["billed_s"] for cdr in await live.cdrs(2)] == [2, 2]
