"""The mail that goes back where a fax handed in by mail could not be sent (R14). Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import NamedTuple

from charging.clock import MICROSECONDS
from charging.fax.mail import Letter, Wrong
from charging.ledger.accounts import Language

SUBJECT = {Language.NL: "Uw fax is niet verstuurd", Language.EN: "Your fax was not sent"}
_WORDS = {
    Wrong.UNKNOWN_SENDER: (
        "Dit e-mailadres hoort bij geen van onze klanten. Verstuur de fax vanaf het adres dat bij ons bekend is.",
        "This mail address belongs to none of our customers. Send the fax from the address that we know.",
    ),
    Wrong.AMBIGUOUS_SENDER: (
        "Dit e-mailadres hoort bij meer dan één klant, zodat wij niet weten wie de fax verstuurt.",
        "This mail address belongs to more than one customer, so that we do not know who sends the fax.",
    ),
    Wrong.NO_NUMBER: (
        "Er staat geen bestaand faxnummer in het adres of in het onderwerp. Schrijf het met het landnummer, "
        "bijvoorbeeld +31201234567.",
        "There is no valid fax number in the address or in the subject. Write it with the country's code, "
        "for example +31201234567.",
    ),
    Wrong.MANY_NUMBERS: (
        "Er staat meer dan één nummer in het adres of in het onderwerp, of het is niet duidelijk waar het nummer "
        "eindigt. Schrijf er één, zonder spaties, en verstuur elke fax met een eigen e-mail.",
        "There is more than one number in the address or in the subject, or it is not clear where the number ends. "
        "Write one, without spaces, and send each fax by a mail of its own.",
    ),
    Wrong.NO_DOCUMENT: (
        "Er is geen PDF of TIFF bijgevoegd.",
        "There is no PDF or TIFF attached.",
    ),
    Wrong.MANY_DOCUMENTS: (
        "Er is meer dan één document bijgevoegd. Verstuur elk document met een eigen e-mail.",
        "There is more than one document attached. Send each by a mail of its own.",
    ),
    Wrong.REFUSED: (
        "De fax kon niet worden verstuurd. Er is niets afgeschreven. De reden, in het Engels:",
        "The fax could not be sent. Nothing was charged. The reason:",
    ),
}


class Words(NamedTuple):
    """What a reply says."""

    subject: str
    text: str
    html: str = ""
    """The same for readers of HTML; empty: text alone."""


def words(wrong: Wrong, language: Language | None, detail: str = "") -> Words:
    """The words for what is wrong; in both languages where the reader's is not known."""
    dutch, english = _WORDS[wrong]
    paragraphs = [text for one, text in ((Language.NL, dutch), (Language.EN, english)) if language in (None, one)]
    subject = " / ".join(text for one, text in SUBJECT.items() if language in (None, one))
    return Words(subject, "\n\n".join([*paragraphs, *([detail] if detail else [])]) + "\n")


def reply_to(letter: Letter, sender: str, said: Words, at_us: int) -> EmailMessage:
    """The mail, written at ``at_us`` (wall clock). It says that no person wrote it, so that no program answers it; the
    same letter makes the same Message-ID. Raises ValueError for a ``sender`` that is no address."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address(addr_spec=sender)
        message["To"] = Address(addr_spec=letter.sender)
    except (ValueError, IndexError, MessageError) as error:
        raise ValueError(f"found {sender!r}, expected a mail address") from error
    message["Subject"] = said.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at_us // MICROSECONDS, UTC))
    message["Message-ID"] = f"<{letter.key}@{sender.rpartition('@')[2]}>"
    if letter.message_id:
        message["In-Reply-To"] = letter.message_id
        message["References"] = letter.message_id
    message["Auto-Submitted"] = "auto-replied"
    message.set_content(said.text, cte="quoted-printable")
    if said.html:
        message.add_alternative(said.html, subtype="html", cte="quoted-printable")
    return message
