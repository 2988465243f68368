"""Who has done what is being done: a token, a person at the command line or the console, or the daemon itself.

An actor is a word and, for most, whose: ``token:4f2a9c0d1e2f``, ``cli:alice``, ``console:alice``, ``customer:anna``,
``daemon``. Whoever takes a request in says so around it (`acting`); what is written then asks `actor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DAEMON = "daemon"
UNKNOWN = "control"
"""Someone at the control socket who did not say who he is."""

_FORM = re.compile(r"[a-z]{1,16}(:[!-~]{1,80})?")
_ACTOR: ContextVar[str] = ContextVar("actor", default=DAEMON)
_FOR_CUSTOMER: ContextVar[bool] = ContextVar("for_customer", default=False)
_AUDITS: ContextVar[bool] = ContextVar("audits", default=False)


def actor() -> str:
    """Who acts now."""
    return _ACTOR.get()


def is_for_customer() -> bool:
    """Whether a customer sees what is answered now: a number that its caller withholds is shown to none, though the
    operator may keep it for his own eyes."""
    return _FOR_CUSTOMER.get() or actor().startswith("customer:")


def sees_actors() -> bool:
    """Whether who did something is told in what is answered now: to the operator's people, and to tokens that may see
    who changed what; never to a customer."""
    return not is_for_customer() and (_AUDITS.get() or not actor().startswith("token:"))


def named(text: str) -> str:
    """The actor that a request names; UNKNOWN where it names none in the form of one."""
    return text if _FORM.fullmatch(text) else UNKNOWN


@contextmanager
def acting(who: str, *, for_customer: bool = False, audits: bool = False) -> Iterator[None]:
    """What is done within is done by ``who``, and, if so, what is answered is for a customer, or for a token that may
    see who changed what."""
    before, shown_before, audits_before = _ACTOR.set(named(who)), _FOR_CUSTOMER.set(for_customer), _AUDITS.set(audits)
    try:
        yield
    finally:
        _ACTOR.reset(before)
        _FOR_CUSTOMER.reset(shown_before)
        _AUDITS.reset(audits_before)
