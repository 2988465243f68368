"""A tariff saved in every way that people save, on a real file system, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from charging.errors import Problem
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import load_tariff
from charging.tariff.reading import Reading, read_files, read_in_child
from charging.tariff.tariff import Tariff
from charging.tariff.watch import AGAIN_S, Reader, TariffWatcher, look_at
from tests.fakes.clock import FakeClock
from tests.unit.tariff.tariffs import SMALL, changed, write

EDITED = changed("price: 0.12", "price: 0.13").replace("small-1", "edited-2")
BROKEN = changed("price: 0.12", "price: O.12")
WITH_DECK = SMALL.replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")


def _ignored(_problems: object, _digest: str) -> None:
    """What a watcher says of a tariff with problems."""


async def read_here(path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
    """In this process: how an edit is noticed is the same, and a child takes a second to start."""
    return read_files(path, files, decks)


class Watched:
    """A watcher, and what it told."""

    def __init__(self, path: Path) -> None:
        self.good: list[Tariff] = []
        self.bad: list[Sequence[Problem]] = []
        self.clock = FakeClock()
        self.read: Reader = read_here
        self.watcher = TariffWatcher(path, self.clock, load_tariff(path), self.good.append, self._bad, read=self._read)

    def _bad(self, problems: Sequence[Problem], waiting: str) -> None:
        self.bad.append(problems)
        assert not waiting, "nothing is compared with"

    async def _read(self, path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        return await self.read(path, files, decks)

    async def told(self, polls: int = 4) -> tuple[list[str], int]:
        """The revisions of good edits and the number of bad ones, after some looks."""
        for _ in range(polls):
            await self.watcher.poll()
        return [tariff.revision for tariff in self.good], len(self.bad)


@pytest.fixture
async def watched(tmp_path: Path) -> Watched:
    made = Watched(write(tmp_path))
    assert await made.told() == ([], 0)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tariff.yaml"


def by_writing_in_place(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def by_renaming_over_it(path: Path, text: str) -> None:
    other = path.with_suffix(".swp")
    other.write_text(text, encoding="utf-8")
    os.replace(other, path)


def by_moving_it_away_and_writing_anew(path: Path, text: str) -> None:
    os.replace(path, path.with_suffix(".yaml~"))
    path.write_text(text, encoding="utf-8")


def by_turning_a_symbolic_link(path: Path, text: str) -> None:
    release = path.parent / "release-2"
    release.write_text(text, encoding="utf-8")
    link = path.with_suffix(".new")
    link.symlink_to(release)
    os.replace(link, path)


@pytest.mark.parametrize(
    "save",
    [by_writing_in_place, by_renaming_over_it, by_moving_it_away_and_writing_anew, by_turning_a_symbolic_link],
)
async def test_an_edit_is_noticed_however_it_is_saved(watched: Watched, path: Path, save: object) -> None:
    assert callable(save)
    save(path, EDITED)
    assert await watched.told() == (["edited-2"], 0)
    save(path, BROKEN)
    assert await watched.told() == (["edited-2"], 1)


async def test_an_edit_of_what_a_symbolic_link_points_to_is_noticed(tmp_path: Path) -> None:
    target = write(tmp_path)
    link = tmp_path / "link.yaml"
    link.symlink_to(target)
    watched = Watched(link)
    assert await watched.told() == ([], 0)
    by_renaming_over_it(target, EDITED)
    assert await watched.told() == (["edited-2"], 0)


async def test_a_bad_edit_is_told_once_with_its_line_and_its_repair_clears_it(watched: Watched, path: Path) -> None:
    by_writing_in_place(path, BROKEN)
    assert await watched.told(10) == ([], 1)
    [problem] = watched.bad[0]
    assert (problem.line, problem.found) == (22, "'O.12'")
    by_writing_in_place(path, SMALL)
    assert await watched.told() == (["small-1"], 1)


async def test_a_file_seen_half_way_is_not_read_before_it_rests(watched: Watched, path: Path) -> None:
    for end in range(100, len(EDITED), 200):
        by_writing_in_place(path, EDITED[:end])
        await watched.told(1)
    by_writing_in_place(path, EDITED)
    assert await watched.told() == (["edited-2"], 0)


async def test_an_edit_during_the_reading_is_read_again(watched: Watched, path: Path) -> None:
    async def read_while_somebody_saves(path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        watched.read = read_here
        found = read_files(path, files, decks)
        by_writing_in_place(path, EDITED.replace("edited-2", "edited-3"))
        return found

    watched.read = read_while_somebody_saves
    by_writing_in_place(path, EDITED)
    assert await watched.told(6) == (["edited-3"], 0)


async def test_a_save_that_changes_nothing_tells_nobody(watched: Watched, path: Path) -> None:
    by_renaming_over_it(path, SMALL)
    assert await watched.told() == ([], 0)


async def test_a_file_that_is_gone_is_a_bad_edit_and_its_return_a_good_one(watched: Watched, path: Path) -> None:
    os.unlink(path)
    assert await watched.told() == ([], 1)
    assert "No such file" in watched.bad[0][0].found
    write(path.parent, EDITED)
    assert await watched.told() == (["edited-2"], 1)


async def test_an_edit_between_the_start_and_the_first_look_is_not_lost(tmp_path: Path) -> None:
    watched = Watched(write(tmp_path))
    write(tmp_path, EDITED)
    assert await watched.told() == (["edited-2"], 0)


async def test_an_edit_of_a_deck_is_noticed_and_so_is_one_that_breaks_it(tmp_path: Path) -> None:
    deck = tmp_path / "deck.csv"
    deck.write_text("prefix,price\n32,0.10\n", encoding="utf-8")
    watched = Watched(write(tmp_path, WITH_DECK))
    assert await watched.told() == ([], 0)
    by_writing_in_place(deck, "prefix,price\n32,0.11\n")
    assert await watched.told() == (["small-1"], 0)
    assert watched.good[0].digest != load_tariff(write(tmp_path)).digest
    write(tmp_path, WITH_DECK)
    await watched.told()
    by_writing_in_place(deck, "prefix,price\n32,x\n")
    assert (await watched.told())[1] == 1
    assert watched.bad[0][0].file == str(deck)


async def test_a_deck_named_by_an_edit_is_watched_from_then_on(watched: Watched, path: Path) -> None:
    deck = path.parent / "deck.csv"
    by_writing_in_place(path, WITH_DECK)
    assert await watched.told(6) == ([], 1)
    deck.write_text("prefix,price\n32,0.10\n", encoding="utf-8")
    assert await watched.told(6) == (["small-1"], 1)
    by_writing_in_place(deck, "prefix,price\n32,0.20\n")
    assert await watched.told(6) == (["small-1", "small-1"], 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed("small-1", r'"\UFFFFFFFF"'), 1),
        (changed("small-1", r'"\U00110000"'), 1),
        (changed("small-1", r'"\uD800"'), 1),
        (changed('"+3110"', r'"\uD800"'), 16),
        (changed("    fax_page: 0.08", r'    decks: ["\uD800.csv"]'), 19),
        (changed("    fax_page: 0.08", r'    decks: ["\0.csv"]'), 19),
        ("%YAML " + "9" * 5000 + ".1\n---\n" + SMALL, 1),
        ("%YAML 1." + "9" * 5000 + "\n---\n" + SMALL, 1),
        ("revision: " + "[" * 100_000, 1),
        (SMALL + "\0", 34),
    ],
)
async def test_nothing_that_a_file_holds_ends_the_watching(watched: Watched, path: Path, text: str, line: int) -> None:
    by_writing_in_place(path, text)
    assert await watched.told() == ([], 1)
    assert [problem.line for problem in watched.bad[0]] == [line]
    by_writing_in_place(path, EDITED)
    assert await watched.told() == (["edited-2"], 1)


@pytest.mark.parametrize("reader", ["files_of", "load_tariff"])
async def test_a_reading_that_fails_unexpectedly_is_a_bad_edit_and_no_end_of_watching(
    watched: Watched, path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    def fail(*_: object, **__: object) -> Tariff:
        raise RuntimeError("cosmic ray")

    monkeypatch.setattr(f"charging.tariff.reading.{reader}", fail)
    by_writing_in_place(path, EDITED)
    assert await watched.told() == ([], 1)
    assert watched.bad[0][0].found == "RuntimeError: cosmic ray"


async def test_what_was_read_at_the_start_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix,price\n32,0.10\n", encoding="utf-8")
    path, good = write(tmp_path, WITH_DECK), list[Tariff]()
    looked, read = look_at(path), list[Path]()

    async def read_and_count(path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        read.append(path)
        return read_files(path, files, decks)

    tariff = load_tariff(path)
    watcher = TariffWatcher(path, FakeClock(), tariff, good.append, _ignored, looked=looked, read=read_and_count)
    for _ in range(3):
        await watcher.poll()
    assert read == []
    by_writing_in_place(path, WITH_DECK.replace("small-1", "edited-2"))
    for _ in range(3):
        await watcher.poll()
    assert ([one.revision for one in good], read) == (["edited-2"], [path])


async def test_reading_that_was_broken_off_is_told_and_tried_again_a_minute_later(watched: Watched, path: Path) -> None:
    async def broken_off(path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        return await read_in_child(
            path, files, decks, program=(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
        )

    watched.read = broken_off
    by_writing_in_place(path, EDITED)
    assert await watched.told(6) == ([], 1)
    watched.read = read_here
    await watched.clock.advance(AGAIN_S - 1)
    assert await watched.told(6) == ([], 1)
    await watched.clock.advance(1)
    assert await watched.told(6) == (["edited-2"], 1)


async def test_run_looks_every_second(tmp_path: Path) -> None:
    path = write(tmp_path)
    clock, good = FakeClock(), list[Tariff]()
    watcher = TariffWatcher(path, clock, load_tariff(path), good.append, _ignored, read=read_here)
    task = asyncio.create_task(watcher.run(), name="watch")
    try:
        async with asyncio.timeout(20), clock.autojump(idle_s=0.001):
            by_renaming_over_it(path, EDITED)
            while not good:  # noqa: ASYNC110  the file system has no event to wait for
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
    assert good[0].revision == "edited-2"
