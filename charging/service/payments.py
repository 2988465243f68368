"""Payments for credit that customers buy on their page, from the provider's checkout to the journal (R2, R22).

A payment is stored before the provider hears of it, with an amount that the tariff has on sale then. Only the
provider's own answer, asked for with the operator's key, decides its state: a web hook that reports a payment only
makes us ask. It is credited by a transfer whose id contains the provider's id of the payment. So it is credited once,
however often it is reported and whichever process is killed in between. If a report was missed, the provider is asked
again until the payment is over (`due`).

A payment that was paid and cannot be credited is *stuck*: the account is closed, the amount differs, or it was paid
back meanwhile. So is one about which the provider could not be asked until it was too old. A person decides about it,
and no later answer credits it. Credit is never taken back automatically: R21 knows no refunds. If the bank takes money
back after a dispute, the operator is told and corrects the credit by hand.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Status
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.pricing.money import format_euro
from charging.records import Codec, dataclass
from charging.service.money import Money
from charging.service.proven_time import dated, proven
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.tariff.tariff import Tariff

COLLECTION = "payments"
EURO = "EUR"
DAY_US = 86_400 * MICROSECONDS
FIRST_LOOK_S = 60
LOOK_MOST_S = 6 * 3600
"""The pause between two looks doubles up to that."""
OPEN_DAYS = 30
"""A payment that is open for longer is given up: every way to pay is over by then."""
KEPT_DAYS = 90
"""What was never paid is forgotten so long after it was begun; what was paid belongs to the books."""
OPEN_MOST = 10
"""Of one account at a time."""
BEGUN_MOST = 300
"""Of one account in OPEN_DAYS, whatever became of them."""
LOOKED_THROUGH = 10 * BEGUN_MOST
"""For an account's open payments: among them may be another's, whose ids begin as its own."""
UNMADE_S = 3600
"""The same of one that the provider has not: nobody was sent to pay it."""
PAGE = 100
TRIES_MAX = 20
TAKEN_BACK = "taken_back"
"""How that is counted, beside each state that a payment comes to."""
UNASKED = f"the provider could not be asked for {OPEN_DAYS} days"
PAID_BACK = "paid back before it was credited"

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
    """Paid, or perhaps paid, and not credited: a person decides."""


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
        """``count`` is called once for each new state of a payment, with the state's word or TAKEN_BACK."""
        self._count = count
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._money = money
        self._unreadable: set[str] = set()

    async def begin(self, account: str, amount: int, provider: str) -> Payment | Refused:
        """Note that a customer wants to buy ``amount`` micro-euro of credit. Raises LedgerUnavailable."""
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        if stored.status is Status.CLOSED:
            return closed_account(account)
        expected = self._tariff().top_up_refusal(amount)
        if expected is not None:
            return Refused(Code.NOT_ALLOWED, f"found a top-up of {format_euro(amount)}, expected {expected}")
        if await self._has_many_open(account):
            message = f"account {account!r} has {OPEN_MOST} open payments, or too many in {OPEN_DAYS} days"
            return Refused(Code.UNAVAILABLE, message, "pay one of them, or wait until one is over")
        now_us = await dated(self._store, self._clock)
        payment = Payment(_new_id(account, now_us), account, provider, amount, now_us)
        body, due_us = _CODEC.dump(payment), _next(payment, self._clock.now().wall_us)
        if await self._store.documents.put_document(COLLECTION, payment.id, body, due_us) is Put.EXISTS:
            return Refused(Code.CONFLICT, "the payment's id was taken", "try again")
        return payment

    async def _has_many_open(self, account: str) -> bool:
        """Whether the account has OPEN_MOST open payments, or has begun BEGUN_MOST in the last OPEN_DAYS. They are
        found by the prefix of their ids. What another account has begun counts for nothing, however its ids begin."""
        mine = after = _beginning(account)
        oldest_us, opened, begun = self._clock.now().wall_us - OPEN_DAYS * DAY_US, 0, 0
        for _ in range(LOOKED_THROUGH // PAGE):
            found = await self._store.documents.list_documents(COLLECTION, after, PAGE)
            ours = [document for document in found if document.id.startswith(mine)]
            payments = [one for one in self._readable(ours) if one.account == account]
            opened += sum(one.state is State.OPEN for one in payments)
            begun += sum(one.made_us >= oldest_us for one in payments)
            if opened >= OPEN_MOST or begun >= BEGUN_MOST:
                return True
            if len(ours) < PAGE or (payments and payments[-1].made_us < oldest_us):
                return False
            after = found[-1].id
        return False

    async def known_by(self, id: str, reference: str, checkout: str) -> Payment | Refused:
        """Note the provider's id of the payment and the address of its checkout. Raises LedgerUnavailable."""
        if not _REFERENCE.fullmatch(reference) or not _CHECKOUT.fullmatch(checkout):
            return Refused(Code.INVALID, "found what is no payment of a provider's")

        def changed(payment: Payment, _now_us: int) -> Payment:
            return payment if payment.reference else replace(payment, reference=reference, checkout=checkout)

        return await self._change(id, changed)

    async def settle(self, id: str, outcome: Outcome) -> Payment | Refused:
        """Book the provider's answer about a payment, once. Raises LedgerUnavailable: ask and call again."""
        payment = await self.get(id)
        if isinstance(payment, Refused):
            return payment
        if payment.reference != outcome.reference:
            message = f"payment {id} is {payment.reference!r} at {payment.provider}, not {outcome.reference[:80]!r}"
            return Refused(Code.NOT_ALLOWED, message)
        booked = None
        if (outcome.is_paid or outcome.taken_back) and payment.state is not State.CREDITED:
            booked = await self._booked(payment, outcome)
        return await self._change(id, lambda newest, now_us: self._settled(newest, outcome, booked, now_us))

    @staticmethod
    def _settled(newest: Payment, outcome: Outcome, booked: tuple[State, str] | None, now_us: int) -> Payment:
        """What an answer makes of a payment as it is stored now: another answer may have come between. What is credited
        stays so, and what was taken back."""
        state, why = newest.state, newest.why
        if state is not State.CREDITED and booked is not None:
            state, why = booked
        elif outcome.is_over and not outcome.is_paid and (state is State.OPEN or why == UNASKED):
            state, why = State.FAILED, ""
        elif state is State.OPEN and now_us - newest.made_us > OPEN_DAYS * DAY_US:
            state, why = State.FAILED, f"not paid in {OPEN_DAYS} days"
        return replace(newest, state=state, why=why, taken_back=newest.taken_back or outcome.taken_back)

    async def not_now(self, id: str) -> Payment | Refused:
        """Put a payment off because the provider gave no answer about it. One that the provider never had becomes
        failed, one without an answer for too long becomes stuck, and one that failed long ago is deleted."""

        def changed(payment: Payment, now_us: int) -> Payment | None:
            age_us = now_us - payment.made_us
            if payment.state is State.FAILED and age_us >= KEPT_DAYS * DAY_US:
                return None
            if payment.state is State.OPEN and payment.reference and age_us > OPEN_DAYS * DAY_US:
                return replace(payment, state=State.STUCK, why=UNASKED)
            if payment.state is State.OPEN and not payment.reference and age_us > UNMADE_S * MICROSECONDS:
                return replace(payment, state=State.FAILED, why="the provider never had it")
            return payment

        return await self._change(id, changed)

    async def _booked(self, payment: Payment, outcome: Outcome) -> tuple[State, str]:
        """Credit a payment that was paid: the new state, and the reason if it cannot be credited."""
        key = f"{payment.provider}-{payment.reference}"
        taken_back = payment.taken_back or outcome.taken_back
        if taken_back or payment.state is State.STUCK:
            # It may have been credited already: the daemon was killed before that was noted, or the person who decided
            # has credited it. If that person gave the credit by a correction, a later answer must not credit it a
            # second time; anyone who knows the payment's hook can cause such an answer.
            is_credited = await self._money.was_topped_up(payment.account, payment.amount, key)
            return (State.CREDITED, "") if is_credited else (State.STUCK, PAID_BACK if taken_back else payment.why)
        if outcome.currency != EURO or outcome.amount != payment.amount:
            paid = f"{format_euro(outcome.amount)} {outcome.currency[:10]}"
            return State.STUCK, f"{paid} was paid for {format_euro(payment.amount)} {EURO}"
        credited = await self._money.top_up(payment.account, payment.amount, key, sold=True)
        return (State.STUCK, credited.message) if isinstance(credited, Refused) else (State.CREDITED, "")

    async def get(self, id: str) -> Payment | Refused:
        """One payment."""
        document = await self._store.documents.get_document(COLLECTION, id) if _ID.fullmatch(id) else None
        return _unknown(id) if document is None else _payment(document)

    async def due(self) -> list[Payment]:
        """Open payments to ask the provider about now, and failed ones to delete: most overdue first, PAGE at most."""
        found = await self._store.documents.due_documents(COLLECTION, self._clock.now().wall_us, PAGE)
        return self._readable(found)

    async def page(
        self, after: str, limit: int, account: str = "", state: str = ""
    ) -> tuple[list[Payment], str | None]:
        """Payments by id, and the cursor behind those that were looked at; ``None``: there are no more. There may be
        fewer than ``limit``, though more follow."""
        found: Sequence[Document] = await self._store.documents.list_documents(COLLECTION, after, limit)
        payments = [
            one for one in self._readable(found) if account in ("", one.account) and state in ("", one.state.value)
        ]
        return payments, found[-1].id if len(found) == limit else None

    def _readable(self, found: Sequence[Document]) -> list[Payment]:
        """One that cannot be read hides none of the others; it is logged once."""
        payments = []
        for document in found:
            try:
                payments.append(_payment(document))
            except LedgerCorrupt as error:
                if document.id not in self._unreadable:
                    self._unreadable.add(document.id)
                    log.error("payment_unreadable", payment=document.id, why=str(error))
        return payments

    async def _change(self, id: str, changed: Callable[[Payment, int], Payment | None]) -> Payment | Refused:
        """Apply ``changed`` to the newest stored payment and the time that is `proven`, and return the result. If it
        returns ``None``, the payment is deleted."""
        now_us = await proven(self._store, self._clock)
        for _ in range(TRIES_MAX):
            document = await self._store.documents.get_document(COLLECTION, id) if _ID.fullmatch(id) else None
            if document is None:
                return _unknown(id)
            before = _payment(document)
            payment = changed(before, now_us)
            if payment is None:
                if await self._store.documents.delete_document(document):
                    return before
            elif await self._store.documents.update_document(
                replace(document, body=_CODEC.dump(payment), due_us=_next(payment, now_us or self._clock.now().wall_us))
            ):
                self._tell(before, payment)
                return payment
        return Refused(Code.CONFLICT, f"others keep changing payment {id}", "try again")

    def _tell(self, before: Payment, after: Payment) -> None:
        """Log and count what a payment has become, once."""
        facts = {"payment": after.id, "account": after.account, "reference": after.reference}
        if after.state is not before.state:
            self._count(after.state.value)
            if after.state is State.STUCK:
                log.error("payment_not_credited", **facts, why=after.why)
            elif after.state is State.CREDITED:
                log.info("payment_credited", **facts)
        if _is_lost(after) and not _is_lost(before):
            self._count(TAKEN_BACK)
            log.error("payment_taken_back", **facts)


def _next(payment: Payment, now_us: int) -> int | None:
    """When it is looked at next: the longer it is open, the later; what was never paid when it is forgotten."""
    if payment.state is State.FAILED:
        return payment.made_us + KEPT_DAYS * DAY_US
    if payment.state is not State.OPEN:
        return None
    age_s = max(0, now_us - payment.made_us) // MICROSECONDS
    return now_us + min(LOOK_MOST_S, max(FIRST_LOOK_S, age_s)) * MICROSECONDS


def _beginning(account: str) -> str:
    """How the ids of an account's payments begin; another's may begin so, too."""
    return hashlib.sha256(account.encode()).hexdigest()[:8]


def _new_id(account: str, now_us: int) -> str:
    """Payments of an account stand together, the newest first; none can be guessed."""
    back_s = (1 << 40) - now_us // MICROSECONDS
    return f"{_beginning(account)}{back_s:010x}{secrets.token_hex(7)}"


def _is_lost(payment: Payment) -> bool:
    """Whether the money was taken back, and the credit stays."""
    return payment.taken_back and payment.state is State.CREDITED


def _unknown(id: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"there is no payment {id[:40]!r}")


def _payment(document: Document) -> Payment:
    try:
        return _CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt(f"the stored payment {document.id} cannot be read") from error
