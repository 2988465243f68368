"""Odd PDFs, made without any program. Each page has a black bar, so that a page that comes out blank is seen."""

from __future__ import annotations

import re
import zlib
from base64 import a85encode
from collections.abc import Iterator, Mapping
from typing import Any

from tests.corpus.fonts import damaged_fonts, whole_fonts
from tests.corpus.odd import Answer, Family, Odd, fitted
from tests.corpus.pdf import A4, BAR, Pdf, one, packed_page, plain, stream, updated
from tests.corpus.photographs import photographs

BAR_AREA = 495 * 100
TINT = "<< /FunctionType 2 /Domain [0 1] /C0 [0] /C1 [1] /N 1 >>"
INK = fitted(595, 842, BAR_AREA)

SENT, REFUSED, EITHER = Answer.SENT, Answer.REFUSED, Answer.EITHER


def made_by(family: Family) -> Iterator[Odd]:
    """A family's documents."""
    for name, data, answer, *rest in family():
        ink, says = (*rest, "")[:2] if rest else ((INK,), "")
        yield Odd(f"pdf {name}", data, answer, tuple(ink), says)


def frames() -> Iterator[tuple[Any, ...]]:
    """What stands before and behind, and what finds the objects."""
    for pages in (1, 2, 3):
        yield f"{pages} pages", plain(pages), SENT, (INK,) * pages
    whole, two = plain(), (INK,) * 2
    before = {
        "byte order mark": b"\xef\xbb\xbf",
        "empty line before": b"\r\n",
        "mail header before": b"Content-Type: application/pdf\r\n\r\n",
        "spaces before": b" " * 500,
        "1000 bytes before": b"x" * 999 + b"\n",
        "zeros before": bytes(64),
        "PostScript before": b"%!PS-Adobe-3.0\n",
    }
    for name, piece in before.items():
        yield name, piece + whole, SENT, two
    yield "2000 bytes before", b"x" * 2000 + whole, REFUSED, (), "neither PDF nor TIFF"
    behind = {
        "boundary behind": b"\r\n--boundary--\r\n",
        "zeros behind": bytes(2000),
        "page of HTML behind": b"<html><body>downloaded</body></html>",
        "second end": b"%%EOF\n",
        "line end missing": b"",
    }
    for name, piece in behind.items():
        yield name, (whole + piece).rstrip() if not piece else whole + piece, SENT, two
    for head in (
        b"%PDF-1.0\n",
        b"%PDF-1.7\n",
        b"%PDF-2.0\n",
        b"%PDF-9.9\n",
        b"%PDF-\n",
        b"%PDF-1.4\r%\xe2\xe3\xcf\xd3\r",
    ):
        yield f"head {head[:8].decode().strip()}{len(head)}", Pdf().pages(2).made(head), SENT, two
    yield "no table", Pdf().pages(2).made(table=False), SENT, two
    yield "table elsewhere", re.sub(rb"startxref\n\d+", b"startxref\n7", whole), SENT, two
    yield "table beyond the end", re.sub(rb"startxref\n\d+", b"startxref\n999999", whole), SENT, two
    yield "no startxref", whole[: whole.index(b"startxref")], SENT, two
    yield "no end", whole.replace(b"%%EOF", b""), SENT, two
    update = updated(3, stream(b"0 g 50 400 495 50 re f"))
    yield "an update", update, SENT, (INK / 2, INK)
    yield "an update, without its last line", update[:-6], SENT, (INK / 2, INK)
    for short in (60, 100, 150):
        yield f"an update, {short} bytes short", update[:-short], REFUSED, (), "cut off on its way"
    yield "rows of the table shifted", re.sub(rb"(\d{9})\d 00000 n", rb"\g<1>7 00000 n", whole), EITHER, two
    yield "line ends of a Macintosh", whole.replace(b"\n", b"\r"), EITHER, two
    yield "no trailer at all", whole[: whole.index(b"xref")], EITHER, two
    yield "table of no rows", re.sub(rb"xref\n.*trailer", b"xref\n0 0\ntrailer", whole, flags=re.DOTALL), EITHER, two


