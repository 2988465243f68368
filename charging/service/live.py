"""Running calls as people see them: who talks to whom, the cost so far, until when the call is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from charging.call.events import HangupOrdered
from charging.call.model import Session, from_json
from charging.clock import MICROSECONDS, Clock, Instant
from charging.engine.sessions import Registry
from charging.errors import LedgerError
from charging.ledger.balances import divided, held_rooms
from charging.ledger.model import OpenSession
from charging.ledger.port import Store
from charging.pricing.rate import bundle_use, charge, consumed, seconds_of
from charging.records import dataclass
from charging.service.actor import actor
from charging.service.changes import Act, Changes
from charging.service.refusal import Code, Refused

log = structlog.get_logger(__name__)


class LiveCalls(Protocol):
    """The calls that this process looks after."""

    def of(self, account: str) -> Sequence[Session]:
        """An account's, in the order in which they began."""

    def get(self, session: str) -> Session | None:
        """One of them; ``None``: it is not looked after here."""

    def hang_up(self, session: str, reason: str) -> bool:
        """Order a call to end; ``False``: it is not looked after here."""

    def watches(self, session: Session) -> bool:
        """Whether a daemon looks after a stored session."""


class NoCalls:
    """The calls of a process that looks after none. ``beside`` is the switch of the daemon that lives as long as this
    process and looks after that one's calls: here they are known by their records, which it stores with their money.
    ``None``: there is no such daemon."""

    def __init__(self, beside: str | None = None) -> None:
        self._beside = beside

    def of(self, account: str) -> Sequence[Session]:
        return ()

    def get(self, session: str) -> Session | None:
        return None

    def hang_up(self, session: str, reason: str) -> bool:
        return False

    def watches(self, session: Session) -> bool:
        return session.switch == self._beside


