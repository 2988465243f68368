"""A client of redis-py that has to be given up is closed for good, whoever still holds it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import RedisClusterException

from charging.errors import LedgerUnavailable
from charging.ledger.redis.client import RedisClient
from charging.ledger.redis.url import parse


class Cluster:
    """As redis-py's: one that is closed connects again for whoever asks it something."""

    def __init__(self) -> None:
        self.open = False
        self.slow, self.asked = asyncio.Event(), asyncio.Event()

    async def execute_command(self, *words: str) -> Any:
        self.open = True
        if words == ("FAIL",):
            raise RedisClusterException("no node is left")
        self.asked.set()
        await self.slow.wait()
        self.open = True
        return "OK"

    async def aclose(self) -> None:
        self.open = False


@pytest.mark.timeout(10)
async def test_client_that_was_given_up_is_closed_again_when_its_last_user_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, made = RedisClient(parse("redis+cluster://127.0.0.1:7000")), [Cluster(), Cluster()]
    given_up, fresh = made
    waiting = iter(made)

    async def make() -> Cluster:
        return next(waiting)

    monkeypatch.setattr(client, "_make", make)
    slow = [asyncio.ensure_future(client.command("GET", one)) for one in "ab"]
    await given_up.asked.wait()
    with pytest.raises(LedgerUnavailable):
        await client.command("FAIL")
    assert not given_up.open
    given_up.slow.set()
    assert await asyncio.gather(*slow) == ["OK", "OK"]
    assert not given_up.open, "it connected again for those who held it"
    fresh.slow.set()
    assert await client.command("GET", "c") == "OK"
    assert fresh.open, "the one that is in use stays open"
    await client.close()
    assert not fresh.open
