"""The one YAML reader: every scalar stays the text that a person typed.

YAML's own typing mis-reads telephony: with PyYAML's ``safe_load`` the prefix ``0044`` becomes 36, the hour
``18:00`` becomes 1080, the country ``NO`` becomes False and the price ``0.0125`` a float. Each of these is a
call charged wrongly. So nothing is typed here: a scalar is a ``str``, an absent value (``key:`` and nothing
after it) is ``None``, and whoever knows what a key means types it (:mod:`charging.yaml_model`).

What YAML offers beyond maps, lists and text is refused with its line and column: anchors, aliases and merge
keys (a few lines of them expand to gigabytes), tags, several documents in one file, keys given twice (YAML
would silently keep one), keys that are not text, escapes for what nobody can print. All such problems are
reported together; only broken syntax ends the reading.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TypeAlias

import yaml

from charging.errors import ConfigError, Problem
from charging.files import read_bytes
from charging.records import dataclass

MAX_BYTES = 1024 * 1024
"""A larger file is refused unread."""
MAX_DEPTH = 16
"""Maps and lists within one another."""
MAX_NODES = 20_000
"""Maps, lists and scalars together: about two seconds of reading; longer lists belong in CSV decks."""
MAX_PROBLEMS = 100
"""Reading stops after as many problems: no person reads more."""
_SHOWN_LENGTH = 60

TextValue: TypeAlias = "str | list[TextValue] | dict[str, TextValue] | None"
"""What a document holds: text, nothing, lists and maps."""
DocumentPath: TypeAlias = "tuple[str | int, ...]"
"""Keys and list indices from the root, for example ``("plans", "voice_pro", "steps", 0)``."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as text values, with the place of each."""

    file: str
    root: dict[str, TextValue]
    key_marks: Mapping[DocumentPath, Mark] = field(repr=False)
    """Where each map's key (or list's item) begins."""
    value_marks: Mapping[DocumentPath, Mark] = field(repr=False)
    """Where each value begins."""

    def problem(
        self, path: DocumentPath, found: str, expected: str, hint: str = "", *, at_key: bool = False
    ) -> Problem:
        """A Problem at ``path``; for a path that is not in the file, at its nearest parent that is."""
        marks = self.key_marks if at_key else self.value_marks
        mark = marks.get(path) or self._nearest(path)
        return Problem(self.file, path_text(path), found, expected, mark.line, mark.column, hint)

    def _nearest(self, path: DocumentPath) -> Mark:
        while path:
            path = path[:-1]
            if mark := self.key_marks.get(path):
                return mark
        return Mark(1, 1)


def path_text(path: DocumentPath) -> str:
    """``("steps", 0, "price")`` as ``steps[0].price``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def describe(value: object) -> str:
    """A value in a Problem's words: ``'12:00'``, ``nothing``, ``a list``, ``a map``."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Mapping):
        return "a map"
    text = str(value)
    if len(text) > _SHOWN_LENGTH:
        text = text[: _SHOWN_LENGTH - 1] + "…"
    return repr(text)


_COMPARED_LENGTH = 100
"""Characters of a word that are compared with known ones, in time that grows with them."""


