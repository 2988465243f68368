"""Documents become faxes by the real Ghostscript and libtiff."""

from __future__ import annotations

import os
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
    assert await folder.prepare("fax-1", document) == Paper(2, "/switch/fax/fax-1.tif")
    made = tmp_path / "fax" / "fax-1.tif"
    assert page_count(made.read_bytes()) == 2
    assert made.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path / "fax") == ["fax-1.tif"], "nothing else is left"


async def test_longest_document_is_taken_and_one_page_more_is_refused(folder: DocumentFolder) -> None:
    assert isinstance(await folder.prepare("a", pdf(3)), Paper)
    answer = await folder.prepare("b", pdf(4))
    assert isinstance(answer, Refused)
    assert "more than 3 pages" in answer.message
    assert answer.obstacle is Obstacle.TOO_MANY_PAGES


@pytest.mark.parametrize("document", [b"", b"hello", b"%PDF-1.4\njunk", b"II*\0junk", b"%!PS\nshowpage"])
async def test_what_is_no_document_is_refused(folder: DocumentFolder, tmp_path: Path, document: bytes) -> None:
    answer = await folder.prepare("bad", document)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.obstacle) == (Code.INVALID, Obstacle.UNREADABLE)
    assert list((tmp_path / "fax").glob("*")) == []


async def test_missing_program_is_named_with_its_package(
    folder: DocumentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "prlimit").symlink_to("/usr/bin/prlimit")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    answer = await folder.prepare("a", pdf())
    assert isinstance(answer, Refused)
    assert "'gs' is missing" in answer.message
    assert "apt-get install ghostscript" in answer.advice


async def test_documents_are_removed_when_their_time_is_over_and_not_before(
    folder: DocumentFolder, tmp_path: Path, clock: FakeClock
) -> None:
    await folder.prepare("old", pdf())
    kept_us = 7 * 86_400 * 1_000_000
    at_ns = (clock.now().wall_us - kept_us) * 1000
    os.utime(tmp_path / "fax" / "old.tif", ns=(at_ns, at_ns))
    assert folder.sweep() == 0
    os.utime(tmp_path / "fax" / "old.tif", ns=(at_ns - 1000, at_ns - 1000))
    assert folder.sweep() == 1
