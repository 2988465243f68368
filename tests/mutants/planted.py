"""The list of planted mistakes: `planted.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("planted.yaml")
MENDED = Path(__file__).with_name("mended.yaml")

ROOMS = {
    "charging": ("tests/unit/pricing", "tests/unit/call"),
    "charging/pricing": ("tests/unit/pricing", "tests/unit/whatif", "tests/unit/call"),
    "charging/call": ("tests/unit/call", "tests/unit/engine", "tests/unit/fax", "tests/unit/service"),
    "charging/engine": ("tests/unit/engine", "tests/unit/call"),
    "charging/ledger": ("tests/contract", "tests/unit/ledger", "tests/unit/call"),
    "charging/ledger/sqlite": ("tests/contract", "tests/unit/ledger"),
    "charging/ledger/redis": ("tests/contract/test_ledger_money.py", "tests/contract"),
    "charging/ledger/redis/lua": ("tests/contract/test_ledger_money.py", "tests/contract"),
    "charging/fax": ("tests/unit/fax", "tests/unit/service"),
    "charging/notify": ("tests/unit/notify",),
    "charging/service": ("tests/unit/service", "tests/unit/notify", "tests/unit/web/test_buying.py"),
}
"""Which tests must find a mistake in which folder."""


class Mistake(NamedTuple):
    """One mistake."""

    file: str
    """From the project's root."""
    so: str
    """What a customer or an operator would meet."""
    was: str
    becomes: str
    by: str = ""
    """The test that found it last, by pytest's id: it is run first."""

    @property
    def tests(self) -> tuple[str, ...]:
        """Those of its room."""
        return ROOMS[self.file.rpartition("/")[0]]

    @property
    def is_of_redis(self) -> bool:
        """Whether only a real Redis can show it."""
        return self.file.startswith("charging/ledger/redis/")

    @property
    def right(self) -> str:
        """The file's text without it."""
        return (ROOT / self.file).read_text(encoding="utf-8")

    def planted_in(self, text: str) -> str:
        """The file's text with the mistake. Raises ValueError where the list is older than the file."""
        if (found := text.count(self.was)) != 1:
            raise ValueError(f"{self.file}: {self.so}: its text stands there {found} times; mend {LIST.name}")
        return text.replace(self.was, self.becomes)

    def lines_in(self, text: str) -> range:
        """The lines of the file that the mistake changes, counted from 1."""
        before = text.count("\n", 0, text.index(self.was))
        return range(before + 1, before + 2 + self.was.rstrip("\n").count("\n"))


class Mend(NamedTuple):
    """One mend of the core, to be taken back."""

    fault: str
    """Its number in the list of faults."""
    edits: tuple[Mistake, ...]
    seeds: tuple[int, ...] = ()
    """The first, and how many stories are told at most."""
    story: str = ""
    """Or one that is told as it is written."""


def mends() -> list[Mend]:
    """All that the simulation must find."""
    listed = yaml.safe_load(MENDED.read_text(encoding="utf-8"))
    return [
        Mend(
            one["fault"],
            tuple(Mistake(edit["file"], one["so"], edit["was"], edit["is"]) for edit in one["edits"]),
            tuple(one.get("seeds", ())),
            one.get("story", ""),
        )
        for one in listed
    ]


def mistakes(file: Path = LIST) -> list[Mistake]:
    """All of a list."""
    listed = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [
        Mistake(file, one["so"], one["was"], one["is"], one.get("by", ""))
        for file, many in listed.items()
        for one in many
    ]
