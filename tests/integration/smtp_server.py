"""A real SMTP server for tests (aiosmtpd, in a thread of its own) that also refuses, stalls and hangs up."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from charging.lab.ports import free_port

STALL_S = 60
"""Longer than any test waits."""
USER, PASSWORD = "charging", "s3cret-€"


@dataclass
class Certificate:
    """Self-made, for 127.0.0.1."""

    cert: Path
    key: Path

    @classmethod
    def made(cls, folder: Path) -> Certificate:
        cert, key = folder / "cert.pem", folder / "key.pem"
        subject = ["-subj", "/CN=mail.test", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cls(cert, key)

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass
class Mailbox:
    """What the server does, and what it got. Answers are looked up by recipient."""

    at_rcpt: dict[str, str] = field(default_factory=dict)
    """A reply such as ``451 later``, or the words ``stall`` and ``drop``."""
    at_data: dict[str, str] = field(default_factory=dict)
    at_sender: str = ""
    got: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    greetings: int = 0
    """EHLOs: one a connection, two where it is secured by STARTTLS."""
    logins: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    """For each mail, whether it came by TLS."""
    stalls: int = 0
    """How often the server has fallen silent."""

    async def handle_EHLO(  # noqa: N802  aiosmtpd's names
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.greetings += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.at_sender:
            return self.at_sender
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, self.at_rcpt.get(address))
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,) = envelope.rcpt_tos
        answer = await self._answer(server, self.at_data.get(recipient))
        if answer is not None:
            return answer
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.got.append(message)
        self.recipients.append(recipient)
        self.secured.append(session.ssl is not None)
        return "250 taken"

    async def _answer(self, server: SMTP, what: str | None) -> str | None:
        if what == "stall":
            self.stalls += 1
            await asyncio.sleep(STALL_S)
        if what == "drop":
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return what

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)


@contextmanager
def mail_server(
    mailbox: Mailbox,
    *,
    implicit: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    auth: bool = False,
    port: int | None = None,
    utf8: bool = True,
) -> Iterator[int]:
    """The port of a running server."""
    options: dict[str, Any] = {
        "tls_context": starttls,
        "require_starttls": starttls is not None,
        "enable_SMTPUTF8": utf8,
    }
    if auth:
        options |= {"authenticator": mailbox.authenticate, "auth_required": True}
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port or free_port(), ssl_context=implicit, ready_timeout=30, **options
    )
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextmanager
def raw_server(greeting: bytes | None, *, then_close: bool = False) -> Iterator[int]:
    """The port of something that takes connections, says ``greeting`` (``None``: nothing) and no more."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if greeting is not None:
                connection.sendall(greeting)
            if then_close:
                connection.close()

    thread = threading.Thread(target=serve, name="raw-server")
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()
