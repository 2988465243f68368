"""What `charging check` finds: one line each, and how bad it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be looked at from here; the text says what to do instead."""
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at."""

    grade: Grade
    part: str
    """What was looked at: config, tariff, ledger…"""
    text: str
    """What was found, and what to do about it."""

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.grade:<8} {self.part:<9} {self.text}"


def ok(part: str, text: str) -> CheckResult:
    """It is as it should be."""
    return CheckResult(Grade.OK, part, text)


def unknown(part: str, text: str) -> CheckResult:
    """It could not be looked at."""
    return CheckResult(Grade.UNKNOWN, part, text)


def warning(part: str, text: str) -> CheckResult:
    """It works, and someone should look at it."""
    return CheckResult(Grade.WARNING, part, text)


def problem(part: str, text: str) -> CheckResult:
    """It will not work."""
    return CheckResult(Grade.PROBLEM, part, text)
