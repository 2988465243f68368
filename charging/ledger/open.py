"""From a ledger's URL to its store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from pydantic import SecretStr

from charging.errors import ConfigError, Problem
from charging.ledger.memory import MemoryStore
from charging.ledger.port import Store
from charging.ledger.redis import url as redis_url
from charging.ledger.sqlite.file import assert_there
from charging.ledger.sqlite.store import SqliteStore

EXPECTED = f"memory: (forgets everything), sqlite:///absolute/path, {redis_url.EXPECTED}"


def open_store(
    url: str,
    *,
    password: SecretStr | None = None,
    sentinel_password: SecretStr | None = None,
    file: str = "",
    path: str = "ledger.url",
    reads_only: bool = False,
    begins: bool = True,
    upgrades: bool = False,
    keeps_room: bool = False,
) -> Store:
    """The store of the URL, not opened yet (``await store.open()``); ``reads_only``: beside a daemon that writes;
    ``begins``: where there is no ledger, one is made (else it is LedgerMissing: who only looks must not make of a
    lost ledger an empty one); ``upgrades``: an older program's ledger is brought to this one's schema; ``keeps_room``:
    a file goes on for some time after others have filled its disk.

    ``password``: of a Redis, in the place of one in the URL; ``sentinel_password``: of its sentinels. Raises
    LedgerMissing if there is no file and none may be made, ConfigError where the URL has another form; ``file`` and
    ``path`` say where it was written.
    """
    if url == "memory:":
        return MemoryStore()
    if url.startswith("sqlite:///") and not url.endswith("/"):
        file_path = Path("/" + unquote(url.removeprefix("sqlite:///")).lstrip("/"))
        if not begins:
            assert_there(file_path)
        return SqliteStore(file_path, reads_only=reads_only, upgrades=upgrades, keeps_room=keeps_room)
    if url.startswith("redis"):
        from charging.ledger.redis.store import RedisStore  # its client takes a second to load; most ledgers are files

        try:
            parsed = redis_url.parse(url)
            if password is not None:
                parsed = replace(parsed, password=password.get_secret_value())
            if sentinel_password is not None:
                parsed = replace(parsed, sentinel_password=sentinel_password.get_secret_value())
            return RedisStore(parsed, begins=begins and not reads_only, upgrades=upgrades)
        except ValueError as error:
            raise ConfigError(
                [Problem(file, path, redis_url.without_secrets(url), EXPECTED, hint=str(error))]
            ) from error
    raise ConfigError([Problem(file, path, redis_url.without_secrets(url) or "nothing", EXPECTED)])
