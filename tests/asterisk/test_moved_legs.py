"""Someone moves a leg of a charged call: it goes on being charged exactly, or it ends at once with a reason.

docs/legs.md has the table; each of its rows is a test here or in `test_operators_dialplan`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.ami import Message
from tests.asterisk.engine import SECOND, Engine, billed_s_of, engine, is_as_long, number_of
from tests.asterisk.operator_setup import (
    COLLEAGUE,
    RING_GROUP,
    RING_GROUP_N,
    STRAIGHT,
    TALKER,
    operator_setup,
    transfers_allowed,
)
from tests.asterisk.parties import channels_gone, dialog_of, message_is_recorded
from tests.asterisk.sip_steps import Party, calls, hears, is_renegotiated, is_told, pauses, plays, requests, subscriber
from tests.asterisk.test_check_live import Edit, edited
from tests.asterisk.test_operators_dialplan import charged_exactly
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

AT_ONCE_S = 20


@pytest_asyncio.fixture(loop_scope="session")
async def set_up(lab: Lab) -> AsyncIterator[Lab]:
    async with operator_setup(lab):
        yield lab
        await lab.reset()


async def _talking(live: Engine, way_in: str = STRAIGHT) -> Call:
    call = await live.lab.place_call(way_in)
    await live.heard("bridge_joined", deadline_s=30)
    await call.wait_state(CallState.ANSWERED)
    return call


async def _channels(lab: Lab) -> tuple[Message, Message]:
    """The caller's channel and the forwarded leg."""

    async def both() -> list[Message] | None:
        found = await lab.switch.channels()
        return found if len(found) == 2 else None

    first, second = await eventually(both, "two channels")
    leg = (await lab.switch.action("Getvar", {"Channel": first["Channel"], "Variable": "CHARGING_LEG"}))["Value"]
    return (second, first) if leg == "callee" else (first, second)


async def _forwarded_leg(lab: Lab) -> Message:
    """The channel to the mobile, whatever else there is."""
    for channel in await lab.switch.channels():
        leg = await lab.switch.action("Getvar", {"Channel": channel["Channel"], "Variable": "CHARGING_LEG"})
        if leg["Value"] == "callee":
            return channel
    raise AssertionError("there is no forwarded leg")


async def _charged_to_the_mobiles_end(live: Engine, call: Call, ticks: int = 3) -> None:
    more = len(live.daemon.events("tick_posted")) + ticks
    await live.heard("tick_posted", times=more, deadline_s=20)
    await call.mobile_hangs_up()
    await charged_exactly(live, call)


async def _ended_at_once(live: Engine, call: Call, reason: str) -> None:
    cdr = await live.cdr()
    assert cdr["hangup_reason"] == reason
    assert cdr["proof"] == "black_box"
    assert is_as_long(cdr, call.mobile.connected_s), cdr
    await live.nothing_reserved()

    await channels_gone(live.lab, AT_ONCE_S)


async def test_ami_bridge_to_a_colleague_goes_on_being_charged(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live)
        _, leg = await _channels(set_up)
        await set_up.switch.action(
            "Originate",
            {"Channel": "Local/colleague@operator", "Application": "Wait", "Data": "60", "Async": "true"},
        )

        async def colleague() -> str | None:
            local = [one["Channel"] for one in await set_up.switch.channels() if one["Channel"].startswith("Local/")]
            return next((name for name in local if name.endswith(";2")), None)

        other = await eventually(colleague, "the colleague")
        await set_up.switch.action("Bridge", {"Channel1": leg["Channel"], "Channel2": other})
        await call.wait_state(CallState.ENDED)
        await _charged_to_the_mobiles_end(live, call)


async def test_redirected_forward_is_ended_with_a_reason(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live)
        _, leg = await _channels(set_up)
        where = {"Context": "operator", "Exten": "elsewhere", "Priority": "1"}
        await set_up.switch.action("Redirect", {"Channel": leg["Channel"], **where})
        await call.wait_end(AT_ONCE_S + 20)
        await _ended_at_once(live, call, "moved")
        assert live.daemon.events("moved_call_cut")


