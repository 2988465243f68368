"""What to do, as the console says it: where the advice names a command and the console can do the same, its own page
takes the command's place. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence."""

    text: str
    place: str = ""
    """The page to which it leads; empty: to none."""
    is_command: bool = False
    """To be typed, for the console cannot do it."""


_PAGES: Sequence[tuple[re.Pattern[str], str, str]] = (
    (re.compile("charging account list"), "a search above", ""),
    (re.compile("charging number list"), "a search above", ""),
    (re.compile("charging account show .*"), "the account's page", "/accounts/{account}"),
    (re.compile("charging account activate .*"), "activate the account", "/accounts/{account}/activate"),
    (re.compile("charging top-up .*"), "top up", "/accounts/{account}/top-up"),
    (re.compile("charging number set .* --forward-to .*"), "set the forward target", "/numbers/{number}/forward"),
    (re.compile("charging calls.*"), "the page of running calls", "/calls"),
    (re.compile("charging tariff check"), "the page of the tariff", "/tariff"),
)
"""Commands, with what is said in their place, and where that is done."""


def advised(advice: str, account: str = "", number: str = "") -> list[Part]:
    """The sentence in its parts; commands stand between backquotes. ``account`` and ``number``: which ones it is about;
    empty: none is known."""
    known = {"account": quote(account or "", safe=""), "number": quote(number or "", safe="")}
    parts = []
    for place, text in enumerate(advice.split("`")):
        if text:
            parts.append(_command(text, known) if place % 2 else Part(text))
    return parts


def _command(text: str, known: dict[str, str]) -> Part:
    for command, said, template in _PAGES:
        if command.fullmatch(text) and all(known[name] for name in re.findall(r"{(\w+)}", template)):
            return Part(said, template.format_map(known))
    return Part(text, is_command=True)
