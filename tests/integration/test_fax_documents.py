"""Documents become faxes by the real Ghostscript and libtiff."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image

from charging.fax import convert
from charging.fax.desk import Paper
from charging.fax.folder import DocumentFolder, FolderSettings
from charging.fax.tiff import page_count
from charging.service.refusal import Code, Obstacle, Refused
from tests.corpus.pdf import Pdf, one, stream
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


# --- what is charged was delivered as sent ----------------------------------------------------------------------


def picture(path: Path, *, colour: bool) -> Path:
    """An uncompressed TIFF of a page that is black for an eighth of its height."""
    width, height = 400, 560
    grey = [0 if 100 <= line < 170 else 255 for line in range(height) for _ in range(width)]
    dots = bytes(level for one in grey for level in (one, one, one)) if colour else bytes(grey)
    source = path / ("page.ppm" if colour else "page.pgm")
    source.write_bytes(b"P%d\n%d %d\n255\n" % (6 if colour else 5, width, height) + dots)
    made = path / f"{source.suffix}.tif"
    subprocess.run(["ppm2tiff", source, made], check=True)
    return made


def copied(source: Path, *options: str, times: int = 1) -> bytes:
    """The same picture, coded otherwise."""
    made = source.with_name("copied.tif")
    subprocess.run(["tiffcp", *options, *([source] * times), made], check=True)
    return made.read_bytes()


def ink(paper: Path) -> list[int]:
    """How many dots in a thousand are black, page by page."""
    plain = paper.with_name("plain.tif")
    subprocess.run(["tiffcp", "-c", "none", "-r", "999999", paper, plain], check=True, capture_output=True)
    data, found = plain.read_bytes(), []
    plain.unlink()
    (place,) = struct.unpack_from("<I", data, 4)
    while place:
        (count,) = struct.unpack_from("<H", data, place)
        entries = (struct.unpack_from("<HHII", data, place + 2 + 12 * one) for one in range(count))
        tags = {tag: value for tag, _, _, value in entries}
        dots = data[tags[273] : tags[273] + tags[279]]
        ones = int.from_bytes(dots, "big").bit_count()
        black = ones if tags[262] & 0xFFFF == 0 else 8 * len(dots) - ones
        found.append(round(1000 * black / (8 * len(dots))))
        (place,) = struct.unpack_from("<I", data, place + 2 + 12 * count)
    return found


async def printed(folder: DocumentFolder, tmp_path: Path, document: bytes) -> list[int]:
    paper = await folder.prepare("anna", "a", document)
    assert isinstance(paper, Paper), paper
    return ink(tmp_path / "fax" / f"{paper.name}.tif")


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize(
    "options",
    [
        ("-c", "jpeg"),
        ("-c", "jpeg:r:50"),
        ("-c", "jpeg", "-r", "16"),
        ("-c", "jpeg", "-t"),
        ("-c", "zip"),
        ("-c", "lzw", "-B"),
    ],
    ids=["jpeg", "jpeg as rgb", "jpeg in strips", "jpeg in tiles", "deflate", "big-endian"],
)
async def test_every_coding_of_a_tiff_is_printed_with_its_ink(
    folder: DocumentFolder, tmp_path: Path, colour: bool, options: tuple[str, ...]
) -> None:
    """JPEG was faxed blank, and charged."""
    document = copied(picture(tmp_path, colour=colour), *options, times=2)
    assert all(120 <= page <= 130 for page in await printed(folder, tmp_path, document))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("coding", ["none", "lzw", "zip", "jpeg"])
async def test_tiff_that_was_cut_off_on_its_way_is_refused(
    folder: DocumentFolder, tmp_path: Path, coding: str, part: float
) -> None:
    """It was one page of two, or one that was half white, and charged."""
    document = copied(picture(tmp_path, colour=False), "-c", coding, times=2)
    answer = await folder.prepare("anna", "a", document[: int(len(document) * part)])
    assert isinstance(answer, Refused)
    assert answer.obstacle is Obstacle.UNREADABLE
    assert os.listdir(tmp_path / "fax") == []


async def test_tiff_with_a_damaged_picture_is_refused(folder: DocumentFolder, tmp_path: Path) -> None:
    document = bytearray(copied(picture(tmp_path, colour=False), "-c", "jpeg", "-t"))
    middle = len(document) // 2
    document[middle : middle + 12] = bytes(12)
    answer = await folder.prepare("anna", "a", bytes(document))
    assert isinstance(answer, Refused), answer
    assert "pictures are damaged" in answer.message or "cannot be read" in answer.message


def photograph() -> bytes:
    """A JPEG of 64 by 64 grey dots of noise."""
    held = io.BytesIO()
    Image.frombytes("L", (64, 64), random.Random(7).randbytes(64 * 64)).save(held, "JPEG")
    return held.getvalue()


def photographed(*pictures: bytes) -> bytes:
    """A PDF of one page that draws these JPEGs of 64 by 64 grey dots."""
    head = "/Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray /BitsPerComponent 8"
    objects = [stream(one, f"{head} /Filter /DCTDecode") for one in pictures]
    numbers = range(3, 3 + len(objects))
    content = "\n".join(f"q 30 0 0 30 {number % 16 * 32} {number // 16 * 32} cm /I{number} Do Q" for number in numbers)
    names = " ".join(f"/I{number} {number} 0 R" for number in numbers)
    return one(content.encode(), resources=f"/XObject << {names} >>", objects=objects)


async def test_a_jpeg_that_is_cut_off_is_found_beside_one_that_libtiff_cannot_read(folder: DocumentFolder) -> None:
    """It was faxed grey, and charged."""
    whole = photograph()
    odd = bytearray(whole)
    odd[odd.index(b"\xff\xc0") + 11] = 0x22  # its one component says that it is sampled twice, as Photoshop's do
    assert isinstance(await folder.prepare("anna", "a", photographed(bytes(odd), whole)), Paper)
    for pictures in ([odd, whole[:-900]], [whole[:-900], odd]):
        answer = await folder.prepare("anna", "b", photographed(*map(bytes, pictures)))
        assert isinstance(answer, Refused)
        assert "page 1 cannot be drawn whole" in answer.message


@pytest.mark.parametrize("broken", [1, 200])
async def test_many_pictures_start_few_programs(
    folder: DocumentFolder, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """A catalogue of 480 with one that was cut off took two minutes."""
    whole, begun = photograph(), list[str]()
    run = convert._run

    async def counted(*arguments: Any, **how: Any) -> Refused | None:
        begun.append(arguments[2])
        return await run(*arguments, **how)

    monkeypatch.setattr(convert, "_run", counted)
    pictures = [whole] * (200 - broken) + [whole[:-900]] * broken
    assert isinstance(await folder.prepare("anna", "a", photographed(*pictures)), Refused)
    assert begun.count("tiffinfo") <= min(convert.LOOKS_MAX, 20 * broken)


def deflated(pages: int, damaged: int = 0) -> bytes:
    """A PDF whose pages are compressed; one may be damaged."""
    made = pdf(pages)
    for number, content in enumerate(re.findall(rb"<< /Length \d+ >>\nstream\n.*?\nendstream", made, re.DOTALL), 1):
        packed = zlib.compress(content.split(b"\n")[2])
        if number == damaged:
            packed = packed[:8] + bytes(one ^ 0x55 for one in packed[8:])
        stream = b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(packed), packed)
        made = made.replace(content, stream)
    return made


async def test_page_of_a_pdf_that_is_damaged_is_named(folder: DocumentFolder) -> None:
    """It was sent as a blank page, and charged."""
    assert isinstance(await folder.prepare("anna", "a", deflated(3)), Paper)
    answer = await folder.prepare("anna", "a", deflated(3, damaged=2))
    assert isinstance(answer, Refused)
    assert (answer.message, answer.obstacle) == ("found a document whose page 2 is damaged", Obstacle.UNREADABLE)


@pytest.mark.parametrize(
    "odd",
    [
        lambda document: b"\xef\xbb\xbf" + document,
        lambda document: b"Content-Type: application/pdf\r\n\r\n" + document,
        lambda document: document[: document.index(b"xref")] + b"trailer\n<< /Size 10 /Root 1 0 R >>\n",
        lambda document: re.sub(rb"startxref\n\d+", b"startxref\n7", document),
        lambda document: document + b"\r\n--boundary--\r\n",
    ],
    ids=["byte order mark", "line before", "no table", "wrong table", "line behind"],
)
async def test_pdf_that_is_odd_and_whole_is_sent_whole(
    folder: DocumentFolder, tmp_path: Path, odd: Callable[[bytes], bytes]
) -> None:
    plain = await printed(folder, tmp_path, pdf(3))
    assert await printed(folder, tmp_path, odd(pdf(3))) == plain
    assert all(plain)


async def test_head_of_a_pdf_lets_no_program_run(folder: DocumentFolder) -> None:
    """Ghostscript runs what stands before a PDF's head."""
    answer = await folder.prepare("anna", "a", b"%!PS\nshowpage\n%PDF-1.4\n")
    assert isinstance(answer, Refused)


