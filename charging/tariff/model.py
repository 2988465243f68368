"""The shape of ``tariff.yaml``: which keys there are, and what each may hold.

Only shapes and single values are judged here; what must fit together (names that refer to one another,
prefixes given twice) is judged in :mod:`charging.tariff.misfits`. The JSON Schema for editors is made
from these models too (:mod:`charging.tariff.schema`), so the words cannot disagree.
"""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from charging.pricing.money import CENT, MICRO, MoneyError, format_euro, parse_euro
from charging.pricing.packs import MINUTES_MAX, MONTH_ORDER, PIECES_MAX
from charging.pricing.rate import Rounding
from charging.yaml_model import BASE_FOLDER, Flag, Section, Text, pattern, refusal, text_of, whole

PRICE_MAX = 10_000 * MICRO
"""No price, fee or limit of a call is larger; keeps every total far below the ledger's ceiling."""
DAY_S = 86_400
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


def _euro(value: object) -> int:
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


def deck_path(text: str, base_folder: Path) -> Path | None:
    """The file that a deck's name means, relative to the tariff's folder; ``None`` for what names no file."""
    return None if text.startswith("~") else base_folder / text


def _deck(value: object, info: ValidationInfo) -> Path:
    expected = "the path of a rate deck"
    found = deck_path(text_of(value, expected), (info.context or {})[BASE_FOLDER])
    if found is None:
        raise refusal(expected, hint="written out, without ~")
    return found


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


MONEY = {"type": ["number", "string"], "pattern": r"^[0-9]+([.,][0-9]{1,6})?$", "minimum": 0}
YES_NO = {"enum": ["yes", "no", True, False]}
SECONDS = {"type": "integer", "minimum": 1, "maximum": 3600}

