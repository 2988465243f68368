"""What tests of a real Redis, of the command, and of the link to AMI share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.asterisk.link import AmiLink
from tests.fakes.ami import FakeAmi, eventually
from tests.fakes.link import Owner, running
from tests.integration.command import Command, Place
from tests.integration.redis_load import Opener


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    await opener.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write()
    return place


@pytest.fixture
def charging(place: Place, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(place, capsys)


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as server:
        yield server


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def link(ami: FakeAmi, owner: Owner) -> AsyncIterator[AmiLink]:
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up, "the link is up")
        yield link
