"""What the journal says about an account's notices."""

from __future__ import annotations

import pytest

from charging.ledger.model import CREDIT, JournalLine, Kind, Leg, bundle
from charging.notify.record import Record, folded
from tests.unit.notify.factories import make_notice


def line(number: int, kind: Kind, *legs: Leg, id: str = "", at_us: int = 0) -> JournalLine:
    return JournalLine(number, id or f"t{number}", "anna", kind, at_us or number * 100, legs, None, "", "")


def fold(*lines: JournalLine) -> Record:
    record = Record()
    for one in lines:
        record = folded(record, one)
    return record


def test_a_top_up_is_a_cure_and_a_purchase() -> None:
    record = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)))
    assert (record.read_to, record.last_cure, record.purchase_us, record.use_us) == (1, "t1", 100, None)


def test_a_correction_that_gives_is_a_cure_and_begins_a_year() -> None:
    record = fold(line(1, Kind.CORRECT, Leg(CREDIT, 10)))
    assert (record.last_cure, record.purchase_us) == ("t1", 100)


def test_a_correction_that_takes_is_neither_cure_nor_use() -> None:
    assert fold(line(1, Kind.CORRECT, Leg(CREDIT, -10))) == Record(read_to=1)


@pytest.mark.parametrize("kind", [Kind.RESERVE, Kind.EXTEND, Kind.SETTLE, Kind.CHARGE])
def test_r19_credit_that_a_session_took_is_a_use(kind: Kind) -> None:
    assert fold(line(1, kind, Leg(CREDIT, -10, -10))).use_us == 100


def test_r19_a_call_paid_by_free_minutes_alone_is_no_use() -> None:
    assert fold(line(1, Kind.SETTLE, Leg(bundle("2026-11"), -60), Leg(CREDIT, 0, -10))).use_us is None


def test_r19_expired_credit_is_no_use() -> None:
    assert fold(line(1, Kind.EXPIRE, Leg(CREDIT, -10))) == Record(read_to=1)


def test_a_granted_bundle_cures_no_credit() -> None:
    assert fold(line(1, Kind.GRANT, Leg(bundle("2026-11"), 600))) == Record(read_to=1)


def test_an_opening_stands_for_a_purchase_only_where_nothing_else_is_known() -> None:
    opening = line(5, Kind.OPENING, Leg(CREDIT, 10))
    assert fold(opening).last_cure == "t5"
    known = fold(line(1, Kind.TOP_UP, Leg(CREDIT, 10)), opening)
    assert (known.last_cure, known.purchase_us, known.read_to) == ("t1", 100, 5)


def test_a_record_comes_back_from_json_equal() -> None:
    record = Record(7, "t1", 100, 200).with_sent(make_notice())
    assert record.sent == {"low-credit": "low-credit/top-up/1"}
    assert Record.from_json(record.to_json()) == record
