"""Statements after old months were archived: refused for those, true for the later ones, on every store."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from charging.ledger.accounts import Account
from charging.ledger.books.archive import archive
from charging.ledger.books.portable import Counts
from charging.ledger.model import CREDIT, Closed, Kind, Leg, Opened, Transfer
from charging.ledger.port import Store
from charging.service.refusal import Code, Refused
from charging.service.statements import Statement, Statements
from charging.web.routes.statements import StatementOut
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, make_tariff

TARIFF = make_tariff()


def at_us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TARIFF.zone)).timestamp()) * 1_000_000


async def post(store: Store, id: str, kind: Kind, amount: int, when: str) -> None:
    transfer = Transfer(id, "anna", kind, at_us(when), (Leg(CREDIT, amount),), reason=id)
    assert (await store.apply(transfer)).outcome.applied


async def call(store: Store, session: str, begin: str, end: str, settled: str, *, cost: int) -> None:
    """A voicemail message of which the CDR tells."""
    opened = Transfer(f"{session}/1", "anna", Kind.RESERVE, at_us(begin), (), session, Opened("switch", "state"))
    cdr = json.dumps({"service": "voicemail", "session": session})
    closed = Closed(cdr, at_us(end), follows=1)
    settle = Transfer(f"{session}/2", "anna", Kind.SETTLE, at_us(settled), (Leg(CREDIT, -cost),), session, closed)
    for transfer in (opened, settle):
        assert (await store.apply(transfer)).outcome.applied


async def a_year(store: Store) -> Statements:
    assert await store.directory.put_account(Account("anna", "light"))
    await post(store, "t1", Kind.TOP_UP, 25 * EURO, "2026-06-30T23:59:59")
    await post(store, "c1", Kind.CORRECT, -5 * EURO, "2026-08-10T12:00")
    await call(store, "s1", "2026-08-31T23:58", "2026-08-31T23:59:59", "2026-09-01T00:00:02", cost=EURO)
    await post(store, "t2", Kind.TOP_UP, 10 * EURO, "2026-10-01T12:00")
    return Statements(store, lambda: TARIFF, FakeClock(wall_us=at_us("2026-11-20T12:00")))


async def take_out(store: Store, before: str, folder: Path) -> None:
    await archive(store, at_us(before), at_us("2026-11-20T12:00"), folder, TARIFF.month_of, Counts())


async def shown(statements: Statements, month: str) -> StatementOut | None:
    """``None``: it is archived."""
    made = await statements.of("anna", month)
    if isinstance(made, Statement):
        return StatementOut.of(made)
    assert made.code is Code.ARCHIVED
    return None


async def test_a_month_of_which_lines_were_archived_has_no_statement_and_the_next_ones_are_as_before(
    store: Store, tmp_path: Path
) -> None:
    statements = await a_year(store)
    months = [f"2026-{month:02d}" for month in range(5, 12)]
    before = {month: await shown(statements, month) for month in months}
    assert all(before.values())
    await take_out(store, "2026-09-01T00:00", tmp_path)
    after = {month: await shown(statements, month) for month in months}
    assert after == before | dict.fromkeys(["2026-05", "2026-06", "2026-07", "2026-08"])


async def test_the_first_month_after_the_archive_opens_with_the_carried_balance_and_adds_up(
    store: Store, tmp_path: Path
) -> None:
    statements = await a_year(store)
    await take_out(store, "2026-09-01T00:00", tmp_path)
    made = await shown(statements, "2026-09")
    assert made is not None
    assert (made.opening, made.usage, made.closing) == ("20.00", "1.00", "19.00")
    assert [one.kind for one in made.lines] == ["voicemail"]
    october = await shown(statements, "2026-10")
    assert october is not None
    sums = [october.opening, october.topped_up, october.corrections, october.expired]
    assert sum(map(Decimal, sums)) - Decimal(october.usage) == Decimal(october.closing) == 29


async def test_a_month_without_lines_that_the_archive_went_by_has_its_carried_balance(
    store: Store, tmp_path: Path
) -> None:
    statements = await a_year(store)
    await take_out(store, "2026-08-01T00:00", tmp_path)
    made = await shown(statements, "2026-07")
    assert made is not None
    assert (made.opening, made.closing, made.lines) == ("25.00", "25.00", [])


async def test_the_refusal_names_the_files_and_the_first_month_there_is(store: Store, tmp_path: Path) -> None:
    statements = await a_year(store)
    await take_out(store, "2026-09-01T00:00", tmp_path)
    answer = await statements.of("anna", "2026-08")
    assert isinstance(answer, Refused)
    assert (tmp_path / "journal-2026-08.jsonl").exists()
    assert "see journal-2026-08.jsonl and cdrs-2026-08.jsonl" in answer.message
    assert "of 2026-09 and later" in answer.advice
