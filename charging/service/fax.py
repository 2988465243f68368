"""Faxes that subscribers send: priced, reserved, handed to the switch; and what became of them (R3, R9, R14).

The answer is immediate: the pages are counted before, and their price is reserved in the same ledger operation that
opens the session, so that "enough" is never wrong later. A fax is dialled once at most: where the order to dial may or
may not have reached the switch, the session finds out, and gives the money back where nothing was dialled.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import ActionRefused, LedgerError, SwitchError
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.model import CREDIT, Balance, Outcome
from charging.ledger.port import Store
from charging.money import format_euro
from charging.rating.tariff import Refusal, Tariff
from charging.service import text
from charging.service.fax_views import FaxView, view_of, view_of_cdr
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.session.fax import Fax, open_transfer
from charging.session.ports import FaxLine, FaxOrder
from charging.session.records import revive
from charging.session.registry import Registry

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
    Refusal.UNKNOWN_PLAN: "the account's plan is not in the tariff",
    Refusal.NOT_COVERED: "the tariff has no fax price for it",
    Refusal.BLOCKED: "it is blocked",
    Refusal.PREMIUM: "it is a premium number",
    Refusal.LOOP: "it is a number of the operator",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Paper:
    """A document ready to be sent."""

    pages: int
    file: str
    """A path on the switch."""


class Papers(Protocol):
    """Where documents are made ready and kept."""

    async def prepare(self, name: str, data: bytes) -> Paper | Refused:
        """Convert a PDF or TIFF and keep it under ``name``."""

    def remove(self, name: str) -> None:
        """Forget a document that is not sent after all."""

    async def sweep_for_ever(self) -> NoReturn:
        """Remove documents whose time is over."""


@dataclass(frozen=True, slots=True)
class FaxWish:
    """What somebody wants sent."""

    target: str
    """As typed."""
    data: bytes
    """PDF or TIFF."""
    name: str = ""
    """What its sender calls it."""
    number: str = ""
    """The sender's number; empty: the account's first."""


@dataclass(frozen=True, slots=True)
class TooLittle(Refused):
    """There is not enough credit for all pages (R14): nothing was dialled."""

    pages: int = 0
    page_price: int = 0
    available: int = 0
    target: str = ""

    @property
    def needed(self) -> int:
        """Micro-euro of all pages."""
        return self.pages * self.page_price

    @property
    def missing(self) -> int:
        """Micro-euro that a top-up must bring at least."""
        return max(0, self.needed - self.available)


@dataclass(frozen=True, slots=True)
class FaxSent:
    """The answer to a wish."""

    view: FaxView
    created: bool
    """``False``: the same was asked before, and nothing was done now."""


@dataclass(frozen=True, slots=True)
class FaxDesk:
    """What sending needs of the daemon; without it faxes can only be looked at."""

    registry: Registry
    line: FaxLine
    papers: Papers
    switch_id: str
    header: str
    """What stands above every page."""
    horizon_s: int
    at_once: int
    """Faxes on their way at the same time."""


class Faxes:
    """The faxes of all accounts."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock, desk: FaxDesk | None) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._desk = desk
        self._sending: set[str] = set()

    # --- sending ----------------------------------------------------------------------------------------------

    async def send(self, account: str, wish: FaxWish, key: str) -> FaxSent | Refused:
        """Send a document; ``key`` makes the act idempotent. Raises LedgerError where the outcome is unknown."""
        desk = self._desk
        wrong = text.idempotency_key(key) or (_no_desk() if desk is None else self._blind(desk))
        if wrong is not None or desk is None:
            return wrong or _no_desk()
        draft = await self._draft(desk, account, wish, key)
        if isinstance(draft, Refused):
            return draft
        paper = await desk.papers.prepare(_paper_name(draft), wish.data)
        if isinstance(paper, Refused):
            return paper
        return await self._reserve_and_dial(desk, replace(draft, pages=paper.pages), paper)

    def _blind(self, desk: FaxDesk) -> Refused | None:
        """What stands against sending anything now."""
        self._sending = {one for one in self._sending if desk.registry.find(one) is not None}
        proven = desk.line.proven_mono_us
        if proven is None or self._clock.now().mono_us - proven > desk.horizon_s * MICROSECONDS:
            return Refused(Code.CONFLICT, "the switch is out of reach", "nothing was charged; send it again later")
        if not desk.registry.leads():
            return Refused(Code.CONFLICT, "another daemon leads this switch", "send it by that one")
        if len(self._sending) >= desk.at_once:
            return Refused(Code.CONFLICT, f"{desk.at_once} faxes are being sent now", "send it again in a minute")
        return None

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
            return Refused(Code.INVALID, f"found the fax number {wish.target[:40]!r}, expected a telephone number")
        price = tariff.fax_page_for(payer.plan, target, now.wall_us)
        if isinstance(price, Refusal):
            return Refused(Code.NOT_ALLOWED, f"no fax can be sent to {target}: {_REFUSALS[price]}")
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
            digest=hashlib.sha256(wish.data).hexdigest()[:32],
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
            return Refused(Code.NOT_ALLOWED, f"account {account!r} is suspended", "activate it first")
        return payer

    async def _number(self, payer: Account, wanted: str) -> Number | Refused:
        owned = sorted(await self._store.numbers(payer.id), key=lambda one: one.number)
        if not owned:
            return Refused(Code.NOT_ALLOWED, f"account {payer.id!r} has no number to send from", "add a number first")
        if not wanted:
            return owned[0]
        normal = self._tariff().normalise(wanted)
        found = next((one for one in owned if one.number == normal), None)
        return found or Refused(Code.NOT_FOUND, f"account {payer.id!r} has no number {wanted[:40]!r}")

    async def _reserve_and_dial(self, desk: FaxDesk, draft: Fax, paper: Paper) -> FaxSent | Refused:
        now = self._clock.now()  # the time that the document took does not count
        draft = replace(draft, opened=now, dial_by=now.plus(DIAL_WITHIN_S), epoch=desk.registry.epoch)
        fax, transfer = open_transfer(draft)
        self._sending.add(fax.id)
        try:
            applied = await self._store.apply(transfer)
        except LedgerError:
            # The outcome is unknown: what may be reserved is found and given back.
            desk.registry.doubt()
            raise
        if applied.outcome is not Outcome.CREATED:
            return await self._not_opened(desk, draft, applied.outcome, applied.balances.get(CREDIT, Balance()))
        desk.registry.start(fax)
        return await self._dial(desk, fax, paper)

    async def _not_opened(self, desk: FaxDesk, draft: Fax, outcome: Outcome, credit: Balance) -> FaxSent | Refused:
        self._sending.discard(draft.id)
        if outcome is Outcome.INSUFFICIENT:
            desk.papers.remove(_paper_name(draft))
            return _too_little(draft, max(0, credit.available))
        known = await self.get(draft.account, draft.id)  # the same key was used before
        if isinstance(known, FaxView):
            return _repeated(known, draft)
        return Refused(Code.CONFLICT, f"the reservation was answered {outcome}", "nothing was sent; send it again")

    async def _dial(self, desk: FaxDesk, fax: Fax, paper: Paper) -> FaxSent | Refused:
        order = FaxOrder(
            session=fax.id,
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
            return Refused(Code.CONFLICT, f"the switch refused to send the fax: {error}", advice)
        except SwitchError as error:
            log.warning("fax_order_doubted", session=fax.id, error=str(error))
        return FaxSent(view_of(fax), created=True)

    # --- looking ----------------------------------------------------------------------------------------------

    async def get(self, account: str, session: str) -> FaxView | Refused:
        """One fax."""
        async for view in self._all(account):
            if view.session == session:
                return view
        if await self._store.account(account) is None:
            return unknown_account(account)
        return Refused(Code.NOT_FOUND, f"account {account!r} has no fax {session[:80]!r}")

    async def of(self, account: str) -> Sequence[FaxView] | Refused:
        """The account's faxes: those that are over by their end, then those under way."""
        if await self._store.account(account) is None:
            return unknown_account(account)
        return [view async for view in self._all(account)]

    async def senders(self, address: str) -> Sequence[Account]:
        """The accounts that have this mail address, in whatever case it is written. Looks at every account."""
        wanted = address.casefold()
        return [one async for one in self._store.accounts() if one.email and one.email.casefold() == wanted]

    async def _all(self, account: str) -> AsyncIterator[FaxView]:
        # The open ones are read first: one that ends meanwhile is then seen twice at most, and never not at all.
        opened = [view for view in await self._open(account) if view is not None]
        ended = set()
        after: tuple[int, str] | None = None
        while True:
            rows = await self._store.cdrs(account=account, after=after, limit=CDR_PAGE)
            for row in rows:
                if (view := view_of_cdr(row)) is not None:
                    ended.add(view.session)
                    yield view
            if len(rows) < CDR_PAGE:
                break
            after = rows[-1].ended_us, rows[-1].session
        for view in opened:
            if view.session not in ended:
                yield view

    async def _open(self, account: str) -> list[FaxView]:
        found = []
        for stored in await self._store.sessions(account=account):
            try:
                record = revive(stored.state, self._clock.now(), stored.epoch)
            except (ValueError, KeyError, TypeError):
                continue  # `charging ledger verify` names it
            if isinstance(record, Fax):
                found.append(view_of(record))
        return found


def session_of(account: str, key: str) -> str:
    """The session that an act's key makes: the same key, the same fax."""
    return "fax-" + hashlib.sha256(f"{account}\n{key}".encode()).hexdigest()[:24]


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


def _no_desk() -> Refused:
    return Refused(Code.CONFLICT, "no faxes are sent here", "start the daemon, with a section `fax` in charging.yaml")


def _clean(name: str) -> str:
    return "".join(one for one in name if one.isprintable())[:NAME_LENGTH_MAX]
