"""The columns of a rate deck: under which names they come, how a field of each is read, and what else may stand there.

A column that may hold money or time is understood or refused, never passed over: in a column that is not known no field
may hold a number other than 0, unless people alone read it (:data:`FOR_PEOPLE`, or a name that begins with ``#``).

The names are those of price lists in the wild, among them the imports and exports of A2Billing, ASTPP, DIDWW, Freeside,
Kazoo, PortaSwitch, Sippy, Twilio and Yeastar; each has a deck in ``tests/data/decks``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import phonenumbers

from charging.pricing.money import MoneyError, parse_euro

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
        "kengetal",
    ),
    "name": ("name", "destination", "destination name", "description", "bestemming", "omschrijving"),
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
        "price next",
        "price n",
        "prijs",
        "tarief",
        "prijs per minuut",
    ),
    "increments": ("increments", "increment", "billing increment", "billing", "interval", "rate increment", "eenheid"),
    "first_increment": (
        "first increment",
        "first interval",
        "interval first",
        "interval 1",
        "initial increment",
        "initial interval",
        "initial period",
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
        "billingblock",
        "billing block",
    ),
    "connect_fee": (
        "connect fee",
        "connect charge",
        "connect cost",
        "connectcharge",
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
        "expires",
        "expiry",
        "expiry date",
        "expiration date",
        "einddatum",
        "geldig tot",
    ),
    "currency": ("currency", "curr", "ccy", "valuta", "munt"),
    "unit": ("unit", "per", "price unit", "rate unit", "price per unit", "rate per unit"),
    "country_code": ("country code", "countrycode", "landcode"),
}
"""Our name of a column, and the names under which it comes (small letters; ``_`` and spaces are the same)."""

NEEDED = ("prefix", "price")

KEYS = {name: key for key, known in COLUMNS.items() for name in known}

MONEY = frozenset({"price", "first_price", "connect_fee", "min_charge", "fax_page"})

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

WORDS = frozenset(
    "comment comments note notes remark remarks opmerking opmerkingen country land category network operator carrier "
    "vendor region type level tier quality route direction change".split()
) | {"country name", "carrier name", "route type"}
"""Columns of words. What these say of prices is no price that is charged."""

FOR_PEOPLE = MEASURES | WORDS
"""What they hold is no part of the price in force."""

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]00:00(?::00)?)?|([0-9]{1,2})([-.])([0-9]{1,2})[-.]([0-9]{4})"
)
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

_NO = frozenset(("", "0", "n", "no", "nee", "false", "none", "-"))
_YES = frozenset("1 y yes ja true x active enabled available open offered allowed routable ok".split()) | {""}
_MINUTES = frozenset(("minute", "minutes", "min", "minuut", "1 minute", "1 min", "60", "60 s", "60 sec", "60 seconds"))
_REMOVED = frozenset(
    "delete deleted remove removed discontinued closed blocked forbidden inactive disabled suspended unavailable barred"
    " expired ended withdrawn cancelled canceled obsolete stopped terminated rejected pending inbound incoming".split()
) | {"not available", "not offered", "not supported", "not carried", "out of service", "no service", "end of life"}
_PRICING = frozenset(
    "unit per mode billing rounding round grace discount rebate money currency rate price cost charge fee tax vat btw"
    " surcharge markup minimum min maximum max time period duration second seconds minute minutes increment interval"
    " peak weekend evening night effective expiry valid prijs tarief kosten toeslag"
    " origin originating origination cli".split()
)
"""Words in a column's name by which what stands there has to do with money or time, or with who calls: some carriers
ask more for calls that come from afar."""

_EVERYONE = frozenset(("all", "any", "*", "default", "standard"))

_ELSEWHERE = re.compile(
    r"\b(?:USD|GBP|CHF|DKK|SEK|NOK|PLN|AUD|CAD|JPY|INR|CNY|dollars?|pence|(?:euro ?)?(?:cents?|centen)|ct|mills?)\b"
    r"|[$£¥¢]",
    re.IGNORECASE,
)
_PER = re.compile(r"(?:\bper|/)\s?(?:s|sec|secs|seconds?|seconden?|call|gesprek|hour|uur|h)\b", re.IGNORECASE)
_PER_WORD = re.compile(r"\bper\s(?:sec|secs|seconds?|seconden?|call|gesprek|hour|uur)\b", re.IGNORECASE)
_AMOUNT_IN_NAME = re.compile("[0-9][.,][0-9]")
_TIME = re.compile(r"(?:s|sec|secs|seconds?|seconden?|calls?|hours?|uur|h)", re.IGNORECASE)
_TERMS = re.compile(
    r"\b(?:set-?up|surcharge|toeslag|connect\w*|starttarief|fee|minimum|increments?|interval|billed|effective|valid"
    r"|ingang\w*|geldig|until|till)\b",
    re.IGNORECASE,
)
"""Words for what is charged besides the price, or from when on: with a number they say it."""
_AMOUNT = re.compile(r"€|\bEUR\b|[0-9][.,][0-9]{2}", re.IGNORECASE)
_SHARE = re.compile(r"[+-]?[0-9]{1,3}([.,][0-9]+)?\s?%", re.ASCII)
"""By how much a price has changed, or how many calls come through."""
_MONTHS = (
    "(?:jan(?:uary|uari)?|feb(?:ruary|ruari)?|mar(?:ch)?|maart|mrt|apr(?:il)?|may|mei|june?|juni|july?|juli"
    r"|aug(?:ust|ustus)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![a-z])"
)
_MOMENT = re.compile(
    r"\b(?:1|6|10|12|15|18|20|30|60|120|180)/(?:1|6|10|12|15|18|20|30|60|120|180)\b"
    r"|\b(?:min|max)(?:imum|imaal)?\b[.:]?\s?[0-9]"
    rf"|\b(?:from|vanaf|ab|as of|since|starting|per)\s+(?:the\s+)?(?:[0-9]{{1,2}}[ ./-](?:[0-9]|{_MONTHS})|{_MONTHS})",
    re.IGNORECASE,
)
"""Increments, a least or longest time, or from which day on."""
_NO_CALL = re.compile(r"\b(?:sms|mms|inbound|incoming)\b", re.IGNORECASE)
"""What a row is of that prices no calls of ours."""


def plain_name(name: str) -> str:
    """A column's name as :data:`COLUMNS` spells it."""
    return re.sub(r"[\s_]+", " ", name.strip().lower())


