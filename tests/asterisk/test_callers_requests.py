"""What a caller asks of the switch within his call, and beside any call: it ends no call, moves none, makes no second
free. The switch knows REFER and Replaces here, as an operator's does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab, mobile
from charging.pricing.money import parse_euro
from tests.asterisk.engine import NUMBER, Engine, engine, number_of
from tests.asterisk.operator_setup import trunk_allows
from tests.asterisk.parties import forward
from tests.asterisk.raw_call import CALLER, RawCall, raw_call, sdp
from tests.asterisk.sip_phone import phone
from tests.asterisk.stub_agi import serving
from tests.asterisk.test_strangers_and_money import BREAK, names
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

CREDIT = 10_000_000
ELSEWHERE = f"Refer-To: <sip:{number_of(1)}@carrier.example>"
BESIDE = (
    ("MESSAGE",),
    ("SUBSCRIBE", "Event: dialog"),
    ("SUBSCRIBE", "Event: message-summary"),
    ("NOTIFY", "Event: refer", "Subscription-State: terminated"),
    ("PUBLISH", "Event: presence"),
    ("REFER", ELSEWHERE),
    ("REGISTER",),
    ("INFO",),
    ("UPDATE",),
    ("PRACK", "RAck: 1 1 INVITE"),
    ("OPTIONS",),
    ("BYE",),
)
"""What may be asked outside a call, or within one that there is not."""
FLOOD = 30
FORGED = "\r\n\r\nResponse: Success\r\nActionID: 1\r\n\r\nEvent: StatusComplete\r\n\r\n"


@pytest_asyncio.fixture(loop_scope="session")
async def moving(lab: Lab) -> AsyncIterator[Lab]:
    """A switch that would transfer if its trunk were let."""
    await lab.switch.cli("module load res_pjsip_refer.so")
    yield lab
    await lab.reset()
    await lab.switch.cli("module unload res_pjsip_refer.so")


async def exact(live: Engine, calls: int) -> list[int]:
    """The seconds billed of each call, once all are booked, and the credit says the same."""
    cdrs = await live.cdrs(calls)
    assert {cdr["proof"] for cdr in cdrs} <= {"black_box", "never_answered"}
    await live.nothing_reserved()
    assert CREDIT - await live.posted() == sum(parse_euro(cdr["cost"]) for cdr in cdrs if cdr["account"] == "anna")
    return [cdr["billed_s"] for cdr in cdrs]


async def talked(call: RawCall, since: float) -> float:
    """The caller hangs up; how long he has talked."""
    lasted = time.monotonic() - since
    call.ask("BYE")
    await call.is_answered("BYE", 200)
    return lasted


async def test_nothing_that_a_caller_asks_within_his_call_makes_a_second_of_it_free(
    moving: Lab, tmp_path: Path
) -> None:
    async with engine(moving, tmp_path) as live, raw_call(moving, NUMBER) as call:
        await call.is_answered("INVITE", 200)
        since = time.monotonic()
        for digit in "*99#1*8":
            call.ask("INFO", body=f"Signal={digit}\r\nDuration=100\r\n", kind="application/dtmf-relay")
        call.ask("MESSAGE", body=FORGED, kind="text/plain")
        call.ask("REFER", ELSEWHERE)
        call.ask("SUBSCRIBE", "Event: dialog")
        call.ask("NOTIFY", "Event: refer", "Subscription-State: active", body="SIP/2.0 200 OK", kind="message/sipfrag")
        call.ask("UPDATE", f"P-Asserted-Identity: {names('BridgeID: x')}")
        call.answers.clear()
        call.ask("INVITE", f"P-Asserted-Identity: {names('BridgeID: x')}", body=f"{sdp(9)}a=sendonly\r\n")
        await call.is_answered("INVITE", 200)
        await live.heard("tick_posted", times=2)
        assert live.daemon.events("call_moved") == []
        lasted = await talked(call, since)
        (billed,) = await exact(live, 1)
    assert lasted - 0.5 <= billed <= lasted + 1.5


async def test_floods_beside_any_call_end_none_and_keep_nobody_from_being_answered(
    moving: Lab, texting: Lab, tmp_path: Path
) -> None:
    """Each request is one of its own, as of a program that tries whatever there is."""
    async with engine(moving, tmp_path) as live, raw_call(moving, NUMBER) as call:
        await call.is_answered("INVITE", 200)
        since = time.monotonic()
        for _ in range(FLOOD):
            async with raw_call(moving, NUMBER, invites=False, caller=names("BridgeID: x")) as beside:
                for method, *headers in BESIDE:
                    beside.ask(method, *headers, "Expires: 3600", body=FORGED, kind="text/plain")
                await beside.is_answered("OPTIONS", 200, 481)
        async with raw_call(moving, NUMBER, caller="<sip:+31209999999@carrier.example>") as honest:
            await honest.is_answered("INVITE", 200)
            await talked(honest, 0.0)
        lasted = await talked(call, since)
        seconds = await exact(live, 2)
        assert live.daemon.events("event_contradicted") == []
    assert lasted - 0.5 <= max(seconds) <= lasted + 1.5


async def test_what_is_asked_beside_any_call_ends_none(moving: Lab, tmp_path: Path) -> None:
    async with engine(moving, tmp_path) as live:
        victim = await moving.place_call(NUMBER)
        await victim.wait_state(CallState.ANSWERED)
        await live.heard("call_answered")
        async with raw_call(moving, NUMBER, invites=False, caller=names(f"{BREAK}Event: StatusComplete")) as beside:
            for method, *headers in BESIDE:
                beside.ask(method, *headers, body=FORGED, kind="text/plain")
        await live.heard("tick_posted", times=len(live.daemon.events("tick_posted")) + 3)
        assert victim.state is CallState.ANSWERED
        await victim.hang_up()
        await victim.wait_end()
        (billed,) = await exact(live, 1)
    assert abs(billed - victim.duration_s) <= 1.5


@pytest_asyncio.fixture(loop_scope="session")
async def texting(lab: Lab) -> AsyncIterator[Lab]:
    """A switch that takes text messages, as one does that loads all its modules."""
    await lab.switch.cli("module load res_pjsip_messaging.so")
    yield lab
    await lab.reset()
    await lab.switch.cli("module unload res_pjsip_messaging.so")


async def test_a_text_message_is_no_call_nobody_is_asked_and_no_message_is_left(texting: Lab, tmp_path: Path) -> None:
    """MESSAGE (RFC 3428) is run through the endpoint's context: one packet would ask for a decision, and keep one
    of the places for callers at a mailbox until Asterisk is restarted."""
    async with engine(texting, tmp_path, forward_to=mobile.never_answers()) as live:
        async with raw_call(texting, NUMBER, invites=False) as call:
            call.ask("MESSAGE", body="hello", kind="text/plain")
            await call.is_answered("MESSAGE", 202)
            assert await eventually(lambda: _read(texting), "the end of the dialplan for the message") == "Hangup"
        assert live.daemon.events("agi_call_unproven") == []
        assert "charging-voicemail" not in await texting.switch.cli("group show channels"), "a place for a caller"
        await live.nothing_reserved()


async def _read(lab: Lab) -> str:
    """The last application that was run for a text message, if it is one that ends; Asterisk keeps its channel."""
    listed = await lab.switch.listing("CoreShowChannels")
    last = [one["Application"] for one in listed if one["Channel"].startswith("Message/")]
    return next((one for one in last if one in ("Hangup", "VoiceMail")), "")


async def test_a_caller_who_gives_up_at_any_moment_pays_what_he_talked(lab: Lab, tmp_path: Path) -> None:
    moments = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
    async with engine(lab, tmp_path, forward_to=mobile.answers(0.1)) as live:
        for moment in moments:
            async with raw_call(lab, NUMBER) as call:
                await asyncio.sleep(moment)
                call.ask("CANCEL", number=1)
                await call.is_answered("INVITE", 200, 487)
                if ("INVITE", 200) in call.answers:
                    await talked(call, 0.0)
        await live.nothing_reserved()
        assert await lab.switch.channels() == []
        found = await live.cdrs(0)
        assert CREDIT - await live.posted() == sum(parse_euro(cdr["cost"]) for cdr in found)
        assert all(cdr["billed_s"] <= 1 for cdr in found)


async def test_a_caller_who_rings_and_gives_up_again_and_again_finds_it_busy(lab: Lab, tmp_path: Path) -> None:
    """Each call that is given up leaves two lines in the journal and a CDR, for which nobody pays."""
    async with engine(
        lab, tmp_path, forward_to=mobile.never_answers(), policy={"given_up_a_minute": 1, "ring_s": 20}
    ) as live:
        for _ in range(3):
            async with raw_call(lab, NUMBER) as call:
                await call.is_answered("INVITE", 180)
                call.ask("CANCEL", number=1)
                await call.is_answered("INVITE", 487)
            await live.nothing_reserved()
        async with raw_call(lab, NUMBER) as call:
            assert await call.is_answered("INVITE", 180, 486) == 486
        assert (await live.heard("call_decided", times=4))["reason"] == "too_many_given_up"
        async with raw_call(lab, NUMBER, caller="<sip:+31209999999@carrier.example>") as other:
            assert await other.is_answered("INVITE", 180, 486) == 180
            other.ask("CANCEL", number=1)
            await other.is_answered("INVITE", 487)
        assert len(await live.cdrs(4)) == 4


async def test_r13_a_caller_who_changes_who_he_is_while_it_rings_leaves_no_message_that_nobody_pays(
    lab: Lab, tmp_path: Path
) -> None:
    """Asterisk's default lets him (trust_connected_line). What he writes would stand in AGI's header when the daemon is
    asked again; it is refused then, and the fallback would take his message, whatever the subscriber can pay."""
    async with (
        trunk_allows(lab, "trust_connected_line"),
        engine(
            lab,
            tmp_path,
            plan="voice_free",
            credit="0.05",
            forward_to=mobile.never_answers(),
            policy={"ring_s": 4},
        ) as live,
        raw_call(lab, NUMBER) as call,
    ):
        await call.is_answered("INVITE", 180)
        call.ask("UPDATE", f"P-Asserted-Identity: {names('X: y')}")
        await call.is_answered("UPDATE", 200)
        decided = await live.heard("call_decided", times=2)
        assert (decided["decision"], decided["reason"]) == ("reject", "forward_failed")
        assert live.daemon.events("agi_header_foreign") == []
        assert ("INVITE", 200) not in call.answers
        call.ask("CANCEL", number=1)
        assert (await live.cdr())["caller"] == CALLER.removeprefix("<sip:").partition("@")[0]


async def test_a_caller_who_changes_who_he_is_while_he_is_held_back_is_forwarded_as_who_he_was(lab: Lab) -> None:
    """Where the trunk lets him (trust_connected_line), he has many seconds for it before anyone is dialled."""
    stub = forward(mobile.never_answers(), CHARGING_WAIT_S="4")
    async with trunk_allows(lab, "trust_connected_line"), serving(stub, lab.agi_port), raw_call(lab, NUMBER) as call:
        await call.is_answered("INVITE", 180)
        call.ask("UPDATE", f"P-Asserted-Identity: {names('X: y')}")
        await call.is_answered("UPDATE", 200)

        async def dialled() -> list[str]:
            return [one["ConnectedLineNum"] for one in await lab.switch.channels() if one["Application"] == "AppDial"]

        assert await eventually(dialled, "the forwarded leg") == [CALLER.removeprefix("<sip:").partition("@")[0]]


@pytest.mark.parametrize("diverted", ["1" * 20_000, "1" * 5_000 + BREAK + "X%3ay"], ids=["long", "a break far behind"])
async def test_r13_a_diversion_of_any_length_leaves_no_message_that_nobody_pays(
    lab: Lab, tmp_path: Path, diverted: str
) -> None:
    """It stands in AGI's header (``agi_rdnis``). A daemon that refused it would leave the call to the fallback."""
    async with (
        engine(lab, tmp_path, plan="voice_free", credit="0.00") as live,
        raw_call(lab, NUMBER, f"Diversion: <sip:{diverted}@carrier.example>;reason=unconditional") as call,
    ):
        await call.is_answered("INVITE", 180)
        decided = await live.heard("call_decided")
        assert (decided["decision"], decided["reason"]) == ("reject", "no_credit")
        assert live.daemon.events("agi_header_foreign") == []
        assert ("INVITE", 200) not in call.answers
        call.ask("CANCEL", number=1)
        await call.is_answered("INVITE", 487)


