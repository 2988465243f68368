"""What an account's balances give it to spend: credit, bought and promotional, and free seconds. Pure.

**Promotional credit** has an end, beside what was bought. All of it that ends on one day is one balance,
``promo:2026-12-31``, in micro-euro. It pays whatever credit pays:

- **before bought credit**, the soonest end first;
- for what is **set up through its last day** in the operator's zone, to the end of that: a call that outlives midnight
  goes on with what it began with, so that a call's length never depends on when someone looked at the calendar;
- for no other: a leg takes it only where its day (`Session.day`, `Piece.day`) is not past the end;
- what a call has taken of it stays taken of it, whatever is given or given back meanwhile.

A gift is no purchase, so it starts no year of R19; what it pays is a use of credit, else bought credit would lapse
because a gift was spent before it.

**A month's free seconds** (R11), and likewise the fax pages and messages that a plan includes
(`charging.pricing.pieces`). Balances of a month: ``bundle:2026-11`` is what may still be used, ``granted:2026-11`` is
all that was ever granted of it and is never lowered, ``plan:2026-11:voice_pro`` is how far a plan has raised it. So the
balances alone say what a plan gives beyond it, and who is about to use the month's seconds makes that grant in the same
ledger operation (rule 5 of the port). There is no moment in which a larger plan is stored and its seconds could still
be lost: until they are granted they are due.

The ids are made of what was granted before: of two grants made at the same time the ledger takes one, and the other's
maker looks again.

**A bundle has the rules of the plan that granted it** (which destinations it pays, in which increments), whatever plan
the account has by now and whatever the tariff says of that plan since: of several, of the one that raised it furthest.
The name of the balance that tells so has the edition of the rules (`charging.pricing.packs`). What an older version
granted has none, and follows the plan of its name; a bundle whose plan is not known has the rules of the account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charging.ledger.model import CREDIT, Balance, Kind, Leg, Transfer
from charging.pricing.pieces import sort_of

Balances = Mapping[str, Balance]

# --- promotional credit -------------------------------------------------------------------------------------------

PROMO = "promo:"

PROMOS_MAX = 4
"""So many ends count at once, the soonest first: with PACKS_MAX packs, two months, credit, the day's spending and its
place among the calls, a call's tick moves at most 15 balances (`LEGS_MAX`). In its life a call may use more."""


def promo(last_day: str) -> str:
    """The balance of promotional credit that can be spent through ``last_day``, ``YYYY-MM-DD``."""
    return PROMO + last_day


def is_money(balance: str) -> bool:
    """Whether it is credit, bought or given."""
    return balance == CREDIT or balance.startswith(PROMO)


def is_free_seconds(balance: str) -> bool:
    """Whether it is seconds that pay for calls: a month's, or a pack's."""
    return balance.startswith(("bundle:", "pack:"))


def is_value(balance: str) -> bool:
    """Whether it is what a customer has: money, free seconds, or pieces; all others only count."""
    return is_money(balance) or is_free_seconds(balance) or sort_of(balance) is not None


def money_in(legs: Iterable[Leg]) -> int:
    """Micro-euro that legs post to credit, bought and given together."""
    return sum(leg.posted for leg in legs if is_money(leg.balance))


def usable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> list[str]:
    """The promotional balances that can pay what is set up on ``day``, in the order in which they do: those that it
    holds, and the soonest of the others, PROMOS_MAX in all."""
    own = [name for name in held if name.startswith(PROMO)]
    found = [name for name in balances if name.startswith(PROMO) and name.removeprefix(PROMO) >= day]
    if not (own or found):
        return []
    others = sorted(name for name in found if balances[name] != Balance() and name not in own)
    return sorted([*own, *others[: max(0, PROMOS_MAX - len(own))]])


def rooms(balances: Balances, day: str, held: Mapping[str, int] = {}) -> dict[str, int]:
    """What something set up on ``day`` may yet take of each, in order: what is available, and what it holds."""
    names = usable(balances, day, held)
    return {name: max(0, balances.get(name, Balance()).available) + held.get(name, 0) for name in names}


