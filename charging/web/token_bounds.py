"""What a token may request that is bound to one account or to a largest amount.

A path that is not listed here is refused to such tokens, so a new route is closed to them until it is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from charging.pricing.money import format_euro
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.service.tokens import Scope, Token
from charging.web.parts import euro
from charging.web.problem import Refusal

OPEN = ("/tariff", "/health")
"""These name no account."""
FILTERED = ("/calls", "/cdrs", "/changes", "/decisions", "/events", "/numbers")
"""Lists: of its own account, if they are asked for it."""
CDR = "/cdrs/{session}"
PRICES = ("/quotes", "/limits", "/fax-quotes")
"""Under a plan, or of its own account."""
AMOUNTS = tuple(f"/accounts/{{account}}/{what}" for what in ("top-ups", "corrections", "credit-grants"))
NUMBER = "/numbers/{number}"
OPERATORS = {"paid_voicemail", "mailbox"}
"""Of a number: whether messages cost something, and whose mailbox takes them, is not for its customer to say."""


async def is_its_own(
    token: Token, method: str, template: str, names: Mapping[str, str], query: bytes, service: Service
) -> bool:
    """Whether a bound token may ask this. Raises LedgerUnavailable."""
    if "account" in names:
        return names["account"] == token.account
    if template == NUMBER:
        number = await service.numbers.get(names["number"])
        return not isinstance(number, Refused) and number.account == token.account
    if template == "/calls/{session}":
        call = await service.calls.get(names["session"])
        return not isinstance(call, Refused) and call.session.account == token.account
    if method != "GET":
        return False
    accounts = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("account", [])
    if template in FILTERED or template == CDR:
        return accounts == [token.account]
    return template in OPEN or (template in PRICES and set(accounts) <= {token.account})


def beyond(token: Token, template: str, body: bytes) -> str:
    """Why what a body asks for is more than the token may do; empty: it is not, or the body cannot be read (which the
    application refuses in its own words)."""
    if template != NUMBER and template not in AMOUNTS:
        return ""
    try:
        asked = json.loads(body)
        if template == NUMBER:
            return _operators(token, asked)
        amount = euro(asked["amount"])
    except (ValueError, TypeError, KeyError, RecursionError, Refusal):
        return ""
    if token.amount_max is None or abs(amount) <= token.amount_max:
        return ""
    return f"found {format_euro(amount)}, expected at most {format_euro(token.amount_max)} at a time with this token"


def _operators(token: Token, asked: Mapping[str, object]) -> str:
    found = OPERATORS.intersection(asked)
    if not found or Scope.ACCOUNTS.allowed_by(token.scopes):
        return ""
    return f"found {min(found)}, which needs the scope {Scope.ACCOUNTS}; the token {token.id} has it not"
