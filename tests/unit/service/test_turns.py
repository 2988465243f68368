"""Documents wait for their turn: a few at a time, one of each account, and no account holds up another."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from charging.service.refusal import Code
from charging.service.turns import SLOW_FOR_S, SLOW_S, QueueBounds, Turns
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock


class Documents:
    """Documents that are being made ready until they are told to end."""

    def __init__(self, bounds: QueueBounds) -> None:
        self.clock = FakeClock()
        self.turns = Turns(self.clock, bounds)
        self.begun: list[str] = []
        self.gone: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def bring(self, *names: str) -> None:
        """Each is of the account that is its first letter; who brings one that ends with ``!`` is not patient."""
        for name in names:
            assert self.turns.hindrance(name[0], patient=not name.endswith("!")) is None
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name))
            await asyncio.sleep(0)

    async def _work(self, name: str) -> None:
        async with self.turns.turn(name[0], patient=not name.endswith("!")) as is_turn:
            if not is_turn:
                self.gone.append(name)
                return
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


async def test_accounts_whose_documents_take_long_leave_a_place_to_the_others() -> None:
    """Two accounts that hand in one slow document after the other keep nobody else waiting."""
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1", "a2", "b2", "c1")
    await documents.clock.advance(SLOW_S + 1)
    await documents.end("a1")
    assert documents.begun == ["a1", "b1", "c1"], "carl was there after both"
    await documents.end("b1")
    assert documents.begun[3:] == ["a2"], "one of both"
    await documents.end("c1")
    assert documents.begun[4:] == [], "a place is free, and kept"
    await documents.bring("d1")
    assert documents.begun[4:] == ["d1"]
    await documents.end("a2")
    assert documents.begun[5:] == ["b2"]


async def test_account_is_slow_for_a_while() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1")
    await documents.clock.advance(SLOW_S)
    await documents.end("a1")
    await documents.clock.advance(1)
    await documents.end("b1")
    await documents.clock.advance(SLOW_FOR_S - 1)
    await documents.bring("b2", "a2")
    assert documents.begun[2:] == ["b2", "a2"], "only ben is slow, and alone so"
    await documents.end("b2")
    await documents.clock.advance(1)
    await documents.bring("c1", "b3", "d1")
    await documents.clock.advance(SLOW_S + 1)
    await documents.end("a2")
    assert documents.begun[4:] == ["c1", "b3"], "a quick document makes nobody slow for longer"


async def test_slow_account_has_the_only_place_where_there_is_one() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "a2")
    await documents.clock.advance(SLOW_S + 1)
    await documents.end("a1")
    assert documents.begun == ["a1", "a2"]


async def test_where_the_queue_is_full_the_last_of_who_brought_most_makes_room_for_another() -> None:
    documents = Documents(QueueBounds(at_once=1, waiting=4, of_account=3))
    await documents.bring("a1", "a2", "a3", "b1", "b2", "c1")
    await eventually(documents.tasks["a3"].done, "the last of anna's has gone")
    assert documents.gone == ["a3"]
    assert documents.turns.hindrance("b") is not None, "he has some there"
    await documents.bring("d1")
    await eventually(lambda: len(documents.gone) == 2, "one more has gone")
    assert documents.gone[1] in ("a2", "b2")
    await documents.bring("e1")
    await eventually(lambda: len(documents.gone) == 3, "one more has gone")
    assert sorted(documents.gone[1:]) == ["a2", "b2"]
    assert documents.turns.hindrance("f") is not None, "each has one alone"
    for name in ("a1", "b1", "c1", "d1", "e1"):
        await documents.end(name)
    assert documents.begun == ["a1", "b1", "c1", "d1", "e1"]


async def test_who_is_not_patient_waits_for_seconds_and_no_longer() -> None:
    """He holds one of the mail server's places, which all customers share."""
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "b1!", "c1")
    await documents.clock.advance(SLOW_S - 1)
    assert documents.gone == []
    await documents.clock.advance(1)
    assert documents.gone == ["b1!"]
    await documents.end("a1")
    assert documents.begun == ["a1", "c1"]
    await documents.end("c1")
    await documents.bring("b2!")
    await eventually(lambda: documents.begun[2:] == ["b2!"], "its turn")


async def test_who_is_not_patient_does_not_wait_behind_slow_documents_with_one_that_may_be_slow_too() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1!")
    assert documents.turns.hindrance("a", patient=False) is None, "most documents are quick"
    await documents.clock.advance(SLOW_S + 1)
    refused = documents.turns.hindrance("a", patient=False)
    assert refused is not None
    assert (refused.code, "take long" in refused.message) == (Code.UNAVAILABLE, True)
    assert documents.turns.hindrance("a") is None
    assert documents.turns.hindrance("b", patient=False) is None, "others are not kept waiting"
    await documents.end("a1!")
    await documents.bring("a2!")
    assert documents.turns.hindrance("a", patient=False) is not None, "it is known to be slow"
    await documents.end("a2!")
    await documents.clock.advance(SLOW_FOR_S + 1)
    await documents.bring("a3!")
    assert documents.turns.hindrance("a", patient=False) is None


async def test_who_is_not_patient_and_goes_at_once_leaves_his_place() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "b1!")
    await documents.drop("b1!")
    await documents.bring("b2!")
    await documents.end("a1")
    await eventually(lambda: documents.begun == ["a1", "b2!"], "its turn")
    await documents.end("b2!")
    await documents.bring("c1")
    assert documents.begun[2:] == ["c1"]
