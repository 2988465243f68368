"""The FastAGI server, and one file for each dialplan route."""

from __future__ import annotations
