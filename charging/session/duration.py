"""How long a call lasted, decided once from whatever evidence there is. Pure.

In this order: the switch's black box (its own milliseconds); the switch's stamps of answer and end; the last moment
at which the call is known to have been alive. The wall clock of the switch may have stepped during the call, which
spoils the first two: they are compared with our monotonic clock, and where they disagree the smaller one is billed.
"""

from __future__ import annotations

from charging.session.events import BlackBoxRead
from charging.session.model import Duration, Policy, Proof, Session


def decide_duration(session: Session, box: BlackBoxRead, now_wall_us: int, policy: Policy) -> Duration:
    """The duration of a call that is over. ``now_wall_us`` is used for the end where nothing tells a better one."""
    used_ms, proof = _evidence(session, box, policy)
    billed_s = -(-max(0, used_ms - policy.answer_tolerance_ms) // 1000)
    overrun_s = max(0, billed_s - session.covered_s)
    return Duration(used_ms, billed_s - overrun_s, overrun_s, proof, _ended_us(session, used_ms, proof, now_wall_us))


def _evidence(session: Session, box: BlackBoxRead, policy: Policy) -> tuple[int, Proof]:
    boxed = box.found and box.dial_status == "ANSWER"
    if not boxed and not session.technology and (box.found or session.answered is None):
        # A phone that answered as the caller left is no conversation: no bridge was seen, no answer recorded.
        return 0, Proof.NEVER_ANSWERED
    by_monotonic = _monotonic_ms(session)
    by_switch = box.answered_ms if boxed else _stamped_ms(session)
    if by_switch is None:
        return (session.proven_ms, Proof.UNPROVEN) if by_monotonic is None else (by_monotonic, Proof.EVENTS)
    if by_monotonic is not None and abs(by_switch - by_monotonic) > policy.clock_jump_ms:
        return min(by_switch, by_monotonic), Proof.CLOCK_JUMP
    return by_switch, Proof.BLACK_BOX if boxed else Proof.EVENTS


def _monotonic_ms(session: Session) -> int | None:
    if session.answered is None or session.left is None or not session.anchored:
        return None
    return session.elapsed_ms(session.left.mono_us)


def _stamped_ms(session: Session) -> int | None:
    if session.answered_us is None or session.left_us is None:
        return None
    return max(0, (session.left_us - session.answered_us) // 1000)


def _ended_us(session: Session, used_ms: int, proof: Proof, now_wall_us: int) -> int:
    if session.left_us is not None and proof is not Proof.CLOCK_JUMP:
        return session.left_us
    if session.answered is not None and proof is not Proof.NEVER_ANSWERED:
        return session.start_us + used_ms * 1000
    return session.ended.wall_us if session.ended is not None else now_wall_us
