"""The rules of the document facility. The fixture `documents` says which store is held to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from charging.notify.documents import Document, Documents, Put


async def test_put_creates_once_and_changes_nothing_after(documents: Documents) -> None:
    assert await documents.put_document("a", "1", "first", 5) is Put.CREATED
    assert await documents.put_document("a", "1", "second", 9) is Put.EXISTS
    assert await documents.get_document("a", "1") == Document("a", "1", "first", 5, version=1)


async def test_collections_are_apart(documents: Documents) -> None:
    assert await documents.put_document("a", "1", "x", 1) is Put.CREATED
    assert await documents.put_document("b", "1", "y", 1) is Put.CREATED
    assert await documents.get_document("c", "1") is None
    assert [one.body for one in await documents.due_documents("b", 1, 10)] == ["y"]
    assert [one.body for one in await documents.list_documents("a")] == ["x"]


async def test_update_replaces_body_and_due_of_the_version_read(documents: Documents) -> None:
    await documents.put_document("a", "1", "x", 5)
    read = await documents.get_document("a", "1")
    assert read is not None
    assert await documents.update_document(replace(read, body="y", due_us=None))
    assert await documents.get_document("a", "1") == Document("a", "1", "y", None, version=2)
    assert not await documents.update_document(replace(read, body="z")), "the version has passed"
    assert not await documents.update_document(Document("a", "2", "z", None, version=1)), "there is none"


async def test_of_several_updates_of_one_version_one_succeeds(documents: Documents) -> None:
    await documents.put_document("a", "1", "x", 5)
    read = await documents.get_document("a", "1")
    assert read is not None
    results = await asyncio.gather(*(documents.update_document(replace(read, body=str(n))) for n in range(20)))
    assert sum(results) == 1
    stored = await documents.get_document("a", "1")
    assert stored is not None
    assert (stored.version, stored.body) == (2, str(results.index(True)))


async def test_delete_removes_the_version_read_only(documents: Documents) -> None:
    await documents.put_document("a", "1", "x", 5)
    read = await documents.get_document("a", "1")
    assert read is not None
    await documents.update_document(read)
    assert not await documents.delete_document(read)
    assert await documents.delete_document(replace(read, version=2))
    assert not await documents.delete_document(replace(read, version=2))
    assert await documents.get_document("a", "1") is None
    assert await documents.due_documents("a", 10, 10) == []
    assert await documents.put_document("a", "1", "again") is Put.CREATED


async def test_due_lists_what_has_come_most_overdue_first(documents: Documents) -> None:
    for id, due_us in (("d", 7), ("b", 5), ("a", 6), ("c", 5), ("never", None)):
        await documents.put_document("a", id, "", due_us)
    assert [one.id for one in await documents.due_documents("a", 6, 10)] == ["b", "c", "a"]
    assert [one.id for one in await documents.due_documents("a", 7, 2)] == ["b", "c"]
    assert await documents.due_documents("a", 4, 10) == []


async def test_due_follows_an_update(documents: Documents) -> None:
    await documents.put_document("a", "1", "", 5)
    read = await documents.get_document("a", "1")
    assert read is not None
    await documents.update_document(replace(read, due_us=9))
    assert await documents.due_documents("a", 8, 10) == []
    assert [one.version for one in await documents.due_documents("a", 9, 10)] == [2]


async def test_list_pages_by_id(documents: Documents) -> None:
    for id in ("b", "a", "d", "c"):
        await documents.put_document("a", id, "")
    first = await documents.list_documents("a", limit=3)
    assert [one.id for one in first] == ["a", "b", "c"]
    assert [one.id for one in await documents.list_documents("a", after="c", limit=3)] == ["d"]


async def test_text_is_kept_as_it_is(documents: Documents) -> None:
    body = '{"€": "é\\n\\u2028 ' + "x" * 60_000 + '"}'
    id = "anna/low-credit/top-up/" + "!" * 270
    await documents.put_document("notices", id, body, 1_795_262_400_000_000)
    assert await documents.get_document("notices", id) == Document(
        "notices", id, body, 1_795_262_400_000_000, version=1
    )
