"""Money: integer micro-euro, exact parsing and formatting.

One euro is :data:`MICRO` units. No amount exceeds :data:`AMOUNT_MAX`, because a Redis script's numbers
are doubles and lose exactness above it. No float comes near money.
"""

from __future__ import annotations

import re

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


def parse_euro(text: str) -> int:
    """Micro-euro of ``"12.50"`` or ``"12,50"``.

    Digits with at most one decimal point or comma and at most six decimals: no sign, no currency mark, no thousands
    separator. (``1.000`` is a thousand to some readers: amounts that people type have two decimals,
    `charging.web.parts.euro`.)

    Raises :class:`MoneyError`, which carries what was found and what was expected.
    """
    expected = "euros with up to 6 decimals, such as 12.50"
    match = _EURO.fullmatch(text.strip()) if text.isascii() else None
    if match is None:
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
