"""Who did what: a note for each change, whenever the program dies, and none for what was not changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account, Language, Status
from charging.ledger.memory import MemoryStore
from charging.ledger.metered import PARTS
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.service import trail as service_trail
from charging.service.actor import UNKNOWN, acting, actor
from charging.service.changes import SETTLE_S, Act, Change, Changes
from charging.service.live import NoCalls
from charging.service.numbers import NumberChanges
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.service.tokens import Scope, Tokens
from charging.service.trail import EXAMINED_MAX, LINES_PAGE, PAGE_REST_S, Sought, Trail
from tests.fakes.clock import FakeClock
from tests.fakes.killing_store import Part
from tests.fakes.rig import EURO, make_tariff
from tests.unit.service.conftest import NUMBER, Shop

TARGET = "+31612345678"


async def notes(shop: Shop, **sought: Any) -> list[Change]:
    found, _ = await Trail(shop.store, shop.clock).page(Sought(**sought), None, 1000)
    return [one.change for one in found]


async def test_an_edit_is_noted_with_its_actor_time_before_and_after(shop: Shop) -> None:
    with acting("cli:alice"):
        await shop.anna()
    await shop.clock.advance(5)
    with acting("token:0123456789ab"):
        await shop.service.accounts.change("anna", {"email": "anna@example.nl", "plan": "light"})
    made, edited = await notes(shop, account="anna")
    assert (made.act, made.actor, made.before) == (Act.ACCOUNT_MADE, "cli:alice", {})
    assert made.after["plan"] == "light"
    assert (edited.act, edited.actor) == (Act.ACCOUNT_EDITED, "token:0123456789ab")
    assert edited.at_us == made.at_us + 5_000_000
    assert (edited.before, edited.after) == ({"email": ""}, {"email": "anna@example.nl"})


async def test_numbers_money_and_tokens_are_noted(shop: Shop) -> None:
    await shop.anna()
    service, tokens = shop.service, Tokens(shop.store, shop.clock)
    await service.numbers.add("anna", NUMBER, NumberChanges(forward_to=TARGET))
    await service.numbers.change(NUMBER, NumberChanges(forward_to=""))
    await service.numbers.remove(NUMBER)
    await service.money.top_up("anna", 10 * EURO, "order-1")
    await service.money.correct("anna", -EURO, "a slip", "c-1")
    await service.money.grant_minutes("anna", 5, "sorry", "m-1")
    await tokens.add("site", [Scope.READ])
    await tokens.revoke((await tokens.all())[0].id)
    found = await notes(shop)
    by_act = {one.act: one for one in found}
    assert len(found) == len(by_act) == 9
    edited, corrected = by_act[Act.NUMBER_EDITED], by_act[Act.CORRECTED]
    assert (edited.number, edited.before, edited.after) == (NUMBER, {"forward_to": TARGET}, {"forward_to": ""})
    assert (corrected.transfer, corrected.before) == ("correct/c-1", {"credit": "10.00"})
    assert corrected.after == {"amount": "-1.00", "reason": "a slip", "credit": "9.00"}
    assert by_act[Act.MINUTES].after["free_seconds"] == 300
    assert by_act[Act.TOKEN_REVOKED].before["name"] == "site"


async def test_the_actor_stands_in_the_journal_line(shop: Shop) -> None:
    await shop.anna()
    with acting("cli:alice"):
        await shop.service.money.top_up("anna", 10 * EURO, "order-1")
    with acting("cli:bob"):
        await shop.service.money.top_up("anna", 10 * EURO, "order-1")  # the same again changes nothing
    assert [line.actor async for line in shop.store.journal("anna")] == ["cli:alice"]
    assert [one.actor for one in await notes(shop) if one.act == Act.TOPPED_UP] == ["cli:alice"]


async def test_what_changes_nothing_or_is_refused_is_not_noted(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.change("anna", {"language": Language.NL})
    await shop.service.accounts.change("anna", {"plan": "none such"})
    await shop.service.money.correct("anna", -EURO, "more than there is", "c-1")
    await shop.service.numbers.remove(NUMBER)
    await shop.service.accounts.add("anna", "light")
    assert [one.act for one in await notes(shop)] == [Act.ACCOUNT_MADE]
    assert len(await shop.store.documents.list_documents("changes")) == 1


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        ({}, 4),
        ({"account": "anna"}, 2),
        ({"actor": "cli"}, 3),
        ({"actor": "cli:alice"}, 2),
        ({"actor": "cli:al"}, 0),
        ({"since_us": 1}, 3),
        ({"until_us": 1}, 1),
        ({"since_us": 1, "until_us": 3}, 2),
    ],
)
async def test_changes_are_sought_by_account_actor_and_time(shop: Shop, sought: dict[str, Any], expected: int) -> None:
    changes = Changes(shop.store, shop.clock)
    base_us = shop.clock.now().wall_us
    for account, who in (("anna", "cli:alice"), ("bert", "cli:alice"), ("anna", "cli:bob"), ("bert", "daemon")):
        with acting(who):
            await changes.noted(Act.ACCOUNT_ERASED, account=account)
        await shop.clock.advance(0.000001)
    moved = {name: base_us + value if name.endswith("_us") else value for name, value in sought.items()}
    assert len(await notes(shop, **moved)) == expected


async def test_a_page_ends_where_the_next_begins_and_looks_into_a_bounded_number(shop: Shop) -> None:
    changes = Changes(shop.store, shop.clock)
    for number in range(7):
        await changes.noted(Act.ACCOUNT_ERASED, account=f"a{number}")
        await shop.clock.advance(1)
    seen, place, pages = [], None, 0
    while pages == 0 or place is not None:
        found, place = await Trail(shop.store, shop.clock).page(Sought(), place, 3)
        seen += [one.change.account for one in found]
        pages += 1
    assert seen == [f"a{number}" for number in range(7)]
    for number in range(EXAMINED_MAX + 1):
        await shop.store.documents.put_document("changes", f"0000000000000001-{number:08x}", (await _any_body(shop)))
    found, place = await Trail(shop.store, shop.clock).page(Sought(account="a6"), None, 3)
    assert not found
    assert place is not None


async def _any_body(shop: Shop) -> str:
    return (await shop.store.documents.list_documents("changes", "1", 1))[0].body


@pytest.mark.parametrize("name", ["", "cli:", "cli:a b", "CLI:a", "cli:" + "a" * 81, "cli:é", "cli:a\n"])
def test_an_actor_that_is_none_is_told_as_unknown(name: str) -> None:
    with acting(name):
        assert actor() == UNKNOWN


# --- death at every write ----------------------------------------------------------------------------------------


class Death(BaseException):
    """The process ends here."""


class Mortal:
    """A store in which the process dies at one write."""

    def __init__(self, store: MemoryStore, at: int, when: str) -> None:
        self._store, self._at, self._when = store, at, when
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return self._mortal(self._store, name)

    def _mortal(self, of: object, name: str) -> Any:
        method = getattr(of, name)
        if name in PARTS:
            return Part(partial(self._mortal, method))
        if not name.startswith(("apply", "put_", "update_", "delete_", "remove_")):
            return method

        async def dying(*arguments: Any, **named: Any) -> Any:
            self.writes += 1
            if self.writes == self._at and self._when == "before":
                raise Death
            answer = await method(*arguments, **named)
            if self.writes == self._at:
                raise Death
            return answer

        return dying


async def _edit(service: Service, _store: Any) -> object:
    return await service.accounts.change("anna", {"email": "new@example.nl"})


async def _suspend(service: Service, _store: Any) -> object:
    return await service.accounts.suspend("anna", "unpaid")


async def _make(service: Service, _store: Any) -> object:
    return await service.accounts.add("bert", "light")


async def _add_number(service: Service, _store: Any) -> object:
    return await service.numbers.add("anna", "+31201112222", NumberChanges())


async def _edit_number(service: Service, _store: Any) -> object:
    return await service.numbers.change(NUMBER, NumberChanges(forward_to=TARGET))


async def _remove_number(service: Service, _store: Any) -> object:
    return await service.numbers.remove(NUMBER)


async def _top_up(service: Service, _store: Any) -> object:
    return await service.money.top_up("anna", 10 * EURO, "order-1")


async def _add_token(service: Service, store: Any) -> object:
    return await Tokens(store, service.clock).add("site", [Scope.READ])


ActOf = Callable[[Service, Any], Awaitable[object]]
ACTS: list[ActOf] = [_edit, _suspend, _make, _add_number, _edit_number, _remove_number, _top_up, _add_token]


async def _state(store: MemoryStore) -> object:
    accounts = [account async for account in store.directory.accounts()]
    money = [line.id async for line in store.journal("anna")]
    tokens = [one.id for one in await store.documents.list_documents("api-tokens")]
    return accounts, await store.directory.numbers(), money, len(tokens)


async def _before(clock: FakeClock) -> tuple[MemoryStore, Shop]:
    store = MemoryStore(clock)
    shop = Shop(clock, store, make_tariff())
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, NumberChanges())
    await clock.advance(1)
    return store, shop


def _service(store: Any, shop: Shop) -> Service:
    return Service(
        store=store, tariff=lambda: shop.tariff, clock=shop.clock, funds_changed=lambda _: None, live=NoCalls()
    )


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__.strip("_"))
@pytest.mark.parametrize("then", [None, *ACTS[:6]], ids=lambda act: "" if act is None else act.__name__.strip("_"))
async def test_killed_at_any_write_there_is_a_note_for_each_change_and_no_other(
    clock: FakeClock, act: ActOf, when: str, then: ActOf | None
) -> None:
    """``then`` is done by the next daemon before anything is settled: it must not hide what was done before."""
    at = 1
    while True:
        store, shop = await _before(clock)
        mortal, count = Mortal(store, at, when), len(await notes(shop))
        first = await _state(store)
        try:
            await act(_service(mortal, shop), mortal)
        except Death:
            pass
        else:
            break
        made = int(await _state(store) != first)
        if then is not None:
            await shop.clock.advance(1)
            second = await _state(store)
            await then(_service(store, shop), store)
            made += int(await _state(store) != second)
        assert len(await notes(shop)) == count + made, f"read before it is settled, write {at}"
        await clock.advance(SETTLE_S)
        await Trail(store, clock).settle()
        assert len(await notes(shop)) == count + made, f"write {at}"
        assert await Trail(store, clock).settle() == 0
        assert not await store.documents.due_documents("changes", clock.now().wall_us + 10**12, 10)
        at += 1
    assert at > 3


async def test_a_note_in_progress_is_not_settled(shop: Shop) -> None:
    await shop.anna()
    changes = Changes(shop.store, shop.clock)
    await shop.clock.advance(1)
    note = await changes.asked(Act.ACCOUNT_EDITED, account="anna", after={"plan": "pro"})
    await shop.clock.advance(SETTLE_S - 1)
    assert await Trail(shop.store, shop.clock).settle() == 0
    await changes.done(note)
    assert [one.act for one in await notes(shop)] == [Act.ACCOUNT_MADE, Act.ACCOUNT_EDITED]


# --- notes that cannot be read -------------------------------------------------------------------------------------

NEWER = '{"act":"account.edited","actor":"cli:x","at_us":1,"account":"anna","via":"console"}'
DAMAGED = ["", "{", "[]", '{"act":"account.edited"}', NEWER.replace('"at_us":1', '"at_us":"one"')]


async def _note(shop: Shop, body: str, due_us: int | None) -> str:
    """A note before all others, which Anna's account and number name as their last."""
    id = "0000000000000001-aa"
    await shop.store.documents.put_document("changes", id, body, due_us)
    account, number = await shop.store.directory.account("anna"), await shop.store.directory.number(NUMBER)
    assert account is not None
    assert number is not None
    assert await shop.store.directory.put_account(replace(account, change=id))
    assert await shop.store.directory.put_number(replace(number, change=id), number)
    return id


