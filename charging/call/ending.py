"""ENDING and SETTLING: how long the call lasted, then the exact charge and the CDR. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charging.call import told
from charging.call.booking import (
    Behind,
    Booked,
    Insufficient,
    Lost,
    Unknown,
    after_booking,
    ask_later,
    close_transfer,
    final_charge,
    is_awaited,
    lose,
    post_again,
    reading_of,
    set_aside,
    settled_by,
    tell_tick,
    within_means,
)
from charging.call.commands import (
    AskSwitch,
    Command,
    Find,
    Forget,
    HangUp,
    Post,
    ReadBalances,
    ReadBlackBox,
    Step,
    Tell,
)
from charging.call.events import (
    BalancesRead,
    BlackBoxRead,
    Posted,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.failover import reassert_within, recover
from charging.call.finished import (
    cdr_document,
    contradicting_ms,
    cut_by,
    deadline_ms,
    decide_duration,
    is_outlived,
)
from charging.call.model import Context, Duration, Pending, Proof, Session, State
from charging.call.switch_events import (
    BridgeLeft,
    ChannelEnded,
)
from charging.clock import MICROSECONDS
from charging.ledger.balances import rooms
from charging.ledger.model import Balance, Closed, Kept, Outcome
from charging.records import replace

BRIDGE_LEFT_GRACE_S = 2
"""Between leaving the bridge and the channel's end, before the switch is asked whether the call is over."""

RETRY_MAX_S = 30
"""Between two attempts to book a call that is over; the attempts never end."""

REPLANS_MAX = 5
"""So often is a refused transfer planned again at once (other calls were faster); a ledger that is away is no try."""


# --- a running call seems to end -----------------------------------------------------------------------------


def leg_left(session: Session, event: BridgeLeft, context: Context) -> Step:
    """A party of a running call has left its bridge: its channel's end should follow."""
    if event.uid not in (session.callee_uid, session.caller_uid):
        return Step(session)
    seen: dict[str, Any] = {}
    if event.uid == session.caller_uid:
        seen |= {"caller_left": True, "kept_alone": session.prompting and event.remaining == 1}
    if session.left is None:
        check = context.in_s(BRIDGE_LEFT_GRACE_S)
        seen |= {"left": context.now, "left_us": event.at_us, "check_mono_us": check, "reckoned": False}
    return Step(replace(session, **seen) if seen else session)


def leg_ended(session: Session, event: ChannelEnded, context: Context) -> Step:
    """The forwarded leg's end is the call's. The caller's channel may end before (a Local channel that is optimised
    away, an attended transfer): then the switch is asked. If the leg ends while the caller is still in the bridge,
    another channel may have replaced it, unpaid: the switch is asked, and the caller hung up."""
    if event.uid == session.callee_uid:
        return _callee_ended(session, context)
    if event.uid != session.caller_uid:
        return Step(session)
    gone = replace(session, caller_gone=True, check_mono_us=context.in_s(BRIDGE_LEFT_GRACE_S))
    return Step(gone, (AskSwitch(),) if session.kept_alone else ())


def _callee_ended(session: Session, context: Context) -> Step:
    tells: tuple[Command, ...] = ()
    if session.replaced_by and not session.hangup_reason:
        session = replace(session, hangup_reason="replaced")
        tells = (Tell(told.LegReplaced()),)
    ending = begin_ending(session, context)
    over = session.caller_gone or session.caller_left
    return Step(ending.session, (*tells, *newcomer_ends(session), *(ending.commands if over else (AskSwitch(),))))


def newcomer_ends(session: Session) -> tuple[Command, ...]:
    """Whoever took the forwarded leg's place talks on, paid by nobody, if the caller's place was taken before."""
    return (HangUp(session.replaced_by, "replaced", if_nobodys=True),) if session.replaced_by else ()


# --- ENDING: the switch's own record is waited for ------------------------------------------------------------


def begin_ending(session: Session, context: Context) -> Step:
    """The call seems to be over: read the switch's own record, which the forwarded leg writes as it ends. (Older
    dialplans write it as the caller's channel ends: that end has it read again.)"""
    wait_s = context.policy.black_box_wait_s
    ending = replace(
        session,
        state=State.ENDING,
        ended=context.now,
        reckoned=session.reckoned and session.left is not None,
        check_mono_us=context.in_s(wait_s),
        tick_mono_us=None,
        retry_mono_us=None if session.pending is None else session.retry_mono_us,  # a deadline is not set any more
    )
    return Step(ending, (ReadBlackBox(),))


def channel_ended(session: Session, event: ChannelEnded, _context: Context) -> Step:
    """The caller's channel is gone, so his leg's record may be written by now: read it again."""
    if event.uid != session.caller_uid or session.caller_gone:
        return Step(session)
    return Step(replace(session, caller_gone=True), (ReadBlackBox(),))


def bridge_left(session: Session, event: BridgeLeft, context: Context) -> Step:
    """BridgeLeave may arrive after Hangup when a reconcile ran in between."""
    if session.left is not None:
        return Step(session)
    return Step(replace(session, left=context.now, left_us=event.at_us, reckoned=False))


