"""Every store gives everything that is told a place, in one order over all accounts (`charging.ledger.feed`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from charging.clock import SystemClock
from charging.ledger.accounts import Account
from charging.ledger.books.archive import archive
from charging.ledger.books.audit_feed import no_place
from charging.ledger.books.move import export_lines, import_lines
from charging.ledger.books.portable import Counts
from charging.ledger.books.verify import verify
from charging.ledger.documents import Put
from charging.ledger.feed import FeedEntry
from charging.ledger.memory import MemoryStore
from charging.ledger.model import JournalLine, Kind, Leg, Outcome, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from tests.contract.scenario import add_account, assert_sound, run
from tests.fakes.clock import FakeClock

NOW_US = 10**15
BOOKS = """t1 top_up credit=+100 -> created
    r1 reserve s1:open credit=/60 bundle:2026-11=/5 after g1 bundle:2026-11=+9 -> created
    x1 extend s1:keep credit=-1/-1                   -> created
    x2 reserve s9:open credit=/900                   -> insufficient
    t1 top_up credit=+100                            -> exists
    e1 settle s1:close+cdr credit=-45/-59 bundle:2026-11=-5/-5 -> created
"""


async def whole(store: Store, limit: int = 1000, after: int = 0) -> list[FeedEntry]:
    found: list[FeedEntry] = []
    while page := await store.feed.read_feed(found[-1].place if found else after, limit):
        assert len(page) <= limit
        found += page
    return found


def names(entries: list[FeedEntry]) -> list[str]:
    return [one.found.id if one.found is not None else "gone" for one in entries]


@pytest.fixture
async def second(store: Store, store_url: str) -> AsyncIterator[Store]:
    """Another process's look at the same ledger."""
    if store_url == "memory:":
        yield store
        return
    other = open_store(store_url, reads_only=True)
    await other.open()
    yield other
    await other.close()


async def top_up(store: Store, account: str, id: str) -> None:
    transfer = Transfer(id, account, Kind.TOP_UP, 7, (Leg("credit", 1),))
    assert (await store.apply(transfer)).outcome is Outcome.CREATED


@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_what_was_booked_is_told_once_and_neither_ticks_nor_refusals_are(store: Store, limit: int) -> None:
    await add_account(store)
    await run(store, BOOKS)
    found = await whole(store, limit)
    assert names(found) == ["t1", "g1", "r1", "e1"]
    lines = [one.found for one in found]
    assert lines == [line async for line in store.journal("a") if line.kind is not Kind.EXTEND]
    places = [one.place for one in found]
    assert places == sorted(set(places))
    assert await whole(store, limit) == found
    assert await store.feed.last_place() == places[-1]
    bounds = (places[0] - 1, places[0], places[2] - 1, places[2], places[-1] + 1)
    assert [await store.feed.last_place(one) for one in bounds] == [0, places[0], places[1], places[2], places[-1]]
    assert await store.feed.read_feed(places[-1], limit) == []


async def test_what_is_booked_in_one_moment_has_places_of_its_own() -> None:
    store = MemoryStore(FakeClock())
    await add_account(store)
    for id in ("t1", "t2"):
        await top_up(store, "a", id)
    assert names(await whole(store, 1)) == ["t1", "t2"]


async def test_accounts_and_documents_share_one_order_which_another_process_sees_too(
    store: Store, second: Store
) -> None:
    for account in "ab":
        await add_account(store, account)
    told: list[str] = []
    for step in range(4):
        await top_up(store, "ab"[step % 2], f"t{step}")
        collection = ("notices", "notice-results")[step % 2]
        assert await store.documents.put_document(collection, f"n{step}", "{}", 5) is Put.CREATED
        assert await store.documents.put_document(collection, f"n{step}", "{}", 5) is Put.EXISTS
        told += names(await whole(second, after=await place_of(second, told)))
    assert sorted(told) == sorted([f"{what}{step}" for what in "tn" for step in range(4)])
    assert names(await whole(store)) == told


async def place_of(store: Store, told: list[str]) -> int:
    return (await whole(store))[len(told) - 1].place if told else 0


async def test_a_place_is_no_older_than_the_booking_whatever_time_it_was_asked_for(store: Store) -> None:
    """So a copy that is put in a ledger's place gives none again: who had read up to its last moment finds what is
    booked from then on."""
    await add_account(store)
    began_us = SystemClock().now().wall_us
    await top_up(store, "a", "t1")
    await store.documents.put_document("notices", "n1", "{}", 5)
    places = [one.place for one in await whole(store)]
    assert len(places) == 2
    assert min(places) >= began_us
    assert max(places) <= SystemClock().now().wall_us + len(places)


