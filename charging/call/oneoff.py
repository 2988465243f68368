"""A one-off charge: a voicemail, a fax. Its maximum price is reserved, and only what the switch's own record proves is
charged: no record, no charge (R3). Pure.

    RESERVED ──no channel any more──▶ ENDING ──record read──▶ SETTLING ──booked──▶ CLOSED

It is a session like a call: it holds money, it is stored with it, and it comes back after a restart. Here is what the
two have in common; `voicemail` and `fax` say when theirs is over, and what the record proves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self, TypeVar

from charging.call import told
from charging.call.booking import Behind, Booked, Insufficient, Lost, Unknown, reading_of
from charging.call.commands import AskSwitch, Command, Doubt, Forget, Post, Tell
from charging.call.events import BlackBoxRead, Event, Posted, SwitchSilent, Woke
from charging.call.model import Policy, State
from charging.call.pieces import Allowance
from charging.clock import MICROSECONDS, Instant
from charging.ledger.balances import divided, held_rooms, is_value, rooms
from charging.ledger.model import (
    AMOUNT_MAX,
    CREDIT,
    Balance,
    Closed,
    Kind,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    Transfer,
    day_spend,
)
from charging.pricing.packs import shares
from charging.records import NEWER, VOLATILE, Codec, alive, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A one-off charge that is not booked yet."""

    KIND: ClassVar[str]
    """Of the stored record; also the reason of its transfers."""
    SETTLED: ClassVar[type[told.VoicemailSettled | told.FaxSettled]]
    """What is told once it is booked."""
    LOOK_S: ClassVar[int]
    """So often the switch is asked whether it is still there."""
    LONGEST_S: ClassVar[int] = 4 * 3600
    """By then it should be over."""

    id: str
    account: str
    number: str
    """The subscriber's."""
    plan: str
    switch: str
    price: int
    """Micro-euro of one: a message, a page."""
    opened: Instant
    day: str = ""
    """``YYYY-MM-DD`` in the operator's zone: the day whose spending it counts towards; empty: no day's."""
    day_cap: int | None = None
    """Micro-euro that may be spent on that day; ``None``: it is not counted."""
    epoch: Annotated[int, VOLATILE] = 0
    state: Annotated[State, VOLATILE] = State.RESERVED
    sequence: int = 1
    held: Mapping[str, int] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    """The balances of included pieces that it holds some of, in the order in which they pay."""
    allowance: Annotated[Allowance | None, VOLATILE] = None
    """Which included pieces may pay for it, before it is opened; ``None``: none."""
    ended: Annotated[Instant | None, VOLATILE] = None
    pending: Annotated[Transfer | None, VOLATILE] = None
    recorded: Annotated[bool, VOLATILE] = False
    """Whether the switch's own record was read."""
    attempts: Annotated[int, VOLATILE] = 0
    check_mono_us: Annotated[int | None, VOLATILE] = None
    retry_mono_us: Annotated[int | None, VOLATILE] = None
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)

    @property
    def due_us(self) -> int:
        """When the charge should be over (wall clock, µs). Soon afterwards it should be booked."""
        return self.opened.wall_us + self.LONGEST_S * MICROSECONDS

    def charge(self, count: int) -> tuple[int, dict[str, int]]:
        """What ``count`` pieces cost: credit in micro-euro, and the included pieces that pay for the first of them, by
        balance."""
        free = shares(count, {name: self.held.get(name, 0) for name in self.free})
        return (count - sum(free.values())) * self.price, free

    def included(self, count: int, balances: Mapping[str, Balance]) -> dict[str, int]:
        """Which included pieces would pay for the first of ``count``, by balance."""
        return {} if self.allowance is None else shares(count, self.allowance.pools(balances))

    def owing(self, count: int, balances: Mapping[str, Balance]) -> int:
        """What ``count`` pieces would take of credit, in micro-euro."""
        return (count - sum(self.included(count, balances).values())) * self.price

    def grants(self, balances: Mapping[str, Balance], at_us: int) -> tuple[Transfer, ...]:
        """The grants that are due of the included pieces that it holds."""
        return () if self.allowance is None else self.allowance.grants(self.account, self.held, balances, at_us)

    def taken(self, amount: int, promos: Mapping[str, int] = {}) -> dict[str, int]:
        """What an amount in micro-euro takes, by balance: promotional credit up to ``promos``, bought credit, and the
        day's limit."""
        shares = divided(amount, promos)
        return shares if self.day_cap is None else {**shares, day_spend(self.day): amount}

    def opening(self, amount: int, promos: Mapping[str, int] = {}) -> dict[str, int]:
        """What is reserved for a maximum price in micro-euro, by balance."""
        return self.taken(amount, promos)

    def floor(self, balance: str) -> int:
        """The least that a balance may be after a transfer, in its own unit: micro-euro or pieces."""
        return -self.day_cap if self.day_cap is not None and balance == day_spend(self.day) else 0

    def has_day_left(self, balances: Mapping[str, Balance], price: int) -> bool:
        """Whether the day's limit leaves this many micro-euro."""
        key = day_spend(self.day)
        return self.day_cap is None or balances.get(key, Balance()).available - price >= self.floor(key)

    def to_json(self) -> str:
        """Return the record as it is stored."""
        return codec_of(type(self)).dump(self)

    @classmethod
    def revived(cls, text: str, now: Instant, epoch: int) -> Self:
        """Read a stored record for this process; it asks the switch first. Raises ValueError if the text is no such
        record."""
        stored: Self = codec_of(cls).load(text)
        return replace(alive(stored, now), epoch=epoch, check_mono_us=now.mono_us)


