"""``charging fax submit-mail``: what an MTA pipes a mail to that carries a fax.

Anyone may send a mail, so the least is done until a customer is known: what reads a mail's proof, asks the DNS and
words a reply is imported behind that. And a mail server tells a mail's sender what this command says (in a bounce, or a
report of success), so with ``--reply-by smtp`` the operator is told by syslog, and standard error says nothing of
accounts, credit, or who is a customer.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from enum import StrEnum
from logging import INFO, LogRecord
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from charging.cli.client import Client, Params, connected, path
from charging.cli.failure import Refusal, fault, one_line, say
from charging.cli.options import options
from charging.clock import MICROSECONDS, SystemClock
from charging.errors import ChargingError
from charging.fax.mail import (
    MAIL_BYTES_MAX,
    Envelope,
    Letter,
    Wrong,
    domain_of,
    original_recipient,
    read_head,
    the_number,
    with_document,
)
from charging.fax.slow_domains import Waited
from charging.priority import give_way, limit_memory
from charging.service.refusal import Code, Dropped, Obstacle
from charging.unguessable import digest_of

if TYPE_CHECKING:
    from charging.fax.reply import Words
    from charging.ledger.accounts import Language
    from charging.notify.settings import Mail
    from charging.settings import Fax

FALLBACK_FROM = "fax@localhost"
PIECE_BYTES = 1_000_000
READY_MAX_S = 150
"""A document takes 90 s at most to be made ready, and its turn comes within 15 s, or the mail comes again. To give up
sooner would have its document be made ready again, for as many days as a mail server tries."""
UNPROVEN_H = 24
"""So long a mail waits for the DNS to say who sent it. Then it is dropped: at the end of its days in the queue it would
be bounced to whoever its envelope names."""
SLOW_ADVICE = "a secret address of his own needs no DNS (`charging fax address new`)"
MEMORY_BYTES, MEMORY_EACH = 150_000_000, 20
"""Of the command, and of it for each byte of the largest mail: what takes most takes 14."""
UNKNOWN = 500
"""HTTP's statuses from here on say that nothing was decided."""
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and hands it over again. The same mail is the same fax, so
none is sent twice."""
UNKNOWN_ADDRESS = "its secret fax address is nobody's (any more)"
NOT_SET_UP = (
    "fax.mail_from_counts is not set in charging.yaml, and it went to no secret address (`charging fax address new`)"
)
TOO_LARGE_TO_PROVE = (
    "only a part of it was read (one and a half fax.max_bytes), and so no signature can prove it; with a "
    "message_size_limit of no more, its sender would be told by his own mail server"
)
LEAK_ADVICE = "is its secret address known to others? `charging fax address new {0}` makes another in its place"
KEPT = "not now; the mail is kept, and is tried again later"
SYSLOG = Path("/dev/log")


class ReplyBy(StrEnum):
    """How a reply leaves."""

    STDOUT = "stdout"
    SMTP = "smtp"


REPLY_BY = typer.Option(
    ReplyBy.STDOUT, "--reply-by", help="Write a reply to standard output, or send it by the mail server of `mail`."
)
SYSLOG_SOCKET = typer.Option(
    SYSLOG, "--syslog", help="Where the operator is told why, with --reply-by smtp; else it is standard error."
)

Tell = Callable[[str], None]
"""Tells the operator one line."""
T = TypeVar("T")
_OF_THE_MACHINE = (ChargingError, ImportError, OSError, MemoryError)
"""Faults for which no mail can do anything (the program is being replaced, …): it is kept, and tried again."""
FRAMES_MAX = 5


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose fax a mail is."""

    account: str
    """Where the mail is not known to be one account's: the first of them, which counts its replies."""
    language: Language | None
    """``None``: not known."""
    reply_to: str
    """Where a reply goes; empty: nowhere."""
    said: Words | None = None
    """What he is told in any case; ``None``: his fax is sent."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What must be so for a From to pay."""

    domains: frozenset[str]
    """At one of them the To must name the recipient."""
    why_unproven: Callable[[Letter, Waited], str]
    """Why someone else may have sent it; empty: nobody did. It notes how long name servers of the sender's were waited
    for. Raises Unanswered."""
    why_not_at_all: Callable[[Letter], str] = lambda _: ""
    """Why it is unproven whatever the DNS says; empty: that must be asked."""
    client: str = ""
    """The address of the machine that brought it."""

    @classmethod
    def of(cls, fax: Fax | None, recipient: str, data: bytes, envelope: Envelope) -> Proof | None:
        """By the settings, the mail and its envelope. Where the settings name no domains, it is the recipient's own."""
        if fax is None or not fax.mail_from_counts:
            return None
        domains = map(str.lower, fax.mail_domains or (domain_of(recipient),))

        shown = None if fax.mail_from_counts == "dkim" else envelope
        now_us = SystemClock().now().wall_us

        def why(letter: Letter, waited: Waited) -> str:
            from charging.fax.dns_lookup import Dns  # only for a customer's address
            from charging.fax.proven import why_unproven

            dns = Dns(fax.mail_dns)
            try:
                return why_unproven(data, letter, shown, dns, now_us)
            finally:
                waited.seconds += dns.waited_s

        def why_not_at_all(letter: Letter) -> str:
            from charging.fax.dns_lookup import Unanswered, answers_nothing
            from charging.fax.proven import why_unproven

            try:
                return why_unproven(data, letter, shown, answers_nothing, now_us)
            except Unanswered:
                return ""

        return cls(frozenset(filter(None, domains)), why, why_not_at_all, envelope.client)


