"""The kernel's table of this machine's TCP sockets, and whose they are (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENS = "0A"
"""TCP_LISTEN, as it stands in the table."""
_NOT_ACCEPTED = "0"
"""The inode of a connection that no program has taken yet: it is nobody's."""


class Row(NamedTuple):
    """A socket. Addresses are as the kernel writes them: words of 32 bits in the machine's order, a colon, the port."""

    local: str
    remote: str
    state: str
    uid: int
    """The number of the user whose program has it."""
    is_taken: bool
    """Whether a program has it."""

    @property
    def port(self) -> int:
        """The number of the TCP port on this side, 0 to 65535."""
        return int(self.local.rpartition(":")[2], 16)


def rows() -> Iterator[Row]:
    """All sockets, those of IPv4 first; none where there is no /proc."""
    for table in TABLES:
        with suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                yield Row(fields[1], fields[2], fields[3], int(fields[7]), fields[9] != _NOT_ACCEPTED)


def user_name(uid: int) -> str:
    """The user's name; its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
