"""Lanes: each account's events in order and once, whatever the others have; few are kept; no place is past an untold
event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charging.service.events import Event, Place, What
from charging.service.webhooks import Letter
from charging.web.webhook_lanes import EVENTS_MAX, LANE_EVENTS_MAX, PASSED_MAX, Lane, Lanes

PAGE = 50


def event(number: int, account: str, part: int = 0) -> Event:
    return Event(number, What.TOPPED_UP, account, number, {}, part)


class Feed:
    """What happened, and what was told of it."""

    def __init__(self, accounts: list[str]) -> None:
        self.events = [event(10 * number, account) for number, account in enumerate(accounts, 1)]
        self.told: list[Event] = []
        self.lanes = Lanes(Place(1), 0)

    def read(self, after: Place, limit: int, account: str | None = None) -> tuple[list[Event], Place]:
        """As `charging.service.events.Events.of_all`."""
        found = [one for one in self.events if one.number > after.place and account in (None, one.account)][:limit]
        if len(found) == limit:
            return found, Place(found[-1].number)
        return found, Place(self.events[-1].number) if self.events else after

    def read_on(self) -> None:
        if not self.lanes.is_full:
            self.lanes.add(*self.read(self.lanes.read, PAGE))

    def serve(self, lane: Lane) -> None:
        """Tell one, or read for it."""
        if lane.events:
            self.told.append(lane.events[0][1])
            lane.told()
        else:
            assert lane.passed is not None
            self.lanes.refill(lane, *self.read(lane.passed, LANE_EVENTS_MAX, lane.account))
        self.lanes.give_back(lane)

    def untold(self) -> list[Event]:
        told = {one.number for one in self.told}
        return [one for one in self.events if one.number not in told]


@given(st.data())
def test_whatever_comes_and_is_told_each_is_told_once_in_its_accounts_order(data: st.DataObject) -> None:
    lengths = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 90)), max_size=8)
    feed = Feed([account for account, count in data.draw(lengths) for _ in range(count)])
    taken: list[Lane] = []
    for step in data.draw(st.lists(st.sampled_from(["read", "take", "serve first", "serve last"]), max_size=80)):
        if step == "read":
            feed.read_on()
        elif step == "take" and len(taken) < 3 and (lane := feed.lanes.take(over=True)) is not None:
            assert lane.account not in [one.account for one in taken], "one of an account is told at a time"
            taken.append(lane)
        elif step.startswith("serve") and taken:
            feed.serve(taken.pop(0 if step == "serve first" else -1))
        assert all(one.number > feed.lanes.place.place for one in feed.untold()), "none is left out after a restart"
    for lane in taken:
        feed.serve(lane)
    while feed.untold():
        feed.read_on()
        while (lane := feed.lanes.take(over=True)) is not None:
            feed.serve(lane)
    assert sorted(one.number for one in feed.told) == [one.number for one in feed.events]
    for account in "abc":
        of_it = [one.number for one in feed.told if one.account == account]
        assert of_it == sorted(of_it)
    feed.read_on()
    assert feed.lanes.is_empty
    assert feed.lanes.place == feed.lanes.read


def test_an_account_waits_behind_one_event_of_each_other() -> None:
    feed = Feed(["a"] * 30 + ["b", "c"])
    feed.read_on()
    for _ in range(3):
        lane = feed.lanes.take(over=True)
        assert lane is not None
        feed.serve(lane)
    assert [one.account for one in feed.told] == ["a", "b", "c"]


def test_few_events_are_kept_of_one_account_and_of_all() -> None:
    one = Feed(["a"] * 1_000)
    for _ in range(20):
        one.read_on()
    lane = one.lanes.take(over=True)
    assert lane is not None
    assert len(lane.events) == LANE_EVENTS_MAX
    assert one.lanes.read == Place(10_000), "it is read on for the others"
    many = Feed([f"a{number}" for number in range(2 * EVENTS_MAX)])
    while not many.lanes.is_full:
        many.read_on()
    assert EVENTS_MAX <= many.lanes.read.place // 10 <= EVENTS_MAX + PAGE


def test_the_stream_waits_once_many_accounts_are_passed_over() -> None:
    feed = Feed([f"a{number}" for _ in range(LANE_EVENTS_MAX + 1) for number in range(PASSED_MAX)])
    while feed.lanes.read.place // 10 + PAGE < len(feed.events):
        assert not feed.lanes.is_full
        feed.read_on()
    feed.read_on()
    assert feed.lanes.is_full
    while (lane := feed.lanes.take(over=True)) is not None:
        feed.serve(lane)
    assert not feed.lanes.is_full
    assert feed.untold() == []


def test_of_several_events_at_one_place_those_that_were_told_are_behind_its_place() -> None:
    lanes = Lanes(Place(1), 0)
    lanes.add([event(5, "a", 1), event(5, "b", 2), event(5, "a", 3)], Place(5))
    for place in (Place(5, 1), Place(5, 2), Place(5)):
        lane = lanes.take(over=True)
        assert lane is not None
        lane.told()
        lanes.give_back(lane)
        assert lanes.place == place


def test_what_was_passed_over_and_is_there_no_more_is_not_waited_for() -> None:
    """A copy of the ledger was restored."""
    feed = Feed(["a"] * (LANE_EVENTS_MAX + 5))
    feed.read_on()
    del feed.events[LANE_EVENTS_MAX:]
    while (lane := feed.lanes.take(over=True)) is not None:
        feed.serve(lane)
    assert feed.lanes.is_empty


def test_letters_come_before_events_and_a_dropped_one_is_waited_for_no_longer() -> None:
    lanes = Lanes(Place(1), 0)
    letters = [Letter(str(number), "a", "credit.topped_up", 0, "") for number in (1, 2)]
    lanes.hold(letters, lambda _letter: True)
    lane = lanes.take(over=True)
    assert lane is not None
    lane.put(Letter("1", "a", "credit.topped_up", 0, "another"))
    lane.put(Letter("1.1", "a", "credit.topped_up", 0, ""))
    assert [(one.event, one.why) for one in lane.letters] == [("1", ""), ("1.1", ""), ("2", "")]
    lanes.hold(letters[1:], lambda _letter: True)
    lane.remove(letters[0], lambda _letter: False)
    lanes.give_back(lane)
    assert (lanes.letters, lane.is_due) == (1, False)
    assert lanes.take(over=True) is None
    lanes.hold((), lambda _letter: True)
    lanes.add([event(9, "a")], Place(9))
    again = lanes.take(over=True)
    assert again is not None
    assert (lanes.letters, again.letters) == (0, [])
