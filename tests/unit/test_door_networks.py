"""Whose places count together at a door; and what is left of who has gone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from charging.clock import SystemClock
from charging.door import Door, DoorRefusal, Guest
from charging.web.listen import Front

LIMIT = 4


def door(turned: list[DoorRefusal]) -> Door:
    return Door("http", [], SystemClock(), limit=LIMIT, observe=turned.append)


def comes(door: Door, address: str) -> Guest | None:
    return door.enter(address, "::1")


class Line:
    def abort(self) -> None: ...


def is_served(guest: Guest) -> bool:
    guest.came(Line())
    return guest.is_served()


def owes(guest: Guest | None) -> Guest:
    assert guest is not None
    guest.came(Line())
    assert guest.is_served()
    guest.owes()
    return guest


def test_one_customer_with_many_addresses_that_owes_something_on_all_places_makes_room() -> None:
    """Of IPv6 everyone has 2**64, and each held one place."""
    turned: list[DoorRefusal] = []
    place = door(turned)
    first, *_ = [owes(comes(place, f"2001:db8::{number:x}")) for number in range(LIMIT)]
    assert comes(place, "2001:db8::99") is None, "he takes none from himself"
    assert comes(place, "2001:db8:0:1::1") is not None
    assert (first.crowded_out, turned) == (True, [DoorRefusal.FULL, DoorRefusal.CROWDED_OUT])


def test_customers_with_one_place_each_keep_it() -> None:
    turned: list[DoorRefusal] = []
    place = door(turned)
    for number in range(LIMIT):
        owes(comes(place, f"2001:db8:0:{number:x}::1"))
    assert comes(place, "2001:db8:1::1") is None
    assert turned == [DoorRefusal.FULL]


@pytest.mark.parametrize(("address", "many"), [("192.0.2.9", 2), ("192.0.2.1", 4), ("127.0.0.1", 4), ("::1", 4)])
def test_one_address_has_half_of_the_places_unless_others_speak_by_it(address: str, many: int) -> None:
    """A proxy that is named, or a program of this machine."""
    turned: list[DoorRefusal] = []
    front = Front("api", proxies=("192.0.2.0/30",))
    place = Door("api", [], SystemClock(), limit=LIMIT, observe=turned.append)
    place.stands_for_many = front.is_proxy
    served = [guest for _ in range(LIMIT) if (guest := comes(place, address)) is not None and is_served(guest)]
    assert len(served) == many
    assert turned == [DoorRefusal.FULL] * (LIMIT - many)
    assert (comes(place, "198.51.100.1") is not None) is (many < LIMIT)


def test_address_that_has_its_half_makes_room_for_itself() -> None:
    """Its connection that is idle goes, and nobody else's."""
    place = Door("api", [], SystemClock(), limit=LIMIT)
    place.stands_for_many = lambda peer: False
    came = [comes(place, one) for one in ("198.51.100.1", "192.0.2.9", "192.0.2.9")]
    other, first, second = (one for one in came if one is not None)
    for one in (other, first, second):
        one.came(Line())
    assert comes(place, "192.0.2.9") is not None
    assert (first.crowded_out, second.crowded_out, other.crowded_out) == (True, False, False)


class Conversation:
    """As those of FastAGI: it knows its guest, who knows it."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        guest.came(self)

    def abort(self) -> None:
        self.guest.left()


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("leaves", [Guest.left, Guest.make_room], ids=["by itself", "for another"])
def test_connection_that_has_left_is_freed_at_once(leaves: Callable[[Guest], None]) -> None:
    """Else the collector has to search for each, and every few seconds all callers wait for that."""
    guest = comes(door([]), "2001:db8::1")
    assert guest is not None
    conversation = weakref.ref(Conversation(guest))
    leaves(guest)
    assert conversation() is None
