"""``charging run`` and ``charging reload``: the daemon itself."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import typer

from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, check_there, options
from charging.cli.output import show_json
from charging.cli.sandbox import sandbox_at

WRONG_MODE = {
    True: "these settings are no sandbox's, so no calls are played on their ledger; name a folder that is not there "
    "yet: `charging --config FOLDER/charging.yaml run --sandbox`",
    False: "these are a sandbox's settings: `charging --config FILE run --sandbox`",
}
"""By whether a sandbox was asked for."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("reload")(reload)


def run(
    ctx: typer.Context,
    sandbox: bool = typer.Option(
        False, "--sandbox", help="A test mode in a folder of its own: no Asterisk, calls by request, no real money."
    ),
) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C. SIGHUP is `charging reload`."""
    file = sandbox_at(options(ctx).config) if sandbox else options(ctx).config
    check_there(file)
    gc.disable()  # nothing that is read is garbage; `spare_collector` puts it to work again
    try:
        _leave_out_rich()
        code = _run(file, sandbox)
    finally:
        gc.enable()
    raise typer.Exit(code)


def _run(file: Path, sandbox: bool) -> int:
    from charging import app  # the daemon's parts are many, and only this command needs them
    from charging.app_left_out import config_for_calls
    from charging.app_start import share_interpreter
    from charging.cli.state_folder import make_ledger_folder
    from charging.logs import configure_logs

    config = config_for_calls(file)
    if config.settings.sandbox != sandbox:
        raise Refusal(f"{file}: {WRONG_MODE[sandbox]}")
    logs = config.settings.logs
    configure_logs(logs.format, logs.level, file=logs.file)
    make_ledger_folder(config.settings)
    share_interpreter()
    return app.run(config)


def _leave_out_rich() -> None:
    """Read structlog without `rich`, which it takes where that is installed, for tracebacks in colours on a terminal:
    a tenth of all that is read before running calls are seen to."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # so an import says that there is none
        import structlog  # noqa: F401

        del sys.modules["rich"]


def reload(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Read tariff, decks, templates and prompts again, now. Exit 1 if one of them is wrong, which then changes nothing.
    Other settings, and the secrets, need a restart."""
    from charging.cli.client import connected, daemon_answers

    settings = options(ctx).settings()
    if not daemon_answers(settings.control.socket):
        raise Refusal("no daemon runs that could reload: `charging run`, or `systemctl start charging`")
    with connected(settings) as client:
        found = client.send("POST", "/reloads", {})
    if as_json:
        show_json(found)
    if found["problems"]:
        raise Refusal(*found["problems"])
    if not as_json:
        sys.stdout.write(f"reloaded: tariff revision {found['revision']}, digest {found['digest']}\n")
