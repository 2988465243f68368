"""What is made of all that an account has had: its cost grows with that, strangers make it grow, and customers ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from charging.fax.listed import CDRS_MAX, ListedFaxes
from charging.ledger.accounts import Account
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CdrRow, JournalLine
from charging.service.refusal import Code, Refused
from charging.service.statements import BOUNDS, Statement, Statements
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.fakes.rig import make_tariff

MONTH = "2026-11"


class Slow(MemoryStore):
    """Its journals are read when a test says so."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.reading: list[str] = []
        self.go_on = asyncio.Event()

    async def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        self.reading.append(account)
        await self.go_on.wait()
        async for line in super().journal(account, after):
            yield line


@pytest.fixture
async def store() -> Slow:
    made = Slow(FakeClock())
    for name in ("anna", "ben", "carl"):
        await made.directory.put_account(Account(name, "light"))
    return made


async def test_statements_are_made_one_of_an_account_at_a_time_and_two_in_all(store: Slow) -> None:
    tariff = make_tariff()
    statements = Statements(store, lambda: tariff, FakeClock())
    month = tariff.month_of(FakeClock().now().wall_us)
    asked = [asyncio.create_task(statements.of("anna", month)) for _ in range(BOUNDS.of_account)]
    await eventually(lambda: store.reading == ["anna"])
    others = [asyncio.create_task(statements.of(name, month)) for name in ("ben", "carl")]
    await eventually(lambda: store.reading == ["anna", "ben"])
    refused = await statements.of("anna", month)
    assert isinstance(refused, Refused)
    assert (refused.code, "12 statements of account 'anna'" in refused.message) == (Code.UNAVAILABLE, True)
    store.go_on.set()
    made = await asyncio.gather(*asked, *others)
    assert all(isinstance(one, Statement) for one in made)
    assert len(made) == BOUNDS.of_account + 2


async def test_faxes_are_looked_for_among_so_many_cdrs_and_the_next_page_goes_on(store: Slow) -> None:
    texts = ("number", "target", "document", "page_price", "cost", "set_up", "ended", "status", "dial_status")
    fax = {"service": "fax", "pages": 1, "document_pages": 1, "document_digest": "", **dict.fromkeys(texts, "")}
    rows = [CdrRow(f"s{at}", "anna", at, json.dumps({"service": "forward"})) for at in range(1, CDRS_MAX + 1)]
    await store.restore_cdrs([*rows, CdrRow("fax-1", "anna", CDRS_MAX + 1, json.dumps(fax))])
    listed = ListedFaxes(store, FakeClock())
    first = await listed.page("anna", None, 100)
    assert not isinstance(first, Refused)
    assert (first.faxes, first.next) == ([], (CDRS_MAX, f"s{CDRS_MAX}"))
    second = await listed.page("anna", first.next, 100)
    assert not isinstance(second, Refused)
    assert ([one.session for one in second.faxes], second.next) == (["fax-1"], None)
