"""What the audit of the feed finds, and what it cannot hold against anyone."""

from __future__ import annotations

import pytest

from charging.ledger.books.audit_feed import CLOCKS_APART_S, FeedAudit
from charging.ledger.feed import FeedEntry
from charging.ledger.model import JournalLine, Kind

BEGAN_US = 10**15
LATER_US = BEGAN_US + CLOCKS_APART_S * 1_000_000 + 1


def line(number: int, kind: Kind = Kind.TOP_UP, at_us: int = 5) -> JournalLine:
    return JournalLine(number, f"t{number}", "a", kind, at_us, (), None, "", "")


def found(lines: list[JournalLine], *places: int | JournalLine | None) -> tuple[list[str], list[int]]:
    """What is told of the places, and which lines have none; ``None``: one that was archived. The feed's first place is
    of another account."""
    audit = FeedAudit()
    audit.begin("a")
    for one in lines:
        audit.line(one)
    told = list(audit.entry(FeedEntry(BEGAN_US, "b", 1)))
    for place, stands in enumerate(places, BEGAN_US + 1):
        at_it = line(stands) if isinstance(stands, int) else stands
        told += audit.entry(FeedEntry(place, "a", at_it.number if at_it else 1, found=at_it))
    return [f"{one.subject}: {one.detail}" for one in told], [number for _, number in audit.missing()]


TICK = line(3, Kind.EXTEND)
FOUR = [line(1), line(2), TICK, line(4), line(5)]


@pytest.mark.parametrize(
    ("places", "missing"),
    [
        ((1, 2, 4, 5), []),
        ((1, 2, 4, 5, 6), []),
        ((2, 4, 5), []),
        ((None, 2, 4, 5), []),
        ((1, 4, 5), [2]),
        ((1, 5), [2, 4]),
        ((1, 2, 4), [5]),
        ((1, 2, 6), [4, 5]),
        ((1, 4, 5, 2), []),
        ((), []),
    ],
    ids=[
        "all",
        "one since",
        "before the feed",
        "archived",
        "hole",
        "holes",
        "end",
        "end, one since",
        "lost and told again",
        "none",
    ],
)
def test_a_line_without_a_place_is_named_but_for_what_may_be_older_than_the_feed(
    places: tuple[int | None, ...], missing: list[int]
) -> None:
    assert found(FOUR, *places) == ([], missing)


def test_an_account_without_a_place_is_named_once_its_lines_are_younger_than_the_feed() -> None:
    assert found([line(1, at_us=LATER_US - 1)]) == ([], [])
    assert found([line(1), line(2, at_us=LATER_US)]) == ([], [1, 2])


def test_a_second_place_is_named_and_one_of_a_tick() -> None:
    assert found(FOUR, 1, 2, 2, 4, 5) == ([f"line 2: place {BEGAN_US + 3} is its second"], [])
    assert found(FOUR, 1, 2, TICK, 4, 5) == ([f"line 3: its kind takes none, and it has place {BEGAN_US + 3}"], [])
