"""What became of a notice is told once, whichever write its daemon is killed at, and nothing that is not so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.ledger.port import Store
from charging.service.events import Events, Place
from charging.service.refusal import Refused
from tests.fakes.killing_store import When
from tests.integration.doomed_acts import opened
from tests.integration.doomed_post import doomed_post, post
from tests.integration.killing_ground import Ground, ground_of

pytestmark = pytest.mark.timeout(600)

RESULTS = ("notice.sent", "notice.failed")


@pytest.fixture(params=["sqlite", "redis"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with ground_of(request.param, tmp_path) as one:
        yield one


async def told(store: Store) -> list[tuple[str, str]]:
    """Account and type of each event of a notice's result."""
    answer = await Events(store).of_all(Place(), 1000)
    assert not isinstance(answer, Refused)
    return sorted((one.account, one.what.value) for one in answer[0] if one.what.value in RESULTS)


def mails(world: Path) -> list[str]:
    return world.read_text().splitlines() if world.exists() else []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_notices_result_is_told_once_and_only_if_it_is_so(ground: Ground, when: When) -> None:
    url, folder = ground.new()
    writes = ground.undisturbed(doomed_post, url, folder)
    async with opened(url) as store:
        assert await told(store) == [("anna", "notice.sent"), ("bert", "notice.failed")]
    assert mails(folder / "world") == ["anna@example.nl"]
    for number, name in enumerate(writes, start=1):
        url, folder = ground.new()
        world, died = folder / "world", f"killed {when} write {number}, {name}"
        assert ground.live(doomed_post, url, folder, number, when) == -signal.SIGKILL
        async with opened(url) as store:
            early = await told(store)
            assert ("anna", "notice.sent") not in early or mails(world), f"{died}: told and not sent"
            for life in (1, 2):
                await post(store, world, life)
            assert await told(store) == [("anna", "notice.sent"), ("bert", "notice.failed")], died
        assert 1 <= len(mails(world)) <= 2, f"{died}: once at least, and once more where its mark was lost"
