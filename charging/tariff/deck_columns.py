"""The columns of a rate deck: under which names they come, how a field of each is read, and what else may stand there.

A column that may hold money or time is understood or refused, never passed over: in a column that is not known no field
may hold a number other than 0, unless people alone read it (:data:`FOR_PEOPLE`, or a name that begins with ``#``).
Each reader takes a field's text and raises `Refused` where it cannot be read.

The names are those of price lists in the wild, among them the imports and exports of A2Billing, ASTPP, DIDWW, Freeside,
Kazoo, PortaSwitch, Sippy, Twilio and Yeastar; each has a deck in ``tests/data/decks``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

import phonenumbers

from charging.pricing.money import MoneyError, parse_euro
from charging.tariff.deck_words import NO, YES, is_minute, name_says_prices

PRICE_MAX = 10_000 * 1_000_000

COLUMNS = {
    "prefix": (
        "prefix",
        "prefixes",
        "match prefix",
        "dial prefix",
        "dialprefix",
        "code",
        "codes",
        "dial code",
        "dial codes",
        "dialcode",
        "dst code",
        "destination code",
        "dialled digits",
        "dialed digits",
        "digits",
        "prefix number",
        "kengetal",
    ),
    "name": (
        "name",
        "destination",
        "destination name",
        "description",
        "code name",
        "prefix name",
        "prefixname",
        "area name",
        "bestemming",
        "omschrijving",
    ),
    "price": (
        "price",
        "rate",
        "price per minute",
        "price / min",
        "price/min",
        "rate per minute",
        "rate / min",
        "rate/min",
        "rate cost",
        "rateinitial",
        "cost/min",
        "per minute cost",
        "cost per minute",
        "price per min",
        "rate per min",
        "per min rate",
        "per minute rate",
        "price next",
        "price n",
        "prijs",
        "tarief",
        "prijs per minuut",
    ),
    "increments": (
        "increments",
        "increment",
        "billing increment",
        "billing increments",
        "billing",
        "interval",
        "rate increment",
        "rateincrement",
        "eenheid",
    ),
    "first_increment": (
        "first increment",
        "first interval",
        "interval first",
        "interval 1",
        "initial increment",
        "initial interval",
        "initial period",
        "initial duration",
        "initblock",
        "init block",
        "rate minimum",
        "minimum duration",
        "min duration",
        "minimal time",
        "minimum time",
        "min time",
    ),
    "next_increment": (
        "next increment",
        "next interval",
        "interval next",
        "interval n",
        "further increment",
        "recurring increment",
        "subsequent increment",
        "subsequent interval",
        "additional increment",
        "additional interval",
        "additional duration",
        "billingblock",
        "billing block",
    ),
    "connect_fee": (
        "connect fee",
        "connect charge",
        "connect cost",
        "connectcharge",
        "connectfee",
        "connection fee",
        "connection charge",
        "connection cost",
        "setup fee",
        "setup charge",
        "setup cost",
        "call setup fee",
        "flag fall",
        "rate surcharge",
        "starttarief",
    ),
    "first_price": ("price first", "price 1"),
    "min_charge": ("minimum charge", "min charge", "minimum price", "minimum cost"),
    "fax_page": ("fax page", "fax price", "fax price per page", "price per fax page", "faxprijs per pagina"),
    "valid_from": (
        "valid from",
        "effective",
        "effective date",
        "effective from",
        "start date",
        "startdate",
        "date start",
        "activation date",
        "ingangsdatum",
    ),
    "valid_to": (
        "valid to",
        "valid until",
        "valid till",
        "valid through",
        "effective to",
        "effective until",
        "effective till",
        "effective end date",
        "end date",
        "enddate",
        "date end",
        "stop date",
        "stopdate",
        "expires",
        "expiry",
        "expiry date",
        "expiration date",
        "einddatum",
        "geldig tot",
    ),
    "currency": ("currency", "curr", "ccy", "valuta", "munt"),
    "unit": ("unit", "per", "price unit", "rate unit", "rateunit", "price per unit", "rate per unit"),
    "country_code": ("country code", "countrycode", "landcode"),
}
"""Our name of a column, and the names under which it comes (small letters; ``_`` and spaces are the same)."""

NEEDED = ("prefix", "price")

KEYS = {name: key for key, known in COLUMNS.items() for name in known}

PRICES = frozenset({"price", "first_price"})
"""Of a minute."""

MONEY = PRICES | {"connect_fee", "min_charge", "fax_page"}

MEASURES = frozenset(
    "id no nr row line iso iso2 iso3 mcc mnc mccmnc asr acd pdd priority precedence weight version".split()
) | {
    "iso code",
    "iso country code",
    "number length",
    "old rate",
    "old price",
    "previous rate",
    "previous price",
    "% change",
    "rate change",
    "last updated",
}
"""Columns of numbers that are no part of the price in force."""

NAMES = frozenset("country land network operator carrier vendor region location".split()) | {
    "country name",
    "carrier name",
}
"""Columns of names of companies and places."""

WORDS = frozenset(
    "comment comments note notes remark remarks opmerking opmerkingen category type level tier quality route direction"
    " change".split()
) | {"route type"}
"""Columns of words. What these say of prices is no price that is charged."""

FOR_PEOPLE = MEASURES | NAMES | WORDS
"""What they hold is no part of the price in force."""

_MIDNIGHT = r"(?:[ T]00:00(?::00(?:\.0+)?)?)?"
_DATE = re.compile(
    r"(?:([0-9]{4})([-/]?)([0-9]{2})\2([0-9]{2})|([0-9]{1,2})([-.])([0-9]{1,2})[-.]([0-9]{4}))" + _MIDNIGHT
)
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DUTCH_MONTHS = {"maa": "mar", "mrt": "mar", "mei": "may", "okt": "oct"}
_NAMED_MONTH = re.compile(
    r"(?:(?P<day>[0-9]{1,2})[ -](?P<month>[a-z]{3,9})\.?[ -](?P<year>[0-9]{4})"
    r"|(?P<month2>[a-z]{3,9})\.? (?P<day2>[0-9]{1,2}),? (?P<year2>[0-9]{4})"
    r"|(?P<year3>[0-9]{4})-(?P<month3>[a-z]{3,9})-(?P<day3>[0-9]{1,2}))" + _MIDNIGHT,
    re.IGNORECASE | re.ASCII,
)
_MONTHS = re.compile(
    "jan(?:uary|uari)?|feb(?:ruary|ruari)?|mar(?:ch)?|maart|mrt|apr(?:il)?|may|mei|june?|juni|july?|juli"
    "|aug(?:ust|ustus)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|dec(?:ember)?",
    re.IGNORECASE,
)
_AS_TEXT = re.compile(r'="([0-9+]*)"')
"""As spreadsheets keep the zeros of a number."""
_RANGE = re.compile(r"([1-9][0-9]{0,14}) ?- ?([1-9][0-9]{0,14})")
NAME_MAX = 200
"""Characters; more are left out. Each call keeps the name."""
RANGE_MAX = 10_000
"""Prefixes of one range, and of one field."""


class Refused(Exception):
    """A field cannot be read; carries what was expected, and a hint."""

    def __init__(self, expected: str, hint: str = "") -> None:
        self.expected = expected
        self.hint = hint


FLAGS = frozenset(
    {
        "forbidden",
        "blocked",
        "reject calls",
        "rejected",
        "discontinued",
        "deleted",
        "disabled",
        "closed",
        "hidden",
    }
)
"""Columns that say that a row is no offer."""

OFFERS = frozenset("active enabled available open offered allowed routable".split())
"""Columns that say that a row is one."""

_IN_EUROS = re.compile(
    r" ?[\[(]?(?: ?\b(?:in )?(?:eur|euros?)\b| ?€)(?P<minute> ?(?:/|per|p/) ?(?:min|minute|minuut))?[\])]?$"
)
_A_MINUTE = re.compile(r" [\[(](?:per |/ ?)(?:min|minute|minuut)[\])]$")


def plain_name(name: str) -> str:
    """A column's name as :data:`COLUMNS` spells it."""
    plain = re.sub(r"[\s_]+", " ", name.strip().lower())
    if plain in KEYS:
        return plain
    in_euros = _IN_EUROS.search(plain)
    bare = plain[: in_euros.start()] if in_euros else _A_MINUTE.sub("", plain)
    key = KEYS.get(bare)
    is_a_minute = not in_euros or bool(in_euros["minute"])
    return bare if key in MONEY and (key in PRICES or not is_a_minute) else plain


