"""What words in a rate deck say beside its prices: that these are meant otherwise than they are read, or that a row is
no offer. Pure.

What may hold money or time is refused, so a word is harmless only if it can hardly say either. A remark with an amount,
with seconds, with hours or days of the week, with a date, or about VAT is none.
"""

from __future__ import annotations

import re
from functools import lru_cache

NO = frozenset(("", "0", "n", "no", "nee", "false", "none", "-", "0s"))
YES = frozenset("1 y yes ja true x active enabled available open offered allowed routable ok".split()) | {""}
_MINUTES = frozenset(
    ("minute", "minutes", "min", "minuut", "1 minute", "1 min", "60", "60s", "60 s", "60 sec", "60 seconds")
)
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

_CURRENCY = r"\b(?:USD|GBP|CHF|DKK|SEK|NOK|PLN|AUD|CAD|JPY|INR|CNY)\b|[$£¥¢]"
_ELSEWHERE = re.compile(
    _CURRENCY + r"|\b(?:dollars?|pence|(?:euro ?)?(?:cents?|centen)|ct|mills?)\b",
    re.IGNORECASE,
)
_PER = re.compile(
    r"(?:\bper|/)\s?(?:s|sec|secs|seconds?|seconden?|call(?!\s?cent)|gesprek|hour|uur|h)\b", re.IGNORECASE
)
_PER_WORD = re.compile(r"\bper\s(?:sec|secs|seconds?|seconden?|call(?!\s?cent)|gesprek|hour|uur)\b", re.IGNORECASE)
_VAT = re.compile(r"\b(?:vat|btw|b\.t\.w|tva|iva|moms|mwst|ust|gst|tax(?:es)?|nett?o|bruto|brutto)\b", re.IGNORECASE)
_VAT_IN_NAME = re.compile(r"\b(?:vat|btw|tva|mwst)\b", re.IGNORECASE)
_WHEN = re.compile(
    r"\b(?:off[- ]?peak|peak|daluren|piekuren|week-?ends?|evenings?|nights?|daytime|avond|nacht"
    r"|weekdays?|workdays?|working days?|werkdagen|business hours|holidays?"
    r"|(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?s?\s?[-–/,&]\s?(?:mon|tue|wed|thu|fri|sat|sun)\w*"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b",
    re.IGNORECASE,
)
"""At which hours, or on which days of the week."""
_TIME = re.compile(r"(?:s|sec|secs|seconds?|seconden?|calls?|hours?|uur|h)", re.IGNORECASE)
_SECONDS = re.compile(r"\b[0-9]+\s?(?:s|secs?|seconds?|seconden?|mins?|minutes?|minuut|minuten)\b", re.IGNORECASE)
_TERMS = re.compile(
    r"\b(?:set-?up|surcharge|toeslag|connect|connection|starttarief|fee|minimum|increments?|interval|billed|effective"
    r"|valid|ingang\w*|geldig|until|till)\b",
    re.IGNORECASE,
)
"""Words for what is charged besides the price, or from when on: with a number they say it."""
_AMOUNT = re.compile(r"€|\bEUR\b|[0-9][.,][0-9]{2}|(?<![\w.,])[0-9]+[.,][0-9](?!\w)", re.IGNORECASE)
_AMOUNT_IN_NAME = re.compile("[0-9][.,][0-9]")
_SHARE = re.compile(r"[+-]?\b[0-9]{1,3}(?:[.,][0-9]+)?\s?%", re.ASCII)
"""By how much a price has changed, or how many calls come through."""
_EDITION = re.compile(r"\b(?:v|version|versie|rev|rel|release|edition)\.?\s?[0-9]+(?:\.[0-9]+)*\b", re.IGNORECASE)
_MONTHS = (
    "(?:jan(?:uary|uari)?|feb(?:ruary|ruari)?|mar(?:ch)?|maart|mrt|apr(?:il)?|may|mei|june?|juni|july?|juli"
    r"|aug(?:ust|ustus)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![a-z])"
)
_DATE = (
    r"(?:[0-9]{4}[-./][0-9]{1,2}[-./][0-9]{1,2}|[0-9]{1,2}[-./][0-9]{1,2}[-./][0-9]{2,4}"
    rf"|[0-9]{{1,2}}[ -]{_MONTHS}[ -][0-9]{{2,4}})"
)
_DAY = re.compile(rf"\b{_DATE}\b", re.IGNORECASE)
_PAST = re.compile(
    r"\b(?:checked|verified|reviewed|tested|confirmed|updated|last seen|added|created|ticket|case|order"
    rf"|gecontroleerd|bijgewerkt|toegevoegd)\b[ :#]*(?:on |op )?{_DATE}",
    re.IGNORECASE,
)
"""When something was done that changes no price."""
_INCREMENTS = r"\b(?:1|6|10|12|15|18|20|30|60|120|180)/(?:1|6|10|12|15|18|20|30|60|120|180)\b"
_INCREMENTS_IN_NAME = re.compile(_INCREMENTS)
_MOMENT = re.compile(
    _INCREMENTS + r"|\b(?:min|max)(?:imum|imaal)?\b[.:]?\s?[0-9]"
    rf"|\b(?:from|vanaf|ab|as of|since|starting|per)\s+(?:the\s+)?(?:[0-9]{{1,2}}[ ./-](?:[0-9]|{_MONTHS})|{_MONTHS})",
    re.IGNORECASE,
)
"""Increments, a least or longest time, or from which day on."""
_NO_CALL = re.compile(r"\b(?:sms|mms|inbound|incoming)\b", re.IGNORECASE)
"""What a row is of that prices no calls of ours."""


