"""An operator's own dialplan on the lab's switch: what stands before ``charging-incoming`` in ordinary set-ups.

Each way in is a number on the trunk. None of it is ours, and all of it must be charged right.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from charging.lab import Lab
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

[outbound]
exten => _+X.,1,Dial(PJSIP/${{EXTEN}}@world,,b(charging-onward^s^1))

[operator]
exten => closed,1,Wait(30)
exten => greets,1,Answer()
 same => n,Wait({WELCOME_S})
 same => n,Hangup()
exten => elsewhere,1,Answer()
 same => n,Wait(60)
exten => colleague,1,Answer()
 same => n,Echo()
"""

QUEUES = f"""
[general]
[forwards]
strategy = ringall
timeout = 30
member => Local/{NUMBER}@charging-incoming
"""

PARKING = """
[general]
[default]
parkext = 700
parkpos = 701-720
context = parkedcalls
"""

MODULES = ("app_echo", "app_queue", "res_parking", "app_directed_pickup", "res_pjsip_refer")


@contextlib.asynccontextmanager
async def transfers_allowed(lab: Lab) -> AsyncIterator[None]:
    """The operator lets the trunk's parties transfer calls (REFER), against our advice."""
    pjsip = lab.switch.folder / "etc" / "pjsip.conf"
    before = pjsip.read_text()
    pjsip.write_text(before.replace("allow_transfer = no", "allow_transfer = yes"))
    await lab.switch.cli("module reload res_pjsip.so")
    try:
        yield
    finally:
        pjsip.write_text(before)
        await lab.switch.cli("module reload res_pjsip.so")


@contextlib.asynccontextmanager
async def operator_setup(lab: Lab, contexts: str = DIALPLAN) -> AsyncIterator[None]:
    """The operator's contexts and queue are there, and gone afterwards."""
    etc = lab.switch.folder / "etc"
    dialplan = etc / "extensions.conf"
    before = dialplan.read_text()
    (etc / "queues.conf").write_text(QUEUES)
    (etc / "res_parking.conf").write_text(PARKING)
    dialplan.write_text(before + contexts)
    for module in MODULES:
        await lab.switch.cli(f"module load {module}.so")
    await lab.switch.cli("dialplan reload")
    try:
        yield
    finally:
        dialplan.write_text(before)
        await lab.switch.cli("dialplan reload")
        for module in MODULES:
            await lab.switch.cli(f"module unload {module}.so")
