"""An open stream of events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from charging.web.routes import events as routes
from tests.fakes.ami import eventually
from tests.unit.web.door import Door


class Stream:
    """An open stream of events, and what has come of it."""

    def __init__(
        self,
        door: Door,
        headers: dict[str, str],
        method: str = "GET",
        path: str = "/v1/accounts/anna/events",
        query: str = "",
    ) -> None:
        self.last_event_id = ""
        """As a browser has it, of all that was read."""
        asked = {"authorization": f"Bearer {door.secrets['read']}", "accept": routes.SSE, **headers}
        raw = [(name.encode(), value.encode()) for name, value in asked.items()]
        self.scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "raw_path": path.encode()}
        self.scope["query_string"] = query.encode()
        self.scope |= {"headers": raw, "client": ("192.0.2.1", 1), "server": ("test", 80), "scheme": "http"}
        self.scope |= {"http_version": "1.1", "root_path": "", "asgi": {"version": "3.0", "spec_version": "2.3"}}
        self.messages: list[dict[str, Any]] = []
        self._gone = asyncio.Event()
        self._asked = False
        self._task = asyncio.create_task(door.app(self.scope, self._receive, self._send), name="stream")

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.messages.append(message)

    async def leave(self) -> None:
        self._gone.set()
        await self._task

    async def ended(self) -> None:
        await self._task

    async def begun(self) -> None:
        await eventually(lambda: len(self.messages) > 1 or self._task.done(), "the stream begins")

    @property
    def events(self) -> list[tuple[str, str, Any]]:
        text = b"".join(one.get("body", b"") for one in self.messages[1:]).decode()
        blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
        self.last_event_id = next((one["id"] for one in reversed(blocks) if "id" in one), "")
        return [(one["id"], one["event"], json.loads(one["data"])) for one in blocks if "data" in one]
