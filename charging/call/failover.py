"""A fail-over of a shared ledger may lose what it had acknowledged: the last ticks of a call, or all of it. Pure.

`booking` reads that from the ledger's answer (`Behind`). What was lost is posted again, under the ids that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from charging.call import told
from charging.call.booking import set_aside
from charging.call.commands import Context, Post, ReadBalances, Step, Tell
from charging.call.model import Pending, Session, Short
from charging.call.transfers import Extension, final_charge, grants_for, reserve_transfer, within_means
from charging.frozen import replace
from charging.ledger.balances import held_rooms, rooms
from charging.ledger.model import AMOUNT_MAX, CALLS, CREDIT, LEGS_MAX, Balance, Leg, OpenSession, day_spend
from charging.pricing.funding import Funding, bundle_use


def recover(
    session: Session, stored: OpenSession | None, context: Context, go_on: Callable[[Session, Context], Step]
) -> Step:
    """Bring the ledger to where the session is: from what is ``stored``, by whatever its phase does next
    (``go_on``), else from nothing."""
    if stored is None:
        return _reassert(session, context)
    after = go_on(_as_stored(session, stored), context)
    return Step(after.session, (Tell(told.SessionReasserted()), *after.commands))


def _as_stored(session: Session, stored: OpenSession) -> Session:
    """With the money as it is stored: what the lost transfers settled and held is then due once more, from the same
    promotional credit."""
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
    """What a call has taken and holds of promotional credit, in order."""
    taken = {name: session.posted.get(name, 0) + session.held.get(name, 0) for name in {*session.posted, *session.held}}
    return held_rooms(taken)


def _settled_in(state: str) -> tuple[Mapping[str, int], int]:
    """What a stored call has settled so far, by balance, and the end of the seconds that this paid."""
    stored = json.loads(state)
    return stored.get("posted", {}), stored.get("fixed_s", 0)


def reassert_within(session: Session, balances: Mapping[str, Balance], context: Context) -> Step:
    """Open a lost session again if other calls have taken its money meanwhile, or if more gifts have paid it than one
    transfer moves: the call goes on, or is booked, as far as what is left pays. What it has used beyond that is
    ours, like any other seconds beyond a deadline."""
    wanted_s = session.covered_s if session.duration is None else session.duration.billed_s
    funding = within_means(session, balances, wanted_s)
    missing_s = wanted_s - (funding[-1].end_s if funding else 0)
    short = session if missing_s <= 0 else replace(session, funding=funding, short=Short.MONEY)
    promos = rooms(balances, session.day, _promos_of(session))
    step = _reassert(short, context, funding, promos)
    return Step(step.session, (Tell(told.SessionReassertedShort(missing_s)), *step.commands))


def _reassert(
    session: Session, context: Context, funding: Funding | None = None, promos: Mapping[str, int] | None = None
) -> Step:
    """The write that opened the session is lost, and with it all that came after. Open it again as it stands, with
    nothing settled yet and everything held (once its length is known, only what it cost); what it has used is settled
    again. If another daemon has closed it meanwhile, its CDR forbids that. ``funding``: what pays for it, instead of
    what did before; ``promos``: what of that it may take of promotional credit."""
    bare = replace(session, posted={}, held={}, fixed_s=0, pending=None)
    at_us = context.now.wall_us
    if funding is None:
        ends = session.duration
        funding = session.funding if ends is None else final_charge(session, ends.billed_s)[1]
    promos = _promos_of(session) if promos is None else promos
    if len((CREDIT, CALLS, day_spend(session.day), *bundle_use(funding), *promos)) > LEGS_MAX:
        return Step(bare, (ReadBalances(),))  # more gifts in its life than one transfer moves: planned again with fewer
    _, transfer = reserve_transfer(bare, Extension(funding, 0, session.short, promos), at_us, session.reason)
    transfer = replace(transfer, legs=tuple(map(_beyond_limits, transfer.legs)))
    grants = grants_for(bare, funding, {}, at_us)  # what of them the ledger has kept, it skips
    pending = Pending(transfer, grants, session.funding, 0, session.short, context.now.mono_us)
    return Step(replace(bare, pending=pending), (Tell(told.SessionReasserted()), Post(transfer, grants)))


def _beyond_limits(leg: Leg) -> Leg:
    """The plan's limits are for new calls: this one runs, whatever has begun since."""
    return replace(leg, floor=-AMOUNT_MAX) if leg.floor else leg
