"""A telephone of which a test chooses every message: it calls, and asks within its call for whatever is written.
Its voice is counted, not heard."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import cast

from charging.lab import Lab
from tests.asterisk.waiting import eventually

CALLER = "<sip:+31201234567@carrier.example>"
VOICE_S = 0.02
_FINAL = 200


def sdp(port: int) -> str:
    """What a phone offers that hears and talks at ``port``."""
    lines = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 8")
    return "".join(f"{line}\r\n" for line in (*lines, "a=rtpmap:8 PCMA/8000"))


class Voice(asyncio.DatagramProtocol):
    """One end of a conversation: talks to any port that it is told, and counts what reaches it."""

    def __init__(self) -> None:
        self.heard = 0
        """Packets."""
        self._serial = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str | object, int]) -> None:
        self.heard += 1

    def say(self, ports: range) -> None:
        """A packet of 20 ms to each of the ports: where the other side listens need not be known."""
        self._serial += 1
        head = bytes((0x80, 8)) + self._serial.to_bytes(2, "big") + (160 * self._serial).to_bytes(4, "big")
        self.send(head + b"\x00\x00\x00\x01" + b"\x2a" * 160, ports)

    def send(self, packet: bytes, ports: Iterable[int]) -> None:
        for port in ports:
            self._transport.sendto(packet, ("127.0.0.1", port))

    def close(self) -> None:
        self._transport.close()


async def voice() -> Voice:
    """A new one, at a port of its own."""
    _, made = await asyncio.get_running_loop().create_datagram_endpoint(Voice, local_addr=("127.0.0.1", 0))
    return made


class RawCall(asyncio.DatagramProtocol):
    """A call by a stranger."""

    def __init__(self, lab: Lab, user: str, caller: str) -> None:
        self._lab, self._user, self._caller = lab, user, caller
        self._id, self._tag = secrets.token_hex(8), secrets.token_hex(4)
        self._to = ""
        self._numbers = 0
        self.answers: list[tuple[str, int]] = []
        """Method and status of what the switch has answered."""
        self.asked: list[str] = []
        """Methods of what it has asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str | object, int]) -> None:
        head, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        if not head.startswith("SIP/2.0 "):
            self.asked.append(head.partition(" ")[0])
            taken = [one for one in lines if one.lower().startswith(("via:", "from:", "to:", "call-id:", "cseq:"))]
            self._send("SIP/2.0 200 OK", taken)
            return
        status = int(head.split(" ")[1])
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        number, _, method = told["cseq"].partition(" ")
        self.answers.append((method, status))
        if "tag=" in told["to"]:
            self._to = told["to"]
        if method == "INVITE" and status >= _FINAL:
            self.ask("ACK", number=int(number))

    def ask(self, method: str, *headers: str, body: str = "", number: int = 0, kind: str = "application/sdp") -> None:
        """Send a request within the call; ``number`` is that of an earlier one that it belongs to."""
        self._numbers += not number
        target = f"sip:{self._user}@127.0.0.1:{self._lab.sip_port}"
        lines = [
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{self._id}{number or self._numbers}"
            + (method if method == "ACK" else ""),
            f"From: {self._caller};tag={self._tag}",
            f"To: {self._to if self._to and method != 'CANCEL' else f'<{target}>'}",
            f"Call-ID: {self._id}",
            f"CSeq: {number or self._numbers} {method}",
            "Max-Forwards: 70",
            f"Contact: <sip:stranger@127.0.0.1:{self.port}>",
            *headers,
        ]
        self._send(f"{method} {target} SIP/2.0", lines, body, kind)

    @property
    def replaces(self) -> str:
        """The header of an INVITE that takes this call's place (RFC 3891), once it was answered."""
        return f"Replaces: {self._id};to-tag={self._to.partition('tag=')[2]};from-tag={self._tag}"

    async def is_answered(self, method: str, *statuses: int) -> int:
        """Wait until the switch has answered one of these; which."""

        async def answered() -> int:
            return next((status for one, status in self.answers if one == method and status in statuses), 0)

        return await eventually(answered, f"{statuses} to {method}; so far {self.answers}")

    def close(self) -> None:
        self._transport.close()

    def _send(self, head: str, lines: list[str], body: str = "", kind: str = "application/sdp") -> None:
        what = [f"Content-Type: {kind}"] if body else []
        whole = "\r\n".join([head, *lines, *what, f"Content-Length: {len(body)}", "", body])
        self._transport.sendto(whole.encode("utf-8"), ("127.0.0.1", self._lab.sip_port))


@contextlib.asynccontextmanager
async def raw_call(
    lab: Lab, user: str, *headers: str, caller: str = CALLER, media: int = 9, invites: bool = True
) -> AsyncIterator[RawCall]:
    """A call to ``user``, under way unless ``invites`` is false. Left open at the end; the lab ends it."""
    loop = asyncio.get_running_loop()
    _, call = await loop.create_datagram_endpoint(lambda: RawCall(lab, user, caller), local_addr=("127.0.0.1", 0))
    try:
        if invites:
            call.ask("INVITE", *headers, body=sdp(media))
        yield call
    finally:
        call.close()
