"""Reads ``tariff.yaml`` and its decks into a :class:`Tariff`, or reports every problem at once.

The YAML text is checked first (:mod:`charging.yaml_text`). Then, together: the shape (:mod:`charging.tariff.model`),
references between parts of the file (:mod:`charging.tariff.misfits`) and the decks (:mod:`charging.tariff.deck_file`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path

from charging.errors import ConfigError, Problem
from charging.files import read_bytes
from charging.pricing.calendar import Window
from charging.pricing.money import format_euro
from charging.pricing.packs import MESSAGES, PAGES
from charging.pricing.rate import Rate, Step, cost_of_seconds
from charging.tariff.deck import Deck
from charging.tariff.deck_file import DeckFile, read_deck
from charging.tariff.misfits import deck_files, doubtful_commas, misfits
from charging.tariff.model import DAYS, PackModel, PlanModel, TableModel, TariffModel, WindowModel
from charging.tariff.numbering import country_code_of, examples_of, has_trunk_zero
from charging.tariff.plans import Pack, Plan
from charging.tariff.prices import DEFAULT_UNIT_S, price_of
from charging.tariff.tariff import Destination, Prefixes, Price, RateTable, Refusal, Tariff, TopUps, Vat
from charging.yaml_model import sorted_problems, validate
from charging.yaml_text import Document, parse_document

MAX_TARIFF_BYTES = 1024 * 1024
"""Of the YAML file; longer price lists belong in decks."""

NAMED_MAX = 10
"""Destinations that one warning names."""

DeckReader = Callable[[Path], DeckFile]


def load_tariff(path: Path, *, deck_reader: DeckReader = read_deck, data: bytes | None = None) -> Tariff:
    """Read the tariff file at ``path`` and the decks it names. ``data``: the content to use instead of the file's.

    Raises :class:`ConfigError` with every problem found.
    """
    data = _read(path) if data is None else data
    document = _parsed(data, str(path))
    problems = list(misfits(document))
    base = path.resolve().parent
    decks = _decks(deck_files(document, base), deck_reader, problems)
    try:
        model = validate(document, TariffModel, base_folder=base)
    except ConfigError as error:
        raise ConfigError(sorted_problems([*error.problems, *problems])) from None
    problems = problems or list(_calls_that_never_begin(document, model))
    if problems:
        raise ConfigError(sorted_problems(problems))
    digest = digest_of([hashlib.sha256(data).digest(), *(one.digest for one in decks.values())])
    odd = [problem for one in decks.values() for problem in one.warnings]
    warnings = (
        *odd,
        *doubtful_commas(document),
        *_oddities(document, model),
        *_cheap_pages(document, model),
        *_first_increments(document, model),
        *_overlaps(document, model, decks),
        *_dear_services(document, model),
        *_trunk_zeros(document, model, decks),
    )
    return _tariff(model, {file: one.deck for file, one in decks.items()}, digest, warnings)


def digest_of(files: Iterable[bytes]) -> str:
    """A tariff's digest, from the SHA-256 of its file and of each deck in the order of :func:`files_of`."""
    return hashlib.sha256(b"".join(files)).hexdigest()[:16]


def files_of(path: Path) -> tuple[Path, ...]:
    """The tariff file and the decks that it names, as far as it can be read: the files that an edit may change."""
    try:
        document = _parsed(_read(path), str(path))
    except ConfigError:
        return (path,)
    return (path, *deck_files(document, path.resolve().parent))


@lru_cache(1)
def _parsed(data: bytes, file: str) -> Document:
    """A start asks three times for what stands in one file, while running calls wait."""
    return parse_document(data, file, max_bytes=MAX_TARIFF_BYTES)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_TARIFF_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Problem(str(path), "", reason, "a tariff file that can be read")]) from error


def _decks(files: Iterable[Path], deck_reader: DeckReader, problems: list[Problem]) -> dict[Path, DeckFile]:
    decks: dict[Path, DeckFile] = {}
    for file in files:
        try:
            decks[file] = deck_reader(file)
        except ConfigError as error:
            problems.extend(error.problems)
    return decks


