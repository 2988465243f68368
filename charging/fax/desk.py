"""The data types of sending a fax: the request, what sending needs of the daemon, and the immediate answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import NoReturn, Protocol

from charging.clock import MICROSECONDS, Instant
from charging.engine.ports import FaxLine
from charging.engine.sessions import Registry
from charging.fax.views import FaxView
from charging.records import dataclass
from charging.service.refusal import Code, Refused


@dataclass(frozen=True, slots=True)
class Paper:
    """A document ready to be sent."""

    pages: int
    file: str
    """A path on the switch."""
    name: str
    """By which it is kept: its own for each that is prepared, so that none ever takes the place of another."""


class Papers(Protocol):
    """Where documents are made ready and kept."""

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper | Refused:
        """Wait for the account's turn, then convert a PDF or TIFF and keep it for the fax ``session``. Who is not
        ``patient`` waits for seconds at most."""

    async def pages_of(self, account: str, data: bytes) -> int | None:
        """How many pages a document has that was made ready for the account lately; ``None``: that is not known."""

    def remove(self, name: str) -> None:
        """Forget a document that is not sent, or not any more."""

    async def sweep_for_ever(self) -> NoReturn:
        """Remove documents whose time is over."""


@dataclass(frozen=True, slots=True)
class FaxWish:
    """A request to send a fax."""

    target: str
    """As typed."""
    data: bytes
    """PDF or TIFF."""
    name: str = ""
    """What its sender calls it."""
    number: str = ""
    """The sender's number; empty: the account's first."""
    cost_max: int | None = None
    """Micro-euro of credit that its sender has agreed to; ``None``: whatever it costs."""
    by_mail: bool = False
    """Whether it came by mail, from someone who has not logged in: then it counts towards the plan's credit a day."""


@dataclass(frozen=True, slots=True)
class TooLittle(Refused):
    """The answer if credit does not suffice for all pages (R14): nothing was dialled."""

    pages: int = 0
    free_pages: int = 0
    """Of them, those that the plan or a pack pays."""
    page_price: int = 0
    available: int = 0
    target: str = ""

    @property
    def needed(self) -> int:
        """Micro-euro of all pages that are not free."""
        return (self.pages - self.free_pages) * self.page_price

    @property
    def missing(self) -> int:
        """Micro-euro that a top-up must bring at least."""
        return max(0, self.needed - self.available)


@dataclass(frozen=True, slots=True)
class FaxCheck:
    """The answer to a check: what sending a document would cost, and the credit available. Nothing is reserved."""

    target: str
    number: str
    """The sender's."""
    pages: int
    page_price: int
    """Micro-euro."""
    available: int
    """Micro-euro of credit, promotional and bought."""
    free_pages: int = 0
    """Of the pages, those that the plan or a pack would pay."""

    @property
    def cost(self) -> int:
        """Micro-euro of all pages that are not free."""
        return (self.pages - self.free_pages) * self.page_price

    @property
    def missing(self) -> int:
        """Micro-euro that a top-up must bring at least."""
        return max(0, self.cost - self.available)


@dataclass(frozen=True, slots=True)
class FaxSent:
    """The answer to a wish."""

    view: FaxView
    created: bool
    """``False``: the same was asked before, and nothing was done now."""


UNPAID_MAX_S = 3600

Place = tuple[int, str]
"""Of a fax that is over, in the order of their ends: when it ended, its session."""


@dataclass(frozen=True, slots=True)
class FaxPage:
    """Some of an account's faxes."""

    faxes: Sequence[FaxView]
    next: Place | None
    """Where the next page goes on; ``None`` after the last."""


@dataclass(slots=True)
class FaxDesk:
    """What sending needs of the daemon; without it faxes can only be looked at. All interfaces share one."""

    registry: Registry
    line: FaxLine
    papers: Papers
    switch_id: str
    header: str
    """What stands above every page."""
    horizon_s: int
    at_once: int
    """Faxes on their way at the same time."""
    max_bytes: int
    """Of a document as it is handed in."""
    at_once_of_account: int | None = None
    """Of one account; ``None``: half of all, and one more only while more lines are free than it has."""
    unpaid_max_s: int = UNPAID_MAX_S
    """Seconds for which faxes of one account may hold lines on one day and confirm no page for it."""
    unpaid_refused: Callable[[], None] = lambda: None
    """A fax was refused because its account has used these up."""
    opening: Counter[str] = field(default_factory=Counter)
    """By account, faxes whose price is being reserved: they are not open yet, and have their line already."""

    @property
    def of_account(self) -> int:
        """How many faxes one account may have at the same time, so that none keeps all others from it."""
        return self.at_once_of_account or max(1, self.at_once // 2)

    def hindrance(self, account: str, now: Instant) -> Refused | None:
        """Why no fax of the account can be sent now; ``None`` if faxes can."""
        proven = self.line.proven_mono_us
        if proven is None or now.mono_us - proven > self.horizon_s * MICROSECONDS:
            return Refused(Code.UNAVAILABLE, "the switch is out of reach", "nothing was charged; send it again later")
        if not self.registry.leads():
            return Refused(Code.UNAVAILABLE, "another daemon leads this switch", "send it by that one")
        under_way = Counter(one.account for one in self.registry.open.faxes()) + self.opening
        free, own = self.at_once - under_way.total(), under_way[account]
        if free <= 0:
            message = f"all lines are busy: {self.at_once} faxes are being sent now"
            return Refused(Code.UNAVAILABLE, message, "nothing was charged; send it again in a minute")
        if own >= self.of_account or (self.at_once_of_account is None and free <= own):
            message = f"{own} faxes of account {account!r} are being sent now, and others need the other lines"
            return Refused(Code.UNAVAILABLE, message, "nothing was charged; send it again in a minute")
        return None


def no_desk() -> Refused:
    """This process sends no faxes."""
    advice = "start the daemon, with a section `fax` in charging.yaml"
    return Refused(Code.UNAVAILABLE, "no faxes are sent here", advice)
