"""Documents wait for their turn: a few at a time, one of each account, and no account holds up another."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from charging.service.refusal import Code, Refused
from charging.service.turns import HALF_S, IMPATIENT_S, LOOK_S, SLOW_S, QueueBounds, Turns
from charging.tasks import end
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock


class Documents:
    """Documents that are being made ready until they are told to end."""

    def __init__(self, bounds: QueueBounds) -> None:
        self.clock = FakeClock()
        self.turns = Turns(self.clock, bounds)
        self.size = 0
        self.begun: list[str] = []
        self.broken: list[str] = []
        self.gone: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def bring(self, *names: str) -> None:
        """Each is of the account that is its first letter; who brings one that ends with ``!`` is not patient."""
        for name in names:
            assert self.turns.hindrance(name[0], patient=not name.endswith("!"), size=self.size) is None
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name))
            await self.clock.rest()

    async def _work(self, name: str) -> None:
        made = partial(self._make, name)
        if isinstance(await self.turns.run(name[0], made, patient=not name.endswith("!"), size=self.size), Refused):
            self.gone.append(name)

    async def _make(self, name: str) -> None:
        self.begun.append(name)
        try:
            await self.ends[name].wait()
        except asyncio.CancelledError:
            self.broken.append(name)
            raise

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await self.clock.rest()

    async def drop(self, name: str) -> None:
        self.tasks[name].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[name]
        await self.clock.rest()


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


async def test_document_that_takes_long_makes_room_for_an_account_that_has_had_less_and_is_begun_again() -> None:
    """Two accounts that hand in one slow document after the other keep nobody else waiting."""
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1", "c1")
    await documents.clock.advance(SLOW_S - 1)
    assert documents.begun == ["a1", "b1"]
    await documents.clock.advance(1)
    assert documents.begun == ["a1", "b1", "c1"], "carl waited for seconds, whatever both take"
    assert documents.broken == ["b1"], "what was begun first is done some day"
    await documents.bring("d1")
    await documents.end("c1")
    assert documents.begun[3:] == ["d1"], "dora has had nothing yet"
    await documents.end("d1")
    assert documents.begun[4:] == ["b1"]
    for name in ("a1", "b1"):
        await documents.end(name)
    assert (documents.broken, documents.gone) == (["b1"], [])


async def test_nothing_is_broken_off_while_nobody_waits_or_a_place_is_free_soon() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1", "a2", "b2")
    await documents.clock.advance(10 * SLOW_S)
    assert documents.begun == ["a1", "b1"], "who waits has as much himself"
    await documents.end("a1")
    await documents.bring("c1")
    await documents.clock.advance(SLOW_S - 1)
    assert (documents.begun[2:], documents.broken) == (["a2"], [])
    await documents.clock.advance(1)
    assert (documents.begun[3:], documents.broken) == (["c1"], ["a2"])


async def test_nothing_is_broken_off_for_who_has_gone_away() -> None:
    """One that hung up while he waited, or whose patience was over, has no document here any more."""
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1", "c1", "d1!")
    await documents.drop("c1")
    await documents.clock.advance(SLOW_S - 1)
    await documents.drop("d1!")
    await documents.clock.advance(10 * SLOW_S)
    assert (documents.begun, documents.broken) == (["a1", "b1"], [])


async def test_account_that_has_had_most_is_broken_off_and_none_for_one_that_has_had_nearly_as_much() -> None:
    documents = Documents(QueueBounds(at_once=3))
    await documents.bring("b1")
    await documents.clock.advance(4)
    await documents.end("b1")
    await documents.bring("a1", "b2", "c1", "d1")
    await documents.clock.advance(SLOW_S)
    assert documents.broken == ["b2"]
    await documents.clock.advance(SLOW_S)
    assert documents.broken == ["b2"], "all take long by now; carl's has taken sixteen seconds, and ben has had twelve"
    await documents.clock.advance(SLOW_S)
    assert documents.broken == ["b2", "c1"]


async def test_who_has_had_least_time_comes_first() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "a2", "b1", "b2")
    await documents.clock.advance(4)
    await documents.end("a1")
    await documents.clock.advance(1)
    await documents.end("b1")
    await documents.bring("c1", "d1")
    assert documents.begun == ["a1", "b1", "b2"]
    await documents.end("b2")
    assert documents.begun[3:] == ["c1"], "and not anna, who waits longer, for she has had more"
    for name in ("c1", "d1", "a2"):
        await documents.end(name)
    assert documents.begun[4:] == ["d1", "a2"]


async def test_what_an_account_has_had_counts_half_after_a_while() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1")
    await documents.clock.advance(4)
    await documents.end("a1")
    await documents.clock.advance(HALF_S)
    await documents.bring("b1")
    await documents.clock.advance(3)
    await documents.end("b1")
    await documents.bring("c1", "b2", "a2")
    await documents.end("c1")
    assert documents.begun[3:] == ["a2"], "two seconds, by now, to three"


SLOW_AND_QUICK = {"a": 90, "b": 90, "q": 4}


@pytest.mark.parametrize("mails_s", [1, 6, 12, 40])
@pytest.mark.parametrize(
    "others_s",
    [
        *(dict.fromkeys("abcd", 14), dict.fromkeys("abcdefgh", 4.9), dict.fromkeys("abcdefgh", 80)),
        *(SLOW_AND_QUICK, {"a": 90, "q": 4}, {"a": 90, "b": 30, "q": 1}),
    ],
)
async def test_mail_of_another_has_its_turn_whatever_other_accounts_hand_in(
    others_s: dict[str, float], mails_s: float
) -> None:
    """Each hands in the next as soon as one is done, and is patient. The mail comes again as Postfix brings it."""
    clock = FakeClock()
    turns = Turns(clock)

    async def made(seconds: float) -> str:
        await clock.sleep_until(clock.now().plus(seconds).mono_us)
        return "made"

    async def hands_in_for_ever(account: str) -> None:
        while True:
            await turns.run(account, lambda: made(others_s[account]))

    tasks = [asyncio.create_task(hands_in_for_ever(one)) for one in others_s for _ in range(2)]
    await clock.advance(300)
    tries = []
    for nth in range(4):
        for retry in range(1, 10):
            mail = asyncio.create_task(turns.run(f"honest-{nth % 2}", lambda: made(mails_s), patient=False))
            await clock.advance(200)
            if mail.result() == "made":
                tries.append(retry)
                break
            await clock.advance(100 * retry)
        await clock.advance(900)
    assert len(tries) == 4
    assert max(tries) <= (1 if mails_s < SLOW_S else 3), tries
    await end(tasks)


async def test_turn_of_what_cannot_be_done_again_is_not_broken_off() -> None:
    documents = Documents(QueueBounds(at_once=3))
    await documents.bring("a1")
    async with documents.turns.turn("b") as is_turn:
        await documents.clock.advance(1)
        await documents.bring("c1", "d1")
        await documents.clock.advance(SLOW_S)
        assert (is_turn, documents.broken, documents.begun) == (True, ["c1"], ["a1", "c1", "d1"])
        await documents.bring("e1")
        await documents.clock.advance(SLOW_S)
        assert documents.broken == ["c1", "d1"]


async def test_work_that_fails_fails_and_leaves_its_place() -> None:
    turns = Turns(FakeClock(), QueueBounds(at_once=1))

    async def fails() -> None:
        raise OSError("no room")

    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            await turns.run("a", fails)


async def test_only_place_is_kept_until_the_document_is_done() -> None:
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "b1")
    await documents.clock.advance(10 * SLOW_S)
    assert (documents.begun, documents.broken) == (["a1"], [])


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


async def test_documents_have_so_many_bytes_and_no_more() -> None:
    documents = Documents(QueueBounds(at_once=1, bytes=100))
    documents.size = 101
    await documents.bring("a1")
    assert documents.turns.hindrance("b", size=1) is not None, "it is alone, however large"
    assert documents.turns.hindrance("b") is None
    await documents.end("a1")
    documents.size = 50
    await documents.bring("b1", "c1")
    refused = documents.turns.hindrance("d", size=50)
    assert refused is not None
    assert (refused.code, "2 documents are waiting" in refused.message) == (Code.UNAVAILABLE, True)
    await documents.end("b1")
    assert documents.turns.hindrance("d", size=50) is None
    assert documents.turns.hindrance("d", size=51) is not None


async def test_where_bytes_are_short_the_account_that_has_most_makes_room_for_one_that_will_have_less() -> None:
    """Fourteen customers' documents took a gigabyte of memory."""
    documents = Documents(QueueBounds(at_once=1, bytes=100))
    documents.size = 30
    await documents.bring("a1", "b1", "b2")
    assert documents.turns.hindrance("c", size=41) is not None, "no other that makes room has as much"
    documents.size = 40
    await documents.bring("c1")
    await documents.clock.rest()
    assert documents.gone == ["b2"]
    assert documents.turns.hindrance("d", size=40) is not None, "it would have as much as he that has most"
    documents.size = 39
    await documents.bring("d1")
    await documents.clock.rest()
    assert documents.gone == ["b2", "c1"]
    assert documents.turns.hindrance("b", size=5) is not None, "who has one here makes no other go"
    for name in ("a1", "b1", "d1"):
        await documents.end(name)


