"""A prompt in the subscriber's ear: by whisper, else by the feature; and what is told of it is true."""

from __future__ import annotations

import asyncio

import pytest

from charging.asterisk.control import CallControl
from charging.asterisk.message import AmiMessage
from charging.asterisk.prompts import HOLD_MAX_S, PromptOutcome, PromptSettings
from charging.asterisk.reply import Reply
from charging.call.switch_events import OriginateEnded, PromptEnded, PromptStarted
from charging.errors import ActionRefused, ActionTimeout, LinkDown
from tests.fakes.clock import FakeClock, settle
from tests.fakes.recording_link import UID, RecordingLink, gone

ASKED = ("Status", "BridgeInfo")
"""Before every prompt."""
WHISPERS = ("Status", "Originate")
"""Its order, once nothing plays under its name."""


async def test_a_whisper_that_attaches_is_the_prompt(control: CallControl, link: RecordingLink) -> None:
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "/sounds/nl/credit_low"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    assert await playing is PromptOutcome.WHISPERED
    name, fields = link.orders[3]
    assert name == "Originate"
    assert (fields["ChannelId"], fields["OtherChannelId"], fields["Async"]) == (
        "w-s-1-3",
        "w-s-1-3-2",
        "true",
    )
    assert fields["Variable"] == [
        f"__CHARGING_SPYEE={UID}",
        "__CHARGING_PROMPT=/sounds/nl/credit_low",
    ]
    assert link.names() == [*ASKED, *WHISPERS]


async def test_a_whisper_whose_file_cannot_be_played_is_no_prompt(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(feature=False))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    await settle()
    control.observe(PromptEnded("w-s-1-3", 47))
    assert await playing is PromptOutcome.FAILED


async def test_a_whisper_that_ends_with_its_call_was_one(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(feature=False, plays_s=60))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    await settle()
    link.refuse[f"Status {UID}"] = gone("Status")
    control.observe(PromptEnded("w-s-1-3", 16))
    assert await playing is PromptOutcome.WHISPERED


async def test_a_whisper_that_is_over_at_once_while_its_call_goes_on_was_not_heard(
    link: RecordingLink, clock: FakeClock
) -> None:
    """The file has no sound in it, and would have none by the other way."""
    control = CallControl(link, clock, PromptSettings(plays_s=60))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    await settle()
    control.observe(PromptEnded("w-s-1-3", 16))
    assert await playing is PromptOutcome.FAILED
    assert "PlayDTMF" not in link.names()


async def test_a_feature_that_is_over_at_once_was_not_heard(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(whisper=False))
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.FAILED


@pytest.mark.parametrize(
    ("name", "others"),
    [("Local/his@outbound-1;1", ("PJSIP/world-1", "Local/not@counted-1;2")), ("PJSIP/world-2", ("Local/x@y-1;2",))],
)
@pytest.mark.parametrize(
    ("after", "outcome"),
    [("19", PromptOutcome.FEATURE), ("20", PromptOutcome.WHISPERED), ("", PromptOutcome.WHISPERED)],
)
async def test_nothing_is_whispered_into_silence(
    link: RecordingLink, clock: FakeClock, after: str, outcome: PromptOutcome, name: str, others: tuple[str, ...]
) -> None:
    """Ten packets more are sound; who is not counted is taken to talk. What is sent to the subscriber counts, whoever
    talks; where his own channel is none that counts, what comes of the others does."""
    link.bridged("simple_bridge", others=others, names={UID: name})
    control = CallControl(link, clock, PromptSettings(plays_s=0))
    link.received = ["10", after]
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    assert await playing is outcome
    assert ("Hangup" in link.names()) is (outcome is PromptOutcome.FEATURE)


@pytest.mark.parametrize("why", [ActionTimeout(), LinkDown()])
async def test_r17_a_whisper_whose_packets_are_not_counted_in_time_is_the_prompt(
    link: RecordingLink, clock: FakeClock, why: Exception
) -> None:
    """A party can keep its channel's thread busy: nothing waits for it, and who is not counted is taken to talk."""
    link.bridged("simple_bridge", others=("PJSIP/world-1",), names={UID: "PJSIP/world-2"})
    control = CallControl(link, clock, PromptSettings(plays_s=0))
    link.refuse[f"Getvar {UID}"] = why
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    assert await playing is PromptOutcome.WHISPERED
    assert link.asides == ["Getvar"]


async def test_a_prompt_waits_until_the_subscriber_takes_the_caller_back(link: RecordingLink, clock: FakeClock) -> None:
    link.bridged("simple_bridge", others=("Local/1@operator-1;2",))
    control = CallControl(link, clock, PromptSettings(plays_s=0))
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="1"))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await clock.advance(HOLD_MAX_S - 1)
    assert "Originate" not in link.names()
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="0"))
    await clock.advance(1)
    control.observe(PromptStarted("s-1", UID, "w-s-1-3-2", None))
    assert await playing is PromptOutcome.WHISPERED


@pytest.mark.parametrize(
    ("seconds", "ends", "outcome"),
    [(HOLD_MAX_S, False, PromptOutcome.UNHEARD), (2, True, PromptOutcome.FAILED)],
)
async def test_a_prompt_to_who_has_the_caller_on_hold_to_the_end_was_not_heard(
    link: RecordingLink, clock: FakeClock, seconds: int, ends: bool, outcome: PromptOutcome
) -> None:
    link.bridged("simple_bridge", others=("PJSIP/world-1",))
    control = CallControl(link, clock)
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="1"))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    if ends:
        link.refuse["Getvar"] = gone("Getvar")
    await clock.advance(seconds)
    assert await playing is outcome
    assert "Originate" not in link.names()


