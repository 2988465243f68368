"""One AMI message: headers in their order, some of them repeated.

Values are text; a header that the switch did not send reads as ``""``, and so do
``(null)``, ``<null>`` and ``<unknown>``, which are what Asterisk prints in different places for "there is none".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

UNSET = frozenset({"(null)", "<null>", "<unknown>"})
VARIABLE_SUFFIX = "chanvariable"
LINE_END = "\r\n"
LAYOUTS_KEPT = 512
"""Asterisk builds some dozens of kinds of messages; whoever makes up others costs us no more memory than this."""
PATTERN_LINES_MAX = 100
"""Asterisk's longest events have some 60 lines. A pattern takes 14 to 75 µs a line to make, and the loop does nothing
else meanwhile; an answer may have 100,000 lines."""

_SEPARATOR = ": "
_LINE_BEGUN = "\n"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The names of a message's headers, in order. Messages of one kind share a layout, and all that follows from it."""

    names: tuple[str, ...]
    """As the switch wrote them."""
    places: Mapping[str, tuple[int, ...]]
    """Where each stands, by its name in lower case; in the order of the first places."""
    first: Mapping[str, int]
    """Where the first of each stands, by its name in lower case and as the switch wrote it."""
    repeats: tuple[str, ...]
    """Those that come more than once, in lower case."""


@lru_cache(LAYOUTS_KEPT)
def layout_of(names: tuple[str, ...]) -> Layout:
    """Return the layout with these names."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.lower(), []).append(place)
    found = {name: tuple(where) for name, where in places.items()}
    first = {name: where[0] for name, where in found.items()}
    as_written = {name: first[name.lower()] for name in names}
    return Layout(names, found, first | as_written, tuple(name for name, where in found.items() if len(where) > 1))


@lru_cache(LAYOUTS_KEPT)
def _plain_layout(begun: tuple[str, ...]) -> Layout | None:
    """The layout of names of which all but the first begin with a line break; ``None``: others are among them."""
    first, *others = begun
    names = (first, *(name[1:] for name in others if name.startswith(_LINE_BEGUN)))
    if len(names) < len(begun) or not all(map(_NAME.fullmatch, names)):
        return None
    return layout_of(names)


class _Patterns:
    """Reads messages that are built like one that came before, each by one pattern: half of what a split of all its
    lines takes. To make a pattern takes long, so each is made once, and none of a very long message."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Callable[[str], re.Match[str] | None], Layout]] = {}
        """By a message's first line and how many follow; others that are alike in both are not read here."""

    def read(self, text: str) -> tuple[Layout, tuple[str, ...]] | None:
        """The layout and the values; ``None`` if it is built in another way."""
        known = self._known.get(_kind_of(text))
        if known is None or (match := known[0](text)) is None:
            return None
        return known[1], match.groups()

    def learn(self, text: str, layout: Layout) -> None:
        """Take note of how such messages are built; each name of ``layout`` is a word."""
        kind = _kind_of(text)
        has_room = len(layout.names) <= PATTERN_LINES_MAX and len(self._known) < LAYOUTS_KEPT
        if has_room and kind not in self._known:
            pattern = LINE_END.join(f"{name}{_SEPARATOR}(.*)" for name in layout.names)
            self._known[kind] = re.compile(pattern).fullmatch, layout


def _kind_of(text: str) -> tuple[str, int]:
    return text[: text.find(LINE_END)], text.count(_LINE_BEGUN)


_patterns = _Patterns()


