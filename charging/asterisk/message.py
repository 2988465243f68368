"""One AMI message: headers in their order, some of them repeated.

Values are text; a header that the switch did not send reads as ``""``, and so do
``(null)``, ``<null>`` and ``<unknown>``, which are what Asterisk prints in different places for "there is none".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

UNSET = frozenset({"(null)", "<null>", "<unknown>"})
VARIABLE_SUFFIX = "chanvariable"
LINE_END = "\r\n"


@dataclass(frozen=True, slots=True)
class AmiMessage:
    """An event or a response; names are looked up without regard to case."""

    headers: tuple[tuple[str, str], ...]
    stray_lines: tuple[str, ...] = ()
    """Lines that are no headers, which Asterisk itself never writes."""
    _by_name: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, list[str]] = {}
        for name, value in self.headers:
            by_name.setdefault(name.lower(), []).append(value)
        object.__setattr__(self, "_by_name", by_name)

    @classmethod
    def of(cls, *pairs: tuple[str, str], **headers: str) -> AmiMessage:
        """Build one from keywords, then pairs (for names that repeat or are no identifiers)."""
        return cls((*headers.items(), *pairs))

    @classmethod
    def parse(cls, text: str) -> AmiMessage:
        """Read the lines ``Name: value`` of one message."""
        lines = text.split(LINE_END)
        return cls(tuple(_headers(lines)), tuple(line for line in lines if line and not _is_header(line)))

    @property
    def event(self) -> str:
        """The event's name, ``""`` for a response."""
        return self.get("Event")

    @property
    def response(self) -> str:
        """``Success``, ``Error``…; ``""`` for an event."""
        return self.get("Response")

    def get(self, name: str) -> str:
        """The first value of this header, ``""`` where it was not sent."""
        values = self._by_name.get(name.lower())
        return known(values[0]) if values else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeated header, in order."""
        return tuple(self._by_name.get(name.lower(), ()))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._by_name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.headers)

    def channel_variable(self, name: str, prefix: str = "") -> str:
        """A variable that ``channelvars`` shows, of the channel with this prefix (``""``, ``Dest``, ``Spyee``…)."""
        return assigned(self.all(prefix + VARIABLE_SUFFIX), name)

    def variable(self, name: str) -> str:
        """A variable that the action ``Status`` was asked for."""
        return assigned(self.all("Variable"), name)


def assigned(assignments: Iterable[str], name: str) -> str:
    """The value of ``name`` among texts ``name=value``; ``""`` where unset."""
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        if key.strip() == name:
            return known(value)
    return ""


def known(value: str) -> str:
    """The value, or ``""`` where Asterisk says that there is none."""
    return "" if value in UNSET else value


def _is_header(line: str) -> bool:
    return line.find(":") > 0


def _headers(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if _is_header(line):
            name, _, value = line.partition(":")
            yield name.strip(), value.strip()
