"""RUNNING: the ticks that settle and reserve ahead, the warning, the cut. Pure.

Order of a tick: proof (the link has spoken lately), balances, one transfer that settles what was used and reserves
the next stretch, and only then the later deadline for the switch. Money first, then time.
"""

from __future__ import annotations

from charging.call import told
from charging.call.booking import (
    Behind,
    Booked,
    Insufficient,
    Lost,
    Unknown,
    after_booking,
    ask_later,
    is_awaited,
    lose,
    post_again,
    reading_of,
    reading_of_kept,
    tell_tick,
)
from charging.call.commands import (
    AskSwitch,
    Command,
    Context,
    HangUp,
    Keep,
    PlayPrompt,
    Post,
    ReadBalances,
    SetDeadline,
    Step,
    Tell,
    hang_up_all,
    order_end,
)
from charging.call.ending import REPLANS_MAX, begin_ending
from charging.call.events import (
    BalancesRead,
    ClockJumped,
    DeadlineSet,
    Draining,
    FundsChanged,
    KeptAnswer,
    Leg,
    Posted,
    PromptPlayed,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.failover import reassert_within, recover
from charging.call.model import Session, Short, State
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    ChannelReplaced,
    DialEnded,
    TransferKind,
    TransferSeen,
)
from charging.call.transfers import extend, extend_transfer
from charging.clock import MICROSECONDS, Instant, parted_us
from charging.frozen import replace
from charging.ledger.model import CREDIT

DEADLINE_TOLERANCE_MS = 1000
"""The switch's remaining time may differ by so much from ours before it is set again."""

DOUBTFUL_MAX = 8
"""So many orders of unknown outcome are remembered."""

BRIDGE_LEFT_GRACE_S = 2
"""Between leaving the bridge and the channel's end, before the switch is asked whether the call is over."""

ANSWER_GRACE_MS = 5000
"""Between a leg's answer and its bridge."""

MOVED_BY_MONEY = frozenset({Short.MONEY, Short.DAY})
"""Ends that come later where money comes, or another call gives some back; the others stay where they are."""

PROMPT_CREDIT_LOW = "credit_low"
PROMPT_MINUTES_LOW = "minutes_low"


# --- what the switch tells ------------------------------------------------------------------------------------


def bridge_entered(session: Session, event: BridgeEntered, context: Context) -> Step:
    """The parties hear each other, and the quota's deadline counts: plan again from the exact start, for a month's or a
    time band's edge may have passed since the set-up."""
    if event.uid not in (session.callee_uid, session.caller_uid):
        return Step(session, (Tell(told.UnpaidChannelSeen(event.uid)), AskSwitch(everywhere=True)))
    if session.caller_left and event.uid == session.caller_uid:
        session = replace(session, caller_left=False, kept_alone=False)
    if not session.anchored:
        joined = replace(session, technology=event.technology, left=None, left_us=None)
        return Step(replace(joined, check_mono_us=context.now.mono_us))
    proven_ms = max(session.proven_ms, _lived_ms(session, event, context))
    joined = replace(session, technology=event.technology, left=None, left_us=None, proven_ms=proven_ms)
    if event.uid != session.callee_uid or session.pending is not None:
        return Step(joined)
    joined = replace(joined, check_mono_us=overdue_at(joined, context))
    return Step(joined, (Tell(told.BridgeJoined(event.technology)), ReadBalances()))


