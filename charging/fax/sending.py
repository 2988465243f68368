"""Sends subscribers' faxes: prices them, reserves the price, orders the switch to dial (R3, R9, R14).

The answer is immediate: the pages are counted first, and their price is reserved in the ledger operation that opens the
session, so credit that suffices now suffices later too. A fax is dialled at most once. If the order to dial may or may
not have reached the switch, the session finds out, and releases the money if nothing was dialled. Until then a repeated
request is answered "ask again with the same key". After that, the same key sends a fax that was never dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from charging.call.events import FaxOrdered, HangupOrdered
from charging.call.fax import RING_S, Fax, open_transfer, send_s
from charging.call.pieces import allowance
from charging.clock import Clock
from charging.engine.ports import FaxOrder
from charging.errors import ActionRefused, LedgerError, SwitchError
from charging.fax.desk import FaxCheck, FaxDesk, FaxSent, FaxWish, Paper, TooLittle, no_desk
from charging.fax.listed import ListedFaxes
from charging.fax.views import FaxView, view_of
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.balances import spendable
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import Balance, Outcome, Transfer
from charging.ledger.port import Store
from charging.ledger.remembered import KEYED_SESSION, session_was_archived
from charging.pricing.money import format_euro
from charging.pricing.packs import PAGES
from charging.service import text
from charging.service.refusal import Code, Obstacle, Refused, closed_account, unknown_account
from charging.tariff.numbering import expected
from charging.tariff.tariff import Refusal, Tariff

NAME_LENGTH_MAX = 100
SWITCH_TIME_MAX_S = 99_999
DIAL_WITHIN_S = 10
"""Longer than the order to the switch may take."""
TRIES_MAX = 4
"""Times that a fax is reserved of what there is, where others take of it and give back at the same moment."""
CHECKED = "check-"
"""Before the names of documents that are looked at, and sent by nobody."""
_REFUSALS = {
    Refusal.UNKNOWN_PLAN: ("the account's plan is not in the tariff", Obstacle.TROUBLE),
    Refusal.NOT_COVERED: ("the tariff has no fax price for it", Obstacle.NOT_COVERED),
    Refusal.BLOCKED: ("it is blocked", Obstacle.BLOCKED_NUMBER),
    Refusal.PREMIUM: ("it is a premium number", Obstacle.PREMIUM_NUMBER),
    Refusal.LOOP: ("it is a number of the operator", Obstacle.OPERATORS_NUMBER),
    Refusal.NOT_A_NUMBER: ("it is no certain number", Obstacle.INVALID_NUMBER),
}

log = structlog.get_logger(__name__)


class Faxes:
    """The faxes of all accounts."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock, desk: FaxDesk | None) -> None:
        self._store = store
        self._packs = GivenPacks(store.documents)
        self._tariff = tariff
        self._clock = clock
        self._desk = desk
        self._listed = ListedFaxes(store, clock)

    # --- sending ----------------------------------------------------------------------------------------------

    def document_limit(self) -> int | Refused:
        """How many bytes a document may have; refused where no faxes are sent from here."""
        return no_desk() if self._desk is None else self._desk.max_bytes

    async def send(self, account: str, wish: FaxWish, key: str) -> FaxSent | Refused:
        """Send a document, once for each ``key``. Raises LedgerError if the outcome is unknown: ask again with the
        key."""
        desk = self._desk
        if (wrong := text.idempotency_key(key)) is not None:
            return wrong
        if desk is None:
            return no_desk()
        if (hindrance := desk.hindrance(account, self._clock.now())) is not None:
            return hindrance
        opened = await self._open(desk, account, wish, key)
        return await self._dial(desk, *opened) if isinstance(opened, tuple) else opened

    async def check(self, account: str, wish: FaxWish) -> FaxCheck | Refused:
        """What sending a document would cost, and whether the credit suffices now (R14). A document whose pages are not
        known is converted as for sending, and then deleted. Raises LedgerUnavailable."""
        desk = self._desk
        if desk is None:
            return no_desk()
        draft = await self._draft(desk, account, wish, "")
        if isinstance(draft, Refused):
            return draft
        pages = await desk.papers.pages_of(account, wish.data)
        if pages is None:
            paper = await desk.papers.prepare(account, f"{CHECKED}{secrets.token_hex(12)}", wish.data)
            if isinstance(paper, Refused):
                return paper
            desk.papers.remove(paper.name)
            pages = paper.pages
        balances = await self._store.balances(account)
        draft = await self._with_allowance(draft, balances)
        available, free = spendable(balances, draft.day).available, sum(draft.included(pages, balances).values())
        return FaxCheck(draft.target, draft.number, pages, draft.price, max(0, available), free)

    async def _open(
        self, desk: FaxDesk, account: str, wish: FaxWish, key: str
    ) -> tuple[Fax, Paper] | FaxSent | Refused:
        """Make the document ready, reserve its price, and open the session."""
        draft = await self._draft(desk, account, wish, key)
        if isinstance(draft, Refused):
            return draft
        if await session_was_archived(self._store, account, draft.id):
            message = "this fax was handed in before; what became of it is in the archive"
            return Refused(Code.KEY_REUSED, message, "make another key for another fax")
        if (early := await self._without_the_document(desk, draft, wish.data)) is not None:
            return early
        paper = await desk.papers.prepare(account, draft.id, wish.data, patient=not wish.by_mail)
        if isinstance(paper, Refused):
            return paper
        opened: tuple[Fax, Paper] | FaxSent | Refused | None = None
        try:
            # Minutes may have passed: the account was suspended, the number is another's, the tariff another one.
            fresh = await self._draft(desk, account, wish, key)
            if isinstance(fresh, Refused):
                return fresh
            fresh = replace(fresh, pages=paper.pages, paper=paper.name)
            opened = await self._reserve(desk, fresh, paper, wish.cost_max)
            return opened
        finally:
            if not isinstance(opened, tuple):  # also where the outcome is unknown: then nobody has ordered it
                desk.papers.remove(paper.name)

    async def _without_the_document(self, desk: FaxDesk, draft: Fax, data: bytes) -> FaxSent | Refused | None:
        """What can be answered before anything is made of the document: it is being sent already, or was, or its pages
        could not be paid, or not one where their number is not known. All but the first only spares work: what counts
        is checked where the price is reserved."""
        under_way = [view for view in await self._listed.under_way(draft.account) if is_attempt(view.session, draft.id)]
        if under_way:
            return self._repeated(desk, under_way[-1], draft)
        known = await self._listed.last_attempt(draft.account, draft.id)
        if known is not None and known.dialled:
            return self._repeated(desk, known, draft)
        balances = await self._store.balances(draft.account)
        pages = await desk.papers.pages_of(draft.account, data) or 1
        known_pages = replace(await self._with_allowance(draft, balances), pages=pages)
        return None if _suffices(known_pages, balances) else _short_of(desk, known_pages, balances)

    async def _draft(self, desk: FaxDesk, account: str, wish: FaxWish, key: str) -> Fax | Refused:
        """Everything about the fax but its pages."""
        payer = await self._payer(account)
        if isinstance(payer, Refused):
            return payer
        number = await self._number(payer, wish.number)
        if isinstance(number, Refused):
            return number
        tariff, now = self._tariff(), self._clock.now()
        target = tariff.normalise(wish.target)
        if target is None or not target.startswith("+"):
            message = f"found the fax number {wish.target[:40]!r}, expected {expected(wish.target, tariff.region)}"
            return Refused(Code.INVALID, message, obstacle=Obstacle.INVALID_NUMBER, at="?target")
        price = tariff.fax_page_for(payer.plan, target, now.wall_us)
        if isinstance(price, Refusal):
            why, obstacle = _REFUSALS[price]
            return Refused(Code.NOT_ALLOWED, f"no fax can be sent to {target}: {why}", obstacle=obstacle)
        plan = tariff.plan(payer.plan)
        return Fax(
            id=session_of(account, key),
            account=account,
            number=number.number,
            target=target,
            plan=payer.plan,
            switch=desk.switch_id,
            pages=0,
            price=price,
            document=_clean(wish.name),
            digest=await asyncio.to_thread(_digest, wish.data),
            tariff=f"{tariff.revision} {tariff.digest}",
            opened=now,
            day=tariff.day_of(now.wall_us).isoformat(),
            dial_by=now.plus(DIAL_WITHIN_S),
            unpaid_max_s=desk.unpaid_max_s,
            day_cap=plan.max_credit_per_day if plan is not None and wish.by_mail else None,
        )

    async def _with_allowance(self, draft: Fax, balances: Mapping[str, Balance]) -> Fax:
        """The fax with what may pay for its pages before credit, of an account with these balances."""
        tariff = self._tariff()
        held = await self._packs.held(tariff.terms, balances)
        await self._packs.keep_monthly(tariff.monthly_terms(draft.plan, PAGES))
        now_us = self._clock.now().wall_us
        return replace(draft, allowance=allowance(tariff, draft.plan, PAGES, now_us, draft.target, held=held))

    async def _payer(self, account: str) -> Account | Refused:
        payer = await self._store.directory.account(account)
        if payer is None:
            return unknown_account(account)
        if payer.status is Status.CLOSED:
            return closed_account(account)
        if payer.status is Status.SUSPENDED:
            message = f"account {account!r} is suspended"
            return Refused(Code.NOT_ALLOWED, message, "activate it first", Obstacle.SUSPENDED)
        return payer

    async def _number(self, payer: Account, wanted: str) -> Number | Refused:
        owned = sorted(await self._store.directory.numbers(payer.id), key=lambda one: one.number)
        if not owned:
            message = f"account {payer.id!r} has no number to send from"
            return Refused(Code.NOT_ALLOWED, message, "add a number first", Obstacle.NO_OWN_NUMBER)
        if not wanted:
            return owned[0]
        normal = self._tariff().normalise(wanted)
        found = next((one for one in owned if one.number == normal), None)
        return found or Refused(Code.NOT_FOUND, f"account {payer.id!r} has no number {wanted[:40]!r}")

    async def _reserve(
        self, desk: FaxDesk, draft: Fax, paper: Paper, cost_max: int | None
    ) -> tuple[Fax, Paper] | FaxSent | Refused:
        hindrance = desk.hindrance(draft.account, self._clock.now())
        if hindrance is not None:  # the document took its time
            return hindrance
        desk.opening[draft.account] += 1
        try:
            return await self._reserved(desk, draft, paper, cost_max)
        finally:
            desk.opening -= Counter((draft.account,))

    async def _reserved(
        self, desk: FaxDesk, draft: Fax, paper: Paper, cost_max: int | None
    ) -> tuple[Fax, Paper] | FaxSent | Refused:
        """Under the first attempt's id, or that after the last one which has dialled nobody."""
        base, attempts, refusals = draft.id, 0, 0
        while True:
            balances = await self._store.balances(draft.account)
            draft = await self._with_allowance(draft, balances)
            if cost_max is not None and (cost := draft.owing(draft.pages, balances)) > cost_max:
                return _dearer(draft, cost, cost_max)
            now = self._clock.now()
            day = self._tariff().day_of(now.wall_us).isoformat()
            dial_by, epoch = now.plus(DIAL_WITHIN_S), desk.registry.epoch
            started = desk.registry.switch.started
            draft = replace(draft, opened=now, day=day, dial_by=dial_by, epoch=epoch, switch_started=started)
            fax, transfer = open_transfer(draft, balances)
            outcome = await _opened(self._store, desk, transfer, fax.grants(balances, now.wall_us))
            if outcome is Outcome.CREATED:
                desk.registry.start(fax)
                return fax, paper
            if outcome is Outcome.INSUFFICIENT:
                refusals += 1
                left = await self._store.balances(draft.account)
                if not _suffices(draft, left):
                    return _short_of(desk, draft, left)
                if refusals < TRIES_MAX:
                    continue  # others were faster: what they left, or have given back, may pay it
                message = "others use the account's credit at this moment, and what is left changes"
                return Refused(Code.UNAVAILABLE, message, "nothing was sent; send it again")
            known = await self._listed.last_attempt(draft.account, base)  # the same key was used before
            if known is not None and known.dialled:
                return self._repeated(desk, known, draft)
            number = 0 if known is None else attempt_of(known.session)
            if number <= attempts:
                message = f"the reservation was answered {outcome}"
                return Refused(Code.UNAVAILABLE, message, "nothing was sent; send it again")
            attempts = number
            draft = replace(draft, id=f"{base}-{number + 1}")

    def _repeated(self, desk: FaxDesk, known: FaxView, draft: Fax) -> FaxSent | Refused:
        """The answer to a key that was used before."""
        runner = desk.registry.open.find(known.session)
        fax = None if runner is None else runner.session
        if known.ended is None and not (isinstance(fax, Fax) and (fax.ordered or fax.seen)):
            return _in_doubt(known.session)
        same = known.digest and draft.digest.startswith(known.digest)
        if not same or (known.target, known.number) != (draft.target, draft.number):
            advice = "make another key for another fax"
            return Refused(Code.KEY_REUSED, f"the key was used for another fax, to {known.target}", advice)
        return FaxSent(known, created=False)

    async def _dial(self, desk: FaxDesk, fax: Fax, paper: Paper) -> FaxSent | Refused:
        order = FaxOrder(
            session=fax.id,
            switch=fax.switch,
            number=fax.number,
            target=fax.target,
            file=paper.file,
            header=desk.header,
            dial_by_us=fax.dial_by.wall_us,
            ring_s=RING_S,
            send_s=min(SWITCH_TIME_MAX_S, send_s(fax.pages)),
        )
        try:
            if not (desk.registry.policy.is_shared and await _was_dialled(desk, fax.id)):
                await desk.line.send_fax(order)
        except ActionRefused as error:
            log.warning("fax_order_refused", session=fax.id, error=str(error))
            advice = "nothing is charged, what was reserved comes back; grant the AMI right `originate`"
            message = f"the switch refused to send the fax: {error}"
            return Refused(Code.CONFLICT, message, advice, Obstacle.TROUBLE)
        except SwitchError as error:
            log.warning("fax_order_doubted", session=fax.id, error=str(error))
            return _in_doubt(fax.id)
        if (runner := desk.registry.open.find(fax.id)) is not None:
            runner.offer(FaxOrdered())
        return FaxSent(view_of(fax), created=True)

    async def cancel(self, account: str, session: str) -> FaxView | Refused:
        """Have a fax end that is under way, behind the page that is being sent: that one is charged, too. The fax is
        over when its state says so."""
        view = await self._listed.get(account, session)
        if isinstance(view, Refused):
            return view
        if view.ended is not None:
            return Refused(Code.CONFLICT, f"the fax is over ({view.state})", "there is nothing to cancel")
        runner = None if self._desk is None else self._desk.registry.open.find(session)
        if runner is None:
            return Refused(Code.CONFLICT, f"no daemon here looks after fax {session}", "ask the one that sends it")
        runner.offer(HangupOrdered("cancelled"))
        return view


