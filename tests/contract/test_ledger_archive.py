"""Old journal lines and CDRs go to files; the books that stay add up, go on, and can be archived again."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.books.archive import archivable, archive, opening_line
from charging.ledger.books.portable import Counts, decode
from charging.ledger.durable import append_lines
from charging.ledger.memory import MemoryStore
from charging.ledger.model import JournalLine, Kind
from charging.ledger.port import IDS_REMEMBERED_S, SOLE, Store
from charging.ledger.redis import store as redis_store
from tests.contract.scenario import ENDED_US, add_account, assert_sound, run
from tests.fakes.disk import disk_full_at

NOW_US = 10**15

# The row's number is its time; the CDRs end at ENDED_US, 5.
BOOKS = """t1 top_up credit=+100                       -> created
    r1 reserve s1:open credit=/60 bundle:2026-11=/5 after g1 bundle:2026-11=+9 -> created
    r2 reserve s2:open credit=/10                    -> created
    e1 settle s1:close+cdr credit=-45/-60 bundle:2026-11=-5/-5 -> created
    e2 settle s2:close+cdr credit=-10/-10            -> created
    t2 top_up credit=+1                              -> created credit 46/0 bundle:2026-11 4/0
    r3 reserve s3:open credit=/6                     -> created
    t3 top_up credit=+1                              -> created credit 47/6
