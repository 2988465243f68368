"""A TrueType font whose one letter is a black square, and what may be wrong with it."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

from tests.corpus.pdf import one, stream

EM = 1000
TEXT = b"BT /F 100 Tf 4.95 0 0 1 50 400 Tm (a) Tj ET"
"""The letter as the usual bar."""


def square() -> bytes:
    """The font's file."""
    pens = {name: TTGlyphPen(None) for name in (".notdef", "a", "b")}
    for name in ("a", "b"):
        pens[name].moveTo((0, 0))
        for corner in ((0, EM), (EM, EM), (EM, 0)):
            pens[name].lineTo(corner)
        pens[name].closePath()
    font = FontBuilder(EM, isTTF=True)
    font.setupGlyphOrder(list(pens))
    font.setupCharacterMap({ord("a"): "a", ord("b"): "b"})
    font.setupGlyf({name: pen.glyph() for name, pen in pens.items()})
    font.setupHorizontalMetrics({name: (EM, 0) for name in pens})
    font.setupHorizontalHeader(ascent=EM, descent=0)
    font.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    held = io.BytesIO()
    font.save(held)
    return held.getvalue()


def page_with(data: bytes, head: str = "") -> bytes:
    """A page whose bar is the letter of a font."""
    described = (
        "<< /Type /FontDescriptor /FontName /Square /Flags 32 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 1000"
        " /Descent 0 /CapHeight 1000 /StemV 80 /FontFile2 3 0 R >>"
    )
    font = (
        "/Type /Font /Subtype /TrueType /BaseFont /Square /FirstChar 97 /LastChar 97 /Widths [1000]"
        f" /Encoding /WinAnsiEncoding /FontDescriptor {described}"
    )
    return one(TEXT, resources=f"/Font << /F << {font} >> >>", objects=[stream(data, head)])


def whole_fonts() -> Iterator[tuple[str, bytes]]:
    """Documents whose letter is drawn."""
    font = square()
    yield "plain", page_with(font)
    yield "deflated", page_with(zlib.compress(font), "/Filter /FlateDecode")


def damaged_fonts() -> Iterator[tuple[str, bytes]]:
    """Documents whose letter is not drawn as it was meant, by what is wrong."""
    font = square()
    tables = TTFont(io.BytesIO(font)).reader.tables
    for name in ("glyf", "loca", "head", "maxp"):
        yield f"noise in {name}", page_with(_over(font, tables[name].offset, tables[name].length, 0x5A))
        yield f"zeros in {name}", page_with(_over(font, tables[name].offset, tables[name].length, None))
    yield "noise in the first letter's points", page_with(_over(font, tables["glyf"].offset + 10, 12, 0x5A))
    yield "noise in the directory", page_with(_over(font, 12, 160, 0x5A))
    yield "cut off", page_with(font[: tables["glyf"].offset + 20])
    yield "its data missing", page_with(font).replace(b"/FontFile2 3 0 R", b"/FontFile2 99 0 R")
    packed = zlib.compress(font)
    yield "deflate cut off", page_with(packed[: len(packed) // 2], "/Filter /FlateDecode")


def _over(font: bytes, start: int, length: int, noise: int | None) -> bytes:
    piece = bytes(0 if noise is None else byte ^ noise for byte in font[start : start + length])
    return font[:start] + piece + font[start + length :]