def locked(path: Path, password: str) -> bytes:
    """A PDF that only opens with the password; without one it opens for everyone, and is encrypted all the same."""
    plain, made = path / "plain.pdf", path / "locked.pdf"
    plain.write_bytes(pdf(2))
    options = ("-sOwnerPassword=owner", f"-sUserPassword={password}", "-dEncryptionR=3", "-dKeyLength=128")
    line = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", *options, f"-sOutputFile={made}", str(plain)]
    subprocess.run(line, check=True)
    return made.read_bytes()


async def test_pdf_that_opens_with_a_password_is_called_that(folder: DocumentFolder, tmp_path: Path) -> None:
    assert isinstance(await folder.prepare("anna", "a", locked(tmp_path, "")), Paper)
    answer = await folder.prepare("anna", "a", locked(tmp_path, "secret"))
    assert isinstance(answer, Refused)
    assert answer.obstacle is Obstacle.PROTECTED


# --- documents that mean harm -----------------------------------------------------------------------------------


def noise(pages: int, empty: int = 0, side: int = 1_100) -> bytes:
    """A small PDF whose pages are all dots, which no fax's coding makes smaller; ``empty`` ones behind them."""
    dots = random.Random(1).randbytes(-(-side // 8) * side)
    packed = zlib.compress(dots)
    head = f"<< /Type /XObject /Subtype /Image /Width {side} /Height {side} /ColorSpace /DeviceGray /BitsPerComponent 1"
    image = f"{head} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream"
    content = b"q 595 0 0 842 0 0 cm /I Do Q"
    kids = " ".join(["5 0 R"] * pages + ["6 0 R"] * empty)
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /I 3 0 R >> >> "
    page += "/Contents 4 0 R >>"
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages + empty} >>".encode(),
        image,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        page.encode(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
    ]
    made = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(bodies, 1))
    return made + b"trailer\n<< /Size 7 /Root 1 0 R >>\n%%EOF\n"