@dataclass(frozen=True, slots=True)
class Drop:
    """A mail is neither faxed nor answered, and not bounced either: its sender may be anyone."""

    reason: Dropped
    why: str


NO_LETTER = Drop(Dropped.AUTOMATIC, "a mail that no person has sent, or that has no single plain sender")


def submit_mail(
    ctx: typer.Context,
    sender: str | None = typer.Option(
        None, "--sender", help="The envelope's sender; empty: a bounce; left out: Return-Path."
    ),
    recipient: str = typer.Option("", "--recipient", help="The envelope's recipient; left out: To."),
    by_header: bool = typer.Option(
        False, "--original-to", help="The recipient is the X-Original-To that Postfix writes above the mail (flags=O)."
    ),
    client_address: str = typer.Option("", "--client", help="The address of the machine that brought it, for SPF."),
    helo: str = typer.Option("", "--helo", help="What that machine calls itself, for SPF."),
    reply_by: ReplyBy = REPLY_BY,
    reply_from: str = typer.Option("", "--reply-from", help="Who replies; left out: mail.sender_address."),
    syslog: Path = SYSLOG_SOCKET,
) -> None:
    """Send the PDF or TIFF of a mail on standard input as a fax.

    The number is in the address (fax+31201234567@…, 31201234567@fax…) or in the subject, where it begins with + or 0.
    The account is that of the secret address (fax+SECRET@…, by `charging fax address new`), or, with
    fax.mail_from_counts, that of the From address, if the mail's DKIM signature or SPF of --client proves it. Where the
    fax is not sent, a customer gets a reply; nobody else ever does. What cannot be decided now (all lines busy, no
    daemon, no answer from the DNS) ends with 75, for which mail servers try again later; what is dropped ends with 0,
    so that no bounce goes to strangers.
    """
    give_way()
    tell = _by_syslog(syslog) if reply_by is ReplyBy.SMTP else say
    try:
        settings = options(ctx).settings()
        data, is_whole = _given(settings.fax)
        if ctx.args:
            raise Refusal("found several recipients, expected one; set chargingfax_destination_recipient_limit = 1")
        if by_header and not (recipient := original_recipient(data)):
            advice = "set flags=ORq in master.cf, and leave enable_original_recipient as it is"
            raise Refusal(f"found no X-Original-To above the mail, expected it; {advice}")
        if reply_by is ReplyBy.SMTP and settings.mail is None:
            raise Refusal("--reply-by smtp needs a section `mail` in charging.yaml")
        found = _read("a mail", lambda: read_head(data, envelope_sender=sender, recipient=recipient))
        letter = NO_LETTER if found is None else found
        proof = Proof.of(settings.fax, recipient, data, Envelope(sender or "", client_address, helo))
        with connected(settings) as client:
            reply = _taken(client, data if is_whole else None, letter, proof, settings.mail, tell)
        if reply is not None:
            from_ = reply_from or (settings.mail.sender_address if settings.mail else "") or reply.from_
            with connected(settings) as client:
                _reply(client, reply, from_, settings.mail if reply_by is ReplyBy.SMTP else None, tell)
    except Exception as error:  # noqa: BLE001  on any other code the mail would be bounced: lost, and told to a stranger
        tell(f"{error}; to be tried again later" if isinstance(error, ChargingError) else fault(error))
        if reply_by is ReplyBy.SMTP:
            say(KEPT)
        raise typer.Exit(TRY_AGAIN) from None


