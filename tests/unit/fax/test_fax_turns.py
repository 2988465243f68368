"""Documents wait for their turn: a few at a time, one of each account, and no account holds up another."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from charging.fax.turns import QueueBounds, Turns
from charging.service.refusal import Code
from tests.fakes.ami import eventually


class Documents:
    """Documents that are being made ready until they are told to end."""

    def __init__(self, bounds: QueueBounds) -> None:
        self.turns = Turns(bounds)
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def bring(self, *names: str) -> None:
        """Each is of the account that is its first letter."""
        for name in names:
            assert self.turns.hindrance(name[0]) is None
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name))
            await asyncio.sleep(0)

    async def _work(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.begun.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def drop(self, name: str) -> None:
        self.tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[name]
        await asyncio.sleep(0)


async def test_slow_document_holds_up_its_own_account_alone() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "a2", "a3", "b1", "c1")
    assert documents.begun == ["a1", "b1"], "anna has one place at most"
    await documents.end("b1")
    assert documents.begun == ["a1", "b1", "c1"]
    await documents.end("a1")
    await documents.end("c1")
    assert documents.begun[3:] == ["a2"]


async def test_accounts_come_in_turn_whoever_brought_more() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "a2", "a3", "b1", "b2", "c1")
    for _ in range(6):
        await documents.end(documents.begun[-1])
    assert documents.begun == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_account_has_so_many_documents_and_no_more() -> None:
    documents = Documents(QueueBounds(at_once=2, of_account=2))
    await documents.bring("a1", "a2")
    refused = documents.turns.hindrance("a")
    assert refused is not None
    assert refused.code is Code.UNAVAILABLE
    assert "2 documents of account 'a'" in refused.message
    assert documents.turns.hindrance("b") is None
    await documents.end("a1")
    assert documents.turns.hindrance("a") is None


async def test_queue_has_so_many_documents_and_no_more() -> None:
    documents = Documents(QueueBounds(at_once=1, waiting=2, of_account=9))
    await documents.bring("a1", "b1", "c1")
    refused = documents.turns.hindrance("d")
    assert refused is not None
    assert (refused.code, "3 documents are waiting" in refused.message) == (Code.UNAVAILABLE, True)
    await documents.end("a1")
    assert documents.turns.hindrance("d") is None


async def test_who_goes_away_leaves_his_place() -> None:
    """Waiting, at work, or in the moment in which his turn comes."""
    documents = Documents(QueueBounds(at_once=1, of_account=1))
    await documents.bring("a1", "b1", "c1", "d1")
    await documents.drop("b1")
    await documents.drop("a1")
    assert documents.begun == ["a1", "c1"]
    documents.ends["c1"].set()
    await eventually(documents.tasks["c1"].done, "the third is over")
    await documents.drop("d1")
    assert documents.turns.hindrance("a") is None
    await documents.bring("e1")
    assert documents.begun[-1] == "e1"
