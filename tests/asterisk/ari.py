"""The operator's own ARI application on the lab's switch: channels and bridges under its control."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from charging.lab import Lab
from charging.lab.ports import free_port
from tests.asterisk.waiting import eventually

APPLICATION = "operator"
MODULES = (
    *(
        "res_http_websocket",
        "res_websocket_client",
        "res_stasis",
        "res_stasis_answer",
        "res_stasis_recording",
        "res_stasis_playback",
    ),
    *("res_stasis_snoop", "res_ari", "res_ari_model", "res_ari_channels", "res_ari_bridges", "res_ari_events"),
    *("app_stasis", "res_rtp_multicast", "chan_rtp"),
)
HTTP = "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nbindport = {port}\n"
ARI = "[general]\nenabled = yes\n[operator]\ntype = user\npassword = operator\n"


@dataclass
class Ari:
    """Requests of that application."""

    http: httpx.AsyncClient
    lab: Lab

    async def post(self, path: str, **query: str) -> Any:
        answer = await self.http.post(path, params=query)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def delete(self, path: str) -> None:
        answer = await self.http.delete(path)
        assert answer.is_success, answer.text

    async def in_application(self, how_many: int) -> list[str]:
        """The unique ids of channels that its dialplan has handed to it, once there are so many."""

        async def there() -> list[str] | None:
            channels = await self.lab.switch.channels()
            found = [one["Uniqueid"] for one in channels if one["Application"] == "Stasis"]
            return found if len(found) >= how_many else None

        return await eventually(there, f"{how_many} channels in the application", 40)

    async def joined(self, *channels: str) -> str:
        """The id of the bridge."""
        bridge = str((await self.post("/bridges", type="mixing"))["id"])
        await self.post(f"/bridges/{bridge}/addChannel", channel=",".join(channels))
        return bridge


@contextlib.asynccontextmanager
async def ari(lab: Lab) -> AsyncIterator[Ari]:
    """It is there while its websocket is open."""
    port, etc = free_port(), lab.switch.folder / "etc"
    (etc / "http.conf").write_text(HTTP.format(port=port))
    (etc / "ari.conf").write_text(ARI)
    await lab.switch.cli("module reload http")
    for module in MODULES:
        await lab.switch.cli(f"module load {module}.so")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    asked = f"GET /ari/events?app={APPLICATION}&api_key=operator:operator HTTP/1.1"
    upgrade = ("Host: localhost", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}")
    writer.write("\r\n".join((asked, *upgrade, "Sec-WebSocket-Version: 13", "", "")).encode())
    listens = asyncio.create_task(_listen(reader))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/ari", auth=("operator", "operator")) as http:
            yield Ari(http, lab)
    finally:
        listens.cancel()
        writer.close()
        (etc / "http.conf").write_text("[general]\nenabled = no\n")
        await lab.switch.cli("module reload http")


async def _listen(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
