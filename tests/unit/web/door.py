"""The public interface in this process, for tests."""

from __future__ import annotations

from typing import Any

import httpx

from charging.ledger.memory import MemoryStore
from charging.service.service import Service
from charging.service.tokens import NewToken, Scope, Tokens
from charging.web.api import api_app
from charging.web.settings import Api as Settings

SETTINGS = Settings(requests_per_minute=60, failed_logins_per_minute=3, max_body_bytes=2_000, body_timeout_s=0.2)


class Door:
    """The application, and a token for every purpose."""

    def __init__(self, service: Service, documents: MemoryStore | None = None) -> None:
        """``documents``: those of a door before; this one is open at once."""
        self.documents = documents or MemoryStore(service.clock)
        self.tokens = Tokens(self.documents, service.clock)
        limit = service.faxes.document_limit()
        bytes_max = limit if isinstance(limit, int) else None
        self.app = api_app(service, self.tokens, SETTINGS, fax_bytes_max=bytes_max)
        self.secrets: dict[str, str] = {}

    async def open(self) -> None:
        for scope in Scope:
            new = await self.tokens.add(scope.value, [scope])
            assert isinstance(new, NewToken)
            self.secrets[scope.value] = new.secret

    async def __call__(
        self, who: str, method: str, path: str, status: int = 200, address: str = "192.0.2.1", **request: Any
    ) -> httpx.Response:
        """As `ask`; the answer has this status, and problems must look like one."""
        response = await self.ask(who, method, path, address, **request)
        assert response.status_code == status, response.text
        if status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == status
            assert response.json()["detail"]
        return response

    async def ask(self, who: str, method: str, path: str, address: str = "192.0.2.1", **request: Any) -> httpx.Response:
        """Ask with the token ``who`` (a scope's, or the text itself; empty: without)."""
        secret = self.secrets.get(who, who)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        headers |= request.pop("headers", {})
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.request(method, path, headers=headers, **request)