def is_for_people(plain: str) -> bool:
    """Whether a column holds nothing that is charged."""
    return plain in FOR_PEOPLE or plain.startswith("#")


@lru_cache(maxsize=4096)
def may_be_charged(text: str, name: str = "") -> bool:
    """Whether a field of an unknown column may be money or time: there is a number in it other than 0, or a word for
    either; or the column's name has one, and the field says anything."""
    if text.lower() in _NO or not text.strip("0.,"):
        return False
    if _has_number(text) or _ELSEWHERE.search(text) or _PER.search(text) or _TIME.fullmatch(text):
        return True
    says_all = _is_minute(text) or text.lower() in _EVERYONE
    return not says_all and not _PRICING.isdisjoint(re.split(r"\W+", name))


@lru_cache(maxsize=4096)
def changes_prices(text: str) -> bool:
    """Whether words beside the prices (a title, a remark) say that these are meant otherwise than they are read: in
    another currency or unit, with fees or increments, or from a day on."""
    return bool(_ELSEWHERE.search(text) or _PER.search(text) or (_TERMS.search(text) and _has_number(text)))


@lru_cache(maxsize=4096)
def speaks_of_prices(text: str) -> bool:
    """Whether a remark beside a row's price says an amount, increments or a day: it may be another price, or another
    day, than what is read."""
    if _SHARE.fullmatch(text):
        return False
    return changes_prices(text) or bool(_AMOUNT.search(text) or _MOMENT.search(text))


def _has_number(text: str) -> bool:
    return any(digit in text for digit in "123456789")


def says_removed(text: str) -> bool:
    """Whether a field of a column that is not charged says that its row is no offer of calls (any more)."""
    return text.lower() in _REMOVED or bool(_NO_CALL.search(text))


def prefixes(text: str) -> tuple[str, ...]:
    """One prefix or several (``31, 3120``; ``32484-32487``), each with ``+``."""
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= 15:
        return ("+" + text,)
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
    if rest and any(rest) and begun.removeprefix("+").removeprefix("00") != _country(begun):
        raise Refused("one prefix, or several with a comma between", f"{text} may be two: write 81, 82 or 8182")
    digits = text.replace(" ", "")
    digits = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    if not re.fullmatch(r"[1-9][0-9]{0,14}", digits, re.ASCII):
        hint = "a spreadsheet wrote it as a rounded number" if "E+" in text.upper() else ""
        raise Refused("a prefix with its country code, such as 31612", hint)
    return "+" + digits


