"""Who passes to the public interface: before the application sees a request, its token, its path, its scope, its pace
and its size are checked, in this order. What the table of operations does not name does not pass.

Failed logins are limited, so that nobody keeps the store busy with guesses: by address if they name a token that does
not exist, else by address and token. Over the limit a text is still compared with the token that it names, in memory: a
good token is never locked out by the failures of others, whoever shares its address, also after a restart. (A secret
has 256 random bits: comparing is no help in guessing it.)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import structlog
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charging.errors import ConfigError, LedgerError
from charging.limits import Limits
from charging.log_limit import LogLimit
from charging.service.actor import acting
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.service.tokens import Scope as Permission
from charging.service.tokens import Token, Tokens, Unfit, secret_of, token_id
from charging.service.turns import QueueBounds, Turns
from charging.sources import neighbourhood
from charging.web.limits import Places, edits
from charging.web.multipart import ENVELOPE_BYTES, is_multipart
from charging.web.problem import bad_file_response, ledger_response, problem_response, refusal_response
from charging.web.public import RATE, REQUEST_ID, STANDS, Pace
from charging.web.settings import Api
from charging.web.token_bounds import NUMBER, beyond, is_its_own

REALM = 'Bearer realm="charging"'
UPLOADS_MAX = 8
"""Bodies on their way at a time, of operations that have a limit of their own: large ones."""
UPLOADS_MAX_EACH = 2
"""Of the tokens that are bound to one account, until they are answered."""
UPLOADS_RESERVED = 2
"""Of them, for the tokens that are not: the operator's website sends for everyone."""

STATEMENT = "/accounts/{account}/statements/{month}"
"""It has turns of its own, two of all accounts (`charging.service.statements.BOUNDS`). Waiting for these in a turn of
ANSWERS, sixteen accounts would keep all others from an answer."""
ANSWERS = QueueBounds(at_once=16, waiting=1_000, of_account=16, what="answers", advice="ask one after the other")
"""Of tokens that are bound to an account: one at a time for each, in turn. A page of a thousand rows takes a tenth of a
second of the process that serves all; who asks for two hundred at once waits for himself."""

log = structlog.get_logger(__name__)


Names = Mapping[str, str]
"""What a path names: the parts of its template in braces."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be asked."""

    template: str
    scope: Permission
    body_bytes: int | None
    """The largest body, where it is not that of all others."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Every path and method there is."""

    table: tuple[tuple[re.Pattern[str], Mapping[str, Operation]], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any], body_bytes: Mapping[str, int]) -> Operations:
        """Those of a completed OpenAPI document; ``body_bytes`` are limits by path."""
        return cls(
            tuple(
                (
                    compile_path(template)[0],
                    {
                        method.upper(): Operation(
                            template,
                            Permission(one["x-scope"]),
                            body_bytes.get(template) if "requestBody" in one else None,
                        )
                        for method, one in methods.items()
                    },
                )
                for template, methods in document["paths"].items()
            )
        )

    def at(self, path: str) -> tuple[Mapping[str, Operation], Names] | None:
        """The methods of a path, and what it names; ``None``: there is no such path."""
        found = ((methods, pattern.fullmatch(path)) for pattern, methods in self.table)
        return next(((methods, match.groupdict()) for methods, match in found if match is not None), None)


class Denied(Exception):
    """The request does not pass."""

    def __init__(self, response: JSONResponse, **headers: str) -> None:
        super().__init__(response.status_code)
        self.response = response
        self.response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})