async def test_forward_is_over_when_its_caller_is_redirected(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live)
        caller, _ = await _channels(set_up)
        where = {"Context": "operator", "Exten": "elsewhere", "Priority": "1"}
        await set_up.switch.action("Redirect", {"Channel": caller["Channel"], **where})
        await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end")
        await charged_exactly(live, call)
        await call.hang_up()


@pytest.mark.parametrize("way_in", [STRAIGHT, RING_GROUP])
async def test_caller_who_blind_transfers_the_forward_ends_the_call(set_up: Lab, tmp_path: Path, way_in: str) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live, way_in)
        caller, _ = await _channels(set_up)
        where = {"Context": "operator", "Exten": "elsewhere"}
        await set_up.switch.action("BlindTransfer", {"Channel": caller["Channel"], **where})
        await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end", AT_ONCE_S + 20)
        await _ended_at_once(live, call, "transferred")


async def test_forward_that_is_picked_up_while_it_rings_is_ended_and_costs_nothing(set_up: Lab, tmp_path: Path) -> None:
    from charging.lab import mobile

    async with engine(set_up, tmp_path, forward_to=mobile.never_answers()) as live:
        call = await set_up.place_call(STRAIGHT)
        await call.wait_state(CallState.RINGING)
        _, leg = await _channels(set_up)
        await set_up.switch.action(
            "Originate",
            {
                "Channel": "Local/elsewhere@operator/n",
                "Application": "PickupChan",
                "Data": leg["Channel"],
                "Async": "true",
            },
        )
        await call.wait_end(AT_ONCE_S + 20)
        cdr = await live.cdr()
        assert cdr["hangup_reason"] == "picked_up"
        assert (cdr["billed_s"], cdr["cost"]) == (0, "0.00")
        await live.nothing_reserved()


async def test_parked_forward_goes_on_being_charged_until_it_ends(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live)
        caller, leg = await _channels(set_up)
        await set_up.switch.action(
            "Park", {"Channel": leg["Channel"], "TimeoutChannel": caller["Channel"], "Timeout": "60000"}
        )
        await _charged_to_the_mobiles_end(live, call)


def _to_the_colleague(replaces: str) -> str:
    quoted = replaces.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
    return f"Refer-To: <sip:{COLLEAGUE}@127.0.0.1?Replaces={quoted}>"


async def _with_a_colleague(lab: Lab) -> tuple[Call, str]:
    """Another call on the trunk, which is none of ours, and its dialog."""
    call = await lab.place_call(COLLEAGUE)
    await call.wait_state(CallState.ANSWERED)
    channels = [one["Channel"] for one in await lab.switch.channels()]
    return call, await dialog_of(lab, next(one for one in channels if one.startswith("PJSIP/")))


async def _charged_by_the_phone(live: Engine, phone: Party) -> dict[str, object]:
    """To the second by the subscriber's own messages, by the forwarded leg's own record."""
    cdr = await live.cdr()
    assert cdr["proof"] == "black_box", cdr
    assert is_as_long(cdr, phone.connected_s), cdr
    assert cdr["billed_s"] == billed_s_of(cdr["used_ms"])
    await live.nothing_reserved()
    assert len((await live.daemon.get("/cdrs"))["items"]) == 1
    return cdr


async def test_invite_that_replaces_the_caller_goes_on_being_charged(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live)
        caller, _ = await _channels(set_up)
        replaces = await dialog_of(set_up, caller["Channel"])
        steps = (calls(STRAIGHT, f"Replaces: {replaces}", "Require: replaces"), is_renegotiated(), hears("BYE"))
        async with plays(set_up, tmp_path / "colleague", *steps) as colleague:
            await colleague.heard("SIP/2.0 200")
            await call.wait_state(CallState.ENDED)
            await _charged_to_the_mobiles_end(live, call)
            await colleague.heard("BYE")


