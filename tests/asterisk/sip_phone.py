"""A phone that answers whatever it is asked, or does what a test chooses, and writes what it likes into the headers
of its messages."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import cast

from charging.lab import Lab
from tests.asterisk.raw_call import sdp

SILENT = 39_998
"""A port at which nobody listens."""
ANSWERS = "200 OK"
TALKS_BEFORE = "183 Session Progress"
_CONTENTS = {ANSWERS, TALKS_BEFORE}
RINGS_S, UPDATES_S = 0.2, 0.5


class _Phone(asyncio.DatagramProtocol):
    """Rings, answers, tells again who it is, and talks until the other side hangs up."""

    def __init__(self, identity: Sequence[str], does: str, media: int) -> None:
        self._identity = identity
        self._does = does
        self._sdp = sdp(media)
        self._calls: dict[str, asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # which asyncio's own is not, by its type
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str | object, int]) -> None:
        head, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        method = head.partition(" ")[0]
        call = next(line for line in lines if line.lower().startswith("call-id:"))
        if method == "INVITE":
            if call not in self._calls:
                self._calls[call] = asyncio.create_task(self._talk(lines, peer))
        elif method not in ("ACK", "SIP/2.0"):
            self._send("SIP/2.0 200 OK", self._answer(lines), "", peer)

    def end(self) -> None:
        for task in self._calls.values():
            task.cancel()
        self._transport.close()

    async def _talk(self, invite: list[str], peer: tuple[str | object, int]) -> None:
        answer = [*self._answer(invite), *self._identity]
        self._send("SIP/2.0 180 Ringing", answer, "", peer)
        await asyncio.sleep(RINGS_S)
        self._send(f"SIP/2.0 {self._does}", answer, self._sdp if self._does in _CONTENTS else "", peer)
        if self._does != ANSWERS:
            return
        await asyncio.sleep(UPDATES_S)
        told = dict(line.split(": ", 1) for line in answer)
        contact = next(line for line in invite if line.lower().startswith("contact:"))
        uri = re.search("<(.*)>", contact)
        assert uri is not None
        for number, method in enumerate(("UPDATE", "INVITE"), 10):
            request = [
                f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{method}{told['Call-ID']}",
                f"From: {told['To']}",
                f"To: {told['From']}",
                f"Call-ID: {told['Call-ID']}",
                f"CSeq: {number} {method}",
                "Max-Forwards: 70",
                f"Contact: <sip:phone@127.0.0.1:{self.port}>",
                *self._identity,
            ]
            self._send(f"{method} {uri[1]} SIP/2.0", request, self._sdp if method == "INVITE" else "", peer)
            await asyncio.sleep(UPDATES_S)
            if method == "INVITE":
                request[4] = f"CSeq: {number} ACK"
                self._send(f"ACK {uri[1]} SIP/2.0", request[:6], "", peer)

    def _answer(self, request: list[str]) -> list[str]:
        taken = [line for line in request if line.lower().startswith(("via:", "from:", "to:", "call-id:", "cseq:"))]
        ended = [f"{line};tag=phone" if line.startswith("To:") and "tag=" not in line else line for line in taken]
        return [*ended, f"Contact: <sip:phone@127.0.0.1:{self.port}>"]

    def _send(self, head: str, lines: list[str], body: str, peer: tuple[str | object, int]) -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        whole = [head, *lines, *kind, f"Content-Length: {len(body)}", "", body]
        self._transport.sendto("\r\n".join(whole).encode("latin-1"), peer)


@contextlib.asynccontextmanager
async def phone(lab: Lab, *identity: str, does: str = ANSWERS, media: int = SILENT) -> AsyncIterator[None]:
    """Where all forwarded calls go meanwhile; ``identity`` are headers of all that the phone says, ``does`` is what it
    answers once it has rung, and ``media`` where it listens."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_datagram_endpoint(lambda: _Phone(identity, does, media), local_addr=("127.0.0.1", 0))
    try:
        await lab.switch.cli("dialplan set global CHARGING_DIAL_PREFIX PJSIP/world/sip:")
        await lab.switch.cli(f"dialplan set global CHARGING_DIAL_SUFFIX @127.0.0.1:{made.port}")
        yield
    finally:
        await lab.switch.cli("dialplan set global CHARGING_DIAL_PREFIX PJSIP/")
        await lab.switch.cli("dialplan set global CHARGING_DIAL_SUFFIX @world")
        made.end()
        await asyncio.sleep(0)  # the socket is closed in the next round of the loop
