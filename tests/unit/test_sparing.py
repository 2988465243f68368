"""How much of what strangers bring about is logged or kept."""

from __future__ import annotations

from charging.sparing import KINDS_MAX, Sparing
from tests.fakes.clock import FakeClock


async def test_of_each_kind_some_pass_in_a_minute_and_then_it_is_told_how_many_did_not() -> None:
    clock = FakeClock()
    sparing = Sparing(clock, 2, 60)
    assert [sparing.more("a") for _ in range(4)] == [0, 0, None, None]
    assert sparing.more("b") == 0
    await clock.advance(60)
    assert [sparing.more("a") for _ in range(3)] == [2, 0, None]


def test_what_came_least_lately_of_very_many_kinds_is_forgotten() -> None:
    sparing = Sparing(FakeClock(), 1, 60)
    for kind in range(KINDS_MAX):
        assert sparing.more(str(kind)) == 0
    assert sparing.more("0") is None
    assert sparing.more("one more") == 0
    assert sparing.more("0") is None, "it has come lately"
    assert sparing.more("1") == 0, "it was forgotten"
