"""Unix sockets: whether anyone listens on one, or a killed process left its file behind."""

from __future__ import annotations

import socket
from pathlib import Path

CONNECT_TIMEOUT_S = 1


def is_answered(path: Path) -> bool:
    """Whether anyone listens on a Unix socket. Raises PermissionError where it is someone else's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(CONNECT_TIMEOUT_S)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except (TimeoutError, BlockingIOError):
            return True
    return True
