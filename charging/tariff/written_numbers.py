"""Telephone numbers within what people write, such as the subject of a mail. Pure.

If a number is missed, the sender gets a mail back. If other digits are taken for a number, a stranger gets the
document. So digits count as a number only if they can hardly be anything else:

1. It begins with ``+`` or ``0`` (national, or ``00``). A bare run of digits is an order, an invoice, a year.
2. It is valid in its country, not merely of a possible length, and stands alone: without an extension, and not joined
   to something else as in ``F-0201234567`` or ``2026/0201234567``.
3. It has no date and no hours in it. Free and dear services are known by their international form alone: ``0800-1000``
   may be hours too.
4. What may end in two places, as ``+49 30 123456 2`` in a country whose numbers differ in length, is two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import Leniency, NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

_INTERNATIONAL = ("+", "00")
_SERVICES = (PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST)
_HOUR = r"[0-2]?[0-9][.:][0-5][0-9]"
_MOMENT = re.compile(
    rf"(?<![^\s(])(?:[0-9]{{1,2}}([-./])[0-9]{{1,2}}\1[0-9]{{4}}|{_HOUR}(?:\s?-\s?{_HOUR})?)(?![^\s),;])"
)
_JOINED_BEFORE_PLUS = re.compile(r"[0-9/+-]\Z")
_JOINED_BEFORE_ZERO = re.compile(r"[^\s(:,;<\"'=]\Z")
_JOINED_BEHIND = re.compile(r"[\w/#+-]|[.,][0-9]")


def written_numbers(text: str, region: str) -> frozenset[str]:
    """The numbers in ``text``, as ``+31201234567``; national ones are read in ``region``."""
    matches = phonenumbers.PhoneNumberMatcher(text, region, leniency=Leniency.VALID)
    return frozenset(
        number
        for match in matches
        if not match.number.extension and _is_meant(match.raw_string, text[: match.start], text[match.end :])
        for number in _readings(match.raw_string, region)
    )


def _is_meant(written: str, before: str, behind: str) -> bool:
    """Whether digits that may be a number can hardly be anything else."""
    first = written.lstrip("(")[:1]
    if first not in ("+", "0") or _MOMENT.search(written):
        return False
    joined_before = _JOINED_BEFORE_PLUS if first == "+" else _JOINED_BEFORE_ZERO
    return not joined_before.search(before) and not _JOINED_BEHIND.match(behind)


def _readings(written: str, region: str) -> Iterator[str]:
    """The valid numbers that end where the text does, or at a space in it."""
    for end in (len(written), *(space.start() for space in re.finditer(r"\s", written))):
        number = _parsed(written[:end], region)
        if number is not None:
            yield phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parsed(written: str, region: str) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(written, region)
    except NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    is_national = not written.lstrip("(").startswith(_INTERNATIONAL)
    return None if is_national and phonenumbers.number_type(number) in _SERVICES else number
