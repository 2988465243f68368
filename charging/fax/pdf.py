"""Checks and edits on a PDF's raw bytes, before another program reads it. Pure.

What unpacks objects of a stranger's document, or edits all of it, is started as a program of its own in the sandbox:
one step over 50 MB of unpacked bytes would hold the interpreter, and with it the calls, for a fifth of a second.
``python -I -S pdf.py DOCUMENT`` prints where :func:`hollow` finds something, and with a second path writes the document
as :func:`uncropped` makes it there. It uses the standard library alone. The rest searches by `bytes.find`, in short
steps.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

HEAD, HEAD_WITHIN = b"%PDF-", 1024
"""What readers of PDF look for, and in how many bytes (Acrobat's implementation notes to PDF 1.7, 3.4.1)."""
LOOKS_MAX = 2_000
"""At places where something may stand."""
STEP_BYTES = 500_000
"""That are searched at a time."""
UNPACKED_MAX = 50_000_000
"""Bytes of objects that are unpacked of one document."""
_END, _STREAM = b"%%EOF", b"stream"
_OBJECT, _OBJECT_BYTES = re.compile(rb"[\r\n][ \t]*[0-9]{1,10} [0-9]{1,5}\Z"), 40
_PACKED, _HEAD_BYTES = b"/ObjStm", 500
_CROP = b"/CropBox"
_NAMING = (b"/Contents", b"/CharProcs")
"""What names pieces of pages, and letters that are drawn."""
_NAMED_BYTES = 5_000
_REFERENCE = re.compile(rb"([0-9]{1,10})[ \t\r\n]+([0-9]{1,5})[ \t\r\n]+R\b")
_HEAD = re.compile(rb"(?:^|[\r\n])[ \t]*([0-9]{1,10}) ([0-9]{1,5}) obj[ \t\r\n]*\Z")
NULL = b"null"
HOLLOW_MAX = 20
"""Pieces of a document that are nothing; one is enough to refuse it."""
_NOTHING = tuple(b"/%cropBox" % letter for letter in b"KPMRTDBX")
"""Names that mean nothing; of those in packed objects the first that takes no more bytes."""


def places(document: bytes, what: bytes, start: int = 0) -> Iterator[int]:
    """Where it stands, at LOOKS_MAX places at most."""
    for _ in range(LOOKS_MAX):
        start = _find(document, what, start)
        if start < 0:
            return
        yield start
        start += len(what)


def holds(document: bytes, what: bytes) -> bool:
    """Whether it stands anywhere in the document."""
    return _find(document, what, 0) >= 0


def _find(document: bytes, what: bytes, start: int, before: int | None = None) -> int:
    """As `bytes.find`, which keeps the interpreter to itself until it is done: 40 ms for 10 MB of a document that was
    made for it. So it is done in steps."""
    end = len(document) if before is None else before
    while start < end:
        found = document.find(what, start, min(end, start + STEP_BYTES + len(what) - 1))
        if found >= 0:
            return found
        start += STEP_BYTES
    return -1


def _last(document: bytes, what: bytes) -> int:
    """As `bytes.rfind`, in steps too."""
    end = len(document)
    while end > 0:
        start = max(0, end - STEP_BYTES)
        found = document.rfind(what, start, end + len(what) - 1)
        if found >= 0:
            return found
        end = start
    return -1


def end_of_stream(document: bytes, start: int, before: int) -> int:
    """The byte at which the data of a stream ends that begins at ``start``; it must have ended at ``before``. To look
    further for an end that is not there would read all of a document once for each stream, and hold calls up."""
    end = _find(document, b"endstream", start, before)
    return before if end < 0 else end


def is_cut_off(document: bytes) -> bool:
    """Whether objects stand behind the last end of the file that do not come to an end of their own: an update that
    was cut off, before which stands an older edition of the document; or all that follows the first page."""
    last = _last(document, _END)
    if last < 0 or _find(document, b"startxref", last) >= 0:
        return False
    heads = (document[max(last, at - _OBJECT_BYTES) : at] for at in places(document, b" obj", last))
    return any(_OBJECT.search(head) for head in heads)


def hollow(document: bytes) -> list[int]:
    """Where ``null`` stands in the place of a piece of a page, or of a letter's drawing: the object is nothing, by its
    last edition. Readers go on without it."""
    nulls = {}
    for at in places(document, NULL):
        head = _HEAD.search(document[max(0, at - _OBJECT_BYTES) : at])
        if head and document[at + len(NULL) : at + _OBJECT_BYTES].lstrip().startswith(b"endobj"):
            nulls[int(head[1]), int(head[2])] = at
    if not nulls:
        return []
    looks = iter(range(LOOKS_MAX))  # of the document, however many texts are packed in it
    named = {one for text in chain((document,), _unpacked(document)) for one in _named(text, looks)}
    found = sorted((nulls[one], one) for one in nulls.keys() & named)[:HOLLOW_MAX]
    return [at for at, (number, generation) in found if document.find(b"\n%d %d obj" % (number, generation), at) < 0]


def _named(text: bytes, looks: Iterator[int]) -> Iterator[tuple[int, int]]:
    """The objects that pages and drawn fonts name as their pieces, at as many places as there are ``looks``."""
    for name in _NAMING:
        for at, _ in zip(places(text, name), looks, strict=False):
            piece = text[at + len(name) : at + len(name) + _NAMED_BYTES].lstrip()
            end = piece.find(b"]") if piece.startswith(b"[") else piece.find(b">>")
            for found in _REFERENCE.finditer(piece[:end] if end >= 0 else piece):
                yield int(found[1]), int(found[2])
                if not piece.startswith((b"[", b"<<")):
                    break


def _unpacked(document: bytes) -> Iterator[bytes]:
    """What is in packed objects, UNPACKED_MAX in all."""
    left = UNPACKED_MAX
    for place in _packed(document):
        try:
            plain = zlib.decompressobj().decompress(document[place], left)
        except zlib.error:
            continue
        left -= len(plain)
        yield plain
        if left <= 0:
            return


def _packed(document: bytes) -> Iterator[slice]:
    """Where the data of packed objects are."""
    for at, following in pairwise([*places(document, _PACKED), len(document)]):
        head = document.find(_STREAM, at, at + _HEAD_BYTES)
        if head >= 0:
            start = head + len(_STREAM) + (2 if document.startswith(b"\r\n", head + len(_STREAM)) else 1)
            yield slice(start, end_of_stream(document, start, following))


def uncropped(document: bytes) -> bytes:
    """The document without crop boxes. Those in packed objects go too, where these can be packed again in as few
    bytes."""
    made, left = bytearray(document.replace(_CROP, _NOTHING[0])), UNPACKED_MAX
    for place in _packed(document):
        start, packed, unpacking = place.start, document[place], zlib.decompressobj()
        try:
            plain = unpacking.decompress(packed, left)
        except zlib.error:
            continue
        left -= len(plain)
        if not unpacking.eof or left <= 0:
            break
        if _CROP in plain:
            length = len(packed) - len(unpacking.unused_data)
            again = (zlib.compress(plain.replace(_CROP, name), 9) for name in _NOTHING)
            if (fits := next((one for one in again if len(one) <= length), None)) is not None:
                made[start : start + length] = fits.ljust(length, b"\0")
    return bytes(made)


if __name__ == "__main__":
    read = Path(sys.argv[1]).read_bytes()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_bytes(uncropped(read))
    else:
        for found in hollow(read):
            print(found)
