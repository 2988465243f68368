"""A story of a simulated city: lines that a person can read, and that can be told again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.simulation.setting import Setting

_NUMBER = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: a word and what it is given."""

    word: str
    given: tuple[float | str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.word, *(f"{one:g}" if isinstance(one, float) else str(one) for one in self.given)))

    @classmethod
    def read(cls, line: str) -> Step:
        """From its line. Raises ValueError where there is no word."""
        word, *given = line.split()
        return cls(word, tuple(_number(one) for one in given))


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Story:
    """A seed (for all that is drawn while it is told), a setting, and the steps."""

    seed: int
    setting: Setting
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *map(str, self.steps)])
