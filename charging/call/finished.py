"""What a call was that is over: how long it lasted, decided once, and its CDR. Pure.

How long it lasted follows from the evidence, best first: the black box (the milliseconds of the forwarded leg itself);
the switch's stamps of answer and end; the last moment at which the call is known to have been alive.

A step of the switch's wall clock during the call spoils the first two. The black box shows a step by itself if the
dialplan notes the machine's up-time at answer and end. Else our monotonic clock shows it: together with the stamps, our
readings at answer and end give a shortest and a longest length. If the switch's length is outside of them, the smaller
one is billed. If our clock did not read the answer or the end, the steps that it saw meanwhile are subtracted.

If the clocks agree and the leg's own record contradicts the events, the record is booked, since events can be lost,
late or forged. The contradiction is a finding. But a record is of another channel's end, and counts for nothing, if the
switch itself said later that the leg was in its bridge: whoever takes a leg's place can leave its hang-up handler to
the one who goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from charging.call.booking import Charged
from charging.call.events import BlackBoxRead
from charging.call.model import PICKED_UP, UNBOUND_MS, Duration, Policy, Proof, Session, Short
from charging.clock import Instant, iso
from charging.ledger.balances import PROMO, is_money
from charging.pricing.money import format_euro
from charging.pricing.packs import PACK
from charging.pricing.rate import seconds_of

# --- how long it lasted -----------------------------------------------------------------------------------------

NO_RECORD = BlackBoxRead(found=False)

READ_APART_MS = 400
"""The machine's up-time is read so much later than the time of day, at most, for Asterisk starts a program for it. More
is a step of the clock: systemd-timesyncd makes them from there on."""

SLEWED = 1000
"""In so many seconds the clocks of two machines part by at most one: each is slewed by up to 500 ppm (adjtimex(2))."""


def decide_duration(session: Session, box: BlackBoxRead, now_wall_us: int, policy: Policy) -> Duration:
    """Decide how long a call lasted that is over. ``now_wall_us`` stands for the end if no evidence dates it."""
    if is_outlived(session, box, policy):
        box = NO_RECORD
    used_ms, proof = _evidence(session, box, policy)
    billed_s = seconds_of(_answered_ms(session, used_ms, proof, policy), policy.answer_tolerance_ms)
    overrun_s = max(0, billed_s - session.covered_s)
    ended_us = _ended_us(session, box, used_ms, proof, now_wall_us)
    return Duration(used_ms, billed_s - overrun_s, overrun_s, proof, ended_us)


def _answered_ms(session: Session, used_ms: int, proof: Proof, policy: Policy) -> int:
    """How long the far end was answered: also if it hung up in the same instant. Where another phone has picked the
    call up the moment that the channels take to change places is no answer."""
    if proof is Proof.NEVER_ANSWERED:
        return 0
    if session.hangup_reason == PICKED_UP and used_ms <= policy.answer_tolerance_ms:
        return 0
    return max(1, used_ms)


def _evidence(session: Session, box: BlackBoxRead, policy: Policy) -> tuple[int, Proof]:
    boxed = box.found and box.dial_status == "ANSWER"
    if box.found and box.by_leg and not boxed:
        return 0, Proof.NEVER_ANSWERED
    if not boxed and not session.technology and (box.found or session.answered is None):
        # A phone that answered just as the caller hung up is no conversation: no bridge, and no answer in the record.
        return 0, Proof.NEVER_ANSWERED
    by_switch = box.answered_ms if boxed else _stamped_ms(session)
    if by_switch is None:
        if session.left is None or not session.anchored:
            return session.proven_ms, Proof.UNPROVEN
        return session.elapsed_ms(session.left.mono_us), Proof.EVENTS
    if boxed and box.lasted_ms is not None:
        agree = abs(box.lasted_ms - by_switch) <= READ_APART_MS
        return (by_switch, Proof.BLACK_BOX) if agree else (min(box.lasted_ms, by_switch), Proof.CLOCK_JUMP)
    smaller = _smaller_ms(session, box, by_switch, policy.clock_jump_ms)
    recorded = boxed and box.by_leg and _clocks_agree(session, policy.clock_jump_ms)
    if smaller is not None and not recorded:
        return max(smaller, min(by_switch, session.proven_ms)), Proof.CLOCK_JUMP
    return by_switch, Proof.BLACK_BOX if boxed else Proof.EVENTS


def is_outlived(session: Session, box: BlackBoxRead, policy: Policy) -> bool:
    """Whether the leg lived on after the end that its record notes, by the switch's own answers about it, and by its
    stamps of answer and end where those were heard. Not where clocks were stepped: then the smaller length is
    billed."""
    by_events, lived_ms = _stamped_ms(session), session.seen_ms
    if by_events is not None:
        lived_ms = min(lived_ms, by_events)
    if lived_ms - box.answered_ms <= policy.clock_jump_ms + lived_ms // SLEWED or not box.found:
        return False
    if session.inferred or session.steps:
        return False
    _, proof = _evidence(session, box, policy)
    return proof in (Proof.BLACK_BOX, Proof.NEVER_ANSWERED)


def contradicting_ms(session: Session, box: BlackBoxRead, duration: Duration, policy: Policy) -> int | None:
    """The call's length by the events, in ms, if the record that was booked contradicts it; else ``None``."""
    by_events = _stamped_ms(session)
    if not box.found or by_events is None or duration.proof is Proof.CLOCK_JUMP:
        return None
    return by_events if abs(by_events - duration.used_ms) > policy.clock_jump_ms else None


