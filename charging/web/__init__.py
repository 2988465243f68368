"""The service over HTTP: on the control socket now, and as the base of whatever else speaks HTTP."""

from __future__ import annotations
