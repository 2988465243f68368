"""Calls that the daemon ends by where they are in the dialplan: messages and faxes that fill the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.app_switch import faxes_ender, recordings_ender
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import Reply
from charging.errors import ActionTimeout
from charging.sandbox.switch import PlayedSwitch
from tests.fakes.clock import FakeClock
from tests.fakes.recording_link import RecordingLink, gone

CONTEXTS = {"1.1": "charging-voicemail", "1.2": "charging-fax-receive", "1.3": "charging-obey", "1.4": ""}


def listed(link: RecordingLink) -> None:
    entries = (AmiMessage.of(Event="Status", Context=context, Uniqueid=uid) for uid, context in CONTEXTS.items())
    link.replies["Status"] = Reply(AmiMessage.of(Response="Success"), tuple(entries))


def ended(link: RecordingLink) -> list[object]:
    return [fields["Channel"] for name, fields in link.orders if name == "Hangup"]


@pytest.mark.parametrize(("inside", "uids"), [("", ["1.1", "1.2"]), ("no such folder", ["1.1"])])
async def test_who_leaves_a_message_is_hung_up_and_who_sends_a_fax_to_the_same_disk(
    link: RecordingLink, tmp_path: Path, inside: str, uids: list[str]
) -> None:
    listed(link)
    link.values["CHARGING_FAX_IN"] = str(tmp_path / inside)
    assert await recordings_ender(link, str(tmp_path))() == len(uids)
    assert ended(link) == uids


async def test_who_sends_a_fax_is_hung_up_for_memory_and_nobody_else(link: RecordingLink) -> None:
    listed(link)
    assert await faxes_ender(link)() == 1
    assert ended(link) == ["1.2"]


async def test_who_was_gone_by_then_is_not_counted(link: RecordingLink) -> None:
    listed(link)
    link.refuse["Hangup 1.1"] = gone("Hangup")
    assert await recordings_ender(link, "/nobody/knows")() == 0


async def test_a_switch_that_does_not_answer_is_an_error(link: RecordingLink) -> None:
    link.refuse["Status"] = ActionTimeout()
    with pytest.raises(ActionTimeout):
        await recordings_ender(link, "/")()


async def test_a_played_switch_has_no_disk() -> None:
    played = PlayedSwitch(FakeClock(), "main")
    assert [await recordings_ender(played, "/")(), await faxes_ender(played)()] == [0, 0]