def _lived_ms(session: Session, event: BridgeEntered, context: Context) -> int:
    """How long after its answer the call joined its bridge: by the switch's stamps, for we may come late to both."""
    elapsed_ms = session.elapsed_ms(context.now.mono_us)
    if event.at_us is None or session.answered_us is None:
        return elapsed_ms
    return min(elapsed_ms, max(0, event.at_us - session.answered_us) // 1000)


def dial_ended(session: Session, event: DialEnded, _context: Context) -> Step:
    """The word of an answer that was found out before it came: our own lateness. The switch's stamp of it counts."""
    answers = event.status == "ANSWER" and event.callee_uid == session.callee_uid
    if not session.inferred or not answers or event.at_us is None:
        return Step(session)
    return Step(replace(session, answered_us=event.at_us, inferred=False))


def transfer_seen(session: Session, event: TransferSeen, context: Context) -> Step:
    """An attended transfer by the caller's side leaves the forwarded leg talking to another: that is looked at, and
    charged on. By the forwarded leg, it takes that leg away. Every other takes a party to where the dialplan goes on
    with it, at nobody knows whose cost: the call ends."""
    if event.kind is TransferKind.ATTENDED and event.uid != session.callee_uid:
        check = context.in_s(BRIDGE_LEFT_GRACE_S)
        return Step(replace(session, check_mono_us=check), (Tell(told.TransferFollowed(event.kind)),))
    return order_end(session, "transferred", "transfer", told.TransferCut(event.kind))


def bridge_left(session: Session, event: BridgeLeft, context: Context) -> Step:
    if event.uid not in (session.callee_uid, session.caller_uid):
        return Step(session)
    if event.uid == session.caller_uid:
        session = replace(session, caller_left=True, kept_alone=session.prompting and event.remaining == 1)
    if session.left is not None:
        return Step(session)
    check = context.in_s(BRIDGE_LEFT_GRACE_S)
    return Step(replace(session, left=context.now, left_us=event.at_us, check_mono_us=check))


def channel_replaced(session: Session, event: ChannelReplaced, _context: Context) -> Step:
    """Another takes the forwarded leg's place in the conversation. The end of that leg, which follows, confirms it."""
    return Step(replace(session, replaced=True) if event.uid == session.callee_uid else session)


def channel_ended(session: Session, event: ChannelEnded, context: Context) -> Step:
    """The forwarded leg is the call. The caller's own channel may end before it (a Local channel that is optimised
    away, an attended transfer): then the switch is asked. If it did not even leave its bridge, someone else has taken
    the leg's place, and nobody pays for him: the switch is asked at once, and the caller's channel is hung up."""
    if event.uid == session.callee_uid:
        return _leg_ended(session, context)
    if event.uid != session.caller_uid:
        return Step(session)
    gone = replace(session, caller_gone=True, check_mono_us=context.in_s(BRIDGE_LEFT_GRACE_S))
    return Step(gone, (AskSwitch(),) if session.kept_alone else ())


def _leg_ended(session: Session, context: Context) -> Step:
    tells: tuple[Command, ...] = ()
    if session.replaced and not session.hangup_reason:
        session = replace(session, hangup_reason="replaced")
        tells = (Tell(told.LegReplaced()),)
    ending = begin_ending(session, context)
    over = session.caller_gone or session.caller_left
    return Step(ending.session, (*tells, *(ending.commands if over else (AskSwitch(),))))


def switch_said(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The switch's own view: is the call alive, and does its deadline stand where the money ends?"""
    if not event.alone and not agrees(session, event):
        # Nothing is charged by the link's proof until the answer: the call may have ended while the link was away.
        return Step(replace(session, confirmed=False), (AskSwitch(listed=event.uids),))
    if event.callee is None:
        # Gone, or put into a channel that bears another session (REFER with Replaces): there it would talk on, unpaid.
        ending = begin_ending(replace(session, caller_gone=event.caller is None), context)
        return Step(ending.session, (HangUp(session.callee_uid, "moved"), *ending.commands))
    if session.cut_by:
        return hang_up_all(session, event, context)
    if not event.callee.up:
        return _not_answered(session, context)
    if not event.callee.bridged:
        return _not_bridged(session, event, context)
    if event.alone and event.caller is None and session.kept_alone:
        return Step(session, (HangUp(event.callee.uid, "alone"),))
    if not session.anchored:
        anchored = _anchor(session, event.callee, event.asked_mono_us, context)
        after = switch_said(anchored.session, event, context)
        return Step(after.session, (*anchored.commands, *after.commands))
    if not session.confirmed:
        session = _heard_at_once(session, event.callee, context)
    alive = replace(
        session,
        callee_uid=event.callee.uid,
        caller_uid=event.caller.uid if event.alone and event.caller is not None else session.caller_uid,
        technology=session.technology or "unknown",
        left=None,
        left_us=None,
        replaced=False,
        caller_gone=event.caller is None,
        confirmed=session.confirmed or event.alone,
        tick_mono_us=_first_tick(session, context) if event.alone else session.tick_mono_us,
        proven_ms=max(session.proven_ms, session.elapsed_ms(event.asked_mono_us)),
        check_mono_us=overdue_at(session, context),
    )
    if context.now.mono_us > overdue_at(session, context):
        return _cut_overdue(alive, event, context)
    if session.ahead:
        return Step(alive)  # the tick that is due finds out how far the money goes
    moved = alive.deadline_due or alive.caller_uid != session.caller_uid  # while it rang: he has the first deadline
    misplaced = moved or is_misplaced(alive, event.callee, event.asked_mono_us)
    enforced = replace(alive, enforced_s=session.covered_s, doubtful_s=())
    after = _deadline(replace(alive, deadline_due=False), context) if misplaced else Step(enforced)
    strangers = tuple(HangUp(leg.uid, "not_paid_for") for leg in event.others if leg.bridged)
    return Step(after.session, (*strangers, *after.commands))


def agrees(session: Session, event: SwitchSaid) -> bool:
    """Whether a list of all channels says no more than what is known: the leg that we charge talks, and nobody else."""
    same = event.callee is not None and event.callee.bridged and event.callee.uid == session.callee_uid
    same = same and (event.caller is None or event.caller.uid == session.caller_uid)
    return same and session.anchored and not session.cut_by and not any(leg.bridged for leg in event.others)


def _first_tick(session: Session, context: Context) -> int | None:
    """A tick waits until the switch has confirmed the call; then it is due at once."""
    tick = session.tick_mono_us
    waits = not session.confirmed and tick is not None and tick <= context.in_s(context.policy.retry_s)
    return context.now.mono_us if waits else tick


def _not_answered(session: Session, context: Context) -> Step:
    """An event said that the forwarded leg had answered, and the switch says that it rings: nothing was charged."""
    ringing = replace(
        session,
        state=State.RINGING,
        dial_status="",
        answered=None,
        answered_us=None,
        anchored=True,
        technology="",
        left=None,
        left_us=None,
        proven_ms=0,
        tick_mono_us=None,
        check_mono_us=context.in_s(context.policy.setup_timeout_s),
    )
    return Step(ringing, (Tell(told.EventContradicted("answer")),))


def _anchor(session: Session, callee: Leg, asked_mono_us: int, context: Context) -> Step:
    """Find out when the call was answered. Our own reckoning holds where the switch agrees with it: by its countdown to
    a second that the record knows it was given, or by how long ago the leg answered. Else a clock is wrong, and the
    switch's word holds. Its answer was true at some moment since the question: the latest is taken, for nobody is cut
    too early. The switch counts by its wall clock, so the steps that were seen may be in what it says."""
    assert session.answered is not None, "a running call was answered"
    due_now = replace(session, anchored=True, tick_mono_us=context.now.mono_us)
    told_us = min(context.now.mono_us, asked_mono_us + DEADLINE_TOLERANCE_MS * 1000)
    mine_ms = (told_us - session.answered.mono_us) // 1000
    left_ms = callee.time_left_ms
    if left_ms is None:
        return Step(due_now)
    given = (session.covered_s, session.enforced_s, *session.doubtful_s)
    jump_ms, stepped_ms = context.policy.clock_jump_ms, session.stepped_us // 1000
    fitting = [second for second in given if abs(second * 1000 - left_ms - mine_ms) <= jump_ms]
    if fitting:
        return Step(replace(due_now, enforced_s=fitting[0]))
    if any(abs(second * 1000 - left_ms - stepped_ms - mine_ms) <= jump_ms for second in given):
        return Step(replace(due_now, enforced_s=(mine_ms + left_ms + 500) // 1000))  # the step has moved it
    since_ms = callee.since_answer_ms
    if since_ms is None:
        its_ms, enforced_s = _counted(session, given, left_ms, mine_ms)
        its_ms = _unstepped(its_ms, stepped_ms, mine_ms)
    else:
        its_ms = _unstepped(since_ms, stepped_ms, mine_ms)
        enforced_s = (its_ms + left_ms + 500) // 1000
        # Counting to a later second than it knows, the record is old: a fail-over lost ticks, or a copy came back.
        due_now = replace(due_now, ahead=enforced_s > session.covered_s)
        if abs(its_ms - mine_ms) <= jump_ms:
            return Step(replace(due_now, enforced_s=enforced_s))
    stamp_us = session.answered.wall_us if session.answered_us is None or session.inferred else session.answered_us
    answered = Instant(told_us - its_ms * 1000, stamp_us)  # it is not heard of late any more
    moved = replace(due_now, answered=answered, enforced_s=enforced_s)
    return Step(moved, (Tell(told.AnswerMoved(mine_ms - its_ms)),))


def _heard_at_once(session: Session, callee: Leg, context: Context) -> Session:
    """With the answer where it was, though its word came a little late: else every later deadline would lie so much
    behind the money (R23). Both must say so: its stamp, which the switch may take from a clock of its own, and how long
    ago the leg answered, which a step of that clock makes longer. The smaller lateness counts, for nobody is cut too
    early."""
    if session.answered is None or session.answered_us is None or callee.since_answer_ms is None:
        return session
    by_stamp_us = session.answered.wall_us - session.answered_us
    by_leg_us = (callee.since_answer_ms - session.elapsed_ms(context.now.mono_us)) * 1000
    late_us = max(0, min(by_stamp_us, by_leg_us))
    return replace(session, answered=session.answered.plus(-late_us / MICROSECONDS)) if late_us else session


def _unstepped(its_ms: int, stepped_ms: int, mine_ms: int) -> int:
    """How long by the switch's wall clock, which may have been stepped before the answer or after it."""
    return min(its_ms, its_ms - stepped_ms, key=lambda one: abs(one - mine_ms))


def _counted(session: Session, given: tuple[int, ...], left_ms: int, mine_ms: int) -> tuple[int, int]:
    """How long the call has lasted by the countdown alone, and to which of the seconds that were ``given`` it counts:
    what there is from a dialplan that does not say when the leg answered."""
    known_alive = [second for second in given if second * 1000 - left_ms >= session.proven_ms - DEADLINE_TOLERANCE_MS]
    second = min(known_alive or given, key=lambda one: abs(one * 1000 - left_ms - mine_ms))
    return second * 1000 - left_ms, second


def _not_bridged(session: Session, event: SwitchSaid, context: Context) -> Step:
    """Between answer and bridge, or between bridge and hang-up: a moment, unless it lasts. Then someone has moved the
    leg out of the conversation (a redirection, say), and it ends: it costs what it costs, whoever it talks to."""
    check = context.in_s(BRIDGE_LEFT_GRACE_S)
    if not session.technology and session.elapsed_ms(context.now.mono_us) < ANSWER_GRACE_MS:
        return Step(replace(session, check_mono_us=check))
    if session.left is None:
        return Step(replace(session, left=context.now, check_mono_us=check))
    if context.now.mono_us - session.left.mono_us < BRIDGE_LEFT_GRACE_S * MICROSECONDS:
        return Step(replace(session, check_mono_us=session.left.plus(BRIDGE_LEFT_GRACE_S).mono_us))
    moved = replace(session, hangup_reason="moved", cut_by="moved", left=None, left_us=None)
    after = hang_up_all(moved, event, context)
    return Step(after.session, (Tell(told.MovedCallCut()), *after.commands))


def is_misplaced(session: Session, callee: Leg, asked_mono_us: int) -> bool:
    wanted_ms = session.covered_s * 1000 - session.elapsed_ms(asked_mono_us)
    return callee.time_left_ms is None or abs(callee.time_left_ms - wanted_ms) > DEADLINE_TOLERANCE_MS


def _cut_overdue(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The switch has not cut at the deadline: cut by order."""
    uids = [leg.uid for leg in (event.callee, event.caller) if leg is not None]
    waiting = replace(
        session, check_mono_us=context.in_s(context.policy.retry_s), hangup_reason="overdue", cut_by="overdue"
    )
    return Step(waiting, (Tell(told.OverdueCallCut(session.covered_s)), *(HangUp(uid, "money_ended") for uid in uids)))


def switch_silent(session: Session, event: SwitchSilent, context: Context) -> Step:
    """The deadline stands where it was; try again as long as there is something to try."""
    again = context.in_s(context.policy.retry_s)
    if event.what == "set_deadline":
        doubtful = tuple(dict.fromkeys((*session.doubtful_s, session.covered_s)))[-DOUBTFUL_MAX:]
        return Step(replace(session, retry_mono_us=again, doubtful_s=doubtful))
    return Step(replace(session, check_mono_us=again))


def clock_jumped(session: Session, event: ClockJumped, context: Context) -> Step:
    """The switch counts by its wall clock, which has moved away from what it was told. So will its record of the call's
    length be: that is stored, for whoever may have to read it. One that our reading of the answer has in it came
    before the answer, though it was seen after it."""
    assert session.answered is not None, "a running call was answered"
    is_fresh = session.answered.mono_us >= event.since_mono_us
    is_before = is_fresh and abs(parted_us(session.answered, context.now)) <= context.policy.clock_jump_ms * 1000
    stepped = session if is_before else session.stepped(event.by_us, context.now.mono_us, event.since_mono_us)
    read = stepped.read_on(session.boot, context.now)
    moved = _deadline(read, context) if session.technology and session.anchored else Step(read)
    return Step(moved.session, (*moved.commands, Keep()))


def deadline_set(session: Session, event: DeadlineSet, context: Context) -> Step:
    check = overdue_at(session, context, event.covered_s)
    # A tick whose outcome is not known (its answer was lost, and then a clock jumped) is still to be asked again.
    retry = None if session.pending is None else session.retry_mono_us
    placed = replace(session, enforced_s=event.covered_s, doubtful_s=(), check_mono_us=check, retry_mono_us=retry)
    return Step(placed, (Tell(told.DeadlineMoved(event.covered_s)),))


def overdue_at(session: Session, context: Context, enforced_s: int | None = None) -> int:
    deadline_s = (enforced_s or session.enforced_s) if session.ahead else session.covered_s
    return session.at(deadline_s + context.policy.backstop_s).mono_us


def _deadline(session: Session, context: Context) -> Step:
    if not session.confirmed:
        return Step(replace(session, deadline_due=True), (AskSwitch(),))
    at = session.at(session.covered_s)
    command = SetDeadline(
        covered_s=session.covered_s,
        at=at,
        backstop=at.plus(context.policy.backstop_s),
        callee_uid=session.callee_uid,
        caller_uid=session.caller_uid,
    )
    return Step(session, (command,))


# --- time -----------------------------------------------------------------------------------------------------


def warn_at(session: Session, policy_warn_before_s: int) -> int | None:
    """The monotonic reading at which the subscriber must be told that the money ends; ``None``: not now."""
    if session.short is not Short.MONEY or session.warned or not session.technology or session.left is not None:
        return None
    if not session.anchored or not session.confirmed:
        return None
    return session.at(max(0, session.covered_s - policy_warn_before_s)).mono_us


def woke(session: Session, event: Woke, context: Context) -> Step:
    """Whatever is due, one thing at a time; what remains due wakes again at once."""
    if context.is_due(session.retry_mono_us):
        return _retry(session, context)
    if context.is_due(session.check_mono_us):
        ask = AskSwitch(everywhere=bool(session.cut_by))
        return Step(replace(session, check_mono_us=context.in_s(context.policy.retry_s)), (ask,))
    if context.is_due(warn_at(session, context.policy.warn_before_s)):
        return _warn(session, context)
    if context.is_due(session.tick_mono_us):
        return _tick(session, event, context)
    if context.is_due(session.look_mono_us):
        return _look(session, event, context)
    return Step(session)


def _retry(session: Session, context: Context) -> Step:
    if session.pending is not None:
        return post_again(session)
    cleared = replace(session, retry_mono_us=None)
    return _deadline(cleared, context) if session.enforced_s != session.covered_s else Step(cleared)


def _warn(session: Session, context: Context) -> Step:
    """R17: in the subscriber's ear, once for each time that the end comes near."""
    by_minutes = session.funding[-1].source != CREDIT
    prompt = PROMPT_MINUTES_LOW if by_minutes else PROMPT_CREDIT_LOW
    warned = replace(session, warned=True, prompting=True, prompts=session.prompts + 1)
    due = told.WarningDue(prompt, session.covered_s - session.elapsed_ms(context.now.mono_us) // 1000)
    return Step(warned, (Tell(due), PlayPrompt(prompt, session.language, session.callee_uid, warned.prompts)))


def prompt_played(session: Session, event: PromptPlayed, _context: Context) -> Step:
    return Step(replace(session, prompting=False), (Tell(told.PromptPlayed(event.prompt, event.result)),))


def _tick(session: Session, event: Woke, context: Context) -> Step:
    """Charge only what is proven: over a silent link nothing is charged and nothing reserved."""
    if _is_silent(event, context):
        left_s = session.covered_s - session.elapsed_ms(context.now.mono_us) // 1000
        later = context.in_s(max(context.policy.retry_s, min(5, left_s // 20)))  # of many, the most urgent most often
        return Step(replace(session, tick_mono_us=later), (Tell(told.TickPostponed(silent=True)),))
    if (waits := _waits(session)) or not session.confirmed:
        retry = context.in_s(context.policy.retry_s)
        return Step(replace(session, tick_mono_us=retry), () if waits else (AskSwitch(),))
    ticked = replace(session, proven_ms=_proven_ms(session, event), tick_mono_us=_next_tick(session, context))
    return Step(ticked, (ReadBalances(),))


def _is_silent(event: Woke, context: Context) -> bool:
    proven = event.proven_mono_us
    return proven is None or context.now.mono_us - proven > context.policy.proof_max_age_s * MICROSECONDS


def _waits(session: Session) -> bool:
    """Whether something must be known first."""
    return session.pending is not None or session.left is not None or not session.anchored


def _proven_ms(session: Session, event: Woke) -> int:
    proven_us = event.proven_mono_us
    return session.proven_ms if proven_us is None else max(session.proven_ms, session.elapsed_ms(proven_us))


def _next_tick(session: Session, context: Context) -> int:
    """The next whole tick since the answer."""
    ticks = session.elapsed_ms(context.now.mono_us) // (context.policy.tick_s * 1000) + 1
    return session.at(ticks * context.policy.tick_s).mono_us


def _look(session: Session, event: Woke, context: Context) -> Step:
    """Where money may come unannounced (R22), a call that runs out looks for it between its ticks. A look is a read: it
    books only what lets the call go on."""
    if session.short not in MOVED_BY_MONEY:
        return Step(replace(session, look_mono_us=None))
    session = _looks_again(session, context)
    if _is_silent(event, context) or _waits(session) or not session.confirmed:
        return Step(session)
    return Step(replace(session, proven_ms=_proven_ms(session, event)), (ReadBalances(looks=True),))


def _looks_again(session: Session, context: Context) -> Session:
    """From the moment it is known to run out."""
    poll_s = context.policy.short_poll_s
    look = context.in_s(poll_s) if poll_s and session.short in MOVED_BY_MONEY else None
    return session if look == session.look_mono_us else replace(session, look_mono_us=look)


def funds_changed(session: Session, _event: FundsChanged, context: Context) -> Step:
    """R22: a call that is running out plans again at once, and so does one that credit pays where free seconds may have
    come back (R10); any other will see the money at its next tick."""
    if session.short is Short.NO and not _credit_stands_in(session):
        return Step(session)
    return Step(replace(session, tick_mono_us=context.now.mono_us))


def draining(session: Session, _event: Draining, context: Context) -> Step:
    """The switch will take no more orders: reserve as far as the money goes, at once."""
    return Step(replace(session, tick_mono_us=context.now.mono_us))


def _credit_stands_in(session: Session) -> bool:
    """Whether credit pays for seconds to come that free ones would pay for, if there were any."""
    by_credit = any(part.source == CREDIT and part.end_s > session.fixed_s for part in session.funding)
    gives = session.free_seconds > 0 or bool(session.rate.packs)
    return by_credit and session.rate.takes_bundles and gives


# --- money ----------------------------------------------------------------------------------------------------


def balances_read(session: Session, event: BalancesRead, context: Context) -> Step:
    """Settle what is proven, reserve the next stretch."""
    policy = context.policy
    if event.balances is None:
        again = session if event.looks else replace(session, tick_mono_us=context.in_s(policy.retry_s))
        return Step(again, (Tell(told.LedgerNotReached()),))
    if event.looks and event.balances == session.seen:
        return Step(session)
    if not session.held:  # not even its place among the account's calls: the ledger does not know it
        return reassert_within(session, event.balances, context)
    used_s = -(-max(0, session.proven_ms - policy.answer_tolerance_ms) // 1000) if session.confirmed else 0
    elapsed_s = session.elapsed_ms(context.now.mono_us) // 1000
    extension = extend(session, event.balances, used_s, elapsed_s + policy.reach_s)
    if event.looks and extension.covered_s <= session.covered_s:
        return Step(replace(session, seen=event.balances))
    pending = extend_transfer(session, extension, event.balances, context.now.wall_us, context.now.mono_us)
    if pending is None:
        return _after_money(replace(session, short=extension.short), context)
    return Step(replace(session, pending=pending), (Post(pending.transfer, pending.grants),))


def posted(session: Session, event: Posted, context: Context) -> Step:
    """The tick is booked: then, and only then, the switch cuts later. Or it is not."""
    pending = session.pending
    if pending is None or not is_awaited(session, event):
        return Step(session)
    match reading_of(event):
        case Booked():
            booked = after_booking(session, pending)
            after = _after_money(booked, context)
            return Step(after.session, (tell_tick(booked, pending), *after.commands))
        case Unknown():
            return ask_later(session, context.policy.retry_s, context)
        case Insufficient():
            return _replan(session, context)
        case Behind(stored):
            return recover(session, stored, context, _plan_anew)
        case Lost(outcome):
            return lose(session, outcome)


def _plan_anew(session: Session, _context: Context) -> Step:
    return Step(session, (ReadBalances(),))


def _replan(session: Session, context: Context) -> Step:
    """Another call of the account was faster: plan with what is left now."""
    again = replace(session, pending=None, retry_mono_us=None, replans=session.replans + 1)  # then the next tick tries
    if again.replans > REPLANS_MAX:
        wait = replace(again, replans=0, tick_mono_us=context.in_s(context.policy.retry_s))
        return Step(wait, (Tell(told.ExtensionRefused()),))
    return Step(again, (ReadBalances(),))


def _after_money(session: Session, context: Context) -> Step:
    """The deadline follows the money; a warning that was given may be given again once the end is far (R22)."""
    session = _looks_again(replace(session, ahead=False) if session.ahead else session, context)
    commands: tuple[Command, ...] = ()
    left_ms = session.covered_s * 1000 - session.elapsed_ms(context.now.mono_us)
    if session.warned and (session.short is not Short.MONEY or left_ms > context.policy.warn_before_s * 1000):
        session = replace(session, warned=False)
        commands = (Tell(told.WarningRearmed(left_ms)),)
    if not session.technology or not session.anchored:
        return Step(session, commands)
    if session.covered_s == session.enforced_s:
        asks = session.short is Short.MONEY and not session.confirmed  # the warning waits for it
        return Step(session, (*commands, AskSwitch()) if asks else commands)
    moved = _deadline(session, context)
    return Step(moved.session, (*commands, *moved.commands))


def kept(session: Session, event: KeptAnswer, context: Context) -> Step:
    """The answer's stamp and the clock's steps are stored again with every tick: a store that was away is no harm."""
    match reading_of_kept(event):
        case Booked():
            return Step(session)
        case Lost(outcome):
            return lose(session, outcome)
        case Unknown():
            return Step(session, (Tell(told.LedgerNotReached()),))
    return Step(replace(session, tick_mono_us=context.now.mono_us))