async def test_account_that_has_had_much_makes_room_in_a_full_queue_for_one_that_has_not() -> None:
    documents = Documents(QueueBounds(at_once=1, waiting=2))
    await documents.bring("a1")
    await documents.clock.advance(SLOW_S)
    await documents.end("a1")
    await documents.bring("b1", "a2", "c1", "d1")
    assert documents.gone == ["a2"]
    assert documents.turns.hindrance("e") is not None, "no one else has had more than he"
    assert documents.turns.hindrance("a") is not None


async def test_who_is_not_patient_waits_for_seconds_and_no_longer() -> None:
    """He holds one of the mail server's places, which all customers share."""
    documents = Documents(QueueBounds(at_once=1))
    await documents.bring("a1", "b1!", "c1")
    await documents.clock.advance(IMPATIENT_S - 1)
    assert documents.gone == []
    await documents.clock.advance(1)
    assert documents.gone == ["b1!"]
    await documents.end("a1")
    assert documents.begun == ["a1", "c1"]
    await documents.end("c1")
    await documents.bring("b2!")
    await eventually(lambda: documents.begun[2:] == ["b2!"], "its turn")


async def test_who_is_not_patient_does_not_wait_behind_others_with_an_account_that_has_had_much() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1!")
    assert documents.turns.hindrance("a", patient=False) is None, "most documents are quick"
    await documents.clock.advance(SLOW_S)
    refused = documents.turns.hindrance("a", patient=False)
    assert refused is not None
    assert (refused.code, "took long lately" in refused.message) == (Code.UNAVAILABLE, True)
    assert documents.turns.hindrance("a") is None
    assert documents.turns.hindrance("b", patient=False) is None, "others are not kept waiting"
    await documents.end("a1!")
    assert documents.turns.hindrance("a", patient=False) is None, "the places are free"
    await documents.bring("b1", "c1")
    assert documents.turns.hindrance("a", patient=False) is not None
    await documents.clock.advance(1)
    assert documents.turns.hindrance("a", patient=False) is None, "less than so much counts by now"