def _read(what: str, read: Callable[[], T]) -> T | Drop:
    """What is read of a mail. One over which the program has a fault is dropped, loudly: it would meet it again at each
    try, for days, and at their end a bounce would go to whoever the envelope names."""
    try:
        return read()
    except _OF_THE_MACHINE:
        raise
    except Exception as error:  # noqa: BLE001  of whatever kind
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        places = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
        wrong = f"a fault in the program ({type(error).__name__}: {error}) at {places}; please report it"
        return Drop(Dropped.FAULT, f"{what}: {wrong}")


def _by_syslog(socket: Path) -> Tell:
    """To whoever reads the mail server's log (facility ``mail``). Where no syslog listens the line is lost: the daemon
    still counts what is dropped, by its reason."""

    def passed_over(record: LogRecord) -> None:
        """Nothing goes to standard error, which whoever sent the mail would see."""

    def tell(line: str) -> None:
        with suppress(OSError):
            handler = SysLogHandler(str(socket), SysLogHandler.LOG_MAIL)
            handler.handleError = passed_over  # type: ignore[method-assign]
            handler.ident = "charging: "
            handler.handle(LogRecord("charging", INFO, "", 0, one_line(line), None, None))
            handler.close()

    return tell


@dataclass(frozen=True, slots=True)
class Reply:
    """What a customer is told about a mail of his."""

    said: Words
    to: Letter
    """Its sender is who gets the reply."""
    from_: str
    """Where the settings name no sender."""
    note: str
    """Of the mail."""
    account: str
    """That counts it."""


