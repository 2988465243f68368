"""What an account's balances give it to spend: bought credit, promotional credit and free seconds. Pure.

**Promotional credit** expires; bought credit lives by R19. All promotional credit that ends on the same day is one
balance, ``promo:2026-12-31``, in micro-euro. It pays for everything that bought credit pays for:

- It is used **before bought credit**, the soonest end first.
- It pays for calls, messages and faxes that are **set up through its last day** in the operator's zone, and pays them
  to their end. A call that is still running at midnight goes on with what it began with, so its length does not depend
  on the moment at which the calendar is read.
- It pays for nothing that is set up later: a leg takes it only if its day (`Session.day`, `Piece.day`) is not past the
  end.
- What a call has taken from it stays taken from it, even if credit is given or given back in the meantime.

A gift is no purchase, so it does not start a year of R19. What it pays counts as a use of credit; otherwise bought
credit would lapse because a gift was spent before it.

**A month's free seconds** (R11), and likewise the fax pages and messages that a plan includes
(`charging.pricing.packs`). Balances of a month: ``bundle:2026-11`` is what may still be used, ``granted:2026-11`` is
all that was ever granted of it and is never lowered, ``plan:2026-11:voice_pro`` is how far a plan has raised it. So the
balances alone show what a plan still has to grant. The next user of the month's seconds makes that grant in the same
ledger operation (rule 5 of the port); a call in which the month begins grants only what it uses itself, for the plan
of its account may be another by then. The seconds of a larger plan therefore cannot get lost once the plan is stored:
they are due until they are granted.

A grant's id is made of what was granted before; the first one's is the month alone, also if a gift has made the bundle
before it. If two grants are made at the same time, the ledger takes one, and the caller of the other reads the balances
again.

**A bundle keeps the rules of the plan that granted it** (which destinations it pays for, in which increments), even if
the account has another plan by now or the tariff has changed that plan. If several plans raised it, the one that raised
it furthest counts. The name of that plan's balance carries the edition of the rules (`charging.pricing.packs`). A grant
of an older version has no edition and follows the tariff's plan of that name. If the plan of a bundle is not known, the
rules of the account's own plan hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charging.ledger.model import CREDIT, Balance, Kind, Leg, Transfer
from charging.pricing.packs import sort_of

Balances = Mapping[str, Balance]

_NOTHING = Balance()

# --- promotional credit -------------------------------------------------------------------------------------------

PROMO = "promo:"

PROMOS_MAX = 4
"""So many ends count at once, the soonest first: with PACKS_MAX packs, two months, credit, the day's spending and its
place among the calls, a call's tick moves at most 15 balances (`LEGS_MAX`). In its life a call may use more."""


def promo(last_day: str) -> str:
    """The balance of promotional credit that can be spent through ``last_day``, ``YYYY-MM-DD``."""
    return PROMO + last_day


def is_money(balance: str) -> bool:
    """Whether a balance is credit, bought or promotional."""
    return balance == CREDIT or balance.startswith(PROMO)


def is_free_seconds(balance: str) -> bool:
    """Whether a balance holds seconds that pay for calls: a month's, or a pack's."""
    return balance.startswith(("bundle:", "pack:"))


def is_value(balance: str) -> bool:
    """Whether a balance is something that a customer owns: money, free seconds or pieces. All others are counters."""
    return is_money(balance) or is_free_seconds(balance) or sort_of(balance) is not None


def with_rules(balances: Iterable[str]) -> list[str]:
    """The balances that name an edition of rules: what was given or granted under others than today's tariff has, and
    must be looked up (`charging.ledger.given_packs`)."""
    return [name for name in balances if "." in name]


def money_in(legs: Iterable[Leg]) -> int:
    """Micro-euro that legs post to credit, bought and promotional together; negative if they take."""
    return sum(leg.posted for leg in legs if is_money(leg.balance))


def usable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> list[str]:
    """The promotional balances that can pay for a session set up on ``day`` (``YYYY-MM-DD``), in the order of payment.

    Those that the session holds already (``held``) come with the soonest-ending others, PROMOS_MAX in all.
    """
    own = [name for name in held if name.startswith(PROMO)]
    found = [name for name in balances if name.startswith(PROMO) and name.removeprefix(PROMO) >= day]
    if not (own or found):
        return []
    others = sorted(name for name in found if balances[name] != _NOTHING and name not in own)
    return sorted([*own, *others[: max(0, PROMOS_MAX - len(own))]])


