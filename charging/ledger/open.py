"""From a ledger's URL to its store."""

from __future__ import annotations

from charging.errors import ConfigError, Problem
from charging.ledger.memory import MemoryStore
from charging.ledger.port import Store

EXPECTED = "memory: or sqlite:///absolute/path"


def open_store(url: str, *, file: str = "", path: str = "ledger.url") -> Store:
    """The store of the URL, not opened yet (``await store.open()``).

    Raises ConfigError where the URL has another form; ``file`` and ``path`` say where it was written.
    """
    if url == "memory:":
        return MemoryStore()
    raise ConfigError([Problem(file, path, url, EXPECTED)])