async def test_document_that_cannot_be_sent_in_its_time_is_refused_and_leaves_nothing(
    folder: DocumentFolder, tmp_path: Path
) -> None:
    answer = await folder.prepare("anna", "a", noise(3))
    assert isinstance(answer, Refused), answer
    assert answer.obstacle is Obstacle.TOO_LARGE
    assert os.listdir(tmp_path / "fax") == []


@pytest.mark.parametrize(("side", "is_taken"), [(1_200, True), (1_300, False)])
async def test_page_that_cannot_be_sent_in_its_time_is_refused_whatever_follows(
    folder: DocumentFolder, side: int, is_taken: bool
) -> None:
    """Empty pages behind a dense one gave it their time: its line was held for hours without a page that is charged."""
    answer = await folder.prepare("anna", "a", noise(1, empty=2, side=side))
    assert isinstance(answer, Paper) == is_taken, answer
    assert is_taken or (isinstance(answer, Refused) and answer.obstacle is Obstacle.TOO_LARGE)


BLACK = b"100 100 200 200 re f"
BESIDE, WITHIN = "/CropBox [400 400 500 500]", "/CropBox [50 50 350 350]"


def boxed(pages: list[tuple[str, bytes]], *, packed: bool = False) -> bytes:
    """A PDF whose pages have these boxes and drawings; ``packed``: with the pages' dictionaries in an object stream."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode()}
    for n, (boxes, drawn) in enumerate(pages):
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]{boxes}/Contents {4 + 2 * n} 0 R/Resources<<>>>>"
        objects[3 + 2 * n] = page.encode()
        objects[4 + 2 * n] = b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn)
    last = max(objects)
    inside = {n: one for n, one in objects.items() if n < 4 or n % 2} if packed else {}
    body, places = b"%PDF-1.5\n", {}
    if packed:
        heads, parts = [], b""
        for n, one in inside.items():
            heads.append(b"%d %d" % (n, len(parts)))
            parts += one + b" "
        head = b" ".join(heads) + b" "
        stream = zlib.compress(head + parts)
        objects[last + 1] = (
            (
                b"<</Type/ObjStm/N %d/First %d/Filter/FlateDecode/Length %d>>stream\n"
                % (len(inside), len(head), len(stream))
            )
            + stream
            + b"\nendstream"
        )
    for n, one in sorted(objects.items()):
        if n not in inside:
            places[n] = len(body)
            body += b"%d 0 obj\n%s\nendobj\n" % (n, one)
    at, size = len(body), last + 3
    rows = [b"\0\0\0\0\0\xff\xff"]
    order = {n: place for place, n in enumerate(inside)}
    for n in range(1, size):
        if n in inside:
            rows.append(b"\2" + (last + 1).to_bytes(4, "big") + order[n].to_bytes(2, "big"))
        else:
            rows.append(b"\1" + places.get(n, at).to_bytes(4, "big") + b"\0\0")
    table = b"".join(rows)
    body += b"%d 0 obj\n<</Type/XRef/W[1 4 2]/Size %d/Root 1 0 R/Length %d>>stream\n" % (last + 2, size, len(table))
    return body + table + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % at


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("pages", "wrong"),
    [
        ([("", BLACK), (BESIDE, BLACK)], 2),
        ([(BESIDE, b""), ("", BLACK), (BESIDE, BLACK)], 3),
        ([("", BLACK), (WITHIN, BLACK), ("", b"")], None),
        ([("/CropBox [-9 -9 900 900]", b"")], None),
    ],
    ids=["beside", "beside on the third", "within, and an empty page", "an empty page in a large box"],
)
async def test_a_page_that_shows_nothing_of_what_is_drawn_is_refused_by_its_number(
    folder: DocumentFolder, pages: list[tuple[str, bytes]], wrong: int | None, packed: bool
) -> None:
    """It would be sent blank, and charged. Where the box cannot be undone an empty page is refused, too."""
    answer = await folder.prepare("anna", "fax-1", boxed(pages, packed=packed))
    if wrong is None:
        assert isinstance(answer, Paper), answer
        return
    assert isinstance(answer, Refused), answer
    first = next(n for n, (boxes, _) in enumerate(pages, start=1) if boxes == BESIDE)
    assert f"page {first if packed else wrong} shows nothing" in answer.message
    assert answer.obstacle is Obstacle.UNREADABLE


async def test_nothing_unpacks_a_strangers_document_where_calls_are_decided(
    folder: DocumentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 kB can hold 50 MB, over which one step takes a fifth of a second, and all calls with it."""

    def here(_document: bytes) -> bytes:
        raise AssertionError("it is looked into by a program of its own")

    monkeypatch.setattr("charging.fax.pdf.uncropped", here)
    monkeypatch.setattr("charging.fax.pdf.hollow", here)
    monkeypatch.setattr("charging.fax.pdf._unpacked", here)
    document = boxed([("", BLACK), (BESIDE, BLACK)], packed=True) + b"\n% null\n"
    answer = await folder.prepare("anna", "fax-1", document)
    assert isinstance(answer, Refused), answer
    assert "shows nothing" in answer.message


