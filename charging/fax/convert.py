"""From a document as people hand it in to the TIFF that a fax machine receives, by Ghostscript and libtiff's tools.

The programs read what strangers made, so each runs in the sandbox (`charging.fax.sandbox`), bounded in time, memory and
output. What cannot be read is an answer (Refused), not an exception.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

from charging.fax import sandbox
from charging.service.fax_desk import send_s
from charging.service.refusal import Code, Obstacle, Refused

TIME_S = 60
CPU_S = 30
MEMORY_BYTES = 1_000_000_000
BETWEEN_BYTES = 200_000_000
"""Of the PDF that a TIFF becomes on its way."""
RESOLUTION = "204x196"
"""Fine: dots per inch across and down."""
PAPER = "1728x2292"
"""A4 at that resolution. Every line of a fax has 1728 dots."""
LINE_BYTES_S = 1_800
"""What a fax machine takes at most: 14,400 bits a second (ITU-T V.17)."""

PACKAGES = {"gs": "ghostscript", "tiff2pdf": "libtiff-tools"}

log = structlog.get_logger(__name__)


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

    def furnish(self, data: bytes) -> None:
        """Put the document in."""
        self.output.mkdir()
        self.document.write_bytes(data)


def bytes_max(pages: int) -> int:
    """What can be sent of so many pages before the switch ends it: more bytes would be cut off, and charged in part."""
    return send_s(pages) * LINE_BYTES_S


def too_dense() -> Refused:
    """More bytes than `bytes_max`."""
    message = "found pages so full of grey or of pictures that they cannot be sent in the time that a fax has"
    return Refused(Code.INVALID, message, "send it in parts, or with fewer pictures", Obstacle.TOO_LARGE)


async def convert(room: Room, pages_max: int) -> Refused | None:
    """Make the room's ``document`` (PDF or TIFF, told by its first bytes) its ``paper``; at most one page more than
    ``pages_max``, so that too many are noticed. ``None``: done."""
    with room.document.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"%PDF-"):
        return await _print(room, room.document, pages_max)
    if head[:4] in (b"II*\0", b"MM\0*"):
        pdf = room.output / "document.pdf"
        wrong = await _run(room, BETWEEN_BYTES, "tiff2pdf", "-o", str(pdf), str(room.document))
        return wrong or await _print(room, pdf, pages_max)
    message = "found a document that is neither PDF nor TIFF"
    return Refused(Code.INVALID, message, "send it as a PDF", Obstacle.UNREADABLE)


async def _print(room: Room, pdf: Path, pages_max: int) -> Refused | None:
    options = ("-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=tiffg4", f"-r{RESOLUTION}", f"-g{PAPER}")
    bounds = ("-dPDFFitPage", f"-dLastPage={pages_max + 1}")
    most = bytes_max(pages_max + 1)
    wrong = await _run(room, most, "gs", *options, *bounds, f"-sOutputFile={room.paper}", "-f", str(pdf))
    if wrong is not None and room.paper.exists() and room.paper.stat().st_size >= most:
        return too_dense()
    return wrong


async def _run(room: Room, file_bytes: int, program: str, *arguments: str) -> Refused | None:
    place = shutil.which(program)
    if place is None:
        advice = f"the operator must install it: apt-get install {PACKAGES[program]}"
        return Refused(Code.UNAVAILABLE, f"faxes cannot be prepared: the program {program!r} is missing", advice)
    bounds = sandbox.Bounds(
        read=(str(room.document),),
        write=(str(room.output),),
        cpu_s=CPU_S,
        memory_bytes=MEMORY_BYTES,
        file_bytes=file_bytes,
        required=room.sandbox_required,
    )
    code = await _ended(sandbox.command(bounds, place, *arguments), room.output)
    if code == 0:
        return None
    if code in (sandbox.NOT_AVAILABLE, -signal.SIGSYS):
        log.error("fax_sandbox_missing", why=await asyncio.to_thread(sandbox.missing))
        advice = "`charging check` says what the operator must mend"
        return Refused(Code.UNAVAILABLE, "faxes cannot be prepared: this machine has no sandbox for documents", advice)
    log.warning("fax_document_unreadable", program=program, code=code)
    advice = "print it to a new PDF and send that"
    return Refused(Code.INVALID, "found a document that cannot be read", advice, Obstacle.UNREADABLE)


async def _ended(command: list[str], scratch: Path) -> int | None:
    """The program's exit code; ``None``: its time was over. It can start no others, so that nothing is left of it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=scratch,
        env=sandbox.environment(scratch),
    )
    try:
        async with asyncio.timeout(TIME_S):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