class AmiMessage:
    """An event or a response; names are looked up without regard to case."""

    __slots__ = ("_assigned", "_values", "layout", "stray_lines")

    def __init__(self, headers: Iterable[tuple[str, str]] = (), stray_lines: tuple[str, ...] = ()) -> None:
        names, values = zip(*pairs, strict=True) if (pairs := tuple(headers)) else ((), ())
        self.layout = layout_of(names)
        self._values: tuple[str, ...] | list[str] = values
        self.stray_lines = stray_lines
        """Lines that are no headers, which Asterisk itself never writes."""
        self._assigned: dict[str, dict[str, str]] | None = None

    @classmethod
    def of(cls, *pairs: tuple[str, str], **headers: str) -> AmiMessage:
        """Build a message from keywords, then from pairs (for names that repeat or are no identifiers)."""
        return cls((*headers.items(), *pairs))

    @staticmethod
    def parse(text: str) -> AmiMessage:
        """Read one message from its lines ``Name: value``."""
        if (read := _patterns.read(text)) is not None:
            return _whole(*read)
        # One split takes all lines apart at once, if each has one separator: then every name but the first begins
        # with the line break, and no value does. Which names do is looked up, not looked at.
        words = text.replace(LINE_END, _SEPARATOR + _LINE_BEGUN).split(_SEPARATOR)
        lines = len(words) // 2
        if len(words) == 2 * lines and text.count(LINE_END) == text.count(_LINE_BEGUN) == lines - 1:
            layout = _plain_layout(tuple(words[::2]))
            if layout is not None:
                _patterns.learn(text, layout)
                return _whole(layout, words[1::2])
        return by_lines(text)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values, in order."""
        return tuple(zip(self.layout.names, map(str.strip, self._values), strict=True))

    @property
    def event(self) -> str:
        """The event's name; ``""`` for a response."""
        return self.get("event")

    @property
    def response(self) -> str:
        """``Success``, ``Error``…; ``""`` for an event."""
        return self.get("response")

    def get(self, name: str) -> str:
        """The first value of this header; ``""`` if it was not sent."""
        first = self.layout.first
        place = first.get(name)
        if place is None and (place := first.get(name.lower())) is None:
            return ""
        value = self._values[place].strip()
        return "" if value in UNSET else value

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeated header, in order."""
        places = self.layout.places.get(name.lower(), ())
        return tuple([self._values[place].strip() for place in places])

    def assignments(self, name: str) -> Mapping[str, str]:
        """What is assigned in the values ``variable=value`` of a repeated header (in lower case); of two that assign to
        one variable, the last. As the switch wrote it: see :func:`known`."""
        every = self._assigned = self._assigned or {}
        found = every.get(name)
        if found is None:
            found = every[name] = dict([value.partition("=")[::2] for value in self.all(name)])
        return found

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.layout.places

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.headers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AmiMessage):
            return NotImplemented
        return (self.headers, self.stray_lines) == (other.headers, other.stray_lines)

    def __hash__(self) -> int:
        return hash((self.headers, self.stray_lines))

    def __repr__(self) -> str:
        return f"AmiMessage({self.headers!r}, {self.stray_lines!r})"

    def channel_variable(self, name: str, prefix: str = "") -> str:
        """A variable that ``channelvars`` shows, of the channel with this prefix (``""``, ``Dest``, ``Spyee``…)."""
        return assigned(self.all(prefix + VARIABLE_SUFFIX), name)


def _whole(layout: Layout, values: tuple[str, ...] | list[str]) -> AmiMessage:
    """A message of which every line is a header."""
    message = AmiMessage.__new__(AmiMessage)
    message.layout, message._values, message.stray_lines, message._assigned = layout, values, (), None
    return message


def by_lines(text: str) -> AmiMessage:
    """Read a message line by line, whatever stands in it."""
    headers, stray_lines = [], []
    for line in text.split(LINE_END):
        name, _, value = line.partition(":")
        if len(name) < len(line) and name:
            headers.append((name.strip(), value.strip()))
        elif line:
            stray_lines.append(line)
    return AmiMessage(headers, tuple(stray_lines))


def assigned(assignments: Iterable[str], name: str) -> str:
    """The value of ``name`` among texts ``name=value``; ``""`` where unset."""
    begin = f"{name}="
    for assignment in assignments:
        if assignment.startswith(begin):
            return known(assignment[len(begin) :])
    return ""


def known(value: str) -> str:
    """The value, or ``""`` where Asterisk says that there is none."""
    return "" if value in UNSET else value
