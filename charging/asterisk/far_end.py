"""Whose program the other end of a connection within this machine is, by the kernel's own tables.

A port above 1,023 is anyone's who takes it while Asterisk is restarted. Whoever does can join the daemon's login to the
true Asterisk, and give orders in its name. He cannot do so as another user.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable

from charging import tcp_table

MAPPED = "::ffff:"
"""An IPv4 address as an IPv6 one begins with it (RFC 4291, 2.5.5.2)."""
ROOT = 0

Address = tuple[str, int]


def user_of(ours: Address, theirs: Address) -> int | None:
    """The number of the user whose program is at the other end; ``None``: on another machine, or not known."""
    ends = {(_written(*theirs), _written(*ours))}
    if ":" not in theirs[0]:  # so a socket writes it that takes both kinds of address
        ends.add((_written(MAPPED + theirs[0], theirs[1]), _written(MAPPED + ours[0], ours[1])))
    found = (row.uid for row in tcp_table.rows() if row.is_taken and (row.local, row.remote) in ends)
    return next(found, None)


def _written(host: str, port: int) -> str:
    """An address as the kernel writes it: words of 32 bits in the machine's order."""
    packed = ipaddress.ip_address(host).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{one:08X}" for one in words) + f":{port:04X}"


class FarEnd:
    """The user whose the other end has been from the first connection on. Root may always take its place."""

    def __init__(self, look: Callable[[Address, Address], int | None] = user_of) -> None:
        self._look = look
        self._first: int | None = None

    def stranger(self, ours: Address, theirs: Address) -> str:
        """The name of a user who has the other end now, and had it not before; empty: it is as it was, or not known."""
        uid = self._look(ours, theirs)
        if uid is None:
            return ""
        if self._first is None:
            self._first = uid
        return "" if uid in (self._first, ROOT) else tcp_table.user_name(uid)
