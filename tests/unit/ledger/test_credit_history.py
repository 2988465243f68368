"""When credit was last bought and used, by the journal, whole or archived (R15, R19)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.ledger.balances import bundle
from charging.ledger.books.archive import opening_line
from charging.ledger.credit_life import CreditEvent, CreditHistory, credit_event
from charging.ledger.model import CREDIT, ID_LENGTH_MAX, REASON_LENGTH_MAX, JournalLine, Kind, Leg

BUNDLE = bundle("2026-11")


def line(number: int, kind: Kind, *legs: Leg, id: str = "", at_us: int = 0, reason: str = "") -> JournalLine:
    return JournalLine(number, id or f"t{number}", "anna", kind, at_us or number * 100, legs, None, reason, "")


NOTHING = CreditHistory()


def history(lines: Sequence[JournalLine], begin: CreditHistory = NOTHING) -> CreditHistory:
    return reduce(CreditHistory.after, lines, begin)


@pytest.mark.parametrize(
    ("kind", "credit", "event"),
    [
        (Kind.TOP_UP, 10, CreditEvent.PURCHASE),
        (Kind.CORRECT, 10, CreditEvent.PURCHASE),
        (Kind.CORRECT, -10, None),
        (Kind.RESERVE, -10, CreditEvent.USE),
        (Kind.EXTEND, -10, CreditEvent.USE),
        (Kind.SETTLE, -10, CreditEvent.USE),
        (Kind.CHARGE, -10, CreditEvent.USE),
        (Kind.EXPIRE, -10, None),
        (Kind.EXTEND, 0, None),
        (Kind.RELEASE, 0, None),
        (Kind.SETTLE, 10, None),
    ],
)
def test_r19_lines_of_the_journal_that_are_events(kind: Kind, credit: int, event: CreditEvent | None) -> None:
    assert credit_event(line(1, kind, Leg(CREDIT, credit, -5))) is event


def test_r19_a_call_paid_by_free_minutes_alone_is_no_event() -> None:
    assert credit_event(line(1, Kind.SETTLE, Leg(BUNDLE, -60), Leg("calls", 0, -1))) is None


def test_r19_an_archived_purchase_is_of_its_own_time_and_not_of_the_last_archived_line() -> None:
    lines = [line(1, Kind.TOP_UP, Leg(CREDIT, 10), id="top-up/1"), line(2, Kind.SETTLE, Leg(BUNDLE, -60))]
    assert opening_line(lines).at_us == 200
    assert history([opening_line(lines)]) == CreditHistory("top-up/1", 100, None)


def test_r19_an_archived_use_is_of_its_own_time() -> None:
    lines = [
        line(1, Kind.TOP_UP, Leg(CREDIT, 10), id="top-up/1"),
        line(2, Kind.SETTLE, Leg(CREDIT, -10)),
        line(3, Kind.GRANT, Leg(BUNDLE, 60)),
    ]
    assert history([opening_line(lines)]) == CreditHistory("top-up/1", 100, 200), "also where nothing is left of it"


def test_r19_times_are_the_latest_that_any_line_has() -> None:
    """A machine that starts years behind dates new lines before old ones; what is archived has lost nothing by it."""
    lines = [
        line(1, Kind.TOP_UP, Leg(CREDIT, 10), at_us=800),
        line(2, Kind.CHARGE, Leg(CREDIT, -1), at_us=900),
        line(3, Kind.TOP_UP, Leg(CREDIT, 10), id="top-up/3", at_us=100),
        line(4, Kind.CHARGE, Leg(CREDIT, -1), at_us=200),
    ]
    assert history(lines) == history([opening_line(lines)]) == CreditHistory("top-up/3", 800, 900)


def test_r19_an_opening_that_does_not_say_lets_its_credit_live_a_year_from_itself() -> None:
    assert history([line(5, Kind.OPENING, Leg(CREDIT, 10), reason="archived")]) == CreditHistory("t5", 500)
    assert history([line(5, Kind.OPENING, Leg(BUNDLE, 10), reason="archived")]) == NOTHING


def test_an_opening_says_it_of_the_longest_id_within_the_bounds_of_a_reason() -> None:
    id = "; credit bought by \n" * 10
    assert len(id) == ID_LENGTH_MAX
    lines = [line(1, Kind.TOP_UP, Leg(CREDIT, 10), id=id), line(2, Kind.SETTLE, Leg(CREDIT, -5))]
    opening = opening_line(lines)
    assert len(opening.reason) <= REASON_LENGTH_MAX
    assert history([opening]) == CreditHistory(id, 100, 200)


KINDS = st.sampled_from([kind for kind in Kind if kind is not Kind.OPENING])
BRINGS = {Kind.TOP_UP, Kind.CORRECT}
"""Nothing else ever brings credit."""
LEGS = st.tuples(st.sampled_from([CREDIT, CREDIT, BUNDLE]), st.integers(-20, 20))
ROWS = st.lists(st.tuples(KINDS, LEGS, st.integers(0, 10**15)), min_size=1, max_size=12)


@given(rows=ROWS, cuts=st.tuples(st.integers(0, 12), st.integers(0, 12)), read_to=st.integers(0, 12))
def test_r19_r20_archiving_however_often_changes_nothing_of_the_history(
    rows: list[tuple[Kind, tuple[str, int], int]], cuts: tuple[int, int], read_to: int
) -> None:
    """Also for a reader who had read some of what was archived, and goes on behind it."""
    lines = [
        line(number, kind, Leg(balance, amount if kind in BRINGS else -abs(amount)), at_us=at_us)
        for number, (kind, (balance, amount), at_us) in enumerate(rows, start=1)
    ]
    whole = history(lines)
    read = history([one for one in lines if one.number <= read_to])
    for cut in sorted(cuts):
        head = [one for one in lines if one.number <= cut]
        if head:
            lines = [opening_line(head), *(one for one in lines if one.number > cut)]
        assert history(lines) == whole
        assert history([one for one in lines if one.number > read_to], read) == whole
