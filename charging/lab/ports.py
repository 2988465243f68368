"""A block of ports for each lab, and single ports for programs beside it, so that no two use the same port.

All are below the range from which the kernel picks ports (32768 and up): a port that the kernel names as free may be
taken by another program, or be named twice, before anyone listens on it. A file lock holds a block; the kernel drops
the lock when its owner ends, also by ``kill -9``. Single ports are dealt in turn to all processes of a user, so a port
comes again only after all others.
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
SINGLE_PORTS = [port for port in range(2_000, FIRST_PORT) if port % BLOCK_SIZE >= NAMED_PORTS]
"""What :func:`free_port` deals, in this order; 10,000 higher none is a named port of a block."""


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
    folder = _folder()
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


def free_port(*also: int) -> int:
    """A port of the loopback, 2,000 to 11,999, that nobody uses and nobody else is given soon.

    Args:
        also: what is added to the port must be free as well (a Redis Cluster's node has its second port 10,000 higher).

    Raises:
        LabError: no port is free.
    """
    with (_folder() / "next").open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        turn.seek(0)
        said = turn.read()
        start = int(said) if said.isdecimal() else 0
        for step in range(len(SINGLE_PORTS)):
            port = SINGLE_PORTS[(start + step) % len(SINGLE_PORTS)]
            if all(_is_free(port + more) for more in (0, *also)):
                turn.truncate(0)
                turn.write(str((start + step + 1) % len(SINGLE_PORTS)))
                return port
    raise LabError(f"no port from {SINGLE_PORTS[0]} to {SINGLE_PORTS[-1]} is free: end what uses them")


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"charging-lab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
