"""What the tests of a real Redis share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.redis_load import Opener


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    await opener.close()