def woke(session: Session, _event: Woke, context: Context) -> Step:
    """The record has not come in time: ask whether the caller is really gone. The answer has the record read once
    more."""
    if context.is_due(session.check_mono_us):
        return Step(replace(session, check_mono_us=context.in_s(context.policy.black_box_wait_s)), (AskSwitch(),))
    if session.pending is not None and context.is_due(session.retry_mono_us):
        return post_again(session)
    return Step(session)


def life_seen(session: Session, _event: object, _context: Context) -> Step:
    """An event shows life in a call that seemed over: ask the switch."""
    return Step(session, (AskSwitch(),))


def switch_said(session: Session, event: SwitchSaid, context: Context) -> Step:
    """No record has come yet, and the switch says what it knows of the channels. If it denies the end, the call goes
    on."""
    if not event.alone:
        return Step(session)
    if event.callee is not None and (event.callee.up or session.answered is None):
        return _not_over(session, context)
    if event.caller is None:
        return Step(replace(session, caller_gone=True), (ReadBlackBox(),))
    if session.answered is None:
        return _not_over(session, context)
    # The forwarded leg is gone and its caller goes on, unpaid. An older dialplan's record comes with the
    # caller's end; today's is there at once.
    unpaid = Tell(told.UnpaidChannelSeen(event.caller.uid)), HangUp(event.caller.uid, "moved")
    if _waited(session, context):
        return Step(session, unpaid)
    return Step(session, (*(unpaid if event.caller.bridged else ()), ReadBlackBox()))


def _not_over(session: Session, context: Context) -> Step:
    """Go back to where the call stood, and ask the switch: its answer settles the rest."""
    state = State.RINGING if session.answered is None else State.RUNNING
    tick = None if session.answered is None else context.now.mono_us
    back = replace(session, state=state, ended=None, left=None, left_us=None, caller_gone=False, tick_mono_us=tick)
    back = replace(back, check_mono_us=context.in_s(context.policy.setup_timeout_s), reckoned=False)
    return Step(back, (Tell(told.EventContradicted("end")), AskSwitch()))


def switch_silent(session: Session, _event: SwitchSilent, context: Context) -> Step:
    """The switch did not answer: ask again after ``retry_s``."""
    return Step(replace(session, check_mono_us=context.in_s(context.policy.retry_s)))


def black_box_read(session: Session, event: BlackBoxRead, context: Context) -> Step:
    """Decide by the record, or without it if it has not come within ``black_box_wait_s``."""
    if not event.found and not _waited(session, context):
        return Step(session)
    return begin_settling(session, event, context)


def _waited(session: Session, context: Context) -> bool:
    """Whether ``black_box_wait_s`` has passed since the end, or nothing is to be waited for."""
    assert session.ended is not None, "a session that is ending has ended"
    waited_us = context.now.mono_us - session.ended.mono_us
    return session.never_dialled or waited_us >= context.policy.black_box_wait_s * MICROSECONDS


# --- SETTLING: its length is decided, and the money moves -----------------------------------------------------


def begin_settling(session: Session, box: BlackBoxRead, context: Context) -> Step:
    """Decide how long the call lasted, and book it. A retry never decides again: it is the pending transfer, unchanged.
    Length, money and CDR are stored by one operation of the ledger, so another process finds a session that is closed,
    or one of which nothing is settled and whose black-box record is still there."""
    duration = decide_duration(session, box, context.now.wall_us, context.policy)
    settling = replace(
        session,
        state=State.SETTLING,
        duration=duration,
        answered_us=_answered_us(session, duration),
        dial_status=session.dial_status or box.dial_status,
        recorded=box.found,
        message_left=box.fallback and box.message_stored,
        check_mono_us=None,
        tick_mono_us=None,
        replans=0,
    )
    booking = settle(settling, context) if settling.pending is None else post_again(settling)
    tells = *_tell_duration(duration), *_find(session, box, duration, context)
    return Step(booking.session, (*tells, *booking.commands))


def _answered_us(session: Session, duration: Duration) -> int | None:
    """When the call was answered, by the switch's stamp. If no event reported the answer, it follows from the record:
    the call is priced by its answer, not by its set-up."""
    if session.answered is not None or not duration.used_ms:
        return session.answered_us
    return max(session.opened.wall_us, duration.ended_us - duration.used_ms * 1000)


def _find(session: Session, box: BlackBoxRead, duration: Duration, context: Context) -> tuple[Command, ...]:
    """Report a finding if the events contradict the record that is booked, or the switch one that is not."""
    if is_outlived(session, box, context.policy):
        lived = {"account": session.account, "booked_ms": duration.used_ms, "record_ms": box.answered_ms}
        return (Find("leg_outlived_record", lived),)
    told_ms = contradicting_ms(session, box, duration, context.policy)
    if told_ms is None:
        return ()
    found = {"account": session.account, "booked_ms": duration.used_ms, "events_ms": told_ms}
    return (Find("events_contradict_record", found),)


