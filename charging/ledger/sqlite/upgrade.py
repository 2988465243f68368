"""Upgrades a SQLite ledger of an older program to this program's schema: shows what is due, copies the ledger first,
and can rehearse the upgrade on a copy."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from charging.clock import MICROSECONDS
from charging.errors import LedgerUnavailable
from charging.ledger.durable import new_file
from charging.ledger.sqlite.file import (
    DRIVER_ERRORS,
    connect,
    give_to_owner_of_folder,
    looking_at,
    migrate,
    place_advice,
    schema_versions,
    translate,
    version_of,
)
from charging.ledger.sqlite.restore import locked
from charging.ledger.sqlite.rows import backup
from charging.records import dataclass

BUSY_S = 5


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done to a ledger."""

    stored: int
    newest: int
    file: Path

    def copy_at(self, wall_us: int) -> Path:
        """Where the copy goes unless another place is named: beside it, by the time."""
        stamp = datetime.fromtimestamp(wall_us / MICROSECONDS, UTC).strftime("%Y%m%dT%H%M%SZ")
        return self.file.with_name(f"{self.file.name}.schema-{self.stored}-{stamp}")


def due(file: Path) -> Due | None:
    """``None``: there is no ledger, or it has this program's schema (or a newer one). Raises LedgerError."""
    if not file.exists() or not file.stat().st_size:
        return None
    try:
        with closing(looking_at(file)) as connection:
            stored = version_of(connection, file)
    except DRIVER_ERRORS as error:
        raise translate(error, file) from error
    newest = max(schema_versions())
    return Due(stored, newest, file) if 0 < stored < newest else None


def upgrade(step: Due, copy: Path) -> None:
    """Copy the ledger as it is to a new file, then bring it to the newest schema. Nobody else has it open meanwhile. A
    crash at any moment leaves a ledger that can be upgraded. Raises LedgerUnavailable, LedgerCorrupt."""
    with locked(step.file):
        _copy(step.file, copy)
        _migrate(step.file)


@contextmanager
def rehearsed(step: Due) -> Iterator[Path]:
    """A copy of the ledger at the newest schema, on the ledger's own disk, gone afterwards; the ledger stays as it is.
    Raises as `upgrade`."""
    folder = Path(tempfile.mkdtemp(".rehearsal", step.file.name + ".", step.file.parent))
    try:
        copy = folder / step.file.name
        _copy(step.file, copy)
        _migrate(copy)
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(file: Path, copy: Path) -> None:
    try:
        with new_file(copy) as part, closing(connect(file, BUSY_S)) as connection:
            backup(connection, part)
            with part.open("rb") as made:
                give_to_owner_of_folder(made.fileno(), file)
    except OSError as error:
        raise LedgerUnavailable(f"{copy}: {error.strerror}; {place_advice(error)}; nothing was changed") from error
    except DRIVER_ERRORS as error:
        raise translate(error, file) from error


def _migrate(file: Path) -> None:
    try:
        with closing(connect(file, BUSY_S)) as connection:
            migrate(connection, file)
    except DRIVER_ERRORS as error:
        raise translate(error, file) from error
