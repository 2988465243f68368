"""A paid voicemail: its price is reserved before the caller is answered, and charged when a message was stored (R3,
R13). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from charging.call import oneoff, told
from charging.call.commands import AskSwitch, Command, HangUp, ReadBlackBox
from charging.call.events import AnswerDoubtful, BlackBoxRead, Event, HangupOrdered, SwitchSaid
from charging.call.finished import given_in
from charging.call.model import LOOKS_FOR_CALLER, Means, Policy, Session, State
from charging.call.oneoff import Piece
from charging.call.switch_events import ChannelEnded
from charging.clock import Instant, iso
from charging.ledger.balances import divided, held_rooms
from charging.ledger.model import Balance, Kept, Kind, Leg, Transfer
from charging.pricing.money import format_euro
from charging.pricing.packs import shown_pieces
from charging.records import VOLATILE, replace

SERVICE = "voicemail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voicemail(Piece):
    """One caller who is with paid voicemail."""

    KIND = SERVICE
    SETTLED = told.VoicemailSettled
    LOOK_S = 60
    """A message takes its time."""

    caller: str
    language: str
    reason: str
    """Why the call was not forwarded."""
    tariff_revision: str
    tariff_digest: str
    """Of the tariff that gave the price."""
    caller_uid: str
    withheld: bool = False
    """As of a session, like the caller."""
    dial_status: str = ""
    """How the forward before it failed; empty where there was none."""
    target: str = ""
    """Where that forward went."""
    doubted: Annotated[int, VOLATILE] = 0
    """As of a session."""


def open_transfer(voicemail: Voicemail, balances: Mapping[str, Balance], at_us: int) -> tuple[Voicemail, Transfer]:
    """Reserve a message and open the session, whose id is new."""
    return oneoff.reserve(voicemail, 1, balances, at_us, is_only_try=True)


def turn_from(session: Session, price: int, means: Means, status: str, at: Instant) -> tuple[Voicemail, Transfer]:
    """A forward that failed becomes a voicemail: its money goes back and the price is reserved, in one operation, on
    the day whose spending the forward counted towards."""
    voicemail = Voicemail(
        id=session.id,
        account=session.account,
        number=session.number,
        caller=session.caller,
        withheld=session.withheld,
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
        target=session.target,
        sequence=session.sequence + 1,
        day=session.day,
        day_cap=session.day_cap,
        check_mono_us=at.plus(Voicemail.LOOK_S).mono_us,
    )
    held = {name: 1 for name in means.free} or _no_zeros(voicemail.taken(price, means.promos))
    voicemail = replace(voicemail, held=held, free=means.free)
    legs = tuple(
        Leg(key, 0, voicemail.held.get(key, 0) - session.held.get(key, 0), voicemail.floor(key))
        for key in sorted({*voicemail.held, *session.held})
        if voicemail.held.get(key, 0) != session.held.get(key, 0)
    )
    transfer = Transfer(
        id=f"{session.id}/{session.sequence}/{Kind.EXTEND}",
        account=session.account,
        kind=Kind.EXTEND,
        at_us=at.wall_us,
        legs=legs,
        session=session.id,
        change=Kept(voicemail.to_json(), session.epoch, session.follows),
        reason=SERVICE,
    )
    return voicemail, transfer


def _no_zeros(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if amount}


# --- its life -------------------------------------------------------------------------------------------------


def step(voicemail: Voicemail, event: Event, now: Instant, policy: Policy) -> tuple[Voicemail, tuple[Command, ...]]:
    """What an event does to it. Events that concern a forward are of no interest."""
    return oneoff.step(voicemail, event, now, policy, _HANDLERS)


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
    if not event.alone:
        return voicemail, (() if event.caller is not None else (AskSwitch(),))
    if event.caller is None and voicemail.doubted and voicemail.state is State.RESERVED and not event.others:
        # Nobody bears its name. While his channel is there without it, he may be told just now (`setup.switch_said`).
        if voicemail.doubted == LOOKS_FOR_CALLER and not event.nameless:
            return _never_came(voicemail, now)
        if voicemail.opened.seconds_until(now) < policy.setup_timeout_s:
            again = replace(voicemail, doubted=voicemail.doubted + (not event.nameless))
            return replace(again, check_mono_us=now.plus(policy.retry_s).mono_us), ()
    if event.caller is None or voicemail.state is State.SETTLING:
        return _gone(voicemail, now, policy)
    # Another channel than before: someone was put in the caller's place (a transfer), and his message is the one.
    there = replace(voicemail, state=State.RESERVED, ended=None, caller_uid=event.caller.uid)
    return replace(there, doubted=0, check_mono_us=now.plus(voicemail.LOOK_S).mono_us), ()


def _doubted(voicemail: Voicemail, event: AnswerDoubtful, now: Instant, _policy: Policy) -> Answer:
    """A caller who hangs up before he has the first answer, again and again, holds no money: his channel never had this
    session's name, so no record of it comes."""
    if voicemail.state is not State.RESERVED or voicemail.dial_status:
        return replace(voicemail, check_mono_us=now.mono_us), ()
    if event.undelivered:
        return _never_came(voicemail, now)
    return replace(voicemail, doubted=1, check_mono_us=now.mono_us), ()


