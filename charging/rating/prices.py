"""A rate as people write it (price, increments, steps, bands) → the steps that are charged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from charging.errors import Problem
from charging.money import format_euro
from charging.rating.calendar import Window
from charging.rating.rate import Band, Step
from charging.rating.tariff import Price
from charging.rating.tariff_model import PriceModel, RateModel, StepModel
from charging.yaml_text import Document, DocumentPath

DEFAULT_UNIT_S = 60
DEFAULT_INCREMENTS_S = (60, 60)


def price_of(rate: RateModel, windows: Mapping[str, tuple[Window, ...]]) -> Price:
    """The price of a destination. The file has been found right by :func:`price_problems`."""
    return Price(
        steps=_steps(rate, rate),
        bands=tuple(Band(name, windows[name], _steps(band, rate)) for name, band in rate.bands.items()),
        connect_fee=rate.connect_fee,
        min_charge=rate.minimum,
        max_cost=rate.maximum,
        fax_page=rate.fax_page,
    )


def _steps(own: PriceModel, rate: RateModel) -> tuple[Step, ...]:
    """The steps of a rate, or of one of its bands, which takes what it does not say from the rate."""
    unit_s = own.per or rate.per or DEFAULT_UNIT_S
    first_s, next_s = own.increments or rate.increments or DEFAULT_INCREMENTS_S
    prices = own.steps or (StepModel.model_construct(from_s=0, price=own.price or 0),)
    boundaries = {step.from_s for step in prices} | ({0, first_s} if first_s != next_s else {0})
    made = []
    for from_s in sorted(boundaries):
        step = [one for one in prices if one.from_s <= from_s][-1]
        increment_s = step.increment or (first_s if from_s < first_s else next_s)
        made.append(Step(from_s, step.price, step.per or unit_s, increment_s))
    return tuple(made)


def price_problems(document: Document, path: DocumentPath, rate: RateModel, decimals: int) -> Iterator[Problem]:
    """Everything in one rate that does not fit together."""
    yield from _step_problems(document, path, rate)
    for name, band in rate.bands.items():
        yield from _step_problems(document, (*path, "bands", name), band)
    quantum = 10 ** (6 - decimals)
    for key, amount in (("minimum", rate.minimum), ("maximum", rate.maximum or 0)):
        if amount % quantum:
            expected = f"at most {decimals} decimals, as rounding.decimals says"
            yield document.problem((*path, key), format_euro(amount), expected)
    if rate.maximum is not None and rate.maximum < rate.minimum:
        least = f"at least the minimum, {format_euro(rate.minimum)}"
        yield document.problem((*path, "maximum"), format_euro(rate.maximum), least)


def _step_problems(document: Document, path: DocumentPath, own: PriceModel) -> Iterator[Problem]:
    if (own.price is None) == (not own.steps):
        found = "neither price nor steps" if own.price is None else "both price and steps"
        yield document.problem(path, found, "either price or steps", at_key=True)
    if own.steps and own.steps[0].from_s:
        here = (*path, "steps", 0, "from_s")
        yield document.problem(here, f"{own.steps[0].from_s}", "0: the first step begins with the call")
    for index in range(1, len(own.steps)):
        before, here_s = own.steps[index - 1].from_s, own.steps[index].from_s
        if here_s <= before:
            here = (*path, "steps", index, "from_s")
            yield document.problem(here, f"{here_s}", f"more than {before}: steps in their order")
