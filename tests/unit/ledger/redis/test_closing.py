"""A client that is given up is closed without the other side's help, and without harm to who shares it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from redis.asyncio import Redis

from charging.errors import LedgerUnavailable
from charging.ledger.redis.client import BatchingConnection, RedisClient, _closed
from charging.ledger.redis.url import parse


class Writer:
    """To a server that is silent: by TLS its good-bye is waited for."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()

    def is_closing(self) -> bool:
        return self.is_closed


async def test_no_good_bye_is_waited_for() -> None:
    connection = BatchingConnection(host="192.0.2.1", port=1)
    writer = Writer()
    connection._reader, connection._writer = (
        cast("asyncio.StreamReader", object()),
        cast("asyncio.StreamWriter", writer),
    )
    async with asyncio.timeout(5):
        await connection.disconnect()
    assert writer.is_closed


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OSError("gone")])
async def test_what_goes_wrong_in_closing_is_nobodys(error: BaseException) -> None:
    class Client:
        async def aclose(self) -> None:
            raise error

    await _closed(cast("Redis", Client()))


async def test_a_question_whose_connection_somebody_else_closed_could_not_be_answered() -> None:
    client = RedisClient(parse("redis://127.0.0.1:1/0"))
    with pytest.raises(LedgerUnavailable, match="closed meanwhile"):
        async with client._asking():
            raise asyncio.CancelledError

    async def cancelled() -> None:
        async with client._asking():
            await asyncio.Event().wait()

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
