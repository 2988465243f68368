"""The black box: what the switch itself remembers of a call that has ended; pure.

The hang-up handlers of ``extensions_charging.conf`` write one record a call into AstDB, daemon alive or dead: the
forwarded leg its own where it was answered, else the caller's channel::

    v2|dial=ANSWER|answered=1700000000.123|ended=1700000004.336|up=74859.03-74863.25|cause=16|decision=forward|phase=dial|switch=…
    v2|dial=BUSY|ended=1700000000.123|cause=17|vm=|vmfile=|number=…|caller=…|decision=…|phase=…|fax=|pages=|switch=…

``up``: how long the machine had been up at both; a step of its clock is in the stamps, and not there. Dialplans before
that wrote ``v1`` from the caller's channel alone, with ``answered_ms=4213``: how long *he* had been
answered, which is the forward's time only where nobody had answered him before.

Unknown fields are ignored and missing ones read as empty, so that dialplan and daemon can be updated one after
the other. A number that is not one reads as ``None`` and is named in ``malformed``: never guessed, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from charging.asterisk.numbers import scaled, whole
from charging.asterisk.variables import FORGET_SEPARATOR, NO_SESSION_PREFIX, PHASE_TURNED, PHASES_UNDECIDED
from charging.records import dataclass

CALLERS_VERSION = "v1"
LEGS_VERSION = "v2"
SEPARATOR = "|"
ANSWERED = "ANSWER"
WITHHELD = "withheld"

FORGET_CHARACTERS_MAX = 900
"""Of the keys that one order names: Asterisk 22.10 refuses a line of an action with more than 1,022, and the variable's
name is part of it."""

_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class BlackBoxRecord:
    """How one call ended, by the switch's own record."""

    key: str
    """The session's id, or ``nosession-`` and the caller's unique id."""
    dial_status: str
    """Empty where nothing was dialled."""
    answered_ms: int | None
    """Use ``conversation_ms``. The forwarded leg's own time; in a record of ``v1`` the caller's up-time."""
    by_leg: bool
    """Whether the record is of ``v2``: what it says of an answered forward is the forwarded leg's own word."""
    lasted_ms: int | None
    """From the leg's answer to its end by how long the machine had been up, to 20 ms; ``None``: not noted."""
    ended_at_us: int | None
    """The switch's wall clock, µs since the epoch."""
    cause: int | None
    """Q.850."""
    decision: str
    phase: str
    number: str
    caller: str
    voicemail_status: str
    voicemail_file: str
    fax_status: str
    fax_pages: int | None
    withheld: bool
    """The caller withholds his number, which stands in ``caller`` all the same."""
    switch: str
    """The ``switch.id`` of the daemon that decided; empty where none did, and in what older dialplans wrote."""
    turned: str = ""
    """Why the dialplan turned the caller away by itself: ``no_number``, or of ``variables.TURNED_AWAY``."""
    malformed: tuple[str, ...] = ()
    """Names of the fields that should hold a number and do not."""

    @property
    def session(self) -> str | None:
        """The session's id; ``None`` for a call that no daemon answered for."""
        return None if self.key.startswith(NO_SESSION_PREFIX) else self.key

    @property
    def conversation_ms(self) -> int | None:
        """How many ms the forwarded call lasted: 0 if it was not answered, ``None`` if that is not known.

        The up-time of a caller who reached voicemail is not a conversation.
        """
        if self.dial_status != ANSWERED:
            return 0
        return self.lasted_ms if self.answered_ms is None else self.answered_ms

    @property
    def voicemail_stored(self) -> bool:
        """Whether a message was stored. ``SUCCESS`` alone proves nothing: Asterisk reports it for lost messages too
        (ASTERISK.md §7)."""
        return self.voicemail_status == "SUCCESS" and bool(self.voicemail_file)

    @property
    def undecided(self) -> bool:
        """Whether no daemon's decision had reached the dialplan when the call ended, or when its fallback took the
        call."""
        return not (self.session or self.decision) and self.phase in PHASES_UNDECIDED

    @property
    def no_room(self) -> bool:
        """Whether the switch let the caller leave no message because its disk is nearly full."""
        return self.voicemail_status == "NOROOM"


