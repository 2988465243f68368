"""What every front for browsers shares: forms and where they come from, cookies, and the headers of each answer."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charging.web.multipart import ENVELOPE_BYTES, Parts, read_parts

BODY_BYTES_MAX = 64_000
"""Of what strangers may send too: a form, a provider's hook."""
FIELDS_MAX = 50
BODY_S = 10
UPLOAD_S = 60
"""For a form with a document."""
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script and no style but our own files: what slipped through as HTML would do nothing."""
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_COOKIE_SPACE = " \t"

Form = Mapping[str, str]


class FormSeal:
    """For a form before anyone is logged in: what it sends back beside its cookie, which nobody else's page can
    know."""

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie
        self._key = secrets.token_bytes(32)

    def issue(self) -> tuple[str, str]:
        """What the cookie holds, and what the form has as its ``token``."""
        random = secrets.token_urlsafe(24)
        return random, self._seal(random)

    def is_ours(self, request: Request, form: Form) -> bool:
        """Whether a form is one that this browser was shown."""
        random = cookie(request, self._cookie)
        return bool(random) and same(form.get("token", ""), self._seal(random))

    def _seal(self, random: str) -> str:
        return hmac.new(self._key, random.encode(), "sha256").hexdigest()


def same(given: str, expected: str) -> bool:
    """Whether a secret text is the one that is expected; how long that takes says nothing."""
    return hmac.compare_digest(given.encode(), expected.encode())


def must_lead_here(request: Request) -> None:
    """Refuse (HTTPException) what another site's page asks for by itself: the cookie goes along with it where that site
    shares our domain, and its questions would spend the pace of whoever has that page open. A link that leads here is
    followed."""
    headers = request.headers
    if headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none"):
        return
    if (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document"):
        raise HTTPException(403, "another site's page has asked for this")


def is_click(request: Request) -> bool:
    """Whether a person has asked for it: not what a page asks again and again by itself."""
    return "hx-request" not in request.headers


def local_place(place: str) -> str:
    """A page of ours; the first one, if it is not for certain: browsers read backslashes as slashes."""
    good = place.startswith("/") and not place.startswith("//") and "\\" not in place and place.isprintable()
    return place if good else "/"


def cookie(request: Request, name: str) -> str:
    """One that `set_cookie` has set; empty: there is none. Values of ours need no quotes, so nothing is unquoted: the
    standard library takes time by the square of a quoted value (CVE-2024-7592), and a stranger sends what he likes.

    Names are compared as browsers compare them, which take spaces and tabs alone away (RFC 6265, 5.2): another host of
    the domain may set one whose name begins with what Python, too, calls a space, and ``__Host-`` does not bind that.
    Two of a name are none: a browser has one of ours, so another has set the other."""
    found = []
    for header in request.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip(_COOKIE_SPACE) == name:
                found.append(value.strip(_COOKIE_SPACE))
    return found[0] if len(found) == 1 else ""


def set_cookie(
    response: Response,
    name: str,
    value: str,
    *,
    samesite: Literal["strict", "lax"] = "strict",
    lasts_s: int | None = None,
) -> None:
    """For this browser session alone, or for ``lasts_s``; scripts do not see it, and no other site's request carries
    it; if ``lax``, but for one that leads to our page."""
    response.set_cookie(name, value, max_age=lasts_s, secure=True, httponly=True, samesite=samesite, path="/")


def drop_cookie(response: Response, name: str) -> None:
    """Have the browser forget a cookie that was set by this module."""
    response.delete_cookie(name, secure=True, httponly=True, samesite="strict", path="/")


async def read_body(request: Request, most: int = BODY_BYTES_MAX, within_s: float = BODY_S) -> bytes:
    """What was sent. Refuses (HTTPException) what is too large, too slow, or broken off."""
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise HTTPException(413, "that is too large")
    except TimeoutError:
        raise HTTPException(408, "that did not arrive in time") from None
    except ClientDisconnect:  # nobody hears it: but no stranger fills the log with faults
        raise HTTPException(400, "that was broken off") from None
    return bytes(body)


async def read_upload(request: Request, most: int) -> Parts:
    """The fields of a form and its document, which has ``most`` bytes at most. Refuses (HTTPException) as `read_form`
    does."""
    _must_be_ours(request)
    body = await read_body(request, most + ENVELOPE_BYTES, UPLOAD_S)
    try:
        return await read_parts(request.headers, body)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None


def _must_be_ours(request: Request) -> None:
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "this form comes from another site")


async def read_form(request: Request, most: int = BODY_BYTES_MAX) -> Form:
    """A form's fields, each once. Refuses (HTTPException) what comes from another site's page, and as `read_body`
    does."""
    _must_be_ours(request)
    body = await read_body(request, most)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
    return dict(pairs)


class Sealed:
    """Gives each answer its headers, also that of a fault: so it is around the whole application. What an answer says
    itself stands."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith(("/static/", "/look/")):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, sealed if scope["type"] == "http" else send)
