"""How long credit lasts (R18, R19) and what is told of its end (R20), reckoned by someone who shares nothing with the
engine: from the journal as it is stored, and from what people paid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from charging.ledger.model import JournalLine
from tests.simulation.city import City
from tests.simulation.letters import MICRO, is_money, local_day
from tests.simulation.people import Paid
from tests.simulation.post import Arrived
from tests.simulation.setting import TOLD_DAYS

MARGIN_US = 90 * MICRO
"""Between the look at an account and its mail, or by a step of the clock."""
KINDS = ("credit expires", "subscription ends")
LAST_DAY = re.compile(r"use it up to and including ([0-9]+ [A-Z][a-z]+ [0-9]{4})")
GIVEN_BY_PEOPLE = ("top_up", "correct")


@dataclass(frozen=True, slots=True)
class Due:
    """Something to be told, once."""

    account: str
    last_day: str
    """``YYYY-MM-DD``."""
    days: int
    """Which of the days ahead was reached."""


def a_year_later(day: str) -> str:
    """The same day of the next year; 1 March after 29 February."""
    year = int(day[:4]) + 1
    return f"{year}-03-01" if day.endswith("-02-29") else f"{year}{day[4:]}"


def last_day(lines: Iterable[JournalLine], paid: Sequence[Paid]) -> str:
    """The last day on which credit can be used; empty: there never was any."""
    # Not the last in their order: a machine with a wrong clock may have dated that before the others.
    events = [one.at_us for one in paid]
    for line in lines:
        if str(line.kind) in GIVEN_BY_PEOPLE:
            if sum(leg.posted for leg in line.legs if leg.balance == "credit") > 0:
                events.append(line.at_us)
        elif str(line.kind) != "expire" and sum(leg.posted for leg in line.legs if is_money(leg.balance)) < 0:
            events.append(line.at_us)
    year = a_year_later(local_day(max(events))) if events else ""
    return max((year, *(one.through for one in paid)))


def told_at(end: str, today: str) -> int | None:
    """Which of the days ahead was reached last; ``None``: none, or it is over."""
    ahead = (date.fromisoformat(end) - date.fromisoformat(today)).days if end else -1
    return min((days for days in TOLD_DAYS if days >= ahead), default=None) if ahead >= 0 else None


def bought(lines: Iterable[JournalLine]) -> int:
    """What is left of it."""
    return sum(leg.posted for line in lines for leg in line.legs if leg.balance == "credit")


def check_morning(city: City, account: str, lines: Sequence[JournalLine]) -> Due | None:
    """What must be told by now. Raises AssertionError for credit that has outlived its last day."""
    today, end = local_day(city.clock.now().wall_us), last_day(lines, city.people.paid[account])
    if bought(lines) <= 0:
        return None
    assert end >= today, (account, "has credit that ended", end)
    days = told_at(end, today)
    return None if days is None else Due(account, end, days)


def check_expiry(city: City, account: str, lines: Sequence[JournalLine]) -> None:
    """Credit ends when its last day is over, whatever the clocks say, and what was bought since then does not."""
    today = local_day(city.clock.now().wall_us - round(city.steps.ahead_s * MICRO))
    for number, line in enumerate(lines):
        if str(line.kind) == "expire" and any(leg.balance == "credit" for leg in line.legs):
            paid = [one for one in city.people.paid[account] if one.at_us < line.at_us]
            end = last_day(lines[:number], paid)
            assert end < min(today, local_day(line.at_us)), (account, line.id, "credit has expired before", end)
            city.counts["credit expired"] += 1


def check_mails(
    city: City, account: str, lines: Sequence[JournalLine], mails: Sequence[Arrived], due: set[Due]
) -> None:
    """Each is told once, says what is so, and none is left out."""
    told: set[Due] = set()
    for mail in (one for one in mails if not city.is_wrong(one.due_us)):
        said = LAST_DAY.search(mail.text)
        assert said is not None, mail
        end = datetime.strptime(f"{said[1]} +0000", "%d %B %Y %z").strftime("%Y-%m-%d")
        known = [_known(city, account, lines, mail.due_us + margin_us) for margin_us in (-MARGIN_US, 0, MARGIN_US)]
        assert city.people.forgot or city.wrong_us or any(one is not None and one.last_day == end for one in known), (
            account,
            mail,
            known,
        )
        days = told_at(end, local_day(mail.due_us))
        assert days is not None, (account, "is told of an end that is over, or far", mail)
        assert Due(account, end, days) not in told, (account, "is told of the same end twice", mail)
        told.add(Due(account, end, days))
    assert due <= told, (account, "is not told of the end of credit", due - told)


def _known(city: City, account: str, lines: Sequence[JournalLine], at_us: int) -> Due | None:
    """What was to be told at some moment."""
    until = [line for line in lines if line.at_us <= at_us]
    end = last_day(until, [one for one in city.people.paid[account] if one.at_us <= at_us])
    days = told_at(end, local_day(at_us))
    return None if days is None or bought(until) <= 0 else Due(account, end, days)
