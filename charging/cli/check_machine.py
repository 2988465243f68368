"""``check --live``: what the switch's own machine lets Asterisk have."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from charging.cli.check_look import PART, Look
from charging.cli.check_results import CheckResult, ok, unknown, warning
from charging.web.settings import is_loopback

PROC = Path("/proc")
FILES_A_CALL = 11
"""What a forwarded call takes of Asterisk's open files while it talks; eight while it rings (measured on 22.10.1)."""
FILES_LEAST = 10_000
"""Some nine hundred calls: more than a machine's media carries."""
LIMIT = re.compile(r"^Max open files +(\d+)", re.MULTILINE)


async def open_files(look: Look) -> AsyncIterator[CheckResult]:
    """Whether Asterisk may open as many files as its calls take: beyond its limit every caller is turned away."""
    own = is_loopback(look.config.settings.switch.ami.host)
    limits = asterisk_limits(PROC) if own else []
    if not limits:
        see = "`grep 'open files' /proc/$(pgrep -xo asterisk)/limits` on the switch's machine"
        yield unknown(PART, f"how many files Asterisk may open: {see} must say {FILES_LEAST} or more")
    elif (most := max(limits)) < FILES_LEAST:
        calls = f"{most // FILES_A_CALL} calls, and turns every caller away beyond them"
        cure = "LimitNOFILE=65536 by `systemctl edit asterisk`, and a restart (docs/security.md)"
        yield warning(PART, f"Asterisk may open {most} files: it carries {calls}; set {cure}")
    else:
        yield ok(PART, f"Asterisk may open {most} files")


def asterisk_limits(proc: Path) -> list[int]:
    """How many files each Asterisk of this machine may open: proc(5)."""
    found = []
    for name in proc.glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended, or is not ours to see
            if name.read_text(encoding="utf-8", errors="replace").strip() != "asterisk":
                continue
            limit = LIMIT.search((name.parent / "limits").read_text(encoding="ascii"))
            if limit is not None:
                found.append(int(limit[1]))
    return found