def is_for_people(plain: str) -> bool:
    """Whether a column holds nothing that is charged."""
    return plain in FOR_PEOPLE or plain.startswith("#")


def prefixes(text: str) -> tuple[str, ...]:
    """One prefix or several (``31, 3120``; ``32484-32487``), each with ``+``."""
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= 15:
        return ("+" + text,)
    text = _AS_TEXT.sub(r"\1", text)
    parts = re.split(r"[,;|]", text)
    if len(parts) > 1 and any(" " in part.strip() for part in parts):
        # "61 38,39" is Melbourne and another of Australia to some, Melbourne and Italy to others.
        raise Refused("prefixes that are each written out", "61 38,39 may mean 6138 and 6139: write both")
    if len(parts) > 1 and (short := _shortened(parts)):
        hint = f"{short} may be the end of another one: write it out, or with + where it is a country's own"
        raise Refused("prefixes that are each written out", hint)
    found: list[str] = []
    for part in parts:
        between = _RANGE.fullmatch(part.strip())
        found.extend(_range(between[1], between[2]) if between else [_prefix(part)])
        if len(found) > RANGE_MAX:
            raise Refused(f"at most {RANGE_MAX} prefixes in a row")
    return tuple(found)


def _shortened(parts: Sequence[str]) -> str:
    """Of a list, what is shorter than its first and of another country: 3212,13 may mean 3212 and 3213."""
    first, *others = (part.strip() for part in parts)
    code = _country(first)
    return next((one for one in others if one.isdigit() and len(one) < len(first) and _country(one) != code), "")


