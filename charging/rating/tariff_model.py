"""The shape of ``tariff.yaml``: which keys there are, and what each may hold.

Only shapes and single values are judged here; what must fit together (names that refer to one another,
prefixes given twice) is judged in :mod:`charging.rating.tariff_misfits`. The JSON Schema for editors is made
from these models too (:mod:`charging.rating.tariff_schema`), so the words cannot disagree.
"""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from charging.money import MICRO, MoneyError, Rounding, format_euro, parse_euro
from charging.yaml_model import FilePath, Flag, Section, Text, pattern, refusal, text_of, whole

PRICE_MAX = 10_000 * MICRO
"""No price, fee or limit of a call is larger; keeps every total far below the ledger's ceiling."""
DAY_S = 86_400
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


def _euro(value: object) -> int:
    if isinstance(value, int):  # a default
        return value
    text = text_of(value, "euros, such as 12.50")
    try:
        amount = parse_euro(text)
    except MoneyError as error:
        raise refusal(error.expected, hint=_money_hint(text)) from None
    if amount > PRICE_MAX:
        raise refusal(f"at most {format_euro(PRICE_MAX)}")
    return amount


def _money_hint(text: str) -> str:
    if "_" in text or re.search(r"[.,][0-9]{3}[.,]", text):
        return "write digits without separators between thousands"
    return "write the number alone" if re.search(r"[€$A-Za-z]", text) else ""


def _unit(value: object) -> int:
    expected = f"{', '.join(UNITS_S)} or a whole number of seconds from 1 to 3600"
    text = text_of(value, expected)
    if text in UNITS_S:
        return UNITS_S[text]
    if re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= 3600:
        return int(text)
    raise refusal(expected)


def _increments(value: object) -> tuple[int, int]:
    expected = "increments in seconds from 1 to 3600: 60/1 (the first / each further one), or 60 for both"
    parts = text_of(value, expected).split("/")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,4}", part) for part in parts):
        raise refusal(expected)
    seconds = [int(part) for part in parts]
    if not all(1 <= one <= 3600 for one in seconds):
        raise refusal(expected)
    return seconds[0], seconds[-1]


def _hours(value: object) -> tuple[int, int]:
    expected = "hours such as 08:00-18:00 (an end past midnight: 22:00-06:00; the whole day: 00:00-24:00)"
    match = _HOURS.fullmatch(text_of(value, expected))
    if match is None:
        raise refusal(expected)
    begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if end > 1440 or begin == end:
        raise refusal(expected)
    return begin, end or 1440


def _date(value: object) -> date:
    expected = "a date such as 2026-12-25"
    text = text_of(value, expected)
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refusal(expected)


def _zone(value: object) -> str:
    expected = "a time zone such as Europe/Amsterdam"
    text = text_of(value, expected)
    try:
        if "/" in text or text == "UTC":
            return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise refusal(expected)


def _region(text: str) -> str:
    if text not in phonenumbers.SUPPORTED_REGIONS:
        raise refusal("a country in two capital letters, such as NL")
    return text


def _percent(value: object) -> int:
    expected = "a percentage from 0 to 100 with at most two decimals, such as 21"
    match = re.fullmatch(r"([0-9]{1,3})(?:[.,]([0-9]{1,2}))?", text_of(value, expected))
    hundredths = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) if match else -1
    if not 0 <= hundredths <= 10_000:
        raise refusal(expected)
    return hundredths


def _rounding(value: object) -> Rounding:
    try:
        return Rounding(text_of(value, "a rule of rounding"))
    except ValueError:
        raise refusal("one of " + ", ".join(Rounding)) from None


Euro = Annotated[int, BeforeValidator(_euro)]
Unit = Annotated[int, BeforeValidator(_unit)]
Increments = Annotated[tuple[int, int], BeforeValidator(_increments)]
Hours = Annotated[tuple[int, int], BeforeValidator(_hours)]
Day = Annotated[date, BeforeValidator(_date)]
Zone = Annotated[str, BeforeValidator(_zone)]
Region = Annotated[str, pattern("[A-Z]{2}", "a country in two capital letters, such as NL"), AfterValidator(_region)]
Percent = Annotated[int, BeforeValidator(_percent)]
Name = Annotated[str, pattern("[a-z][a-z0-9_]{0,39}", "a name of small letters, digits and _")]
Prefix = Annotated[str, pattern(r"\+[1-9][0-9]{0,14}", "a prefix with its country code, such as +316")]
ShortCode = Annotated[str, pattern("[0-9]{2,8}", "a short code of 2 to 8 digits")]
Seconds = Annotated[int, whole(1, DAY_S, "seconds")]
Increment = Annotated[int, whole(1, 3600, "seconds")]


class VatModel(Section):
    """Value added tax."""

    percent: Percent = Field(description="a percentage, such as 21")
    included: Flag = Field(True, description="whether the prices in this file include it")


