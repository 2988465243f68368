"""Accounts are made, edited, suspended and closed; never deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.ledger.accounts import Account, Language, Status
from charging.service.refusal import Code
from tests.unit.service.conftest import NUMBER, Shop, refused


async def test_an_account_is_made_on_a_plan_of_the_tariff(shop: Shop) -> None:
    made = await shop.service.accounts.add("anna", "light", Language.EN, "anna@example.nl")
    assert isinstance(made, Account)
    assert (made.plan, made.language, made.email, made.status) == ("light", "en", "anna@example.nl", Status.ACTIVE)
    assert made.created_us == shop.clock.now().wall_us
    assert await shop.service.accounts.get("anna") == made


async def test_an_unknown_plan_is_refused_with_those_there_are(shop: Shop) -> None:
    answer = refused(await shop.service.accounts.add("anna", "lite", Language.NL), Code.INVALID)
    assert "'lite'" in answer.message
    assert "light, pro, free" in answer.message
    refused(await shop.service.accounts.get("anna"), Code.NOT_FOUND)


@pytest.mark.parametrize("account", ["a", "0", "a" * 64, "a.b_c-d"])
async def test_an_id_that_is_allowed(shop: Shop, account: str) -> None:
    assert isinstance(await shop.service.accounts.add(account, "light", Language.NL), Account)


@pytest.mark.parametrize("account", ["", "A", "-a", ".a", "a" * 65, "a b", "a\n", "a/b", "é"])
async def test_an_id_that_is_not_allowed(shop: Shop, account: str) -> None:
    refused(await shop.service.accounts.add(account, "light", Language.NL), Code.INVALID)


@pytest.mark.parametrize(
    "email",
    [
        *("anna", "anna@", "@example.nl", "anna@nl", "a b@example.nl", "a@b.nl\nBcc: c@d.nl"),
        *("an\x85na@example.nl", "an\x9fna@example.nl", "an\ufeffna@example.nl"),
    ],
)
async def test_a_mail_address_that_is_none_is_refused(shop: Shop, email: str) -> None:
    refused(await shop.service.accounts.add("anna", "light", Language.NL, email), Code.INVALID)


async def test_the_same_account_twice_is_refused(shop: Shop) -> None:
    await shop.anna()
    refused(await shop.service.accounts.add("anna", "pro", Language.NL), Code.EXISTS)
    stored = await shop.store.directory.account("anna")
    assert stored is not None
    assert stored.plan == "light"


async def test_an_edit_changes_what_is_named_and_nothing_else(shop: Shop) -> None:
    before = await shop.anna()
    after = await shop.service.accounts.change("anna", {"plan": "pro"})
    assert isinstance(after, Account)
    assert (after.plan, after.language, after.email) == ("pro", before.language, before.email)
    refused(await shop.service.accounts.change("anna", {"plan": "none"}), Code.INVALID)
    refused(await shop.service.accounts.change("anna", {"email": "none"}), Code.INVALID)
    refused(await shop.service.accounts.change("bert", {"plan": "pro"}), Code.NOT_FOUND)


async def test_an_edit_that_comes_second_is_made_anew(shop: Shop) -> None:
    await shop.anna()
    put, raced = shop.store.directory.put_account, list[Account]()

    async def put_late(account: Account) -> bool:
        if not raced:
            raced.append(account)
            stored = await shop.store.directory.account("anna")
            assert stored is not None
            await put(replace(stored, email="first@example.nl"))
        return await put(account)

    shop.store.directory.put_account = put_late  # type: ignore[method-assign]
    after = await shop.service.accounts.change("anna", {"plan": "pro"})
    assert isinstance(after, Account)
    assert (after.plan, after.email) == ("pro", "first@example.nl")


async def test_an_edit_that_never_comes_first_gives_up(shop: Shop) -> None:
    await shop.anna()

    async def never(_account: Account) -> bool:
        return False

    shop.store.directory.put_account = never  # type: ignore[method-assign, assignment]
    refused(await shop.service.accounts.change("anna", {"plan": "pro"}), Code.CONFLICT)


async def test_a_suspension_needs_a_reason_and_can_be_lifted(shop: Shop) -> None:
    await shop.anna()
    refused(await shop.service.accounts.suspend("anna", " "), Code.INVALID)
    refused(await shop.service.accounts.suspend("anna", "two\nlines"), Code.INVALID)
    suspended = await shop.service.accounts.suspend("anna", "unpaid")
    assert isinstance(suspended, Account)
    assert (suspended.status, suspended.status_reason) == (Status.SUSPENDED, "unpaid")
    lifted = await shop.service.accounts.activate("anna")
    assert isinstance(lifted, Account)
    assert (lifted.status, lifted.status_reason) == (Status.ACTIVE, "")


async def test_r21_a_closed_account_keeps_its_history_and_its_credit_and_stays_closed(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25_000_000, "k")
    closed = await shop.service.accounts.close("anna", "moved away")
    assert isinstance(closed, Account)
    assert closed.status is Status.CLOSED
    refused(await shop.service.accounts.activate("anna"), Code.CLOSED)
    refused(await shop.service.accounts.change("anna", {"plan": "pro"}), Code.CLOSED)
    refused(await shop.service.numbers.add("anna", NUMBER, {}), Code.CLOSED)
    lines = await shop.service.money.journal_page("anna", None, 10)
    assert [line.id for line in lines] == ["top-up/k"]  # type: ignore[union-attr]
    assert (await shop.store.balances("anna"))["credit"].posted == 25_000_000


async def test_pages_follow_one_another_by_id(shop: Shop) -> None:
    for account in ("c", "a", "b"):
        await shop.service.accounts.add(account, "light", Language.NL)
    first = await shop.service.accounts.page("", 2)
    assert [one.id for one in first] == ["a", "b"]
    assert [one.id for one in await shop.service.accounts.page("b", 2)] == ["c"]
    assert await shop.service.accounts.page("c", 2) == []
