"""What becomes of a charged call when the operator's own Asterisk swaps, joins or fetches its channels.

Whatever is done, the forwarded leg is charged to the second that the mobile itself measured: the call goes on so, or it
ends with it, or it is ended at once with a reason. Never free, never silent. docs/legs.md has the table.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab, mobile
from charging.lab.call import MobileLeg
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, engine, every_page, is_as_long
from tests.asterisk.operator_setup import (
    ADORNED,
    AGENT,
    ANSWERED_INTO_A_CONFERENCE,
    CALLEE_STAYS,
    COLLEAGUE_TRANSFERS,
    COMPLETES_CALLS,
    DIRECTORY,
    EARLY_MEDIA,
    FEATURES_TO_US,
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
    blindly_transferred,
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
    leg_is_muted_and_recorded,
    leg_is_parked_and_comes_back,
    leg_is_parked_and_fetched,
    leg_is_sent_digits,
    leg_kicked_out_of_its_bridge,
    leg_logs_in_as_an_agent,
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
    "leg logs in as an agent": (STRAIGHT, leg_logs_in_as_an_agent, GOES_ON),
    "leg muted, recorded": (STRAIGHT, leg_is_muted_and_recorded, GOES_ON),
    "leg is sent a text and digits": (STRAIGHT, leg_is_sent_digits, GOES_ON),
    "leg transfers blindly to us": (STRAIGHT, blindly_transferred("callee", "charging-incoming", OTHER), TRANSFERRED),
    "caller transfers blindly to us": (
        STRAIGHT,
        blindly_transferred("caller", "charging-incoming", OTHER),
        TRANSFERRED,
    ),
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
    others = (await shared.daemon.get("/accounts/other-1/balance"))["credit"]["posted"]
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
    await shared.nothing_reserved()
    assert is_as_long(cdrs["anna"], answered.connected_s)
    assert await shared.posted() == posted - cdrs["anna"]["billed_s"] * SECOND
    assert (cdrs["other-1"]["billed_s"], cdrs["other-1"]["cost"]) == (0, "0.00")
    assert (await shared.daemon.get("/accounts/other-1/balance"))["credit"]["posted"] == others


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


@dataclass
class OwnForward:
    """A forward whose caller is no call of the lab's."""

    live: Engine
    heard: int
    """Ticks before it."""

    async def ticks(self, more: int) -> None:
        self.heard += more
        await self.live.heard("tick_posted", ENDS_S, times=self.heard)


@contextlib.asynccontextmanager
async def forward_of_the_operators_own(live: Engine) -> AsyncIterator[OwnForward]:
    """In the block he makes it, and ends it: it was charged exactly."""
    await live.nothing_reserved()
    posted, rung = await live.posted(), len(live.lab.world.stray_mobiles)
    before = {one["session"] for one in await every_page(live.daemon, "/cdrs")}
    yield OwnForward(live, len(live.daemon.events("tick_posted")))

    async def booked() -> list[dict[str, Any]]:
        return [one for one in await every_page(live.daemon, "/cdrs") if one["session"] not in before]

    (cdr,) = await eventually(booked, "the CDR", ENDS_S)
    (mobile,) = live.lab.world.stray_mobiles[rung:]
    await eventually(lambda: _has_ended(mobile), "the mobile's end", ENDS_S)
    assert cdr["proof"] == "black_box"
    assert is_as_long(cdr, mobile.connected_s), cdr
    await live.nothing_reserved()
    assert await live.posted() == posted - cdr["billed_s"] * SECOND


@pytest.mark.parametrize("exten", ["colleague", "conference", "logs-in"])
async def test_forward_that_the_operator_originates_is_charged_like_a_callers(
    lab: Lab, shared: Engine, exten: str
) -> None:
    """Click to dial, a conference that rings its members, an agent who works at home: AMI Originate of a Local channel
    into our context."""
    async with forward_of_the_operators_own(shared) as forward:
        await _originated(lab, exten)
        await forward.ticks(2)
        leg = await leg_of_the_only_call(shared)
        await lab.switch.action("Hangup", {"Channel": leg, "Cause": "16"})


async def _originated(lab: Lab, exten: str, how: str = "") -> None:
    where = {"Context": "operator", "Exten": exten, "Priority": "1", "CallerID": "+31201119999", "Async": "true"}
    await lab.switch.action("Originate", {"Channel": f"Local/{STRAIGHT}@charging-incoming{how}", **where})


