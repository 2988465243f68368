"""The desk: what to do with a caller (`agi.port.CallDesk`).

It finds the subscriber, lets `decide` decide, and reserves the money in the ledger operation that opens the session. If
it raises, the dialplan gets no answer and takes the fallback that the operator chose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from agi.port import Answer, Declined, IncomingCall, Unproven
from charging.call.booking import grants_for, reserve_transfer
from charging.call.decide import (
    CAME_BACK,
    DRAINING,
    NO_ROOM,
    TOO_MANY_GIVEN_UP,
    TOO_MANY_MESSAGES,
    TOO_MANY_WAIT,
    Cause,
    Decision,
    NotForwarded,
    Reason,
    Setup,
    Subscriber,
    Unsold,
    afford,
    cause_of,
    is_among,
    is_beyond_day,
    is_returned,
    mailbox_of,
    obstacle,
    refused,
    source_of,
    spellings,
    subscriber_of,
    turned,
    without_voicemail,
)
from charging.call.decided import Decided, Fallback, Notes, Turn
from charging.call.events import AnswerDoubtful, ForwardFailed
from charging.call.model import Policy, Session, State
from charging.call.pieces import Allowance, allowance
from charging.call.storage import Record, revive
from charging.call.voicemail import Voicemail, open_transfer
from charging.clock import MICROSECONDS, Clock, day_name
from charging.engine.ports import Observer, Switch
from charging.engine.runner import SessionRunner
from charging.engine.sessions import NO_SESSION, Registry
from charging.engine.subscribers import find_subscriber
from charging.engine.told import CallDecided, CallerNotLookedUp, MessageNotSold, TargetUncertain
from charging.errors import LedgerError, LinkDown, SwitchError
from charging.ledger.accounts import REHEARSAL, Account, Number
from charging.ledger.balances import rooms, spendable, with_rules
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import CALLS, Balance, Called, Outcome, Transfer
from charging.ledger.port import Store
from charging.limits import Limits
from charging.pricing.packs import MESSAGES
from charging.records import dataclass
from charging.tariff.tariff import Refusal, Tariff
from charging.unguessable import session_id

RESERVE_TRIES_MAX = 4
"""Other calls of the account may take the money between the look at the balances and the reservation."""

CLOSE_WAIT_S = 1.5
"""How long a caller whose forward failed waits for its money to go back before voicemail is offered."""

AT_ONCE_MAX = 16
"""So many set-ups of one caller, or to one number, are decided at the same time. On a machine that keeps up that is far
more than a plan lets be forwarded; behind a flood it is what leaves the others their turn. The shipped dialplan counts,
too, and turns most of them away before they are asked about. It does not see who has hung up while he is decided about,
what waits at another switch, nor anything where it was edited."""

UNPROVEN_AT_ONCE_MAX = 4 * AT_ONCE_MAX
"""So many of one caller, or to one number, wait for the switch's word that they are calls. No forgery goes further, so
they keep no caller of that number away until they hold a third of FastAGI's places."""

_FALLBACKS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Fallback], ...] = (
    (Unproven, Fallback.UNPROVEN),
    (Declined, Fallback.DECLINED),
    (LinkDown, Fallback.SWITCH_SILENT),
    (LedgerError, Fallback.LEDGER_UNAVAILABLE),
    ((TimeoutError, asyncio.CancelledError), Fallback.TOO_LATE),
)


def _gifts(voicemail: Voicemail, balances: Mapping[str, Balance]) -> object:
    """What may pay for a message before bought credit does."""
    return rooms(balances, voicemail.day), voicemail.included(1, balances)


@dataclass(frozen=True, slots=True)
class MissedCall:
    """A call that was not answered for want of credit. The subscriber is notified (R13)."""

    account: Account
    number: str
    caller: str
    """Empty where it is withheld or unknown."""
    call: str
    """Unique to the call."""
    at_us: int
    """Wall clock."""
    cause: Cause


def _obstacle(subscriber: Subscriber, called: Called) -> NotForwarded | None:
    reason = obstacle(subscriber.account, subscriber.number, called.target_is_ours)
    return None if reason is None else turned(reason, subscriber)


async def nobody_is_told(_missed: MissedCall) -> None:
    """Send no notice: for a daemon without a section ``mail``."""


