"""A real-time prepaid charging engine for Asterisk."""

from __future__ import annotations

__version__ = "0.1.0"
