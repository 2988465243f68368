"""Accounts' own, secret fax addresses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from charging.ledger.accounts import Account, Status
from charging.ledger.memory import MemoryStore
from charging.service.accounts import Accounts
from charging.service.fax_address import COLLECTION, FaxAddresses, NewFaxAddress, forget
from charging.service.refusal import Code, Refused
from charging.unguessable import digest_of
from tests.fakes.clock import FakeClock
from tests.fakes.rig import make_tariff


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(FakeClock())


@pytest.fixture
async def addresses(store: MemoryStore) -> FaxAddresses:
    clock = FakeClock()
    for account in ("anna", "ben"):
        await store.directory.put_account(Account(account, "light"))
    return FaxAddresses(store, Accounts(store, make_tariff, clock), clock)


async def made(addresses: FaxAddresses, account: str = "anna") -> str:
    """The digest of a new one."""
    new = await addresses.renew(account)
    assert isinstance(new, NewFaxAddress)
    return digest_of(new.name.removeprefix("fax+"))


async def owner(addresses: FaxAddresses, digest: str) -> str | None:
    found = await addresses.owner(digest)
    return None if found is None else found.id


async def test_an_address_is_its_accounts_until_it_is_made_anew_or_withdrawn(addresses: FaxAddresses) -> None:
    first, second, bens = await made(addresses), await made(addresses), await made(addresses, "ben")
    assert [await owner(addresses, one) for one in (first, second, bens)] == [None, "anna", "ben"]
    await addresses.withdraw("anna")
    assert [await owner(addresses, one) for one in (second, bens)] == [None, "ben"]
    again = await addresses.withdraw("anna")
    assert isinstance(again, Refused)
    assert again.code is Code.NOT_FOUND


async def test_of_addresses_made_at_the_same_time_one_stays(addresses: FaxAddresses, store: MemoryStore) -> None:
    await asyncio.gather(*(addresses.renew("anna") for _ in range(20)))
    assert len(await store.documents.list_documents(COLLECTION)) == 1


async def test_nothing_that_is_stored_or_shown_has_the_secret(addresses: FaxAddresses, store: MemoryStore) -> None:
    new = await addresses.renew("anna")
    assert isinstance(new, NewFaxAddress)
    secret = new.name.removeprefix("fax+")
    assert len(secret) == 26
    stored = [repr(await store.directory.account("anna")), *map(repr, await store.documents.list_documents(COLLECTION))]
    assert not [one for one in (*stored, repr(new)) if secret in one]


async def test_a_closed_account_has_none_and_a_suspended_one_is_told_so(
    addresses: FaxAddresses, store: MemoryStore
) -> None:
    digest = await made(addresses)
    for status, found in ((Status.SUSPENDED, "anna"), (Status.CLOSED, None)):
        stored = await store.directory.account("anna")
        assert stored is not None
        await store.directory.put_account(replace(stored, status=status))
        assert await owner(addresses, digest) == found
    assert isinstance(await addresses.renew("anna"), Refused)
    assert len(await store.documents.list_documents(COLLECTION)) == 1, "of the refused one nothing stays"


async def test_what_leads_to_an_account_counts_only_if_the_account_says_the_same(
    addresses: FaxAddresses, store: MemoryStore
) -> None:
    """A change that was broken off, or two at the same time, leave a document behind."""
    old = await made(addresses)
    await made(addresses)
    await store.documents.put_document(COLLECTION, old, '{"account": "anna"}')
    assert await owner(addresses, old) is None
    await forget(store, old)
    assert await owner(addresses, digest_of("")) is None
