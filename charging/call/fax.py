"""A fax that is being sent: the price of all its pages is reserved before it is dialled, and those that were really
sent are charged. Pure.

A page counts as sent when the receiving machine has confirmed it, which is what the switch's own record tells
(FAXPAGES), whatever became of the rest: pages that failed are not charged (R3), also where there is no record at all.
Measured on two pages: cut after 14 s the sender reports FAILED and no page, cut after 17 s FAILED and one page, and
only that one is charged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from charging.call import oneoff, told
from charging.call.commands import AskPages, AskSwitch, Command, HangUp, Keep, ReadBlackBox
from charging.call.events import (
    BlackBoxRead,
    Event,
    FaxOrdered,
    HangupOrdered,
    PagesConfirmed,
    SwitchRestarted,
    SwitchSaid,
    SwitchSilent,
)
from charging.call.finished import given_in
from charging.call.model import Policy, State
from charging.call.oneoff import Piece
from charging.call.switch_events import ChannelEnded
from charging.clock import MICROSECONDS, Instant, iso
from charging.ledger.balances import divided, held_rooms
from charging.ledger.model import Balance, Transfer, unpaid_line
from charging.pricing.money import format_euro
from charging.pricing.packs import shown_pieces
from charging.records import VOLATILE, replace

SERVICE = "fax"
ANSWERED = "ANSWER"
RINGS_TO_ONE = 4
"""Seconds of ringing in vain that count as one that was held unpaid, and so does what is left of them: of a company's
faxes some are not answered. Whatever the line says at the end: the words are the far end's, which may be a machine of
the sender's own."""
RING_S = 60
"""How long the switch lets it ring."""
RECORD_RETRY_S = 1
SEND_FIRST_S = 120
SEND_PAGE_S = 180
"""A dense page at the slowest speed, with repetitions."""
PAGES_SPARED = 1
"""A page may take the time of so many more: it is dense, and the others are not."""
BETWEEN_PAGES_S = 0.5
"""So often it is asked for the end of a page behind which it is to end: no page is sent and confirmed within that."""


def send_s(pages: int) -> int:
    """How long the sending of so many pages may take, in seconds; the switch ends it then."""
    return SEND_FIRST_S + SEND_PAGE_S * pages


UNPAID_HELD_S = send_s(1)
"""Seconds that a fax on its way holds of what its account may use unpaid in a day."""
UNPAID_CALL_S, UNPAID_REFUSED_S = 60, 20
"""A fax that was dialled counts for as long at least, and one that was refused, before RINGS_TO_ONE: carriers bill an
answered call by a first increment, however soon its machine hangs up, and also answers of which Asterisk tells nobody
(`charging.limits.InVain`). An hour without the trunk takes a day's faxing from no customer."""
REFUSED = ("BUSY", "CONGESTION", "CHANUNAVAIL")
UNPAID_PART, UNPAID_LEAST_S = 4, 900
"""That nobody answered is believed until such a part of the day is used up: whoever answers chooses the words in which
Asterisk tells it, cause and all. And one fax counts for no more than that, and so many seconds: the machine that has it
go on for hours without a page may be a stranger's, who would so take faxing away from its sender for the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fax(Piece):
    """One fax on its way."""

    KIND = SERVICE
    SETTLED = told.FaxSettled
    LOOK_S = 30
    """A page takes its time."""

    target: str
    pages: int
    """Of the document, counted before."""
    document: str
    """What its sender calls it."""
    digest: str
    """SHA-256 of the document as it was handed in: the same key with another document is told apart. Up to version 0.1
    its first 32 digits."""
    paper: str = ""
    """The name by which it is kept until it is sent; empty in records of version 0.1."""
    tariff: str
    """Revision and digest of the tariff that gave the price."""
    dial_by: Instant
    """The switch does not dial after this."""
    switch_started: str = ""
    """The start of the switch that it was opened under, in its own words; empty: in records of version 0.1."""
    unpaid_max_s: int | None = None
    """Seconds for which faxes of the account may hold lines on its day and confirm no page for it; ``None``: in
    records of version 0.1, which count none."""
    unpaid_before_s: int = 0
    """How many of these were used up when it was opened."""
    seen: Annotated[bool, VOLATILE] = False
    """Whether the switch is known to have had a channel for it."""
    ordered: Annotated[bool, VOLATILE] = False
    """Whether the switch has taken the order to dial."""
    restarted: Annotated[bool, VOLATILE] = False
    """Whether the switch was restarted since it was opened: that there is no record of it then says nothing."""
    cancelled: bool = False
    """Whether someone wants it to end."""
    confirmed: Annotated[int, VOLATILE] = 0
    """Pages that the switch has said to be."""
    ends_after: Annotated[int | None, VOLATILE] = None
    """How many were when it was cancelled: one more ends it; ``None``: not known."""
    untold: Annotated[bool, VOLATILE] = False
    """Whether the switch has been silent since."""

    def is_of_another_start(self, started: str) -> bool:
        """Whether the switch was restarted since it was opened, and says now that it was ``started`` then."""
        return bool(started and self.switch_started) and started != self.switch_started

    @property
    def paper_name(self) -> str:
        """By which its document is kept."""
        return self.paper or f"{self.id}-{self.digest[:8]}"

    @property
    def cost(self) -> int:
        """Micro-euro of all pages, but those that it holds of the included ones."""
        return self.charge(self.pages)[0]

    @property
    def page_by(self) -> Instant:
        """By then one page more has been confirmed, by any machine that takes it."""
        return self.dial_by.plus(RING_S + send_s(self.confirmed + 1 + PAGES_SPARED))

    def opening(self, amount: int, promos: Mapping[str, int] = {}) -> dict[str, int]:
        """The price, and some of the day's unpaid seconds."""
        wanted = self.taken(amount, promos)
        if self.unpaid_max_s is None:
            return wanted
        return {**wanted, unpaid_line(self.day): min(UNPAID_HELD_S, self.unpaid_max_s)}

    def floor(self, balance: str) -> int:
        """The least that a balance may be after a transfer, in its own unit: micro-euro or seconds."""
        if self.unpaid_max_s is not None and balance == unpaid_line(self.day):
            return -self.unpaid_max_s
        return Piece.floor(self, balance)

    def has_unpaid_left(self, balances: Mapping[str, Balance]) -> bool:
        """Whether faxes of its account may hold lines unpaid for as long as one more does."""
        key = unpaid_line(self.day)
        wanted = self.opening(0).get(key, 0)
        return not wanted or balances.get(key, Balance()).available - wanted >= self.floor(key)


