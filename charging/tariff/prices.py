"""A rate as people write it (price, increments, steps, bands) → the steps that are charged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
        bands=tuple(
            Band(name, windows[name], _steps(band, rate), band.connect_fee) for name, band in rate.bands.items()
        ),
        connect_fee=rate.connect_fee,
        min_charge=rate.minimum,
        max_cost=rate.maximum,
        ends_at_max=rate.at_maximum == "end",
        fax_page=rate.fax_page,
    )


def _steps(own: PriceModel, rate: RateModel) -> tuple[Step, ...]:
    """The steps of a rate, or of one of its bands, which takes what it does not say from the rate."""
    unit_s = own.per or rate.per or DEFAULT_UNIT_S
    first_s, next_s = own.increments or rate.increments or DEFAULT_INCREMENTS_S
    prices = own.steps or (StepModel.model_construct(from_s=0, price=own.price or 0),)
    made = [Step(one.from_s, one.price, one.per or unit_s, one.increment or next_s) for one in prices]
    if not prices[0].increment and first_s != next_s:
        made[0] = replace(made[0], first_increment_s=first_s)
    return tuple(made)
