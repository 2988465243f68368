"""``charging statement``: a month of an account, for its owner."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from charging.cli.client import connected, path
from charging.cli.failure import Refusal
from charging.cli.options import ACCOUNT, JSON_OPTION, options
from charging.cli.output import Column, console, show_json, show_one, table

COLUMNS = (
    Column("at", "at"),
    Column("kind", "what"),
    Column("detail", "detail"),
    Column("free_seconds", "free s", right=True),
    Column("amount", "amount", right=True),
    Column("balance", "balance", right=True),
)
MONTH = typer.Argument(help="For example 2026-11.", metavar="YYYY-MM", show_default=False)
OUTPUT = typer.Option(None, "--output", "-o", help="Write to this file.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("statement")(statement)


def statement(
    ctx: typer.Context,
    account: str = ACCOUNT,
    month: str = MONTH,
    as_csv: bool = typer.Option(False, "--csv", help="As CSV, for spreadsheets."),
    as_html: bool = typer.Option(False, "--html", help="As a page, in the account's language, to read or print."),
    as_json: bool = JSON_OPTION,
    output: Path | None = OUTPUT,
) -> None:
    """What was topped up, used and corrected in a month. With opening and closing balance and VAT."""
    if as_csv + as_html + as_json > 1:
        raise typer.BadParameter("name one of --csv, --html and --json")
    if output is not None and not as_csv and not as_html:
        raise typer.BadParameter("--output goes with --csv or --html")
    where = path("accounts", account, "statements", month)
    with connected(options(ctx).settings()) as client:
        if as_csv or as_html:
            _write(client.text(where, {"format": "csv" if as_csv else "html"}), output)
        else:
            _show(client.get(where), as_json)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{output}: {error.strerror or error}; name a file that can be written") from None


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(document)
        return
    show_one(document, as_json=False)
    rows = [_row(line) for line in document["lines"]]
    if rows:
        console().print(table(rows, COLUMNS))


def _row(line: dict[str, Any]) -> dict[str, Any]:
    kind = line["kind"] if line["part"] == "whole" else f"{line['kind']} ({line['part']})"
    return {**line, "kind": kind, "detail": line["reason"] or (line["cdr"] or {}).get("target", "")}
