"""/payments: what customers buy on their page. Only on the control socket."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.pricing.money import format_euro
from charging.service.payments import Outcome, Payment, State
from charging.web.forms import Amount
from charging.web.models import Body, Euro, Instant, Page
from charging.web.parts import AccountFilter, Cursor, Limit, TheService, euro, exact_euro
from charging.web.problem import granted

router = APIRouter(tags=["payments"])


class PaymentNew(Body):
    """A customer wants to buy credit."""

    amount: Amount
    provider: str = Field(max_length=20)


class PaymentKnown(Body):
    """The provider has it now."""

    reference: str = Field(max_length=200)
    checkout: str = Field(max_length=2_000)


class PaymentOutcome(Body):
    """What the provider itself has answered."""

    reference: str = Field(max_length=200)
    paid: bool
    over: bool
    amount: Amount
    currency: str = Field(max_length=10)
    taken_back: bool = False


class PaymentOut(BaseModel):
    """A payment."""

    id: str
    account: str
    provider: str
    amount: Euro
    made: Instant
    state: State
    reference: str
    checkout: str
    why: str
    taken_back: bool

    @classmethod
    def of(cls, one: Payment) -> Self:
        return cls(
            id=one.id,
            account=one.account,
            provider=one.provider,
            amount=format_euro(one.amount),
            made=iso(one.made_us),
            state=one.state,
            reference=one.reference,
            checkout=one.checkout,
            why=one.why,
            taken_back=one.taken_back,
        )


@router.get("/payments")
async def list_payments(
    service: TheService,
    account: AccountFilter = None,
    state: Annotated[State | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[PaymentOut]:
    """Payments by id; a page may have fewer than ``limit`` items, or none, though more follow."""
    found, following = await service.payments.page(cursor or "", limit, account or "", state or "")
    return Page(items=[PaymentOut.of(one) for one in found], next=following)


@router.get("/payments/{payment}")
async def show_payment(payment: str, service: TheService) -> PaymentOut:
    """One payment."""
    return PaymentOut.of(granted(await service.payments.get(payment)))


@router.post("/accounts/{account}/payments", status_code=201)
async def begin_payment(account: str, body: PaymentNew, service: TheService) -> PaymentOut:
    """Note that a customer wants to buy credit, of an amount on sale (R2)."""
    return PaymentOut.of(granted(await service.payments.begin(account, euro(body.amount), body.provider)))


@router.patch("/payments/{payment}")
async def payment_known(payment: str, body: PaymentKnown, service: TheService) -> PaymentOut:
    """Note what the provider calls it."""
    return PaymentOut.of(granted(await service.payments.known_by(payment, body.reference, body.checkout)))


@router.post("/payments/{payment}/delays")
async def delay_payment(payment: str, service: TheService) -> PaymentOut:
    """The provider could not be asked: it is asked again later."""
    return PaymentOut.of(granted(await service.payments.not_now(payment)))


@router.post("/payments/{payment}/outcomes")
async def settle_payment(payment: str, body: PaymentOutcome, service: TheService) -> PaymentOut:
    """Book what the provider says of it: once, however often it is told."""
    amount = exact_euro(body.amount, "#/amount")
    outcome = Outcome(body.reference, body.paid, body.over, amount, body.currency, body.taken_back)
    return PaymentOut.of(granted(await service.payments.settle(payment, outcome)))
