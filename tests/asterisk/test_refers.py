"""REFER in all its forms, on a trunk that allows transfers against our advice: exact, or ended at once with a reason.

The caller's side and the mobile's are played by SIPp; they refer to a colleague of the operator's, to a subscriber's
number, or to another call of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from charging.lab import Call, CallState, Lab
from tests.asterisk.engine import Engine, engine, is_as_long, number_of
from tests.asterisk.operator_setup import COLLEAGUE, STRAIGHT, operator_setup, transfers_allowed
from tests.asterisk.parties import channels_gone, dialog_of
from tests.asterisk.raw_call import raw_call
from tests.asterisk.sip_steps import calls, hears, is_told, pauses, plays, requests, subscriber
from tests.asterisk.test_moved_legs import _charged_by_the_phone, _forwarded_leg, _to_the_colleague
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

OTHER = number_of(1)
WITH_REASON_S = 30
REFERRED = "Referred-By: <sip:caller@carrier.example>"


@pytest_asyncio.fixture(loop_scope="session")
async def set_up(lab: Lab) -> AsyncIterator[Lab]:
    async with operator_setup(lab), transfers_allowed(lab):
        yield lab
        await lab.reset()


def _refers(to: str, *headers: str) -> str:
    return requests("REFER", f"Refer-To: <sip:{to}@127.0.0.1>", *headers, cseq=2)


TARGETS = {
    "a colleague": COLLEAGUE,
    "another subscriber": OTHER,
    "the same subscriber": STRAIGHT,
    "a number with parameters": f"{OTHER};isub=1",
    "nobody": "+31859999998",
}


@pytest.mark.parametrize("to", TARGETS)
async def test_caller_who_refers_the_forwarded_leg_ends_the_call(set_up: Lab, tmp_path: Path, to: str) -> None:
    """As a caller of its own it would lose its record; to a colleague it would talk on, and nobody would pay."""
    steps = (calls(STRAIGHT), pauses(3), _refers(TARGETS[to], REFERRED), is_told(202), pauses(60))
    async with (
        engine(set_up, tmp_path, others=1) as live,
        subscriber(set_up, tmp_path / "phone", hears("BYE")) as phone,
        plays(set_up, tmp_path / "caller", *steps),
    ):
        await phone.heard("BYE", deadline_s=WITH_REASON_S)
        await _charged_by_the_phone(live, phone)
        await channels_gone(set_up)
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


@pytest.mark.parametrize("to", ["another subscriber", "the same subscriber", "nobody"])
async def test_subscriber_who_refers_his_caller_to_a_number_ends_the_call(set_up: Lab, tmp_path: Path, to: str) -> None:
    """Where that is a subscriber's number, his caller is a caller as any other, or is hung up: never one unpaid."""
    steps = (pauses(3), _refers(TARGETS[to]), is_told(202), pauses(1), requests("BYE", cseq=3), is_told(200))
    async with (
        engine(set_up, tmp_path, others=1) as live,
        subscriber(set_up, tmp_path / "phone", *steps) as phone,
    ):
        call = await set_up.place_call(STRAIGHT)
        await phone.said("BYE", WITH_REASON_S)
        await call.wait_state(CallState.ENDED, WITH_REASON_S)
        cdr = (await live.cdrs(1))[0]
        assert (cdr["hangup_reason"], cdr["proof"]) == ("transferred", "black_box"), cdr
        assert is_as_long(cdr, phone.connected_s), cdr
        await live.nothing_reserved()
        await channels_gone(set_up)
        billed = sum(one["billed_s"] for one in await live.cdrs(1))
        assert billed == cdr["billed_s"]
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


@contextlib.asynccontextmanager
async def _two_calls(lab: Lab, folder: Path) -> AsyncIterator[tuple[Engine, Call]]:
    """The second one talks already; its mobile is the lab's."""
    async with engine(lab, folder, others=1) as live:
        other = await lab.place_call(OTHER)
        await live.heard("bridge_joined", deadline_s=30)
        yield live, other


def _each_as_long(found: Mapping[str, Mapping[str, Any]], measured: Mapping[str, float]) -> None:
    """Each account's CDR is as long as its leg heard, by the black box."""
    print(found, measured)
    for account, seconds in measured.items():
        assert found[account]["proof"] == "black_box", found[account]
        assert is_as_long(found[account], seconds), (found[account], seconds)


