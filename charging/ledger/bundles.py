"""A month's free seconds as balances (R11): which grant is due, and what is left with it. Pure.

Two balances a month: ``bundle:2026-11`` is what may still be used, ``granted:2026-11`` is all that was ever granted of
it and is never lowered. So the balances alone say what a plan gives beyond it, and whoever is about to use the month's
seconds makes that grant in the same ledger operation (rule 5 of the port). There is no moment in which a larger plan
is stored and its seconds could still be lost: until they are granted they are due.

The ids are made of what was granted before: of two grants made at the same time the ledger takes one, and the other's
maker looks again.
"""

from __future__ import annotations

from collections.abc import Mapping

from charging.ledger.model import Balance, Kind, Leg, Transfer, bundle

Balances = Mapping[str, Balance]


def granted(month: str) -> str:
    """The balance of all free seconds that a month was granted; ``month`` as for :func:`bundle`."""
    return f"granted:{month}"


def left(balances: Balances, month: str, free_seconds: int) -> Balance:
    """The month's free seconds with the grant that is due to a plan of so many ``free_seconds``."""
    known = balances.get(bundle(month), Balance())
    return Balance(known.posted + _due(balances, month, free_seconds), known.reserved)


def due_grant(account: str, month: str, balances: Balances, free_seconds: int, at_us: int) -> Transfer | None:
    """The transfer that grants what a plan of so many ``free_seconds`` gives beyond what was granted; ``None``: there
    is nothing more to grant."""
    if bundle(month) not in balances:
        return grant(account, month, free_seconds, at_us) if free_seconds else None
    seconds = _due(balances, month, free_seconds)
    before = balances.get(granted(month), Balance()).posted
    return _grant(account, month, f"/after-{before}", seconds, at_us, "plan_changed") if seconds else None


def grant(account: str, month: str, free_seconds: int, at_us: int) -> Transfer:
    """The transfer that brings a month's free seconds into being. Its id is the month's: once, whoever comes."""
    return _grant(account, month, "", free_seconds, at_us, "monthly_bundle")


def _grant(account: str, month: str, after: str, seconds: int, at_us: int, reason: str) -> Transfer:
    legs = (Leg(bundle(month), seconds), Leg(granted(month), seconds))
    return Transfer(f"grant/{month}{after}", account, Kind.GRANT, at_us, legs, reason=reason)


def _due(balances: Balances, month: str, free_seconds: int) -> int:
    if bundle(month) not in balances:
        return free_seconds
    known = balances.get(granted(month))
    # A bundle whose grants were not counted is of an older version's making: it was as large as its plan.
    return 0 if known is None else max(0, free_seconds - known.posted)
