"""Telephone numbers as typed and dialled, and the one form in which they are stored, priced and dialled (E.164).

A number is what it is read as: the form is read as itself again, in every country. What is not certain to be one number
is refused, never guessed. So is what is reached within its country or its area alone: it is no number of E.164, and
what some carrier makes of it nobody has priced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

_NO_NUMBER = re.compile(r"[\x00-\x08]|[.,]0\Z|[0-9][ -]?[A-Za-z*#]")
"""What programs make of numbers that they take for amounts: 3.1201234567E10, 31201234567.0, 0x31; and what a telephone
dials behind a number, after a pause, or shows on its keys. Read as digits it would be another's number."""
_PLAIN = re.compile(
    r"\+(?:55[2-8]|(?:[17]|2[07]|3[0-469]|4[013-9]|5[1-46-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[05789]|9[679])[0-9])[2-79])[0-9]{7,}"
)
"""Numbers whose country code (ITU-T E.164) is followed by a digit with which no trunk prefix or carrier's code of that
country begins: nothing can be left of one, so they need no second reading. (Brazil's 90 is one.) Nor are they short
codes, which are shorter."""
_PAY_PER_CALL = re.compile(r"\+1[2-9][0-9]{2}(?:976[0-9]{4}|5551212)")
"""North America's exchange for pay-per-call services, the same in each area and reached within it alone, and directory
assistance (NANPA's central office code assignment guidelines). Their area's ordinary numbers begin alike."""
SHORT_CODE_DIGITS = 7
"""No code that is dialled within a country alone has more, by all numbering plans."""
_SERVICES = {
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.SHARED_COST: "shared-cost",
    PhoneNumberType.PAGER: "pager",
}
NUMBER_CHARACTERS = 40
"""No number with its punctuation is longer; the time to read one is bounded by it."""
NUMBERS_KEPT = 8_192
"""Numbers that were read last: to read one again costs a tenth of a decision."""


@lru_cache(NUMBERS_KEPT)
def e164(text: str, region: str) -> str | None:
    """A number as typed or dialled in a region, as ``+31612345678``; ``None`` if it is none, or no certain one."""
    number = _parsed(text, region)
    if number is None:
        return None
    written = _written(number)
    return written if _is_plain(written) or not (_left_over(number) or _is_local(number)) else None


def expected(text: str, region: str) -> str:
    """What to write instead of a text that is no number in ``region``, in words that follow "expected"."""
    number = _parsed(text, region) if len(text) <= NUMBER_CHARACTERS else None
    if number is not None and _is_local(number):
        return f"a number that is reached from abroad, which {_written(number)} is not"
    if number is None or not (left := _left_over(number)):
        return "a telephone number such as +31201234567"
    return f"the number itself behind +{number.country_code}, without the {left} that stands between them"


def is_certain(number: str) -> bool:
    """Whether a stored number is in the form in which :func:`e164` leaves it. Most need no reading. (Without a + it is
    a short code, and never dialled.)"""
    plain = not number.startswith("+") or _is_plain(number)
    return plain or e164(number, "") == number


def service_of(number: str) -> str:
    """What kind of service a normalised number is, by its country's numbering plan, where calls may cost much more than
    to a person: ``premium``, ``personal``, ``shared-cost``, ``pager``; empty: none of them."""
    if not number.startswith("+"):
        return ""
    return _SERVICES.get(phonenumbers.number_type(phonenumbers.parse(number)), "")


def examples_of(code: int) -> Iterator[tuple[str, str]]:
    """A number of each kind that there is in a country by its code, and the kind: of :func:`service_of`, and empty for
    ordinary ones, fixed and mobile."""
    region = phonenumbers.region_code_for_country_code(code)
    ordinary = dict.fromkeys((PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE), "")
    for kind, service in (ordinary | _SERVICES).items():
        if (number := phonenumbers.example_number_for_type(region, kind)) is not None:
            yield _written(number), service


def country_code_of(prefix: str) -> int | None:
    """The number of the country (E.164) with which a prefix (``+316``) begins; ``None`` if there is none."""
    codes = (int(prefix[1:end]) for end in range(2, min(len(prefix), 4) + 1))
    return next((code for code in codes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), None)


def has_trunk_zero(prefix: str) -> bool:
    """Whether a prefix (``+310``) has the zero behind its country code that is dialled within that country alone, so
    that no number ever begins with it. Where a zero belongs to the numbers, as in Italy, the numbering plan's own
    examples have it."""
    code = country_code_of(prefix)
    return code is not None and prefix.startswith(f"+{code}0") and not _begins_with_zero(code)


@cache
def _begins_with_zero(code: int) -> bool:
    """Whether numbers of a country may begin with a zero; of what is no country (+800) nothing is known."""
    region = phonenumbers.region_code_for_country_code(code)
    if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return True
    examples = (phonenumbers.example_number_for_type(region, kind) for kind in PhoneNumberType.values())
    return any(one is not None and _written(one).startswith(f"+{code}0") for one in examples)


def _parsed(text: str, region: str) -> PhoneNumber | None:
    if _NO_NUMBER.search(text):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return None if number.extension or not phonenumbers.is_possible_number(number) else number


def _is_plain(written: str) -> bool:
    return _PLAIN.fullmatch(written) is not None and not (written[:2] == "+1" and _PAY_PER_CALL.fullmatch(written))


def _is_local(number: PhoneNumber) -> bool:
    """Whether a parsed number is reached within its country or its area alone: a short code (``+44 118 500``, British
    directory enquiries; ``+49 112``), a number without its area's code, or a pay-per-call service of North America."""
    if _PAY_PER_CALL.fullmatch(_written(number)):
        return True
    if len(phonenumbers.national_significant_number(number)) > SHORT_CODE_DIGITS:
        return False
    if phonenumbers.is_valid_number(number):
        return False
    reason = phonenumbers.is_possible_number_with_reason(number)
    return reason == ValidationResult.IS_POSSIBLE_LOCAL_ONLY or phonenumbers.is_valid_short_number(number)


def _written(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _left_over(number: PhoneNumber) -> str:
    """What a parsed number has between its country code and itself; empty: nothing, so it is certain.

    Of several trunk prefixes (``+31 00 252…``) or carriers' codes the parser takes one away. What it leaves is priced
    by the country code, and dialled as another country's number (``00252…``) or, by a carrier that takes the rest away
    too, as a premium one. A zero that belongs to the number, as in Italy, is known by the number being valid.
    """
    written = _written(number)
    rest = phonenumbers.national_significant_number(number)
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or "0"
    found = next((one for one in (trunk, "0") if rest.startswith(one)), "")
    if found and not phonenumbers.is_valid_number(number):
        return found
    again = phonenumbers.national_significant_number(phonenumbers.parse(written))
    return "" if again == rest else rest.removesuffix(again)
