"""The command ``charging``. Exit codes: 0 success, 1 refused or problems found, 2 wrong usage.

Each group of commands is a module that has ``register(app)`` and is listed in COMMANDS. It is imported when one of its
commands is run: listing accounts need not wait for the module that writes configurations. Commands about accounts,
numbers, money and calls go over HTTP (`client.py`): to a running daemon, else to the same application in this process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from charging import __version__
from charging.cli.failure import failing
from charging.cli.options import CONFIG_OPTION, ConfigFile, Options, config_first, refuse_what_is_not_utf_8

COMMANDS = {
    "run": "daemon",
    "reload": "daemon",
    "init": "init",
    "demo": "demo",
    "check": "check",
    "top-up": "money",
    "calls": "calls",
    "hangup": "calls",
    "drain": "drain",
    "statement": "statement",
    "account": "accounts",
    "number": "numbers",
    "subscription": "money",
    "cdr": "calls",
    "fax": "fax",
    "notice": "notice",
    "tariff": "tariff",
    "ledger": "ledger",
    "token": "token",
    "payment": "payments",
    "webhook": "webhooks",
    "changes": "changes",
    "console": "console",
}
"""The module that has a command, in the order in which `--help` lists them."""


class _Modules(Mapping[str, TyperCommand | TyperGroup]):
    """The commands by name; each module is imported when it is looked up."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        return cast(TyperCommand | TyperGroup, _commands_of(COMMANDS[name])[name])

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _commands_of(module: str) -> Mapping[str, object]:
    part = typer.Typer(rich_markup_mode=None)
    part.callback()(lambda: None)
    import_module(f"charging.cli.{module}").register(part)
    return cast(TyperGroup, typer.main.get_command(part)).commands


class _Groups(TyperGroup):
    """The command's groups; typer itself keeps commands that are imported already."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(MutableMapping[str, Any], _Modules())


def build() -> typer.Typer:
    """Return the command with all its groups."""
    app = typer.Typer(
        name="charging",
        cls=_Groups,
        help="Prepaid call charging for Asterisk.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
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
    """Run the command; returns the process's exit code. Prints no traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int:
        refuse_what_is_not_utf_8(given)
        command = typer.main.get_command(build())
        code = command.main(config_first(given), prog_name="charging", standalone_mode=False)
        return code if isinstance(code, int) else 0

    return failing(run)