Euro = Annotated[int, BeforeValidator(_euro), WithJsonSchema(MONEY)]
Unit = Annotated[int, BeforeValidator(_unit), WithJsonSchema({"anyOf": [{"enum": list(UNITS_S)}, SECONDS]})]
Increments = Annotated[
    tuple[int, int],
    BeforeValidator(_increments),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^[0-9]{1,4}(/[0-9]{1,4})?$"}, SECONDS]}),
]
Hours = Annotated[
    tuple[int, int],
    BeforeValidator(_hours),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOURS.pattern}$"}),
]
Day = Annotated[
    date,
    BeforeValidator(_date),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string"})]
Region = Annotated[
    str,
    pattern("[A-Z]{2}", "a country in two capital letters, such as NL"),
    AfterValidator(_region),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"}),
]
Percent = Annotated[
    int,
    BeforeValidator(_percent),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "maximum": 100}),
]
Name = Annotated[str, pattern("[a-z][a-z0-9_]{0,39}", "a name of small letters, digits and _")]
Prefix = Annotated[
    str,
    pattern(r"\+[1-9][0-9]{0,14}", "a prefix with its country code, such as +316"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\+[1-9][0-9]{0,14}$"}),
]
ShortCode = Annotated[
    str,
    pattern("[0-9]{2,8}", "a short code of 2 to 8 digits"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": "^[0-9]{2,8}$"}),
]
DeckPath = Annotated[Path, BeforeValidator(_deck), WithJsonSchema({"type": "string"})]
Revision = Annotated[Text, WithJsonSchema({"type": ["string", "number"]})]
YesNo = Annotated[Flag, WithJsonSchema(YES_NO)]
Seconds = Annotated[int, whole(1, DAY_S, "seconds"), WithJsonSchema(SECONDS | {"maximum": DAY_S})]
Second = Annotated[int, whole(0, DAY_S, "seconds"), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": DAY_S})]
Increment = Annotated[int, whole(1, 3600, "seconds"), WithJsonSchema(SECONDS)]
Minutes = Annotated[
    int,
    whole(0, 1_000_000, "minutes"),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 1_000_000}),
]
RoundingRule = Annotated[Rounding, BeforeValidator(_rounding)]


class VatChangeModel(Section):
    """Another percentage, from some day on."""

    valid_from: Day = Field(description="the first day on which it counts, such as 2027-01-01")
    percent: Percent = Field(description="a percentage, such as 9")


class VatModel(Section):
    """Value added tax."""

    percent: Percent = Field(description="a percentage, such as 21; that of the days before the first change")
    changes: tuple[VatChangeModel, ...] = Field(default=(), description="later percentages, each with its first day")
    included: YesNo = Field(default=True, description="whether the prices in this file include it")


class RoundingModel(Section):
    """How the credit-paid total of a call becomes an amount of money, once."""

    rule: RoundingRule = Field(default=Rounding.UP, description="the rule of rounding")
    decimals: Annotated[int, whole(0, 6, "decimals")] = Field(default=6, description="decimals of a euro, 0 to 6")


class TopUpModel(Section):
    """Which amounts customers may buy (R2)."""

    minimum: Euro = Field(default=10 * MICRO, description="the smallest amount, in euros")
    amounts: tuple[Euro, ...] = Field(
        default=(), description="the amounts to choose from; none: any from the minimum on"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for amount in self.amounts or (self.minimum,):
            if amount % CENT:
                raise refusal("whole cents, for nobody can pay less than one", found=format_euro(amount))
            if amount < self.minimum:
                expected = f"amounts of at least the minimum, {format_euro(self.minimum)}"
                raise refusal(expected, found=format_euro(amount))
        return self


class ExpiryModel(Section):
    """Credit without a paid subscription ends a year after its last use (R19)."""

    notices_days: tuple[Annotated[int, whole(1, 365, "days")], ...] = Field(
        default=(60, 30, 7, 1), description="how many days before its owner is told, each once (R20)"
    )


class WindowModel(Section):
    """Hours of some days."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"], ...] = Field(
        description="a list of " + ", ".join(DAYS), min_length=1
    )
    hours: Hours = Field(description="hours such as 18:00-08:00; past midnight they belong to the day they begin on")


class DestinationModel(Section):
    """A named set of numbers."""

    title: Text | None = Field(default=None, description="what people call it")
    prefixes: tuple[Prefix, ...] = Field(
        default=(), description="prefixes with their country code; the longest match counts"
    )
    short_codes: tuple[ShortCode, ...] = Field(default=(), description="whole numbers without country code")
    refuse: Literal["blocked", "premium", "loop"] | None = Field(
        default=None,
        description="why no call is forwarded there: blocked, premium, or loop (the operator's own numbers)",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.prefixes and not self.short_codes:
            raise refusal("prefixes or short_codes", found="no numbers")
        return self


class StepModel(Section):
    """A price from some second of the call on."""

    from_s: Second = Field(description="the call's second, such as 120")
    price: Euro = Field(description="euros")
    per: Unit | None = Field(default=None, description="what the price is for; default: as the rate says")
    increment: Increment | None = Field(default=None, description="seconds; default: as the rate's increments say")


class PriceModel(Section):
    """What a call costs while it lasts."""

    price: Euro | None = Field(default=None, description="euros for every unit of time")
    per: Unit | None = Field(default=None, description="the unit: minute (default), second, hour, or seconds")
    increments: Increments | None = Field(
        default=None, description="first/further increment in seconds: 60/60 (default), 60/1, 30/6, 1/1"
    )
    steps: tuple[StepModel, ...] = Field(default=(), description="instead of price: other prices as the call goes on")

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


class BandModel(PriceModel):
    """The price of a destination while a band is open."""

    connect_fee: Euro | None = Field(
        default=None, description="euros, of calls whose fee falls due then; default: the rate's"
    )


class RateModel(PriceModel):
    """The price of a destination."""

    connect_fee: Euro = Field(default=0, description="euros, due as the table's connect_fee_due says")
    minimum: Euro = Field(default=0, description="the least that a call costs of which credit pays any second")
    maximum: Euro | None = Field(default=None, description="the most that a call costs")
    at_maximum: Literal["free", "end"] = Field(
        default="free", description="what follows: the rest of the call is free, or the call ends"
    )
    bands: dict[str, BandModel] = Field(
        default_factory=dict, description="other prices while a band (of the key bands) is open"
    )
    fax_page: Euro | None = Field(default=None, description="euros for a sent page; default: the table's")

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.maximum is not None and self.maximum < self.minimum:
            expected = f"a maximum of at least the minimum, {format_euro(self.minimum)}"
            raise refusal(expected, found=format_euro(self.maximum))
        if self.maximum is None and self.at_maximum == "end":
            raise refusal("a maximum at which calls end", found="at_maximum without maximum")
        return self


class TableModel(Section):
    """Prices by destination."""

    decks: tuple[DeckPath, ...] = Field(default=(), description="CSV price lists, for what no destination here prices")
    fax_page: Euro | None = Field(
        default=None, description="euros for a sent page to the destinations here; without one, faxes are not offered"
    )
    deck_fax_page: Euro | None = Field(
        default=None,
        description="euros for a sent page to what a deck prices without a fax_page of its own, if a call of the "
        "five minutes that a page may take costs no more; without one, faxes are not offered there",
    )
    connect_fee_due: Literal["with_credit", "with_call"] = Field(
        default="with_credit",
        description="with the first second that credit pays (R10), or with any call, also inside free minutes",
    )
    destinations: dict[str, RateModel] = Field(default_factory=dict, description="the price of each destination")


class FreeMinutesModel(Section):
    """The bundle of every calendar month (R8, R10, R11)."""

    minutes: Minutes = Field(description="a whole number of minutes")
    destinations: tuple[str, ...] | None = Field(default=None, description="for which destinations; default: all")
    increment: Increment | None = Field(
        default=None, description="seconds in which they are used; default: as the rate"
    )


class FreePagesModel(Section):
    """Fax pages of every calendar month that cost no credit."""

    pages: Annotated[int, whole(0, PIECES_MAX, "pages")] = Field(description="a whole number of pages")
    destinations: tuple[str, ...] | None = Field(default=None, description="to which destinations; default: all")


class PackModel(Section):
    """Minutes, fax pages or messages with an end of their own, beside those of each month."""

    title: Text | None = Field(default=None, description="what customers call it")
    minutes: Annotated[int, whole(1, MINUTES_MAX, "minutes")] | None = Field(
        default=None, description="how many minutes one has"
    )
    fax_pages: Annotated[int, whole(1, PIECES_MAX, "pages")] | None = Field(
        default=None, description="instead of minutes: how many fax pages one has"
    )
    messages: Annotated[int, whole(1, PIECES_MAX, "messages")] | None = Field(
        default=None, description="instead of minutes: how many paid voicemail messages one has"
    )
    days: Annotated[int, whole(1, 3660, "days")] = Field(
        description="how long one lasts; the day on which it is given is the first"
    )
    destinations: tuple[str, ...] | None = Field(default=None, description="for which destinations; default: all")
    increment: Increment | None = Field(
        default=None, description="seconds in which they are used; default: as the rate"
    )
    order: Annotated[int, whole(1, 99, "a place in the order")] = Field(
        default=MONTH_ORDER, description="lower pays earlier; each month's free minutes and pieces have 50"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [name for name in ("minutes", "fax_pages", "messages") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise refusal("one of minutes, fax_pages and messages", found=" and ".join(kinds) or "none of them")
        if self.minutes is None and self.increment is not None:
            raise refusal("an increment with minutes alone", found=f"an increment of {kinds[0]}")
        if self.messages is not None and self.destinations is not None:
            raise refusal("destinations with minutes or fax_pages alone", found="destinations of messages")
        return self


class VoicemailModel(Section):
    """What a voicemail message costs (R3, R6, R7)."""

    paid: YesNo = Field(description="yes or no")
    price: Euro = Field(default=0, description="euros for a message")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.paid and not self.price:
            raise refusal("the price of a message, since voicemail is paid", found="no price")
        return self


class PlanModel(Section):
    """What a subscriber buys."""

    title: Text | None = Field(default=None, description="what customers call it")
    rates: str = Field(description="the name of a rate table")
    paid_subscription: YesNo = Field(description="yes or no: whether credit stays valid while it is paid (R18)")
    free_minutes: FreeMinutesModel | None = Field(default=None, description="minutes of every calendar month")
    free_fax_pages: FreePagesModel | None = Field(default=None, description="fax pages of every calendar month")
    free_messages: Annotated[int, whole(0, PIECES_MAX, "messages")] = Field(
        default=0, description="messages of every calendar month that cost nothing where voicemail is paid"
    )
    voicemail: VoicemailModel = Field(description="whether voicemail is paid, and its price")
    calls_at_once: Annotated[int, whole(1, 1000, "calls")] = Field(
        default=2, description="calls of one account at once"
    )
    credit_a_day: Euro | None = Field(
        default=None, description="euros that calls, paid messages and faxes by mail of one account may use in a day"
    )
    max_call_s: Seconds = Field(default=14_400, description="seconds after which any call ends")
    low_credit: Euro = Field(default=0, description="euros below which the subscriber is told to top up (R15)")
    low_free_minutes: Minutes = Field(default=0, description="free minutes that are nearly none (R16)")


class TariffModel(Section):
    """The whole file."""

    revision: Revision = Field(description="a name of this edition, such as 2026-11")
    zone: Zone = Field(description="the operator's time zone, such as Europe/Amsterdam")
    region: Region = Field(description="the country whose national numbers are understood, such as NL")
    vat: VatModel = Field(description="the tax: percent, changes and included")
    rounding: RoundingModel = RoundingModel()
    top_up: TopUpModel = TopUpModel()
    expiry: ExpiryModel = ExpiryModel()
    holidays: tuple[Day, ...] = Field(default=(), description="days that are no day of the week but a holiday")
    bands: dict[Name, tuple[WindowModel, ...]] = Field(default_factory=dict, description="time bands, by name")
    destinations: dict[Name, DestinationModel] = Field(description="the sets of numbers that are known")
    rates: dict[Name, TableModel] = Field(description="the rate tables")
    plans: dict[Name, PlanModel] = Field(description="the plans")
    packs: dict[Name, PackModel] = Field(
        default_factory=dict,
        description="minutes or pieces with an end that accounts can be given; one that some have left stays",
    )
