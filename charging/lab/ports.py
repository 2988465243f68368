"""A block of ports for each lab, so that labs running side by side never meet.

Blocks lie below the range from which the kernel hands out ports by itself (32768 and up). A lock on a small file says
who holds a block; the kernel drops it with the owner, however that ends, ``kill -9`` included.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from charging.lab.errors import LabError

FIRST_PORT = 12_000
BLOCK_SIZE = 1_000
BLOCKS = 20
NAMED_PORTS = 8
"""The first ports of a block are single ones; the rest is shared by the two RTP ranges."""


@dataclass(slots=True)
class PortBlock:
    """The ports of one lab."""

    base: int
    _lock_fd: int = field(repr=False)

    @property
    def switch_sip(self) -> int:
        return self.base

    @property
    def switch_ami(self) -> int:
        return self.base + 1

    @property
    def world_sip(self) -> int:
        return self.base + 2

    @property
    def world_ami(self) -> int:
        return self.base + 3

    @property
    def agi(self) -> int:
        return self.base + 4

    @property
    def switch_rtp(self) -> tuple[int, int]:
        return self.base + 10, self.base + BLOCK_SIZE // 2 - 1

    @property
    def world_rtp(self) -> tuple[int, int]:
        return self.base + BLOCK_SIZE // 2, self.base + BLOCK_SIZE - 1

    def give_back(self) -> None:
        os.close(self._lock_fd)


def take_block() -> PortBlock:
    """Take a free block of ports.

    Raises:
        LabError: all blocks are taken.
    """
    folder = Path(tempfile.gettempdir()) / f"charging-lab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(BLOCKS):
        block = _try_block(folder / str(number), FIRST_PORT + number * BLOCK_SIZE)
        if block is not None:
            return block
    raise LabError(f"all {BLOCKS} port blocks from {FIRST_PORT} on are taken by other labs or other programs")


def _try_block(lock_file: Path, base: int) -> PortBlock | None:
    fd = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    if all(_is_free(port) for port in range(base, base + NAMED_PORTS)):
        return PortBlock(base, fd)
    os.close(fd)
    return None


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
