"""``charging run``: the daemon itself."""

from __future__ import annotations

import typer

from charging.cli.options import check_there, options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(ctx: typer.Context) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C."""
    from charging import app  # the daemon's parts are many, and only this command needs them
    from charging.logs import configure_logs
    from charging.settings import load_config

    file = options(ctx).config
    check_there(file)
    config = load_config(file)
    configure_logs(config.settings.logs.format, config.settings.logs.level)
    raise typer.Exit(app.run(config))
