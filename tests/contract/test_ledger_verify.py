"""The audit of a ledger is exact while the ledger is in use: it finds nothing that is not wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from charging.clock import SystemClock
from charging.ledger.accounts import Number
from charging.ledger.books.archive import archive
from charging.ledger.books.audit import Fault
from charging.ledger.books.portable import Counts
from charging.ledger.books.verify import verify
from charging.ledger.given_packs import COLLECTION, GivenPacks
from charging.ledger.memory import MemoryStore
from charging.ledger.model import (
    Balance,
    CdrRow,
    Closed,
    JournalLine,
    Kept,
    Kind,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    SessionChange,
    Snapshot,
    Transfer,
)
from charging.ledger.port import Store
from charging.ledger.sqlite.store import SqliteStore
from charging.pricing.packs import PackTerms, pack_of
from charging.service.privacy import hide_numbers
from tests.contract.scenario import add_account, assert_sound, run

NOW_US = 10**15
NEW_ACCOUNTS = 25


class Everyday:
    """What sessions and CDRs of the traffic say."""

    now_us = NOW_US

    def overdue_s(self, session: OpenSession) -> int:
        assert session.state in ("opened", "ticked")
        return 0

    def charged(self, cdr: CdrRow) -> Mapping[str, int]:
        return {"credit": 7}


EVERYDAY = Everyday()


class Traffic:
    """Whole calls, one transfer at a time: opened, ticked, settled with a CDR, several at once on each account."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at_us = count(1)
        self._calls = count(1)
        self.transfers = 0
        self._moved = asyncio.Event()

    async def go_on(self, transfers: int) -> None:
        """Return when so many more transfers have been made."""
        end = self.transfers + transfers
        while self.transfers < end:
            self._moved.clear()
            await self._moved.wait()

    async def calls(self, account: str) -> AsyncIterator[None]:
        """Calls on an account for ever, a step each time."""
        await self._apply(account, Kind.TOP_UP, (Leg("credit", 10**9),))
        while True:
            session = f"s{next(self._calls)}"
            await self._apply(account, Kind.RESERVE, (Leg("credit", 0, 9),), session, Opened("x", "opened"))
            yield
            await self._apply(account, Kind.EXTEND, (Leg("credit", -4, 2),), session, Kept("ticked", follows=1))
            yield
            ended = Closed('{"caller":"+31612345678"}', next(self._at_us), follows=2)
            await self._apply(account, Kind.SETTLE, (Leg("credit", -3, -11),), session, ended)
            yield

    async def _apply(
        self,
        account: str,
        kind: Kind,
        legs: tuple[Leg, ...],
        session: str | None = None,
        change: SessionChange | None = None,
    ) -> None:
        at_us = next(self._at_us)
        applied = await self._store.apply(Transfer(f"t{at_us}", account, kind, at_us, legs, session, change))
        assert applied.outcome is Outcome.CREATED, applied
        self.transfers += 1
        self._moved.set()


@asynccontextmanager
async def traffic_on(store: Store, calls: int) -> AsyncIterator[Traffic]:
    """So many calls at once, one after another, and new accounts with calls, as fast as the store lets them."""
    stop = asyncio.Event()
    traffic = Traffic(store)

    async def keep_calling() -> None:
        async for _ in traffic.calls("a"):
            if stop.is_set():
                return
            await asyncio.sleep(0)

    async def keep_adding() -> None:
        for number in range(NEW_ACCOUNTS):
            await add_account(store, f"new-{number}")
            await anext(traffic.calls(f"new-{number}"))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(keep_calling()) for _ in range(calls)]
    tasks.append(asyncio.create_task(keep_adding()))
    try:
        yield traffic
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("kept", ["", "other", "broken"])
async def test_what_was_given_under_rules_that_are_lost_is_named(store: Store, kept: str) -> None:
    await add_account(store)
    terms = PackTerms("world", order=7)
    pack, month = pack_of(terms.edition, "2026-12-31"), f"plan:2026-11:{terms.edition}"
    transfer = Transfer("gift", "a", Kind.CORRECT, 1, (Leg(pack, 60), Leg(month, 60)), reason="bought")
    await GivenPacks(store.documents).keep(terms)
    assert (await store.apply(transfer)).outcome is Outcome.CREATED
    await assert_sound(store)
    for document in await store.documents.list_documents(COLLECTION):
        assert await store.documents.delete_document(document)
    if kept:
        text = replace(terms, order=8).text() if kept == "other" else "{}"
        assert await store.documents.put_document(COLLECTION, terms.edition, text)
    found = [one async for one in verify(store)]
    assert [(one.fault, one.account, one.subject) for one in found] == [
        (Fault.LOST_RULES, "a", pack),
        (Fault.LOST_RULES, "a", month),
    ]


async def test_the_audit_of_a_busy_ledger_finds_nothing(store: Store) -> None:
    await add_account(store)
    async with traffic_on(store, 3) as traffic:
        for _ in range(3):
            await assert_sound(store, EVERYDAY)
            await traffic.go_on(20)
    await assert_sound(store, EVERYDAY)


async def test_the_audit_of_a_busy_ledger_that_is_being_archived_finds_nothing(store: Store, tmp_path: Path) -> None:
    await add_account(store)
    async with traffic_on(store, 1) as traffic:
        for _ in range(3):
            await traffic.go_on(60)
            archiving = archive(store, 10**6, NOW_US, tmp_path / "archive", lambda _: "2026-11", counts := Counts())
            await asyncio.gather(archiving, assert_sound(store, EVERYDAY), assert_sound(store, EVERYDAY))
            assert counts.lines > 0
    await assert_sound(store, EVERYDAY)