async def _was_dialled(desk: FaxDesk, session: str) -> bool:
    """Whether the switch sends it, or has a record of it: a fail-over of the ledger may have lost that it was opened.
    What is opened now is then charged by these. The record is asked for behind the leg, which writes it as its last
    act. Raises SwitchError."""
    if await desk.line.is_sending(session):
        return True
    (record,) = await desk.registry.switch.black_boxes_of([session])
    if isinstance(record, SwitchError):
        raise record
    return record.found and not record.undialled


async def _opened(store: Store, desk: FaxDesk, transfer: Transfer, grants: Sequence[Transfer]) -> Outcome:
    """Open the session in the ledger; not while it is looked after here. A fail-over may have lost it, and what looks
    after the lost one would close the new one when it finds that nobody was dialled."""
    assert transfer.session is not None, "it opens one"
    if desk.registry.open.find(transfer.session) is not None:
        return Outcome.SESSION_EXISTS
    try:
        return (await store.apply(transfer, grants)).outcome
    except LedgerError:
        # The outcome is unknown: what may be reserved is found and given back.
        desk.registry.doubt()
        raise


def session_of(account: str, key: str) -> str:
    """The session that an act's key makes: the same key, the same fax."""
    return KEYED_SESSION + hashlib.sha256(f"{account}\n{key}".encode()).hexdigest()[:24]


