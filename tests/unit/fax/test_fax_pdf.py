"""What is told of a PDF before a reader reads it: in time that grows with its bytes, whatever they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from charging.fax import pdf
from charging.fax.jpeg import PICTURES_MAX, as_tiff, pictures
from charging.fax.pdf import STEP_BYTES, _last, hollow, is_cut_off, uncropped
from charging.fax.tiff import page_count
from tests.corpus.pdf import packed_page, plain, stream, updated
from tests.fakes.effort import assert_linear, lines_run

BEGIN = b"stream\n\xff\xd8\xff"
FRAME = b"\xff\xd8\xff\xe0\x00\x04xx\xff\xff\xc0\x00\x0b\x08\x00\x05\x00\x07\x01\x01\x11\x00"


def test_pictures_end_where_their_stream_or_the_file_does_and_never_overlap() -> None:
    document = BEGIN + b"1\nendstream" + b"\xff\xd8\xff" + BEGIN.replace(b"\n", b"\r\n") + b"2" + BEGIN + b"3"
    assert [document[place] for place in pictures(document)] == [
        b"\xff\xd8\xff1\n",
        b"\xff\xd8\xff2stream\n",
        b"\xff\xd8\xff3",
    ]
    assert len(pictures(BEGIN * (PICTURES_MAX + 1))) == PICTURES_MAX


def test_a_picture_that_does_not_say_how_large_it_is_is_left_out() -> None:
    made = as_tiff([FRAME, b"\xff\xd8\xff", FRAME[:-12], FRAME])
    assert made is not None
    assert page_count(made) == 2
    assert as_tiff([b"\xff\xd8\xff\xda\x00\x02"]) is None


@pytest.mark.parametrize(
    ("document", "cut_off"),
    [
        (plain(), False),
        (plain()[:-30], False),  # it has no end, and no edition before it
        (updated(3, stream(b"f")), False),
        (updated(3, stream(b"f"))[:-6], False),
        (updated(3, stream(b"f"))[:-60], True),
        (plain() + b"<p>1 0 object", False),
    ],
)
def test_objects_behind_the_last_end_are_an_update_that_was_cut_off(document: bytes, cut_off: bool) -> None:
    assert is_cut_off(document) is cut_off


def test_crop_boxes_go_also_from_packed_objects_and_no_byte_moves() -> None:
    document = packed_page("/CropBox [50 50 545 792]", b"")
    start = document.index(b"stream", document.index(b"/ObjStm")) + 7
    without = uncropped(document)
    assert len(without) == len(document)
    assert b"ropBox" in zlib.decompressobj().decompress(without[start:])
    assert uncropped(b"/CropBox").endswith(b"KropBox")
    broken = document[:start] + b"?" * 20 + document[start + 20 :]
    assert uncropped(broken) == broken


@pytest.mark.parametrize("piece", [BEGIN, b"/ObjStm", b"/ObjStm stream\n", b"\n1 0 obj", b" obj", b"\n" + b" " * 50])
def test_hostile_bytes_take_time_that_grows_with_them(piece: bytes) -> None:
    def look(times: int) -> None:
        document = b"%%EOF" + piece * times
        pictures(document)
        is_cut_off(document)
        uncropped(document)

    assert_linear(look)


class Looked(bytes):
    """Bytes that count how many of them are looked through. Each look holds the interpreter until it is over."""

    bytes_looked_at = most_in_a_look = 0

    def rfind(self, what: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        """As of bytes."""
        self._look((len(self) if end is None else min(end, len(self))) - start)
        return super().rfind(what, start, end)

    def _look(self, count: int) -> None:
        self.bytes_looked_at += count
        self.most_in_a_look = max(self.most_in_a_look, count)

    def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        """As of bytes."""
        found = super().find(what, start, end)
        self._look((len(self) if end is None else end) - start if found < 0 else found - start)
        return found


@pytest.mark.parametrize("document", [b"%PDF-", b"%%EOF", b"%%EOF startxref", b"x stream\n\xff\xd8\xff"])
@pytest.mark.parametrize("before", [0, 2_000_000])
def test_no_look_holds_the_interpreter_for_long(document: bytes, before: int) -> None:
    """10 MB that were made for it held the calls up for 40 ms."""
    whole = Looked(bytes(before) + document + bytes(2_000_000))
    is_cut_off(whole)
    pictures(whole)
    assert whole.most_in_a_look < 2 * STEP_BYTES
    assert whole.bytes_looked_at > len(whole)


@pytest.mark.parametrize("place", [0, 1, STEP_BYTES - 3, STEP_BYTES, 2 * STEP_BYTES + 1])
@pytest.mark.parametrize("behind", [0, 1, 2, 3, 4, 5, STEP_BYTES, 2 * STEP_BYTES - 2])
def test_last_end_is_found_wherever_it_stands(place: int, behind: int) -> None:
    document = b"%%EOF" + bytes(place) + b"%%EOF" + bytes(behind)
    assert _last(document, b"%%EOF") == 5 + place
    assert _last(document, b"%%EOG") == -1


@pytest.mark.parametrize("read", [pictures, uncropped])
@pytest.mark.parametrize("begins", [BEGIN, b"/ObjStm>>stream\nx"])
def test_streams_without_an_end_are_not_each_searched_to_the_end_of_the_file(
    read: Callable[[bytes], object], begins: bytes
) -> None:
    """500 pictures before 48 MB held the interpreter of the calls for 17 s, in looks of 33 ms."""
    document = Looked(begins * PICTURES_MAX + bytes(100_000))
    read(document)
    assert len(document) / 2 < document.bytes_looked_at < 4 * len(document)


@pytest.mark.parametrize(
    ("piece", "is_null"),
    [
        (b"4 0 obj\nnull\nendobj\n", True),
        (b"4 0 obj null endobj\n", True),
        (b"4 0 obj\n<< >>\nendobj\n", False),
        (b"14 0 obj\nnull\nendobj\n", False),
        (b"4 0 obj\nnull\nendobj\n4 0 obj\n<< /Length 0 >>\nendobj\n", False),
        (b"4 0 obj\n<< /Length 0 >>\nendobj\n4 0 obj\nnull\nendobj\n", True),
    ],
)
@pytest.mark.parametrize(
    "names",
    [b"/Contents [3 0 R 4 0 R]", b"/Contents 4 0 R", b"/Contents[4 0 R]", b"/CharProcs << /a 3 0 R /b 4 0 R >>"],
)
def test_piece_of_a_page_or_a_letter_that_is_null_is_found_by_its_last_edition(
    names: bytes, piece: bytes, is_null: bool
) -> None:
    document = b"%PDF-1.4\n1 0 obj\n<< " + names + b" /Other 5 0 R >>\nendobj\n" + piece + b"5 0 obj\nnull\nendobj\n"
    found = hollow(document)
    assert [document[start : start + 4] for start in found] == ([b"null"] if is_null else [])


def test_so_many_looks_are_those_of_the_document_however_many_objects_are_packed_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1,560 objects in 320 kB, each with as many looks of its own, were ten minutes of processor."""
    monkeypatch.setattr("charging.fax.pdf.LOOKS_MAX", 40)
    packed = zlib.compress(b"/Contents[0 0 R " * 100)

    def document(objects: int) -> bytes:
        stm = b"9 0 obj\n<< /Type /ObjStm /Length %d >>\nstream\n%s\nendstream\nendobj\n" % (len(packed), packed)
        return b"%PDF-1.4\n4 0 obj\nnull\nendobj\n" + stm * objects

    few, many = document(2), document(30)
    assert lines_run(lambda: hollow(many)) < 1.5 * lines_run(lambda: hollow(few))


