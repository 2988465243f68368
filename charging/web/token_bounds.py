"""What a token that is bound to an account, or to a largest amount, may ask.

What is not known to concern its account alone is refused: a path that is new here is closed to bound tokens until it is
entered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from charging.pricing.money import format_euro
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.service.tokens import Token
from charging.web.parts import euro
from charging.web.problem import Refusal

OPEN = ("/tariff", "/health")
"""These tell of no account."""
FILTERED = ("/calls", "/cdrs", "/decisions", "/numbers")
"""Lists: of its own account, if they are asked for it."""
PRICES = ("/quotes", "/limits", "/fax-quotes")
"""Under a plan, or of its own account."""
AMOUNTS = ("/accounts/{account}/top-ups", "/accounts/{account}/corrections")


async def is_its_own(
    token: Token, method: str, template: str, names: Mapping[str, str], query: bytes, service: Service
) -> bool:
    """Whether a bound token may ask this. Raises LedgerUnavailable."""
    if "account" in names:
        return names["account"] == token.account
    if template == "/numbers/{number}":
        number = await service.numbers.get(names["number"])
        return not isinstance(number, Refused) and number.account == token.account
    if template == "/calls/{session}":
        call = await service.calls.get(names["session"])
        return not isinstance(call, Refused) and call.session.account == token.account
    if method != "GET":
        return False
    accounts = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("account", [])
    if template in FILTERED:
        return accounts == [token.account]
    return template in OPEN or (template in PRICES and set(accounts) <= {token.account})


def too_much(token: Token, template: str, body: bytes) -> str:
    """Why the amount in a body is more than the token may move at a time; empty: it is not, or there is none (which the
    application refuses in its own words)."""
    if token.amount_max is None or template not in AMOUNTS:
        return ""
    try:
        amount = euro(json.loads(body)["amount"])
    except (ValueError, TypeError, KeyError, Refusal):
        return ""
    if abs(amount) <= token.amount_max:
        return ""
    return f"found {format_euro(amount)}, expected at most {format_euro(token.amount_max)} at a time with this token"
