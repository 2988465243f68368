"""A caller who rings and gives up, again and again: what he leaves in the books is bounded, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.call.model import Policy
from charging.ledger.accounts import Number
from charging.limits import GIVEN_UP_SAVED
from tests.fakes.rig import EURO, TARGET, Rig, make_rig

A_MINUTE = 2
AT_ONCE = GIVEN_UP_SAVED * A_MINUTE
CALLER = "+31201234567"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(Policy(given_up_a_minute=A_MINUTE)) as one:
        yield one


async def given_up(rig: Rig, caller: str = CALLER) -> None:
    """He lets it ring, and hangs up."""
    await rig.hang_up(await rig.ringing(caller=caller))


async def written(rig: Rig) -> int:
    """How many lines the journal has."""
    return len([line async for line in rig.store.journal("anna")])


async def decided(rig: Rig, caller: str = CALLER) -> str:
    """Why his next call is decided as it is; if it rings, he gives it up."""
    answer = await rig.ring(caller=caller)
    if answer.session is not None:
        await rig.clock.advance(0)
        await rig.hang_up(rig.switch.dial(answer.session, answer.quota_s or 0, rig.caller_uid))
    return answer.reason


async def test_who_gives_up_again_and_again_finds_it_busy_and_others_do_not(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE):
        await given_up(rig)
    lines = await written(rig)
    for spelled in (CALLER, "0201234567", "0031201234567"):
        answer = await rig.ring(caller=spelled)
        assert (answer.decision, answer.reason, answer.session) == ("reject", "too_many_given_up", None)
    assert rig.decided[-1].reason == "too_many_given_up"
    assert await written(rig) == lines, "nothing more is written of him"
    assert rig.missed == [], "credit had nothing to do with it"
    assert await decided(rig, "+31209999999") == "credit"


@pytest.mark.parametrize(("later_s", "reason"), [(29, "too_many_given_up"), (30, "credit")])
async def test_one_more_is_let_as_time_goes_on(rig: Rig, later_s: int, reason: str) -> None:
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE):
        await given_up(rig)
    await rig.clock.advance(later_s)
    assert await decided(rig) == reason
    assert await decided(rig) == "too_many_given_up"


async def test_calls_that_are_answered_count_for_nothing(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE + 1):
        call = await rig.ringing(caller=CALLER)
        rig.switch.answer(call.session)
        await rig.clock.advance(2)
        await rig.hang_up(call)
    assert await decided(rig) == "credit"


async def test_a_caller_without_a_number_counts_by_the_number_that_he_calls(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE):
        await given_up(rig, "")
    assert await decided(rig, "") == "too_many_given_up"
    assert await decided(rig) == "credit"


@pytest.mark.parametrize("caller", [CALLER, ""])
async def test_another_number_is_not_busy_to_him(caller: str) -> None:
    """A call centre shows one number for many calls; and who writes another's number keeps him from no one else."""
    async with make_rig(Policy(given_up_a_minute=A_MINUTE)) as rig:
        await rig.subscriber(credit=10 * EURO)
        for _ in range(AT_ONCE):
            await given_up(rig, caller)
        other = Number("+31850000002", "anna", forward_to=TARGET)
        await rig.store.directory.put_number(other, None)
        assert (await rig.ring(other.number, caller=caller)).reason == "credit"
        assert (await rig.ring(caller=caller)).reason == "too_many_given_up"


async def test_callers_who_withhold_their_numbers_are_told_apart(rig: Rig) -> None:
    """The carrier has vouched for them; their numbers are not kept."""
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE):
        await rig.hang_up(await rig.ringing(caller=CALLER, withheld=True))
    assert (await rig.ring(caller=CALLER, withheld=True)).reason == "too_many_given_up"
    assert (await rig.ring(caller="+31209999999", withheld=True)).reason == "credit"


@pytest.mark.parametrize(("stored", "reason"), [(False, "too_many_given_up"), (True, "no_target")])
async def test_a_paid_message_counts_if_none_is_left(rig: Rig, stored: bool, reason: str) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free", forward_to="")
    for _ in range(AT_ONCE):
        answer = await rig.ring(caller=CALLER)
        assert answer.decision == "voicemail"
        assert answer.session is not None
        rig.switch.leave_message(answer.session, rig.caller_uid, stored=stored)
        await rig.clock.advance(0.1)
    assert (await rig.ring(caller=CALLER)).reason == reason


async def test_no_limit_where_the_operator_wants_none() -> None:
    async with make_rig(Policy(given_up_a_minute=0)) as rig:
        await rig.subscriber(credit=10 * EURO)
        for _ in range(3 * AT_ONCE):
            assert await decided(rig) == "credit"


async def test_calls_that_ring_together_keep_the_caller_out_no_longer(rig: Rig) -> None:
    """Whoever writes another's number keeps him from this one for three minutes' worth of calls at most."""
    await rig.subscriber(credit=10 * EURO)
    for _ in range(AT_ONCE - 1):
        await rig.hang_up(await rig.ringing(caller=CALLER, withheld=True))
    for call in [await rig.ringing(caller=CALLER, withheld=True) for _ in range(2)]:
        await rig.hang_up(call)
    assert (await rig.ring(caller=CALLER, withheld=True)).reason == "too_many_given_up"
    await rig.clock.advance(30)
    assert (await rig.ring(caller=CALLER, withheld=True)).reason == "credit"