@pytest.mark.parametrize("way_in", [STRAIGHT, RING_GROUP_N, RING_GROUP])
async def test_invite_that_replaces_the_forward_ends_the_call(set_up: Lab, tmp_path: Path, way_in: str) -> None:
    """Also where a Local channel was optimised away, so that the caller's channel is the operator's."""
    async with engine(set_up, tmp_path) as live:
        call = await _talking(live, way_in)
        leg = await _forwarded_leg(set_up)
        replaces = await dialog_of(set_up, leg["Channel"])
        steps = (calls(STRAIGHT, f"Replaces: {replaces}", "Require: replaces"), is_renegotiated(), hears("BYE"))
        async with plays(set_up, tmp_path / "colleague", *steps) as colleague:
            await colleague.heard("SIP/2.0 200")
            await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end")
            await _ended_at_once(live, call, "replaced")
            await colleague.heard("BYE")
            assert not live.daemon.events("leg_without_session")


async def test_two_who_put_other_calls_in_their_places_talk_to_nobody(set_up: Lab, tmp_path: Path) -> None:
    """The caller first (the call goes on), then the forward: nobody who is left bears the session."""
    async with engine(set_up, tmp_path) as live, contextlib.AsyncExitStack() as stack:
        call = await _talking(live)
        caller, leg = await _channels(set_up)
        for number, channel in enumerate((caller, leg)):
            replaces = f"Replaces: {await dialog_of(set_up, channel['Channel'])}"
            steps = (calls(STRAIGHT, replaces, "Require: replaces"), is_renegotiated(), hears("BYE"))
            newcomer = await stack.enter_async_context(plays(set_up, tmp_path / f"newcomer-{number}", *steps))
            await newcomer.heard("SIP/2.0 200")
        await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end")
        assert (await live.cdr())["hangup_reason"] == "replaced"
        await live.nothing_reserved()
        await channels_gone(set_up)


async def test_subscriber_who_may_not_transfer_is_refused_and_the_call_goes_on(set_up: Lab, tmp_path: Path) -> None:
    refers = requests("REFER", f"Refer-To: <sip:{COLLEAGUE}@127.0.0.1>", cseq=2)
    steps = (pauses(1), refers, is_told(603), pauses(5.3), requests("BYE", cseq=3), is_told(200))
    async with engine(set_up, tmp_path) as live, subscriber(set_up, tmp_path / "phone", *steps) as phone:
        call = await _talking(live)
        await phone.said("BYE", 30)
        await call.wait_state(CallState.ENDED)
        await _charged_by_the_phone(live, phone)
        assert len(live.daemon.events("tick_posted")) >= 3


async def test_subscriber_who_transfers_blindly_ends_the_call(set_up: Lab, tmp_path: Path) -> None:
    refers = requests("REFER", f"Refer-To: <sip:{COLLEAGUE}@127.0.0.1>", cseq=2)
    steps = (pauses(1), refers, is_told(202), pauses(1), requests("BYE", cseq=3), is_told(200))
    async with (
        transfers_allowed(set_up),
        engine(set_up, tmp_path) as live,
        subscriber(set_up, tmp_path / "phone", *steps) as phone,
    ):
        call = await _talking(live)
        await call.wait_state(CallState.ENDED, AT_ONCE_S + 20)
        assert (await _charged_by_the_phone(live, phone))["hangup_reason"] == "transferred"


async def test_caller_who_transfers_the_forward_to_a_colleague_goes_on_being_charged(
    set_up: Lab, tmp_path: Path
) -> None:
    other, replaces = await _with_a_colleague(set_up)
    refers = requests("REFER", _to_the_colleague(replaces), "Referred-By: <sip:caller@carrier.example>", cseq=2)
    transfers = (calls(STRAIGHT), pauses(1), refers, is_told(202), pauses(1), requests("BYE", cseq=3), is_told(200))
    steps = (hears("UPDATE"), pauses(7.3), requests("BYE", cseq=2), is_told(200))
    async with (
        transfers_allowed(set_up),
        engine(set_up, tmp_path) as live,
        subscriber(set_up, tmp_path / "phone", *steps) as phone,
        plays(set_up, tmp_path / "caller", *transfers) as caller,
    ):
        await caller.said("BYE")
        await other.wait_state(CallState.ENDED)
        await phone.said("BYE", 30)
        await _charged_by_the_phone(live, phone)
        assert len(live.daemon.events("tick_posted")) >= 4


