"""How the commands reach the service: always by HTTP to the control application.

If a daemon answers on the control socket, it is asked: a top-up then wakes the call that it concerns. If none does, the
same application runs in this process, on the ledger that the settings name. Commands that read much use that
application even beside a daemon, so that the daemon is left to decide calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from charging.cli.failure import Refusal, say
from charging.clock import MICROSECONDS, SystemClock
from charging.web.actor import HEADER as ACTOR_HEADER
from charging.web.sockets import is_answered

if TYPE_CHECKING:
    from charging.cli.in_process import Opened
    from charging.settings import Settings

TIMEOUT_S = 30
PAGE_ROWS = 1000
UNKNOWN_OUTCOME = ("ledger_unavailable", "bug")
LOOK = "look, then ask again"

_READS_MUCH = re.compile(
    r"/(accounts|numbers|cdrs|changes|decisions|payments|webhooks(/[^/]+/letters)?|ledger/(findings|contradictions|warnings|people/[^/]+)|accounts/[^/]+/(numbers|journal|faxes|statements/[^/]+))"
)

Params = dict[str, str | int | None]
Document = dict[str, Any]


class Client:
    """Sends requests, one after the other."""

    def __init__(self, http: httpx.AsyncClient, runner: asyncio.Runner, *, daemon: bool) -> None:
        self.daemon = daemon
        """Whether a daemon answers; else the store is open in this process."""
        self._http = http
        self._runner = runner
        self._clock = SystemClock()

    def get(self, path: str, params: Params | None = None) -> Document:
        """Return the resource. Raises Refusal."""
        return self.send("GET", path, params=params)

    def send(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        params: Params | None = None,
        content: bytes | None = None,
        key: str = "",
        timeout_s: int | None = None,
    ) -> Document:
        """Send one request; returns its document. ``content`` is a body that is not JSON, ``key`` the idempotency key,
        ``timeout_s`` how long its answer may take (None: TIMEOUT_S). Raises Refusal."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        headers = {"Idempotency-Key": key} if key else {}
        timeout = TIMEOUT_S if timeout_s is None else timeout_s
        sent = self._http.request(
            method, path, json=body, content=content, params=given, headers=headers, timeout=timeout
        )
        repeat = f"repeat this with `--id {shlex.quote(key)}`, by which it is never done twice" if key else LOOK
        response = self._run(sent, repeat)
        document: Document = response.json()
        if response.is_error:
            raise _refusal(document, repeat if key else "")
        return document

    def text(self, path: str, params: Params) -> str:
        """Return a resource that is not JSON. Raises Refusal."""
        response = self._run(self._http.request("GET", path, params=params))
        if response.is_error:
            raise _refusal(response.json())
        found: str = response.text
        return found

    def items(
        self, path: str, params: Params | None = None, limit: int | None = None, page_rows: int | None = None
    ) -> Iterator[Document]:
        """Return every item of a list, page by page, at most ``limit``. Raises Refusal."""
        cursor: str | None = None
        page_rows = page_rows or PAGE_ROWS
        left = limit
        while left is None or left > 0:
            rows = page_rows if left is None else min(left, page_rows)
            page = self.get(path, {**(params or {}), "limit": rows, "cursor": cursor})
            yield from page["items"][:left]
            left = None if left is None else left - len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def lines(
        self, path: str, method: str = "GET", *, params: Params | None = None, content: bytes | None = None
    ) -> Iterator[Document]:
        """Yield the JSON lines of a slow resource as they come."""
        timeout = httpx.Timeout(TIMEOUT_S, read=None)
        stream = self._http.stream(method, path, params=params, content=content, timeout=timeout)
        response = self._run(stream.__aenter__())
        try:
            if response.is_error:
                self._run(response.aread())
                raise _refusal(response.json())
            waiting = response.aiter_lines()
            while (line := self._run(_next_line(waiting))) is not None:
                yield json.loads(line)
        finally:
            self._run(stream.__aexit__(None, None, None))

    def pause(self, seconds: float) -> None:
        """Let this many seconds pass."""
        until = self._clock.now().mono_us + round(seconds * MICROSECONDS)
        self._runner.run(self._clock.sleep_until(until))

    def _run(self, awaitable: Any, repeat: str = LOOK) -> Any:
        try:
            return self._runner.run(awaitable)
        except httpx.TimeoutException as error:
            raise Refusal(f"the daemon does not answer in time; the outcome is unknown: {repeat}") from error
        except httpx.InvalidURL as error:
            raise Refusal(f"found something that fits into no request ({error}); nothing was done") from error
        except httpx.HTTPError as error:
            raise Refusal(f"the daemon has gone; the outcome is unknown: {repeat}") from error
        except KeyboardInterrupt:
            if repeat != LOOK:
                say(f"stopped; the outcome is unknown: {repeat}")
            raise


