"""Where the receiver of a webhook may be, and what of it is believed; and of a payment provider."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator
from ipaddress import ip_address

import httpx
import pytest

from charging.web import signed_post
from charging.web.customers.providers import Mollie, ProviderError
from charging.web.signed_post import Guarded, Hook, Kind, Receiver, is_allowed
from tests.unit.service.conftest import Shop
from tests.unit.web.webhook_desk import KEYS, URL, hook


async def test_a_payment_provider_that_sends_us_to_a_name_that_is_none_has_not_answered() -> None:
    elsewhere = httpx.Response(302, headers={"location": "https://xn--a/"})
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: elsewhere)) as http:
        with pytest.raises(ProviderError, match="did not answer"):
            await Mollie(http, "test_key").look("tr_1")


async def test_a_redirect_to_a_name_that_is_none_is_a_failure_as_any_other(shop: Shop) -> None:
    headers = {"location": "https://xn--a/"}
    receiver = Receiver(hook(), shop.clock, httpx.MockTransport(lambda _: httpx.Response(302, headers=headers)))
    try:
        assert await receiver.post("evt_1", b"{}") is not None
        assert await receiver.answers()
    finally:
        await receiver.close()


@pytest.mark.parametrize("url", ["https://xn--a/", "https://[:::::]/"])
async def test_a_host_that_is_none_is_a_failure_as_any_other(shop: Shop, url: str) -> None:
    settings = hook().settings.model_copy(update={"url": url})
    receiver = Receiver(Hook(settings, KEYS), shop.clock)
    try:
        assert await receiver.post("evt_1", b"{}") is not None
        assert await receiver.answers()
    finally:
        await receiver.close()


async def test_while_the_name_servers_say_nothing_there_is_no_connection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each event would become a letter while the network is away."""

    async def silent(_self: Guarded, _name: str, _port: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Guarded, "_addresses", silent)
    monkeypatch.setattr(signed_post, "TIMEOUT_S", 0.05)
    assert await kind_of(URL, shop) is Kind.UNREACHED


async def test_who_takes_the_connection_and_says_nothing_is_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_post, "TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert await kind_of(f"http://127.0.0.1:{listening.getsockname()[1]}/", shop) is Kind.AWAY


async def kind_of(url: str, shop: Shop) -> Kind | None:
    receiver = Receiver(hook(url=url), shop.clock)
    try:
        failure = await receiver.post("evt_1", b"{}")
    finally:
        await receiver.close()
    return None if failure is None else failure.kind


async def test_nothing_of_a_receivers_is_kept_and_sent_back(shop: Shop) -> None:
    asked: list[httpx.Request] = []

    def program(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, headers={"set-cookie": f"a{len(asked)}=b"})

    receiver = Receiver(hook(), shop.clock, httpx.MockTransport(program))
    try:
        for _ in range(2):
            assert await receiver.post("evt_1", b"{}") is None
    finally:
        await receiver.close()
    assert [one.headers.get("cookie") for one in asked] == [None, None]


async def test_no_answer_of_a_receiver_is_unpacked(shop: Shop) -> None:
    """It was asked for none that is packed; one of 64 kB fills 64 MB."""
    packed = gzip.compress(bytes(64_000_000))
    headers = {"content-encoding": "gzip"}
    receiver = Receiver(
        hook(), shop.clock, httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=Answer(packed)))
    )
    tracemalloc.start()
    try:
        assert await receiver.post("evt_1", b"{}") is None
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
        await receiver.close()


class Answer(httpx.AsyncByteStream):
    """As it comes from the network."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


@pytest.mark.parametrize(
    ("url", "private", "address", "may"),
    [
        (URL, False, "93.184.215.14", True),
        (URL, False, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        (URL, False, "10.0.0.1", False),
        (URL, True, "10.0.0.1", True),
        (URL, True, "fd00::1", True),
        (URL, False, "::ffff:10.0.0.1", False),
        (URL, True, "127.0.0.1", False),
        (URL, True, "::ffff:127.0.0.1", False),
        (URL, True, "169.254.169.254", False),
        (URL, True, "fe80::1", False),
        (URL, True, "0.0.0.0", False),
        (URL, False, "64:ff9b::93.184.215.14", True),
        (URL, True, "64:ff9b::169.254.169.254", False),
        (URL, False, "64:ff9b::10.0.0.1", False),
        (URL, True, "64:ff9b:1::1", False),
        (URL, True, "2002:7f00:1::1", False),
        (URL, True, "::127.0.0.1", False),
        (URL, True, "fec0::1", False),
        (URL, False, "fd00:ec2::254", False),
        (URL, True, "192.0.0.192", False),
        ("http://localhost:8000/", False, "127.0.0.1", True),
        ("http://localhost:8000/", False, "10.0.0.1", False),
        ("http://[::1]:8000/", False, "::1", True),
    ],
)
def test_a_name_leads_only_to_addresses_that_the_settings_allow(
    url: str, private: bool, address: str, may: bool
) -> None:
    settings = hook(url=url, private_addresses="yes" if private else "no").settings
    assert is_allowed(settings, ip_address(address)) is may


async def test_a_receiver_whose_name_means_a_private_address_by_now_gets_nothing() -> None:
    guarded = Guarded(hook(url="https://127.0.0.2:1/").settings.model_copy(update={"url": "https://example.org:1/"}))
    try:
        with pytest.raises(httpx.ConnectError, match="no address that is allowed"):
            await guarded.handle_async_request(httpx.Request("POST", "https://127.0.0.1:1/"))
    finally:
        await guarded.aclose()


async def test_receiver_whose_name_server_says_nothing_holds_no_thread_of_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They compare passwords, and look up the name of the payment provider."""
    said = threading.Event()

    def silent(*_asked: object, **_named: object) -> list[object]:
        said.wait(600)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(signed_post, "TIMEOUT_S", 0.05)
    receiver = Receiver(hook(), shop.clock)
    try:
        failures = await asyncio.gather(*(receiver.post(f"evt_{number}", b"{}") for number in range(50)))
        assert {one.kind for one in failures if one is not None} == {Kind.UNREACHED}
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(lambda: 1) == 1
    finally:
        said.set()
        await receiver.close()
