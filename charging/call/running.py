"""RUNNING: the ticks that settle and reserve ahead, the warning, the cut. Pure.

Order of a tick: proof (the link has spoken lately), balances, one transfer that settles what was used and reserves
the next stretch, and only then the later deadline for the switch. Money first, then time.
"""

from __future__ import annotations

from typing import Any

from charging.call import told
from charging.call.answered import DEADLINE_TOLERANCE_MS, anchored, heard_at_once
from charging.call.booking import (
    Behind,
    Booked,
    Insufficient,
    Lost,
    Unknown,
    after_booking,
    ask_later,
    extend,
    extend_transfer,
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
from charging.call.ending import BRIDGE_LEFT_GRACE_S, REPLANS_MAX, begin_ending, newcomer_ends
from charging.call.events import (
    BalancesRead,
    ClockJumped,
    DeadlineSet,
    Draining,
    FundsChanged,
    KeptAnswer,
    Posted,
    PromptPlayed,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.failover import reassert_within, recover
from charging.call.model import Context, Policy, Session, Short, State
from charging.call.switch_events import BridgeEntered, ChannelReplaced, DialEnded, TransferKind, TransferSeen
from charging.clock import MICROSECONDS, parted_us
from charging.ledger.model import CREDIT
from charging.pricing.rate import seconds_of
from charging.records import replace

ANSWER_MAX_S = 10
"""By so much, at most, an answer of the switch is taken to be younger than its question: a list of all its channels."""
DOUBTFUL_MAX = 8
"""So many orders of unknown outcome are remembered."""

ANSWER_GRACE_MS = 5000
"""Between a leg's answer and its bridge."""

MOVED_BY_MONEY = frozenset({Short.MONEY, Short.DAY})
"""Ends that come later where money comes, or another call gives some back; the others stay where they are."""

PROMPT_CREDIT_LOW = "credit_low"
PROMPT_MINUTES_LOW = "minutes_low"


# --- what the switch reports ----------------------------------------------------------------------------------


def bridge_entered(session: Session, event: BridgeEntered, context: Context) -> Step:
    """The parties hear each other, and the switch counts down from the quota. Plan again from the exact start: a
    month's or a time band's edge may lie between set-up and answer."""
    if event.uid not in (session.callee_uid, session.caller_uid):
        return Step(session, (Tell(told.UnpaidChannelSeen(event.uid)), AskSwitch(everywhere=True)))
    if event.uid == session.caller_uid and (session.caller_left or session.kept_alone):
        session = replace(session, caller_left=False, kept_alone=False)
    elif event.channels == 1 and not session.technology:
        session = replace(session, kept_alone=True)
    heard = (Tell(told.BridgeJoined(event.technology)),) if event.uid == session.callee_uid else ()
    if not session.anchored:
        joined = replace(session, technology=event.technology, left=None, left_us=None)
        return Step(replace(joined, check_mono_us=context.now.mono_us), heard)
    proven_ms = max(session.proven_ms, _lived_ms(session, event, context))
    joined = replace(session, technology=event.technology, left=None, left_us=None, proven_ms=proven_ms)
    if event.uid != session.callee_uid or session.pending is not None:
        return Step(joined, heard)
    joined = replace(joined, check_mono_us=overdue_at(joined, context))
    return Step(joined, (*heard, ReadBalances()))


def _lived_ms(session: Session, event: BridgeEntered, context: Context) -> int:
    """How many ms after its answer the call joined its bridge: by the switch's stamps, as both events may reach us
    late."""
    elapsed_ms = session.elapsed_ms(context.now.mono_us)
    if event.at_us is None or session.answered_us is None:
        return elapsed_ms
    return min(elapsed_ms, max(0, event.at_us - session.answered_us) // 1000)


def dial_ended(session: Session, event: DialEnded, _context: Context) -> Step:
    """The event of an answer that was inferred before it came: we were late. Take over its stamp."""
    answers = event.status == "ANSWER" and event.callee_uid == session.callee_uid
    if not session.inferred or not answers or event.at_us is None:
        return Step(session)
    return Step(replace(session, answered_us=event.at_us, inferred=False))


def transfer_seen(session: Session, event: TransferSeen, context: Context) -> Step:
    """A party was transferred. An attended transfer by the caller's side leaves the forwarded leg talking to a third
    party: the switch is asked, and the call charged on. Any other takes a party to unpaid dialplan: the call ends."""
    if event.kind is TransferKind.ATTENDED and event.uid != session.callee_uid:
        check = context.in_s(BRIDGE_LEFT_GRACE_S)
        return Step(replace(session, check_mono_us=check), (Tell(told.TransferFollowed(event.kind)),))
    return order_end(session, "transferred", "transfer", told.TransferCut(event.kind))


def channel_replaced(session: Session, event: ChannelReplaced, _context: Context) -> Step:
    """Another channel takes the forwarded leg's place in the bridge, as the end of that leg will confirm."""
    return Step(replace(session, replaced_by=event.by) if event.uid == session.callee_uid else session)


def switch_said(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The switch's view of the call: is it alive, and does its deadline stand where the money ends?"""
    if not event.alone and not agrees(session, event):
        # Until it answers, nothing is charged by the link's proof: the call may have ended while the link was down.
        return Step(replace(session, confirmed=False), (AskSwitch(listed=event.uids),))
    if event.callee is None:
        # Gone, or put into a channel that bears another session (REFER with Replaces): there it would talk on, unpaid.
        ending = begin_ending(replace(session, caller_gone=event.caller is None), context)
        return Step(ending.session, (HangUp(session.callee_uid, "moved"), *newcomer_ends(session), *ending.commands))
    if session.cut_by:
        return hang_up_all(session, event, context)
    if not event.callee.up:
        return _not_answered(session, context)
    if not event.callee.bridged:
        return _not_bridged(session, event, context)
    if event.alone and event.caller is None and session.kept_alone:
        return Step(session, (HangUp(event.callee.uid, "alone"),))
    if not session.anchored:
        known = anchored(session, event.callee, event.asked_mono_us, context)
        after = switch_said(known.session, event, context)
        return Step(_ticks_when_due(after.session, context), (*known.commands, *after.commands))
    if not session.confirmed:
        session = heard_at_once(session, event.callee, context)
    alive = replace(
        session,
        callee_uid=event.callee.uid,
        caller_uid=event.caller.uid if event.alone and event.caller is not None else session.caller_uid,
        technology=session.technology or "unknown",
        left=None,
        left_us=None,
        replaced_by="",
        caller_gone=event.caller is None if event.caller_asked else session.caller_gone,
        confirmed=session.confirmed or event.alone,
        vouched=session.vouched and not event.alone,
        tick_mono_us=_first_tick(session, context) if event.alone else session.tick_mono_us,
        **_seen_alive(session, event),
        check_mono_us=overdue_at(session, context),
    )
    if context.now.mono_us > overdue_at(session, context):
        return _cut_overdue(alive, event, context)
    if session.ahead:
        return Step(alive)  # the tick that is due finds out how far the money goes
    moved = alive.deadline_due or alive.doubtful_s or alive.caller_uid != session.caller_uid  # his leg may lack it
    placed = not moved and not is_misplaced(alive, event, context.now.mono_us)
    if placed:
        after = Step(alive if alive.enforced_s == alive.covered_s else replace(alive, enforced_s=alive.covered_s))
    else:
        after = _deadline(replace(alive, deadline_due=False) if alive.deadline_due else alive, context)
    strangers = tuple(HangUp(leg.uid, "not_paid_for") for leg in event.others if leg.bridged)
    return Step(after.session, (*strangers, *after.commands))


def _seen_alive(session: Session, event: SwitchSaid) -> dict[str, Any]:
    """Until when the call is known to have lived, and by the switch's own word about a leg that is confirmed; and
    whether its caller has yet to join it. (One who has left it may be shown there by a look that began before.)"""
    asked_ms, is_confirmed = session.elapsed_ms(event.asked_mono_us), session.confirmed or event.alone
    seen_ms = max(session.seen_ms, asked_ms) if is_confirmed else session.seen_ms
    is_joined = event.caller is not None and event.caller.bridged
    alone = session.kept_alone and (session.caller_left or not is_joined)
    return {"proven_ms": max(session.proven_ms, asked_ms), "seen_ms": seen_ms, "kept_alone": alone}


def agrees(session: Session, event: SwitchSaid) -> bool:
    """Whether a list of all channels holds only what is known: the leg that we charge talks, and no other channel."""
    same = event.callee is not None and event.callee.bridged and event.callee.uid == session.callee_uid
    same = same and (event.caller is None or event.caller.uid == session.caller_uid)
    return same and session.anchored and not session.cut_by and not any(leg.bridged for leg in event.others)


def _first_tick(session: Session, context: Context) -> int | None:
    """When to tick: at once if the tick has waited for this answer of the switch, which confirms the call."""
    tick = session.tick_mono_us
    waits = not session.confirmed and tick is not None and tick <= context.in_s(context.policy.retry_s)
    return context.now.mono_us if waits else tick


def _ticks_when_due(session: Session, context: Context) -> Session:
    """Put off the tick with which a call begins in a new process until it would have come without a restart, if the
    call is paid a horizon ahead and no money can have come that it waits for: those that are cut first must not stand
    behind thousands of others. Not where the ledger is shared: it may have shown what a fail-over then loses, and that
    has set the deadline; the tick finds out."""
    now_us, policy = context.now.mono_us, context.policy
    if session.state is not State.RUNNING or not session.confirmed or session.tick_mono_us != now_us:
        return session
    waits = session.short is not Short.NO or session.ahead or _credit_stands_in(session)
    if waits or policy.is_shared or policy.drain_s:
        return session
    tick_us = min(session.at(session.covered_s - policy.horizon_s).mono_us, next_tick(session, context))
    return session if tick_us <= now_us else replace(session, tick_mono_us=tick_us)


def _not_answered(session: Session, context: Context) -> Step:
    """The switch says that the leg still rings, against an event of its answer. Nothing was charged: ring on."""
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
        seen_ms=0,
        tick_mono_us=None,
        check_mono_us=context.in_s(context.policy.setup_timeout_s),
    )
    return Step(ringing, (Tell(told.EventContradicted("answer")),))


def _not_bridged(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The leg is up and in no bridge: for a moment after the answer or before the hang-up. If it lasts longer, the leg
    was moved out of the conversation (by a redirection, say): the call ends, and is charged to its end."""
    check = context.in_s(BRIDGE_LEFT_GRACE_S)
    if not session.technology and session.elapsed_ms(context.now.mono_us) < ANSWER_GRACE_MS:
        return Step(replace(session, check_mono_us=check))
    if session.left is None:
        return Step(replace(session, left=context.now, check_mono_us=check, reckoned=False))
    if context.now.mono_us - session.left.mono_us < BRIDGE_LEFT_GRACE_S * MICROSECONDS:
        return Step(replace(session, check_mono_us=session.left.plus(BRIDGE_LEFT_GRACE_S).mono_us))
    moved = replace(session, hangup_reason="moved", cut_by="moved", left=None, left_us=None)
    after = hang_up_all(moved, event, context)
    return Step(after.session, (Tell(told.MovedCallCut()), *after.commands))


# --- where the switch cuts it ---------------------------------------------------------------------------------


def is_misplaced(session: Session, said: SwitchSaid, now_mono_us: int) -> bool:
    """Whether the forwarded leg's deadline on the switch is not where what is covered ends, or its caller's lies before
    it, by over DEADLINE_TOLERANCE_MS. What it says was true at some moment from the question to now: lists are long."""
    last_us, slack_ms = min(now_mono_us, said.asked_mono_us + ANSWER_MAX_S * MICROSECONDS), DEADLINE_TOLERANCE_MS
    least_ms = session.covered_s * 1000 - session.elapsed_ms(last_us) - slack_ms
    most_ms = session.covered_s * 1000 - session.elapsed_ms(said.asked_mono_us) + slack_ms
    left_ms, callers_ms = (None if leg is None else leg.time_left_ms for leg in (said.callee, said.caller))
    return left_ms is None or not least_ms <= left_ms <= most_ms or (callers_ms is not None and callers_ms < least_ms)


def _cut_overdue(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The switch has not cut at the deadline: hang up."""
    uids = [leg.uid for leg in (event.callee, event.caller) if leg is not None]
    waiting = replace(
        session, check_mono_us=context.in_s(context.policy.retry_s), hangup_reason="overdue", cut_by="overdue"
    )
    return Step(waiting, (Tell(told.OverdueCallCut(session.covered_s)), *(HangUp(uid, "money_ended") for uid in uids)))


def switch_silent(session: Session, event: SwitchSilent, context: Context) -> Step:
    """The switch did not answer or obey: its deadline may stand where it was. Try again."""
    again = context.in_s(context.policy.retry_s)
    if event.what == "set_deadline":
        doubtful = tuple(dict.fromkeys((*session.doubtful_s, session.covered_s)))[-DOUBTFUL_MAX:]
        return Step(replace(session, retry_mono_us=again, doubtful_s=doubtful))
    return Step(replace(session, check_mono_us=again))


def clock_jumped(session: Session, event: ClockJumped, context: Context) -> Step:
    """A step moves the switch's deadline, kept by its wall clock: set it again. The length in its record includes the
    step, so the step is stored. One that our reading of the answer already includes came before the answer."""
    assert session.answered is not None, "a running call was answered"
    is_fresh = session.answered.mono_us >= event.since_mono_us
    is_before = is_fresh and abs(parted_us(session.answered, context.now)) <= context.policy.clock_jump_ms * 1000
    stepped = session if is_before else session.stepped(event.by_us, context.now.mono_us, event.since_mono_us)
    read = stepped.read_on(session.boot, context.now)
    moved = _deadline(read, context) if session.technology and session.anchored else Step(read)
    return Step(moved.session, (*moved.commands, Keep()))


def deadline_set(session: Session, event: DeadlineSet, context: Context) -> Step:
    """The switch holds the new deadline: from now on it cuts there, whatever becomes of us."""
    asks_soon, overdue = context.in_s(context.policy.retry_s), overdue_at(session, context, event.covered_s)
    check = asks_soon if session.vouched else overdue
    # A tick whose outcome is not known (its answer was lost, then a clock jumped) must still be repeated.
    retry = None if session.pending is None else session.retry_mono_us
    placed = replace(
        session,
        enforced_s=event.covered_s,
        doubtful_s=(),
        check_mono_us=check,
        retry_mono_us=retry,
        vouched=False,
    )
    return Step(placed, (Tell(told.DeadlineMoved(event.covered_s)),))


def overdue_at(session: Session, context: Context, enforced_s: int | None = None) -> int:
    """When (monotonic, µs) a call that still runs should have been cut by the switch, whose deadline is ``enforced_s``
    seconds after the answer, and must be hung up."""
    deadline_s = (enforced_s or session.enforced_s) if session.ahead else session.covered_s
    return session.at(deadline_s + context.policy.backstop_s).mono_us


def _deadline(session: Session, context: Context) -> Step:
    if not (session.confirmed or session.vouched):
        return Step(replace(session, deadline_due=True), (AskSwitch(),))
    return Step(session, (deadline_at(session, session.covered_s, context.policy),))


def deadline_at(session: Session, covered_s: int, policy: Policy) -> SetDeadline:
    """Return the order to cut the call so many seconds after its answer."""
    at = session.at(covered_s)
    return SetDeadline(covered_s, at, at.plus(policy.backstop_s), session.callee_uid, session.caller_uid)


# --- time -----------------------------------------------------------------------------------------------------


def warn_at(session: Session, policy_warn_before_s: int) -> int | None:
    """When to warn the subscriber that the money ends, as a monotonic reading in µs; ``None``: not now."""
    if session.short is not Short.MONEY or session.warned or not session.technology or session.left is not None:
        return None
    if not session.anchored or not session.confirmed or not session.funding:
        return None  # without a second that is paid (a fail-over lost it, and others took the money) it is cut at once
    return session.at(max(0, session.covered_s - policy_warn_before_s)).mono_us


def woke(session: Session, event: Woke, context: Context) -> Step:
    """Do one thing that is due; what remains due wakes the session again at once."""
    if context.is_due(session.retry_mono_us):
        return _retry(session, context)
    if context.is_due(session.check_mono_us):
        if may_go_first(session, event, context):
            check, tick = context.in_s(context.policy.retry_s), next_tick(session, context)
            return Step(replace(session, check_mono_us=check, tick_mono_us=tick), (ReadBalances(),))
        ask = AskSwitch(
            everywhere=bool(session.cut_by), leg_only=not (session.cut_by or session.anchored or session.kept_alone)
        )
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
    cleared, settled = replace(session, retry_mono_us=None), session.enforced_s == session.covered_s
    return Step(cleared) if settled and not session.doubtful_s else _deadline(cleared, context)


def _warn(session: Session, context: Context) -> Step:
    """Play the warning to the subscriber (R17), once each time that the end comes near."""
    by_minutes = session.funding[-1].source != CREDIT
    prompt = PROMPT_MINUTES_LOW if by_minutes else PROMPT_CREDIT_LOW
    warned = replace(session, warned=True, prompting=True, prompts=session.prompts + 1)
    due = told.WarningDue(prompt, session.covered_s - session.elapsed_ms(context.now.mono_us) // 1000)
    return Step(warned, (Tell(due), PlayPrompt(prompt, session.language, session.callee_uid, warned.prompts)))


def prompt_played(session: Session, event: PromptPlayed, _context: Context) -> Step:
    """The warning was played, or could not be: the next may be ordered."""
    return Step(replace(session, prompting=False), (Tell(told.PromptPlayed(event.prompt, event.result)),))


def _tick(session: Session, event: Woke, context: Context) -> Step:
    """Charge only what is proven: over a silent link nothing is charged and nothing is reserved."""
    if _is_silent(event, context):
        left_s = session.covered_s - session.elapsed_ms(context.now.mono_us) // 1000
        later = context.in_s(max(context.policy.retry_s, min(5, left_s // 20)))  # the most urgent most often
        return Step(replace(session, tick_mono_us=later), (Tell(told.TickPostponed(silent=True)),))
    if (waits := _waits(session)) or not session.confirmed:
        retry = context.in_s(context.policy.retry_s)
        return Step(replace(session, tick_mono_us=retry), () if waits else (AskSwitch(),))
    ticked = replace(session, proven_ms=_proven_ms(session, event), tick_mono_us=next_tick(session, context))
    return Step(ticked, (ReadBalances(),))


def _is_silent(event: Woke, context: Context) -> bool:
    proven = event.proven_mono_us
    return proven is None or context.now.mono_us - proven > context.policy.proof_max_age_s * MICROSECONDS


def may_go_first(session: Session, event: Woke, context: Context) -> bool:
    """Whether to reserve the next stretch, and to move the deadline, before the switch is asked: of a call that an
    outage has left with less than a horizon. Nothing is charged for it, and its end gives back what is too much. Where
    no second is left by its record, it has ended, or the record is old."""
    left_ms = session.covered_s * 1000 - session.elapsed_ms(context.now.mono_us)
    is_due = session.vouched and not session.confirmed and 0 < left_ms < context.policy.horizon_s * 1000
    is_usual = session.technology and session.left is None and not session.cut_by and session.held
    asked = session.pending is not None  # that is asked for again first, unchanged
    return bool(is_due and is_usual and not asked and session.short is Short.NO and not _is_silent(event, context))


def _waits(session: Session) -> bool:
    """Whether a tick must wait for an answer: of the ledger, or of the switch about the leg."""
    return session.pending is not None or session.left is not None or not session.anchored


def _proven_ms(session: Session, event: Woke) -> int:
    proven_us = event.proven_mono_us
    return session.proven_ms if proven_us is None else max(session.proven_ms, session.elapsed_ms(proven_us))


def next_tick(session: Session, context: Context) -> int:
    """Return the next whole tick since the answer, as a monotonic reading in µs."""
    ticks = session.elapsed_ms(context.now.mono_us) // (context.policy.tick_s * 1000) + 1
    return session.at(ticks * context.policy.tick_s).mono_us


def _look(session: Session, event: Woke, context: Context) -> Step:
    """Read the balances between ticks if the call runs out and other daemons may learn of money first (R22). A look
    books only what lets the call go on."""
    if session.short not in MOVED_BY_MONEY:
        return Step(replace(session, look_mono_us=None))
    session = _looks_again(session, context)
    if _is_silent(event, context) or _waits(session) or not session.confirmed:
        return Step(session)
    return Step(replace(session, proven_ms=_proven_ms(session, event)), (ReadBalances(looks=True),))


def _looks_again(session: Session, context: Context) -> Session:
    """Set the time of the next look, as soon as the call is known to run out."""
    poll_s = context.policy.short_poll_s
    look = context.in_s(poll_s) if poll_s and session.short in MOVED_BY_MONEY else None
    return session if look == session.look_mono_us else replace(session, look_mono_us=look)


def funds_changed(session: Session, _event: FundsChanged, context: Context) -> Step:
    """Plan again at once (R22) if the call runs out, or if credit pays while free seconds may have come back (R10). Any
    other call sees the money at its next tick."""
    if session.short is Short.NO and not _credit_stands_in(session):
        return Step(session)
    return Step(replace(session, tick_mono_us=context.now.mono_us))


def draining(session: Session, _event: Draining, context: Context) -> Step:
    """The switch will soon take no orders: reserve as far as the money goes, at once."""
    return Step(replace(session, tick_mono_us=context.now.mono_us))


def _credit_stands_in(session: Session) -> bool:
    """Whether credit pays for coming seconds that free seconds would pay for."""
    by_credit = any(part.source == CREDIT and part.end_s > session.fixed_s for part in session.funding)
    gives = session.free_seconds > 0 or bool(session.rate.packs)
    return by_credit and session.rate.takes_bundles and gives


# --- money ----------------------------------------------------------------------------------------------------


def balances_read(session: Session, event: BalancesRead, context: Context) -> Step:
    """Settle what is proven, and reserve the next stretch."""
    policy = context.policy
    if event.balances is None:
        again = session if event.looks else replace(session, tick_mono_us=context.in_s(policy.retry_s))
        return Step(again, (Tell(told.LedgerNotReached()),))
    if event.looks and event.balances == session.seen:
        return Step(session)
    if not session.held:  # not even its place among the account's calls: the ledger does not know the session
        return reassert_within(session, event.balances, context)
    used_s = seconds_of(session.proven_ms, policy.answer_tolerance_ms) if session.confirmed else 0
    elapsed_s = session.elapsed_ms(context.now.mono_us) // 1000
    extension = extend(session, event.balances, used_s, elapsed_s + policy.reach_s)
    if event.looks and extension.covered_s <= session.covered_s:
        return Step(replace(session, seen=event.balances))
    if session.vouched and not session.confirmed and extension.short is not Short.NO:  # its end comes near: ask first
        return Step(replace(session, vouched=False, check_mono_us=context.now.mono_us))
    made = extend_transfer(session, extension, event.balances, context.now.wall_us, context.now.mono_us)
    if made is None:
        return _after_money(replace(session, short=extension.short), context)
    pending, _ = made
    return Step(replace(session, pending=pending), (Post(pending.transfer, pending.grants),))


def posted(session: Session, event: Posted, context: Context) -> Step:
    """The ledger answers a tick's transfer. Only if it is booked does the switch's deadline move."""
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
    """Another call of the account was faster: plan with what is left."""
    again = replace(session, pending=None, retry_mono_us=None, replans=session.replans + 1)  # the next tick retries
    if again.replans > REPLANS_MAX:
        wait = replace(again, replans=0, tick_mono_us=context.in_s(context.policy.retry_s))
        return Step(wait, (Tell(told.ExtensionRefused()),))
    return Step(again, (ReadBalances(),))


def _after_money(session: Session, context: Context) -> Step:
    """Move the deadline as far as the money goes. If the end is far again, the next one is warned of again (R22)."""
    session = _looks_again(replace(session, ahead=False) if session.ahead else session, context)
    commands: tuple[Command, ...] = ()
    left_ms = session.covered_s * 1000 - session.elapsed_ms(context.now.mono_us)
    if session.warned and (session.short is not Short.MONEY or left_ms > context.policy.warn_before_s * 1000):
        session = replace(session, warned=False)
        commands = (Tell(told.WarningRearmed(left_ms)),)
    if not session.technology or not (session.anchored or session.vouched):
        return Step(session, commands)
    if session.covered_s == session.enforced_s:
        asks = session.short is Short.MONEY and not session.confirmed  # the warning waits for the answer
        return Step(session, (*commands, AskSwitch()) if asks else commands)
    moved = _deadline(session, context)
    return Step(moved.session, (*commands, *moved.commands))


def kept(session: Session, event: KeptAnswer, context: Context) -> Step:
    """The ledger answers a stored stamp or step. Each tick stores both again, so a lost answer does no harm."""
    match reading_of_kept(event):
        case Booked():
            return Step(session)
        case Lost(outcome):
            return lose(session, outcome)
        case Unknown():
            return Step(session, (Tell(told.LedgerNotReached()),))
    return Step(replace(session, tick_mono_us=context.now.mono_us))
