"""Which orders the switch must allow us; pure.

``ListCommands`` answers with one header for each action that the user asking may execute.
"""

from __future__ import annotations

from charging.asterisk.reply import Reply
from charging.records import dataclass

NEEDED_ACTIONS = {
    "AbsoluteTimeout": "call",
    "CoreStatus": "reporting",
    "DBGet": "reporting",
    "DBGetTree": "reporting",
    "Getvar": "call",
    "Hangup": "call",
    "Status": "call",
}
"""Action → the right that grants it. Without these a call can neither be extended nor accounted for."""
OPTIONAL_ACTIONS = {"Originate": "originate", "PlayDTMF": "call", "Setvar": "call"}
"""Without these there is no prompt, and booked black-box records stay in the switch's AstDB."""


@dataclass(frozen=True, slots=True)
class MissingRights:
    """Each entry reads ``Action (right)``; sorted."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]


def missing_rights(commands: Reply) -> MissingRights:
    """Return the rights that the answer to ``ListCommands`` lacks."""
    return MissingRights(_lacking(NEEDED_ACTIONS, commands), _lacking(OPTIONAL_ACTIONS, commands))


def _lacking(actions: dict[str, str], commands: Reply) -> tuple[str, ...]:
    return tuple(f"{name} ({right})" for name, right in sorted(actions.items()) if name not in commands.headers)
