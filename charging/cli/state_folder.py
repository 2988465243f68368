"""The folder that the shipped settings keep ledger, socket and faxes in."""

from __future__ import annotations

from pathlib import Path

from charging.settings import Settings

STATE_MODE = 0o710
"""The group goes through, since Asterisk reads the folder of faxes within, and cannot look around: ledger and socket
are files for their owner alone."""


def make_state_folder(folder: Path) -> None:
    """Make it where it is not there; else its owner has chosen who may enter. Raises OSError."""
    if folder.is_dir():
        return
    folder.mkdir(mode=STATE_MODE, parents=True)
    folder.chmod(STATE_MODE)  # the umask has narrowed the mode given to mkdir


def make_ledger_folder(settings: Settings) -> None:
    """Make the folder of a SQLite ledger where it alone is not there; of a path with more that is missing, some may be
    mistyped. Raises OSError."""
    file = settings.ledger.sqlite_file
    if file is not None and not file.parent.exists() and file.parent.parent.is_dir():
        make_state_folder(file.parent)
