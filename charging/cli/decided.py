"""``charging calls --decided``: why calls were forwarded or not, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from charging.cli.output import cell, show_json

NONE = (
    "no decision that fits is kept. The call did not come as far as the engine (see the switch's log), its number or "
    "time is another, or it is older than privacy.decisions_days: docs/why-not-forwarded.md"
)


def show_decisions(decisions: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """A paragraph each, as they come."""
    if as_json:
        show_json(list(decisions))
        return
    shown = False
    for one in decisions:
        shown = True
        sys.stdout.write("\n".join(paragraph(one)) + "\n")
    if not shown:
        print(NONE, file=sys.stderr)


def paragraph(one: dict[str, Any]) -> Iterator[str]:
    """One decision's lines: the call, why, what to do, and what there was to decide by."""
    caller = "a withheld number" if one["withheld"] else one["caller"] or "an unknown caller"
    again = {"unanswered": ", after its forward", "delivery": ", telling the dialplan"}.get(one["turn"], "")
    yield cell(
        f"{cell(one['at'])}  {one['number'] or '-'} from {caller}{again}: {one['explanation']} ({one['reason']})"
    )
    if one["advice"]:
        yield cell(f"  do: {one['advice']}")
    facts = [
        one["account"] and f"account {one['account']}",
        one["plan"] and f"plan {one['plan']}",
        one["target"] and f"to {one['target']}" + (f" ({one['destination']})" if one["destination"] else ""),
        one["credit_available"] and f"credit € {one['credit_available']} available",
        one["credit_reserved"] and f"€ {one['credit_reserved']} held by others",
        one["free_seconds"] is not None and f"{one['free_seconds']} free seconds",
        one["message_price"] and f"a message € {one['message_price']}",
        one["quota_s"] and f"{one['quota_s']} s reserved",
        one["detail"],
    ]
    if known := [fact for fact in facts if fact]:
        yield cell("  " + ", ".join(known))
    session = f", session {one['session']}" if one["session"] else ""
    yield cell(f"  in {one['took_ms']} ms by {one['daemon'] or '-'} of switch {one['switch']}{session}")
