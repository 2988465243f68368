"""Decides what a transfer does: from the ledger's present state to its next. Pure; the heart of every store.

The memory store and SQLite call :func:`decide` inside their write. Redis' Lua scripts implement the same rules; the
contract suite and the state machine check that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Balance,
    CdrRow,
    Closed,
    Kept,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    Transfer,
)
from charging.records import quick, replace

GRANTS_MAX = 8
"""A call touches the bundles of two months at most; the rest is room."""

ZERO = Balance()


@quick
@dataclass(frozen=True, slots=True)
class View:
    """What a decision looks at, read inside the same atomic step that will carry it out."""

    account_exists: bool
    digests: Mapping[str, str]
    """By transfer id: of those of the ids in question that stand in the journal."""
    balances: Mapping[str, Balance]
    """At least those that the legs name; one that is missing was never touched."""
    session: OpenSession | None
    """The session that the transfer names, if it is open."""
    has_cdr: bool
    """Whether that session has left a CDR, and so cannot be opened again."""


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what has to be written for it. Nothing is written unless ``applied`` is CREATED."""

    applied: Applied
    lines: tuple[Transfer, ...] = ()
    """To be appended to the journal, in this order: the new grants, then the transfer."""
    balances: Mapping[str, Balance] = field(default_factory=dict)
    """The new values of the balances that change."""
    session: OpenSession | None = None
    """The session's new record, where it opens or goes on."""
    closes: bool = False
    cdr: CdrRow | None = None


def check_request(transfer: Transfer, grants: Sequence[Transfer]) -> None:
    """Check a request for faults of the program that sends it: more than GRANTS_MAX grants, equal ids, or a grant of
    another account or with a session. Raises ValueError."""
    if not grants:
        return
    if len(grants) > GRANTS_MAX:
        raise ValueError(f"a transfer is preceded by {GRANTS_MAX} grants at most")
    ids = {transfer.id, *(grant.id for grant in grants)}
    if len(ids) != len(grants) + 1:
        raise ValueError("a transfer and its grants have different ids")
    if any(grant.account != transfer.account or grant.session is not None for grant in grants):
        raise ValueError("a grant is of the transfer's account and has no session")


def touched(transfer: Transfer, grants: Sequence[Transfer] = ()) -> list[str]:
    """The names of all balances that the transfer and its grants may change, each once, in order."""
    return list(dict.fromkeys(leg.balance for line in (*grants, transfer) for leg in line.legs))


def decide(transfer: Transfer, grants: Sequence[Transfer], view: View) -> Decision:
    """Decide a transfer by rules 1 to 7 of the port: the answer, and what must be written in the same step."""
    now = {leg.balance: view.balances.get(leg.balance, ZERO) for leg in transfer.legs}
    if (digest := view.digests.get(transfer.id)) is not None:
        if digest == transfer.digest:
            return Decision(Applied(Outcome.EXISTS, now))
        return Decision(Applied(Outcome.DIFFERS, now, f"the journal has {digest}, not {transfer.digest}"))
    if not view.account_exists:
        return Decision(Applied(Outcome.ACCOUNT_NOT_FOUND, now))
    if (refused := _refuse_session(transfer, view)) is not None:
        return Decision(Applied(refused, now, session=view.session if refused is Outcome.OUT_OF_SEQUENCE else None))
    holds = _holds_after(transfer, view)
    if isinstance(holds, str):
        return Decision(Applied(Outcome.EXCEEDS_RESERVATION, now, holds))
    lines = (*(grant for grant in grants if grant.id not in view.digests), transfer)
    changed: dict[str, Balance] = {}
    for leg in (leg for line in lines for leg in line.legs):
        before = changed.get(leg.balance) or view.balances.get(leg.balance, ZERO)
        after = Balance(before.posted + leg.posted, before.reserved + leg.reserved)
        if (short := _refuse_leg(leg, after)) is not None:
            return Decision(Applied(short, now, leg.balance))
        changed[leg.balance] = after
    applied = Applied(Outcome.CREATED, {leg.balance: changed[leg.balance] for leg in transfer.legs})
    closed = transfer.change if isinstance(transfer.change, Closed) else None
    return Decision(
        applied,
        lines,
        changed,
        session=_session_after(transfer, holds, view),
        closes=closed is not None,
        cdr=_cdr(transfer, closed) if closed is not None and closed.cdr else None,
    )


def decide_keep(session: OpenSession | None, kept: Kept) -> tuple[Outcome, OpenSession | None]:
    """Decide whether an open session's new record may be stored without moving value: the answer, and the record to be
    written (``None`` if refused)."""
    if session is None:
        return Outcome.SESSION_NOT_OPEN, None
    if (refused := _refuse_change(session, kept)) is not None:
        return refused, None
    return Outcome.CREATED, replace(session, state=kept.state, epoch=kept.epoch)


def _refuse_session(transfer: Transfer, view: View) -> Outcome | None:
    if transfer.change is None:
        return None
    if isinstance(transfer.change, Opened) or (isinstance(transfer.change, Closed) and transfer.change.opens):
        return Outcome.SESSION_EXISTS if view.session is not None or view.has_cdr else None
    if view.session is None:
        return Outcome.SESSION_NOT_OPEN
    return _refuse_change(view.session, transfer.change)


def _refuse_change(session: OpenSession, change: Kept | Closed) -> Outcome | None:
    if change.epoch < session.epoch:
        return Outcome.FENCED
    return Outcome.OUT_OF_SEQUENCE if session.sequence not in (0, change.follows) else None


def _holds_after(transfer: Transfer, view: View) -> dict[str, int] | str:
    """What the session holds after the transfer. If that is impossible, the name of the balance at fault: one of which
    it would hold less than nothing, or, if it closes, one of which it would still hold something."""
    holds = dict(view.session.holds) if view.session is not None else {}
    for leg in transfer.legs:
        held = holds.pop(leg.balance, 0) + leg.reserved
        if held < 0:
            return leg.balance
        if held:
            holds[leg.balance] = held
    if isinstance(transfer.change, Closed) and holds:
        return min(holds)
    return holds


def _refuse_leg(leg: Leg, after: Balance) -> Outcome | None:
    if max(abs(after.posted), abs(after.reserved), abs(after.available)) > AMOUNT_MAX:
        return Outcome.EXCEEDS_LIMIT
    lowers = leg.posted - leg.reserved < 0
    return Outcome.INSUFFICIENT if lowers and after.available < leg.floor else None


def _session_after(transfer: Transfer, holds: Mapping[str, int], view: View) -> OpenSession | None:
    change = transfer.change
    if isinstance(change, Opened):
        assert transfer.session is not None
        return OpenSession(
            transfer.session,
            transfer.account,
            change.switch,
            change.state,
            holds,
            change.epoch,
            transfer.at_us,
            change.follows + 1,
        )
    if isinstance(change, Kept):
        assert view.session is not None
        return replace(view.session, state=change.state, holds=holds, epoch=change.epoch, sequence=change.follows + 1)
    return None


def _cdr(transfer: Transfer, closed: Closed) -> CdrRow:
    assert transfer.session is not None
    return CdrRow(transfer.session, transfer.account, closed.ended_us, closed.cdr)