def _calls_that_never_begin(document: Document, model: TariffModel) -> Iterator[Problem]:
    """A maximum that ends calls, and is less than a call's first increment costs: what counts of it are whole steps of
    the rounding, with the VAT of each day."""
    windows, quantum = _windows(model), 10 ** (6 - model.rounding.decimals)
    percents = {0} if model.vat.included else {model.vat.percent, *(one.percent for one in model.vat.changes)}
    for table_name, table in model.rates.items():
        for name, rate in table.destinations.items():
            price = price_of(rate, windows)
            fees = [price.connect_fee, *(one.connect_fee for one in price.bands)]
            firsts = [price.steps[0], *(one.steps[0] for one in price.bands)]
            least = max(
                _to_begin(step, price.connect_fee if fee is None else fee)
                for step, fee in zip(firsts, fees, strict=True)
            )
            needed = max(_least_maximum(least, Fraction(10_000 + percent, 10_000), quantum) for percent in percents)
            if price.ends_at_max and price.max_cost is not None and needed > price.max_cost:
                expected = f"a maximum of at least {format_euro(needed)}, what a call costs to begin"
                path = ("rates", table_name, "destinations", name, "maximum")
                yield document.problem(path, format_euro(price.max_cost), expected)


def _least_maximum(cost: Fraction, with_vat: Fraction, quantum: int) -> int:
    """The least maximum (micro-euro as the file says it, in whole quanta) that lets a call cost so much: with VAT, and
    rounded down to whole quanta as ``Rate`` does, it is no less."""
    return ceil(ceil(cost * with_vat / quantum) / with_vat) * quantum


def _to_begin(step: Step, connect_fee: int) -> Fraction:
    return connect_fee + Fraction(step.price * (step.first_increment_s or step.increment_s), step.unit_s)


# ---- what is no reason to refuse the file, and surely not meant


def _oddities(document: Document, model: TariffModel) -> Iterator[Problem]:
    priced = {name for table in model.rates.values() for name in table.destinations}
    any_deck = any(table.decks for table in model.rates.values())
    for name, destination in model.destinations.items():
        if not any_deck and not destination.refuse and name not in priced:
            path = ("destinations", name)
            yield document.problem(path, "no price in any table", "a price, or refuse", at_key=True)
    for name in model.rates.keys() - {plan.rates for plan in model.plans.values()}:
        yield document.problem(("rates", name), "a table of no plan", "a plan that uses it", at_key=True)
    for name, plan in model.plans.items():
        if plan.free_messages and not plan.voicemail.price:
            expected = "a price of messages (voicemail.price): where they cost nothing, free ones are of no use"
            yield document.problem(("plans", name, "free_messages"), str(plan.free_messages), expected)
        if plan.free_fax_pages and plan.free_fax_pages.pages and not _prices_pages(model.rates[plan.rates]):
            expected = "a price of fax pages in its rate table: without one no fax is sent"
            yield document.problem(("plans", name), "free fax pages", expected, at_key=True)
        if plan.voicemail.paid and plan.credit_a_day is None:
            expected = "credit_a_day: else strangers who leave messages can use up all credit of an account"
            yield document.problem(("plans", name), "paid voicemail without a limit", expected, at_key=True)


def _prices_pages(table: TableModel) -> bool:
    """Whether it may have a price of fax pages; what a deck's rows say is not looked at here."""
    own = (rate.fax_page for rate in table.destinations.values())
    return bool(table.decks) or table.fax_page is not None or any(page is not None for page in own)