def _packed(data: bytes) -> bytes:
    return stream(zlib.compress(data), "/Filter /FlateDecode")


def _run_length(data: bytes) -> bytes:
    pieces = [data[at : at + 128] for at in range(0, len(data), 128)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces) + b"\x80"


def streams() -> Iterator[tuple[Any, ...]]:
    """How a page's content is packed."""
    a85 = a85encode(BAR) + b"~>"
    packed = {
        "deflate": _packed(BAR),
        "hexadecimal": stream(BAR.hex().encode() + b">", "/Filter /ASCIIHexDecode"),
        "hexadecimal without an end": stream(BAR.hex().encode(), "/Filter /ASCIIHexDecode"),
        "base 85": stream(a85, "/Filter /ASCII85Decode"),
        "base 85 of deflate": stream(a85encode(zlib.compress(BAR)) + b"~>", "/Filter [/ASCII85Decode /FlateDecode]"),
        "runs": stream(_run_length(BAR), "/Filter /RunLengthDecode"),
        "deflate twice": stream(zlib.compress(zlib.compress(BAR)), "/Filter [/FlateDecode /FlateDecode]"),
        "short names of filters": stream(zlib.compress(BAR), "/Filter /Fl"),
        "filter null": stream(BAR, "/Filter null"),
        "empty list of filters": stream(BAR, "/Filter []"),
        "length of another object": b"<< /Length 4 0 R >>\nstream\n" + BAR + b"\nendstream",
    }
    for name, body in packed.items():
        answer = EITHER if name in ("short names of filters", "hexadecimal without an end", "filter null") else SENT
        yield f"content in {name}", one("3 0 R", objects=[body, str(len(BAR))]), answer
    right = stream(BAR)
    wrong = {
        "shorter length": right.replace(b"/Length %d" % len(BAR), b"/Length 5"),
        "longer length": right.replace(b"/Length %d" % len(BAR), b"/Length 900"),
        "no length": right.replace(b"/Length %d" % len(BAR), b""),
        "negative length": right.replace(b"/Length %d" % len(BAR), b"/Length -1"),
        "no endstream": right.replace(b"\nendstream", b""),
        "unknown filter": stream(BAR, "/Filter /NoSuchDecode"),
        "a filter that is not what was used": stream(BAR, "/Filter /FlateDecode"),
        "checksum of deflate wrong": stream(zlib.compress(BAR)[:-4] + bytes(4), "/Filter /FlateDecode"),
        "end of deflate missing": stream(zlib.compress(BAR)[:-9], "/Filter /FlateDecode"),
    }
    for name, body in wrong.items():
        yield f"content of {name}", one("3 0 R", objects=[body]), EITHER
    half = BAR.index(b" 495")
    halves = [stream(BAR[:half]), stream(BAR[half:])]
    yield "content in two pieces", one("[3 0 R 4 0 R]", objects=halves), SENT
    yield "content in a list of one", one("[3 0 R]", objects=[right]), SENT
    yield "content in pieces, one is not there", one("[3 0 R 99 0 R]", objects=[right]), REFUSED, (), "page 1"
    yield "content in pieces, one is null", one("[3 0 R 4 0 R]", objects=[right, "null"]), REFUSED, (), "page 1"
    yield "content that is not there", one("99 0 R"), EITHER, (0,)
    yield "no content", one(""), SENT, (0,)
    yield "content of no bytes", one(b""), SENT, (0,)
    yield "content with an unknown operator", one(BAR + b" nonsense"), EITHER
    yield "content with an unclosed string", one(BAR + b" (open"), EITHER
    yield "content with too few operands", one(b"1 re " + BAR), EITHER
    yield "content with a stray Q", one(b"Q Q " + BAR), EITHER
    yield "content with open q", one(b"q q " + BAR), EITHER


