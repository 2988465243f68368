"""The operator's own ARI application moves and hears the channels of a charged call: exact as any other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab
from charging.lab.ports import free_port
from tests.asterisk.ari import APPLICATION, Ari, ari
from tests.asterisk.engine import NUMBER, Engine, engine
from tests.asterisk.operator_setup import IN_ARI, STRAIGHT, operator_setup
from tests.asterisk.swapped import ENDS_S, Swapped, leg_of_the_only_call, talking
from tests.asterisk.test_swaps import forward_of_the_operators_own
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Engine, Ari]]:
    async with (
        operator_setup(session_lab),
        ari(session_lab) as operator,
        engine(session_lab, tmp_path_factory.mktemp("ari"), credit="1000.00") as live,
    ):
        yield live, operator


async def test_both_in_a_bridge_of_the_application_go_on_and_the_caller_is_not_left_behind_unpaid(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, operator = shared
    one = await talking(live, STRAIGHT)
    await one.redirect(await one.name("caller"), "in-ari", await one.name("callee"))
    await operator.joined(*await operator.in_application(2))
    await one.ticks(3)
    await one.call.mobile_hangs_up()
    cdr = await one.is_charged_exactly(may_be=["unpaid_channel_seen"])
    assert cdr["hangup_reason"] == ""
    await one.call.wait_state(CallState.ENDED, ENDS_S)


async def test_leg_that_the_application_keeps_out_of_every_bridge_is_ended(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, _ = shared
    one = await talking(live, STRAIGHT)
    await one.ticks()
    await one.redirect(await one.name("callee"), "in-ari")
    assert (await one.is_charged_exactly())["hangup_reason"] == "moved"


async def test_snooping_and_whispering_by_the_application_change_nothing(lab: Lab, shared: tuple[Engine, Ari]) -> None:
    live, operator = shared
    one = await talking(live, STRAIGHT)
    leg = (await one.channel("callee"))["Uniqueid"]
    await operator.post(f"/channels/{leg}/snoop", spy="both", whisper="out", app=APPLICATION)
    await one.ticks(2)
    await one.call.mobile_hangs_up()
    assert (await one.is_charged_exactly())["hangup_reason"] == ""


async def _both_in_its_bridge(live: Engine, operator: Ari) -> tuple[Swapped, str, str]:
    """The call, the forwarded leg's unique id, and the bridge's."""
    one = await talking(live, STRAIGHT)
    leg = (await one.channel("callee"))["Uniqueid"]
    await one.redirect(await one.name("caller"), "in-ari", await one.name("callee"))
    bridge = await operator.joined(*await operator.in_application(2))
    await one.ticks()
    return one, leg, bridge


async def _is_over(one: Swapped, reason: str = "") -> None:
    cdr = await one.is_charged_exactly(may_be=["unpaid_channel_seen"])
    assert cdr["hangup_reason"] == reason, cdr
    await one.call.hang_up()
    await one.call.wait_state(CallState.ENDED, ENDS_S)


async def test_leg_that_is_held_muted_or_hears_music_by_the_application_goes_on(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, operator = shared
    one, leg, _ = await _both_in_its_bridge(live, operator)
    for what in (f"/channels/{leg}/hold", f"/channels/{leg}/moh", f"/channels/{leg}/silence"):
        await operator.post(what)
        await one.ticks()
        await operator.delete(what)
    await operator.post(f"/channels/{leg}/mute", direction="both")
    await operator.post(f"/channels/{leg}/ring")
    await operator.post(f"/channels/{leg}/dtmf", dtmf="12#")
    await one.ticks(2)
    await one.call.mobile_hangs_up()
    await _is_over(one)


async def test_leg_that_the_application_takes_out_and_puts_back_goes_on(lab: Lab, shared: tuple[Engine, Ari]) -> None:
    live, operator = shared
    one, leg, bridge = await _both_in_its_bridge(live, operator)
    for _ in range(3):
        await operator.post(f"/bridges/{bridge}/removeChannel", channel=leg)
        await operator.post(f"/bridges/{bridge}/addChannel", channel=leg)
        await one.ticks()
    await one.call.mobile_hangs_up()
    await _is_over(one)


@pytest.mark.parametrize("how", ["removed", "its bridge is destroyed"])
async def test_leg_that_the_application_takes_out_for_good_is_ended(
    lab: Lab, shared: tuple[Engine, Ari], how: str
) -> None:
    live, operator = shared
    one, leg, bridge = await _both_in_its_bridge(live, operator)
    if how == "removed":
        await operator.post(f"/bridges/{bridge}/removeChannel", channel=leg)
    else:
        await operator.delete(f"/bridges/{bridge}")
    await _is_over(one, "moved")


async def test_leg_that_the_application_hangs_up_ends_exactly(lab: Lab, shared: tuple[Engine, Ari]) -> None:
    live, operator = shared
    one = await talking(live, STRAIGHT)
    await one.ticks()
    await operator.delete(f"/channels/{(await one.channel('callee'))['Uniqueid']}")
    await _is_over(one)


async def test_leg_that_talks_to_external_media_is_charged_as_long_as_it_does(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    """A voice bot: his caller may leave, and the subscriber talks on with it."""
    live, operator = shared
    one, _, bridge = await _both_in_its_bridge(live, operator)
    where = {"app": APPLICATION, "external_host": f"127.0.0.1:{free_port()}", "format": "alaw"}
    media = (await operator.post("/channels/externalMedia", **where))["id"]
    await operator.post(f"/bridges/{bridge}/addChannel", channel=media)
    await one.ticks()
    await one.call.hang_up()
    await one.ticks(2)
    await one.call.mobile_hangs_up()
    await _is_over(one)
    await operator.delete(f"/channels/{media}")


async def test_caller_whom_the_application_sends_on_to_a_subscriber_is_a_caller_as_any(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, operator = shared
    heard = len(live.daemon.events())
    posted = await live.posted()
    call = await lab.place_call(IN_ARI)
    (caller,) = await operator.in_application(1)
    await operator.post(f"/channels/{caller}/answer")
    where = {"context": "charging-incoming", "extension": NUMBER, "priority": "1"}
    await operator.post(f"/channels/{caller}/continue", **where)
    await call.wait_for(lambda: bool(call.mobiles) and call.mobile.was_answered, "the mobile's answer", ENDS_S)

    async def joined() -> str | None:
        lines = live.daemon.events()[heard:]
        return next((line["session"] for line in lines if line["event"] == "bridge_joined"), None)

    one = Swapped(live, call, await eventually(joined, "the bridge to be told", ENDS_S), posted, heard)
    await one.ticks(2)
    await call.mobile_hangs_up()
    await _is_over(one)


@pytest.mark.parametrize("how", ["originated", "created and dialled"])
async def test_forward_that_the_application_makes_is_charged_like_a_callers(
    lab: Lab, shared: tuple[Engine, Ari], how: str
) -> None:
    """Click to dial: the forward first, then who wants to talk to him, joined in a bridge of the application."""
    live, operator = shared
    async with forward_of_the_operators_own(live) as forward:
        channel = {"endpoint": f"Local/{NUMBER}@charging-incoming", "app": APPLICATION, "callerId": "+31201119999"}
        channel["formats"] = "alaw"  # the lab's Asterisk translates nothing
        if how == "originated":
            await operator.post("/channels", **channel)
        else:
            made = (await operator.post("/channels/create", **channel))["id"]
            await operator.post(f"/channels/{made}/dial")
        await forward.ticks(2)
        call = await lab.place_call(IN_ARI)
        both = await operator.in_application(2)
        for uid in both:
            await operator.post(f"/channels/{uid}/answer")
        await operator.joined(*both)
        await forward.ticks(2)
        leg = await leg_of_the_only_call(live)
        await lab.switch.action("Hangup", {"Channel": leg, "Cause": "16"})
    await call.hang_up()
    await call.wait_state(CallState.ENDED, ENDS_S)
