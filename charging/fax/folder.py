"""Where documents wait until they are sent, and how long they stay.

The switch reads them there: the folder belongs to the daemon, and to a group that the switch is in.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.fax.convert import convert
from charging.fax.tiff import page_count
from charging.service.fax_desk import Paper
from charging.service.refusal import Code, Obstacle, Refused

SWEEP_S = 3600
DAY_US = 86_400 * MICROSECONDS
SUFFIX = ".tif"
MAKING = ".making-"
MAKING_DAYS_MAX = 1
"""What is older was left by a daemon that was killed: a conversion takes minutes at most."""
FOLDER_MODE = 0o750
"""Open to the group that the switch is in."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """The section ``fax`` as far as documents are concerned."""

    folder: Path
    folder_on_switch: str
    """The same folder, as the switch sees it."""
    max_pages: int
    keep_days: int


class DocumentFolder:
    """Fulfils `charging.service.fax_desk.Papers`."""

    def __init__(self, settings: FolderSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def prepare(self, name: str, data: bytes) -> Paper | Refused:
        """Convert a document and keep it under ``name`` (one of ours: letters, digits and dashes)."""
        chosen = self._settings
        await asyncio.to_thread(_make, chosen.folder)
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix=MAKING) as work:
            document, paper = Path(work) / "document", Path(work) / "paper.tif"
            await asyncio.to_thread(document.write_bytes, data)
            wrong = await convert(data[:8], document, paper, chosen.max_pages)
            if wrong is not None:
                return wrong
            pages = await asyncio.to_thread(_pages_of, paper)
            if pages is None:
                advice = "print it to a new PDF and send that"
                return Refused(Code.INVALID, "found a document without a page", advice, Obstacle.UNREADABLE)
            if pages > chosen.max_pages:
                message = f"found more than {chosen.max_pages} pages"
                return Refused(Code.INVALID, message, "send it in parts", Obstacle.TOO_MANY_PAGES)
            paper.chmod(0o640)
            paper.replace(chosen.folder / f"{name}{SUFFIX}")
        return Paper(pages, f"{chosen.folder_on_switch}/{name}{SUFFIX}")

    def remove(self, name: str) -> None:
        """A document that is not sent after all."""
        (self._settings.folder / f"{name}{SUFFIX}").unlink(missing_ok=True)

    async def sweep_for_ever(self) -> NoReturn:
        """Remove documents whose time is over, now and every hour."""
        while True:
            try:
                removed = await asyncio.to_thread(self.sweep)
            except OSError as error:  # of the folder itself; the next hour is another chance, the daemon goes on
                log.warning("fax_folder_not_swept", path=str(self._settings.folder), why=str(error))
            else:
                if removed:
                    log.info("fax_documents_removed", count=removed)
            await self._clock.sleep_until(self._clock.now().mono_us + SWEEP_S * MICROSECONDS)

    def sweep(self) -> int:
        """Remove documents whose time is over, and what killed daemons were making; how many. One that cannot be
        removed keeps no other from it."""
        folder = self._settings.folder
        removed = 0
        for pattern, days, remove in (
            (f"*{SUFFIX}", self._settings.keep_days, Path.unlink),
            (f"{MAKING}*", MAKING_DAYS_MAX, shutil.rmtree),
        ):
            oldest_us = self._clock.now().wall_us - days * DAY_US
            removed += sum(_removed(path, oldest_us, remove) for path in folder.glob(pattern))
        return removed


def _removed(path: Path, oldest_us: int, remove: Callable[[Path], object]) -> bool:
    """Whether it was old and is removed now."""
    try:
        if path.lstat().st_mtime_ns // 1000 < oldest_us:
            remove(path)
            return True
    except FileNotFoundError:
        pass  # removed by somebody else meanwhile
    except OSError as error:
        log.warning("fax_document_not_removed", path=str(path), why=error.strerror or str(error))
    return False


def _make(folder: Path) -> None:
    """Make the folder, and what it lies in, where they are not there; else their owner has chosen who may read them.
    The mode is set after it: a mode given to mkdir is narrowed by the umask."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(FOLDER_MODE)


def _pages_of(paper: Path) -> int | None:
    return page_count(paper.read_bytes()) if paper.exists() else None
