"""``charging drain``: before Asterisk is restarted under calls."""

from __future__ import annotations

import typer

from charging.cli.client import Document, connected
from charging.cli.failure import REFUSED, Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drain")(drain)


def drain(
    ctx: typer.Context,
    refuse_new: bool = typer.Option(
        False, "--refuse-new", help="Turn new calls away meanwhile, with 503, so that the carrier tries another way."
    ),
    end: bool = typer.Option(False, "--end", help="It was for nothing: reserve as ever, and take new calls."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Pay running calls ahead, before Asterisk is restarted. Each is paid as far as its money goes, and Asterisk knows
    its new end. Then: `core restart gracefully`."""
    if end and refuse_new:
        raise typer.BadParameter("choose one of --end and --refuse-new")
    with connected(options(ctx).settings()) as client:
        if not client.daemon:
            raise Refusal("no daemon runs, so no call is looked after: start it (`systemctl start charging`)")
        done = client.send("DELETE", "/drain") if end else client.send("PUT", "/drain", {"refuse_new": refuse_new})
    if as_json:
        show_json(done)
    else:
        for line in said(done):
            typer.echo(line)
    if done["behind"]:
        raise typer.Exit(REFUSED)


def said(done: Document) -> list[str]:
    """What was reached, and what to do next."""
    if not done["on"]:
        return ["The drain is over: calls are reserved as ever, and new ones are taken."]
    paid, short = len(done["paid"]), len(done["short_of_money"])
    lines = [f"{paid} running calls are paid as far as they can be, and Asterisk has their deadlines."]
    if short:
        lines.append(f"{short} of them end by their money; once Asterisk waits, their subscribers hear no warning.")
    if ringing := len(done["ringing"]):
        lines.append(f"{ringing} calls are not answered yet: repeat this in half a minute, before Asterisk is told.")
    if behind := done["behind"]:
        lines.append(
            f"{len(behind)} calls could not be extended ({', '.join(behind[:3])}): repeat this, or see the log."
        )
    taken = "New calls are turned away (503)." if done["refuses_new"] else "New calls are taken, and paid as far ahead."
    return [*lines, taken, "Next: asterisk -rx 'core restart gracefully'. To take it back: charging drain --end"]