def _cheap_pages(document: Document, model: TariffModel) -> Iterator[Problem]:
    """Tables whose fax page also holds for destinations where it costs less than the first minute of a call, in any
    band. What a destination says itself is meant so."""
    windows = _windows(model)
    for table_name, table in model.rates.items():
        if table.fax_page is None:
            continue
        minutes = {
            name: _first_minute(price_of(one, windows))
            for name, one in table.destinations.items()
            if one.fax_page is None
        }
        dear = [f"{name} ({format_euro(cost)})" for name, cost in minutes.items() if cost > table.fax_page]
        if dear:
            more = f" and {len(dear) - NAMED_MAX} more" if len(dear) > NAMED_MAX else ""
            found = f"{format_euro(table.fax_page)} a page also where a call's first minute costs more: "
            expected = (
                "a fax_page of their own there: a page holds a line for a minute, and for five if its receiver likes"
            )
            path = ("rates", table_name, "fax_page")
            yield document.problem(path, found + ", ".join(dear[:NAMED_MAX]) + more, expected)


def _first_minute(price: Price) -> int:
    """What it costs at most."""
    bands = [(price.steps, price.connect_fee), *((one.steps, one.connect_fee) for one in price.bands)]
    fees = ((steps, price.connect_fee if fee is None else fee) for steps, fee in bands)
    rates = (Rate("", "", steps, connect_fee=fee, min_charge=price.min_charge) for steps, fee in fees)
    return max(cost_of_seconds(one, 0, DEFAULT_UNIT_S) for one in rates)


def _first_increments(document: Document, model: TariffModel) -> Iterator[Problem]:
    """60/1 where credit may begin to pay, or another price to hold, after the call's first increment: some price lists
    mean one there too, and a call would then cost more."""
    for table_name, table in model.rates.items():
        free = {
            name: plan.free_minutes
            for name, plan in model.plans.items()
            if plan.rates == table_name and plan.free_minutes and plan.free_minutes.increment
        }
        for name, rate in table.destinations.items():
            written = {one.increments for one in (rate, *rate.bands.values()) if one.increments}
            first = next((one for one in sorted(written, reverse=True) if one[0] != one[1]), None)
            if first is None:
                continue
            where = ["a band begins"] if rate.bands else []
            where += [
                f"the free minutes of {plan} end"
                for plan, one in free.items()
                if (one.destinations is None or name in one.destinations) and (one.increment or first[0]) < first[0]
            ]
            if where:
                found = f"{first[0]}/{first[1]}, and calls in which {' or '.join(where)}"
                expected = (
                    f"to be meant so: {first[0]} s is the call's first increment only, {first[1]} s any later one"
                )
                yield document.problem(("rates", table_name, "destinations", name), found, expected, at_key=True)


def _overlaps(document: Document, model: TariffModel, decks: Mapping[Path, DeckFile]) -> Iterator[Problem]:
    for name, table in model.rates.items():
        for index, file in enumerate(table.decks):
            for earlier in table.decks[:index]:
                common = decks[earlier].deck.prefixes() & decks[file].deck.prefixes()
                if common:
                    found = f"{len(common)} prefixes that {earlier.name} has too, such as {min(common)}"
                    path = ("rates", name, "decks", index)
                    yield document.problem(path, found, "each prefix in one deck of a table; the first one counts")


def _dear_services(document: Document, model: TariffModel) -> Iterator[Problem]:
    """Destinations that price premium, personal, shared-cost or pager numbers of a country as its ordinary ones, by the
    examples that the numbering plans give. A destination of their own, whatever it costs, is meant so."""
    owner = Prefixes((prefix, name) for name, one in model.destinations.items() for prefix in one.prefixes)
    priced = {name for table in model.rates.values() for name in table.destinations}
    codes = {country_code_of(prefix) for name in priced for prefix in model.destinations[name].prefixes}
    dear: dict[str, list[str]] = {}
    for code in sorted(one for one in codes if one is not None):
        owned = [(hit[1], number, service) for number, service in examples_of(code) if (hit := owner.match(number))]
        ordinary = {name for name, _, service in owned if not service}
        for name, number, service in owned:
            if service and name in priced & ordinary:
                dear.setdefault(name, []).append(f"{number} ({service})")
    for owner_name, numbers in dear.items():
        found = f"a price that is also that of {', '.join(numbers)}"
        expected = "their prefixes in a destination of their own, refused or with their price"
        yield document.problem(("destinations", owner_name, "prefixes"), found, expected, at_key=True)


