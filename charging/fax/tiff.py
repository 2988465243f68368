"""How many pages a TIFF file has, and whether they are such that they can be printed. Pure.

Each page is a directory that names the place of the next; a file whose chain leaves the file, bites its own tail, or
has directories that overlap, is no file to send. A directory may also be a smaller picture of a page (a thumbnail), or
say where a page is transparent: those are no pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from mmap import mmap
from typing import Literal

PAGES_MAX = 10_000
ROWS_MAX = 100_000
ENTRIES_MAX = 500
"""Of a directory: there are some hundred tags in all."""
_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
_VERSION = 42
_ENTRY_BYTES = 12
_COLOURS, _SAMPLES, _MORE = 262, 277, 338
"""Tags: what the samples of a dot mean, how many there are, and what those beyond its colour mean (TIFF 6.0)."""
_ROWS, _STRIP, _STRIP_BYTES, _SHORT = 257, 273, 279, 3
_KIND, _NO_PAGE = 254, 1 | 4
"""NewSubfileType, and the bits of it that make a reduced picture of another one and a mask (TIFF 6.0)."""
_RGB = 2
_SAMPLES_OF = {0: 1, 1: 1, _RGB: 3, 3: 1, 5: 4, 6: 3}
"""Grey of either sense, RGB, a palette's number, CMYK, YCbCr."""
_ALPHA = (1, 2)


def page_count(data: bytes | mmap) -> int | None:
    """The number of pages; ``None`` where the data is no TIFF, or a broken one."""
    pages = page_places(data)
    return None if pages is None else len(pages)


def page_places(data: bytes | mmap) -> list[int] | None:
    """Which of the file's directories, from 0, are pages; ``None`` as for :func:`page_count`."""
    directories = _directories(data)
    if directories is None:
        return None
    return [place for place, one in enumerate(directories) if _is_page(data, one)]


def _is_page(data: bytes | mmap, directory: range) -> bool:
    """Its entries stand by their tags in ascending order."""
    order = _ORDERS[data[:2]]
    tag = at = 0
    for at in directory:
        if (tag := _whole(data, at, 2, order) or 0) >= _KIND:
            break
    return tag != _KIND or not _value(data, at, order) & _NO_PAGE


def doubtful_page(data: bytes | mmap) -> int | None:
    """The number of the first page, from 1, that has more than its colour in a dot, but for transparency beside RGB:
    tiff2pdf takes such a page for one of more dots. ``None``: there is none, or the file is a broken one."""
    pages = (one for one in _directories(data) or () if _is_page(data, one))
    for number, directory in enumerate(pages, start=1):
        order = _ORDERS[data[:2]]
        tags = {_whole(data, at, 2, order): _whole(data, at + 8, 2, order) for at in directory}
        colours, samples = tags.get(_COLOURS), tags.get(_SAMPLES) or 1
        more = samples - _SAMPLES_OF.get(colours or 0, samples)
        if more > 0 and not (colours == _RGB and more == 1 and tags.get(_MORE) in _ALPHA):
            return number
    return None


def blank_pages(data: bytes | mmap) -> list[int]:
    """The numbers of the white pages of a TIFF as Ghostscript makes one for a fax: each is a strip in two-dimensional
    coding (ITU-T T.6), where a white line is a single bit."""
    found = []
    for number, tags in enumerate(_values(data), start=1):
        rows, place, length = (tags.get(tag, 0) for tag in (_ROWS, _STRIP, _STRIP_BYTES))
        if 0 < rows <= ROWS_MAX and data[place : place + length] == _white(rows):
            found.append(number)
    return found


def page_bytes(data: bytes | mmap) -> list[int]:
    """How many bytes each page of such a TIFF has, without its directory."""
    return [tags.get(_STRIP_BYTES, 0) for tags in _values(data)]


def _values(data: bytes | mmap) -> Iterator[dict[int | None, int]]:
    """By their tags those of each page; of one that has several, anything."""
    for directory in _directories(data) or ():
        order = _ORDERS[data[:2]]
        yield {_whole(data, at, 2, order): _value(data, at, order) for at in directory}


def _value(data: bytes | mmap, entry: int, order: Literal["little", "big"]) -> int:
    """Of an entry that holds one number."""
    return _whole(data, entry + 8, 2 if _whole(data, entry + 2, 2, order) == _SHORT else 4, order) or 0


def _white(rows: int) -> bytes:
    """So many lines, each as the white one before it, and the end of the page."""
    bits, padding = (((1 << rows) - 1) << 24) | 0x001001, -rows % 8
    return (bits << padding).to_bytes((rows + 24 + padding) // 8, "big")


def _directories(data: bytes | mmap) -> list[range] | None:
    """Where the entries of each page's directory are. No two directories share a byte, so that to look at every entry
    takes no more time than the file has bytes; ``None`` where two do, and for what is no TIFF, or a broken one."""
    order = _ORDERS.get(data[:2])
    if order is None or _whole(data, 2, 2, order) != _VERSION:
        return None
    found: list[range] = []
    place = _whole(data, 4, 4, order)
    while place:
        entries = _whole(data, place, 2, order)
        if not entries or entries > ENTRIES_MAX or len(found) == PAGES_MAX:
            return None
        end = place + 2 + entries * _ENTRY_BYTES
        found.append(range(place + 2, end, _ENTRY_BYTES))
        place = _whole(data, end, 4, order)
    in_order = sorted(found, key=lambda one: one.start)
    apart = all(one.stop + 4 <= after.start - 2 for one, after in pairwise(in_order))
    return found if found and place == 0 and apart else None


def _whole(data: bytes | mmap, start: int, length: int, order: Literal["little", "big"]) -> int | None:
    piece = data[start : start + length]
    return int.from_bytes(piece, order) if len(piece) == length else None
