"""A caller who comes to a mailbox again and again: he fills no other's, and this one no sooner than in a day."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.call.decided import advice
from charging.call.model import Policy
from tests.fakes.rig import EURO, Rig, make_rig

AN_HOUR = 3
ONE_MORE_S = 3600 // AN_HOUR
CALLER, OTHER = "+31201234567", "+31209999999"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(Policy(messages_an_hour=AN_HOUR)) as one:
        yield one


async def come(rig: Rig, caller: str = CALLER, *, withheld: bool = False) -> None:
    """As often as he may at once."""
    for _ in range(AN_HOUR):
        assert (await rig.ring(caller=caller, withheld=withheld)).decision == "voicemail"


@pytest.mark.parametrize("credit", [0, 10 * EURO], ids=["included", "included, with credit"])
async def test_who_comes_to_a_mailbox_again_and_again_finds_it_busy_and_others_do_not(rig: Rig, credit: int) -> None:
    await rig.subscriber(credit=credit, plan="light", forward_to="")
    await come(rig)
    for spelled in (CALLER, "0201234567", "0031201234567"):
        answer = await rig.ring(caller=spelled)
        assert (answer.decision, answer.reason, answer.session) == ("reject", "too_many_messages", None)
    assert "charging.messages_an_hour" in advice(rig.kept[-1])
    assert (await rig.ring(caller=OTHER)).decision == "voicemail"


@pytest.mark.parametrize(("later_s", "decision"), [(ONE_MORE_S - 1, "reject"), (ONE_MORE_S, "voicemail")])
async def test_one_more_is_taken_as_time_goes_on(rig: Rig, later_s: int, decision: str) -> None:
    await rig.subscriber(plan="light", forward_to="")
    await come(rig)
    await rig.clock.advance(later_s)
    assert (await rig.ring(caller=CALLER)).decision == decision
    assert (await rig.ring(caller=CALLER)).reason == "too_many_messages"


async def test_a_paid_message_counts_and_no_more_is_reserved_of_one_too_many(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free", forward_to="")
    for _ in range(AN_HOUR):
        answer = await rig.ring(caller=CALLER)
        assert answer.session is not None
        rig.switch.leave_message(answer.session, rig.caller_uid, stored=True)
        await rig.clock.advance(0.1)
    assert (await rig.ring(caller=CALLER)).reason == "too_many_messages"
    assert await rig.reserved() == {}
    assert rig.missed == [], "credit had nothing to do with it"


async def test_a_message_that_nobody_could_pay_counts_for_nothing(rig: Rig) -> None:
    await rig.subscriber(plan="free", forward_to="")
    for _ in range(AN_HOUR + 1):
        assert (await rig.ring(caller=CALLER)).decision == "reject"
    await rig.credit(EURO)
    assert (await rig.ring(caller=CALLER)).decision == "voicemail"


@pytest.mark.parametrize("withheld", [False, True])
async def test_a_forward_is_made_all_the_same_and_voicemail_behind_it_is_counted(rig: Rig, withheld: bool) -> None:
    await rig.subscriber(credit=10 * EURO, plan="light")
    for nth in range(AN_HOUR + 1):
        call = await rig.ringing(caller=CALLER, withheld=withheld)
        answer = await rig.desk.unanswered(call.session, "BUSY")
        assert answer.reason == ("too_many_messages" if nth == AN_HOUR else "forward_failed")


async def test_callers_who_withhold_their_numbers_are_told_apart(rig: Rig) -> None:
    await rig.subscriber(plan="light", forward_to="")
    await come(rig, withheld=True)
    assert (await rig.ring(caller=CALLER, withheld=True)).reason == "too_many_messages"
    assert (await rig.ring(caller=OTHER, withheld=True)).decision == "voicemail"


async def test_no_limit_where_the_operator_wants_none() -> None:
    async with make_rig(Policy(messages_an_hour=0)) as rig:
        await rig.subscriber(plan="light", forward_to="")
        for _ in range(3 * AN_HOUR):
            await come(rig)
