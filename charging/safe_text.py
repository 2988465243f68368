"""Text from outside, made safe for where it is shown: a terminal, a log, a spreadsheet. Pure."""

from __future__ import annotations

import re

HIDDEN = "xxxx"
"""Stands for the last digits of a number that is nobody's business."""

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""What moves the cursor, breaks a line, turns the direction of writing, or cannot be seen at all."""

_TELEPHONE = re.compile(r"\+?[0-9]{4,}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_FORMULA = re.compile(r'(^|[;|\t\r\n])([ "\u00a0]*)(?=[=+@\t\r\uff1d\uff0b\uff20\uff0d-])')
"""A place where a spreadsheet would begin a formula: at the start of a cell, and behind what splits cells where the
comma does not (semicolon in most of Europe, tab, bar). Excel takes the wide forms of the signs too."""


def hidden(number: str) -> str:
    """The number without its last four digits; what is no telephone number is hidden whole."""
    if not number or number.endswith(HIDDEN):
        return number
    return (number[: -len(HIDDEN)] if _TELEPHONE.fullmatch(number) else "") + HIDDEN


def visible(text: str, *, keep: str = "") -> str:
    r"""``text`` with what cannot be seen written as Python would (``\x1b``, ``\u202e``); ``keep``: characters that
    stay as they are."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else _escape(ord(match[0])), text)


def visible_json(document: str) -> str:
    r"""JSON with the same characters as JSON's own escapes: what a reader decodes is unchanged. Line breaks and tabs
    between the values stay; within texts JSON has escaped them already."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in "\n\t" else _json_escape(match[0]), document)


def spreadsheet_cell(text: str) -> str:
    """``text`` for a cell of a CSV file: an apostrophe stands before everything that a spreadsheet would take for a
    formula, whatever separates its cells. Numbers, telephone numbers too, stay as they are."""
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'", text)


def _escape(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
