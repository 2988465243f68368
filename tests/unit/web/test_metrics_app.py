"""The application for machines that watch."""

from __future__ import annotations

import httpx

from charging.metrics import CONTENT_TYPE, Metrics
from charging.web.metrics import metrics_app


async def test_figures_and_health_are_served() -> None:
    ailing: dict[str, str] = {}
    app = metrics_app(Metrics("1").render, CONTENT_TYPE, lambda: ailing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        figures = await http.get("/metrics")
        assert figures.headers["content-type"] == CONTENT_TYPE
        assert "charging_calls_live 0.0" in figures.text
        assert (await http.get("/health")).json() == {"status": "ok", "ailing": {}}
        ailing["ami"] = "lost"
        health = await http.get("/health")
        assert (health.status_code, health.json()["ailing"]) == (503, {"ami": "lost"})
        assert (await http.get("/accounts")).status_code == 404