async def test_another_sessions_whisper_is_not_this_one(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(feature=False, whisper_deadline_s=0.01))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(PromptStarted("s-1", UID, "w-s-1-2-2", None))
    assert await playing is PromptOutcome.FAILED


async def test_a_whisper_that_does_not_attach_is_hung_up_and_followed_by_the_feature(
    link: RecordingLink, clock: FakeClock
) -> None:
    control = CallControl(link, clock, PromptSettings(whisper_deadline_s=0.01, plays_s=0))
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.FEATURE
    assert link.names() == [*ASKED, *WHISPERS, "Hangup", "Setvar", "Setvar", *["PlayDTMF"] * 3, "Getvar", "Getvar"]
    assert link.orders[4][1] == {"Channel": "w-s-1-3"}
    assert link.orders[6][1] == {"Channel": UID, "Variable": "CHARGING_PROMPT", "Value": "p"}
    assert [fields["Digit"] for name, fields in link.orders if name == "PlayDTMF"] == ["*", "9", "9"]
    assert link.orders[-3][1]["Receive"] == "true"


@pytest.mark.parametrize("error", [ActionRefused("Originate: Permission denied"), ActionTimeout(), LinkDown()])
async def test_a_whisper_that_is_refused_is_followed_by_the_feature(
    control: CallControl, link: RecordingLink, error: Exception
) -> None:
    link.refuse["Originate"] = error
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.FEATURE


async def test_a_whisper_that_fails_is_followed_by_the_feature_at_once(
    control: CallControl, link: RecordingLink
) -> None:
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    control.observe(OriginateEnded("w-s-1-3", "", False, "0", None))
    assert await playing is PromptOutcome.FEATURE


async def test_a_whisper_that_an_earlier_daemon_ordered_is_not_ordered_again(
    control: CallControl, link: RecordingLink
) -> None:
    """Asterisk would refuse the id, and never end gracefully again: it counts a refused channel as one that is gone."""
    link.playing = {"w-s-1-3"}
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.WHISPERED
    assert link.names() == [*ASKED, "Status"]


async def test_a_whisper_that_an_earlier_daemon_ordered_at_the_same_moment_is_not_played_twice(
    link: RecordingLink, clock: FakeClock
) -> None:
    """It may be over soon: it began before."""
    control = CallControl(link, clock, PromptSettings(plays_s=60))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await settle()
    link.playing = {"w-s-1-3"}
    control.observe(OriginateEnded("w-s-1-3", "", False, "0", None))
    await settle()
    control.observe(PromptEnded("w-s-1-3", 16))
    assert await playing is PromptOutcome.WHISPERED
    assert link.names() == [*ASKED, *WHISPERS, "Status"]


@pytest.mark.parametrize("technology", ["native_rtp", ""])
async def test_nothing_is_played_where_the_conversation_might_not_come_back(
    control: CallControl, link: RecordingLink, technology: str
) -> None:
    link.bridged(technology)
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.FAILED
    assert link.names() == [*ASKED]
    link.replies["Status"] = Reply(AmiMessage.of(Response="Success"))
    assert await control.play_prompt("s-1", 4, UID, "p") is PromptOutcome.FAILED, "in no bridge"
    assert link.names() == [*ASKED, "Status"]


async def test_digits_without_a_feature_behind_them_are_no_prompt(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(whisper=False))
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="p"))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await clock.advance(19)
    assert not playing.done()
    await clock.advance(2)
    assert await playing is PromptOutcome.FAILED
    assert link.orders[-1] == ("Setvar", {"Channel": UID, "Variable": "CHARGING_PROMPT", "Value": ""})


@pytest.mark.parametrize(("begun", "presses"), [("", 3 * 3), ("begun", 3)])
async def test_digits_are_played_again_only_where_nothing_has_begun(
    link: RecordingLink, clock: FakeClock, begun: str, presses: int
) -> None:
    """The subscriber has pressed a key between them; three times in all, for the other party hears them too."""
    control = CallControl(link, clock, PromptSettings(whisper=False))
    link.values = {"CHARGING_PROMPT": "p", "CHARGING_PLAYED": begun}
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await clock.advance(19)
    assert link.names().count("PlayDTMF") == presses
    await clock.advance(2)
    assert await playing is PromptOutcome.FAILED


async def test_feature_has_played_once_the_dialplan_forgets_the_prompt(link: RecordingLink, clock: FakeClock) -> None:
    control = CallControl(link, clock, PromptSettings(whisper=False))
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value="p"))
    playing = asyncio.create_task(control.play_prompt("s-1", 3, UID, "p"))
    await clock.advance(5)
    assert not playing.done()
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Value=""))
    await clock.advance(1)
    assert await playing is PromptOutcome.FEATURE


async def test_a_prompt_that_can_not_be_played_at_all_raises_nothing(control: CallControl, link: RecordingLink) -> None:
    link.refuse = dict.fromkeys(("Originate", "Setvar"), LinkDown())
    assert await control.play_prompt("s-1", 3, UID, "p") is PromptOutcome.FAILED