def open_transfer(fax: Fax, balances: Mapping[str, Balance]) -> tuple[Fax, Transfer]:
    """Reserve every page and open the session."""
    before_s = -balances.get(unpaid_line(fax.day), Balance()).posted
    opening = replace(fax, unpaid_before_s=before_s, check_mono_us=fax.dial_by.mono_us)
    return oneoff.reserve(opening, fax.pages, balances, fax.opened.wall_us)


def step(fax: Fax, event: Event, now: Instant, policy: Policy) -> tuple[Fax, tuple[Command, ...]]:
    """What an event does to it. Events that concern calls are of no interest."""
    return oneoff.step(fax, event, now, policy, _HANDLERS)


Answer = tuple[Fax, tuple[Command, ...]]


def _channel_ended(fax: Fax, _event: ChannelEnded, _now: Instant, _policy: Policy) -> Answer:
    """One of its channels is gone: the half that dialled, or the one that sent. The switch knows whether all are."""
    if fax.state is State.SETTLING:
        return fax, ()
    return replace(fax, seen=True), (AskSwitch(),)


def _cancel(fax: Fax, _event: HangupOrdered, _now: Instant, _policy: Policy) -> Answer:
    """Its channels are the switch's to name. The page that is being sent is sent to its end: the machine has it before
    it confirms it, so whoever could break a page off in between would have it for nothing."""
    if fax.state is State.SETTLING or fax.cancelled:
        return fax, ()
    return replace(fax, cancelled=True), (Keep(), AskSwitch())


def _pages_confirmed(fax: Fax, event: PagesConfirmed, now: Instant, _policy: Policy) -> Answer:
    """Hang up who is behind his pages: else the first could take the time of all, which is paid with the last. What was
    cancelled is hung up between two pages, and before the first begins."""
    if event.pages is None:
        return fax, (_hung_up(event.uids, "cancelled") if fax.cancelled else ())
    fax = replace(fax, confirmed=event.pages, untold=False)
    if now.mono_us >= fax.page_by.mono_us:
        return fax, _hung_up(event.uids, "behind")
    if not fax.cancelled:
        return fax, ()
    if fax.ends_after is not None and event.pages > fax.ends_after:
        return fax, _hung_up(event.uids, "cancelled")
    ends_after = event.pages if fax.ends_after is None else fax.ends_after
    return replace(fax, ends_after=ends_after, check_mono_us=now.plus(BETWEEN_PAGES_S).mono_us), ()


def _hung_up(uids: tuple[str, ...], reason: str) -> tuple[Command, ...]:
    return tuple(HangUp(uid, reason) for uid in uids)


def _switch_silent(fax: Fax, _event: SwitchSilent, now: Instant, policy: Policy) -> Answer:
    """Ask again: soon if it is over. One that is on its way ends by itself, also where the switch knows no pages."""
    if fax.state is State.SETTLING:
        return fax, ()
    again_s = fax.LOOK_S if fax.state is State.RUNNING and not fax.cancelled else policy.retry_s
    return replace(fax, untold=True, check_mono_us=now.plus(again_s).mono_us), ()


def _ordered(fax: Fax, _event: FaxOrdered, _now: Instant, _policy: Policy) -> Answer:
    return replace(fax, ordered=True), ()


def _restarted(fax: Fax, _event: SwitchRestarted, _now: Instant, _policy: Policy) -> Answer:
    return replace(fax, restarted=True), ()