async def _next_line(lines: Any) -> str | None:
    line: str | None = await anext(lines, None)
    return line


def path(*parts: str) -> str:
    """A resource's path; each part may hold any character, but must not be empty. Raises Refusal."""
    for part in parts:
        if not part:
            raise Refusal("found nothing, expected an account, a telephone number or a call's session")
    # Dots too, since ``..`` alone would be taken for the resource above.
    return "/" + "/".join(quote(part, safe="").replace(".", "%2E") for part in parts)


def _refusal(document: Document, repeat: str = "") -> Refusal:
    """Return what the problem document says, for a person. ``repeat`` says how to repeat a request whose outcome is
    unknown."""
    problems = document.get("problems", [])
    if document.get("code") == "bad_file":
        return Refusal(*problems, document=document)
    detail, advice = document.get("detail", "refused"), document.get("advice", "")
    if repeat and document.get("code") in UNKNOWN_OUTCOME:
        advice = f"the outcome is unknown: {repeat}"
    return Refusal(f"{detail}; {advice}" if advice else str(detail), document=document)


def whoever_types() -> str:
    """For the notes of changes: the user, behind sudo too."""
    user = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    with suppress(KeyError):
        user = user or pwd.getpwuid(os.getuid()).pw_name
    return f"cli:{user or os.getuid()}"


async def _nothing() -> None:
    return


@contextmanager
def client(
    transport: httpx.AsyncBaseTransport,
    *,
    daemon: bool,
    open_: Callable[[], Awaitable[None]] = _nothing,
    close: Callable[[], Awaitable[None]] = _nothing,
) -> Iterator[Client]:
    """Return a client over a transport. ``open_`` runs before it and ``close`` after it, in the same event loop."""
    with asyncio.Runner() as runner:
        http = httpx.AsyncClient(
            transport=transport, base_url="http://charging", timeout=TIMEOUT_S, headers={ACTOR_HEADER: whoever_types()}
        )
        runner.run(_run(open_))
        try:
            yield Client(http, runner, daemon=daemon)
        finally:
            runner.run(http.aclose())
            runner.run(_run(close))


async def _run(step: Callable[[], Awaitable[None]]) -> None:
    await step()


@contextmanager
def connected(settings: Settings) -> Iterator[Client]:
    """Return a client to the running daemon, or to the ledger itself if none runs."""
    if daemon_answers(settings.control.socket):
        beside = _Beside(settings)
        with client(beside, daemon=True, close=beside.end) as found:
            yield found
        return
    from charging.cli.in_process import on_store  # the whole service: loaded only if no daemon runs

    with on_store(settings) as found:
        yield found


def _reads_much(request: httpx.Request) -> bool:
    path = request.url.raw_path.partition(b"?")[0].decode()
    if request.method == "GET":
        return _READS_MUCH.fullmatch(path) is not None
    return path == "/imports/accounts" and request.url.params.get("dry_run") == "true"


class _Beside(httpx.AsyncBaseTransport):
    """To a daemon, and for what reads much to the control application in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._daemon = httpx.AsyncHTTPTransport(uds=str(settings.control.socket))
        self._here: Opened | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not _reads_much(request):
            return await self._daemon.handle_async_request(request)
        if self._here is None:
            from charging.cli.in_process import reader  # the whole service: loaded only for this

            self._here = reader(self._settings)
            await self._here.open()
        return await self._here.transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._daemon.aclose()

    async def end(self) -> None:
        if self._here is not None:
            await self._here.close()


def daemon_answers(socket: Path) -> bool:
    """Whether a daemon listens on its control socket. Raises Refusal if we may not ask it."""
    try:
        return is_answered(socket)
    except PermissionError:
        raise Refusal(f"control socket {socket}: permission denied; run this as the daemon's user") from None
    except OSError as error:
        raise Refusal(f"control socket {socket}: {error.strerror or error}") from None