def _clocks_agree(session: Session, tolerance_ms: int) -> bool:
    """Whether no clock was stepped while the call lasted, judged by the steps that we saw and by the stamps of the
    events."""
    stamped_ms = _stamped_ms(session)
    if stamped_ms is None or session.left is None or not session.anchored:
        return False
    elapsed_ms = session.elapsed_ms(session.left.mono_us)
    least_ms = elapsed_ms - _heard_late_ms(session.left, session.left_us)
    most_ms = elapsed_ms + _heard_late_ms(session.answered, session.answered_us)
    fits = least_ms - tolerance_ms <= stamped_ms <= most_ms + tolerance_ms
    return fits and abs(session.stepped_us) <= tolerance_ms * 1000


def _smaller_ms(session: Session, box: BlackBoxRead, by_switch: int, tolerance_ms: int) -> int | None:
    """What to bill, in ms, instead of a length by the switch's wall clock that cannot be right; ``None`` if it can."""
    # An answer that was inferred, or never heard of, sets no bound. Our set-up does, and whence we know of the end.
    over = session.left or session.ended
    anchored = session.answered is not None and session.anchored and not session.inferred
    heard = anchored and session.left is not None and session.left_us is not None
    late_ms = _heard_late_ms(session.left, session.left_us)
    least_ms, most_ms = session.proven_ms, UNBOUND_MS if over is None else _most_ms(session, over)
    elapsed_ms = min(by_switch, most_ms)
    if anchored and over is not None:
        elapsed_ms = min(session.elapsed_ms(over.mono_us), most_ms)
        most_ms = min(elapsed_ms + _heard_late_ms(session.answered, session.answered_us), most_ms)
        least_ms = elapsed_ms - late_ms if heard else session.proven_ms
    heard_at_once = heard and late_ms <= tolerance_ms
    lengths = (by_switch,) if heard_at_once else _unstepped_ms(session, by_switch, most_ms, tolerance_ms)
    fits = least_ms - tolerance_ms <= by_switch <= most_ms + tolerance_ms
    if fits and lengths and all(abs(by_switch - length) <= tolerance_ms for length in lengths):
        return None
    if not lengths:
        return min(most_ms, _even_ms(session, box, tolerance_ms))
    # The event of the end may have been late by less than what is a step: nobody pays for that.
    return min(by_switch, least_ms if heard_at_once else elapsed_ms, *lengths)


def _most_ms(session: Session, over: Instant) -> int:
    """Milliseconds from the set-up until the end was known. If another process knew it, that is reckoned back from the
    wall clock: by a step forward that came after it, it seems to have been known that much earlier."""
    forward_us = sum(max(0, by_us) for _, by_us in session.steps) if session.reckoned else 0
    return session.since_set_up_ms(over.mono_us + forward_us)