async def test_of_accounts_that_have_had_much_one_has_an_impatient_document_at_a_time_though_places_are_free() -> None:
    """Two customers' slow mails held both of the mail server's places for secret addresses, for minutes or all day."""
    documents = Documents(QueueBounds(at_once=3))
    await documents.bring("a1!", "b1!")
    await documents.clock.advance(SLOW_S - 1)
    assert documents.broken == []
    await documents.clock.advance(1)
    assert (documents.broken, documents.gone) == (["b1!"], ["b1!"]), "it comes again some other time"
    assert documents.turns.hindrance("b", patient=False) is not None
    assert documents.turns.hindrance("b") is None
    assert documents.turns.hindrance("c", patient=False) is None, "most documents are quick"
    await documents.end("a1!")
    assert documents.turns.hindrance("b", patient=False) is None


async def test_of_two_accounts_that_have_had_much_the_one_that_has_had_less_goes_on() -> None:
    documents = Documents(QueueBounds(at_once=3))
    await documents.bring("b1!")
    await documents.clock.advance(SLOW_S + 1)
    await documents.end("b1!")
    await documents.bring("a1!")
    await documents.clock.advance(2 * SLOW_S - 1)
    assert documents.turns.hindrance("b", patient=False) is not None
    await documents.clock.advance(3)
    await documents.bring("b2!")
    await documents.clock.advance(LOOK_S)
    assert documents.broken == ["a1!"], "which has had so much more by now"
    await documents.clock.advance(SLOW_S)
    await documents.end("b2!")
    assert documents.gone == ["a1!"]


async def test_who_is_not_patient_and_is_broken_off_waits_again() -> None:
    documents = Documents(QueueBounds(at_once=2))
    await documents.bring("a1", "b1!", "c1")
    await documents.clock.advance(SLOW_S)
    assert documents.broken == ["b1!"]
    await documents.clock.advance(1)
    await documents.end("c1")
    assert documents.begun == ["a1", "b1!", "c1", "b1!"]
    await documents.end("b1!")
    assert documents.gone == []


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
