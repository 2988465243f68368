"""Payment providers: Mollie and Stripe, as far as a payment here needs them.

The state of a payment is read from the provider, over TLS, with the operator's key. A hook only says that it changed:
Mollie posts an id without a signature, as documented (docs.mollie.com/reference/webhooks); Stripe signs what it posts
(docs.stripe.com/webhooks), and a post without a valid signature is ignored.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

import httpx

from charging.errors import ChargingError
from charging.ledger.accounts import Language

TIMEOUT_S = 10
ANSWER_BYTES_MAX = 1_000_000
SAID_MAX = 200
KEY_ADVICE = "put a key that it takes where customer_page.payment_key_file (or payment_key_env) says"
SIGNED_WITHIN_S = 300
"""Stripe's own tolerance: what was signed longer ago may be said again by someone who has heard it."""
_ID = re.compile(r"[0-9a-f]{32}")
_INTENT = re.compile(r"pi_[A-Za-z0-9_]{1,200}")


class ProviderError(ChargingError):
    """The provider could not be asked, or has answered what cannot be understood."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payment to be made."""

    id: str
    """Ours."""
    amount: str
    """Euro, with two decimals."""
    description: str
    language: Language
    back: str
    """Where the customer comes back to from paying."""
    left: str
    """Where he comes back to if he has left without paying, of a provider that says so."""
    hook: str
    """Where the provider tells us that something has happened."""


@dataclass(frozen=True, slots=True)
class Made:
    """The provider's payment."""

    reference: str
    checkout: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the provider says of a payment."""

    reference: str
    ours: str
    """The id under which we have asked for it."""
    is_paid: bool
    is_over: bool
    amount: str
    """Decimal, in the currency's own unit."""
    currency: str
    """Three capital letters."""
    taken_back: bool


class Provider(Protocol):
    """One of them."""

    name: str
    signs: bool
    """Whether it signs what it posts to our hooks."""

    async def make(self, wanted: Wanted) -> Made:
        """Make a payment; the same again for the same id. Raises ProviderError."""

    async def look(self, reference: str) -> Seen:
        """How a payment stands. Raises ProviderError."""

    async def told(self, path_id: str, headers: Mapping[str, str], body: bytes, now_s: int) -> str | None:
        """Our id of the payment that a hook is about, empty: it is about none; ``None``: it is not from the
        provider. Raises ProviderError where it has to be asked which."""


class Mollie:
    """Mollie's Payments API, v2."""

    name = "mollie"
    signs = False
    url = "https://api.mollie.com"

    def __init__(self, http: httpx.AsyncClient, key: str, url: str = "") -> None:
        self._asking = _Asking(http, url or self.url, key)

    async def make(self, wanted: Wanted) -> Made:
        body = {
            "amount": {"currency": "EUR", "value": wanted.amount},
            "description": wanted.description,
            "redirectUrl": wanted.back,
            "webhookUrl": wanted.hook,
            "locale": "nl_NL" if wanted.language is Language.NL else "en_GB",
            "metadata": {"payment": wanted.id},
        }
        made = await self._asking.ask("POST", "/v2/payments", {"Idempotency-Key": wanted.id}, json=body)
        return Made(_text(made, "id"), _text(made, "_links", "checkout", "href"))

    async def look(self, reference: str) -> Seen:
        found = await self._asking.ask("GET", f"/v2/payments/{reference}")
        status, amount = _text(found, "status"), found.get("amount")
        metadata = found.get("metadata")
        return Seen(
            reference=_text(found, "id"),
            ours=_text(metadata, "payment") if isinstance(metadata, dict) else "",
            is_paid=status == "paid",
            is_over=status in ("canceled", "expired", "failed"),
            amount=_text(amount, "value"),
            currency=_text(amount, "currency"),
            taken_back=any(_is_some(found.get(name)) for name in ("amountRefunded", "amountChargedBack")),
        )

    async def told(self, path_id: str, headers: Mapping[str, str], body: bytes, now_s: int) -> str | None:
        """The hook's address names our payment. The body's id is not needed: it is asked for by what we know."""
        return path_id


