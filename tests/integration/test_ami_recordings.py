"""Recorded streams through the whole link, and the fake against them."""

from __future__ import annotations

import pytest

from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.translate import translate
from charging.call.switch_events import SwitchEvent
from charging.lab.install import SUPPORTED
from tests.fakes.ami import FakeAmi, eventually
from tests.fakes.link import Owner, running
from tests.fakes.recordings import BRANCHES, DATA, USUAL, ami_bytes, ami_events, ami_messages

RECORDINGS = [
    "answered_caller_hangs_up",
    "answered_callee_hangs_up",
    "busy",
    "no_answer",
    "caller_gives_up",
    "cut_by_quota",
    "whisper",
    "maintenance",
    "ring_group",
    "blind_transfer",
    "picked_up",
]
MARK = b"Event: Mark\r\n\r\n"


async def delivered(name: str, branch: str, size: int) -> list[SwitchEvent]:
    """What the link tells of a recording that arrives in pieces of ``size`` bytes."""
    owner, data = Owner(), ami_bytes(name, branch) + MARK
    async with FakeAmi() as ami, running(ami, owner, ping_interval_s=60.0) as link:
        await eventually(lambda: link.is_up)
        protocol = link._connection._manager.protocol  # type: ignore[union-attr]
        for start in range(0, len(data), size):
            protocol.data_received(data[start : start + size])
        await eventually(lambda: owner.names()[-1:] == ["Mark"])  # what is long is told in turns
    return told(owner.events)


def told(messages: list[AmiMessage]) -> list[SwitchEvent]:
    return [event for message in messages if (event := translate(message))]


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(
    ("branch", "size"), [*((branch, 1448) for branch in BRANCHES), *((USUAL, n) for n in (1 << 20, 1, 7))]
)
async def test_a_recording_tells_the_same_however_it_is_cut(name: str, branch: str, size: int) -> None:
    assert await delivered(name, branch, size) == told(ami_events(name, branch)) != []


def shape(message: AmiMessage) -> set[str]:
    """Its headers' names, without the one that names the order."""
    return {name for name, _ in message} - {"ActionID"}


def recorded(header: str, value: str, branch: str = USUAL) -> AmiMessage:
    messages = [each for name in ("login", "answers", *RECORDINGS) for each in ami_messages(name, branch)]
    return next(each for each in messages if each.get(header) == value)


async def test_the_fake_answers_with_headers_that_the_real_one_sends() -> None:
    async with FakeAmi() as ami, running(ami, Owner()) as link:
        await eventually(lambda: link.is_up)
        await _compare(link)


async def _compare(link: AmiLink) -> None:
    ping = (await link.action("Ping")).headers
    assert shape(ping) == shape(recorded("Ping", "Pong"))
    status = (await link.action("CoreStatus")).headers
    real = next(each for each in ami_messages("answers") if "CoreStartupDate" in each)
    assert shape(status) <= shape(real)
    commands = (await link.action("ListCommands")).headers
    real = next(each for each in ami_messages("answers") if "WaitEvent" in each)
    assert shape(commands) <= shape(real)


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_real_one_refuses_in_the_words_that_are_looked_for(branch: str) -> None:
    words = {each.get("Message") for each in ami_messages("answers", branch) if each.response == "Error"}
    assert words == {
        "Database entry not found",
        "No such channel",
        "No timeout specified",
        "Permission denied",
    }


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("end", ["StatusComplete", "DBGetTreeComplete", "DBGetComplete", "BridgeInfoComplete"])
def test_the_real_one_closes_its_lists_with_the_events_that_are_waited_for(end: str, branch: str) -> None:
    assert recorded("Event", end, branch).get("EventList") == "Complete"


def test_every_branch_that_is_supported_is_recorded_in_full() -> None:
    assert set(BRANCHES) == set(SUPPORTED)
    for branch in BRANCHES:
        assert {path.stem for path in (DATA / "ami" / branch).iterdir()} == {"login", "answers", *RECORDINGS}
        assert {path.stem for path in (DATA / "agi" / branch).iterdir()} == {"answers", "incoming", "unanswered"}
