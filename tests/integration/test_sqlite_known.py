"""A SQLite ledger's process reads what it has written from memory, and never anything older than the file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.model import CALLS, CREDIT, Balance, Called, Kept, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.sqlite.reader import Reader
from charging.ledger.sqlite.store import SqliteStore
from charging.ledger.sqlite.writer import Writer

NUMBER = Number("+31850000001", "a", "+31612345678")
TARGET = Number("+31612345678", "b")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    for account in ("a", "b"):
        await store.directory.put_account(Account(account, "light"))
    await store.directory.put_number(NUMBER)
    await store.apply(top_up("t1"))
    yield store
    await store.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The reads of the file."""
    asked: list[object] = []
    read = Reader.read

    async def noted(reader: Reader, work: Callable[[sqlite3.Connection], Any], *, may_last: bool = False) -> Any:
        asked.append(work)
        return await read(reader, work, may_last=may_last)

    monkeypatch.setattr(Reader, "read", noted)
    return asked


def top_up(identity: str, account: str = "a", amount: int = 10) -> Transfer:
    return Transfer(identity, account, Kind.TOP_UP, 1, (Leg(CREDIT, amount),))


def reserve(session: str, account: str = "a") -> Transfer:
    legs = (Leg(CREDIT, 0, 4), Leg(CALLS, 0, 1, -2))
    return Transfer(f"{session}/1/reserve", account, Kind.RESERVE, 1, legs, session, Opened("x", ""))


async def called(store: SqliteStore) -> Called:
    found = await store.directory.called([NUMBER.number])
    assert found is not None
    return found


async def test_the_second_call_to_a_number_reads_nothing(store: SqliteStore, reads: list[object]) -> None:
    first = await called(store)
    assert len(reads) == 1
    assert await called(store) == first
    await store.apply(reserve("s"))
    assert (await called(store)).balances == {CREDIT: Balance(10, 4), CALLS: Balance(0, 1)}
    assert await store.balances("a") == (await called(store)).balances
    assert len(reads) == 1


async def test_balances_of_many_are_read_where_they_are_not_known(store: SqliteStore, reads: list[object]) -> None:
    accounts = ["b", "a", "nobody"]
    assert await store.balances_of(accounts) == [{}, {CREDIT: Balance(10, 0)}, {}]
    await store.apply(top_up("t1", "b"))
    assert await store.balances_of(accounts[:2]) == [{CREDIT: Balance(10, 0)}] * 2
    assert len(reads) == 1


async def test_ticks_that_are_booked_together_leave_their_balances_known(
    store: SqliteStore, reads: list[object]
) -> None:
    accounts = [f"t{number}" for number in range(6)]
    for account in accounts:
        await store.directory.put_account(Account(account, "light"))
        await store.apply_all([(top_up("t1", account), ()), (reserve("s", account), ())])
    kept = Kept("kept", 0, 1)
    ticks = [Transfer("x1", account, Kind.EXTEND, 1, (Leg(CREDIT, -4),), "s", kept) for account in accounts]
    await store.apply_all([(tick, ()) for tick in ticks])
    after = {CREDIT: Balance(6, 4), CALLS: Balance(0, 1)}
    assert await store.balances_of(accounts) == [after] * len(accounts)
    assert not reads


async def test_a_change_of_number_or_account_is_seen_by_the_next_call(store: SqliteStore) -> None:
    found = await called(store)
    assert found.account is not None
    assert await store.directory.put_account(replace(found.account, status=Status.SUSPENDED))
    suspended = (await called(store)).account
    assert suspended is not None
    assert suspended.status is Status.SUSPENDED
    changed = replace(NUMBER, forward_to="+31687654321")
    assert await store.directory.put_number(changed, NUMBER)
    assert (await called(store)).number == changed
    assert await store.directory.remove_number(changed)
    assert await store.directory.called([NUMBER.number]) is None


async def test_a_target_that_becomes_a_number_of_ours_is_seen_by_the_next_call(store: SqliteStore) -> None:
    assert not (await called(store)).target_is_ours
    assert await store.directory.put_number(TARGET)
    assert (await called(store)).target_is_ours
    assert await store.directory.remove_number(TARGET)
    assert not (await called(store)).target_is_ours


async def test_a_change_of_another_account_s_leaves_the_number_known(store: SqliteStore, reads: list[object]) -> None:
    """People change something all day long, and each reading of a number takes a thread."""
    assert await store.directory.put_number(other := Number("+31850000002", "b"))
    before = await called(store)
    assert await store.directory.put_number(replace(other, forward_to="+31687654321"), other)
    assert await store.directory.put_account(Account("b", "light", status=Status.SUSPENDED, version=1))
    del reads[:]
    assert await called(store) == before
    assert not reads


async def test_balances_that_are_dropped_are_gone(store: SqliteStore) -> None:
    await store.apply(top_up("t2", amount=-10))
    assert await store.balances("a") == {CREDIT: Balance(0, 0)}
    await store.drop_balances("a", [CREDIT])
    assert await store.balances("a") == {}


async def test_balances_of_a_journal_that_is_restored_are_read(store: SqliteStore) -> None:
    await store.apply(top_up("t1", "b"))
    lines = [line async for line in store.journal("b")]
    await store.restore_lines("b", [replace(lines[0], number=2, id="t2")], {CREDIT: Balance(20, 0)})
    assert await store.balances("b") == {CREDIT: Balance(20, 0)}


async def test_after_a_commit_that_failed_the_file_is_read(
    store: SqliteStore, reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the file all the same."""
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_run_together", commit_and_fail)
        with pytest.raises(LedgerUnavailable):
            await store.apply(top_up("t2"))
    assert await store.balances("a") == {CREDIT: Balance(20, 0)}
    assert len(reads) == 1


def commit_and_fail(_writer: Writer, connection: sqlite3.Connection, batch: list[Any]) -> bool:
    for job in batch:
        job.work(connection)
    connection.execute("COMMIT")
    raise sqlite3.OperationalError("the flush failed, or seemed to")


async def test_a_transfer_that_fails_beside_others_leaves_nothing_known(store: SqliteStore) -> None:
    """The others are carried out once more."""
    known = await store.balances("a")
    broken = replace(reserve("s"), change=None, session=None, legs=(Leg(CREDIT, 1),), kind=Kind.TOP_UP)
    object.__setattr__(broken, "kind", None)  # what SQLite refuses
    answers = await store.apply_all([(broken, ()), (top_up("t1", "b"), ())])
    assert isinstance(answers[0], Exception)
    assert not isinstance(answers[1], Exception)
    assert answers[1].outcome is Outcome.CREATED
    assert await store.balances("a") == known
    assert await store.balances("b") == {CREDIT: Balance(10, 0)}


async def test_another_process_sees_what_is_changed_under_it(store: SqliteStore, tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "ledger.db", reads_only=True)
    await other.open()
    before = await called(other)
    await store.apply(top_up("t2"))
    await store.directory.put_number(replace(NUMBER, forward_to="+31687654321"), NUMBER)
    after = await called(other)
    await other.close()
    assert (before.balances, before.number) == ({CREDIT: Balance(10, 0)}, NUMBER)
    assert (after.balances, after.number.forward_to) == ({CREDIT: Balance(20, 0)}, "+31687654321")
