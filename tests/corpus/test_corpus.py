"""Each odd document is faxed as it is, page by page with its ink, or refused: nobody pays for what is not on the paper.

`make test` takes some of them, and those that were wrong once; `make test-all` takes all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import pytest

from charging.fax.desk import Paper
from charging.fax.folder import DocumentFolder, FolderSettings
from charging.service.refusal import Refused
from tests.corpus import others, pdfs, tiffs
from tests.corpus.odd import Answer, Odd
from tests.fakes.clock import FakeClock
from tests.integration.test_fax_documents import ink

PAGES_MAX = 3
ABOUT, ABOUT_OF_100 = 3, 5
"""Dots in a thousand, and of a hundred dots, by which a page's ink may differ: greys are dots, and edges fall between
two lines."""
PAGE = Path(__file__).parents[2] / "docs" / "fax-documents.md"
ALL_S = 1800
"""For all of a family on a busy machine."""

FAMILIES: dict[str, Callable[[], Iterable[Odd]]] = {
    **{f"PDF: {family.__name__}": partial(pdfs.made_by, family) for family in pdfs.FAMILIES},
    **{f"TIFF: {family.__name__}": partial(tiffs.made_by, family) for family in tiffs.FAMILIES},
    "others": others.strangers,
}
QUICK: dict[str, Sequence[str]] = {
    "PDF: frames": ("pdf byte order mark", "pdf no table", "pdf an update, 100 bytes short"),
    "PDF: streams": (
        "pdf content in base 85 of deflate",
        "pdf content of unknown filter",
        "pdf content in pieces, one is not there",
        "pdf content in pieces, one is null",
    ),
    "PDF: damaged": ("pdf page 1 of 3 damaged", "pdf deflated, cut off after 80 of 100"),
    "PDF: trees": ("pdf zero pages", "pdf 20,000 pages"),
    "PDF: boxes": ("pdf page of 200 inches", "pdf turned by 90", "pdf packed page, empty, with a crop box"),
    "PDF: colours": ("pdf bar in CMYK black",),
    "PDF: blends": ("pdf bar of an unknown blend", "pdf bar behind a soft mask"),
    "PDF: pictures": (
        "pdf picture of too few bytes",
        "pdf picture of broken deflate",
        "pdf picture of broken DCTDecode",
        "pdf picture of broken CCITTFaxDecode",
        "pdf picture of broken JBIG2Decode",
        "pdf picture of broken JPXDecode",
        "pdf picture of JPEG in RGB, in steps",
        "pdf picture of JPEG in L, cut off after 95 of 100",
        "pdf picture of JPEG in L, damaged in the middle",
        "pdf picture of deflate with a wrong byte",
    ),
    "PDF: letters": (
        "pdf font that nobody has",
        "pdf font of a square, plain",
        "pdf font of a square, noise in glyf",
        "pdf font of a square, its data missing",
        "pdf font that is drawn, of a letter that is null",
    ),
    "PDF: programs": ("pdf XFA form", "pdf layer that is hidden"),
    "PDF: attached": ("pdf portfolio",),
    "TIFF: tags": (
        "tiff standard of a fax",
        "tiff orientation 6",
        "tiff grey with alpha",
        "tiff page 2 of sixteen bits",
    ),
    "TIFF: broken": ("tiff page 2 with a strip beyond the end", "tiff BigTIFF"),
    "others": ("PNG", "WebP", "zip of 100 MB of zeros"),
}
"""The cut JPEG was sent grey, the update's older edition, the empty page was refused; the broken pictures and the
unknown blend were sent as blank pages and charged, grey with alpha at twice its height; black of CMYK was of dots."""


@cache
def of_family(name: str) -> list[Odd]:
    return list(FAMILIES[name]())


async def faxed(one: Odd, place: Path) -> str:
    """What became of it, and where that is wrong."""
    folder = DocumentFolder(FolderSettings(place, "/switch/fax", PAGES_MAX, keep_days=7), FakeClock())
    paper = await folder.prepare("anna", "fax-1", one.data)
    if isinstance(paper, Refused):
        wrong = one.answer is Answer.SENT or one.says not in paper.message or os.listdir(place) != []
        return f"{'WRONG: ' if wrong else ''}refused: {paper.message}"
    assert isinstance(paper, Paper)
    found = ink(place / f"{paper.name}.tif")
    pages = len(found) == len(one.ink) == paper.pages
    wrong = one.answer is Answer.REFUSED or not pages or not all(map(_alike, found, one.ink))
    return f"{'WRONG: ' if wrong else ''}sent with {found} of {[round(page) for page in one.ink]}"


def _alike(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= ABOUT + wanted * ABOUT_OF_100 / 100


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in QUICK.items() for name in names])
async def test_an_odd_document_is_faxed_as_it_is_or_refused(family: str, name: str, tmp_path: Path) -> None:
    [one] = [one for one in of_family(family) if one.name == name]
    assert not (await faxed(one, tmp_path / "fax")).startswith("WRONG")


@pytest.mark.long
@pytest.mark.timeout(ALL_S)
@pytest.mark.parametrize("family", FAMILIES)
async def test_every_odd_document_is_faxed_as_it_is_or_refused(family: str, tmp_path: Path) -> None:
    documents = of_family(family)
    became = {one.name: await faxed(one, tmp_path / str(place)) for place, one in enumerate(documents)}
    assert {name: what for name, what in became.items() if what.startswith("WRONG")} == {}
    assert len(became) == len(documents) == told()[family], "docs/fax-documents.md tells how many"


def told() -> dict[str, int]:
    """How many documents of each family the page tells."""
    rows = re.findall(
        r"^\| ((?:PDF|TIFF): \w+|others) \|[^|]*\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {family: int(number) for family, number in rows}


def test_the_page_tells_of_every_family_and_of_two_hundred_documents() -> None:
    assert told().keys() == FAMILIES.keys()
    assert sum(told().values()) >= 200