async def test_subscriber_who_has_logged_in_as_an_agent_is_charged_until_he_leaves(lab: Lab, shared: Engine) -> None:
    """He waits, talks to who asks for him (AgentRequest), and waits again: one call, and his to the end."""
    async with forward_of_the_operators_own(shared) as forward:
        await _originated(lab, "logs-in", "/n")
        await forward.ticks(1)
        call = await lab.place_call(AGENT)

        async def talk() -> bool:
            found = await lab.switch.channels()
            bridges = [one["BridgeId"] for one in found]
            asks = next((one["BridgeId"] for one in found if one["Application"] == "AgentRequest"), "")
            return asks != "" and bridges.count(asks) > 1

        await eventually(talk, "the agent and who asked for him to talk", ENDS_S)
        await forward.ticks(2)
        await call.hang_up()
        await call.wait_state(CallState.ENDED, ENDS_S)
        await forward.ticks(1)
        await lab.switch.action("Hangup", {"Channel": await leg_of_the_only_call(shared), "Cause": "16"})


async def test_caller_who_chooses_a_subscriber_in_a_directory_is_charged_like_any(lab: Lab, shared: Engine) -> None:
    call = await lab.place_call(DIRECTORY)
    await call.wait_state(CallState.ANSWERED, ENDS_S)
    posted, heard = await shared.posted(), len(shared.daemon.events())

    async def rings() -> bool:
        await call.press("988", on_mobile=False)  # Wvu
        await call.press("1", on_mobile=False)
        return bool(call.mobiles)

    async with asyncio.timeout(60):
        while not await rings():  # noqa: ASYNC110  a voice asks, and does not tell us when
            await asyncio.sleep(2)
    await call.wait_for(lambda: call.mobile.was_answered, "the mobile's answer", ENDS_S)

    async def joined() -> str | None:
        lines = shared.daemon.events()[heard:]
        return next((one["session"] for one in lines if one["event"] == "bridge_joined"), None)

    one = Swapped(shared, call, await eventually(joined, "the bridge to be told", ENDS_S), posted, heard)
    await one.ticks(2)
    await call.mobile_hangs_up()
    assert (await one.is_charged_exactly())["hangup_reason"] == ""


@pytest.mark.parametrize("how", ["blindly", "attended", "before it answers"])
async def test_caller_who_transfers_a_forward_to_another_subscribers_number(lab: Lab, shared: Engine, how: str) -> None:
    """By the codes of the operator's ``Dial``. Blindly the forward ends, and nobody is called. Else the two subscribers
    talk, each on his own money."""
    await shared.daemon.patch(f"/numbers/{OTHER}", {"forward_to": mobile.answers(3 if "before" in how else 0)})
    rung = len(lab.world.stray_mobiles)
    one = await talking(shared, FEATURES_TO_US)
    before = {cdr["session"] for cdr in await every_page(shared.daemon, "/cdrs")}
    first, decided = one.call.mobile, len(one.told("call_decided"))
    code = "#1" if how == "blindly" else "*2"
    await press_and_say(lab, one.call, code, f"{OTHER.replace('+31', '0')}#")
    if how != "blindly":
        await shared.until(lambda: _are_decided(one, decided + 1), "a second decision", ENDS_S)
        if how == "attended":
            await one.ticks(3)
        await one.call.hang_up()
        await one.ticks(4)
        await lab.switch.action("Hangup", {"Channel": await one.name("callee"), "Cause": "16"})
    await shared.nothing_reserved()
    new = [cdr for cdr in await every_page(shared.daemon, "/cdrs") if cdr["session"] not in before]
    cdrs = {cdr["account"]: cdr for cdr in new}
    await eventually(lambda: _has_ended(first), "the mobile's end", ENDS_S)
    assert is_as_long(cdrs["anna"], first.connected_s), (cdrs, first)
    assert cdrs["anna"]["hangup_reason"] == ("transferred" if how == "blindly" else "")
    if how == "blindly":
        assert len(new) == 1
    else:
        (second,) = [*one.call.mobiles[1:], *lab.world.stray_mobiles[rung:]]
        await eventually(lambda: _has_ended(second), "the other mobile's end", ENDS_S)
        assert is_as_long(cdrs["other-1"], second.connected_s), (cdrs, second)
        assert {cdr["proof"] for cdr in new} == {"black_box"}
    await one.call.hang_up()


async def _are_decided(one: Swapped, times: int) -> bool:
    return len(one.told("call_decided")) >= times


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
