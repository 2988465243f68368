"""A doubtful edition in the daemon and in the process of the public interface, which find the same by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from charging.metrics import Metrics
from charging.tariff import in_force
from charging.tariff.accepted import Accepted
from charging.tariff.deck_file import DeckCache
from charging.tariff.in_force import TariffHere, TariffInForce
from charging.tariff.reading import Reading, read_files
from tests.fakes.clock import FakeClock
from tests.unit.tariff.test_accepted import DOUBLED, EDITION, WITH_DECK, Place

DEADLINE_S = 60


class Pair:
    """Both processes' tariffs, watched by a clock that the test moves."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock = FakeClock()
        self.daemon = TariffInForce(place.path, Metrics(), self.clock, place.accepted)
        self.other = TariffHere(place.path, self.clock, place.accepted)
        self.tasks = [asyncio.create_task(one.watch()) for one in (self.daemon, self.other)]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, what: Callable[[], bool]) -> None:
        """Let the clocks go on until both have seen it."""
        async with asyncio.timeout(DEADLINE_S):
            while not what():
                await self.clock.advance(1)
                await asyncio.sleep(0.01)

    def prices(self) -> tuple[int, int]:
        return self.place.price(self.daemon.current()), self.place.price(self.other.current())

    def waiting(self) -> set[str]:
        return {self.daemon.current().waiting, self.other.current().waiting}


async def read_here(path: Path, files: tuple[Path, ...], decks: DeckCache, accepted: Accepted | None = None) -> Reading:
    return await asyncio.to_thread(read_files, path, files, decks.copy(), accepted, FakeClock().now().wall_us)


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """They read in this process, as a child reads for them (test_tariff_reading): some twelve of those, each behind all
    others for the processor, took minutes on a busy machine."""
    monkeypatch.setattr(in_force, "read_in_child", read_here)
    made = Pair(Place(tmp_path))
    yield made
    await made.end()


async def test_a_doubtful_edition_waits_in_both_and_counts_in_both_once_it_is_accepted(pair: Pair) -> None:
    with capture_logs() as logs:
        pair.place.deck.write_text(DOUBLED, encoding="utf-8")
        await pair.until(lambda: "" not in pair.waiting())
    assert pair.prices() == (100_000, 100_000)
    assert [one["log_level"] for one in logs if one["event"] == "tariff_edition_waits"] == ["error"]
    [waiting] = pair.waiting()
    restarted = Pair(pair.place)
    assert (restarted.prices(), restarted.waiting()) == ((100_000, 100_000), {waiting})
    await restarted.end()
    assert await pair.daemon.accept("0" * 16, "", "cli:anna")
    assert pair.prices() == (100_000, 100_000)
    assert await pair.daemon.accept(waiting, "agreed", "cli:anna") == []
    assert '"by":"cli:anna"' in pair.place.accepted.record.read_text(encoding="utf-8")
    assert pair.place.price(pair.daemon.current()) == 200_000
    await pair.until(lambda: pair.prices() == (200_000, 200_000))
    assert pair.waiting() == {""}


async def test_a_doubtful_edition_that_is_taken_back_waits_no_longer(pair: Pair) -> None:
    pair.place.deck.write_text(DOUBLED, encoding="utf-8")
    await pair.until(lambda: "" not in pair.waiting())
    pair.place.deck.write_text(EDITION, encoding="utf-8")
    await pair.until(lambda: pair.waiting() == {""})
    assert pair.prices() == (100_000, 100_000)


def _both_have(pair: Pair, price: int) -> bool:
    return pair.prices() == (price, price)


async def test_each_edition_is_compared_with_the_one_before_it(pair: Pair) -> None:
    """So prices may rise step by step, in both processes, also past twice what they were once."""
    for price in (150_000, 220_000):
        pair.place.deck.write_text(EDITION.replace("0.10", f"0.{price // 10_000}"), encoding="utf-8")
        await pair.until(partial(_both_have, pair, price))
    assert Accepted(pair.place.accepted.folder).digest() == pair.daemon.current().digest
    assert pair.waiting() == {""}


async def test_a_deck_that_the_tariff_does_not_name_any_more_is_not_kept(pair: Pair) -> None:
    pair.place.path.write_text(WITH_DECK.replace("small-1", "edited"), encoding="utf-8")
    await pair.until(lambda: pair.other.current().revision == "edited")
    await pair.until(lambda: pair.daemon.current().revision == "edited")
    assert len(list(pair.place.accepted.folder.iterdir())) == 3
