"""One event, posted to a program of the operator's, signed by the rules of Standard Webhooks
(github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

from charging.clock import MICROSECONDS, Clock, iso
from charging.service.events import Event
from charging.web.bounded_answers import bounded_transport
from charging.web.settings import Webhook, is_loopback, signing_keys

TIMEOUT_S = 15
"""For a whole delivery, by the standard's advice."""
CONNECT_S = 5
BODY_S = 1
ANSWER_BYTES = 24_576
"""An answer is read so far, its head and what comes before that included. What its body says does not matter: it is
read for the connection's sake, which serves again once that has come to its end."""
ADDRESSES_MAX = 3
"""That are tried of a name."""
NAMES_AT_ONCE = 2
"""Names that are looked up for one receiver, in threads of its own: one whose name server says nothing would else hold
all those in which this process looks up the payment provider's, and compares passwords."""
GONE = 410
RETRY_AFTER_MAX_S = 3600
"""A program that asks for more is tried again all the same."""
AWAY = (408, 429, 502, 503, 504)
"""The standard's words for a receiver that cannot take anything now."""
NAT64 = ip_network("64:ff9b::/96")
"""Behind it stands the network of IPv4 (RFC 6052, 2.1)."""
GLOBAL_IPV6 = ip_network("2000::/3")
PRIVATE_IPV6 = ip_network("fc00::/7")
PROTOCOLS_IPV4 = ip_network("192.0.0.0/24")
"""For protocols alone (RFC 6890, 2.2.2); a cloud keeps secrets there."""
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError, TimeoutError)
"""UnicodeError: httpx lets it through where a host's name, in the settings or in a redirect, is none."""

_BEFORE = (httpx.ConnectError, httpx.ConnectTimeout, socket.gaierror, TimeoutError)
"""What can happen before there is a connection. The last: a name server, or several addresses, that say nothing."""


class Kind(StrEnum):
    """Why something was not delivered."""

    UNREACHED = "unreached"
    """There is no connection to it, whatever is sent."""
    AWAY = "away"
    """It did not answer, or not now."""
    REFUSED = "refused"
    """It does not take this."""
    GONE = "gone"
    """It wants nothing any more."""


@dataclass(frozen=True, slots=True)
class Failure:
    """It was not delivered."""

    kind: Kind
    why: str
    after_s: float = 0
    """How long it asks to be left alone, 0 to RETRY_AFTER_MAX_S."""


@dataclass(frozen=True, slots=True)
class Hook:
    """An endpoint, with its keys."""

    settings: Webhook
    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, settings: Webhook, secret: str) -> Hook:
        """Raises ValueError."""
        return cls(settings, signing_keys(secret))

    @property
    def name(self) -> str:
        return self.settings.name

    def wants(self, what: str) -> bool:
        """Whether events of this type are sent to it."""
        return not self.settings.events or what in self.settings.events


def signature(keys: Sequence[bytes], id: str, timestamp_s: int, body: bytes) -> str:
    """The header ``webhook-signature``: one signature of each key."""
    signed = f"{id}.{timestamp_s}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)


def message_id(event: Event) -> str:
    """The same whenever the event is sent. The standard lets no dot stand in it."""
    return "evt_" + event.id.replace(".", "_")


def message(event: Event, *, sandbox: bool = False) -> bytes:
    """What is posted."""
    return _message(event.what.value, event.at_us, {"event": event.id, "account": event.account, **event.data}, sandbox)


def sample(at_us: int, *, sandbox: bool = False) -> bytes:
    """What is posted to see whether it arrives: no event, so it has no data."""
    return _message("webhook.test", at_us, {}, sandbox)


def _message(what: str, at_us: int, data: dict[str, object], sandbox: bool) -> bytes:
    told = {"type": what, "timestamp": iso(at_us), "data": data, **({"sandbox": True} if sandbox else {})}
    return json.dumps(told, separators=(",", ":")).encode()


