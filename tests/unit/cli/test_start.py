"""A command loads what it needs: typing `charging account list` beside a running daemon must not cost seconds."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.core import TyperGroup

from charging.cli import COMMANDS

HEAVY = {"fastapi", "jinja2", "phonenumbers", "prometheus_client", "redis", "structlog", "uvicorn"}
SCRIPT = "import sys; from charging.cli import main; code = main(sys.argv[1:]); print('LOADED', *sys.modules)"


def loaded(*arguments: str, folder: Path) -> set[str]:
    """The modules that a command has loaded when it ends, of a process of its own."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=folder)
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("command", ["--version", "account list --help", "cdr list --help"])
def test_a_command_that_asks_nobody_loads_no_library_of_the_service(command: str, tmp_path: Path) -> None:
    assert not HEAVY & loaded(*command.split(), folder=tmp_path)


def test_only_the_module_of_the_command_is_loaded(tmp_path: Path) -> None:
    modules = {f"charging.cli.{module}" for module in COMMANDS.values()}
    assert modules & loaded("demo", "--help", folder=tmp_path) == {"charging.cli.demo"}


@pytest.mark.parametrize("module", sorted({*COMMANDS.values()}))
def test_every_command_of_a_module_is_in_the_table(module: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_module(f"charging.cli.{module}").register(app)
    group = cast(TyperGroup, typer.main.get_command(app))
    assert [*group.commands] == [name for name, of in COMMANDS.items() if of == module]