@pytest.mark.parametrize(
    ("target", "state"), [(mobile.never_answers(), CallState.RINGING), (mobile.busy(), CallState.ANSWERED)]
)
async def test_forward_that_its_caller_puts_in_the_place_of_another_call_of_his_ends_with_it(
    set_up: Lab, tmp_path: Path, target: str, state: CallState
) -> None:
    """That one rings another subscriber, or speaks to his voicemail: the leg would go on there, under the other's name,
    and be paid by nobody, or by the other."""
    async with transfers_allowed(set_up), engine(set_up, tmp_path, plan="voice_free", others=1) as live:
        await live.daemon.patch(f"/numbers/{number_of(1)}", {"forward_to": target})
        other = await set_up.place_call(number_of(1))
        await other.wait_state(state, 20)
        caller = min(one["Channel"] for one in await set_up.switch.channels())  # the first that there was
        to_him = _to_the_colleague(await dialog_of(set_up, caller))
        refers = requests("REFER", to_him, "Referred-By: <sip:caller@carrier.example>", cseq=2)
        transfers = (calls(STRAIGHT), pauses(3), refers, is_told(202), pauses(60))
        async with (
            subscriber(set_up, tmp_path / "phone", hears("BYE")) as phone,
            plays(set_up, tmp_path / "caller", *transfers),
        ):
            await phone.heard("BYE", deadline_s=30)
            found = {cdr["account"]: cdr for cdr in await live.cdrs(2)}
            cdr = found["anna"]
            assert (cdr["hangup_reason"], cdr["proof"]) == ("transferred", "black_box")
            assert is_as_long(cdr, phone.connected_s), cdr
            assert found["other-1"]["cost"] == "0.00"
            await live.nothing_reserved()

            await channels_gone(set_up)
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


async def test_who_is_put_in_the_place_of_a_caller_while_it_rings_is_charged_like_him(
    set_up: Lab, tmp_path: Path
) -> None:
    """Someone calls a colleague and a subscriber, and joins the two before the subscriber answers. The call goes on for
    longer than the first deadline of the caller's channel, which is ring_s, the first quota and five seconds."""
    ring_s, long_enough = 8, 12
    answers_late = mobile.answers(6)
    async with (
        transfers_allowed(set_up),
        engine(set_up, tmp_path, forward_to=answers_late, policy={"ring_s": ring_s}) as live,
    ):
        call = await set_up.place_call(STRAIGHT)
        await call.wait_state(CallState.RINGING, 20)
        caller = min(one["Channel"] for one in await set_up.switch.channels())  # the first that there was
        to_him = _to_the_colleague(await dialog_of(set_up, caller))
        refers = requests("REFER", to_him, "Referred-By: <sip:caller@carrier.example>", cseq=2)
        async with plays(set_up, tmp_path / "caller", calls(COLLEAGUE), refers, is_told(202), pauses(90)):
            await live.heard("tick_posted", deadline_s=90, times=long_enough)
            await call.mobile_hangs_up()
            cdr = await live.cdr()
            connected_s = call.mobile.connected_s
        assert cdr["proof"] == "black_box", cdr
        assert is_as_long(cdr, connected_s), cdr
        await live.nothing_reserved()
        assert await live.posted() == 10_000_000 - cdr["billed_s"] * SECOND
        assert not live.daemon.events("leg_without_session")


