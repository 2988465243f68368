"""Two daemons at one switch: the desk of the one that stands by decides calls, and the other ticks them."""

from __future__ import annotations

import contextlib
import json

import pytest

from agi.port import Declined
from charging.call.model import Policy, State
from charging.engine.recovery import AUDIT_S, FOUND_PAUSE_S, NAMED_LEAST_S, NAMED_REST
from charging.limits import Limits
from tests.fakes.daemons import Daemon
from tests.fakes.rig import EURO, TARGET
from tests.fakes.switch import FakeCall

CALLER = "+31107654321"


async def test_session_that_the_other_desk_opened_is_found_by_the_one_that_leads(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    call = await two.rig.talking()
    await two.rig.clock.advance(65.1)
    assert [fields["covered_s"] for fields in one.rig.heard("tick_posted")] == [180]
    await two.rig.hang_up(call)
    rows = await two.rig.store.cdrs()
    assert [json.loads(row.document)["billed_s"] for row in rows] == [65]


async def test_forward_that_failed_is_answered_by_a_desk_that_stands_by(pair: tuple[Daemon, Daemon]) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    call = await two.rig.ringing()
    two.rig.switch.fail(call.session, "BUSY")
    assert (await two.rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"
    await two.rig.hang_up(call)
    await two.rig.clock.advance(10)
    assert await two.rig.reserved() == {}


async def test_desk_that_stands_by_reads_one_session_however_many_are_open(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    call = await two.rig.ringing()
    two.rig.switch.fail(call.session, "BUSY")
    with monkeypatch.context() as patched:
        patched.setattr(two.rig.store, "sessions", lambda **_: pytest.fail("all open sessions are read"))
        assert (await two.rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"


async def test_paid_voicemail_after_a_failed_forward_is_left_to_the_daemon_that_leads(
    pair: tuple[Daemon, Daemon],
) -> None:
    one, two = pair
    await two.rig.subscriber(credit=10 * EURO, plan="free")
    call = await two.rig.ringing()
    two.rig.switch.fail(call.session, "BUSY")
    with pytest.raises(Declined):
        await two.rig.desk.unanswered(call.session, "BUSY")
    answer = await one.rig.desk.unanswered(call.session, "BUSY")
    assert (answer.decision, answer.session) == ("voicemail", call.session)
    assert (await one.rig.balance()).reserved == 100_000


@pytest.mark.parametrize(
    ("credit", "answer"), [(99_999, ("reject", "forward_failed")), (100_000, ("voicemail", "forward_failed"))]
)
async def test_r13_session_that_the_daemon_that_leads_has_not_found_yet_comes_to_life_as_its_forward_failed(
    pair: tuple[Daemon, Daemon], credit: int, answer: tuple[str, str]
) -> None:
    """It looks for those of the other desk every two seconds at most, and a phone that is busy says so at once: both
    declined, and the fallback took a message that the account could not pay."""
    one, two = pair
    await two.rig.subscriber(credit=credit, plan="free")
    _has_just_looked(one)
    await two.rig.clock.advance(0)
    call = await two.rig.ringing()
    assert one.rig.registry.open.find(call.session) is None
    two.rig.switch.fail(call.session, "BUSY")
    with contextlib.suppress(Declined):
        await two.rig.desk.unanswered(call.session, "BUSY")
    said = await one.rig.desk.unanswered(call.session, "BUSY")
    assert (said.decision, said.reason) == answer


def _has_just_looked(leader: Daemon) -> None:
    """For another call, so that it looks again a moment later at the soonest."""
    leader.rig.registry.found.set()
    leader.rig.registry.named.set()


async def _found_late(pair: tuple[Daemon, Daemon]) -> FakeCall:
    """A call of the second desk's that rings before the first, which leads, looks for it."""
    one, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    _has_just_looked(one)
    await two.rig.clock.advance(0)
    return await two.rig.ringing()


async def test_session_of_the_other_desk_whose_caller_has_given_up_is_over_as_it_is_found(
    pair: tuple[Daemon, Daemon],
) -> None:
    """Five calls that rang for a moment held an account's places and money for ten seconds, and so for ever."""
    _, two = pair
    call = await _found_late(pair)
    await two.rig.hang_up(call)
    await two.rig.clock.advance(FOUND_PAUSE_S)
    assert await two.rig.reserved() == {}


@pytest.mark.parametrize("took_s", [0, 0.1])
async def test_callers_of_the_other_desk_who_leave_one_after_the_other_hold_a_place_until_the_next_look_alone(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch, took_s: float
) -> None:
    """One line, with a new number each time, kept all five places of an account for two seconds each, and so for good.
    Looks that take long still come seldom."""
    one, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    read = one.rig.store.sessions

    async def sessions(**which: str) -> object:
        await one.rig.clock.sleep_until(one.rig.clock.now().plus(took_s).mono_us)
        return await read(**which)

    monkeypatch.setattr(one.rig.store, "sessions", sessions)
    _has_just_looked(one)
    await two.rig.clock.advance(2 * took_s)
    await two.rig.hang_up(await two.rig.ringing())
    rest_s = max(NAMED_LEAST_S, NAMED_REST * took_s)
    await two.rig.clock.advance(rest_s - 0.01)
    assert await two.rig.reserved() != {}
    await two.rig.clock.advance(took_s + 0.01)
    assert await two.rig.reserved() == {}


async def test_forward_of_the_other_desk_that_failed_before_it_is_found_is_given_back_while_its_caller_stays(
    pair: tuple[Daemon, Daemon],
) -> None:
    _, two = pair
    call = await _found_late(pair)
    two.rig.switch.fail(call.session, "BUSY")
    assert (await two.rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"
    await two.rig.clock.advance(2 * two.rig.policy.setup_timeout_s)
    assert await two.rig.reserved() == {}


async def test_call_of_the_other_desk_that_was_answered_before_it_is_found_goes_on(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    call = await _found_late(pair)
    two.rig.switch.answer(call.session)
    await two.rig.clock.advance(FOUND_PAUSE_S + 1)
    assert one.rig.session_of(call).state is State.RUNNING
    await two.rig.hang_up(call)
    await two.rig.clock.advance(1)
    (row,) = await two.rig.store.cdrs()
    assert json.loads(row.document)["billed_s"] == FOUND_PAUSE_S + 1


async def test_who_gives_up_again_and_again_is_counted_by_a_desk_that_stands_by(pair: tuple[Daemon, Daemon]) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    two.rig.registry.uncharged.given_up = Limits(1, saved_minutes=3)
    for _ in range(3):
        await two.rig.hang_up(await two.rig.ringing(caller="+31201234567"))
        await two.rig.clock.advance(FOUND_PAUSE_S)
    assert (await two.rig.ring(caller="+31201234567")).reason == "too_many_given_up"
    assert (await two.rig.ring(caller="+31209999999")).reason != "too_many_given_up"


async def test_reservation_of_the_other_desk_that_never_reached_the_switch_is_given_back(
    pair: tuple[Daemon, Daemon],
) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    answer = await two.rig.ring()
    assert answer.session is not None
    await two.rig.desk.abandoned(answer.session)
    assert await two.rig.reserved() != {}
    await two.rig.clock.advance(AUDIT_S + Policy().setup_timeout_s + Policy().black_box_wait_s)
    assert await two.rig.reserved() == {}


@pytest.mark.parametrize(
    ("target", "answered"), [(TARGET, ("forward", "credit")), ("+4930123456", ("voicemail", "not_covered"))]
)
async def test_caller_who_leaves_before_the_other_desk_has_answered_holds_nothing(
    pair: tuple[Daemon, Daemon], target: str, answered: tuple[str, str]
) -> None:
    """The daemon that leads hears nothing of him: his channel never bears the session's name."""
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO, plan="free", forward_to=target)
    answer = await two.rig.ring()
    assert answer.session is not None
    assert (answer.decision, answer.reason) == answered
    await two.rig.desk.abandoned(answer.session, undelivered=True)
    await two.rig.clock.advance(1)
    assert await two.rig.reserved() == {}


async def test_caller_who_does_so_again_and_again_is_counted_by_that_desk(pair: tuple[Daemon, Daemon]) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    two.rig.registry.uncharged.given_up = Limits(1, saved_minutes=3)
    for _ in range(3):
        answer = await two.rig.ring(caller=CALLER)
        assert answer.session is not None
        await two.rig.desk.abandoned(answer.session, undelivered=True)
        await two.rig.clock.advance(1)
    assert (await two.rig.ring(caller=CALLER)).reason == "too_many_given_up"
    assert two.rig.registry.uncharged.in_vain.accounts == {}, "nobody's phone rang"


async def test_session_that_the_leader_has_found_before_its_caller_left_is_closed_once(
    pair: tuple[Daemon, Daemon],
) -> None:
    one, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    answer = await two.rig.ring()
    assert answer.session is not None
    one.rig.registry.found.set()
    await one.rig.clock.advance(FOUND_PAUSE_S)
    assert one.rig.registry.open.find(answer.session) is not None
    await two.rig.desk.abandoned(answer.session, undelivered=True)
    await two.rig.clock.advance(1)
    assert await two.rig.reserved() == {}
    await two.rig.clock.advance(2 * AUDIT_S + Policy().setup_timeout_s)
    assert one.rig.registry.open.find(answer.session) is None
    assert (await two.rig.balance()).posted == 10 * EURO
    assert len(await two.rig.store.cdrs()) == 1


@pytest.mark.parametrize(("until", "reason"), [("rings", "came_back"), ("answered", "credit"), ("over", "credit")])
async def test_forward_of_the_other_desk_that_comes_back_is_known_while_it_rings(
    pair: tuple[Daemon, Daemon], until: str, reason: str
) -> None:
    """The phone that diverts shows its own number: only who knows the forward can tell."""
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    call = await two.rig.ringing(caller=CALLER)
    if until == "answered":
        two.rig.switch.answer(call.session)
    elif until == "over":
        await two.rig.hang_up(call)
    await two.rig.clock.advance(0)
    assert (await two.rig.ring(caller=TARGET)).reason == reason


async def test_forward_whose_end_was_not_heard_is_no_proof_for_ever(pair: tuple[Daemon, Daemon]) -> None:
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    call = await two.rig.ringing(caller=CALLER)
    two.link.up = False
    await two.rig.hang_up(call)
    two.link.up = True
    await two.rig.clock.advance(2 * (two.rig.policy.ring_s + two.rig.policy.setup_timeout_s))
    assert (await two.rig.ring(caller=TARGET)).reason == "credit"


async def test_who_talks_by_a_call_of_that_desk_has_some_forgotten_there(
    pair: tuple[Daemon, Daemon],
) -> None:
    """After a fail-over it decides all calls: what nobody forgives there closes an account to everybody."""
    _, two = pair
    await two.rig.subscriber(credit=10 * EURO)
    vain = two.rig.registry.uncharged.in_vain
    for nth in range(2):
        await two.rig.hang_up(await two.rig.ringing(caller=f"+3120111111{nth}"))
    counted = vain._of_target.spread_us[f"anna {TARGET}"]
    call = await two.rig.ringing(caller=CALLER)
    two.rig.switch.answer(call.session)
    await two.rig.clock.advance(61)
    await two.rig.hang_up(call)
    assert vain._of_target.spread_us[f"anna {TARGET}"] < counted
