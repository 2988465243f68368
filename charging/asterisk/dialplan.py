"""The dialplan that is shipped against the one that runs; pure.

Both are read into the same lines, so whatever the shipped file says is compared, and nothing about it is repeated here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from charging.asterisk.message import AmiMessage

INCLUDE = "include"
"""Stands for the application of a line that includes another context."""
SWITCH = "switch"
"""The same for one that has another dialplan looked into (Realtime, Lua)."""
OURS = "charging-"
"""What the names of our contexts begin with."""
STAKES = {
    "S(${CHARGING_QUOTA})": "ASTERISK DOES NOT END A CALL WHEN ITS MONEY ENDS",
    "U(charging-answered)": "how long a forwarded call lasted is not noted (the black box): it is charged wrong",
    "hangup_handler_push": "how calls end is not noted (the black box): what ends without the daemon is not charged",
    "DB(charging/": "how calls end is not noted (the black box): what ends without the daemon is not charged",
    "TIMEOUT(absolute)": "a call, or a caller who waits for the daemon, has no end of its own",
    "DYNAMIC_FEATURES": "warnings break the audio of calls, and have no second way",
    "charging-clean": "strangers can write into what the daemon reads",
}
"""What is lost with a line that has this in it."""

ANSWERING = {
    "answer": "",
    "authenticate": "",
    "background": r"^[smp]*n",
    "controlplayback": "",
    "directory": "",
    "disa": "",
    "playback": r"noanswer",
    "read": r",[si]*n[si]*(,|$)",
    "record": r"n",
}
"""Applications that answer their caller, unless this is found in their arguments after the first."""
MENU = "s"
"""The extension in which a menu speaks."""
_MENU_CHOICE = re.compile(r"[0-9*#]{1,2}|[it]")
_SECTION = re.compile(r"\[([^\]]+)\]")
_LINE = re.compile(r"(exten|same)\s*=>?\s*(.*)")
_PRIORITY = re.compile(r"(n|\d+)(?:\(([^)]*)\))?")
_COMMENT = re.compile(r"(?<!\\);.*")
_WORD = re.compile(r"[\w.-]+")
_CODE = re.compile(r"_?[*#]|[hit]$|\d{1,5}$")
"""Extensions that no forwarded number is: feature codes, short numbers, what runs when something is over."""


@dataclass(frozen=True, slots=True)
class Line:
    """One priority of an extension, or an ``include``, which has no extension."""

    context: str
    exten: str
    label: str
    application: str
    data: str

    def __str__(self) -> str:
        label = f"({self.label}) " if self.label else ""
        return f"{label}{self.application}({self.data})" if self.exten else f"{self.application} => {self.data}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands in the place of what is shipped: one of the two may be absent."""

    context: str
    exten: str
    expected: Line | None
    found: Line | None

    @property
    def stake(self) -> str:
        """What is lost by it; ``""`` where that is not known."""
        expected, found = str(self.expected or ""), str(self.found or "")
        return next((lost for marker, lost in STAKES.items() if marker in expected and marker not in found), "")

    def __str__(self) -> str:
        where = f"[{self.context}] {self.exten}".rstrip()
        found, expected = self.found or "no such line", self.expected or "no such line"
        stake = f": {self.stake}" if self.stake else ""
        return f"{where}: found {found}, expected {expected}{stake}"


def shipped_lines(text: str) -> list[Line]:
    """The lines of an extensions file, in its order. Raises ValueError for a line that is none."""
    lines: list[Line] = []
    context = exten = ""
    for raw in text.splitlines():
        line = _COMMENT.sub("", raw).replace("\\;", ";").strip()
        if not line:
            continue
        if section := _SECTION.match(line):
            context, exten = section[1], ""
        elif given := _LINE.match(line):
            rest = given[2]
            if given[1] == "exten":
                exten, _, rest = rest.partition(",")
            lines.append(_line(context, exten.strip(), rest))
        else:
            word, _, name = line.partition("=>")
            lines.append(Line(context, "", "", word.strip(), name.strip()))
    return lines


def _line(context: str, exten: str, text: str) -> Line:
    priority, _, call = text.partition(",")
    if (found := _PRIORITY.fullmatch(priority.strip())) is None:
        raise ValueError(f"[{context}] {exten}: {text!r} has no priority")
    application, _, data = call.strip().partition("(")
    return Line(context, exten, found[2] or "", application.strip(), data.rpartition(")")[0].strip())


