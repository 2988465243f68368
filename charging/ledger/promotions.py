"""Promotional credit: credit with an end, beside what was bought. Pure.

All of it that ends on one day is one balance, ``promo:2026-12-31``, in micro-euro. It pays whatever credit pays:

- **before bought credit**, the soonest end first;
- for what is **set up through its last day** in the operator's zone, to the end of that: a call that outlives midnight
  goes on with what it began with, so that a call's length never depends on when someone looked at the calendar;
- for no other: a leg takes it only where its day (`Session.day`, `Piece.day`) is not past the end;
- what a call has taken of it stays taken of it, whatever is given or given back meanwhile.

A gift is no purchase, so it starts no year of R19; what it pays is a use of credit, else bought credit would lapse
because a gift was spent before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charging.ledger.model import CREDIT, Balance, Leg
from charging.pricing.pieces import sort_of

PROMO = "promo:"

PROMOS_MAX = 4
"""So many ends count at once, the soonest first: with PACKS_MAX packs, two months, credit, the day's spending and its
place among the calls, a call's tick moves at most 15 balances (`LEGS_MAX`). In its life a call may use more."""

Balances = Mapping[str, Balance]


def promo(last_day: str) -> str:
    """The balance of promotional credit that can be spent through ``last_day``, ``YYYY-MM-DD``."""
    return PROMO + last_day


def is_money(balance: str) -> bool:
    """Whether it is credit, bought or given."""
    return balance == CREDIT or balance.startswith(PROMO)


def is_free_seconds(balance: str) -> bool:
    """Whether it is seconds that pay for calls: a month's, or a pack's."""
    return balance.startswith(("bundle:", "pack:"))


def is_value(balance: str) -> bool:
    """Whether it is what a customer has: money, free seconds, or pieces; all others only count."""
    return is_money(balance) or is_free_seconds(balance) or sort_of(balance) is not None


def money_in(legs: Iterable[Leg]) -> int:
    """Micro-euro that legs post to credit, bought and given together."""
    return sum(leg.posted for leg in legs if is_money(leg.balance))


def usable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> list[str]:
    """The promotional balances that can pay what is set up on ``day``, in the order in which they do: those that it
    holds, and the soonest of the others, PROMOS_MAX in all."""
    own = [name for name in held if name.startswith(PROMO)]
    found = [name for name in balances if name.startswith(PROMO) and name.removeprefix(PROMO) >= day]
    others = sorted(name for name in found if balances[name] != Balance() and name not in own)
    return sorted([*own, *others[: max(0, PROMOS_MAX - len(own))]])


def rooms(balances: Balances, day: str, held: Mapping[str, int] = {}) -> dict[str, int]:
    """What something set up on ``day`` may yet take of each, in order: what is available, and what it holds."""
    names = usable(balances, day, held)
    return {name: max(0, balances.get(name, Balance()).available) + held.get(name, 0) for name in names}


def held_rooms(held: Mapping[str, int]) -> dict[str, int]:
    """What it holds of each, in order."""
    return rooms({}, "", held)


def spendable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> Balance:
    """All credit of ``day``, bought and given, for something that holds so much of it."""
    credit = balances.get(CREDIT, Balance())
    given = [balances.get(name, Balance()) for name in usable(balances, day, held)]
    return Balance(
        credit.posted + sum(one.posted for one in given), credit.reserved + sum(one.reserved for one in given)
    )


def divided(amount: int, rooms: Mapping[str, int], paid: Mapping[str, int] = {}) -> dict[str, int]:
    """Who pays ``amount`` micro-euro in all: what was ``paid`` before stays where it was, then the ``rooms`` in their
    order, then bought credit."""
    shares = {CREDIT: 0}
    for name, part in paid.items():
        if is_money(name):
            shares[name] = part
            amount -= part
    for name, room in rooms.items():
        if amount <= 0:
            break
        part = min(amount, room)
        shares[name] = shares.get(name, 0) + part
        amount -= part
    shares[CREDIT] += amount
    return shares
