"""The public interface: a request as bytes, through HTTP's parser and the gate, to the application and the books.

``@read``, ``@credit``, ``@fax`` and ``@operate`` in the bytes become tokens with this scope alone.
"""

from __future__ import annotations

import asyncio
import atexit
import json
from typing import Any

from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, JournalLine, Kind
from charging.service.tokens import NewToken, Scope, Tokens, secret_of
from charging.web.api import api_app
from charging.web.settings import Api
from tests.fakes.clock import FakeClock
from tests.fakes.rig import make_tariff
from tests.fuzz.asgi import Answer, asked, parsed
from tests.unit.service.conftest import Shop

LOOP = asyncio.new_event_loop()
atexit.register(LOOP.close)
OPEN = "/openapi.json"
HOUR_S = 3_600


class _World:
    """The application, which is made once, over books that are new for each request."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        tokens = Tokens(MemoryStore(self.clock), self.clock)
        self.app = api_app(self._shop().service, tokens, Api(requests_per_minute=1_000_000))
        self.secrets = LOOP.run_until_complete(_secrets(tokens))

    def _shop(self) -> Shop:
        self.store = MemoryStore(self.clock)
        return Shop(self.clock, self.store, make_tariff())

    async def again(self) -> None:
        await self.clock.advance(HOUR_S)  # whoever has guessed may guess again
        shop = self._shop()
        self.app.state.service = shop.service
        await shop.anna()

    async def journal(self) -> list[JournalLine]:
        return [line async for line in self.store.journal("anna")]

    def with_tokens(self, data: bytes) -> bytes:
        for scope in Scope:
            data = data.replace(b"@" + scope.value.encode(), self.secrets[scope.value].encode())
        return data


async def _secrets(tokens: Tokens) -> dict[str, str]:
    """One token for each scope."""
    made = {scope.value: await tokens.add(scope.value, [scope]) for scope in Scope}
    return {name: one.secret for name, one in made.items() if isinstance(one, NewToken)}


WORLD = _World()


def read(data: bytes) -> None:
    """Asked once, with a token, as a path, as a header and as a body: what grows is anywhere."""
    head = f"POST /accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {WORLD.secrets['operate']}\r\n".encode()
    request = parsed(WORLD.with_tokens(data)) or parsed(head + b"Content-Length: %d\r\n\r\n" % len(data) + data)
    if request is not None:
        LOOP.run_until_complete(asked(WORLD.app, *request))


def check(data: bytes) -> None:
    request = parsed(WORLD.with_tokens(data))
    if request is not None:
        LOOP.run_until_complete(_check(*request))


async def _check(scope: dict[str, Any], body: bytes) -> None:
    await WORLD.again()
    before = await WORLD.journal()
    answer = await asked(WORLD.app, scope, body)
    after = await WORLD.journal()
    _check_answer(scope, answer)
    token = _scope_of(scope)
    added = after[len(before) :]
    if token is None:
        assert answer.status in (401, 429) or (scope["path"] == OPEN and scope["method"] == "GET"), answer.status
    if answer.status >= 300 or token in (None, "read", "fax"):
        assert not added, f"{token}: {answer.status}, and the books have changed"
    if token == "credit":
        assert {line.kind for line in added} <= {Kind.TOP_UP}, added
    balance = (await WORLD.store.balances("anna")).get(CREDIT)
    posted = sum(leg.posted for line in after for leg in line.legs if leg.balance == CREDIT)
    assert (balance.posted if balance else 0) == posted, "the balance is not the sum of the journal"
    if added and dict(scope["headers"]).get(b"idempotency-key"):
        again = await asked(WORLD.app, scope, body)
        assert again.status < 300 and await WORLD.journal() == after, "asked again with the same key: charged again"


def _check_answer(scope: dict[str, Any], answer: Answer) -> None:
    assert 200 <= answer.status < 500 or answer.status in (501, 503), f"{answer.status}: {answer.body[:500]!r}"
    if answer.status >= 400 and scope["method"] != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json", answer.headers
        problem = json.loads(answer.body)
        assert problem["status"] == answer.status and problem["detail"]
    told = answer.body + "".join(answer.headers.values()).encode()
    assert all(secret_of(text).encode() not in told for text in WORLD.secrets.values()), "a secret is answered"
    for name, value in answer.headers.items():
        assert not set(name + value) & set("\r\n\0"), (name, value)


def _scope_of(scope: dict[str, Any]) -> str | None:
    """What the request's token may do; ``None``: it has none that is known."""
    scheme, _, secret = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
    known = {secret: name for name, secret in WORLD.secrets.items()}
    return known.get(secret.strip()) if scheme.lower() == "bearer" else None
