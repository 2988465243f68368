"""What is the operator's stays as it is: our files ask for what we need for our own calls alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.cli.check_results import Grade
from charging.lab import Call, CallState, Lab, mobile
from tests.asterisk.engine import engine
from tests.asterisk.operator_setup import operator_setup
from tests.asterisk.parties import NUMBER, black_box_record, channels_gone, decide, operator_sets, records_gone
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.test_check_live import check
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

OPERATORS_MAILBOX = "+31850000097"
PAUSE_S = 3.5


async def message_of(lab: Lab, call: Call, folder: str, seconds: float) -> int:
    """Leave a message of at least ``seconds``; how long the one that was stored is, 0 where none was."""
    box = lab.switch.folder / "spool/voicemail" / folder

    async def recording() -> Path | None:
        return next((box / "tmp").glob("*.wav"), None)

    await call.wait_state(CallState.ANSWERED)
    await call.press("#", on_mobile=False)
    recorded = await eventually(recording, "the recording to begin", 20)
    assert recorded is not None

    async def over() -> bool:
        return call.state is CallState.ENDED or recorded.stat().st_size >= 16_000 * seconds

    await eventually(over, f"{seconds} s to be recorded, or the recording to end", 10 + seconds)
    await call.hang_up()
    await call.wait_end()
    # The caller's end is not voicemail's: that stores the message, and then lets its channel go.
    await channels_gone(lab)
    stored = sorted((box / "INBOX").glob("*.txt"))
    return int(re.findall(r"(?m)^duration=(\d+)$", stored[-1].read_text())[0]) if stored else 0


async def test_a_pause_does_not_end_a_message_in_the_operators_own_mailbox(lab: Lab) -> None:
    call = await lab.place_call(OPERATORS_MAILBOX, pausing=True)
    assert await message_of(lab, call, "default/200", PAUSE_S + 4) > PAUSE_S + 2


async def test_nor_in_a_subscribers(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("voicemail", session="s-vm")}), lab.agi_port):
        call = await lab.place_call(NUMBER, pausing=True)
        assert await message_of(lab, call, f"charging/{NUMBER[1:]}", PAUSE_S + 4) > PAUSE_S + 2
    assert (await black_box_record(lab, "s-vm"))["vm"] == "SUCCESS"


@pytest.mark.parametrize(("minimum", "says"), [("9", "SHORT"), ("x", "SUCCESS"), ("2", "SUCCESS")])
async def test_a_message_is_long_enough_by_our_measure(lab: Lab, minimum: str, says: str) -> None:
    async with (
        operator_sets(lab, "CHARGING_MESSAGE_MIN_S", minimum),
        serving(StubAgi({"incoming": decide("voicemail", session="s-vm")}), lab.agi_port),
    ):
        call = await lab.place_call(NUMBER)
        assert await message_of(lab, call, f"charging/{NUMBER[1:]}", 4) >= 3
    record = await black_box_record(lab, "s-vm")
    assert record["vm"] == says
    assert record["vmfile"]


async def test_r3_a_message_that_is_too_short_is_not_charged_whatever_its_mailbox_says(
    lab: Lab, tmp_path: Path
) -> None:
    own = "shortest"
    await lab.switch.add_mailbox(own, options="minsecs=0")
    async with (
        operator_sets(lab, "CHARGING_MESSAGE_MIN_S", "9"),
        engine(lab, tmp_path, plan="voice_free", forward_to=mobile.busy(), mailbox=own) as live,
    ):
        call = await live.call()
        assert 1 <= await message_of(lab, call, f"charging/{own}", 2) < 9
        cdr = await live.cdr()
        assert (cdr["messages"], cdr["cost"]) == (0, "0.00")
        await live.nothing_reserved()
        assert await live.posted() == 10_000_000
    assert list((lab.switch.folder / f"spool/voicemail/charging/{own}/INBOX").glob("*.txt")), "stored all the same"
    await lab.switch.add_mailbox()


@contextlib.asynccontextmanager
async def cdrs_of_the_operator(lab: Lab) -> AsyncIterator[Path]:
    """His CDRs in a file, unanswered calls too."""
    conf, file = lab.switch.folder / "etc" / "cdr.conf", lab.switch.folder / "log" / "cdr-csv" / "Master.csv"
    before = conf.read_text()
    conf.write_text("[general]\nunanswered = yes\n[csv]\nusegmtime = yes\n")
    file.parent.mkdir(exist_ok=True)
    await lab.switch.cli("module reload cdr")
    await lab.switch.cli("module load cdr_csv.so")
    try:
        yield file
    finally:
        await lab.switch.cli("module unload cdr_csv.so")
        conf.write_text(before)
        await lab.switch.cli("module reload cdr")


async def test_cdrs_are_written_of_calls_alone_and_not_of_warnings_clean_up_and_checks(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators bill by them."""
    monkeypatch.setenv("CHARGING_AMI_SECRET", lab.switch.charging_ami.secret)
    async with cdrs_of_the_operator(lab) as file, engine(lab, tmp_path, credit="0.010") as live:
        call = await live.call()
        assert (await live.heard("prompt_played", deadline_s=25))["result"] == "played"
        await call.wait_end(25)
        await live.cdr()
        await records_gone(lab)
        assert (await check(live.daemon)).says(Grade.OK, "4 prompts play on the switch")

        async def written() -> str:
            return file.read_text() if file.exists() else ""

        await eventually(written, "the CDR", 20)
    assert [line for line in file.read_text().splitlines() if "Local/" in line] == []
    assert "charging-obey" in file.read_text()


OWN = """
[trunk](+)
exten => +31850000076,1,Dial(PJSIP/+31610000000@world)
"""


async def test_a_call_of_the_operators_own_is_bridged_as_without_us_and_nobody_notes_it(
    lab: Lab, tmp_path: Path
) -> None:
    """Over the same trunk as ours: by native RTP, beside a daemon that says nothing of it."""
    async with operator_setup(lab, OWN), engine(lab, tmp_path) as live:
        heard = len(live.daemon.events())
        call = await lab.place_call("+31850000076")
        await call.wait_state(CallState.ANSWERED)

        async def technology() -> str:
            return next((one["BridgeTechnology"] for one in await lab.switch.listing("BridgeList")), "")

        async def is_native() -> bool:
            return await technology() == "native_rtp"

        await eventually(is_native, "the bridge to be native", 20)
        await call.hang_up()
        await call.wait_end()
        assert await lab.switch.black_box() == {}
        assert (await live.daemon.get("/calls"))["items"] == []
        told = [one for one in live.daemon.events()[heard:] if one.get("level") in ("warning", "error")]
        assert told == []
