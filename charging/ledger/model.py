"""The ledger's words and its rules: transfers, legs, balances, sessions, journal lines; and what a transfer does. Pure.

An *account* has named *balances*. Each balance is two integers, ``posted`` and ``reserved``; what may still be
spent is ``available = posted - reserved``:

===================  ==============  =====================================================================
balance              unit            meaning
===================  ==============  =====================================================================
``credit``           micro-euro      the prepaid credit
``promo:2026-12-31`` micro-euro      promotional credit, through that day (`charging.ledger.balances`)
``bundle:2026-11``   second          the free seconds of one calendar month
``pack:2026-12-31:x.e`` second       those of the tariff's pack ``x``, in its edition ``e``, through that day
                                     (`charging.pricing.packs`)
``pages:…``          page            free fax pages, of a month or a pack (`charging.pricing.packs`)
``vmail:…``          message         free voicemail messages, likewise
``granted:2026-11``  second          all that was granted of them; never lowered
``plan:2026-11:pro.e`` second        how many there were when a plan, by the edition ``e`` of its rules, last raised
                                     them; never lowered
``day:2026-11-21``   micro-euro      minus what was spent on that day (calls, messages); its floor is minus the cap
``unpaid:2026-11-21`` second        minus how long faxes of that day held lines unpaid; its floor is minus the bound
``calls``            call            posted is always 0; each running call reserves 1; its floor is minus the cap
===================  ==============  =====================================================================

The nightly round brings the counters of days and months long over to zero, and then drops them: a balance that is not
stored is zero.

The only way to change a balance is a :class:`Transfer`: a line of the journal, never edited, never deleted. Its
*legs* move any number of balances together, all or nothing. The sum of the journal is the balance, always.
The caller makes the transfer's id before the first attempt and repeats it until it has an answer.

Value is reserved for a *session* (one charged call, voicemail or fax). The ledger stores the open session in the
same atomic step as its money, with its *holds*: how much it has reserved of each balance. So at any moment, for every
balance,
``reserved == sum(holds of open sessions)``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from charging.ledger.accounts import Account, Number
from charging.records import dataclass, replace

AMOUNT_MAX = 2**53 - 1
"""The largest magnitude of any amount: numbers in Redis' Lua are doubles, so every store keeps to this."""

ID_LENGTH_MAX = 200
REASON_LENGTH_MAX = 500
ACTOR_LENGTH_MAX = 100
LEGS_MAX = 16

_NAME = re.compile(r"[A-Za-z0-9:._-]{1,64}")
"""A session or a switch: stores use the other characters to set them apart."""
_BALANCE = re.compile(r"[A-Za-z0-9:._-]{1,72}")

_quoted = json.encoder.encode_basestring_ascii
"""A string in JSON. Every transfer needs a digest, and a whole encoder takes five times as long."""

CREDIT = "credit"
CALLS = "calls"


def unpaid_line(day: str) -> str:
    """The balance that counts the seconds for which faxes held a line unpaid; ``day`` is ``YYYY-MM-DD``."""
    return f"unpaid:{day}"


def day_spend(day: str) -> str:
    """The balance that caps one day's spending on calls; ``day`` is ``YYYY-MM-DD`` in the operator's zone."""
    return f"day:{day}"


class Kind(StrEnum):
    """What a transfer is for. One word for each line of a statement."""

    TOP_UP = "top_up"
    """The customer bought credit (R2)."""
    GRANT = "grant"
    """A month's free seconds come into being (R11)."""
    RESERVE = "reserve"
    """Value is set aside for a session that opens."""
    EXTEND = "extend"
    """A tick: what was used is settled and the next stretch reserved, in one step."""
    SETTLE = "settle"
    """The session ends: the exact charge is posted and the rest given back."""
    RELEASE = "release"
    """The session ends without any charge."""
    CHARGE = "charge"
    """Something was delivered without a reservation (a message taken while the daemon was away), and is charged
    afterwards as far as credit reaches."""
    EXPIRE = "expire"
    """Old credit or an unused bundle lapses (R11, R19); or what counted days and months long over goes to zero."""
    CORRECT = "correct"
    """A person mends something, with a reason."""
    OPENING = "opening"
    """What archived journal lines added up to."""

    @property
    def has_place(self) -> bool:
        """Whether a line of the journal takes a place in the feed (`charging.ledger.feed`)."""
        return self not in (Kind.EXTEND, Kind.OPENING)


