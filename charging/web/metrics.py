"""The little application for machines that watch: ``/metrics`` for Prometheus, ``/health`` for supervisors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

Ailing = Callable[[], Mapping[str, str]]
"""What is wrong now, by part (``{"ami": "wrong secret"}``); empty: all is well."""


def metrics_app(render: Callable[[], bytes], content_type: str, ailing: Ailing = dict) -> FastAPI:
    """``render`` gives the text of ``/metrics`` (`charging.metrics.Metrics.render`)."""
    app = FastAPI(title="charging metrics", docs_url=None, redoc_url=None, openapi_url=None)

    async def metrics() -> Response:
        return Response(render(), media_type=content_type)

    async def health() -> JSONResponse:
        parts = dict(ailing())
        return JSONResponse({"status": "ailing" if parts else "ok", "ailing": parts}, 503 if parts else 200)

    app.get("/metrics")(metrics)
    app.get("/health")(health)
    return app