"""


def month_of(at_us: int) -> str:
    return "2026-10" if at_us < 4 else "2026-11"


async def archived(store: Store, before_us: int, folder: Path) -> Counts:
    counts = Counts()
    await archive(store, before_us, NOW_US, folder, month_of, counts)
    return counts


def read(file: Path) -> list[JournalLine]:
    """The lines of a file of the archive."""
    records = [decode(*text.split("\t")[::-1]) for text in file.read_text().splitlines()]
    return [record for record in records if isinstance(record, JournalLine)]


async def numbers(store: Store) -> list[int]:
    return [line.number async for line in store.journal("a")]


@pytest.mark.parametrize(
    ("before_us", "expected"),
    [(1, 0), (2, 1), (3, 2), (5, 2), (6, 6), (7, 7), (100, 7)],
)
async def test_only_a_beginning_whose_sessions_have_ended_for_good_is_archived(before_us: int, expected: int) -> None:
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    lines = [line async for line in store.journal("a")]
    assert len(archivable(lines, before_us)) == expected


def test_an_opening_line_is_as_late_as_the_latest_line_that_it_stands_for() -> None:
    lines = [JournalLine(n, f"t{n}", "a", Kind.TOP_UP, at_us, (), None, "", "") for n, at_us in ((1, 8), (2, 7))]
    assert (opening_line(lines).number, opening_line(lines).at_us) == (2, 8)


async def test_a_cdr_stays_as_long_as_a_line_of_its_session_does(tmp_path: Path) -> None:
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    await run(store, "\n" * 7 + "e4 settle s3:close+cdr credit=-6/-6 -> created")  # ended at 5, settled at 8
    assert (await archived(store, ENDED_US + 1, tmp_path)).cdrs == 2
    assert [cdr.session for cdr in await store.cdrs()] == ["s3"]
    assert (await archived(store, 100, tmp_path)).cdrs == 1


async def test_an_archived_journal_begins_with_one_opening_line_and_goes_on(store: Store, tmp_path: Path) -> None:
    await add_account(store)
    await run(store, BOOKS)
    before = await store.balances("a")
    counts = await archived(store, 7, tmp_path)
    assert (counts.lines, counts.cdrs) == (7, 2)
    first, *rest = [line async for line in store.journal("a")]
    assert (first.number, first.kind, first.at_us) == (7, Kind.OPENING, 6)
    assert {leg.balance: leg.posted for leg in first.legs} == {"credit": 46, "bundle:2026-11": 4}
    assert [line.number for line in rest] == [8, 9]
    assert await store.balances("a") == before
    await assert_sound(store)
    await run(store, "e3 settle s3:close credit=-6/-6 -> created credit 41/0")
    await run(store, "t3 top_up credit=+1 -> exists credit 41/0")
    assert await numbers(store) == [7, 8, 9, 10]
    assert [line.number async for line in store.journal("a", after=8)] == [9, 10]
    assert [line.number for line in await store.journal_page("a", 9, 5)] == [8, 7]
    assert [line.number for line in await store.journal_page("a", None, 2)] == [10, 9]
    await assert_sound(store)


async def test_archiving_again_carries_the_opening_line_on(store: Store, tmp_path: Path) -> None:
    await add_account(store)
    await run(store, BOOKS)
    await archived(store, 7, tmp_path)
    assert (await archived(store, 7, tmp_path)).lines == 0
    await run(store, "e3 settle s3:close credit=-6/-6 -> created credit 41/0")
    assert (await archived(store, 100, tmp_path)).lines == 3
    assert await numbers(store) == [10]
    assert (await store.balances("a"))["credit"].posted == 41
    await assert_sound(store)
    await run(store, "t4 top_up credit=+1 -> created credit 42/0")
    assert await numbers(store) == [10, 11]
    await assert_sound(store)


async def test_a_journal_whose_archived_head_is_longer_than_a_page_is_read_from_its_opening_line(
    store: Store, tmp_path: Path
) -> None:
    await add_account(store)
    for number in range(1, 604):
        await run(store, f"t{number} top_up credit=+1 -> created")
    assert (await archived(store, NOW_US - IDS_REMEMBERED_S * 1_000_000, tmp_path)).lines == 603
    assert await numbers(store) == [603]
    await run(store, "t604 top_up credit=+1 -> created credit 604/0")
    await run(store, "t605 top_up credit=+1 -> created credit 605/0")
    assert await numbers(store) == [603, 604, 605]
    assert [line.number for line in await store.journal_page("a", 605, 1000)] == [604, 603]
    assert [line.number for line in await store.journal_page("a", 602, 10)] == []
    await assert_sound(store)


async def test_an_archive_runs_alone(store: Store, tmp_path: Path) -> None:
    await add_account(store)
    await run(store, BOOKS)
    epoch = await store.leases.acquire_lease(SOLE, "archive-1", 60)
    assert epoch is not None
    with pytest.raises(LedgerUnavailable, match="another export, import or archive"):
        await archived(store, 7, tmp_path)
    assert await numbers(store) == list(range(1, 10))
    await store.leases.release_lease(SOLE, "archive-1", epoch)
    assert (await archived(store, 7, tmp_path)).lines == 7
    assert await store.leases.held_leases() == []


async def test_an_archive_that_has_lost_its_lease_takes_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()

    async def overtaken(switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        return False

    monkeypatch.setattr(store.leases, "renew_lease", overtaken)
    await add_account(store)
    await run(store, BOOKS)
    with pytest.raises(LedgerUnavailable, match="lost the ledger"):
        await archived(store, 7, tmp_path)
    assert await numbers(store) == list(range(1, 10))
    assert len(await store.cdrs()) == 2


async def test_lines_that_another_archive_has_replaced_are_not_replaced_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the id of a line forgotten that still stands."""
    monkeypatch.setattr("charging.ledger.redis.store.STEP_ENTRIES", 1)
    await add_account(store)
    await run(store, BOOKS)
    lines = [line async for line in store.journal("a")]
    assert await store.replace_head(opening_line(lines[:6]), lines[:6])
    for end in (2, 6, 7, 9):
        assert not await store.replace_head(opening_line(lines[:end]), lines[:end])
    assert await numbers(store) == [6, 7, 8, 9]
    await assert_sound(store)


