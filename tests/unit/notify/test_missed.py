"""Which missed calls go into which mail."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from charging.call.decide import Cause
from charging.notify.missed import CALLERS_MAX, PAUSE_MOST_S, QUIET_S, SEEN_MAX, Call, Missed
from tests.fakes.rig import NUMBER, TARGET

S = 1_000_000
PAUSE_S = 900
HOUR_S = 3600
START_US = 1_000_000 * S


def call(at_s: int, id: str = "", caller: str = TARGET, number: str = NUMBER) -> Call:
    return Call(id or f"call-{at_s}", number, caller, START_US + at_s * S)


class Line:
    """One account's missed calls as time goes by; someone looks every second."""

    def __init__(self, pause_s: int = PAUSE_S) -> None:
        self.missed = Missed()
        self.mails: list[tuple[int, int]] = []
        """(second, calls) of each."""
        self._pause_s = pause_s

    def comes(self, at_s: int, **more: str) -> None:
        self.passes(at_s - 1)
        self.missed = self.missed.with_call(call(at_s, **more))
        self._look(at_s)

    def passes(self, until_s: int) -> None:
        """Time, up to that second."""
        while not self.missed.is_quiet and self.missed.due_us <= START_US + until_s * S:
            self._look((self.missed.due_us - START_US) // S)

    def _look(self, at_s: int) -> None:
        one = self.missed.with_frozen(START_US + at_s * S, self._pause_s)
        if one.frozen is not None:
            self.mails.append((at_s, one.frozen.calls))
            self.missed = one.without_frozen()


@pytest.fixture
def line() -> Line:
    return Line()


def test_r13_the_first_call_is_told_at_once(line: Line) -> None:
    line.comes(5)
    assert line.mails == [(5, 1)]


@pytest.mark.parametrize(("at_s", "mails"), [(PAUSE_S - 1, [(0, 1), (PAUSE_S, 1)]), (PAUSE_S, [(0, 1), (PAUSE_S, 1)])])
def test_r13_within_the_pause_a_call_waits_and_after_it_is_told_at_once(
    line: Line, at_s: int, mails: list[tuple[int, int]]
) -> None:
    line.comes(0)
    line.comes(at_s)
    line.passes(10 * HOUR_S)
    assert line.mails == mails


def test_r13_calls_that_wait_are_told_together(line: Line) -> None:
    for at_s in (0, 10, 20, PAUSE_S - 1):
        line.comes(at_s)
    line.passes(PAUSE_S - 1)
    assert line.mails == [(0, 1)]
    line.passes(PAUSE_S)
    assert line.mails == [(0, 1), (PAUSE_S, 3)]


@pytest.mark.parametrize(("quiet_s", "pause_s"), [(QUIET_S, PAUSE_S), (QUIET_S - 1, 8 * PAUSE_S)])
def test_r13_as_long_as_calls_come_the_pause_doubles_and_after_a_quiet_time_it_is_short_again(
    line: Line, quiet_s: int, pause_s: int
) -> None:
    for at_s in (0, 10, PAUSE_S + 10):
        line.comes(at_s)
    line.passes(4 * PAUSE_S)
    assert line.mails == [(0, 1), (PAUSE_S, 1), (3 * PAUSE_S, 1)], "the second pause is twice as long"
    at_s = 3 * PAUSE_S + 4 * PAUSE_S + quiet_s
    line.comes(at_s)
    assert line.mails[-1] == (at_s, 1), "at once"
    line.comes(at_s + 10)
    line.passes(at_s + pause_s - 1)
    assert line.mails[-1] == (at_s, 1)
    line.passes(at_s + pause_s)
    assert line.mails[-1] == (at_s + pause_s, 1)


def test_r13_a_robot_that_dials_all_day_makes_a_dozen_mails_and_every_call_is_in_one(line: Line) -> None:
    for at_s in range(0, 24 * HOUR_S, 20):
        line.comes(at_s, caller=f"+316{at_s:08}")
    line.passes(48 * HOUR_S)
    assert sum(calls for _, calls in line.mails) == 24 * HOUR_S // 20
    assert len(line.mails) < 12
    times = [at_s for at_s, _ in line.mails]
    assert max(b - a for a, b in pairwise(times)) == PAUSE_MOST_S


@pytest.mark.parametrize("every_s", [PAUSE_S + 1, PAUSE_S + 30, 2 * PAUSE_S + 10, HOUR_S, QUIET_S + PAUSE_S])
def test_r13_who_calls_once_after_each_pause_makes_no_more_mails(line: Line, every_s: int) -> None:
    """A telephone that rang each quarter of an hour had 96 mails sent a day."""
    for at_s in range(0, 24 * HOUR_S, every_s):
        line.comes(at_s)
    assert len(line.mails) < 12


@pytest.mark.parametrize("mails", range(1, 7))
def test_r13_who_waits_now_and_then_until_a_pause_is_short_again_makes_few_more_mails(line: Line, mails: int) -> None:
    at_s = 0
    while at_s < 24 * HOUR_S:
        for _ in range(mails):
            line.comes(at_s)
            at_s += line.missed.pause_s
        at_s += QUIET_S
    assert len([one for one, _ in line.mails if one < 24 * HOUR_S]) <= 15


def test_r13_without_a_pause_each_call_is_told_by_itself() -> None:
    line = Line(pause_s=0)
    for at_s in (1, 2, 2, 3):
        line.comes(at_s, id=f"call-{len(line.mails)}")
    assert line.mails == [(1, 1), (2, 1), (2, 1), (3, 1)]


def test_a_pause_that_the_operator_made_longer_than_the_longest_stays_as_it_is() -> None:
    line = Line(pause_s=6 * HOUR_S)
    for at_s in (0, 10, 6 * HOUR_S + 10):
        line.comes(at_s)
    line.passes(24 * HOUR_S)
    assert [at_s for at_s, _ in line.mails] == [0, 6 * HOUR_S, 12 * HOUR_S]


def test_calls_are_kept_by_caller_and_number() -> None:
    missed = Missed()
    for one in (call(0, caller="a"), call(1, caller="b"), call(2, caller="a"), call(3, caller="a", number="+31")):
        missed = missed.with_call(one)
    batch = missed.waiting
    assert batch is not None
    assert [(one.caller, one.number, one.times) for one in batch.callers] == [
        *(("a", NUMBER, 2), ("b", NUMBER, 1), ("a", "+31", 1))
    ]
    assert batch.callers[0].last_us == START_US + 2 * S
    assert (batch.id, batch.first_us, batch.last_us, batch.calls) == ("call-0", START_US, START_US + 3 * S, 4)


def test_of_callers_that_do_not_fit_the_calls_are_counted() -> None:
    missed = Missed()
    for place in range(CALLERS_MAX + 3):
        missed = missed.with_call(call(place, caller=f"c{place}"))
    missed = missed.with_call(call(99, caller="c0"))
    assert missed.waiting is not None
    assert (len(missed.waiting.callers), missed.waiting.others) == (CALLERS_MAX, 3)
    assert missed.waiting.calls == CALLERS_MAX + 4


def test_a_call_that_is_recorded_again_counts_once_also_after_it_was_told() -> None:
    missed = Missed().with_call(call(0))
    assert missed.with_call(call(0)) == missed
    told = missed.with_frozen(START_US, PAUSE_S).without_frozen()
    assert told.with_call(call(0)) == told
    for at_s in range(1, SEEN_MAX):
        told = told.with_call(call(at_s))
    assert told.with_call(call(0)) == told, "one of the newest"
    assert len(told.with_call(call(SEEN_MAX)).seen) == SEEN_MAX


def test_what_is_frozen_does_not_change_until_it_was_told() -> None:
    frozen = Missed().with_call(call(0)).with_frozen(START_US, PAUSE_S)
    assert frozen.due_us <= START_US
    more = frozen.with_call(call(1))
    assert more.frozen == frozen.frozen
    assert more.with_frozen(START_US + PAUSE_S * S, PAUSE_S) == more
    assert more.without_frozen().due_us == START_US + PAUSE_S * S


def test_only_who_has_nothing_waiting_is_quiet() -> None:
    waiting = Missed().with_call(call(0))
    frozen = waiting.with_frozen(START_US, PAUSE_S)
    assert [one.is_quiet for one in (waiting, frozen, frozen.without_frozen())] == [False, False, True]
    assert frozen.without_frozen().due_us == START_US + (PAUSE_S + QUIET_S) * S


def test_why_calls_were_missed_is_kept_once_each_and_anew_for_the_next_batch() -> None:
    missed = Missed()
    for at_s, cause in enumerate((Cause.TOO_MANY_CALLS, Cause.NO_CREDIT, Cause.TOO_MANY_CALLS)):
        missed = missed.with_call(replace(call(at_s), cause=cause))
    frozen = missed.with_frozen(START_US + 2 * S, PAUSE_S)
    assert frozen.frozen is not None
    assert frozen.frozen.causes == (Cause.NO_CREDIT, Cause.TOO_MANY_CALLS)
    following = frozen.with_call(replace(call(3), cause=Cause.CREDIT_IN_USE)).waiting
    assert following is not None
    assert following.causes == (Cause.CREDIT_IN_USE,)


def test_calls_that_were_recorded_before_causes_were_are_read() -> None:
    missed = Missed().with_call(call(0))
    assert '"causes":["no_credit"]' in missed.to_json()
    assert Missed.from_json(missed.to_json().replace(',"causes":["no_credit"]', "")) == missed


def test_it_is_read_as_it_was_written() -> None:
    first = replace(call(0, caller="Zoë"), cause=Cause.CREDIT_IN_USE)
    missed = Missed().with_call(first).with_frozen(START_US, PAUSE_S).with_call(call(1))
    for one in (Missed(), missed, missed.without_frozen()):
        assert Missed.from_json(one.to_json()) == one


@pytest.mark.parametrize("text", ["damaged", '{"seen": 1}', '{"waiting": {}}', "[]"])
def test_what_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|validation|not a JSON"):
        Missed.from_json(text)
