"""No walk through the program enters more files than it did: see `tests.benchmarks.doors`."""

from __future__ import annotations

from tests.benchmarks.doors import AT_MOST, walk_all


async def test_no_walk_enters_more_files_than_before() -> None:
    entered = {walk.name: len(walk.files) for walk in await walk_all()}
    assert entered.keys() == AT_MOST.keys()
    assert not {name: files for name, files in entered.items() if files > AT_MOST[name]}