async def test_a_snapshot_is_what_the_journal_up_to_its_last_line_adds_up_to(store: Store) -> None:
    assert await store.snapshot("a") == Snapshot()
    await add_account(store)
    assert await store.snapshot("a") == Snapshot()
    await run(
        store,
        """
        t1 top_up credit=+100                    -> created
        r1 reserve s1:open credit=/60            -> created
        r2 reserve s2:open credit=/10 calls=/1@-9 -> created
        e1 settle s1:close+cdr credit=-45/-60    -> created
        """,
    )
    snapshot = await store.snapshot("a")
    assert snapshot.last_number == 4
    assert snapshot.balances == {"credit": Balance(55, 10), "calls": Balance(0, 1)}
    assert [(one.id, dict(one.holds)) for one in snapshot.sessions] == [("s2", {"credit": 10, "calls": 1})]
    assert list(snapshot.sessions) == list(await store.sessions(account="a"))


class Interrupted(MemoryStore):
    """A store on which something happens before each single read."""

    def __init__(self) -> None:
        super().__init__()
        self.interruption: AsyncIterator[None] | None = None

    async def _interrupt(self) -> None:
        if (interruption := self.interruption) is not None:
            self.interruption = None  # what happens may read too
            await anext(interruption, None)
            self.interruption = interruption

    async def snapshot(self, account: str) -> Snapshot:
        await self._interrupt()
        found = await super().snapshot(account)
        await self._interrupt()
        return found

    async def cdrs(self, **bounds: object) -> list[CdrRow]:
        await self._interrupt()
        return list(await super().cdrs(**bounds))  # type: ignore[arg-type]

    async def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        await self._interrupt()
        while lines := [line async for line in super().journal(account, after)][:2]:
            for line in lines:
                yield line
            after = lines[-1].number
            await self._interrupt()


async def test_the_audit_is_exact_whatever_happens_between_two_of_its_reads(tmp_path: Path) -> None:
    for steps_before in range(12):
        store = Interrupted()
        await add_account(store)
        calls = Traffic(store).calls("a")
        for _ in range(steps_before):
            await anext(calls)
        store.interruption = calls
        await assert_sound(store, EVERYDAY)


async def test_the_audit_is_exact_when_the_archive_comes_between_any_two_of_its_reads(tmp_path: Path) -> None:
    for archived_at in range(40):
        store = Interrupted()
        await add_account(store)
        calls = Traffic(store).calls("a")
        for _ in range(14):
            await anext(calls)

        async def happening(
            store: Store = store, archived_at: int = archived_at, calls: AsyncIterator[None] = calls
        ) -> AsyncIterator[None]:
            for read in count():
                if read == archived_at:
                    folder = tmp_path / str(archived_at)
                    await archive(store, 10**6, NOW_US, folder, lambda _: "2026-11", Counts())
                await anext(calls)
                yield

        store.interruption = happening()
        await assert_sound(store, EVERYDAY)


async def test_an_account_that_is_made_during_the_audit_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an open call, a CDR and a number, once all accounts have been listed."""
    store = MemoryStore()
    listed = store.directory.account_ids

    async def growing() -> AsyncIterator[str]:
        async for account in listed():
            yield account
        if await store.directory.account("new") is None:
            await add_account(store, "new")
            calls = Traffic(store).calls("new")
            for _ in range(4):
                await anext(calls)
            await store.directory.put_number(Number("+31201234567", "new"))

    monkeypatch.setattr(store.directory, "account_ids", growing)
    await assert_sound(store)
    assert [one.account for one in await store.sessions()] == ["new"]


async def test_an_account_that_fell_out_of_the_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()

    async def nobody() -> AsyncIterator[str]:
        accounts: tuple[str, ...] = ()
        for account in accounts:
            yield account

    monkeypatch.setattr(store.directory, "account_ids", nobody)
    await add_account(store)
    await run(store, "r1 reserve s1:open -> created")
    assert [str(finding) async for finding in verify(store)] == [
        "account a: store_damaged of account: it is missing from the list of accounts"
    ]


async def test_a_planted_error_is_found_at_any_traffic() -> None:
    store = Interrupted()
    await add_account(store)
    store.interruption = Traffic(store).calls("a")
    for _ in range(9):
        await anext(store.interruption)
    books = store._books["a"]
    books.balances["credit"] = Balance(books.balances["credit"].posted + 1, books.balances["credit"].reserved)
    found = [(finding.fault, finding.subject) async for finding in verify(store)]
    assert found == [("posted_differs", "credit")]


async def test_redaction_and_backup_under_traffic_disturb_neither_the_calls_nor_the_audit(
    store: Store, tmp_path: Path
) -> None:
    await add_account(store)
    async with traffic_on(store, 3) as traffic:
        await traffic.go_on(30)
        hidden = [changed async for changed, _ in hide_numbers(store, SystemClock(), 25)]
        await assert_sound(store)
        if isinstance(store, SqliteStore):
            await store.backup(tmp_path / "copy.db")
        await traffic.go_on(20)
    documents = {json.loads(row.document)["caller"] for row in await store.cdrs(until_us=25)}
    assert sum(hidden) > 0
    assert documents == {"+3161234xxxx"}
    await assert_sound(store)
    if isinstance(store, SqliteStore):
        copy = SqliteStore(tmp_path / "copy.db")
        await copy.open()
        await assert_sound(copy)
        await copy.close()
