"""Faxes that subscribers send: priced, reserved, handed to the switch; and what became of them (R3, R9, R14).

The answer is immediate: the pages are counted before, and their price is reserved in the same ledger operation that
opens the session, so that "enough" is never wrong later. A fax is dialled once at most: where the order to dial may or
may not have reached the switch, the session finds out, and gives the money back where nothing was dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import structlog

from charging.clock import Clock
from charging.errors import ActionRefused, LedgerError, SwitchError
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.model import CREDIT, Balance, Outcome
from charging.ledger.port import Store
from charging.money import format_euro
from charging.rating.tariff import Refusal, Tariff
from charging.rating.written_numbers import written_numbers
from charging.service import text
from charging.service.fax_desk import FaxDesk, FaxPage, FaxSent, FaxWish, Paper, Place, TooLittle, no_desk
from charging.service.fax_views import FaxView, view_of, view_of_cdr
from charging.service.refusal import Code, Obstacle, Refused, closed_account, unknown_account
from charging.session.events import HangupOrdered
from charging.session.fax import Fax, open_transfer
from charging.session.ports import FaxOrder
from charging.session.records import revive

NAME_LENGTH_MAX = 100
RING_S = 60
SEND_FIRST_S = 120
SEND_PAGE_S = 180
"""A dense page at the slowest speed, with repetitions."""
SWITCH_TIME_MAX_S = 99_999
DIAL_WITHIN_S = 10
"""Longer than the order to the switch may take."""
CDR_PAGE = 1000
_REFUSALS = {
    Refusal.UNKNOWN_PLAN: ("the account's plan is not in the tariff", Obstacle.TROUBLE),
    Refusal.NOT_COVERED: ("the tariff has no fax price for it", Obstacle.NOT_COVERED),
    Refusal.BLOCKED: ("it is blocked", Obstacle.BLOCKED_NUMBER),
    Refusal.PREMIUM: ("it is a premium number", Obstacle.PREMIUM_NUMBER),
    Refusal.LOOP: ("it is a number of the operator", Obstacle.OPERATORS_NUMBER),
}

log = structlog.get_logger(__name__)


class Faxes:
    """The faxes of all accounts."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock, desk: FaxDesk | None) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._desk = desk

    # --- sending ----------------------------------------------------------------------------------------------

    def document_limit(self) -> int | Refused:
        """How many bytes a document may have; refused where no faxes are sent from here."""
        return no_desk() if self._desk is None else self._desk.max_bytes

    async def send(self, account: str, wish: FaxWish, key: str) -> FaxSent | Refused:
        """Send a document; ``key`` makes the act idempotent. Raises LedgerError where the outcome is unknown."""
        desk = self._desk
        if (wrong := text.idempotency_key(key)) is not None:
            return wrong
        if desk is None:
            return no_desk()
        if (hindrance := desk.hindrance(self._clock.now())) is not None:
            return hindrance
        desk.preparing += 1
        try:
            opened = await self._open(desk, account, wish, key)
        finally:
            desk.preparing -= 1
        return await self._dial(desk, *opened) if isinstance(opened, tuple) else opened

    async def _open(
        self, desk: FaxDesk, account: str, wish: FaxWish, key: str
    ) -> tuple[Fax, Paper] | FaxSent | Refused:
        """Make the document ready, reserve its price, and open the session."""
        draft = await self._draft(desk, account, wish, key)
        if isinstance(draft, Refused):
            return draft
        paper = await desk.papers.prepare(_paper_name(draft), wish.data)
        if isinstance(paper, Refused):
            return paper
        return await self._reserve(desk, replace(draft, pages=paper.pages), paper)

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
            message = f"found the fax number {wish.target[:40]!r}, expected a telephone number"
            return Refused(Code.INVALID, message, obstacle=Obstacle.INVALID_NUMBER)
        price = tariff.fax_page_for(payer.plan, target, now.wall_us)
        if isinstance(price, Refusal):
            why, obstacle = _REFUSALS[price]
            return Refused(Code.NOT_ALLOWED, f"no fax can be sent to {target}: {why}", obstacle=obstacle)
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
            dial_by=now.plus(DIAL_WITHIN_S),
        )

    async def _payer(self, account: str) -> Account | Refused:
        payer = await self._store.account(account)
        if payer is None:
            return unknown_account(account)
        if payer.status is Status.CLOSED:
            return closed_account(account)
        if payer.status is Status.SUSPENDED:
            message = f"account {account!r} is suspended"
            return Refused(Code.NOT_ALLOWED, message, "activate it first", Obstacle.SUSPENDED)
        return payer

    async def _number(self, payer: Account, wanted: str) -> Number | Refused:
        owned = sorted(await self._store.numbers(payer.id), key=lambda one: one.number)
        if not owned:
            message = f"account {payer.id!r} has no number to send from"
            return Refused(Code.NOT_ALLOWED, message, "add a number first", Obstacle.NO_OWN_NUMBER)
        if not wanted:
            return owned[0]
        normal = self._tariff().normalise(wanted)
        found = next((one for one in owned if one.number == normal), None)
        return found or Refused(Code.NOT_FOUND, f"account {payer.id!r} has no number {wanted[:40]!r}")

    async def _reserve(self, desk: FaxDesk, draft: Fax, paper: Paper) -> tuple[Fax, Paper] | FaxSent | Refused:
        now = self._clock.now()  # the time that the document took does not count
        draft = replace(draft, opened=now, dial_by=now.plus(DIAL_WITHIN_S), epoch=desk.registry.epoch)
        fax, transfer = open_transfer(draft)
        try:
            applied = await self._store.apply(transfer)
        except LedgerError:
            # The outcome is unknown: what may be reserved is found and given back.
            desk.registry.doubt()
            raise
        if applied.outcome is not Outcome.CREATED:
            return await self._not_opened(desk, draft, applied.outcome, applied.balances.get(CREDIT, Balance()))
        desk.registry.start(fax)
        return fax, paper

    async def _not_opened(self, desk: FaxDesk, draft: Fax, outcome: Outcome, credit: Balance) -> FaxSent | Refused:
        if outcome is Outcome.INSUFFICIENT:
            desk.papers.remove(_paper_name(draft))
            return _too_little(draft, max(0, credit.available))
        known = await self.get(draft.account, draft.id)  # the same key was used before
        if isinstance(known, FaxView):
            return _repeated(known, draft)
        return Refused(Code.UNAVAILABLE, f"the reservation was answered {outcome}", "nothing was sent; send it again")

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
            send_s=min(SWITCH_TIME_MAX_S, SEND_FIRST_S + SEND_PAGE_S * fax.pages),
        )
        try:
            await desk.line.send_fax(order)
        except ActionRefused as error:
            log.warning("fax_order_refused", session=fax.id, error=str(error))
            advice = "nothing is charged, what was reserved comes back; grant the AMI right `originate`"
            message = f"the switch refused to send the fax: {error}"
            return Refused(Code.CONFLICT, message, advice, Obstacle.TROUBLE)
        except SwitchError as error:
            log.warning("fax_order_doubted", session=fax.id, error=str(error))
        return FaxSent(view_of(fax), created=True)

    async def cancel(self, account: str, session: str) -> FaxView | Refused:
        """Have the switch end a fax that is on its way; pages that were confirmed by then are charged. It is over when
        its state says so, a moment later."""
        view = await self.get(account, session)
        if isinstance(view, Refused):
            return view
        if view.ended is not None:
            return Refused(Code.CONFLICT, f"the fax is over ({view.state})", "there is nothing to cancel")
        runner = None if self._desk is None else self._desk.registry.find(session)
        if runner is None:
            return Refused(Code.CONFLICT, f"no daemon here looks after fax {session}", "ask the one that sends it")
        runner.offer(HangupOrdered("cancelled"))
        return view

    # --- looking ----------------------------------------------------------------------------------------------

    async def get(self, account: str, session: str) -> FaxView | Refused:
        """One fax."""
        # The open ones are read first: one that ends meanwhile is then seen in either place.
        opened = await self._under_way(account)
        over = (view async for _, view in self._over(account, None))
        found = [view async for view in over if view.session == session]
        found += [view for view in opened if view.session == session]
        if found:
            return found[0]
        if await self._store.account(account) is None:
            return unknown_account(account)
        return Refused(Code.NOT_FOUND, f"account {account!r} has no fax {session[:80]!r}")

    async def page(self, account: str, after: Place | None, limit: int) -> FaxPage | Refused:
        """Up to ``limit`` of the account's faxes that are over, by their end, from the one behind ``after`` on. The
        last page goes on with those under way."""
        if await self._store.account(account) is None:
            return unknown_account(account)
        opened = await self._under_way(account)
        shown: list[FaxView] = []
        last: Place | None = None
        async for place, view in self._over(account, after):
            if len(shown) == limit:
                return FaxPage(shown, last)
            shown.append(view)
            last = place
        ended = {view.session for view in shown}
        return FaxPage([*shown, *(view for view in opened if view.session not in ended)], None)

    async def senders(self, address: str) -> Sequence[Account]:
        """The accounts that have this mail address, in whatever case it is written; who closed one and opened another
        has one. Looks at every account."""
        wanted = address.casefold()
        every = [one async for one in self._store.accounts() if one.email and one.email.casefold() == wanted]
        return [one for one in every if one.status is not Status.CLOSED]

    def targets(self, written: str) -> list[str]:
        """The telephone numbers in what somebody wrote, as the tariff's country reads them."""
        return sorted(written_numbers(written, self._tariff().region))

    async def _over(self, account: str, after: Place | None) -> AsyncIterator[tuple[Place, FaxView]]:
        while True:
            rows = await self._store.cdrs(account=account, after=after, limit=CDR_PAGE)
            for row in rows:
                if (view := view_of_cdr(row)) is not None:
                    yield (row.ended_us, row.session), view
            if len(rows) < CDR_PAGE:
                return
            after = rows[-1].ended_us, rows[-1].session

    async def _under_way(self, account: str) -> list[FaxView]:
        found = []
        for stored in await self._store.sessions(account=account):
            try:
                record = revive(stored.state, self._clock.now(), stored.epoch)
            except ValueError:
                continue  # `charging ledger verify` names it
            if isinstance(record, Fax):
                found.append(view_of(record))
        return found


