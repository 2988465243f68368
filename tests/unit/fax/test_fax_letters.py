"""TrueType fonts in a PDF: those that are whole, and those of which a letter would be left out."""

from __future__ import annotations

import io
import zlib

import pytest
from fontTools.ttLib import TTFont

from charging.fax.letters import damaged
from tests.corpus.fonts import damaged_fonts, page_with, square, whole_fonts

UNPACKED = {"its data missing", "deflate cut off"}
"""What Ghostscript itself reports."""


@pytest.mark.parametrize(("name", "document"), list(whole_fonts()))
def test_a_whole_font_is_none_of_them(name: str, document: bytes) -> None:
    assert list(damaged(document)) == []


@pytest.mark.parametrize(("name", "document"), [one for one in damaged_fonts() if one[0] not in UNPACKED])
def test_a_damaged_font_is_found_where_its_data_begin(name: str, document: bytes) -> None:
    assert list(damaged(document)) == [document.index(b"stream\n") + len(b"stream\n")]


def test_each_font_of_a_document_is_looked_at() -> None:
    font, cut = square(), square()[:300]
    document = page_with(font) + page_with(cut) + page_with(zlib.compress(cut), "/Filter /FlateDecode")
    assert len(list(damaged(document))) == 2


def test_letter_that_is_put_together_of_one_that_is_not_there_is_damaged() -> None:
    font = TTFont(io.BytesIO(square()))
    glyf, loca = font.reader.tables["glyf"], font["loca"]
    part = (-1).to_bytes(2, "big", signed=True) + bytes(8) + b"\0\2" + b"\0\x09" + b"\0\0"
    data = bytearray(square())
    data[glyf.offset + loca[1] : glyf.offset + loca[1] + len(part)] = part
    assert len(list(damaged(page_with(bytes(data))))) == 1


@pytest.mark.parametrize("document", [b"", b"stream", b"stream\n", b"stream\r\n\0\1\0\0", b"stream\n\0\1\0\0\xff\xff"])
def test_what_is_hardly_there_holds_nobody_up(document: bytes) -> None:
    assert len(list(damaged(document))) <= 1
