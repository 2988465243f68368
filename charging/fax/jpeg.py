"""Finds the JPEG pictures in a PDF, and wraps them in a TIFF so that libtiff can check them. Pure.

If a JPEG is damaged or cut off, Ghostscript draws what is left of it, grey for the missing part, and reports nothing;
libtiff reports it. Pictures that are encrypted, or encoded a second time, are not found here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from charging.fax.pdf import end_of_stream, places

PICTURES_MAX = 500
"""Of a document; further ones are not looked at."""
MARK_BYTES = 2
"""Of the mark with which one begins."""
SEGMENTS_MAX = 200
"""Before the frame of a picture: its profile may have 255 parts of 64 kB, and few have more than ten."""
_BEGIN, _BEFORE = b"\xff\xd8\xff", (b"stream\n", b"stream\r\n")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that tell the size (ITU-T T.81, table B.1)."""
_SCAN = 0xDA
_COLOURS = {1: 1, 3: 6, 4: 5}
"""Grey, YCbCr, CMYK (TIFF 6.0), by how many components."""
_SHORT, _LONG = 3, 4


def pictures(document: bytes) -> list[slice]:
    """Where they stand in a PDF."""
    found = (at for at in places(document, _BEGIN) if document[max(0, at - 8) : at].endswith(_BEFORE))
    begins = [*islice(found, PICTURES_MAX), len(document)]
    return [slice(at, end_of_stream(document, at, following)) for at, following in pairwise(begins)]


def as_tiff(found: Sequence[bytes]) -> bytes | None:
    """A TIFF whose pages are those of them that say how large they are; ``None``: none does."""
    made, link = bytearray(b"II*\0\0\0\0\0"), 4
    for picture in found:
        tags = _tags(picture, len(made))
        if tags is None:
            continue
        made += picture + bytes(len(picture) % 2)
        made[link : link + 4] = struct.pack("<I", len(made))
        made += struct.pack("<H", len(tags))
        for tag, kind, count, value in tags:
            made += struct.pack("<HHII", tag, kind, count, value)
        link = len(made)
        made += bytes(4)
    return bytes(made) if link > 4 else None


def _tags(picture: bytes, place: int) -> list[tuple[int, int, int, int]] | None:
    """The entries of a page's directory, which is one strip at ``place``; ``None``: it does not say how large it is."""
    frame = next(_frames(picture), b"")
    if len(frame) < 9 or frame[0] != 8 or frame[5] not in _COLOURS:
        return None
    height, width = struct.unpack(">HH", frame[1:5])
    if not height or not width:
        return None
    tags = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, 1, 8),
        (259, _SHORT, 1, 7),  # JPEG
        (262, _SHORT, 1, _COLOURS[frame[5]]),
        (273, _LONG, 1, place),
        (277, _SHORT, 1, frame[5]),
        (278, _LONG, 1, height),
        (279, _LONG, 1, len(picture)),
    ]
    sampled = frame[7] >> 4 | (frame[7] & 15) << 16
    return [*tags, (530, _SHORT, 2, sampled)] if frame[5] == 3 else tags


def _frames(picture: bytes) -> Iterator[bytes]:
    """What the frame's head says, from the precision on."""
    at = 2
    for _ in range(SEGMENTS_MAX):
        if at + 4 > len(picture) or picture[at] != 0xFF:
            return
        marker, length = picture[at + 1], int.from_bytes(picture[at + 2 : at + 4], "big")
        if marker == 0xFF:  # they may be filled up with such
            at += 1
            continue
        if marker in _FRAMES:
            yield picture[at + 4 : at + 2 + length]
        if marker == _SCAN or length < 2:
            return
        at += 2 + length
