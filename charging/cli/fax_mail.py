"""``charging fax submit-mail``: what an MTA pipes a mail to that carries a fax."""

from __future__ import annotations

import sys
from typing import Any

import typer

from charging.cli.client import Client, Params, connected, path
from charging.cli.failure import Refusal, say
from charging.cli.options import options
from charging.errors import ChargingError
from charging.fax.mail import MAIL_BYTES_MAX, Letter, Wrong, read_letter
from charging.fax.reply import reply_to, words
from charging.ledger.accounts import Language
from charging.money import parse_euro

FALLBACK_FROM = "fax@localhost"

Words = tuple[str, str]
"""Subject and text."""


def submit_mail(
    ctx: typer.Context,
    sender: str | None = typer.Option(None, "--sender", help="The envelope's sender; empty: a bounce, dropped."),
    recipient: str = typer.Option("", "--recipient", help="The envelope's recipient; left out: To and Cc."),
    reply_from: str = typer.Option("", "--reply-from", help="Who replies; left out: mail.sender_address."),
) -> None:
    """Send the PDF or TIFF of a mail on standard input as a fax.

    The number is in the address (fax+31201234567@…, 31201234567@fax…) or in the subject; the From address must be the
    account's, and your MTA must have made sure that it is not forged. Where the fax is not sent, a reply to be mailed
    back is written to standard output. Always ends with 0, so that the MTA does not bounce as well.
    """
    data = sys.stdin.buffer.read(MAIL_BYTES_MAX + 1)
    letter = read_letter(data, envelope_sender=sender, recipient=recipient) if len(data) <= MAIL_BYTES_MAX else None
    if letter is None:
        say("dropped a mail that no person has sent, that is too large, or that has no single sender")
        return
    mail: Any = None
    try:
        settings = options(ctx).settings()
        mail = getattr(settings, "mail", None)
        with connected(settings) as client:
            answer = _submit(client, letter, mail)
    except ChargingError as error:
        say(str(error))
        answer = words(Wrong.REFUSED, None, "the service cannot be reached now; send the fax again later")
    if answer is not None:
        from_ = reply_from or (mail.sender_address if mail else "") or letter.recipient or FALLBACK_FROM
        try:
            sys.stdout.buffer.write(reply_to(letter, from_, *answer).as_bytes())
        except ValueError as error:
            say(f"no reply was made: {error}")


def _submit(client: Client, letter: Letter, mail: Any) -> Words | None:
    """Send the fax; else what to reply."""
    found = client.get("/fax-senders", {"email": letter.sender})["items"]
    if len(found) != 1:
        return words(Wrong.AMBIGUOUS_SENDER if found else Wrong.UNKNOWN_SENDER, None)
    account, language = str(found[0]["account"]), Language(found[0]["language"])
    if letter.wrong is not None or not isinstance(letter.document, bytes):
        return words(letter.wrong or Wrong.NO_DOCUMENT, language)
    params: Params = {"target": str(letter.number), "name": letter.name[:500]}
    try:
        client.send("POST", path("accounts", account, "faxes"), params=params, content=letter.document, key=letter.key)
    except Refusal as refusal:
        problem = refusal.document
        if mail is not None and "missing" in problem:
            return _short(problem, letter, account, language, mail)
        return words(Wrong.REFUSED, language, " ".join(refusal.lines))
    return None


def _short(problem: dict[str, Any], letter: Letter, account: str, language: Language, mail: Any) -> Words:
    """The notice of R14, in the operator's words."""
    from charging.notify.model import FaxRefused, NoticeKind
    from charging.notify.render import Operator, Templates

    facts = FaxRefused(
        document=letter.name,
        number=str(letter.number),
        pages=problem["pages"],
        cost=parse_euro(problem["needed"]),
        credit=parse_euro(problem["available"]),
    )
    templates = Templates(Operator(mail.sender_name, mail.top_up_url), mail.templates)
    rendered = templates.words(NoticeKind.FAX_REFUSED, language, facts, account)
    return rendered.subject, rendered.text
