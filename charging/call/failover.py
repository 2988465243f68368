"""A fail-over of a shared ledger may lose what it had acknowledged: the last ticks of a call, or all of it. Pure.

`booking` reads that from the ledger's answer (`Behind`). What was lost is posted anew, under the ids that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from charging.call.booking import set_aside
from charging.call.commands import Post, Tell
from charging.call.model import Pending, Session
from charging.call.step import Context, Step
from charging.call.transfers import Extension, final_charge, grants_for, reserve_transfer
from charging.ledger.model import AMOUNT_MAX, Leg, OpenSession


def recover(
    session: Session, stored: OpenSession | None, context: Context, go_on: Callable[[Session, Context], Step]
) -> Step:
    """Bring the ledger to where the session is: from what is ``stored``, by whatever its phase does next
    (``go_on``), else from nothing."""
    if stored is None:
        return _reassert(session, context)
    after = go_on(_as_stored(session, stored), context)
    return Step(after.session, (Tell("session_reasserted"), *after.commands))


def _as_stored(session: Session, stored: OpenSession) -> Session:
    """With the money as it is stored: what the lost transfers settled and held is then due once more."""
    return replace(
        set_aside(session),
        sequence=stored.sequence + 1,
        posted=_posted_in(stored.state),
        held=dict(stored.holds),
    )


def _posted_in(state: str) -> Mapping[str, int]:
    """What a stored call has settled so far, by balance."""
    posted: Mapping[str, int] = json.loads(state).get("posted", {})
    return posted


def _reassert(session: Session, context: Context) -> Step:
    """The write that opened the session is lost, and with it all that came after. Open it again as it stands, with
    nothing settled yet and everything held (once its length is known, only what it cost); what it has used is settled
    anew. If another daemon has closed it meanwhile, its CDR forbids that."""
    bare = replace(session, posted={}, held={}, fixed_s=0, pending=None)
    at_us = context.now.wall_us
    funding = session.funding if session.duration is None else final_charge(session, session.duration.billed_s)[1]
    _, transfer = reserve_transfer(bare, Extension(funding, 0, session.short), at_us)
    transfer = replace(transfer, legs=tuple(map(_beyond_limits, transfer.legs)))
    grants = grants_for(bare, funding, {}, at_us)  # what of them the ledger has kept, it skips
    pending = Pending(transfer, grants, session.funding, 0, session.short, context.now.mono_us)
    return Step(replace(bare, pending=pending), (Tell("session_reasserted"), Post(transfer, grants)))


def _beyond_limits(leg: Leg) -> Leg:
    """The plan's limits are for new calls: this one runs, whatever has begun since."""
    return replace(leg, floor=-AMOUNT_MAX) if leg.floor else leg
