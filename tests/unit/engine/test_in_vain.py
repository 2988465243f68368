"""Forwards that are dialled and cost nothing: a carrier may have billed them, so they are bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from charging.call.model import Policy
from charging.engine import told
from charging.ledger.accounts import Account, Number
from charging.limits import (
    BEYOND_MINUTES,
    FORGIVEN_MAX,
    VAIN_FAR_MINUTES,
    VAIN_NEAR_MINUTES,
    VAIN_TARGETS,
    VAIN_TOLD_EVERY_S,
    VAIN_USUAL_A_MINUTE,
    VAIN_WAIT_MAX_S,
    InVain,
)
from charging.pricing.rate import Step
from charging.tariff.tariff import Price, RateTable
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, TARGET, Rig, make_rig, make_tariff

A_MINUTE = 6
"""Calls that a caller may give up; half of it is what a target of an account may leave uncharged."""
NEAR, FAR = VAIN_NEAR_MINUTES * A_MINUTE // 2, VAIN_FAR_MINUTES * A_MINUTE // 2
OTHER, ELSEWHERE = "+31850000002", "+31612345679"
KNOWN = "+31201111111"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(Policy(given_up_a_minute=A_MINUTE)) as one:
        await one.subscriber(credit=10 * EURO)
        yield one


async def in_vain(rig: Rig, times: int, status: str = "CANCEL") -> None:
    """So many calls, each of another caller, are dialled and end so: the last few are made, the others counted."""
    for _ in range(times - 3):
        rig.registry.uncharged.in_vain.ended("anna", TARGET)
    for nth in range(min(times, 3)):
        call = await rig.ringing(caller=f"+3120{nth:07}")
        if status != "CANCEL":
            await rig.desk.unanswered(call.session, status)
        await rig.hang_up(call)


async def gives_up(rig: Rig, caller: str) -> None:
    await rig.hang_up(await rig.ringing(caller=caller))


async def talks(rig: Rig, caller: str, seconds: float) -> None:
    call = await rig.ringing(caller=caller)
    rig.switch.answer(call.session)
    await rig.clock.advance(seconds)
    await rig.hang_up(call)


@pytest.mark.parametrize(("times", "reason"), [(FAR - 1, "credit"), (FAR, "too_many_unanswered")])
async def test_forwards_that_cost_nothing_are_bounded_whoever_calls(rig: Rig, times: int, reason: str) -> None:
    await in_vain(rig, times)
    answer = await rig.ring()
    assert answer.reason == reason
    assert answer.decision == ("forward" if reason == "credit" else "voicemail"), "as where nobody answers"


@pytest.mark.parametrize(("times", "held_back"), [(NEAR - 1, False), (NEAR, True)])
async def test_they_are_held_back_long_before(rig: Rig, times: int, held_back: bool) -> None:
    """The caller hears it ring, and nobody is dialled yet: who gives up meanwhile costs nothing, and counts for
    nothing."""
    await in_vain(rig, times)
    answer = await rig.ring()
    assert answer.reason == "credit"
    assert answer.wait_s == (rig.registry.uncharged.in_vain.held_back_s if held_back else 0)


@pytest.mark.parametrize(("times", "held_back_s"), [(179, 0), (180, 8), (359, 8), (360, 16), (539, 16), (540, 22)])
def test_they_are_held_back_for_longer_as_there_are_more(clock: FakeClock, times: int, held_back_s: int) -> None:
    counted = InVain(VAIN_USUAL_A_MINUTE, clock, lambda _account: None)
    for _ in range(times):
        counted.ended("anna", TARGET)
    assert counted.wait_s("anna", TARGET) == held_back_s


def closes(clock: FakeClock, given_up_a_minute: int, lines: int, targets: int) -> bool:
    """Whether a stranger is not dialled any more, at some time, where so many lines give up by so many targets."""
    counted = InVain(given_up_a_minute, clock, lambda _account: None)
    for nth in range(6_000):
        target = f"+3161234{nth % targets:04}"
        held_back_s = counted.wait_s("anna", target)
        for _ in range(lines):
            counted.ended("anna", target)
        if counted.wait_s("anna", target) is None or counted.wait_s("anna", ELSEWHERE) is None:
            return True
        clock.pass_unseen(0.1 + (held_back_s or 0))
    return False


@pytest.mark.parametrize("given_up_a_minute", [0, VAIN_USUAL_A_MINUTE, 100, 8, 5, 1])
@pytest.mark.parametrize("targets", [1, 5, 20, 200])
def test_one_line_with_ever_new_numbers_keeps_nobody_elses_calls_from_an_account(
    clock: FakeClock, given_up_a_minute: int, targets: int
) -> None:
    """It did within 100 seconds; then by going through the numbers of the account."""
    assert not closes(clock, given_up_a_minute, 1, targets)


@pytest.mark.parametrize(("lines", "closed"), [(3, False), (30, True)])
def test_a_few_lines_do_not_either_and_many_do(clock: FakeClock, lines: int, closed: bool) -> None:
    assert closes(clock, VAIN_USUAL_A_MINUTE, lines, 1) is closed


def test_those_that_were_let_through_while_there_was_room_for_one_all_count(clock: FakeClock) -> None:
    """Each is counted as it ends. Twelve lines left three times as many uncharged as the bound says."""
    counted = InVain(VAIN_USUAL_A_MINUTE, clock, lambda _account: None)
    for _ in range(719):
        counted.ended("anna", TARGET)
    assert counted.wait_s("anna", TARGET) is not None
    for _ in range(12):
        counted.ended("anna", TARGET)
    clock.pass_unseen(11 * 6 + 5.9)
    assert counted.wait_s("anna", TARGET) is None
    clock.pass_unseen(0.1)
    assert counted.wait_s("anna", TARGET) is not None


def test_a_flood_closes_a_target_for_minutes(clock: FakeClock) -> None:
    counted = InVain(VAIN_USUAL_A_MINUTE, clock, lambda _account: None)
    for _ in range(2 * 720):
        counted.ended("anna", TARGET)
    clock.pass_unseen(60 * BEYOND_MINUTES + 5.9)
    assert counted.wait_s("anna", TARGET) is None
    clock.pass_unseen(0.1)
    assert counted.wait_s("anna", TARGET) is not None


async def test_forwards_to_another_target_of_the_account_are_its_own_until_there_are_far_more(rig: Rig) -> None:
    """A program that dials through a company's numbers at night takes its duty number off the air else."""
    await rig.store.directory.put_number(Number(OTHER, "anna", forward_to=ELSEWHERE), None)
    await in_vain(rig, FAR)
    assert (await rig.ring()).reason == "too_many_unanswered"
    assert (await rig.ring(OTHER)).reason == "credit"
    vain = rig.registry.uncharged.in_vain
    for nth in range((VAIN_TARGETS - 1) * FAR - 1):
        vain.ended("anna", f"+3185{nth:07}")
    assert vain.wait_s("anna", ELSEWHERE) == VAIN_WAIT_MAX_S
    vain.ended("anna", "+31859999999")
    assert vain.wait_s("anna", ELSEWHERE) is None


