"""What strangers send to the fronts for browsers: a body that is broken off or too large is answered, and is no fault
of ours that fills the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charging.web.browser import BODY_BYTES_MAX
from tests.fakes.providers import Mollie
from tests.unit.service.conftest import Shop, shop
from tests.unit.web import test_console
from tests.unit.web.test_buying import Market

__all__ = ["shop"]

PLACES = ("/enter", f"/hooks/mollie/{'a' * 32}", "/login")


async def posted(app: Any, place: str, *messages: dict[str, Any]) -> int:
    """The status that a POST of these messages is answered."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": place,
        "raw_path": place.encode(),
        "query_string": b"",
        "headers": [],
        "client": ("192.0.2.7", 1),
        "server": ("my.voice.example", 443),
        "scheme": "https",
        "http_version": "1.1",
        "root_path": "",
    }
    waiting, sent = list(messages), list[Any]()

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


async def app_of(place: str, shop: Shop, folder: Path) -> Any:
    if place == "/login":
        return test_console.Place(shop, folder).app
    await shop.anna()
    return Market(shop, Mollie()).app


@pytest.mark.parametrize("place", PLACES)
async def test_a_body_that_is_broken_off_is_no_fault(shop: Shop, tmp_path: Path, place: str) -> None:
    app = await app_of(place, shop, tmp_path)
    begun = {"type": "http.request", "body": b"a", "more_body": True}
    assert await posted(app, place, begun, {"type": "http.disconnect"}) == 400


@pytest.mark.parametrize("place", PLACES)
async def test_a_stranger_is_read_so_far(shop: Shop, tmp_path: Path, place: str) -> None:
    app = await app_of(place, shop, tmp_path)
    most = {"type": "http.request", "body": b"a" * BODY_BYTES_MAX, "more_body": False}
    assert await posted(app, place, most) != 413
    assert await posted(app, place, most | {"body": b"a" * (BODY_BYTES_MAX + 1)}) == 413
