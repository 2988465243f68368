"""Credit that customers buy on their page, from the provider's checkout to the journal (R2, R22).

A payment is noted before the provider hears of it, with the amount that the tariff has on sale then. What it has become
is only ever the provider's own answer, asked for with the operator's key: whoever tells us that something was paid only
makes us ask. It is credited by a transfer whose id is the provider's id of the payment, so once, however often it is
told, and whatever is killed between; a payment that we missed is asked for again until it is over (`due`).

What was paid and cannot be credited (the account is closed, the amount is another) is *stuck*: a person decides.
Nothing is ever taken back by itself: R21 knows no refunds, and money that the bank takes back after a dispute is told
to the operator, who corrects credit by hand.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Status
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.pricing.money import format_euro
from charging.service.money import Money
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.stored import Codec
from charging.tariff.tariff import Tariff

COLLECTION = "payments"
EURO = "EUR"
FIRST_LOOK_S = 60
LOOK_MOST_S = 6 * 3600
"""The pause between two looks doubles up to that."""
OPEN_DAYS = 30
"""A payment that is open for longer is given up: every way to pay is over by then."""
UNMADE_S = 3600
"""The same of one that the provider has not: nobody was sent to pay it."""
PAGE = 100
TRIES_MAX = 20
TAKEN_BACK = "taken_back"
"""How that is counted, beside each state that a payment comes to."""

log = structlog.get_logger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")
_REFERENCE = re.compile(r"[A-Za-z0-9_]{1,200}")
_CHECKOUT = re.compile(r"https?://[!-~]{1,2000}")


class State(StrEnum):
    """Where a payment is."""

    OPEN = "open"
    CREDITED = "credited"
    FAILED = "failed"
    """Cancelled, expired, or given up: nothing was paid."""
    STUCK = "stuck"
    """Paid, and not credited: a person decides."""


@dataclass(frozen=True, slots=True)
class Payment:
    """Something that a customer buys."""

    id: str
    account: str
    provider: str
    amount: int
    """Micro-euro."""
    made_us: int
    state: State = State.OPEN
    reference: str = ""
    """The provider's id of it."""
    checkout: str = ""
    """Where the customer pays."""
    why: str = ""
    """Of what is stuck."""
    taken_back: bool = False
    """The provider has paid it back, or the bank has taken it back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider itself says of a payment."""

    reference: str
    is_paid: bool
    is_over: bool
    """Nothing more comes of it."""
    amount: int
    """Micro-euro."""
    currency: str
    taken_back: bool = False


_CODEC = Codec(Payment)