def _even_ms(session: Session, box: BlackBoxRead, tolerance_ms: int) -> int:
    """The shortest that a call can have lasted whose length by the switch no step that we saw explains: between two of
    our readings the clock was stepped more than once, so the record tells no length. It tells when the call was
    answered and whether it was over before the clock was stepped, for until then our clocks ran evenly."""
    begun_us, even_us, began, ended_us = session.begun_mono_us, session.even_mono_us, session.opened, box.ended_us
    if begun_us is None or even_us is None or ended_us is None:
        return session.proven_ms
    until_us = began.wall_us + even_us - begun_us
    answered_us = ended_us - box.answered_ms * 1000
    was_alive = ended_us > until_us + tolerance_ms * 1000 and began.wall_us <= answered_us <= until_us
    return max(session.proven_ms, (until_us - answered_us) // 1000 if was_alive else 0)


def _unstepped_ms(session: Session, by_switch: int, most_ms: int, tolerance_ms: int) -> tuple[int, ...]:
    """The lengths that are possible, in ms, without the steps of the clock, for an end that was not heard of when it
    came. The end may lie between any two steps, and a step came at any moment between two readings of the clocks. Steps
    that may have come before the answer may not count. If no end fits (the switch's clock is not ours), all steps are
    subtracted. None is longer than ``most_ms``: empty if no length is possible."""
    steps = session.steps
    since_ms = dict(session.unwatched)
    unheard = sum(at_ms == 0 or since_ms.get(at_ms, at_ms) < 0 for at_ms, _ in steps)
    lengths = []
    for first in range(unheard + 1):
        begin_ms, length = session.proven_ms, by_switch
        for at_ms, by_us in steps[first:]:
            if begin_ms - tolerance_ms <= length and (not at_ms or length <= at_ms + tolerance_ms):
                lengths.append(length)
            begin_ms, length = max(begin_ms, since_ms.get(at_ms, at_ms)), length - by_us // 1000
        if begin_ms - tolerance_ms <= length:
            lengths.append(length)
    possible = lengths or [by_switch - session.stepped_us // 1000]
    return tuple(length for length in possible if length <= most_ms + tolerance_ms)


def _heard_late_ms(heard: Instant | None, stamp_us: int | None) -> int:
    """By how many ms an event was late when we heard of it, by its stamp."""
    return 0 if heard is None or stamp_us is None else max(0, heard.wall_us - stamp_us) // 1000


def _stamped_ms(session: Session) -> int | None:
    if session.answered_us is None or session.left_us is None or session.inferred:
        return None
    return max(0, (session.left_us - session.answered_us) // 1000)


def _ended_us(session: Session, box: BlackBoxRead, used_ms: int, proof: Proof, now_wall_us: int) -> int:
    """When the call ended (wall clock, µs): by the events, else by the record, however late that is read. The CDR's
    place and the subscriber's year (R19) follow from it."""
    if session.left_us is not None and proof is not Proof.CLOCK_JUMP:
        return session.left_us
    if session.answered is not None and proof is not Proof.NEVER_ANSWERED:
        return session.start_us + used_ms * 1000
    heard_us = session.ended.wall_us if session.ended is not None else now_wall_us
    if box.ended_us is None:
        return heard_us
    return max(min(box.ended_us, heard_us), min(session.opened.wall_us, heard_us))


# --- its CDR, as people and other programs read it ---------------------------------------------------------------

_CUTS = {
    Short.MONEY: "money",
    Short.DAY: "day_limit",
    Short.CAP: "max_call",
    Short.COST: "max_cost",
    Short.NO: "daemon_away",
}


def deadline_ms(session: Session) -> int:
    """How long the call could last: to the end of what it had reserved, or the deadline that the switch held, whichever
    was later. A price that rose between set-up and answer leaves less paid than the switch was told before."""
    return max(session.covered_s, session.enforced_s) * 1000


def cut_by(session: Session, duration: Duration) -> str | None:
    """Why we ended the call; ``None`` where one of the parties did."""
    if session.cut_by:
        return session.cut_by
    if not session.was_answered or duration.used_ms < deadline_ms(session):
        return None
    return _CUTS[session.short]


def given_in(taken: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """The member of a CDR that says which part of its cost promotional credit has paid, by its last day; none where it
    has paid nothing."""
    given = {name.removeprefix(PROMO): part for name, part in taken.items() if name.startswith(PROMO) and part}
    return {"promotional": {day: format_euro(part) for day, part in given.items()}} if given else {}


def cdr_document(session: Session, duration: Duration, charged: Charged) -> str:
    """The JSON text of a call's CDR. Money is a decimal string in euro, times are ISO 8601 in UTC. ``charged`` is the
    final charge for ``duration``."""
    posted, funding = charged
    bundles = {key.removeprefix("bundle:"): amount for key, amount in posted.items() if key.startswith("bundle:")}
    packs = {key.removeprefix(PACK): amount for key, amount in posted.items() if key.startswith(PACK)}
    document = {
        "service": "forward",
        "session": session.id,
        "account": session.account,
        "number": session.number,
        "caller": session.caller,
        "withheld": session.withheld,
        "target": session.target,
        "plan": session.plan,
        "destination": session.rate.destination,
        "switch": session.switch,
        "reason": session.reason,
        "dial_status": session.dial_status,
        "hangup_reason": session.hangup_reason,
        "set_up": iso(session.opened.wall_us),
        "answered": iso(session.start_us) if session.was_answered else None,
        "ended": iso(duration.ended_us),
        "used_ms": duration.used_ms,
        "billed_s": duration.billed_s,
        "charged_s": funding[-1].end_s if funding else 0,
        "overrun_s": duration.overrun_s,
        "proof": duration.proof,
        "cut": cut_by(session, duration),
        "free_seconds": bundles,
        **({"packs": packs} if packs else {}),
        "cost": format_euro(sum(amount for key, amount in posted.items() if is_money(key))),
        **given_in(posted),
        "funding": [[part.start_s, part.end_s, part.source] for part in funding],
        "warnings": session.prompts,
        "tariff_revision": session.rate.tariff_revision,
        "tariff_digest": session.rate.tariff_digest,
    }
    return json.dumps(document, separators=(",", ":"))
