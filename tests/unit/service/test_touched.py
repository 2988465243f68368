"""Whatever people change of an account is looked at for notices at once, and only what adds credit wakes its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Language, Status
from charging.pricing.money import MICRO
from charging.service.accounts import AccountChanges
from charging.service.changes import SETTLE_S
from charging.service.numbers import NumberChanges
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.service.trail import Sought, Trail
from tests.unit.service.conftest import NUMBER, Shop

CHANGES: dict[str, Callable[[Service], Awaitable[Any]]] = {
    "top-up": lambda service: service.money.top_up("anna", 10 * MICRO, "k1"),
    "correction": lambda service: service.money.correct("anna", MICRO, "a gift", "k1"),
    "plan": lambda service: service.accounts.change("anna", AccountChanges(plan="light")),
    "address": lambda service: service.accounts.change("anna", AccountChanges(email="anna@example.nl")),
    "language": lambda service: service.accounts.change("anna", AccountChanges(language=Language.EN)),
    "suspension": lambda service: service.accounts.suspend("anna", "asked for"),
    "activation": lambda service: service.accounts.activate("anna"),
    "closing": lambda service: service.accounts.close("anna", "asked for"),
    "payment": lambda service: service.subscriptions.paid("anna", "k1"),
    "new number": lambda service: service.numbers.add("anna", "+31201234568", NumberChanges()),
    "number": lambda service: service.numbers.change(NUMBER, NumberChanges(forward_to="+31612345678")),
    "number removed": lambda service: service.numbers.remove(NUMBER),
}


@pytest.fixture
async def open_shop(shop: Shop) -> Shop:
    await shop.anna("pro")
    await shop.service.numbers.add("anna", NUMBER, NumberChanges())
    shop.touched.clear()
    return shop


@pytest.mark.parametrize("what", CHANGES)
async def test_every_change_that_people_make_is_looked_at(open_shop: Shop, what: str) -> None:
    assert not isinstance(await CHANGES[what](open_shop.service), Refused)
    assert open_shop.touched == ["anna"]
    assert open_shop.told == ["anna"] * (what in ("top-up", "correction"))


@pytest.mark.parametrize("what", CHANGES)
async def test_r22_a_change_that_was_made_is_told_though_its_note_cannot_be_finished(
    open_shop: Shop, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, made = open_shop.store, False
    get_document = store.documents.get_document

    def writes(of: object, name: str) -> None:
        write = getattr(of, name)

        async def written(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            answer = await write(*arguments, **named)
            made = True
            return answer

        monkeypatch.setattr(of, name, written)

    async def fails_then(collection: str, id: str) -> Any:
        if made and collection == "changes":
            raise LedgerUnavailable("the disk is full")
        return await get_document(collection, id)

    if what in ("top-up", "correction"):
        writes(store, "apply")
    else:
        for name in ("put_account", "put_number", "remove_number"):
            writes(store.directory, name)
    monkeypatch.setattr(store.documents, "get_document", fails_then)
    assert not isinstance(await CHANGES[what](open_shop.service), Refused)
    assert open_shop.touched == ["anna"]
    assert open_shop.told == ["anna"] * (what in ("top-up", "correction"))
    monkeypatch.undo()
    await open_shop.clock.advance(SETTLE_S)
    changes = Trail(store, open_shop.clock)
    await changes.settle()
    assert not await store.documents.due_documents("changes", 2**53 - 1, 10)
    notes = await store.documents.list_documents("changes")
    assert len(notes) == len((await changes.page(Sought(), None, 100))[0])
    assert len(notes) == 3 - (what == "activation"), "who is active already is not changed"


async def test_a_change_of_plan_is_looked_at_after_its_free_minutes_have_come(open_shop: Shop) -> None:
    """In between the account would look short of them."""
    seen: list[bool] = []
    months = open_shop.service.accounts._months
    raised = months.raise_to_plan

    async def watched(account: str) -> None:
        seen.append(bool(open_shop.touched))
        await raised(account)

    months.raise_to_plan = watched  # type: ignore[method-assign, assignment]
    await CHANGES["plan"](open_shop.service)
    assert (seen, open_shop.touched) == ([False], ["anna"])


async def test_nobody_is_looked_at_for_what_was_only_asked(open_shop: Shop) -> None:
    account = await open_shop.service.accounts.get("anna")
    assert not isinstance(account, Refused)
    assert account.status is Status.ACTIVE
    await open_shop.service.balances.view("anna")
    await open_shop.service.numbers.page("", 10, "anna")
    assert open_shop.touched == []