async def test_two_calls_that_their_caller_joins_go_on_each_on_its_own_money_or_end(
    set_up: Lab, tmp_path: Path
) -> None:
    """He has two subscribers on the line, and refers one to the other: he himself is gone from both."""
    async with _two_calls(set_up, tmp_path) as (live, other):
        caller = min(one["Channel"] for one in await set_up.switch.channels())  # the first that there was
        refers = requests("REFER", _to_the_colleague(await dialog_of(set_up, caller)), REFERRED, cseq=2)
        steps = (calls(STRAIGHT), pauses(3), refers, is_told(202), pauses(60))
        async with (
            subscriber(
                set_up, tmp_path / "phone", hears("UPDATE"), pauses(7.4), requests("BYE", cseq=2), pauses(30)
            ) as phone,
            plays(set_up, tmp_path / "caller", *steps),
        ):
            await other.wait_state(CallState.ENDED, WITH_REASON_S)
            found = {cdr["account"]: cdr for cdr in await live.cdrs(2)}
            await live.nothing_reserved()
            await channels_gone(set_up)
            measured = {"anna": phone.connected_s, "other-1": other.mobile.connected_s}
            _each_as_long(found, measured)
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


async def test_two_calls_whose_callers_the_subscriber_joins_end_both(set_up: Lab, tmp_path: Path) -> None:
    """The two callers would talk with one another, through the operator's switch and at nobody's cost."""
    async with _two_calls(set_up, tmp_path) as (live, other):
        leg = await _forwarded_leg(set_up)
        refers = requests("REFER", _to_the_colleague(await dialog_of(set_up, leg["Channel"])), REFERRED, cseq=2)
        steps = (pauses(3), refers, is_told(202), pauses(1), requests("BYE", cseq=3), is_told(200), pauses(30))
        async with subscriber(set_up, tmp_path / "phone", *steps) as phone:
            call = await set_up.place_call(STRAIGHT)
            for one in (call, other):
                await one.wait_state(CallState.ENDED, WITH_REASON_S)
            found = {cdr["account"]: cdr for cdr in await live.cdrs(2)}
            await live.nothing_reserved()
            await channels_gone(set_up)
            measured = {"anna": phone.connected_s, "other-1": other.mobile.connected_s}
            _each_as_long(found, measured)
            assert "transferred" in [found[account]["hangup_reason"] for account in measured]
        assert not [one for one in ("leg_without_session", "booking_contradicted") if live.daemon.events(one)]


NONSENSE = {
    "no such dialog": (f"Refer-To: <sip:{COLLEAGUE}@127.0.0.1?Replaces=nothing%3Bto-tag%3Da%3Bfrom-tag%3Db>", 202),
    "no target": ("Subject: transfer", 400),
    "two targets": (f"Refer-To: <sip:{COLLEAGUE}@127.0.0.1>, <sip:{OTHER}@127.0.0.1>", 400),
    "not SIP": ("Refer-To: <https://carrier.example/>", 400),
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("by", ["caller", "subscriber"])
async def test_refer_that_means_nothing_changes_nothing(set_up: Lab, tmp_path: Path, what: str, by: str) -> None:
    header, status = NONSENSE[what]
    refers = (pauses(1), requests("REFER", header, REFERRED, cseq=2), is_told(status), pauses(6.3))
    ends = (requests("BYE", cseq=3), pauses(30))
    caller = (calls(STRAIGHT), *(refers if by == "caller" else (pauses(9.3),)), *ends)
    mobile = (*(refers if by == "subscriber" else (pauses(9.3),)), *ends)
    async with (
        engine(set_up, tmp_path) as live,
        subscriber(set_up, tmp_path / "phone", *mobile) as phone,
        plays(set_up, tmp_path / "caller", *caller) as outside,
    ):
        await (outside if by == "caller" else phone).said("BYE", WITH_REASON_S)
        cdr = await _charged_by_the_phone(live, phone)
        # An unknown dialog may be another switch's (RFC 3891): Asterisk sends the caller there, and the call has ended.
        assert cdr["hangup_reason"] == ("transferred" if (by, status) == ("subscriber", 202) else "")
        assert len(live.daemon.events("tick_posted")) >= 3 or cdr["hangup_reason"]
        await channels_gone(set_up)


async def test_refer_out_of_nowhere_callschannels_gone(set_up: Lab, tmp_path: Path) -> None:
    """RFC 5359 lets one ask for a call so; the switch could be made to dial for strangers."""
    async with engine(set_up, tmp_path) as live, raw_call(set_up, STRAIGHT, invites=False) as stranger:
        stranger.ask("REFER", f"Refer-To: <sip:{OTHER}@127.0.0.1>")
        await eventually(lambda: _told(stranger.answers), "an answer to the REFER", 20)
        assert stranger.answers[0][1] >= 400, stranger.answers
        assert not live.daemon.events("call_decided")
        assert not await set_up.switch.channels()


async def _told(answers: list[tuple[str, int]]) -> bool:
    return bool(answers)
