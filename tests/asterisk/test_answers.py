"""What the mobile's side says while it rings, and instead of an answer: it costs nothing, and is followed nowhere.

SIPp plays the phone of the number that is forwarded to.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab
from charging.lab.ports import free_port
from tests.asterisk.engine import Engine, engine, is_as_long, number_of
from tests.asterisk.operator_setup import STRAIGHT, operator_setup
from tests.asterisk.parties import operator_sets
from tests.asterisk.sip_steps import Party, hears, pauses, plays, requests, says, taken_in, takes_the_call
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

OTHER = number_of(1)
LOCAL = ("Local/", "@outbound")
"""Through the operator's own ``Dial``, which would follow a diversion."""


@pytest_asyncio.fixture(loop_scope="session")
async def set_up(lab: Lab) -> AsyncIterator[Lab]:
    async with operator_setup(lab):
        yield lab
        await lab.reset()


@contextlib.asynccontextmanager
async def _phone(lab: Lab, folder: Path, *steps: str, behind_local: bool = False) -> AsyncIterator[Party]:
    """All forwarded calls go to SIPp, also those that leave by a ``Dial`` of the operator's."""
    port = free_port()
    pjsip = lab.switch.folder / "etc" / "pjsip.conf"
    before = pjsip.read_text()
    pjsip.write_text(before.replace(f"contact = sip:127.0.0.1:{lab.world_sip_port}", f"contact = sip:127.0.0.1:{port}"))
    prefix, suffix = LOCAL if behind_local else ("PJSIP/", "@world")
    try:
        await lab.switch.cli("module reload res_pjsip.so")
        async with (
            operator_sets(lab, "CHARGING_DIAL_PREFIX", prefix),
            operator_sets(lab, "CHARGING_DIAL_SUFFIX", suffix),
            plays(lab, folder, taken_in(), *steps, port=port) as party,
        ):
            yield party
    finally:
        pjsip.write_text(before)
        await lab.switch.cli("module reload res_pjsip.so")


async def _charged(live: Engine, phone: Party) -> None:
    cdr = await live.cdr()
    assert cdr["proof"] == "black_box", cdr
    assert is_as_long(cdr, phone.connected_s), cdr
    await live.nothing_reserved()
    assert len((await live.daemon.get("/cdrs"))["items"]) == 1


ENDS = (pauses(5.3), requests("BYE", cseq=2), pauses(30))
PRACKED = (
    says("183 Session Progress", "Require: 100rel", "RSeq: 17", early=True),
    hears("PRACK"),
)
RINGS = {
    "181 Call Is Being Forwarded": (says("181 Call Is Being Forwarded"), pauses(3)),
    "182 Queued, 180 again and again": (says("182 Queued"), *(says("180 Ringing"), pauses(1)) * 3),
    "199 Early Dialog Terminated": (says("180 Ringing"), says("199 Early Dialog Terminated"), pauses(3)),
    "early media": (says("183 Session Progress", early=True), pauses(3)),
    "PRACK (100rel)": (*PRACKED, pauses(3)),
    "says nothing": (pauses(3),),
    "180 with a body": (says("180 Ringing", early=True), pauses(3)),
}


@pytest.mark.parametrize("how", RINGS)
@pytest.mark.parametrize(
    ("behind_local", "early"),
    [(False, "no"), (False, "yes"), (True, "no")],
    ids=["trunk", "trunk, early media", "own Dial"],
)
async def test_ringing_in_every_form_costs_nothing_and_the_talk_what_it_lasts(
    set_up: Lab, tmp_path: Path, how: str, early: str, behind_local: bool
) -> None:
    async with (
        engine(set_up, tmp_path) as live,
        operator_sets(set_up, "CHARGING_EARLY_MEDIA", early),
        _phone(set_up, tmp_path / "phone", *RINGS[how], takes_the_call(), *ENDS, behind_local=behind_local) as phone,
    ):
        call = await set_up.place_call(STRAIGHT)
        await phone.said("BYE", 40)
        await call.wait_state(CallState.ENDED, 20)
        await _charged(live, phone)
        ticks = live.daemon.events("tick_posted")
        assert len(ticks) >= 2


INSTEAD = {
    "300 to a subscriber": ("300 Multiple Choices", OTHER),
    "301 to a stranger": ("301 Moved Permanently", "+31900123456"),
    "302 to a stranger": ("302 Moved Temporarily", "+31900123456"),
    "302 to the subscriber": ("302 Moved Temporarily", STRAIGHT),
    "302 to another subscriber": ("302 Moved Temporarily", OTHER),
    "302 to a place of the switch": ("302 Moved Temporarily", "colleague"),
    "305": ("305 Use Proxy", OTHER),
    "380": ("380 Alternative Service", OTHER),
    "302 to nowhere": ("302 Moved Temporarily", ""),
    "486": ("486 Busy Here", ""),
    "603": ("603 Decline", ""),
    "606": ("606 Not Acceptable", ""),
    "500": ("500 Server Internal Error", ""),
    "407": ("407 Proxy Authentication Required", ""),
}


async def _is_the_voicemails_alone(lab: Lab) -> bool:
    return [one["Context"] for one in await lab.switch.channels()] == ["charging-voicemail"]


@pytest.mark.parametrize("behind_local", [False, True], ids=["trunk", "own Dial"])
@pytest.mark.parametrize("how", INSTEAD)
async def test_what_comes_instead_of_an_answer_is_followed_nowhere_and_costs_nothing(
    set_up: Lab, tmp_path: Path, how: str, behind_local: bool
) -> None:
    """The paid time is priced for the number that was dialled. The caller comes to voicemail, as at any busy phone."""
    status, to = INSTEAD[how]
    contact = f"Contact: <sip:{to}@127.0.0.1:{set_up.sip_port}>" if to else "Subject: none"
    refuses = (says("180 Ringing"), pauses(0.5), says(status, contact), pauses(30))
    async with (
        engine(set_up, tmp_path, plan="voice_free", others=1) as live,
        _phone(set_up, tmp_path / "phone", *refuses, behind_local=behind_local),
    ):
        call = await set_up.place_call(STRAIGHT)
        await call.wait_state(CallState.ANSWERED, 30)
        await eventually(lambda: _is_the_voicemails_alone(set_up), "the legs that were refused to end")
        await call.hang_up()
        (cdr,) = await live.cdrs(1)
        assert (cdr["service"], cdr["messages"], cdr["cost"], cdr["account"]) == ("voicemail", 0, "0.00", "anna"), cdr
        await live.nothing_reserved()
        decided = [(one["account"], one["decision"]) for one in live.daemon.events("call_decided")]
        assert decided == [("anna", "forward"), ("anna", "voicemail")]
