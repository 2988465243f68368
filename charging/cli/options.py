"""The options that every command has."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charging.errors import ConfigError, Problem
from charging.records import dataclass

if TYPE_CHECKING:
    from charging.settings import Settings

_NO_TEXT = re.compile(r"[\udc80-\udcff]")
"""Python's stand-ins for the bytes of an argument that it could not read."""

DEFAULT_CONFIG = Path("/etc/charging/charging.yaml")

ConfigFile = Path
CONFIG_OPTION = typer.Option(
    DEFAULT_CONFIG, "--config", "-c", envvar="CHARGING_CONFIG", show_default=True, help="The daemon's settings."
)
JSON_OPTION = typer.Option(False, "--json", help="As JSON; money as decimal strings in euro.")
ACCOUNT = typer.Argument(help="The account's id.", show_default=False)
KEY = typer.Option("", "--id", help="Your key for this act: the same key twice is done once.", show_default=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What was given before the command."""

    config: Path

    def settings(self) -> Settings:
        """The settings without their secrets: who opens the ledger reads its password. Raises ConfigError."""
        from charging.settings import Settings  # only for who asks: `--help` and `init` need none
        from charging.yaml_model import validate
        from charging.yaml_text import read_document

        check_there(self.config)
        return validate(read_document(self.config), Settings)


def check_there(config: Path) -> None:
    """Raise ConfigError, with what to do, where there is no such file."""
    if not config.exists():
        advice = "name it with --config FILE or CHARGING_CONFIG, or make one: `charging init FOLDER`"
        raise ConfigError([Problem(str(config), "", "no such file", "the daemon's settings", hint=advice)])


def new_key() -> str:
    """Make an idempotency key that has not been used."""
    return f"cli-{secrets.token_hex(8)}"


def account_first(account: str, other: str, form: str, usage: str) -> None:
    """Raise BadParameter with the right order where only ``account`` has the form that ``other`` should have."""
    if re.fullmatch(form, account) and not re.fullmatch(form, other):
        raise typer.BadParameter(f"found {account!r} where the account belongs, expected `{usage}`")


def options(ctx: typer.Context) -> Options:
    """The options of this run."""
    found = ctx.obj
    assert isinstance(found, Options)
    return found


def refuse_what_is_not_utf_8(arguments: Iterable[str]) -> None:
    """Raise BadParameter where a shell handed over bytes that are no text: neither JSON nor a terminal takes them."""
    for argument in arguments:
        if _NO_TEXT.search(argument):
            shown = argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise typer.BadParameter(f"found '{shown}', expected text in UTF-8")


def config_first(arguments: list[str]) -> list[str]:
    """``--config FILE`` may stand anywhere; moved before the command, where it is defined."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in ("--config", "-c"):
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        elif argument.startswith("--config="):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest
