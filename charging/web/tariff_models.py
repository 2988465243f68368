"""The tariff in force and quotes, on the wire."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from charging.money import format_euro
from charging.rating.plans import Plan
from charging.rating.tariff import Tariff
from charging.service.quotes import Quote, QuoteStep
from charging.session.cdr import iso
from charging.web.models import Euro, Instant


class PlanOut(BaseModel):
    """What a subscriber can buy."""

    name: str
    title: str
    paid_subscription: bool
    free_seconds: int
    calls_at_once: int
    credit_a_day: Euro | None
    max_call_s: int
    paid_voicemail: bool
    voicemail_price: Euro

    @classmethod
    def of(cls, plan: Plan) -> Self:
        cap = plan.max_credit_per_day
        return cls(
            name=plan.name,
            title=plan.title,
            paid_subscription=plan.is_paid,
            free_seconds=plan.free_seconds,
            calls_at_once=plan.max_calls,
            credit_a_day=None if cap is None else format_euro(cap),
            max_call_s=plan.max_call_s,
            paid_voicemail=plan.voicemail_paid,
            voicemail_price=format_euro(plan.voicemail_price),
        )


class TariffOut(BaseModel):
    """The tariff in force."""

    revision: str
    digest: str
    zone: str
    region: str
    vat_included: bool
    top_up_minimum: Euro
    top_up_amounts: list[Euro] = Field(description="empty: any amount from the minimum on")
    plans: list[PlanOut]

    @classmethod
    def of(cls, tariff: Tariff) -> Self:
        return cls(
            revision=tariff.revision,
            digest=tariff.digest,
            zone=tariff.zone,
            region=tariff.region,
            vat_included=tariff.vat_included,
            top_up_minimum=format_euro(tariff.top_ups.minimum),
            top_up_amounts=[format_euro(one) for one in tariff.top_ups.amounts],
            plans=[PlanOut.of(plan) for plan in tariff.plans.values()],
        )


class QuoteStepOut(BaseModel):
    """Increments under one price, paid by one source."""

    from_s: int
    increments: int
    increment_s: int
    source: str = Field(description="credit, or the bundle of a month")
    free_s: int
    credit_s: int
    price: Euro = Field(description="of unit_s seconds")
    unit_s: int
    band: str

    @classmethod
    def of(cls, step: QuoteStep) -> Self:
        return cls(
            from_s=step.from_s,
            increments=step.increments,
            increment_s=step.increment_s,
            source=step.source,
            free_s=step.free_s,
            credit_s=step.credit_s,
            price=format_euro(step.price),
            unit_s=step.unit_s,
            band=step.band,
        )


class QuoteOut(BaseModel):
    """What a call would cost, and why."""

    number: str
    plan: str
    destination: str
    prefix: str
    at: Instant
    seconds: int
    charged_s: int = Field(description="after increments")
    steps: list[QuoteStepOut]
    connect_fee: Euro
    minimum: Euro
    maximum: Euro | None
    rounding: str
    decimals: int
    cost: Euro = Field(description="of credit, VAT included")
    tariff_revision: str
    tariff_digest: str

    @classmethod
    def of(cls, quote: Quote) -> Self:
        rate = quote.rate
        return cls(
            number=quote.number,
            plan=rate.plan,
            destination=rate.destination,
            prefix=rate.prefix,
            at=iso(quote.at_us),
            seconds=quote.seconds,
            charged_s=quote.charged_s,
            steps=[QuoteStepOut.of(step) for step in quote.steps],
            connect_fee=format_euro(quote.connect_fee),
            minimum=format_euro(rate.min_charge),
            maximum=None if rate.max_cost is None else format_euro(rate.max_cost),
            rounding=rate.rounding,
            decimals=rate.decimals,
            cost=format_euro(quote.cost),
            tariff_revision=rate.tariff_revision,
            tariff_digest=rate.tariff_digest,
        )