def _given(fax: Fax | None) -> tuple[bytes, bool]:
    """What the mail server hands over, and whether that is all: of a mail that is larger than what a document may be,
    its end is passed over, for a mail server takes a command that does not read it for one that has failed."""
    most = MAIL_BYTES_MAX if fax is None else min(MAIL_BYTES_MAX, fax.max_bytes * 3 // 2)
    limit_memory(MEMORY_BYTES + MEMORY_EACH * most)
    data, is_whole = sys.stdin.buffer.read(most), True
    while sys.stdin.buffer.read(PIECE_BYTES):
        is_whole = False
    return data, is_whole


def _of_customer(
    client: Client, data: bytes | None, letter: Letter | Drop, proof: Proof | None
) -> tuple[Letter, Payer] | Drop:
    """Who pays for a mail; and the mail with its document, which is looked for in a customer's alone. ``data``: the
    whole mail; ``None``: it is too large."""
    if isinstance(letter, Drop):
        return letter
    payer = _payer(client, letter, proof)
    if isinstance(payer, Drop):
        cut = data is None and payer.reason is Dropped.UNPROVEN
        return replace(payer, why=f"{payer.why}; {TOO_LARGE_TO_PROVE}") if cut else payer
    whole = _with_document(letter, data)
    if isinstance(whole, Drop):
        return whole
    if whole is None:
        from charging.fax.reply import words

        return letter, replace(payer, said=words(Wrong.TOO_LARGE, payer.language))
    return whole, payer


def _with_document(letter: Letter, data: bytes | None) -> Letter | Drop | None:
    """``None``: the mail is too large, or takes more memory than any should: it would at each try."""
    with suppress(MemoryError):
        if data is not None:
            return _read(f"a mail from {letter.sender}", lambda: with_document(letter, data)) or NO_LETTER
    return NO_LETTER if letter.answers_us else None


def _taken(
    client: Client, data: bytes | None, read: Letter | Drop, proof: Proof | None, mail: Mail | None, tell: Tell
) -> Reply | None:
    """Send the fax or drop the mail; else what to reply."""
    found = _of_customer(client, data, read, proof)
    if isinstance(found, Drop):
        _drop(client, found, tell)
        return None
    letter, payer = found
    said = payer.said or _submit(client, letter, payer, mail, tell)
    if said is None:
        return None
    said = _allowed(client, letter, payer, said, tell)
    if said is None:
        return None
    own = "" if letter.secret else letter.recipient  # which else would be told to all who see the reply
    return Reply(said, replace(letter, sender=payer.reply_to), own or FALLBACK_FROM, letter.note, payer.account)


def _allowed(client: Client, letter: Letter, payer: Payer, said: Words, tell: Tell) -> Words | None:
    """The reply; in the place of a day's last one that there will be no more; ``None``: there were enough."""
    from charging.fax.mailed import REPLIES_A_DAY, Answer
    from charging.fax.reply import no_more_today

    answer = client.get(path("mailed-faxes", letter.note), {"account": payer.account})["answer"]
    if answer == Answer.NONE:
        why = "copies of this mail, or mails of its account today, have been answered often enough"
        tell(f"no reply was made for account {payer.account}: {why}")
        return None
    if answer == Answer.REPLY:
        return said
    tell(f"{REPLIES_A_DAY} replies went to account {payer.account} today; {LEAK_ADVICE.format(payer.account)}")
    return no_more_today(payer.language, REPLIES_A_DAY)


def _drop(client: Client, drop: Drop, tell: Tell) -> None:
    """The operator is told, and the daemon counts it if it can."""
    tell(f"dropped {drop.why}")
    with suppress(Refusal):
        if client.daemon:
            client.send("POST", "/dropped-fax-mails", {"reason": drop.reason})


def _payer(client: Client, letter: Letter, proof: Proof | None) -> Payer | Drop:
    """Who pays, else what becomes of the mail."""
    if letter.secret:
        found = client.get(path("fax-addresses", digest_of(letter.secret)))["items"]
        if not found:
            return Drop(Dropped.UNKNOWN_ADDRESS, f"a mail from {letter.sender}: {UNKNOWN_ADDRESS}")
        from charging.ledger.accounts import Language

        return Payer(found[0]["account"], Language(found[0]["language"]), found[0]["email"])
    if proof is None:
        return Drop(Dropped.NOT_SET_UP, f"a mail from {letter.sender}: {NOT_SET_UP}")
    found = client.get("/fax-senders", {"email": letter.sender})["items"]
    if not found:  # first: the DNS is asked about customers' domains alone, or any stranger could have us ask for names
        return Drop(Dropped.STRANGER, f"a mail from {letter.sender}: no customer of ours has this address")
    mail = f"a mail that says to be from {letter.sender}"
    if why := _read(mail, lambda: _unproven(client, letter, proof)):
        return why if isinstance(why, Drop) else Drop(Dropped.UNPROVEN, f"{mail}: {why}")
    from charging.fax.reply import words
    from charging.ledger.accounts import Language

    languages = {Language(one["language"]) for one in found}
    language = languages.pop() if len(languages) == 1 else None
    said = words(Wrong.AMBIGUOUS_SENDER, language) if len(found) != 1 else None
    return Payer(found[0]["account"], language, letter.sender, said)


def _unproven(client: Client, letter: Letter, proof: Proof) -> str | Drop:
    """Why the sender may be another; empty: it is he. His signature stays good whoever hands his mail in, also one
    that he wrote to another operator's ``fax@``. Raises Unanswered; and Refusal where the domain's name servers were
    slow, so that its mails are proven one at a time."""
    if not proof.domains:
        return "neither --recipient nor fax.mail_domains tells where faxes are taken"
    if proof.domains.isdisjoint(letter.addressed_at):
        return "its To does not name this address, so another may have handed in what was written to someone else"
    if why := proof.why_not_at_all(letter):
        return why  # at once: kept for long, it would be bounced to whoever its envelope names
    from charging.fax.dns_lookup import Unanswered
    from charging.sources import neighbourhood

    wanted = {"domain": letter.domain.lower()[:254], "network": neighbourhood(proof.client)[:50], "mail": letter.note}
    try:
        with _waiting_for(client, wanted) as waited:
            return proof.why_unproven(letter, waited)
    except (Unanswered, _AskedLately) as error:  # of a daemon that has just gone it only waits
        why = f"it came {UNPROVEN_H} hours ago or earlier" if _hours_since(letter.received) >= UNPROVEN_H else ""
        if isinstance(error, _AskedLately) and not error.may_come_again:
            why = "too many mails of this domain from there wait already"
        if not why:
            raise
        return Drop(Dropped.SLOW_DNS, f"a mail that says to be from {letter.sender}: {error}; {why}; {SLOW_ADVICE}")


def _hours_since(date: str) -> float:
    """0 where no date is told."""
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return (SystemClock().now().wall_us / MICROSECONDS - parsedate_to_datetime(date).timestamp()) / 3600
    return 0.0


class _AskedLately(Refusal):
    """A domain's name servers are slow, and were waited for just now."""

    may_come_again = True
    """Whether the mail may wait for its turn."""


@contextmanager
def _waiting_for(client: Client, wanted: dict[str, str]) -> Iterator[Waited]:
    """Around what waits for a customer's name servers, while it holds one of the mail server's places. Raises
    _AskedLately where they were slow lately: one mail of such a domain waits at a time, and the others come again.
    ``wanted``: the domain, each kind of wait by itself, and what is known of the mail."""
    domain = wanted["domain"]
    begun = client.send("POST", "/name-server-waits", wanted)
    if not begun["may_begin"]:
        asked = _AskedLately(f"the DNS is slow about {domain}, and was asked about another mail of it just now")
        asked.may_come_again = begun["may_come_again"]
        raise asked
    waited = Waited()
    try:
        yield waited
    finally:
        with suppress(ChargingError):
            ended = {"domain": domain, "network": wanted.get("network", ""), "took_s": min(3600, waited.seconds)}
            client.send("POST", "/name-server-waits/ended", ended)


def _submit(client: Client, letter: Letter, payer: Payer, mail: Mail | None, tell: Tell = say) -> Words | None:
    """Send the fax; else what to reply. Raises Refusal where another attempt may fare better."""
    from charging.fax.reply import words

    account, language = payer.account, payer.language
    assert language is not None, "it is known whose fax it is"
    number, document = _number(client, letter, tell), letter.document
    if isinstance(number, Wrong):
        return words(number, language)
    if isinstance(document, Wrong):
        return words(document, language)
    params: Params = {"target": number, "name": letter.name[:500], "note": letter.note}
    try:
        where = path("accounts", account, "mailed-faxes")
        client.send("POST", where, params=params, content=document, key=letter.key, timeout_s=READY_MAX_S)
    except Refusal as refusal:
        problem = refusal.document
        if problem.get("status", UNKNOWN) >= UNKNOWN:
            raise
        tell(f"no fax for account {account}: {refusal}")  # the operator's wording; the customer gets his own
        if problem["code"] == Code.KEY_REUSED:
            return None  # the same mail was faxed before, and something of the account has changed since
        if "missing" not in problem:
            return words(Obstacle(problem["obstacle"] or Obstacle.TROUBLE), language)
        return _short(problem, letter.name, number, account, language, mail)
    return None


def _number(client: Client, letter: Letter, tell: Tell) -> str | Wrong:
    """The one number that the letter names, as the tariff's country reads it: here, and not where calls are decided,
    for a subject full of digits takes 50 ms."""
    if isinstance(letter.target, Wrong):
        return letter.target
    from charging.tariff.written_numbers import written_numbers

    text, region = letter.target, client.get("/tariff")["region"]
    found = _read("no number in a mail", lambda: written_numbers(text, region))
    if isinstance(found, Drop):
        tell(found.why)
        return Wrong.NO_NUMBER
    return the_number(sorted(found))


def _reply(client: Client, reply: Reply, sender: str, mail: Mail | None, tell: Tell) -> None:
    """Write the reply to standard output, or send it, and count it. Raises MailServerTrouble where it can be sent
    later; and Refusal where the recipient's name servers were slow, for which the mail server may wait."""
    from charging.fax.reply import reply_to

    if not reply.to.sender:
        tell("no reply was made: the account has no mail address")
        return
    try:
        message = reply_to(reply.to, sender, reply.said, SystemClock().now().wall_us)
    except ValueError as error:
        tell(f"no reply was made: {error}")
        return
    if mail is None:
        sys.stdout.buffer.write(message.as_bytes())
    else:
        with _waiting_for(client, {"domain": f"replies to {reply.to.domain.lower()}"[:254]}) as waited:
            try:
                asyncio.run(_send(message, mail, tell, waited))
            except _Unreached:
                _count(client, reply)
                raise
    _count(client, reply)


def _count(client: Client, reply: Reply) -> None:
    with suppress(ChargingError):  # one more reply is better than none
        client.send("POST", path("mailed-faxes", reply.note, "replies"), params={"account": reply.account})


class _Unreached(ChargingError):
    """The mail server fell silent over this reply, or hung up, and takes others; or it said late that it does not take
    it now. Its recipient's name servers may be why. It counts as a reply: else the mail would come again for days, and
    hold a place for half a minute each time."""


async def _send(message: EmailMessage, mail: Mail, tell: Tell, waited: Waited) -> None:
    """Raises MailServerTrouble, and _Unreached."""
    from charging.notify.smtp import Fate, MailServerTrouble, Smtp
    from charging.settings import mail_password

    smtp, clock = Smtp(mail, mail_password(mail)), SystemClock()
    await smtp.open()
    try:
        begun = clock.now()
        try:
            verdict = await smtp.send(message)
        except MailServerTrouble as error:
            took_s = begun.seconds_until(clock.now())
            await smtp.reopen()
            waited.seconds += took_s
            raise _Unreached(f"the mail server did not take a reply to this sender: {error}") from error
        if verdict.fate is not Fate.SENT:  # how long one takes that it takes is its own doing
            waited.seconds += begun.seconds_until(clock.now())
    finally:
        await smtp.close()
    if verdict.fate is Fate.LATER:
        raise (_Unreached if waited.is_slow else MailServerTrouble)(verdict.why)
    if verdict.fate is Fate.NEVER:
        tell(f"the mail server takes no reply to this sender: {verdict.why}")


def _short(
    problem: dict[str, Any], document: str, number: str, account: str, language: Language, mail: Mail | None
) -> Words:
    """R14: what is missing, as the operator's notice says it; shorter where no mail is set up that it could name."""
    from charging.fax.reply import Words, too_little
    from charging.notify.model import FaxRefused, NoticeKind
    from charging.notify.policy import plain
    from charging.notify.render import Operator, Templates, filters
    from charging.pricing.money import parse_euro

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
