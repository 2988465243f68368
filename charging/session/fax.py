"""A fax that is being sent: the price of all its pages is reserved before it is dialled, and those that were really
sent are charged. Pure.

    OPEN ──no channel any more, record read──▶ SETTLING ──booked──▶ CLOSED

It is a session like a call: it holds money, it is stored with it, and it comes back after a restart. A page counts as
sent when the receiving machine has confirmed it, which is what the switch's own record tells (FAXPAGES), whatever
became of the rest: pages that failed are not charged (R3), also where there is no record at all. Measured on two pages:
cut after 14 s the sender reports FAILED and no page, cut after 17 s FAILED and one page, and only that one is charged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from charging.clock import MICROSECONDS, Instant
from charging.ledger.model import CREDIT, Closed, Kind, Leg, Opened, Transfer
from charging.money import format_euro
from charging.session.cdr import iso
from charging.session.commands import AskSwitch, Command, Forget, Post, ReadBlackBox, Tell
from charging.session.events import BlackBoxRead, Event, Posted, SwitchSaid, SwitchSilent, Woke
from charging.session.model import Policy, State
from charging.session.switch_events import ChannelEnded

RECORD_KIND = "fax"
SERVICE = "fax"
LOOK_S = 30
"""A page takes its time: so often the switch is asked whether the fax is still being sent."""
RECORD_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Fax:
    """One fax on its way."""

    id: str
    account: str
    number: str
    """The subscriber's own, shown as sender."""
    target: str
    plan: str
    switch: str
    pages: int
    """Of the document, counted before."""
    price: int
    """Micro-euro of one page."""
    document: str
    """What its sender calls it."""
    digest: str
    """Of the document as it was handed in: the same key with another document is told apart."""
    tariff: str
    """Revision and digest of the tariff that gave the price."""
    opened: Instant
    dial_by: Instant
    """The switch does not dial after this."""
    epoch: int = 0
    seen: bool = False
    """Whether the switch is known to have had a channel for it."""
    state: State = State.RESERVED
    sequence: int = 1
    held: Mapping[str, int] = field(default_factory=dict)
    ended: Instant | None = None
    pending: Transfer | None = None
    attempts: int = 0
    check_mono_us: int | None = None
    retry_mono_us: int | None = None

    @property
    def cost(self) -> int:
        """Micro-euro of all pages."""
        return self.pages * self.price

    def to_json(self) -> str:
        """The record as it is stored."""
        record = {name: getattr(self, name) for name in _STORED}
        times = {"opened": self.opened.wall_us, "dial_by": self.dial_by.wall_us, "held": dict(self.held)}
        return json.dumps({"kind": RECORD_KIND, **record, **times}, separators=(",", ":"), sort_keys=True)


_STORED = (
    "id",
    "account",
    "number",
    "target",
    "plan",
    "switch",
    "pages",
    "price",
    "document",
    "digest",
    "tariff",
    "sequence",
)


def fax_from(record: dict[str, Any], now: Instant, epoch: int) -> Fax:
    """A stored record, brought back to life; it asks the switch first. Raises KeyError or TypeError."""
    stored = {name: record[name] for name in _STORED}
    return Fax(
        **stored,
        opened=_then(record["opened"], now),
        dial_by=_then(record["dial_by"], now),
        held=record["held"],
        epoch=epoch,
        check_mono_us=now.mono_us,
    )


def _then(wall_us: int, now: Instant) -> Instant:
    return Instant(now.mono_us - (now.wall_us - wall_us), wall_us)


def open_transfer(fax: Fax) -> tuple[Fax, Transfer]:
    """Reserve the price of every page from credit alone (R9) and open the session."""
    after = replace(
        fax, held={CREDIT: fax.cost} if fax.cost else {}, sequence=fax.sequence + 1, check_mono_us=fax.dial_by.mono_us
    )
    legs = (Leg(CREDIT, 0, fax.cost),)
    change = Opened(fax.switch, after.to_json(), fax.epoch, fax.sequence - 1)
    return after, _transfer(fax, Kind.RESERVE, fax.opened.wall_us, legs, change)


def _transfer(fax: Fax, kind: Kind, at_us: int, legs: tuple[Leg, ...], change: Opened | Closed) -> Transfer:
    return Transfer(
        id=f"{fax.id}/{fax.sequence}/{kind}",
        account=fax.account,
        kind=kind,
        at_us=at_us,
        legs=legs,
        session=fax.id,
        change=change,
        reason=SERVICE,
    )


# --- its life -------------------------------------------------------------------------------------------------


def step(fax: Fax, event: Event, now: Instant, policy: Policy) -> tuple[Fax, tuple[Command, ...]]:
    """What an event does to it. Events that concern calls are of no interest."""
    if fax.state is State.CLOSED:
        return fax, ()
    handler = _HANDLERS.get(type(event))
    return (fax, ()) if handler is None else handler(fax, event, now, policy)


def wake_at(fax: Fax) -> int | None:
    """When it wants a Woke."""
    wishes = (fax.check_mono_us, fax.retry_mono_us)
    return min((wish for wish in wishes if wish is not None), default=None)


