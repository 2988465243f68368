"""Who does not take his statements gets no further ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from charging.service.tokens import Bounds, NewToken, Scope
from charging.web import untaken
from charging.web.listen import PIECE_BYTES, _InPieces
from charging.web.untaken import UNTAKEN_MAX_EACH
from tests.fakes.ami import eventually
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door
from tests.unit.web.test_customers import Place

MONTH = "2026-11"


class Slow:
    """A client that does not take its answer before it is told to go on."""

    def __init__(self, app: ASGIApp, path: str, headers: dict[str, str]) -> None:
        self.status = 0
        self.go = asyncio.Event()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            **{"type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode()},
            **{"query_string": b"", "headers": raw, "client": ("192.0.2.1", 1), "scheme": "http"},
        }
        self.task = asyncio.create_task(self._ask(app, scope))

    async def _ask(self, app: ASGIApp, scope: Any) -> None:
        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("it stays")

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                await self.go.wait()

        await app(scope, receive, send)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untaken, "SMALL_BYTES", 0)


@asynccontextmanager
async def untaken_by(ask: Callable[[], Slow]) -> AsyncIterator[None]:
    """As many as there may be; they are taken at the end."""
    slow = [ask() for _ in range(UNTAKEN_MAX_EACH)]
    for one in slow:
        await eventually(lambda: one.status == 200, "it is on its way")  # noqa: B023  at once
    yield
    for one in slow:
        one.go.set()
        await one.task
    slow.clear()


async def test_customer_who_takes_none_of_his_statements_is_given_no_more(shop: Shop) -> None:
    door = Door(shop.service)
    await door.open()
    tokens = {}
    for account in ("anna", "ben"):
        await shop.service.accounts.add(account, "light")
        bound = await door.tokens.add(account, [Scope.READ], Bounds(account=account))
        assert isinstance(bound, NewToken)
        tokens[account] = bound.secret
    annas, bens = (f"/accounts/{one}/statements/{MONTH}" for one in tokens)
    async with untaken_by(lambda: Slow(door.app, annas, {"authorization": f"Bearer {tokens['anna']}"})):
        refused = await door(tokens["anna"], "GET", annas, 503)
        assert "not taken yet" in refused.json()["detail"]
        await door(tokens["anna"], "GET", "/accounts/anna/balance")
        await door(tokens["ben"], "GET", bens)
        for _ in range(UNTAKEN_MAX_EACH + 1):
            await door("read", "GET", annas)
    await door(tokens["anna"], "GET", annas)


async def test_customer_who_takes_none_of_his_statements_is_shown_no_more(shop: Shop) -> None:
    await shop.anna()
    place = Place(shop)
    visitor = await place.visitor()
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.http.cookies.items())
    async with untaken_by(lambda: Slow(place.app, f"/statements/{MONTH}", {"cookie": cookies})):
        await visitor.get(f"/statements/{MONTH}", 503)
        await visitor.get("/")
    await visitor.get(f"/statements/{MONTH}")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1])
async def test_large_answer_goes_out_by_the_piece(size: int) -> None:
    """The next only when the one before was taken: so an answer that is over was taken."""
    body, sent = bytes(size), list[Message]()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def send(message: Message) -> None:
        sent.append(message)

    await _InPieces(app)({"type": "http"}, None, send)  # type: ignore[arg-type]
    pieces = [one["body"] for one in sent[1:]]
    assert b"".join(pieces) == body
    assert [len(one) <= PIECE_BYTES for one in pieces] == [True] * max(1, -(-size // PIECE_BYTES))
    assert [one.get("more_body", False) for one in sent[1:]] == [True] * (len(pieces) - 1) + [False]
