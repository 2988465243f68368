"""Calls that are not forwarded, and forwards that never come to be: each gets its decided fate, and nothing is kept."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from charging.lab import CallState, Lab, mobile
from charging.lab.ports import free_port
from tests.asterisk.engine import NUMBER, Engine, engine
from tests.fakes.relay import Relay

ORDER = b"EXEC MSet"
"""In what the daemon says once it has decided; before it asks for a proof."""

pytestmark = pytest.mark.asterisk


async def _decided(live: Engine) -> tuple[str, str]:
    line = await live.heard("call_decided")
    return line["decision"], line["reason"]


async def _kept(live: Engine) -> dict[str, Any]:
    """The only decision, as ``charging calls --decided`` finds it."""
    found: list[dict[str, Any]] = []

    async def is_kept() -> bool:
        found[:] = (await live.daemon.get("/decisions"))["items"]
        return bool(found)

    await live.until(is_kept, "the decision to be written")
    (one,) = json.loads(await live.charging("calls", "--decided", "--json"))
    assert one["took_ms"] < 2500
    assert re.fullmatch(r".+-[0-9]+", one["daemon"])
    return dict(one)


async def test_r12_without_credit_the_call_goes_straight_to_voicemail(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.00") as live:
        call = await live.call(hang_up_after_s=1)
        await call.wait_end(15)
        assert await _decided(live) == ("voicemail", "no_credit")
        assert call.was_answered
        assert call.mobiles == [], "the phone did not ring"
        kept = await _kept(live)
        assert (kept["outcome"], kept["reason"], kept["credit_available"]) == ("voicemail", "no_credit", "0.00")
        assert (kept["number"], kept["account"], kept["session"]) == (NUMBER, "anna", None)
        assert kept["caller"].endswith("xxxx")
        await live.nothing_reserved()


async def test_r13_paid_voicemail_without_credit_is_not_answered(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.00", plan="voice_free") as live:
        call = await live.call()
        await call.wait_state(CallState.RINGING)
        assert await _decided(live) == ("reject", "no_credit")
        await call.hang_up()
        await call.wait_end()
        assert not call.was_answered
        assert call.mobiles == []


async def test_r13_number_with_paid_voicemail_is_a_property_of_the_number(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.00", plan="voice_light", paid_voicemail=True) as live:
        call = await live.call()
        assert await _decided(live) == ("reject", "no_credit")
        await call.hang_up()
        await call.wait_end()
        assert not call.was_answered


async def test_unknown_number_is_refused_as_unallocated(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        call = await lab.place_call("+31850000077")
        await call.wait_end()
        assert await _decided(live) == ("reject", "unknown_number")
        kept = await _kept(live)
        assert (kept["reason"], kept["number"], kept["account"]) == ("unknown_number", "+3185000xxxx", None)
        assert not call.was_answered
        assert call.cause == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [("", "no_target"), ("+4915112345678", "not_covered"), ("+31900123456", "premium"), (NUMBER, "loop")],
)
async def test_number_that_cannot_be_forwarded_goes_to_voicemail(
    lab: Lab, tmp_path: Path, target: str, reason: str
) -> None:
    async with engine(lab, tmp_path) as live:
        await live.daemon.kill()
        await _set_target(live, target)
        await live.daemon.start()
        call = await live.call(hang_up_after_s=1)
        await call.wait_end(15)
        assert await _decided(live) == ("voicemail", reason)
        assert call.was_answered
        assert call.mobiles == []
        await live.nothing_reserved()


async def _set_target(live: Engine, target: str) -> None:
    """QuickBalance into the store: the product's own command would warn of such a target."""
    from charging.ledger.accounts import Number
    from charging.ledger.sqlite.store import SqliteStore

    store = SqliteStore(live.daemon.ledger)
    await store.open()
    assert await store.directory.put_number(
        Number(NUMBER, "anna", forward_to=target), await store.directory.number(NUMBER)
    )
    await store.close()


async def test_suspended_account_is_not_forwarded(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        await live.daemon.put("/accounts/anna/status", {"status": "suspended", "reason": "unpaid invoice"})
        call = await live.call(hang_up_after_s=1)
        await call.wait_end(15)
        assert await _decided(live) == ("voicemail", "account_suspended")


async def test_dead_daemon_leaves_callers_to_the_fallback(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        await live.daemon.kill()
        call = await live.call(hang_up_after_s=1)
        await call.wait_end(15)
        assert call.was_answered, "by voicemail, the shipped fallback"
        assert call.mobiles == []


async def test_caller_gone_during_the_decision_leaves_nothing_reserved(lab: Lab, tmp_path: Path) -> None:
    behind = free_port()
    async with Relay(behind, lab.agi_port) as agi, engine(lab, tmp_path, agi_port=behind, guard_s=3) as live:
        agi.on_answer = lambda chunk: agi.freeze() if ORDER in chunk else None
        call = await live.call()
        await live.heard("call_decided")
        await call.hang_up()
        await call.wait_end()
        agi.thaw()
        await live.nothing_reserved(20)
        assert (await live.cdr())["billed_s"] == 0


async def test_daemon_killed_between_its_reservation_and_the_dialling_leaves_nothing_reserved(
    lab: Lab, tmp_path: Path
) -> None:
    behind = free_port()
    async with Relay(behind, lab.agi_port) as agi, engine(lab, tmp_path, agi_port=behind, guard_s=3) as live:
        decided = asyncio.Event()

        def stop(chunk: bytes) -> None:
            if ORDER in chunk:
                agi.freeze()
                decided.set()

        agi.on_answer = stop
        call = await live.call(hang_up_after_s=1)
        await asyncio.wait_for(decided.wait(), 30)
        await live.daemon.kill()
        await call.wait_end(20)
        assert call.was_answered, "by the fallback's voicemail"
        assert call.mobiles == []
        agi.thaw()
        await live.daemon.start()
        await live.nothing_reserved(20)


async def test_decision_delivered_too_late_is_never_dialled(lab: Lab, tmp_path: Path) -> None:
    behind = free_port()
    async with Relay(behind, lab.agi_port) as agi, engine(lab, tmp_path, agi_port=behind, guard_s=3) as live:
        agi.on_answer = lambda chunk: agi.freeze() if ORDER in chunk else None
        call = await live.call(hang_up_after_s=1)
        await live.heard("call_decided")
        await call.wait_end(20)
        agi.thaw()
        assert call.mobiles == []
        await live.nothing_reserved(20)


async def test_target_of_another_number_rings_there(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, forward_to=mobile.answers(0.5)) as live:
        call = await live.call(hang_up_after_s=1)
        await call.wait_end(15)
        assert call.mobile.target == mobile.answers(0.5)
        await live.cdr()
