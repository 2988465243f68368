"""How many descriptors the process may hold, and each listener's share of them.

The sum of all shares and of what the daemon needs for itself stays below the process's limit. So whoever fills one
listener leaves the others, the ledger and the link to the switch what they need.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping

from charging.errors import ChargingError

OWN = 256
"""For the ledger (64 connections to a Redis, the files of SQLite), the switch, mail, faxes, logs, and what is being
accepted or closed."""
LEAST = 4
"""What is left to a listener that is not FastAGI, however few there are."""


def raise_limit(wanted: int) -> int:
    """Raise the process's limit to what is ``wanted``, as far as it may go. Returns the limit now, as a number of open
    files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return wanted if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def wanted(calls: int, others: Mapping[str, int]) -> int:
    """The number of open files with which every listener gets what it is set to."""
    return OWN + calls + sum(others.values())


def shares(limit: int, calls: int, others: Mapping[str, int]) -> dict[str, int]:
    """How many connections each of the ``others`` (each set to LEAST or more) may have; calls (FastAGI) keep theirs.
    Raises ChargingError where there is not enough for the calls."""
    left = limit - OWN - calls
    if left < LEAST * len(others):
        needed = wanted(calls, dict.fromkeys(others, LEAST))
        raise ChargingError(
            f"found a limit of {limit} open files, expected at least {needed}: "
            "raise it (LimitNOFILE in the systemd unit, or `ulimit -n`), or lower agi.max_connections"
        )
    least = LEAST * len(others)
    spare, more = left - least, sum(others.values()) - least
    if more <= spare:
        return dict(others)
    return {name: LEAST + (count - LEAST) * spare // more for name, count in others.items()}