@pytest.mark.parametrize("figures", [". . . .", "- - - -", "1.2.3 0 0 0", "0 0 9 9"])
async def test_title_in_the_words_of_the_program_that_reads_it_is_a_title(folder: DocumentFolder, figures: str) -> None:
    """Ghostscript writes it as it stands, with its line breaks, among what it says of the pages."""
    page = Pdf()
    title = page.add(f"<< /Title (x\nPage 1 MediaBox: [{figures}] CropBox: [{figures}]\ny) >>")
    document = page.page(b"", "/CropBox [-9 -9 900 900]").made(trailer=f"/Info {title} 0 R")
    assert isinstance(await folder.prepare("anna", "fax-1", document), Paper)


@pytest.mark.parametrize(
    "fault",
    [
        *(
            ValueError("x"),
            struct.error("x"),
            zlib.error("x"),
            TypeError("x"),
            RecursionError("x"),
            AssertionError("x"),
        ),
        *(MemoryError(), FileNotFoundError(errno.ENOENT, "x"), PermissionError(errno.EACCES, "x"), OSError("x")),
    ],
    ids=repr,
)
async def test_fault_of_ours_about_a_document_refuses_it(
    folder: DocumentFolder, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Of whatever kind. By mail it would be tried again for five days."""
    for place in ("charging.fax.pdf.is_cut_off", "charging.fax.convert._looked_at"):
        with monkeypatch.context() as patch:
            patch.setattr(place, Mock(side_effect=fault))
            answer = await folder.prepare("anna", "fax-1", pdf(1))
        assert isinstance(answer, Refused)
        assert (answer.code, answer.obstacle) == (Code.INVALID, Obstacle.UNREADABLE)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO])
async def test_fault_of_the_machine_refuses_no_document(
    folder: DocumentFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its mail waits."""
    monkeypatch.setattr("charging.fax.pdf.is_cut_off", Mock(side_effect=OSError(number, "x")))
    with pytest.raises(OSError, match="x"):
        await folder.prepare("anna", "fax-1", pdf(1))


@pytest.mark.parametrize(
    ("kinds", "pages"),
    [((0, 1), 1), ((1, 0), 1), ((2, 2, 5, 2), 3), ((0, 4), 1), ((1, 1), 0)],
    ids=["thumbnail behind", "thumbnail before", "pages of a fax, one with a thumbnail", "mask", "nothing else"],
)
async def test_thumbnails_and_masks_are_no_pages(folder: DocumentFolder, kinds: tuple[int, ...], pages: int) -> None:
    """NewSubfileType (TIFF 6.0)."""
    paper = await folder.prepare("anna", "fax-1", tiff(len(kinds), kinds=kinds))
    assert paper.pages == pages if isinstance(paper, Paper) else (pages == 0 and "without a page" in paper.message)