P = TypeVar("P", bound=Piece)


_CODECS: dict[str, Codec[Any]] = {}


def codec_of(piece: type[Piece]) -> Codec[Any]:
    """Return the codec of voicemails or of faxes, made when it is first needed."""
    if piece.KIND not in _CODECS:
        _CODECS[piece.KIND] = Codec(piece, {"kind": piece.KIND})
    return _CODECS[piece.KIND]


E = TypeVar("E")
Handler = Callable[[P, Any, Instant, Policy], tuple[P, tuple[Command, ...]]]


def on(
    event: type[E], decide: Callable[[P, E, Instant, Policy], tuple[P, tuple[Command, ...]]]
) -> tuple[type, Handler[P]]:
    """What becomes of an event. A function that takes another event does not type-check."""
    return event, decide


def reserve(
    piece: P, count: int, balances: Mapping[str, Balance], at_us: int, *, is_only_try: bool = False
) -> tuple[P, Transfer]:
    """Reserve ``count`` pieces of those that are included, and the price of the others from credit alone (R9), within
    what the day may cost, and open the session. ``balances`` say how many pieces and how much promotional credit there
    are; the grants of `Piece.grants` go before it."""
    free = piece.included(count, balances)
    price = (count - sum(free.values())) * piece.price
    wanted = {**piece.opening(price, rooms(balances, piece.day)), **free}
    held = {key: amount for key, amount in wanted.items() if amount}
    after = replace(piece, held=held, free=tuple(free), sequence=piece.sequence + 1)
    change = Opened(piece.switch, after.to_json(), piece.epoch, piece.sequence - 1, is_only_try)
    legs = tuple(Leg(key, 0, wanted[key], piece.floor(key)) for key in sorted(wanted))
    return after, _transfer(piece, Kind.RESERVE, at_us, legs, change)


def step(
    piece: P, event: Event, now: Instant, policy: Policy, handlers: Mapping[type, Handler[P]]
) -> tuple[P, tuple[Command, ...]]:
    """Return what an event does to a one-off charge: by ``handlers``, else by those that all kinds share. Other events
    change nothing."""
    handler = handlers.get(type(event)) or _HANDLERS.get(type(event))
    return (piece, ()) if handler is None or piece.state is State.CLOSED else handler(piece, event, now, policy)


def wake_at(piece: Piece) -> int | None:
    """The monotonic reading (µs) at which it wants a Woke; only wishes that a Woke acts upon count."""
    wishes = (piece.check_mono_us, None if piece.pending is None else piece.retry_mono_us)
    return min((wish for wish in wishes if wish is not None), default=None)


def is_awaited(piece: Piece, event: BlackBoxRead, now: Instant, policy: Policy) -> bool:
    """Whether the black box answers a charge that has ended: with its record, or without one after the time that a
    record may take."""
    if piece.state is not State.ENDING:
        return False
    assert piece.ended is not None, "a session that is ending has ended"
    return event.found or now.mono_us - piece.ended.mono_us >= policy.black_box_wait_s * MICROSECONDS


def settle(
    piece: P, count: int, cdr: str, ended_us: int, now: Instant, counted: Mapping[str, int] = {}
) -> tuple[P, tuple[Command, ...]]:
    """Charge ``count`` pieces, give back the rest of what is held, and close the session. ``counted`` is taken besides,
    of balances that only count, whatever their floor."""
    cost, free = piece.charge(count)
    taken = {**piece.taken(cost, held_rooms(piece.held)), **free, **counted}
    return _settle(piece, taken, Closed(cdr, ended_us, piece.epoch, piece.sequence - 1), now)


