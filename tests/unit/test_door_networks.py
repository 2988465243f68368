"""Whose places count together at a door."""

from __future__ import annotations

from charging.clock import SystemClock
from charging.door import Door, Guest, Turned

LIMIT = 4


def door(turned: list[Turned]) -> Door:
    return Door("http", [], SystemClock(), limit=LIMIT, observe=turned.append)


def comes(door: Door, address: str) -> Guest | None:
    return door.enter(address, "::1")


class Line:
    def abort(self) -> None: ...


def owes(guest: Guest | None) -> Guest:
    assert guest is not None
    guest.came(Line())
    assert guest.is_served()
    guest.owes()
    return guest


def test_one_customer_with_many_addresses_that_owes_something_on_all_places_makes_room() -> None:
    """Of IPv6 everyone has 2**64, and each held one place."""
    turned: list[Turned] = []
    place = door(turned)
    first, *_ = [owes(comes(place, f"2001:db8::{number:x}")) for number in range(LIMIT)]
    assert comes(place, "2001:db8::99") is None, "he takes none from himself"
    assert comes(place, "2001:db8:0:1::1") is not None
    assert (first.crowded_out, turned) == (True, [Turned.FULL, Turned.CROWDED_OUT])


def test_customers_with_one_place_each_keep_it() -> None:
    turned: list[Turned] = []
    place = door(turned)
    for number in range(LIMIT):
        owes(comes(place, f"2001:db8:0:{number:x}::1"))
    assert comes(place, "2001:db8:1::1") is None
    assert turned == [Turned.FULL]