async def test_more_lines_than_a_step_takes_out_are_archived(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "STEP_ENTRIES", 3)
    await add_account(store)
    await run(store, BOOKS)
    assert (await archived(store, 7, tmp_path)).lines == 7
    assert await numbers(store) == [7, 8, 9]
    assert await store.cdrs(account="a") == []
    for top_up in ("t1 top_up credit=+100 -> created credit 147/6", "t2 top_up credit=+1 -> created credit 148/6"):
        await run(store, top_up)  # the ids are forgotten
    await assert_sound(store)


async def test_archived_cdrs_are_gone_from_the_store(store: Store, tmp_path: Path) -> None:
    await add_account(store)
    await run(store, BOOKS)
    assert (await archived(store, ENDED_US, tmp_path)).cdrs == 0
    assert (await archived(store, ENDED_US + 1, tmp_path)).cdrs == 2
    assert await store.cdrs() == []
    assert await store.cdrs(account="a") == []
    await assert_sound(store)


async def test_the_archive_s_files_are_by_month_and_hold_every_line(tmp_path: Path) -> None:
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    await archived(store, ENDED_US + 1, tmp_path)
    texts = {path.name: path.read_text().splitlines() for path in sorted(tmp_path.iterdir())}  # noqa: ASYNC240
    assert {name: len(lines) for name, lines in texts.items()} == {
        "cdrs-2026-11.jsonl": 2,
        "journal-2026-10.jsonl": 4,
        "journal-2026-11.jsonl": 2,
    }
    assert texts["journal-2026-10.jsonl"][0].startswith('a\t["line",1,"t1","top_up",1,[["credit",100,0]]')


async def test_the_files_of_several_archives_add_up_to_what_was_archived(tmp_path: Path) -> None:
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    for before_us in (2, 6, 7):
        await archived(store, before_us, tmp_path)
    found = [line for month in ("2026-10", "2026-11") for line in read(tmp_path / f"journal-{month}.jsonl")]
    assert [line.number for line in found] == list(range(1, 8))
    assert sum(leg.posted for line in found for leg in line.legs if leg.balance == "credit") == 46
    assert {line.kind for line in found} == {Kind.TOP_UP, Kind.GRANT, Kind.RESERVE, Kind.SETTLE}


async def test_a_disk_that_is_full_within_a_line_leaves_whole_lines_and_the_ledger_as_it_was(tmp_path: Path) -> None:
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    await archived(store, 2, tmp_path)
    file = tmp_path / "journal-2026-10.jsonl"
    text = file.read_text()
    with disk_full_at(len(text) + 40), pytest.raises(OSError, match="too large"):
        await archived(store, 7, tmp_path)
    assert file.read_text() == text
    assert len(await numbers(store)) == 9
    assert (await archived(store, 7, tmp_path)).lines == 6
    assert [line.number for line in read(file)] == [1, 2, 3, 4]


@pytest.mark.parametrize("lines_before", [0, 1, 2_000])
def test_the_half_line_that_a_crash_left_is_taken_away_before_more_is_written(
    tmp_path: Path, lines_before: int
) -> None:
    file = tmp_path / "file"
    whole = "".join(f"line {number}\n" for number in range(lines_before))
    file.write_text(whole + "half a line" * 10_000)
    append_lines(file, ["new\n"])
    assert file.read_text() == whole + "new\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_no_link_leads_an_archive_to_a_file_elsewhere(tmp_path: Path, is_there: bool) -> None:
    """Root may archive into a folder that is the daemon's user's."""
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "journal-2026-01.jsonl"
    if is_there:
        elsewhere.write_text("no line break: it would be cut to nothing", encoding="ascii")
    file.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        append_lines(file, ["new\n"])
    assert elsewhere.exists() is is_there
    assert not is_there or elsewhere.read_text(encoding="ascii").startswith("no line break")


async def test_what_is_young_is_not_archived(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="35 days"):
        await archived(MemoryStore(), NOW_US - IDS_REMEMBERED_S * 1_000_000 + 1, tmp_path)
    await archived(MemoryStore(), NOW_US - IDS_REMEMBERED_S * 1_000_000, tmp_path)