def _switch_said(fax: Fax, event: SwitchSaid, now: Instant, _policy: Policy) -> Answer:
    if fax.state is State.SETTLING:
        return fax, ()
    legs = [leg for leg in (event.caller, event.callee, *event.others) if leg is not None]
    if not event.alone:
        return fax, (() if legs and not fax.cancelled else (AskSwitch(),))
    if legs:
        sending = replace(fax, seen=True, state=State.RUNNING, check_mono_us=now.plus(fax.LOOK_S).mono_us)
        is_behind = now.mono_us >= fax.page_by.mono_us
        if fax.cancelled and is_behind and fax.untold:
            return sending, _hung_up(event.uids, "cancelled")
        return sending, ((AskPages(event.uids),) if fax.cancelled or is_behind else ())
    if not fax.seen and event.asked_mono_us < fax.dial_by.mono_us:
        # The order may be on its way to the switch.
        return replace(fax, check_mono_us=fax.dial_by.mono_us), ()
    check = now.plus(RECORD_RETRY_S).mono_us
    return replace(fax, state=State.ENDING, ended=fax.ended or now, check_mono_us=check), (ReadBlackBox(),)


def _box_read(fax: Fax, event: BlackBoxRead, now: Instant, policy: Policy) -> Answer:
    """Charge the pages that the switch says were sent."""
    if not oneoff.is_awaited(fax, event, now, policy):
        return fax, ()
    sent = min(event.fax_pages, fax.pages)
    ended_us = event.ended_us or (fax.ended or now).wall_us
    fax = replace(fax, recorded=event.found)
    unpaid_s = 0 if fax.unpaid_max_s is None else _unpaid_s(fax, event, sent, ended_us)
    counted = {unpaid_line(fax.day): unpaid_s} if unpaid_s else {}
    return oneoff.settle(fax, sent, _cdr(fax, event, sent, ended_us, unpaid_s), ended_us, now, counted)


def _unpaid_s(fax: Fax, box: BlackBoxRead, sent: int, ended_us: int) -> int:
    """For how many seconds it held a line beyond what its delivered pages may take: all of them where none was, and a
    part where nobody answered. Those that have begun do not count; the least does. From the order on, for the record
    has no time of the answer. No longer than the switch allows: while that is away, or its clock is wrong, time passes
    that its customer has not held. Where there is no record nobody knows of a line."""
    if not box.found or box.undialled:
        return 0
    most_s = (fax.dial_by.wall_us - fax.opened.wall_us) // MICROSECONDS + RING_S + send_s(fax.pages)
    held_s = min(max(0, ended_us - fax.opened.wall_us) // MICROSECONDS, most_s)
    believed = fax.unpaid_before_s < (fax.unpaid_max_s or 0) // UNPAID_PART
    held_s = max(held_s, UNPAID_REFUSED_S if believed and box.dial_status in REFUSED else UNPAID_CALL_S)
    if believed and box.dial_status not in ("", ANSWERED):
        held_s = -(-held_s // RINGS_TO_ONE)
    counted_s = max(0, held_s - (send_s(sent) if sent else 0))
    return min(counted_s, max(UNPAID_LEAST_S, (fax.unpaid_max_s or 0) // UNPAID_PART))


_HANDLERS: Mapping[type, oneoff.Handler[Fax]] = dict(
    [
        oneoff.on(ChannelEnded, _channel_ended),
        oneoff.on(HangupOrdered, _cancel),
        oneoff.on(PagesConfirmed, _pages_confirmed),
        oneoff.on(SwitchSilent, _switch_silent),
        oneoff.on(FaxOrdered, _ordered),
        oneoff.on(SwitchRestarted, _restarted),
        oneoff.on(SwitchSaid, _switch_said),
        oneoff.on(BlackBoxRead, _box_read),
    ]
)


def _cdr(fax: Fax, box: BlackBoxRead, sent: int, ended_us: int, unpaid_s: int) -> str:
    """The JSON text of its CDR: the same members as a call's, where they mean something."""
    cost, free = fax.charge(sent)
    document = {
        "service": SERVICE,
        "session": fax.id,
        "account": fax.account,
        "number": fax.number,
        "target": fax.target,
        "plan": fax.plan,
        "switch": fax.switch,
        "document": fax.document,
        "document_digest": fax.digest,
        "status": box.fax_status,
        "dial_status": box.dial_status,
        "dialled": not box.undialled and (box.found or fax.seen or fax.ordered or fax.restarted),
        "set_up": iso(fax.opened.wall_us),
        "ended": iso(ended_us),
        "pages": sent,
        "document_pages": fax.pages,
        "page_price": format_euro(fax.price),
        "unpaid_s": unpaid_s,
        **({"free_pages": shown_pieces(free)} if free else {}),
        "cost": format_euro(cost),
        **given_in(divided(cost, held_rooms(fax.held))),
        "tariff": fax.tariff,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
