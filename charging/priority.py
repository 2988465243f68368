"""How this process stands behind the one that decides calls: for the processors, and where memory runs out."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

NICENESS = 5
"""Where processors are short, calls go first."""
EXPENDABLE = 500
"""Of ``oom_score_adj``, -1000 to 1000: it is ended before all that has none set."""


def give_way() -> None:
    """Lower this process's priority below the daemon's and Asterisk's: for the processors, and if memory runs out. The
    systemd unit protects the daemon (``OOMScoreAdjust``); a child would inherit that, and Asterisk would be killed
    first."""
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{EXPENDABLE}", encoding="ascii")


def limit_memory(most: int) -> None:
    """This process gets so many bytes of memory for its data, and MemoryError for more: whatever it reads, the others
    of the machine keep theirs."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