class RegistryCalls:
    """The calls of a running daemon."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def of(self, account: str) -> Sequence[Session]:
        return self._registry.open.calls_of(account)

    def get(self, session: str) -> Session | None:
        runner = self._registry.open.find(session)
        return runner.session if runner is not None and isinstance(runner.session, Session) else None

    def hang_up(self, session: str, reason: str) -> bool:
        runner = self._registry.open.find(session)
        if runner is None:
            return False
        runner.offer(HangupOrdered(reason))
        return True

    def watches(self, session: Session) -> bool:
        return self._registry.open.find(session.id) is not None


@dataclass(frozen=True, slots=True)
class CallView:
    """One open session at one moment."""

    session: Session
    watched: bool
    """Whether this daemon looks after it; else this is its record as last stored by whoever does (or did)."""
    elapsed_s: int
    """Whole seconds since the answer."""
    cost: int
    """Micro-euro of credit, bought and given, that the call has cost so far, by the increments it has begun."""
    unsettled_by: dict[str, int]
    """How much of it is not yet taken from the posted balances, by balance, bought credit and promotional; it is within
    what is reserved."""
    free_seconds: dict[str, int]
    """Free seconds used so far, by bundle."""
    free_unsettled: dict[str, int]
    """How many of them are not yet taken from the posted balances."""

    @property
    def covered_until_us(self) -> int | None:
        """Wall clock at which the paid time ends unless more is reserved; ``None`` before the answer."""
        session = self.session
        return None if session.answered is None else session.start_us + session.covered_s * MICROSECONDS


def call_view(session: Session, now: Instant, watched: bool, posted: Mapping[str, int], tolerance_ms: int) -> CallView:
    """A session as it is now, of which ``posted`` has been taken from the balances. Its cost is what it would be
    charged if it ended now, less the tolerance of ``tolerance_ms``. Pure."""
    until = now if session.left is None else session.left
    elapsed_ms = session.elapsed_ms(until.mono_us)
    used_s = max(session.fixed_s, seconds_of(elapsed_ms, tolerance_ms))
    used = consumed(session.rate, session.start_us, session.funding, used_s)
    cost = charge(session.rate, session.start_us, used)
    free = bundle_use(used)
    shares = divided(cost, held_rooms(session.held), posted)
    unsettled_by = {key: max(0, amount - posted.get(key, 0)) for key, amount in shares.items()}
    return CallView(
        session,
        watched,
        elapsed_ms // 1000,
        cost,
        unsettled_by,
        free,
        {key: max(0, seconds - posted.get(key, 0)) for key, seconds in free.items()},
    )


class Calls:
    """Open sessions: those that are looked after here, and those that only the store knows."""

    def __init__(self, store: Store, live: LiveCalls, clock: Clock, answer_tolerance_ms: int) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._tolerance_ms = answer_tolerance_ms
        self._changes = Changes(store, clock)

    async def page(self, after: str, limit: int, *, backwards: bool = False) -> tuple[list[CallView], str | None]:
        """The calls among the first ``limit`` open sessions with ids beyond ``after`` (empty: all), and the cursor of
        the next page (``None`` if there is none). They come by id, which is the order in which they began;
        ``backwards``: from the newest on. A page may be empty though more follow, because a fax is a session too."""
        stored = await self._store.sessions_page(after, limit + 1, backwards=backwards)
        views = self.views_of(stored[:limit])
        return views[::-1] if backwards else views, stored[limit - 1].id if len(stored) > limit else None

    async def of(self, account: str) -> list[CallView]:
        """An account's, in the order in which they began."""
        stored = await self._store.sessions(account=account)
        views, known = self.views_of(stored), {record.id for record in stored}
        for one in self._live.of(account):
            if one.id not in known:
                views.append(self._view(one, self._clock.now(), watched=True, posted=one.posted))
        return sorted(views, key=_begun)

    def views_of(self, stored: Sequence[OpenSession]) -> list[CallView]:
        """Those of the store's open sessions that are calls, in the order in which they began.

        What they have taken from the balances is what their records say: read at the same moment as the balances, both
        agree, while this process may not have heard yet of a tick that is booked.
        """
        now = self._clock.now()
        views = []
        for record in stored:
            if (session := _revived(record, now, self._clock.boot)) is not None:
                live = self._live.get(record.id)
                watched = self._live.watches(session)
                views.append(self._view(live or session, now, watched, session.posted))
        return sorted(views, key=_begun)

    def _view(self, session: Session, now: Instant, watched: bool, posted: Mapping[str, int]) -> CallView:
        return call_view(session, now, watched, posted, self._tolerance_ms)

    async def get(self, session: str) -> CallView | Refused:
        """One open session."""
        stored = await self._store.session(session)
        views = self.views_of([stored] if stored is not None else [])
        if not views and (live := self._live.get(session)) is not None:
            views = [self._view(live, self._clock.now(), watched=True, posted=live.posted)]
        return views[0] if views else _no_call(session)

    async def hang_up(self, session: str, reason: str) -> CallView | Refused:
        """Order a call to end, whatever state the ledger is in. It is over when it leaves the list, a moment later."""
        live = self._live.get(session)
        if live is not None and self._live.hang_up(session, reason):
            await self._note_hang_up(live, reason)
            return self._view(live, self._clock.now(), watched=True, posted=live.posted)
        view = await self.get(session)
        if isinstance(view, Refused):
            return view
        switch = view.session.switch
        message = f"no daemon here looks after call {session}"
        return Refused(Code.CONFLICT, message, f"ask the daemon of switch {switch!r}, or start it: `charging run`")

    async def _note_hang_up(self, call: Session, reason: str) -> None:
        facts = {"session": call.id, "reason": reason}
        try:
            await self._changes.noted(Act.HUNG_UP, account=call.account, number=call.number, after=facts)
        except LedgerError as error:
            log.error("hang_up_not_noted", **facts, account=call.account, actor=actor(), why=str(error))


def _revived(record: OpenSession, now: Instant, boot: str) -> Session | None:
    """The stored session; ``None`` where its record cannot be read, which ``charging ledger verify`` tells. ``boot`` is
    as of `from_json`: what was kept on this machine is timed by the clock that does not step."""
    try:
        return from_json(record.state, now, record.epoch, boot)
    except (ValueError, KeyError, TypeError):
        return None


def _begun(view: CallView) -> int:
    return view.session.opened.wall_us


def _no_call(session: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"there is no call {session[:80]!r} now", "`charging calls` lists those there are")
