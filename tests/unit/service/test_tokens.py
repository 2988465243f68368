"""Bearer tokens: shown once, kept as hashes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from charging.errors import LedgerCorrupt
from charging.ledger.memory import MemoryStore
from charging.service.refusal import Code
from charging.service.tokens import COLLECTION, NewToken, Scope, Token, Tokens, Unfit, token_id
from tests.fakes.clock import FakeClock
from tests.unit.service.conftest import refused


@pytest.fixture
def documents() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def tokens(documents: MemoryStore, clock: FakeClock) -> Tokens:
    return Tokens(documents, clock)


async def made(tokens: Tokens, *scopes: Scope) -> NewToken:
    new = await tokens.add("website", scopes or (Scope.READ,))
    assert isinstance(new, NewToken)
    return new


async def test_a_token_is_known_by_its_text_until_it_is_revoked(tokens: Tokens) -> None:
    new = await made(tokens, Scope.READ, Scope.CREDIT)
    assert await tokens.authenticate(new.secret) == new.token
    assert new.token.scopes == {Scope.READ, Scope.CREDIT}
    assert await tokens.all() == [new.token]
    assert await tokens.revoke(new.token.id) == new.token
    assert await tokens.authenticate(new.secret) is Unfit.UNKNOWN
    refused(await tokens.revoke(new.token.id), Code.NOT_FOUND)


async def test_only_a_hash_is_stored_and_the_text_is_not_printed(tokens: Tokens, documents: MemoryStore) -> None:
    new = await made(tokens)
    (document,) = (one.body for one in await documents.documents.list_documents(COLLECTION))
    secret = new.secret.rpartition(f"{new.token.id}_")[2]
    assert secret not in document
    assert hashlib.sha256(secret.encode()).hexdigest() in document
    assert secret not in repr(new)


async def test_two_tokens_have_nothing_in_common(tokens: Tokens) -> None:
    one, other = await made(tokens), await made(tokens)
    assert one.token.id != other.token.id
    mixed = f"charging_{one.token.id}_{other.secret[-43:]}"
    assert await tokens.authenticate(mixed) is Unfit.UNKNOWN


@pytest.mark.parametrize("end", ["", "x", "\n", " "])
async def test_what_is_not_the_whole_text_is_nobodys(tokens: Tokens, end: str) -> None:
    secret = (await made(tokens)).secret
    assert await tokens.authenticate(secret[:-1] + end) is Unfit.UNKNOWN
    assert token_id(secret) != ""
    assert token_id(secret + "x") == token_id("") == ""


async def test_a_token_needs_a_name_and_a_scope(tokens: Tokens) -> None:
    refused(await tokens.add(" ", [Scope.READ]), Code.INVALID)
    refused(await tokens.add("a\nb", [Scope.READ]), Code.INVALID)
    refused(await tokens.add("website", []), Code.INVALID)
    assert await tokens.all() == []


async def test_a_stored_token_that_cannot_be_read_is_said_and_lets_nobody_in(
    tokens: Tokens, documents: MemoryStore
) -> None:
    new = await made(tokens)
    stored = await documents.documents.get_document(COLLECTION, new.token.id)
    assert stored is not None
    await documents.documents.update_document(replace(stored, body="{}"))
    with pytest.raises(LedgerCorrupt, match=new.token.id):
        await tokens.authenticate(new.secret)


async def test_tokens_are_listed_by_age(tokens: Tokens, clock: FakeClock) -> None:
    first = await made(tokens)
    clock.step_wall(1)
    second = await made(tokens)
    found: list[Token] = await tokens.all()
    assert found == [first.token, second.token]
