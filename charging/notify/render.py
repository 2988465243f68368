"""From a notice to the words of its mail: templates in ``templates/<language>/<kind>.txt`` and ``.html``.

A text template's first line is ``Subject: …``; the rest is the body, a paragraph a line (wrapped here). Its
neighbour of the same name in HTML extends ``layout.html``. A file of the same name in the operator's own folder
replaces the shipped one, each by itself. A word that a template misspells is an error, not an empty place: see
:func:`problems`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2

from charging.errors import ChargingError
from charging.ledger.accounts import Language
from charging.notify import words
from charging.notify.model import Facts, Notice, NoticeKind
from charging.notify.samples import samples

SHIPPED = Path(__file__).parent / "templates"
TEXT_WIDTH = 72
SUBJECT = "Subject: "


class TemplateError(ChargingError):
    """A template of a notice cannot be used."""


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
        folders = [SHIPPED] if own is None else [own, SHIPPED]
        self._operator = operator
        self._environments = {language: _environment(folders, language) for language in Language}

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
        path = f"{language}/{name}"
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
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(words.filters(language))
    return made


def _split(path: str, rendered: str) -> tuple[str, str]:
    """Subject and wrapped body of a text template."""
    first, _, body = rendered.strip().partition("\n")
    subject = first.removeprefix(SUBJECT).strip()
    if not first.startswith(SUBJECT) or not subject:
        raise TemplateError(f"template {path}: found {first[:60]!r} as its first line, expected '{SUBJECT}…'")
    # Nothing that could end a header stays in it; the space that keeps an amount together does.
    plain = "".join(one if one.isprintable() or one == words.HARD_SPACE else " " for one in subject)
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
