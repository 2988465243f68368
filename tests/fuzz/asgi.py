"""A request as bytes, through HTTP's parser, to an application of this process: as uvicorn makes it, by no socket."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import h11
from starlette.types import ASGIApp, Message


class Answer:
    """What an application answers."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.cookies: list[str] = []
        """As they are set."""
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            assert self.status == 0, "two answers"
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.cookies = [value.decode() for name, value in message["headers"] if name.lower() == b"set-cookie"]
        else:
            self.body += message.get("body", b"")


def parsed(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The scope and body of the first request, as uvicorn makes them; ``None``: HTTP's parser refuses it."""
    connection = h11.Connection(h11.SERVER, 65_536)
    try:
        connection.receive_data(data)
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            return None
        body = b""
        while isinstance(part := connection.next_event(), h11.Data):
            body += part.data
        if not isinstance(part, h11.EndOfMessage):
            return None
    except h11.RemoteProtocolError:
        return None
    path, _, query = event.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 9479),
        "client": ("192.0.2.1", 1),
        "scheme": "http",
        "method": event.method.decode(),
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": [(bytes(name).lower(), bytes(value)) for name, value in event.headers],
        "state": {},
    }, body


async def asked(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answer:
    """What an application answers a request of `parsed`."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    answer = Answer()
    await app(dict(scope), receive, answer.send)
    return answer
