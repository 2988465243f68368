"""An account's forwards that are dialled and cost nothing: a carrier may have billed them, so they are bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.call.model import Policy
from charging.engine import told
from charging.engine.sessions import REGULARS_HAVE
from charging.ledger.accounts import Account, Number
from charging.limits import GIVEN_BACK, NOTED_A_MINUTE, NOTED_SAVED_MINUTES, TOLD_EVERY_S, VAIN_SAVED_MINUTES, InVain
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, TARGET, Rig, make_rig

A_MINUTE = 2
"""Calls that a caller may give up; half of it is what an account may leave uncharged."""
AT_ONCE = VAIN_SAVED_MINUTES * A_MINUTE // 2
NOTED = NOTED_A_MINUTE * NOTED_SAVED_MINUTES
OTHER = "+31850000002"
KNOWN = "+31201111111"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(Policy(given_up_a_minute=A_MINUTE)) as one:
        await one.subscriber(credit=10 * EURO)
        yield one


async def in_vain(rig: Rig, times: int, status: str = "CANCEL") -> None:
    """So many calls, each of another caller, are dialled and end so."""
    for nth in range(times):
        call = await rig.ringing(caller=f"+3120{nth:07}")
        if status != "CANCEL":
            await rig.desk.unanswered(call.session, status)
        await rig.hang_up(call)


async def charged(rig: Rig, caller: str) -> None:
    """A call of his that lasts."""
    call = await rig.ringing(caller=caller)
    rig.switch.answer(call.session)
    await rig.clock.advance(2)
    await rig.hang_up(call)


@pytest.mark.parametrize(("times", "reason"), [(AT_ONCE - 1, "credit"), (AT_ONCE, "too_many_unanswered")])
async def test_forwards_that_cost_nothing_are_bounded_whoever_calls(rig: Rig, times: int, reason: str) -> None:
    await in_vain(rig, times)
    answer = await rig.ring()
    assert answer.reason == reason
    assert answer.decision == ("forward" if reason == "credit" else "voicemail"), "as where nobody answers"


@pytest.mark.parametrize("status", ["NOANSWER", "BUSY", "CONGESTION", "CHANUNAVAIL"])
async def test_how_a_forward_ended_says_nothing_of_what_the_carrier_bills(rig: Rig, status: str) -> None:
    """An answer whose audio Asterisk cannot use ends as CHANUNAVAIL: acknowledged, and billed."""
    await in_vain(rig, AT_ONCE, status)
    assert (await rig.ring()).reason == "too_many_unanswered"


async def test_forwards_of_another_account_are_its_own(rig: Rig) -> None:
    await in_vain(rig, AT_ONCE)
    await rig.store.directory.put_account(Account("bert", "light"))
    await rig.store.directory.put_number(Number(OTHER, "bert", forward_to=TARGET), None)
    assert (await rig.ring(OTHER)).reason != "too_many_unanswered"
    assert (await rig.ring()).reason == "too_many_unanswered"


@pytest.mark.parametrize(("later_s", "reason"), [(59, "too_many_unanswered"), (60, "credit")])
async def test_one_more_is_dialled_as_time_goes_on(rig: Rig, later_s: int, reason: str) -> None:
    await in_vain(rig, AT_ONCE)
    await rig.clock.advance(later_s)
    assert (await rig.ring()).reason == reason


async def test_a_call_that_is_charged_gives_back_some(rig: Rig) -> None:
    await in_vain(rig, AT_ONCE - 1)
    await rig.hang_up(await rig.talking())
    await in_vain(rig, GIVEN_BACK)
    assert (await rig.ringing()).session, "the last that is dialled"
    await in_vain(rig, 1)
    assert (await rig.ring()).reason == "too_many_unanswered"


async def test_who_was_charged_lately_is_dialled_while_strangers_are_not(rig: Rig) -> None:
    """One line with ever new numbers stops no call of those whom the subscriber knows."""
    await charged(rig, KNOWN)
    await in_vain(rig, AT_ONCE)
    assert (await rig.ring()).reason == "too_many_unanswered"
    for _ in range(REGULARS_HAVE):
        await rig.hang_up(await rig.ringing(caller=KNOWN))
    assert (await rig.ring(caller=KNOWN)).reason == "credit"


async def test_who_gives_up_after_he_was_charged_is_a_stranger_again_some_calls_later(rig: Rig) -> None:
    await charged(rig, KNOWN)
    await in_vain(rig, AT_ONCE)
    for _ in range(REGULARS_HAVE + 1):
        await rig.hang_up(await rig.ringing(caller=KNOWN))
    assert (await rig.ring(caller=KNOWN)).reason == "too_many_unanswered"


async def test_a_call_that_was_never_dialled_does_not_count(rig: Rig) -> None:
    """Its caller left before; nobody's phone rang."""
    for _ in range(2 * AT_ONCE):
        answer = await rig.ring(caller="")
        if answer.session is not None:
            await rig.desk.abandoned(answer.session, undelivered=True)
            await rig.clock.advance(1)
    assert (await rig.ring(caller="+31209999999")).reason == "credit"


def test_far_more_than_people_make_are_told_once_an_hour_by_account(clock: FakeClock) -> None:
    heard: list[str] = []
    counted = InVain(1000, clock, heard.append)
    for _ in range(NOTED):
        counted.ended("anna", charged=False)
    assert heard == []
    for _ in range(2):
        counted.ended("anna", charged=False)
    assert heard == ["anna"]
    assert not counted.is_beyond("anna"), "long before it is bounded"
    clock.pass_unseen(TOLD_EVERY_S)
    for _ in range(NOTED + 1):
        counted.ended("anna", charged=False)
    assert heard == ["anna", "anna"]


async def test_an_operator_is_told_whose_they_are() -> None:
    async with make_rig(Policy(given_up_a_minute=2000)) as rig:
        await rig.subscriber(credit=10 * EURO)
        await in_vain(rig, NOTED + 1)
        assert told.ForwardsInVain("anna") in rig.told
