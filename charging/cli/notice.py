"""``charging notice …``: what subscribers are told by mail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charging.cli.failure import Refusal
from charging.cli.options import DEFAULT_CONFIG, JSON_OPTION, Options, options
from charging.cli.output import Column, show_rows
from charging.ledger.accounts import Language

if TYPE_CHECKING:
    from charging.notify.render import Templates
    from charging.notify.settings import Mail

notice = typer.Typer(help="Mails to subscribers.", no_args_is_help=True, rich_markup_mode=None)

FORMATS = ("text", "html")
PREVIEW_ACCOUNT = "example"
PREVIEW_URL = "https://www.example.nl/top-up"
TEMPLATES = typer.Option(
    None,
    "--templates",
    help="A folder whose templates go before the shipped ones.",
    show_default="that of the settings, where there are any",
)
LANGUAGE = typer.Option(Language.NL, "--language", "-l", help="The subscriber's language.")
WHEN = {
    "low-credit": ("R15", "Credit is below the plan's low_credit; again after a top-up."),
    "low-free-minutes": ("R16", "Few free minutes, and no credit for a call after them; again in a new month."),
    "missed-call": ("R13", "A call to a number with paid voicemail was not answered for want of credit."),
    "missed-calls": ("R13", "The same for several calls that came soon after such a mail, together."),
    "credit-expiry": ("R20", "Credit expires; as many days ahead as the tariff says, each once."),
    "subscription-ending": ("R20", "The same, while the paid subscription still runs."),
    "gift-ending": ("", "Promotional credit or a pack ends within a week."),
    "fax-refused": ("R14", "A fax handed in by mail was not sent for want of credit."),
}


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(notice, name="notice")


@notice.command("list")
def list_kinds(ctx: typer.Context, templates: Path | None = TEMPLATES, as_json: bool = JSON_OPTION) -> None:
    """The kinds of notices, and when each is sent. Every template is tried; what is wrong with one is said."""
    from charging.notify.render import problems

    rows = [{"kind": kind, "rule": rule, "when": when} for kind, (rule, when) in WHEN.items()]
    show_rows(rows, (Column("kind", "kind"), Column("rule", "rule"), Column("when", "sent")), as_json=as_json, none="")
    wrong = list(problems(_templates(options(ctx), templates)))
    if wrong:
        raise Refusal(*wrong)


@notice.command("preview")
def preview(
    ctx: typer.Context,
    kind: str = typer.Argument(help="One of those that `charging notice list` shows.", show_default=False),
    language: Language = LANGUAGE,
    output: str = typer.Option("text", "--format", help="text or html."),
    turn: int = typer.Option(1, "--turn", min=1, help="Other figures, and so other words: 1, 2, …"),
    templates: Path | None = TEMPLATES,
) -> None:
    """A notice with made-up figures, as it would be sent.

    With the operator's name, link and templates, where the settings have a section `mail`.
    """
    from charging.notify.model import NoticeKind
    from charging.notify.samples import samples

    if kind not in WHEN:
        raise Refusal(f"found the kind {kind!r}, expected one of {', '.join(WHEN)}")
    if output not in FORMATS:
        raise Refusal(f"found the format {output!r}, expected one of {', '.join(FORMATS)}")
    facts = samples(NoticeKind(kind))
    if turn > len(facts):
        raise Refusal(f"found turn {turn}, expected at most {len(facts)}: {kind} has no more")
    words = _templates(options(ctx), templates).words(NoticeKind(kind), language, facts[turn - 1], PREVIEW_ACCOUNT)
    if output == "text":
        sys.stdout.write(f"Subject: {words.subject}\n\n{words.text}")
    else:
        sys.stdout.write(words.html)


def _templates(chosen: Options, folder: Path | None) -> Templates:
    from charging.notify.render import Operator, Templates

    if folder is not None and not folder.is_dir():
        raise Refusal(f"found no folder {folder}, expected one with nl/KIND.txt, nl/KIND.html, en/…")
    mail = _mail(chosen)
    if mail is None:
        return Templates(Operator("Example Voice", PREVIEW_URL), folder)
    return Templates(Operator(mail.sender_name, mail.top_up_url), folder or mail.templates)


def _mail(chosen: Options) -> Mail | None:
    """The settings' section; nobody needs settings to see the shipped templates. Raises ConfigError."""
    if chosen.config == DEFAULT_CONFIG and not chosen.config.exists():
        return None
    return chosen.settings().mail