def rooms(balances: Balances, day: str, held: Mapping[str, int] = {}) -> dict[str, int]:
    """Micro-euro that a session set up on ``day`` may take from each :func:`usable` balance, in the order of payment:
    what is available, plus what the session itself holds."""
    names = usable(balances, day, held)
    return {name: max(0, balances.get(name, _NOTHING).available) + held.get(name, 0) for name in names}


def held_rooms(held: Mapping[str, int]) -> dict[str, int]:
    """Micro-euro that a session holds of each promotional balance, in the order of payment."""
    return rooms({}, "", held)


def spendable(balances: Balances, day: str, held: Mapping[str, int] = {}) -> Balance:
    """All credit, bought and promotional, of a session that is set up on ``day`` and holds ``held``."""
    credit = balances.get(CREDIT, _NOTHING)
    names = usable(balances, day, held)
    if not names:
        return credit
    given = [balances.get(name, _NOTHING) for name in names]
    return Balance(
        credit.posted + sum(one.posted for one in given), credit.reserved + sum(one.reserved for one in given)
    )


def divided(amount: int, rooms: Mapping[str, int], paid: Mapping[str, int] = {}) -> dict[str, int]:
    """Divide ``amount`` micro-euro among balances: what was ``paid`` before stays where it was, then ``rooms`` pay in
    their order, then bought credit pays the rest."""
    shares = {CREDIT: 0}
    for name, part in paid.items():
        if name == CREDIT or name.startswith(PROMO):
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
    """The balance that records how many seconds a month's bundle had when ``plan`` last raised it. ``plan`` is an
    edition of its rules."""
    return f"plan:{month}:{plan}" if sort == SECONDS else f"plan-{sort}:{month}:{plan}"


def ruled_by(balances: Balances, month: str, plan: str, free_seconds: int, sort: str = SECONDS) -> str:
    """The edition of the plan whose rules a month's bundle follows.

    ``plan`` is the account's plan, in today's edition; ``free_seconds`` is what that plan gives each month.
    """
    prefix = raised_by(month, "", sort)
    raised = {key.removeprefix(prefix): one.posted for key, one in balances.items() if key.startswith(prefix)}
    if _due(balances, month, free_seconds, sort) or not raised:
        return plan
    return max(raised, key=lambda one: (raised[one], one == plan, one))


def left(balances: Balances, month: str, free_seconds: int, sort: str = SECONDS) -> Balance:
    """The month's free seconds, including the grant that is still due to a plan that gives ``free_seconds``."""
    known = balances.get(bundle(month, sort), _NOTHING)
    due = _due(balances, month, free_seconds, sort)
    return Balance(known.posted + due, known.reserved) if due else known


def due_grant(
    account: str, month: str, balances: Balances, free_seconds: int, at_us: int, plan: str, sort: str = SECONDS
) -> Transfer | None:
    """The transfer that grants what ``plan`` gives (``free_seconds`` a month) beyond what was granted before; ``None``
    if there is nothing more to grant."""
    seconds = _due(balances, month, free_seconds, sort)
    if not seconds:
        return None
    before = balances.get(granted(month, sort), Balance()).posted
    if not before:  # also where the bundle is a gift: who knows no balances makes the first grant by the same id
        return grant(account, month, free_seconds, at_us, plan, sort)
    known = balances.get(raised_by(month, plan, sort), Balance()).posted
    raised = Leg(raised_by(month, plan, sort), free_seconds - known)
    reason = "monthly_bundle" if known else "plan_changed"
    return _grant(account, (month, sort), f"/after-{before}", seconds, at_us, reason, raised)


def grant(account: str, month: str, free_seconds: int, at_us: int, plan: str, sort: str = SECONDS) -> Transfer:
    """The transfer that creates a month's free seconds. Its id is made of the month, so it is applied only once."""
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
    # Older versions did not count grants: such a bundle was made as large as its plan.
    return 0 if known is None else max(0, free_seconds - known.posted)
