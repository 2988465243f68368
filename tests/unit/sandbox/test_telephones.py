"""The telephones of the test mode, before the engine that decides over real calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from charging.call.model import Policy
from charging.ledger.memory import MemoryStore
from charging.sandbox.desk import CallWish, NotTaken, Telephones
from charging.sandbox.switch import Phase, PlayedCall, PlayedSwitch
from charging.service.refusal import Code, Refused
from charging.tasks import end
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, NUMBER, Rig, make_tariff
from tests.fakes.switch import FakeSwitch

CALLER = "+31107654321"


class Box(Rig):
    """A rig whose switch is the played one."""

    def __init__(self, clock: FakeClock) -> None:
        self.played = PlayedSwitch(clock, "test")
        super().__init__(clock, MemoryStore(clock), cast(FakeSwitch, self.played), Policy(), make_tariff())
        self.telephones = Telephones(self.desk, self.played, clock)

    async def called(self, **wish: Any) -> PlayedCall:
        call = await self.telephones.ring(CallWish(NUMBER, CALLER, **wish))
        assert isinstance(call, PlayedCall), call
        await self.clock.advance(0)
        return call

    async def cdrs(self) -> list[dict[str, Any]]:
        await self.clock.advance(1)
        return [json.loads(row.document) for row in await self.store.cdrs()]


@pytest.fixture
async def box() -> AsyncIterator[Box]:
    box = Box(FakeClock())
    tasks = [
        asyncio.create_task(box.run()),
        asyncio.create_task(box.played.run(box.registry.deliver, box.recovery.reconcile)),
    ]
    await box.clock.advance(0)
    yield box
    await end(tasks)


async def test_r23_a_call_is_cut_at_its_last_paid_second_and_the_subscriber_was_warned(box: Box) -> None:
    await box.subscriber(credit=90_000)
    call = await box.called(answers_after_s=2)
    await box.clock.advance(1)
    assert call.phase is Phase.RINGING
    await box.clock.advance(1 + 89)
    assert (call.phase, call.heard) == (Phase.TALKING, ["nl/credit_low"])
    await box.clock.advance(2)
    assert (call.phase, call.was_cut, call.talked_ms) == (Phase.OVER, True, 90_000)
    (cdr,) = await box.cdrs()
    assert (cdr["billed_s"], cdr["cost"], cdr["cut"], cdr["proof"]) == (90, "0.09", "money", "black_box")
    assert ((await box.balance()).posted, await box.reserved()) == (0, {})


async def test_r22_a_top_up_lets_a_call_that_runs_go_on(box: Box) -> None:
    await box.subscriber(credit=90_000)
    call = await box.called(answers_after_s=0)
    await box.clock.advance(60)
    await box.credit(EURO, "second")
    await box.clock.advance(60)
    assert call.phase is Phase.TALKING
    assert isinstance(box.telephones.hang_up(call.uid, message=False), PlayedCall)
    (cdr,) = await box.cdrs()
    assert (cdr["billed_s"], cdr["cut"]) == (120, None)


async def test_a_call_is_answered_and_ended_when_it_is_asked_for(box: Box) -> None:
    await box.subscriber(credit=EURO)
    call = await box.called()
    await box.clock.advance(5)
    box.telephones.answer(call.uid)
    assert call.phase is Phase.TALKING
    again = box.telephones.answer(call.uid)
    assert isinstance(again, Refused)
    assert again.code is Code.CONFLICT
    await box.clock.advance(10)
    box.telephones.hang_up(call.uid, message=False)
    (cdr,) = await box.cdrs()
    assert (cdr["billed_s"], cdr["dial_status"]) == (10, "ANSWER")


async def test_they_hang_up_after_what_they_were_said_to_talk(box: Box) -> None:
    await box.subscriber(credit=EURO)
    call = await box.called(answers_after_s=1, talks_s=7)
    await box.clock.advance(9)
    assert (call.phase, call.was_cut, call.talked_ms) == (Phase.OVER, False, 7_000)


@pytest.mark.parametrize("way", ["asked for", "not taken"])
async def test_r6_a_forward_that_is_not_taken_becomes_a_paid_message(box: Box, way: str) -> None:
    await box.subscriber(credit=EURO, plan="free")
    call = await box.called(message_s=4)
    if way == "asked for":
        assert isinstance(await box.telephones.refuse(call.uid, NotTaken.BUSY), PlayedCall)
    else:
        await box.clock.advance(30)
    assert (call.phase, call.decision) == (Phase.AT_VOICEMAIL, "voicemail")
    await box.clock.advance(4)
    assert call.phase is Phase.OVER
    cdrs = await box.cdrs()
    assert [(one["service"], one["cost"]) for one in cdrs] == [("voicemail", "0.10")]
    assert await box.reserved() == {}


async def test_r3_who_leaves_no_message_pays_for_none(box: Box) -> None:
    await box.subscriber(credit=EURO, plan="free")
    call = await box.called()
    await box.telephones.refuse(call.uid, NotTaken.BUSY)
    box.telephones.hang_up(call.uid, message=False)
    await box.cdrs()
    assert ((await box.balance()).posted, await box.reserved()) == (EURO, {})


async def test_r12_without_credit_nothing_rings(box: Box) -> None:
    await box.subscriber(credit=0)
    call = await box.called()
    assert (call.decision, call.target, call.session) == ("voicemail", "", "")
    assert isinstance(box.telephones.hang_up(call.uid, message=True), PlayedCall)
    assert isinstance(box.telephones.hang_up(call.uid, message=False), Refused)
    assert await box.cdrs() == []


async def test_a_caller_who_gives_up_while_it_rings_pays_nothing(box: Box) -> None:
    await box.subscriber(credit=EURO)
    call = await box.called()
    box.telephones.hang_up(call.uid, message=False)
    await box.cdrs()
    assert ((await box.balance()).posted, await box.reserved()) == (EURO, {})


@pytest.mark.parametrize("moment", ["new", "not taken"])
async def test_r3_who_hangs_up_while_it_is_decided_pays_nothing_and_the_telephones_work_on(
    box: Box, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    await box.subscriber(credit=EURO, plan="free")
    asked = "incoming" if moment == "new" else "unanswered"
    decide = getattr(box.desk, asked)

    async def slowly(*args: Any) -> Any:
        answer = await decide(*args)
        box.telephones.hang_up(box.telephones.all()[-1].uid, message=False)
        return answer

    if moment == "new":
        monkeypatch.setattr(box.desk, asked, slowly)
        call = await box.called()
    else:
        call = await box.called()
        monkeypatch.setattr(box.desk, asked, slowly)
        await box.telephones.refuse(call.uid, NotTaken.BUSY)
    await box.cdrs()
    assert call.phase is Phase.OVER
    assert ((await box.balance()).posted, await box.reserved()) == (EURO, {})
    monkeypatch.undo()
    assert (await box.called()).phase is Phase.RINGING
    await box.clock.advance(60)


async def test_a_number_that_is_nobodys_is_not_answered(box: Box) -> None:
    call = await box.called()
    assert (call.phase, call.decision) == (Phase.OVER, "reject")
    assert box.telephones.all() == [call]
