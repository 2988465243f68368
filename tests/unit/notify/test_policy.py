"""R13 to R16: which notice is due, once per crossing. R20 has a file of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.ledger.accounts import Account, Number, Status
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Balance
from charging.notify.missed import Batch, Call, Missed
from charging.notify.model import (
    LowCredit,
    LowFreeMinutes,
    MissedCall,
    MissedCalls,
    MissedFrom,
    Notice,
    NoticeKind,
)
from charging.notify.policy import Standing, can_answer, due, forward_cost, missed_calls
from charging.pricing.rate import Step
from charging.tariff.tariff import Destination, Price, RateTable
from tests.fakes.clock import START_WALL_US as NOW
from tests.fakes.rig import EURO, NUMBER, TARGET, make_tariff
from tests.unit.notify.factories import ANNA, MONTH, PLAN, at, standing, the_tariff


def found(case: Standing, now_us: int = NOW) -> dict[NoticeKind, Notice]:
    return {notice.kind: notice for notice in due(case, the_tariff(), now_us)}


def ids(case: Standing) -> list[str]:
    return [notice.id for notice in found(case).values()]


# --- R15 ------------------------------------------------------------------------------------------------------


def test_r15_credit_below_the_threshold_is_told() -> None:
    notice = found(standing(2 * EURO - 1, free=600))[NoticeKind.LOW_CREDIT]
    assert notice.id == "low-credit/top-up/1"
    assert (notice.account, notice.language, notice.address, notice.at_us) == ("anna", "nl", "anna@example.nl", NOW)
    assert notice.facts == LowCredit(2 * EURO - 1, 600, can_forward=True, paid_voicemail=False)


def test_r15_credit_at_the_threshold_is_not_told() -> None:
    assert found(standing(2 * EURO, free=600)) == {}


def test_r15_a_crossing_is_told_once() -> None:
    assert found(standing(EURO, free=600, sent={"low-credit": "low-credit/top-up/1"})) == {}


def test_r15_a_top_up_arms_it_again() -> None:
    again = standing(EURO, free=600, last_cure="top-up/2", sent={"low-credit": "low-credit/top-up/1"})
    assert ids(again) == ["low-credit/top-up/2"]


def test_r15_who_never_had_credit_is_told_nothing() -> None:
    assert found(standing(0, free=600, last_cure=None)) == {}


def test_r15_what_a_running_call_has_reserved_is_not_gone() -> None:
    assert found(standing(2 * EURO, free=600, reserved=EURO)) == {}


def test_r15_a_plan_without_threshold_tells_nothing() -> None:
    assert found(standing(0, free=600, plan=replace(PLAN, low_credit=0))) == {}


def test_r15_the_notice_knows_when_no_call_can_be_forwarded_any_more() -> None:
    for credit, can in ((60_000, True), (59_999, False)):
        facts = found(standing(credit, free=600))[NoticeKind.LOW_CREDIT].facts
        assert isinstance(facts, LowCredit)
        assert facts.can_forward is can


@pytest.mark.parametrize(("credit", "can"), [(90_000, True), (89_999, False)])
def test_r15_free_minutes_that_pay_no_call_to_a_target_are_not_counted(credit: int, can: bool) -> None:
    """What they do not pay is what the notice warns of, also where they pay calls to a dearer target."""
    for covered in (None, 60_000, 95_000):
        facts = found(standing(credit, free=600, forward_cost=covered, uncovered_cost=90_000))
        assert facts[NoticeKind.LOW_CREDIT].facts == LowCredit(credit, 0, can_forward=can, paid_voicemail=False)


def test_r15_without_free_minutes_the_dearest_target_counts_whatever_they_would_pay() -> None:
    facts = found(standing(94_999, free=0, forward_cost=95_000, uncovered_cost=90_000))
    assert facts[NoticeKind.LOW_CREDIT].facts == LowCredit(94_999, 0, can_forward=False, paid_voicemail=False)


# --- R16 ------------------------------------------------------------------------------------------------------


def test_r16_few_minutes_and_no_credit_for_a_call_after_them_is_told() -> None:
    notice = found(standing(59_999, free=119, paid_voicemail=True))[NoticeKind.LOW_FREE_MINUTES]
    assert notice.id == "low-free-minutes/2026-11/top-up/1"
    assert notice.facts == LowFreeMinutes(MONTH, 119, 59_999, paid_voicemail=True, message_price=PLAN.voicemail_price)


def test_r16_is_not_sent_while_credit_suffices() -> None:
    assert NoticeKind.LOW_FREE_MINUTES not in found(standing(60_000, free=119))


def test_r16_is_not_sent_while_minutes_suffice() -> None:
    assert NoticeKind.LOW_FREE_MINUTES not in found(standing(59_999, free=120))


def test_r16_is_told_once_and_again_in_a_new_month_or_after_a_top_up() -> None:
    sent = {"low-free-minutes": "low-free-minutes/2026-11/never"}
    case = standing(0, free=100, last_cure=None, sent=sent)
    assert found(case) == {}
    assert ids(replace(case, sent={"low-free-minutes": "low-free-minutes/2026-10/never"})) == [
        "low-free-minutes/2026-11/never"
    ]
    assert "low-free-minutes/2026-11/top-up/9" in ids(replace(case, last_cure="top-up/9"))


def test_r16_minutes_that_are_gone_at_once_are_told_too() -> None:
    facts = found(standing(0, free=0, last_cure=None))[NoticeKind.LOW_FREE_MINUTES].facts
    assert facts == LowFreeMinutes(MONTH, 0, 0, paid_voicemail=False)


def test_r16_a_months_bundle_that_nobody_used_is_whole() -> None:
    assert found(standing(0, last_cure=None)) == {}


def test_r16_looks_at_the_month_in_the_operators_zone() -> None:
    """At 23:30 UTC on 30 November it is December in Amsterdam."""
    case = standing(0, free=0, last_cure=None)
    assert found(case, at("2026-11-30T23:30", "UTC")) == {}
    december = replace(case, balances={CREDIT: Balance(), bundle("2026-12"): Balance(60)})
    notice = found(december, at("2026-11-30T23:30", "UTC"))[NoticeKind.LOW_FREE_MINUTES]
    assert notice.id == "low-free-minutes/2026-12/never"


def test_r16_without_a_forward_target_there_is_nothing_to_warn_of() -> None:
    assert found(standing(0, free=0, last_cure=None, forward_cost=None)) == {}


def test_r16_only_targets_that_free_minutes_pay_are_warned_of() -> None:
    assert found(standing(0, free=0, last_cure=None, forward_cost=None, uncovered_cost=90_000)) == {}
    assert found(standing(60_000, free=0, last_cure=None, uncovered_cost=90_000)) == {}
    assert NoticeKind.LOW_FREE_MINUTES in found(standing(59_999, free=0, last_cure=None, uncovered_cost=90_000))


def test_r16_a_free_destination_needs_no_credit() -> None:
    assert found(standing(0, free=0, last_cure=None, forward_cost=0)) == {}


# --- R13, foretold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("credit", "takes"), [(50_000, True), (49_999, False)])
def test_r13_both_notices_know_whether_credit_pays_a_message(credit: int, takes: bool) -> None:
    sold = replace(PLAN, voicemail_price=50_000)
    notices = found(standing(credit, free=0, plan=sold, paid_voicemail=True))
    assert set(notices) == {NoticeKind.LOW_CREDIT, NoticeKind.LOW_FREE_MINUTES}
    for notice in notices.values():
        assert isinstance(notice.facts, LowCredit | LowFreeMinutes)
        assert (notice.facts.message_price, notice.facts.can_take_voicemail) == (50_000, takes)


@pytest.mark.parametrize(("price", "paid"), [(50_000, False), (0, True)])
def test_r13_voicemail_that_is_included_or_not_for_sale_takes_no_credit(price: int, paid: bool) -> None:
    case = standing(59_999, free=0, plan=replace(PLAN, voicemail_price=price), paid_voicemail=paid)
    for notice in found(case).values():
        assert isinstance(notice.facts, LowCredit | LowFreeMinutes)
        assert (notice.facts.message_price, notice.facts.can_take_voicemail) == (0, False)


# --- who is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "account", [replace(ANNA, status=Status.CLOSED), replace(ANNA, status=Status.SUSPENDED), replace(ANNA, email="")]
)
def test_closed_suspended_and_unreachable_accounts_are_not_told_of_low_funds(account: Account) -> None:
    assert found(standing(0, free=0, account=account)) == {}


def test_a_plan_that_the_tariff_does_not_have_has_no_thresholds() -> None:
    assert found(standing(0, free=0, plan=None)) == {}


# --- what a call needs to begin -------------------------------------------------------------------------------


def test_forward_cost_is_the_first_increment_of_the_dearest_target() -> None:
    tariff = the_tariff()
    prices = dict(tariff.tables["table"].prices)
    cheap = prices["nl_mobile"]
    prices["nl_mobile"] = Price(replace_steps(cheap, increment_s=30), connect_fee=50_000)
    prices["nl_free"] = cheap
    places = {**tariff.destinations, "nl_free": Destination("nl_free", ("+31800",))}
    priced = replace(tariff, tables={"table": RateTable("table", prices)}, destinations=places)
    forwarded = Number(NUMBER, "anna", TARGET)
    assert forward_cost(priced, PLAN, [forwarded], NOW) == 50_000 + 30_000
    assert forward_cost(priced, PLAN, [Number(NUMBER, "anna")], NOW) is None
    assert forward_cost(priced, PLAN, [Number(NUMBER, "anna", "+31900123456")], NOW) is None
    other = Number("+31201234568", "anna", "+318001234567")
    assert forward_cost(priced, PLAN, [other], NOW) == 1_000
    assert forward_cost(priced, PLAN, [other, Number(NUMBER, "anna"), forwarded, other], NOW) == 80_000
    some = replace(PLAN, free_destinations=frozenset({"nl_free"}))
    priced = replace(priced, plans={"pro": some})
    assert forward_cost(priced, some, [other, forwarded], NOW) == 80_000
    assert forward_cost(priced, some, [other, forwarded], NOW, covered=True) == 1_000
    assert forward_cost(priced, some, [other, forwarded], NOW, covered=False) == 80_000
    assert forward_cost(priced, some, [other], NOW, covered=False) is None


def replace_steps(price: Price, *, increment_s: int) -> tuple[Step, ...]:
    return tuple(replace(step, increment_s=increment_s) for step in price.steps)


# --- events ---------------------------------------------------------------------------------------------------


def batch_of(*calls: Call) -> Batch:
    missed = Missed()
    for call in calls:
        missed = missed.with_call(call)
    assert missed.waiting is not None
    return missed.waiting


def test_r13_a_missed_call_says_who_rang_whom_and_when() -> None:
    batch = batch_of(Call("call-7", NUMBER, "+31612345678", NOW))
    notice = missed_calls(ANNA, batch, 40_000, NOW + 1, "Europe/Amsterdam", suffices=False, bought=False)
    assert (notice.id, notice.at_us) == ("missed-call/call-7", NOW + 1)
    assert notice.facts == MissedCall(NUMBER, "+31612345678", "2026-11-21T13:00", 40_000)


def test_r13_several_calls_are_told_by_caller_the_newest_first() -> None:
    minute_us = 60_000_000
    batch = batch_of(
        Call("call-7", NUMBER, "+31612345678", NOW),
        Call("call-8", NUMBER, "", NOW + minute_us),
        Call("call-9", NUMBER, "", NOW + 2 * minute_us),
    )
    notice = missed_calls(ANNA, batch, -1, NOW, "UTC", suffices=False, bought=False)
    assert (notice.kind, notice.id) == (NoticeKind.MISSED_CALLS, "missed-call/call-7")
    callers = (
        MissedFrom(NUMBER, "", 2, "2026-11-21T12:02"),
        MissedFrom(NUMBER, "+31612345678", 1, "2026-11-21T12:00"),
    )
    assert notice.facts == MissedCalls(3, "2026-11-21T12:00", "2026-11-21T12:02", callers, 0, 0)
    assert notice.facts.number == NUMBER


@pytest.mark.parametrize(("suffices", "bought"), [(True, True), (True, False), (False, True)])
def test_r13_credit_that_was_bought_since_counts_where_it_suffices(suffices: bool, bought: bool) -> None:
    one, two = (Call(f"call-{place}", NUMBER, TARGET, NOW) for place in range(2))
    for batch in (batch_of(one), batch_of(one, two)):
        facts = missed_calls(ANNA, batch, EURO, NOW, "UTC", suffices=suffices, bought=bought).facts
        assert isinstance(facts, MissedCall | MissedCalls)
        assert (facts.suffices, facts.topped_up) == (suffices, suffices and bought)


SOLD = replace(PLAN, voicemail_paid=True, voicemail_price=150_000)


@pytest.mark.parametrize(
    ("number", "price"),
    [
        (Number(NUMBER, "anna", TARGET), 1_000),
        (Number(NUMBER, "anna"), 150_000),
        (Number(NUMBER, "anna", "+31900123456"), 150_000),
        (Number(NUMBER, "anna", paid_voicemail=False), None),
    ],
)
def test_r13_credit_answers_a_call_where_it_pays_a_forward_or_a_message(number: Number, price: int | None) -> None:
    tariff = replace(the_tariff(), plans={"pro": SOLD})
    assert can_answer(tariff, ANNA, [number], EURO, NOW) == (price is not None)
    if price is not None:
        assert can_answer(tariff, ANNA, [number], price, NOW)
        assert not can_answer(tariff, ANNA, [number], price - 1, NOW)


def test_r13_credit_must_answer_calls_to_each_of_the_numbers() -> None:
    tariff = replace(the_tariff(), plans={"pro": SOLD})
    both = [Number(NUMBER, "anna", TARGET), Number("+31201234568", "anna")]
    assert can_answer(tariff, ANNA, both, 150_000, NOW)
    assert not can_answer(tariff, ANNA, both, 149_999, NOW)
    assert not can_answer(tariff, ANNA, [], EURO, NOW), "they are not hers any more"
    assert not can_answer(tariff, replace(ANNA, plan="old"), both, EURO, NOW)


def test_r13_no_credit_is_not_enough_credit_also_where_a_call_costs_nothing() -> None:
    free, numbers = make_tariff(price=0, plans={"pro": PLAN}), [Number(NUMBER, "anna", TARGET)]
    assert can_answer(free, ANNA, numbers, 1, NOW)
    assert not can_answer(free, ANNA, numbers, 0, NOW)


def test_the_number_that_was_rung_is_known_where_all_calls_were_to_it() -> None:
    callers = (MissedFrom(NUMBER, "a", 1, "2026-11-21T12:00"), MissedFrom(NUMBER, "b", 1, "2026-11-21T12:00"))
    facts = MissedCalls(2, "2026-11-21T12:00", "2026-11-21T12:00", callers, 0, 0)
    assert facts.number == NUMBER
    assert replace(facts, others=1).number == "", "of the others nothing is known"
    assert replace(facts, callers=(*callers, replace(callers[0], number="+31"))).number == ""
