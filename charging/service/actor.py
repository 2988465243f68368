"""The actor of the present request: a token, a person at the command line or the console, or the daemon itself.

An actor is a kind and mostly a name: ``token:4f2a9c0d1e2f``, ``cli:alice``, ``console:alice``, ``customer:anna``,
``daemon``. The code that receives a request sets the actor around it (`acting`); the code that writes reads it
(`actor`).
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
_CUSTOMER: ContextVar[str] = ContextVar("customer", default="")
_AUDITS: ContextVar[bool] = ContextVar("audits", default=False)


def actor() -> str:
    """Who acts now."""
    return _ACTOR.get()


def customer() -> str:
    """The account of the customer who asks now, of whose alone he may see and change something; empty: the operator
    asks."""
    kind, _, name = actor().partition(":")
    return _CUSTOMER.get() or (name if kind == "customer" else "")


def is_for_customer() -> bool:
    """Whether the present answer goes to a customer. Numbers that callers withheld are not shown to customers, even if
    the operator keeps them."""
    return bool(customer())


def sees_actors() -> bool:
    """Whether the present answer may name actors: to the operator's people and to tokens with the scope ``audit``,
    never to a customer."""
    return not is_for_customer() and (_AUDITS.get() or not actor().startswith("token:"))


def named(text: str) -> str:
    """The actor that a request names; UNKNOWN where it names none in the form of one."""
    return text if _FORM.fullmatch(text) else UNKNOWN


@contextmanager
def acting(who: str, *, customer: str = "", audits: bool = False) -> Iterator[None]:
    """Set the actor within the context. ``customer``: the account to which he is bound. ``audits``: the answer goes to
    a token that may see who changed what."""
    before, customer_before, audits_before = _ACTOR.set(named(who)), _CUSTOMER.set(customer), _AUDITS.set(audits)
    try:
        yield
    finally:
        _ACTOR.reset(before)
        _CUSTOMER.reset(customer_before)
        _AUDITS.reset(audits_before)
