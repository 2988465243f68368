"""From a notice to its mail. Its words: templates in ``templates/<language>/<kind>.txt`` and ``.html``.

A text template's first line is ``Subject: …``; the rest is the body, a paragraph a line (wrapped here). Its
neighbour of the same name in HTML extends ``layout.html``. A file of the same name in the operator's own folder
replaces the shipped one, each by itself. A word that a template misspells is an error, not an empty place: see
:func:`problems`.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from charging.clock import MICROSECONDS
from charging.errors import ChargingError
from charging.ledger.accounts import Language
from charging.notify.model import Facts, Notice, NoticeKind
from charging.notify.samples import samples
from charging.notify.settings import Mail
from charging.pricing.money import CENT
from charging.pricing.rate import ceil_div
from charging.records import dataclass

if TYPE_CHECKING:
    import jinja2  # read with the first mail: a start has calls to see to before

SHIPPED = Path(__file__).parent / "templates"
TEXT_WIDTH = 72
SUBJECT = "Subject: "
_SUFFIX = re.compile(r"\.(pdf|tiff?)$", re.IGNORECASE)
_LINKS = re.compile(r"[.:@/\\]+")
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
"""Not ``str.isprintable``: that also refuses what only a newer Unicode than Python's knows, which is no danger."""


class TemplateError(ChargingError):
    """A template of a notice cannot be used."""


class BadAddress(ChargingError):
    """The notice's address is none that mail can be sent to."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who speaks, and where credit is bought."""

    name: str
    top_up_url: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words of a mail."""

    subject: str
    text: str
    html: str


class Templates:
    """Renders notices; files are read when first used, and again when they were edited."""

    def __init__(self, operator: Operator, own: Path | None = None) -> None:
        """``own``: the operator's folder, whose files go before the shipped ones."""
        self._folders = [SHIPPED] if own is None else [own, SHIPPED]
        self._operator = operator
        self._environments: dict[Language, jinja2.Environment] = {}

    def render(self, notice: Notice) -> Rendered:
        """The words of a notice. Raises TemplateError."""
        return self.words(notice.kind, notice.language, notice.facts, notice.account)

    def words(self, kind: NoticeKind, language: Language, facts: Facts, account: str) -> Rendered:
        """The words of what is not a notice yet. Raises TemplateError."""
        given: dict[str, object] = {"facts": facts, "account": account, "operator": self._operator}
        given["language"] = str(language)
        subject, text = _split(f"{language}/{kind}.txt", self._rendered(language, f"{kind}.txt", given))
        html = self._rendered(language, f"{kind}.html", {**given, "subject": subject})
        return Rendered(subject, text, html.strip() + "\n")

    def _rendered(self, language: Language, name: str, given: dict[str, object]) -> str:
        import jinja2

        path = f"{language}/{name}"
        if language not in self._environments:
            self._environments[language] = _environment(self._folders, language)
        try:
            return self._environments[language].get_template(path).render(given)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"{error.filename or error.name or path}:{error.lineno}: {error.message}") from error
        except Exception as error:  # an operator's template can raise anything at all
            raise TemplateError(f"template {path}: {error}") from error


def problems(templates: Templates) -> Iterator[str]:
    """What is wrong with the templates, a sentence each: every one of them is tried on every sample."""
    found = set()
    for kind in NoticeKind:
        for language in Language:
            for facts in samples(kind):
                try:
                    templates.words(kind, language, facts, "example")
                except TemplateError as error:
                    found.add(str(error))
    yield from sorted(found)


def _environment(folders: list[Path], language: Language) -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(filters(language))
    return made


def _split(path: str, rendered: str) -> tuple[str, str]:
    """Subject and wrapped body of a text template."""
    first, _, body = rendered.strip().partition("\n")
    subject = first.removeprefix(SUBJECT).strip()
    if not first.startswith(SUBJECT) or not subject:
        raise TemplateError(f"template {path}: found {first[:60]!r} as its first line, expected '{SUBJECT}…'")
    # Nothing that could end a header stays in it; the space that keeps an amount together does.
    plain = "".join(one if one.isprintable() or one == HARD_SPACE else " " for one in subject)
    return plain, _wrapped(body)