@lru_cache(maxsize=4096)
def may_be_charged(text: str, name: str = "") -> bool:
    """Whether a field of an unknown column may be money or time: there is a number in it other than 0, or a word for
    either; or the column's name has one, and the field says anything."""
    if text.lower() in NO or not text.strip("0.,"):
        return False
    if has_number(text) or _TIME.fullmatch(text) or any(one.search(text) for one in (_ELSEWHERE, _PER, _VAT, _WHEN)):
        return True
    says_all = is_minute(text) or text.lower() in _EVERYONE
    return not says_all and not _PRICING.isdisjoint(re.split(r"\W+", name))


@lru_cache(maxsize=4096)
def changes_prices(text: str) -> bool:
    """Whether words beside the prices (a title, a remark) say that these are meant otherwise than they are read: in
    another currency or unit, without VAT or with it, at certain hours, with fees or increments, or from a day on."""
    return any(one.search(text) for one in (_ELSEWHERE, _PER, _VAT, _WHEN)) or bool(
        _TERMS.search(text) and has_number(text)
    )


@lru_cache(maxsize=4096)
def speaks_of_prices(text: str) -> bool:
    """Whether a remark beside a row's price says an amount, increments or a day: it may be another price, or another
    day, than what is read."""
    if _SHARE.fullmatch(text):
        return False
    if changes_prices(text):
        return True
    rest = _EDITION.sub(" ", _SHARE.sub(" ", _PAST.sub(" ", text)))
    return any(one.search(rest) for one in (_AMOUNT, _MOMENT, _SECONDS, _DAY))


@lru_cache(maxsize=4096)
def names_a_price(text: str) -> bool:
    """Likewise of a column of names of companies and places, where a word such as Cent is one unless a number is
    beside it."""
    return bool(re.search(_CURRENCY, text)) or (
        (has_number(text) or bool(_PER.search(text))) and speaks_of_prices(text)
    )


def name_says_prices(text: str) -> bool:
    """Whether a destination's name says that its price is meant otherwise than it is read, or how it is charged."""
    amount = ("." in text or "," in text) and _AMOUNT_IN_NAME.search(text)
    if ("per" in text.lower() and _PER_WORD.search(text)) or (amount and _TERMS.search(text)):
        return True
    return bool(("/" in text and _INCREMENTS_IN_NAME.search(text)) or _VAT_IN_NAME.search(text) or _WHEN.search(text))


def has_number(text: str) -> bool:
    """Whether there is one other than 0."""
    return any(digit in text for digit in "123456789")


def is_minute(text: str) -> bool:
    """Whether a unit is a minute, by any of its names."""
    plain = re.sub(r"^(?:(?:€|eur|euro)\s?)?(?:per |/)\s?", "", text.lower())
    return plain in _MINUTES


def says_removed(text: str) -> bool:
    """Whether a field of a column that is not charged says that its row is no offer of calls (any more)."""
    return text.lower() in _REMOVED or bool(_NO_CALL.search(text))


def speaks_of_removal(text: str) -> bool:
    """Whether any word of a line between the rows says that some are no offer."""
    return says_removed(text) or not _REMOVED.isdisjoint(re.split(r"\W+", text.lower()))
