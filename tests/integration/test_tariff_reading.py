"""A tariff is read by a child: the same as here, without a pause for whoever waits for it, and never instead of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from charging import app_api, priority
from charging.pricing.rate import Rate
from charging.tariff import reading
from charging.tariff.deck import Deck, DeckRow
from charging.tariff.deck_file import DeckCache, parse_deck
from charging.tariff.reading import _Memory, read_files, read_in_child
from charging.tasks import deaf_to_hangup
from tests.unit.tariff.tariffs import SMALL, changed, write

WITH_DECK = SMALL.replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")
DECK = """\
prefix;name;price;increments;valid_from
32;België;0,10;60/1;
3247;Mobile;0.30;60;2020-01-01
3247;Mobile;0.40;60;2090-01-01
"""
AT_US = 1_793_790_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "deck.csv").write_text(DECK, encoding="utf-8")
    return write(tmp_path, WITH_DECK)


async def test_child_reads_what_is_read_here(path: Path) -> None:
    here, there = read_files(path, (path,), DeckCache()), await read_in_child(path, (path,), DeckCache())
    assert there.files == here.files == (path, path.parent / "deck.csv")
    assert there.tariff is not None
    assert here.tariff is not None
    for name in ("revision", "digest", "plans", "destinations", "vat", "warnings"):
        assert getattr(there.tariff, name) == getattr(here.tariff, name)
    plan = next(iter(here.tariff.plans))
    for number in ("+3225551234", "+32475551234", "+31612345678", "+99912345678"):
        found = there.tariff.rate_for(plan, number, AT_US)
        assert found == here.tariff.rate_for(plan, number, AT_US)
        assert isinstance(found, Rate) is (number != "+99912345678")


@pytest.mark.parametrize("program", [reading.PROGRAM, app_api.PROGRAM], ids=["tariff", "api"])
def test_a_child_runs_nothing_of_the_folder_that_the_daemon_was_started_in(
    program: tuple[str, ...], tmp_path: Path
) -> None:
    """Whoever may write there would have had the daemon's rights."""
    (tmp_path / "charging").mkdir()
    for strange in ("mmap.py", "charging/__init__.py"):
        (tmp_path / strange).write_text("open('mark', 'w')\n", encoding="ascii")
    subprocess.run(program, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=200, check=False)
    assert not (tmp_path / "mark").exists()


def test_a_child_is_ended_before_asterisk_where_memory_is_short() -> None:
    """It inherits what protects the daemon."""
    asks = "from charging.priority import give_way; give_way(); print(open('/proc/self/oom_score_adj').read())"
    told = subprocess.run([sys.executable, "-c", asks], capture_output=True, timeout=200, check=True, text=True)
    assert int(told.stdout) == priority.EXPENDABLE > 0


async def test_problems_are_told_with_their_lines(path: Path) -> None:
    write(path.parent, changed("price: 0.12", "price: O.12"))
    reading = await read_in_child(path, (path,), DeckCache())
    assert (reading.tariff, reading.finished) == (None, True)
    assert [(one.line, one.found) for one in reading.problems] == [(22, "'O.12'")]


async def test_decks_that_were_read_before_are_handed_over_and_not_read_again(path: Path) -> None:
    file = path.parent / "deck.csv"
    cache = DeckCache()
    read = cache(file)
    row = DeckRow("+32", "read before", 1, 60, 60, 0, date.min)
    cache._read[file] = read._replace(deck=Deck(str(file), [row]))
    reading = await read_in_child(path, (path,), cache)
    assert reading.decks(file).deck.rows("+32") == (row,)
    file.write_text(DECK + "33;x;1;60;\n", encoding="utf-8")
    again = await read_in_child(path, (path,), reading.decks)
    assert len(again.decks(file).deck.rows("+3247")) == 2
    write(path.parent, SMALL)
    assert (await read_in_child(path, (path,), again.decks)).decks._read == {}


def hangs(mark: Path) -> tuple[str, ...]:
    """A reader that only writes down which process it is."""
    return sys.executable, "-c", f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"


def is_there(mark: Path) -> bool:
    return Path("/proc", mark.read_text()).exists()


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "a reader that ended with signal 9"),
        ((sys.executable, "-c", "raise MemoryError"), "a reader that ended with code 1 MemoryError"),
        (("/nowhere",), "a reader that cannot be started (No such file or directory)"),
    ],
)
async def test_child_that_dies_is_a_problem_that_says_how(path: Path, program: tuple[str, ...], found: str) -> None:
    decks = DeckCache()
    reading = await read_in_child(path, (path,), decks, program=program)
    assert (reading.tariff, reading.finished, reading.decks) == (None, False, decks)
    assert [one.found for one in reading.problems] == [found]


async def test_child_that_every_process_of_the_daemon_is_told_to_reload_with_reads_on(path: Path) -> None:
    """`systemctl kill --signal=HUP charging`."""
    *before, main = reading.PROGRAM
    program = (*before, f"import os, signal; os.kill(os.getpid(), signal.SIGHUP); {main}")
    found = await read_in_child(path, (path,), DeckCache(), program=program)
    assert found.problems == ()
    assert found.tariff is not None


def test_process_beside_the_daemon_that_reads_an_edit_outlives_a_reload_of_all_processes(path: Path) -> None:
    """It is started deaf to hangups, and has no handler for them."""
    words = """
import asyncio, os, signal, sys
from pathlib import Path
from charging.tariff.deck_file import DeckCache
from charging.tariff.reading import read_in_child
path = Path(sys.argv[1])
os.kill(os.getpid(), signal.SIGHUP)
found = asyncio.run(read_in_child(path, (path,), DeckCache()))
print(found.tariff is not None)
"""
    with deaf_to_hangup():
        ran = subprocess.run([sys.executable, "-c", words, str(path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "True\n"), ran.stderr


async def test_child_that_hangs_is_ended(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    reading = await read_in_child(path, (path,), DeckCache(), program=hangs(mark), deadline_s=2)
    assert [one.found for one in reading.problems] == ["a reader that has not finished after 2 s"]
    assert not is_there(mark)


async def test_child_ends_with_the_one_that_waits_for_it(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    waiting = asyncio.create_task(read_in_child(path, (path,), DeckCache(), program=hangs(mark)))
    async with asyncio.timeout(20):
        while not mark.exists() or not mark.read_text():  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not is_there(mark)


def test_what_is_copied_of_a_deck_does_not_grow_with_its_rows() -> None:
    """The rest stays in memory that both processes have."""
    copied = []
    for rows in (10, 10_000):
        text = "prefix;price\n" + "".join(f"{100_000 + n};0,10\n" for n in range(rows))
        with _Memory() as memory:
            written = memory.write(parse_deck(text.encode(), "deck.csv"))
            deck = memory.read(written).deck
        assert len(deck) == rows
        assert deck.match(f"+{100_000 + rows - 1}99", date.max) is not None
        copied.append(len(written))
    assert copied[1] - copied[0] < 100
