"""A transport of httpx that takes no more than so many bytes of an answer, whatever they are.

What a stranger's answer costs is told by its pieces, not by its length: an informational answer (RFC 9110, 15.2) is 25
bytes and may come again and again, a chunk of one byte is 6 (RFC 9112, 7.1), and each takes the loop some fifty
microseconds. httpx reads them without a bound. So bytes are counted as they come from the network.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

PIECE_BYTES = 4_096
"""Read at once: what stands in it is taken apart without a pause."""


class BoundedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that end once ``most`` bytes have come since something was last sent."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _BoundedStream(stream, self._most)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _BoundedStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, most: int) -> None:
        self._inner = inner
        self._most = most
        self._left = most

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore.ReadError(f"its answer has more than {self._most} bytes")
        data = await self._inner.read(min(max_bytes, self._left, PIECE_BYTES), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._left = self._most
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _BoundedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._most)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def bounded_transport(most: int, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """One whose answers have at most ``most`` bytes, head and body together; of a longer one the rest is an
    httpx.ReadError."""
    transport = httpx.AsyncHTTPTransport(limits=limits)
    # httpx has no parameter for httpcore's network backend (httpx 0.28), so the pool is made here as httpx makes it.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=httpx.create_ssl_context(),
        max_connections=limits.max_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=BoundedBackend(most),
    )
    return transport
