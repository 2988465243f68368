"""Whether a message is built as Asterisk builds it; pure.

Asterisk decodes ``%0d%0a`` in the user part of a SIP URI to a line break and writes it into AMI as it is (ASTERISK.md;
measured on 22.10). So a stranger can add headers to an event, end it, and begin another. What he cannot do:

- write more than 79 characters in one place: Asterisk keeps no more of a number or a name;
- take away the rest of the event that he breaks in two, which stands after what he wrote;
- know an ActionID or a session's id.

An event's channel is told in a block of headers that is longer than that, always whole and in the same order. So a
message that we obey must have every header of its kind once, in order. What has not is *suspect*: counted, told in the
log, never obeyed. Headers that we do not know may stand between them: another version of Asterisk may have more.
"""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache

from charging.asterisk.message import LAYOUTS_KEPT, VARIABLE_SUFFIX, AmiMessage, Layout
from charging.records import dataclass

REPEATED = "variable"
"""Beside ``…ChanVariable``, the one header that Asterisk repeats: once for each variable."""
_CHANNEL = (
    *("Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum"),
    *("ConnectedLineName", "Uniqueid", "Linkedid", "ChanVariable"),
)


@dataclass(frozen=True, slots=True)
class _Block:
    """One header, or all of a channel: names in lower case, in their order."""

    names: tuple[str, ...]
    optional: str
    """The one of them that is not always there."""
    may_lack: bool

    @classmethod
    def of(cls, name: str, may_lack: bool) -> _Block:
        """As a shape writes it."""
        if not name.endswith("*"):
            return cls((name.lower(),), "", may_lack)
        names = tuple(f"{name[:-1]}{each}".lower() for each in _CHANNEL)
        return cls(names, names[-1], may_lack)

    def wanted(self, layout: Layout) -> tuple[str, ...]:
        """What such a message must have of it."""
        there = layout.places
        if self.may_lack and not any(name in there for name in self.names):
            return ()
        return self.names if not self.optional or self.optional in there else self.names[:-1]