def is_attempt(session: str, first: str) -> bool:
    """Whether it was opened under the same key as ``first``."""
    return session == first or session.startswith(f"{first}-")


def attempt_of(session: str) -> int:
    """The number of the attempt, 1 for the first session of a key. A key is tried again if the last attempt has dialled
    nobody."""
    number = session.removeprefix(KEYED_SESSION).partition("-")[2]
    return int(number) if number else 1


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _in_doubt(session: str) -> Refused:
    message = f"whether fax {session} was dialled is not known yet"
    advice = "ask again in a minute with the same key: it is sent once, and pages that are not sent cost nothing"
    return Refused(Code.UNAVAILABLE, message, advice)


def _suffices(fax: Fax, balances: Mapping[str, Balance]) -> bool:
    """Whether these balances pay the fax."""
    available, cost = spendable(balances, fax.day).available, fax.owing(fax.pages, balances)
    return available >= cost and fax.has_day_left(balances, cost) and fax.has_unpaid_left(balances)


def _short_of(desk: FaxDesk, fax: Fax, balances: Mapping[str, Balance]) -> Refused:
    """What a fax lacks: credit, the plan's credit for the day, or seconds for which its account may hold lines
    unpaid."""
    available, cost = spendable(balances, fax.day).available, fax.owing(fax.pages, balances)
    if available >= cost and not fax.has_day_left(balances, cost):
        return _beyond_day(fax, cost)
    if available < cost or fax.has_unpaid_left(balances):
        return _too_little(fax, sum(fax.included(fax.pages, balances).values()), max(0, available))
    desk.unpaid_refused()
    message = (
        f"faxes of account {fax.account!r} have held lines for {fax.unpaid_max_s} s today, or hold them now, "
        "for which no page was delivered"
    )
    advice = "nothing was charged; look whether its numbers are fax machines. It may send again tomorrow"
    return Refused(Code.NOT_ALLOWED, message, advice, Obstacle.UNPAID_LINE)


