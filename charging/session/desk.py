"""The desk where the dialplan asks what to do with a caller (`agi.port.CallDesk`).

It looks up who is called, lets `decide` decide, and reserves the money in the same ledger operation that opens the
session. An exception means that there is no answer: the dialplan then does what the operator chose for that case.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from agi.port import Answer, IncomingCall
from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError, LinkDown
from charging.ledger.accounts import Number
from charging.ledger.model import Outcome
from charging.ledger.port import Store
from charging.rating.tariff import Refusal, Tariff
from charging.session.decide import (
    Decision,
    Forward,
    Reason,
    Setup,
    Subscriber,
    Turned,
    afford,
    obstacle,
    refused,
    turned,
)
from charging.session.events import AnswerDoubtful, ForwardFailed
from charging.session.funds import grants_for, reserve_transfer
from charging.session.model import Policy, Session, from_json
from charging.session.ports import Observer, Switch
from charging.session.registry import Registry

RESERVE_TRIES_MAX = 4
"""Other calls of the account may take the money between the look at the balances and the reservation."""

CLOSE_WAIT_S = 1.5
"""How long a caller whose forward failed waits for its money to go back before voicemail is offered."""

FORGET_AT_ONCE_MAX = 200


class Desk:
    """Decides over calls at their set-up."""

    def __init__(
        self,
        *,
        store: Store,
        tariff: Callable[[], Tariff],
        registry: Registry,
        switch: Switch,
        clock: Clock,
        policy: Policy,
        switch_id: str,
        observe: Observer,
    ) -> None:
        self._store = store
        self._tariff = tariff
        self._registry = registry
        self._switch = switch
        self._clock = clock
        self._policy = policy
        self._switch_id = switch_id
        self._observe = observe

    async def incoming(self, request: IncomingCall) -> Answer:
        """Decide over a new call, and reserve what it needs. Raises LedgerError, or LinkDown where the switch has been
        out of reach for longer than the horizon: what is dialled then could not be charged live."""
        self._refuse_blind()
        number = await self._find_number(request.number)
        found = await self._subscriber(number)
        if isinstance(found, Turned):
            return self._turned(found, number)
        stopped = await self._obstacle(found)
        if stopped is not None:
            return self._turned(stopped, found.number)
        decided = await self._reserve(request, found)
        return self._turned(decided, found.number) if isinstance(decided, Turned) else self._forwarded(decided)

    async def unanswered(self, session: str, dial_status: str) -> Answer:
        """The forward was not answered: give its money back, then voicemail or nothing. Raises KeyError for a session
        that is not open, LedgerError or TimeoutError where its money could not be given back in time."""
        runner = self._registry.find(session)
        if runner is None:
            # Another daemon leads: it gives the money back when the caller's channel ends.
            number = await self._store.number(await self._number_of(session))
        else:
            runner.offer(ForwardFailed(dial_status))
            async with asyncio.timeout(CLOSE_WAIT_S):
                await runner.closed.wait()
            number = await self._store.number(runner.session.number)
        subscriber = await self._subscriber(number)
        if isinstance(subscriber, Turned):
            return self._turned(subscriber, number)
        return self._turned(turned(Reason.FORWARD_FAILED, subscriber), number)

    async def abandoned(self, session: str) -> None:
        """The answer could not be delivered: have the switch asked what came of it."""
        if (runner := self._registry.find(session)) is not None:
            runner.offer(AnswerDoubtful())

    def records_to_forget(self) -> list[str]:
        """Keys of black-box records that are booked."""
        return self._registry.forgettable(FORGET_AT_ONCE_MAX)

    def forgotten(self, keys: Sequence[str]) -> None:
        """These records are deleted."""
        self._registry.forgotten(keys)

    async def _number_of(self, session: str) -> str:
        for stored in await self._store.sessions(switch=self._switch_id):
            if stored.id == session:
                return from_json(stored.state, self._clock.now(), stored.epoch).number
        raise KeyError(session)

    def _refuse_blind(self) -> None:
        proven = self._switch.proven_mono_us
        now = self._clock.now().mono_us
        if proven is None or now - proven > self._policy.horizon_s * MICROSECONDS:
            raise LinkDown("the switch has not been heard over AMI for longer than the horizon; nothing is forwarded")

    async def _find_number(self, dialled: str) -> Number | None:
        """Networks send E.164 with or without its plus, or the national form."""
        tariff = self._tariff()
        spellings = [tariff.normalise(dialled), tariff.normalise("+" + dialled.lstrip("+"))]
        for spelling in dict.fromkeys(one for one in spellings if one):
            if (number := await self._store.number(spelling)) is not None:
                return number
        return None

    async def _subscriber(self, number: Number | None) -> Subscriber | Turned:
        if number is None:
            return turned(Reason.UNKNOWN_NUMBER, None)
        account = await self._store.account(number.account)
        if account is None:
            return turned(Reason.UNKNOWN_NUMBER, None)
        plan = self._tariff().plan(account.plan)
        if plan is None:
            return turned(Reason.UNKNOWN_PLAN, None)
        return Subscriber(number, account, plan)

    async def _obstacle(self, subscriber: Subscriber) -> Turned | None:
        number = subscriber.number
        ours = bool(number.forward_to) and await self._store.number(number.forward_to) is not None
        reason = obstacle(subscriber.account, number, ours)
        return None if reason is None else turned(reason, subscriber)

    async def _reserve(self, request: IncomingCall, subscriber: Subscriber) -> Session | Turned:
        now = self._clock.now()
        rate = self._tariff().rate_for(subscriber.plan.name, subscriber.number.forward_to, now.wall_us)
        if isinstance(rate, Refusal):
            return refused(rate, subscriber)
        setup = Setup(
            session=f"{now.wall_us // 1000:x}-{secrets.token_hex(6)}",
            switch=self._switch_id,
            epoch=self._registry.epoch,
            caller=request.caller,
            caller_uid=request.unique_id,
            now=now,
        )
        for _ in range(RESERVE_TRIES_MAX):
            balances = await self._store.balances(subscriber.account.id)
            decided = afford(setup, subscriber, rate, balances, self._policy)
            if isinstance(decided, Turned):
                return decided
            session = await self._open(decided)
            if session is not None:
                return session
        return turned(Reason.NO_CREDIT, subscriber)

    async def _open(self, decided: Forward) -> Session | None:
        """Reserve and open; ``None`` where somebody else was faster with the money."""
        at_us = decided.draft.opened.wall_us
        session, transfer = reserve_transfer(decided.draft, decided.extension, at_us)
        try:
            applied = await self._store.apply(transfer, grants_for(session, session.funding, at_us))
        except (LedgerError, asyncio.CancelledError):
            # The caller waits no longer, and the outcome is unknown: what may be reserved is found and given back.
            self._registry.doubt()
            raise
        if applied.outcome is Outcome.INSUFFICIENT:
            return None
        if not applied.outcome.applied:
            raise LedgerError(f"the reservation was answered {applied.outcome}: {applied.detail}")
        return session

    def _forwarded(self, session: Session) -> Answer:
        self._registry.start(session)
        fields = {"decision": Decision.FORWARD, "reason": session.reason, "quota_s": session.covered_s}
        self._observe("call_decided", session, fields)
        return Answer(
            decision=Decision.FORWARD,
            reason=session.reason,
            session=session.id,
            quota_s=session.covered_s,
            target=session.target,
            ring_s=self._policy.ring_s,
            language=session.language,
            mailbox=session.number.lstrip("+"),
        )

    def _turned(self, outcome: Turned, number: Number | None) -> Answer:
        self._observe("call_decided", None, {"decision": outcome.decision, "reason": outcome.reason})
        mailbox = "" if number is None else number.mailbox or number.number.lstrip("+")
        return Answer(outcome.decision, outcome.reason, ring_s=self._policy.ring_s, mailbox=mailbox)
