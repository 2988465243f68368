"""``charging demo``: see a call being charged, on this machine, with nothing prepared."""

from __future__ import annotations

from pathlib import Path

import typer

from charging.cli.failure import Refusal
from charging.ledger.accounts import Language

WITHOUT_DEMO = (
    "the demo is not installed, since a server needs none; install charging-demo of the same version: its wheel "
    "(`make wheel` builds it) or Debian package (`make deb`); in the project's own folder: make demo"
)

LANGUAGE = typer.Option(Language.EN, "--language", help="Of the warning that the subscriber hears.")
KEEP = typer.Option(
    None, "--keep", metavar="FOLDER", help="Keep what both ears heard, the log and the books there.", show_default=False
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(language: Language = LANGUAGE, keep: Path | None = KEEP) -> None:
    """A real call on a private Asterisk: charged, warned, cut. Takes about a minute."""
    try:
        from charging.demo import show_demo  # the lab and the phones: only this command needs them
    except ModuleNotFoundError as error:
        if error.name != "charging.demo":
            raise
        raise Refusal(WITHOUT_DEMO) from None
    if not show_demo(language, keep):
        raise typer.Exit(1)