def _settle(piece: P, taken: Mapping[str, int], change: Closed, now: Instant) -> tuple[P, tuple[Command, ...]]:
    held, own = {**dict.fromkeys(taken, 0), **piece.held}, piece.taken(0)
    floors = {key: piece.floor(key) if key in own or is_value(key) else -AMOUNT_MAX for key in held}
    legs = tuple(Leg(key, -taken.get(key, 0), -held[key], floors[key]) for key in sorted(held))
    transfer = _transfer(
        piece, Kind.SETTLE if any(map(is_value, filter(taken.get, taken))) else Kind.RELEASE, now.wall_us, legs, change
    )
    settling = replace(piece, state=State.SETTLING, pending=transfer, attempts=1, check_mono_us=None)
    return settling, (Post(transfer),)


def _settle_anew(piece: P, stored: OpenSession, now: Instant) -> tuple[P, tuple[Command, ...]]:
    """Settle after a fail-over that has lost the transfer by which a forward became this one: what the forward held is
    given back with the charge."""
    assert piece.pending is not None, "there is something to settle"
    assert isinstance(piece.pending.change, Closed), "it closes by its only transfer"
    taken = {CREDIT: 0, **{leg.balance: -leg.posted for leg in piece.pending.legs if leg.posted}}
    behind = replace(piece, sequence=stored.sequence + 1, held=dict(stored.holds))
    settling, commands = _settle(behind, taken, replace(piece.pending.change, follows=stored.sequence), now)
    return settling, (Tell(told.SessionReasserted()), *commands)


def _transfer(piece: Piece, kind: Kind, at_us: int, legs: tuple[Leg, ...], change: Opened | Closed) -> Transfer:
    return Transfer(
        id=f"{piece.id}/{piece.sequence}/{kind}",
        account=piece.account,
        kind=kind,
        at_us=at_us,
        legs=legs,
        session=piece.id,
        change=change,
        reason=piece.KIND,
    )


# --- what all of them do --------------------------------------------------------------------------------------


def _switch_silent(piece: P, _event: SwitchSilent, now: Instant, policy: Policy) -> tuple[P, tuple[Command, ...]]:
    if piece.state is State.SETTLING:
        return piece, ()
    return replace(piece, check_mono_us=now.plus(policy.retry_s).mono_us), ()


def _woke(piece: P, _event: Woke, now: Instant, _policy: Policy) -> tuple[P, tuple[Command, ...]]:
    if piece.retry_mono_us is not None and piece.retry_mono_us <= now.mono_us and piece.pending:
        return replace(piece, retry_mono_us=None), (Post(piece.pending),)
    if piece.check_mono_us is not None and piece.check_mono_us <= now.mono_us:
        return replace(piece, check_mono_us=now.plus(piece.LOOK_S).mono_us), (AskSwitch(),)
    return piece, ()


def _posted(piece: P, event: Posted, now: Instant, policy: Policy) -> tuple[P, tuple[Command, ...]]:
    if piece.pending is None or event.transfer.id != piece.pending.id:
        return piece, ()
    closed = replace(piece, state=State.CLOSED, pending=None)
    match reading_of(event):
        case Booked():
            pass
        case Unknown():
            wait_s = min(30, policy.retry_s * piece.attempts)
            waiting = replace(piece, attempts=piece.attempts + 1, retry_mono_us=now.plus(wait_s).mono_us)
            return waiting, (Tell(told.LedgerNotReached()),)
        case Behind(OpenSession() as stored):
            return _settle_anew(piece, stored, now)
        case Behind():
            return closed, (Tell(told.SessionLost(Outcome.SESSION_NOT_OPEN)), Doubt())
        case Insufficient():
            return closed, (Tell(told.SessionLost(Outcome.INSUFFICIENT)), Doubt())
        case Lost(outcome):
            return closed, (Tell(told.SessionLost(outcome)), Doubt())
    settled = {leg.balance: -leg.posted for leg in piece.pending.legs if leg.posted}
    return closed, (Tell(piece.SETTLED(settled)), Forget(recorded=piece.recorded))


_HANDLERS: dict[type, Handler[Any]] = dict([on(SwitchSilent, _switch_silent), on(Woke, _woke), on(Posted, _posted)])
