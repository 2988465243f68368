"""A name server on 127.0.0.1, over UDP and TCP, with the records that a test says."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

UDP_MAX = 1_232
TRIES = 20


@dataclass
class Zone:
    """What it knows; any other name there is not."""

    records: dict[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    """By name in small letters and kind, as a zone's file has them; a TXT as its plain text."""
    silent: set[str] = field(default_factory=set)
    """Names that it does not answer about."""
    broken: set[str] = field(default_factory=set)
    """Names about which it says SERVFAIL."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, wire: bytes, most: int | None) -> bytes | None:
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name, kind = str(question.name).rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in self.records:
            texts = [_quoted(one) if kind == "TXT" else one for one in self.records[name, kind]]
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, texts))
        elif not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        sent = reply.to_wire(max_size=65_535)
        if most is None or len(sent) <= most:
            return sent
        cut = dns.message.make_response(query, recursion_available=True)
        cut.flags |= dns.flags.TC
        return cut.to_wire()


def _quoted(text: str) -> str:
    """In strings of 255 bytes at most (RFC 1035, 3.3.14)."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


@contextmanager
def name_server(zone: Zone) -> Iterator[int]:
    """Its port."""

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, connection = self.request
            if (reply := zone.answer(wire, UDP_MAX)) is not None:
                connection.sendto(reply, self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            if (reply := zone.answer(self.rfile.read(length), None)) is not None:
                self.wfile.write(struct.pack("!H", len(reply)) + reply)

    udp, tcp = _both(Udp, Tcp)
    with udp, tcp:
        threads = [threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}) for one in (udp, tcp)]
        for thread in threads:
            thread.start()
        try:
            yield udp.server_address[1]
        finally:
            for one in (udp, tcp):
                one.shutdown()
            for thread in threads:
                thread.join()


def _both(udp: Any, tcp: Any) -> tuple[socketserver.ThreadingUDPServer, socketserver.ThreadingTCPServer]:
    """At one port, which for TCP may be taken where for UDP it is free."""
    for _ in range(TRIES):
        datagrams = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp)
        try:
            return datagrams, socketserver.ThreadingTCPServer(datagrams.server_address, tcp)
        except OSError:
            datagrams.server_close()
    raise OSError(f"no port is free for UDP and TCP, {TRIES} times")