class Receiver:
    """The program at an endpoint. To be closed."""

    def __init__(self, hook: Hook, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Without a ``transport`` it is asked over the network. By no proxy: what is sent is for the receiver alone."""
        self.hook = hook
        self._clock = clock
        self._http = httpx.AsyncClient(
            transport=transport or Guarded(hook.settings),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is kept: they would only grow
            follow_redirects=False,
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def post(self, id: str, body: bytes) -> Failure | None:
        """Try once; ``None``: it was taken."""
        now_s = self._clock.now().wall_us // MICROSECONDS
        headers = {
            "content-type": "application/json",
            "user-agent": "charging",
            "accept-encoding": "identity",
            "webhook-id": id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": signature(self.hook.keys, id, now_s, body),
        }
        connected = asyncio.Event()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, retry_after = await self._status(body, headers, connected)
        except _FAILURES as error:
            why = f"{type(error).__name__}: {error}".removesuffix(": ")
            is_there = connected.is_set() or not isinstance(error, _BEFORE)
            return Failure(Kind.AWAY if is_there else Kind.UNREACHED, f"it did not answer ({why[:200]})")
        if 200 <= status < 300:
            return None
        kind = Kind.GONE if status == GONE else Kind.AWAY if status in AWAY else Kind.REFUSED
        return Failure(kind, f"it answered {status}", wanted_s(retry_after, now_s))

    async def answers(self) -> str:
        """Whether the receiver can be reached and shows a good certificate, whatever it says: why not, or empty."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._http.head(self.hook.settings.url)
        except _FAILURES as error:
            return f"{type(error).__name__}: {error}".removesuffix(": ")[:200]
        return ""

    async def _status(self, body: bytes, headers: dict[str, str], connected: asyncio.Event) -> tuple[int, str]:
        """The answer's status, and what it says of when to come again."""

        async def trace(event: str, _facts: object) -> None:  # of httpcore
            if event.endswith(".send_request_headers.started"):
                connected.set()

        url, extensions = self.hook.settings.url, {"trace": trace}
        async with self._http.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
            answer.headers.pop("content-encoding", None)  # unpacked it may be a thousand times as much
            with contextlib.suppress(httpx.HTTPError, TimeoutError):  # it may be endless, or stop half-way
                async with asyncio.timeout(BODY_S):
                    async for _ in answer.aiter_bytes():
                        pass
            return answer.status_code, answer.headers.get("retry-after", "")


def wanted_s(retry_after: str, now_s: int) -> float:
    """The seconds for which an answer's ``Retry-After`` asks (RFC 9110, 10.2.3: so many, or a date), up to
    RETRY_AFTER_MAX_S; 0 if it says nothing that is understood."""
    try:
        if retry_after.isdecimal():
            wanted: float = int(retry_after[:10])
        else:
            wanted = parsedate_to_datetime(retry_after).timestamp() - now_s
    except (ValueError, OverflowError):  # of a date before the calendar, or of too many digits
        return 0
    return min(max(wanted, 0), RETRY_AFTER_MAX_S)


class Guarded(httpx.AsyncBaseTransport):
    """Connects to addresses that the settings allow, whatever the name of the receiver means by now: the network behind
    us is none of its business."""

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        self._inner = bounded_transport(ANSWER_BYTES, httpx.Limits(max_connections=4, keepalive_expiry=30))
        self._names = ThreadPoolExecutor(NAMES_AT_ONCE, "webhook-names")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name, url = request.url.host, request.url
        request.extensions = {**request.extensions, "sni_hostname": name}
        failed: httpx.TransportError = httpx.ConnectError(f"{name} has no address that is allowed")
        for address in (await self._addresses(name, url.port or (443 if url.scheme == "https" else 80)))[
            :ADDRESSES_MAX
        ]:
            request.url = url.copy_with(host=str(address))
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _addresses(self, name: str, port: int) -> list[IPv4Address | IPv6Address]:
        ask = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._names, ask)
        addresses = dict.fromkeys(ip_address(str(one[4][0])) for one in found)
        return [one for one in addresses if is_allowed(self._settings, one)]

    async def aclose(self) -> None:
        self._names.shutdown(wait=False, cancel_futures=True)
        await self._inner.aclose()


def is_allowed(settings: Webhook, address: IPv4Address | IPv6Address) -> bool:
    """Whether an endpoint may be at an address: a global one; this machine's own where the url says so; another private
    one where the settings do. Never one that only this link knows: there clouds keep secrets."""
    plain = _behind(address)
    if is_loopback(settings.host):
        return bool(plain.is_loopback)
    if plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return False
    if plain in PROTOCOLS_IPV4 or (plain.version == 6 and plain not in GLOBAL_IPV6 and plain not in PRIVATE_IPV6):
        return False
    return bool(plain.is_global) or settings.private_addresses


def _behind(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address of IPv4 to which one of IPv6 leads, by the system, a gateway or a tunnel; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
