"""R13: calls that were not answered for want of credit are told, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agi.port import IncomingCall
from charging.call.decide import Cause
from charging.ledger.accounts import Status
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig, make_tariff, plan

PRICE = 100_000
"""Of a message in the tests' plan ``free``."""


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


async def test_r13_a_call_that_credit_could_not_answer_is_told(rig: Rig) -> None:
    await rig.subscriber(plan="free")
    assert (await rig.ring()).decision == "reject"
    (missed,) = rig.missed
    assert (missed.account.id, missed.number, missed.caller) == ("anna", NUMBER, "+31107654321")
    assert missed.at_us == rig.clock.now().wall_us


async def test_r13_each_call_is_told_by_itself(rig: Rig) -> None:
    await rig.subscriber(plan="free")
    await rig.ring()
    await rig.ring()
    assert len({missed.call for missed in rig.missed}) == 2


async def test_r13_a_call_over_which_two_daemons_decided_is_the_same_call(rig: Rig) -> None:
    """The first one's answer came too late, so the dialplan asked the second."""
    await rig.subscriber(plan="free")
    asked = IncomingCall(NUMBER, "+31107654321", "1795262400.7", "PJSIP/world-1", is_withheld=False)
    await rig.desk.incoming(asked)
    await rig.clock.advance(3)
    rig.wire()
    await rig.desk.incoming(asked)
    assert len(rig.missed) == 2
    assert len({missed.call for missed in rig.missed}) == 1, "it is told once"


@pytest.mark.parametrize(("credit", "told"), [(PRICE - 1, 1), (PRICE, 0)])
async def test_r13_a_message_that_can_be_paid_is_no_missed_call(rig: Rig, credit: int, told: int) -> None:
    await rig.subscriber(credit=credit, plan="free", forward_to="")
    await rig.ring()
    assert len(rig.missed) == told


async def test_r13_a_forward_that_failed_without_credit_for_a_message_is_told(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE - 1, plan="free")
    call = await rig.ringing()
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert answer.decision == "reject"
    (missed,) = rig.missed
    assert missed.caller == "+31107654321"


async def test_r13_who_has_too_little_for_anything_had_no_credit(rig: Rig) -> None:
    await rig.subscriber(credit=999, plan="free")
    await rig.ring()
    assert [missed.cause for missed in rig.missed] == [Cause.NO_CREDIT]


async def test_r13_a_call_that_money_did_not_keep_from_being_forwarded_lacked_the_price_of_a_message(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE - 1, plan="free")
    call = await rig.ringing()
    await rig.desk.unanswered(call.session, "BUSY")
    await rig.subscriber(plan="free", forward_to="")
    await rig.ring()
    assert [missed.cause for missed in rig.missed] == [Cause.NO_MESSAGE] * 2


@pytest.mark.parametrize("credit", [PRICE, PRICE // 2])
async def test_r13_credit_that_a_running_call_has_reserved_was_in_use(rig: Rig, credit: int) -> None:
    """It would have paid the forward, or even a message."""
    await rig.subscriber(credit=credit, plan="free")
    await rig.talking()
    assert (await rig.ring()).reason == "no_credit"
    assert [missed.cause for missed in rig.missed] == [Cause.CREDIT_IN_USE]


async def test_r13_credit_that_another_callers_message_has_reserved_was_in_use(rig: Rig) -> None:
    await rig.subscriber(credit=2 * PRICE - 1, plan="free", forward_to="")
    assert (await rig.ring()).decision == "voicemail"
    assert (await rig.ring()).decision == "reject"
    assert [missed.cause for missed in rig.missed] == [Cause.CREDIT_IN_USE]


async def test_r13_a_call_beyond_the_plans_limit_for_which_no_message_was_left_is_told_so() -> None:
    async with make_rig(tariff=plan(make_tariff(), "free", max_calls=1)) as rig:
        await rig.subscriber(credit=2 * PRICE, plan="free")
        await rig.talking()
        assert (await rig.ring()).reason == "too_many_calls"
        assert [missed.cause for missed in rig.missed] == [Cause.TOO_MANY_CALLS]


async def test_r13_a_call_that_was_forwarded_or_went_to_voicemail_is_not(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    assert (await rig.ring()).decision == "forward"
    assert rig.missed == []


async def test_r12_included_voicemail_takes_the_call(rig: Rig) -> None:
    await rig.subscriber(plan="light")
    assert (await rig.ring()).decision == "voicemail"
    assert rig.missed == []


async def test_a_call_refused_for_another_reason_is_not_told(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    stored = await rig.store.directory.account("anna")
    assert stored is not None
    assert await rig.store.directory.put_account(replace(stored, status=Status.SUSPENDED))
    assert (await rig.ring()).decision == "reject"
    assert (await rig.ring("+31209999999")).decision == "reject"
    assert rig.missed == []