class Outcome(StrEnum):
    """Every answer to a transfer. Only CREATED has changed anything."""

    CREATED = "created"
    """The transfer is in the journal."""
    EXISTS = "exists"
    """The same transfer was in the journal already. It is not applied a second time."""
    DIFFERS = "differs"
    """A transfer with this id and other contents is in the journal: a program has reused an id by mistake."""
    INSUFFICIENT = "insufficient"
    """A leg would bring a balance's available below the leg's floor."""
    ACCOUNT_NOT_FOUND = "account_not_found"
    """There is no such account."""
    SESSION_NOT_OPEN = "session_not_open"
    """The session named by the transfer is not open (never was, or is closed)."""
    SESSION_EXISTS = "session_exists"
    """The transfer would open a session that is open already under another transfer, or that has left a CDR."""
    EXCEEDS_RESERVATION = "exceeds_reservation"
    """A leg would give back more than the session holds, or the session would close holding something."""
    EXCEEDS_LIMIT = "exceeds_limit"
    """A leg would bring a balance beyond AMOUNT_MAX."""
    FENCED = "fenced"
    """The session has passed to a daemon with a newer epoch."""
    OUT_OF_SEQUENCE = "out_of_sequence"
    """The session's last transfer is not the one that this would follow: a fail-over has lost transfers, or another
    process has posted."""

    @property
    def applied(self) -> bool:
        """Whether the transfer stands in the journal with these contents."""
        return self in (Outcome.CREATED, Outcome.EXISTS)


@dataclass(frozen=True, slots=True)
class Leg:
    """The change of one balance within a transfer."""

    balance: str
    posted: int = 0
    """Added to posted; negative takes."""
    reserved: int = 0
    """Added to reserved, and to what the session holds; negative gives back."""
    floor: int = 0
    """Where the leg lowers available, available may not end below this."""

    def __post_init__(self) -> None:
        if not _BALANCE.fullmatch(self.balance):
            raise ValueError(f"{self.balance!r} is no name of a balance")
        posted, reserved, floor = self.posted, self.reserved, self.floor
        if not (-AMOUNT_MAX <= posted <= AMOUNT_MAX and -AMOUNT_MAX <= reserved <= AMOUNT_MAX):
            raise ValueError(f"amount {posted} or {reserved} is beyond ±{AMOUNT_MAX}")
        if not -AMOUNT_MAX <= floor <= AMOUNT_MAX:
            raise ValueError(f"floor {floor} is beyond ±{AMOUNT_MAX}")


@dataclass(frozen=True, slots=True)
class Opened:
    """The transfer opens this session."""

    switch: str
    """The id of the switch that carries the call."""
    state: str
    """The session's own record, opaque to the ledger (JSON text)."""
    epoch: int = 0
    follows: int = 0
    """One less than this transfer's number; more than 0 where a session is opened again that was lost."""
    is_only_try: bool = False
    """Nobody asks for a session of this id again, whatever is answered: a refusal leaves no trace."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The session goes on, with a new record."""

    state: str
    epoch: int = 0
    follows: int = 0
    """The number of the session's last transfer, by the caller's books. This one's is one more."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session ends: whatever it still holds is given back by the transfer's legs, and must come to zero."""

    cdr: str
    """The call's CDR (JSON text, opaque to the ledger), or empty where none is written."""
    ended_us: int
    """When the call ended, wall clock; the CDR's place in time."""
    epoch: int = 0
    follows: int = 0
    """As of `Kept`."""
    opens: bool = False
    """The session begins and ends with this one transfer: what is charged at once, and leaves a CDR."""


SessionChange = Opened | Kept | Closed