def _dearer(fax: Fax, cost: int, cost_max: int) -> Refused:
    message = f"{fax.pages} pages cost {format_euro(cost)} euro, and at most {format_euro(cost_max)} is agreed to"
    return Refused(Code.CONFLICT, message, "ask fax-checks for the price as it is now", Obstacle.PRICE)


def _beyond_day(fax: Fax, cost: int) -> Refused:
    cap = format_euro(fax.day_cap or 0)
    message = (
        f"{fax.pages} pages by mail cost {format_euro(cost)} euro: more than is left today of the {cap} euro that "
        f"calls, messages and faxes by mail of account {fax.account!r} may cost in a day"
    )
    advice = "nothing was sent or charged; it may be sent tomorrow. `credit_a_day` of the plan is the limit"
    return Refused(Code.NOT_ALLOWED, message, advice, Obstacle.DAY_LIMIT)


def _too_little(fax: Fax, free: int, available: int) -> TooLittle:
    """``free``: pages that the plan or a pack would pay."""
    pages = "1 page" if fax.pages == 1 else f"{fax.pages} pages"
    pages += f", {free} of them free," if free else ""
    cost = (fax.pages - free) * fax.price
    made = f"{pages} at {format_euro(fax.price)} cost {format_euro(cost)} euro, and {format_euro(available)}"
    missing = format_euro(max(0, cost - available))
    return TooLittle(
        Code.INSUFFICIENT,
        f"not enough credit: {made} is available",
        f"top up {missing} euro or more, then send it again; nothing was sent or charged",
        pages=fax.pages,
        free_pages=free,
        page_price=fax.price,
        available=available,
        target=fax.target,
    )


def _clean(name: str) -> str:
    return "".join(one for one in name if one.isprintable())[:NAME_LENGTH_MAX]