@pytest.mark.parametrize("status", ["NOANSWER", "BUSY", "CONGESTION", "CHANUNAVAIL"])
async def test_how_a_forward_ended_says_nothing_of_what_the_carrier_bills(rig: Rig, status: str) -> None:
    """An answer whose audio Asterisk cannot use ends as CHANUNAVAIL: acknowledged, and billed."""
    await in_vain(rig, FAR, status)
    assert (await rig.ring()).reason == "too_many_unanswered"


async def test_forwards_of_another_account_are_its_own(rig: Rig) -> None:
    await in_vain(rig, FAR)
    await rig.store.directory.put_account(Account("bert", "light"))
    await rig.store.directory.put_number(Number(OTHER, "bert", forward_to=TARGET), None)
    assert (await rig.ring(OTHER)).reason != "too_many_unanswered"
    assert (await rig.ring()).reason == "too_many_unanswered"


async def test_a_forward_that_comes_back_is_not_answered_by_voicemail_then_either(rig: Rig) -> None:
    """It would be charged as an answer of the forward that rings."""
    await in_vain(rig, FAR - 1)
    await rig.ringing(caller=KNOWN)
    await gives_up(rig, "+31202222222")
    answer = await rig.ring(caller=KNOWN, diverted=(TARGET,))
    assert (answer.decision, answer.reason) == ("reject", "came_back")


