"""Where two tariffs differ beside their prices, in the keys and units of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from charging.pricing.calendar import Window
from charging.pricing.money import format_euro
from charging.tariff.model import DAYS
from charging.tariff.plans import Pack, Plan
from charging.tariff.tariff import Tariff, format_percent


class Shown(NamedTuple):
    """A field by the file's key."""

    key: str
    field: str
    """Of :class:`Tariff` or :class:`Plan`; with a dot, of what stands there."""
    text: Callable[[Any], str] = str


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"


def _names(values: Iterable[str] | None) -> str:
    return "all" if values is None else _list(sorted(values))


def _percent(hundredths: int) -> str:
    return format_percent(hundredths).removesuffix("%")


def _minutes(seconds: int) -> str:
    return str(seconds // 60)


TARIFF = (
    Shown("zone", "zone"),
    Shown("region", "region"),
    Shown("vat.percent", "vat.rate", _percent),
    Shown("vat.changes", "vat.changes", lambda turns: _list(f"{_percent(rate)} from {day}" for day, rate in turns)),
    Shown("vat.included", "vat.included", _yes_no),
    Shown("rounding.rule", "rounding"),
    Shown("rounding.decimals", "decimals"),
    Shown("top_up.minimum", "top_ups.minimum", format_euro),
    Shown("top_up.amounts", "top_ups.amounts", lambda amounts: _list(map(format_euro, amounts)) if amounts else "any"),
    Shown("expiry.notices_days", "expiry_notices_days", _list),
    Shown("holidays", "holidays", lambda days: _list(sorted(days))),
)
PLAN = (
    Shown("title", "title"),
    Shown("rates", "rates"),
    Shown("paid_subscription", "is_paid", _yes_no),
    Shown("free_minutes.minutes", "free_seconds", _minutes),
    Shown("free_minutes.destinations", "free_destinations", _names),
    Shown("free_minutes.increment", "free_increment_s", lambda value: "as the rate" if value is None else str(value)),
    Shown("free_fax_pages.pages", "free_pages"),
    Shown("free_fax_pages.destinations", "free_pages_to", _names),
    Shown("free_messages", "free_messages"),
    Shown("voicemail.paid", "voicemail_paid", _yes_no),
    Shown("voicemail.price", "voicemail_price", format_euro),
    Shown("calls_at_once", "max_calls"),
    Shown("credit_a_day", "max_credit_per_day", lambda value: "no limit" if value is None else format_euro(value)),
    Shown("max_call_s", "max_call_s"),
    Shown("low_credit", "low_credit", format_euro),
    Shown("low_free_minutes", "low_free_seconds", _minutes),
)


PACK = (
    Shown("title", "title"),
    Shown("minutes", "seconds", _minutes),
    Shown("fax_pages", "fax_pages"),
    Shown("messages", "messages"),
    Shown("days", "days"),
    Shown("destinations", "destinations", _names),
    Shown("increment", "increment_s", lambda value: "as the rate" if value is None else str(value)),
    Shown("order", "order"),
)


def differing(old: Tariff | Plan | Pack, new: Tariff | Plan | Pack) -> Iterator[tuple[str, str, str]]:
    """Key, old text and new text of every setting that differs."""
    for one in TARIFF if isinstance(old, Tariff) else PLAN if isinstance(old, Plan) else PACK:
        before, after = (attrgetter(one.field)(whole) for whole in (old, new))
        if before != after:
            yield one.key, one.text(before), one.text(after)


def band_hours(tariff: Tariff) -> Mapping[str, str]:
    """The windows of every band in use, as text by name."""
    every = (band for table in tariff.tables.values() for price in table.prices.values() for band in price.bands)
    return {band.name: "; ".join(map(_window, band.windows)) for band in every}


def _window(window: Window) -> str:
    days = " ".join(DAYS[day] for day in sorted(window.days))
    return f"{days} {_clock(window.from_minute)}-{_clock(window.to_minute)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
