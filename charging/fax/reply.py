"""The mail that goes back where a fax handed in by mail could not be sent (R14). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import NamedTuple

from charging.clock import MICROSECONDS
from charging.fax.mail import Letter, Wrong, is_plain_address
from charging.ledger.accounts import Language
from charging.service.fax_words import OBSTACLES
from charging.service.refusal import Obstacle

SUBJECT = {Language.NL: "Uw fax is niet verstuurd", Language.EN: "Your fax was not sent"}
_WORDS: dict[Wrong, tuple[str, str]] = {
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
    Wrong.TOO_LARGE: (
        "De e-mail met alles wat erbij zit is te groot. Stuur alleen het document, of verstuur het in delen.",
        "The mail with all that is attached is too large. Send the document alone, or in parts.",
    ),
}
_TOO_LITTLE = {
    Language.NL: "Uw beltegoed is te laag: de fax ({pages}) kost {cost} en u heeft {credit}. Er is niets afgeschreven.",
    Language.EN: "Your credit is too low: the fax ({pages}) costs {cost} and you have {credit}. Nothing was charged.",
}


_NO_MORE_TODAY: dict[Language, str] = {
    Language.NL: "Vandaag hebben wij u {count} keer gemaild dat een fax van u niet is verstuurd. Over verdere krijgt u "
    "vandaag geen bericht. Waren het uw faxen niet, en hebt u een geheim faxadres, dan kent iemand anders het: vraag "
    "ons om een nieuw adres, dan werkt het oude niet meer.",
    Language.EN: "Today we have told you {count} times that a fax of yours was not sent. Of further ones you will not "
    "be told today. If they were not yours, and you have a secret fax address, someone else knows it: ask us for a "
    "new one, and the old one stops working.",
}


class Words(NamedTuple):
    """What a reply says."""

    subject: str
    text: str
    html: str = ""
    """The same for readers of HTML; empty: text alone."""


def words(wrong: Wrong | Obstacle, language: Language | None) -> Words:
    """The words for what is wrong; in both languages where the reader's is not known."""
    dutch, english = OBSTACLES[wrong] if isinstance(wrong, Obstacle) else _WORDS[wrong]
    return _said({Language.NL: dutch, Language.EN: english}, language)


def no_more_today(language: Language | None, count: int) -> Words:
    """The words of a day's last reply, behind so many others."""
    return _said({one: text.format(count=count) for one, text in _NO_MORE_TODAY.items()}, language)


def _said(texts: Mapping[Language, str], language: Language | None) -> Words:
    read = [one for one in Language if language in (None, one)]
    return Words(" / ".join(SUBJECT[one] for one in read), "\n\n".join(texts[one] for one in read) + "\n")


def too_little(language: Language, *, pages: str, cost: str, credit: str) -> Words:
    """The words for credit that does not suffice, of an operator who has set up no mail and so no place to buy it."""
    return Words(SUBJECT[language], _TOO_LITTLE[language].format(pages=pages, cost=cost, credit=credit) + "\n")


def reply_to(letter: Letter, sender: str, said: Words, at_us: int) -> EmailMessage:
    """The mail, written at ``at_us`` (wall clock). It says that no person wrote it, so that no program answers it; the
    same letter makes the same Message-ID. Raises ValueError where ``sender`` or the letter's is no plain address: of
    another the mail library may fold a header so that its rest becomes a header of its own."""
    message = EmailMessage(policy=SMTP)
    for name, address in (("From", sender), ("To", letter.sender)):
        if not is_plain_address(address):
            raise ValueError(f"found {address!r}, expected a mail address")
        message[name] = Address(addr_spec=address)
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
