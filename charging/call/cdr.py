"""The CDR: one finished call, as people and other programs read it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from charging.call.booking import final_charge
from charging.call.model import Duration, Session, Short
from charging.clock import MICROSECONDS
from charging.ledger.balances import PROMO, is_money
from charging.pricing.money import format_euro
from charging.pricing.packs import PACK


def iso(wall_us: int) -> str:
    """A wall-clock reading as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(wall_us / MICROSECONDS, tz=UTC).isoformat(timespec="milliseconds")


_CUTS = {
    Short.MONEY: "money",
    Short.DAY: "day_limit",
    Short.CAP: "max_call",
    Short.COST: "max_cost",
    Short.NO: "daemon_away",
}


def deadline_ms(session: Session) -> int:
    """How long the call could last: to the end of what it had reserved, or the deadline that the switch held, whichever
    was later. A price that rose between set-up and answer leaves less paid than the switch was told before."""
    return max(session.covered_s, session.enforced_s) * 1000


def cut_by(session: Session, duration: Duration) -> str | None:
    """Why we ended the call; ``None`` where one of the parties did."""
    if session.cut_by:
        return session.cut_by
    if not session.was_answered or duration.used_ms < deadline_ms(session):
        return None
    return _CUTS[session.short]


def given_in(taken: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """The member of a CDR that says which part of its cost promotional credit has paid, by its last day; none where it
    has paid nothing."""
    given = {name.removeprefix(PROMO): part for name, part in taken.items() if name.startswith(PROMO) and part}
    return {"promotional": {day: format_euro(part) for day, part in given.items()}} if given else {}


def cdr_document(session: Session, duration: Duration) -> str:
    """The JSON text of a call's CDR. Money is a decimal string in euro, times are ISO 8601 in UTC."""
    posted, funding = final_charge(session, duration.billed_s)
    bundles = {key.removeprefix("bundle:"): amount for key, amount in posted.items() if key.startswith("bundle:")}
    packs = {key.removeprefix(PACK): amount for key, amount in posted.items() if key.startswith(PACK)}
    document = {
        "service": "forward",
        "session": session.id,
        "account": session.account,
        "number": session.number,
        "caller": session.caller,
        "withheld": session.withheld,
        "target": session.target,
        "plan": session.plan,
        "destination": session.rate.destination,
        "switch": session.switch,
        "reason": session.reason,
        "dial_status": session.dial_status,
        "hangup_reason": session.hangup_reason,
        "set_up": iso(session.opened.wall_us),
        "answered": iso(session.start_us) if session.was_answered else None,
        "ended": iso(duration.ended_us),
        "used_ms": duration.used_ms,
        "billed_s": duration.billed_s,
        "charged_s": funding[-1].end_s if funding else 0,
        "overrun_s": duration.overrun_s,
        "proof": duration.proof,
        "cut": cut_by(session, duration),
        "free_seconds": bundles,
        **({"packs": packs} if packs else {}),
        "cost": format_euro(sum(amount for key, amount in posted.items() if is_money(key))),
        **given_in(posted),
        "funding": [[part.start_s, part.end_s, part.source] for part in funding],
        "warnings": session.prompts,
        "tariff_revision": session.rate.tariff_revision,
        "tariff_digest": session.rate.tariff_digest,
    }
    return json.dumps(document, separators=(",", ":"))