@pytest.mark.parametrize(("later_s", "reason"), [(15, "too_many_unanswered"), (20, "credit")])
async def test_one_more_is_dialled_as_time_goes_on(rig: Rig, later_s: int, reason: str) -> None:
    await in_vain(rig, FAR)
    await rig.clock.advance(later_s)
    assert (await rig.ring()).reason == reason


@pytest.mark.parametrize(("seconds", "forgiven"), [(59, 0), (60, 1), (60 * FORGIVEN_MAX + 60, FORGIVEN_MAX)])
async def test_each_minute_of_talk_forgives_one(rig: Rig, seconds: int, forgiven: int) -> None:
    """A second would be cheaper for whoever has the others billed than what it forgives."""
    await in_vain(rig, FAR - 1)
    counted = rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"]
    await talks(rig, KNOWN, seconds)
    assert counted - rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"] == forgiven * 20_000_000


async def test_a_message_that_is_paid_reaches_nobody() -> None:
    async with make_rig(Policy(given_up_a_minute=A_MINUTE)) as rig:
        await rig.subscriber(credit=10 * EURO, plan="free")
        call = await rig.ringing(caller=KNOWN)
        answer = await rig.desk.unanswered(call.session, "CHANUNAVAIL")
        assert answer.session is not None
        rig.switch.leave_message(answer.session, rig.caller_uid, stored=True)
        await rig.clock.advance(6)
        assert "anna" in rig.registry.uncharged.in_vain.accounts


async def test_a_target_that_costs_nothing_is_neither_counted_nor_forgiven() -> None:
    """Nothing is lost by an answer that nobody pays; and such talk gave the answers of dear targets away."""
    async with make_rig(Policy(given_up_a_minute=A_MINUTE), make_tariff(price=0)) as rig:
        await rig.subscriber(credit=10 * EURO)
        await in_vain(rig, 3)
        assert "anna" not in rig.registry.uncharged.in_vain.accounts
        rig.registry.uncharged.in_vain.ended("anna", TARGET)
        counted = rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"]
        await talks(rig, KNOWN, 601)
        assert rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"] == counted


@pytest.mark.parametrize(("seconds", "forgiven"), [(120, 0), (121, 2)])
async def test_talk_that_costs_nothing_forgives_none(seconds: int, forgiven: int) -> None:
    """A rate may have its first minutes free: whoever has other answers billed would talk just that long."""
    first_free = Price((Step(0, 0, 60, 1), Step(120, 60_000, 60, 1)))
    tables = {"table": RateTable("table", {"nl_mobile": first_free})}
    async with make_rig(Policy(given_up_a_minute=A_MINUTE), replace(make_tariff(), tables=tables)) as rig:
        await rig.subscriber(credit=10 * EURO)
        await in_vain(rig, 6)
        counted = rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"]
        await talks(rig, KNOWN, seconds)
        after = rig.registry.uncharged.in_vain._of_target.spread_us[f"anna {TARGET}"]
        assert counted - after == forgiven * 20_000_000


async def test_a_call_that_was_never_dialled_does_not_count(rig: Rig) -> None:
    """Its caller left before; nobody's phone rang."""
    for _ in range(2 * NEAR):
        answer = await rig.ring()
        assert answer.session is not None
        await rig.desk.abandoned(answer.session, undelivered=True)
        await rig.clock.advance(1)
    assert "anna" not in rig.registry.uncharged.in_vain.accounts


@pytest.mark.parametrize(("a_minute", "noted"), [(VAIN_USUAL_A_MINUTE, 120), (0, 120), (4, 36), (1, 36)])
def test_far_more_than_people_make_are_told_once_an_hour_by_account(
    clock: FakeClock, a_minute: int, noted: int
) -> None:
    """Also where callers have no bound, and before anybody is turned away."""
    heard: list[str] = []
    counted = InVain(a_minute, clock, heard.append)
    for _ in range(noted):
        counted.ended("anna", TARGET)
    assert heard == []
    for _ in range(2):
        counted.ended("anna", TARGET)
    assert heard == ["anna"]
    assert counted.wait_s("anna", TARGET) == 0
    clock.pass_unseen(VAIN_TOLD_EVERY_S)
    for _ in range(noted + 1):
        counted.ended("anna", TARGET)
    assert heard == ["anna", "anna"]


async def test_an_operator_is_told_whose_they_are(rig: Rig) -> None:
    await in_vain(rig, NEAR)
    assert told.ForwardsInVain("anna") in rig.told
