"""Every store keeps documents alike: the rules of `charging/ledger/documents.py`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from charging.ledger.documents import Document, Put
from charging.ledger.port import Store


async def test_put_creates_once_and_changes_nothing_after(store: Store) -> None:
    assert await store.documents.put_document("a", "1", "first", 5) is Put.CREATED
    assert await store.documents.put_document("a", "1", "second", 9) is Put.EXISTS
    assert await store.documents.get_document("a", "1") == Document("a", "1", "first", 5, version=1)


async def test_collections_are_apart(store: Store) -> None:
    assert await store.documents.put_document("a", "1", "x", 1) is Put.CREATED
    assert await store.documents.put_document("b", "1", "y", 1) is Put.CREATED
    assert await store.documents.get_document("c", "1") is None
    assert [one.body for one in await store.documents.due_documents("b", 1, 10)] == ["y"]
    assert [one.body for one in await store.documents.list_documents("a")] == ["x"]


async def test_update_replaces_body_and_due_of_the_version_read(store: Store) -> None:
    await store.documents.put_document("a", "1", "x", 5)
    read = await store.documents.get_document("a", "1")
    assert read is not None
    assert await store.documents.update_document(replace(read, body="y", due_us=None))
    assert await store.documents.get_document("a", "1") == Document("a", "1", "y", None, version=2)
    assert not await store.documents.update_document(replace(read, body="z")), "the version has passed"
    assert not await store.documents.update_document(Document("a", "2", "z", None, version=1)), "there is none"


async def test_of_several_updates_of_one_version_one_succeeds(store: Store) -> None:
    await store.documents.put_document("a", "1", "x", 5)
    read = await store.documents.get_document("a", "1")
    assert read is not None
    results = await asyncio.gather(*(store.documents.update_document(replace(read, body=str(n))) for n in range(20)))
    assert sum(results) == 1
    stored = await store.documents.get_document("a", "1")
    assert stored is not None
    assert (stored.version, stored.body) == (2, str(results.index(True)))


async def test_delete_removes_the_version_read_only(store: Store) -> None:
    await store.documents.put_document("a", "1", "x", 5)
    read = await store.documents.get_document("a", "1")
    assert read is not None
    await store.documents.update_document(read)
    assert not await store.documents.delete_document(read)
    assert await store.documents.delete_document(replace(read, version=2))
    assert not await store.documents.delete_document(replace(read, version=2))
    assert await store.documents.get_document("a", "1") is None
    assert await store.documents.due_documents("a", 10, 10) == []
    assert await store.documents.put_document("a", "1", "again") is Put.CREATED


async def test_due_lists_what_has_come_most_overdue_first(store: Store) -> None:
    for id, due_us in (("d", 7), ("b", 5), ("a", 6), ("c", 5), ("never", None)):
        await store.documents.put_document("a", id, "", due_us)
    assert [one.id for one in await store.documents.due_documents("a", 6, 10)] == ["b", "c", "a"]
    assert [one.id for one in await store.documents.due_documents("a", 7, 2)] == ["b", "c"]
    assert await store.documents.due_documents("a", 4, 10) == []


async def test_due_follows_an_update(store: Store) -> None:
    await store.documents.put_document("a", "1", "", 5)
    read = await store.documents.get_document("a", "1")
    assert read is not None
    await store.documents.update_document(replace(read, due_us=9))
    assert await store.documents.due_documents("a", 8, 10) == []
    assert [one.version for one in await store.documents.due_documents("a", 9, 10)] == [2]


async def test_list_pages_by_id(store: Store) -> None:
    for id in ("b", "a", "d", "c"):
        await store.documents.put_document("a", id, "")
    first = await store.documents.list_documents("a", limit=3)
    assert [one.id for one in first] == ["a", "b", "c"]
    assert [one.id for one in await store.documents.list_documents("a", after="c", limit=3)] == ["d"]


async def test_text_is_kept_as_it_is(store: Store) -> None:
    body = '{"€": "é\\n\\u2028 ' + "x" * 60_000 + '"}'
    id = "anna/low-credit/top-up/" + "!" * 270
    await store.documents.put_document("notices", id, body, 1_795_262_400_000_000)
    assert await store.documents.get_document("notices", id) == Document(
        "notices", id, body, 1_795_262_400_000_000, version=1
    )


async def test_ids_are_in_the_order_of_their_bytes(store: Store) -> None:
    for id in ("b", "a.1", "a", "B", "a/1", "~", "0"):
        await store.documents.put_document("a", id, "", 5)
    ordered = ["0", "B", "a", "a.1", "a/1", "b", "~"]
    assert [one.id for one in await store.documents.list_documents("a")] == ordered
    assert [one.id for one in await store.documents.due_documents("a", 5, 10)] == ordered


async def test_an_update_can_make_a_document_never_due(store: Store) -> None:
    await store.documents.put_document("a", "1", "x", 5)
    read = await store.documents.get_document("a", "1")
    assert read is not None
    assert await store.documents.update_document(replace(read, due_us=None))
    assert await store.documents.due_documents("a", 10, 10) == []
    assert [one.id for one in await store.documents.list_documents("a")] == ["1"]


async def test_what_was_never_put_is_neither_updated_nor_deleted(store: Store) -> None:
    never = Document("a", "1", "x", 5)
    assert not await store.documents.update_document(never)
    assert not await store.documents.delete_document(never)
    assert await store.documents.list_documents("a") == []


async def test_of_several_puts_of_one_id_one_creates(store: Store) -> None:
    answers = await asyncio.gather(*(store.documents.put_document("a", "1", str(n)) for n in range(20)))
    assert answers.count(Put.CREATED) == 1
    stored = await store.documents.get_document("a", "1")
    assert stored is not None
    assert stored.body == str(answers.index(Put.CREATED))


async def test_a_thousand_are_a_page(store: Store) -> None:
    await asyncio.gather(*(store.documents.put_document("a", f"{n:04}", "x" * 100, n) for n in range(1001)))
    assert [one.id for one in await store.documents.due_documents("a", 2000, 1000)] == [f"{n:04}" for n in range(1000)]
    assert [one.id for one in await store.documents.list_documents("a", after="0999")] == ["1000"]
    assert len(await store.documents.list_documents("a")) == 1000
