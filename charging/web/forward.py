"""Forwards requests from the public interface's process to the daemon: changes, and what only the daemon knows.

Everything else is read in this process, so that no long read or count runs in the process that decides calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from charging.errors import LedgerUnavailable
from charging.service.actor import actor, customer
from charging.service.refusal import Code, Refused
from charging.web.actor import CUSTOMER, HEADER
from charging.web.problem import RETRY_AFTER_S, Refusal, ledger_response, problem_response

LIVE = tuple(
    compile_path(template)[0]
    for template in (
        *("/calls/{session}", "/quotes", "/limits"),
        *("/test/calls", "/test/calls/{id}"),
    )
)
"""What is read in the daemon: one running call, and prices with the free minutes that calls leave, by the tariff in
force. Not balances and lists of calls, which every page of a website asks and which are long: the records of running
calls say what they cost."""
ANSWER_S = 180
"""Longer than a fax's document takes to convert."""
PING_S = 5
CONNECT_S = 2
POOL_S = 20
"""For a connection to be free."""
IDLE_S = 1
"""The daemon closes idle connections after 5 s; one that it is just closing must not be used for a change."""
CONNECTIONS_MAX = 16
"""With those of documents fewer than the control socket has places: the command line needs some, and the mail server's
programs."""
DOCUMENTS_MAX = 32
"""More than the daemon lets wait (`charging.service.turns.QueueBounds`, 22). Whose document comes next, and who is
refused, is decided there, by accounts; if the connections ran out before that, who came first would keep all others
away."""
DOCUMENTS = re.compile(r"/accounts/[^/]+/(faxes|fax-checks)")
"""What is answered once a document has had its turn, minutes later perhaps. Were these on the connections of all other
requests, some customers with slow documents would keep the payments of all from being credited."""
PATH_MAX = 2_000
QUERY_MAX = 16_000
"""Characters: of a name of 500, each of which takes twelve."""
PARAMETERS_MAX = 50
VALUES_MAX = 200
"""Of a body in JSON, with those within others. What is wrong with each is said in the answer, and that takes time."""
_DAEMON, _OF_DOCUMENTS = "http://daemon", "http://documents"
_OURS = (b"connection", b"transfer-encoding", b"content-length", b"date", b"server")
"""Headers that belong to a connection, not to what is handed on."""

_PASSED = (b"content-type", b"idempotency-key", b"accept")
"""Headers that reach the daemon as they came: none that says who asks. That is said by the gate."""


_QUERY_SAFE = "!$%&'()*+,-./:;=?@_~"
"""What may stand in a query as it is (RFC 3986); a percent sign already begins an escape."""


def is_for_the_daemon(method: str, path: str) -> bool:
    """Whether the request is handed on."""
    return method != "GET" or any(one.fullmatch(path) for one in LIVE)


def daemon_at(socket: Path) -> httpx.AsyncClient:
    """Who asks the daemon over its control socket. To be closed."""
    transport, of_documents = (
        httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=most, keepalive_expiry=IDLE_S))
        for most in (CONNECTIONS_MAX, DOCUMENTS_MAX)
    )
    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=POOL_S)
    return httpx.AsyncClient(transport=transport, mounts={_OF_DOCUMENTS: of_documents}, timeout=timeout)


async def ping(daemon: httpx.AsyncClient) -> None:
    """Return if the next call could be forwarded, by the daemon's own word: this process only reads, so its look at the
    ledger proves nothing. Raises LedgerUnavailable, or Refusal with what else is in the way."""
    try:
        answer = await daemon.get("http://daemon/health", timeout=PING_S)
    except httpx.HTTPError as error:
        raise LedgerUnavailable(f"the daemon did not answer: {type(error).__name__}") from error
    if not answer.is_success:
        raise LedgerUnavailable("the daemon cannot write the ledger")
    if ailing := answer.json()["facts"]["ailing"]:
        advice = "look at the daemon's log, and run `charging check --live`"
        raise Refusal(Refused(Code.UNAVAILABLE, f"calls are not forwarded now: {ailing}", advice))


class Forward:
    """The middleware."""

    def __init__(self, app: ASGIApp, daemon: httpx.AsyncClient) -> None:
        self._app = app
        self._daemon = daemon

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_for_the_daemon(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        response = await self._ask(Request(scope, receive))
        await response(scope, receive, send)

    async def _ask(self, request: Request) -> Response:
        is_document = request.method == "POST" and DOCUMENTS.fullmatch(request.scope["path"]) is not None
        document = [one async for one in request.stream() if one] if is_document else []
        body = b"" if is_document else await request.body()
        query = quote(request.scope["query_string"], safe=_QUERY_SAFE)
        if (why := _too_much(request.scope["path"], query, body)) is not None:
            return why
        # Rewritten from the path that the gate let pass: nothing in it may be read otherwise by the daemon.
        path = request.scope["path"]
        url = (_OF_DOCUMENTS if is_document else _DAEMON) + quote(path, safe="/").replace(".", "%2E")
        if query:
            url += f"?{query}"
        headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED]
        headers.append((HEADER.encode(), actor().encode()))
        if customer():
            headers.append((CUSTOMER.encode(), customer().encode()))
        content: bytes | AsyncIterator[bytes] = body
        if is_document:
            headers.append((b"content-length", str(sum(map(len, document))).encode()))
            content = _let_go(document)
        try:
            answer = await self._daemon.request(request.method, url, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            response: Response = problem_response(
                503, "unavailable", "the daemon does not answer", "nothing was done; ask again later"
            )
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
            return response
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            return problem_response(400, "bad_request", f"the request cannot be handed on: {error}", "nothing was done")
        except httpx.HTTPError as error:
            return ledger_response(LedgerUnavailable(f"the daemon did not answer: {type(error).__name__}"))
        response = Response(answer.content, answer.status_code)
        response.raw_headers = [
            *((name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _OURS),
            (b"content-length", str(len(answer.content)).encode()),
        ]
        return response


async def _let_go(document: list[bytes]) -> AsyncIterator[bytes]:
    """A document as it is handed on, and not kept: what becomes of it is waited for, for minutes perhaps, and the
    daemon has it."""
    while document:
        yield document.pop(0)


def _too_much(path: str, query: str, body: bytes) -> Response | None:
    """Why the daemon is not asked; it decides calls, and would take its time to say what is wrong with all of it. The
    query is as it is handed on: a head may have so many bytes there, too."""
    for found, most, what in (
        (len(path), PATH_MAX, "characters in the path"),
        (len(query), QUERY_MAX, "characters in the query"),
        (query.count("&") + 1, PARAMETERS_MAX, "parameters"),
        (_values(body), VALUES_MAX, "values in the body"),
    ):
        if found > most:
            detail = f"found {found} {what}, expected at most {most}"
            return problem_response(400, "bad_request", detail, "nothing was done")
    return None


def _values(body: bytes) -> int:
    """How many members and items there are in a body in JSON, in all; 0: it is none, as the daemon will say."""
    try:
        waiting: list[Any] = [json.loads(body)] if body else []
    except (ValueError, RecursionError):
        return 0
    count = 0
    while waiting:
        one = waiting.pop()
        within = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(within)
        waiting += within
    return count