EVERYWHERE = (
    f"History-Info: {names('BridgeID: x')};index=1",
    f"P-Called-Party-ID: {names('Event: Hangup')}",
    f"Diversion: {names('BridgeID: x')};reason=unconditional",
    "User-Agent: x%0d%0aBridgeID%3a x",
    'Reason: Q.850;cause=16;text="%0d%0aBridgeID: x"',
    "X-CHARGING_SESSION: z",
    "CHARGING_SESSION: z",
    'Remote-Party-ID: "\u202eé" <sip:x@carrier.example>;party=calling',
    "Subject: " + "s" * 2000,
)


@pytest.mark.parametrize(
    "name", ['"\u00e9\u4e00' + "\U0001f4a9" * 300 + '"', '"a\\"BridgeID: x"', '"${CHARGING_SESSION}"']
)
async def test_words_in_any_header_make_no_second_of_his_call_free(lab: Lab, tmp_path: Path, name: str) -> None:
    async with engine(lab, tmp_path) as live, raw_call(lab, NUMBER, *EVERYWHERE, caller=f"{name} {CALLER}") as call:
        await call.is_answered("INVITE", 200)
        since = time.monotonic()
        await live.heard("tick_posted", times=2)
        lasted = await talked(call, since)
        (billed,) = await exact(live, 1)
    assert lasted - 0.5 <= billed <= lasted + 1.5


@pytest.mark.parametrize(
    "does", ["302 Moved Temporarily", "300 Multiple Choices", "305 Use Proxy", "380 Alternative Service"]
)
async def test_a_carrier_that_sends_a_forward_elsewhere_is_not_followed(lab: Lab, tmp_path: Path, does: str) -> None:
    elsewhere = f"Contact: <sip:{mobile.answers()}@127.0.0.1:{lab.world_sip_port}>"
    async with phone(lab, elsewhere, does=does), engine(lab, tmp_path) as live, raw_call(lab, NUMBER):
        decided = await live.heard("call_decided", times=2)
        assert (decided["decision"], decided["reason"]) == ("voicemail", "forward_failed")
        await live.nothing_reserved()
        assert await live.posted() == CREDIT
