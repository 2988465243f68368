"""Reads from CDRs what was paid in the past, so that it can be priced again: calls, voicemail messages, fax pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from charging.pricing.money import AMOUNT_MAX, parse_euro
from charging.pricing.packs import MESSAGES, PACK, PAGES, is_pack

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(2000, 2200)
_NUMBER = re.compile(r"\+?[0-9]+(xxxx)?")
"""Of old CDRs the last four digits are hidden; the others still tell the destination."""

Cdr = Mapping[str, Any]


class PastCall(NamedTuple):
    """A forwarded call that was answered."""

    account: str
    plan: str
    number: str
    """Normalised."""
    start_us: int
    """Wall clock at its answer."""
    seconds: int
    """Billed."""
    paid: int
    """Micro-euro of credit."""
    packs: Mapping[str, int] = {}
    """Seconds that packs have paid, by balance."""


class PastMessage(NamedTuple):
    """Messages that were left in paid voicemail."""

    account: str
    plan: str
    number: str
    """The subscriber's own."""
    start_us: int
    messages: int
    paid: int
    packs: Mapping[str, int] = {}
    """Messages that packs have paid, by balance."""


class PastFax(NamedTuple):
    """A fax of which pages were sent."""

    account: str
    plan: str
    number: str
    """Who received it, normalised."""
    start_us: int
    """Wall clock when it was priced."""
    pages: int
    paid: int
    packs: Mapping[str, int] = {}
    """Pages that packs have paid, by balance."""


Past = PastCall | PastMessage | PastFax


def past_of(cdr: Cdr) -> Past | None:
    """What a CDR says was paid for; ``None`` if there was nothing to pay for: no answer, no message, no page.
    Raises ``ValueError`` if it is no CDR."""
    read = _READERS.get(_text(cdr, "service"))
    if read is None:
        raise ValueError("a service that is not known")
    return read(cdr)


def _call(cdr: Cdr) -> PastCall | None:
    answered = cdr.get("answered", "")
    if answered is None and not _count(cdr, "billed_s"):
        return None
    # Of an answer that no daemon had heard of, CDRs said nothing once; such a call was priced as of its set-up.
    start_us = _moment_us(cdr, "set_up" if answered is None else "answered")
    account, plan, number = _text(cdr, "account"), _text(cdr, "plan"), _number(cdr, "target")
    found = cdr.get("packs") or {}
    packs = {PACK + name: _count(found, name) for name in found}
    return PastCall(account, plan, number, start_us, _count(cdr, "billed_s"), _money(cdr, "cost"), packs)


def _message(cdr: Cdr) -> PastMessage | None:
    messages = _count(cdr, "messages")
    account, plan = _text(cdr, "account"), _text(cdr, "plan")
    number, start_us = _number(cdr, "number"), _moment_us(cdr, "set_up")
    packs = _packs(cdr, "free_messages", MESSAGES)
    return PastMessage(account, plan, number, start_us, messages, _money(cdr, "cost"), packs) if messages else None


def _fax(cdr: Cdr) -> PastFax | None:
    pages = _count(cdr, "pages")
    account, plan = _text(cdr, "account"), _text(cdr, "plan")
    number, start_us = _number(cdr, "target"), _moment_us(cdr, "set_up")
    packs = _packs(cdr, "free_pages", PAGES)
    return PastFax(account, plan, number, start_us, pages, _money(cdr, "cost"), packs) if pages else None


def _packs(cdr: Cdr, member: str, sort: str) -> dict[str, int]:
    """What packs, not the month's own, have paid."""
    found = cdr.get(member) or {}
    return {name: _count(found, one) for one in found if is_pack(name := f"{sort}:{one}")}


_READERS: Mapping[str, Callable[[Cdr], Past | None]] = {"forward": _call, "voicemail": _message, "fax": _fax}


def _text(cdr: Cdr, name: str) -> str:
    value = cdr.get(name)
    if not isinstance(value, str):
        raise ValueError(f"no text {name}")
    return value


def _number(cdr: Cdr, name: str) -> str:
    number = _text(cdr, name)
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"no telephone number {name}")
    return number


def _count(cdr: Cdr, name: str) -> int:
    value = cdr.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= AMOUNT_MAX:
        raise ValueError(f"no count {name}")
    return value


def _money(cdr: Cdr, name: str) -> int:
    return parse_euro(_text(cdr, name))


def _moment_us(cdr: Cdr, name: str) -> int:
    moment = datetime.fromisoformat(_text(cdr, name))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError(f"no time {name}")
    return (moment - _EPOCH) // timedelta(microseconds=1)
