"""What a party may say in SIP while a charged call lasts changes nothing in what it costs, nor in when it is cut."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from charging.lab import Lab
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, billed_s_of, engine, is_as_long
from tests.asterisk.operator_setup import STRAIGHT
from tests.asterisk.sip_steps import (
    ON_HOLD,
    TALKING,
    Party,
    calls,
    hears,
    is_told,
    pauses,
    plays,
    renegotiates,
    requests,
    subscriber,
)
from tests.asterisk.test_check_live import Edit, edited

pytestmark = pytest.mark.asterisk

HOLDS = (pauses(1), renegotiates(ON_HOLD, cseq=2), pauses(2))
TAKES_BACK = (renegotiates(TALKING, cseq=3), requests("UPDATE", cseq=4), is_told(200))
USUAL_PORT = 5060
FALSE_ALARMS = ("clocks_disagreed", "quota_overrun", "end_unproven", "event_contradicted", "booking_contradicted")


async def charged_exactly(live: Engine, phone: Party, credit: int = 10_000_000) -> None:
    """By the forwarded leg's own record, to the second by the phone's messages, once, and without a false alarm."""
    cdr = await live.cdr()
    assert cdr["proof"] == "black_box", cdr
    assert is_as_long(cdr, phone.connected_s), cdr
    assert cdr["billed_s"] == billed_s_of(cdr["used_ms"])
    assert await live.posted() == credit - cdr["billed_s"] * SECOND
    await live.nothing_reserved()
    assert len((await live.daemon.get("/cdrs"))["items"]) == 1
    for event in FALSE_ALARMS:
        assert not live.daemon.events(event), event


async def test_holding_taking_back_and_update_are_charged_like_talk(lab: Lab, tmp_path: Path) -> None:
    steps = (*HOLDS, *TAKES_BACK, pauses(3.3), requests("BYE", cseq=5), is_told(200))
    async with (
        engine(lab, tmp_path) as live,
        subscriber(lab, tmp_path / "phone", *steps) as phone,
        plays(lab, tmp_path / "caller", calls(STRAIGHT), hears("BYE")),
    ):
        await phone.said("BYE", 30)
        await charged_exactly(live, phone)
        assert len(live.daemon.events("tick_posted")) >= 3


@pytest.mark.parametrize("holder", ["subscriber", "caller"])
async def test_call_on_hold_is_cut_when_its_money_ends(lab: Lab, tmp_path: Path, holder: str) -> None:
    holds = (*HOLDS, hears("BYE"))
    its, other = (holds, (hears("BYE"),)) if holder == "subscriber" else ((hears("BYE"),), holds)
    async with (
        engine(lab, tmp_path, credit="0.005") as live,
        subscriber(lab, tmp_path / "phone", *its) as phone,
        plays(lab, tmp_path / "caller", calls(STRAIGHT), *other) as caller,
    ):
        await phone.heard("BYE", deadline_s=30)
        assert abs(phone.connected_s - 5) < MEASURES_APART_S
        await caller.heard("BYE")
        await charged_exactly(live, phone, 5 * SECOND)


async def test_bye_that_crosses_the_cut_is_charged_once(lab: Lab, tmp_path: Path) -> None:
    crossing = (hears("BYE", answered=False), requests("BYE", cseq=2), "<!-- and only now -->", hears("BYE"))
    async with (
        engine(lab, tmp_path, credit="0.003") as live,
        subscriber(lab, tmp_path / "phone", *crossing) as phone,
        plays(lab, tmp_path / "caller", calls(STRAIGHT), *crossing) as caller,
    ):
        await phone.said("BYE", 30)
        await caller.said("BYE")
        assert abs(phone.connected_s - 3) < MEASURES_APART_S
        await charged_exactly(live, phone, 3 * SECOND)


async def test_a_party_hears_nothing_that_is_meant_for_another_labs(lab: Lab, tmp_path: Path) -> None:
    """Their switches say again what was not answered, to SIP's usual port, where a party was before."""
    bye = f"BYE sip:stranger@127.0.0.1:{USUAL_PORT} SIP/2.0\r\nCall-ID: another\r\nCSeq: 1 BYE\r\n\r\n".encode()
    async with plays(lab, tmp_path / "caller", calls(STRAIGHT), hears("BYE")) as caller:
        await caller.said("INVITE")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(bye, ("127.0.0.1", USUAL_PORT))
        await caller.heard("SIP/2.0", times=2)
    assert not [one for one in caller.messages() if one.first_line.startswith("BYE")]


@pytest.mark.long
async def test_caller_who_lets_the_session_timer_expire_is_charged_to_its_end(lab: Lab, tmp_path: Path) -> None:
    """RFC 4028: who said he would refresh and does not is taken for dead, a third before the time is over. (Nobody
    speaks here, so the switch must not end the call for that, at the same moment.)"""
    timer = ("Supported: timer", "Session-Expires: 90;refresher=uac", "Min-SE: 90")
    async with (
        edited(lab, Edit("pjsip.conf", "rtp_timeout = 40", "rtp_timeout = 0")),
        engine(lab, tmp_path) as live,
        subscriber(lab, tmp_path / "phone", hears("BYE")) as phone,
        plays(lab, tmp_path / "caller", calls(STRAIGHT, *timer), hears("BYE")) as caller,
    ):
        await caller.heard("BYE", deadline_s=120)
        await phone.heard("BYE", deadline_s=30)
        assert "No session refresh received" in caller.trace.read_text()
        assert 55 <= phone.connected_s <= 91
        await charged_exactly(live, phone)


@pytest.mark.long
async def test_call_in_which_nobody_speaks_is_charged_to_its_end(lab: Lab, tmp_path: Path) -> None:
    """The endpoint's rtp_timeout: a leg whose network died does not stay up until its money is gone."""
    async with (
        engine(lab, tmp_path) as live,
        subscriber(lab, tmp_path / "phone", hears("BYE")) as phone,
        plays(lab, tmp_path / "caller", calls(STRAIGHT), hears("BYE")) as caller,
    ):
        await phone.heard("BYE", deadline_s=120)
        await caller.heard("BYE")
        assert 36 <= phone.connected_s <= 50
        await charged_exactly(live, phone)
