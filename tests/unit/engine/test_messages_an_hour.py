"""A caller who leaves message after message in one mailbox: he fills it no sooner than in a day."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.call.decided import advice
from charging.call.events import BlackBoxRead
from charging.call.model import Policy
from charging.engine.black_boxes import HOUSEKEEPING_S
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig

AN_HOUR = 3
ONE_MORE_S = 3600 // AN_HOUR
CALLER, OTHER = "+31201234567", "+31209999999"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(Policy(messages_an_hour=AN_HOUR)) as one:
        yield one


async def leaves(
    rig: Rig, count: int = 1, caller: str = CALLER, number: str = NUMBER, *, withheld: bool = False
) -> None:
    """So many messages, each of a call that came to voicemail."""
    for nth in range(count):
        assert (await rig.ring(caller=caller, withheld=withheld)).decision == "voicemail"
        ended_us = rig.clock.now().wall_us
        rig.switch.records[f"nosession-{caller}.{nth}"] = BlackBoxRead(
            True, message_stored=True, number=number, caller=caller, withheld=withheld, ended_us=ended_us
        )
    await rig.clock.advance(2 * HOUSEKEEPING_S + 2)
    assert rig.switch.records == {}, "read"


@pytest.mark.parametrize("withheld", [False, True])
async def test_who_leaves_message_after_message_finds_it_busy_and_others_do_not(rig: Rig, withheld: bool) -> None:
    await rig.subscriber(plan="light", forward_to="")
    await leaves(rig, AN_HOUR, withheld=withheld)
    for spelled in (CALLER, "0201234567", "0031201234567"):
        answer = await rig.ring(caller=spelled, withheld=withheld)
        assert (answer.decision, answer.reason, answer.session) == ("reject", "too_many_messages", None)
    assert "charging.messages_an_hour" in advice(rig.kept[-1])
    assert (await rig.ring(caller=OTHER, withheld=withheld)).decision == "voicemail"


async def test_callers_without_a_number_are_many_and_none_is_kept_out_for_another(rig: Rig) -> None:
    """One who withheld his kept all others who did from a mailbox, in six seconds."""
    await rig.subscriber(plan="light", forward_to="")
    await leaves(rig, 3 * AN_HOUR, caller="")
    assert (await rig.ring(caller="")).decision == "voicemail"


async def test_a_call_that_leaves_no_message_counts_for_nothing(rig: Rig) -> None:
    await rig.subscriber(plan="light", forward_to="")
    for _ in range(3 * AN_HOUR):
        assert (await rig.ring(caller=CALLER)).decision == "voicemail"


async def test_what_was_left_an_hour_before_it_is_read_counts_for_nothing(rig: Rig) -> None:
    """A daemon that was away reads a day's messages at once."""
    await rig.subscriber(plan="light", forward_to="")
    ended_us = rig.clock.now().wall_us - 3600 * 1_000_000
    for nth in range(AN_HOUR):
        rig.switch.records[f"nosession-{nth}"] = BlackBoxRead(
            True, message_stored=True, number=NUMBER, caller=CALLER, ended_us=ended_us
        )
    await rig.clock.advance(2 * HOUSEKEEPING_S + 2)
    assert (await rig.ring(caller=CALLER)).decision == "voicemail"


@pytest.mark.parametrize(("later_s", "decision"), [(ONE_MORE_S - 100, "reject"), (ONE_MORE_S, "voicemail")])
async def test_one_more_is_taken_as_time_goes_on(rig: Rig, later_s: int, decision: str) -> None:
    await rig.subscriber(plan="light", forward_to="")
    await leaves(rig, AN_HOUR)
    await rig.clock.advance(later_s)
    assert (await rig.ring(caller=CALLER)).decision == decision


@pytest.mark.parametrize("stored", [True, False])
async def test_a_paid_message_counts_and_nothing_is_reserved_of_one_too_many(rig: Rig, stored: bool) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free", forward_to="")
    for _ in range(AN_HOUR):
        answer = await rig.ring(caller=CALLER)
        assert answer.session is not None
        rig.switch.leave_message(answer.session, rig.caller_uid, stored=stored)
        await rig.clock.advance(1)
    assert await rig.reserved() == {}
    assert (await rig.ring(caller=CALLER)).reason == ("too_many_messages" if stored else "no_target")
    assert rig.missed == [], "credit had nothing to do with it"


async def test_a_forward_is_made_all_the_same_and_voicemail_behind_it_is_bounded(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="light")
    for nth in range(AN_HOUR + 1):
        call = await rig.ringing(caller=CALLER)
        answer = await rig.desk.unanswered(call.session, "BUSY")
        assert answer.reason == ("too_many_messages" if nth == AN_HOUR else "forward_failed")
        rig.switch.calls.pop(call.session)
        if nth < AN_HOUR:
            rig.switch.records[call.session] = BlackBoxRead(
                True, "BUSY", message_stored=True, number=NUMBER, caller=CALLER, ended_us=rig.clock.now().wall_us
            )
        await rig.clock.advance(2 * HOUSEKEEPING_S + 2)


async def test_no_limit_where_the_operator_wants_none() -> None:
    async with make_rig(Policy(messages_an_hour=0)) as rig:
        await rig.subscriber(plan="light", forward_to="")
        await leaves(rig, 3 * AN_HOUR)
        assert (await rig.ring(caller=CALLER)).decision == "voicemail"