@pytest.mark.parametrize("body", [NEWER, *DAMAGED])
async def test_a_note_that_cannot_be_read_stops_neither_edits_nor_settling_nor_the_list(
    clock: FakeClock, body: str
) -> None:
    store, shop = await _before(clock)
    id, before = await _note(shop, body, 1), len(await notes(shop))
    assert before == 2 + (body is NEWER)
    left = await Changes(store, clock).asked(Act.ACCOUNT_EDITED, account="bert")
    await clock.advance(SETTLE_S)
    assert await Trail(store, clock).settle() == 2
    assert await Trail(store, clock).settle() == 0
    assert [await store.documents.get_document("changes", one) is not None for one in (id, left)] == [True, False]
    assert isinstance(await _suspend(shop.service, store), Account)
    assert not isinstance(await _edit_number(shop.service, store), Refused)
    assert not isinstance(await _remove_number(shop.service, store), Refused)
    assert len(await notes(shop)) == before + 3


async def test_what_only_a_newer_version_knows_of_a_change_is_kept_and_erased_with_the_customer(
    clock: FakeClock,
) -> None:
    store, shop = await _before(clock)
    id, changes = await _note(shop, NEWER, 1), Changes(store, clock)
    await changes.done(id)
    document = await store.documents.get_document("changes", id)
    assert document is not None
    assert '"done":true' in document.body
    assert '"via":"console"' in document.body
    await Trail(store, clock).hide("anna")
    hidden = await store.documents.get_document("changes", id)
    assert hidden is not None
    assert "console" not in hidden.body


