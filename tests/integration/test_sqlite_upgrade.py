"""A ledger that an older program wrote is brought to today's schema, and loses nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from charging.ledger.accounts import Number
from charging.ledger.books.verify import verify
from charging.ledger.documents import Document, Put
from charging.ledger.model import CREDIT, Balance, CdrRow, Closed, Kept, Kind, Leg, Outcome, Transfer
from charging.ledger.sqlite.file import schema_versions
from charging.ledger.sqlite.store import SqliteStore

DUMPS = sorted((Path(__file__).parents[1] / "data" / "ledger").glob("schema-*.sql"))
"""One of every schema there has been before today's."""


def schema_of(file: Path) -> int:
    connection = sqlite3.connect(file)
    (version,) = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    connection.close()
    return int(version)


@pytest.fixture(params=DUMPS, ids=lambda dump: dump.stem)
def old_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    dump: Path = request.param
    file = tmp_path / "ledger.db"
    connection = sqlite3.connect(file)
    connection.executescript(dump.read_text(encoding="utf-8"))
    connection.close()
    assert schema_of(file) == int(dump.stem.removeprefix("schema-"))
    return file


def test_there_is_a_ledger_of_every_older_schema() -> None:
    assert [int(dump.stem.removeprefix("schema-")) for dump in DUMPS] == sorted(schema_versions())[:-1]


async def test_an_older_ledger_is_upgraded_with_all_that_is_in_it(old_file: Path) -> None:
    number = schema_of(old_file)
    store = SqliteStore(old_file, upgrades=True)
    await store.open()
    assert [account.id async for account in store.directory.accounts()] == ["anna", "ben"]
    assert [number.number for number in await store.directory.numbers("anna")] == ["+31850001001"]
    assert await store.balances("anna") == {CREDIT: Balance(19_887_500, 150_000)}
    lines = [line.id async for line in store.journal("anna")]
    assert lines == ["top-up/1", "s1/1/reserve", "s1/2/settle", "s2/1/reserve"]
    sequence = 0 if number < 3 else 4
    assert [(one.id, one.sequence) for one in await store.sessions("asterisk")] == [("s2", sequence)]
    assert [one.id for one in await store.directory.accounts_of_mail("Anna@example.nl", 2)] == ["anna"]
    assert await store.cdrs() == [CdrRow("s1", "anna", 1_795_262_400_000_002, '{"seconds":45}')]
    assert [finding async for finding in verify(store)] == []
    assert await store.leases.acquire_lease("asterisk", "local", 5) == 2, "epochs go on"
    await store.close()
    assert schema_of(old_file) == max(schema_versions())


async def test_a_number_that_was_written_otherwise_is_edited_by_who_has_read_it(old_file: Path) -> None:
    known = Number("+31850001001", "anna")
    connection = sqlite3.connect(old_file)
    connection.execute("UPDATE numbers SET record = ?", (f'{{"account": "anna", "number": "{known.number}"}}',))
    connection.commit()
    connection.close()
    store = SqliteStore(old_file, upgrades=True)
    await store.open()
    assert await store.directory.number(known.number) == known
    assert not await store.directory.put_number(
        replace(known, mailbox="box"), replace(known, forward_to="+31612345678")
    )
    assert await store.directory.put_number(replace(known, mailbox="box"), known)
    await store.close()


async def test_an_upgraded_ledger_goes_on(old_file: Path) -> None:
    store = SqliteStore(old_file, upgrades=True)
    await store.open()
    extend = Transfer("s2/5/extend", "anna", Kind.EXTEND, 1, (), "s2", Kept("on", 2, follows=4))
    assert (await store.apply(extend)).outcome is Outcome.CREATED
    assert [one.sequence for one in await store.sessions()] == [5]
    settle = Transfer(
        "s2/6/settle",
        "anna",
        Kind.SETTLE,
        1_795_262_400_000_009,
        (Leg(CREDIT, -50_000, -150_000),),
        "s2",
        Closed("{}", 1_795_262_400_000_009, 2, follows=5),
    )
    assert (await store.apply(settle)).outcome is Outcome.CREATED
    assert [one.number for one in await store.feed.read_feed(0, 10)] == [6], "what is booked from now on"
    assert await store.documents.put_document("notices", "1", "x", 5) is Put.CREATED
    await store.close()
    again = SqliteStore(old_file, upgrades=True)
    await again.open()
    assert await again.balances("anna") == {CREDIT: Balance(19_837_500, 0)}
    assert await again.documents.due_documents("notices", 5, 10) == [Document("notices", "1", "x", 5, version=1)]
    await again.close()
