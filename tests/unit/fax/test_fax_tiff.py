"""Pages of TIFF files are counted from their directories, and broken files are none."""

from __future__ import annotations

import pytest

from charging.fax.tiff import page_count
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
