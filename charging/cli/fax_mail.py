"""``charging fax submit-mail``: what an MTA pipes a mail to that carries a fax."""

from __future__ import annotations

import asyncio
import sys
from email.message import EmailMessage
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from charging.cli.client import Client, Params, connected, path
from charging.cli.failure import Refusal, say
from charging.cli.options import options
from charging.clock import SystemClock
from charging.errors import ChargingError
from charging.fax.authentic import why_not
from charging.fax.mail import MAIL_BYTES_MAX, Letter, Wrong, read_letter, the_number
from charging.fax.reply import Words, reply_to, too_little, words
from charging.ledger.accounts import Language
from charging.pricing.money import parse_euro
from charging.service.refusal import Code, Obstacle

if TYPE_CHECKING:
    from charging.notify.settings import Mail
    from charging.settings import Settings

FALLBACK_FROM = "fax@localhost"
UNKNOWN = 500
"""HTTP's statuses from here on say that nothing was decided."""
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and hands it over again. The same mail is the same fax, so
none is sent twice."""


class ReplyBy(StrEnum):
    """How a reply leaves."""

    STDOUT = "stdout"
    SMTP = "smtp"


REPLY_BY = typer.Option(
    ReplyBy.STDOUT, "--reply-by", help="Write a reply to standard output, or send it by the mail server of `mail`."
)


def submit_mail(
    ctx: typer.Context,
    sender: str | None = typer.Option(None, "--sender", help="The envelope's sender; empty: a bounce, dropped."),
    recipient: str = typer.Option("", "--recipient", help="The envelope's recipient; left out: To and Cc."),
    reply_by: ReplyBy = REPLY_BY,
    reply_from: str = typer.Option("", "--reply-from", help="Who replies; left out: mail.sender_address."),
) -> None:
    """Send the PDF or TIFF of a mail on standard input as a fax.

    The number is in the address (fax+31201234567@…, 31201234567@fax…) or in the subject, where it begins with + or 0;
    the From address must be the account's, and proven by the Authentication-Results of your mail server, which
    fax.mail_verified_by names. Where the fax is not sent, a customer gets a reply; nobody else ever does. What cannot
    be decided now (all lines busy, no daemon) ends with 75, for which mail servers try again later.
    """
    data = sys.stdin.buffer.read(MAIL_BYTES_MAX + 1)
    letter = read_letter(data, envelope_sender=sender, recipient=recipient) if len(data) <= MAIL_BYTES_MAX else None
    if letter is None:
        say("dropped a mail that no person has sent, that is too large, or that has no single plain sender")
        return
    try:
        settings = options(ctx).settings()
        if reply_by is ReplyBy.SMTP and settings.mail is None:
            raise Refusal("--reply-by smtp needs a section `mail` in charging.yaml")
        if (why := _unproven(letter, settings)) is not None:
            say(f"dropped a mail that says to be from {letter.sender}: {why}")
            return
        with connected(settings) as client:
            said = _submit(client, letter, settings.mail)
        if said is not None:
            from_ = reply_from or (settings.mail.sender_address if settings.mail else "") or letter.recipient
            _reply(letter, from_ or FALLBACK_FROM, said, settings.mail if reply_by is ReplyBy.SMTP else None)
    except ChargingError as error:
        say(f"{error}; to be tried again later")
        raise typer.Exit(TRY_AGAIN) from None


def _unproven(letter: Letter, settings: Settings) -> str | None:
    """Why the sender may be another; ``None``: it is he. Raises Refusal where the settings name nobody who knows."""
    server = settings.fax.mail_verified_by if settings.fax is not None else None
    if server is None:
        raise Refusal("faxes by mail need fax.mail_verified_by in charging.yaml: anybody can write any From")
    if not letter.is_addressed:
        return "its To does not name this address, so another may have handed in what was written to somebody else"
    return why_not(letter.authentication, server, letter.domain) or None


def _submit(client: Client, letter: Letter, mail: Mail | None) -> Words | None:
    """Send the fax; else what to reply, which a stranger is not. Raises Refusal where another attempt may fare
    better."""
    found = client.get("/fax-senders", {"email": letter.sender})["items"]
    if not found:
        say(f"dropped a mail from {letter.sender}: no customer of ours has this address")
        return None
    languages = {Language(one["language"]) for one in found}
    language = languages.pop() if len(languages) == 1 else None
    if len(found) != 1 or language is None:
        return words(Wrong.AMBIGUOUS_SENDER, language)
    account = str(found[0]["account"])
    number, document = _number(client, letter), letter.document
    if isinstance(number, Wrong):
        return words(number, language)
    if isinstance(document, Wrong):
        return words(document, language)
    params: Params = {"target": number, "name": letter.name[:500]}
    try:
        client.send("POST", path("accounts", account, "faxes"), params=params, content=document, key=letter.key)
    except Refusal as refusal:
        problem = refusal.document
        if problem.get("status", UNKNOWN) >= UNKNOWN:
            raise
        say(f"no fax for account {account}: {refusal}")  # the operator's wording; the customer gets his own
        if problem["code"] == Code.KEY_REUSED:
            return None  # the same mail was faxed before, and something of the account has changed since
        if "missing" not in problem:
            return words(Obstacle(problem["obstacle"] or Obstacle.TROUBLE), language)
        return _short(problem, letter.name, number, account, language, mail)
    return None


def _number(client: Client, letter: Letter) -> str | Wrong:
    """The one number that the letter names, as the tariff's country reads it."""
    if isinstance(letter.target, Wrong):
        return letter.target
    return the_number(client.get("/fax-targets", {"text": letter.target})["items"])


def _reply(letter: Letter, sender: str, said: Words, mail: Mail | None) -> None:
    """Write the reply to standard output, or send it. Raises MailServerTrouble where it can be sent later."""
    try:
        message = reply_to(letter, sender, said, SystemClock().now().wall_us)
    except ValueError as error:
        say(f"no reply was made: {error}")
        return
    if mail is None:
        sys.stdout.buffer.write(message.as_bytes())
    else:
        asyncio.run(_send(message, mail))


async def _send(message: EmailMessage, mail: Mail) -> None:
    from charging.notify.smtp import Fate, MailServerTrouble, Smtp
    from charging.settings import mail_password

    smtp = Smtp(mail, mail_password(mail))
    await smtp.open()
    try:
        verdict = await smtp.send(message)
    finally:
        await smtp.close()
    if verdict.fate is Fate.LATER:
        raise MailServerTrouble(verdict.why)
    if verdict.fate is Fate.NEVER:
        say(f"the mail server takes no reply to this sender: {verdict.why}")


def _short(
    problem: dict[str, Any], document: str, number: str, account: str, language: Language, mail: Mail | None
) -> Words:
    """R14: what is missing, as the operator's notice says it; shorter where no mail is set up that it could name."""
    from charging.notify.model import FaxRefused, NoticeKind
    from charging.notify.policy import plain
    from charging.notify.render import Operator, Templates
    from charging.notify.words import filters

    facts = FaxRefused(
        document=plain(document),
        number=number,
        pages=problem["pages"],
        cost=parse_euro(problem["needed"]),
        credit=parse_euro(problem["available"]),
    )
    if mail is None:
        said = filters(language)
        pages, cost, credit = said["pages"](facts.pages), said["cost"](facts.cost), said["euro"](facts.credit)
        return too_little(language, pages=pages, cost=cost, credit=credit)
    templates = Templates(Operator(mail.sender_name, mail.top_up_url), mail.templates)
    rendered = templates.words(NoticeKind.FAX_REFUSED, language, facts, account)
    return Words(rendered.subject, rendered.text, rendered.html)
