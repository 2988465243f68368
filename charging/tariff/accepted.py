"""Keeps the last tariff that was in force in a folder, and holds back a new edition that changes too much (the brake).

A carrier's rate deck can be wrong: cut off, in another currency, with the prices of another product. So an edition that
has lost prefixes, or whose prices have jumped, *waits*: it is not in force until an operator accepts it. Until then,
also after a restart, the tariff before it stays in force; so its files are kept as they were.

Every process that needs prices reads this folder; the daemon writes it. Which tariff counts follows from the files and
the folder alone, so all processes agree. If the folder cannot be read for a while, the tariff in force stays and no new
edition replaces it. A process that starts then and has no other tariff uses the files as they are, and reports that.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

from charging.errors import ConfigError, Problem
from charging.files import read_bytes, replace_file
from charging.records import NEWER, RECORD, Codec, dataclass
from charging.tariff.deck import DeckChanges, changes
from charging.tariff.deck_file import MAX_DECK_BYTES, DeckCache, DeckFile, parse_deck
from charging.tariff.file import digest_of, files_of, load_tariff
from charging.tariff.tariff import RateTable, Tariff

_TRIES = 3
"""To read a record whose files are replaced meanwhile."""
_NAME = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Brake:
    """How much a new edition of a table's decks may change before it waits for an operator."""

    gone_percent: int = 0
    """It waits where more than so many of 100 prefixes are gone, or count only later."""
    jump_factor: int = 2
    """A price has jumped that is at least so many times as dear, or as cheap. One that becomes free always has."""
    jump_percent: int = 0
    """It waits where more than so many of 100 prices have jumped."""

    def holds(self, found: DeckChanges) -> bool:
        """Whether an edition with these changes waits."""
        gone, jumped = found.removed + found.postponed, found.doubled + found.halved
        return bool(
            found.freed
            or 100 * gone > self.gone_percent * found.before
            or 100 * jumped > self.jump_percent * found.before
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a valid tariff may be in force, or waits for an operator."""

    tariff: Tariff
    """With what is odd in it as its warnings."""
    doubts: tuple[Problem, ...] = ()
    """Why it waits; empty: it counts."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as it was read, kept under its digest."""

    path: str
    """Where it was read."""
    sha256: str
    """The name of its copy."""


@dataclass(frozen=True, slots=True)
class Record:
    """Which files counted last, as the folder keeps it."""

    digest: str
    """Of the tariff."""
    tariff: Annotated[Copy, RECORD]
    """The tariff file; its decks are named from there."""
    decks: Mapping[str, str]
    """The names of their copies, by path."""
    revision: str = ""
    reason: str = ""
    """Why it was accepted, and by whom; empty: nobody had to."""
    by: str = ""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Record)


def _text(record: Record) -> bytes:
    """Raises OSError where the name of a file is no text."""
    try:
        return _CODEC.dump(record).encode()
    except ValueError as error:
        raise OSError(errno.EILSEQ, "the name of a file or folder is not UTF-8") from error