class Payments:
    """All of them."""

    def __init__(
        self, store: Store, tariff: Callable[[], Tariff], clock: Clock, money: Money, count: Callable[[str], None]
    ) -> None:
        """``count`` is told what each payment has become, once: a state's word, or TAKEN_BACK."""
        self._count = count
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._money = money

    async def begin(self, account: str, amount: int, provider: str) -> Payment | Refused:
        """Note that a customer wants to buy ``amount`` micro-euro of credit. Raises LedgerUnavailable."""
        stored = await self._store.account(account)
        if stored is None:
            return unknown_account(account)
        if stored.status is Status.CLOSED:
            return closed_account(account)
        expected = self._tariff().top_up_refusal(amount)
        if expected is not None:
            return Refused(Code.NOT_ALLOWED, f"found a top-up of {format_euro(amount)}, expected {expected}")
        payment = Payment(secrets.token_hex(16), account, provider, amount, self._clock.now().wall_us)
        body, due_us = _CODEC.dump(payment), self._next(payment)
        if await self._store.put_document(COLLECTION, payment.id, body, due_us) is Put.EXISTS:
            return Refused(Code.CONFLICT, "the payment's id was taken", "try again")
        return payment

    async def known_by(self, id: str, reference: str, checkout: str) -> Payment | Refused:
        """The provider has a payment of this id for it now, and a place where it is paid."""
        if not _REFERENCE.fullmatch(reference) or not _CHECKOUT.fullmatch(checkout):
            return Refused(Code.INVALID, "found what is no payment of a provider's")

        def changed(payment: Payment) -> Payment:
            return payment if payment.reference else replace(payment, reference=reference, checkout=checkout)

        return await self._change(id, changed)

    async def settle(self, id: str, outcome: Outcome) -> Payment | Refused:
        """Book what the provider says, once. Raises LedgerUnavailable: say it again."""
        payment = await self.get(id)
        if isinstance(payment, Refused):
            return payment
        if payment.reference != outcome.reference:
            message = f"payment {id} is {payment.reference!r} at {payment.provider}, not {outcome.reference[:80]!r}"
            return Refused(Code.NOT_ALLOWED, message)
        state, why = payment.state, payment.why
        if outcome.is_paid and state is not State.CREDITED:
            why = await self._credit(payment, outcome)
            state = State.STUCK if why else State.CREDITED
        elif outcome.is_over and not outcome.is_paid and state is State.OPEN:
            state = State.FAILED
        elif state is State.OPEN and self._is_old(payment):
            state, why = State.FAILED, f"not paid in {OPEN_DAYS} days"
        if outcome.taken_back and not payment.taken_back:
            log.error("payment_taken_back", payment=id, account=payment.account, reference=payment.reference)
        taken_back = payment.taken_back or outcome.taken_back
        return await self._change(id, lambda one: replace(one, state=state, why=why, taken_back=taken_back))

    async def not_now(self, id: str) -> Payment | Refused:
        """It could not be looked at: it is looked at again later; one that the provider never heard of is over."""

        def changed(payment: Payment) -> Payment:
            if payment.state is not State.OPEN or not (self._is_old(payment) or self._is_unmade(payment)):
                return payment
            return replace(payment, state=State.FAILED, why="the provider never had it, or could not be asked")

        return await self._change(id, changed)

    async def _credit(self, payment: Payment, outcome: Outcome) -> str:
        """Why it cannot be credited; empty: it is."""
        if outcome.currency != EURO or outcome.amount != payment.amount:
            paid = f"{format_euro(outcome.amount)} {outcome.currency[:10]}"
            why = f"{paid} was paid for {format_euro(payment.amount)} {EURO}"
        else:
            key = f"{payment.provider}-{payment.reference}"
            credited = await self._money.top_up(payment.account, payment.amount, key, sold=True)
            why = credited.message if isinstance(credited, Refused) else ""
        if why:
            log.error("payment_not_credited", payment=payment.id, account=payment.account, why=why)
        else:
            log.info("payment_credited", payment=payment.id, account=payment.account, reference=payment.reference)
        return why

    async def get(self, id: str) -> Payment | Refused:
        """One payment."""
        document = await self._store.get_document(COLLECTION, id) if _ID.fullmatch(id) else None
        return _unknown(id) if document is None else _payment(document)

    async def due(self, within_s: int = 0) -> list[Payment]:
        """Open ones to be asked about now, or within so many seconds."""
        until_us = self._clock.now().wall_us + within_s * MICROSECONDS
        found = await self._store.due_documents(COLLECTION, until_us, PAGE)
        return [_payment(one) for one in found]

    async def page(
        self, after: str, limit: int, account: str = "", state: str = ""
    ) -> tuple[list[Payment], str | None]:
        """Payments by id, and the cursor behind those that were looked at; ``None``: there are no more. There may be
        fewer than ``limit``, though more follow."""
        found: Sequence[Document] = await self._store.list_documents(COLLECTION, after, limit)
        payments = [
            one for one in map(_payment, found) if account in ("", one.account) and state in ("", one.state.value)
        ]
        return payments, found[-1].id if len(found) == limit else None

    async def _change(self, id: str, changed: Callable[[Payment], Payment]) -> Payment | Refused:
        for _ in range(TRIES_MAX):
            document = await self._store.get_document(COLLECTION, id) if _ID.fullmatch(id) else None
            if document is None:
                return _unknown(id)
            before = _payment(document)
            payment = changed(before)
            if await self._store.update_document(
                replace(document, body=_CODEC.dump(payment), due_us=self._next(payment))
            ):
                self._count_change(before, payment)
                return payment
        return Refused(Code.CONFLICT, f"others keep changing payment {id}", "try again")

    def _count_change(self, before: Payment, after: Payment) -> None:
        if after.state is not before.state:
            self._count(after.state.value)
        if after.taken_back and not before.taken_back:
            self._count(TAKEN_BACK)

    def _next(self, payment: Payment) -> int | None:
        """When it is looked at next: the longer it is open, the later."""
        if payment.state is not State.OPEN:
            return None
        now_us = self._clock.now().wall_us
        age_s = max(0, now_us - payment.made_us) // MICROSECONDS
        return now_us + min(LOOK_MOST_S, max(FIRST_LOOK_S, age_s)) * MICROSECONDS

    def _is_unmade(self, payment: Payment) -> bool:
        return not payment.reference and self._clock.now().wall_us - payment.made_us > UNMADE_S * MICROSECONDS

    def _is_old(self, payment: Payment) -> bool:
        return self._clock.now().wall_us - payment.made_us > OPEN_DAYS * 86_400 * MICROSECONDS


def _unknown(id: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"there is no payment {id[:40]!r}")


def _payment(document: Document) -> Payment:
    try:
        return _CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt(f"the stored payment {document.id} cannot be read") from error
