"""A rate as people write it (price, increments, steps, bands) → the steps that are charged."""

from __future__ import annotations

from collections.abc import Mapping

from charging.pricing.calendar import Window
from charging.pricing.rate import Band, Step
from charging.tariff.model import PriceModel, RateModel, StepModel
from charging.tariff.tariff import Price

DEFAULT_UNIT_S = 60
DEFAULT_INCREMENTS_S = (60, 60)


def price_of(rate: RateModel, windows: Mapping[str, tuple[Window, ...]]) -> Price:
    """The price of a destination."""
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
