"""Another takes part in a conversation in the forwarded leg's place (INVITE with Replaces)."""

from __future__ import annotations

import pytest

from charging.call.commands import AskSwitch
from charging.call.events import Leg as Channel
from charging.call.events import SwitchSaid
from charging.call.model import Policy
from charging.call.switch_events import BridgeEntered, BridgeLeft, ChannelEnded, ChannelReplaced
from charging.call.table import as_known
from charging.ledger.accounts import Account, Number
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from tests.fakes.effort import steps_run
from tests.fakes.rig import EURO, TARGET, Rig, make_rig
from tests.unit.call.test_table import NOW, POLICY, hung_up, leg, running, step

FEW, MANY = 2, 40


async def talking(rig: Rig, calls: int) -> None:
    for index in range(calls):
        account, number = f"who-{index}", f"+3185001{index:04d}"
        await rig.store.directory.put_account(Account(account, "light"))
        await rig.store.directory.put_number(Number(number, account, TARGET))
        await rig.store.apply(Transfer(f"t-{index}", account, Kind.TOP_UP, 0, (Leg(CREDIT, 10 * EURO),)))
        answer = await rig.ring(number)
        assert answer.session is not None
        assert answer.quota_s is not None
        rig.switch.answer(rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid).session)
    await rig.clock.advance(1)


async def strangers_swap(rig: Rig) -> None:
    for index in range(100):
        rig.registry.deliver(ChannelReplaced(f"stranger-{index}", f"stranger-{index + 1}"))


async def test_what_strangers_swap_among_themselves_costs_the_same_beside_any_number_of_calls() -> None:
    steps = []
    for calls in (FEW, MANY):
        async with make_rig() as rig:
            await talking(rig, calls)
            steps.append(await steps_run(lambda: strangers_swap(rig)))
    assert steps[0] == pytest.approx(steps[1], rel=0.1)


@pytest.mark.parametrize("restarts", [False, True], ids=["as it was set up", "brought back to life"])
async def test_the_call_whose_leg_is_replaced_is_told_so(restarts: bool) -> None:
    async with make_rig(policy=Policy()) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        if restarts:
            await rig.recovery.stand_by()
            await rig.recovery.reconcile()
            await rig.clock.advance(1)
        rig.registry.deliver(ChannelReplaced(call.callee_uid, "newcomer"))
        await rig.hang_up(call)
        assert rig.heard("leg_replaced") == [{}]


@pytest.mark.parametrize(
    ("nobodys", "hung_up"),
    [
        ((Channel("newcomer", bridged=True, up=True, time_left_ms=None),), ["newcomer"]),
        ((Channel("newcomer", bridged=False, up=True, time_left_ms=None),), []),
        ((), []),
    ],
    ids=["nobody pays for him", "he talks to nobody", "he is another session's"],
)
async def test_whoever_took_its_place_is_hung_up_if_the_switch_knows_him_as_nobodys(
    nobodys: tuple[Channel, ...], hung_up: list[str]
) -> None:
    async with make_rig(policy=Policy()) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        rig.switch.nobodys = nobodys
        rig.registry.deliver(ChannelReplaced(call.callee_uid, "newcomer"))
        await rig.hang_up(call)
        assert [uid for uid in rig.switch.hung_up if uid == "newcomer"] == hung_up


@pytest.mark.parametrize("joined", [True, False], ids=["someone talks on in his place", "alone"])
def test_leg_that_its_caller_never_joined_is_hung_up_once_he_is_gone(joined: bool) -> None:
    """A switch without a descriptor left has no place for him: the leg stayed alone in its bridge, and was charged to
    the end of its money. One that he joined may be talking to someone else (an attended transfer)."""
    session = running(technology="")
    for channels, uid in enumerate(("callee", "caller") if joined else ("callee",), start=1):
        entered = BridgeEntered("s-1", uid, "PJSIP/x", uid, "b", "simple_bridge", NOW.wall_us, channels)
        session, _ = step(session, entered, NOW, POLICY)
    gone = ChannelEnded("s-1", "caller", "PJSIP/t", "caller", 16, NOW.wall_us)
    session, commands = step(session, gone, NOW, POLICY)
    assert commands == (() if joined else (AskSwitch(),))
    _, ordered = step(session, SwitchSaid(NOW.mono_us, None, leg("callee"), alone=True), NOW, POLICY)
    assert hung_up(ordered) == (set() if joined else {"callee"})


@pytest.mark.parametrize("alone", [True, False], ids=["asked alone", "in a list of all"])
def test_leg_whose_callers_joining_went_unheard_goes_on_without_him_if_the_switch_said_that_he_was_there(
    *, alone: bool
) -> None:
    """The link was down between the two events, or another daemon's desk has kept the first alone."""
    entered = BridgeEntered("s-1", "callee", "PJSIP/x", "callee", "b", "simple_bridge", NOW.wall_us, 1)
    session, _ = step(running(technology=""), entered, NOW, POLICY)
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), alone=alone)
    assert as_known(session, said, NOW, POLICY) is None, "it is news"
    session, _ = step(session, said, NOW, POLICY)
    gone = ChannelEnded("s-1", "caller", "PJSIP/t", "caller", 16, NOW.wall_us)
    session, _ = step(session, gone, NOW, POLICY)
    _, ordered = step(session, SwitchSaid(NOW.mono_us, None, leg("callee"), alone=True), NOW, POLICY)
    assert hung_up(ordered) == set()


@pytest.mark.parametrize("shown_again", [True, False], ids=["an older look shows him there", "no look"])
def test_leg_that_a_prompt_keeps_is_hung_up_though_an_older_look_shows_its_caller_in_the_bridge(
    *, shown_again: bool
) -> None:
    """The list of all channels was asked for before he left: the leg went on, charged, until the prompt was over."""
    left = BridgeLeft("s-1", "caller", "PJSIP/t", "caller", "b", NOW.wall_us, 1)
    session, _ = step(running(prompting=True), left, NOW, POLICY)
    if shown_again:
        session, _ = step(session, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), alone=True), NOW, POLICY)
    session, _ = step(session, ChannelEnded("s-1", "caller", "PJSIP/t", "caller", 16, NOW.wall_us), NOW, POLICY)
    _, ordered = step(session, SwitchSaid(NOW.mono_us, None, leg("callee"), alone=True), NOW, POLICY)
    assert hung_up(ordered) == {"callee"}
