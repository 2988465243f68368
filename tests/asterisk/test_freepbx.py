"""Our recipe for FreePBX (docs/attach.md) in a dialplan of its shape, on the real Asterisk.

FreePBX itself is not here: its contexts, variables and options are as its generators write them (core 17.0.18.4,
ringgroups 17.0.2.4, queues 17.0.1.6, customappsreg 17.0.1, findmefollow, ivr: inbound routes, custom destinations, ring
groups, queues, Follow Me, menus, outbound routes and the trunk's macro), without their sounds and databases. The
members of ring groups and queues are digits alone: both take a + off.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.lab import CallState, Lab, mobile
from charging.lab.ports import free_port
from tests.asterisk.engine import NUMBER, engine
from tests.asterisk.operator_setup import DIALPLAN, feature_codes, operator_setup, press_and_say
from tests.asterisk.parties import forward, operator_sets
from tests.asterisk.raw_sip import stranger
from tests.asterisk.sip_steps import answers, calls, plays
from tests.asterisk.stub_agi import serving
from tests.asterisk.test_operators_dialplan import charged_exactly
from tests.asterisk.test_withheld import PRIVATE

pytestmark = pytest.mark.asterisk

RING_GROUP = "+31850000070"
IN_QUEUE = "+31850000071"
FOLLOW_ME = "+31850000072"
MENU = "+31850000073"
"""An IVR, whose choice 0 is the ring group."""
MEMBER = NUMBER.removeprefix("+")

SHAPE = f"""
[trunk](+)
exten => {NUMBER},1,Goto(from-pstn,${{EXTEN}},1)
exten => {RING_GROUP},1,Goto(from-pstn,${{EXTEN}},1)
exten => {IN_QUEUE},1,Goto(from-pstn,${{EXTEN}},1)
exten => {FOLLOW_ME},1,Goto(from-pstn,${{EXTEN}},1)
exten => {MENU},1,Goto(from-pstn,${{EXTEN}},1)

[from-pstn]
include => from-pstn-custom
include => ext-did
[ext-did]
include => ext-did-0002
[ext-did-0002]
exten => _.!,1,Set(__DIRECTION=INBOUND)
 same => n,Set(__FROM_DID=${{EXTEN}})
 same => n,ExecIf($["${{CALLERID(name)}}" = ""]?Set(CALLERID(name)=${{CALLERID(num)}}))
 same => n,Set(__CALLINGNAMEPRES_SV=${{CALLERID(name-pres)}})
 same => n,Set(__CALLINGNUMPRES_SV=${{CALLERID(num-pres)}})
 same => n,Set(CALLERID(name-pres)=allowed_not_screened)
 same => n,Set(CALLERID(num-pres)=allowed_not_screened)
 same => n,GotoIf($["${{EXTEN}}" = "{RING_GROUP}"]?ext-group,600,1)
 same => n,GotoIf($["${{EXTEN}}" = "{IN_QUEUE}"]?ext-queues,700,1)
 same => n,GotoIf($["${{EXTEN}}" = "{FOLLOW_ME}"]?followme-sub,100,1)
 same => n,GotoIf($["${{EXTEN}}" = "{MENU}"]?ivr-1,s,1)
 same => n(dest-ext),Goto(from-pstn-charging,${{FROM_DID}},1)
[ext-group]
exten => 600,1,Playtones(ring)
 same => n,Progress()
 same => n,Set(__NODEST=600)
 same => n,Set(__KEEPCID=TRUE)
 same => n,Set(__EXTTOCALL={MEMBER})
 same => n,Dial(Local/{MEMBER}@from-internal/n,20,HhtrQ(NO_ANSWER)U(macro-auto-blkvm)b(func-apply-sipheaders^s^1))
exten => h,1,Hangup()
[ivr-1]
exten => s,1,Set(_IVR_CONTEXT=${{CONTEXT}})
 same => n,Answer()
 same => n,WaitExten(20)
exten => 0,1,Set(__ivrreturn=0)
 same => n,Goto(ext-group,600,1)
