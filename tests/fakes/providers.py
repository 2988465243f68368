"""The played Mollie and Stripe (`charging.web.customers.played`) with a key of the tests, told when a test says so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from charging.web.customers import played as providers
from charging.web.customers.played import Double, Kept

__all__ = ["HOOK_SECRET", "KEY", "Double", "Kept", "Mollie", "Stripe", "signed"]

KEY = "test_key_of_the_operator"
HOOK_SECRET = "whsec_of_the_operator"

Mollie = partial(Double, providers.Mollie(), KEY, HOOK_SECRET)
Stripe = partial(Double, providers.Stripe(), KEY, HOOK_SECRET)


def signed(body: bytes, now_s: int, secret: str = HOOK_SECRET) -> Mapping[str, str]:
    """Stripe's header for a body."""
    return providers.signed(body, now_s, secret)
