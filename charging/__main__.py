"""``python -m charging`` is the command ``charging``."""

from __future__ import annotations

import sys

from charging.cli import main

sys.exit(main())
