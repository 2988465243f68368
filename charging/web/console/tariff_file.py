"""The tariff's file, as the console shows and edits it: read in a child, as by the daemon, and replaced in one step."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charging.files import replace_file
from charging.service.refusal import Code, Refused
from charging.tariff.accepted import Accepted
from charging.tariff.deck_file import DeckCache
from charging.tariff.reading import Reading, read_in_child
from charging.tariff.tariff import Tariff
from charging.whatif.diff import diff

BYTES_MAX = 500_000
"""Of a text that is edited in a form."""


@dataclass(frozen=True, slots=True)
class Written:
    """The file's text."""

    text: str
    digest: str
    """Of the text: an edit begins from it."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """What an edit would do."""

    problems: tuple[str, ...]
    """Why it cannot be saved."""
    changes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """Why it would not count once it is saved, but wait until someone accepts it."""


class TariffFile:
    """The file that the settings name, or to which it links."""

    def __init__(self, path: Path, accepted: Accepted) -> None:
        """``accepted`` judges edits."""
        self.path = path
        self._accepted = accepted
        self._saving = asyncio.Lock()

    async def read(self) -> Written | Refused:
        """What stands in it."""
        try:
            text = await asyncio.to_thread(_read, self.path)
        except (OSError, UnicodeDecodeError) as error:
            return Refused(Code.UNAVAILABLE, f"{self.path.name} cannot be read: {error}")
        if too_large := _too_large(text):
            return Refused(Code.UNAVAILABLE, f"{self.path.name} is too large for this page: {too_large}")
        return Written(text, _digest(text))

    async def propose(self, text: str, in_force: Tariff, now_us: int) -> Proposed:
        """What ``text`` would change. It is read from beside the file, so that the decks that it names are found: below
        its folder, or where the tariff ``in_force`` has them. Nobody reads another file of the machine by naming it."""
        if too_large := _too_large(text):
            return Proposed((too_large,))
        beside = _beside(self.path.resolve())
        in_use = {Path(deck.file) for table in in_force.tables.values() for deck in table.decks}
        try:
            await asyncio.to_thread(_write, beside, text)
            reading = await read_in_child(beside, (beside,), DeckCache(below=beside.parent, besides=in_use))
            if reading.tariff is None:
                return Proposed(self._told(reading, beside))
            judged = await read_in_child(beside, reading.files, reading.decks, self._accepted)
        except OSError as error:
            return Proposed((f"the tariff's folder cannot be written: {error.strerror or error}",))
        finally:
            with suppress(OSError):
                beside.unlink()
        changes = await asyncio.to_thread(diff, in_force, reading.tariff, now_us)
        return Proposed((), tuple(map(str, changes)), self._told(judged, beside))

    def _told(self, reading: Reading, beside: Path) -> tuple[str, ...]:
        return tuple(str(one).replace(str(beside), self.path.name) for one in reading.problems)

    async def replace(self, text: str, begun_from: str) -> Refused | None:
        """Put ``text`` in the file's place, if that still is what the edit was ``begun_from``. The daemon notices."""
        async with self._saving:  # of two edits that began from the same, one is saved
            now = await self.read()
            if isinstance(now, Refused):
                return now
            if now.digest != begun_from:
                return Refused(Code.CONFLICT, f"{self.path.name} was changed by someone else meanwhile; begin again")
            try:
                await asyncio.to_thread(_put, self.path.resolve(), text)
            except OSError as error:
                why = f"{self.path.name} cannot be written: {error.strerror or error}"
                return Refused(
                    Code.UNAVAILABLE, why, "let the daemon's user write in its folder, or edit it on the machine"
                )
            return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _too_large(text: str) -> str:
    """Why it is; empty: it is not."""
    return f"expected at most {BYTES_MAX} bytes" if len(text.encode()) > BYTES_MAX else ""


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as stream:
        return stream.read(BYTES_MAX + 1)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _write(path: Path, text: str) -> None:
    """A new file, for us alone."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def _put(path: Path, text: str) -> None:
    replace_file(path, text.encode(), mode=stat.S_IMODE(path.stat().st_mode))
