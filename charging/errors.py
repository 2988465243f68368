"""The tree of exceptions.

Expected refusals (no credit, unknown number) are *values*, never exceptions. An exception here means
"could not answer" or "someone must mend something"::

    ChargingError
    ├── ConfigError            a file is wrong; carries every Problem at once
    ├── LedgerError
    │   ├── LedgerUnavailable  the store could not answer; the outcome is unknown; ask again with the same id
    │   │   └── LedgerMissing  there is none (any more), and whoever asks must not begin one
    │   └── LedgerCorrupt      the store contradicts itself; a person must look
    ├── SwitchError
    │   ├── LinkDown           there is no AMI link now
    │   ├── ActionTimeout      the switch did not reply in time; whether it acted is unknown
    │   └── ActionRefused      the switch replied with an error; carries its words
    ├── ProtocolError
    │   ├── LocalProtocolError   we were about to break the wire protocol
    │   └── RemoteProtocolError  the other end broke it
    └── UnexpectedEvent        a pair of state and event that the session table does not have

The docstring of a class is its default message. Drivers' exceptions stop at their adapter and are chained.
"""

from __future__ import annotations

from collections.abc import Sequence

from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file that a person edits."""

    file: str
    path: str
    """Where in the document, for example ``plans.voice_pro.free_minutes``."""
    found: str
    expected: str
    line: int | None = None
    """1-based; ``None`` where the line is not known (a key that is missing, for example)."""
    column: int | None = None
    hint: str = ""

    def __str__(self) -> str:
        position = f":{self.line}" if self.line is not None else ""
        if self.line is not None and self.column is not None:
            position += f":{self.column}"
        hint = f" ({self.hint})" if self.hint else ""
        where = f" {self.path}:" if self.path else ""
        return f"{self.file}{position}:{where} found {self.found}, expected {self.expected}{hint}"


class ChargingError(Exception):
    """The charging engine could not do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class ConfigError(ChargingError):
    """A configuration or tariff file is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LedgerError(ChargingError):
    """The ledger failed."""


class LedgerUnavailable(LedgerError):
    """The ledger could not answer; the outcome is unknown."""


class LedgerMissing(LedgerUnavailable):
    """There is no ledger."""


class LedgerCorrupt(LedgerError):
    """The ledger contradicts itself."""


class SwitchError(ChargingError):
    """The switch could not be asked or did not obey."""


class LinkDown(SwitchError):
    """There is no AMI link to the switch now."""


class ActionTimeout(SwitchError):
    """The switch did not reply in time; whether it acted is unknown."""


class ActionRefused(SwitchError):
    """The switch replied with an error."""


class ShuttingDown(ActionRefused):
    """Asterisk refuses everything until its last call has ended."""


class ProtocolError(ChargingError):
    """A wire protocol was broken."""


class LocalProtocolError(ProtocolError):
    """We were about to break the wire protocol."""


class RemoteProtocolError(ProtocolError):
    """The other end broke the wire protocol."""


class UnexpectedEvent(ChargingError):
    """The session table has no row for this state and event."""
