"""``charging ledger …``: the operator's side of the books, on real files and a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.app import build
from charging.config import load_config
from tests.integration.command import Command, Place
from tests.integration.redis_servers import RedisServer

ACL = ("user default off", "user ledger on >right/ ~charging:* +@all -@dangerous +info")
"""All that a ledger needs, and a password with a character that a URL would have to quote."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setenv("TEST_LEDGER_PASSWORD", "right/")
    place = Place(tmp_path)
    place.write()
    return place


@pytest.fixture
def charging(place: Place, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(place, capsys)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, *ACL) as server:
        yield server


def use_redis(place: Place, server: RedisServer, user: str = "ledger@") -> None:
    """Let the settings name this Redis, with a password."""
    place.write()
    url = f"redis://{user}127.0.0.1:{server.port}/0"
    text = place.config.read_text().replace('"sqlite:///ledger.db"', f'"{url}", password_env: TEST_LEDGER_PASSWORD')
    place.config.write_text(text)


def test_the_password_of_a_redis_with_users_reaches_the_commands(
    charging: Command, place: Place, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_redis(place, redis)
    assert charging("account", "add", "anna", "--plan", "pro").code == 0
    assert charging("top-up", "anna", "25").code == 0
    assert charging("ledger", "verify").code == 0
    monkeypatch.setenv("TEST_LEDGER_PASSWORD", "wrong")
    assert "invalid username-password pair" in charging("account", "list").problem
    monkeypatch.delenv("TEST_LEDGER_PASSWORD")
    assert "ledger.password_env: found nothing" in charging("account", "list").problem


def test_the_password_of_a_redis_without_users_reaches_the_commands(
    charging: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path, "requirepass right/") as server:
        use_redis(place, server, user="")
        assert charging("account", "add", "anna", "--plan", "pro").code == 0
        monkeypatch.setenv("TEST_LEDGER_PASSWORD", "wrong")
        assert "invalid username-password pair" in charging("account", "list").problem


async def test_the_password_of_a_redis_reaches_the_daemon(place: Place, redis: RedisServer) -> None:
    use_redis(place, redis)
    engine = build(load_config(place.config))
    await engine.store.open()
    await engine.store.ping()
    await engine.store.close()


def test_a_redis_url_with_an_option_that_there_is_not_is_told(charging: Command, place: Place) -> None:
    place.config.write_text(place.config.read_text().replace("sqlite:///ledger.db", "redis://127.0.0.1:1/0?color=red"))
    assert "unknown option color" in charging("account", "list").problem
