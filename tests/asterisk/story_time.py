"""The days of a story: a calendar that begins on a working day of a coming January, and what moves the daemon to it.

The years are counted from the machine's own, because the switch compares a fax's latest moment with its own clock: a
story must not lie in its past.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS
from charging.ledger.accounts import Language

ZONE = ZoneInfo("Europe/Amsterdam")
SATURDAY = 5
_STAMP = re.compile(rb"(^Timestamp: |\|(?:answered|ended)=)(\d+)\.(\d+)")
"""In an event, and twice in a record of the black box."""
_MONTHS = {
    Language.NL: "januari februari maart april mei juni juli augustus september oktober november december".split(),
    Language.EN: "January February March April May June July August September October November December".split(),
}


def _first_year() -> int:
    """The next one whose 10 January is a working day, so that calls on it are not off-peak."""
    year = datetime.now(ZONE).year + 1
    while date(year, 1, 10).weekday() >= SATURDAY:
        year += 1
    return year


YEAR = _first_year()
TENTH = date(YEAR, 1, 10)
"""On which stories begin."""


def at(day: date, clock: str) -> datetime:
    """``at(TENTH, "23:59:50")`` by the operator's clock."""
    return datetime.combine(day, datetime.strptime(clock, "%H:%M:%S").time(), ZONE)  # noqa: DTZ007  the zone is given


def in_words(day: date, language: Language) -> str:
    """As mails write it."""
    return f"{day.day} {_MONTHS[language][day.month - 1]} {day.year}"


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class StoryTime:
    """How far the daemon's clocks are ahead of the machine's, in a file that it reads (`story_daemon.py`)."""

    def __init__(self, file: Path, begin: datetime) -> None:
        self.file = file
        self._mono_us = 0
        self._wall_us = _us(begin) - time.time_ns() // 1000
        self._write()

    @property
    def now(self) -> datetime:
        """The story's time."""
        return datetime.fromtimestamp(self.now_us // MICROSECONDS, ZONE)

    @property
    def now_us(self) -> int:
        """The same since the epoch, in µs."""
        return time.time_ns() // 1000 + self._wall_us

    def move(self, moment: datetime) -> None:
        """Let the time until ``moment`` have passed. It never runs back."""
        by_us = _us(moment) - self.now_us
        assert by_us > 0, f"{moment} is over, it is {self.now}"
        self._mono_us += by_us
        self._wall_us += by_us
        self._write()

    def stamped(self, line: bytes) -> bytes:
        """A line of the switch's, stamped with the story's time in the place of its own."""
        return _STAMP.sub(self._moved, line)

    def _moved(self, stamp: re.Match[bytes]) -> bytes:
        us = int(stamp[2]) * MICROSECONDS + int(stamp[3].ljust(6, b"0")) + self._wall_us
        seconds, micros = divmod(us, MICROSECONDS)
        return stamp[1] + b"%d." % seconds + (b"%06d" % micros)[: len(stamp[3])]

    def _write(self) -> None:
        new = self.file.with_name(f"{self.file.name}.new")
        new.write_text(f"{self._mono_us} {self._wall_us}\n")
        new.replace(self.file)  # whole at any time: the API's process reads it at every look at the clock
