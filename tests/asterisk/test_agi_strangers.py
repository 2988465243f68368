"""What a stranger writes into SIP reaches FastAGI's header: with the dialplan's own cleaning, and without it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import Lab, mobile
from charging.lab.ami import Message
from charging.lab.folder import SHIPPED_CONFIG
from charging.pricing.money import parse_euro
from tests.asterisk.engine import NUMBER, engine, number_of
from tests.asterisk.operator_setup import trunk_allows
from tests.asterisk.raw_call import raw_call
from tests.asterisk.raw_sip import stranger
from tests.asterisk.waiting import eventually
from tests.fakes.agi_client import AgiClient, header

pytestmark = pytest.mark.asterisk

BREAK = "%0d%0a"
DIRTY = {
    "a forged argument": f"x{BREAK}agi_arg_1:%20{number_of(1)}",
    "an end of the header": f"x{BREAK}{BREAK}",
    "an end, and an answer": f"x{BREAK}{BREAK}200%20result=1%20(x)",
    "one line break": BREAK,
}
UNCLEAN = """\
[charging-clean]
exten => s,1,Set(CHARGING_NUMBER_OK=1)
 same => n,Set(CHARGING_CALLER=)
 same => n,Set(CHARGING_PRESENTATION=allowed)
 same => n,Set(CHARGING_CAME_BY=own)
 same => n,Return()

