"""Amounts, days, times and durations as Dutch and English readers write them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from charging.ledger.accounts import Language
from charging.pricing.money import CENT, ceil_div

HARD_SPACE = "\N{NO-BREAK SPACE}"
"""Keeps a currency mark with its amount, a day with its month and year."""
_MONTHS = {
    Language.NL: "januari februari maart april mei juni juli augustus september oktober november december".split(),
    Language.EN: "January February March April May June July August September October November December".split(),
}
_MINUTES = {Language.NL: ("minuut", "minuten"), Language.EN: ("minute", "minutes")}
_DAYS = {Language.NL: ("dag", "dagen"), Language.EN: ("day", "days")}
_CALLS = {Language.NL: ("oproep", "oproepen"), Language.EN: ("call", "calls")}
_TIMES = {Language.NL: ("keer", "keer"), Language.EN: ("time", "times")}
_MESSAGES = {Language.NL: ("bericht", "berichten"), Language.EN: ("message", "messages")}
_PAGES = {Language.NL: ("pagina", "pagina’s"), Language.EN: ("page", "pages")}


def filters(language: Language) -> dict[str, Callable[..., Any]]:
    """What templates can do with facts, in one language."""
    return {
        "euro": lambda amount: _euro(amount // CENT, language),
        "cents": lambda amount: amount // CENT,
        "cost": lambda amount: _euro(ceil_div(amount, CENT), language),
        "day": lambda text: _day(date.fromisoformat(text), language),
        "moment": lambda text: _moment(datetime.fromisoformat(text), language),
        "shortly": lambda text: _moment(datetime.fromisoformat(text), language, with_year=False),
        "between": lambda first, last: _between(datetime.fromisoformat(first), datetime.fromisoformat(last), language),
        "month": lambda text: _month(text, language),
        "minutes": lambda seconds: _counted(seconds // 60, _MINUTES[language]),
        "days": lambda count: _counted(count, _DAYS[language]),
        "calls": lambda count: _counted(count, _CALLS[language]),
        "times": lambda count: _counted(count, _TIMES[language]),
        "pages": lambda count: _counted(count, _PAGES[language]),
        "messages": lambda count: _counted(count, _MESSAGES[language]),
        "file_name": file_name,
    }


def _euro(cents: int, language: Language) -> str:
    """``€ 1.234,50`` or ``€1,234.50``. An amount that one has is rounded down (``euro``), one that one needs up
    (``cost``), so that no reader relies on more than there is."""
    whole, rest = divmod(abs(cents), 100)
    sign = "-" if cents < 0 else ""
    if language is Language.NL:
        return f"€{HARD_SPACE}{sign}{whole:,}".replace(",", ".") + f",{rest:02d}"
    return f"{sign}€{whole:,}.{rest:02d}"


def _day(day: date, language: Language, with_year: bool = True) -> str:
    return f"{day.day}{HARD_SPACE}{_MONTHS[language][day.month - 1]}" + (f"{HARD_SPACE}{day.year}" if with_year else "")


def _moment(moment: datetime, language: Language, with_year: bool = True) -> str:
    between = " om " if language is Language.NL else " at "
    return f"{_day(moment.date(), language, with_year)}{between}{moment:%H:%M}"


def _between(first: datetime, last: datetime, language: Language) -> str:
    """The beginning of a sentence that tells when, without saying a day or a minute twice."""
    on, between, joint = ("Op", "tussen", "en") if language is Language.NL else ("On", "between", "and")
    begin = _moment(first, language, with_year=False)
    if first.date() != last.date():
        return f"{between.title()} {begin} {joint} {_moment(last, language, with_year=False)}"
    if f"{first:%H:%M}" == f"{last:%H:%M}":
        return f"{on} {begin}"
    return f"{on} {_day(first.date(), language, with_year=False)} {between} {first:%H:%M} {joint} {last:%H:%M}"


def _month(text: str, language: Language) -> str:
    return _MONTHS[language][int(text[5:7]) - 1]


def _counted(count: int, unit: tuple[str, str]) -> str:
    return f"{count}{HARD_SPACE}{unit[0] if count == 1 else unit[1]}"


def file_name(text: str) -> str:
    """What customers called a document, short enough for a line."""
    return text if len(text) <= 60 else text[:57] + "…"