def test_pieces_that_are_nothing_take_time_that_grows_with_the_document() -> None:
    def look(pieces: int) -> None:
        names = b" ".join(b"%d 0 R" % number for number in range(pieces))
        nulls = b"".join(b"\n%d 0 obj null endobj" % number for number in range(pieces))
        hollow((b"/Contents [" + names[:4_000] + b"]") * 3 + nulls)

    assert_linear(look, 20, 100, 1_000)


def test_piece_that_is_null_is_found_where_its_page_is_packed() -> None:
    objects = zlib.compress(b"3 0 << /Type /Page /Contents [4 0 R 5 0 R] >>")
    packed = b"7 0 obj\n<< /Type /ObjStm /N 1 /First 4 >>\nstream\n" + objects + b"\nendstream\nendobj\n"
    assert len(hollow(b"%PDF-1.5\n" + packed + b"\n5 0 obj\nnull\nendobj\n")) == 1


class Searched(bytes):
    """A document that notes how much of it is searched at a time."""

    most = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        self.most = max(self.most, (len(self) if end is None else min(end, len(self))) - start)
        return super().find(what, start, end)


@pytest.mark.parametrize("at", [0, pdf.STEP_BYTES - 3, pdf.STEP_BYTES, 3 * pdf.STEP_BYTES - 1])
def test_long_document_is_searched_in_short_steps(at: int) -> None:
    """A search over ten megabytes held the interpreter, and with it the calls, for 40 ms."""
    document = Searched(bytes(at) + b"null" + bytes(4 * pdf.STEP_BYTES))
    assert pdf.holds(document, b"null")
    assert list(pdf.places(document, b"null")) == [at]
    assert not pdf.holds(document, b"nil")
    assert 0 < document.most < pdf.STEP_BYTES + 4
