"""Compares the prices of two rates: fees, and the steps of each band.

Example costs are of calls that lie wholly within the hours in question, so the result does not depend on the time of
day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from charging.pricing.money import AMOUNT_MAX, format_euro
from charging.pricing.rate import FOREVER_S, Rate, cost_of_seconds

EXAMPLES_S = (1, 60, 600)
"""Calls that reach so far into a step show what it means."""
ALWAYS = ""
"""In place of a band's name: the hours outside all bands."""

OTHERWISE = "other conditions"
"""The effect of a change that alters the cost of none of the examples."""

Costs = tuple[int, ...]

_UNITS = {1: "second", 60: "minute", 3600: "hour"}
_DEFAULTS = {"connect_fee": 0, "minimum": 0, "maximum": None}
_FREE, _END = "the rest is free", "the call ends"
_WITH_CREDIT, _WITH_CALL = "with the first second that credit pays", "with any call, also inside free minutes"


class Difference(NamedTuple):
    """One price that is not what it was."""

    place: str
    """Behind the destination's name: ``.connect_fee``, ``.bands.night from 60 s``."""
    old: str
    new: str
    effect: str


class Hours(NamedTuple):
    """What one rate says of a band's hours."""

    rate: Rate
    """Without bands."""
    is_own: bool
    """Whether the band is there; else its hours are priced as all others."""


def differences(old: Rate | None, new: Rate | None) -> Iterator[Difference]:
    """Every price that differs; nothing where neither is priced."""
    for band in (ALWAYS, *dict.fromkeys((*_band_names(old), *_band_names(new)))):
        yield from _steps(band, _hours(old, band), _hours(new, band))
    yield from _fees(old, new)
    yield from _band_fees(old, new)
    before, after = _band_names(old), _band_names(new)
    if before != after and set(before) == set(after):
        yield Difference(".bands", ", ".join(before), ", ".join(after), OTHERWISE)


def effect_of(before: Costs, after: Costs) -> str:
    """Whether the same calls become ``dearer``, ``cheaper``, ``mixed`` or neither (OTHERWISE); empty if one side has no
    costs."""
    if not before or not after:
        return ""
    dearer = any(new > old for old, new in zip(before, after, strict=True))
    cheaper = any(new < old for old, new in zip(before, after, strict=True))
    if dearer and cheaper:
        return "mixed"
    return "dearer" if dearer else "cheaper" if cheaper else OTHERWISE


def _steps(band: str, old: Hours | None, new: Hours | None) -> Iterator[Difference]:
    """The steps that differ in a band's hours."""
    sides = old, new
    place = f".bands.{band}" if band else ""
    begins = sorted({step.from_s for one in sides if one and one.is_own for step in one.rate.steps})
    for begin, end in pairwise((*begins, FOREVER_S)):
        words = [_step_words(one, begin) for one in sides]
        if words[0] != words[1]:
            firsts = {one.rate.steps[0].first_increment_s for one in sides if one and not begin}
            lengths = sorted({min(begin + reach, end) for reach in (*EXAMPLES_S, *(one + 1 for one in firsts if one))})
            costs = [tuple(cost_of_seconds(one.rate, 0, s) for s in lengths) if one else () for one in sides]
            texts = [
                f"{said}: {_calls(lengths, cost)}" if said else "" for said, cost in zip(words, costs, strict=True)
            ]
            yield Difference(place + (f" from {begin} s" if begin else ""), texts[0], texts[1], effect_of(*costs))


def _step_words(hours: Hours | None, at_s: int) -> str:
    """The step in force at a second of the call, by the file's keys; empty where the band has none."""
    if hours is None or not hours.is_own:
        return ""
    step = [one for one in hours.rate.steps if one.from_s <= at_s][-1]
    first = f"{step.first_increment_s}/" if step.first_increment_s and at_s == 0 else ""
    unit = _UNITS.get(step.unit_s, f"{step.unit_s} s")
    return f"{format_euro(step.price)} per {unit}, increment {first}{step.increment_s}"


def _calls(lengths: list[int], costs: Costs) -> str:
    return ", ".join(f"{seconds} s = {format_euro(cost)}" for seconds, cost in zip(lengths, costs, strict=True))


def _fees(old: Rate | None, new: Rate | None) -> Iterator[Difference]:
    for key, name in (("connect_fee", "connect_fee"), ("minimum", "min_charge"), ("maximum", "max_cost")):
        values: list[int | None] = [getattr(rate, name) if rate else _DEFAULTS[key] for rate in (old, new)]
        if values[0] != values[1]:
            texts = [_fee_text(value) if rate else "" for rate, value in zip((old, new), values, strict=True)]
            limits = [AMOUNT_MAX if value is None else value for value in values]
            effect = effect_of((limits[0],), (limits[1],)) if old and new else ""
            yield Difference(f".{key}", texts[0], texts[1], effect)
    if old and new and old.ends_at_max != new.ends_at_max:
        texts = [_END if rate.ends_at_max else _FREE for rate in (old, new)]
        yield Difference(".at_maximum", texts[0], texts[1], OTHERWISE)
    if old and new and old.fee_with_call != new.fee_with_call:
        texts = [_WITH_CALL if rate.fee_with_call else _WITH_CREDIT for rate in (old, new)]
        yield Difference(".connect_fee_due", texts[0], texts[1], OTHERWISE)


def _band_fees(old: Rate | None, new: Rate | None) -> Iterator[Difference]:
    """Connect fees that a band has of its own, on one side or both."""
    for band in dict.fromkeys((*_band_names(old), *_band_names(new))):
        sides = [_hours(one, band) for one in (old, new)]
        own = any(one.connect_fee is not None for rate in (old, new) if rate for one in rate.bands if one.name == band)
        fees = [one.rate.connect_fee if one else None for one in sides]
        if own and fees[0] != fees[1]:
            texts = ["" if fee is None else format_euro(fee) for fee in fees]
            costs = [() if fee is None else (fee,) for fee in fees]
            yield Difference(f".bands.{band}.connect_fee", texts[0], texts[1], effect_of(*costs))


def _fee_text(value: int | None) -> str:
    return "none" if value is None else format_euro(value)


def _hours(rate: Rate | None, band: str) -> Hours | None:
    if rate is None:
        return None
    own = next((one for one in rate.bands if one.name == band), None)
    if own is None:
        return Hours(replace(rate, bands=()), band == ALWAYS)
    fee = rate.connect_fee if own.connect_fee is None else own.connect_fee
    return Hours(replace(rate, steps=own.steps, connect_fee=fee, bands=()), is_own=True)


def _band_names(rate: Rate | None) -> tuple[str, ...]:
    return tuple(band.name for band in rate.bands) if rate else ()
