"""Numbers as the switch writes them, read exactly; pure."""

from __future__ import annotations

DIGITS_MAX = 18
"""Of a number: it fits into 64 bits, as what stores it has. (Python itself refuses 4,301 digits with a ValueError.)"""


def whole(text: str) -> int | None:
    """Read a number that is not negative, of at most ``DIGITS_MAX`` ASCII digits; ``None`` for anything else."""
    return int(text) if len(text) <= DIGITS_MAX and _digits(text) else None


def scaled(text: str, digits: int) -> int | None:
    """Read ``"12.345678"`` as an integer number of 10^-``digits``, without floats; further decimals are dropped.

    ``None`` if the text is no plain decimal number, or if the result has more than ``DIGITS_MAX`` digits.
    """
    integer, point, fraction = text.partition(".")
    if not _digits(integer) or (point and not _digits(fraction)):
        return None
    return whole(integer + fraction[:digits].ljust(digits, "0"))


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
