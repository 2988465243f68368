"""The tariff's file, as the console shows and edits it: read in a child, as by the daemon, and replaced in one step."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charging.service.refusal import Code, Refused
from charging.tariff.deck_file import DeckCache
from charging.tariff.reading import read_in_child
from charging.tariff.tariff import Tariff
from charging.whatif.diff import diff

BYTES_MAX = 500_000


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
    changes: tuple[str, ...]


class TariffFile:
    """The file that the settings name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def read(self) -> Written | Refused:
        """What stands in it."""
        try:
            text = await asyncio.to_thread(self.path.read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return Refused(Code.UNAVAILABLE, f"{self.path.name} cannot be read: {error}")
        return Written(text, _digest(text))

    async def propose(self, text: str, in_force: Tariff, now_us: int) -> Proposed:
        """What ``text`` would change. It is read from beside the file, so that the decks that it names are found."""
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            await asyncio.to_thread(_write, beside, text)
            reading = await read_in_child(beside, (beside,), DeckCache())
        except OSError as error:
            return Proposed((f"the tariff's folder cannot be written: {error.strerror or error}",), ())
        finally:
            with suppress(OSError):
                beside.unlink()
        if reading.tariff is None:
            return Proposed(tuple(str(one).replace(str(beside), self.path.name) for one in reading.problems), ())
        changes = await asyncio.to_thread(diff, in_force, reading.tariff, now_us)
        return Proposed((), tuple(map(str, changes)))

    async def replace(self, text: str, begun_from: str) -> Refused | None:
        """Put ``text`` in the file's place, if that still is what the edit was ``begun_from``. The daemon notices."""
        now = await self.read()
        if isinstance(now, Refused):
            return now
        if now.digest != begun_from:
            return Refused(Code.CONFLICT, f"{self.path.name} was changed by someone else meanwhile; begin again")
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            await asyncio.to_thread(_put, beside, self.path, text)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            why = f"{self.path.name} cannot be written: {error.strerror or error}"
            return Refused(
                Code.UNAVAILABLE, why, "let the daemon's user write in its folder, or edit it on the machine"
            )
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _put(beside: Path, path: Path, text: str) -> None:
    _write(beside, text)
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)