@dataclass(frozen=True, slots=True)
class Shape:
    """How Asterisk builds the messages of one kind."""

    headers: tuple[str, ...] = ()
    """In this order. A name that ends with ``*`` is a channel's block, told with this prefix."""
    may_lack: tuple[str, ...] = ()
    """Of the blocks, those that are absent as a whole where there is no such channel."""
    last: str = ""
    """The header that ends the message."""
    only: frozenset[str] = frozenset()
    """Where not empty: no other headers, in lower case."""
    _blocks: tuple[_Block, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_blocks", tuple(_Block.of(name, name in self.may_lack) for name in self.headers))

    def flaw(self, layout: Layout) -> str:
        """What is wrong with messages of this layout; ``""`` if nothing is."""
        wanted = [name for block in self._blocks for name in block.wanted(layout)]
        names = iter(layout.places)
        if not all(name in names for name in wanted):  # each is looked for behind the one before
            missing = next((name for name in wanted if name not in layout.places), None)
            return "has its headers in another order" if missing is None else f"lacks {missing}"
        if self.last and layout.names[-1].lower() != self.last.lower():
            return f"does not end with {self.last}"
        if self.only and (strange := layout.places.keys() - self.only):
            return f"has {min(strange)}, which is not its own"
        return ""


_DIAL = Shape(("Privilege", "*", "Dest*"), may_lack=("*",))
_BRIDGE = Shape(("Privilege", "BridgeUniqueid", "BridgeType", "BridgeTechnology", "*"))
_SPY = Shape(("Privilege", "Spyer*", "Spyee*"), may_lack=("Spyee*",))
_ENTRY_END = "ActionID"

SHAPES: dict[str, Shape] = {
    "DialBegin": _DIAL,
    "DialEnd": Shape((*_DIAL.headers, "DialStatus"), may_lack=("*",)),
    "BridgeEnter": _BRIDGE,
    "BridgeLeave": _BRIDGE,
    "Hangup": Shape(("Privilege", "*", "Cause")),
    "BlindTransfer": Shape(("Privilege", "Result", "Transferer*", "Transferee*"), may_lack=("Transferee*",)),
    "AttendedTransfer": Shape(("Privilege", "Result", "OrigTransferer*", "SecondTransferer*")),
    "Pickup": Shape(("Privilege", "*", "Target*")),
    "ChanSpyStart": _SPY,
    "ChanSpyStop": _SPY,
    "OriginateResponse": Shape(("Privilege", "ActionID", "Response", "Channel", "Reason", "Uniqueid", "CallerIDNum")),
}
"""The events that are obeyed (`translate`). The others are for nobody, and may look as they like."""

LISTS: dict[str, dict[str, Shape]] = {
    "StatusComplete": {"Status": Shape(("Privilege", "*", "DNID", "BridgeID", "Seconds"), last=_ENTRY_END)},
    "DBGetComplete": {"DBGetResponse": Shape(("Family", "Key", "Val"), last=_ENTRY_END)},
    "DBGetTreeComplete": {"DBGetTreeResponse": Shape(("Key", "Val"), last=_ENTRY_END)},
}
"""The lists in which strangers' words can stand, by the event that closes them: their entries. The ActionID is the last
thing in an entry. So whoever breaks one in two leaves it in the last piece, and the messages of a list that name its
action are as many as its entries were."""

_LISTED = {name for end, entries in LISTS.items() for name in (end, *entries)}
"""What is said in a list only."""
_END = Shape(
    ("ActionID", "EventList", "ListItems"), only=frozenset({"event", "actionid", "eventlist", "listitems", "items"})
)
_NO_ENTRY = Shape(only=frozenset({"event"}))


def flaw(message: AmiMessage, list_end: str | None = None) -> str:
    """Why the message is suspect; ``""`` if it is not. ``list_end`` is the event that closes the list it is part of."""
    event = message.event
    wrong = _flaw_of(message.layout, event, list_end)
    if wrong is None:
        return ""
    if not wrong and not event and not message.response:
        return "is a response without an outcome"
    return wrong or _always(message)


@lru_cache(LAYOUTS_KEPT)
def _flaw_of(layout: Layout, event: str, list_end: str | None) -> str | None:
    """What is wrong by the names of a message's headers and its event alone; ``None``: it is for nobody, and may look
    as it likes. A switch builds its messages of one kind alike, so this is thought through once for all of them."""
    kind = layout.names[0].lower() if layout.names else ""
    if kind == "event":
        shape = _shape_of(layout, event, list_end)
        return None if shape is None else _repeated(layout) or shape.flaw(layout)
    if kind == "response":
        if event:
            return "is a response and names an event"
        return _repeated(layout) or ("" if _second(layout) == "actionid" else "does not name its action at once")
    return "begins in the middle"


def _shape_of(layout: Layout, event: str, list_end: str | None) -> Shape | None:
    if list_end is None:
        if event == "OriginateResponse" and "actionid" not in layout.places:
            return None  # of another program's order, which gave it no name (click-to-dial): nobody here waits for it
        return _NO_ENTRY if event in _LISTED else SHAPES.get(event)
    if list_end not in LISTS:
        return None
    return _END if event == list_end else LISTS[list_end].get(event, _NO_ENTRY)


def _second(layout: Layout) -> str:
    return layout.names[1].lower() if len(layout.names) > 1 else ""


def _repeated(layout: Layout) -> str:
    """No message of any kind has a header twice, but those that tell variables."""
    twice = next((name for name in layout.repeats if name != REPEATED and VARIABLE_SUFFIX not in name), None)
    return "" if twice is None else f"has {twice} twice"


def _always(message: AmiMessage) -> str:
    """What else no message of any kind does: tell a variable twice; have a line that is no header."""
    if message.stray_lines:
        return "has a line that is no header"
    for name in message.layout.repeats:
        if len(message.assignments(name)) < len(message.layout.places[name]):
            return f"has a {name} twice"
    return ""
