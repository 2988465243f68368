"""The service manager that has started us: told that we are ready, alive, reloading or stopping (sd_notify(3)); and
the keeper of our ports while we are away.

A message is one datagram of ``NAME=value`` lines to the socket that the environment names. Without a service manager
nothing is said, and nothing is different.

A port that nobody listens on is anyone's on its machine: whoever takes FastAGI's during a restart plays the daemon to
all callers. So its sockets are stored with the service manager (sd_pid_notify_with_fds(3), FDSTORE), which hands them
to the next process (sd_listen_fds(3)); callers who come meanwhile wait in their queue. A stop gives them up.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import NoReturn

from charging.clock import MICROSECONDS, Clock

TIMES_IN_LIMIT = 3
"""How often we say that we are alive within the time after which we are taken for frozen."""


FIRST_HANDED = 3
"""The first descriptor that is handed over (SD_LISTEN_FDS_START)."""


class Supervisor:
    """systemd, or whatever else speaks its protocol."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self.handed = _handed(environ)
        """What the process before us had it keep, and sockets that it has opened for us."""
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit = environ.get("WATCHDOG_USEC", "") if mine and self._address else ""
        self.watchdog_us = int(limit) if limit.isdigit() else 0
        """After so many microseconds without a word we are restarted; 0: never."""

    def tell(self, **facts: str | int) -> None:
        """Say it, such as ``READY=1``. It is never waited for: where it cannot be said, it is lost."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in facts.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
            channel.sendto(text.encode(), self._address)

    def keep(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """Have it keep these sockets under a name, and nothing that it has kept under that before. Where it cannot, or
        keeps none (FileDescriptorStoreMax of the unit), they end with us. What else it has handed to us is closed."""
        for other in self.handed:
            if other not in sockets:
                other.close()
        self.handed = []
        if not self._address:
            return
        stored = f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0".encode()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
            channel.connect(self._address)
            channel.send(f"FDSTOREREMOVE=1\nFDNAME={name}".encode())
            socket.send_fds(channel, [stored], [one.fileno() for one in sockets])

    async def stay_alive(self, clock: Clock, status: Callable[[], str]) -> NoReturn:
        """Say from the event loop that it turns, for ever, and ``status`` for people. A loop that stands says nothing,
        and the process is restarted."""
        while True:
            self.tell(WATCHDOG=1, STATUS=status())
            await clock.sleep_until(clock.now().mono_us + (self.watchdog_us or 30 * MICROSECONDS) // TIMES_IN_LIMIT)


def _handed(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that we were started with. No process that we start knows or has them."""
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    pid, count, _ = (environ.pop(name, "") for name in names)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    handed = []
    for descriptor in range(FIRST_HANDED, FIRST_HANDED + int(count)):
        with suppress(OSError):  # it is no socket
            one = socket.socket(fileno=descriptor)
            one.set_inheritable(False)
            handed.append(one)
    return handed
