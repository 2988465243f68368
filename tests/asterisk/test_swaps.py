"""What becomes of a charged call when the operator's own Asterisk swaps, joins or fetches its channels.

Whatever is done, the forwarded leg is charged to the second that the mobile itself measured: the call goes on so, or it
ends with it, or it is ended at once with a reason. Never free, never silent. docs/legs.md has the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab, mobile
from charging.lab.call import MobileLeg
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, engine, every_page, is_as_long
from tests.asterisk.operator_setup import (
    ADORNED,
    ANSWERED_INTO_A_CONFERENCE,
    CALLEE_STAYS,
    COLLEAGUE_TRANSFERS,
    COMPLETES_CALLS,
    EARLY_MEDIA,
    FOLLOW_ME,
    GOES_ON_AFTER,
    LOCAL_M,
    LOCAL_NJ,
    OTHER,
    PAGED,
    QUEUE_ADORNED,
    QUEUE_N,
    QUEUE_WITH_FEATURES,
    RING_GROUP,
    RING_GROUP_N,
    STRAIGHT,
    TWO_SUBSCRIBERS,
    WITH_FEATURES,
    WITH_FEATURES_N,
    WITH_OWN_SUBROUTINES,
    feature_codes,
    operator_setup,
    press_and_say,
)
from tests.asterisk.swapped import (
    ENDS_S,
    Act,
    Swapped,
    atxfer_ordered,
    barged_into,
    both_into_a_conference,
    both_redirected,
    bridge_application_takes_the_caller,
    bridge_application_takes_the_leg,
    bridge_destroyed,
    caller_hangs_up,
    caller_into_a_conference,
    caller_is_parked,
    channelredirect_of_the_caller,
    channelredirect_of_the_leg,
    every_code,
    everything_reloaded,
    leg_into_a_conference,
    leg_into_a_holding_bridge,
    leg_is_parked_and_comes_back,
    leg_is_parked_and_fetched,
    leg_kicked_out_of_its_bridge,
    leg_of_the_only_call,
    leg_redirected_to_us,
    nothing,
    optimised_away,
    picked_up,
    pressed,
    someone_is_added,
    someone_is_added_and_the_caller_leaves,
    spied_on,
    talking,
    transferred,
    whispered_to,
)
from tests.asterisk.test_operators_dialplan import FALSE_ALARMS
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

GOES_ON = "goes on"
"""Charged exactly, until the subscriber hangs up."""
ENDS = "ends"
"""The forwarded leg ends with it, and is charged to that moment."""
CALLER_TOO = "ends, and the caller too"
"""He was joined to others, and nobody pays for him."""
WHILE_CALLER_TALKS = "goes on, and ends for all"
"""The two of them are among others; where the subscriber leaves, his caller must, too."""
CALLER_LEFT_ALONE = "goes on, and its caller sits alone in the bridge until then"
"""Asterisk does not hang him up who was left behind. Where the subscriber's leg ends, we do, and say so."""
MOVED, TRANSFERRED = "moved", "transferred"
"""Ended by us, with this reason."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One daemon and one set-up for all of them."""
    async with (
        operator_setup(session_lab),
        feature_codes(session_lab),
        engine(session_lab, tmp_path_factory.mktemp("swaps"), credit="1000.00", others=1) as live,
    ):
        yield live


