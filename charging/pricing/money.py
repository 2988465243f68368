"""Money: integer micro-euro, exact parsing and formatting, rounding that has a name.

One euro is :data:`MICRO` units. No amount exceeds :data:`AMOUNT_MAX`, because a Redis script's numbers
are doubles and lose exactness above it. No float comes near money.
"""

from __future__ import annotations

import re
from enum import StrEnum

MICRO = 1_000_000
"""Micro-euro in one euro."""

CENT = MICRO // 100
"""The smallest amount shown to customers, in micro-euro."""

AMOUNT_MAX = 2**53 - 1
"""The largest amount that every store can hold exactly, in micro-euro (some nine thousand million euro)."""

_EURO = re.compile(r"([0-9]{1,10})(?:[.,]([0-9]{1,6}))?")


class MoneyError(ValueError):
    """A text is not an amount of money."""

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(f"found {found}, expected {expected}")


class Rounding(StrEnum):
    """How an exact fraction becomes a whole number; amounts are never negative, so *up* is away from zero."""

    UP = "up"
    """Any remainder counts as a whole."""
    DOWN = "down"
    """A remainder is dropped."""
    HALF_UP = "half_up"
    """To the nearest; exactly half goes up."""
    HALF_DOWN = "half_down"
    """To the nearest; exactly half goes down."""
    HALF_EVEN = "half_even"
    """To the nearest; exactly half goes to the even neighbour (bankers' rounding)."""


def ceil_div(n: int, d: int) -> int:
    """``n / d`` rounded up; ``d`` is positive."""
    return -(-n // d)


def round_div(n: int, d: int, rounding: Rounding) -> int:
    """``n / d`` rounded as named; ``n`` is not negative and ``d`` is positive."""
    assert n >= 0, n
    assert d > 0, d
    if rounding is Rounding.UP:
        return -(-n // d)
    if rounding is Rounding.DOWN:
        return n // d
    if rounding is Rounding.HALF_UP:
        return (2 * n + d) // (2 * d)
    whole, rest = divmod(n, d)
    if 2 * rest != d:
        return whole + (2 * rest > d)
    return whole + (whole & 1 if rounding is Rounding.HALF_EVEN else 0)


def largest_rounding_to(limit: int, d: int, rounding: Rounding) -> int:
    """The largest ``n`` with ``round_div(n, d, rounding) <= limit``: the inverse of :func:`round_div`."""
    if rounding is Rounding.UP:
        return limit * d
    if rounding is Rounding.DOWN:
        return (limit + 1) * d - 1
    twice_half = (2 * limit + 1) * d
    half_stays = rounding is Rounding.HALF_DOWN or (rounding is Rounding.HALF_EVEN and limit % 2 == 0)
    return twice_half // 2 if half_stays else (twice_half - 1) // 2


def parse_euro(text: str, *, max_decimals: int = 6) -> int:
    """Micro-euro of ``"12.50"`` or ``"12,50"``.

    Digits with at most one decimal point or comma and at most ``max_decimals`` decimals: no sign, no
    currency mark, no thousands separator (``1.000`` with three decimals is a thousand to some readers, so
    where people type amounts to pay, ask for ``max_decimals=2``).

    Raises :class:`MoneyError`, which carries what was found and what was expected.
    """
    expected = f"euros with up to {max_decimals} decimals, such as 12.50"
    match = _EURO.fullmatch(text.strip()) if text.isascii() else None
    if match is None or len(match[2] or "") > max_decimals:
        raise MoneyError(repr(text), expected)
    amount = int(match[1]) * MICRO + int((match[2] or "0").ljust(6, "0"))
    if amount > AMOUNT_MAX:
        raise MoneyError(repr(text), f"at most {format_euro(AMOUNT_MAX)}")
    return amount


def format_euro(amount: int) -> str:
    """Exact decimal text with a point: at least two decimals, up to six; ``-`` before a negative amount."""
    whole, micro = divmod(abs(amount), MICRO)
    decimals = f"{micro:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{decimals}"