def _never_came(voicemail: Voicemail, now: Instant) -> Answer:
    ended = replace(voicemail, ended=now)
    cdr = cdr_document(ended, stored=False, promos=held_rooms(ended.held), ended_us=now.wall_us)
    return oneoff.settle(ended, 0, cdr, now.wall_us, now)


def _hang_up(voicemail: Voicemail, event: HangupOrdered, _now: Instant, _policy: Policy) -> Answer:
    return voicemail, (HangUp(voicemail.caller_uid, event.reason),)


def _box_read(voicemail: Voicemail, event: BlackBoxRead, now: Instant, policy: Policy) -> Answer:
    """Charge what the switch says was stored."""
    if not oneoff.is_awaited(voicemail, event, now, policy):
        return voicemail, ()
    stored = event.message_stored
    ended_us = event.ended_us or (voicemail.ended or now).wall_us
    voicemail = replace(voicemail, recorded=event.found)
    promos = held_rooms(voicemail.held)
    return oneoff.settle(voicemail, int(stored), cdr_document(voicemail, stored, promos, ended_us), ended_us, now)


_HANDLERS: Mapping[type, oneoff.Handler[Voicemail]] = dict(
    [
        oneoff.on(ChannelEnded, _channel_ended),
        oneoff.on(SwitchSaid, _switch_said),
        oneoff.on(AnswerDoubtful, _doubted),
        oneoff.on(HangupOrdered, _hang_up),
        oneoff.on(BlackBoxRead, _box_read),
    ]
)


def cdr_document(voicemail: Voicemail, stored: bool, promos: Mapping[str, int], ended_us: int) -> str:
    """The JSON text of its CDR: the same members as a call's, where they mean something. ``promos``: what may be taken
    of promotional credit."""
    cost, free = voicemail.charge(int(stored))
    document = {
        "service": SERVICE,
        "session": voicemail.id,
        "account": voicemail.account,
        "number": voicemail.number,
        "caller": voicemail.caller,
        "withheld": voicemail.withheld,
        "plan": voicemail.plan,
        "switch": voicemail.switch,
        "reason": voicemail.reason,
        "dial_status": voicemail.dial_status,
        "set_up": iso(voicemail.opened.wall_us),
        "ended": iso(ended_us),
        "messages": int(stored),
        **({"free_messages": shown_pieces(free)} if free else {}),
        "cost": format_euro(cost),
        **given_in(divided(cost, promos)),
        "tariff_revision": voicemail.tariff_revision,
        "tariff_digest": voicemail.tariff_digest,
    }
    return json.dumps(document, separators=(",", ":"))