def _tell_duration(duration: Duration) -> tuple[Command, ...]:
    tells: list[Command] = []
    if duration.overrun_s:
        tells.append(Tell(told.QuotaOverrun(duration.overrun_s)))
    if duration.proof is Proof.UNPROVEN:
        tells.append(Tell(told.EndUnproven(duration.used_ms)))
    if duration.proof is Proof.CLOCK_JUMP:
        tells.append(Tell(told.ClocksDisagreed(duration.used_ms)))
    return tuple(tells)


def settle(session: Session, context: Context, balances: Mapping[str, Balance] = {}) -> Step:
    """Post the exact charge, give the rest back and write the CDR, in one transfer. ``balances`` are those that it was
    planned with, if it was planned again."""
    duration, now = session.duration, context.now
    assert duration is not None, "settled after the duration is decided"
    charged = final_charge(session, duration.billed_s)
    document = cdr_document(session, duration, charged)
    pending = close_transfer(session, charged, document, duration.ended_us, now, balances)
    if pending is None:
        return _plan_anew(session)
    return Step(replace(session, pending=pending), (Post(pending.transfer, pending.grants),))


def settling_woke(session: Session, _event: Woke, context: Context) -> Step:
    """Send the last transfer again that had no answer. Where none was sent yet (a restart found the length decided),
    settle."""
    if not context.is_due(session.retry_mono_us):
        return Step(session)
    if session.pending is not None:
        return post_again(session)
    return settle(replace(session, retry_mono_us=None), context)


def posted(session: Session, event: Posted, context: Context) -> Step:
    """The ledger answers the last transfer, or a tick's that was still pending when the call ended."""
    pending = session.pending
    if pending is None or not is_awaited(session, event):
        return Step(session)
    is_tick = isinstance(pending.transfer.change, Kept)
    match reading_of(event):
        case Booked() if isinstance(pending.transfer.change, Closed):
            return _closed(session, pending)
        case Booked():
            booked = after_booking(session, pending)
            after = _go_on(booked, context)
            return Step(after.session, (tell_tick(booked, pending), *after.commands))
        case Unknown():
            return ask_later(session, min(RETRY_MAX_S, context.policy.retry_s * pending.attempts), context)
        case Behind(stored):
            return recover(session, stored, context, _settle_anew)
        case Insufficient() | Lost() if is_tick:
            return _go_on(set_aside(session), context)
        case Insufficient():
            return _plan_anew(session)
        case Lost(outcome):
            return lose(session, outcome)


def _plan_anew(session: Session) -> Step:
    """Read the balances, to plan with what is left: `balances_read`."""
    if session.replans == REPLANS_MAX:
        return lose(session, Outcome.INSUFFICIENT)
    return Step(replace(session, pending=None), (ReadBalances(),))


def _settle_anew(session: Session, context: Context) -> Step:
    return settle(session, context) if session.state is State.SETTLING else Step(session)


def _go_on(session: Session, context: Context) -> Step:
    """Settle after a tick's answer, once the length is decided. If the tick covers less than the call lasted, plan
    again first."""
    duration = session.duration
    if session.state is not State.SETTLING or duration is None:
        return Step(session)
    if duration.billed_s > session.covered_s:
        return Step(session, (ReadBalances(),))
    return settle(session, context)


def balances_read(session: Session, event: BalancesRead, context: Context) -> Step:
    """Plan for a call that cost more than it held: its price rose between set-up and answer (at the edge of a time
    band) and no tick came in time. The customer pays the seconds that the money suffices for. The rest is the
    operator's cost, like all seconds beyond the deadline."""
    duration = session.duration
    if duration is None or session.pending is not None:
        return Step(session)  # asked before the call ended
    if event.balances is None:
        return ask_later(session, context.policy.retry_s, context)
    session = replace(session, replans=session.replans + 1)
    if not session.held:  # not even its place among the account's calls: the ledger does not know the session
        return reassert_within(session, event.balances, context)
    funding = within_means(session, event.balances, duration.billed_s)
    unpaid_s = max(0, duration.billed_s - (funding[-1].end_s if funding else 0))
    paid = replace(duration, billed_s=duration.billed_s - unpaid_s, overrun_s=duration.overrun_s + unpaid_s)
    tells = (Tell(told.QuotaOverrun(unpaid_s)),) if unpaid_s else ()
    promos = rooms(event.balances, session.day, session.held)
    planned = replace(session, funding=funding, duration=paid, promos=promos, retry_mono_us=None)
    step = settle(planned, context, event.balances)
    return Step(step.session, (*tells, *step.commands))


def _closed(session: Session, pending: Pending) -> Step:
    """The end is booked: report it, and have the black-box record deleted."""
    duration = session.duration
    assert duration is not None, "closed after it was settled"
    settled = told.CallSettled(duration.billed_s, duration.proof, settled_by(pending))
    tells: list[Command] = [Tell(settled)]
    if (reason := cut_by(session, duration)) is not None:
        late_ms = max(0, duration.used_ms - deadline_ms(session))
        tells.append(Tell(told.CallCut(reason, late_ms)))
    forget = Forget(look_again=session.message_left, recorded=session.recorded)
    return Step(after_booking(session, pending, state=State.CLOSED), (*tells, forget))