def parse_record(key: str, text: str) -> BlackBoxRecord | None:
    """Read one record. ``None`` if its version is unknown, or if it has a field twice: the dialplan writes none twice,
    so a stranger has written into it."""
    version, *assignments = text.split(SEPARATOR)
    if version not in (CALLERS_VERSION, LEGS_VERSION):
        return None
    pairs = _pairs(assignments)
    fields = dict(pairs)
    if len(fields) < len(pairs):
        return None
    by_leg = version == LEGS_VERSION
    ended_us = scaled(fields.get("ended", ""), 6)
    numbers = {
        **(
            {"answered": _between(fields, ended_us)}
            if by_leg
            else {"answered_ms": whole(fields.get("answered_ms", ""))}
        ),
        "ended": ended_us,
        "up": _up_ms(fields),
        "cause": whole(fields.get("cause", "")),
        "pages": whole(fields.get("pages", "")),
    }
    return BlackBoxRecord(
        key=key,
        dial_status=fields.get("dial", ""),
        answered_ms=numbers["answered" if by_leg else "answered_ms"],
        by_leg=by_leg,
        lasted_ms=numbers["up"],
        ended_at_us=numbers["ended"],
        cause=numbers["cause"],
        decision=fields.get("decision", ""),
        phase=fields.get("phase", ""),
        number=fields.get("number", ""),
        caller=fields.get("caller", ""),
        voicemail_status=fields.get("vm", ""),
        voicemail_file=fields.get("vmfile", ""),
        fax_status=fields.get("fax", ""),
        fax_pages=numbers["pages"],
        withheld=fields.get("presentation", "") == WITHHELD,
        switch=fields.get("switch", ""),
        turned=fields.get("why", "") if fields.get("phase") == PHASE_TURNED else "",
        malformed=tuple(name for name, value in numbers.items() if value is None and not _is_empty(fields, name)),
    )


def _is_empty(fields: Mapping[str, str], name: str) -> bool:
    """Whether a field holds nothing; ``up`` holds two times with a dash between."""
    return fields.get(name, "") in ("", "-" if name == "up" else "")


def _between(fields: Mapping[str, str], ended_us: int | None) -> int | None:
    """Milliseconds from the leg's answer to its end; ``None`` if one is missing, or if the clock went back between."""
    answered_us = scaled(fields.get("answered", ""), 6)
    if answered_us is None or ended_us is None or ended_us < answered_us:
        return None
    return (ended_us - answered_us) // 1000


def _up_ms(fields: Mapping[str, str]) -> int | None:
    """Milliseconds between the two up-times; ``None`` if they are missing or do not advance. An up-time that stands
    still is no clock (a file that holds something else, of which the dialplan keeps the digits): by it each call would
    cost nothing."""
    answered_us, ended_us = (scaled(one, 6) for one in fields.get("up", "").partition("-")[::2])
    if answered_us is None or ended_us is None or ended_us <= answered_us:
        return None
    return (ended_us - answered_us) // 1000


def is_key(text: str) -> bool:
    """Whether this can be the key of a record that the dialplan wrote. The switch is given no other: a key passes
    through the dialplan to be deleted, where brackets, commas and braces have a meaning."""
    return _KEY.fullmatch(text) is not None


def packed(keys: Iterable[str]) -> Iterator[str]:
    """Join the keys in their order, as the dialplan takes them, into texts of at most ``FORGET_CHARACTERS_MAX``
    characters. Raises ValueError for a text that is no key."""
    pack = ""
    for key in keys:
        if not is_key(key):
            raise ValueError(f"not a black-box key: {key!r}")
        longer = f"{pack}{FORGET_SEPARATOR}{key}" if pack else key
        if len(longer) > FORGET_CHARACTERS_MAX:
            yield pack
            longer = key
        pack = longer
    if pack:
        yield pack


def _pairs(assignments: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (each.partition("=") for each in assignments)]
