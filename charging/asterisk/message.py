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
    firsts: dict[str, str] = field(init=False, repr=False, compare=False)
    """The first value of each header by its name in lower case, in the order in which they came."""
    repeats: dict[str, list[str]] = field(init=False, repr=False, compare=False)
    """All values of those that came more than once."""

    def __post_init__(self) -> None:
        # A list of all channels makes tens of thousands of these: most headers come once, and need no list.
        firsts: dict[str, str] = {}
        repeats: dict[str, list[str]] = {}
        for name, value in self.headers:
            lowered = name.lower()
            if lowered not in firsts:
                firsts[lowered] = value
            elif lowered in repeats:
                repeats[lowered].append(value)
            else:
                repeats[lowered] = [firsts[lowered], value]
        object.__setattr__(self, "firsts", firsts)
        object.__setattr__(self, "repeats", repeats)

    @classmethod
    def of(cls, *pairs: tuple[str, str], **headers: str) -> AmiMessage:
        """Build one from keywords, then pairs (for names that repeat or are no identifiers)."""
        return cls((*headers.items(), *pairs))

    @classmethod
    def parse(cls, text: str) -> AmiMessage:
        """Read the lines ``Name: value`` of one message."""
        headers, stray_lines = [], []
        for line in text.split(LINE_END):
            name, _, value = line.partition(":")
            if len(name) < len(line) and name:
                headers.append((name.strip(), value.strip()))
            elif line:
                stray_lines.append(line)
        return cls(tuple(headers), tuple(stray_lines))

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
        return known(self.firsts.get(name.lower(), ""))

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeated header, in order."""
        lowered = name.lower()
        if lowered in self.repeats:
            return tuple(self.repeats[lowered])
        return (self.firsts[lowered],) if lowered in self.firsts else ()

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.firsts

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