@pytest.mark.parametrize("state", [CallState.ANSWERED, CallState.RINGING])
async def test_r3_message_of_someone_who_is_put_in_the_place_of_a_caller_is_charged(
    set_up: Lab, tmp_path: Path, state: CallState
) -> None:
    """Someone calls a colleague and a subscriber, and joins the two when voicemail has answered, or while it rings."""
    target = mobile.busy() if state is CallState.ANSWERED else mobile.never_answers()
    policy = {"ring_s": 8}
    async with (
        transfers_allowed(set_up),
        engine(set_up, tmp_path, plan="voice_free", forward_to=target, policy=policy) as live,
    ):
        call = await set_up.place_call(STRAIGHT)
        await call.wait_state(state, 20)
        caller = min(one["Channel"] for one in await set_up.switch.channels())  # the first that there was
        to_him = _to_the_colleague(await dialog_of(set_up, caller))
        refers = requests("REFER", to_him, "Referred-By: <sip:caller@carrier.example>", cseq=2)
        async with plays(set_up, tmp_path / "caller", calls(TALKER), refers, is_told(202), pauses(90)):
            await call.wait_state(CallState.ENDED, 20)
            await message_is_recorded(set_up, seconds=3)
            for channel in await set_up.switch.channels():
                if channel["Context"] == "charging-voicemail":
                    await set_up.switch.action("Hangup", {"Channel": channel["Channel"], "Cause": "16"})
            cdr = await live.cdr()
        assert (cdr["service"], cdr["messages"], cdr["cost"]) == ("voicemail", 1, "0.15"), cdr
        await live.nothing_reserved()
        assert await live.posted() == 10_000_000 - 150_000
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


async def test_subscriber_who_transfers_the_caller_to_a_colleague_ends_the_call(set_up: Lab, tmp_path: Path) -> None:
    other, replaces = await _with_a_colleague(set_up)
    refers = requests("REFER", _to_the_colleague(replaces), "Referred-By: <sip:phone@carrier.example>", cseq=2)
    steps = (pauses(1), refers, is_told(202), pauses(1), requests("BYE", cseq=3), is_told(200))
    async with (
        transfers_allowed(set_up),
        engine(set_up, tmp_path) as live,
        subscriber(set_up, tmp_path / "phone", *steps) as phone,
    ):
        call = await _talking(live)
        await phone.said("BYE")
        assert (await _charged_by_the_phone(live, phone))["hangup_reason"] == "transferred"
        await call.wait_state(CallState.ENDED, AT_ONCE_S)
        assert not live.daemon.events("leg_without_session")
        await other.hang_up()


async def test_leg_without_a_session_is_hung_up_within_seconds_and_loud(set_up: Lab, tmp_path: Path) -> None:
    async with engine(set_up, tmp_path, policy={"horizon_s": 45, "warn_before_s": 5}) as live:
        call = await _talking(live)
        caller, _ = await _channels(set_up)
        name = {"Channel": caller["Channel"], "Variable": "CHARGING_SESSION", "Value": "1a2b3c4d5e6-0123456789ab"}
        await set_up.switch.action("Setvar", name)
        await live.heard("leg_without_session", deadline_s=25)
        await call.wait_end(10)
        await live.nothing_reserved()


async def test_a_diversion_that_asterisk_follows_by_itself_is_charged_and_cut_like_the_number_that_was_dialled(
    lab: Lab, tmp_path: Path
) -> None:
    """With `redirect_method = uri_pjsip` no dialplan is asked (SIP 302); `charging check --live` calls it a problem."""
    follows = Edit("pjsip.conf", "allow_transfer = no", "allow_transfer = no\nredirect_method = uri_pjsip")
    async with edited(lab, follows), engine(lab, tmp_path, credit="0.004", forward_to=mobile.diverts()) as live:
        call = await live.call()
        reached = mobile.answers()  # the one that diverts has come and gone before it
        await call.wait_for(
            lambda: bool(call.mobiles) and call.mobile.target == reached and call.mobile.ended_us is not None,
            "the mobile's end",
            25,
        )
        await call.wait_end(15)
        await charged_exactly(live, call, 4 * SECOND)
        assert (await live.cdr())["target"] == mobile.diverts()