SWAPS: dict[str, tuple[str, Act, str]] = {
    "queue member /n": (QUEUE_N, nothing, GOES_ON),
    "FollowMe": (FOLLOW_ME, nothing, GOES_ON),
    "own subroutines": (WITH_OWN_SUBROUTINES, nothing, GOES_ON),
    "early media before": (EARLY_MEDIA, nothing, GOES_ON),
    "adorned Dial": (ADORNED, nothing, GOES_ON),
    "adorned Queue": (QUEUE_ADORNED, nothing, GOES_ON),
    "Local /nj": (LOCAL_NJ, nothing, GOES_ON),
    "Local /nm": (LOCAL_M, nothing, GOES_ON),
    "Local /nj, caller hangs up": (LOCAL_NJ, caller_hangs_up, ENDS),
    "everything is reloaded": (STRAIGHT, everything_reloaded, GOES_ON),
    "BridgeDestroy": (STRAIGHT, bridge_destroyed, ENDS),
    "Atxfer": (STRAIGHT, atxfer_ordered, GOES_ON),
    "Dial with G": (ANSWERED_INTO_A_CONFERENCE, nothing, GOES_ON),
    "Dial with F": (CALLEE_STAYS, caller_hangs_up, ENDS),
    "Page": (PAGED, nothing, GOES_ON),
    "LocalOptimizeAway": (RING_GROUP_N, optimised_away, GOES_ON),
    "BridgeAdd": (STRAIGHT, someone_is_added, WHILE_CALLER_TALKS),
    "BridgeAdd, the caller leaves": (STRAIGHT, someone_is_added_and_the_caller_leaves, GOES_ON),
    "leg redirected to us": (STRAIGHT, leg_redirected_to_us, ENDS),
    "queue's caller parks": (QUEUE_WITH_FEATURES, pressed("#7", on_mobile=False), GOES_ON),
    "queue's caller transfers to us": (QUEUE_WITH_FEATURES, pressed("#1", "55#", on_mobile=False), TRANSFERRED),
    "Redirect of both": (STRAIGHT, both_redirected, "moved"),
    "both into a conference": (STRAIGHT, both_into_a_conference, WHILE_CALLER_TALKS),
    "leg into a conference": (STRAIGHT, leg_into_a_conference, GOES_ON),
    "caller into a conference": (STRAIGHT, caller_into_a_conference, CALLER_TOO),
    "leg into a holding bridge": (STRAIGHT, leg_into_a_holding_bridge, GOES_ON),
    "ChannelRedirect of the leg": (STRAIGHT, channelredirect_of_the_leg, "moved"),
    "ChannelRedirect of the caller": (STRAIGHT, channelredirect_of_the_caller, ENDS),
    "Bridge takes the leg": (STRAIGHT, bridge_application_takes_the_leg, GOES_ON),
    "Bridge takes the caller": (STRAIGHT, bridge_application_takes_the_caller, CALLER_TOO),
    "parked leg is fetched": (STRAIGHT, leg_is_parked_and_fetched, CALLER_LEFT_ALONE),
    "parked leg comes back": (STRAIGHT, leg_is_parked_and_comes_back, "moved"),
    "caller is parked": (STRAIGHT, caller_is_parked, CALLER_TOO),
    "ChanSpy": (STRAIGHT, spied_on, GOES_ON),
    "ChanSpy barges": (STRAIGHT, barged_into, GOES_ON),
    "ChanSpy whispers": (STRAIGHT, whispered_to, GOES_ON),
    "leg kicked": (STRAIGHT, leg_kicked_out_of_its_bridge, ENDS),
    "codes of the caller": (STRAIGHT, every_code(on_mobile=False), GOES_ON),
    "codes of the mobile": (STRAIGHT, every_code(on_mobile=True), GOES_ON),
    "caller disconnects": (WITH_FEATURES, pressed("*0", on_mobile=False), ENDS),
    "caller records": (WITH_FEATURES, pressed("*3", on_mobile=False), GOES_ON),
    "caller parks": (WITH_FEATURES, pressed("#7", on_mobile=False), GOES_ON),
    "caller transfers blindly": (WITH_FEATURES, pressed("#1", "55", on_mobile=False), TRANSFERRED),
    "caller consults": (WITH_FEATURES, pressed("*2", "56", on_mobile=False), GOES_ON),
    "caller transfers to a colleague": (WITH_FEATURES, transferred("56"), GOES_ON),
    "caller makes it a conference": (WITH_FEATURES, transferred("56", then="*3"), GOES_ON),
    "caller goes to and fro": (WITH_FEATURES, transferred("56", then="*4"), GOES_ON),
    "caller transfers to a queue": (WITH_FEATURES, transferred("57"), GOES_ON),
    "mobile has no codes": (WITH_FEATURES, every_code(on_mobile=True), GOES_ON),
    "caller parks /n": (WITH_FEATURES_N, pressed("#7", on_mobile=False), GOES_ON),
    "caller transfers blindly /n": (WITH_FEATURES_N, pressed("#1", "55", on_mobile=False), GOES_ON),
    "caller transfers to a colleague /n": (WITH_FEATURES_N, transferred("56"), GOES_ON),
    "mobile disconnects /n": (WITH_FEATURES_N, pressed("*0", on_mobile=True), ENDS),
    "mobile records /n": (WITH_FEATURES_N, pressed("*3", on_mobile=True), GOES_ON),
    "mobile parks /n": (WITH_FEATURES_N, pressed("#7", on_mobile=True), ENDS),
    "mobile transfers blindly /n": (WITH_FEATURES_N, pressed("#1", "55", on_mobile=True), ENDS),
    "mobile consults /n": (WITH_FEATURES_N, pressed("*2", "56", on_mobile=True), GOES_ON),
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_call_whose_channels_are_swapped_goes_on_exactly_or_ends_with_a_reason(
    lab: Lab, shared: Engine, swap: str
) -> None:
    way_in, act, fate = SWAPS[swap]
    one = await talking(shared, way_in)
    await act(one)
    if fate in (GOES_ON, WHILE_CALLER_TALKS, CALLER_LEFT_ALONE):
        await one.ticks()
        await one.call.mobile_hangs_up()
    caller_too = fate in (CALLER_TOO, WHILE_CALLER_TALKS, CALLER_LEFT_ALONE)
    # Who stays behind is hung up: by the dialplan where he comes back to it, else once two looks have seen him.
    cdr = await one.is_charged_exactly(may_be=["unpaid_channel_seen"] if caller_too else [])
    assert one.told("unpaid_channel_seen") or fate != CALLER_LEFT_ALONE
    assert cdr["hangup_reason"] == (fate if fate in (MOVED, TRANSFERRED) else ""), cdr
    if caller_too:
        await one.call.wait_state(CallState.ENDED, ENDS_S)


async def test_caller_who_goes_on_in_the_operators_dialplan_after_the_call_is_left_alone(
    lab: Lab, shared: Engine
) -> None:
    one = await talking(shared, GOES_ON_AFTER)
    await one.ticks()
    await one.call.mobile_hangs_up()
    await one.is_charged_exactly()
    assert one.call.state is CallState.ANSWERED
    await one.call.hang_up()
    await one.call.wait_end(ENDS_S)


async def test_of_two_subscribers_whom_a_ring_group_rings_only_the_one_who_answers_pays(
    lab: Lab, shared: Engine
) -> None:
    await shared.daemon.patch(f"/numbers/{OTHER}", {"forward_to": mobile.never_answers()})
    await shared.nothing_reserved()
    posted, before = await shared.posted(), {one["session"] for one in await every_page(shared.daemon, "/cdrs")}
    ticks = len(shared.daemon.events("tick_posted"))
    call = await lab.place_call(TWO_SUBSCRIBERS)
    await shared.heard("tick_posted", ENDS_S, times=ticks + 2)
    await call.hang_up()

    async def booked() -> dict[str, Any] | None:
        new = [one for one in await every_page(shared.daemon, "/cdrs") if one["session"] not in before]
        return {one["account"]: one for one in new} if len(new) == 2 else None

    cdrs = await eventually(booked, "both CDRs", ENDS_S)
    (answered,) = [one for one in [*call.mobiles, *lab.world.stray_mobiles] if one.was_answered]
    await eventually(lambda: _has_ended(answered), "the mobile's end", ENDS_S)
    lab.world.stray_mobiles.clear()
    await shared.nothing_reserved()
    assert is_as_long(cdrs["anna"], answered.connected_s)
    assert await shared.posted() == posted - cdrs["anna"]["billed_s"] * SECOND
    assert (cdrs["other-1"]["billed_s"], cdrs["other-1"]["cost"]) == (0, "0.00")
    assert (await shared.daemon.get("/accounts/other-1/balance"))["credit"]["posted"] == "1000.00"


@pytest.mark.parametrize("how", ["blindly", "attended", "before it answers"])
async def test_someone_who_is_transferred_to_a_subscribers_number_is_charged_like_a_caller(
    lab: Lab, shared: Engine, how: str
) -> None:
    """Until then no call of ours: who calls talks to a colleague of the operator's, and transfers him."""
    await shared.nothing_reserved()
    posted, rung, heard = await shared.posted(), len(lab.world.stray_mobiles), len(shared.daemon.events())
    ticks = len(shared.daemon.events("tick_posted"))
    call = await lab.place_call(COLLEAGUE_TRANSFERS)
    await call.wait_state(CallState.ANSWERED, ENDS_S)
    await press_and_say(lab, call, "#1" if how == "blindly" else "*2", "0850000001#")
    if how == "before it answers":
        await shared.until(lambda: _is_decided(shared, heard), "a decision", ENDS_S)
        await call.hang_up()
    await shared.heard("tick_posted", ENDS_S, times=ticks + 1)
    if how == "attended":
        await call.hang_up()
    await shared.heard("tick_posted", ENDS_S, times=ticks + 3)
    await lab.switch.action("Hangup", {"Channel": await leg_of_the_only_call(shared), "Cause": "16"})
    await shared.nothing_reserved()
    settled = shared.daemon.events("call_settled")[-1]
    (mobile,) = [*lab.world.stray_mobiles[rung:], *call.mobiles]
    del lab.world.stray_mobiles[rung:]
    await eventually(lambda: _has_ended(mobile), "the mobile's end", ENDS_S)
    assert settled["proof"] == "black_box"
    assert abs(settled["billed_s"] - mobile.connected_s) < 1 + MEASURES_APART_S, settled
    assert await shared.posted() == posted - settled["billed_s"] * SECOND
    assert [one["event"] for one in shared.daemon.events()[heard:] if one["event"] in FALSE_ALARMS] == []
    await call.hang_up()


async def _is_decided(live: Engine, since: int) -> bool:
    return any(one["event"] == "call_decided" for one in live.daemon.events()[since:])


async def _has_ended(mobile: MobileLeg) -> bool:
    return mobile.ended_us is not None


@pytest.mark.parametrize("exten", ["colleague", "conference"])
async def test_forward_that_the_operator_originates_is_charged_like_a_callers(
    lab: Lab, shared: Engine, exten: str
) -> None:
    """Click to dial, or a conference that rings its members: AMI Originate of a Local channel into our context."""
    await shared.nothing_reserved()
    posted, rung = await shared.posted(), len(lab.world.stray_mobiles)
    before = {one["session"] for one in await every_page(shared.daemon, "/cdrs")}
    heard = len(shared.daemon.events("tick_posted"))
    where = {"Context": "operator", "Exten": exten, "Priority": "1", "CallerID": "+31201119999", "Async": "true"}
    await lab.switch.action("Originate", {"Channel": f"Local/{STRAIGHT}@charging-incoming", **where})
    await shared.heard("tick_posted", ENDS_S, times=heard + 2)
    leg = await leg_of_the_only_call(shared)
    await lab.switch.action("Hangup", {"Channel": leg, "Cause": "16"})

    async def booked() -> list[dict[str, Any]]:
        return [one for one in await every_page(shared.daemon, "/cdrs") if one["session"] not in before]

    (cdr,) = await eventually(booked, "the CDR", ENDS_S)
    (mobile,) = lab.world.stray_mobiles[rung:]
    del lab.world.stray_mobiles[rung:]
    assert cdr["proof"] == "black_box"
    assert cdr["billed_s"] >= 3
    assert mobile.was_answered
    await shared.nothing_reserved()
    assert await shared.posted() == posted - cdr["billed_s"] * SECOND


@pytest_asyncio.fixture(loop_scope="session")
async def ringing(shared: Engine) -> AsyncIterator[Engine]:
    """The subscriber's phone rings for ever."""
    number = f"/numbers/{STRAIGHT}"
    before = (await shared.daemon.get(number))["forward_to"]
    await shared.daemon.patch(number, {"forward_to": mobile.never_answers()})
    yield shared
    await shared.daemon.patch(number, {"forward_to": before})


async def picked_up_by_its_group(one: Swapped) -> None:
    """As ``*8`` does it: the trunk's endpoint has a call_group, against our advice."""
    group = {"Variable": "CHANNEL(callgroup)", "Value": "1"}
    await one.lab.switch.action("Setvar", {"Channel": await one.name("callee"), **group})
    await one.originate("picks", PICKS="Pickup()")


PICKED_UP = "picked_up"
PICKUPS: dict[str, tuple[str, Act, str]] = {
    "Pickup() of the leg": (STRAIGHT, picked_up("Pickup", "s@trunk"), PICKED_UP),
    "Pickup() by group": (STRAIGHT, picked_up_by_its_group, PICKED_UP),
    "PickupChan() of the leg": (STRAIGHT, picked_up("PickupChan", "callee"), PICKED_UP),
    "Pickup() of the ring group": (RING_GROUP, picked_up("Pickup", f"{RING_GROUP}@charging-incoming"), ""),
    "PickupChan() of the caller": (STRAIGHT, picked_up("PickupChan", "caller"), "still rings"),
}


@pytest.mark.parametrize("swap", PICKUPS)
async def test_call_that_is_picked_up_while_it_rings_costs_nothing(lab: Lab, ringing: Engine, swap: str) -> None:
    """A caller has a dialplan that runs, and Asterisk lets nobody pick him up: his call rings on."""
    way_in, act, reason = PICKUPS[swap]
    await ringing.nothing_reserved()
    posted, heard = await ringing.posted(), len(ringing.daemon.events())
    call = await lab.place_call(way_in)
    await call.wait_for(lambda: bool(call.mobiles), "the mobile to ring", ENDS_S)
    await call.wait_state(CallState.RINGING, ENDS_S)
    (running,) = (await ringing.daemon.get("/calls"))["items"]
    one = Swapped(ringing, call, running["session"], posted, heard)
    await act(one)
    if reason == "still rings":
        await eventually(one.is_told_that_it_failed, "the pickup to fail", ENDS_S)
        assert (await ringing.daemon.get("/calls"))["items"]
        assert call.state is CallState.RINGING
        await call.hang_up()
    cdr = await one.cdr()
    assert (cdr["billed_s"], cdr["cost"]) == (0, "0.00")
    assert cdr["hangup_reason"] == (reason if reason == PICKED_UP else "")
    await ringing.nothing_reserved()
    assert await ringing.posted() == posted


async def test_forward_whose_caller_is_redirected_while_it_rings_is_given_back(lab: Lab, ringing: Engine) -> None:
    """He may stay for hours where the operator has put him; the forward is over, and costs nothing."""
    await ringing.nothing_reserved()
    posted, heard = await ringing.posted(), len(ringing.daemon.events())
    call = await lab.place_call(STRAIGHT)
    await call.wait_for(lambda: bool(call.mobiles), "the mobile to ring", ENDS_S)
    await call.wait_state(CallState.RINGING, ENDS_S)
    (running,) = (await ringing.daemon.get("/calls"))["items"]
    one = Swapped(ringing, call, running["session"], posted, heard)
    await one.redirect(await one.name("caller"), "elsewhere")
    await ringing.nothing_reserved(ENDS_S)
    cdr = await one.cdr()
    assert (cdr["billed_s"], cdr["cost"], cdr["dial_status"]) == (0, "0.00", "CANCEL")
    assert call.state is CallState.ANSWERED
    assert await ringing.posted() == posted
    await call.hang_up()
    await call.wait_end(ENDS_S)


async def test_call_completion_is_not_offered_for_a_forward(lab: Lab, ringing: Engine) -> None:
    """CCSS would ring back who found nobody there, on a channel of its own. Neither PJSIP nor Local have it."""
    call = await lab.place_call(COMPLETES_CALLS)

    async def told() -> str:
        return (await lab.switch.action("Getvar", {"Variable": "OFFERED"}))["Value"]

    offered = await eventually(told, "the offer to be asked for", ENDS_S)
    assert offered.startswith("FAIL"), offered
    await call.hang_up()
    await ringing.nothing_reserved()
