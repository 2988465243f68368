"""The folder that the shipped settings keep ledger, socket and faxes in."""

from __future__ import annotations

from pathlib import Path

STATE_MODE = 0o710
"""The group goes through, since Asterisk reads the folder of faxes within, and cannot look around: ledger and socket
are files for their owner alone."""


def make_state_folder(folder: Path) -> None:
    """Make it where it is not there; else its owner has chosen who may enter. Raises OSError."""
    if folder.is_dir():
        return
    folder.mkdir(mode=STATE_MODE, parents=True)
    folder.chmod(STATE_MODE)  # the umask has narrowed the mode given to mkdir
