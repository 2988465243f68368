"""Look up known vulnerabilities of what a lock pins: ``audit.py LOCK``.

Exit code 1 if there are any. If no feed can be reached, or it does not know a package, that is said and is no failure:
a machine without the feed must still be able to test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 300


def verdict(dependencies: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """The lines to say of pip-audit's list, and the exit code."""

    def mend(one: Mapping[str, Any], flaw: Mapping[str, Any]) -> str:
        mended = ", ".join(flaw["fix_versions"]) or "no version"
        return f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}; then: .ci/setup lock {one['name']}"

    known = [one for one in dependencies if "skip_reason" not in one]
    unknown = [one["name"] for one in dependencies if "skip_reason" in one]
    found = [f"audit: {mend(one, flaw)}" for one in known for flaw in one["vulns"]]
    if not known:
        return ["audit: no feed of vulnerabilities could be reached: nothing was looked up"], 0
    lines = found or [f"audit: no known vulnerability in {len(known)} packages"]
    if unknown:
        lines.append(f"audit: not known to the feed, so not looked up: {', '.join(unknown)}")
    return lines, int(bool(found))


def look_up(lock: Path) -> list[dict[str, Any]]:
    """pip-audit's list; empty if it could not look anything up."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    try:
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            [*command, "--format", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return []
    return dependencies


if __name__ == "__main__":
    said, code = verdict(look_up(Path(sys.argv[1])))
    print(*said, sep="\n")
    sys.exit(code)
