"""What the journal says about an account's notices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.ledger.balances import bundle, promo
from charging.ledger.credit_life import CreditHistory
from charging.ledger.model import CREDIT, JournalLine, Kind, Leg
from charging.notify.record import Record, folded
from tests.fakes.rig import make_tariff
from tests.unit.notify.factories import make_notice

DAY = "1970-01-01"
day_of = make_tariff().day_of


def line(number: int, kind: Kind, *legs: Leg, id: str = "", at_us: int = 0) -> JournalLine:
    return JournalLine(number, id or f"t{number}", "anna", kind, at_us or number * 100, legs, None, "", "")


def fold(*lines: JournalLine) -> Record:
    record = Record()
    for one in lines:
        record = folded(record, one, day_of)
    return record


def test_a_top_up_is_a_cure_and_a_purchase() -> None:
    record = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)))
    assert (record.read_to, record.last_cure, record.purchase_us, record.use_us) == (1, "t1", 100, None)


def test_a_correction_that_gives_is_a_cure_and_begins_a_year() -> None:
    record = fold(line(1, Kind.CORRECT, Leg(CREDIT, 10)))
    assert (record.last_cure, record.purchase_us) == ("t1", 100)


def test_a_correction_that_takes_is_neither_cure_nor_use() -> None:
    assert fold(line(1, Kind.CORRECT, Leg(CREDIT, -10))) == Record(read_to=1, credit=-10)


@pytest.mark.parametrize("kind", [Kind.RESERVE, Kind.EXTEND, Kind.SETTLE, Kind.CHARGE])
def test_r19_credit_that_a_session_took_is_a_use(kind: Kind) -> None:
    assert fold(line(1, kind, Leg(CREDIT, -10, -10))).use_us == 100


def test_r19_a_call_paid_by_free_minutes_alone_is_no_use() -> None:
    assert fold(line(1, Kind.SETTLE, Leg(bundle("2026-11"), -60), Leg(CREDIT, 0, -10))).use_us is None


def test_r19_expired_credit_is_no_use() -> None:
    assert fold(line(1, Kind.EXPIRE, Leg(CREDIT, -10))) == Record(read_to=1, credit=-10)


def test_a_granted_bundle_cures_no_credit() -> None:
    assert fold(line(1, Kind.GRANT, Leg(bundle("2026-11"), 600))) == Record(read_to=1)


def test_an_opening_stands_for_a_purchase_only_where_nothing_else_is_known() -> None:
    opening = line(5, Kind.OPENING, Leg(CREDIT, 10))
    assert fold(opening).last_cure == "t5"
    known = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)), opening)
    assert (known.last_cure, known.purchase_us, known.read_to) == ("t1", 100, 5)


def test_r15_the_peak_since_a_notice_is_that_of_posted_credit() -> None:
    spent = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)), line(2, Kind.SETTLE, Leg(CREDIT, -9)))
    told = spent.with_sent(make_notice(), DAY)
    assert (told.credit, told.peaks) == (1, {"low-credit": 1})
    topped_up = folded(told, line(3, Kind.TOP_UP, Leg(CREDIT, 5)), day_of)
    spent = folded(topped_up, line(4, Kind.EXTEND, Leg(CREDIT, -4, 3)), day_of)
    assert (spent.credit, spent.peaks) == (2, {"low-credit": 6})
    assert spent.with_sent(make_notice(), DAY).peaks == {"low-credit": 2}


@pytest.mark.parametrize(("day", "peak"), [("1970-01-01", 30), ("1970-01-02", 10)])
def test_r15_a_gift_that_has_ended_is_no_peak_though_no_line_says_so_yet(day: str, peak: int) -> None:
    given = Leg(promo("1970-01-01"), 20)
    told = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)), line(2, Kind.CORRECT, given)).with_sent(make_notice(), day)
    assert (told.credit, told.peaks) == (30, {"low-credit": peak})


def test_r15_a_gift_that_has_ended_is_no_peak_when_another_comes() -> None:
    told = fold(line(1, Kind.CORRECT, Leg(promo("1970-01-01"), 20))).with_sent(make_notice(), "1970-01-02")
    little = line(2, Kind.CORRECT, Leg(promo("1970-01-03"), 5), at_us=86_400_000_000)
    assert folded(told, little, day_of).peaks == {"low-credit": 5}
    expired = line(3, Kind.EXPIRE, Leg(promo("1970-01-01"), -20), at_us=86_400_000_001)
    after = folded(folded(told, little, day_of), expired, day_of)
    assert (after.credit, after.peaks) == (5, {"low-credit": 5})


def test_r15_a_gift_stays_the_last_cure_when_its_line_is_archived() -> None:
    top_up = line(1, Kind.TOP_UP, Leg(CREDIT, 10), at_us=100)
    known = fold(top_up, line(2, Kind.CORRECT, Leg(promo("2026-11-30"), 20)))
    archived = CreditHistory().after(top_up).opening_reason()
    opening = replace(line(3, Kind.OPENING, Leg(CREDIT, 10)), reason=archived)
    assert folded(known, opening, day_of).last_cure == "t2"
    bought = CreditHistory("t3", 150).opening_reason()
    assert folded(known, replace(opening, reason=bought), day_of).last_cure == "t3", "bought since it was looked at"


def test_a_record_of_a_version_that_kept_no_gifts_is_read() -> None:
    old = '{"read_to": 7, "last_cure": "t1", "purchase_us": 1, "use_us": 2, "credit": 9, "sent": {}, "peaks": {"a": 3}}'
    assert Record.from_json(old) == Record(7, "t1", 1, 2, 9, {}, {"a": 3})


def test_an_opening_says_what_all_lines_before_it_came_to() -> None:
    known = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)))
    assert folded(known, line(5, Kind.OPENING, Leg(CREDIT, 7)), day_of).credit == 7
    assert folded(known, line(5, Kind.OPENING, Leg(bundle("2026-11"), 7)), day_of).credit == 0


def test_a_record_comes_back_from_json_equal() -> None:
    record = Record(7, "t1", 100, 200, 300).with_sent(make_notice(), DAY)
    assert record.sent == {"low-credit": "low-credit/top-up/1"}
    assert Record.from_json(record.to_json()) == record


def test_of_a_record_without_peaks_only_what_was_sent_is_taken() -> None:
    old = '{"read_to": 7, "last_cure": "t1", "purchase_us": 1, "use_us": 2, "sent": {"low-credit": "low-credit/t1"}}'
    assert Record.from_json(old) == Record(sent={"low-credit": "low-credit/t1"}, peaks={"low-credit": 0})


def test_what_the_journal_tells_again_is_no_reason_to_store_a_record() -> None:
    assert Record(7, "t1", 100, 200, 300, {}, {"low-credit": 1}).lasting == Record(8, "t1", 100, 201, 301).lasting
    assert Record(7, "t1").lasting != Record(7, "t2").lasting
    assert Record(7).lasting != Record(7).with_sent(make_notice(), DAY).lasting
