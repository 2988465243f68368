"""``charging run`` and ``charging init``: the daemon itself."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path

import typer

from charging.cli.failure import Refusal
from charging.cli.options import DEFAULT_CONFIG, check_there, options
from charging.cli.state_folder import make_state_folder

SHIPPED = ("charging.yaml", "tariff.yaml", "tariff.schema.json", *"asterisk decks grafana prometheus systemd".split())
"""What `init` lays down, of the folder ``config`` that comes with the program."""
STATE = "var"
"""Where the settings that come with the program put the ledger, the socket and faxes, beside themselves."""

FOLDER = typer.Argument(help="For settings and tariff, such as /etc/charging; made if need be.", show_default=False)
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")

STATE_FOLDER = typer.Option(
    None,
    "--state",
    help="For ledger, socket and faxes, such as /var/lib/charging; left out: FOLDER/var.",
    show_default=False,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("init")(init)


def run(ctx: typer.Context) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C."""
    from charging import app  # the daemon's parts are many, and only this command needs them
    from charging.config import load_config
    from charging.logs import configure_logs

    file = options(ctx).config
    check_there(file)
    config = load_config(file)
    configure_logs(config.settings.logs.format, config.settings.logs.level)
    raise typer.Exit(app.run(config))


def init(folder: Path = FOLDER, state: Path | None = STATE_FOLDER) -> None:
    """Lay down a configuration to begin with. Nothing that is there already is touched."""
    if state is not None and not _PLAIN.fullmatch(str(state.absolute())):
        raise typer.BadParameter(f"found {str(state)!r}, expected a path of letters, digits and . _ - /")
    source = shipped_config()
    wanted = {path: folder / path.relative_to(source) for path in _shipped_files(source)}
    there = [str(target) for target in wanted.values() if target.exists()]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise Refusal(f"{there[0]} is there already{more}: nothing was written; choose another folder")
    try:
        _write(wanted, state)
        make_state_folder(state or folder / STATE)
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror or error}") from error
    sys.stdout.write(_next_steps(folder, state or folder / STATE, len(wanted)))


def _write(wanted: dict[Path, Path], state: Path | None) -> None:
    for source, target in wanted.items():
        content = source.read_bytes()
        if state is not None and source.name == "charging.yaml":
            content = content.replace(b"sqlite:///var/", f"sqlite:///{state.absolute()}/".encode())
            content = content.replace(b": var/", f": {state.absolute()}/".encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(content)


def _next_steps(folder: Path, state: Path, files: int) -> str:
    config = folder / "charging.yaml"
    command = "charging" if config == DEFAULT_CONFIG else f"charging --config {shlex.quote(str(config))}"
    return (
        f"{files} files are in {folder}, and {state} is for ledger, socket and faxes. Next:\n"
        f"  1. Give Asterisk its part, as {folder / 'asterisk' / 'README.md'} tells.\n"
        f"  2. Put your prices into {folder / 'tariff.yaml'}.\n"
        "  3. Set CHARGING_AMI_SECRET to the AMI password, or name a file by secret_file in charging.yaml.\n"
        f"  4. {command} check --live\n"
        f"  5. {command} run\n"
    )


def _shipped_files(source: Path) -> list[Path]:
    found: list[Path] = []
    for name in SHIPPED:
        path = source / name
        found += sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return found


def shipped_config() -> Path:
    """The folder of the configuration that comes with the program: within the package where it was installed from a
    wheel, beside it in a checkout. Raises Refusal."""
    package = Path(str(files("charging")))
    for folder in (package / "shipped", package.parent / "config"):
        if (folder / "charging.yaml").is_file():
            return folder
    raise Refusal("this installation came without its configuration files; install it from its wheel or a checkout")
