"""RESERVED and RINGING: from the decision to the answer. Pure."""

from __future__ import annotations

from charging.call import told
from charging.call.booking import Booked, Insufficient, Unknown, ask_later, reading_of
from charging.call.commands import (
    AskSwitch,
    Become,
    Command,
    Keep,
    Post,
    ReadBalances,
    Step,
    Tell,
    hang_up_all,
    order_end,
)
from charging.call.ending import begin_ending, begin_settling
from charging.call.events import (
    AnswerDoubtful,
    BlackBoxRead,
    ClockJumped,
    ForwardFailed,
    Leg,
    Posted,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.missed_steps import answered_as_noted
from charging.call.model import LOOKS_FOR_CALLER, PICKED_UP, Context, Means, Session, State
from charging.call.switch_events import (
    ChannelEnded,
    DialEnded,
    DialStarted,
    TransferKind,
    TransferSeen,
)
from charging.call.voicemail import turn_from
from charging.clock import MICROSECONDS, Instant
from charging.ledger.balances import held_rooms, rooms
from charging.pricing.packs import shares
from charging.records import replace

# --- dialled, answered ----------------------------------------------------------------------------------------


def dial_started(session: Session, event: DialStarted, context: Context) -> Step:
    """Our caller's dialling has made the forwarded leg: it rings."""
    if event.caller_uid != session.caller_uid:
        return Step(session)  # another channel dials on; only our caller's dialling makes the forwarded leg
    ringing = replace(
        session,
        state=State.RINGING,
        callee_uid=event.callee_uid,
        dial_status="",
        check_mono_us=context.in_s(context.policy.ring_s + context.policy.setup_timeout_s),
    )
    return Step(ringing)


def dial_ended(session: Session, event: DialEnded, context: Context) -> Step:
    """The dialling has ended. An answer starts the paid time. After any other end the dialplan asks again at once, or
    ends the call."""
    if event.caller_uid != session.caller_uid:
        return Step(session)
    if event.status != "ANSWER":
        check = context.in_s(context.policy.setup_timeout_s)
        return Step(replace(session, dial_status=event.status, check_mono_us=check))
    late = event.at_us is not None and _is_late(context.now, event.at_us, context)
    by_stamp_us = context.now.mono_us - (context.now.wall_us - (event.at_us or 0))
    if not late or not _may_be_before_steps(session, by_stamp_us, context):
        session = replace(session, steps=(), unwatched=())
    found = answered(session, context.now, event.at_us, event.callee_uid, context)
    return Step(_read_before_steps(found.session), found.commands)


def _may_be_before_steps(session: Session, at_mono_us: int, context: Context) -> bool:
    """Whether an answer at this monotonic reading (µs, reckoned by today's wall clock) may have come before the steps
    that were seen. Without the steps its reading is later, but not later than the moment at which the last step was
    seen."""
    seen_us, jump_us = session.stepped_mono_us, context.policy.clock_jump_ms * 1000
    return seen_us is None or at_mono_us + session.stepped_us <= seen_us + jump_us


def answered(session: Session, at: Instant, at_us: int | None, callee_uid: str, context: Context) -> Step:
    """Start the paid time; the first tick comes ``tick_s`` after it. If the event came late (this daemon was stopped,
    or busy), the switch is asked first when the call was answered."""
    late = at_us is not None and _is_late(at, at_us, context)
    first_s = 0 if context.policy.drain_s else context.policy.tick_s  # the call may have been set up before the drain
    running = replace(
        session,
        state=State.RUNNING,
        callee_uid=callee_uid,
        dial_status="ANSWER",
        answered=at,
        answered_us=at_us,
        anchored=not late,
        check_mono_us=context.now.mono_us if late else None,
        tick_mono_us=at.mono_us + first_s * MICROSECONDS,
    )
    return Step(running, (Keep(), Tell(told.CallAnswered(session.covered_s))))


# --- not answered: its money goes back, or becomes the voicemail's --------------------------------------------


def forward_failed(session: Session, event: ForwardFailed, context: Context) -> Step:
    """The forward was not answered: give its money back. If voicemail is to be paid, reserve its price in the same
    transfer."""
    failed = replace(session, dial_status=event.status)
    if not event.voicemail_price:
        return begin_settling(failed, BlackBoxRead(found=False), context)
    means = Means(rooms(event.balances, session.day, session.held))
    if event.allowance is not None and (free := shares(1, event.allowance.pools(event.balances))):
        grants = event.allowance.grants(session.account, free, event.balances, context.now.wall_us)
        means = replace(means, free=tuple(free), grants=grants)
    return _turn(failed, event.voicemail_price, means, context)


def _turn(session: Session, price: int, means: Means, context: Context) -> Step:
    _, transfer = turn_from(session, price, means, session.dial_status, context.now)
    turning = replace(session, turning=transfer, turning_price=price, turning_means=means, retry_mono_us=None)
    return Step(turning, (Post(transfer, means.grants),))


def posted(session: Session, event: Posted, context: Context) -> Step:
    """The ledger answers whether the forward's money could become the voicemail's."""
    if session.turning is None or session.turning.id != event.transfer.id:
        return Step(session)
    failed = replace(session, turning=None, retry_mono_us=None)
    match reading_of(event):
        case Unknown():
            return ask_later(session, context.policy.retry_s, context)
        case Booked():
            price, means = session.turning_price, session.turning_means
            voicemail, _ = turn_from(session, price, means, session.dial_status, context.now)
            if session.caller_gone:
                voicemail = replace(voicemail, check_mono_us=context.now.mono_us)
            return Step(failed, (Tell(told.VoicemailReserved(voicemail.charge(1)[0])), Become(voicemail)))
        case Insufficient() if session.turning_means != (own := Means(held_rooms(session.held))):
            # Another call has taken the free message or promotional credit just now. What this one holds is safe, and
            # bought credit pays the rest.
            means = session.turning_means
            further = Means(means.promos) if means.free else own
            return _turn(session, session.turning_price, further, context)
    return begin_settling(failed, BlackBoxRead(found=False), context)


# --- what else may happen meanwhile ---------------------------------------------------------------------------


def clock_jumped(session: Session, event: ClockJumped, context: Context) -> Step:
    """Note the step: the phone may have answered already, unheard, and the length in the switch's record would include
    the step."""
    stepped = session.stepped(event.by_us, context.now.mono_us, event.since_mono_us)
    return Step(stepped.read_on(session.boot, context.now), (Keep(),))


def answer_doubtful(session: Session, event: AnswerDoubtful, context: Context) -> Step:
    """Ask the switch at once: it may or may not act on an answer that it has received in part. A caller who
    hangs up before he has the first answer, again and again, holds no place and no money."""
    if event.undelivered and session.state is State.RESERVED and session.turning is None:
        return begin_settling(replace(session, caller_gone=True), BlackBoxRead(found=False), context)
    doubted = replace(session, doubted=1, check_mono_us=context.now.mono_us)
    return Step(doubted, (Tell(told.AnswerDeliveryDoubted()),))


def channel_ended(session: Session, event: ChannelEnded, context: Context) -> Step:
    """The caller is gone before any answer: what was reserved is given back, once what is under way has ended."""
    if event.uid != session.caller_uid:
        return Step(session)
    gone = replace(session, caller_gone=True)
    if session.turning is not None:
        return Step(gone)
    if _is_before_dialling(session):
        # Another may have been put in his place: the switch knows. If it is silent, it is asked again.
        return Step(replace(gone, check_mono_us=context.in_s(context.policy.retry_s)), (AskSwitch(),))
    return begin_ending(gone, context)


def _is_before_dialling(session: Session) -> bool:
    return session.state is State.RESERVED and not (session.callee_uid or session.dial_status or session.cut_by)


def transfer_seen(session: Session, event: TransferSeen, _context: Context) -> Step:
    """Another phone picks the ringing call up: the forward that was paid for does not take place, and the call ends."""
    if event.kind is not TransferKind.PICKUP:
        return Step(session)
    return order_end(session, PICKED_UP, "transfer", told.TransferCut(event.kind))


# --- what the switch says, asked ------------------------------------------------------------------------------


def woke(session: Session, _event: Woke, context: Context) -> Step:
    """Repeat what the ledger did not answer; ask the switch about a call that is set up for too long."""
    if session.turning is not None and context.is_due(session.retry_mono_us):
        return Step(replace(session, retry_mono_us=None), (Post(session.turning, session.turning_means.grants),))
    if not context.is_due(session.check_mono_us):
        return Step(session)
    check = context.in_s(context.policy.setup_timeout_s)
    return Step(replace(session, check_mono_us=check), (AskSwitch(),))


def switch_silent(session: Session, _event: SwitchSilent, context: Context) -> Step:
    """The switch did not answer: ask again after ``retry_s``."""
    return Step(replace(session, check_mono_us=context.in_s(context.policy.retry_s)))


def switch_said(session: Session, event: SwitchSaid, context: Context) -> Step:
    """Catch up with what no event reported: the caller may be gone, or the phone may have answered."""
    if not event.alone:
        talks = event.callee is not None and event.callee.bridged
        return Step(session, (AskSwitch(),) if talks or (event.caller is None and event.callee is None) else ())
    if session.cut_by:
        return hang_up_all(session, event, context)
    if session.turning is not None:
        return Step(replace(session, caller_gone=session.caller_gone or event.caller is None))
    if event.caller is None and event.callee is None:
        if session.caller_gone and _is_before_dialling(session) and not event.others:
            return begin_ending(replace(session, never_dialled=True), context)
        timeout_us = context.policy.setup_timeout_s * MICROSECONDS
        if session.doubted and _is_before_dialling(session) and not (event.others or event.nameless):
            if session.doubted == LOOKS_FOR_CALLER:
                return begin_ending(replace(session, caller_gone=True, never_dialled=True), context)
            check_us = context.in_s(context.policy.retry_s)
            return Step(replace(session, doubted=session.doubted + 1, check_mono_us=check_us))
        if session.state is State.RESERVED and abs(event.asked_mono_us - session.opened.mono_us) < timeout_us:
            # The switch learns the session's name only with the decision: until then no look finds its channel.
            again_us = context.in_s(context.policy.retry_s) if session.doubted else session.opened.mono_us + timeout_us
            return Step(replace(session, check_mono_us=again_us))
        return begin_ending(replace(session, caller_gone=True), context)
    session = replace(session, doubted=0)
    if event.callee is not None and event.callee.bridged:
        return _answered_unseen(session, event.callee, event.asked_mono_us, context)
    if event.callee is None and session.dial_status:
        # The forward ended, and the dialplan has not asked us what is next: its caller was moved (or another daemon
        # was asked), and may stay for hours. The forward's money and its place among the account's calls go back.
        return begin_settling(session, BlackBoxRead(found=False), context)
    return Step(session)


def _answered_unseen(session: Session, callee: Leg, asked_mono_us: int, context: Context) -> Step:
    """Infer when the call was answered, if the event was missed. The switch counts down from the quota since the
    answer, by its wall clock. If a step may have come after the answer, the shorter call is assumed. As where the
    parties are seen to be bridged, the call is planned again from its start, and looks for money from then on (R22)."""
    noted = answered_as_noted(session, callee.answered, context.now, context.policy)
    if noted is not None and noted.answered is not None:
        found = answered(noted, noted.answered, noted.answered_us, callee.uid, context)
        tell = Tell(told.AnswerInferred(noted.elapsed_ms(asked_mono_us)))
        joined = replace(found.session, technology="unknown", confirmed=True)
        return Step(joined, (*found.commands, tell, ReadBalances()))
    left_ms = callee.time_left_ms
    past_ms = 0 if left_ms is None else max(0, session.enforced_s * 1000 - left_ms)
    if _may_be_before_steps(session, asked_mono_us - past_ms * 1000, context):
        past_ms = max(0, min(past_ms, past_ms - session.stepped_us // 1000))
    past_ms = min(past_ms, session.since_set_up_ms(asked_mono_us))
    at = context.now.plus((asked_mono_us - context.now.mono_us) / MICROSECONDS - past_ms / 1000)
    found = answered(session, at, at.wall_us, callee.uid, context)
    commands: tuple[Command, ...] = (*found.commands, Tell(told.AnswerInferred(past_ms)), ReadBalances())
    read = _read_before_steps(found.session)
    return Step(replace(read, technology="unknown", confirmed=True, inferred=True), commands)


def _read_before_steps(session: Session) -> Session:
    """Date our reading of the answer before the steps that were seen, as a stored record expects it."""
    assert session.answered is not None, "just now"
    read = Instant(session.answered.mono_us, session.answered.wall_us - session.stepped_us)
    return replace(session, answered=read)


def _is_late(heard: Instant, at_us: int, context: Context) -> bool:
    return abs(heard.wall_us - at_us) > context.policy.clock_jump_ms * 1000
