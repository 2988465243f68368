"""Voicemail messages that the dialplan's fallback took while no daemon answered: charged afterwards.

The switch had no decision to go by, so a message may have been stored on a number whose voicemail is paid. It is
charged once, by an id made of its black-box record: to a free message where one is left, else to credit, never beyond
what is available, nor beyond what the plan lets calls and messages cost on the day on which it is charged:

- not where its number was given to the account after the call began: whoever had it then has it no more;
- not where the voicemail's session has charged it: the answer that sold it was lost on its way to the switch, which
  then took the message as a fallback. That session's CDR says so;
- not where the call ended so long ago that the ledger may have forgotten the charge: a switch that deletes no records
  goes on telling of it for years.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from charging.call.decide import Subscriber
from charging.call.events import BlackBoxRead
from charging.call.model import Policy
from charging.call.pieces import Allowance, allowance
from charging.call.voicemail import SERVICE, Voicemail, cdr_document
from charging.clock import MICROSECONDS, Clock
from charging.engine import told
from charging.engine.ports import Observer
from charging.engine.subscribers import find_number, find_subscriber
from charging.errors import LedgerError
from charging.ledger.balances import rooms
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import Balance, Closed, Kind, Leg, Outcome, Transfer
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.pricing.packs import MESSAGES
from charging.tariff.tariff import Tariff
from charging.unguessable import opened_us

FALLBACK = "fallback"
"""The reason that the CDR of such a message gives: nobody decided."""

CHARGEABLE_S = IDS_REMEMBERED_S - 24 * 3600
"""How long after its call a message can still be charged. The day is for a switch whose clock is wrong."""

_UNIQUE = re.compile(r"nosession-(?:.*-)?([0-9]{1,12})\.[0-9]+")
"""Of a call without a session: Asterisk's unique id, which begins with the second in which the channel was made."""

TRIES_MAX = 5
"""Other calls may take credit between the look at it and the charge."""


class LeftMessages:
    """Charges messages that were left without a decision (`Registry`'s ``charge_message``)."""

    def __init__(
        self,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        observe: Observer,
        policy: Policy,
    ) -> None:
        self._store = store
        self._packs = GivenPacks(store.documents)
        self._tariff = tariff
        self._clock = clock
        self._observe = observe
        self._keep_withheld = policy.keep_withheld

    async def charge(self, key: str, box: BlackBoxRead) -> bool:
        """Charge one message. ``False`` if the ledger could not answer."""
        try:
            subscriber = await self._subscriber(box.number)
            if subscriber is None or not subscriber.message_price or not subscriber.buys:
                return True
            if box.ended_us is None or self._is_too_old(box.ended_us):
                self._observe(told.LeftMessageTooOld(subscriber.account.id, key, box.ended_us))
                return True
            if _began_us(key, box.ended_us) < subscriber.number.since_us:
                return True
            if await self._was_sold(key, subscriber.account.id, box.ended_us):
                return True
            charged = await self._charge(key, box, box.ended_us, subscriber)
        except LedgerError as error:
            self._observe(told.LedgerFailed(str(error), type(error).__name__))
            return False
        self._observe(told.LeftMessageCharged(subscriber.account.id, charged, subscriber.message_price))
        return True

    async def _subscriber(self, dialled: str) -> Subscriber | None:
        tariff = self._tariff()
        number = await find_number(self._store.directory, tariff, dialled)
        found = await find_subscriber(self._store.directory, tariff, number, self._clock.now().wall_us)
        return found if isinstance(found, Subscriber) else None

    def _is_too_old(self, ended_us: int) -> bool:
        return self._clock.now().wall_us - ended_us >= CHARGEABLE_S * MICROSECONDS

    async def _was_sold(self, session: str, account: str, ended_us: int) -> bool:
        """Whether a voicemail's session has charged this message. That session is closed and has the record's own end:
        records of open sessions do not come here."""
        rows = await self._store.cdrs(account=account, since_us=ended_us, until_us=ended_us + 1)
        return any(row.session == session and json.loads(row.document).get("messages") for row in rows)

    async def _charge(self, key: str, box: BlackBoxRead, ended_us: int, subscriber: Subscriber) -> int:
        account = subscriber.account.id
        for _ in range(TRIES_MAX):
            balances = await self._store.balances(account)
            included = await self._allowance(subscriber.plan.name, balances)
            message = replace(self._message(key, box, ended_us, subscriber), allowance=included)
            if free := message.included(1, balances):
                held = replace(message, held=free, free=tuple(free))
                grants = held.grants(balances, self._clock.now().wall_us)
                outcome = (await self._store.apply(self._transfer(key, held, {}, ended_us), grants)).outcome
                if outcome is not Outcome.INSUFFICIENT:
                    return 0
                continue
            promos = rooms(balances, message.day)
            own = [balances.get(one, Balance()).available - message.floor(one) for one in message.taken(0)]
            own[0] += sum(promos.values())
            amount = min(subscriber.message_price, max(0, min(own)))
            if amount == 0:
                return 0
            transfer = self._transfer(key, replace(message, price=amount), promos, ended_us)
            outcome = (await self._store.apply(transfer)).outcome
            if outcome is not Outcome.INSUFFICIENT:
                # DIFFERS: an earlier attempt of unknown outcome has charged the message, by the balances of then.
                return amount if outcome is Outcome.CREATED else 0
        return 0

    def _message(self, key: str, box: BlackBoxRead, ended_us: int, subscriber: Subscriber) -> Voicemail:
        now, tariff = self._clock.now(), self._tariff()
        return Voicemail(
            id=f"message-{key}",
            account=subscriber.account.id,
            number=subscriber.number.number,
            caller="" if box.withheld and not self._keep_withheld else box.caller,
            withheld=box.withheld,
            plan=subscriber.plan.name,
            language=subscriber.account.language.value,
            switch=box.switch,
            reason=FALLBACK,
            price=subscriber.message_price,
            tariff_revision=tariff.revision,
            tariff_digest=tariff.digest,
            opened=replace(now, wall_us=ended_us),
            day=tariff.day_of(now.wall_us).isoformat(),
            day_cap=subscriber.plan.max_credit_per_day,
            caller_uid="",
            dial_status=box.dial_status,
        )

    async def _allowance(self, plan: str, balances: Mapping[str, Balance]) -> Allowance:
        tariff = self._tariff()
        held = await self._packs.held(tariff.terms, balances)
        return allowance(tariff, plan, MESSAGES, self._clock.now().wall_us, held=held)

    def _transfer(self, key: str, message: Voicemail, promos: Mapping[str, int], ended_us: int) -> Transfer:
        """Make the charge together with its CDR, which is dated by the charge, however old the message is."""
        now_us, (cost, free) = self._clock.now().wall_us, message.charge(1)
        taken = {**message.taken(cost, promos), **free}
        document = cdr_document(message, stored=True, promos=promos, ended_us=ended_us)
        return Transfer(
            id=f"message/{key}",
            account=message.account,
            kind=Kind.CHARGE,
            at_us=now_us,
            legs=tuple(Leg(one, -taken[one], 0, message.floor(one)) for one in sorted(taken)),
            session=message.id,
            change=Closed(document, now_us, opens=True),
            reason=SERVICE,
        )


def _began_us(key: str, ended_us: int) -> int:
    """When a call began, by its record's key: to the second, or as its session was opened; else no later than it
    ended."""
    unique = _UNIQUE.fullmatch(key)
    began_us = opened_us(key) if unique is None else int(unique[1]) * MICROSECONDS
    return ended_us if began_us is None else min(began_us, ended_us)
