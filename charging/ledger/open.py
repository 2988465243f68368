"""From a ledger's URL to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from charging.errors import ConfigError, Problem
from charging.ledger.memory import MemoryStore
from charging.ledger.port import Store
from charging.ledger.sqlite import SqliteStore

EXPECTED = "memory: (forgets everything) or sqlite:///absolute/path"


def open_store(url: str, *, file: str = "", path: str = "ledger.url") -> Store:
    """The store of the URL, not opened yet (``await store.open()``).

    Raises ConfigError where the URL has another form; ``file`` and ``path`` say where it was written.
    """
    if url == "memory:":
        return MemoryStore()
    if url.startswith("sqlite:///") and not url.endswith("/"):
        return SqliteStore(Path(unquote(url.removeprefix("sqlite://"))))
    raise ConfigError([Problem(file, path, url or "nothing", EXPECTED)])
