"""Decisions in every kind of store: written in batches, found again by number, account and time, pruned, forgotten."""

from __future__ import annotations

import pytest

from charging.call.decided import Decided, Turn
from charging.clock import MICROSECONDS, SystemClock
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.safe_text import hidden
from charging.service import decisions
from charging.service.decisions import COLLECTION, DecisionKeeper, Decisions, Sought
from tests.fakes.clock import FakeClock

ALL = Sought()
ANNA, BERT = "+31201234567", "+31207654321"


def decided(at_us: int, number: str = ANNA, account: str = "anna", reason: str = "no_credit") -> Decided:
    return Decided(at_us, Turn.INCOMING, "voicemail", reason, "main", 12, number=number, account=account)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rests between pages, and with small pages and documents."""
    monkeypatch.setattr(decisions, "PAGE_REST_S", 0)
    monkeypatch.setattr(decisions, "PAGE_DOCUMENTS", 3)
    monkeypatch.setattr(decisions, "BATCH_DECISIONS", 4)


async def write(store: Store, *ones: Decided, apart: bool = False) -> None:
    """By a daemon of their own."""
    keeper = DecisionKeeper(store.documents, SystemClock(), daemon="host-1")
    for one in ones:
        keeper.keep(one)
        if apart:
            await keeper.write()
    await keeper.write()


async def times(store: Store, sought: Sought = ALL, limit: int = 1000) -> list[int]:
    """Seconds of all that is found, page by page."""
    found: list[int] = []
    after: str | None = None
    while True:
        kept, after = await Decisions(store.documents, SystemClock()).page(sought, after, limit)
        assert len(kept) <= limit
        found += [one.decided.at_us // MICROSECONDS for one in kept]
        if after is None:
            return found


def second(number: int) -> int:
    return (1_000_000_000 + number) * MICROSECONDS


def seconds(*numbers: int) -> list[int]:
    return [1_000_000_000 + one for one in numbers]


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize("apart", [False, True], ids=["batched", "one by one"])
async def test_all_are_found_once_in_order_however_the_pages_are_cut(store: Store, limit: int, apart: bool) -> None:
    await write(store, *(decided(second(number)) for number in range(10)), apart=apart)
    documents = await store.documents.list_documents(COLLECTION)
    assert len(documents) == (10 if apart else 3)
    assert await times(store, limit=limit) == seconds(*range(10))


async def test_they_come_back_as_they_were_after_a_restart(store_url: str) -> None:
    store = open_store(store_url)
    await store.open()
    one = decided(second(1))
    await write(store, one)
    if store_url != "memory:":
        await store.close()
        store = open_store(store_url)
        await store.open()
    ((kept,), _) = await Decisions(store.documents, SystemClock()).page(Sought(), None, 10)
    await store.close()
    assert kept.decided.daemon == "host-1"
    assert kept.decided.to_plain() == {**one.to_plain(), "daemon": "host-1"}


async def test_a_number_and_an_account_are_found_among_others(store: Store) -> None:
    await write(
        store,
        *(decided(second(number), BERT, "bert") for number in range(5)),
        decided(second(5)),
        decided(second(6), BERT, "bert"),
        decided(second(7), account="anna-b", number="+31201112233"),
        decided(second(8), hidden(ANNA), ""),
    )
    assert await times(store, Sought(number=ANNA)) == seconds(5, 8)
    assert await times(store, Sought(account="anna")) == seconds(5)
    assert await times(store, Sought(account="bert"), limit=1) == seconds(0, 1, 2, 3, 4, 6)
    assert await times(store, Sought(number=BERT, account="anna")) == []


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(0, None, [0, 10, 70, 200]), (10, 200, [10, 70]), (11, 200, [70]), (10, 201, [10, 70, 200])],
)
async def test_since_is_within_and_until_is_not(store: Store, since: int, until: int | None, found: list[int]) -> None:
    await write(store, *(decided(second(number)) for number in (0, 10, 70, 200)))
    sought = Sought(since_us=second(since), until_us=None if until is None else second(until))
    assert await times(store, sought) == seconds(*found)


async def test_one_that_took_long_is_found_by_the_time_at_which_it_was_asked(store: Store) -> None:
    """It is written after a later one, in the same document."""
    await write(store, decided(second(9)), decided(second(4)))
    assert await times(store, Sought(since_us=second(9), until_us=second(10))) == seconds(9)
    assert await times(store, Sought(since_us=second(4), until_us=second(5))) == seconds(4)


async def test_a_request_looks_into_some_documents_only_and_says_where_to_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "EXAMINED_MAX", 4)
    await write(store, *(decided(second(number), BERT, "bert") for number in range(9)), decided(second(9)), apart=True)
    asked = Decisions(store.documents, SystemClock())
    first, after = await asked.page(Sought(number=ANNA), None, 10)
    assert (first, after is None) == ([], False)
    second_page, after = await asked.page(Sought(number=ANNA), after, 10)
    assert (second_page, after is None) == ([], False)
    (found,), after = await asked.page(Sought(number=ANNA), after, 10)
    assert (found.decided.at_us, after) == (second(9), None)


# --- pruned -----------------------------------------------------------------------------------------------------

DAY = 24 * 3600


async def test_what_is_older_than_the_days_goes(store: Store, clock: FakeClock) -> None:
    now_us = clock.now().wall_us
    old = [decided(now_us - 14 * DAY * MICROSECONDS - one) for one in (1, 2, 3)]
    young = [decided(now_us - 14 * DAY * MICROSECONDS + one) for one in (0, 1)]
    await write(store, *old, apart=True)
    await write(store, *young, apart=True)
    await DecisionKeeper(store.documents, clock, days=14).prune()
    found, _ = await Decisions(store.documents, clock).page(Sought(), None, 10)
    assert [one.decided.at_us for one in found] == [one.at_us for one in young]


async def test_of_more_than_the_most_the_oldest_go(store: Store, clock: FakeClock) -> None:
    now_us = clock.now().wall_us
    await write(store, *(decided(now_us + one) for one in range(10)))  # documents of 4, 4 and 2
    keeper = DecisionKeeper(store.documents, clock, most=10)
    await keeper.prune()
    assert len(await times(store)) == 10
    keeper.keep(decided(now_us + 10))
    await keeper.write()
    await keeper.prune()
    found, _ = await Decisions(store.documents, clock).page(Sought(), None, 100)
    assert [one.decided.at_us - now_us for one in found] == list(range(4, 11))


async def test_two_daemons_prune_the_same_store(store: Store, clock: FakeClock) -> None:
    now_us = clock.now().wall_us
    await write(store, *(decided(now_us + one) for one in range(10)))
    first, other = (DecisionKeeper(store.documents, clock, most=6) for _ in range(2))
    await first.prune()
    await other.prune()
    assert len(await times(store)) == 6


# --- forgotten --------------------------------------------------------------------------------------------------


async def test_those_of_one_account_are_told_and_forgotten_and_no_others(store: Store) -> None:
    await write(store, *(decided(second(n), account=("anna", "bert")[n % 2]) for n in range(9)))
    await write(store, decided(second(20)))
    kept = Decisions(store.documents, SystemClock())
    assert len([one async for one in kept.of_account("anna")]) == 6
    assert await kept.forget("anna") == 6
    assert await kept.forget("anna") == 0
    assert [one async for one in kept.of_account("anna")] == []
    assert await times(store) == seconds(1, 3, 5, 7)
