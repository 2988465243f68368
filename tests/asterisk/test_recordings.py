"""Who leaves a message or sends a fax is hung up by the daemon where that fills the disk; nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.app_switch import faxes_ender, recordings_ender
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkSettings
from charging.clock import SystemClock
from charging.lab import Lab, mobile
from tests.asterisk.parties import NUMBER, decide, forward, operator_sets
from tests.asterisk.raw_call import RawCall, raw_call
from tests.asterisk.stub_agi import serving
from tests.asterisk.test_dialplan_strangers import number_of_caller
from tests.asterisk.test_fax_strangers import FAX
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


@pytest_asyncio.fixture(loop_scope="session")
async def link(lab: Lab) -> AsyncIterator[AmiLink]:
    """With the daemon's own login, and its rights."""
    access = lab.switch.charging_ami
    link = AmiLink(LinkSettings(access.host, access.port, access.user, access.secret), SystemClock())

    async def on_up(_restarted: bool) -> None:
        up.set()

    def on_event(_message: AmiMessage) -> None:
        """Of no interest."""

    up = asyncio.Event()
    task = asyncio.create_task(link.run(on_event, on_up))
    try:
        await asyncio.wait_for(up.wait(), 30)
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("faxes", "ended"), [("the same", 2), ("/nobody/knows", 1)])
async def test_who_fills_the_disk_is_hung_up_and_a_forwarded_call_goes_on(
    lab: Lab, link: AmiLink, tmp_path: Path, faxes: str, ended: int
) -> None:
    stub = forward(mobile.answers())
    folder = str(tmp_path)
    async with (
        operator_sets(lab, "CHARGING_FAX_IN", folder if faxes == "the same" else faxes),
        serving(stub, lab.agi_port),
        raw_call(lab, NUMBER, caller=number_of_caller(1)) as forwarded,
    ):
        await forwarded.is_answered("INVITE", 200)
        stub.variables["incoming"] = decide("voicemail")
        async with (
            raw_call(lab, NUMBER, caller=number_of_caller(2)) as message,
            raw_call(lab, FAX, caller=number_of_caller(3)) as fax,
        ):
            await message.is_answered("INVITE", 200)
            await fax.is_answered("INVITE", 200)
            assert await recordings_ender(link, folder)() == ended
            hung_up = [message, fax][:ended]

            async def are_gone() -> bool:
                return all("BYE" in call.asked for call in hung_up)

            await eventually(are_gone, "who recorded to be hung up")
            still: list[RawCall] = [forwarded, *[message, fax][ended:]]
            assert [call.asked for call in still] == [[] for _ in still]
            assert await recordings_ender(link, folder)() == 0
            assert await faxes_ender(link)() == 2 - ended, "for memory, whatever the disk"
