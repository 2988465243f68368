"""How this process stands behind the one that decides calls: for the processors, and where memory runs out."""

from __future__ import annotations

import os
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