"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unclean_lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """A switch whose operator has edited the cleaning away."""
    config = tmp_path_factory.mktemp("unclean") / "asterisk"
    shutil.copytree(SHIPPED_CONFIG, config)
    dialplan = config / "extensions_charging.conf"
    text, count = re.subn(r"(?ms)^\[charging-clean\]$.*?(?=^\[)", UNCLEAN, dialplan.read_text())
    assert count == 1
    again = " same => n,Set(CALLERID(num)=${CHARGING_CALLER})\n same => n,Gosub(charging-clean,s,1)\n"
    assert text.count(again) == 2, "just before the daemon is asked, and before a caller is forwarded who was held back"
    dialplan.write_text(text.replace(again, ""))
    async with Lab(config=config) as lab:
        yield lab


@pytest.mark.parametrize("user", DIRTY.values(), ids=DIRTY)
async def test_without_the_cleaning_the_header_is_refused_and_nothing_is_reserved(
    unclean_lab: Lab, tmp_path: Path, user: str
) -> None:
    """And the caller is turned away, where the fallback would let him leave a message."""
    async with engine(unclean_lab, tmp_path, forward_to=mobile.never_answers(), others=1) as live:
        async with stranger(unclean_lab, tmp_path, NUMBER, caller=f"<sip:{user}@carrier.example>") as call:
            await live.heard("agi_header_foreign")
            await call.is_told(180)
            assert 200 not in call.statuses()
            assert live.daemon.events("call_decided") == []
            for who in ("anna", "other-1"):
                balance = await live.daemon.get(f"/accounts/{who}/balance")
                assert parse_euro(balance["credit"]["reserved"]) == 0
        async with stranger(unclean_lab, tmp_path, NUMBER) as call:  # a clean one is a call like any other
            await call.is_told(180)
            await live.heard("call_decided")
    await unclean_lab.reset()


async def test_a_line_as_a_later_asterisk_could_write_it_is_no_reason_to_turn_anybody_away(
    unclean_lab: Lab, tmp_path: Path
) -> None:
    """Here a caller has written it. Nothing reads it, so his call is one like any other."""
    caller = f"<sip:x{BREAK}agi_new%3a%20agi_arg_1%3a%20{number_of(1)}@carrier.example>"
    async with engine(unclean_lab, tmp_path, forward_to=mobile.never_answers(), others=1) as live:
        async with stranger(unclean_lab, tmp_path, NUMBER, caller=caller) as call:
            await call.is_told(180)
            decided = await live.heard("call_decided")
            assert (decided["account"], decided["decision"]) == ("anna", "forward")
            other = await live.daemon.get("/accounts/other-1/balance")
            assert parse_euro(other["credit"]["reserved"]) == 0
        assert (await live.heard("agi_header_line_unknown"))["names"] == ["agi_new"]
    await unclean_lab.reset()


async def test_r13_who_writes_into_the_second_header_leaves_no_message_that_nobody_pays(
    unclean_lab: Lab, tmp_path: Path
) -> None:
    """Where the trunk lets him change who he is (UPDATE), he may hit the moment behind the cleaning: here all is."""

    async def where_he_is() -> str:
        said = await unclean_lab.switch.cli("core show channels concise")
        return next((one for one in ("charging-reject", "charging-voicemail") if f"!{one}!" in said), "")

    async with (
        trunk_allows(unclean_lab, "trust_connected_line"),
        engine(
            unclean_lab,
            tmp_path,
            plan="voice_free",
            credit="0.05",
            forward_to=mobile.never_answers(),
            policy={"ring_s": 2},
        ) as live,
        raw_call(unclean_lab, NUMBER) as call,
    ):
        await call.is_answered("INVITE", 180)
        call.ask("UPDATE", f"P-Asserted-Identity: <sip:x{BREAK}X%3a%20y@carrier.example>")
        await call.is_answered("UPDATE", 200)
        await live.heard("agi_header_foreign")
        assert await eventually(where_he_is, "the end of his call") == "charging-reject"
        call.ask("CANCEL", number=1)
        await call.is_answered("INVITE", 487)
        await live.nothing_reserved()
    await unclean_lab.reset()


@pytest.mark.parametrize("user", DIRTY.values(), ids=DIRTY)
async def test_with_the_cleaning_the_call_is_decided_like_any_other(lab: Lab, tmp_path: Path, user: str) -> None:
    async with engine(lab, tmp_path, forward_to=mobile.never_answers()) as live:
        async with stranger(lab, tmp_path, NUMBER, caller=f"<sip:{user}@carrier.example>") as call:
            await call.is_told(180)
            decided = await live.heard("call_decided")
        assert (decided["decision"], live.daemon.events("agi_header_foreign")) == ("forward", [])


async def test_a_forged_request_from_the_switchs_machine_reserves_nothing(lab: Lab, tmp_path: Path) -> None:
    """By a channel that is not there, and by one that is, about a number that it has not dialled."""
    async with engine(lab, tmp_path, forward_to=mobile.never_answers(), others=1) as live:
        await forge(lab, number_of(1), "1795262400.1", "PJSIP/world-1")
        await live.heard("agi_call_unproven")
        async with stranger(lab, tmp_path, NUMBER) as call:
            await call.is_told(180)
            theirs = next(one for one in await lab.switch.channels() if one["Channel"].startswith("PJSIP/world"))
            await forge(lab, number_of(1), theirs["Uniqueid"], theirs["Channel"])
            await forge(lab, NUMBER, theirs["Uniqueid"], theirs["Channel"])
            await live.heard("agi_call_unproven", times=3)
            assert len(live.daemon.events("call_decided")) == 1, "the true one"
        balance = await live.daemon.get("/accounts/other-1/balance")
        assert parse_euro(balance["credit"]["reserved"]) == 0


async def test_whoever_guesses_the_unique_id_of_a_call_that_is_being_decided_holds_no_line(
    lab: Lab, tmp_path: Path
) -> None:
    """The true call has its dialplan ask somebody who says nothing, so that there is time for a guess. It is decided
    for all that: the daemon that is asked next finds no line held."""

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    silent = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, engine(lab, tmp_path, forward_to=mobile.never_answers(), guard_s=8) as live:
        await lab.switch.cli(f"dialplan set global CHARGING_AGI 127.0.0.1:{port}")
        await lab.switch.cli(f"dialplan set global CHARGING_AGI_2 127.0.0.1:{lab.agi_port}")
        try:
            async with stranger(lab, tmp_path, NUMBER) as call:
                theirs = await eventually(lambda: _the_caller(lab), "the caller's channel")
                await forge(lab, NUMBER, theirs["Uniqueid"], theirs["Channel"])
                await live.heard("agi_call_unproven")
                assert live.daemon.events("call_decided") == []
                await call.is_told(180)
                decided = await live.heard("call_decided")
        finally:
            await lab.switch.cli(f"dialplan set global CHARGING_AGI 127.0.0.1:{lab.agi_port}")
            await lab.switch.cli("dialplan set global CHARGING_AGI_2 ")
    assert decided["decision"] == "forward"


async def _the_caller(lab: Lab) -> Message | None:
    """His channel, once its dialplan asks what to do with the call."""
    channels = await lab.switch.channels()
    asking = (one for one in channels if one["Channel"].startswith("PJSIP/world") and one["Application"] == "AGI")
    return next(asking, None)


async def forge(lab: Lab, number: str, unique_id: str, channel: str) -> None:
    """Play the dialplan to the daemon."""
    raw = header("incoming", number, "", unique_id, channel, "allowed", "").decode()
    raw = raw.replace("agi_channel: PJSIP/trunk-1", f"agi_channel: {channel}")
    raw = raw.replace("agi_uniqueid: 1795262400.1", f"agi_uniqueid: {unique_id}")
    client = AgiClient()
    await client.call(lab.agi_port, "incoming", raw=raw.encode())
    assert client.variables == {}
