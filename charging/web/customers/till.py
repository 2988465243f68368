"""Buying credit: the customer begins on the page and pays at the provider, whose answer is credited (R2, R22).

The amount is one of those on sale at that moment; the browser only says which. The daemon stores the payment before the
provider is asked for it, so every payment is known. A hook, the customer's return and a timer each make the daemon ask
the provider; every such look does the same, and books at most once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import httpx
import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from charging.clock import MICROSECONDS
from charging.errors import ChargingError, LedgerError
from charging.ledger.accounts import Language
from charging.limits import Limits
from charging.log_limit import LogLimit
from charging.pricing.money import format_euro
from charging.service.payments import PAGE, Payment, State
from charging.service.refusal import Refused
from charging.sources import neighbourhood
from charging.web.asks import AskFailed, Asks, Document, path
from charging.web.browser import read_body
from charging.web.customers.own import Own
from charging.web.customers.providers import Mollie, Provider, ProviderError, Seen, Stripe, Wanted
from charging.web.guesses import Guesses
from charging.web.settings import CustomerPage

LOOK_EVERY_S = 20
LOOKS_PER_MINUTE = 20
"""At one payment, whoever makes us look: a hook, the page that waits, time."""
LOOKS_OF_ACCOUNT_PER_MINUTE = 60
"""At all payments of one account. Its customer knows their hooks, and may have hundreds: the provider lets an operator
ask so often, and no customer may use that up."""
HOOKS_PER_MINUTE = 600
"""From one address that names no payment of ours."""
WAITED_S = 900
BEGUN_PER_MINUTE = 6
"""Of one account."""

BACK, LEFT = "back", "left"
"""How a payment's page is told whether its customer comes from paying, or has left without."""

log = structlog.get_logger(__name__)


