"""How often someone may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from starlette.types import Message

from charging.clock import MICROSECONDS
from charging.limits import Limits
from charging.sources import neighbourhood
from charging.tasks import end
from charging.web.limits import SLOW_S, STEADY_PART, Places
from charging.web.listen import TAKEN_BYTES_S
from tests.fakes.clock import FakeClock

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
    places = Places(FakeClock(), 3, 2)
    with places.taken("a", nothing):
        assert places.has_room("a")
        with places.taken("a", nothing):
            assert (places.has_room("a"), places.has_room("b")) == (False, True)
            with places.taken("b", nothing):
                assert not any(places.has_room(key) for key in ("a", "b", "c", ""))
    assert places.has_room("a")


def test_the_operator_may_have_all_places() -> None:
    places = Places(FakeClock(), 3, 2)
    with places.taken("", nothing), places.taken("", nothing):
        assert places.has_room("")
        with places.taken("", nothing):
            assert not places.has_room("")


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("it never comes")


class Sent:
    """A body that arrives piece by piece at a place."""

    def __init__(self, places: Places, key: str) -> None:
        self.pieces: asyncio.Queue[Message] = asyncio.Queue()
        self.is_over = False
        self.task = asyncio.create_task(self._taken(places, key))

    async def _taken(self, places: Places, key: str) -> None:
        with places.taken(key, self.pieces.get) as place, suppress(TimeoutError):
            while (await place.receive())["more_body"]:
                pass
            await asyncio.Event().wait()  # what it is good for takes time
        self.is_over = True

    async def come(self, count: int, *, more: bool = True) -> None:
        """So many bytes of it."""
        self.pieces.put_nowait({"type": "http.request", "body": bytes(count), "more_body": more})
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


Send = Callable[[Places, str], Awaitable[Sent]]


@pytest.fixture
async def sent() -> AsyncIterator[Send]:
    all_sent: list[Sent] = []

    async def send(places: Places, key: str) -> Sent:
        all_sent.append(Sent(places, key))
        await settled()
        return all_sent[-1]

    yield send
    await end([one.task for one in all_sent])


@pytest.mark.parametrize(("waited_s", "makes_room"), [(SLOW_S - 1, False), (SLOW_S, True)])
async def test_a_body_that_is_too_slow_makes_room_once_another_waits(
    sent: Send, waited_s: int, makes_room: bool
) -> None:
    clock = FakeClock()
    places = Places(clock, 2, 1)
    slow, steady = await sent(places, "a"), await sent(places, "b")
    await clock.advance(waited_s)
    await steady.come(waited_s * TAKEN_BYTES_S)
    assert places.has_room("c") is makes_room
    assert not slow.is_over, "nobody has come yet"
    if makes_room:
        await sent(places, "c")
        assert (slow.is_over, steady.is_over) == (True, False)
    assert not places.has_room("d"), "none other is slow"


@pytest.mark.parametrize(("waited_s", "makes_room"), [(STEADY_PART * SLOW_S - 1, False), (STEADY_PART * SLOW_S, True)])
async def test_bodies_that_come_at_the_least_pace_without_end_make_room_too(
    sent: Send, waited_s: int, makes_room: bool
) -> None:
    """Four customers kept all others from faxing, by bodies that were never late."""
    clock = FakeClock()
    places = Places(clock, 2, 1)
    steady = await sent(places, "a"), await sent(places, "b")
    for _ in range(waited_s):
        await clock.advance(1)
        for one in steady:
            await one.come(TAKEN_BYTES_S)
    assert places.has_room("c") is makes_room
    if makes_room:
        newcomer = await sent(places, "c")
        assert sum(one.is_over for one in steady) == 1
        await clock.advance(SLOW_S)
        assert (places.has_room("a"), places.has_room("d")) == (False, True), "he who waits has had less than they"
        await sent(places, "d")
        assert not newcomer.is_over
        assert all(one.is_over for one in steady)


async def test_a_body_of_which_a_piece_comes_as_its_place_is_given_away_is_over(sent: Send) -> None:
    clock = FakeClock()
    places = Places(clock, 1, 1)
    slow = await sent(places, "a")
    await clock.advance(SLOW_S)
    slow.pieces.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
    with places.taken("b", nothing):
        await settled()
        assert slow.is_over, "else there is one more than there may be"


async def test_who_begins_again_is_as_late_as_he_was(sent: Send) -> None:
    """Those who are slow go before they are slow, and come again, so that all places are always new."""
    clock = FakeClock()
    places = Places(clock, 2, 1)
    for _ in range(3):
        slow = await sent(places, "a"), await sent(places, "b")
        await clock.advance(SLOW_S - 2)
        await end([one.task for one in slow])
    slow = await sent(places, "a"), await sent(places, "b")
    await clock.advance(1)
    await sent(places, "c")
    assert sum(one.is_over for one in slow) == 1
    assert not any(places.has_room(key) for key in ("a", "b")), "nobody makes room for who was late"


async def test_a_body_that_is_whole_keeps_out_its_own_keys_alone_and_one_of_the_operators_makes_no_room(
    sent: Send,
) -> None:
    clock = FakeClock()
    places = Places(clock, 2, 1)
    whole, ours = await sent(places, "a"), await sent(places, "")
    assert (places.has_room("a"), places.has_room("b")) == (False, False)
    await whole.come(1, more=False)
    assert (places.has_room("a"), places.has_room("b")) == (False, True)
    slow = await sent(places, "b")
    await clock.advance(100)
    await sent(places, "c")
    assert (whole.is_over, ours.is_over, slow.is_over) == (False, False, True)
    assert not places.has_room("d")