@dataclass(frozen=True, slots=True)
class Transfer:
    """One line of the journal."""

    id: str
    """Made by the caller, unique within the account, for example ``SESSION/3/extend``."""
    account: str
    kind: Kind
    at_us: int
    """Wall clock, microseconds since the epoch. Not part of the contents that a repeated id is compared by."""
    legs: tuple[Leg, ...] = ()
    session: str | None = None
    change: SessionChange | None = None
    """What happens to the session in the same atomic step; ``None`` only where ``session`` is."""
    reason: str = ""
    """Why, in a person's words, where a person did it; else a short machine word."""
    actor: str = ""
    """Who has it done (`charging.service.actor`), where it is no call's; not part of the contents either: the first who
    did it stands in the journal."""

    def __post_init__(self) -> None:
        if not 0 < len(self.id) <= ID_LENGTH_MAX or len(self.reason) > REASON_LENGTH_MAX:
            raise ValueError("a transfer's id has 1 to 200 characters and its reason 500 at most")
        if len(self.actor) > ACTOR_LENGTH_MAX:
            raise ValueError("a transfer's actor has 100 characters at most")
        if len(self.legs) > LEGS_MAX or len({leg.balance for leg in self.legs}) != len(self.legs):
            raise ValueError("a transfer has 16 legs at most, each of another balance")
        if (self.session is None) != (self.change is None):
            raise ValueError("a transfer names a session and its change, or neither")
        if self.session is not None and not _NAME.fullmatch(self.session):
            raise ValueError(f"{self.session!r} is no name of a session")
        if isinstance(self.change, Opened) and not _NAME.fullmatch(self.change.switch):
            raise ValueError(f"{self.change.switch!r} is no name of a switch")
        change = self.change
        if change is not None and not (0 <= change.epoch <= AMOUNT_MAX and 0 <= change.follows < AMOUNT_MAX):
            raise ValueError(f"epoch {change.epoch} or number {change.follows} is out of range")
        if self.session is None and any(leg.reserved for leg in self.legs):
            raise ValueError("only a session can hold reserved value")

    @property
    def digest(self) -> str:
        """What a repeated id is compared by: account, kind, legs (without floors), session and reason."""
        return contents_digest(self.account, self.kind, self.legs, self.session, self.reason)


