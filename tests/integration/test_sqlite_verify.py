"""`ledger verify` finds what is planted in a SQLite ledger, each thing by its name, and nothing in a sound one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from charging.ledger.accounts import Number
from charging.ledger.books.audit import Discrepancy, Fault
from charging.ledger.books.verify import verify
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account, run

BOOKS = """
    t1 top_up credit=+100                            -> created
    g1 grant bundle:2026-11=+50                      -> created
    r1 reserve s1:open credit=/60                    -> created
    e1 settle s1:close+cdr credit=-45/-60            -> created
    r2 reserve s2:open credit=/20 bundle:2026-11=/10 -> created
    k2 extend s2:keep credit=/+5                     -> created
    r3 reserve s3:open credit=/1                     -> created
    v3 release s3:close credit=/-1                   -> created
    d4 reserve s4:open day:2026-11-21=/7@-500        -> created
"""

UNEDITED = "DROP TRIGGER journal_lines_are_never_edited;"

PLANTED = {
    "a balance raised by hand": (
        "UPDATE balances SET posted = posted + 1 WHERE name = 'credit'",
        [(Fault.POSTED_DIFFERS, "credit")],
    ),
    "a reservation forgotten by hand": (
        "UPDATE balances SET reserved = 0 WHERE name = 'credit'",
        [(Fault.RESERVED_DIFFERS, "credit")],
    ),
    "a balance without a journal": (
        "INSERT INTO balances VALUES ('a', 'bundle:2026-12', 60, 0)",
        [(Fault.POSTED_DIFFERS, "bundle:2026-12")],
    ),
    "a balance deleted": (
        "DELETE FROM balances WHERE name = 'bundle:2026-11'",
        [(Fault.POSTED_DIFFERS, "bundle:2026-11"), (Fault.RESERVED_DIFFERS, "bundle:2026-11")],
    ),
    "a line in the middle deleted": (
        "DELETE FROM journal WHERE id = 'g1'; UPDATE balances SET posted = 0 WHERE name = 'bundle:2026-11'",
        [(Fault.NUMBERING, "line 3"), (Fault.NEGATIVE, "bundle:2026-11")],
    ),
    "the first line deleted": (
        "DELETE FROM journal WHERE number = 1; UPDATE balances SET posted = posted - 100 WHERE name = 'credit'",
        [(Fault.NUMBERING, "line 2"), (Fault.NEGATIVE, "credit")],
    ),
    "a reason edited": (
        UNEDITED + "UPDATE journal SET reason = 'gift' WHERE id = 't1'",
        [(Fault.DIGEST, "line 1")],
    ),
    "an amount edited together with its balance": (
        UNEDITED
        + """UPDATE journal SET legs = '[["credit",1100,0]]' WHERE id = 't1';
            UPDATE balances SET posted = posted + 1000 WHERE name = 'credit'""",
        [(Fault.DIGEST, "line 1")],
    ),
    "a line moved to another account": (
        UNEDITED
        + """INSERT INTO accounts SELECT 'b', version, replace(record, '"a"', '"b"') FROM accounts;
            UPDATE journal SET account = 'b' WHERE id = 'd4';
            UPDATE balances SET account = 'b' WHERE name LIKE 'day:%';
            UPDATE sessions SET account = 'b' WHERE id = 's4'""",
        [(Fault.NUMBERING, "line 9"), (Fault.DIGEST, "line 9")],
    ),
    "an opening line that is not the first": (
        UNEDITED + "UPDATE journal SET kind = 'opening' WHERE id = 'g1'",
        [(Fault.MISPLACED_OPENING, "line 2"), (Fault.DIGEST, "line 2")],
    ),
    "a session closed behind the journal's back": (
        "DELETE FROM sessions WHERE id = 's2'",
        [(Fault.LOST_RESERVATION, "session s2")],
    ),
    "a session without a line": (
        "INSERT INTO sessions SELECT account, 's9', switch, state, '{}', 0, 0, 0 FROM sessions WHERE id = 's2'",
        [(Fault.ORPHANED_SESSION, "session s9")],
    ),
    "a session that holds more than it reserved": (
        """UPDATE sessions SET holds = '{"credit":26,"bundle:2026-11":10}' WHERE id = 's2'""",
        [(Fault.HOLDS_DIFFER, "session s2")],
    ),
    "a session reopened after its CDR": (
        "INSERT INTO sessions SELECT account, 's1', switch, state, '{}', 0, 0, 0 FROM sessions WHERE id = 's2'",
        [(Fault.CDR_OF_OPEN_SESSION, "session s1")],
    ),
    "a CDR without a line": (
        "INSERT INTO cdrs VALUES ('a', 's9', 1, '{}')",
        [(Fault.ORPHANED_CDR, "session s9")],
    ),
    "a damaged record": (
        "UPDATE sessions SET holds = '[1.5]' WHERE id = 's2'",
        [(Fault.UNREADABLE, "a record"), (Fault.UNREADABLE, "a record")],  # among the account's, and among all
    ),
    "a damaged account before one whose balance was raised by hand": (
        "INSERT INTO accounts VALUES ('0', 1, '{}'); UPDATE balances SET posted = posted + 1 WHERE name = 'credit'",
        [(Fault.UNREADABLE, "account"), (Fault.POSTED_DIFFERS, "credit")],
    ),
    "a damaged number before one whose account is missing": (
        "INSERT INTO numbers VALUES ('+1', 'a', '[]'); UPDATE numbers SET record = replace(record, '\"a\"', '\"b\"')",
        [(Fault.UNREADABLE, "number +1"), (Fault.ORPHANED_NUMBER, "number +31201234567")],
    ),
    "an account deleted": (
        """INSERT INTO accounts SELECT 'b', version, replace(record, '"a"', '"b"') FROM accounts;
            DELETE FROM accounts WHERE id = 'a'""",
        [
            *((Fault.STORE_DAMAGED, "store") for _ in ("balances", "cdrs", "journal", "numbers", "sessions")),
            (Fault.ORPHANED_SESSION, "session s2"),
            (Fault.ORPHANED_SESSION, "session s4"),
            (Fault.ORPHANED_CDR, "session s1"),
            (Fault.ORPHANED_NUMBER, "number +31201234567"),
        ],
    ),
}


async def findings(path: Path) -> list[Discrepancy]:
    store = SqliteStore(path)
    await store.open()
    found = [finding async for finding in verify(store)]
    await store.close()
    return found


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await add_account(store)
    await store.directory.put_number(Number("+31201234567", "a"))
    await run(store, BOOKS)
    await store.close()
    return tmp_path / "ledger.db"


async def test_sound_books_have_no_findings(books: Path) -> None:
    assert await findings(books) == []


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_error_is_found(books: Path, planted: str) -> None:
    script, expected = PLANTED[planted]
    connection = sqlite3.connect(books)
    connection.executescript(script)
    connection.close()
    found = await findings(books)
    assert sorted((finding.fault, finding.subject) for finding in found) == sorted(expected), found


async def test_a_damaged_index_is_found(books: Path) -> None:
    connection = sqlite3.connect(books)
    connection.executescript("""
        PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = 'CREATE INDEX numbers_by_account ON numbers (record)'
        WHERE name = 'numbers_by_account';
    """)
    connection.close()
    (finding,) = await findings(books)
    assert finding.fault is Fault.STORE_DAMAGED
    assert "numbers_by_account" in finding.detail


async def test_a_journal_line_cannot_be_edited_by_an_ordinary_statement(books: Path) -> None:
    connection = sqlite3.connect(books)
    with pytest.raises(sqlite3.IntegrityError, match="never edited"):
        connection.execute("UPDATE journal SET reason = 'gift' WHERE id = 't1'")
    connection.close()
