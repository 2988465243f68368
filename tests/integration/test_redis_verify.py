"""`ledger verify` finds what is planted in a Redis ledger, each thing by its name, and nothing in a sound one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from charging.ledger.accounts import Number
from charging.ledger.books.audit import Fault
from charging.ledger.books.verify import verify
from charging.ledger.port import Store
from tests.contract.scenario import add_account, run
from tests.integration.redis_load import Opener
from tests.integration.redis_servers import RedisServer
from tests.integration.test_sqlite_verify import BOOKS

DAMAGED = Fault.STORE_DAMAGED
NUMBER = "+31201234567"

# By redis-cli, words between blanks; a line each.
PLANTED = {
    "a transfer forgotten": (
        "HDEL charging:{a}:ids t1",
        [(DAMAGED, "store", "line 1 of a is not remembered")],
    ),
    "a transfer remembered with other contents": (
        "HSET charging:{a}:ids t1 0000",
        [(DAMAGED, "store", "line 1 of a is remembered with other contents")],
    ),
    "a transfer remembered that never was": (
        "HSET charging:{a}:ids t9 0000",
        [(DAMAGED, "store", "1 transfers of a are remembered of which the journal has no line")],
    ),
    "a transfer remembered in another's place": (
        "HDEL charging:{a}:ids t1\nHSET charging:{a}:ids t9 0000",
        [(DAMAGED, "store", "line 1 of a is not remembered"), (DAMAGED, "store", "1 transfers of a are remembered of")],
    ),
    "a CDR out of its account's index": (
        "ZREM charging:{a}:cdrs s1",
        [(DAMAGED, "store", "the CDR of s1 of a is missing from its account's index")],
    ),
    "a CDR at another time in its account's index": (
        "ZADD charging:{a}:cdrs 6 s1",
        [(DAMAGED, "store", "the CDR of s1 of a is missing from its account's index")],
    ),
    "a CDR out of the index": (
        "DEL charging:cdrs",
        [(DAMAGED, "store", "the CDR of s1 of a is missing from the index")],
    ),
    "a CDR deleted": (
        "HDEL charging:{a}:cdr s1",
        [(DAMAGED, "store", "the CDR of s1 of a is gone, its place in time is not")],
    ),
    "a number out of the index": (
        f"ZREM charging:numbers {NUMBER}",
        [(DAMAGED, "store", f"number {NUMBER} of a is missing from the index of numbers")],
    ),
    "a number out of its account's": (
        f"SREM charging:{{a}}:numbers {NUMBER}",
        [(DAMAGED, "store", f"number {NUMBER} of a is missing from its account's numbers")],
    ),
    "a session out of the index of its switch": (
        "DEL charging:switch:{switch-1}",
        [(DAMAGED, "store", f"session {session} of a is missing from the index") for session in ("s2", "s4")],
    ),
    "an account's record deleted": (
        "DEL charging:{a}:account",
        [
            (DAMAGED, "account", "it has a journal, but its record is missing"),
            (Fault.ORPHANED_SESSION, "session s2", "no such account"),
            (Fault.ORPHANED_SESSION, "session s4", "no such account"),
            (Fault.ORPHANED_CDR, "session s1", "no such account"),
            (Fault.ORPHANED_NUMBER, f"number {NUMBER}", "no such account"),
        ],
    ),
    "an account out of the list": (
        "ZREM charging:accounts a",
        [(DAMAGED, "account", "missing from the list")],
    ),
    "a balance raised by hand": (
        "HINCRBY charging:{a}:books p:credit 1",
        [(Fault.POSTED_DIFFERS, "credit", "stored 56, the journal gives 55")],
    ),
    "a session closed behind the journal's back": (
        "HDEL charging:{a}:sessions s2",
        [(Fault.LOST_RESERVATION, "session s2", "not open")],
    ),
    "a damaged session beside what else is wrong": (
        "HSET charging:{a}:sessions s2 garbage\nHDEL charging:{a}:ids t1\nHINCRBY charging:{b}:books p:credit 1",
        [
            (DAMAGED, "store", "line 1 of a is not remembered"),
            (DAMAGED, "store", "session s2 of a: not a session"),
            (Fault.UNREADABLE, "a record", "session s2 of a: not a session"),  # among the account's
            (Fault.POSTED_DIFFERS, "credit", "stored 1, the journal gives 0"),
            (Fault.UNREADABLE, "a record", "session s2 of a: not a session"),  # among all
        ],
    ),
    "an account whose mail address leads nowhere": (
        'HSET charging:{a}:account record {"id":"a","plan":"p","language":"nl","status":"active","email":"a@b.nl"}',
        [(Fault.STORE_DAMAGED, "store", "the mail address of a is missing from the index of addresses")],
    ),
    "a damaged account before one whose balance was raised by hand": (
        "HSET charging:{a}:account record garbage\nHINCRBY charging:{b}:books p:credit 1",
        [(Fault.UNREADABLE, "account", "garbage"), (Fault.POSTED_DIFFERS, "credit", "stored 1, the journal gives 0")],
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def books(server: RedisServer, opened: Opener) -> Store:
    server.cli("flushall")
    store = await opened(server.url)
    for account in ("a", "b"):
        await add_account(store, account)
    await store.directory.put_number(Number(NUMBER, "a"))
    await run(store, BOOKS)
    return store


async def test_sound_books_have_no_findings(books: Store) -> None:
    assert [str(finding) async for finding in verify(books)] == []


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_error_is_found(books: Store, server: RedisServer, planted: str) -> None:
    commands, expected = PLANTED[planted]
    for command in commands.splitlines():
        assert "ERR" not in server.cli(*command.split())
    found = [finding async for finding in verify(books)]
    assert [(one.fault, one.subject) for one in found] == [(fault, subject) for fault, subject, _ in expected], found
    for one, (_, _, detail) in zip(found, expected, strict=True):
        assert detail in one.detail


async def test_every_page_of_a_long_journal_is_compared_with_the_ids(books: Store, server: RedisServer) -> None:
    for number in range(1_200):
        await run(books, f"x{number} top_up credit=+1 -> created")
    assert [str(finding) async for finding in verify(books)] == []
    server.cli("hdel", "charging:{a}:ids", "x1199")
    assert [finding.detail async for finding in verify(books)] == ["line 1209 of a is not remembered"]