def _comes_too_often(known: Limits | None, source: str, now_us: int) -> bool:
    """A forward that is given up while it rings, or a paid voicemail without a message, costs its caller nothing, and
    leaves two lines in the journal and a CDR; a message takes the room of others' in its mailbox. What he leaves by
    calling one number is bounded. All numbers together are not: a call centre shows one number for many calls, and a
    stranger who writes another's number must not keep him from all."""
    return known is not None and source in known.spread_us and known.wait_s(source, now_us) > 0


class _Crowds:
    """Limits how many set-ups of one caller, and to one number, are decided at a time. The excess is turned away before
    anything is looked up in the ledger, and other calls are not held up."""

    def __init__(self, at_once_max: int) -> None:
        self._most = at_once_max
        self._at_once: dict[str, int] = {}

    def enters(self, number: str, caller: str) -> Sequence[str] | None:
        """Count one more set-up. Returns what to give to :meth:`leaves` when it is over; ``None`` if there are too
        many like it. Callers without a number count towards the called number alone."""
        sources = (f"to {number}", f"by {caller}") if caller else (f"to {number}",)
        for source in sources:
            if self._at_once.get(source, 0) >= self._most:
                return None
        for source in sources:
            self._at_once[source] = self._at_once.get(source, 0) + 1
        return sources

    def leaves(self, sources: Sequence[str]) -> None:
        """Count the set-up as over."""
        for source in sources:
            if self._at_once[source] == 1:
                del self._at_once[source]
            else:
                self._at_once[source] -= 1


