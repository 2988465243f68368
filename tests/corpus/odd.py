"""What an odd document is: its bytes, and what a fax of it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

WIDE, HIGH = 1728 / 204 * 72, 2292 / 196 * 72
"""The paper of a fax, in points."""


class Answer(StrEnum):
    """What becomes of it."""

    SENT = "sent"
    REFUSED = "refused"
    EITHER = "sent whole, or refused"
    """A damaged file of which all may be saved."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A document."""

    name: str
    data: bytes
    answer: Answer
    ink: tuple[float, ...] = ()
    """Of each page of the source as it comes onto the paper: how many dots in a thousand are black."""
    says: str = ""
    """Within the words of a refusal."""


Family = Callable[[], Iterator[tuple[Any, ...]]]
"""Documents of one kind: name, bytes, answer, and where they differ from one page with the usual bar their ink and what
a refusal says."""


def fitted(width: float, height: float, area: float) -> float:
    """The ink of ``area`` square points of a page of that size which is fitted into the paper."""
    scale = min(WIDE / width, HIGH / height)
    return 1000 * area * scale * scale / (WIDE * HIGH)
