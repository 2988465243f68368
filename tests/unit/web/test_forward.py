"""The process of the public interface hands on what only the daemon can do or knows, and reads all else itself."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Message

from charging.service.actor import acting, actor, customer
from charging.service.turns import QueueBounds
from charging.web.actor import CUSTOMER, Acting
from charging.web.forward import (
    DOCUMENTS_MAX,
    PARAMETERS_MAX,
    PATH_MAX,
    POOL_S,
    QUERY_MAX,
    VALUES_MAX,
    Forward,
    daemon_at,
    is_for_the_daemon,
)
from charging.web.listen import serve_unix


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /accounts",
        "PATCH /accounts/anna",
        "DELETE /calls/s-1",
        "POST /accounts/anna/faxes",
        "GET /calls/s-1",
        "GET /quotes",
        "GET /limits",
    ],
)
def test_changes_and_a_running_call_are_the_daemons(request_line: str) -> None:
    assert is_for_the_daemon(*request_line.split())


@pytest.mark.parametrize(
    "path",
    [
        "/calls",
        "/quotes\n",
        "/accounts",
        "/accounts/anna",
        "/accounts/anna/journal",
        "/accounts/anna/statements/2026-11",
        "/accounts/anna/faxes",
        "/accounts/anna/balance",
        "/numbers",
        "/cdrs",
        "/tariff",
        "/health",
        "/openapi.json",
    ],
)
def test_what_the_ledger_tells_is_read_here(path: str) -> None:
    assert not is_for_the_daemon("GET", path)


Get = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def get() -> AsyncIterator[Get]:
    """What a client gets of a GET when this is what asking the daemon ends with."""
    fate: list[Exception | httpx.Response] = []

    def daemon(_request: httpx.Request) -> httpx.Response:
        answer = fate.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = httpx.AsyncClient(transport=httpx.MockTransport(daemon))
    app = Forward(FastAPI(), client)

    async def got(
        ends: Exception | None = None,
        path: str = "/limits",
        query: bytes = b"",
        headers: Sequence[Any] = (),
        method: str = "GET",
        body: bytes = b"",
    ) -> tuple[int, dict[str, Any]]:
        fate[:] = [ends or httpx.Response(200, json={})]
        scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers)}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    yield got
    await client.aclose()


@pytest.mark.parametrize("account", ["anna", ""])
async def test_the_daemon_learns_which_customer_asks_and_believes_no_client_of_it(account: str) -> None:
    daemon = FastAPI()
    daemon.add_middleware(Acting)

    @daemon.get("/limits")
    def limits() -> str:
        return f"{actor()} {customer()}"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(daemon)) as client:
        public = httpx.ASGITransport(Forward(FastAPI(), client))
        async with httpx.AsyncClient(transport=public, base_url="http://public") as outside:
            with acting("token:4f2a", customer=account):
                answer = await outside.get("/limits", headers={CUSTOMER: "ben"})
    assert answer.json() == f"token:4f2a {account}"


ERRORS = [one for one in vars(httpx).values() if isinstance(one, type) and issubclass(one, httpx.HTTPError)]


@pytest.mark.parametrize("error", [*ERRORS, httpx.InvalidURL], ids=lambda error: error.__name__)
async def test_every_error_of_the_client_library_is_a_problem_document(get: Get, error: type[Exception]) -> None:
    request = httpx.Request("GET", "http://test")
    answered = httpx.HTTPStatusError("no", request=request, response=httpx.Response(500))
    made = answered if error is httpx.HTTPStatusError else error("no")
    status, document = await get(made)
    assert (status, document["status"]) in {(400, 400), (503, 503)}
    assert document["advice"]


@pytest.mark.parametrize(("path", "query"), [("/calls/" + "%" * 30_000, b""), ("/limits", b"a=" + b"x" * 70_000)])
async def test_address_that_is_too_long_to_be_handed_on_is_a_bad_request(get: Get, path: str, query: bytes) -> None:
    status, document = await get(path=path, query=query)
    assert (status, document["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/calls/" + "x" * (PATH_MAX - 7), b"", b""),
        ("/quotes", b"a=" + b"x" * (QUERY_MAX - 2), b""),
        ("/quotes", b"a=" + b"|" * (QUERY_MAX // 3 - 1) + b"xx", b""),
        ("/quotes", b"&".join([b"a"] * PARAMETERS_MAX), b""),
        ("/numbers/+3120", b"", json.dumps(dict.fromkeys(map(str, range(VALUES_MAX)))).encode()),
        ("/numbers/+3120", b"", json.dumps([[0]] * (VALUES_MAX // 2)).encode()),
    ],
    ids=["path", "query", "query that grows as it is escaped", "parameters", "members", "items"],
)
async def test_the_daemon_is_asked_nothing_that_has_more_parts_than_anyone_sends(
    get: Get, path: str, query: bytes, body: bytes
) -> None:
    """It decides calls, and says what is wrong with each part: a body of 9,000 unknown members took 60 ms of it."""
    method = "PATCH" if body else "GET"
    assert (await get(path=path, query=query, body=body, method=method))[0] == 200
    more = {"path": path, "query": query, "body": body, "method": method}
    if body:
        more["body"] = body.replace(b"}", b', "one": 1}') if body[:1] == b"{" else body[:-1] + b",1]"
    elif query:
        more["query"] = query + (b"&a" if b"&" in query else b"x")
    else:
        more["path"] = path + "x"
    status, document = await get(**more)
    assert (status, document["code"]) == (400, "bad_request")
    assert "expected at most" in document["detail"]


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[" * 60_000, b"\xff", b'{"a": 1}'])
async def test_what_is_no_json_is_the_daemons_to_say(get: Get, body: bytes) -> None:
    assert (await get(method="PATCH", path="/numbers/+3120", body=body))[0] == 200


async def test_no_byte_in_a_query_is_an_error(get: Get) -> None:
    for each in range(256):
        assert (await get(query=b"a=" + bytes([each])))[0] == 200


Ask = Callable[[str], Awaitable[dict[str, Any]]]


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    """What a daemon gets of a POST to a path."""
    daemon = FastAPI()

    @daemon.api_route("/{path:path}", methods=["POST"])
    async def everything(request: Request) -> Response:
        got = {
            "raw": request.scope["raw_path"].decode(),
            "path": request.scope["path"],
            "query": request.scope["query_string"].decode(),
            "headers": sorted(request.headers),
            "body": (await request.body()).decode(),
        }
        return Response(str(got), 418, {"Retry-After": "7", "X-Many": "1"}, "text/x-got")

    ready, socket = asyncio.Event(), tmp_path / "s"
    serving = asyncio.create_task(serve_unix(daemon, socket, ready))
    await ready.wait()
    client = daemon_at(socket)
    app = Forward(FastAPI(), client)

    async def asked(path: str) -> dict[str, Any]:
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": b"/not/believed",
            "query_string": b"a=%2B1&b=%26&c=\xe9+\x7f&d='[",
            "headers": [(b"idempotency-key", b"k"), (b"authorization", b"Bearer x"), (b"x-forwarded-for", b"1.2.3.4")],
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"the body", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        told = (sent[0]["status"], headers["retry-after"], headers["content-type"])
        assert told == (418, "7", "text/x-got; charset=utf-8")
        assert int(headers["content-length"]) == len(sent[1]["body"])
        found: dict[str, Any] = eval(sent[1]["body"])
        return found

    yield asked
    await client.aclose()
    serving.cancel()
    await asyncio.wait([serving])


async def test_request_reaches_the_daemon_whole_and_without_who_asks(ask: Ask) -> None:
    got = await ask("/accounts/anna/top-ups")
    assert (got["path"], got["query"], got["body"]) == (
        "/accounts/anna/top-ups",
        "a=%2B1&b=%26&c=%E9+%7F&d='%5B",
        "the body",
    )
    assert "idempotency-key" in got["headers"]
    assert not {"authorization", "x-forwarded-for"} & set(got["headers"])


@pytest.mark.parametrize(
    "path", ["/accounts/../status", "/accounts/./x", "/accounts/a b%/x", "/accounts/\u00e9?x#y/top-ups", "//accounts"]
)
async def test_daemon_reads_the_very_path_that_the_gate_let_pass(ask: Ask, path: str) -> None:
    """A dot segment that is taken out on the way would ask for another resource, which nobody has allowed."""
    assert (await ask(path))["path"] == path


@asynccontextmanager
async def held(folder: Path, documents: int) -> AsyncIterator[httpx.AsyncClient]:
    """The interface while so many documents wait in the daemon; those of ``anna`` have their turn at once."""
    daemon, come, end = FastAPI(), asyncio.Semaphore(0), asyncio.Event()

    @daemon.post("/accounts/{account}/{what}")
    async def asked(account: str, what: str) -> str:
        if what in ("faxes", "fax-checks") and account != "anna":
            come.release()
            await end.wait()
        return what

    ready, socket = asyncio.Event(), folder / "s"
    serving = asyncio.create_task(serve_unix(daemon, socket, ready))
    await ready.wait()
    async with (
        daemon_at(socket) as client,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(Forward(FastAPI(), client)), base_url="http://public"
        ) as outside,
    ):
        waiting = [
            asyncio.create_task(outside.post(f"/accounts/{one}/{('faxes', 'fax-checks')[one % 2]}", timeout=60))
            for one in range(documents)
        ]
        for _ in range(min(documents, DOCUMENTS_MAX)):
            await come.acquire()
        yield outside
        end.set()
        assert {one.status_code for one in await asyncio.gather(*waiting)} == {200}
    serving.cancel()
    await asyncio.wait([serving])


async def test_documents_that_wait_for_their_turn_keep_no_payment_from_being_booked(tmp_path: Path) -> None:
    """However many customers bring slow ones: they have connections of their own."""
    async with held(tmp_path, 2 * DOCUMENTS_MAX) as outside, asyncio.timeout(POOL_S / 2):
        assert (await outside.post("/accounts/anna/top-ups")).json() == "top-ups"


async def test_as_many_documents_as_may_wait_keep_no_other_from_the_daemon_which_decides_whose_turn_it_is(
    tmp_path: Path,
) -> None:
    bounds = QueueBounds()
    async with held(tmp_path, bounds.at_once + bounds.waiting) as outside, asyncio.timeout(POOL_S / 2):
        assert (await outside.post("/accounts/anna/fax-checks")).json() == "fax-checks"


async def test_a_document_is_not_kept_while_it_is_waited_for_what_becomes_of_it() -> None:
    """Twenty-two of ten megabytes, which wait for minutes, were three times in the process of all who log in."""
    size, kept = 8_000_000, list[int]()

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(size), "more_body": False}

    class MakesReady(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert request.headers["content-length"] == str(size)
            assert isinstance(request.stream, httpx.AsyncByteStream)
            assert sum([len(one) async for one in request.stream]) == size
            kept.append(tracemalloc.get_traced_memory()[0])
            return httpx.Response(201, json={})

    async def send(_message: Message) -> None:
        pass

    async def nothing(*_asked: Any) -> None:
        raise AssertionError("it is for the daemon")

    path = "/accounts/anna/fax-checks"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    tracemalloc.start()
    try:
        async with httpx.AsyncClient(transport=MakesReady()) as client:
            with acting("token:1"):
                await Forward(nothing, client)(scope, receive, send)
    finally:
        tracemalloc.stop()
    assert 0 < kept[0] < size / 2