class Desk:
    """Decides over calls at their set-up, and after a forward that was not answered."""

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
        missed: Callable[[MissedCall], Awaitable[None]] = nobody_is_told,
        keep: Callable[[Callable[[], Decided]], None] = lambda _made: None,
        turns_away: Callable[[], NotForwarded | None] = lambda: None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """``missed`` is called for each call that is not answered for want of credit; the caller waits for it, so it
        must return soon. ``keep`` is called for each decision with what makes the words about it, when nobody waits for
        it, and must not wait. ``turns_away`` says what becomes of all new calls, whoever calls; ``None``: each is
        decided. While ``has_room`` is false, no call goes to voicemail."""
        self._store = store
        self._packs = GivenPacks(store.documents)
        self._tariff = tariff
        self._registry = registry
        self._switch = switch
        self._clock = clock
        self._policy = policy
        self._switch_id = switch_id
        self._observe = observe
        self._missed = missed
        self._keep = keep
        self._turns_away = turns_away
        self._has_room = has_room
        self._unproven, self._crowds = _Crowds(UNPROVEN_AT_ONCE_MAX), _Crowds(AT_ONCE_MAX)

    # --- a new call -------------------------------------------------------------------------------------------

    async def incoming(self, request: IncomingCall) -> Answer:
        """Decide over a new call, and reserve what it needs. Raises Unproven (the switch knows of no such call),
        LedgerError, or LinkDown if the switch was not heard for longer than the horizon: a call that starts then could
        not be charged live."""
        notes = Notes.of(request, self._tariff(), self._clock.now())
        if (outcome := self._turns_away()) is not None:
            return self._noted(notes, self._turned(outcome, None, outcome, request.number))
        source = notes.source = source_of(request.caller, request.number)
        try:
            if _comes_too_often(self._registry.uncharged.given_up, source, self._clock.now().mono_us):
                return self._noted(notes, self._turned(TOO_MANY_GIVEN_UP, None, TOO_MANY_GIVEN_UP, request.number))
            self._refuse_blind()
            is_call = await self._is_call(request)
            if not is_call or (turn := self._crowds.enters(request.number, request.caller)) is None:
                return self._noted(notes, self._turned(TOO_MANY_WAIT, None, TOO_MANY_WAIT, request.number))
            try:
                return self._noted(notes, await self._decide(request, source, notes))
            finally:
                self._crowds.leaves(turn)
        except BaseException as error:  # also when the deadline passes
            self._failed(notes, error)
            raise

    async def _decide(self, request: IncomingCall, source: str, notes: Notes) -> Answer:
        if request.is_withheld and not self._policy.keep_withheld:
            request = replace(request, caller="")
        called = await self._called(request)
        number, account = (None, None) if called is None else (called.number, called.account)
        found = subscriber_of(self._tariff(), number, account, self._clock.now().wall_us)
        notes.belongs_to(number, found)
        if isinstance(found, NotForwarded):
            return self._turned(found, number, found, request.number)
        assert called is not None, "a subscriber was called"
        vain = self._registry.uncharged.in_vain
        wait_s: int | None = 0
        if found.account.id in vain.accounts:
            wait_s = vain.wait_s(found.account.id, found.number.forward_to)
        decided = (
            (DRAINING if self._registry.policy.refuses_new else None)
            or _obstacle(found, called)
            or await self._came_back(request, found)
            or (turned(Reason.TOO_MANY_UNANSWERED, found) if wait_s is None else None)
            or await self._reserve(request, found, called.balances, notes)
        )
        if not isinstance(decided, NotForwarded):
            self._registry.start(decided, source)
            return self._forwarded(decided, found.number, wait_s or 0)
        decided = self._with_room(decided, source)
        voicemail = await self._sell_voicemail(request, found, decided, called.balances, notes)
        if voicemail is not None:
            self._registry.start(voicemail, source)
            return self._to_paid_voicemail(voicemail, found.number)
        await self._tell_if_missed(decided, found, "" if request.is_withheld else request.caller, notes)
        return self._turned(decided, found.number, found, request.number)

    # --- a forward that was not answered ----------------------------------------------------------------------

    async def unanswered(self, session: str, dial_status: str) -> Answer:
        """The forward was not answered: give its money back, then decide between voicemail and rejecting. Raises
        Declined if the session is not open, or if another daemon must answer; LedgerError or TimeoutError if the money
        could not be given back in time."""
        notes = Notes(Turn.UNANSWERED, self._clock.now(), session=session, detail=dial_status)
        try:
            return self._noted(notes, await self._decide_unanswered(session, dial_status, notes))
        except BaseException as error:  # also when the deadline passes
            self._failed(notes, error)
            raise

    async def _decide_unanswered(self, session: str, dial_status: str, notes: Notes) -> Answer:
        runner, record = await self._open_session(session)
        notes.begun_by(record)
        notes.source = (runner.source if runner else "") or source_of(notes.caller, record.number)
        number = await self._store.directory.number(record.number)
        if number is not None and number.account != record.account:
            number = None  # it has changed hands: neither account has to do with this call
        subscriber = await self._subscriber(number)
        notes.belongs_to(number, subscriber)
        outcome = subscriber if isinstance(subscriber, NotForwarded) else turned(Reason.FORWARD_FAILED, subscriber)
        outcome = self._with_room(outcome, notes.source)
        sells = isinstance(subscriber, Subscriber) and outcome.sells_voicemail
        if runner is None:
            # Only the daemon that leads can sell a message. It gives the money back when the caller's channel ends.
            if sells:
                raise Declined("the session is another daemon's")
            return self._turned(outcome, number, subscriber, record.number)
        price = subscriber.message_price if isinstance(subscriber, Subscriber) and sells else None
        notes.message_price = price
        balances = await self._store.balances(record.account) if price else {}
        included = await self._included(record.plan, balances) if price else None
        runner.offer(ForwardFailed(dial_status, price, balances, included))
        async with asyncio.timeout(CLOSE_WAIT_S):
            await runner.forward_over()
        if isinstance(subscriber, Subscriber):
            if isinstance(runner.session, Voicemail):
                return self._to_paid_voicemail(runner.session, subscriber.number)
            if isinstance(runner.session, Session):
                failed = runner.session
                await self._tell_if_missed(outcome, subscriber, "" if failed.withheld else failed.caller, notes)
        return self._turned(outcome, number, subscriber, record.number)

    # --- an answer that was not delivered, or not given; why it was decided so --------------------------------

    async def abandoned(self, session: str, *, undelivered: bool = False) -> None:
        """The answer could not be delivered: ask the switch what came of it, unless its caller left before."""
        notes = Notes(Turn.DELIVERY, self._clock.now(), session=session)
        runner = self._registry.open.find(session)
        if runner is None and undelivered and (opened := self._registry.aside.take(session)) is not None:
            # The daemon that leads hears nothing of it, and would hold its money until setup_timeout_s.
            runner = self._registry.begin(opened[0])
            runner.source = opened[1]
        if runner is not None:
            notes.begun_by(runner.session)
            runner.offer(AnswerDoubtful(undelivered))
        self._undecided(notes, Fallback.NOT_DELIVERED, "")

    def _failed(self, notes: Notes, error: BaseException) -> None:
        """Keep what is known of a call that got no answer."""
        why = next((why for kinds, why in _FALLBACKS if isinstance(error, kinds)), Fallback.FAILED)
        detail = f"{type(error).__name__}: {error}" if why is Fallback.FAILED else str(error)
        self._undecided(notes, why, " ".join(filter(None, (notes.detail, detail))))

    def _undecided(self, notes: Notes, why: Fallback, detail: str) -> None:
        self._registry.booked.explain(NO_SESSION + notes.caller_uid)
        self._keep(partial(notes.failed, why, detail, self._clock.now(), self._switch_id))

    def _with_room(self, outcome: NotForwarded, source: str) -> NotForwarded:
        """What becomes of the call if voicemail takes no message of it."""
        if not self._has_room():
            return without_voicemail(outcome, NO_ROOM)
        if _comes_too_often(self._registry.uncharged.messages, source, self._clock.now().mono_us):
            return without_voicemail(outcome, TOO_MANY_MESSAGES)
        return outcome

    def _noted(self, notes: Notes, answer: Answer) -> Answer:
        self._keep(partial(notes.decided, answer, self._clock.now()))
        return answer

    # --- who calls, who is called, whether a call may be forwarded now ----------------------------------------

    async def _open_session(self, session: str) -> tuple[SessionRunner | None, Record]:
        """The runner of an open session, and what it is. One that another desk has opened comes to life if this daemon
        leads, for its caller waits; on one that stands by there is no runner. Raises Declined, LedgerError."""
        if (runner := self._registry.open.find(session)) is None:
            stored = await self._store.session(session, self._switch_id)
            if stored is None or self._registry.closed.get(session) is not None:
                raise Declined("no such session is open")
            if not self._registry.leads():
                return None, revive(stored.state, self._clock.now(), stored.epoch)
            if (runner := self._registry.open.find(session)) is None:
                runner = self._registry.revive(stored)
                self._registry.paid_first.begin([runner])
        return runner, runner.session

    def _refuse_blind(self) -> None:
        proven = self._switch.proven_mono_us
        now = self._clock.now().mono_us
        if proven is None or now - proven > self._policy.horizon_s * MICROSECONDS:
            raise LinkDown("the switch has not been heard over AMI for longer than the horizon; nothing is forwarded")

    async def _is_call(self, request: IncomingCall) -> bool:
        """Ask the switch whether the caller's channel has this conversation's proof. Any client that reaches FastAGI
        can ask about any number, and so could occupy an account's calls; but it cannot set the proof, even if it
        guesses a channel's unique id. If the switch does not answer although its link lives, the request is believed:
        what it reserves for nothing is given back after ``setup_timeout_s``. ``False``: too many like it wait for that
        answer. Raises Unproven."""
        if (waits := self._unproven.enters(request.number, request.caller)) is None:
            return False
        try:
            if not await self._switch.is_asking(request.unique_id, request.proof):
                raise Unproven(f"the switch has no call {request.unique_id} that asks about {request.number}")
        except SwitchError as error:
            self._observe(CallerNotLookedUp(str(error)))
        finally:
            self._unproven.leaves(waits)
        return True

    async def _called(self, request: IncomingCall) -> Called | None:
        """Find the called number. The number of a rehearsal exists only for a rehearsal: other callers would be
        forwarded at its cost. Raises LedgerError, SwitchError."""
        directory, asked = self._store.directory, request.number
        # Most networks write a number as the directory does: then it needs no reading, which takes 0.1 ms.
        called = await directory.called((asked,)) if asked.startswith("+") else None
        if called is None:
            called = await directory.called(spellings(self._tariff(), asked))
        if called is None or called.number.account != REHEARSAL:
            return called
        return called if await self._switch.is_rehearsal(request.unique_id) else None

    async def _subscriber(self, number: Number | None) -> Subscriber | NotForwarded:
        return await find_subscriber(self._store.directory, self._tariff(), number, self._clock.now().wall_us)

    async def _came_back(self, request: IncomingCall, subscriber: Subscriber) -> NotForwarded | None:
        """Refuse a call that is this account's own forward, coming back.

        A phone that diverts to the subscriber's own number would turn one call into as many as the plan allows, each
        charged as soon as voicemail answers the last. The network's headers count only while a forward of the account
        rings: some carriers name the called number in each call, and a phone's network may name the phone alone. A
        daemon that stands by knows its own forwards, and whether the account has an open call. A forward that is not
        dialled yet is not recognised by its caller: he may have hung up and called again.
        """
        registry, account = self._registry, subscriber.account.id
        aside = () if registry.leads() else registry.aside.unanswered(account, self._clock.now())
        forwards = (*registry.open.unanswered(account), *aside)
        if not (forwards or request.diverted or request.is_diverted_further):
            return None
        number, spelled = subscriber.number.number, cache(partial(spellings, self._tariff()))
        diverted = cache(partial(is_among, self._tariff(), written=request.diverted))
        for forward in forwards:
            if diverted(forward.number) or diverted(forward.target):
                return CAME_BACK
            if forward.number != number:
                continue
            if request.is_diverted_further:
                return CAME_BACK
            caller, withheld, by = request.caller, request.is_withheld, self._policy.loop_evidence
            if forward.state is State.RINGING and is_returned(caller, withheld, forward, spelled, by):
                return CAME_BACK
        is_diverted = request.is_diverted_further or diverted(number) or diverted(subscriber.number.forward_to)
        if not is_diverted or registry.leads():
            return None
        open_calls = (await self._store.balances(account)).get(CALLS, Balance()).reserved
        return CAME_BACK if open_calls else None

    # --- what money allows ------------------------------------------------------------------------------------

    async def _reserve(
        self, request: IncomingCall, subscriber: Subscriber, balances: Mapping[str, Balance], notes: Notes
    ) -> Session | NotForwarded:
        """Reserve the forward's first stretch, and return its session. ``balances`` are as read just now; the ledger
        checks again when it reserves."""
        now = self._clock.now()
        tariff = self._tariff()
        ruled = with_rules(balances)
        held = await self._packs.held(tariff.terms, ruled) if ruled else {}
        terms = tariff.monthly_terms(subscriber.plan.name)
        if terms is not None and terms.edition not in self._packs.kept:
            await self._packs.keep(terms)  # before a month may be granted under them
        rate = tariff.rate_for(subscriber.plan.name, subscriber.number.forward_to, now.wall_us, held)
        if isinstance(rate, Refusal):
            if rate is Refusal.NOT_A_NUMBER:
                self._observe(TargetUncertain(subscriber.account.id))
            return refused(rate, subscriber)
        if subscriber.account.id == REHEARSAL:
            rate = rate.rehearsed()
        notes.destination = rate.destination
        setup = Setup(
            session=session_id(now.wall_us),
            switch=self._switch_id,
            epoch=self._registry.epoch,
            caller=request.caller,
            withheld=request.is_withheld,
            caller_uid=request.unique_id,
            now=now,
            boot=self._clock.boot,
        )
        for _ in range(RESERVE_TRIES_MAX):
            notes.saw(balances, day_name(rate.zone_info, now.wall_us))
            decided = afford(setup, subscriber, rate, balances, self._registry.policy)
            if isinstance(decided, NotForwarded):
                return decided
            at_us = decided.draft.opened.wall_us
            opening = decided.draft, decided.extension, at_us, decided.reason.value
            session, transfer = reserve_transfer(*opening, is_only_try=True)
            if await self._open(transfer, grants_for(decided.draft, session.funding, balances, at_us)):
                return session
            setup = replace(setup, session=session_id(now.wall_us))
            balances = await self._store.balances(subscriber.account.id)
        return turned(Reason.NO_CREDIT, subscriber)

    async def _sell_voicemail(
        self,
        request: IncomingCall,
        subscriber: Subscriber,
        why: NotForwarded,
        balances: Mapping[str, Balance],
        notes: Notes,
    ) -> Voicemail | None:
        """Reserve the price of a message (R6, R13), which counts towards the plan's credit a day. ``None`` if no
        message is for sale or it cannot be paid. ``balances`` are as read just now."""
        if not why.sells_voicemail:
            return None
        notes.message_price = subscriber.message_price
        now, tariff = self._clock.now(), self._tariff()
        wanted = Voicemail(
            id=session_id(now.wall_us),
            account=subscriber.account.id,
            number=subscriber.number.number,
            caller=request.caller,
            withheld=request.is_withheld,
            plan=subscriber.plan.name,
            language=subscriber.account.language.value,
            switch=self._switch_id,
            reason=why.reason.value,
            price=subscriber.message_price,
            tariff_revision=tariff.revision,
            tariff_digest=tariff.digest,
            opened=now,
            caller_uid=request.unique_id,
            day=tariff.day_of(now.wall_us).isoformat(),
            day_cap=subscriber.plan.max_credit_per_day,
            epoch=self._registry.epoch,
            check_mono_us=now.plus(self._policy.setup_timeout_s).mono_us,
            allowance=await self._included(subscriber.plan.name, balances),
        )
        for _ in range(RESERVE_TRIES_MAX):
            voicemail, transfer = open_transfer(wanted, balances, now.wall_us)
            if await self._open(transfer, voicemail.grants(balances, now.wall_us)):
                notes.message_price = voicemail.charge(1)[0]
                return voicemail
            wanted = replace(wanted, id=session_id(now.wall_us))
            before, balances = _gifts(wanted, balances), await self._store.balances(wanted.account)
            if _gifts(wanted, balances) == before:
                break  # other calls have taken neither promotional credit nor a free message
        return None

    async def _included(self, plan: str, balances: Mapping[str, Balance]) -> Allowance:
        """What may pay for a message now, for an account with these balances."""
        tariff = self._tariff()
        held = await self._packs.held(tariff.terms, balances)
        return allowance(tariff, plan, MESSAGES, self._clock.now().wall_us, held=held)

    async def _tell_if_missed(self, outcome: NotForwarded, subscriber: Subscriber, caller: str, notes: Notes) -> None:
        """Report a missed call if credit would have made a forward or a message of it."""
        if not outcome.is_missed:
            return
        now, tariff, account, number = self._clock.now(), self._tariff(), subscriber.account, subscriber.number
        balances = await self._store.balances(account.id)
        day = tariff.day_of(now.wall_us).isoformat()
        notes.saw(balances, day)
        posted = spendable(balances, day).posted
        rate = tariff.rate_for(subscriber.plan.name, number.forward_to, now.wall_us)
        beyond_day = is_beyond_day(outcome, subscriber, balances, day)
        cause = cause_of(outcome, subscriber, rate, posted, now.wall_us, beyond_day=beyond_day)
        if outcome.sells_voicemail:
            notes.message_refusal = Unsold.DAY_LIMIT if beyond_day else Unsold.NO_CREDIT
            self._observe(MessageNotSold(account.id, notes.message_refusal))
        # The same call, whichever daemon decides: where the answer of one is late, the dialplan asks the other too.
        call = f"{self._switch_id}-{notes.caller_uid}" if notes.caller_uid else session_id(now.wall_us)
        await self._missed(MissedCall(account, number.number, caller, call, now.wall_us, cause))

    async def _open(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> bool:
        """Apply the transfer that opens a session; ``False`` if there is not enough money. Raises LedgerError."""
        try:
            applied = await self._store.apply(transfer, grants)
        except (LedgerError, asyncio.CancelledError):
            # The outcome is unknown and the caller waits no longer. The next audit finds and frees what is reserved.
            self._registry.doubt()
            raise
        if applied.outcome is Outcome.INSUFFICIENT:
            return False
        if not applied.outcome.applied:
            raise LedgerError(f"the reservation was answered {applied.outcome}: {applied.detail}")
        return True

    # --- what the dialplan is told ----------------------------------------------------------------------------

    def _forwarded(self, session: Session, number: Number, wait_s: int) -> Answer:
        self._observe(CallDecided(Decision.FORWARD, session.reason, quota_s=session.covered_s), session)
        return Answer(
            decision=Decision.FORWARD,
            reason=session.reason,
            switch=self._switch_id,
            session=session.id,
            quota_s=session.covered_s,
            target=session.target,
            ring_s=self._policy.ring_s,
            wait_s=wait_s,
            language=session.language,
            mailbox=mailbox_of(number),
        )

    def _to_paid_voicemail(self, voicemail: Voicemail, number: Number) -> Answer:
        self._observe(CallDecided(Decision.VOICEMAIL, voicemail.reason, price=voicemail.charge(1)[0]), voicemail)
        return Answer(
            Decision.VOICEMAIL,
            voicemail.reason,
            switch=self._switch_id,
            session=voicemail.id,
            language=voicemail.language,
            mailbox=mailbox_of(number),
        )

    def _turned(
        self, outcome: NotForwarded, number: Number | None, found: Subscriber | NotForwarded, asked: str
    ) -> Answer:
        """Answer a call that is not forwarded. ``asked`` is the called number, which may be no account's. Voicemail
        speaks the subscriber's language; without a subscriber no language is set."""
        self._observe(CallDecided(outcome.decision, outcome.reason, number=asked))
        return Answer(
            outcome.decision,
            outcome.reason,
            switch=self._switch_id,
            ring_s=self._policy.ring_s,
            language=found.account.language.value if isinstance(found, Subscriber) else "",
            mailbox="" if number is None else mailbox_of(number),
        )
