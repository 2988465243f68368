"""Compares two tariffs: what an edit changes, for which plans, and whether calls become dearer or cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from charging.pricing.money import format_euro
from charging.pricing.rate import Rate
from charging.tariff.deck import changes
from charging.tariff.tariff import Destination, Refusal, Tariff
from charging.whatif.diff_prices import differences, effect_of
from charging.whatif.diff_settings import band_hours, differing

UNUSED = "no longer used by any price"
"""A band's hours, whether or not they still stand in the file."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    subject: str
    """Path of what changes: ``plans.voice_pro.free_seconds``."""
    old: str
    """Empty: was not there."""
    new: str
    """Empty: is no more."""
    plans: tuple[str, ...] = ()
    """Whom it concerns; empty: everyone."""
    effect: str = ""
    """``dearer``, ``cheaper``, ``mixed``, ``other conditions``…; empty where it is no matter of price."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        whom = f" [{', '.join(self.plans)}]" if self.plans else ""
        effect = f" ({self.effect})" if self.effect else ""
        return f"{self.subject}: {self.old or '(nothing)'} → {self.new or '(nothing)'}{effect}{whom}"


def diff(old: Tariff, new: Tariff, at_us: int) -> tuple[Change, ...]:
    """Every difference that changes what someone pays or may do, by the decks in force on the
    day of ``at_us``."""
    return (
        *_settings(old, new, at_us),
        *_plans(old, new),
        *_packs(old, new),
        *_bands(old, new),
        *_destinations(old, new),
        *_prices(old, new, at_us),
        *_fax(old, new, at_us),
        *_decks(old, new),
    )


def _settings(old: Tariff, new: Tariff, at_us: int) -> Iterator[Change]:
    day = new.day_of(at_us)
    # Only where prices exclude the tax does it change what anyone pays.
    added = (old.vat.added(day), new.vat.added(day))
    vat_effect = effect_of((added[0],), (added[1],)) if added[0] != added[1] else ""
    past = "also in statements of the past" if old.vat.differs_before(new.vat, day) else ""
    effects = {
        "vat.percent": ", ".join(filter(None, (vat_effect, past))),
        "vat.changes": ", ".join(filter(None, (vat_effect, past))),
        "vat.included": vat_effect,
    }
    for key, before, after in differing(old, new):
        yield Change(key, before, after, effect=effects.get(key, ""))


def _plans(old: Tariff, new: Tariff) -> Iterator[Change]:
    for name, before, after in _pairs(old.plans, new.plans):
        if before is None or after is None:
            yield Change(f"plans.{name}", "there" if before else "", "there" if after else "", (name,))
            continue
        for key, was, becomes in differing(before, after):
            yield Change(f"plans.{name}.{key}", was, becomes, (name,))


def _packs(old: Tariff, new: Tariff) -> Iterator[Change]:
    """Changes of packs. Packs that were given before keep their rules."""
    for name, before, after in _pairs(old.packs, new.packs):
        if before is None or after is None:
            effect = "" if after else "what was given keeps its rules"
            yield Change(f"packs.{name}", "there" if before else "", "there" if after else "", effect=effect)
            continue
        for key, was, becomes in differing(before, after):
            yield Change(f"packs.{name}.{key}", was, becomes)


def _bands(old: Tariff, new: Tariff) -> Iterator[Change]:
    for name, before, after in _pairs(band_hours(old), band_hours(new)):
        if before != after:
            yield Change(f"bands.{name}", before or "", after or UNUSED)


def _destinations(old: Tariff, new: Tariff) -> Iterator[Change]:
    """Numbers that belong to another destination than before."""
    prefixes = {p for tariff in (old, new) for one in tariff.destinations.values() for p in _numbers(one)}
    for prefix in sorted(prefixes):
        before, after = (tariff.destination_of(prefix) for tariff in (old, new))
        texts = [_destination_text(found[1]) if found else "" for found in (before, after)]
        if texts[0] != texts[1]:
            yield Change(f"numbers {prefix}", texts[0], texts[1])


def _numbers(destination: Destination) -> tuple[str, ...]:
    return destination.prefixes + destination.short_codes


def _destination_text(destination: Destination) -> str:
    return f"{destination.name}, {destination.refuse}" if destination.refuse else destination.name


def _prices(old: Tariff, new: Tariff, at_us: int) -> Iterator[Change]:
    """Per destination: what differs, with example calls, and whom it concerns."""
    changes = _Grouped()
    for plan, name, number in _everywhere(old, new):
        before, after = (tariff.rate_for(plan, number, at_us, is_prefix=True) for tariff in (old, new))
        refusals = [rate.value if isinstance(rate, Refusal) else "" for rate in (before, after)]
        if all(refusals) and before != after:
            changes.add(f"prices.{name}", refusals[0], refusals[1], "", plan)
        priced = (None if isinstance(rate, Refusal) else rate for rate in (before, after))
        for one in differences(*priced):
            texts = one.old or refusals[0], one.new or refusals[1]
            changes.add(f"prices.{name}{one.place}", *texts, one.effect, plan)
    return changes.all()


def _fax(old: Tariff, new: Tariff, at_us: int) -> Iterator[Change]:
    """Per destination: a page before and after."""
    changes = _Grouped()
    for plan, name, number in _everywhere(old, new):
        before, after = (tariff.fax_page_for(plan, number, at_us, is_prefix=True) for tariff in (old, new))
        priced = not isinstance(before, Refusal) and not isinstance(after, Refusal)
        both_calls = all(
            isinstance(tariff.rate_for(plan, number, at_us, is_prefix=True), Rate) for tariff in (old, new)
        )
        if before != after and both_calls:
            effect = effect_of((int(before),), (int(after),)) if priced else ""
            changes.add(f"fax.{name}", _page_text(before), _page_text(after), effect, plan)
    return changes.all()


def _page_text(page: int | Refusal) -> str:
    return "" if isinstance(page, Refusal) else format_euro(page)


def _everywhere(old: Tariff, new: Tariff) -> Iterator[tuple[str, str, str]]:
    """Every plan of both tariffs with every destination, and a number that belongs there."""
    for name, before, after in _pairs(old.destinations, new.destinations):
        number = _numbers(after or before)[0]
        for plan in sorted(old.plans.keys() & new.plans.keys()):
            yield plan, name, number


class _Grouped:
    """Changes that are the same for several plans, told once."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, str, str, str], list[str]] = {}

    def add(self, subject: str, old: str, new: str, effect: str, plan: str) -> None:
        self._plans.setdefault((subject, old, new, effect), []).append(plan)

    def all(self) -> Iterator[Change]:
        for (subject, old, new, effect), plans in self._plans.items():
            yield Change(subject, old, new, tuple(plans), effect)


def _decks(old: Tariff, new: Tariff) -> Iterator[Change]:
    for name, before, after in _pairs(old.tables, new.tables):
        plans = tuple(sorted(plan.name for plan in new.plans.values() if plan.rates == name))
        page = after.deck_fax_page if after else None
        found = changes(*(table.decks if table else () for table in (before, after)), page=page)
        jumped = f", such as {found.such_as}" if found.doubled or found.halved or found.freed else ""
        for what, number, effect in (
            ("added", found.added, ""),
            ("removed", found.removed, ""),
            ("dearer", found.dearer, "dearer"),
            ("cheaper", found.cheaper, "cheaper"),
            ("otherwise changed", found.otherwise_changed, ""),
            (
                f"at least twice as dear, or at most half as dear{jumped}",
                found.doubled + found.halved + found.freed,
                "mixed",
            ),
        ):
            if number:
                yield Change(f"rates.{name}.decks", "", f"{number} prefixes {what}", plans, effect)


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        yield name, old.get(name), new.get(name)