def session_of(account: str, key: str) -> str:
    """The session that an act's key makes: the same key, the same fax."""
    return "fax-" + hashlib.sha256(f"{account}\n{key}".encode()).hexdigest()[:24]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _paper_name(fax: Fax) -> str:
    """Another document under the same key does not overwrite the one that is being sent."""
    return f"{fax.id}-{fax.digest[:8]}"


def _repeated(known: FaxView, draft: Fax) -> FaxSent | Refused:
    if (known.digest, known.target, known.number) == (draft.digest, draft.target, draft.number):
        return FaxSent(known, created=False)
    advice = "make another key for another fax"
    return Refused(Code.KEY_REUSED, f"the key was used for another fax, to {known.target}", advice)


def _too_little(fax: Fax, available: int) -> TooLittle:
    pages = "1 page" if fax.pages == 1 else f"{fax.pages} pages"
    made = f"{pages} at {format_euro(fax.price)} cost {format_euro(fax.cost)} euro, and {format_euro(available)}"
    missing = format_euro(max(0, fax.cost - available))
    return TooLittle(
        Code.INSUFFICIENT,
        f"not enough credit: {made} is available",
        f"top up {missing} euro or more, then send it again; nothing was sent or charged",
        pages=fax.pages,
        page_price=fax.price,
        available=available,
        target=fax.target,
    )


def _clean(name: str) -> str:
    return "".join(one for one in name if one.isprintable())[:NAME_LENGTH_MAX]
