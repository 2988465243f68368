"""One charged call: events in, commands out. The files that decide are pure; `runner` and its like talk."""

from __future__ import annotations
