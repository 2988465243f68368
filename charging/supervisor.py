"""The service manager that has started us: told that we are ready, alive, reloading or stopping (sd_notify(3)).

A message is one datagram of ``NAME=value`` lines to the socket that the environment names. Without a service manager
nothing is said, and nothing is different.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from charging.clock import MICROSECONDS, Clock

TIMES_IN_LIMIT = 3
"""How often we say that we are alive within the time after which we are taken for frozen."""


class Supervisor:
    """systemd, or whatever else speaks its protocol."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
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

    async def stay_alive(self, clock: Clock, status: Callable[[], str]) -> NoReturn:
        """Say from the event loop that it turns, for ever, and ``status`` for people. A loop that stands says nothing,
        and the process is restarted."""
        while True:
            self.tell(WATCHDOG=1, STATUS=status())
            await clock.sleep_until(clock.now().mono_us + (self.watchdog_us or 30 * MICROSECONDS) // TIMES_IN_LIMIT)
