"""An operator's own dialplan on the lab's switch: what stands before ``charging-incoming`` in ordinary set-ups.

Each way in is a number on the trunk. None of it is ours, and all of it must be charged right.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from charging.lab import Call, Lab
from charging.lab.ami import LabAmi, Message
from tests.asterisk.engine import NUMBER

WELCOME_S = 2

STRAIGHT = NUMBER
RING_GROUP = "+31850000081"
RING_GROUP_N = "+31850000082"
QUEUE = "+31850000083"
WELCOME = "+31850000084"
WELCOME_AND_RING_GROUP = "+31850000085"
SECOND_RING_GROUP = "+31850000086"
DIALLED_BEFORE = "+31850000087"
COLLEAGUE = "+31850000088"
"""Nothing to be charged: someone of the operator's own, who answers."""
QUEUE_N = "+31850000089"
FOLLOW_ME = "+31850000090"
WITH_OWN_SUBROUTINES = "+31850000091"
WITH_FEATURES = "+31850000092"
WITH_FEATURES_N = "+31850000093"
COMPLETES_CALLS = "+31850000094"
"""Offers to ring back, as CCSS does."""
WAITING = "+31850000095"
"""A queue in which nobody answers."""
EARLY_MEDIA = "+31850000060"
"""He hears something before anyone answers."""
ANSWERED_INTO_A_CONFERENCE = "+31850000061"
CALLEE_STAYS = "+31850000062"
"""As its caller hangs up the dialplan goes on with whom he called."""
PAGED = "+31850000063"
QUEUE_WITH_FEATURES = "+31850000064"
"""Its context for transfers is ours, as nothing else is said."""
COLLEAGUE_TRANSFERS = "+31850000065"
"""Who calls may transfer the colleague to a subscriber's number."""
TALKER = "+31850000066"
"""Nothing to be charged: someone of the operator's own, who answers and never stops talking."""
ADORNED = "+31850000058"
"""His `Dial` plays, dials digits, limits and hides, and asks who answers."""
LOCAL_NJ = "+31850000067"
LOCAL_M = "+31850000068"
GOES_ON_AFTER = "+31850000069"
"""As the subscriber hangs up, his caller goes on in the operator's dialplan."""
QUEUE_ADORNED = "+31850000074"
TWO_SUBSCRIBERS = "+31850000075"
FEATURES_TO_US = "+31850000051"
"""Its caller may transfer the subscriber to a subscriber's number."""
IN_ARI = "+31850000052"
"""The operator's own ARI application has the caller."""
AGENT = "+31850000053"
"""Asks for agent 1001, who has logged in, or not."""
DIRECTORY = "+31850000054"
"""He chooses a subscriber by the first letters of a name."""
OTHER = "+31850000002"
"""The second subscriber that it rings."""

