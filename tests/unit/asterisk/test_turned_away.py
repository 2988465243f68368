"""The dialplan's own count of whom it turned away, as the daemon reads it."""

from __future__ import annotations

import pytest

from charging.asterisk.control import CallControl
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import Reply
from charging.errors import ActionTimeout
from charging.metrics import SWITCH_TURNED
from tests.fakes.recording_link import RecordingLink


async def test_whom_the_dialplan_turned_away_is_counted_since_its_start(
    control: CallControl, link: RecordingLink
) -> None:
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="12"))
    assert await control.turned_away() == dict.fromkeys(SWITCH_TURNED, 12)
    assert link.orders[0] == ("Getvar", {"Variable": "CHARGING_TURNED_number"})
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value=""))
    assert await control.turned_away() == dict.fromkeys(SWITCH_TURNED, 0)
    link.refuse = {"Getvar": ActionTimeout()}
    with pytest.raises(ActionTimeout):
        await control.turned_away()
