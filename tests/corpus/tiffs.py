"""Odd TIFFs: written here with every tag, and coded by libtiff's `tiffcp` where that takes a coder."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

from tests.corpus.odd import Answer, Family, Odd, fitted

WIDTH, HEIGHT = 400, 560
TOP, BOTTOM = 96, 176
"""Of the black bar: a seventh of the page, in whole strips of 16 lines."""
INK = fitted(WIDTH, HEIGHT, WIDTH * (BOTTOM - TOP))

SENT, REFUSED, EITHER = Answer.SENT, Answer.REFUSED, Answer.EITHER
Order = Literal["little", "big"]
SHORT, LONG, RATIONAL = 3, 4, 5
_BYTES = {SHORT: 2, LONG: 4, RATIONAL: 8}
Tags = Mapping[int, tuple[int, Sequence[int]]]
"""By number: of which type, and its values."""


def bar(bits: int = 8, samples: int = 1, *, black: int = 0, white: int | None = None, width: int = WIDTH) -> bytes:
    """The page's dots: white, with the bar."""
    full = (1 << bits) - 1 if white is None else white
    lines = {level: _line([level] * samples * width, bits) for level in (black, full)}
    return b"".join(lines[black if TOP <= number < BOTTOM else full] for number in range(HEIGHT))


def _line(levels: Sequence[int], bits: int) -> bytes:
    if bits == 16:
        return b"".join(level.to_bytes(2, "little") for level in levels)
    per = 8 // bits
    level = levels[0]
    byte = sum(level << bits * place for place in range(per))
    return bytes([byte]) * (len(levels) // per)


def page(
    dots: bytes, bits: int = 8, photometric: int = 1, samples: int = 1, **more: tuple[int, Sequence[int]]
) -> tuple[bytes, Tags]:
    """A page in one strip, with its tags (``t282``: another one)."""
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (SHORT, [WIDTH]),
        257: (SHORT, [HEIGHT]),
        258: (SHORT, [bits] * samples),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [samples]),
        278: (SHORT, [HEIGHT]),
        279: (LONG, [len(dots)]),
    }
    return dots, {**tags, **{int(name[1:]): tag for name, tag in more.items()}}