def _country(digits: str) -> str:
    """The calling code with which they begin; empty: none."""
    digits = digits.removeprefix("+").removeprefix("00")
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((digits[:end] for end in (1, 2, 3) if digits[:end].isdecimal() and int(digits[:end]) in codes), "")


def _range(first: str, last: str) -> list[str]:
    if len(first) != len(last) or not 0 <= int(last) - int(first) < RANGE_MAX:
        raise Refused(f"a range of at most {RANGE_MAX} prefixes of one length, such as 32484-32487")
    return [f"+{number}" for number in range(int(first), int(last) + 1)]


def _prefix(text: str) -> str:
    begun, *rest = text.split(" ")
    others = [one for one in rest if one]
    are_two = begun.removeprefix("+").removeprefix("00") != _country(begun) or any(
        one == _country(one) for one in others
    )
    if others and are_two and begun != "00":
        raise Refused("one prefix, or several with a comma between", f"{text} may be two: write 81, 82 or 8182")
    digits = text.replace(" ", "")
    digits = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    if not re.fullmatch(r"[1-9][0-9]{0,14}", digits, re.ASCII):
        hint = "a spreadsheet wrote it as a rounded number" if "E+" in text.upper() else ""
        raise Refused("a prefix with its country code, such as 31612", hint)
    return "+" + digits


def shown_name(text: str) -> str:
    """What people call the destination: on one line, without signs that move a cursor, as long as a bill shows."""
    if name_says_prices(text):
        hint = "the name says that the price is meant otherwise: convert it, then say so no more"
        raise Refused("a name that says nothing of prices", hint)
    shown = text[: 4 * NAME_MAX]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else " " for one in shown)
    return " ".join(shown.split())[:NAME_MAX].rstrip()


def price(text: str) -> int:
    """Micro-euro. Zeros beyond the sixth decimal are none: 0.09000000 is a price."""
    number = re.sub(r"^(?:€|EUR)|(?:€|EUR)$", "", text, flags=re.IGNORECASE).strip()
    number = re.sub(r"([.,][0-9]{6})0+$", r"\1", number)
    try:
        amount = parse_euro(number)
    except MoneyError as error:
        raise Refused(error.expected, _price_hint(text)) from None
    if amount > PRICE_MAX:
        raise Refused("at most 10000.00")
    return amount


def _price_hint(text: str) -> str:
    if text and not any(map(str.isdigit, text)):
        return "delete the row where there is no offer"
    return "a spreadsheet wrote it so: give the column a format of numbers" if re.search("[0-9][eE][+-]", text) else ""


def increments(text: str) -> tuple[int, int]:
    """``60/1``, or one number for both; seconds."""
    parts = [part.strip().removesuffix("s") for part in text.split("/")]
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,4}", part) and 1 <= int(part) <= 3600 for part in parts):
        raise Refused("increments in seconds such as 60/1, or 60 for both")
    return int(parts[0]), int(parts[-1])


def first_increment(text: str) -> int:
    """Seconds; 0: like the further ones."""
    text = text.removesuffix("s")
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > 3600:
        raise Refused("seconds of the first increment, 0 to 3600")
    return int(text)


