"""The session's transition table: for every state and event, the one function that decides. Pure.

::

    RESERVED ──dialling──▶ RINGING ──answer──▶ RUNNING ──left, gone──▶ ENDING ──record read──▶ SETTLING ──▶ CLOSED
        │                     │                                          ▲                        ▲
        │                     └────────────── caller gone ───────────────┤                        │
        └──────────────────────── never dialled, caller gone ────────────┘      forward failed ───┘

Rule 1: everything that changes a session is here; `runner` only carries out commands and feeds their answers back.
Rule 2: a pair that is not in the table raises UnexpectedEvent in tests and in the simulation; the runner logs and
counts it and goes on. Late and repeated events are normal: such rows say `stay`.
Rule 3: a session never waits by itself. `wake_at` tells, from the record alone, when it wants to be woken; so there
are no timers to arm, to cancel, or to lose in a restart.
Rule 4: a transfer whose outcome is unknown stays `pending` and is asked again with the same contents; nothing else is
posted before it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from charging.call import ending, fax, oneoff, running, setup, voicemail
from charging.call.commands import Command, Step, hang_up, stay
from charging.call.events import (
    AnswerDoubtful,
    BalancesRead,
    BlackBoxRead,
    ClockJumped,
    DeadlineSet,
    Draining,
    Event,
    ForwardFailed,
    FundsChanged,
    HangupOrdered,
    KeptAnswer,
    Posted,
    PromptPlayed,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.fax import Fax
from charging.call.model import Context, Policy, Session, State
from charging.call.oneoff import Piece
from charging.call.storage import Record
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    ChannelReplaced,
    DialEnded,
    DialStarted,
    TransferSeen,
)
from charging.call.voicemail import Voicemail
from charging.clock import Instant
from charging.errors import UnexpectedEvent
from charging.records import replace

Handler = Callable[[Session, Any, Context], Step]
E = TypeVar("E")


def on(event: type[E], decide: Callable[[Session, E, Context], Step]) -> tuple[type, Handler]:
    """Make a row of the table. A function that takes another type of event does not type-check."""
    return event, decide


_SETUP: dict[type, Handler] = dict(
    [
        on(DialStarted, setup.dial_started),
        on(DialEnded, setup.dial_ended),
        on(ChannelEnded, setup.channel_ended),
        on(ChannelReplaced, stay),
        on(BridgeEntered, stay),
        on(BridgeLeft, stay),
        on(TransferSeen, setup.transfer_seen),
        on(ForwardFailed, setup.forward_failed),
        on(Posted, setup.posted),
        on(AnswerDoubtful, setup.answer_doubtful),
        on(SwitchSaid, setup.switch_said),
        on(SwitchSilent, setup.switch_silent),
        on(Woke, setup.woke),
        on(FundsChanged, stay),
        on(Draining, stay),
        on(ClockJumped, setup.clock_jumped),
        on(KeptAnswer, running.kept),
        on(HangupOrdered, hang_up),
    ]
)

TABLE: dict[State, dict[type, Handler]] = {
    State.RESERVED: _SETUP,
    State.RINGING: _SETUP,
    State.RUNNING: dict(
        [
            on(DialStarted, stay),
            on(DialEnded, running.dial_ended),
            on(BridgeEntered, running.bridge_entered),
            on(BridgeLeft, ending.leg_left),
            on(ChannelEnded, ending.leg_ended),
            on(ChannelReplaced, running.channel_replaced),
            on(TransferSeen, running.transfer_seen),
            on(SwitchSaid, running.switch_said),
            on(SwitchSilent, running.switch_silent),
            on(BalancesRead, running.balances_read),
            on(Posted, running.posted),
            on(KeptAnswer, running.kept),
            on(DeadlineSet, running.deadline_set),
            on(PromptPlayed, running.prompt_played),
            on(Woke, running.woke),
            on(FundsChanged, running.funds_changed),
            on(Draining, running.draining),
            on(HangupOrdered, hang_up),
            on(ForwardFailed, stay),
            on(AnswerDoubtful, stay),
            on(ClockJumped, running.clock_jumped),
        ]
    ),
    State.ENDING: dict(
        [
            on(DialStarted, stay),
            on(DialEnded, ending.life_seen),
            on(BridgeEntered, ending.life_seen),
            on(BridgeLeft, ending.bridge_left),
            on(ChannelEnded, ending.channel_ended),
            on(ChannelReplaced, stay),
            on(TransferSeen, stay),
            on(SwitchSaid, ending.switch_said),
            on(SwitchSilent, ending.switch_silent),
            on(BlackBoxRead, ending.black_box_read),
            on(BalancesRead, stay),
            on(Posted, ending.posted),
            on(KeptAnswer, stay),
            on(DeadlineSet, stay),
            on(PromptPlayed, stay),
            on(Woke, ending.woke),
            on(FundsChanged, stay),
            on(Draining, stay),
            on(HangupOrdered, stay),
            on(ForwardFailed, stay),
            on(AnswerDoubtful, stay),
            on(ClockJumped, setup.clock_jumped),
        ]
    ),
    State.SETTLING: dict(
        [
            on(DialStarted, stay),
            on(DialEnded, stay),
            on(BridgeEntered, stay),
            on(BridgeLeft, stay),
            on(ChannelEnded, stay),
            on(ChannelReplaced, stay),
            on(TransferSeen, stay),
            on(SwitchSaid, stay),
            on(SwitchSilent, stay),
            on(BlackBoxRead, stay),
            on(BalancesRead, ending.balances_read),
            on(Posted, ending.posted),
            on(KeptAnswer, stay),
            on(DeadlineSet, stay),
            on(PromptPlayed, stay),
            on(Woke, ending.settling_woke),
            on(FundsChanged, stay),
            on(Draining, stay),
            on(HangupOrdered, stay),
            on(ForwardFailed, stay),
            on(AnswerDoubtful, stay),
            on(ClockJumped, stay),
        ]
    ),
}


def step(record: Record, event: Event, now: Instant, policy: Policy) -> tuple[Record, tuple[Command, ...]]:
    """Return what an event does to a session. Raises UnexpectedEvent for a pair of state and event that the table does
    not have."""
    match record:
        case Voicemail():
            return voicemail.step(record, event, now, policy)
        case Fax():
            return fax.step(record, event, now, policy)
        case Session(state=State.CLOSED):
            return Step(record)
    handler = TABLE[record.state].get(type(event))
    if handler is None:
        raise UnexpectedEvent(f"{type(event).__name__} while {record.state}")
    return handler(record, event, Context(now, policy))


def as_known(record: Record, said: SwitchSaid, now: Instant, policy: Policy) -> Record | None:
    """Return the session if a list of all channels says only what is known of it: the call talks, and what cuts it
    stands where it should. ``None`` if there is news, which `step` must handle."""
    if not isinstance(record, Session) or record.state is not State.RUNNING or said.alone or said.callee is None:
        return None
    usual = record.confirmed and record.technology and not (record.ahead or record.deadline_due or record.replaced_by)
    if not usual or record.kept_alone or record.left is not None or record.doubtful_s:
        return None
    if record.enforced_s != record.covered_s:
        return None
    overdue_us = running.overdue_at(record, Context(now, policy))
    if now.mono_us > overdue_us or record.check_mono_us != overdue_us:
        return None
    if not running.agrees(record, said) or not said.callee.up or record.caller_gone is not (said.caller is None):
        return None
    if running.is_misplaced(record, said, now.mono_us):
        return None
    asked_ms = record.elapsed_ms(said.asked_mono_us)
    return replace(record, proven_ms=max(record.proven_ms, asked_ms), seen_ms=max(record.seen_ms, asked_ms))


def wake_at(session: Record, policy: Policy) -> int | None:
    """The monotonic reading (µs) at which the session wants a Woke; ``None`` if only another event can move it. Only
    wishes that a Woke acts upon in this state count: any other, once due, would wake the session for ever."""
    if isinstance(session, Piece):
        return oneoff.wake_at(session)
    retry = session.retry_mono_us
    wishes: tuple[int | None, ...]
    match session.state:
        case State.RUNNING:
            warn = running.warn_at(session, policy.warn_before_s)
            wishes = session.check_mono_us, session.tick_mono_us, session.look_mono_us, retry, warn
        case State.ENDING:
            wishes = session.check_mono_us, None if session.pending is None else retry
        case State.SETTLING:
            wishes = (retry,)
        case _:
            wishes = session.check_mono_us, None if session.turning is None else retry
    return min([wish for wish in wishes if wish is not None], default=None)
