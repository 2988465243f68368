"""``tariff.yaml`` and its decks → a :class:`Tariff`, or every problem at once.

Three sieves, each complete in itself: the text (:mod:`charging.yaml_text`), the shape
(:mod:`charging.rating.tariff_model`), and here what must fit together. All scalars are read as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from charging.errors import ConfigError, Problem
from charging.money import format_euro
from charging.rating.calendar import Window
from charging.rating.deck import Deck
from charging.rating.deck_file import read_deck
from charging.rating.plans import Plan
from charging.rating.prices import price_of, price_problems
from charging.rating.tariff import Destination, RateTable, Refusal, Tariff, TopUps
from charging.rating.tariff_model import DAYS, PlanModel, TableModel, TariffModel, WindowModel
from charging.yaml_model import sorted_problems, validate
from charging.yaml_text import Document, DocumentPath, describe, parse_document, suggest

MAX_TARIFF_BYTES = 1024 * 1024
"""Of the YAML file; longer price lists belong in decks."""

DeckReader = Callable[[Path, str], tuple[Deck, bytes, tuple[Problem, ...]]]
"""Reads a deck for national numbers of a region: the deck, a digest of its bytes, and its warnings."""


def load_tariff(path: Path, *, deck_reader: DeckReader = read_deck) -> Tariff:
    """Read the tariff file at ``path`` and the decks it names.

    Raises :class:`ConfigError` with every problem found.
    """
    data = _read(path)
    document = parse_document(data, str(path), max_bytes=MAX_TARIFF_BYTES)
    model = validate(document, TariffModel, base_folder=path.resolve().parent)
    problems = list(_misfits(document, model))
    decks, digests, warnings = _decks(document, model, deck_reader, problems)
    if problems:
        raise ConfigError(sorted_problems(problems))
    digest = hashlib.sha256(b"".join([hashlib.sha256(data).digest(), *digests])).hexdigest()[:16]
    return _tariff(model, decks, digest, (*warnings, *_oddities(document, model)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TARIFF_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Problem(str(path), "", reason, "a tariff file that can be read")]) from error


def _decks(
    document: Document, model: TariffModel, deck_reader: DeckReader, problems: list[Problem]
) -> tuple[dict[Path, Deck], list[bytes], list[Problem]]:
    decks: dict[Path, Deck] = {}
    digests: list[bytes] = []
    warnings: list[Problem] = []
    for file in dict.fromkeys(file for table in model.rates.values() for file in table.decks):
        try:
            decks[file], digest, odd = deck_reader(file, model.region)
            digests.append(digest)
            warnings.extend(odd)
        except ConfigError as error:
            problems.extend(error.problems)
    return decks, digests, warnings


# ---- what must fit together


def _misfits(document: Document, model: TariffModel) -> Iterator[Problem]:
    yield from _duplicate_numbers(document, model)
    yield from _empty_destinations(document, model)
    for name, table in model.rates.items():
        yield from _table_misfits(document, model, ("rates", name), table)
    for name, plan in model.plans.items():
        yield from _plan_misfits(document, model, ("plans", name), plan)
    yield from _top_up_misfits(document, model)


def _duplicate_numbers(document: Document, model: TariffModel) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, destination in model.destinations.items():
        for key, values in (("prefixes", destination.prefixes), ("short_codes", destination.short_codes)):
            for index, value in enumerate(values):
                if value in seen:
                    here: DocumentPath = ("destinations", name, key, index)
                    found = f"{value}, which {seen[value]} has already"
                    yield document.problem(here, found, "each prefix in one destination")
                seen.setdefault(value, name)


def _empty_destinations(document: Document, model: TariffModel) -> Iterator[Problem]:
    for name, destination in model.destinations.items():
        if not destination.prefixes and not destination.short_codes:
            yield document.problem(("destinations", name), "no numbers", "prefixes or short_codes")


def _table_misfits(document: Document, model: TariffModel, path: DocumentPath, table: TableModel) -> Iterator[Problem]:
    for name, rate in table.destinations.items():
        here = (*path, "destinations", name)
        destination = model.destinations.get(name)
        if destination is None:
            yield unknown(document, here, name, "destination", model.destinations, at_key=True)
        elif destination.refuse:
            found = f"a price for {name}, which is refused ({destination.refuse})"
            yield document.problem(here, found, "no price, or a destination that is not refused", at_key=True)
        yield from price_problems(document, here, rate, model.rounding.decimals)
        for band in rate.bands:
            if band not in model.bands:
                yield unknown(document, (*here, "bands", band), band, "band", model.bands, at_key=True)


def _plan_misfits(document: Document, model: TariffModel, path: DocumentPath, plan: PlanModel) -> Iterator[Problem]:
    if plan.rates not in model.rates:
        yield unknown(document, (*path, "rates"), plan.rates, "rate table", model.rates)
    for index, name in enumerate((plan.free_minutes and plan.free_minutes.destinations) or ()):
        if name not in model.destinations:
            here = (*path, "free_minutes", "destinations", index)
            yield unknown(document, here, name, "destination", model.destinations)
    if plan.voicemail.paid and not plan.voicemail.price:
        here = (*path, "voicemail", "price")
        yield document.problem(here, "no price", "the price of a message, since voicemail is paid")


def _top_up_misfits(document: Document, model: TariffModel) -> Iterator[Problem]:
    for index, amount in enumerate(model.top_up.amounts):
        if amount < model.top_up.minimum:
            minimum = f"at least the minimum, {format_euro(model.top_up.minimum)}"
            yield document.problem(("top_up", "amounts", index), format_euro(amount), minimum)


def unknown(
    document: Document,
    path: DocumentPath,
    name: str,
    what: str,
    known: Iterable[str],
    *,
    at_key: bool = False,
) -> Problem:
    """A name that refers to nothing, with a suggestion."""
    names = list(known)
    expected = f"a {what} of this file: " + (", ".join(names) or "(there is none)")
    return document.problem(path, f"{describe(name)}", expected, suggest(name, names), at_key=at_key)


def _oddities(document: Document, model: TariffModel) -> Iterator[Problem]:
    """What is no reason to refuse the file, and surely not meant."""
    priced = {name for table in model.rates.values() for name in table.destinations}
    any_deck = any(table.decks for table in model.rates.values())
    for name, destination in model.destinations.items():
        if not any_deck and not destination.refuse and name not in priced:
            yield document.problem(("destinations", name), "no price in any table", "a price, or refuse", at_key=True)
    for name in model.rates.keys() - {plan.rates for plan in model.plans.values()}:
        yield document.problem(("rates", name), "a table of no plan", "a plan that uses it", at_key=True)


# ---- building


def _tariff(model: TariffModel, decks: dict[Path, Deck], digest: str, warnings: tuple[Problem, ...]) -> Tariff:
    return Tariff(
        revision=model.revision,
        digest=digest,
        zone=model.zone,
        region=model.region,
        plans={name: _plan(name, plan) for name, plan in model.plans.items()},
        destinations={
            name: Destination(
                name,
                one.prefixes,
                one.short_codes,
                one.title or name,
                Refusal(one.refuse) if one.refuse else None,
            )
            for name, one in model.destinations.items()
        },
        tables={name: _table(name, table, model, decks) for name, table in model.rates.items()},
        top_ups=TopUps(model.top_up.minimum, model.top_up.amounts),
        rounding=model.rounding.rule,
        decimals=model.rounding.decimals,
        vat=model.vat.percent,
        vat_included=model.vat.included,
        holidays=frozenset(model.holidays),
        expiry_notices_days=tuple(sorted(model.expiry.notices_days, reverse=True)),
        warnings=warnings,
    )


def _plan(name: str, model: PlanModel) -> Plan:
    free = model.free_minutes
    return Plan(
        name=name,
        rates=model.rates,
        title=model.title or name,
        is_paid=model.paid_subscription,
        free_seconds=free.minutes * 60 if free else 0,
        free_destinations=frozenset(free.destinations) if free and free.destinations is not None else None,
        free_increment_s=free.increment if free else None,
        voicemail_paid=model.voicemail.paid,
        voicemail_price=model.voicemail.price,
        max_calls=model.calls_at_once,
        max_credit_per_day=model.credit_a_day,
        max_call_s=model.max_call_s,
        low_credit=model.low_credit,
        low_free_seconds=model.low_free_minutes * 60,
    )


def _table(name: str, table: TableModel, model: TariffModel, decks: dict[Path, Deck]) -> RateTable:
    windows = {band: tuple(map(_window, rows)) for band, rows in model.bands.items()}
    return RateTable(
        name=name,
        prices={destination: price_of(rate, windows) for destination, rate in table.destinations.items()},
        decks=tuple(decks[file] for file in table.decks),
        fax_page=table.fax_page,
    )


def _window(model: WindowModel) -> Window:
    days = frozenset(DAYS.index(day) for day in model.days)
    return Window(days, *model.hours)