def suggest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``did you mean 'tick_s'?`` for a word that is nearly one of ``known``; else the empty text.

    ``cutoff`` is how near, up to 1: at 0.6 it may be another word, at 0.8 it is the same one misspelt.
    """
    close = difflib.get_close_matches(word[:_COMPARED_LENGTH].lower(), list(known), n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else ""


def read_document(path: Path) -> Document:
    """Read the file at ``path``. Raises ConfigError with every problem found."""
    try:
        data = read_bytes(path, MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Problem(str(path), "", reason, "a file that can be read")]) from error
    return parse_document(data, str(path))


def parse_document(data: bytes | str, file: str, *, max_bytes: int = MAX_BYTES) -> Document:
    """The document in ``data``, called ``file`` in problems. Raises ConfigError with every problem found."""
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > max_bytes:
        raise ConfigError([Problem(file, "", f"more than {max_bytes} bytes", f"at most {max_bytes} bytes")])
    return _Builder(file).build(_decode(raw, file))


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        found = f"the byte 0x{raw[error.start]:02x}"
        raise ConfigError([Problem(file, "", found, "text in UTF-8", line, column)]) from error


class _TooMuch(Exception):
    """A limit was reached; its problem has been noted."""


class _Builder:
    """Turns the parser's events into values, noting marks and problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.key_marks: dict[DocumentPath, Mark] = {}
        self.value_marks: dict[DocumentPath, Mark] = {}
        self.nodes = 0
        self.events: Iterator[yaml.Event] = iter(())

    def build(self, text: str) -> Document:
        root: TextValue = None
        try:
            self.events = _events(text)
            root = self._documents()
        except _TooMuch:
            pass
        except yaml.MarkedYAMLError as error:
            self._note_syntax(error)
        except yaml.reader.ReaderError as error:
            self._note_character(text, error)
        if root is None and not self.problems:
            self._note((), "an empty file", "a map of keys", Mark(1, 1))
        elif not isinstance(root, dict) and not self.problems:
            self._note((), describe(root), "a map of keys", self.value_marks[()])
        if self.problems or not isinstance(root, dict):
            raise ConfigError(self.problems)
        return Document(self.file, root, self.key_marks, self.value_marks)

    def _documents(self) -> TextValue:
        root: TextValue = None
        documents = 0
        for event in self.events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                self._note((), "a second document", "one document in a file", _mark(event))
                break
            root = self._value(next(self.events), ())
        return root

    def _value(self, event: yaml.Event, path: DocumentPath) -> TextValue:
        self.value_marks[path] = _mark(event)
        self._count(event, path)
        self._refuse_extras(event, path)
        if isinstance(event, yaml.ScalarEvent):
            absent = event.style is None and event.value == ""
            return None if absent else self._text(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._map(path)
        return None

    def _list(self, path: DocumentPath) -> list[TextValue]:
        items: list[TextValue] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.key_marks[here] = _mark(event)
            items.append(self._value(event, here))
        return items

    def _map(self, path: DocumentPath) -> dict[str, TextValue]:
        entries: dict[str, TextValue] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event, path)
            here = (*path, key)
            if key in entries:
                first = self.key_marks[here].line
                self._note(here, f"the key a second time (first on line {first})", "each key once", _mark(event))
                self._value(next(self.events), (*path, f"{key} (again)"))
                continue
            self.key_marks[here] = _mark(event)
            entries[key] = self._value(next(self.events), here)
        return entries

    def _key(self, event: yaml.Event, path: DocumentPath) -> str:
        self._count(event, path)
        if not isinstance(event, yaml.ScalarEvent):
            self._note(path, "a key that is not text", "a key of plain text", _mark(event))
            self._value(event, (*path, "?"))
            return "?"
        self._refuse_extras(event, path)
        if event.value == "<<":
            self._note(path, "the merge key <<", "every key written out", _mark(event))
        if event.value == "":
            self._note(path, "an empty key", "a key of plain text", _mark(event))
        return self._text(event, path)

    def _text(self, event: yaml.ScalarEvent, path: DocumentPath) -> str:
        # By an escape (such as "\uD800") a text can hold what a file cannot: half a character, which no output takes.
        if unprintable := yaml.reader.Reader.NON_PRINTABLE.search(event.value):
            self._note(path, _unprintable(ord(unprintable[0])), "printable text", _mark(event))
            return "?"
        return str(event.value)

    def _count(self, event: yaml.Event, path: DocumentPath) -> None:
        self.nodes += 1
        if len(path) > MAX_DEPTH:
            self._note(path, "deeper nesting", f"at most {MAX_DEPTH} levels", _mark(event))
            raise _TooMuch
        if self.nodes > MAX_NODES:
            self._note(path, "more values", f"at most {MAX_NODES} values in a file", _mark(event))
            raise _TooMuch

    def _refuse_extras(self, event: yaml.Event, path: DocumentPath) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._note(path, f"the alias *{event.anchor}", "the value written out", _mark(event))
            return
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._note(path, f"the anchor &{anchor}", "the value written out", _mark(event))
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._note(path, f"the tag {tag}", "a value without a tag", _mark(event))

    def _note_syntax(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        words = error.problem or "broken YAML"
        found, expected, hint = words.removeprefix("found "), "valid YAML", error.context or ""
        if "'\\t'" in words:
            found, hint = "a tab", "indent with spaces"
        elif parts := re.fullmatch(r"expected (.+), but (?:got|found) (.+)", words):
            expected, found = parts.groups()
        self._note((), found, expected, place, hint)

    def _note_character(self, text: str, error: yaml.reader.ReaderError) -> None:
        # PyYAML's position is an offset in the text, which it hands over as a character or a code.
        code = error.character if isinstance(error.character, int) else ord(error.character)
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        self._note((), _unprintable(code), "printable text", Mark(line, column))

    def _note(self, path: DocumentPath, found: str, expected: str, mark: Mark, hint: str = "") -> None:
        problem = Problem(self.file, path_text(path), found, expected, mark.line, mark.column, hint)
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _TooMuch


def _events(text: str) -> Iterator[yaml.Event]:
    """The parser's events. Where it trips over a number (an escape beyond Unicode, an endless version), it raises what
    Python does; here that becomes an error with a place, as all its others are."""
    loader = yaml.BaseLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]  # the stubs leave this one out
    except (ValueError, OverflowError) as error:
        raise yaml.MarkedYAMLError(problem="a number out of range", problem_mark=loader.get_mark()) from error


def _unprintable(code: int) -> str:
    return f"the unprintable character U+{code:04X}"


def _mark(event: yaml.Event) -> Mark:
    mark = event.start_mark
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