DIALPLAN = f"""
[trunk](+)
exten => {RING_GROUP},1,Dial(Local/{NUMBER}@charging-incoming)
exten => {RING_GROUP_N},1,Dial(Local/{NUMBER}@charging-incoming/n)
exten => {QUEUE},1,Answer()
 same => n,Queue(forwards,r)
exten => {WELCOME},1,Answer()
 same => n,Wait({WELCOME_S})
 same => n,Goto(charging-incoming,{NUMBER},1)
exten => {WELCOME_AND_RING_GROUP},1,Answer()
 same => n,Wait({WELCOME_S})
 same => n,Dial(Local/{NUMBER}@charging-incoming)
exten => {SECOND_RING_GROUP},1,Dial(Local/{RING_GROUP}@trunk&Local/closed@operator)
exten => {DIALLED_BEFORE},1,Dial(Local/greets@operator/n,,g)
 same => n,Goto(charging-incoming,{NUMBER},1)
exten => {COLLEAGUE},1,Dial(Local/colleague@operator/n)
exten => {QUEUE_N},1,Answer()
 same => n,Queue(forwards-n,r)
exten => {FOLLOW_ME},1,FollowMe(anna)
exten => {WITH_OWN_SUBROUTINES},1,Dial(Local/{NUMBER}@charging-incoming,,b(notes^s^1)B(notes^s^1)U(notes))
exten => {WITH_FEATURES},1,Set(__TRANSFER_CONTEXT=operator)
 same => n,Dial(Local/{NUMBER}@charging-incoming,,tTkKxXhHwW)
exten => {WITH_FEATURES_N},1,Set(__TRANSFER_CONTEXT=operator)
 same => n,Dial(Local/{NUMBER}@charging-incoming/n,,tTkKxXhHwW)
exten => {FEATURES_TO_US},1,Set(__TRANSFER_CONTEXT=charging-incoming)
 same => n,Dial(Local/{NUMBER}@charging-incoming,,tTkKxXhHwW)
exten => {IN_ARI},1,Goto(operator,in-ari,1)
exten => {AGENT},1,Answer()
 same => n(again),AgentRequest(1001)
 same => n,Wait(1)
 same => n,Goto(again)
exten => {DIRECTORY},1,Answer()
 same => n,Directory(directory,charging-incoming)
exten => {COMPLETES_CALLS},1,Set(CALLCOMPLETION(cc_agent_policy)=generic)
 same => n,Set(CALLCOMPLETION(cc_monitor_policy)=generic)
 same => n,Dial(Local/{NUMBER}@charging-incoming,2)
 same => n,CallCompletionRequest()
 same => n,Set(GLOBAL(OFFERED)=${{CC_REQUEST_RESULT}} ${{CC_REQUEST_REASON}})
exten => {WAITING},1,Answer()
 same => n,Queue(nobody)
exten => {EARLY_MEDIA},1,Progress()
 same => n,Playtones(400)
 same => n,Wait({WELCOME_S})
 same => n,Goto(charging-incoming,{NUMBER},1)
exten => {ANSWERED_INTO_A_CONFERENCE},1,Dial(Local/{NUMBER}@charging-incoming,,G(operator^conference^1))
exten => {CALLEE_STAYS},1,Dial(Local/{NUMBER}@charging-incoming,,F(operator^elsewhere^1))
exten => {PAGED},1,Answer()
 same => n,Page(Local/{NUMBER}@charging-incoming,,20)
exten => {QUEUE_WITH_FEATURES},1,Answer()
 same => n,Queue(forwards,rtTkKxXhHwW)
exten => {COLLEAGUE_TRANSFERS},1,Set(__TRANSFER_CONTEXT=charging-incoming)
 same => n,Dial(Local/colleague@operator/n,,T)
exten => {TALKER},1,Dial(Local/talks@operator/n)
exten => {ADORNED},1,Dial(Local/{NUMBER}@charging-incoming,60,mIA(beep)D(12:34)L(300000:60000)U(notes))
exten => {LOCAL_NJ},1,Dial(Local/{NUMBER}@charging-incoming/nj)
exten => {LOCAL_M},1,Dial(Local/{NUMBER}@charging-incoming/nm)
exten => {GOES_ON_AFTER},1,Dial(Local/{NUMBER}@charging-incoming,,g)
 same => n,Wait(60)
exten => {QUEUE_ADORNED},1,Answer()
 same => n,Queue(forwards,rc,,beep,60,,,notes)
exten => {TWO_SUBSCRIBERS},1,Dial(Local/{NUMBER}@charging-incoming&Local/{OTHER}@charging-incoming)

[outbound]
exten => _+X.,1,Dial(PJSIP/${{EXTEN}}@world,,b(charging-onward^s^1))

[notes]
exten => s,1,Set(NOTED=${{CHANNEL}})
 same => n,Set(CHANNEL(hangup_handler_push)=notes,ended,1)
 same => n,Return()
exten => ended,1,Return()

[operator]
exten => closed,1,Wait(30)
exten => greets,1,Answer()
 same => n,Wait({WELCOME_S})
 same => n,Hangup()
exten => elsewhere,1,Answer()
 same => n,Wait(60)
exten => colleague,1,Answer()
 same => n,Echo()
exten => talks,1,Answer()
 same => n,Playtones(400)
 same => n,Wait(120)
exten => 55,1,Goto(elsewhere,1)
exten => 56,1,Goto(colleague,1)
exten => 57,1,Answer()
 same => n,Queue(nobody)
exten => conference,1,Answer()
 same => n,ConfBridge(1)
exten => holding,1,Answer()
 same => n,BridgeWait(1)
exten => fetches,1,Answer()
 same => n,ParkedCall(default,701)
exten => picks,1,Answer()
 same => n,Set(CHANNEL(pickupgroup)=1)
 same => n,TryExec(${{PICKS}})
 same => n,Set(GLOBAL(PICKED)=nobody)
exten => in-ari,1,Stasis(operator)
exten => logs-in,1,Answer()
 same => n,AgentLogin(1001,s)
exten => adds,1,Answer()
 same => n,BridgeAdd(${{ADDS}})
exten => spies,1,Answer()
 same => n,ChanSpy(PJSIP/world,q${{SPIES}})
"""

