"""A charged call, and what an operator's Asterisk can do to its channels: the acts of `test_swaps`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from charging.lab import Call, CallState, Lab
from charging.lab.ami import Message
from tests.asterisk.engine import SECOND, Engine, billed_s_of, every_page, is_as_long
from tests.asterisk.operator_setup import STRAIGHT, press_and_say
from tests.asterisk.test_operators_dialplan import FALSE_ALARMS
from tests.asterisk.waiting import eventually

ENDS_S = 40
RELOADS = (
    *("dialplan reload", "manager reload", "voicemail reload", "logger reload", "features reload"),
    *("module reload res_pjsip.so", "module reload chan_pjsip.so", "module reload app_queue.so"),
)


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
        assert cdr["billed_s"] == billed_s_of(cdr["used_ms"])
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


async def leg_logs_in_as_an_agent(one: Swapped) -> None:
    await one.redirect(await one.name("callee"), "logs-in")


async def leg_is_muted_and_recorded(one: Swapped) -> None:
    leg = await one.name("callee")
    await one.lab.switch.action("MuteAudio", {"Channel": leg, "Direction": "all", "State": "on"})
    await one.lab.switch.action("MixMonitor", {"Channel": leg, "File": "swapped.wav"})
    await one.ticks()
    await one.lab.switch.action("StopMixMonitor", {"Channel": leg})


async def leg_is_sent_digits(one: Swapped) -> None:
    leg = await one.name("callee")
    for digit in "*98#":
        await one.lab.switch.action("PlayDTMF", {"Channel": leg, "Digit": digit, "Receive": "true"})
        await one.lab.switch.action("PlayDTMF", {"Channel": leg, "Digit": digit})
    await one.lab.switch.action("SendText", {"Channel": leg, "Message": "hello"})


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


async def bridge_destroyed(one: Swapped) -> None:
    leg = await one.channel("callee")
    await one.lab.switch.action("BridgeDestroy", {"BridgeUniqueid": leg["BridgeId"]})


async def atxfer_ordered(one: Swapped) -> None:
    """Asterisk has the digits of the code dialled, and no such code holds for this call."""
    to = {"Context": "operator", "Exten": "56"}
    await one.lab.switch.action("Atxfer", {"Channel": await one.name("caller"), **to})


async def everything_reloaded(one: Swapped) -> None:
    for command in ("core reload", *RELOADS):
        await one.lab.switch.cli(command)
        await one.ticks()


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


def blindly_transferred(leg: str, context: str, exten: str) -> Act:
    """By AMI, as that party."""

    async def act(one: Swapped) -> None:
        await one.ticks()
        where = {"Context": context, "Exten": exten}
        await one.lab.switch.action("BlindTransfer", {"Channel": await one.name(leg), **where})

    return act


def transferred(to: str, then: str = "") -> Act:
    async def act(one: Swapped) -> None:
        await pressed("*2", to, on_mobile=False)(one)

        async def answered() -> bool:
            return any(
                f"Local/{to}@operator" in ch["Channel"] and ch["BridgeId"] for ch in await one.lab.switch.channels()
            )

        await eventually(answered, "the consulted one to answer", ENDS_S)
        if then:
            await one.call.press(then, on_mobile=False)
        else:
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
