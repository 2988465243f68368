"""Documents become faxes by the real Ghostscript and libtiff."""

from __future__ import annotations

import hashlib
import os
import random
import zlib
from pathlib import Path

import pytest

from charging.fax.folder import DocumentFolder, FolderSettings
from charging.fax.tiff import page_count
from charging.service.fax_desk import Paper
from charging.service.refusal import Code, Obstacle, Refused
from tests.fakes.clock import FakeClock
from tests.fakes.documents import pdf, tiff


@pytest.fixture
def folder(tmp_path: Path, clock: FakeClock) -> DocumentFolder:
    settings = FolderSettings(tmp_path / "fax", "/switch/fax", max_pages=3, keep_days=7)
    return DocumentFolder(settings, clock)


@pytest.mark.parametrize("document", [pdf(2), tiff(2), tiff(2, order="big")], ids=["pdf", "tiff", "tiff, big-endian"])
async def test_document_becomes_a_tiff_with_its_pages(folder: DocumentFolder, tmp_path: Path, document: bytes) -> None:
    """Its name is the digest of what is sent; it is for the switch to read, and nobody writes to it again."""
    paper = await folder.prepare("anna", "fax-1", document)
    assert isinstance(paper, Paper)
    assert (paper.pages, paper.file) == (2, f"/switch/fax/{paper.name}.tif")
    made = tmp_path / "fax" / f"{paper.name}.tif"
    assert page_count(made.read_bytes()) == 2
    assert paper.name.startswith(f"fax-1-{hashlib.sha256(made.read_bytes()).hexdigest()}-")
    assert made.stat().st_mode & 0o777 == 0o440
    assert os.listdir(tmp_path / "fax") == [made.name], "nothing else is left"


async def test_document_never_takes_the_place_of_another(folder: DocumentFolder, tmp_path: Path) -> None:
    """Also of the same fax: five pages took the place of the one that was paid."""
    first = await folder.prepare("anna", "fax-1", pdf(1))
    second = await folder.prepare("anna", "fax-1", pdf(1))
    third = await folder.prepare("anna", "fax-1", pdf(3))
    papers = [one for one in (first, second, third) if isinstance(one, Paper)]
    counted = {one.name: page_count((tmp_path / "fax" / f"{one.name}.tif").read_bytes()) for one in papers}
    assert counted == {one.name: one.pages for one in papers}
    assert len(counted) == 3


async def test_longest_document_is_taken_and_one_page_more_is_refused(folder: DocumentFolder) -> None:
    assert isinstance(await folder.prepare("anna", "a", pdf(3)), Paper)
    answer = await folder.prepare("anna", "b", pdf(4))
    assert isinstance(answer, Refused)
    assert "more than 3 pages" in answer.message
    assert answer.obstacle is Obstacle.TOO_MANY_PAGES


@pytest.mark.parametrize("document", [b"", b"hello", b"%PDF-1.4\njunk", b"II*\0junk", b"%!PS\nshowpage"])
async def test_what_is_no_document_is_refused(folder: DocumentFolder, tmp_path: Path, document: bytes) -> None:
    answer = await folder.prepare("anna", "bad", document)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.obstacle) == (Code.INVALID, Obstacle.UNREADABLE)
    assert list((tmp_path / "fax").glob("*")) == []


async def test_missing_program_is_named_with_its_package(
    folder: DocumentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    answer = await folder.prepare("anna", "a", pdf())
    assert isinstance(answer, Refused)
    assert "'gs' is missing" in answer.message
    assert "apt-get install ghostscript" in answer.advice


async def test_documents_are_removed_when_their_time_is_over_and_not_before(
    folder: DocumentFolder, tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "fax").mkdir()
    old = tmp_path / "fax" / "old.tif"
    old.touch()
    kept_us = 7 * 86_400 * 1_000_000
    at_ns = (clock.now().wall_us - kept_us) * 1000
    os.utime(old, ns=(at_ns, at_ns))
    assert folder.sweep() == 0
    os.utime(old, ns=(at_ns - 1000, at_ns - 1000))
    assert folder.sweep() == 1


# --- documents that mean harm -----------------------------------------------------------------------------------


def noise(pages: int) -> bytes:
    """A small PDF whose pages are all dots, which no fax's coding makes smaller."""
    side = 1_100
    dots = random.Random(1).randbytes(side * side // 8)
    packed = zlib.compress(dots)
    head = f"<< /Type /XObject /Subtype /Image /Width {side} /Height {side} /ColorSpace /DeviceGray /BitsPerComponent 1"
    image = f"{head} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream"
    content = b"q 595 0 0 842 0 0 cm /I Do Q"
    kids = " ".join("5 0 R" for _ in range(pages))
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /I 3 0 R >> >> "
    page += "/Contents 4 0 R >>"
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        image,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        page.encode(),
    ]
    made = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(bodies, 1))
    return made + b"trailer\n<< /Size 6 /Root 1 0 R >>\n%%EOF\n"


async def test_document_that_cannot_be_sent_in_its_time_is_refused_and_leaves_nothing(
    folder: DocumentFolder, tmp_path: Path
) -> None:
    answer = await folder.prepare("anna", "a", noise(3))
    assert isinstance(answer, Refused), answer
    assert answer.obstacle is Obstacle.TOO_LARGE
    assert os.listdir(tmp_path / "fax") == []