def damaged() -> Iterator[tuple[Any, ...]]:
    """Pages that cannot be drawn, and files that were cut off."""
    for page in (1, 2, 3):
        pdf = Pdf()
        for number in (1, 2, 3):
            packed = zlib.compress(BAR)
            broken = packed[:8] + bytes(byte ^ 0x55 for byte in packed[8:])
            body = stream(broken if number == page else packed, "/Filter /FlateDecode")
            pdf.page(f"{pdf.add(body)} 0 R")
        yield f"page {page} of 3 damaged", pdf.made(), REFUSED, (), f"page {page} is damaged"
    small = Pdf()
    for _ in range(3):
        small.page(f"{small.add(_packed(BAR))} 0 R")
    for name, whole in (("plain", plain(3)), ("deflated", small.made())):
        for part in (10, 30, 50, 70, 80, 90, 95, 98):
            yield f"{name}, cut off after {part} of 100", whole[: len(whole) * part // 100], EITHER, (INK,) * 3
    whole = plain(3)
    for at in (20, 40, 60):
        start = len(whole) * at // 100
        holed = whole[:start] + bytes(64) + whole[start + 64 :]
        yield f"64 zeros at {at} of 100", holed, EITHER, (INK,) * 3


def trees() -> Iterator[tuple[Any, ...]]:
    """Pages that are counted wrongly, or are not there."""
    yield "zero pages", Pdf().made(), REFUSED, ()
    yield "no tree of pages", plain(1).replace(b"/Pages 2 0 R", b"/Pages 9 0 R"), REFUSED, ()
    yield "a count of five for two", Pdf().pages(2).made(count=5), EITHER, (INK,) * 2
    yield "a count of one for three", Pdf().pages(3).made(count=1), EITHER, (INK,) * 3
    yield "a count of zero for two", Pdf().pages(2).made(count=0), EITHER, (INK,) * 2
    yield "a negative count", Pdf().pages(2).made(count=-2), EITHER, (INK,) * 2
    null = Pdf().pages(2)
    null.kids.insert(1, 99)
    yield "a page that is not there", null.made(), EITHER, (INK, 0, INK)
    loop = Pdf().pages(1)
    loop.kids.append(2)
    yield "a tree that bites its tail", loop.made(), EITHER, (INK,)
    same = Pdf().pages(1)
    same.kids *= 3
    yield "one page three times", same.made(), SENT, (INK,) * 3
    inner = Pdf().pages(2)
    node = inner.add(f"<< /Type /Pages /Parent 2 0 R /Kids [{inner.kids[1]} 0 R] /Count 1 >>")
    inner.kids[1] = node
    yield "a tree of two levels", inner.made(), SENT, (INK,) * 2
    yield "pages without a type", plain(2).replace(b"/Type /Page ", b""), EITHER, (INK,) * 2
    yield "too many pages", plain(4), REFUSED, (), "more than 3 pages"
    many = Pdf().pages(1)
    many.kids *= 20_000
    yield "20,000 pages", many.made(), REFUSED, (), "more than 3 pages"


def boxes() -> Iterator[tuple[Any, ...]]:
    """Sizes of pages."""
    sizes = {
        "letter": (612, 792),
        "A0": (2384, 3370),
        "A7": (210, 298),
        "200 inches": (14400, 14400),
        "a mile": (4.6e6, 4.6e6),
    }
    for name, (width, height) in sizes.items():
        bar = b"0 g 0 0 %d %d re f" % (width, height // 4)
        data = Pdf(f"0 0 {width:.0f} {height:.0f}").page(bar).made()
        yield (
            f"page of {name}",
            data,
            EITHER if name == "a mile" else SENT,
            (fitted(width, height, width * (height // 4)),),
        )
    yield "page of a point", Pdf("0 0 1 1").page(b"0 g 0 0 1 1 re f").made(), EITHER, (fitted(1, 1, 1),)
    yield "page of nothing", Pdf("0 0 0 0").page().made(), EITHER, (INK,)
    for name, box in {
        "from below zero": "-100 -100 495 742",
        "from the upper corner": "595 842 0 0",
        "with decimals": "0.0 0.0 595.0 842.0",
        "with a plus": "+0 +0 +595 +842",
    }.items():
        bar = b"0 g -50 300 495 100 re f" if "below" in name else BAR
        yield f"box {name}", Pdf(box).page(bar).made(), SENT
    inherited = Pdf("").page()
    inherited.tree = f"/MediaBox [{A4}]"
    yield "box of the tree", inherited.made(), SENT
    yield "no box", Pdf("").page().made(), EITHER, (fitted(612, 792, BAR_AREA),)
    yield "box of three numbers", Pdf("0 0 595").page().made(), EITHER
    yield "box of words", Pdf("/a /b /c /d").page().made(), EITHER
    yield "crop box within", one(BAR, "/CropBox [50 50 545 792]"), EITHER, (fitted(595, 842, BAR_AREA),)
    yield "crop box beyond", one(BAR, "/CropBox [-500 -500 2000 2000]"), SENT
    yield "crop box beside", one(BAR, "/CropBox [1000 1000 1100 1100]"), REFUSED
    yield "packed page", packed_page("", BAR), SENT
    yield "packed page, empty, with a crop box", packed_page("/CropBox [50 50 545 792]", b""), SENT, (0,)
    yield "packed page, crop box beside", packed_page("/CropBox [50 600 545 792]", BAR), REFUSED
    yield "ten units a point", one(BAR, "/UserUnit 10"), SENT
    yield "trim and bleed", one(BAR, f"/TrimBox [50 50 500 700] /BleedBox [{A4}]"), SENT
    for turn in (0, 180, 360, -180, 540):
        yield f"turned by {turn}", one(BAR, f"/Rotate {turn}"), SENT
    for turn in (90, 270, -90, 450):
        yield f"turned by {turn}", one(BAR, f"/Rotate {turn}"), SENT
    yield "turned by 45", one(BAR, "/Rotate 45"), EITHER
    yield "lying", Pdf("0 0 842 595").page(b"0 g 100 200 495 100 re f").made(), SENT


def colours() -> Iterator[tuple[Any, ...]]:
    """The bar in every kind of black, and through what it shines."""
    inks = {
        "grey": b"0 g",
        "RGB": b"0 0 0 rg",
        "CMYK black": b"0 0 0 1 k",
        "CMYK of four": b"1 1 1 1 k",
        "CMYK of three": b"1 1 1 0 k",
        "calibrated grey": b"/C1 cs 0 sc",
        "calibrated RGB": b"/C2 cs 0 0 0 sc",
        "Lab": b"/C3 cs 0 0 0 sc",
        "separation All": b"/C4 cs 1 scn",
        "spot colour": b"/C5 cs 1 scn",
        "two spot colours": b"/C6 cs 1 1 scn",
        "indexed": b"/C7 cs 1 sc",
    }
    white = "/WhitePoint [0.95 1 1.09]"
    two = "<< /FunctionType 4 /Domain [0 1 0 1] /Range [0 1] /Length 7 >>\nstream\n{ mul }\nendstream"
    spaces = (
        f"/ColorSpace << /C1 [/CalGray << {white} >>] /C2 [/CalRGB << {white} >>] /C3 [/Lab << {white} >>] "
        f"/C4 [/Separation /All /DeviceCMYK << /FunctionType 2 /Domain [0 1] /C0 [0 0 0 0] /C1 [0 0 0 1] /N 1 >>] "
        f"/C5 [/Separation /Night /DeviceGray << /FunctionType 2 /Domain [0 1] /C0 [1] /C1 [0] /N 1 >>] "
        "/C6 [/DeviceN [/One /Two] /DeviceGray 3 0 R] /C7 [/Indexed /DeviceRGB 1 <ffffff000000>] >>"
    )
    dark = two.replace("{ mul }", "{mul 1 exch sub}").replace("/Length 7", "/Length 16")
    for name, ink in inks.items():
        answer = EITHER if name == "Lab" else SENT
        yield f"bar in {name}", one(BAR.replace(b"0 g", ink), resources=spaces, objects=[dark, TINT]), answer
    yield "bar in a space that is not there", one(BAR.replace(b"0 g", b"/Nowhere cs 0 sc")), EITHER
    yield (
        "bar in a profile that is none",
        one(
            BAR.replace(b"0 g", b"/P cs 0 sc"),
            resources="/ColorSpace << /P [/ICCBased 3 0 R] >>",
            objects=[stream(b"no profile", "/N 1 /Alternate /DeviceGray")],
        ),
        EITHER,
    )
    yield "white over the bar", one(BAR + b" 1 g 50 400 495 100 re f"), SENT, (0,)
    yield "bar in white", one(BAR.replace(b"0 g", b"1 g")), SENT, (0,)
    yield "bar in half grey", one(BAR.replace(b"0 g", b"0.5 g")), SENT, (INK / 2,)


def blends() -> Iterator[tuple[Any, ...]]:
    """What shines through."""
    states = {
        "half transparent": ("/ca 0.5", INK / 2),
        "opaque": ("/ca 1", INK),
        "quite transparent": ("/ca 0", 0),
        "multiplied": ("/BM /Multiply", INK),
        "of an unknown blend": ("/BM /Nonsense", INK),
        "overprinted": ("/OP true /op true /OPM 1", INK),
    }
    for name, (state, ink) in states.items():
        answer = EITHER if "unknown" in name else SENT
        yield f"bar {name}", one(b"/G gs " + BAR, resources=f"/ExtGState << /G << {state} >> >>"), answer, (ink,)
    form = "/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Group << /S /Transparency /CS /DeviceGray {} >>"
    for kind in ("", "/I true", "/K true"):
        data = one(b"/F Do", resources="/XObject << /F 3 0 R >>", objects=[stream(BAR, form.format(kind))])
        yield f"bar in a group {kind}".strip(), data, SENT
    mask = stream(b"0.5 g 0 0 595 842 re f", form.format(""))
    soft = "/ExtGState << /G << /SMask << /S /Luminosity /G 3 0 R >> >> >>"
    yield "bar behind a soft mask", one(b"/G gs " + BAR, resources=soft, objects=[mask]), SENT, (INK / 2,)
    shade = "/Shading << /S << /ShadingType 2 /ColorSpace /DeviceGray /Coords [50 0 545 0] /Function 3 0 R >> >>"
    clip = b"q 50 400 495 100 re W n /S sh Q"
    yield "bar that fades", one(clip, resources=shade, objects=[TINT]), SENT, (INK / 2,)
    tile = "/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 10 10] /XStep 10 /YStep 10 "
    tile += "/Resources << >>"
    tiled = BAR.replace(b"0 g", b"/Pattern cs /P scn")
    yield (
        "bar of tiles",
        one(tiled, resources="/Pattern << /P 3 0 R >>", objects=[stream(b"0 0 10 10 re f", tile)]),
        SENT,
    )


def pictures() -> Iterator[tuple[Any, ...]]:
    """The bar as a picture."""
    place = b"q 495 0 0 100 50 400 cm /I Do Q"
    kinds: Mapping[str, tuple[str, bytes]] = {
        "one bit": ("/ColorSpace /DeviceGray /BitsPerComponent 1", bytes(8)),
        "two bits": ("/ColorSpace /DeviceGray /BitsPerComponent 2", bytes(16)),
        "four bits": ("/ColorSpace /DeviceGray /BitsPerComponent 4", bytes(32)),
        "eight bits": ("/ColorSpace /DeviceGray /BitsPerComponent 8", bytes(64)),
        "sixteen bits": ("/ColorSpace /DeviceGray /BitsPerComponent 16", bytes(128)),
        "RGB": ("/ColorSpace /DeviceRGB /BitsPerComponent 8", bytes(192)),
        "CMYK": ("/ColorSpace /DeviceCMYK /BitsPerComponent 8", b"\xff" * 256),
        "turned values": ("/ColorSpace /DeviceGray /BitsPerComponent 8 /Decode [1 0]", b"\xff" * 64),
        "a stencil": ("/ImageMask true /BitsPerComponent 1", bytes(8)),
        "a turned stencil": ("/ImageMask true /BitsPerComponent 1 /Decode [1 0]", b"\xff" * 8),
        "indexed": ("/ColorSpace [/Indexed /DeviceRGB 1 <ffffff000000>] /BitsPerComponent 8", b"\1" * 64),
        "interpolated": ("/ColorSpace /DeviceGray /BitsPerComponent 8 /Interpolate true", bytes(64)),
    }
    resources = "/XObject << /I 3 0 R >>"
    side = "/Type /XObject /Subtype /Image /Width 8 /Height 8"
    for name, (head, dots) in kinds.items():
        for packed in (False, True):
            data = zlib.compress(dots) if packed else dots
            body = stream(data, f"{side} {head} {'/Filter /FlateDecode' if packed else ''}")
            yield (
                f"picture of {name}{', deflated' if packed else ''}",
                one(place, resources=resources, objects=[body]),
                SENT,
            )
    short = stream(bytes(20), f"{side} /ColorSpace /DeviceGray /BitsPerComponent 8")
    yield "picture of too few bytes", one(place, resources=resources, objects=[short]), EITHER
    broken = bytearray(zlib.compress(bytes(64)))
    broken[5:] = b"\xff" * len(broken[5:])
    body = stream(bytes(broken), f"{side} /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode")
    yield "picture of broken deflate", one(place, resources=resources, objects=[body]), EITHER
    for coding in ("DCTDecode", "CCITTFaxDecode", "JBIG2Decode", "JPXDecode"):
        body = stream(b"not so coded at all", f"{side} /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /{coding}")
        yield f"picture of broken {coding}", one(place, resources=resources, objects=[body]), EITHER
    for name, dots, filters, answer in photographs():
        body = stream(dots, f"{side.replace('8', '64')} {filters}")
        yield f"picture of {name}", one(place, resources=resources, objects=[body]), answer
    yield "picture that is not there", one(place + b" ", resources="/XObject << /I 99 0 R >>"), EITHER
    yield "picture without a name", one(place), EITHER
    inline = b"q 495 0 0 100 50 400 cm BI /W 8 /H 8 /CS /G /BPC 8 ID " + bytes(64) + b" EI Q"
    yield "picture within the content", one(inline), SENT
    yield "picture within the content, cut off", one(inline[:-40]), EITHER


def letters() -> Iterator[tuple[Any, ...]]:
    """Fonts that are there or not; the bar is beside the letters, which are thin."""
    text = BAR + b" BT /F 12 Tf 72 700 Td (Hello) Tj ET"
    fonts = {
        "of the fourteen": "/Type /Font /Subtype /Type1 /BaseFont /Helvetica",
        "that nobody has": "/Type /Font /Subtype /Type1 /BaseFont /NoSuchFontAnywhere",
        "of a Windows": "/Type /Font /Subtype /TrueType /BaseFont /Arial,Bold",
        "of symbols": "/Type /Font /Subtype /Type1 /BaseFont /Symbol",
        "without a name": "/Type /Font /Subtype /Type1",
        "without a kind": "/Type /Font /BaseFont /Helvetica",
        "of Chinese that is not there": "/Type /Font /Subtype /Type0 /BaseFont /STSong /Encoding /Identity-H "
        "/DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) "
        "/Supplement 2 >> /FontDescriptor << /Type /FontDescriptor /FontName /STSong /Flags 4 >> >>]",
        "of two bytes without descendants": "/Type /Font /Subtype /Type0 /BaseFont /A /Encoding /Identity-H",
    }
    for name, font in fonts.items():
        answer = SENT if name in ("of the fourteen", "that nobody has", "of a Windows", "of symbols") else EITHER
        yield f"font {name}", one(text, resources=f"/Font << /F << {font} >> >>"), answer
    yield "font that is not there", one(text, resources="/Font << /F 99 0 R >>"), EITHER
    yield "font without a name in the page", one(text), EITHER
    broken = (
        "/Type /Font /Subtype /TrueType /BaseFont /A /FontDescriptor << /Type /FontDescriptor /FontName /A /Flags 4 "
    )
    yield (
        "font that is broken",
        one(text, resources=f"/Font << /F << {broken} /FontFile2 3 0 R >> >> >>", objects=[stream(b"no font at all")]),
        REFUSED,
        (),
        "page 1",
    )
    yield from _embedded()
    yield (
        "letters that are not seen",
        one(
            BAR + b" BT 3 Tr /F 400 Tf 0 0 Td (HHH) Tj ET", resources=f"/Font << /F << {fonts['of the fourteen']} >> >>"
        ),
        SENT,
    )


def _embedded() -> Iterator[tuple[Any, ...]]:
    """Letters that are in the file, as outlines and as drawings."""
    for name, data in whole_fonts():
        yield f"font of a square, {name}", data, SENT
    for name, data in damaged_fonts():
        yield f"font of a square, {name}", data, REFUSED, (), "page 1"
    drawn = "/Type /Font /Subtype /Type3 /FontBBox [0 0 1000 1000] /FontMatrix [0.001 0 0 0.001 0 0] /FirstChar 97 "
    drawn += (
        "/LastChar 97 /Widths [1000] /Encoding << /Type /Encoding /Differences [97 /bar] >> /CharProcs << /bar 3 0 R >>"
    )
    glyph = stream(b"1000 0 0 0 1000 1000 d1 0 0 1000 1000 re f")
    wide = b"BT /F 100 Tf 4.95 0 0 1 50 400 Tm (a) Tj ET"
    yield "font that is drawn", one(wide, resources=f"/Font << /F << {drawn} >> >>", objects=[glyph]), SENT
    letters: Mapping[str, bytes] = {
        "null": b"null",
        "cut off": stream(b"1000 0 0 0 1000 1000 d1 0 0 1000 10"),
        "packed wrongly": stream(b"no deflate", "/Filter /FlateDecode"),
    }
    for name, body in letters.items():
        data = one(wide, resources=f"/Font << /F << {drawn} >> >>", objects=[body])
        yield f"font that is drawn, of a letter that is {name}", data, REFUSED, (), "page 1"


def with_catalog(catalog: str, *objects: bytes | str, more: str = "", content: bytes = BAR) -> bytes:
    pdf = Pdf()
    for body in objects:
        pdf.add(body)
    pdf.catalog = catalog
    return pdf.page(content, more).made()


def programs() -> Iterator[tuple[Any, ...]]:
    """Forms, layers, portfolios, scripts: what more than a page is in a PDF."""

    yield "XFA form", with_catalog("/AcroForm << /XFA 3 0 R /Fields [] >>", stream(b"<xdp:xdp/>")), SENT
    yield (
        "XFA form that needs a viewer",
        with_catalog("/NeedsRendering true /AcroForm << /XFA 3 0 R /Fields [] >>", stream(b"<xdp:xdp/>")),
        EITHER,
    )
    look = stream(b"0 g 0 0 495 100 re f", "/Type /XObject /Subtype /Form /BBox [0 0 495 100]")
    field = "/Type /Annot /Subtype /Widget /FT /Tx /T (a) /Rect [50 400 545 500] /AP << /N 3 0 R >>"
    for flags, ink in ((4, INK), (0, 0), (2, 0), (6, 0)):
        data = with_catalog(
            "/AcroForm << /Fields [4 0 R] >>", look, f"<< {field} /F {flags} >>", more="/Annots [4 0 R]", content=b""
        )
        yield f"field with the flags {flags}", data, EITHER, (ink,)
    note = "<< /Type /Annot /Subtype /Text /Rect [50 700 70 720] /Contents (a note) >>"
    yield "note", with_catalog("", note, more="/Annots [3 0 R]"), SENT
    yield "stamp that is not there", with_catalog("", more="/Annots [99 0 R]"), EITHER
    layer = "/OCProperties << /OCGs [3 0 R] /D << /OFF [{}] >> >>"
    pdf_layer = b"/OC /L BDC " + BAR + b" EMC"
    for name, off, ink in (("shown", "", INK), ("hidden", "3 0 R", 0)):
        pdf = Pdf()
        pdf.add("<< /Type /OCG /Name (layer) >>")
        pdf.catalog = layer.format(off)
        yield f"layer that is {name}", pdf.page(pdf_layer, resources="/Properties << /L 3 0 R >>").made(), SENT, (ink,)


def attached() -> Iterator[tuple[Any, ...]]:
    """What is in a PDF and on none of its pages."""
    files = "/Names << /EmbeddedFiles << /Names [(a) 3 0 R] >> >>"
    spec = "<< /Type /Filespec /F (a.pdf) /EF << /F 4 0 R >> >>"
    yield "portfolio", with_catalog("/Collection << /View /D >> " + files, spec, stream(plain(1))), EITHER
    yield "file attached", with_catalog(files, spec, stream(b"hello")), SENT
    for name, action in {
        "script": "/S /JavaScript /JS (app.alert\\(1\\))",
        "program to launch": "/S /Launch /F (/bin/sh)",
        "address to open": "/S /URI /URI (http://example.nl/)",
        "form to submit": "/S /SubmitForm /F (http://example.nl/)",
    }.items():
        yield f"{name} at the opening", with_catalog(f"/OpenAction << {action} >>"), SENT
    yield (
        "PostScript in it",
        one(
            b"/X Do " + BAR,
            resources="/XObject << /X 3 0 R >>",
            objects=[stream(b"(/etc/passwd) (r) file", "/Type /XObject /Subtype /PS")],
        ),
        EITHER,
    )
    yield (
        "content in a file elsewhere",
        one("3 0 R", objects=["<< /Length 0 /F (/etc/passwd) >>\nstream\n\nendstream"]),
        EITHER,
        (0,),
    )
    yield (
        "encrypted in a way that nobody knows",
        plain(1).replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt << /Filter /NoSuch /V 9 >>"),
        REFUSED,
        (),
    )
    yield "encrypted by nothing", plain(1).replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 99 0 R"), EITHER


def bombs() -> Iterator[tuple[Any, ...]]:
    """What grows as it is read."""
    zeros = zlib.compress(bytes(100_000_000), 9)
    yield "100 MB of zeros as content", one("3 0 R", objects=[stream(zeros, "/Filter /FlateDecode")]), EITHER, (0,)
    twice = stream(zlib.compress(zeros), "/Filter [/FlateDecode /FlateDecode]")
    yield "100 MB of zeros packed twice", one("3 0 R", objects=[twice]), EITHER, (0,)
    head = "/Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceGray /BitsPerComponent 1"
    dots = zlib.compress(bytes(30_000 * 3_750), 9)
    yield (
        "picture of 30,000 by 30,000",
        one(
            b"q 495 0 0 100 50 400 cm /I Do Q",
            resources="/XObject << /I 3 0 R >>",
            objects=[stream(dots, head + " /Filter /FlateDecode")],
        ),
        EITHER,
    )
    yield (
        "picture of two thousand million dots",
        one(
            b"q 495 0 0 100 50 400 cm /I Do Q",
            resources="/XObject << /I 3 0 R >>",
            objects=[stream(dots, head.replace("30000", "2000000000") + " /Filter /FlateDecode")],
        ),
        EITHER,
    )
    form = "/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /F 3 0 R >> >>"
    yield (
        "form that draws itself",
        one(b"/F Do", resources="/XObject << /F 3 0 R >>", objects=[stream(BAR + b" /F Do", form)]),
        EITHER,
    )
    deep = [
        stream(
            b"/F Do " * 10,
            f"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /F {4 + n} 0 R >> >>",
        )
        for n in range(9)
    ]
    deep.append(stream(BAR, "/Type /XObject /Subtype /Form /BBox [0 0 595 842]"))
    yield (
        "forms that draw each other a thousand million times",
        one(b"/F Do", resources="/XObject << /F 3 0 R >>", objects=deep),
        EITHER,
    )
    yield "half a million open q", one(_q(500_000)), EITHER
    nested = b"[" * 100_000
    yield "lists in lists", one(BAR + b" " + nested), EITHER


def _q(times: int) -> bytes:
    return b"q " * times + BAR


FAMILIES = (frames, streams, damaged, trees, boxes, colours, blends, pictures, letters, programs, attached, bombs)