def shown_name(text: str) -> str:
    """What people call the destination: on one line, without signs that move a cursor, as long as a bill shows."""
    amount = ("." in text or "," in text) and _AMOUNT_IN_NAME.search(text)
    if ("per" in text.lower() and _PER_WORD.search(text)) or (amount and _TERMS.search(text)):
        hint = "the name says that the price is meant otherwise: convert it, then say so no more"
        raise Refused("a name that says nothing of prices", hint)
    shown = text[: 4 * NAME_MAX]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else " " for one in shown)
    return " ".join(shown.split())[:NAME_MAX].rstrip()


def price(text: str) -> int:
    """Micro-euro. Zeros beyond the sixth decimal are none: 0.09000000 is a price."""
    number = re.sub(r"^(?:€|EUR)|(?:€|EUR)$", "", text).strip()
    number = re.sub(r"([.,][0-9]{6})0+$", r"\1", number)
    try:
        amount = parse_euro(number)
    except MoneyError as error:
        raise Refused(error.expected) from None
    if amount > PRICE_MAX:
        raise Refused("at most 10000.00")
    return amount


def increments(text: str) -> tuple[int, int]:
    """``60/1``, or one number for both; seconds."""
    parts = [part.strip() for part in text.split("/")]
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,4}", part) and 1 <= int(part) <= 3600 for part in parts):
        raise Refused("increments in seconds such as 60/1, or 60 for both")
    return int(parts[0]), int(parts[-1])


def first_increment(text: str) -> int:
    """Seconds; 0: like the further ones."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > 3600:
        raise Refused("seconds of the first increment, 0 to 3600")
    return int(text)


def next_increment(text: str) -> int:
    """Seconds."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= 3600:
        raise Refused("seconds of each further increment, 1 to 3600")
    return int(text)


def day(text: str) -> date:
    """2026-12-01, or with the day first: 1-12-2026 or 1.12.2026."""
    match = _DATE.fullmatch(text)
    try:
        if match and match[1]:
            return date(int(match[1]), int(match[2]), int(match[3]))
        if match:
            return date(int(match[7]), int(match[6]), int(match[4]))
    except ValueError:
        pass
    hint = "with slashes nobody knows which is the month" if "/" in text else ""
    if match and match[4] and int(match[6]) > 12 >= int(match[4]):
        hint = "the month seems to come first in this file: write the year first, such as 2026-12-31"
    raise Refused("a date such as 2026-12-01 or 1-12-2026", hint)


def is_month_or_day_first(text: str) -> bool:
    """Whether a date can be read with the month first as well, and is another day then."""
    match = _DATE.fullmatch(text)
    return bool(match and match[5] == "-" and match[4] and int(match[4]) <= 12 and int(match[4]) != int(match[6]))


def never_ends(_text: str) -> str:
    """No row may end: whether the day itself still counts differs from carrier to carrier."""
    raise Refused("no day on which a price ends", "give the price that follows with its valid_from, or delete the row")


def currency(text: str) -> str:
    """Euros, by any of their names."""
    if text.upper() not in ("EUR", "EURO", "€"):
        raise Refused("EUR", "prices are in euros: convert them")
    return text


def _is_minute(text: str) -> bool:
    plain = re.sub(r"^(?:(?:€|eur|euro)\s?)?(?:per |/)\s?", "", text.lower())
    return plain in _MINUTES


def unit(text: str) -> str:
    """A minute, by any of its names: of what prices are."""
    if not _is_minute(text):
        raise Refused("a minute, of which prices are", "convert them")
    return text


def country_code(text: str) -> str:
    """Digits with ``+``; the empty text for what is none, such as NL."""
    digits = text.removeprefix("+").removeprefix("00")
    return "+" + digits if digits.isascii() and digits.isdigit() else ""


def offered(name: str, text: str) -> None:
    """Raises Refused where a field of one of :data:`FLAGS`, or of :data:`OFFERS`, says that the row is no offer."""
    if text.lower() not in (_YES if name in OFFERS else _NO):
        hint = "delete the row; where no call may go there, give the tariff a destination with refuse: blocked"
        raise Refused("no row that the carrier does not carry", hint)
