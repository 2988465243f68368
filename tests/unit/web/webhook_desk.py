"""A daemon's webhook, a sender, and the program that it tells; for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from charging.service.webhooks import Endpoint, Letter, Report, Webhooks
from charging.web.control import control_app
from charging.web.settings import Webhook, signing_keys
from charging.web.signed_post import Hook, Receiver, signature
from charging.web.webhooks import (
    Book,
    DaemonsBook,
    Sender,
)
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the standard's published example (its spec, "Signature scheme", and every library's own tests)."""
KEYS = signing_keys(SECRET)
URL = "https://site.example/hooks"
TOP_UPS = "credit.topped_up"


def hook(*events: str, **settings: object) -> Hook:
    chosen = {"name": "site", "url": URL, "secret_env": "SECRET", "events": events, **settings}
    return Hook.of(Webhook.model_validate(chosen), SECRET)


class Program:
    """The operator's program, which answers what a test says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []
        """Id, account and type of each request."""
        self.answer: Callable[[str], int] = lambda _account: 200
        self.retry_after = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        told = json.loads(request.content)
        id, timestamp_s = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == signature(KEYS, id, timestamp_s, request.content)
        assert set(told) == {"type", "timestamp", "data"}
        assert message_id_of(told["data"]["event"]) == id
        assert "actor" not in told["data"], "as for a token without the scope audit"
        account = told["data"]["account"]
        self.got.append((id, account, told["type"]))
        headers = {"location": "http://elsewhere.example/", "retry-after": self.retry_after}
        return httpx.Response(self.answer(account), headers=headers)

    def of(self, account: str) -> list[str]:
        return [id for id, of, _ in self.got if of == account]


def message_id_of(event: str) -> str:
    return "evt_" + event.replace(".", "_")


@pytest.fixture
def program() -> Program:
    return Program()


@dataclass
class Desk:
    """What a daemon knows of its webhook."""

    shop: Shop
    holder: str
    seen: list[tuple[Endpoint | None, Report | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def observe(_name: str, endpoint: Endpoint | None, report: Report | None) -> None:
            self.seen.append((endpoint, report))

        self.book = Webhooks(self.shop.store, self.shop.clock, ["site"], self.holder, observe)

        self.writes: Book = self.book

    def by_the_daemon(self) -> None:
        """From now on the sender writes by the control interface, as in a process of its own."""
        app = control_app(self.shop.service, hooks=self.book, decides_calls=True)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://daemon")
        self.writes = DaemonsBook(Webhooks(self.shop.store, self.shop.clock), http)

    @property
    def report(self) -> Report:
        return [report for _, report in self.seen if report is not None][-1]

    @property
    def behind_s(self) -> float:
        return (self.shop.clock.now().wall_us - self.report.told_us) / 1e6

    def total(self, what: str) -> int:
        return sum(getattr(report, what) for _, report in self.seen if report is not None)

    async def letters(self) -> list[Letter]:
        return [one async for one in self.book.letters("site")]


@pytest.fixture(params=["here", "by the daemon"])
def desk(shop: Shop, request: pytest.FixtureRequest) -> Desk:
    made = Desk(shop, "one")
    if request.param == "by the daemon":
        made.by_the_daemon()
    return made


@asynccontextmanager
async def sending(desk: Desk, program: Program | Slow, *events: str) -> AsyncIterator[None]:
    """A sender runs within; it is cut off as by kill -9."""
    clock = desk.shop.clock
    receiver = Receiver(hook(*events), clock, httpx.MockTransport(program))
    sender = Sender(receiver, desk.shop.service.events, desk.writes, clock, jitter=lambda: 0.0)
    running = asyncio.create_task(sender.keep_sending())
    try:
        await clock.rest()
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await receiver.close()


async def pay(shop: Shop, account: str, key: str) -> None:
    await shop.service.money.top_up(account, 10 * EURO, key)


@pytest.fixture
async def two(shop: Shop, desk: Desk) -> None:
    """Anna and Bert, whose accounts were there before the endpoint."""
    anna = await shop.anna()
    await shop.service.accounts.add("bert", "light", anna.language)
    await desk.book.take("site")


class Slow:
    """A program that answers when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, str, asyncio.Future[int]]] = []
        """Account, id, and the answer to come."""
        self.got: list[str] = []
        self._ids: list[tuple[str, str]] = []

    def ids(self, account: str) -> list[str]:
        """Of the messages of an account, in the order in which they came."""
        return [id for of, id in self._ids if of == account]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        told, answer = json.loads(request.content), asyncio.get_running_loop().create_future()
        one = (told["data"]["account"], request.headers["webhook-id"], answer)
        self.waiting.append(one)
        self.got.append(one[0])
        self._ids.append(one[:2])
        try:
            return httpx.Response(await answer)
        finally:
            self.waiting.remove(one)

    def answer(self, account: str, status: int = 200) -> None:
        (answer,) = [answer for of, _, answer in self.waiting if of == account]
        answer.set_result(status)


async def several(shop: Shop, desk: Desk, accounts: int, each: int = 1) -> list[str]:
    """Accounts a00, a01, … with so many top-ups each, all after one another."""
    names = [f"a{number:02}" for number in range(accounts)]
    for name in names:
        await shop.service.accounts.add(name, "light")
    await desk.book.take("site")
    for number in range(each):
        for name in names:
            await pay(shop, name, f"{name}-{number}")
    return names
