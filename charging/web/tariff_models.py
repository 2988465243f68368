"""The tariff in force and quotes, on the wire."""

from __future__ import annotations

from pathlib import PurePath
from typing import Self

from pydantic import BaseModel, Field

from charging.pricing.money import format_euro
from charging.pricing.packs import shown_pieces
from charging.service.quotes import FaxQuote
from charging.tariff.deck import Deck
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff
from charging.web.models import Euro
from charging.whatif.quote import Limit, Quote


class PlanOut(BaseModel):
    """What a subscriber can buy."""

    name: str
    title: str
    paid_subscription: bool
    free_seconds: int
    free_fax_pages: int = Field(description="of each month")
    free_messages: int = Field(description="of each month, where voicemail is paid")
    calls_at_once: int
    credit_a_day: Euro | None
    max_call_s: int
    paid_voicemail: bool
    voicemail_price: Euro = Field(description="of a message taken now, VAT included")

    @classmethod
    def of(cls, plan: Plan, voicemail_price: int) -> Self:
        cap = plan.max_credit_per_day
        return cls(
            name=plan.name,
            title=plan.title,
            paid_subscription=plan.is_paid,
            free_seconds=plan.free_seconds,
            free_fax_pages=plan.free_pages,
            free_messages=plan.free_messages,
            calls_at_once=plan.max_calls,
            credit_a_day=None if cap is None else format_euro(cap),
            max_call_s=plan.max_call_s,
            paid_voicemail=plan.voicemail_paid,
            voicemail_price=format_euro(voicemail_price),
        )


class DeckOut(BaseModel):
    """A price list of a carrier."""

    file: str = Field(description="its name without its folder")
    rows: int
    prefixes: int
    cheapest: str = Field(description="prefix, name and price a minute")
    dearest: str = Field(description="prefix, name and price a minute")

    @classmethod
    def of(cls, deck: Deck) -> Self:
        facts = deck.facts()
        return cls(
            file=PurePath(deck.file).name,
            rows=facts.rows,
            prefixes=facts.prefixes,
            cheapest=str(facts.cheapest),
            dearest=str(facts.dearest),
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
    decks: list[DeckOut]
    warnings: list[str] = Field(description="what is odd in the files, and no reason to refuse them")
    refused: list[str] = Field(description="why the files on disk do not count, and this older tariff is in force")
    waiting: str | None = Field(description="the digest of what counts once someone accepts it")

    @classmethod
    def of(cls, tariff: Tariff, now_us: int) -> Self:
        decks = {deck.file: deck for table in tariff.tables.values() for deck in table.decks}
        return cls(
            revision=tariff.revision,
            digest=tariff.digest,
            zone=tariff.zone,
            region=tariff.region,
            vat_included=tariff.vat.included,
            top_up_minimum=format_euro(tariff.top_ups.minimum),
            top_up_amounts=[format_euro(one) for one in tariff.top_ups.amounts],
            plans=[PlanOut.of(plan, tariff.message_price(plan, now_us)) for plan in tariff.plans.values()],
            decks=[DeckOut.of(deck) for deck in decks.values()],
            warnings=[str(one) for one in tariff.warnings],
            refused=[str(one) for one in tariff.refused],
            waiting=tariff.waiting or None,
        )


class RoundingOut(BaseModel):
    """How the call's total is rounded, once."""

    rule: str
    decimals: int


class TariffRef(BaseModel):
    """Which tariff priced it."""

    revision: str
    digest: str


class QuoteLineOut(BaseModel):
    """Increments with one price and one payer."""

    from_s: int
    to_s: int
    increments: int
    increment_s: int
    source: str = Field(description="credit, or the bundle of a month")
    band: str
    price: Euro = Field(description="of unit_s seconds")
    unit_s: int
    free_s: int
    credit_s: int
    amount: Euro = Field(description="before rounding; cut after twelve decimals where they do not end")


class QuoteOut(BaseModel):
    """What a call would cost, and why."""

    number: str
    plan: str
    destination: str
    prefix: str
    start: str
    seconds: int
    charged_s: int = Field(description="after increments")
    free_s: int
    bundles: dict[str, int]
    lines: list[QuoteLineOut]
    connect_fee: Euro
    subtotal: Euro
    within_limits: Euro = Field(description="within the rate's minimum and maximum")
    with_vat: Euro
    rounding: RoundingOut
    total: Euro = Field(description="of credit")
    assumes: list[str] = Field(description="what is taken for given, such as the free seconds left of each month")
    tariff: TariffRef
    explanation: list[str] = Field(description="the same in sentences")

    @classmethod
    def of(cls, quote: Quote) -> Self:
        return cls(**quote.to_json(), explanation=list(quote.explain()))


class FaxQuoteOut(BaseModel):
    """What a fax would cost (R3)."""

    number: str
    plan: str
    pages: int
    page_price: Euro
    free_pages: int = Field(description="of them, those that the plan or a pack pays")
    free: dict[str, int] = Field(description="the same by month (2026-11) or pack (2026-12-31:name.rules)")
    total: Euro = Field(description="of credit, if every page is delivered")
    tariff: TariffRef

    @classmethod
    def of(cls, quote: FaxQuote) -> Self:
        return cls(
            number=quote.number,
            plan=quote.plan,
            pages=quote.pages,
            page_price=format_euro(quote.page_price),
            free_pages=quote.free_pages,
            free=shown_pieces(quote.free),
            total=format_euro(quote.total),
            tariff=TariffRef(revision=quote.revision, digest=quote.digest),
        )


class LimitOut(BaseModel):
    """How long money lasts."""

    number: str
    plan: str
    destination: str
    seconds: int = Field(description="the longest call")
    total: Euro = Field(description="of credit, for such a call")
    next_total: Euro | None = Field(description="with one more increment; null: money is not what ends it")
    ends: str = Field(
        description="what ends it: money, day_limit (the plan's credit a day), max_call or max_cost (the rate's "
        "maximum); of an account also the reason for which such a call would not be forwarded, and seconds is 0"
    )
    assumes: list[str] = Field(description="what is taken for given, such as the free seconds left of each month")
    max_call_s: int
    tariff: TariffRef

    @classmethod
    def of(cls, limit: Limit) -> Self:
        return cls(**limit.to_json())