async def test_the_audit_names_a_line_without_a_place(store: Store) -> None:
    for account in "ab":
        await add_account(store, account)
    await run(store, BOOKS)
    await top_up(store, "b", "t1")
    entries = await whole(store)
    for gone in entries[1:]:
        await store.feed.clear_feed()
        await store.feed.restore_feed([one for one in entries if one is not gone])
        found = [str(one) async for one in verify(store)]
        assert found == ([] if gone.account == "b" else [str(no_place("a", gone.number))]), gone
    await store.feed.clear_feed()
    await assert_sound(store)
    await store.feed.restore_feed(entries[1:])
    await assert_sound(store)


async def test_who_reads_on_while_many_book_misses_nothing(store: Store, second: Store) -> None:
    accounts = [f"a{number}" for number in range(8)]
    for account in accounts:
        await add_account(store, account)
    booking = asyncio.gather(*(top_up(store, one, f"t{step}") for step in range(25) for one in accounts))
    seen: list[FeedEntry] = []
    while not booking.done() or len(seen) < 200:
        seen += await second.feed.read_feed(seen[-1].place if seen else 0, 7)
        await asyncio.sleep(0)
    await booking
    assert seen == await whole(store)
    for account in accounts:
        numbers = [one.number for one in seen if one.account == account]
        assert numbers == list(range(1, 26))


async def test_two_who_read_at_the_same_time_see_the_same(store: Store, second: Store) -> None:
    await add_account(store)
    for step in range(30):
        await top_up(store, "a", f"t{step}")
    first, other = await asyncio.gather(whole(store, 7), whole(second, 9))
    assert first == other
    assert len(first) == 30


async def test_what_was_archived_or_forgotten_has_a_place_and_the_beginning_goes(store: Store, tmp_path: Path) -> None:
    for account in "ab":
        await add_account(store, account)
    await run(store, BOOKS)
    await whole(store)  # Redis gives places in the order in which it is read
    await store.apply(Transfer("late", "b", Kind.TOP_UP, NOW_US, (Leg("credit", 1),)))
    await whole(store)
    await store.documents.put_document("notices", "n1", "{}", 5)
    before = await whole(store)
    await archive(store, NOW_US // 2, NOW_US, tmp_path, lambda _: "2026-11", Counts())
    after = await whole(store)
    assert names(after) == ["gone", "late", "n1"]
    assert [one.place for one in after] == [one.place for one in before[-3:]]
    document = await store.documents.get_document("notices", "n1")
    assert document is not None
    await store.documents.delete_document(document)
    assert names(await whole(store)) == ["gone", "late", "gone"]
    await assert_sound(store)


async def test_a_ledger_that_moves_keeps_its_places(store: Store) -> None:
    house = MemoryStore()
    for account in "ab":
        await add_account(house, account)
        await top_up(house, account, "t1")
        await house.documents.put_document("decisions", f"n-{account}", "{}")
    lines = [line async for line in export_lines(house, Counts())]
    await import_lines(store, lines, Counts())
    assert await whole(store) == await whole(house)
    assert [line async for line in export_lines(store, Counts())] == lines
    last = await store.feed.last_place()
    await top_up(store, "a", "t2")
    (new,) = await store.feed.read_feed(last, 10)
    assert isinstance(new.found, JournalLine)
    assert new.found.id == "t2"


async def test_an_export_of_a_program_without_a_feed_is_told_from_its_end_on(store: Store) -> None:
    house = MemoryStore()
    await add_account(house)
    await run(house, BOOKS)
    await house.documents.put_document("decisions", "old", "[]")
    await house.feed.clear_feed()
    lines = [line async for line in export_lines(house, Counts())]
    await import_lines(store, lines, Counts())
    assert await whole(store) == []
    await top_up(store, "a", "t2")
    assert names(await whole(store)) == ["t2"]


async def test_an_edit_of_an_account_takes_no_place(store: Store) -> None:
    await add_account(store)
    assert await store.directory.put_account(Account("a", "voice_pro", version=1))
    await store.documents.put_document("missed-calls", "n", "{}")
    assert await whole(store) == []


async def test_a_change_takes_its_place_once_it_is_done_and_only_once(store: Store) -> None:
    await store.documents.put_document("changes", "c1", "{}", 7)
    await store.documents.put_document("changes", "c2", "{}", 7)
    await store.documents.put_document("changes", "c3", "{}")
    assert names(await whole(store)) == ["c3"]
    for body in ("done", "hidden"):
        asked = await store.documents.get_document("changes", "c1")
        assert asked is not None
        assert await store.documents.update_document(replace(asked, body=body, due_us=None))
        assert names(await whole(store)) == ["c3", "c1"]
    void = await store.documents.get_document("changes", "c2")
    assert void is not None
    assert await store.documents.delete_document(void)
    assert names(await whole(store)) == ["c3", "c1"]
