"""The command ``charging``. Exit codes: 0 fine, 1 refused or problems found, 2 wrong usage.

One module for each group of commands; each has ``register(app)`` and stands in GROUPS. Whatever concerns accounts,
numbers, money and calls is asked over HTTP (`client.py`): of a running daemon, else of the same application in this
process.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import structlog
import typer

from charging import __version__
from charging.cli import (
    accounts,
    calls,
    check,
    daemon,
    demo,
    fax,
    imports,
    ledger,
    money,
    notice,
    numbers,
    statement,
    tariff,
    token,
)
from charging.cli.failure import failing
from charging.cli.options import CONFIG_OPTION, ConfigFile, Options, config_first

GROUPS = (daemon, demo, check, accounts, numbers, money, calls, fax, notice, tariff, ledger, imports, statement, token)


def build() -> typer.Typer:
    """The command with all its groups."""
    app = typer.Typer(
        name="charging",
        help="Prepaid call charging for Asterisk.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for group in GROUPS:
        group.register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"charging {__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    config: ConfigFile = CONFIG_OPTION,
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
    ),
) -> None:
    ctx.obj = Options(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the process's exit code. Never a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Commands speak by what they print; only `run` has a log, and sets it up itself.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def run() -> int:
        command = typer.main.get_command(build())
        code = command.main(config_first(given), prog_name="charging", standalone_mode=False)
        return code if isinstance(code, int) else 0

    return failing(run)