QUEUES = f"""
[general]
[forwards]
strategy = ringall
timeout = 30
member => Local/{NUMBER}@charging-incoming
[forwards-n]
strategy = ringall
timeout = 30
member => Local/{NUMBER}@charging-incoming/n
[nobody]
strategy = ringall
[700]
strategy = ringall
timeout = 30
member => Local/{NUMBER.removeprefix("+")}@from-queue/n,0
"""
FOLLOWME = f"""
[anna]
context => charging-incoming
number => {NUMBER},20
enable_callee_prompt => no
"""
CONFBRIDGE = """
[general]
[default_bridge]
type = bridge
[default_user]
type = user
quiet = yes
"""
AGENTS = """
[general]
[1001]
fullname = Anna
"""
DIRECTORY_MAILBOX = f"""
[directory]
0{NUMBER.removeprefix("+31")} => 1234,Anna Wvu
"""
FEATURE_CODES = """
[general](+)
featuredigittimeout = 5000
transferdigittimeout = 15
[featuremap]
blindxfer = #1
atxfer = *2
disconnect = *0
automixmon = *3
parkcall = #7
"""
"""Patient: on a busy machine a second passes between two digits."""

PARKING = """
[general]
[default]
parkext = 700
parkpos = 701-720
context = parkedcalls
"""

MODULES = (
    *("app_echo", "app_queue", "res_parking", "app_directed_pickup", "res_pjsip_refer", "app_channelredirect"),
    *("app_confbridge", "app_followme", "app_bridgewait", "func_callcompletion", "app_page", "app_bridgeaddchan"),
    *("app_agent_pool", "app_directory", "res_mutestream"),
)
"""On builds that lack some of them what they do cannot be tried."""


@contextlib.asynccontextmanager
async def transfers_allowed(lab: Lab) -> AsyncIterator[None]:
    """The operator lets the trunk's parties transfer calls (REFER), against our advice."""
    async with trunk_allows(lab, "allow_transfer"):
        yield


@contextlib.asynccontextmanager
async def trunk_allows(lab: Lab, what: str) -> AsyncIterator[None]:
    """A setting of the trunk's endpoint is ``yes``, against our advice."""
    pjsip = lab.switch.folder / "etc" / "pjsip.conf"
    before = pjsip.read_text()
    pjsip.write_text(before.replace(f"{what} = no", f"{what} = yes"))
    await lab.switch.cli("module reload res_pjsip.so")
    try:
        yield
    finally:
        pjsip.write_text(before)
        await lab.switch.cli("module reload res_pjsip.so")


@contextlib.asynccontextmanager
async def feature_codes(lab: Lab) -> AsyncIterator[None]:
    """The operator's phones have codes for transfer, parking and recording (features.conf)."""
    features = lab.switch.folder / "etc" / "features.conf"
    before = features.read_text()
    features.write_text(before + FEATURE_CODES)
    await lab.switch.cli("module reload features")
    try:
        yield
    finally:
        features.write_text(before)
        await lab.switch.cli("module reload features")


async def press_and_say(lab: Lab, call: Call, code: str, number: str, *, on_mobile: bool = False) -> None:
    """A transfer: the code, and where to as soon as Asterisk reads digits; it puts the other one on hold then.

    ``number`` ends with ``#`` if the context has longer ones that begin like it.
    """
    reads = asyncio.Event()

    def is_told(event: Message) -> None:
        if event["Event"] == "Hold":
            reads.set()

    ami = LabAmi(lab.switch.ami, is_told)
    await ami.connect()
    try:
        await call.press(code, on_mobile=on_mobile)
        await asyncio.wait_for(reads.wait(), 30)
    finally:
        await ami.close()
    await call.press(number, on_mobile=on_mobile)


@contextlib.asynccontextmanager
async def operator_setup(lab: Lab, contexts: str = DIALPLAN) -> AsyncIterator[None]:
    """The operator's contexts and queue are there, and gone afterwards."""
    etc = lab.switch.folder / "etc"
    dialplan, voicemail = etc / "extensions.conf", etc / "voicemail.conf"
    before, boxes = dialplan.read_text(), voicemail.read_text()
    texts = {"queues": QUEUES, "res_parking": PARKING, "followme": FOLLOWME, "confbridge": CONFBRIDGE, "agents": AGENTS}
    for name, text in texts.items():
        (etc / f"{name}.conf").write_text(text)
    dialplan.write_text(before + contexts)
    voicemail.write_text(boxes + DIRECTORY_MAILBOX)
    await lab.switch.cli("dialplan reload")  # first: a queue's member whose context is not there is invalid for good
    for module in MODULES:
        await lab.switch.cli(f"module load {module}.so")
    try:
        yield
    finally:
        await lab.reset()  # Asterisk dies of a segmentation fault if a module is unloaded under a parked call
        dialplan.write_text(before)
        voicemail.write_text(boxes)
        await lab.switch.cli("dialplan reload")
        await _unload(lab)


async def _unload(lab: Lab) -> None:
    """Asterisk may die of it: seen once in some 900 set-ups, in its own code, where no channel was left."""
    try:
        for module in MODULES:
            await lab.switch.cli(f"module unload {module}.so")
    except OSError:
        await lab.switch.kill()
        await lab.switch.start()
