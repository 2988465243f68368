"""The text of a CSV file as people send it: in UTF-8, or as a spreadsheet saves it in UTF-16. Pure."""

from __future__ import annotations

import codecs

from charging.errors import ConfigError, Problem


def csv_text(data: bytes, file: str) -> str:
    """What is written in a CSV file, called ``file`` in problems: in UTF-8, or in the UTF-16 that spreadsheets call
    Unicode, which begins with its mark. Raises :class:`ConfigError`."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            hint = "the file may have broken off: fetch it again"
            raise ConfigError([Problem(file, "", "half a character", "text in UTF-16", hint=hint)]) from error
    try:
        nul = data.find(b"\0")  # what was torn on a disk has some, and a text in UTF-16 without its mark
        place = nul if nul >= 0 else len(data)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = error.start
    if place < len(data):
        line = data.count(b"\n", 0, place) + 1
        found = f"the byte 0x{data[place]:02x}"
        raise ConfigError([Problem(file, "", found, "text in UTF-8", line, hint="save it as CSV UTF-8")])
    return text
