"""Whoever answers a forwarded call says who he is: that is neither believed nor told to the caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.lab import Lab
from tests.asterisk.engine import NUMBER, engine
from tests.asterisk.raw_sip import stranger
from tests.asterisk.sip_phone import phone
from tests.asterisk.test_strangers_and_money import BREAK, names

pytestmark = pytest.mark.asterisk

SECRET = "+31699887766"


def says(uri: str) -> tuple[str, str]:
    return f'P-Asserted-Identity: "Anna" {uri}', f"Remote-Party-ID: {uri};party=called;privacy=off"


async def test_caller_is_not_told_which_mobile_has_answered(lab: Lab, tmp_path: Path) -> None:
    """A trunk that shows who calls (send_pai) shows who answers, too."""
    async with (
        phone(lab, *says(f"<sip:{SECRET}@carrier.example>")),
        engine(lab, tmp_path) as live,
        stranger(lab, tmp_path, NUMBER) as call,
    ):
        await call.is_told(200)
        await live.heard("tick_posted", times=2)
        said = call.trace.read_text(errors="replace")
    assert SECRET[1:] not in said
    assert "Anna" not in said


@pytest.mark.parametrize("words", [f"{BREAK}Event: StatusComplete{BREAK}ListItems: 1{BREAK}X: ", "BridgeID: x"])
async def test_what_the_answering_phone_says_of_itself_does_not_cut_its_call(
    lab: Lab, tmp_path: Path, words: str
) -> None:
    """Else its events cannot be believed, and it ends when its first stretch does."""
    async with (
        phone(lab, *says(names(words))),
        engine(lab, tmp_path) as live,
        stranger(lab, tmp_path, NUMBER) as call,
    ):
        await call.is_told(200)
        await live.heard("tick_posted", times=5, deadline_s=20)
        assert live.daemon.events("ami_message_suspect") == []
