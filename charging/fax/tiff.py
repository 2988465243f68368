"""How many pages a TIFF file has. Pure.

Each page is a directory that names the place of the next; a file whose chain leaves the file, or bites its own tail, is
no file to send.
"""

from __future__ import annotations

from mmap import mmap
from typing import Literal

PAGES_MAX = 10_000
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
_VERSION = 42
_ENTRY_BYTES = 12


def page_count(data: bytes | mmap) -> int | None:
    """The number of pages; ``None`` where the data is no TIFF, or a broken one."""
    order = _ORDERS.get(data[:2])
    if order is None or _whole(data, 2, 2, order) != _VERSION:
        return None
    pages = 0
    place = _whole(data, 4, 4, order)
    while place:
        entries = _whole(data, place, 2, order)
        pages += 1
        if not entries or pages > PAGES_MAX:
            return None
        place = _whole(data, place + 2 + entries * _ENTRY_BYTES, 4, order)
    return pages if pages and place == 0 else None


def _whole(data: bytes | mmap, start: int, length: int, order: Literal["little", "big"]) -> int | None:
    piece = data[start : start + length]
    return int.from_bytes(piece, order) if len(piece) == length else None
