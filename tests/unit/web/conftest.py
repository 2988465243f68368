"""The control application in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from charging.web.control import control_app
from tests.unit.service.conftest import Shop, shop

__all__ = ["shop"]


class Api:
    """Requests to the application; whatever is a problem must look like one."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(
        self, method: str, path: str, status: int = 200, *, key: str = "", **request: Any
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        response = await self.http.request(method, path, headers=headers, **request)
        assert response.status_code == status, response.text
        document: dict[str, Any] = response.json()
        if status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            assert document["status"] == status
            assert document["detail"]
        return document


@pytest.fixture
async def api(shop: Shop) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(control_app(shop.service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Api(http)