class Gate:
    """The middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        operations: Operations,
        open_paths: Iterable[str],
        tokens: Tokens,
        service: Service,
        limits: Api,
    ) -> None:
        self._app = app
        self._service = service
        self._operations = operations
        self._open_paths = frozenset(open_paths)
        self._tokens = tokens
        self._clock = service.clock
        self._settings = limits
        self._requests = Limits(limits.requests_per_minute)
        self._failures = Limits(limits.failed_logins_per_minute)
        self._edits = edits()
        self._log_limit = LogLimit(service.clock)
        self._uploads = Places(service.clock, UPLOADS_MAX, UPLOADS_MAX_EACH, UPLOADS_RESERVED)
        self._answers = Turns(service.clock, ANSWERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"] in self._open_paths and scope["method"] == "GET":
                await self._app(scope, receive, send)
                return
            token = await self._login(scope)
            _check_kept_secret(scope)
            operation, names = await self._check(token, scope)
            await self._pass(operation, token, names, scope, receive, send)
        except Denied as denied:
            await denied.response(scope, receive, send)
        except LedgerError as error:
            await ledger_response(error)(scope, receive, send)
        except ConfigError as error:
            await bad_file_response(error)(scope, receive, send)

    async def _pass(
        self, operation: Operation, token: Token, names: Names, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Read the body and hand it on. Only so many large ones are on their way at a time. How many wait to be made
        ready, and whose are refused, the daemon decides by accounts: none keeps a place here meanwhile."""
        limit = self._limit(operation, scope)
        if operation.body_bytes is None:
            body = _Replay(await self._body(scope, receive, limit), receive)
            await self._hand_on(operation, token, names, body, scope, send)
            return
        if not self._uploads.has_room(token.account):
            raise _crowded()
        with self._uploads.taken(token.account, receive) as place:
            body = _Replay(await self._body(scope, place.receive, limit), receive)
            place.came()  # also where there is none
            await self._hand_on(operation, token, names, body, scope, send)

    async def _wait(self, account: str, turn: AsyncExitStack) -> None:
        """For the account's turn to be answered."""
        hindrance = self._answers.hindrance(account)
        if hindrance is None and not await turn.enter_async_context(self._answers.turn(account)):
            hindrance = self._answers.crowded()
        if hindrance is not None:
            raise Denied(problem_response(503, "unavailable", hindrance.message, hindrance.advice), Retry_After="1")

    async def _hand_on(
        self, operation: Operation, token: Token, names: Names, body: _Replay, scope: Scope, send: Send
    ) -> None:
        if _secret_of(scope).encode() in body.waiting:
            raise _told_secret("in the body", "#")
        if why := beyond(token, operation.template, body.waiting):
            raise _forbidden(why, "ask the operator")
        async with AsyncExitStack() as turn:
            if token.account and operation.body_bytes is None and operation.template != STATEMENT:
                await self._wait(token.account, turn)
            if operation.template == NUMBER:  # it may have become another customer's meanwhile
                await self._check_account(operation, token, names, scope)
            audits = Permission.AUDIT.allowed_by(token.scopes)
            scope[STANDS] = partial(self._tokens.stands, token)
            with acting(f"token:{token.id}", customer=token.account, audits=audits):
                await self._app(scope, body, _Until(turn, send))

    def _limit(self, operation: Operation, scope: Scope) -> int:
        """Bytes of the body: of a document, without the form that it may be in."""
        if operation.body_bytes is None:
            return self._settings.max_body_bytes
        return operation.body_bytes + (ENVELOPE_BYTES if is_multipart(Headers(scope=scope)) else 0)

    async def _check(self, token: Token, scope: Scope) -> tuple[Operation, Names]:
        now_us = self._clock.now().mono_us
        wait_s = self._requests.take(token.id, now_us)
        scope[RATE] = Pace(self._settings.requests_per_minute, *self._requests.left(token.id, now_us))
        if wait_s > 0:
            raise _too_many(wait_s, "this token has asked too often")
        operation, names = self._operation(scope)
        needed = operation.scope
        if not needed.allowed_by(token.scopes):
            detail = f"the token {token.id} has not the scope {needed}"
            advice = f"make one that has: `charging token add NAME --scope {needed}`"
            challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
            raise Denied(problem_response(403, "forbidden", detail, advice), WWW_Authenticate=challenge)
        await self._check_account(operation, token, names, scope)
        if scope["method"] != "GET":
            self._check_change(operation, token, now_us)
            self._log_change(token, scope)
        return operation, names

    def _check_change(self, operation: Operation, token: Token, now_us: int) -> None:
        """A change leaves something for good: a note, a place in the feed, an event for each webhook; a fax that nobody
        takes leaves lines in the books, too, and costs nothing."""
        if not token.account:
            return
        wait_s = self._edits.take(f"{token.account} {operation.template}", now_us)
        if wait_s > 0:
            raise _too_many(wait_s, f"{operation.template} was asked too often for this account")

    def _log_change(self, token: Token, scope: Scope) -> None:
        more = self._log_limit.more(f"api_change_asked {token.account}") if token.account else 0
        if more is None:  # a customer, or whoever has his token, must not fill a disk by asking
            return
        asked = {"method": scope["method"], "request": scope.get(REQUEST_ID), "more": more}
        log.info("api_change_asked", token=token.id, holder=token.name, **asked)

    async def _check_account(self, operation: Operation, token: Token, names: Names, scope: Scope) -> None:
        query, method = scope["query_string"], scope["method"]
        if token.account and not await is_its_own(token, method, operation.template, names, query, self._service):
            detail = f"the token {token.id} is bound to account {token.account}"
            raise _forbidden(detail, "name that account: in the path, or as the parameter `account` of a list")

    def _operation(self, scope: Scope) -> tuple[Operation, Names]:
        found = self._operations.at(scope["path"])
        if found is None:
            raise Denied(problem_response(404, "not_found", "there is no such path", "/openapi.json lists them"))
        methods, names = found
        if scope["method"] not in methods:
            allowed = ", ".join(sorted(methods))
            detail = f"found the method {scope['method'][:20]!r}, expected one of {allowed}"
            raise Denied(problem_response(405, "method_not_allowed", detail), Allow=allowed)
        return methods[scope["method"]], names

    async def _login(self, scope: Scope) -> Token:
        scheme, secret = _credentials(scope)
        if scheme != "bearer":
            detail = "expected the header `Authorization: Bearer TOKEN`"
            raise Denied(_unauthorized(detail), WWW_Authenticate=REALM)
        address = neighbourhood((scope.get("client") or ("unknown", 0))[0])
        now_us = self._clock.now().mono_us
        id = token_id(secret)
        exists = bool(id) and await self._tokens.exists(id)
        guesser = f"{address} {id}" if exists else address
        wait_s = self._failures.wait_s(guesser, now_us)
        if wait_s > 0 and not (exists and self._tokens.fits(secret)):
            raise _too_many(wait_s, "too many failed logins from this address")
        token = await self._tokens.authenticate(secret)
        if isinstance(token, Unfit):
            self._failures.take(guesser, now_us)
            if (more := self._log_limit.more("api_login_failed")) is not None:  # an attacker has many addresses
                log.warning("api_login_failed", address=address, more=more)
            challenge = f'{REALM}, error="invalid_token"'
            raise Denied(_unauthorized(token), WWW_Authenticate=challenge)
        self._tokens.used(token.id)
        return token

    async def _body(self, scope: Scope, receive: Receive, limit: int) -> bytes:
        """The whole body, within its limits of size and time."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return b""  # RFC 9112, 6.3
        length = length or b"0"
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(float(self._settings.body_timeout_s)):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":  # half a body must not be taken for a whole one
                        raise Denied(problem_response(400, "incomplete", "the connection ended within the body"))
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            within = f"within {self._settings.body_timeout_s} s"
            detail = f"the body did not arrive {within}, or was slow while another waited for its place"
            raise Denied(problem_response(408, "timed_out", detail), Connection="close") from None
        return bytes(body)


def _credentials(scope: Scope) -> tuple[str, str]:
    """The scheme, in small letters, and the text of the token; empty where there is none."""
    headers = dict(scope["headers"])
    scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return scheme.lower(), text.strip()


def _secret_of(scope: Scope) -> str:
    return secret_of(_credentials(scope)[1])


def _check_kept_secret(scope: Scope) -> None:
    """Keys, ids and names are stored, answered to others and told to webhooks: whoever writes his token into one by
    mistake gives it away. Raises Denied."""
    secret = _secret_of(scope)
    if any(secret.encode() in value for name, value in scope["headers"] if name == b"idempotency-key"):
        raise _told_secret("in Idempotency-Key", "Idempotency-Key")
    if secret in scope["path"] or secret in unquote_plus(scope["query_string"].decode("latin-1")):
        raise _told_secret("in the address", "")


class _Until:
    """What an application sends by; its turn is over once the answer begins, for a stream of events lasts."""

    def __init__(self, turn: AsyncExitStack, send: Send) -> None:
        self._turn = turn
        self._send = send

    async def __call__(self, message: Message) -> None:
        await self._turn.aclose()
        await self._send(message)


class _Replay:
    """The body that was read, as the application receives it. It is not kept here: a document waits for minutes, and
    is in this process once, if at all."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.waiting = body
        self._is_waiting = True
        self._receive = receive

    async def __call__(self) -> Message:
        if not self._is_waiting:
            return await self._receive()
        message = {"type": "http.request", "body": self.waiting, "more_body": False}
        self.waiting, self._is_waiting = b"", False
        return message


def _forbidden(detail: str, advice: str) -> Denied:
    challenge = f'{REALM}, error="insufficient_scope"'
    return Denied(problem_response(403, "forbidden", detail, advice), WWW_Authenticate=challenge)


def _told_secret(where: str, at: str) -> Denied:
    detail = f"found the secret of the token {where}, expected it in Authorization alone"
    refused = Refused(Code.INVALID, detail, "make another token if others may have seen it", at=at)
    return Denied(refusal_response(refused))


def _unauthorized(detail: str) -> JSONResponse:
    return problem_response(401, "unauthorized", detail, "`charging token add` makes a token")


def _too_many(wait_s: int, detail: str) -> Denied:
    return Denied(problem_response(429, "too_many_requests", detail, f"wait {wait_s} s"), Retry_After=str(wait_s))


def _crowded() -> Denied:
    detail = f"{UPLOADS_MAX} documents, or {UPLOADS_MAX_EACH} of this account, are being taken in now"
    return Denied(problem_response(503, "unavailable", detail, "send it again in a moment"), Retry_After="5")


def _too_large(limit: int) -> Denied:
    response = problem_response(413, "too_large", f"expected a body of at most {limit} bytes")
    return Denied(response, Connection="close")
