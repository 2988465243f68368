"""One file for each kind of resource."""

from __future__ import annotations