def made(pages: Iterable[tuple[bytes, Tags]], order: Order = "little") -> bytes:
    """The file."""

    def whole(value: int, length: int) -> bytes:
        return value.to_bytes(length, order)

    data = bytearray((b"II" if order == "little" else b"MM") + whole(42, 2) + bytes(4))
    link = 4
    for dots, tags in pages:
        start = len(data)
        data += dots + bytes(len(dots) % 2)
        entries = b""
        for tag, (kind, values) in sorted({273: (LONG, [start]), **tags}.items()):
            packed = b"".join(whole(value, 4 if kind == RATIONAL else _BYTES[kind]) for value in values)
            count = len(values) // 2 if kind == RATIONAL else len(values)
            if len(packed) > 4:
                place = len(data)
                data += packed
                packed = whole(place, 4)
            entries += whole(tag, 2) + whole(kind, 2) + whole(count, 4) + packed.ljust(4, b"\0")
        data += bytes(len(data) % 2)
        data[link : link + 4] = whole(len(data), 4)
        data += whole(len(entries) // 12, 2) + entries
        link = len(data)
        data += bytes(4)
    return bytes(data)


BILEVEL = page(bar(1), 1)
GREY = page(bar())
COLOUR = page(bar(8, 3), 8, 2, 3)


def coded(pages: Sequence[tuple[bytes, Tags]], *options: str) -> bytes | None:
    """The same, by tiffcp; ``None`` for what it does not do."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.tif"), Path(folder, "target.tif")
        source.write_bytes(made(pages))
        done = subprocess.run(["tiffcp", *options, source, target], capture_output=True, check=False)
        return target.read_bytes() if done.returncode == 0 and not done.stderr else None


def made_by(family: Family) -> Iterator[Odd]:
    """A family's documents."""
    for name, data, answer, *rest in family():
        ink, says = (*rest, "")[:2] if rest else ((INK,), "")
        yield Odd(f"tiff {name}", data, answer, tuple(ink), says)


def codings() -> Iterator[tuple[Any, ...]]:
    """Every coding, in strips and in tiles, in both orders of bytes."""
    bilevel = ("none", "packbits", "lzw", "zip", "g3:1d", "g3:2d", "g3:1d:fill", "g4")
    deep = ("none", "packbits", "lzw:2", "zip:2", "jpeg", "jpeg:50")
    layouts = {"one strip": ("-r", "9999"), "strips": ("-r", "16"), "tiles": ("-t", "-w", "64", "-l", "64")}
    orders = ("little", "-L"), ("big", "-B")
    sources = [("bilevel", BILEVEL, bilevel), ("grey", GREY, deep), ("colour", COLOUR, (*deep, "jpeg:r"))]
    for kind, source, some in sources:
        for place, (coding, (layout, how)) in enumerate(product(some, layouts.items())):
            order, flag = orders[place % 2]
            data = coded([source] * 2, "-c", coding, *how, flag)
            if data is not None:
                yield f"{kind}, {coding}, {layout}, {order}", data, SENT, (INK, INK)
    for coding in ("none", "g4", "g3:1d"):
        data = coded([BILEVEL], "-c", coding, "-f", "lsb2msb")
        if data is not None:
            yield f"bilevel, {coding}, bits from the right", data, SENT
    for coding in ("none", "lzw", "zip"):
        data = coded([COLOUR], "-c", coding, "-p", "separate")
        if data is not None:
            yield f"colour in planes, {coding}", data, SENT


def tags() -> Iterator[tuple[Any, ...]]:
    """What the tags may say."""
    white = [one for level in range(256) for one in [level * 257]] * 3
    kinds = {
        "white is zero": page(bar(1, black=1, white=0), 1, 0),
        "grey, white is zero": page(bar(black=255, white=0), 8, 0),
        "four bits": page(bar(4), 4),
        "two bits": page(bar(2), 2),
        "sixteen bits": page(bar(16), 16),
        "palette": page(bar(), 8, 3, t320=(SHORT, white)),
        "CMYK": page(bar(8, 4, black=255, white=0), 8, 5, 4, t332=(SHORT, [1])),
        "no kind of colour": (GREY[0], {tag: value for tag, value in GREY[1].items() if tag != 262}),
        "no resolution": GREY,
        "fine of a fax": page(bar(1), 1, t282=(RATIONAL, [204, 1]), t283=(RATIONAL, [196, 1]), t296=(SHORT, [2])),
        "dots a centimetre": page(bar(1), 1, t282=(RATIONAL, [40, 1]), t283=(RATIONAL, [40, 1]), t296=(SHORT, [3])),
        "a resolution of zero": page(bar(1), 1, t282=(RATIONAL, [0, 1]), t283=(RATIONAL, [0, 1]), t296=(SHORT, [2])),
        "a resolution by zero": page(bar(1), 1, t282=(RATIONAL, [1, 0]), t283=(RATIONAL, [1, 0]), t296=(SHORT, [2])),
        "a million dots an inch": page(bar(1), 1, t282=(RATIONAL, [1_000_000, 1]), t283=(RATIONAL, [1_000_000, 1])),
        "one dot an inch": page(bar(1), 1, t282=(RATIONAL, [1, 1]), t283=(RATIONAL, [1, 1]), t296=(SHORT, [2])),
        "a tag that nobody knows": page(bar(1), 1, t65000=(SHORT, [1])),
        "grey with alpha": page(bar(8, 2), 8, 1, 2, t338=(SHORT, [2])),
        "colour, and a bar that is quite transparent": page(bar(8, 4), 8, 2, 4, t338=(SHORT, [2])),
        "colour with a sample more": page(bar(8, 4), 8, 2, 4, t338=(SHORT, [0])),
    }
    sure = {"white is zero", "grey, white is zero", "four bits", "two bits", "fine of a fax", "no resolution"}
    for name, one in kinds.items():
        ink = 0 if "transparent" in name else INK
        yield name, made([one]), SENT if name in sure else EITHER, (ink,)
    low = page(bar(1), 1, t282=(RATIONAL, [204, 1]), t283=(RATIONAL, [98, 1]), t296=(SHORT, [2]))
    size = WIDTH / 204, HEIGHT / 98
    yield "standard of a fax", made([low]), SENT, (fitted(*size, size[0] * size[1] / 7),)
    for turn in range(1, 9):
        yield f"orientation {turn}", made([page(bar(1), 1, t274=(SHORT, [turn]))]), SENT
    yield "three pages of three kinds", made([BILEVEL, GREY, COLOUR]), SENT, (INK,) * 3
    yield "page 2 of sixteen bits", made([GREY, page(bar(16), 16), GREY]), REFUSED, (), "page 2"
    yield "too many pages", made([BILEVEL] * 4), REFUSED, (), "more than 3 pages"
    yield "a small picture of it behind", made([GREY, page(bar(), t254=(LONG, [1]))]), SENT


def cut_off() -> Iterator[tuple[Any, ...]]:
    """Files that broke off, or have holes: nothing of them is charged."""
    for kind, source, some in (
        ("bilevel", BILEVEL, ("none", "packbits", "lzw", "zip", "g3:1d", "g4")),
        ("grey", GREY, ("none", "lzw", "zip", "jpeg")),
    ):
        for coding in some:
            whole = coded([source] * 2, "-c", coding, "-r", "16")
            assert whole is not None, coding
            for part in (20, 60, 95):
                yield f"{kind}, {coding}, cut off after {part} of 100", whole[: len(whole) * part // 100], REFUSED, ()
    for coding in ("packbits", "lzw", "zip", "jpeg", "g4", "g3:1d"):
        source = GREY if coding == "jpeg" else BILEVEL
        whole = coded([source] * 2, "-c", coding, "-r", "9999")
        assert whole is not None, coding
        first = int.from_bytes(whole[4:8], "little")
        hole = bytearray(whole)
        at = 8 + (first - 8) // 2
        hole[at : at + 12] = bytes(byte ^ 0x5A for byte in hole[at : at + 12])
        yield f"damaged in the middle of page 1, {coding}", bytes(hole), EITHER, (INK, INK)


def broken() -> Iterator[tuple[Any, ...]]:
    """Directories that lie."""
    whole = made([BILEVEL] * 2)
    first = int.from_bytes(whole[4:8], "little")
    link = first + 2 + int.from_bytes(whole[first : first + 2], "little") * 12
    yield "no page", b"II*\0" + bytes(4), REFUSED, ()
    yield "head alone", b"II*\0", REFUSED, ()
    yield "first page beyond the end", whole[:4] + b"\xff\xff\xff\x7f" + whole[8:], REFUSED, ()
    yield "second page beyond the end", whole[:link] + b"\xff\xff\xff\x7f" + whole[link + 4 :], REFUSED, ()
    yield "pages that bite their tail", whole[:link] + whole[4:8] + whole[link + 4 :], REFUSED, ()
    yield "page of no tags", whole[:first] + bytes(2) + whole[first + 2 :], REFUSED, ()
    yield "BigTIFF", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + bytes(200), REFUSED, (), "a BigTIFF"
    lies: Mapping[str, dict[str, tuple[int, Sequence[int]]]] = {
        "no width": {"t256": (SHORT, [0])},
        "no height": {"t257": (SHORT, [0])},
        "a width of two thousand million": {"t256": (LONG, [2_000_000_000])},
        "a height of two thousand million": {"t257": (LONG, [2_000_000_000])},
        "twice its height": {"t257": (SHORT, [HEIGHT * 2])},
        "a strip beyond the end": {"t273": (LONG, [10_000_000])},
        "a strip of no bytes": {"t279": (LONG, [0])},
        "a strip of too many bytes": {"t279": (LONG, [100_000_000])},
        "no bits": {"t258": (SHORT, [0])},
        "seven bits": {"t258": (SHORT, [7])},
        "no samples": {"t277": (SHORT, [0])},
        "60,000 samples": {"t277": (SHORT, [60_000])},
        "a coding that nobody knows": {"t259": (SHORT, [12345])},
        "a coding that it is not in": {"t259": (SHORT, [5])},
        "JPEG that it is not": {"t259": (SHORT, [7])},
        "old JPEG": {"t259": (SHORT, [6])},
        "a colour that nobody knows": {"t262": (SHORT, [999])},
        "no lines in a strip": {"t278": (SHORT, [0])},
        "an unknown turn": {"t274": (SHORT, [99])},
    }
    for name, more in lies.items():
        answer = (
            EITHER
            if name in ("an unknown turn", "no lines in a strip", "a strip of too many bytes", "a strip of no bytes")
            else REFUSED
        )
        ink = (INK, INK) if answer is EITHER else ()
        yield f"page 2 with {name}", made([BILEVEL, page(bar(1), 1, 1, 1, **more)]), answer, ink
    empty = page(bar(1), 1)
    none = {tag: value for tag, value in empty[1].items() if tag != 279}
    yield "page without the bytes of its strips", made([(empty[0], none)]), EITHER


FAMILIES = (codings, tags, cut_off, broken)