def running_lines(entries: Iterable[AmiMessage]) -> Iterator[Line]:
    """The entries of AMI's ``ShowDialPlan``."""
    for entry in entries:
        context = entry.get("Context")
        if application := entry.get("Application"):
            data = entry.get("AppData")
            yield Line(context, entry.get("Extension"), entry.get("ExtensionLabel"), application, data)
        elif included := entry.get("IncludeContext"):
            yield Line(context, "", "", INCLUDE, included)
        elif switch := entry.get("Switch"):
            yield Line(context, "", "", SWITCH, switch)


def contexts(lines: Iterable[Line]) -> list[str]:
    """The contexts, each once, in order."""
    return list(dict.fromkeys(line.context for line in lines))


def differences(shipped: list[Line], running: list[Line]) -> list[Difference]:
    """Of the contexts that are shipped and there, line by line. An added line does not shift those behind it."""
    there = set(contexts(running))
    found: list[Difference] = []
    for context in contexts(shipped):
        if context in there:
            wanted, ran = (_by_exten(lines, context) for lines in (shipped, running))
            for exten in dict.fromkeys((*wanted, *ran)):
                found += _of_exten(context, exten, wanted.get(exten, []), ran.get(exten, []))
    return found


def _by_exten(lines: Iterable[Line], context: str) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.context == context:
            found.setdefault(line.exten, []).append(line)
    return found


def _of_exten(context: str, exten: str, wanted: list[Line], ran: list[Line]) -> Iterator[Difference]:
    for kind, first, last, begin, end in SequenceMatcher(None, wanted, ran, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for index in range(max(last - first, end - begin)):
            expected = wanted[first + index] if first + index < last else None
            instead = ran[begin + index] if begin + index < end else None
            yield Difference(context, exten, expected, instead)


def ways_in(lines: list[Line]) -> list[tuple[Line, bool]]:
    """The operator's own lines that bring calls to us; with each whether its callers were answered before, as far as
    it is said in the same extension, or in the menu that it is a choice of."""
    found: list[tuple[Line, bool]] = []
    menus = {line.context for line in lines if line.exten == MENU and _answers(line)}
    answered: set[tuple[str, str]] = set()
    for line in lines:
        if line.context.startswith(OURS):
            continue
        if _answers(line):
            answered.add((line.context, line.exten))
        if "charging-incoming" in line.data:
            chosen = line.context in menus and _MENU_CHOICE.fullmatch(line.exten) is not None
            found.append((line, chosen or (line.context, line.exten) in answered))
    return found


def leading_to(context: str, lines: list[Line]) -> list[Line]:
    """The operator's own lines that name a context of ours."""
    return [line for line in lines if not line.context.startswith(OURS) and context in line.data]


def _answers(line: Line) -> bool:
    """Whether it answers the caller, as far as can be said of a line alone."""
    unless = ANSWERING.get(line.application.lower())
    return unless is not None and not (unless and re.search(unless, line.data.partition(",")[2]))


def lines_behind(lines: list[Line], context: str) -> list[Line]:
    """The operator's own lines that may run for who enters ``context``: its own, those of what it includes, and of the
    contexts (``macro-NAME`` for ``Macro(NAME)``) that their lines name."""
    known = set(contexts(lines))
    reached, waiting = {context}, [context]
    while waiting:
        current = waiting.pop()
        words = {word for line in lines if line.context == current for word in _WORD.findall(line.data)}
        further = ({*words, *(f"macro-{word}" for word in words)} & known) - reached
        further = {name for name in further if not name.startswith(OURS)}
        reached |= further
        waiting += further
    return [line for line in lines if line.context in reached]


def answered_before_dialled(behind: list[Line]) -> list[Line]:
    """Of the operator's own lines that run for a forward, those that answer it before the phone is dialled, as far as
    one extension says it: before a ``Dial`` of the trunk, or before it goes to a context of these that has one."""
    dialling = {line.context for line in behind if is_trunk_dial(line)}
    found: dict[Line, None] = {}
    answering: dict[tuple[str, str], Line] = {}
    for line in behind:
        answer = answering.get((line.context, line.exten))
        words = _WORD.findall(line.data)
        leads = not dialling.isdisjoint((*words, *(f"macro-{word}" for word in words)))
        if answer is not None and (leads or is_trunk_dial(line)):
            found[answer] = None
        if _answers(line) and not _CODE.match(line.exten):
            answering.setdefault((line.context, line.exten), line)
    return list(found)


def is_trunk_dial(line: Line) -> bool:
    """Whether it dials something else than a further piece of dialplan."""
    return line.application == "Dial" and not line.data.startswith("Local/")


def dial_options(line: Line) -> str:
    """The third argument of a ``Dial``; commas within brackets are part of one."""
    depth, arguments = 0, [""]
    for character in line.data:
        depth += (character in "({[") - (character in ")}]")
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return arguments[2] if len(arguments) > 2 else ""
