"""Numbers of others are hidden in old CDRs, page by page, once and for all; nothing else changes."""

from __future__ import annotations

import json

import pytest

from charging.ledger.model import CdrRow
from charging.ledger.port import Store
from charging.service import privacy
from charging.service.privacy import hide_numbers
from tests.contract.scenario import add_account, assert_sound, run

DAY_US = privacy.DAY_US
CDRS = 7


def document(number: int) -> str:
    return json.dumps({"session": f"s{number}", "caller": "+31612345678", "target": "+31201234567", "cost": "0.06"})


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with a CDR a day: the end of s1 is day 1."""
    await add_account(store)
    for number in range(1, CDRS + 1):
        await run(store, f"r{number} reserve s{number}:open -> created\ne{number} release s{number}:close -> created")
    await store.restore_cdrs([CdrRow(f"s{n}", "a", n * DAY_US, document(n)) for n in range(1, CDRS + 1)])
    return store


async def hide(store: Store, before_us: int) -> list[int]:
    return [changed async for changed, _ in hide_numbers(store, before_us)]


async def shown(store: Store, account: str | None = None) -> list[bool]:
    """Of each CDR whether its caller is whole."""
    rows = await store.cdrs(account=account)
    return [json.loads(row.document)["caller"] == "+31612345678" for row in rows]


async def test_numbers_before_the_day_are_hidden_and_later_ones_are_not(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "PAGE_ROWS", 2)
    before = await filled.cdrs()
    balances = await filled.balances("a")
    assert await hide(filled, 4 * DAY_US) == [2, 1]
    assert await shown(filled) == await shown(filled, "a") == [False] * 3 + [True] * 4
    after = await filled.cdrs()
    assert [(row.session, row.account, row.ended_us) for row in after] == [
        (row.session, row.account, row.ended_us) for row in before
    ]
    assert json.loads(after[0].document) == json.loads(document(1)) | {
        "caller": "+3161234xxxx",
        "target": "+3120123xxxx",
    }
    assert await filled.balances("a") == balances
    await assert_sound(filled)


async def test_hiding_again_changes_nothing(filled: Store) -> None:
    assert await hide(filled, 4 * DAY_US + 1) == [4]
    once = await filled.cdrs()
    assert await hide(filled, 4 * DAY_US + 1) == [0]
    assert await filled.cdrs() == once


async def test_a_cdr_that_was_archived_meanwhile_does_not_come_back(filled: Store) -> None:
    rows = await filled.cdrs()
    await filled.forget_cdrs(rows[:1])
    await filled.replace_cdrs(rows)
    assert await filled.cdrs() == rows[1:]
    assert await filled.cdrs(account="a") == rows[1:]
    await assert_sound(filled)