[followme-sub]
exten => 100,1,Set(CONNECTEDLINE(num,i)=${{EXTEN}})
 same => n,Set(__EXTTOCALL=${{EXTEN}})
 same => n,Set(_FMGRP=${{EXTEN}})
 same => n,Dial(Local/FMPR-100@from-internal&Local/FMGL-{NUMBER}#@from-internal,22,HhTtrIb(func-apply-sipheaders^s^1))
[findmefollow-ringallv2]
exten => _FMPR-.,1,Wait(20)
exten => _FMGL-.,1,Set(__EXTTOCALL=${{EXTEN:5}})
 same => n,Dial(Local/${{EXTEN:5:-1}}@from-internal/n,20,HhTtrIU(macro-auto-blkvm)b(func-apply-sipheaders^s^1))
[ext-queues]
exten => 700,1,Answer()
 same => n,Set(__NODEST=700)
 same => n,Set(_DIAL_OPTIONS=HhTtrU(macro-auto-blkvm))
 same => n,Set(__SIGNORE=TRUE)
 same => n,Queue(700,tr)
[from-queue]
exten => 700,1,Goto(from-internal,${{QAGENT}},1)
exten => _X.,1,Set(QAGENT=${{EXTEN}})
 same => n,Set(__FROMQ=true)
 same => n,Goto(${{NODEST}},1)
[macro-auto-blkvm]
exten => s,1,Set(__MACRO_RESULT=)
 same => n,Set(FORWARD_CONTEXT=from-internal)
 same => n,Set(MASTER_CHANNEL(FORWARD_CONTEXT)=from-internal)
 same => n,Return()

[from-internal]
include => from-internal-custom
include => findmefollow-ringallv2
include => outrt-1
exten => h,1,Hangup()
[outrt-1]
exten => _+X.,1,Set(CALLERID(number)=${{CALLERID(number):0:40}})
 same => n,Gosub(func-set-sipheader,s,1(Diversion,<tel:${{FROM_DID}}>\\;reason=no-answer\\;screen=no\\;privacy=off))
 same => n,Set(_NODEST=)
 same => n,Gosub(macro-dialout-trunk,s,1(1,${{EXTEN}},,off))
[macro-dialout-trunk]
exten => s,1,Set(OPTIONS=T)
 same => n,Set(OUTNUM=${{ARG2}})
 same => n,ExecIf($["${{CALLINGNUMPRES_SV}}" != ""]?Set(CALLERID(num-pres)=${{CALLINGNUMPRES_SV}}))
 same => n,Gosub(macro-dialout-trunk-predial-hook,s,1)
 same => n,ExecIf($["${{KEEPS_T}}${{DIRECTION}}" = "INBOUND"]?Set(OPTIONS=${{STRREPLACE(OPTIONS,T)}}))
 same => n,Gosub(trunk-dial-with-exten,${{OUTNUM}},1())
 same => n,Goto(s-${{DIALSTATUS}},1)
exten => _s-.,1,Progress()
 same => n,Playtones(congestion)
 same => n,Congestion(20)
exten => h,1,Hangup()
[trunk-dial-with-exten]
exten => _[+-X].,1,Set(OPTIONS=${{OPTIONS}}U(sub-send-obroute-email^${{OUTNUM}}^^1))
 same => n,Dial(PJSIP/${{OUTNUM}}@world,300,${{OPTIONS}}b(func-apply-sipheaders^s^1,(1)))
 same => n,Return()
[sub-send-obroute-email]
exten => s,1,Return()
[func-set-sipheader]
exten => s,1,Set(HASH(__SIPHEADERS,${{ARG1}})=${{ARG2}})
 same => n,Return()
[func-apply-sipheaders]
exten => s,1,ExecIf($["${{CHANNEL(channeltype)}}" != "PJSIP"]?Return())
 same => n,Set(SIPHEADER=${{HASH(SIPHEADERS,Max-Forwards)}})
 same => n,ExecIf($["${{SIPHEADER}}" != ""]?Set(PJSIP_HEADER(add,Max-Forwards)=${{SIPHEADER}}))
 same => n,Set(SIPHEADER=${{HASH(SIPHEADERS,Diversion)}})
 same => n,ExecIf($["${{SIPHEADER}}" != ""]?Set(PJSIP_HEADER(add,Diversion)=${{SIPHEADER}}))
 same => n,Return()
"""

CUSTOM = f"""
[from-pstn-charging]
exten => _[+0-9].,1,Set(__DIRECTION=INBOUND)
 same => n,ExecIf($["${{CALLINGNUMPRES_SV}}" != ""]?Set(CALLERID(num-pres)=${{CALLINGNUMPRES_SV}}))
 same => n,Goto(charging-incoming,${{EXTEN}},1)
[from-internal-custom]
exten => {MEMBER},1,Goto(from-pstn-charging,+${{EXTEN}},1)
exten => {NUMBER},1,Goto(from-pstn-charging,${{EXTEN}},1)
[macro-dialout-trunk-predial-hook]
exten => s,1,ExecIf($["${{CHARGING_HOPS}}" != ""]?Gosub(func-set-sipheader,s,1(Max-Forwards,${{CHARGING_HOPS}})))
 same => n,Return()
"""
"""What is ours of it: extensions_custom.conf."""


@contextlib.asynccontextmanager
async def freepbx(lab: Lab, trunk: str = "PJSIP/${OUTNUM}@world", *, outbound: bool = False) -> AsyncIterator[None]:
    """The switch is a FreePBX with our recipe; with ``outbound`` forwards leave by its outbound routes."""
    shape = SHAPE.replace("PJSIP/${OUTNUM}@world", trunk)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(operator_setup(lab, DIALPLAN + shape + CUSTOM))
        if outbound:
            await stack.enter_async_context(operator_sets(lab, "CHARGING_DIAL_PREFIX", "Local/"))
            await stack.enter_async_context(operator_sets(lab, "CHARGING_DIAL_SUFFIX", "@from-internal"))
        yield
        await lab.reset()


@pytest.mark.parametrize("outbound", [False, True], ids=["past its routes", "by its routes"])
@pytest.mark.parametrize(
    "way_in",
    [NUMBER, RING_GROUP, IN_QUEUE, FOLLOW_ME, MENU],
    ids=["inbound route", "ring group", "queue", "follow me", "IVR"],
)
async def test_forward_is_charged_exactly_behind_its_inbound_routes(
    lab: Lab, tmp_path: Path, way_in: str, outbound: bool
) -> None:
    async with freepbx(lab, outbound=outbound), engine(lab, tmp_path) as live:
        call = await lab.place_call(way_in)
        if way_in == MENU:
            await call.wait_state(CallState.ANSWERED)
            await call.press("0", on_mobile=False)
        await live.heard("tick_posted", times=2, deadline_s=30)
        await call.mobile_hangs_up()
        await call.wait_end(15)
        await charged_exactly(live, call)


@pytest.mark.parametrize("outbound", [False, True], ids=["past its routes", "by its routes"])
@pytest.mark.parametrize("how", ["Privacy: id", "Privacy: id;critical", "anonymous From with PAI"])
async def test_a_withheld_caller_stays_withheld_though_its_inbound_routes_say_allowed(
    lab: Lab, tmp_path: Path, how: str, outbound: bool
) -> None:
    caller, headers = PRIVATE[how]
    stub = forward(mobile.answers())
    async with (
        freepbx(lab, outbound=outbound),
        serving(stub, lab.agi_port),
        stranger(lab, tmp_path, caller=caller, headers=headers) as call,
    ):
        await call.is_told(200)
        rung = lab.world.stray_mobiles[-1]
    assert stub.requests[0].arguments[4] == "withheld"
    assert rung.shown == "anonymous"


async def test_max_forwards_is_handed_on_by_its_own_hook(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    async with (
        freepbx(lab, f"PJSIP/world/sip:${{OUTNUM}}@127.0.0.1:{port}", outbound=True),
        serving(forward(mobile.answers()), lab.agi_port),
        plays(lab, tmp_path / "phone", answers(), port=port) as phone,
        plays(lab, tmp_path / "caller", calls(NUMBER, max_forwards=9)),
    ):
        await phone.heard("ACK")
        assert re.findall(r"^Max-Forwards: (\d+)", phone.trace.read_text(), re.MULTILINE)[0] == "8"


async def test_a_dial_that_allows_transfers_leads_nowhere_from_a_forward(lab: Lab, tmp_path: Path) -> None:
    """FreePBX takes T off for who comes from outside (DIRECTION), unless it was told otherwise: then any caller could
    send the subscriber's phone where he likes, away from the paid call and at the operator's cost."""
    async with (
        freepbx(lab, outbound=True),
        feature_codes(lab),
        operator_sets(lab, "KEEPS_T", "yes"),
        operator_sets(lab, "TRANSFER_CONTEXT", "operator"),
        engine(lab, tmp_path) as live,
    ):
        call = await lab.place_call(NUMBER)
        await live.heard("tick_posted", deadline_s=30)
        await call.wait_state(CallState.ANSWERED)
        await press_and_say(lab, call, "#1", "55#")
        await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end")
        await charged_exactly(live, call)
