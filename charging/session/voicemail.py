"""A paid voicemail: its price is reserved before the caller is answered, and charged when a message was stored. Pure.

    OPEN ──caller gone, record read──▶ SETTLING ──booked──▶ CLOSED

It is a session like a call: it holds money, it is stored with it, and it comes back after a restart. What is charged
rests on the switch's own record alone: no record, no charge (R3, R13).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from charging.clock import MICROSECONDS, Instant
from charging.ledger.model import CREDIT, Closed, Kept, Kind, Leg, Opened, OpenSession, Transfer
from charging.money import format_euro
from charging.session.cdr import iso
from charging.session.commands import AskSwitch, Command, Doubt, Forget, HangUp, Post, ReadBlackBox, Tell
from charging.session.events import (
    AnswerDoubtful,
    BlackBoxRead,
    Event,
    HangupOrdered,
    Posted,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.session.model import Policy, Session, State
from charging.session.switch_events import ChannelEnded

RECORD_KIND = "voicemail"
LOOK_S = 60
"""A message takes its time: so often the switch is asked whether the caller is still there."""


@dataclass(frozen=True, slots=True)
class Voicemail:
    """One caller who is with paid voicemail."""

    id: str
    account: str
    number: str
    caller: str
    plan: str
    language: str
    switch: str
    reason: str
    """Why the call was not forwarded."""
    price: int
    """Micro-euro of one message."""
    tariff_revision: str
    tariff_digest: str
    """Of the tariff that gave the price."""
    opened: Instant
    caller_uid: str
    epoch: int = 0
    dial_status: str = ""
    """How the forward before it failed; empty where there was none."""
    state: State = State.RESERVED
    sequence: int = 1
    held: Mapping[str, int] = field(default_factory=dict)
    ended: Instant | None = None
    pending: Transfer | None = None
    attempts: int = 0
    check_mono_us: int | None = None
    retry_mono_us: int | None = None

    def to_json(self) -> str:
        """The record as it is stored."""
        record = {name: getattr(self, name) for name in _STORED}
        return json.dumps(
            {"kind": RECORD_KIND, **record, "opened": self.opened.wall_us, "held": dict(self.held)},
            separators=(",", ":"),
            sort_keys=True,
        )


_STORED = (
    "id",
    "account",
    "number",
    "caller",
    "plan",
    "language",
    "switch",
    "reason",
    "price",
    "tariff_revision",
    "tariff_digest",
    "caller_uid",
    "dial_status",
    "sequence",
)


def voicemail_from(record: dict[str, Any], now: Instant, epoch: int) -> Voicemail:
    """A stored record, brought back to life; it asks the switch first. Raises KeyError or TypeError."""
    opened = Instant(now.mono_us - (now.wall_us - record["opened"]), record["opened"])
    stored = {name: record[name] for name in _STORED}
    return Voicemail(**stored, opened=opened, held=record["held"], epoch=epoch, check_mono_us=now.mono_us)


def open_transfer(voicemail: Voicemail, at_us: int) -> tuple[Voicemail, Transfer]:
    """Reserve the price and open the session."""
    after = replace(voicemail, held={CREDIT: voicemail.price}, sequence=voicemail.sequence + 1)
    legs = (Leg(CREDIT, 0, voicemail.price),)
    change = Opened(voicemail.switch, after.to_json(), voicemail.epoch, voicemail.sequence - 1)
    return after, _transfer(voicemail, Kind.RESERVE, at_us, legs, change)


def turn_from(session: Session, price: int, status: str, at: Instant, policy: Policy) -> tuple[Voicemail, Transfer]:
    """A forward that failed becomes a voicemail: its money goes back and the price is reserved, in one operation."""
    held = {CREDIT: price}
    legs = tuple(
        Leg(key, 0, held.get(key, 0) - session.held.get(key, 0))
        for key in sorted({*held, *session.held})
        if held.get(key, 0) != session.held.get(key, 0)
    )
    voicemail = Voicemail(
        id=session.id,
        account=session.account,
        number=session.number,
        caller=session.caller,
        plan=session.plan,
        language=session.language,
        switch=session.switch,
        reason="forward_failed",
        price=price,
        tariff_revision=session.rate.tariff_revision,
        tariff_digest=session.rate.tariff_digest,
        opened=session.opened,
        caller_uid=session.caller_uid,
        epoch=session.epoch,
        dial_status=status,
        sequence=session.sequence + 1,
        held=held,
        check_mono_us=at.plus(LOOK_S).mono_us,
    )
    transfer = Transfer(
        id=f"{session.id}/{session.sequence}/{Kind.EXTEND}",
        account=session.account,
        kind=Kind.EXTEND,
        at_us=at.wall_us,
        legs=legs,
        session=session.id,
        change=Kept(voicemail.to_json(), session.epoch, session.follows),
        reason="voicemail",
    )
    return voicemail, transfer


def _transfer(voicemail: Voicemail, kind: Kind, at_us: int, legs: tuple[Leg, ...], change: Opened | Closed) -> Transfer:
    return Transfer(
        id=f"{voicemail.id}/{voicemail.sequence}/{kind}",
        account=voicemail.account,
        kind=kind,
        at_us=at_us,
        legs=legs,
        session=voicemail.id,
        change=change,
        reason="voicemail",
    )


# --- its life -------------------------------------------------------------------------------------------------


def step(voicemail: Voicemail, event: Event, now: Instant, policy: Policy) -> tuple[Voicemail, tuple[Command, ...]]:
    """What an event does to it. Events that concern a forward are of no interest."""
    if voicemail.state is State.CLOSED:
        return voicemail, ()
    handler = _HANDLERS.get(type(event))
    if handler is None:
        return voicemail, ()
    return handler(voicemail, event, now, policy)


def wake_at(voicemail: Voicemail) -> int | None:
    """When it wants a Woke."""
    wishes = (voicemail.check_mono_us, voicemail.retry_mono_us)
    return min((wish for wish in wishes if wish is not None), default=None)


Answer = tuple[Voicemail, tuple[Command, ...]]


def _channel_ended(voicemail: Voicemail, event: ChannelEnded, now: Instant, policy: Policy) -> Answer:
    return _gone(voicemail, now, policy) if event.uid == voicemail.caller_uid else (voicemail, ())


def _gone(voicemail: Voicemail, now: Instant, policy: Policy) -> Answer:
    if voicemail.state is State.SETTLING:
        return voicemail, ()
    check = now.plus(policy.black_box_wait_s).mono_us
    ended = voicemail.ended or now
    return replace(voicemail, state=State.ENDING, ended=ended, check_mono_us=check), (ReadBlackBox(),)


def _switch_said(voicemail: Voicemail, event: SwitchSaid, now: Instant, policy: Policy) -> Answer:
    if event.caller is not None:
        return replace(voicemail, check_mono_us=now.plus(LOOK_S).mono_us), ()
    return _gone(voicemail, now, policy)


def _switch_silent(voicemail: Voicemail, _event: SwitchSilent, now: Instant, policy: Policy) -> Answer:
    if voicemail.state is State.SETTLING:
        return voicemail, ()
    return replace(voicemail, check_mono_us=now.plus(policy.retry_s).mono_us), ()


def _woke(voicemail: Voicemail, _event: Woke, now: Instant, _policy: Policy) -> Answer:
    if voicemail.retry_mono_us is not None and voicemail.retry_mono_us <= now.mono_us and voicemail.pending:
        return replace(voicemail, retry_mono_us=None), (Post(voicemail.pending),)
    if voicemail.check_mono_us is not None and voicemail.check_mono_us <= now.mono_us:
        return replace(voicemail, check_mono_us=now.plus(LOOK_S).mono_us), (AskSwitch(),)
    return voicemail, ()


def _doubted(voicemail: Voicemail, _event: AnswerDoubtful, now: Instant, _policy: Policy) -> Answer:
    return replace(voicemail, check_mono_us=now.mono_us), ()


def _hang_up(voicemail: Voicemail, event: HangupOrdered, _now: Instant, _policy: Policy) -> Answer:
    return voicemail, (HangUp(voicemail.caller_uid, event.reason),)


def _box_read(voicemail: Voicemail, event: BlackBoxRead, now: Instant, policy: Policy) -> Answer:
    """Charge what the switch says was stored. Without a record there is no proof, and so no charge."""
    if voicemail.state is not State.ENDING:
        return voicemail, ()
    assert voicemail.ended is not None, "a session that is ending has ended"
    if not event.found and now.mono_us - voicemail.ended.mono_us < policy.black_box_wait_s * MICROSECONDS:
        return voicemail, ()
    return _settle(voicemail, event.message_stored, event.ended_us or voicemail.ended.wall_us, now)


def _settle(voicemail: Voicemail, stored: bool, ended_us: int, now: Instant) -> Answer:
    charged = {CREDIT: voicemail.price if stored else 0}
    held = {CREDIT: 0, **voicemail.held}
    legs = tuple(Leg(key, -charged.get(key, 0), -held[key]) for key in sorted(held))
    kind = Kind.SETTLE if stored else Kind.RELEASE
    change = Closed(_cdr(voicemail, stored, ended_us), ended_us, voicemail.epoch, voicemail.sequence - 1)
    transfer = _transfer(voicemail, kind, now.wall_us, legs, change)
    settling = replace(voicemail, state=State.SETTLING, pending=transfer, attempts=1, check_mono_us=None)
    return settling, (Post(transfer),)


def _posted(voicemail: Voicemail, event: Posted, now: Instant, policy: Policy) -> Answer:
    if voicemail.pending is None or event.transfer.id != voicemail.pending.id:
        return voicemail, ()
    if event.applied is None:
        wait_s = min(30, policy.retry_s * voicemail.attempts)
        waiting = replace(voicemail, attempts=voicemail.attempts + 1, retry_mono_us=now.plus(wait_s).mono_us)
        return waiting, (Tell("ledger_not_reached"),)
    outcome = event.applied.outcome
    if (stored := event.applied.session) is not None and stored.sequence < voicemail.sequence - 1:
        return _settle_anew(voicemail, stored, now)
    closed = replace(voicemail, state=State.CLOSED, pending=None)
    if not outcome.applied:
        return closed, (Tell("session_lost", {"outcome": outcome}), Doubt())
    settled = {leg.balance: -leg.posted for leg in voicemail.pending.legs if leg.posted}
    return closed, (Tell("voicemail_settled", {"stored": bool(settled), "settled": settled}), Forget())


def _settle_anew(voicemail: Voicemail, stored: OpenSession, now: Instant) -> Answer:
    """A fail-over has lost the transfer by which a forward became this voicemail: what the forward held is given back
    with the charge."""
    assert voicemail.pending is not None, "there is something to settle"
    assert isinstance(voicemail.pending.change, Closed), "it closes by its only transfer"
    behind = replace(voicemail, sequence=stored.sequence + 1, held=dict(stored.holds))
    message, ended_us = voicemail.pending.kind is Kind.SETTLE, voicemail.pending.change.ended_us
    settling, commands = _settle(behind, message, ended_us, now)
    return settling, (Tell("session_reasserted"), *commands)


_Handler = Callable[[Voicemail, Any, Instant, Policy], Answer]
_HANDLERS: dict[type, _Handler] = {
    ChannelEnded: _channel_ended,
    SwitchSaid: _switch_said,
    SwitchSilent: _switch_silent,
    Woke: _woke,
    AnswerDoubtful: _doubted,
    HangupOrdered: _hang_up,
    BlackBoxRead: _box_read,
    Posted: _posted,
}


def _cdr(voicemail: Voicemail, stored: bool, ended_us: int) -> str:
    """The JSON text of its CDR: the same members as a call's, where they mean something."""
    document = {
        "service": "voicemail",
        "session": voicemail.id,
        "account": voicemail.account,
        "number": voicemail.number,
        "caller": voicemail.caller,
        "plan": voicemail.plan,
        "switch": voicemail.switch,
        "reason": voicemail.reason,
        "dial_status": voicemail.dial_status,
        "set_up": iso(voicemail.opened.wall_us),
        "ended": iso(ended_us),
        "messages": int(stored),
        "cost": format_euro(voicemail.price if stored else 0),
        "tariff_revision": voicemail.tariff_revision,
        "tariff_digest": voicemail.tariff_digest,
    }
    return json.dumps(document, separators=(",", ":"))
