"""What tests of a real Redis, and of the command, share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
