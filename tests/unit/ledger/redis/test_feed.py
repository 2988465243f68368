"""What a feed on Redis asks of many lines and documents at a time."""

from __future__ import annotations

import asyncio

import pytest

from charging.ledger.redis.feed import TOGETHER
from charging.ledger.redis.store import RedisStore
from charging.ledger.redis.url import parse


@pytest.mark.parametrize("ends", [asyncio.CancelledError, ValueError])
async def test_what_is_not_asked_any_more_is_given_up(ends: type[BaseException]) -> None:
    """Whoever reads is told to stop, or one of the first questions fails: Python complains of each that is dropped."""
    feed, begun, goes_on, asked = (
        RedisStore(parse("redis://127.0.0.1:6379/0")).feed,
        asyncio.Event(),
        asyncio.Event(),
        [],
    )

    async def ask(number: int) -> int:
        asked.append(number)
        begun.set()
        await goes_on.wait()
        if ends is ValueError:
            raise ends
        return number

    reading = asyncio.create_task(feed._all_of([ask(number) for number in range(3 * TOGETHER)]))
    await begun.wait()
    if ends is ValueError:
        goes_on.set()
    else:
        reading.cancel()
    with pytest.raises(ends):
        await reading
    assert asked == list(range(TOGETHER))
