"""What becomes of a charged call when the operator's own Asterisk swaps, joins or fetches its channels.

Whatever is done, the forwarded leg is charged to the second that the mobile itself measured: the call goes on so, or it
ends with it, or it is ended at once with a reason. Never free, never silent. docs/legs.md has the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.ami import Message
from charging.lab.call import MobileLeg
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, engine, every_page, is_as_long
from tests.asterisk.operator_setup import (
    ANSWERED_INTO_A_CONFERENCE,
    CALLEE_STAYS,
    COLLEAGUE_TRANSFERS,
    COMPLETES_CALLS,
    EARLY_MEDIA,
    FOLLOW_ME,
    PAGED,
    QUEUE_N,
    QUEUE_WITH_FEATURES,
    RING_GROUP,
    RING_GROUP_N,
    STRAIGHT,
    WITH_FEATURES,
    WITH_FEATURES_N,
    WITH_OWN_SUBROUTINES,
    feature_codes,
    operator_setup,
    press_and_say,
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

ENDS_S = 40


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One daemon and one set-up for all of them."""
    async with (
        operator_setup(session_lab),
        feature_codes(session_lab),
        engine(session_lab, tmp_path_factory.mktemp("swaps"), credit="1000.00") as live,
    ):
        yield live


@dataclass
class Swapped:
    """A charged call whose channels are swapped."""

    live: Engine
    call: Call
    session: str
    posted: int
    """Micro-euro before it."""
    heard: int
    """Lines of the daemon's log before it."""

    @property
    def lab(self) -> Lab:
        return self.live.lab

    def told(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.live.daemon.events()[self.heard :] if one["event"] == event]

    async def channel(self, leg: str) -> Message:
        """``callee`` is the forwarded leg; ``caller`` the channel that asked us."""
        for one in await self.lab.switch.channels():
            for name in ("CHARGING_LEG", "CHARGING_SESSION"):
                one[name] = (await self.lab.switch.action("Getvar", {"Channel": one["Channel"], "Variable": name}))[
                    "Value"
                ]
            if one["CHARGING_LEG"] == leg and one["CHARGING_SESSION"] == self.session:
                return one
        raise AssertionError(f"no channel is the {leg}'s")

    async def name(self, leg: str) -> str:
        return (await self.channel(leg))["Channel"]

    async def originate(self, exten: str, application: str = "", data: str = "", **variables: str) -> None:
        """Someone of the operator's own answers in ``exten`` of his dialplan, and runs an application."""
        runs = {"Application": application, "Data": data} if application else {"Application": "Wait", "Data": "60"}
        order = {"Channel": f"Local/{exten}@operator/n", **runs, "Async": "true"}
        if variables:
            order["Variable"] = ",".join(f"__{name}={value}" for name, value in variables.items())
        await self.lab.switch.action("Originate", order)

    async def is_told_that_it_failed(self) -> bool:
        return (await self.lab.switch.action("Getvar", {"Variable": "PICKED"}))["Value"] == "nobody"

    async def redirect(self, channel: str, exten: str, extra: str = "") -> None:
        where = {"Context": "operator", "Exten": exten, "Priority": "1"}
        also = {"ExtraChannel": extra, "ExtraContext": "operator", "ExtraExten": exten, "ExtraPriority": "1"}
        await self.lab.switch.action("Redirect", {"Channel": channel, **where, **(also if extra else {})})

    async def ticks(self, more: int = 1) -> None:
        wanted = len(self.told("tick_posted")) + more

        async def posted() -> bool:
            return len(self.told("tick_posted")) >= wanted

        await self.live.until(posted, f"{more} ticks more", ENDS_S)

    async def cdr(self) -> dict[str, Any]:
        async def booked() -> dict[str, Any] | None:
            found = await every_page(self.live.daemon, "/cdrs")
            return next((one for one in found if one["session"] == self.session), None)

        return await eventually(booked, "the CDR", ENDS_S)

    async def is_charged_exactly(self, may_be: Collection[str] = ()) -> dict[str, Any]:
        """To the second that the mobile measured, once, by the forwarded leg's own record, without a false alarm."""
        cdr = await self.cdr()
        mobile = self.call.mobile
        await self.call.wait_for(lambda: mobile.ended_us is not None, "the mobile's end")
        assert cdr["proof"] == "black_box", cdr
        assert is_as_long(cdr, mobile.connected_s), cdr
        assert cdr["billed_s"] == -(-(cdr["used_ms"] - 200) // 1000)
        await self.live.nothing_reserved()
        assert await self.live.posted() == self.posted - cdr["billed_s"] * SECOND
        assert [event for event in FALSE_ALARMS if self.told(event) and event not in may_be] == []
        return cdr


async def talking(live: Engine, way_in: str) -> Swapped:
    """A call that is answered, charged and has found its place in the switch."""
    await live.nothing_reserved()
    posted, heard = await live.posted(), len(live.daemon.events())
    call = await live.lab.place_call(way_in)
    await call.wait_for(lambda: bool(call.mobiles) and call.mobile.was_answered, "the mobile's answer", ENDS_S)
    await call.wait_state(CallState.ANSWERED, ENDS_S)

    async def joined() -> str | None:
        lines = live.daemon.events()[heard:]
        return next((one["session"] for one in lines if one["event"] == "bridge_joined"), None)

    session = await eventually(joined, "the bridge to be told", ENDS_S)
    return Swapped(live, call, session, posted, heard)


async def leg_of_the_only_call(live: Engine) -> str:
    for one in await live.lab.switch.channels():
        leg = await live.lab.switch.action("Getvar", {"Channel": one["Channel"], "Variable": "CHARGING_LEG"})
        if leg["Value"] == "callee":
            return one["Channel"]
    raise AssertionError("there is no forwarded leg")


Act = Callable[[Swapped], Awaitable[object]]


async def both_redirected(one: Swapped) -> None:
    await one.redirect(await one.name("caller"), "elsewhere", await one.name("callee"))


async def both_into_a_conference(one: Swapped) -> None:
    await one.redirect(await one.name("caller"), "conference", await one.name("callee"))


async def leg_into_a_conference(one: Swapped) -> None:
    await one.originate("conference")
    await one.redirect(await one.name("callee"), "conference")


async def caller_into_a_conference(one: Swapped) -> None:
    await one.redirect(await one.name("caller"), "conference")


async def leg_into_a_holding_bridge(one: Swapped) -> None:
    await one.redirect(await one.name("callee"), "holding")


async def channelredirect_of_the_leg(one: Swapped) -> None:
    await one.originate("colleague", "ChannelRedirect", f"{await one.name('callee')},operator,elsewhere,1")


async def channelredirect_of_the_caller(one: Swapped) -> None:
    await one.originate("colleague", "ChannelRedirect", f"{await one.name('caller')},operator,elsewhere,1")


async def channelredirect_of_the_leg_into_a_conference(one: Swapped) -> None:
    await one.originate("colleague", "ChannelRedirect", f"{await one.name('callee')},operator,conference,1")


async def bridge_application_takes_the_leg(one: Swapped) -> None:
    await one.originate("colleague", "Bridge", await one.name("callee"))


async def bridge_application_takes_the_caller(one: Swapped) -> None:
    await one.originate("colleague", "Bridge", await one.name("caller"))


async def park(one: Swapped, leg: str, other: str, timeout_ms: int = 60_000) -> None:
    parks = {"Channel": await one.name(leg), "TimeoutChannel": await one.name(other), "Timeout": str(timeout_ms)}
    await one.lab.switch.action("Park", parks)


async def leg_is_parked_and_fetched(one: Swapped) -> None:
    await park(one, "callee", "caller")
    await one.originate("fetches")


async def leg_is_parked_and_comes_back(one: Swapped) -> None:
    await park(one, "callee", "caller", 2_000)


async def caller_is_parked(one: Swapped) -> None:
    await park(one, "caller", "callee")


async def spied_on(one: Swapped) -> None:
    await one.originate("spies", SPIES="")


async def barged_into(one: Swapped) -> None:
    await one.originate("spies", SPIES="B")


async def whispered_to(one: Swapped) -> None:
    await one.originate("spies", SPIES="w")


async def leg_kicked_out_of_its_bridge(one: Swapped) -> None:
    leg = await one.channel("callee")
    await one.lab.switch.action("BridgeKick", {"Channel": leg["Channel"]})


async def optimised_away(one: Swapped) -> None:
    """The operator's own order for a Local channel that was dialled with /n."""
    local = [ch["Channel"] for ch in await one.lab.switch.channels() if ch["Channel"].startswith("Local/")]
    await one.lab.switch.action("LocalOptimizeAway", {"Channel": local[0]})

    async def gone() -> bool:
        return not any(ch["Channel"] in local for ch in await one.lab.switch.channels())

    await eventually(gone, "the Local channel to go", ENDS_S)


async def someone_is_added(one: Swapped) -> None:
    leg = await one.channel("callee")
    await one.originate("adds", ADDS=leg["Channel"])

    async def three() -> bool:
        bridges = [ch["BridgeId"] for ch in await one.lab.switch.channels()]
        return bridges.count(leg["BridgeId"]) == len(("caller", "callee", "colleague"))

    await eventually(three, "a third one in the bridge", ENDS_S)


async def someone_is_added_and_the_caller_leaves(one: Swapped) -> None:
    await someone_is_added(one)
    await one.call.hang_up()


async def caller_hangs_up(one: Swapped) -> None:
    await one.call.hang_up()


async def leg_redirected_to_us(one: Swapped) -> None:
    """As a call of its own it would lose its record, and its subscriber would be charged by whatever rings then."""
    await one.ticks()
    where = {"Context": "charging-incoming", "Exten": STRAIGHT, "Priority": "1"}
    await one.lab.switch.action("Redirect", {"Channel": await one.name("callee"), **where})


async def nothing(one: Swapped) -> None:
    """The way in is what is tried."""


def pressed(code: str, then: str = "", *, on_mobile: bool) -> Act:
    async def act(one: Swapped) -> None:
        await one.ticks()
        if then:
            await press_and_say(one.lab, one.call, code, then, on_mobile=on_mobile)
        else:
            await one.call.press(code, on_mobile=on_mobile)

    return act


def transferred(to: str) -> Act:
    async def act(one: Swapped) -> None:
        await pressed("*2", to, on_mobile=False)(one)

        async def answered() -> bool:
            return any(
                f"Local/{to}@operator" in ch["Channel"] and ch["BridgeId"] for ch in await one.lab.switch.channels()
            )

        await eventually(answered, "the consulted one to answer", ENDS_S)
        await one.call.hang_up()

    return act


def picked_up(application: str, whom: str) -> Act:
    async def act(one: Swapped) -> None:
        data = await one.name(whom) if whom in ("caller", "callee") else whom
        await one.originate("picks", PICKS=f"{application}({data})")

    return act


def every_code(*, on_mobile: bool) -> Act:
    async def act(one: Swapped) -> None:
        for code in ("*3", "#7", "*2", "#1", "*0"):
            await one.call.press(code, on_mobile=on_mobile)

    return act


SWAPS: dict[str, tuple[str, Act, str]] = {
    "queue member /n": (QUEUE_N, nothing, GOES_ON),
    "FollowMe": (FOLLOW_ME, nothing, GOES_ON),
    "own subroutines": (WITH_OWN_SUBROUTINES, nothing, GOES_ON),
    "early media before": (EARLY_MEDIA, nothing, GOES_ON),
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


PICKED_UP = "picked_up"
PICKUPS: dict[str, tuple[str, Act, str]] = {
    "Pickup() of the leg": (STRAIGHT, picked_up("Pickup", "s@trunk"), PICKED_UP),
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
