"""Converts a document (PDF or TIFF) to the TIFF that a fax machine receives, by Ghostscript and libtiff's tools.

The programs read documents made by strangers, so each runs in the sandbox (`charging.fax.sandbox`), with limits on
time, memory and output. If a document cannot be read, the answer is a Refused, not an exception.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import mmap
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import structlog

from charging.call.fax import send_s
from charging.fax import jpeg, letters, pdf, sandbox
from charging.fax.tiff import blank_pages, doubtful_page, page_bytes, page_count, page_places
from charging.files import free_bytes
from charging.records import dataclass
from charging.service.refusal import Code, Obstacle, Refused
from charging.tasks import deaf_to_hangup

TIME_S = 60
"""Of one program."""
DOCUMENT_S = 90
"""Of all programs that read a document; to find the page at fault, each page is read by itself."""
CPU_S = 30
MEMORY_BYTES = 600_000_000
BETWEEN_BYTES = 200_000_000
"""Of the PDF that a TIFF becomes on its way."""
WRITTEN_MAX = 4 * BETWEEN_BYTES
"""Bytes, of all files that one program writes; each by itself has a limit of its own. A program that a stranger has
taken over must not fill the disk."""
FILES_MAX = 100
"""In the folder that it writes in; Ghostscript and libtiff's tools make a few."""
ROOM_BYTES = 380_000_000
"""With less than this free on the disk of documents none is begun: the ledger may be on it. It may be the voicemail's
spool, too, where what strangers leave ends sooner (`charging.engine.spool`)."""
LEFT_BYTES = 300_000_000
"""With less than this free there, programs that read one are ended: two documents at a time may take 650 MB."""
LOOK_S = 0.1
"""Between two looks at what a program has written."""
RESOLUTION = "204x196"
"""Fine: dots per inch across and down."""
PAPER = "1728x2292"
"""A4 at that resolution. Every line of a fax has 1728 dots."""
SAID_BYTES = 65_536
LOOKS_MAX = 50
"""At the JPEGs of a document: each is a program that starts."""
INFO_BYTES = 2_000_000
"""Of what Ghostscript says about the pages of a file: more than faxes have."""
LINE_BYTES_S = 1_800
"""What a fax machine takes at most: 14,400 bits a second (ITU-T V.17)."""

_PYTHON = (os.path.realpath(sys.base_prefix), letters.__file__, pdf.__file__)
"""What Python reads to look into a document: its library, and what it is to do."""
BLOCK_BYTES = 512
"""Of `st_blocks`, whatever the disk's own blocks are (stat(2))."""
_OF_THE_MACHINE = frozenset(
    (*(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO), *(errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM))
)
"""Errors for which no document can do anything: another time it may be read. A program that a document has taken over
can have its output found in any other state."""
_WRITTEN = re.compile(r"^write_bytes: ([0-9]+)$", re.MULTILINE)
"""In /proc/PID/io (proc(5))."""
_TIFF_TOOLS = "libtiff-tools"
PACKAGES = {"gs": "ghostscript", "tiffcp": _TIFF_TOOLS, "tiff2pdf": _TIFF_TOOLS, "tiffinfo": _TIFF_TOOLS}

log = structlog.get_logger(__name__)


class _NoRoomError(Exception):
    """Too little is free on the disk of documents."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a document is made ready: a folder of its own, which is removed afterwards."""

    folder: Path
    sandbox_required: bool = True
    """``False``: where the kernel cannot hide files from the programs, they run all the same."""

    @property
    def document(self) -> Path:
        """As it was handed in."""
        return self.folder / "document"

    @property
    def output(self) -> Path:
        """All that the programs may write."""
        return self.folder / "output"

    @property
    def paper(self) -> Path:
        """What becomes of it."""
        return self.output / "paper.tif"

    @property
    def said(self) -> Path:
        """What the last program wrote about it."""
        return self.output / "said"

    def furnish(self, data: bytes) -> None:
        """Put the document in, without what stands before a PDF's head: some programs put a byte order mark or a line
        there, and Ghostscript would take the whole for a program in PostScript."""
        self.output.mkdir()
        self.document.write_bytes(data[max(0, data.find(pdf.HEAD, 0, pdf.HEAD_WITHIN)) :])


