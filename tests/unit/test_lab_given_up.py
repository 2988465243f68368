"""A test of the lab that pytest-timeout gave up leaves nothing that runs beside the next one."""

from __future__ import annotations

import asyncio

from tests.asterisk.waiting import end_given_up


async def test_a_test_that_goes_on_after_its_end_puts_everything_away() -> None:
    begun, put_away = asyncio.Event(), []

    async def given_up() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            put_away.append("its daemon")

    async def of_a_fixture() -> None:
        await asyncio.Event().wait()

    goes_on, other = asyncio.create_task(given_up()), asyncio.create_task(of_a_fixture())
    await begun.wait()
    await end_given_up(given_up)
    assert put_away == ["its daemon"]
    assert goes_on.cancelled()
    assert not other.done()
    other.cancel()
