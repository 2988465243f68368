"""The customers' page: a request as bytes, through HTTP's parser, of a stranger or of Anna.

``@session`` in the bytes becomes the cookie of her session, ``@csrf`` what her forms have, ``@link`` a link that would
sign her in.
"""

from __future__ import annotations

import asyncio
import atexit
import re
from collections.abc import Iterator
from typing import Any

from charging.ledger.accounts import Language
from charging.ledger.memory import MemoryStore
from charging.service.page_tokens import NewPageToken, PagePlace, PageTokens, Use
from charging.web.asks import Asks
from charging.web.browser import BODY_BYTES_MAX
from charging.web.customers.app import PRIVATE, customers_app
from charging.web.customers.gate import COOKIE
from charging.web.settings import CustomerPage
from tests.fakes.clock import FakeClock
from tests.fakes.rig import make_tariff
from tests.fuzz.asgi import Answer, asked, parsed
from tests.unit.service.conftest import NUMBER, Shop

LOOP = asyncio.new_event_loop()
atexit.register(LOOP.close)
SITE = "https://www.voice.example"
PLACE = PagePlace("https://my.voice.example", link_s=120, widget_s=3600)
BENS = "+31201234568"
_HIDDEN = re.compile(r'name="(\w+)" value="([^"]*)"')
_SET = re.compile(rf"{COOKIE}=([A-Za-z0-9_-]+)")


class _World:
    """Two customers and the page, new for each request."""

    def __init__(self) -> None:
        self.shop = Shop(FakeClock(), MemoryStore(FakeClock()), make_tariff())
        service = self.shop.service
        self.tokens = service.page_tokens = PageTokens(self.shop.store, self.shop.clock, PLACE)
        settings = CustomerPage(widget_origins=(SITE,), sign_in_url=f"{SITE}/login")
        self.app = customers_app(Asks(service, private=PRIVATE), settings, fax_bytes_max=100_000)

    async def furnish(self) -> None:
        await self.shop.anna()
        await self.shop.service.accounts.add("ben", "light", Language.EN)
        await self.shop.service.numbers.add("anna", NUMBER, {"forward_to": "+31612345678"})
        await self.shop.service.numbers.add("ben", BENS, {"forward_to": "+31612345679"})

    async def link(self) -> str:
        made = await self.tokens.make("anna", Use.PAGE)
        assert isinstance(made, NewPageToken)
        return made.url.partition("token=")[2]

    async def words(self) -> dict[bytes, bytes]:
        """What stands for Anna in an input."""
        fields = dict(_HIDDEN.findall((await self.get(f"/enter?token={await self.link()}")).body.decode()))
        cookie = self.answer.cookies[0].partition(";")[0]
        form = f"token={fields['token']}&link={fields['link']}".encode()
        head = f"POST /enter HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: {len(form)}\r\n\r\n"
        await self.ask(head.encode() + form)
        found = _SET.search(" ".join(self.answer.cookies))
        assert self.answer.status == 303 and found is not None, self.answer.body
        page = await self.get("/settings", f"Cookie: {COOKIE}={found[1]}\r\n")
        session = _SET.search(" ".join(page.cookies)) or found
        csrf = dict(_HIDDEN.findall(page.body.decode()))["csrf"]
        link = await self.link()
        return {b"@session": f"{COOKIE}={session[1]}".encode(), b"@csrf": csrf.encode(), b"@link": link.encode()}

    async def get(self, target: str, headers: str = "") -> Answer:
        return await self.ask(f"GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())

    async def ask(self, data: bytes) -> Answer:
        request = parsed(data)
        assert request is not None, data
        self.answer = await asked(self.app, *request)
        return self.answer

    async def kept(self) -> tuple[object, ...]:
        """What is kept of Anna, and of Ben."""
        service, store = self.shop.service, self.shop.store
        accounts = [await service.accounts.get(one) for one in ("anna", "ben")]
        lines = [[line async for line in store.journal(one)] for one in ("anna", "ben")]
        numbers = [await service.numbers.get(one) for one in (NUMBER, BENS)]
        return tuple(zip(accounts, numbers, lines, strict=True))


def read(data: bytes) -> None:
    """Asked as each header that the page or its libraries read, as a query, as a path and as a form."""
    LOOP.run_until_complete(_read(data))


WORLD = _World()


async def _read(data: bytes) -> None:
    for scope, body in _places(data):
        await asked(WORLD.app, scope, body)


def _places(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    line = data.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
    plain = parsed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    form = parsed(b"POST /enter HTTP/1.1\r\nHost: a\r\n\r\n")
    assert plain is not None and form is not None
    scope = plain[0]
    for name in (b"cookie", b"accept-language", b"if-none-match", b"content-type", b"host"):
        yield scope | {"headers": [(name, line)]}, b""
    yield scope | {"path": "/static/page.css", "headers": [(b"range", b"bytes=" + line)]}, b""
    yield scope | {"query_string": line}, b""
    yield scope | {"path": "/statements/" + line.decode("latin-1")}, b""
    yield form[0], data[:BODY_BYTES_MAX]


def check(data: bytes) -> None:
    LOOP.run_until_complete(_check(data))


async def _check(data: bytes) -> None:
    world = _World()
    await world.furnish()
    words = await world.words()
    for word, value in words.items():
        data = data.replace(word, value)
    request = parsed(data)
    if request is None:
        return
    before = await world.kept()
    answer = await asked(world.app, *request)
    scope, _ = request
    _check_answer(answer)
    of_anna = words[b"@session"] in b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    body = b"" if scope["path"].startswith(("/static/", "/look/")) else answer.body
    assert BENS.encode() not in body and BENS[1:].encode() not in body, "another's number is shown"
    if not of_anna:
        assert NUMBER.encode() not in body, "a stranger sees a customer's number"
    after = await world.kept()
    if not of_anna or scope["method"] != "POST":
        assert after == before, "what is kept has changed"
    assert after[1] == before[1], "another's has changed"


def _check_answer(answer: Answer) -> None:
    assert 200 <= answer.status < 500 or answer.status in (501, 503), f"{answer.status}: {answer.body[:500]!r}"
    for name, value in answer.headers.items():
        assert not set(name + value) & set("\r\n\0"), (name, value)
    assert "content-security-policy" in answer.headers
