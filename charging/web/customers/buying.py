"""The pages on which a customer buys credit, and where its provider tells us something."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from charging.pricing.money import format_euro
from charging.service.payments import State
from charging.web.customers.gate import CustomerGate, Visit
from charging.web.customers.shown import Shown
from charging.web.customers.till import BACK, LEFT, Till
from charging.web.customers.words import WORDS


class Buying:
    """Each method is a page."""

    def __init__(self, till: Till, shown: Shown) -> None:
        self._till = till
        self._shown = shown

    def routes(self, gate: CustomerGate) -> Sequence[Route]:
        return (
            Route("/buy", gate.guarded(self.amounts)),
            Route("/buy", gate.guarded(self.begin), methods=["POST"]),
            Route("/buy/{payment}", gate.guarded(self.payment, takes_long=True)),
            Route(f"/hooks/{self._till.provider}", self._till.hook, methods=["POST"]),
            Route(f"/hooks/{self._till.provider}/{{payment}}", self._till.hook, methods=["POST"]),
        )

    async def amounts(self, visit: Visit) -> Response:
        return self._shown.page(visit, "buy.html", {"amounts": self._till.on_sale()})

    async def begin(self, visit: Visit) -> Response:
        t = WORDS[visit.language]
        amount = visit.form.get("amount", "")
        id = await self._till.begin(visit.own, amount, f"{t['buy']} ({visit.own.account})", visit.language)
        return RedirectResponse(f"/buy/{id}", 303)

    async def payment(self, visit: Visit) -> Response:
        """How it stands; the customer comes back here from paying. While the provider does not say that it is over,
        where he comes from tells whether he waits for his bank or has left."""
        payment = await self._till.of(visit.own, visit.request.path_params["payment"])
        waits = payment.state is State.OPEN and self._till.is_young(payment)
        word = str(payment.state)
        if payment.state is State.OPEN:
            word = next((f"open_{one}" for one in (BACK, LEFT) if one in visit.request.query_params), word)
        facts = {"payment": payment, "word": f"payment_{word}", "amount": format_euro(payment.amount), "waits": waits}
        return self._shown.page(visit, "payment.html", facts)
