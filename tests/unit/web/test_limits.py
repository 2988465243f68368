"""How often someone may ask."""

from __future__ import annotations

import pytest

from charging.clock import MICROSECONDS
from charging.limits import Limits
from charging.sources import neighbourhood
from charging.web.limits import Places

NOW = 5_000 * MICROSECONDS


def test_a_minutes_worth_may_come_at_once_and_no_more() -> None:
    limits = Limits(6)
    assert [limits.take("a", NOW) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 10]
    assert limits.take("b", NOW) == 0


def test_after_the_named_wait_one_more_is_allowed_and_not_before() -> None:
    limits = Limits(6)
    for _ in range(6):
        limits.take("a", NOW)
    assert limits.take("a", NOW + 10 * MICROSECONDS - 1) == 1
    assert limits.take("a", NOW + 10 * MICROSECONDS) == 0
    assert limits.take("a", NOW + 10 * MICROSECONDS) == 10


def test_asking_whether_counts_nothing_and_a_refusal_costs_nothing() -> None:
    limits = Limits(1)
    assert [limits.wait_s("a", NOW) for _ in range(3)] == [0, 0, 0]
    limits.take("a", NOW)
    assert [limits.take("a", NOW) for _ in range(3)] == [60, 60, 60]


def test_a_long_silence_does_not_save_up() -> None:
    limits = Limits(2)
    limits.take("a", NOW)
    later = NOW + 3_600 * MICROSECONDS
    assert [limits.take("a", later) for _ in range(3)] == [0, 0, 30]


def test_as_many_minutes_worth_are_saved_up_as_are_said() -> None:
    limits = Limits(2, saved_minutes=3)
    assert [limits.take("a", NOW) for _ in range(7)] == [0] * 6 + [30]
    assert limits.left("a", NOW) == (0, 180)
    later = NOW + 3_600 * MICROSECONDS
    assert limits.left("a", later) == (6, 0)
    assert [limits.take("a", later) for _ in range(7)] == [0] * 6 + [30]


def test_memory_is_bounded_by_forgetting_who_has_not_asked_for_longest() -> None:
    limits = Limits(1, keys_max=2)
    for key in ("a", "b", "c"):
        limits.take(key, NOW)
    assert len(limits) == 2
    assert [limits.take(key, NOW) for key in ("b", "c")] == [60, 60]


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_customer_count_as_one(host: str, counted: str) -> None:
    assert neighbourhood(host) == counted


def test_one_who_has_his_places_keeps_nobody_else_out_and_all_have_no_more_than_there_are() -> None:
    places = Places(3, 2)
    with places.taken("a"):
        assert places.has_room("a")
        with places.taken("a"):
            assert (places.has_room("a"), places.has_room("b")) == (False, True)
            with places.taken("b"):
                assert not any(places.has_room(key) for key in ("a", "b", "c", ""))
    assert places.has_room("a")


def test_the_operator_may_have_all_places() -> None:
    places = Places(3, 2)
    with places.taken(""), places.taken(""):
        assert places.has_room("")
        with places.taken(""):
            assert not places.has_room("")
