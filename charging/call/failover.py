"""A fail-over of a shared ledger may lose what it had acknowledged: the last ticks of a call, or all of it. Pure.

`booking` reads that from the ledger's answer (`Behind`). What was lost is posted again, under the ids that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from charging.call import told
from charging.call.booking import Extension, final_charge, grants_for, reserve_transfer, set_aside, within_means
from charging.call.commands import Post, ReadBalances, Step, Tell
from charging.call.model import Context, Pending, Session, Short
from charging.ledger.balances import held_rooms, rooms
from charging.ledger.model import AMOUNT_MAX, CALLS, CREDIT, LEGS_MAX, Balance, Leg, OpenSession, day_spend
from charging.pricing.rate import Funding, bundle_use, charge
from charging.records import replace


def recover(
    session: Session, stored: OpenSession | None, context: Context, go_on: Callable[[Session, Context], Step]
) -> Step:
    """Bring the ledger to where the session is. If the session is ``stored``, ``go_on`` (what the session's phase does
    next) posts what is missing; if it is not, the session is opened again."""
    if stored is None:
        return _reassert(session, context)
    after = go_on(_as_stored(session, stored), context)
    return Step(after.session, (Tell(told.SessionReasserted()), *after.commands))


def _as_stored(session: Session, stored: OpenSession) -> Session:
    """Return the session with its money as the ledger has it stored. What the lost transfers settled and held is due
    once more, from the same promotional credit."""
    posted, fixed_s = _settled_in(stored.state)
    promos = {name: amount - posted.get(name, 0) for name, amount in _promos_of(session).items()}
    return replace(
        set_aside(session),
        sequence=stored.sequence + 1,
        fixed_s=fixed_s,
        posted=posted,
        held=dict(stored.holds),
        promos=promos,
    )


def _promos_of(session: Session) -> dict[str, int]:
    """What a call has taken and holds of promotional credit, in micro-euro by balance, in paying order."""
    taken = {name: session.posted.get(name, 0) + session.held.get(name, 0) for name in {*session.posted, *session.held}}
    return held_rooms(taken)


def _settled_in(state: str) -> tuple[Mapping[str, int], int]:
    """What a stored call has settled so far, by balance, and up to which second."""
    stored = json.loads(state)
    return stored.get("posted", {}), stored.get("fixed_s", 0)


def reassert_within(session: Session, balances: Mapping[str, Balance], context: Context) -> Step:
    """Open a lost session again with the money that is left: other calls have taken some of its own meanwhile, or more
    promotional balances have paid it than fit into one transfer. The call goes on, or is booked, as far as that pays.
    Seconds that it has used beyond are the operator's cost, like all seconds beyond a deadline."""
    wanted_s = session.covered_s if session.duration is None else session.duration.billed_s
    funding = within_means(session, balances, wanted_s)
    missing_s = wanted_s - (funding[-1].end_s if funding else 0)
    short = session if missing_s <= 0 else replace(session, funding=funding, short=Short.MONEY)
    promos = rooms(balances, session.day, _promos_of(session))
    step = _reassert(short, context, funding, promos, balances)
    return Step(step.session, (Tell(told.SessionReassertedShort(missing_s)), *step.commands))


def _reassert(
    session: Session,
    context: Context,
    funding: Funding | None = None,
    promos: Mapping[str, int] | None = None,
    balances: Mapping[str, Balance] = {},
) -> Step:
    """Open a session again whose opening the ledger has lost, and with it all later transfers. Nothing is settled yet
    and everything is held (once its length is known: only what it cost); the next transfer settles what was used. The
    ledger refuses if another daemon has closed the session meanwhile, for then it has a CDR. ``funding`` replaces what
    paid for the session before, planned with ``balances``; ``promos`` is how much of it promotional credit may pay, in
    micro-euro by balance."""
    bare = replace(session, posted={}, held={}, fixed_s=0, pending=None)
    at_us = context.now.wall_us
    if funding is None:
        ends = session.duration
        funding = session.funding if ends is None else final_charge(session, ends.billed_s)[1]
    promos = _promos_of(session) if promos is None else promos
    if len((CREDIT, CALLS, day_spend(session.day), *bundle_use(funding), *promos)) > LEGS_MAX:
        return Step(bare, (ReadBalances(),))  # more promotional balances than fit into one transfer: plan with fewer
    extension = Extension(funding, charge(bare.rate, bare.start_us, funding), (), 0, session.short, promos)
    _, transfer = reserve_transfer(bare, extension, at_us, session.reason)
    transfer = replace(transfer, legs=tuple(map(_beyond_limits, transfer.legs)))
    grants = grants_for(bare, funding, balances, at_us)  # the ledger skips those that it still has
    pending = Pending(transfer, grants, session.funding, 0, session.short, context.now.mono_us)
    return Step(replace(bare, pending=pending), (Tell(told.SessionReasserted()), Post(transfer, grants)))


def _beyond_limits(leg: Leg) -> Leg:
    """Lift the floor of a limit: limits of the plan are for new calls, and this one runs already."""
    return replace(leg, floor=-AMOUNT_MAX) if leg.floor else leg