class NotKept(Exception):
    """The files have changed since they were read."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The folder, and the brake."""

    folder: Path
    brake: Brake = Brake()

    @property
    def record(self) -> Path:
        """The file that says which files counted; written last."""
        return self.folder / "accepted.json"

    def digest(self) -> str:
        """Of the tariff that counted last; empty: none is kept. Raises OSError where that cannot be read now."""
        record = self._read_record()
        return "" if record is None else record.digest

    def load(self, decks: DeckCache | None = None) -> Tariff | None:
        """The tariff that counted last; ``None``: none is kept. ``decks`` may know what it needs. Raises ConfigError
        where what is kept is damaged, OSError where it cannot be read now."""
        problem = None
        for _ in range(_TRIES):
            record = self._read_record()
            if record is None:
                return None
            try:
                return self._load(record, decks or DeckCache())
            except ConfigError:
                raise
            except (FileNotFoundError, LookupError) as error:
                problem = error
        hint = "delete the folder; what stands on disk then counts as it is"
        found = f"{type(problem).__name__}: {problem}"
        raise ConfigError([Problem(str(self.record), "", found, "the files that it names", hint=hint)])

    def judge(self, tariff: Tariff, wall_us: int, decks: DeckCache | None = None) -> Verdict:
        """Judge a valid tariff read from disk at ``wall_us`` (wall clock, µs). Raises OSError if the folder cannot be
        read now; see `unread`."""
        if self.digest() in ("", tariff.digest):
            return Verdict(tariff)
        try:
            before = self.load(decks)
        except ConfigError as error:  # calls go on: the files are good, and nothing is known against them
            return Verdict(replace(tariff, warnings=(*error.problems, *tariff.warnings)))
        if before is None:
            return Verdict(tariff)
        found = list(self._found(before, tariff, wall_us))
        hint = f"if it is meant: charging tariff accept {tariff.digest}; if not, put the edition before in its place"
        doubts = tuple(replace(problem, hint=hint) for held, problem in found if held)
        if doubts:
            return Verdict(tariff, doubts)
        return Verdict(replace(tariff, warnings=(*(problem for _, problem in found), *tariff.warnings)))

    def unread(self, error: OSError, hint: str) -> Problem:
        """The problem that the folder cannot be read now; ``hint``: what counts meanwhile."""
        found = f"{type(error).__name__}: {error.strerror or error}"
        hint += "; mend the disk, or the folder's rights"
        return Problem(str(self.record), "", found, "the tariff that counted last, to compare with", hint=hint)

    def _found(self, before: Tariff, after: Tariff, wall_us: int) -> Iterator[tuple[bool, Problem]]:
        """What an operator should look at; with each, whether it must be accepted."""
        for name, old in before.tables.items():
            new = after.tables.get(name, RateTable(name, {}))
            today = after.day_of(wall_us)
            factor, page = self.brake.jump_factor, new.deck_fax_page
            found = changes(old.decks, new.decks, factor=factor, today=today, page=page)
            if found.such_as:
                file = (*new.decks, *old.decks)[0].file
                problem = Problem(
                    file, f"rates.{name}", f"against the edition before: {found}", "an edition in which that is meant"
                )
                yield self.brake.holds(found), problem

    def keep(self, path: Path, tariff: Tariff, reason: str = "", by: str = "") -> None:
        """Keep the files of a tariff that counts from now on, as they were read. Raises NotKept where they have changed
        since, OSError where they cannot be kept."""
        if self.digest() == tariff.digest:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = files_of(path)
        names = [self._copy(file) for file in files]
        if digest_of(map(bytes.fromhex, names)) != tariff.digest:
            raise NotKept
        kept = Copy(str(path.resolve()), names[0])
        decks = dict(zip(map(str, files[1:]), names[1:], strict=True))
        record = Record(tariff.digest, kept, decks, tariff.revision, reason, by)
        self._write(self.record, _text(record))
        for file in self.folder.iterdir():
            if _NAME.fullmatch(file.name) and file.name not in names:
                file.unlink(missing_ok=True)

    # ---- files

    def _copy(self, source: Path) -> str:
        """Under its digest, which is returned."""
        data = read_bytes(source, MAX_DECK_BYTES)
        name = hashlib.sha256(data).hexdigest()
        if not (self.folder / name).exists():
            self._write(self.folder / name, data)
        return name

    def _write(self, target: Path, data: bytes) -> None:
        replace_file(target, data, mode=0o600, owner_of=self.folder)  # the daemon has another user than root

    def _read_record(self) -> Record | None:
        try:
            return _CODEC.load(self.record.read_bytes().decode())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return Record("unreadable", Copy("", ""), {})

    def _load(self, record: Record, decks: DeckCache) -> Tariff:
        def read(path: Path) -> DeckFile:
            name = record.decks[str(path)]
            return decks.known(path, bytes.fromhex(name)) or parse_deck(self._content(name), str(path))

        return load_tariff(Path(record.tariff.path), deck_reader=read, data=self._content(record.tariff.sha256))

    def _content(self, name: str) -> bytes:
        data = (self.folder / name).read_bytes() if _NAME.fullmatch(name) else b""
        if hashlib.sha256(data).hexdigest() != name:
            raise LookupError(f"the file {name[:16]} is not what was kept")
        return data
