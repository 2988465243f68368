"""What the tests of call control share."""

from __future__ import annotations

import pytest

from charging.asterisk.control import CallControl
from charging.asterisk.prompts import PromptSettings
from tests.fakes.clock import FakeClock
from tests.fakes.recording_link import RecordingLink


@pytest.fixture
def link() -> RecordingLink:
    link = RecordingLink()
    link.bridged("simple_bridge")
    return link


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def control(link: RecordingLink, clock: FakeClock) -> CallControl:
    return CallControl(link, clock, PromptSettings(plays_s=0))