@dataclass(frozen=True, slots=True)
class Made:
    """What a document has become."""

    pages: int
    digest: str
    """The SHA-256, in hexadecimal."""


def bytes_max(pages: int) -> int:
    """What can be sent of so many pages before the switch ends it: more bytes would be cut off, and charged in part."""
    return send_s(pages) * LINE_BYTES_S


def _too_dense() -> Refused:
    """More bytes than `bytes_max`."""
    message = "found pages so full of grey or of pictures that they cannot be sent in the time that a fax has"
    return Refused(Code.INVALID, message, "send it in parts, or with fewer pictures", Obstacle.TOO_LARGE)


def _too_many_pages(pages_max: int) -> Refused:
    """More pages than the operator allows."""
    message = f"found more than {pages_max} pages"
    return Refused(Code.INVALID, message, "send it in parts", Obstacle.TOO_MANY_PAGES)


async def convert(room: Room, pages_max: int) -> Made | Refused:
    """Convert the room's ``document`` (PDF or TIFF, recognised by its first bytes) to its ``paper``. It converts at
    most one page more than ``pages_max``, enough to notice that there are too many. Raises OSError where the machine
    is short of something."""
    try:
        async with asyncio.timeout(DOCUMENT_S):
            await _has_left(room.folder, ROOM_BYTES)
            wrong = await _converted(room, pages_max)
            return wrong if wrong is not None else await asyncio.to_thread(_looked_at, room.paper, pages_max)
    except TimeoutError:
        log.warning("fax_document_slow", seconds=DOCUMENT_S)
        return unreadable(f"found a document that cannot be read within {DOCUMENT_S} s")
    except _NoRoomError:
        log.error("fax_document_no_room", free_mb_min=LEFT_BYTES // 1_000_000)
        advice = "nothing was charged; send it again later. The operator must make room there"
        return Refused(Code.UNAVAILABLE, "too little is free on the disk of documents", advice)
    except Exception as error:  # a fault of ours, of whatever kind: it would be met at each further try
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise
        log.exception("fax_document_fault")
        return unreadable("found a document that cannot be read")


async def _converted(room: Room, pages_max: int) -> Refused | None:
    data = await asyncio.to_thread(room.document.read_bytes)
    if data.startswith(pdf.HEAD):
        if await asyncio.to_thread(pdf.is_cut_off, data):
            return unreadable("found a PDF that was cut off on its way")
        source = await _with_loud_parts(room, data)
        if isinstance(source, Refused):
            return source
        return await _print(room, source, pages_max) or await _hidden(room, pages_max)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return await _print_tiff(room, await asyncio.to_thread(page_places, data), pages_max)
    if data[:4] in (b"II+\0", b"MM\0+"):
        return Refused(Code.INVALID, "found a BigTIFF", "save it as a TIFF, or as a PDF", Obstacle.UNREADABLE)
    message = "found a document that is neither PDF nor TIFF"
    return Refused(Code.INVALID, message, "send it as a PDF", Obstacle.UNREADABLE)


def _looked_at(paper: Path, pages_max: int) -> Made | Refused:
    data = paper.read_bytes() if paper.exists() else b""
    pages = page_count(data)
    if pages is None:
        return unreadable("found a document without a page")
    if pages > pages_max:
        return _too_many_pages(pages_max)
    if any(size > bytes_max(number) for number, size in enumerate(accumulate(page_bytes(data)), start=1)):
        return _too_dense()  # each page, with all before it: what follows may be empty
    return Made(pages, hashlib.sha256(data).hexdigest())


async def _with_loud_parts(room: Room, data: bytes) -> Path | Refused:
    """The document, or a copy in which each damaged JPEG or font is made unreadable, and each piece that is null a
    number, so that Ghostscript reports an error on a page that has one."""
    pictures = await _damaged(room, data, await asyncio.to_thread(jpeg.pictures, data))
    if isinstance(pictures, Refused):
        return pictures
    fonts = await _found_by(room, letters.__file__)
    if isinstance(fonts, Refused):
        return fonts
    may_be_hollow = await asyncio.to_thread(pdf.holds, data, pdf.NULL)
    hollow = await _found_by(room, pdf.__file__) if may_be_hollow else []
    if isinstance(hollow, Refused):
        return hollow
    if not (pictures or fonts or hollow):
        return room.document
    loud = bytearray(data)
    for start in (*(place.start for place in pictures), *fonts):
        loud[start : start + jpeg.MARK_BYTES] = bytes(jpeg.MARK_BYTES)
    for start in hollow:
        loud[start : start + len(pdf.NULL)] = b"1234"
    copy = room.output / "loud.pdf"
    await asyncio.to_thread(copy.write_bytes, loud)
    return copy


async def _found_by(room: Room, program: str) -> Sequence[int] | Refused:
    """At which bytes a program of ours finds something damaged: a font's data, a piece that is nothing. A document of
    which that cannot be said in time is taken as whole."""
    wrong = await _python(room, program)
    if wrong is not None and wrong.code is not Code.INVALID:
        return wrong
    told = await asyncio.to_thread(_said, room, INFO_BYTES)
    return [] if wrong is not None else [int(line) for line in told.split()]


async def _python(room: Room, program: str, *arguments: str) -> Refused | None:
    """Run one of ours on the document."""
    python = ("-I", "-S", program, str(room.document), *arguments)
    return await _run(room, BETWEEN_BYTES, sys.executable, *python, is_a_look=True)


async def _damaged(room: Room, data: bytes, pictures: Sequence[slice]) -> Sequence[slice] | Refused:
    """The JPEGs in which libtiff reports damage. It stops at one that it cannot read at all, which Ghostscript may: so
    they are looked at together, and by halves if something is wrong. What LOOKS_MAX and TIME_S leave is not looked
    at."""
    found, groups = list[slice](), [pictures]
    clock = asyncio.get_running_loop()
    until_s, looks = clock.time() + TIME_S, 0
    while groups and looks < LOOKS_MAX and clock.time() < until_s:
        group = groups.pop()
        tiff = await asyncio.to_thread(jpeg.as_tiff, [data[place] for place in group])
        if tiff is None:
            continue
        looks += 1
        whole = room.output / "pictures.tif"
        await asyncio.to_thread(whole.write_bytes, tiff)
        wrong = await _run(room, BETWEEN_BYTES, "tiffinfo", "-D", str(whole), is_a_look=True)
        if wrong is not None and wrong.code is not Code.INVALID:
            return wrong
        is_damaged = bool(_DAMAGED.search(await asyncio.to_thread(_said, room, INFO_BYTES)))
        if len(group) > 1 and (is_damaged or wrong is not None):
            groups += [group[len(group) // 2 :], group[: len(group) // 2]]
        elif is_damaged and wrong is None:
            found += group
    return found


async def _print_tiff(room: Room, places: Sequence[int] | None, pages_max: int) -> Refused | None:
    """``places``: which of the document's pictures are its pages, by what it says. It is decoded first, since tiff2pdf
    passes compressed strips on as they are, which Ghostscript prints as blank paper where they are JPEG."""
    if places is None:
        return unreadable("found a TIFF that is damaged, or was cut off on its way")
    pages = len(places)
    if not pages:
        return unreadable("found a TIFF without a page: each picture in it says that it is a smaller one, or a mask")
    if pages > pages_max:
        return _too_many_pages(pages_max)
    data = await asyncio.to_thread(room.document.read_bytes)
    if (number := await asyncio.to_thread(doubtful_page, data)) is not None:
        return unreadable(f"found a TIFF whose page {number} has a layer beside its colours")
    whole, pdf = room.output / "whole.tif", room.output / "document.pdf"
    wrong = await _copied(room, places, whole) or await _as_pdf(room, whole, pdf)
    if wrong is not None and wrong.code is Code.INVALID:
        together = unreadable("found a TIFF whose pages cannot be read together")
        return await _unreadable_page(room, whole, pdf, places) or together
    wrong = wrong or await _print(room, pdf, pages_max)
    if wrong is not None:
        return wrong
    printed = await asyncio.to_thread(_pages_of, room.paper)
    if printed != pages:
        return unreadable(f"found a TIFF that has {pages} pages, of which {printed or 0} can be printed")
    return None


async def _copied(room: Room, places: Sequence[int], whole: Path) -> Refused | None:
    """Decode the pages of the document that stand at these places, from 0."""
    pages = len(places)
    # As seen from the output, since a comma in the path means a page.
    source = ",".join((f"../{room.document.name}", *map(str, places)))
    wrong = await _run(room, BETWEEN_BYTES, "tiffcp", "-c", "lzw", source, str(whole))
    if wrong is not None:
        return wrong
    if _DAMAGED.search(_said(room)):
        return unreadable("found a TIFF whose pictures are damaged")
    copied = await asyncio.to_thread(_pages_of, whole)
    if copied != pages:
        return unreadable(f"found a TIFF that says it has {pages} pages, of which {copied or 0} can be read")
    return None


async def _as_pdf(room: Room, whole: Path, pdf: Path) -> Refused | None:
    return await _run(room, BETWEEN_BYTES, "tiff2pdf", "-o", str(pdf), str(whole))


async def _unreadable_page(room: Room, whole: Path, pdf: Path, places: Sequence[int]) -> Refused | None:
    """The first page that cannot be read by itself; ``None``: each can."""
    for number, place in enumerate(places, start=1):
        wrong = await _copied(room, [place], whole) or await _as_pdf(room, whole, pdf)
        if wrong is not None:
            damaged = unreadable(f"found a TIFF whose page {number} is damaged, or of a kind that cannot be read")
            return damaged if wrong.code is Code.INVALID else wrong
    return None


async def _print(room: Room, pdf: Path, pages_max: int) -> Refused | None:
    """A page that cannot be drawn whole ends it: Ghostscript would go on, and print it in part or blank. What it mends
    (a table of contents that is missing) is no error."""
    most = bytes_max(pages_max + 1)
    wrong = await _drawn(room, pdf, room.paper, most, last=pages_max + 1)
    if wrong is not None and wrong.code is not Code.INVALID:
        return wrong
    if room.paper.exists() and room.paper.stat().st_size >= most:
        return _too_dense()
    if wrong is None:
        return await _lost_in(room, pdf, pages_max) if _LOST.search(_said(room)) else None
    if b"requires a password" in _said(room):
        message = "found a PDF that only opens with a password"
        return Refused(Code.INVALID, message, "save it without a password, and send that", Obstacle.PROTECTED)
    begun = _BEGUN.findall(_said(room))
    return unreadable(f"found a document whose page {int(begun[-1])} is damaged") if begun else wrong


async def _drawn(room: Room, pdf: Path, paper: Path, most: int, *, first: int = 1, last: int) -> Refused | None:
    """Colours are taken as they are: by their profiles the black of print (CMYK) would be a dark grey, which a fax
    makes of dots."""
    options = ("-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=tiffg4", f"-r{RESOLUTION}", f"-g{PAPER}")
    bounds = ("-dPDFSTOPONERROR", "-dPDFFitPage", "-dUseFastColor=true", f"-dFirstPage={first}", f"-dLastPage={last}")
    return await _run(room, most, "gs", *options, *bounds, f"-sOutputFile={paper}", "-f", str(pdf))


async def _lost_in(room: Room, pdf: Path, pages_max: int) -> Refused:
    """The first page that is not drawn completely. Ghostscript reports that only at the end of a file, so each page is
    drawn by itself."""
    pages = await asyncio.to_thread(_pages_of, room.paper) or 1
    scratch = room.output / "page.tif"
    for number in range(1, min(pages, pages_max) + 1):
        wrong = await _drawn(room, pdf, scratch, bytes_max(1), first=number, last=number)
        if wrong is not None or _LOST.search(_said(room)):
            return unreadable(f"found a document whose page {number} cannot be drawn whole")
    return unreadable("found a document that cannot be drawn whole")


async def _hidden(room: Room, pages_max: int) -> Refused | None:
    """Find a page that would be sent blank because everything drawn on it lies outside its crop box. An empty page is
    sent as it is."""
    white = await asyncio.to_thread(_blank_pages, room.paper)
    boxes = await _cropped(room, room.document) if white else set()
    hidden = [page for page in white if page in boxes and page <= pages_max]
    if not hidden:
        return None
    whole, scratch = room.output / "uncropped.pdf", room.output / "uncropped.tif"
    first, last = hidden[0], hidden[-1]
    wrong = await _python(room, pdf.__file__, str(whole))
    if wrong is not None:
        return wrong if wrong.code is not Code.INVALID else _shows_nothing(first)
    wrong = await _drawn(room, whole, scratch, bytes_max(last - first + 1), first=first, last=last)
    empty = (
        set() if wrong is not None else {page + first - 1 for page in await asyncio.to_thread(_blank_pages, scratch)}
    )
    kept = await _cropped(room, whole)  # boxes that nobody has undone
    seen = next((page for page in hidden if page not in empty or page in kept), None)
    return None if seen is None else _shows_nothing(seen)


def _shows_nothing(page: int) -> Refused:
    return unreadable(f"found a PDF whose page {page} shows nothing of what is drawn on it")


async def _cropped(room: Room, pdf: Path) -> set[int]:
    """The numbers of the pages whose crop box hides some of their paper."""
    await _run(room, BETWEEN_BYTES, "gs", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-dPDFINFO", "-dNODISPLAY", str(pdf))
    return await asyncio.to_thread(_told_cropped, room)


def _told_cropped(room: Room) -> set[int]:
    """What Ghostscript has just said of them. One match at a time: all at once would hold the calls."""
    found = (match.groups() for match in _BOXES.finditer(_said(room, INFO_BYTES)))
    boxes = (
        (int(page), list(map(float, media.split())), list(map(float, crop.split()))) for page, media, crop in found
    )
    return {page for page, media, crop in boxes if _hides(crop, media)}


def _hides(crop: list[float], media: list[float]) -> bool:
    """Whether the first box does not hold the whole second; both as left, bottom, right, top."""
    return crop[0] > media[0] or crop[1] > media[1] or crop[2] < media[2] or crop[3] < media[3]


_FIGURE = rb"-?[0-9]{1,15}(?:[.][0-9]{0,15})?"
_BOX = rb"\[ *(%b %b %b %b) *\]" % ((_FIGURE,) * 4)
"""As Ghostscript writes it. A document's title stands in the same text, with line breaks and whatever else it has."""
_BOXES = re.compile(rb"^Page ([0-9]{1,5}) MediaBox: " + _BOX + rb" CropBox: " + _BOX, re.MULTILINE)

_LOST = re.compile(
    rb"^warning: ignoring zlib error"
    rb"|^\t(?:recoverable image error|error in (?:image|Mask|shading|pattern|transparency XObject|group definition)"
    rb"|recoverable error in image dictionary|error executing PDF token|error reading a stream"
    rb"|request for unknown filter|typecheck error|invalid object number|object lacks a required Subtype"
    rb"|garbage left on stack)",
    re.MULTILINE,
)
"""What Ghostscript goes on after, with exit code 0, and leaves out: a picture, a part of the page, or all of it. An
object that is not there is one, be it a piece of a page or a font, for which it puts another; so is a letter or a form
that ends in the middle."""
_BEGUN = re.compile(rb"^Page ([0-9]{1,5})$", re.MULTILINE)

_DAMAGED = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG"
    rb"|Bad code word|Line length mismatch|Premature EO[FL]|Discarding [0-9]+ bytes"
)
"""What libtiff says and goes on; with other kinds of damage it ends."""


def _pages_of(paper: Path) -> int | None:
    """Without holding it: what lies between may be large."""
    if not paper.exists() or not paper.stat().st_size:
        return None
    with paper.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return page_count(data)


def _blank_pages(paper: Path) -> list[int]:
    """None of a document that has no page."""
    if not paper.exists() or not paper.stat().st_size:
        return []
    with paper.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return blank_pages(data)


def _said(room: Room, most: int = SAID_BYTES) -> bytes:
    """The end of it, where the programs sum up."""
    with room.said.open("rb") as file:
        file.seek(max(0, room.said.stat().st_size - most))
        return file.read(most)


def unreadable(message: str) -> Refused:
    """A document that its sender can mend."""
    return Refused(Code.INVALID, message, "print it to a new PDF and send that", Obstacle.UNREADABLE)


async def _run(room: Room, file_bytes: int, program: str, *arguments: str, is_a_look: bool = False) -> Refused | None:
    """``is_a_look``: what cannot be read by it may be good all the same."""
    place = shutil.which(program)
    if place is None:
        advice = f"the operator must install it: apt-get install {PACKAGES[program]}"
        return Refused(Code.UNAVAILABLE, f"faxes cannot be prepared: the program {program!r} is missing", advice)
    bounds = sandbox.Bounds(
        read=(str(room.document), *(_PYTHON if program == sys.executable else ())),
        write=(str(room.output),),
        cpu_s=CPU_S,
        memory_bytes=MEMORY_BYTES,
        file_bytes=file_bytes,
        required=room.sandbox_required,
    )
    code = await _ended(sandbox.command(bounds, place, *arguments), room)
    if code == 0:
        return None
    if code in (sandbox.NOT_AVAILABLE, -signal.SIGSYS):
        log.error("fax_sandbox_missing", why=await asyncio.to_thread(sandbox.missing))
        advice = "`charging check` says what the operator must mend"
        return Refused(Code.UNAVAILABLE, "faxes cannot be prepared: this machine has no sandbox for documents", advice)
    if not is_a_look:
        log.warning("fax_document_unreadable", program=program, code=code)
    return unreadable("found a document that cannot be read")


async def _ended(command: list[str], room: Room) -> int | None:
    """The program's exit code; ``None``: its time was over. It can start no others, so that nothing is left of it."""
    with room.said.open("wb") as said, deaf_to_hangup():
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=room.output,
            env=sandbox.environment(room.output),
        )
    try:
        async with asyncio.timeout(TIME_S):
            return await _watched(process, room.output)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _has_left(folder: Path, least: int) -> None:
    """Raises _NoRoomError where less is free."""
    free = await asyncio.to_thread(free_bytes, folder)
    if free is not None and free < least:
        raise _NoRoomError


async def _watched(process: asyncio.subprocess.Process, output: Path) -> int | None:
    """The program's exit code; ``None``: it has written more than any document needs. Raises _NoRoomError."""
    while True:
        try:
            async with asyncio.timeout(LOOK_S):
                return await process.wait()
        except TimeoutError:
            await _has_left(output, LEFT_BYTES)
            if await asyncio.to_thread(_fills_the_disk, process.pid, output):
                log.error("fax_document_fills_disk", bytes_max=WRITTEN_MAX, files_max=FILES_MAX)
                return None


def _fills_the_disk(pid: int, output: Path) -> bool:
    """Whether it has made too many files, or written too much: also into files that have no name any more."""
    files = 0
    taken = 0
    with os.scandir(output) as entries:
        for entry in entries:
            files += 1
            if files > FILES_MAX:
                return True
            with suppress(FileNotFoundError):
                taken += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
    with suppress(OSError):  # it is over, or has yet to become the program
        written = _WRITTEN.search(Path(f"/proc/{pid}/io").read_text(encoding="ascii"))
        taken = max(taken, int(written[1]) if written is not None else 0)
    return taken > WRITTEN_MAX
