"""What a call costs, and how far money goes: number → destination → rate → charge, and the inverse."""

from __future__ import annotations