Answer = tuple[Fax, tuple[Command, ...]]


def _channel_ended(fax: Fax, _event: ChannelEnded, _now: Instant, _policy: Policy) -> Answer:
    """One of its channels is gone: the half that dialled, or the one that sent. The switch knows whether all are."""
    if fax.state is State.SETTLING:
        return fax, ()
    return replace(fax, seen=True), (AskSwitch(),)


def _switch_said(fax: Fax, event: SwitchSaid, now: Instant, _policy: Policy) -> Answer:
    if fax.state is State.SETTLING:
        return fax, ()
    if event.caller is not None or event.callee is not None:
        return replace(fax, seen=True, state=State.RUNNING, check_mono_us=now.plus(LOOK_S).mono_us), ()
    if not fax.seen and event.asked_mono_us < fax.dial_by.mono_us:
        # The order may be on its way to the switch.
        return replace(fax, check_mono_us=fax.dial_by.mono_us), ()
    check = now.plus(RECORD_RETRY_S).mono_us
    return replace(fax, state=State.ENDING, ended=fax.ended or now, check_mono_us=check), (ReadBlackBox(),)


def _switch_silent(fax: Fax, _event: SwitchSilent, now: Instant, policy: Policy) -> Answer:
    if fax.state is State.SETTLING:
        return fax, ()
    return replace(fax, check_mono_us=now.plus(policy.retry_s).mono_us), ()


def _woke(fax: Fax, _event: Woke, now: Instant, _policy: Policy) -> Answer:
    if fax.retry_mono_us is not None and fax.retry_mono_us <= now.mono_us and fax.pending:
        return replace(fax, retry_mono_us=None), (Post(fax.pending),)
    if fax.check_mono_us is not None and fax.check_mono_us <= now.mono_us:
        return replace(fax, check_mono_us=now.plus(LOOK_S).mono_us), (AskSwitch(),)
    return fax, ()


def _box_read(fax: Fax, event: BlackBoxRead, now: Instant, policy: Policy) -> Answer:
    """Charge the pages that the switch says were sent. Without a record there is no proof, and so no charge."""
    if fax.state is not State.ENDING:
        return fax, ()
    assert fax.ended is not None, "a session that is ending has ended"
    if not event.found and now.mono_us - fax.ended.mono_us < policy.black_box_wait_s * MICROSECONDS:
        return fax, ()
    sent = min(event.fax_pages, fax.pages)
    ended_us = event.ended_us or fax.ended.wall_us
    legs = (Leg(CREDIT, -sent * fax.price, -fax.held.get(CREDIT, 0)),)
    kind = Kind.SETTLE if sent else Kind.RELEASE
    change = Closed(_cdr(fax, event, sent, ended_us), ended_us, fax.epoch, fax.sequence - 1)
    transfer = _transfer(fax, kind, now.wall_us, legs, change)
    settling = replace(fax, state=State.SETTLING, pending=transfer, attempts=1, check_mono_us=None)
    return settling, (Post(transfer),)


def _posted(fax: Fax, event: Posted, now: Instant, policy: Policy) -> Answer:
    if fax.pending is None or event.transfer.id != fax.pending.id:
        return fax, ()
    if event.applied is None:
        wait_s = min(30, policy.retry_s * fax.attempts)
        waiting = replace(fax, attempts=fax.attempts + 1, retry_mono_us=now.plus(wait_s).mono_us)
        return waiting, (Tell("ledger_not_reached"),)
    outcome = event.applied.outcome
    closed = replace(fax, state=State.CLOSED, pending=None)
    if not outcome.applied:
        return closed, (Tell("session_lost", {"outcome": outcome}),)
    settled = {leg.balance: -leg.posted for leg in fax.pending.legs if leg.posted}
    return closed, (Tell("fax_settled", {"pages": fax.pages, "settled": settled}), Forget())


_Handler = Callable[[Fax, Any, Instant, Policy], Answer]
_HANDLERS: dict[type, _Handler] = {
    ChannelEnded: _channel_ended,
    SwitchSaid: _switch_said,
    SwitchSilent: _switch_silent,
    Woke: _woke,
    BlackBoxRead: _box_read,
    Posted: _posted,
}


def _cdr(fax: Fax, box: BlackBoxRead, sent: int, ended_us: int) -> str:
    """The JSON text of its CDR: the same members as a call's, where they mean something."""
    document = {
        "service": SERVICE,
        "session": fax.id,
        "account": fax.account,
        "number": fax.number,
        "target": fax.target,
        "plan": fax.plan,
        "switch": fax.switch,
        "document": fax.document,
        "document_digest": fax.digest,
        "status": box.fax_status,
        "dial_status": box.dial_status,
        "set_up": iso(fax.opened.wall_us),
        "ended": iso(ended_us),
        "pages": sent,
        "document_pages": fax.pages,
        "page_price": format_euro(fax.price),
        "cost": format_euro(sent * fax.price),
        "tariff": fax.tariff,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
