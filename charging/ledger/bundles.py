"""A month's free seconds as balances (R11): which grant is due, and what is left with it; and likewise of the fax pages
and messages that a plan includes (`charging.pricing.pieces`). Pure.

Balances of a month: ``bundle:2026-11`` is what may still be used, ``granted:2026-11`` is all that was ever granted of
it and is never lowered, ``plan:2026-11:voice_pro`` is how far a plan has raised it. So the balances alone say what a
plan gives beyond it, and whoever is about to use the month's seconds makes that grant in the same ledger operation
(rule 5 of the port). There is no moment in which a larger plan is stored and its seconds could still be lost: until
they are granted they are due.

The ids are made of what was granted before: of two grants made at the same time the ledger takes one, and the other's
maker looks again.

**A bundle has the rules of the plan that granted it** (which destinations it pays, in which increments), whatever plan
the account has by now: of several, of the one that raised it furthest. They are those that the tariff gives that plan
at the call. A bundle whose plan is not known (an older version's making, or a plan that has left the tariff) has those
of the account's plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from charging.ledger.model import Balance, Kind, Leg, Transfer

Balances = Mapping[str, Balance]


SECONDS = "bundle"
"""What the balances of months' free seconds begin with; those of pieces begin with another ``sort``."""


def month_of(month: str, sort: str = SECONDS) -> str:
    """The balance of what may still be used; ``month`` is ``YYYY-MM`` in the operator's zone."""
    return f"{sort}:{month}"


def granted(month: str, sort: str = SECONDS) -> str:
    """The balance of all free seconds that a month was granted; ``month`` as for :func:`bundle`."""
    return f"granted:{month}" if sort == SECONDS else f"granted-{sort}:{month}"


def raised_by(month: str, plan: str, sort: str = SECONDS) -> str:
    """The balance of how many seconds a month's bundle had when ``plan`` last raised it."""
    return f"plan:{month}:{plan}" if sort == SECONDS else f"plan-{sort}:{month}:{plan}"


def ruled_by(balances: Balances, month: str, plan: str, free_seconds: int, sort: str = SECONDS) -> str:
    """The plan whose rules a month's bundle has, for an account of ``plan``, which gives so many ``free_seconds``."""
    prefix = raised_by(month, "", sort)
    raised = {key.removeprefix(prefix): one.posted for key, one in balances.items() if key.startswith(prefix)}
    if _due(balances, month, free_seconds, sort) or not raised:
        return plan
    return max(raised, key=lambda one: (raised[one], one == plan, one))


def left(balances: Balances, month: str, free_seconds: int, sort: str = SECONDS) -> Balance:
    """The month's free seconds with the grant that is due to a plan of so many ``free_seconds``."""
    known = balances.get(month_of(month, sort), Balance())
    return Balance(known.posted + _due(balances, month, free_seconds, sort), known.reserved)


def due_grant(
    account: str, month: str, balances: Balances, free_seconds: int, at_us: int, plan: str, sort: str = SECONDS
) -> Transfer | None:
    """The transfer that grants what ``plan``, of so many ``free_seconds``, gives beyond what was granted; ``None``:
    there is nothing more to grant."""
    if month_of(month, sort) not in balances:
        return grant(account, month, free_seconds, at_us, plan, sort) if free_seconds else None
    seconds = _due(balances, month, free_seconds, sort)
    if not seconds:
        return None
    before = balances.get(granted(month, sort), Balance()).posted
    known = balances.get(raised_by(month, plan, sort), Balance()).posted
    raised = Leg(raised_by(month, plan, sort), free_seconds - known)
    return _grant(account, (month, sort), f"/after-{before}", seconds, at_us, "plan_changed", raised)


def grant(account: str, month: str, free_seconds: int, at_us: int, plan: str, sort: str = SECONDS) -> Transfer:
    """The transfer that brings a month's free seconds into being. Its id is the month's: once, whoever comes."""
    raised = Leg(raised_by(month, plan, sort), free_seconds)
    return _grant(account, (month, sort), "", free_seconds, at_us, "monthly_bundle", raised)


def _grant(
    account: str, of: tuple[str, str], after: str, amount: int, at_us: int, reason: str, raised: Leg
) -> Transfer:
    month, sort = of
    legs = (Leg(month_of(*of), amount), Leg(granted(*of), amount), raised)
    id = f"grant/{month}{after}" if sort == SECONDS else f"grant/{sort}/{month}{after}"
    return Transfer(id, account, Kind.GRANT, at_us, legs, reason=reason)


def _due(balances: Balances, month: str, free_seconds: int, sort: str) -> int:
    if month_of(month, sort) not in balances:
        return free_seconds
    known = balances.get(granted(month, sort))
    # A bundle whose grants were not counted is of an older version's making: it was as large as its plan.
    return 0 if known is None else max(0, free_seconds - known.posted)
