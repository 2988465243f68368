"""From a document as people hand it in to the TIFF that a fax machine receives, by Ghostscript and libtiff's tools.

The programs read what strangers made, so each runs bounded in time, memory and size of its files, and Ghostscript in
its safe mode. What cannot be read is an answer (Refused), not an exception.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from charging.service.refusal import Code, Obstacle, Refused

TIME_S = 60
MEMORY_BYTES = 2_000_000_000
FILE_BYTES = 200_000_000
RESOLUTION = "204x196"
"""Fine: dots per inch across and down."""
PAPER = "1728x2292"
"""A4 at that resolution. Every line of a fax has 1728 dots."""

PACKAGES = {"gs": "ghostscript", "tiff2pdf": "libtiff-tools", "prlimit": "util-linux"}

log = structlog.get_logger(__name__)


async def convert(head: bytes, document: Path, paper: Path, pages_max: int) -> Refused | None:
    """Write ``document`` (PDF or TIFF, told by its first bytes, ``head``) to ``paper``; at most one page more than
    ``pages_max``, so that too many are noticed. ``None``: done."""
    if head.startswith(b"%PDF-"):
        return await _print(document, paper, pages_max)
    if head[:4] in (b"II*\0", b"MM\0*"):
        pdf = document.with_suffix(".pdf")
        return await _run("tiff2pdf", "-o", str(pdf), str(document)) or await _print(pdf, paper, pages_max)
    message = "found a document that is neither PDF nor TIFF"
    return Refused(Code.INVALID, message, "send it as a PDF", Obstacle.UNREADABLE)


async def _print(pdf: Path, paper: Path, pages_max: int) -> Refused | None:
    options = ("-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=tiffg4", f"-r{RESOLUTION}", f"-g{PAPER}")
    bounds = ("-dPDFFitPage", f"-dLastPage={pages_max + 1}")
    return await _run("gs", *options, *bounds, f"-sOutputFile={paper}", "-f", str(pdf))


async def _run(program: str, *arguments: str) -> Refused | None:
    for needed in ("prlimit", program):
        if shutil.which(needed) is None:
            advice = f"the operator must install it: apt-get install {PACKAGES[needed]}"
            return Refused(Code.UNAVAILABLE, f"faxes cannot be prepared: the program {needed!r} is missing", advice)
    bounds = (f"--cpu={TIME_S}", f"--as={MEMORY_BYTES}", f"--fsize={FILE_BYTES}", "--core=0")
    process = await asyncio.create_subprocess_exec(
        *("prlimit", *bounds, "--", program, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(TIME_S):
            code = await process.wait()
    except TimeoutError:
        code = None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code == 0:
        return None
    log.warning("fax_document_unreadable", program=program, code=code)
    advice = "print it to a new PDF and send that"
    return Refused(Code.INVALID, "found a document that cannot be read", advice, Obstacle.UNREADABLE)
