"""A call's life on the fake switch: what is reserved, settled, cut, warned and given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from charging.call.events import BlackBoxRead
from charging.call.model import Policy, State
from charging.engine.ports import PromptResult
from charging.engine.runner import ENDS_TOGETHER_S
from charging.ledger.balances import bundle
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff

SECOND = 1_000
"""Micro-euro of one second in the tests' tariff."""


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


async def last_cdr(rig: Rig) -> dict[str, Any]:
    rows = await rig.store.cdrs()
    return dict(json.loads(rows[-1].document))


async def test_first_quota_covers_one_horizon_and_one_tick(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert (answer.decision, answer.reason, answer.quota_s) == ("forward", "credit", 120)
    assert (await rig.balance()).reserved == 120 * SECOND


async def test_r4_balance_falls_during_the_call(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    await rig.talking()
    await rig.clock.advance(61)
    first = (await rig.balance()).posted
    await rig.clock.advance(60)
    second = (await rig.balance()).posted
    assert 10 * EURO > first > second


async def test_reservation_always_reaches_a_horizon_ahead(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    for _ in range(300):
        await rig.clock.advance(1)
        session = rig.session_of(call)
        assert session.covered_s * 1000 - session.elapsed_ms(rig.clock.now().mono_us) >= 59_900


async def test_charge_is_exact_to_the_increment_and_the_rest_is_released(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(100.1)
    await rig.hang_up(call)
    balance = await rig.balance()
    assert (balance.posted, balance.reserved) == (10 * EURO - 100 * SECOND, 0)
    assert await rig.reserved() == {}
    cdr = await last_cdr(rig)
    assert (cdr["billed_s"], cdr["cost"], cdr["proof"]) == (100, "0.10", "black_box")


@pytest.mark.parametrize(("talked_s", "billed_s"), [(0, 1), (0.001, 1), (1.2, 1), (1.201, 2), (10.2, 10), (10.201, 11)])
async def test_tolerance_comes_off_before_rounding_up_but_not_off_the_first_second(
    rig: Rig, talked_s: float, billed_s: int
) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(talked_s)
    await rig.hang_up(call)
    assert (await last_cdr(rig))["billed_s"] == billed_s


async def test_r23_call_is_cut_when_its_money_ends_and_not_before(rig: Rig) -> None:
    await rig.subscriber(credit=150 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(149.9)
    assert not call.ended.is_set()
    await rig.clock.advance(0.2)
    assert call.ended.is_set()
    assert (await rig.balance()).posted == 0
    assert await rig.reserved() == {}


async def test_r10_free_minutes_go_first_and_credit_follows_within_the_call(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="pro")
    call = await rig.talking()
    await rig.clock.advance(700.1)
    await rig.hang_up(call)
    assert (await rig.balance(bundle("2026-11"))).posted == 0
    assert (await rig.balance()).posted == 10 * EURO - 100 * SECOND
    assert (await last_cdr(rig))["funding"] == [[0, 600, "bundle:2026-11"], [600, 700, "credit"]]


async def test_r10_call_within_free_minutes_costs_no_credit(rig: Rig) -> None:
    await rig.subscriber(credit=0, plan="pro")
    call = await rig.talking()
    await rig.clock.advance(30.1)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 0
    assert (await rig.balance(bundle("2026-11"))).posted == 570


@pytest.mark.parametrize(
    ("plan", "credit", "decision", "reason"),
    [
        ("light", SECOND, "forward", "credit"),
        ("light", SECOND - 1, "voicemail", "no_credit"),
        ("light", 0, "voicemail", "no_credit"),
        ("pro", 0, "forward", "free_minutes"),
    ],
)
async def test_r12_what_pays_the_first_increment_is_enough_and_anything_less_goes_straight_to_voicemail(
    rig: Rig, plan: str, credit: int, decision: str, reason: str
) -> None:
    await rig.subscriber(credit=credit, plan=plan)
    answer = await rig.ring()
    assert (answer.decision, answer.reason, answer.target is None) == (decision, reason, decision == "voicemail")


async def test_r17_warning_plays_once_a_minute_before_the_end(rig: Rig) -> None:
    await rig.subscriber(credit=150 * SECOND)
    await rig.talking()
    await rig.clock.advance(89)
    assert rig.switch.prompts == []
    await rig.clock.advance(2)
    assert [prompt for _, _, prompt in rig.switch.prompts] == ["credit_low"]
    await rig.clock.advance(50)
    assert len(rig.switch.prompts) == 1


async def test_r17_a_warning_that_the_calls_end_overtakes_was_not_heard(rig: Rig) -> None:
    """The subscriber had his caller on hold, or the money ended before the prompt: nobody says that it was played."""

    async def for_ever(session: str, sequence: int, callee_uid: str, language: str, prompt: str) -> PromptResult:
        await asyncio.Event().wait()
        return PromptResult.PLAYED

    rig.switch.play_prompt = for_ever  # type: ignore[method-assign]
    await rig.subscriber(credit=20 * SECOND)
    await rig.talking()
    await rig.clock.advance(60)
    assert rig.heard("warning_due")
    assert [one["result"] for one in rig.heard("prompt_played")] == ["unheard"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_r17_a_warning_that_fails_by_a_fault_of_ours_is_over_and_the_call_goes_on(rig: Rig) -> None:
    """Else the call would wait for its end, and be kept alone in its bridge for it."""

    async def broken(session: str, sequence: int, callee_uid: str, language: str, prompt: str) -> PromptResult:
        raise ZeroDivisionError

    rig.switch.play_prompt = broken  # type: ignore[method-assign]
    await rig.subscriber(credit=20 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(5)
    assert [one["result"] for one in rig.heard("prompt_played")] == ["failed"]
    assert not call.ended.is_set()
    await rig.clock.advance(60)
    assert (await rig.balance()).posted == 0


async def test_r17_warning_plays_at_once_when_less_is_left(rig: Rig) -> None:
    await rig.subscriber(credit=20 * SECOND)
    await rig.talking()
    await rig.clock.advance(0.1)
    assert [prompt for _, _, prompt in rig.switch.prompts] == ["credit_low"]


async def test_r17_warning_when_free_minutes_end_and_no_credit_follows(rig: Rig) -> None:
    await rig.subscriber(plan="pro")
    call = await rig.talking()
    await rig.clock.advance(541)
    assert [prompt for _, _, prompt in rig.switch.prompts] == ["minutes_low"]
    await rig.clock.advance(60)
    assert call.ended.is_set()


async def test_r17_warning_is_of_credit_where_credit_ends_the_call_that_free_minutes_began(rig: Rig) -> None:
    await rig.subscriber(credit=100 * SECOND, plan="pro")
    call = await rig.talking()
    await rig.clock.advance(639)
    assert rig.switch.prompts == []
    await rig.clock.advance(2)
    assert [prompt for _, _, prompt in rig.switch.prompts] == ["credit_low"]
    await rig.clock.advance(60)
    assert call.ended.is_set()


async def test_r17_no_warning_while_credit_suffices_after_the_free_minutes(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="pro")
    await rig.talking()
    await rig.clock.advance(660)
    assert rig.switch.prompts == []


async def test_no_warning_before_a_limit_that_is_not_money() -> None:
    tariff = make_tariff()
    from tests.fakes.rig import plan

    async with make_rig(tariff=plan(tariff, "light", max_call_s=200)) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(199.9)
        assert not call.ended.is_set()
        await rig.clock.advance(0.3)
        assert call.ended.is_set()
        assert rig.switch.prompts == []


async def test_r22_top_up_in_the_last_minute_lets_the_call_go_on_and_rearms_the_warning(rig: Rig) -> None:
    await rig.subscriber(credit=150 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(140)
    assert len(rig.switch.prompts) == 1
    await rig.credit(200 * SECOND, "second")
    await rig.clock.advance(100)
    assert not call.ended.is_set()
    await rig.clock.advance(80)
    assert len(rig.switch.prompts) == 2
    await rig.clock.advance(30.1)
    assert call.ended.is_set()
    assert (await rig.balance()).posted == 0


async def test_two_calls_never_spend_the_same_cent_and_each_ends_with_its_own_reservation(rig: Rig) -> None:
    await rig.subscriber(credit=180 * SECOND)
    first = await rig.talking()
    second = await rig.talking()
    covered = [rig.session_of(call).covered_s for call in (first, second)]
    assert covered == [120, 60]
    await rig.clock.advance(60.1)
    assert second.ended.is_set()
    assert not first.ended.is_set()
    await rig.clock.advance(60.1)
    assert first.ended.is_set()
    balance = await rig.balance()
    assert (balance.posted, balance.reserved) == (0, 0)


async def test_end_of_one_call_reopens_the_horizon_of_the_other(rig: Rig) -> None:
    await rig.subscriber(credit=180 * SECOND)
    first = await rig.talking()
    second = await rig.talking()
    await rig.clock.advance(10)
    await rig.hang_up(first)
    await rig.clock.advance(100)
    assert not second.ended.is_set()
    await rig.clock.advance(70)
    assert second.ended.is_set()
    assert (await rig.balance()).posted == 0


@pytest.mark.parametrize("status", ["BUSY", "NOANSWER", "CHANUNAVAIL", "CONGESTION"])
async def test_forward_that_fails_costs_nothing_and_goes_to_voicemail(rig: Rig, status: str) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, status)
    answer = await rig.desk.unanswered(call.session, status)
    assert (answer.decision, answer.reason) == ("voicemail", "forward_failed")
    assert (await rig.balance()).available == 10 * EURO
    assert await rig.reserved() == {}
    assert (await last_cdr(rig))["dial_status"] == status


async def test_caller_who_gives_up_while_it_rings_costs_nothing(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.hang_up(call)
    assert (await rig.balance()).available == 10 * EURO
    assert await rig.reserved() == {}


async def test_forward_whose_caller_was_moved_while_it_rang_is_given_back_while_he_stays(rig: Rig) -> None:
    """The operator's own AMI Redirect, say: the dialplan never asks us what is next."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, "CANCEL")
    await rig.clock.advance(2 * rig.policy.setup_timeout_s)
    assert await rig.reserved() == {}
    assert (await last_cdr(rig))["dial_status"] == "CANCEL"
    await rig.clock.advance(600)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO


async def test_forward_that_rings_by_a_second_trunk_is_not_given_back(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    rig.switch.fail(call.session, "CHANUNAVAIL")
    await rig.clock.advance(1)
    again = rig.switch.dial(call.session, call.quota_s, call.caller_uid)
    await rig.clock.advance(3 * rig.policy.setup_timeout_s)
    assert await rig.reserved() != {}
    rig.switch.answer(call.session)
    await rig.clock.advance(5)
    await rig.hang_up(again)
    assert (await rig.balance()).posted < 10 * EURO


async def test_decision_that_is_never_dialled_is_released_once_the_caller_is_gone(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert answer.session is not None
    assert await rig.reserved() != {}
    await rig.clock.advance(20)
    assert await rig.reserved() == {}


@pytest.mark.parametrize(("undelivered", "reserved"), [(True, 0), (False, 120 * SECOND)])
async def test_answer_that_its_caller_did_not_wait_for_holds_nothing(
    rig: Rig, undelivered: bool, reserved: int
) -> None:
    """He left before any part of it was sent. Of one that was sent, a call may come."""
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert answer.session is not None
    await rig.desk.abandoned(answer.session, undelivered=undelivered)
    await rig.clock.advance(0)
    assert (await rig.balance()).reserved == reserved
    await rig.clock.advance(20)
    assert (await rig.balance()).reserved == 0


@pytest.mark.parametrize(("later_s", "reserved"), [(0.9, 120 * SECOND), (1.1, 0)])
async def test_answer_of_doubtful_delivery_holds_nothing_once_its_caller_is_not_there_twice(
    rig: Rig, later_s: float, reserved: int
) -> None:
    """It was sent, and he hung up before Asterisk had read it: his channel never bore the session's name, so nothing
    tells of its end. One line that does so again and again held all places of an account for fifteen seconds each."""
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert answer.session is not None
    await rig.desk.abandoned(answer.session)
    await rig.clock.advance(later_s)
    assert (await rig.balance()).reserved == reserved


async def test_answer_of_doubtful_delivery_is_kept_while_its_callers_channel_is_there(rig: Rig) -> None:
    """The switch is slow, and reads it later."""
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert answer.session is not None
    rig.switch.nameless.add(rig.caller_uid)
    await rig.desk.abandoned(answer.session)
    await rig.clock.advance(5)
    assert (await rig.balance()).reserved == 120 * SECOND
    call = rig.switch.dial(answer.session, 120, rig.caller_uid)
    rig.switch.nameless.clear()
    rig.switch.answer(call.session)
    await rig.clock.advance(3)
    assert rig.session_of(call).state is State.RUNNING


async def test_answer_of_doubtful_delivery_is_given_back_as_soon_as_its_callers_channel_is_gone(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    answer = await rig.ring()
    assert answer.session is not None
    rig.switch.nameless.add(rig.caller_uid)
    await rig.desk.abandoned(answer.session)
    await rig.clock.advance(3)
    rig.switch.nameless.clear()
    await rig.clock.advance(2.1)
    assert (await rig.balance()).reserved == 0


async def test_answer_of_doubtful_delivery_is_kept_while_the_switch_dials_it(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.desk.abandoned(call.session)
    await rig.clock.advance(0)
    assert (await rig.balance()).reserved == 120 * SECOND


async def test_silent_link_charges_nothing_and_reserves_nothing_until_it_speaks(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(50)
    rig.switch.up = False
    await rig.clock.advance(40)
    assert (await rig.balance()).posted == 10 * EURO
    assert rig.session_of(call).covered_s == 120
    rig.switch.up = True
    await rig.recovery.reconcile()
    await rig.clock.advance(2)
    assert (await rig.balance()).posted < 10 * EURO
    assert rig.session_of(call).covered_s > 150


async def test_call_that_ended_while_the_link_was_down_is_charged_exactly(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(20)
    rig.switch.up = False
    await rig.clock.advance(10.1)
    rig.switch.end(call.session)
    await rig.clock.advance(30)
    rig.switch.up = True
    await rig.recovery.reconcile()
    await rig.clock.advance(10)
    assert (await last_cdr(rig))["billed_s"] == 30
    assert await rig.reserved() == {}


async def test_daemon_killed_and_restarted_during_a_call_goes_on_and_charges_once(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(70)
    await rig.kill_daemon()
    await rig.clock.advance(30)
    await rig.start_daemon()
    await rig.clock.advance(100.1)
    assert not call.ended.is_set()
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 200 * SECOND
    assert await rig.reserved() == {}


async def test_daemon_away_when_the_call_ended_charges_it_after_its_restart(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(20)
    await rig.kill_daemon()
    await rig.clock.advance(22.1)
    rig.switch.end(call.session)
    await rig.clock.advance(1000)
    await rig.start_daemon()
    await rig.clock.advance(10)
    assert (await rig.balance()).posted == 10 * EURO - 42 * SECOND
    assert await rig.reserved() == {}


@pytest.mark.parametrize("answers", [True, False])
async def test_r19_a_call_of_which_nothing_was_heard_ended_when_its_record_says(rig: Rig, *, answers: bool) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.kill_daemon()
    if answers:
        rig.switch.answer(call.session)
    await rig.clock.advance(42.1)
    ended_us = rig.clock.now().wall_us
    rig.switch.end(call.session)
    rig.switch.deletes = False
    await rig.clock.advance(3 * 86_400)
    await rig.start_daemon()
    await rig.clock.advance(10)
    (row,) = await rig.store.cdrs()
    assert (row.ended_us, json.loads(row.document)["billed_s"]) == (ended_us, 42 if answers else 0)
    await rig.kill_daemon()  # another daemon finds the record, which is booked
    await rig.start_daemon()
    await rig.clock.advance(60)
    assert not rig.heard("booking_contradicted")


@pytest.mark.parametrize(("stamp_s", "kept_s"), [(-86_400, 0), (86_400, 40), (30, 30)])
async def test_a_switch_whose_clock_is_wrong_puts_no_end_before_the_set_up_nor_after_it_was_heard_of(
    rig: Rig, stamp_s: int, kept_s: int
) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    set_up_us = rig.clock.now().wall_us
    await rig.kill_daemon()
    rig.switch.answer(call.session)
    await rig.clock.advance(40 - ENDS_TOGETHER_S)
    record = BlackBoxRead(True, "ANSWER", 40_000, by_leg=True, ended_us=set_up_us + stamp_s * 1_000_000)
    await rig.hang_up_unrecorded(call, record)
    await rig.start_daemon()
    await rig.clock.advance(10)
    (row,) = await rig.store.cdrs()
    assert row.ended_us == set_up_us + kept_s * 1_000_000


async def test_answer_missed_by_a_dead_daemon_is_inferred_from_the_countdown(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.kill_daemon()
    await rig.clock.advance(3)
    rig.switch.answer(call.session)
    await rig.clock.advance(30)
    await rig.start_daemon()
    await rig.clock.advance(70.1)
    await rig.hang_up(call)
    assert (await last_cdr(rig))["billed_s"] == 100


@pytest.mark.parametrize("tells_since", [True, False])
async def test_r3_answer_missed_by_a_dead_daemon_is_charged_from_the_answer_though_no_record_is_left(
    rig: Rig, *, tells_since: bool
) -> None:
    rig.switch.tells_since = tells_since
    await rig.subscriber(credit=10 * EURO)
    call = await rig.ringing()
    await rig.kill_daemon()
    await rig.clock.advance(3)
    rig.switch.answer(call.session)
    await rig.clock.advance(30)
    await rig.start_daemon()
    await rig.clock.advance(31)
    rig.switch.restart()
    await rig.recovery.reconcile(True)
    await rig.clock.advance(20)
    cdr = await last_cdr(rig)
    assert (cdr["proof"], cdr["billed_s"]) == ("unproven", 60)


async def test_call_lost_with_its_switch_is_charged_to_the_last_proven_second(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    await rig.talking()
    await rig.clock.advance(61)
    rig.switch.restart()
    await rig.recovery.reconcile(True)
    await rig.clock.advance(20)
    cdr = await last_cdr(rig)
    assert (cdr["proof"], cdr["billed_s"]) == ("unproven", 60)
    assert rig.heard("end_unproven")
    assert await rig.reserved() == {}


@pytest.mark.parametrize(("step_s", "billed_s"), [(30, 20), (-5, 15)])
async def test_clock_step_bills_the_smaller_duration_and_puts_the_deadline_back(
    rig: Rig, step_s: int, billed_s: int
) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(10)
    before = len(rig.switch.deadlines)
    rig.clock.step_wall(step_s)
    await rig.clock.advance(2)
    assert rig.heard("clock_jumped")
    assert len(rig.switch.deadlines) > before
    await rig.clock.advance(8.1)
    await rig.hang_up(call)
    cdr = await last_cdr(rig)
    assert (cdr["billed_s"], cdr["proof"]) == (billed_s, "clock_jump")


async def test_operator_hangs_up_a_call(rig: Rig) -> None:
    from charging.call.events import HangupOrdered

    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(5)
    rig.runner_of(call).offer(HangupOrdered("fraud"))
    await rig.clock.advance(1)
    assert call.ended.is_set()
    assert (await last_cdr(rig))["hangup_reason"] == "fraud"


async def test_shorter_horizon_setting_is_honoured() -> None:
    async with make_rig(policy=Policy(tick_s=5, horizon_s=10, warn_before_s=10)) as rig:
        await rig.subscriber(credit=10 * EURO)
        answer = await rig.ring()
        assert answer.quota_s == 15


async def test_r22_callers_leg_lacks_no_deadline_after_a_daemon_dies_between_the_two_orders() -> None:
    """The money of a top-up is reserved whole, so no later tick gives the orders again."""
    async with make_rig(Policy(tick_s=300, horizon_s=300)) as rig:
        await rig.subscriber(credit=30 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(10)
        ends_us = rig.session_of(call).at(90).mono_us
        rig.switch.disobeys = lambda: (call.callee_uid, ends_us) in rig.switch.deadlines
        await rig.credit(60 * SECOND, "more")
        rig.registry.funds_changed("anna")
        await rig.clock.advance(0)
        assert rig.switch.deadlines[-1] == (call.callee_uid, ends_us), "the order for the caller's leg was lost"
        await rig.kill_daemon()
        rig.switch.disobeys = lambda: False
        await rig.start_daemon()
        await rig.clock.advance(300)
        assert (call.true_ms, (await last_cdr(rig))["billed_s"]) == (90_003, 90)