def _trunk_zeros(document: Document, model: TariffModel, decks: Mapping[Path, DeckFile]) -> Iterator[Problem]:
    """Prefixes that no number ever has, so what they should price is priced otherwise, or not at all."""
    expected = "the number as it is dialled from abroad, without that zero"
    for name, destination in model.destinations.items():
        for index, prefix in enumerate(destination.prefixes):
            if has_trunk_zero(prefix):
                found = f"{prefix}, with the zero of calls within the country, which no number has"
                yield document.problem(("destinations", name, "prefixes", index), found, expected)
    for table_name, table in model.rates.items():
        for index, file in enumerate(table.decks):
            if zeros := sorted(filter(has_trunk_zero, decks[file].deck.prefixes())):
                found = f"{len(zeros)} prefixes with the zero of calls within the country, such as {zeros[0]}"
                yield document.problem(("rates", table_name, "decks", index), found, expected)


# ---- building


def _tariff(model: TariffModel, decks: dict[Path, Deck], digest: str, warnings: tuple[Problem, ...]) -> Tariff:
    return Tariff(
        revision=model.revision,
        digest=digest,
        zone=model.zone,
        region=model.region,
        plans={name: _plan(name, plan) for name, plan in model.plans.items()},
        packs={name: _pack(name, pack) for name, pack in model.packs.items()},
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
        vat=Vat(
            model.vat.percent, tuple((one.valid_from, one.percent) for one in model.vat.changes), model.vat.included
        ),
        holidays=frozenset(model.holidays),
        expiry_notices_days=tuple(sorted(model.expiry.notices_days, reverse=True)),
        warnings=warnings,
    )


def _plan(name: str, model: PlanModel) -> Plan:
    free, pages = model.free_minutes, model.free_fax_pages
    return Plan(
        name=name,
        rates=model.rates,
        title=model.title or name,
        is_paid=model.paid_subscription,
        free_seconds=free.minutes * 60 if free else 0,
        free_destinations=frozenset(free.destinations) if free and free.destinations is not None else None,
        free_increment_s=free.increment if free else None,
        free_pages=pages.pages if pages else 0,
        free_pages_to=frozenset(pages.destinations) if pages and pages.destinations is not None else None,
        free_messages=model.free_messages,
        voicemail_paid=model.voicemail.paid,
        voicemail_price=model.voicemail.price,
        max_calls=model.calls_at_once,
        max_credit_per_day=model.credit_a_day,
        max_call_s=model.max_call_s,
        low_credit=model.low_credit,
        low_free_seconds=model.low_free_minutes * 60,
    )


def _pack(name: str, model: PackModel) -> Pack:
    seconds = (model.minutes or 0) * 60
    return Pack(
        name=name,
        title=model.title or name,
        amount=seconds or model.fax_pages or model.messages or 0,
        sort=PAGES if model.fax_pages else MESSAGES if model.messages else "",
        days=model.days,
        destinations=None if model.destinations is None else frozenset(model.destinations),
        increment_s=model.increment,
        order=model.order,
    )


def _table(name: str, table: TableModel, model: TariffModel, decks: dict[Path, Deck]) -> RateTable:
    windows = _windows(model)
    return RateTable(
        name=name,
        prices={destination: price_of(rate, windows) for destination, rate in table.destinations.items()},
        decks=tuple(decks[file] for file in table.decks),
        fax_page=table.fax_page,
        deck_fax_page=table.deck_fax_page,
        fee_with_call=table.connect_fee_due == "with_call",
    )


def _windows(model: TariffModel) -> dict[str, tuple[Window, ...]]:
    return {band: tuple(map(_window, rows)) for band, rows in model.bands.items()}


def _window(model: WindowModel) -> Window:
    days = frozenset(DAYS.index(day) for day in model.days)
    return Window(days, *model.hours)
