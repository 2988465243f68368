"""``python -m charging.lab``: make sure that there is an Asterisk for the lab, and say which."""

from __future__ import annotations

import sys

from charging.lab.errors import LabUnavailable
from charging.lab.install import ensure_asterisk


def main() -> None:
    """Print which Asterisk the lab uses; install one if there is none."""
    try:
        program = ensure_asterisk()
    except LabUnavailable as error:
        sys.exit(str(error))
    print(f"Asterisk {program.version} ({' '.join(program.command)})")


if __name__ == "__main__":
    main()
