"""The folder of documents that wait to be sent, and how long they stay in it.

The switch reads them from this folder, which belongs to the daemon and to a group that the switch is in.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import structlog

from charging.call.fax import Fax
from charging.call.storage import Record
from charging.call.told import FaxSettled
from charging.clock import MICROSECONDS, Clock
from charging.engine.ports import Observer
from charging.engine.told import Told
from charging.fax.convert import DOCUMENT_S, Room, bytes_max, convert, unreadable
from charging.fax.desk import Paper
from charging.ledger.balances import is_money
from charging.pricing.packs import sort_of
from charging.records import dataclass
from charging.service.refusal import Code, Refused
from charging.service.turns import BYTES, QueueBounds, Turns

SWEEP_S = 3600
LARGEST_AT_ONCE = 3
"""Of documents as large as one may be: while two are being made ready, a third account's can wait."""
DAY_US = 86_400 * MICROSECONDS
SUFFIX = ".tif"
MAKING = ".making-"
KNOWN_S = 600
"""So long a document that was refused is not tried again, and of another it is known how many pages it has: whoever has
a copy of a mail can hand it in at will. No longer, for what is at fault may be the machine (a document that took too
long), or be mended."""
KNOWN_MAX = 1_000
BROKEN_OFF_MAX = 3
"""So often a mail's document is begun, and broken off for others, before its sender is told that it takes too long; not
as often where that took `DOCUMENT_S` in all. Each try holds one of the mail server's few places."""
BROKEN_OFF_KEPT_S = 3 * 3600
"""Longer than a mail server waits between two tries (Postfix: 4,000 s at most)."""
MAKING_DAYS_MAX = 1
"""What is older was left by a daemon that was killed: a conversion takes minutes at most."""
FOLDER_MODE = 0o750
"""Open to the group that the switch is in."""
FILE_MODE = 0o440
"""For the switch, and never written again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """The section ``fax`` as far as documents are concerned."""

    folder: Path
    folder_on_switch: str
    """The same folder, as the switch sees it."""
    max_pages: int
    keep_days: int
    sandbox_required: bool = True
    """``False``: documents are also read where the kernel cannot hide the daemon's files from the programs."""
    max_bytes: int = 10_000_000
    """Of one document."""


class DocumentFolder:
    """Fulfils `charging.fax.desk.Papers`."""

    def __init__(self, settings: FolderSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._turns = Turns(clock, QueueBounds(bytes=max(BYTES, LARGEST_AT_ONCE * settings.max_bytes)))
        self._known = _Known(clock)
        self._broken_off = _BrokenOff(clock)

    async def pages_of(self, account: str, data: bytes) -> int | None:
        """How many a document has that was made ready for the account lately; ``None``: that is not known."""
        known = self._known.of(account, await asyncio.to_thread(_digest, data))
        return known if isinstance(known, int) else None

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper | Refused:
        """Convert a document when it is the account's turn, and keep it for the fax ``session`` (an id of ours:
        letters, digits and dashes). Who is not ``patient`` waits for seconds at most, and is refused for good where the
        document was often broken off."""
        digest = await asyncio.to_thread(_digest, data)

        def refusal() -> Refused | None:
            known = self._known.of(account, digest)
            return (
                known if isinstance(known, Refused) else None if patient else self._broken_off.refusal(account, digest)
            )

        async def made() -> Paper | Refused:
            if (refused := refusal()) is not None:  # a copy of it may have been looked at meanwhile
                return refused
            with nullcontext() if patient else self._broken_off.noted(account, digest):
                paper = await self._prepare(session, data)
            if isinstance(paper, Paper):
                self._known.note(account, digest, paper.pages)
            elif paper.code is Code.INVALID:
                self._known.note(account, digest, paper)
            return paper

        if (refused := refusal()) is not None:
            return refused
        paper = await self._turns.run(account, made, patient=patient, size=len(data))
        return refusal() or paper if isinstance(paper, Refused) else paper

    async def _prepare(self, session: str, data: bytes) -> Paper | Refused:
        chosen = self._settings
        await asyncio.to_thread(_make, chosen.folder)
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=chosen.folder, prefix=MAKING))
        try:
            room = Room(work, chosen.sandbox_required)
            await asyncio.to_thread(room.furnish, data)
            made = await convert(room, chosen.max_pages)
            if isinstance(made, Refused):
                return made
            name = f"{session}-{made.digest}-{secrets.token_hex(4)}"
            room.paper.chmod(FILE_MODE)
            # A link, which never takes the place of a file: what was counted is what is sent.
            os.link(room.paper, self._path(name))
        finally:
            await asyncio.to_thread(_remove_all, work)
        return Paper(made.pages, f"{chosen.folder_on_switch}/{name}{SUFFIX}", name)

    def _path(self, name: str) -> Path:
        return self._settings.folder / f"{name}{SUFFIX}"

    def _bytes_of(self, name: str) -> int:
        """0 where it is not there."""
        try:
            return self._path(name).stat().st_size
        except OSError:
            return 0

    def remove(self, name: str) -> None:
        """A document that is not sent after all, or of a fax of which nothing arrived."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:  # the sweep tries again in its time
            log.warning("fax_document_not_removed", path=str(self._path(name)), why=error.strerror or str(error))

    def watching(self, observe: Observer) -> Observer:
        """``observe``; besides, the document of a fax is removed as its end is booked, unless it has no more bytes than
        the pages that were charged may have. That stays for `keep_days`, for questions; a large one of which a page was
        delivered would take room that nobody has paid."""

        def observed(what: Told, session: Record | None = None) -> None:
            observe(what, session)
            if isinstance(what, FaxSettled) and isinstance(session, Fax):
                pages = _charged_pages(session, what.settled)
                if not pages or self._bytes_of(session.paper_name) > bytes_max(pages):
                    self.remove(session.paper_name)

        return observed

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


class _Known:
    """What became of documents: why each was refused, or how many pages it has. Copies of it need not be tried to know
    that. It is told to the same account alone: else whoever has a document could learn that another handed it in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[int, Refused | int]] = OrderedDict()
        """By account and the document's digest: until when, on the monotonic clock, and what is known. The oldest
        stands first."""

    def of(self, account: str, digest: str) -> Refused | int | None:
        """What is known of the document; ``None``: it is to be tried."""
        until_us, known = self._kept.get((account, digest), (0, None))
        return known if until_us > self._clock.now().mono_us else None

    def note(self, account: str, digest: str, known: Refused | int) -> None:
        """Keep it."""
        self._kept[account, digest] = self._clock.now().plus(KNOWN_S).mono_us, known
        self._kept.move_to_end((account, digest))
        if len(self._kept) > KNOWN_MAX:
            self._kept.popitem(last=False)