class Till:
    """Payments of all customers."""

    def __init__(self, asks: Asks, provider: Provider, url: str) -> None:
        """``url`` is where browsers and the provider reach the page."""
        self._asks = asks
        self._clock = asks.service.clock
        self._provider = provider
        self._url = url
        self.provider = provider.name
        self._begun = Limits(BEGUN_PER_MINUTE)
        self._looks = Limits(LOOKS_PER_MINUTE)
        self._looks_of_account = Limits(LOOKS_OF_ACCOUNT_PER_MINUTE)
        self._looked_at: set[str] = set()
        """Payments that the provider is being asked about."""
        self._strange = Guesses(self._clock, HOOKS_PER_MINUTE)
        self._log_limit = LogLimit(self._clock)
        self._others: set[str] = set()
        """Providers that payments are with, and the settings do not name (any more)."""

    def on_sale(self) -> tuple[str, ...]:
        """The amounts that a customer can choose from (R2), cheapest first; where the tariff allows any from its
        minimum on: that, and its double, five-fold and ten-fold."""
        sold = self._asks.service.tariff().top_ups
        amounts = sold.amounts or tuple(sold.minimum * times for times in (1, 2, 5, 10))
        return tuple(format_euro(one) for one in sorted(amounts))

    async def begin(self, own: Own, amount: str, description: str, language: Language) -> str:
        """Our id of a new payment. Raises AskFailed, ProviderError."""
        if amount not in self.on_sale():
            raise AskFailed(422, {"code": "not_allowed", "detail": "that amount is not on sale"})
        if self._begun.take(own.account, self._clock.now().mono_us):
            raise AskFailed(429, {"code": "too_many_requests", "detail": "too many payments were begun"})
        payment = await own.order("POST", {"amount": amount, "provider": self._provider.name}, "payments")
        id = str(payment["id"])
        hook = f"{self._url}/hooks/{self._provider.name}/{id}"
        page = f"{self._url}/buy/{id}"
        wanted = Wanted(id, amount, description, language, f"{page}?{BACK}", f"{page}?{LEFT}", hook)
        try:
            made = await self._provider.make(wanted)
            known = {"reference": made.reference, "checkout": made.checkout}
            await self._order("PATCH", path("payments", id), known)
        except (ProviderError, AskFailed) as error:
            log.error("payment_not_begun", payment=id, account=own.account, why=str(error))
            raise
        return id

    async def of(self, own: Own, id: str) -> Payment:
        """A customer's own payment, looked at again if it is open. Raises AskFailed, LedgerError."""
        payment = await self._asks.service.payments.get(id)
        if isinstance(payment, Refused) or payment.account != own.account:
            raise AskFailed(404, {"code": "not_found", "detail": "there is no such payment"})
        if payment.state is not State.OPEN or not await self.look(payment):
            return payment
        found = await self._asks.service.payments.get(id)
        return payment if isinstance(found, Refused) else found

    def is_young(self, payment: Payment) -> bool:
        """Whether its page waits for the bank: someone may be paying just now."""
        return self._clock.now().wall_us - payment.made_us < WAITED_S * MICROSECONDS

    async def look(self, payment: Payment) -> bool:
        """Ask the provider how a payment stands, and have it booked; ``False``: not now."""
        if payment.provider != self.provider:
            self._tell_other(payment)
            return False
        now_us = self._clock.now().mono_us
        if payment.id in self._looked_at:
            return False
        if not payment.reference or self._looks.take(payment.id, now_us):
            return False
        if self._looks_of_account.take(payment.account, now_us):
            return False
        self._looked_at.add(payment.id)
        try:
            seen = await self._provider.look(payment.reference)
            await self._booked(payment, seen)
        except (ProviderError, AskFailed, LedgerError) as error:
            log.warning("payment_not_looked_at", payment=payment.id, why=str(error))
            return False
        finally:
            self._looked_at.discard(payment.id)
        return True

    def _tell_other(self, payment: Payment) -> None:
        if payment.provider not in self._others:
            self._others.add(payment.provider)
            advice = f"set customer_page.payment_provider to {payment.provider} until its open payments have ended"
            why = f"the settings name {self.provider}"
            log.error("payment_of_another_provider", payment=payment.id, of=payment.provider, why=why, advice=advice)

    async def _booked(self, payment: Payment, seen: Seen) -> None:
        if (seen.ours, seen.reference) != (payment.id, payment.reference):
            raise ProviderError(f"the provider's payment {payment.reference} is not ours of {payment.id}")
        body = {
            "reference": seen.reference,
            "paid": seen.is_paid,
            "over": seen.is_over,
            "amount": seen.amount,
            "currency": seen.currency,
            "taken_back": seen.taken_back,
        }
        await self._order("POST", path("payments", payment.id, "outcomes"), body)

    async def _order(self, method: str, place: str, body: Document | None) -> Document:
        by = f"payment:{self._provider.name}"
        return await self._asks.order(method, place, body, "", by=by, params={})

    async def hook(self, request: Request) -> Response:
        """The provider says that something has happened. It says again what we do not take in (5xx), and is thanked for
        what is none of ours. What it has not said counts as a stranger's: where it signs nothing, what names nothing of
        ours. Of strangers there may be so many from an address; they keep nothing out that is the provider's."""
        address = neighbourhood(request.client.host if request.client is not None else "unknown")
        body = await read_body(request)
        now_s = self._clock.now().wall_us // MICROSECONDS
        try:
            id = await self._provider.told(request.path_params.get("payment", ""), request.headers, body, now_s)
        except ProviderError as error:
            log.warning("payment_not_looked_at", payment="", why=str(error))
            return Response(status_code=503)
        if id is None:
            return Response(status_code=429 if self._strange.bad(address) else 400)
        find = partial(self._named, id)
        payment, wait_s = (await find(), 0) if self._provider.signs else await self._strange.looked(address, find)
        if payment is not None:
            return Response(status_code=200 if await self.look(payment) else 503)
        if id and not wait_s and (more := self._log_limit.more("payment_hook_unknown")) is not None:
            log.warning("payment_hook_unknown", payment=id[:40], address=address, more=more)
        return Response(status_code=429 if wait_s else 200)

    async def _named(self, id: str) -> Payment | None:
        payment = await self._asks.service.payments.get(id)
        return None if isinstance(payment, Refused) else payment

    async def keep_looking(self) -> NoReturn:
        """Look at all that is open, which may have been paid while we were down; and then at what is due, for ever."""
        payments = self._asks.service.payments
        left: str | None = ""
        while True:
            try:
                while left is not None:
                    found, following = await payments.page(left, PAGE, state=State.OPEN)
                    await self.look_at(found)
                    left = following
                await self.look_at(await payments.due())
            except ChargingError as error:
                log.warning("payments_not_read", why=str(error))
            await self._clock.sleep_until(self._clock.now().plus(LOOK_EVERY_S).mono_us)

    async def look_at(self, found: Sequence[Payment]) -> None:
        """One that cannot be booked keeps none of the others waiting."""
        for payment in found:
            try:
                if payment.state is not State.OPEN or not await self.look(payment):
                    await self._order("POST", path("payments", payment.id, "delays"), None)
            except (ChargingError, AskFailed) as error:
                log.warning("payment_not_looked_at", payment=payment.id, why=str(error))


def till_of(
    page: CustomerPage | None,
    asks: Asks,
    http: httpx.AsyncClient,
    key: SecretStr | None,
    hook_secret: SecretStr | None,
) -> Till | None:
    """As the settings say; ``None``: nothing is sold."""
    if page is None or key is None or page.payment_provider == "none":
        return None
    if page.payment_provider == "mollie":
        return Till(asks, Mollie(http, key.get_secret_value(), page.payment_url or ""), page.url)
    assert hook_secret is not None, "the settings see to it"
    stripe = Stripe(http, key.get_secret_value(), hook_secret.get_secret_value(), page.payment_url or "")
    return Till(asks, stripe, page.url)