async def test_a_damaged_record_stops_neither_settling_nor_the_list(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shop = await _before(clock)
    changes, read = Changes(store, clock), store.directory.account
    await changes.asked(Act.ACCOUNT_EDITED, account="bert")
    left = await changes.asked(Act.ACCOUNT_EDITED, account="cees")
    await clock.advance(SETTLE_S)

    async def damaged(account: str) -> Account | None:
        if account == "bert":
            raise LedgerCorrupt("the account bert cannot be read")
        return await read(account)

    monkeypatch.setattr(store.directory, "account", damaged)
    assert len(await notes(shop)) == 2
    await Trail(store, clock).settle()
    assert await store.documents.get_document("changes", left) is None


@pytest.mark.parametrize("happened", [True, False])
async def test_the_note_of_a_transfer_is_settled_right_however_busy_the_account_was(
    clock: FakeClock, happened: bool
) -> None:
    store, shop = await _before(clock)
    changes, at_us = Changes(store, clock), clock.now().wall_us
    transfer = Transfer("top-up/k", "anna", Kind.TOP_UP, at_us, (Leg(CREDIT, EURO),), reason="top_up", actor="cli:x")
    await changes.asked_by(transfer, Act.TOPPED_UP, {"amount": "1.00"})
    if happened:
        await store.apply(transfer)
    for number in range(LINES_PAGE + 1):
        later = replace(transfer, id=f"top-up/k{number}", at_us=at_us + 1 + number, legs=(Leg(CREDIT, 1),))
        await store.apply(later)
    await clock.advance(SETTLE_S)
    assert await Trail(store, clock).settle() == 1
    assert [one.transfer for one in await notes(shop) if one.transfer] == ["top-up/k"] * happened


# --- people ------------------------------------------------------------------------------------------------------


async def test_what_is_known_of_a_customer_has_the_changes_and_erasing_hides_what_leads_to_him(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.change("anna", {"email": "anna@example.nl"})
    await shop.service.numbers.add("anna", NUMBER, NumberChanges(forward_to=TARGET))
    pieces = await shop.service.people.known("anna")
    assert not isinstance(pieces, Refused)
    told = [piece["change"]["act"] async for piece in pieces if "change" in piece]
    assert set(told) == {Act.ACCOUNT_MADE, Act.ACCOUNT_EDITED, Act.NUMBER_ADDED}
    await shop.service.accounts.close("anna", "moved to Berlin")
    await shop.service.people.erase("anna")
    bodies = " ".join(one.body for one in await shop.store.documents.list_documents("changes"))
    for word in ("anna@example.nl", NUMBER, TARGET, "Berlin"):
        assert word not in bodies
    assert Act.ACCOUNT_ERASED in {one.act for one in await notes(shop)}


def test_a_record_says_its_change_and_is_equal_without_it() -> None:
    account = Account("anna", "light", status=Status.ACTIVE)
    assert replace(account, change="x") == account


async def test_what_looks_into_every_note_rests_after_each_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs where calls are decided."""
    monkeypatch.setattr(service_trail, "PAGE_DOCUMENTS", 2)
    await shop.anna()
    changes, pages = Changes(shop.store, shop.clock), []
    for _ in range(5):
        await changes.noted(Act.HUNG_UP, account="anna", after={"reason": "of a person"})
    list_documents = shop.store.documents.list_documents

    async def watched(*asked: Any, **more: Any) -> Any:
        pages.append(shop.clock.now().mono_us)
        return await list_documents(*asked, **more)

    monkeypatch.setattr(shop.store.documents, "list_documents", watched)
    hiding = asyncio.create_task(Trail(shop.store, shop.clock).hide("anna"), name="hiding")
    while not hiding.done():
        await shop.clock.advance(PAGE_REST_S)
    assert hiding.result() == 5
    assert len(set(pages)) == len(pages) > 2