class _BrokenOff:
    """How often, and how long, documents were being made ready that were then broken off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[int, int, int]] = OrderedDict()
        """By account and the document's digest: how often; microseconds; until when that counts, on the monotonic
        clock. The oldest stands first."""

    @contextmanager
    def noted(self, account: str, digest: str) -> Iterator[None]:
        """Around what makes it ready: counts if that is broken off."""
        begun_us = self._clock.now().mono_us
        try:
            yield
        except asyncio.CancelledError:
            now, (times, took_us) = self._clock.now(), self._so_far(account, digest)
            until_us = now.plus(BROKEN_OFF_KEPT_S).mono_us
            self._kept[account, digest] = times + 1, took_us + now.mono_us - begun_us, until_us
            self._kept.move_to_end((account, digest))
            if len(self._kept) > KNOWN_MAX:
                self._kept.popitem(last=False)
            raise

    def _so_far(self, account: str, digest: str) -> tuple[int, int]:
        times, took_us, until_us = self._kept.get((account, digest), (0, 0, 0))
        return (times, took_us) if until_us > self._clock.now().mono_us else (0, 0)

    def refusal(self, account: str, digest: str) -> Refused | None:
        """Why it is not begun again; ``None``: it is."""
        times, took_us = self._so_far(account, digest)
        if times < BROKEN_OFF_MAX and took_us < DOCUMENT_S * MICROSECONDS:
            return None
        log.warning("fax_document_slow", seconds=took_us // MICROSECONDS)
        how_often = f"was begun {times} times, for {took_us // MICROSECONDS} s in all"
        return unreadable(f"found a document that takes too long: it {how_often}, and broken off for others")


def _charged_pages(fax: Fax, settled: Mapping[str, int]) -> int:
    """How many pages of it were paid, or were free ones of a plan or a pack."""
    paid = sum(amount for balance, amount in settled.items() if is_money(balance))
    free = sum(amount for balance, amount in settled.items() if sort_of(balance) is not None)
    return free + (-(-paid // fax.price) if fax.price else 0)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _removed(path: Path, oldest_us: int, remove: Callable[[Path], object]) -> bool:
    """Whether it was old and is removed now."""
    try:
        if path.lstat().st_mtime_ns // 1000 < oldest_us:
            remove(path)
            return True
    except FileNotFoundError:
        pass  # removed by someone else meanwhile
    except OSError as error:
        log.warning("fax_document_not_removed", path=str(path), why=error.strerror or str(error))
    return False


def why_unwritable(folder: Path) -> str:
    """Why nothing can be kept there; empty: it can, if need be in a folder that is made."""
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one))
    if not there.is_dir():
        return f"{there} is no folder; choose another, or take it away"
    disk = os.statvfs(there)
    if disk.f_flag & os.ST_RDONLY:
        return (
            f"{folder}: {there} is on a read-only file system; mount it for writing (dmesg logs disk errors), "
            "or name it by ReadWritePaths= in the unit"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        what = "it may not be written" if there == folder else f"{there}, where it would be made, may not be written"
        return f"{folder}: {what}; give it to the daemon's user, and name it by ReadWritePaths= in the unit"
    if disk.f_files and not disk.f_favail:
        return f"{folder}: its file system can hold no more files (no inode is free: df -i {there}); remove some there"
    if disk.f_blocks and not disk.f_bavail:
        return f"{folder}: its disk is full (df {there}); make room"
    return ""


def _remove_all(work: Path) -> None:
    """A document's folder, of hundreds of megabytes, and of as many files as a program has made that it took over."""
    try:
        shutil.rmtree(work)
    except OSError as error:  # the sweep tries again after a day
        log.warning("fax_document_not_removed", path=str(work), why=error.strerror or str(error))


def _make(folder: Path) -> None:
    """Make the folder, and what it lies in, where they are not there; else their owner has chosen who may read them.
    The mode is set after it: a mode given to mkdir is narrowed by the umask."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(FOLDER_MODE)
