"""Sends mails: one SMTP connection for a batch, by aiosmtplib.

What the server says about *one mail* is a :class:`Verdict`; what keeps *every* mail from leaving (no connection, TLS,
a wrong password, a sender that is refused, a server that falls silent or hangs up) is :class:`MailServerTrouble`. A
server may also fall silent or hang up over one mail, whose recipient's domain it looks up: `Smtp.reopen` tells.

- 4xx: later. 5xx about recipient or contents: never. The 5.7 family ("not authorised", "relaying denied") is an
  exception: a policy or setting is wrong and may be corrected, so: later.
- Each step has a deadline, and each mail one of its own over all its steps, so that a server which keeps sending a
  little holds nobody up.
- With ``starttls`` a server that does not offer it is trouble; nothing then goes out in the clear.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from enum import StrEnum

import aiosmtplib
from pydantic import SecretStr

from charging.errors import ChargingError, ConfigError, Problem
from charging.notify.settings import Mail
from charging.records import dataclass
from charging.tasks import within

CLOSING = 421
"""The server is about to hang up."""
QUIT_TIMEOUT_S = 2.0
WHY_LENGTH_MAX = 300
_POLICY = re.compile(r"\b5\.7\.[0-9]{1,3}\b")


_KEYS = (
    (re.compile(r"STARTTLS|WRONG_VERSION_NUMBER|CERTIFICATE|encryption|EOF|^454\b", re.I), "mail.tls and mail.ca_file"),
    (re.compile(r"AUTH|^5(30|34|35)\b", re.I), "mail.user and its password"),
    (re.compile(r"^5[0-9][0-9]\b"), "mail.sender_address, and whether the server takes mails of this machine"),
    (re.compile(r"refused$|unreachable|no route|service not known|no answer", re.I), "mail.host and mail.port"),
)
"""By what a server says, which settings are mostly at fault. The first that fits counts."""


class MailServerTrouble(ChargingError):
    """The mail server cannot be used now."""


class Fate(StrEnum):
    """What becomes of one mail."""

    SENT = "sent"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server said about one mail."""

    fate: Fate
    why: str = ""
    """Its words, on one line; empty where it took the mail."""


class Smtp:
    """One connection at a time: ``open``, any number of ``send``, ``close``."""

    def __init__(self, mail: Mail, password: SecretStr | None = None) -> None:
        """Raises ConfigError where ``ca_file`` cannot be read."""
        self._mail = mail
        self._password = password
        self._tls = None if mail.tls == "none" else _tls_context(mail)
        self._client: aiosmtplib.SMTP | None = None

    async def open(self) -> None:
        """Connect, secure, log in. Raises MailServerTrouble with what to look at."""
        mail = self._mail
        client = aiosmtplib.SMTP(
            hostname=mail.host,
            port=mail.port,
            use_tls=mail.tls == "implicit",
            start_tls=mail.tls == "starttls",
            tls_context=self._tls,
            username=mail.user,
            password=self._password.get_secret_value() if self._password else None,
            timeout=float(mail.timeout_s),
        )
        try:
            await within(float(mail.timeout_s), _greet(client))
        except Exception as error:  # of whatever type: the driver's faults are no end of ours
            client.close()
            raise MailServerTrouble(f"{_place(mail)}: {_said(error)}{_cure(error)}") from error
        self._client = client

    async def try_sender(self) -> None:
        """Name the sender, as for a mail, and take it back: some servers only then say that they want TLS or a login.
        Raises MailServerTrouble."""
        mail, client = self._mail, self._client
        assert client is not None, "opened"
        try:
            await within(float(mail.timeout_s), client.mail(mail.sender_address))
            await within(float(mail.timeout_s), client.rset())
        except Exception as error:  # as in `open`
            self._drop()
            said = f"the sender {mail.sender_address} is refused: {_said(error)}{_cure(error)}"
            raise MailServerTrouble(f"{_place(mail)}: {said}") from error

    async def reopen(self) -> None:
        """Connect again after trouble over one mail, and name the sender, to see whether the trouble is that mail's or
        the server's. Raises MailServerTrouble if it is the server's."""
        self._drop()
        await self.open()
        await self.try_sender()

    async def send(self, message: EmailMessage) -> Verdict:
        """Hand over one mail. Raises MailServerTrouble when the connection is of no use any more; whether the server
        took the mail is then unknown. `reopen` tells whether it takes others."""
        client = self._client
        if client is None or not client.is_connected:
            raise MailServerTrouble("there is no connection")
        try:
            await within(float(self._mail.timeout_s), client.send_message(message))
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            return _verdict(first.code, str(first.message))
        except aiosmtplib.SMTPSenderRefused as error:
            if error.code >= 500:
                raise MailServerTrouble(f"the sender {self._mail.sender_address} is refused: {_said(error)}") from error
            return _verdict(error.code, str(error.message))
        except (aiosmtplib.SMTPNotSupported, ValueError) as error:
            return Verdict(Fate.NEVER, _said(error))
        except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPRecipientRefused) as error:
            return _verdict(error.code, str(error.message))
        except Exception as error:  # as in `open`
            self._drop()
            raise MailServerTrouble(f"lost in mid-mail: {_said(error)}") from error
        return Verdict(Fate.SENT)

    async def close(self) -> None:
        """Take leave; politeness is bounded, and nothing is raised."""
        client = self._client
        if client is None:
            return
        with suppress(Exception):
            await within(QUIT_TIMEOUT_S, client.quit())
        self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def _place(mail: Mail) -> str:
    return f"{mail.host}:{mail.port}" + ("" if mail.tls == "none" else f" ({mail.tls})")


async def _greet(client: aiosmtplib.SMTP) -> None:
    await client.connect()
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()


def _verdict(code: int, said: str) -> Verdict:
    said = _one_line(f"{code} {said}")
    if code == CLOSING:
        raise MailServerTrouble(said)
    never = code >= 500 and not _POLICY.search(said)
    return Verdict(Fate.NEVER if never else Fate.LATER, said)


def _said(error: BaseException) -> str:
    if isinstance(error, aiosmtplib.SMTPConnectError) and (number := _number_of(error.__cause__)):
        return os.strerror(number)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _one_line(f"{error.code} {error.message}")
    if isinstance(error, TimeoutError):
        return _one_line(str(error) or "no answer in time")
    if isinstance(error, (aiosmtplib.SMTPException, OSError, ValueError)):
        return _one_line(str(error) or type(error).__name__)
    return _one_line(f"{type(error).__name__}: {error}")


def _number_of(error: BaseException | None) -> int | None:
    """The operating system's number of an error; ``None``: it has none. (TLS and names have numbers of their own.)"""
    if isinstance(error, ssl.SSLError | socket.gaierror) or not isinstance(error, OSError):
        return None
    return error.errno


def _cure(error: BaseException) -> str:
    """Which key of the settings to look at, in brackets; empty if the words of the error say it."""
    said = _said(error)
    return next((f" (look at {keys})" for words, keys in _KEYS if words.search(said)), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:WHY_LENGTH_MAX]


def _tls_context(mail: Mail) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=mail.ca_file)
    except (OSError, ssl.SSLError) as error:
        found = f"{mail.ca_file}: {getattr(error, 'strerror', None) or error}"
        problem = Problem("", "mail.ca_file", found, "certificates in PEM")
        raise ConfigError([problem]) from error
