"""The application for machines that watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from charging.metrics import CONTENT_TYPE, Metrics
from charging.web.metrics import PAUSE_S, metrics_app


@contextlib.asynccontextmanager
async def asking(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_figures_and_health_are_served() -> None:
    ailing: dict[str, str] = {}
    app = metrics_app(Metrics("1").render, CONTENT_TYPE, lambda: ailing)
    async with asking(app) as http:
        figures = await http.get("/metrics")
        assert figures.headers["content-type"] == CONTENT_TYPE
        assert "charging_calls_live 0.0" in figures.text
        assert (await http.get("/health")).json() == {"status": "ok", "ailing": {}, "sandbox": False}
        ailing["ami"] = "lost"
        health = await http.get("/health")
        assert (health.status_code, health.json()["ailing"]) == (503, {"ami": "lost"})
        assert (await http.get("/accounts")).status_code == 404


async def test_a_sandbox_says_so_to_supervisors() -> None:
    async with asking(metrics_app(Metrics("1").render, CONTENT_TYPE, sandbox=True)) as http:
        assert (await http.get("/health")).json()["sandbox"] is True


async def test_whoever_asks_without_end_takes_a_small_share_and_others_come_in_their_turn() -> None:
    """Forty connections held the loop that decides calls for more than a second at a time."""
    rendered = 0

    def render() -> bytes:
        nonlocal rendered
        rendered += 1
        return b""

    async def without_end(http: httpx.AsyncClient, path: str) -> None:
        while True:
            await http.get(path)

    turns = 10
    async with asking(metrics_app(render, CONTENT_TYPE)) as http:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(turns * PAUSE_S), asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(without_end(http, "/metrics"))
        assert 0 < rendered <= turns + 1
        rendered = 0
        floods = [asyncio.create_task(without_end(http, "/metrics")) for _ in range(20)]
        await asyncio.sleep(0)
        assert (await http.get("/health")).status_code == 200
        assert rendered <= 20 + 1
        for flood in floods:
            flood.cancel()
        await asyncio.wait(floods)


async def test_health_alone_is_told_out_of_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal does not end the connection: asked for without a pause, refusals would hold the loop."""
    monkeypatch.setattr("charging.web.metrics.PAUSE_S", 3600)
    async with asking(metrics_app(lambda: b"", CONTENT_TYPE)) as http:
        wait = [asyncio.create_task(http.request(*one)) for one in (("POST", "/health"), ("HEAD", "/health"))]
        for _ in range(20):
            health = await http.get("/health")
            assert (health.status_code, health.headers["connection"]) == (200, "close")
            await asyncio.sleep(0)  # an answer that waits for nothing lets no other task run
        assert not any(one.done() for one in wait)
        for one in wait:
            one.cancel()
        await asyncio.wait(wait)


async def test_who_has_gone_has_no_turn() -> None:
    app = metrics_app(lambda: b"", CONTENT_TYPE)
    said: list[Any] = []

    async def has_gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": [], "query_string": b""}
    gone = [asyncio.create_task(app(dict(scope), has_gone, send)) for _ in range(1_000)]
    async with asking(app) as http, asyncio.timeout(500 * PAUSE_S):
        assert (await http.get("/health")).status_code == 200
        await asyncio.gather(*gone)
    assert said == []
