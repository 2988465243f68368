"""What is hidden of a number and a CDR, and when the daemon does it."""

from __future__ import annotations

import asyncio
import json

import pytest

from charging.ledger.accounts import Account
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CdrRow
from charging.safe_text import HIDDEN, hidden
from charging.service.privacy import DAY_US, NumberHider, without_numbers, without_people
from tests.fakes.clock import FakeClock, settle


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+31612345678", "+3161234xxxx"),
        ("12345", "1xxxx"),
        ("1233", "xxxx"),
        ("112", "xxxx"),
        ("anna", "xxxx"),
        ("anna1987", "xxxx"),
        ("sip:anna@example.nl", "xxxx"),
        ("", ""),
    ],
)
def test_a_number_loses_its_last_four_digits_once(number: str, expected: str) -> None:
    assert hidden(number) == expected
    assert hidden(expected) == expected


def test_only_others_numbers_are_hidden() -> None:
    cdr = {"number": "+31201234567", "caller": "+31612345678", "target": None, "cost": "0.0600", "caller_id": 1}
    assert json.loads(without_numbers(json.dumps(cdr))) == cdr | {"caller": "+3161234xxxx"}


def test_of_a_fax_the_name_that_its_sender_gave_it_is_erased_too() -> None:
    money = {"pages": 2, "cost": "0.2000", "document_pages": 2, "status": "SUCCESS"}
    people = {"number": "+31201234567", "target": "+31612345678", "document": "Jansen, divorce.pdf"}
    erased = without_people(json.dumps(money | people | {"document_digest": "ab" * 32}))
    assert json.loads(erased) == money | dict.fromkeys((*people, "document_digest"), HIDDEN)
    assert without_people(erased) == erased


@pytest.mark.parametrize("document", ["nonsense", "[1]", "{}", '{"caller":  ""}', '{"caller":7}'])
def test_what_has_nothing_to_hide_stays_as_it_is_letter_by_letter(document: str) -> None:
    assert without_numbers(document) == document


async def test_the_daemon_hides_what_has_become_older_than_the_days(clock: FakeClock) -> None:
    store = MemoryStore(clock)
    await store.directory.put_account(Account("a", "light"))
    now_us = clock.now().wall_us
    ages = {"old": 30 * DAY_US + 1, "due": 30 * DAY_US - 1000, "young": 29 * DAY_US}
    document = '{"caller":"+31612345678"}'
    await store.restore_cdrs([CdrRow(name, "a", now_us - age, document) for name, age in ages.items()])
    task = asyncio.create_task(NumberHider(store, clock, 30).run())
    await settle()

    async def whole() -> set[str]:
        return {row.session for row in await store.cdrs() if row.document == document}

    assert await whole() == {"due", "young"}
    await clock.advance(2 * 3600)
    assert await whole() == {"young"}
    task.cancel()