def _wrapped(body: str) -> str:
    lines = []
    for line in body.strip().splitlines():
        indent = "  " if line.startswith("- ") else ""
        wrapped = textwrap.wrap(
            line, TEXT_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines += [line] if len(line) <= TEXT_WIDTH else wrapped
    return "\n".join(lines) + "\n"


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
    """The mail's Message-ID: derived from the notice's key, so it is unique, and does not reveal the account."""
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


# --- amounts, days and times as Dutch and English readers write them ---------------------------------------------

HARD_SPACE = "\N{NO-BREAK SPACE}"
"""Keeps a currency mark with its amount, a day with its month and year."""
_MONTHS = {
    Language.NL: "januari februari maart april mei juni juli augustus september oktober november december".split(),
    Language.EN: "January February March April May June July August September October November December".split(),
}
_MINUTES = {Language.NL: ("minuut", "minuten"), Language.EN: ("minute", "minutes")}
_DAYS = {Language.NL: ("dag", "dagen"), Language.EN: ("day", "days")}
_CALLS = {Language.NL: ("oproep", "oproepen"), Language.EN: ("call", "calls")}
_TIMES = {Language.NL: ("keer", "keer"), Language.EN: ("time", "times")}
_MESSAGES = {Language.NL: ("bericht", "berichten"), Language.EN: ("message", "messages")}
_PAGES = {Language.NL: ("pagina", "pagina’s"), Language.EN: ("page", "pages")}


def filters(language: Language) -> dict[str, Callable[..., Any]]:
    """What templates can do with facts, in one language."""
    return {
        "euro": lambda amount: _euro(amount // CENT, language),
        "cents": lambda amount: amount // CENT,
        "cost": lambda amount: _euro(ceil_div(amount, CENT), language),
        "day": lambda text: _day(date.fromisoformat(text), language),
        "moment": lambda text: _moment(datetime.fromisoformat(text), language),
        "shortly": lambda text: _moment(datetime.fromisoformat(text), language, with_year=False),
        "between": lambda first, last: _between(datetime.fromisoformat(first), datetime.fromisoformat(last), language),
        "month": lambda text: _month(text, language),
        "minutes": lambda seconds: _counted(seconds // 60, _MINUTES[language]),
        "days": lambda count: _counted(count, _DAYS[language]),
        "calls": lambda count: _counted(count, _CALLS[language]),
        "times": lambda count: _counted(count, _TIMES[language]),
        "pages": lambda count: _counted(count, _PAGES[language]),
        "messages": lambda count: _counted(count, _MESSAGES[language]),
        "file_name": file_name,
    }


def _euro(cents: int, language: Language) -> str:
    """``€ 1.234,50`` or ``€1,234.50``. An amount that one has is rounded down (``euro``), one that one needs up
    (``cost``), so that no reader relies on more than there is."""
    whole, rest = divmod(abs(cents), 100)
    sign = "-" if cents < 0 else ""
    if language is Language.NL:
        return f"€{HARD_SPACE}{sign}{whole:,}".replace(",", ".") + f",{rest:02d}"
    return f"{sign}€{whole:,}.{rest:02d}"


def _day(day: date, language: Language, with_year: bool = True) -> str:
    return f"{day.day}{HARD_SPACE}{_MONTHS[language][day.month - 1]}" + (f"{HARD_SPACE}{day.year}" if with_year else "")


def _moment(moment: datetime, language: Language, with_year: bool = True) -> str:
    between = " om " if language is Language.NL else " at "
    return f"{_day(moment.date(), language, with_year)}{between}{moment:%H:%M}"


def _between(first: datetime, last: datetime, language: Language) -> str:
    """The beginning of a sentence that tells when, without saying a day or a minute twice."""
    on, between, joint = ("Op", "tussen", "en") if language is Language.NL else ("On", "between", "and")
    begin = _moment(first, language, with_year=False)
    if first.date() != last.date():
        return f"{between.title()} {begin} {joint} {_moment(last, language, with_year=False)}"
    if f"{first:%H:%M}" == f"{last:%H:%M}":
        return f"{on} {begin}"
    return f"{on} {_day(first.date(), language, with_year=False)} {between} {first:%H:%M} {joint} {last:%H:%M}"


def _month(text: str, language: Language) -> str:
    return _MONTHS[language][int(text[5:7]) - 1]


def _counted(count: int, unit: tuple[str, str]) -> str:
    return f"{count}{HARD_SPACE}{unit[0] if count == 1 else unit[1]}"


def file_name(text: str) -> str:
    """What customers called a document, short enough for a line. A link is written out as words: whoever knows an
    account's secret fax address chooses the name, and mail programs make links of what looks like one."""
    stem = _SUFFIX.sub("", text)
    shown = _LINKS.sub(" ", stem).strip() + text[len(stem) :] or "…"
    return shown if len(shown) <= 60 else shown[:57] + "…"
