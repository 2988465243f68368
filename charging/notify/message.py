"""From a notice and its words to a mail."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from unicodedata import category

from charging.clock import MICROSECONDS
from charging.errors import ChargingError
from charging.notify.model import Notice
from charging.notify.render import Rendered
from charging.notify.settings import Mail

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
"""Not ``str.isprintable``: that also refuses what only a newer Unicode than Python's knows, which is no danger."""


class BadAddress(ChargingError):
    """The notice's address is none that mail can be sent to."""


def message_of(notice: Notice, words: Rendered, mail: Mail) -> EmailMessage:
    """The mail. The same notice makes the same Message-ID, so that one that is sent twice is recognised.

    Raises BadAddress. No header can be smuggled in: the parts of an address are parsed one by one, and a line
    break within any value is refused by the mail library.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(mail.sender_name, addr_spec=mail.sender_address)
    message["To"] = _address(notice.address)
    message["Subject"] = words.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at_us // MICROSECONDS, UTC))
    message["Message-ID"] = message_id(notice, mail)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(words.text, cte="quoted-printable")
    message.add_alternative(words.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = str(notice.language)
    return message


def message_id(notice: Notice, mail: Mail) -> str:
    """Derived from what is unique among all notices; tells nobody the account."""
    digest = hashlib.sha256(notice.key.encode()).hexdigest()[:32]
    return f"<{digest}@{mail.sender_address.rpartition('@')[2]}>"


def _address(text: str) -> Address:
    """The library parses ASCII only; a name outside it (which needs a server with SMTPUTF8) is held to the same rules
    by an ASCII likeness of it."""
    likeness = "".join(one if one.isascii() else " " if category(one) in _UNSEEN else "x" for one in text)
    try:
        Address(addr_spec=likeness)
        name, _, domain = text.rpartition("@")
        return Address(username=name, domain=domain)
    except (ValueError, IndexError, MessageError) as error:
        raise BadAddress(f"no mail can be addressed so: {error}") from error
