"""How the public interface speaks HTTP, around everything else: versions in paths, HEAD, request ids, ETags, and
problems without advice that only the operator can follow.

What is below (the gate, the routes, the daemon) need not know of it. Answers here are bounded, so each is held whole;
only events are streamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charging.service.tokens import secret_of
from charging.web.problem import MEDIA_TYPE, bug_response

VERSION = "/v1"
"""Before every path; a path without it means the same, as before there were versions."""
REQUEST_ID = "x-request-id"
SANDBOX = "x-charging-sandbox"
"""On each answer of a test mode."""
STREAM = "text/event-stream"
RATE = "charging.rate"
"""Where the gate leaves the token's pace in a request's scope; see :class:`Pace`."""
STANDS = "charging.stands"
"""Where the gate leaves a question for long answers: whether the token is (still) good."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COMMAND = "`charging"
_WITHOUT_BODY = (b"content-length", b"content-type")


@dataclass(frozen=True, slots=True)
class Pace:
    """What a token may still ask."""

    limit: int
    """Requests a minute."""
    remaining: int
    """Requests that may come at once."""
    reset_s: int
    """Until all of them may come again."""


class Public:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, sandbox: bool = False) -> None:
        self._app = app
        self._marks = [(SANDBOX.encode(), b"yes")] if sandbox else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, asked = scope["path"], scope["method"]
        inner = {
            **scope,
            "path": path.removeprefix(VERSION) if path.startswith(VERSION + "/") else path,
            "method": "GET" if asked == "HEAD" else asked,
            "headers": [one for one in scope["headers"] if asked != "HEAD" or one[0] != b"accept"],  # of no stream
            REQUEST_ID: _request_id(scope),
        }
        answer = _Answer(inner, asked, send, [(b"x-request-id", inner[REQUEST_ID].encode()), *self._marks])
        try:
            await self._app(inner, receive, answer.take)
        except Exception as error:
            if answer.is_sent:
                raise
            # Here, for the framework's own last handler is outside of this, and its answer would have no request's id.
            await answer.instead(bug_response(error))


def _request_id(scope: Scope) -> str:
    """The client's own name for its request, if it can stand in a log; else one of ours."""
    given = _header(scope, b"x-request-id")
    secret = secret_of(_header(scope, b"authorization").rpartition(" ")[2])
    is_good = _REQUEST_ID.fullmatch(given) is not None and not (secret and secret in given)
    return given if is_good else secrets.token_hex(16)


def _header(message: Mapping[str, Any], name: bytes) -> str:
    """A header of a request or an answer; empty: it has none."""
    return next((value.decode("latin-1") for key, value in message["headers"] if key == name), "")


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, asked: str, send: Send, marks: Sequence[tuple[bytes, bytes]]) -> None:
        """``marks`` are headers that every answer has."""
        self._marks = marks
        self._scope = scope
        self._asked = asked
        self._send = send
        self._start: Message = {}
        self._parts: list[bytes] = []
        self._streams = False
        self.is_sent = False

    async def _send_start(self) -> None:
        """Of a stream, whose parts are sent on as they come."""
        self.is_sent = True
        await self._send({**self._start, "headers": [*self._start["headers"], *self._marks]})

    async def instead(self, response: Response) -> None:
        """Forget what was held, and answer this."""
        self._parts = []
        await response(self._scope, _nothing, self.take)

    async def take(self, message: Message) -> None:
        """Hold what the application sends, and send it on when it is whole."""
        if message["type"] == "http.response.start":
            self._start = message
            self._streams = _header(message, b"content-type").startswith(STREAM)
            if self._streams:
                await self._send_start()
            return
        if self._streams:
            await self._send(message)
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            body, self._parts = b"".join(self._parts), []  # of one part this is no copy
            await self._send_whole(body)

    async def _send_whole(self, body: bytes) -> None:
        self.is_sent = True
        start = self._start
        status, headers = start["status"], [*start["headers"], *self._marks]
        pace = self._scope.get(RATE)
        if isinstance(pace, Pace):
            headers += [
                (b"ratelimit-limit", b"%d" % pace.limit),
                (b"ratelimit-remaining", b"%d" % pace.remaining),
                (b"ratelimit-reset", b"%d" % pace.reset_s),
            ]
        if status >= 400 and _header(start, b"content-type") == MEDIA_TYPE:
            body = _for_programs(body, self._scope[REQUEST_ID])
            headers = [one for one in headers if one[0] != b"content-length"]
            headers.append((b"content-length", b"%d" % len(body)))
        elif status == 200 and self._scope["method"] == "GET":
            tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
            headers += [(b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
            if _is_known(_header(self._scope, b"if-none-match"), tag):
                status, body = 304, b""
                headers = [one for one in headers if one[0] not in _WITHOUT_BODY]
        await self._send({**start, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._asked == "HEAD" else body})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _is_known(tags: str, tag: str) -> bool:
    """Whether a client that sent these as ``If-None-Match`` has the answer (RFC 9110, 13.1.2: compared weakly)."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in tags.split(","))


def _for_programs(body: bytes, request_id: str) -> bytes:
    """A problem document with its request's id, and without the operator's commands, which no client can run."""
    document = json.loads(body)
    if _COMMAND in document.get("advice", ""):
        document["advice"] = ""
    return json.dumps({**document, "instance": f"urn:charging:request:{request_id}"}).encode()
