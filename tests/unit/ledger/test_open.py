"""Which URLs open which store."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.errors import ConfigError, LedgerUnavailable
from charging.ledger.memory import MemoryStore
from charging.ledger.open import open_store
from charging.ledger.redis.store import RedisStore
from charging.ledger.sqlite.store import SqliteStore


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("memory:", MemoryStore),
        ("sqlite:///var/lib/charging/ledger.db", SqliteStore),
        ("redis://localhost", RedisStore),
        ("redis+cluster://a,b,c", RedisStore),
    ],
)
def test_a_url_opens_its_store(url: str, store: type) -> None:
    assert type(open_store(url)) is store


@pytest.mark.parametrize("url", ["", "sqlite:", "sqlite://ledger.db", "sqlite:///dir/", "mysql://x/y", "/var/x.db"])
def test_another_url_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(url, file="charging.yaml", path="ledger.url")
    assert str(caught.value).startswith(f"charging.yaml: ledger.url: found {url or 'nothing'}, expected memory:")


def test_a_password_is_not_told() -> None:
    with pytest.raises(ConfigError) as caught:
        open_store("redis://user:secret@localhost?color=red")
    assert "secret" not in str(caught.value)
    assert "unknown option color" in str(caught.value)


@pytest.mark.parametrize("sign", ["/", "//", "#", "?", "@", "%", "[", ",", ":", "&", "=", " "])
def test_no_sign_in_a_password_makes_an_error_tell_it(sign: str) -> None:
    told = []
    for scheme in ("redis", "rediss", "redis+sentinel", "redis+cluster", "postgres", "rediss:", "x"):
        for rest in ("host:6379/0", "host:port/0", "h/m?color=red", "", "h/0/0/0"):
            told += errors_of(f"{scheme}://me:hush{sign}hush@{rest}")
            told += errors_of(f"{scheme}:/:hush{sign}@{rest}")
            told += errors_of(f"{scheme}://hush{sign}1@{rest}")
    assert len(told) > 50
    assert not [one for one in told if "hush" in one]


def errors_of(url: str) -> list[str]:
    try:
        open_store(url)
    except ConfigError as error:
        return [str(error)]
    return []


def test_a_password_that_is_not_percent_encoded_is_told_how() -> None:
    with pytest.raises(ConfigError, match="write / as %2F"):
        open_store("redis://:a/b@host:6379/0")


async def test_an_absolute_path_is_told_as_it_was_written(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/none/a%20b.db", f"sqlite://{tmp_path}/none/a%20b.db"):
        with pytest.raises(LedgerUnavailable, match=f"ledger lock {tmp_path}/none/a b.db.lock: No such file"):
            await open_store(url).open()