def held_rooms(held: Mapping[str, int]) -> dict[str, int]:
    """What it holds of each, in order."""
    return rooms({}, "", held)


def spendable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> Balance:
    """All credit of ``day``, bought and given, for something that holds so much of it."""
    credit = balances.get(CREDIT, Balance())
    given = [balances.get(name, Balance()) for name in usable(balances, day, held)]
    return Balance(
        credit.posted + sum(one.posted for one in given), credit.reserved + sum(one.reserved for one in given)
    )


def divided(amount: int, rooms: Mapping[str, int], paid: Mapping[str, int] = {}) -> dict[str, int]:
    """Who pays ``amount`` micro-euro in all: what was ``paid`` before stays where it was, then the ``rooms`` in their
    order, then bought credit."""
    shares = {CREDIT: 0}
    for name, part in paid.items():
        if is_money(name):
            shares[name] = part
            amount -= part
    for name, room in rooms.items():
        if amount <= 0:
            break
        part = min(amount, room)
        shares[name] = shares.get(name, 0) + part
        amount -= part
    shares[CREDIT] += amount
    return shares


# --- a month's free seconds, pages and messages -------------------------------------------------------------------

SECONDS = "bundle"
"""What the balances of months' free seconds begin with; those of pieces begin with another ``sort``."""


def bundle(month: str, sort: str = SECONDS) -> str:
    """The balance of a month's free seconds; ``month`` is ``YYYY-MM`` in the operator's zone. Of another ``sort``: of
    its free pages or messages."""
    return f"{sort}:{month}"


def granted(month: str, sort: str = SECONDS) -> str:
    """The balance of all free seconds that a month was granted; ``month`` as for :func:`bundle`."""
    return f"granted:{month}" if sort == SECONDS else f"granted-{sort}:{month}"


def raised_by(month: str, plan: str, sort: str = SECONDS) -> str:
    """The balance of how many seconds a month's bundle had when ``plan``, by the edition of its rules, last raised
    it."""
    return f"plan:{month}:{plan}" if sort == SECONDS else f"plan-{sort}:{month}:{plan}"


def ruled_by(balances: Balances, month: str, plan: str, free_seconds: int, sort: str = SECONDS) -> str:
    """The plan whose rules a month's bundle has, by their edition, for an account of ``plan`` (its edition of today),
    which gives so many ``free_seconds``."""
    prefix = raised_by(month, "", sort)
    raised = {key.removeprefix(prefix): one.posted for key, one in balances.items() if key.startswith(prefix)}
    if _due(balances, month, free_seconds, sort) or not raised:
        return plan
    return max(raised, key=lambda one: (raised[one], one == plan, one))


def left(balances: Balances, month: str, free_seconds: int, sort: str = SECONDS) -> Balance:
    """The month's free seconds with the grant that is due to a plan of so many ``free_seconds``."""
    known = balances.get(bundle(month, sort), Balance())
    return Balance(known.posted + _due(balances, month, free_seconds, sort), known.reserved)


def due_grant(
    account: str, month: str, balances: Balances, free_seconds: int, at_us: int, plan: str, sort: str = SECONDS
) -> Transfer | None:
    """The transfer that grants what ``plan``, of so many ``free_seconds``, gives beyond what was granted; ``None``:
    there is nothing more to grant."""
    if bundle(month, sort) not in balances:
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
    legs = (Leg(bundle(*of), amount), Leg(granted(*of), amount), raised)
    id = f"grant/{month}{after}" if sort == SECONDS else f"grant/{sort}/{month}{after}"
    return Transfer(id, account, Kind.GRANT, at_us, legs, reason=reason)


def _due(balances: Balances, month: str, free_seconds: int, sort: str) -> int:
    if bundle(month, sort) not in balances:
        return free_seconds
    known = balances.get(granted(month, sort))
    # A bundle whose grants were not counted is of an older version's making: it was as large as its plan.
    return 0 if known is None else max(0, free_seconds - known.posted)
