"""Which addresses may ask FastAGI: the switch's own, or those that the operator names.

FastAGI has no password: whoever reaches it is believed to be the dialplan. So only the switch may come in. Its address
is the one by which the daemon reaches its AMI; a switch on this machine may come from any address of this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock

log = structlog.get_logger(__name__)

RESOLVE_EVERY_S = 30
RESOLVE_DEADLINE_S = 5.0

PAIRS_KNOWN = 1_024
"""Of two addresses, for which it is remembered whether the first may come in: to read one takes as long as to accept
its connection."""
NEIGHBOURHOODS_KNOWN = 1_024
IPV6_PREFIX = 64
"""One customer has so many bits' worth of addresses: they count as one."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Sources:
    """The allow-list."""

    def __init__(self, named: Sequence[str], switch_host: str) -> None:
        """``named`` are networks (``10.0.0.0/24``, ``::1``); with none, the switch's address at ``switch_host``."""
        self._networks = [ipaddress.ip_network(one, strict=False) for one in named]
        self._switch_host = switch_host
        self._switch: frozenset[Address] = frozenset()
        self._is_local = False
        self._known = lru_cache(PAIRS_KNOWN)(self._admits)

    def admits(self, peer: str, own: str) -> bool:
        """Whether a connection from ``peer``, which has reached our address ``own``, may come in."""
        return self._known(peer, own)

    def _admits(self, peer: str, own: str) -> bool:
        try:
            source = _address(peer)
        except ValueError:
            return False
        if self._networks:
            return any(source in network for network in self._networks)
        return source in self._switch or (self._is_local and (source.is_loopback or peer == own))

    async def resolve(self) -> None:
        """Look up where the switch is. Without an answer the last one stays."""
        if self._networks:
            return
        try:
            async with asyncio.timeout(RESOLVE_DEADLINE_S):
                found = await asyncio.get_running_loop().getaddrinfo(self._switch_host, None, type=socket.SOCK_STREAM)
        except OSError as error:  # TimeoutError is one
            log.error("switch_address_unknown", host=self._switch_host, error=str(error) or "no answer in time")
            return
        self._switch = frozenset(_address(str(one[4][0])) for one in found)
        self._is_local = any(map(_is_ours, self._switch))
        self._known.cache_clear()

    async def watch(self, clock: Clock) -> NoReturn:
        """Look again and again: a switch may move."""
        while True:
            await clock.sleep_until(clock.now().mono_us + RESOLVE_EVERY_S * MICROSECONDS)
            await self.resolve()


def _address(text: str) -> Address:
    """An IPv4 address that comes as IPv6 counts as itself; a zone (``%eth0``) does not count. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_ours(address: Address) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


@lru_cache(NEIGHBOURHOODS_KNOWN)
def neighbourhood(host: str) -> str:
    """As what a client's address is counted, by failed logins as by places: itself, or an IPv6 customer's network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


@lru_cache(NEIGHBOURHOODS_KNOWN)
def is_within(host: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    try:
        address = _address(host)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(one, strict=False) for one in networks)
