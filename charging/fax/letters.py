"""Finds the damaged TrueType fonts in a PDF: Ghostscript leaves out a letter that it cannot draw, and reports nothing.

Started as a program of its own in the sandbox (``python -I -S letters.py DOCUMENT``), since it unpacks what a stranger
has packed: it prints where the data of each damaged font begins. It uses the standard library alone. Fonts that are
encrypted are not found.

What is looked at is what a letter's drawing needs (OpenType 1.9: *The Font File*, *loca*, *glyf*): that the tables are
there and lie within the file, and that each letter's points do so within its own data and about within the box that it
says it has.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

STREAMS_MAX = 20_000
"""Of a document; further ones are not looked at."""
FONT_BYTES_MAX = 30_000_000
"""Of one font; a larger one is not looked at."""
POINTS_MAX = 20_000
"""Of a letter: those of Chinese have hundreds."""
_STREAM, _END = b"stream", b"endstream"
_KINDS = (b"\0\1\0\0", b"true")
_LONG = 1
_EM = range(16, 16_385)
"""Units of a font's square (OpenType: *head*)."""
_PADDED = 16
"""Bytes of a letter without a line: its head, and what some programs fill up with."""
_ON, _X_SHORT, _Y_SHORT, _REPEAT, _X_SAME, _Y_SAME = 1, 2, 4, 8, 16, 32
_WORDS, _MORE, _SCALE, _TWO_SCALES, _FOUR_SCALES = 1, 32, 8, 64, 128


class _DamagedError(Exception):
    """The font cannot be drawn as it was meant."""


def damaged(document: bytes) -> Iterator[int]:
    """Yield the byte at which the data of each damaged font begins."""
    for start in _streams(document):
        font = _font(document, start)
        if font is None:
            continue
        try:
            _look(font)
        except (_DamagedError, struct.error, IndexError):
            yield start


def _streams(document: bytes) -> Iterator[int]:
    at = 0
    for _ in range(STREAMS_MAX):
        at = document.find(_STREAM, at)
        if at < 0:
            return
        at += len(_STREAM)
        if document.startswith(b"\r\n", at):
            yield at + 2
        elif document.startswith(b"\n", at):
            yield at + 1


def _font(document: bytes, start: int) -> bytes | None:
    """The TrueType font that begins there, plain or deflated; ``None``: something else does."""
    begun = document[start : start + 64]
    is_plain = begun.startswith(_KINDS)
    try:
        if not is_plain and not zlib.decompressobj().decompress(begun, 4).startswith(_KINDS):
            return None
        end = document.find(_END, start)
        data = document[start : len(document) if end < 0 else end]
        if is_plain:
            return data[:FONT_BYTES_MAX]
        unpacking = zlib.decompressobj()
        font = unpacking.decompress(data, FONT_BYTES_MAX)
    except zlib.error:
        return None  # what is packed wrongly is reported by Ghostscript
    return font if unpacking.eof else None


def _look(font: bytes) -> None:
    """Raises _DamagedError, IndexError or struct.error."""
    (count,) = struct.unpack_from(">H", font, 4)
    tables = {}
    for place in range(12, 12 + 16 * count, 16):
        tag, _, offset, length = struct.unpack_from(">4sLLL", font, place)
        tables[tag] = font[offset : offset + length]
        if tag in (b"head", b"maxp", b"loca", b"glyf") and len(tables[tag]) != length:
            raise _DamagedError
    if not {b"head", b"maxp", b"loca", b"glyf"} <= tables.keys():
        raise _DamagedError
    (em,) = struct.unpack_from(">H", tables[b"head"], 18)
    (form,) = struct.unpack_from(">h", tables[b"head"], 50)
    (glyphs,) = struct.unpack_from(">H", tables[b"maxp"], 4)
    offsets = _offsets(tables[b"loca"], form, glyphs)
    if not offsets[-1] or em not in _EM:
        raise _DamagedError
    for start, end in pairwise(offsets):
        if end > start:
            _look_at(tables[b"glyf"][start:end], end - start, glyphs, em)
        elif end < start:
            raise _DamagedError


def _offsets(loca: bytes, form: int, glyphs: int) -> list[int]:
    """Where each letter begins, and where the last one ends."""
    if form not in (0, _LONG):
        raise _DamagedError
    if form == _LONG:
        return list(struct.unpack_from(f">{glyphs + 1}L", loca))
    return [2 * half for half in struct.unpack_from(f">{glyphs + 1}H", loca)]


def _look_at(glyph: bytes, length: int, glyphs: int, em: int) -> None:
    """A letter. Raises _DamagedError, IndexError or struct.error."""
    if len(glyph) != length:
        raise _DamagedError
    contours, *box = struct.unpack_from(">hhhhh", glyph)
    if contours < 0:
        _look_at_parts(glyph, glyphs)
    elif contours:
        _look_at_lines(glyph, contours, box, em)
    elif length > _PADDED:
        raise _DamagedError


def _look_at_parts(glyph: bytes, glyphs: int) -> None:
    """A letter that is put together of others."""
    at, flags = 10, _MORE
    while flags & _MORE:
        flags, part = struct.unpack_from(">HH", glyph, at)
        if part >= glyphs:
            raise _DamagedError
        at += 4 + (4 if flags & _WORDS else 2)
        at += 2 if flags & _SCALE else 4 if flags & _TWO_SCALES else 8 if flags & _FOUR_SCALES else 0
    if at > len(glyph):
        raise _DamagedError


def _look_at_lines(glyph: bytes, contours: int, box: list[int], em: int) -> None:
    ends = struct.unpack_from(f">{contours}H", glyph, 10)
    if any(second <= first for first, second in pairwise(ends)) or ends[-1] >= POINTS_MAX:
        raise _DamagedError
    (orders,) = struct.unpack_from(">H", glyph, 10 + 2 * contours)
    at, points = 12 + 2 * contours + orders, ends[-1] + 1
    flags: list[int] = []
    while len(flags) < points:
        flag = glyph[at]
        at += 1
        flags.append(flag)
        if flag & _REPEAT:
            flags += [flag] * glyph[at]
            at += 1
    if len(flags) > points:
        raise _DamagedError
    least_x, most_x, at = _reach(glyph, at, flags, _X_SHORT, _X_SAME)
    least_y, most_y, at = _reach(glyph, at, flags, _Y_SHORT, _Y_SAME)
    if any(box) and (least_x < box[0] - em or least_y < box[1] - em or most_x > box[2] + em or most_y > box[3] + em):
        raise _DamagedError


def _reach(glyph: bytes, at: int, flags: list[int], short: int, same: int) -> tuple[int, int, int]:
    """The least and the most that points have of one coordinate, and where the data of it end."""
    value = least = most = 0
    for place, flag in enumerate(flags):
        if flag & short:
            value += glyph[at] if flag & same else -glyph[at]
            at += 1
        elif not flag & same:
            value += struct.unpack_from(">h", glyph, at)[0]
            at += 2
        least, most = (value, value) if not place else (min(least, value), max(most, value))
    return least, most, at


if __name__ == "__main__":
    for found in damaged(Path(sys.argv[1]).read_bytes()):
        print(found)
