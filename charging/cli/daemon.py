"""``charging run`` and ``charging init``: the daemon itself."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import typer

from charging.cli.failure import Refusal
from charging.cli.options import check_there, options

SHIPPED = ("charging.yaml", "tariff.yaml", "asterisk", "decks")
"""What `init` lays down, of the folder ``config`` that comes with the program."""

FOLDER = typer.Argument(help="Made where it is not there.", show_default=False)


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


def init(folder: Path = FOLDER) -> None:
    """Lay down a configuration to begin with: settings, a tariff, and what Asterisk includes."""
    source = shipped_config()
    wanted = {path: folder / "config" / path.relative_to(source) for path in _shipped_files(source)}
    there = [str(target) for target in wanted.values() if target.exists()]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise Refusal(f"{there[0]} is there already{more}: nothing was written; choose another folder")
    try:
        _write(wanted, folder / "var")
    except OSError as error:
        raise Refusal(f"{error.filename or folder}: {error.strerror or error}") from error
    config = folder / "config"
    sys.stdout.write(
        f"{len(wanted)} files are in {config}, and {folder / 'var'} is for the ledger.\n"
        f"Next: put {config / 'asterisk'} into Asterisk as its README.md tells; edit {config / 'tariff.yaml'};\n"
        "set CHARGING_AMI_SECRET to the AMI password; then\n"
        f"  charging --config {config / 'charging.yaml'} check --live\n"
        f"  charging --config {config / 'charging.yaml'} run\n"
    )


def _write(wanted: dict[Path, Path], var: Path) -> None:
    for source, target in wanted.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(source.read_bytes())
    var.mkdir(mode=0o700, exist_ok=True)


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