class Stripe:
    """Stripe's Checkout Sessions."""

    name = "stripe"
    signs = True
    url = "https://api.stripe.com"
    version = "2025-03-31.basil"
    """Before that one, an amount could be in the customer's own currency (docs.stripe.com/changelog/basil)."""

    def __init__(self, http: httpx.AsyncClient, key: str, hook_secret: str, url: str = "") -> None:
        self._asking = _Asking(http, url or self.url, key, {"Stripe-Version": self.version})
        self._hook_secret = hook_secret.encode()

    async def make(self, wanted: Wanted) -> Made:
        form = {
            "mode": "payment",
            "adaptive_pricing[enabled]": "false",
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": "eur",
            "line_items[0][price_data][unit_amount]": str(int(Decimal(wanted.amount) * 100)),
            "line_items[0][price_data][product_data][name]": wanted.description,
            "success_url": wanted.back,
            "cancel_url": wanted.left,
            "locale": wanted.language.value,
            "client_reference_id": wanted.id,
            "metadata[payment]": wanted.id,
            "payment_intent_data[metadata][payment]": wanted.id,
        }
        made = await self._asking.ask("POST", "/v1/checkout/sessions", {"Idempotency-Key": wanted.id}, data=form)
        return Made(_text(made, "id"), _text(made, "url"))

    async def look(self, reference: str) -> Seen:
        wanted = {"expand[]": "payment_intent.latest_charge"}
        found = await self._asking.ask("GET", f"/v1/checkout/sessions/{reference}", params=wanted)
        cents = found.get("amount_total")
        if type(cents) is not int:
            raise ProviderError("the provider's answer has no amount_total")
        intent = found.get("payment_intent")
        charge = intent.get("latest_charge") if isinstance(intent, dict) else None
        return Seen(
            reference=_text(found, "id"),
            ours=_text(found, "metadata", "payment"),
            is_paid=found.get("payment_status") == "paid",
            is_over=_is_over(found),
            amount=f"{cents // 100}.{cents % 100:02d}",
            currency=_text(found, "currency").upper(),
            taken_back=isinstance(charge, dict) and bool(charge.get("amount_refunded") or charge.get("disputed")),
        )

    async def told(self, path_id: str, headers: Mapping[str, str], body: bytes, now_s: int) -> str | None:
        if not self.is_signed(headers.get("stripe-signature", ""), body, now_s):
            return None
        try:
            about = json.loads(body)["data"]["object"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""
        intent = about.get("payment_intent") if isinstance(about, dict) and about.get("object") == "dispute" else None
        if isinstance(intent, str) and _INTENT.fullmatch(intent):  # a dispute does not take over the payment's metadata
            about = await self._asking.ask("GET", f"/v1/payment_intents/{intent}")
        metadata = about.get("metadata") if isinstance(about, dict) else None
        ours = metadata.get("payment") if isinstance(metadata, dict) else None
        # Else it is something that the operator sells besides with the same account.
        return ours if isinstance(ours, str) and _ID.fullmatch(ours) else ""

    def is_signed(self, header: str, body: bytes, now_s: int) -> bool:
        """Whether Stripe has signed this body lately: ``t=…,v1=…``, HMAC-SHA256 over time, dot and body; several
        ``v1`` while a secret is changed. Other schemes are not looked at."""
        parts = [one.strip().partition("=") for one in header[:2_000].split(",")]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]):
            return False
        if abs(now_s - int(times[0])) > SIGNED_WITHIN_S:
            return False
        expected = hmac.new(self._hook_secret, times[0].encode() + b"." + body, "sha256").hexdigest()
        given = [value for name, _, value in parts if name == "v1"]
        return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Requests to a provider's interface."""

    http: httpx.AsyncClient
    url: str
    key: str
    always: Mapping[str, str] = field(default_factory=dict)
    """Headers of each request."""

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **body: Any
    ) -> dict[str, Any]:
        """The JSON object that is answered. Raises ProviderError."""
        named = {"Authorization": f"Bearer {self.key}", **self.always, **(headers or {})}
        try:
            answer = await self.http.request(method, self.url + path, headers=named, timeout=TIMEOUT_S, **body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: a host's name that is none
            raise ProviderError(f"the payment provider did not answer ({type(error).__name__})") from error
        try:
            document = answer.json() if len(answer.content) <= ANSWER_BYTES_MAX else None
        except (ValueError, RecursionError):
            document = None
        if not answer.is_success or not isinstance(document, dict):
            advice = f"; {KEY_ADVICE}" if answer.status_code in (401, 403) else ""
            raise ProviderError(f"the payment provider answered {answer.status_code}{self._said(document)}{advice}")
        return document

    def _said(self, document: Any) -> str:
        """Why, in the provider's own words: Mollie's ``detail``, or Stripe's ``error.message``."""
        error = document.get("error") if isinstance(document, dict) else None
        words = error.get("message") if isinstance(error, dict) else None
        words = words or (document.get("detail") if isinstance(document, dict) else None)
        if not isinstance(words, str):
            return ""
        cut = "".join(one if one.isprintable() else " " for one in words.replace(self.key, "…")[:SAID_MAX])
        return f": {cut}"


def _is_over(session: Mapping[str, Any]) -> bool:
    """Whether nothing more comes of a Stripe session: it was not paid in time, or was sent off to be paid later (SEPA
    debit, iDEAL), and that has failed."""
    intent = session.get("payment_intent")
    state = intent.get("status") if isinstance(intent, dict) else None
    is_sent_off = session.get("status") == "complete" and session.get("payment_status") == "unpaid"
    return session.get("status") == "expired" or (is_sent_off and state in ("requires_payment_method", "canceled"))


def _text(document: Any, *names: str) -> str:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    if not isinstance(document, str) or not document:
        raise ProviderError(f"the provider's answer has no {'.'.join(names)}")
    return document


def _is_some(amount: Any) -> bool:
    """Whether an amount of an answer is more than nothing."""
    if not isinstance(amount, dict):
        return False
    try:
        return Decimal(str(amount.get("value", "0"))) > 0
    except InvalidOperation:
        return True
