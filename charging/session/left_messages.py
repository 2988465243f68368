"""Voicemail messages that the dialplan's fallback took while no daemon answered: charged afterwards.

The switch had no decision to go by, so a message may have been stored on a number whose voicemail is paid. It is
charged once, by an id made of its black-box record, and never beyond what is available.
"""

from __future__ import annotations

from collections.abc import Callable

from charging.clock import Clock
from charging.errors import LedgerError
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Outcome, Transfer
from charging.ledger.port import Store
from charging.rating.tariff import Tariff
from charging.session.decide import Subscriber
from charging.session.events import BlackBoxRead
from charging.session.ports import Observer

TRIES_MAX = 5
"""Other calls may take credit between the look at it and the charge."""


class LeftMessages:
    """Charges them (`Registry`'s ``charge_message``)."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock, observe: Observer) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._observe = observe

    async def charge(self, key: str, box: BlackBoxRead) -> bool:
        """Charge one message; ``False`` where the ledger could not answer."""
        try:
            subscriber = await self._subscriber(box.number)
            if subscriber is None or not subscriber.message_price or not subscriber.buys:
                return True
            charged = await self._charge(key, subscriber)
        except LedgerError as error:
            self._observe("ledger_failed", None, {"error": str(error), "kind": type(error).__name__})
            return False
        fields = {"account": subscriber.account.id, "charged_micro_euro": charged, "price": subscriber.message_price}
        self._observe("left_message_charged", None, fields)
        return True

    async def _subscriber(self, dialled: str) -> Subscriber | None:
        tariff = self._tariff()
        spelling = tariff.normalise("+" + dialled.lstrip("+")) or tariff.normalise(dialled)
        number = await self._store.number(spelling) if spelling else None
        account = await self._store.account(number.account) if number is not None else None
        plan = tariff.plan(account.plan) if account is not None else None
        if number is None or account is None or plan is None:
            return None
        return Subscriber(number, account, plan, tariff.message_price(plan, self._clock.now().wall_us))

    async def _charge(self, key: str, subscriber: Subscriber) -> int:
        account = subscriber.account.id
        for _ in range(TRIES_MAX):
            available = (await self._store.balances(account)).get(CREDIT, Balance()).available
            amount = min(subscriber.message_price, max(0, available))
            if amount == 0:
                return 0
            legs = (Leg(CREDIT, -amount),)
            at_us = self._clock.now().wall_us
            transfer = Transfer(f"message/{key}", account, Kind.CHARGE, at_us, legs, reason="voicemail")
            outcome = (await self._store.apply(transfer)).outcome
            if outcome is not Outcome.INSUFFICIENT:
                # DIFFERS: an earlier attempt, of unknown outcome, has charged what was there then.
                return amount if outcome is Outcome.CREATED else 0
        return 0