def contents_digest(account: str, kind: Kind, legs: tuple[Leg, ...], session: str | None, reason: str) -> str:
    """32 hexadecimal digits that two transfers share only where their contents are the same."""
    ordered = sorted([(leg.balance, leg.posted, leg.reserved) for leg in legs])
    moved = ",".join([f'["{balance}",{posted},{reserved}]' for balance, posted, reserved in ordered])
    named = "null" if session is None else _quoted(session)
    contents = f'[{_quoted(account)},"{kind}",[{moved}],{named},{_quoted(reason)}]'
    return hashlib.sha256(contents.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Balance:
    """One balance at one moment."""

    posted: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        """What may still be spent, in the balance's unit; less than 0 where it was overdrawn."""
        return self.posted - self.reserved


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An open session as the ledger keeps it."""

    id: str
    account: str
    switch: str
    state: str
    holds: Mapping[str, int]
    """What it has reserved of each balance; entries of zero are left out."""
    epoch: int = 0
    opened_us: int = 0
    sequence: int = 0
    """The number of its last transfer; 0: not known, for an older version has stored it, and any may follow."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to a transfer."""

    outcome: Outcome
    balances: Mapping[str, Balance] = field(default_factory=dict)
    """Of the balances that the transfer's legs name, after it; for EXISTS and for refusals, as they are now (zeros
    where the account does not exist)."""
    detail: str = ""
    """Which balance was short, which digest was found; for logs."""
    session: OpenSession | None = None
    """Where the answer is OUT_OF_SEQUENCE: the session as it is stored."""


@dataclass(frozen=True, slots=True)
class Called:
    """A number that is rung."""

    number: Number
    account: Account | None
    """Whose it is; ``None``: the directory contradicts itself."""
    balances: Mapping[str, Balance]
    """Of the account."""
    target_is_ours: bool
    """Whether the number is forwarded to one of the directory's own."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that an account's journal adds up to, at one moment."""

    last_number: int = 0
    """Of the newest journal line at that moment; 0: there is none."""
    balances: Mapping[str, Balance] = field(default_factory=dict)
    sessions: tuple[OpenSession, ...] = ()
    """In no order."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A transfer as it stands in the journal."""

    number: int
    """Its place in the account's journal, from 1, without gaps."""
    id: str
    account: str
    kind: Kind
    at_us: int
    legs: tuple[Leg, ...]
    """Floors are not kept: a line read back has zeros there."""
    session: str | None
    reason: str
    digest: str
    actor: str = ""
    """Empty: a call's line, or one of an older version, which did not know."""


@dataclass(frozen=True, slots=True)
class CdrRow:
    """A CDR as the ledger keeps it."""

    session: str
    account: str
    ended_us: int
    document: str
    """JSON text."""


# --- the rules ----------------------------------------------------------------------------------------------------
#
# From the ledger's present state to its next. The memory store and SQLite call `decide` inside their write. Redis' Lua
# scripts implement the same rules; the contract suite and the state machine check that they agree.

GRANTS_MAX = 8
"""A call touches the bundles of two months at most; the rest is room."""

ZERO = Balance()


@dataclass(frozen=True, slots=True)
class View:
    """What a decision looks at, read inside the same atomic step that will carry it out."""

    account_exists: bool
    digests: Mapping[str, str]
    """By transfer id: of those of the ids in question that stand in the journal."""
    balances: Mapping[str, Balance]
    """At least those that the legs name; one that is missing was never touched."""
    session: OpenSession | None
    """The session that the transfer names, if it is open."""
    has_cdr: bool
    """Whether that session has left a CDR, and so cannot be opened again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what has to be written for it. Nothing is written unless ``applied`` is CREATED."""

    applied: Applied
    lines: tuple[Transfer, ...] = ()
    """To be appended to the journal, in this order: the new grants, then the transfer."""
    balances: Mapping[str, Balance] = field(default_factory=dict)
    """The new values of the balances that change."""
    session: OpenSession | None = None
    """The session's new record, where it opens or goes on."""
    closes: bool = False
    cdr: CdrRow | None = None


def check_request(transfer: Transfer, grants: Sequence[Transfer]) -> None:
    """Check a request for faults of the program that sends it: more than GRANTS_MAX grants, equal ids, or a grant of
    another account or with a session. Raises ValueError."""
    if not grants:
        return
    if len(grants) > GRANTS_MAX:
        raise ValueError(f"a transfer is preceded by {GRANTS_MAX} grants at most")
    ids = {transfer.id, *(grant.id for grant in grants)}
    if len(ids) != len(grants) + 1:
        raise ValueError("a transfer and its grants have different ids")
    if any(grant.account != transfer.account or grant.session is not None for grant in grants):
        raise ValueError("a grant is of the transfer's account and has no session")


def decide(transfer: Transfer, grants: Sequence[Transfer], view: View) -> Decision:
    """Decide a transfer by rules 1 to 7 of the port: the answer, and what must be written in the same step."""
    now = {leg.balance: view.balances.get(leg.balance, ZERO) for leg in transfer.legs}
    if (digest := view.digests.get(transfer.id)) is not None:
        if digest == transfer.digest:
            return Decision(Applied(Outcome.EXISTS, now))
        return Decision(Applied(Outcome.DIFFERS, now, f"the journal has {digest}, not {transfer.digest}"))
    if not view.account_exists:
        return Decision(Applied(Outcome.ACCOUNT_NOT_FOUND, now))
    if (refused := _refuse_session(transfer, view)) is not None:
        return Decision(Applied(refused, now, session=view.session if refused is Outcome.OUT_OF_SEQUENCE else None))
    holds = _holds_after(transfer, view)
    if isinstance(holds, str):
        return Decision(Applied(Outcome.EXCEEDS_RESERVATION, now, holds))
    lines = (*(grant for grant in grants if grant.id not in view.digests), transfer)
    changed: dict[str, Balance] = {}
    for leg in (leg for line in lines for leg in line.legs):
        before = changed.get(leg.balance) or view.balances.get(leg.balance, ZERO)
        after = Balance(before.posted + leg.posted, before.reserved + leg.reserved)
        if (short := _refuse_leg(leg, after)) is not None:
            return Decision(Applied(short, now, leg.balance))
        changed[leg.balance] = after
    applied = Applied(Outcome.CREATED, {leg.balance: changed[leg.balance] for leg in transfer.legs})
    closed = transfer.change if isinstance(transfer.change, Closed) else None
    return Decision(
        applied,
        lines,
        changed,
        session=_session_after(transfer, holds, view),
        closes=closed is not None,
        cdr=_cdr(transfer, closed) if closed is not None and closed.cdr else None,
    )


def decide_keep(session: OpenSession | None, kept: Kept) -> tuple[Outcome, OpenSession | None]:
    """Decide whether an open session's new record may be stored without moving value: the answer, and the record to be
    written (``None`` if refused)."""
    if session is None:
        return Outcome.SESSION_NOT_OPEN, None
    if (refused := _refuse_change(session, kept)) is not None:
        return refused, None
    return Outcome.CREATED, replace(session, state=kept.state, epoch=kept.epoch)


def _refuse_session(transfer: Transfer, view: View) -> Outcome | None:
    if transfer.change is None:
        return None
    if isinstance(transfer.change, Opened) or (isinstance(transfer.change, Closed) and transfer.change.opens):
        return Outcome.SESSION_EXISTS if view.session is not None or view.has_cdr else None
    if view.session is None:
        return Outcome.SESSION_NOT_OPEN
    return _refuse_change(view.session, transfer.change)


def _refuse_change(session: OpenSession, change: Kept | Closed) -> Outcome | None:
    if change.epoch < session.epoch:
        return Outcome.FENCED
    return Outcome.OUT_OF_SEQUENCE if session.sequence not in (0, change.follows) else None


def _holds_after(transfer: Transfer, view: View) -> dict[str, int] | str:
    """What the session holds after the transfer. If that is impossible, the name of the balance at fault: one of which
    it would hold less than nothing, or, if it closes, one of which it would still hold something."""
    holds = dict(view.session.holds) if view.session is not None else {}
    for leg in transfer.legs:
        held = holds.pop(leg.balance, 0) + leg.reserved
        if held < 0:
            return leg.balance
        if held:
            holds[leg.balance] = held
    if isinstance(transfer.change, Closed) and holds:
        return min(holds)
    return holds


def _refuse_leg(leg: Leg, after: Balance) -> Outcome | None:
    within = -AMOUNT_MAX <= after.posted <= AMOUNT_MAX and -AMOUNT_MAX <= after.reserved <= AMOUNT_MAX
    if not (within and -AMOUNT_MAX <= after.available <= AMOUNT_MAX):
        return Outcome.EXCEEDS_LIMIT
    lowers = leg.posted - leg.reserved < 0
    return Outcome.INSUFFICIENT if lowers and after.available < leg.floor else None


def _session_after(transfer: Transfer, holds: Mapping[str, int], view: View) -> OpenSession | None:
    change = transfer.change
    if isinstance(change, Opened):
        assert transfer.session is not None
        return OpenSession(
            transfer.session,
            transfer.account,
            change.switch,
            change.state,
            holds,
            change.epoch,
            transfer.at_us,
            change.follows + 1,
        )
    if isinstance(change, Kept):
        assert view.session is not None
        return replace(view.session, state=change.state, holds=holds, epoch=change.epoch, sequence=change.follows + 1)
    return None


def _cdr(transfer: Transfer, closed: Closed) -> CdrRow:
    assert transfer.session is not None
    return CdrRow(transfer.session, transfer.account, closed.ended_us, closed.cdr)
