"""Pages backwards: what a page shows from the last on is what it shows from the first on, the other way round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from charging.ledger.accounts import Number
from charging.ledger.model import CdrRow, Closed, Kind, Opened, Transfer
from charging.ledger.port import Store
from charging.ledger.redis import store as redis_store
from charging.ledger.redis.store import RedisStore
from tests.contract.scenario import add_account

Page = Callable[..., Awaitable[Sequence[Any]]]


async def over(store: Store, account: str, session: str, ended_us: int) -> None:
    await store.apply(Transfer(f"{session}/0", account, Kind.RESERVE, 1, (), session, Opened("x", "")))
    closed = Closed("{}", ended_us, follows=1)
    await store.apply(Transfer(f"{session}/1", account, Kind.SETTLE, 2, (), session, closed))


async def filled(store: Store) -> None:
    for account in ("b", "a", "a.1", "0"):
        await add_account(store, account)
    for number, account in (("+313", "a"), ("+312", "b"), ("+311", "a"), ("+314", "a"), ("+315", "b")):
        assert await store.directory.put_number(Number(number, account))
    assert await store.directory.remove_number(Number("+311", "a"))
    for id in ("b", "a.1", "a", "B", "a/1", "~", "0"):
        await store.documents.put_document("x", id, "")
    for account, session, ended_us in (
        ("a", "s1", 30),
        ("b", "s2", 10),
        ("a", "s3", 20),
        ("a", "s4", 20),
        ("b", "s5", 20),
    ):
        await over(store, account, session, ended_us)
    for session in ("s9", "s8", "s10", "s7"):
        await store.apply(Transfer(f"{session}/0", "a", Kind.RESERVE, 1, (), session, Opened(f"x{session[-1]}", "")))


async def _cdrs(store: Store, after: Any, limit: int, *, backwards: bool = False, **which: Any) -> Sequence[Any]:
    return await store.cdrs(after=after or None, limit=limit, backwards=backwards, **which)


async def _numbers(store: Store, after: str, limit: int, *, backwards: bool = False) -> Sequence[Number]:
    return await store.directory.numbers_page(after, limit, "a", backwards=backwards)


async def _documents(store: Store, after: str, limit: int, *, backwards: bool = False) -> Sequence[Any]:
    return await store.documents.list_documents("x", after, limit, backwards=backwards)


def _ended(row: Any) -> tuple[int, str]:
    return row.ended_us, row.session


LISTS: dict[str, tuple[Callable[[Store], Page], Callable[[Any], Any], int]] = {
    "accounts": (lambda store: store.directory.accounts_page, lambda one: one.id, 4),
    "numbers": (lambda store: store.directory.numbers_page, lambda one: one.number, 4),
    "numbers of an account": (lambda store: partial(_numbers, store), lambda one: one.number, 2),
    "documents": (lambda store: partial(_documents, store), lambda one: one.id, 7),
    "sessions": (lambda store: store.sessions_page, lambda one: one.id, 4),
    "cdrs": (lambda store: partial(_cdrs, store), _ended, 5),
    "cdrs of an account": (lambda store: partial(_cdrs, store, account="a"), _ended, 3),
    "cdrs of a time": (lambda store: partial(_cdrs, store, since_us=20, until_us=30), _ended, 3),
}


async def walked(page: Page, place: Callable[[Any], Any], limit: int, *, backwards: bool) -> list[Any]:
    found: list[Any] = []
    while rows := await page(place(found[-1]) if found else "", limit, backwards=backwards):
        assert len(rows) <= limit
        found += rows
    return found


@pytest.mark.parametrize("name", LISTS)
async def test_pages_backwards_are_pages_forwards_the_other_way_round(store: Store, name: str) -> None:
    await filled(store)
    read, place, count = LISTS[name]
    page = read(store)
    forwards = await page("", 100, backwards=False)
    assert len(forwards) == count
    for limit in (1, 2, 3, 100):
        assert await walked(page, place, limit, backwards=False) == list(forwards)
        assert await walked(page, place, limit, backwards=True) == list(forwards)[::-1]
    middle = place(forwards[1])
    assert await page(middle, 100, backwards=True) == list(forwards[:1]), "a place is good for both ways"
    assert await page(middle, 100, backwards=False) == list(forwards[2:])


async def test_cdrs_backwards_before_a_place_that_is_past_what_is_asked_begin_at_what_is_asked(store: Store) -> None:
    await filled(store)
    assert [row.session for row in await store.cdrs(until_us=20, after=(30, "s1"), backwards=True)] == ["s2"]
    assert await store.cdrs(since_us=20, after=(10, "s2"), backwards=True) == []


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("account", [None, "a"])
async def test_what_ends_or_is_forgotten_while_a_page_is_read_moves_no_other_cdr(
    store: Store, account: str | None, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is read by several windows of Redis' index."""
    await filled(store)
    monkeypatch.setattr(redis_store, "PAGE_ROWS", 2)
    read, inner = 0, RedisStore._cdr_rows

    async def disturbed(self: RedisStore, page: Any, of: str | None) -> list[CdrRow]:
        nonlocal read
        read += 1
        if read == 1 and backwards:
            await over(store, "a", "s6", 40)
        elif read == 1:
            await store.forget_cdrs([CdrRow("s2", "b", 10, "{}")] if of is None else [CdrRow("s3", "a", 20, "{}")])
        return await inner(self, page, of)

    before = [row.session for row in await store.cdrs(account=account, backwards=backwards)]
    monkeypatch.setattr(RedisStore, "_cdr_rows", disturbed)
    found = [row.session for row in await store.cdrs(account=account, backwards=backwards)]
    assert found[-2:] == before[-2:]
    assert len(found) == len(set(found))
    assert set(found) <= set(before)
