"""What the console asks and orders: the resources of the public interface, without its gate.

So a page shows what the interface says, and an act is checked and carried out as a program's is: in the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from charging.service.actor import acting
from charging.service.service import Service
from charging.web.api import resources
from charging.web.forward import PING_S

TIMEOUT_S = 60
Document = dict[str, Any]
_UNKNOWN = {"ledger_unavailable", "bug"}


class Problem(Exception):
    """It was refused, or could not be answered."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(document.get("detail", ""))
        self.status = status
        self.detail = str(document.get("detail", "there was no answer"))
        self.advice = str(document.get("advice", ""))
        self.is_unknown = document.get("code") in _UNKNOWN
        """Whether it may have been carried out: the same, with the same key, may be asked again."""


class Asks:
    """Requests."""

    def __init__(self, service: Service, daemon: httpx.AsyncClient | None = None) -> None:
        """``daemon`` is asked for changes; ``None``: ``service`` makes them."""
        self.service = service
        self._daemon = daemon
        transport = httpx.ASGITransport(resources(service, daemon), raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://console", timeout=TIMEOUT_S)

    async def get(self, path: str, **params: str | int | None) -> Document:
        """The resource. Raises Problem."""
        given = {name: value for name, value in params.items() if value not in (None, "")}
        return _document(await self._http.get(path, params=given))

    async def order(
        self, method: str, path: str, body: Document | None, key: str, *, by: str, params: Mapping[str, str]
    ) -> Document:
        """A change that the operator ``by`` makes, at most once for each key. Raises Problem."""
        headers = {"Idempotency-Key": key}
        with acting(f"console:{by}"):
            return _document(await self._http.request(method, path, json=body, headers=headers, params=dict(params)))

    async def facts(self) -> Mapping[str, str]:
        """What the daemon says of itself. Raises Problem."""
        if self._daemon is None:
            return {}
        try:
            answer = await self._daemon.get("http://daemon/health", timeout=PING_S)
        except httpx.HTTPError as error:
            raise Problem(503, {"detail": f"the daemon does not answer ({type(error).__name__})"}) from error
        facts: Mapping[str, str] = _document(answer)["facts"]
        return facts


def path(*parts: str) -> str:
    """A resource's path; each part may hold any character."""
    return "".join("/" + quote(part, safe="").replace(".", "%2E") for part in parts)


def _document(answer: httpx.Response) -> Document:
    document: Document = answer.json()
    if answer.is_error:
        raise Problem(answer.status_code, document)
    return document
