"""How many pages a TIFF file has, and whether they are such that they can be printed. Pure.

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
_COLOURS, _SAMPLES, _MORE = 262, 277, 338
"""Tags: what the samples of a dot mean, how many there are, and what those beyond its colour mean (TIFF 6.0)."""
_RGB = 2
_SAMPLES_OF = {0: 1, 1: 1, _RGB: 3, 3: 1, 5: 4, 6: 3}
"""Grey of either sense, RGB, a palette's number, CMYK, YCbCr."""
_ALPHA = (1, 2)


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


def doubtful_page(data: bytes | mmap) -> int | None:
    """The first page that has more than its colour in a dot, but for transparency beside RGB: tiff2pdf takes such a
    page for one of more dots. ``None``: there is none."""
    order = _ORDERS.get(data[:2])
    place = _whole(data, 4, 4, order) if order is not None else 0
    for number in range(1, PAGES_MAX + 1):
        if not place or order is None:
            return None
        entries = _whole(data, place, 2, order) or 0
        tags = {
            _whole(data, at, 2, order): _whole(data, at + 8, 2, order)
            for at in range(place + 2, place + 2 + entries * _ENTRY_BYTES, _ENTRY_BYTES)
        }
        colours, samples = tags.get(_COLOURS), tags.get(_SAMPLES) or 1
        more = samples - _SAMPLES_OF.get(colours or 0, samples)
        if more > 0 and not (colours == _RGB and more == 1 and tags.get(_MORE) in _ALPHA):
            return number
        place = _whole(data, place + 2 + entries * _ENTRY_BYTES, 4, order)
    return None


def _whole(data: bytes | mmap, start: int, length: int, order: Literal["little", "big"]) -> int | None:
    piece = data[start : start + length]
    return int.from_bytes(piece, order) if len(piece) == length else None