def next_increment(text: str) -> int:
    """Seconds."""
    text = text.removesuffix("s")
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= 3600:
        raise Refused("seconds of each further increment, 1 to 3600")
    return int(text)


def day(text: str) -> date:
    """2026-12-01, 20261201, 2026/12/01; with the day first, 1-12-2026 or 1.12.2026; or with a month's name."""
    match = _DATE.fullmatch(text)
    named = None if match else _NAMED_MONTH.fullmatch(text)
    try:
        if match and match[1]:
            return date(int(match[1]), int(match[3]), int(match[4]))
        if match:
            return date(int(match[8]), int(match[7]), int(match[5]))
        if named:
            year, month, number = (
                next(filter(None, (named[key], named[f"{key}2"], named[f"{key}3"]))) for key in ("year", "month", "day")
            )
            return date(int(year), _month(month), int(number))
    except ValueError:
        pass
    raise Refused("a date such as 2026-12-01, 1-12-2026 or 1 Dec 2026", _day_hint(text))


def _month(name: str) -> int:
    """Raises ValueError."""
    short = name[:3].lower()
    return _MONTH_NAMES.index(_DUTCH_MONTHS.get(short, short)) + 1 if _MONTHS.fullmatch(name) else 0


def _day_hint(text: str) -> str:
    match = _DATE.fullmatch(text)
    if match and match[5] and int(match[7]) > 12 >= int(match[5]):
        return "the month seems to come first in this file: write the year first, such as 2026-12-31"
    if re.search("[0-9]:[0-9]|[0-9]Z$", text):
        return "a price counts from a day's beginning: leave the hour out"
    if "/" in text:
        return "with slashes nobody knows which is the month"
    if text.isdecimal():
        return "a spreadsheet wrote it as a number: give the column a format of dates"
    if re.search("[^0-9][0-9]{1,2}[-. ][0-9]{2}$|^[0-9]{1,2}[-. ].*[-. ][0-9]{2}$", text) and not text[:4].isdigit():
        return "write all four digits of the year"
    return "" if any(map(str.isdigit, text)) else "leave it empty where the price counts already"


def is_month_or_day_first(text: str) -> bool:
    """Whether a date can be read with the month first as well, and is another day then."""
    match = _DATE.fullmatch(text)
    return bool(match and match[6] == "-" and int(match[5]) <= 12 and int(match[5]) != int(match[7]))


_NO_END = re.compile(r"(?:0000-00-00|9999-12-31)(?:[ T][0-9:]{5,8})?|null|none|never|n/a|-", re.IGNORECASE)


def never_ends(text: str) -> str:
    """No row may end: whether the day itself still counts differs from carrier to carrier. Some write that there is no
    end."""
    if _NO_END.fullmatch(text):
        return ""
    raise Refused("no day on which a price ends", "give the price that follows with its valid_from, or delete the row")


def currency(text: str) -> str:
    """Euros, by any of their names; 978 is theirs in ISO 4217."""
    if text.upper() not in ("EUR", "EURO", "€", "978"):
        raise Refused("EUR", "prices are in euros: convert them")
    return text


def unit(text: str) -> str:
    """A minute, by any of its names: of what prices are."""
    if not is_minute(text):
        raise Refused("a minute, of which prices are", "convert them")
    return text


def country_code(text: str) -> str:
    """Digits with ``+``; the empty text for what is none, such as NL."""
    digits = text.removeprefix("+").removeprefix("00")
    return "+" + digits if digits.isascii() and digits.isdigit() else ""


def offered(name: str, text: str) -> None:
    """Raises Refused where a field of one of :data:`FLAGS`, or of :data:`OFFERS`, says that the row is no offer."""
    if text.lower() not in (YES if name in OFFERS else NO):
        hint = "delete the row; where no call may go there, give the tariff a destination with refuse: blocked"
        raise Refused("no row that the carrier does not carry", hint)


READERS: tuple[tuple[str, Callable[[str], object], object], ...] = (
    ("prefix", prefixes, None),
    ("name", shown_name, ""),
    ("price", price, None),
    ("first_price", price, None),
    ("increments", increments, None),
    ("first_increment", first_increment, None),
    ("next_increment", next_increment, None),
    ("connect_fee", price, 0),
    ("min_charge", price, 0),
    ("fax_page", price, None),
    ("valid_from", day, date.min),
    ("valid_to", never_ends, ""),
    ("currency", currency, ""),
    ("unit", unit, ""),
    ("country_code", country_code, ""),
)
"""How a field of each column is read, and what an empty one means."""
