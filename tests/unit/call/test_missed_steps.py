"""What a session that comes to life learns of the clock's steps that came while nobody kept it."""

from __future__ import annotations

import pytest

from charging.call.events import ClockJumped
from charging.call.missed_steps import SeenStep, with_missed_steps
from charging.call.model import Policy, Session, from_json
from charging.clock import MICROSECONDS, Instant
from charging.records import replace
from tests.fakes.rig import EURO, make_rig
from tests.unit.call.test_clocks_that_differ import SECOND, SHARED, cdr
from tests.unit.call.test_table import NOW, POLICY, running

READ_S, ANSWERED_S, PROVEN_S = 110, 100, 40
HERE = "this boot"


def stored() -> str:
    """Of a call that was answered 100 s before now, and seen alive 60 s before now."""
    call = replace(running(), answered=NOW.plus(-ANSWERED_S), proven_ms=PROVEN_S * 1000)
    return replace(call.read_on(HERE, NOW.plus(-READ_S)), callee_uid="c2").to_json()


def revived(stepped_s: int, *seen: SeenStep, boot: str = HERE) -> Session:
    """Now, after steps that came to so much."""
    now = Instant(NOW.mono_us, NOW.wall_us + stepped_s * MICROSECONDS)
    return with_missed_steps(from_json(stored(), now, 1, boot), seen, now, boot, POLICY)


def seen(ago_s: float, by_s: int) -> SeenStep:
    return SeenStep(
        NOW.plus(-ago_s).mono_us, ClockJumped(by_s * MICROSECONDS, since_mono_us=NOW.plus(-ago_s - 1).mono_us)
    )


@pytest.mark.parametrize("by_s", [-30, 40])
def test_a_step_that_nobody_lived_through_is_found_on_the_machine_that_kept_the_record(by_s: int) -> None:
    session = revived(by_s)
    assert session.elapsed_ms(NOW.mono_us) == ANSWERED_S * 1000, "the answer is where it was"
    assert session.steps == ((ANSWERED_S * 1000, by_s * MICROSECONDS),)
    assert session.unwatched == ((ANSWERED_S * 1000, PROVEN_S * 1000),), "after the call was last known to be alive"


def test_clocks_that_ran_evenly_say_so() -> None:
    session = revived(0)
    assert (session.steps, session.elapsed_ms(NOW.mono_us)) == ((), ANSWERED_S * 1000)


@pytest.mark.parametrize("boot", ["another boot", ""])
def test_on_another_machine_nothing_is_known_but_what_was_seen_there(boot: str) -> None:
    session = revived(40, boot=boot)
    assert (session.steps, session.elapsed_ms(NOW.mono_us)) == ((), (ANSWERED_S + 40) * 1000)
    watched = revived(40, seen(20, 40), boot=boot)
    assert watched.steps == ((80_000, 40 * MICROSECONDS),)
    assert watched.elapsed_ms(NOW.mono_us) == ANSWERED_S * 1000


def test_whoever_takes_it_over_keeps_it_on_his_own_clocks() -> None:
    session = revived(40, boot="another boot")
    assert (session.boot, session.apart_us) == ("another boot", NOW.apart_us + 40 * MICROSECONDS)


def test_of_two_steps_the_one_that_was_seen_has_its_time_and_the_other_came_before() -> None:
    session = revived(-25, seen(20, 5))
    assert session.steps == ((79_000, -30 * MICROSECONDS), (80_000, 5 * MICROSECONDS))
    assert dict(session.unwatched) == {79_000: PROVEN_S * 1000, 80_000: 79_000}


def test_two_steps_that_come_to_nothing_are_two() -> None:
    assert revived(0, seen(50, 5), seen(20, -5)).steps == (
        (50_000, 5 * MICROSECONDS),
        (80_000, -5 * MICROSECONDS),
    )


@pytest.mark.parametrize("by_s", [-30, 5])
@pytest.mark.parametrize("seen_s", [READ_S + 1, READ_S - 0.5], ids=["before it was opened", "afterwards"])
def test_a_step_that_came_before_the_call_is_none_of_it(seen_s: float, by_s: int) -> None:
    assert revived(0, seen(seen_s, by_s)).steps == ()


def test_steps_that_the_record_has_do_not_count_again() -> None:
    assert revived(0, seen(READ_S + 9, 7), seen(READ_S + 2, 5)).steps == ()


@pytest.mark.parametrize("by_s", [-30, 5])
@pytest.mark.parametrize(("seen_s", "counts"), [(ANSWERED_S - 0.5, False), (ANSWERED_S - 6, True)])
def test_on_another_machine_a_step_that_may_have_come_before_the_answer_moves_nothing(
    seen_s: float, by_s: int, *, counts: bool
) -> None:
    session = revived(0, seen(seen_s, by_s), boot="another boot")
    assert bool(session.steps) is counts
    assert session.elapsed_ms(NOW.mono_us) == (ANSWERED_S - by_s * counts) * 1000


def test_a_record_of_before_knows_of_no_boot() -> None:
    text = replace(running(), answered=NOW.plus(-ANSWERED_S)).to_json()
    later = Instant(NOW.mono_us, NOW.wall_us + 40 * MICROSECONDS)
    session = with_missed_steps(from_json(text, later, 1, HERE), (), later, HERE, POLICY)
    assert (session.steps, session.boot) == ((), HERE)


@pytest.mark.parametrize("step_s", [-30, 5, 40])
async def test_an_answer_that_nobody_heard_does_not_come_before_a_step_that_was_seen_while_it_rang(step_s: int) -> None:
    """R23: whoever takes the call over puts its answer later by the step, and so much is talked that nobody paid. Found
    by the simulation: the clock was stepped, and its daemon's link cut until after the answer."""
    async with make_rig(SHARED) as rig:
        await rig.subscriber(credit=180 * SECOND)
        call = await rig.ringing()
        rig.clock.step_wall(step_s)
        await rig.clock.advance(2)
        rig.registry.leads = lambda: False
        await rig.recovery.stand_by()
        await rig.clock.advance(3)
        rig.switch.answer(call.session)
        await rig.clock.advance(15)
        rig.registry.leads = lambda: True
        await rig.recovery.lead(1)
        await rig.clock.advance(200)
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["overrun_s"]) == (180_003, 180, 0)


@pytest.mark.parametrize("boot", ["boot-1", "another boot", ""])
@pytest.mark.parametrize("talked_s", [3, 20])
@pytest.mark.parametrize("step_s", [-40, -5, 5, 40])
async def test_a_step_that_was_seen_while_it_rang_moves_no_answer_without_a_daemon(
    step_s: int, talked_s: int, boot: str
) -> None:
    """R23: whoever comes to keep it, on whatever machine, knows by the record when that step was seen. The deadline is
    where the paid seconds end."""
    async with make_rig(Policy(tick_s=5, horizon_s=60, warn_before_s=20)) as rig:
        await rig.subscriber(credit=100 * EURO)
        call = await rig.ringing()
        rig.switch.step_clock(step_s)
        await rig.clock.advance(30)
        await rig.kill_daemon()
        await rig.clock.advance(10)
        rig.switch.answer(call.session)
        await rig.clock.advance(talked_s)
        rig.clock.boot = boot
        await rig.start_daemon()
        await rig.clock.advance(1)
        assert call.answered is not None
        assert call.deadline_mono_us is not None
        deadline_s = (call.deadline_mono_us - call.answered.mono_us) / MICROSECONDS
        assert rig.session_of(call).covered_s == pytest.approx(deadline_s, abs=0.01)
