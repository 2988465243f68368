"""What was paid in the past, priced again under another tariff."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charging.pricing.packs import pack_of
from charging.whatif.past import PastCall, PastFax, PastMessage, past_of
from charging.whatif.rerate import PlanTotal, rerate
from tests.unit.tariff.tariffs import SMALL, changed, small

NOON_US = 1_793_790_000_000_000
PAID = "voicemail: {paid: yes, price: 0.15}"


def call(account: str, start_s: int, seconds: int, *, plan: str = "pro", number: str = "+31201234567") -> PastCall:
    return PastCall(account, plan, number, NOON_US + start_s * 1_000_000, seconds, 100_000)


def test_past_calls_use_each_accounts_free_minutes_in_their_order(tmp_path: Path) -> None:
    calls = [call("A", 1000, 300), call("A", 0, 540), call("B", 0, 60), call("B", 100, 60, plan="light")]
    assert rerate(small(tmp_path), calls, {}) == (
        PlanTotal("light", calls=1, seconds=60, paid=100_000, would_pay=50_000),
        PlanTotal("pro", calls=3, seconds=900, paid=300_000, would_pay=200_000, free_s=660),
    )


def test_a_pack_pays_of_each_past_call_what_it_paid_of_it(tmp_path: Path) -> None:
    """It may have been bought between them, where another destination costs more; or be gone from the tariff."""
    addon = pack_of("addon", "2026-12-31")
    with_pack = small(tmp_path, SMALL + "packs:\n  addon: {minutes: 60, days: 30}\n")
    before = call("A", 0, 120, plan="light", number="+31612345678")
    after = call("A", 1000, 120, plan="light")._replace(paid=0, packs={addon: 120})
    paid = PlanTotal("light", calls=2, seconds=240, paid=100_000, would_pay=240_000, free_s=120)
    assert rerate(with_pack, [before, after], {}) == (paid,)
    assert rerate(with_pack, [before._replace(packs={addon: 60}), after], {}) == (
        replace(paid, would_pay=120_000, free_s=180),
    )
    assert rerate(small(tmp_path), [before, after], {}) == (replace(paid, would_pay=340_000, free_s=0),)


def test_past_calls_that_the_tariff_refuses_or_would_cut_are_counted(tmp_path: Path) -> None:
    tariff = small(tmp_path, SMALL.replace("  pro:\n", "  pro:\n    max_call_s: 60\n"))
    calls = [call("A", 0, 60), call("A", 100, 61), call("A", 200, 9, number="+319001234"), call("C", 0, 9, plan="gone")]
    gone, pro = rerate(tariff, calls, {})
    assert (gone.plan, gone.refused, gone.would_pay) == ("gone", 1, 0)
    assert (pro.calls, pro.refused, pro.cut) == (3, 1, 1)


def test_a_past_call_over_the_months_end_uses_each_months_own_minutes(tmp_path: Path) -> None:
    over_midnight = PastCall("A", "pro", "+31201234567", 1_796_079_540_000_000, 120, 0)
    [total] = rerate(small(tmp_path, changed("minutes: 10", "minutes: 1")), [over_midnight], {})
    assert (total.free_s, total.would_pay) == (120, 0)


def test_totals_in_json_have_money_as_text() -> None:
    assert PlanTotal("pro", paid=100_000, would_pay=50_000).to_json()["difference"] == "-0.05"


def messages(number: str = "+31850000000", plan: str = "pro") -> PastMessage:
    return PastMessage("anna", plan, number, NOON_US, 2, 100_000)


@pytest.mark.parametrize(
    ("voicemail", "own", "would_pay"),
    [
        ("{paid: yes, price: 0.15}", None, 300_000),
        ("{paid: yes, price: 0.15}", False, 0),
        ("{paid: no, price: 0.15}", None, 0),
        ("{paid: no, price: 0.15}", True, 300_000),
        ("{paid: no}", True, 0),
    ],
)
def test_past_messages_cost_what_the_plan_and_the_numbers_own_setting_say(
    tmp_path: Path, voicemail: str, own: bool | None, would_pay: int
) -> None:
    tariff = small(tmp_path, SMALL.replace("voicemail: {paid: no}", f"voicemail: {voicemail}"))
    numbers = {"+31850000000": own, "+31850000001": not own}
    assert rerate(tariff, [messages()], numbers) == (PlanTotal("pro", messages=2, paid=100_000, would_pay=would_pay),)


def test_past_messages_of_numbers_that_are_no_more_follow_their_plan(tmp_path: Path) -> None:
    tariff = small(tmp_path, SMALL.replace("voicemail: {paid: no}", PAID))
    gone, pro = rerate(tariff, [messages(), messages(plan="gone")], {})
    assert (gone.would_pay, pro.would_pay) == (0, 300_000)


def test_past_faxes_cost_their_pages_and_are_counted_where_they_are_refused(tmp_path: Path) -> None:
    faxes = [PastFax("anna", "pro", number, NOON_US, 3, 200_000) for number in ("+31612345678", "+319001234")]
    assert rerate(small(tmp_path), faxes, {}) == (
        PlanTotal("pro", pages=6, paid=400_000, would_pay=240_000, refused=1),
    )


CALL = {
    **{"service": "forward", "account": "A", "plan": "pro", "target": "+31201234567", "billed_s": 61, "cost": "0.10"},
    "answered": "2026-11-04T11:00:00.250+00:00",
}
MESSAGE = {
    **{"service": "voicemail", "account": "A", "plan": "pro", "number": "+31850000000", "messages": 1, "cost": "0.15"},
    "set_up": "2026-11-04T11:00:00.000+00:00",
}
FAX = {
    **{"service": "fax", "account": "A", "plan": "pro", "target": "+31201234567", "pages": 3, "cost": "0.24"},
    "set_up": "2026-11-04T11:00:00.000+00:00",
}


def test_what_a_cdr_tells_is_read() -> None:
    assert past_of(CALL) == PastCall("A", "pro", "+31201234567", NOON_US + 250_000, 61, 100_000)
    assert past_of(MESSAGE) == PastMessage("A", "pro", "+31850000000", NOON_US, 1, 150_000)
    assert past_of(FAX) == PastFax("A", "pro", "+31201234567", NOON_US, 3, 240_000)


@pytest.mark.parametrize(
    "cdr", [CALL | {"answered": None, "billed_s": 0}, MESSAGE | {"messages": 0}, FAX | {"pages": 0}]
)
def test_a_cdr_of_what_nobody_could_pay_for_tells_of_nothing(cdr: dict[str, Any]) -> None:
    assert past_of(cdr) is None


def test_a_number_whose_last_digits_are_hidden_is_read_and_one_that_is_hidden_whole_is_not() -> None:
    assert past_of(CALL | {"target": "+3120123xxxx"}) is not None
    with pytest.raises(ValueError, match="target"):
        past_of(CALL | {"target": "xxxx"})


@pytest.mark.parametrize("cdr", [CALL, MESSAGE, FAX], ids=lambda cdr: cdr["service"])
@pytest.mark.parametrize("junk", ["", "x", None, -1, 1.5, True, [], {}, "9999-12-31T00:00:00+00:00", 2**53])
def test_a_cdr_in_which_anything_is_wrong_is_none(cdr: dict[str, Any], junk: object) -> None:
    for name in cdr.keys() - {"account", "plan", "answered"}:
        with pytest.raises(ValueError, match=r"."):
            past_of(cdr | {name: junk})
        with pytest.raises(ValueError, match=r"."):
            past_of({key: value for key, value in cdr.items() if key != name})


def test_a_charged_call_of_whose_answer_a_former_version_did_not_say_is_rated_as_of_its_set_up() -> None:
    past = past_of(CALL | {"answered": None, "set_up": "2026-11-04T10:59:58.000+00:00"})
    assert isinstance(past, PastCall)
    assert (past.start_us, past.seconds) == (1_793_789_998_000_000, CALL["billed_s"])


@pytest.mark.parametrize("answered", ["", "x", 1, "9999-12-31T00:00:00+00:00", "2026-11-04T11:00:00"])
def test_a_call_whose_answer_has_no_time_is_none(answered: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        past_of(CALL | {"answered": answered})
    with pytest.raises(ValueError, match="answered"):
        past_of({key: value for key, value in CALL.items() if key != "answered"})


@pytest.mark.parametrize(("seconds", "cut"), [(120, 0), (121, 1)])
def test_a_past_call_above_a_maximum_that_ends_calls_would_be_cut(tmp_path: Path, seconds: int, cut: int) -> None:
    tariff = small(tmp_path, changed("nl: {price: 0.05", "nl: {price: 0.05, maximum: 0.10, at_maximum: end"))
    [total] = rerate(tariff, [call("A", 0, seconds, plan="light")], {})
    assert (total.would_pay, total.cut) == (100_000, cut)
