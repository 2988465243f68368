"""Numbers as the switch writes them, read exactly; pure."""

from __future__ import annotations


def whole(text: str) -> int | None:
    """A non-negative integer in ASCII digits; ``None`` for anything else."""
    return int(text) if text.isascii() and text.isdigit() else None


def scaled(text: str, digits: int) -> int | None:
    """``"12.345678"`` as an integer number of 10^-``digits`` (further decimals are dropped), without floats.

    ``None`` where the text is no plain decimal number.
    """
    integer, point, fraction = text.partition(".")
    if whole(integer) is None or (point and whole(fraction) is None):
        return None
    return int(integer + fraction[:digits].ljust(digits, "0"))
