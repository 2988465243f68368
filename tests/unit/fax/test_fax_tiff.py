"""Pages of TIFF files are counted from their directories, and broken files are none."""

from __future__ import annotations

from typing import Any

import pytest

from charging.fax.tiff import ENTRIES_MAX, doubtful_page, page_count
from tests.fakes.documents import tiff


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("pages", [1, 2, 30])
def test_pages_are_counted(pages: int, order: str) -> None:
    assert page_count(tiff(pages, order=order)) == pages


def test_file_cut_anywhere_is_none() -> None:
    whole = tiff(2)
    assert [length for length in range(len(whole)) if page_count(whole[:length]) is not None] == []


def test_chain_that_bites_its_own_tail_is_none() -> None:
    endless = bytearray(tiff(1))
    endless[-4:] = endless[4:8]
    assert page_count(bytes(endless)) is None


@pytest.mark.parametrize("data", [b"", b"II", b"%PDF-1.4", b"II\x2b\0\x08\0\0\0", b"II*\0\0\0\0\0"])
def test_what_is_no_tiff_is_none(data: bytes) -> None:
    assert page_count(data) is None


class Counted(bytes):
    """Data that counts how often it is read."""

    reads = 0

    def __getitem__(self, key: object) -> Any:
        self.reads += 1
        return super().__getitem__(key)  # type: ignore[call-overload]


def overlapping(pages: int, entries: int, apart: int) -> Counted:
    """A TIFF whose directories begin ``apart`` bytes from one another, and each claim so many entries."""
    first, length = 8, 2 + entries * 12
    made = bytearray(first + apart * (pages - 1) + length + 4)
    made[:first] = b"II*\0" + first.to_bytes(4, "little")
    for page in range(pages):
        place = first + apart * page
        made[place : place + 2] = entries.to_bytes(2, "little")
    for page in range(pages - 1):
        end = first + apart * page + length
        made[end : end + 4] = (first + apart * (page + 1)).to_bytes(4, "little")
    return Counted(made)


@pytest.mark.parametrize("entries", [65_535, ENTRIES_MAX])
def test_directories_that_overlap_are_none_after_a_few_reads_for_each(entries: int) -> None:
    data = overlapping(500, entries, 4)
    assert (page_count(data), doubtful_page(data)) == (None, None)
    assert data.reads < 10 * 500


@pytest.mark.parametrize(("entries", "count"), [(ENTRIES_MAX, 2), (ENTRIES_MAX + 1, None)])
def test_a_directory_has_so_many_entries_and_no_more(entries: int, count: int | None) -> None:
    assert page_count(overlapping(2, entries, 2 + entries * 12 + 4)) == count


@pytest.mark.parametrize(("apart", "count"), [(2 + 12 + 4, 3), (2 + 12 + 3, None), (2 + 12, None)])
def test_directories_may_touch_and_not_overlap(apart: int, count: int | None) -> None:
    assert page_count(overlapping(3, 1, apart)) == count


def test_each_entry_of_a_sound_file_is_looked_at_once() -> None:
    data = Counted(tiff(30))
    assert doubtful_page(data) is None
    assert data.reads < 30 * (2 * 9 + 6)


def test_the_page_that_has_more_than_its_colours_is_named() -> None:
    pages = bytearray(tiff(3))
    samples = pages.rindex((277).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    pages[samples + 8] = 2
    assert doubtful_page(bytes(pages)) == 3