class RoundingModel(Section):
    """How the total of a call becomes an amount of money."""

    rule: Annotated[Rounding, BeforeValidator(_rounding)] = Rounding.UP
    decimals: Annotated[int, whole(0, 6, "decimals")] = 6


class TopUpModel(Section):
    """Which amounts customers may buy (R2)."""

    minimum: Euro = 10 * MICRO
    amounts: tuple[Euro, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for amount in self.amounts:
            if amount < self.minimum:
                expected = f"amounts of at least the minimum, {format_euro(self.minimum)}"
                raise refusal(expected, found=format_euro(amount))
        return self


class ExpiryModel(Section):
    """Credit without a paid subscription ends after a year (R19)."""

    notices_days: tuple[Annotated[int, whole(1, 365, "days")], ...] = (60, 30, 7, 1)


class WindowModel(Section):
    """Hours of some days."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"], ...] = Field(
        description="a list of " + ", ".join(DAYS), min_length=1
    )
    hours: Hours = Field(description="hours such as 18:00-08:00")


class DestinationModel(Section):
    """A named set of numbers."""

    title: Text | None = None
    prefixes: tuple[Prefix, ...] = ()
    short_codes: tuple[ShortCode, ...] = ()
    refuse: Literal["blocked", "premium", "loop"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.prefixes and not self.short_codes:
            raise refusal("prefixes or short_codes", found="no numbers")
        return self


class StepModel(Section):
    """A price from some second of the call on."""

    from_s: Annotated[int, whole(0, DAY_S, "seconds")] = Field(description="the call's second, such as 120")
    price: Euro = Field(description="euros")
    per: Unit | None = None
    increment: Increment | None = None


class PriceModel(Section):
    """What a call costs while it lasts."""

    price: Euro | None = None
    per: Unit | None = None
    increments: Increments | None = None
    steps: tuple[StepModel, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.price is None) == (not self.steps):
            found = "neither price nor steps" if self.price is None else "both price and steps"
            raise refusal("either price or steps", found=found)
        begins = [step.from_s for step in self.steps]
        if begins and begins[0] != 0:
            raise refusal("a first step that begins with the call (from_s: 0)", found=f"from_s: {begins[0]}")
        for before, here in pairwise(begins):
            if here <= before:
                raise refusal("steps in the order of their seconds", found=f"from_s: {here} after {before}")
        return self


class RateModel(PriceModel):
    """The price of a destination."""

    connect_fee: Euro = 0
    minimum: Euro = 0
    maximum: Euro | None = None
    bands: dict[str, PriceModel] = Field(default_factory=dict)
    fax_page: Euro | None = None

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            expected = f"a maximum of at least the minimum, {format_euro(self.minimum)}"
            raise refusal(expected, found=format_euro(self.maximum))
        return self


class TableModel(Section):
    """Prices by destination."""

    decks: tuple[FilePath, ...] = ()
    fax_page: Euro | None = None
    destinations: dict[str, RateModel] = Field(default_factory=dict)


class FreeMinutesModel(Section):
    """The bundle of every calendar month (R8, R10, R11)."""

    minutes: Annotated[int, whole(0, 1_000_000, "minutes")] = Field(description="a whole number of minutes")
    destinations: tuple[str, ...] | None = None
    increment: Increment | None = None


class VoicemailModel(Section):
    """What a voicemail message costs (R3, R6, R7)."""

    paid: Flag = Field(description="yes or no")
    price: Euro = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.paid and not self.price:
            raise refusal("the price of a message, since voicemail is paid", found="no price")
        return self


class PlanModel(Section):
    """What a subscriber buys."""

    title: Text | None = None
    rates: str = Field(description="the name of a rate table")
    paid_subscription: Flag = Field(description="yes or no: whether credit stays valid while it is paid (R18)")
    free_minutes: FreeMinutesModel | None = None
    voicemail: VoicemailModel = Field(description="whether voicemail is paid, and its price")
    calls_at_once: Annotated[int, whole(1, 1000, "calls")] = 2
    credit_a_day: Euro | None = None
    max_call_s: Seconds = 14_400
    low_credit: Euro = 0
    low_free_minutes: Annotated[int, whole(0, 1_000_000, "minutes")] = 0


class TariffModel(Section):
    """The whole file."""

    revision: Text = Field(description="a name of this edition, such as 2026-11")
    zone: Zone = Field(description="the operator's time zone, such as Europe/Amsterdam")
    region: Region = Field(description="the country whose national numbers are understood, such as NL")
    vat: VatModel = Field(description="the tax: percent and included")
    rounding: RoundingModel = RoundingModel()
    top_up: TopUpModel = TopUpModel()
    expiry: ExpiryModel = ExpiryModel()
    holidays: tuple[Day, ...] = ()
    bands: dict[Name, tuple[WindowModel, ...]] = Field(default_factory=dict)
    destinations: dict[Name, DestinationModel] = Field(description="the sets of numbers that are known")
    rates: dict[Name, TableModel] = Field(description="the rate tables")
    plans: dict[Name, PlanModel] = Field(description="the plans")
