"""How much of what strangers bring about is logged or kept."""

from __future__ import annotations

from charging.log_limit import KINDS_MAX, LogLimit
from tests.fakes.clock import FakeClock


async def test_of_each_kind_some_pass_in_a_minute_and_then_it_is_told_how_many_did_not() -> None:
    clock = FakeClock()
    log_limit = LogLimit(clock, 2, 60)
    assert [log_limit.more("a") for _ in range(4)] == [0, 0, None, None]
    assert log_limit.more("b") == 0
    await clock.advance(60)
    assert [log_limit.more("a") for _ in range(3)] == [2, 0, None]


def test_what_came_least_lately_of_very_many_kinds_is_forgotten() -> None:
    log_limit = LogLimit(FakeClock(), 1, 60)
    for kind in range(KINDS_MAX):
        assert log_limit.more(str(kind)) == 0
    assert log_limit.more("0") is None
    assert log_limit.more("one more") == 0
    assert log_limit.more("0") is None, "it has come lately"
    assert log_limit.more("1") == 0, "it was forgotten"
