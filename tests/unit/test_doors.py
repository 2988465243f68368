"""No walk through the program enters more files than it did: see `tests.benchmarks.doors`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.benchmarks.doors import AT_MOST, HOUSE, ROOT, walk_all


async def test_no_walk_enters_more_files_than_before() -> None:
    entered = {walk.name: len(walk.files) for walk in await walk_all()}
    assert entered.keys() == AT_MOST.keys()
    assert not {name: files for name, files in entered.items() if files > AT_MOST[name]}


def test_the_page_names_steps_of_the_walks_that_there_are() -> None:
    page = (ROOT / "docs/internals.md").read_text(encoding="utf-8")
    walks = page.partition("## Six walks")[2].partition("\n## ")[0].partition("More files than these")[0]
    walks += page.partition("## Three other ways")[2].partition("\n## ")[0]
    texts = {path: path.read_text(encoding="utf-8") for room in HOUSE for path in Path(room).rglob("*.py")}
    for paragraph in walks.split("\n\n**")[1:]:
        last = ""
        for file, owner, name in re.findall(r"`(?:((?:\w+/)*\w+\.py)(?:::)?)?(?:(\w+)\.)?(\w+)?`", paragraph):
            last = file or last
            found = [text for path, text in texts.items() if last and str(path).endswith(f"/{last}")]
            assert not file or len(found) == 1, file
            for one in (owner, name):
                there = found if file else texts.values()
                assert not one or any(re.search(rf"(def|class) {one}\b", text) for text in there), (file, one)
