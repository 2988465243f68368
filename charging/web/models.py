"""What goes over the wire. Money is a decimal string in euro, times are ISO 8601 in UTC, durations whole seconds."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, StrictBool
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from charging.call.decided import Turn, advice, explanation
from charging.clock import iso
from charging.ledger.accounts import Account, Language, Number, Status
from charging.ledger.balances import is_free_seconds, is_money
from charging.ledger.model import JournalLine, Kind
from charging.pricing.money import format_euro
from charging.pricing.packs import MINUTES_MAX, UNITS, WORDS, sort_of
from charging.service.actor import is_for_customer, sees_actors
from charging.service.balance import BalanceView, CreditView, PackView, PiecesView
from charging.service.decisions import Kept
from charging.service.fax_address import FaxAddress, NewFaxAddress
from charging.service.live import CallView
from charging.service.money import Credited, Minutes, reason_shown
from charging.service.numbers import NumberSet
from charging.web.forms import MONTH, AccountId, Amount, Email, ForwardTo, Mailbox, OptionalReason, PhoneNumber, Reason

T = TypeVar("T")

Text = Annotated[str, Field(max_length=500)]
Euro = Annotated[str, Field(description="euro, a decimal string such as 12.50", examples=["12.50"])]
Instant = Annotated[
    str,
    Field(
        description="ISO 8601, UTC",
        examples=["2026-11-21T12:00:00.000+00:00"],
        json_schema_extra={"format": "date-time"},
    ),
]


class Body(BaseModel):
    """A request's body: unknown members are errors, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Edit(Body):
    """A PATCH's body: a member that is left out stays as it is.

    The document tells no defaults: a generated client would send them, and so clear what its caller never named.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        for member in schema["properties"].values():
            member.pop("default", None)
        return schema


class Page(BaseModel, Generic[T]):
    """Some of a list."""

    items: list[T]
    next: Annotated[str | None, Field(description="the `cursor` of the next page; null after the last")] = None


def iso_or_none(wall_us: int | None) -> str | None:
    """The time, or ``None`` where there is none."""
    return None if wall_us is None else iso(wall_us)


# --- accounts ---------------------------------------------------------------------------------------------------


class AccountNew(Body):
    """An account to be made."""

    id: AccountId
    plan: Text
    language: Language | None = Field(None, description="left out or null: `default_language` of the settings")
    email: Email = ""


class AccountEdit(Edit):
    """What changes; members that are left out stay as they are."""

    plan: Text = ""
    language: Language = Language.NL
    email: Email = ""


class StatusEdit(Body):
    """Suspend, activate or close, and why."""

    status: Status
    reason: OptionalReason = ""


class AccountOut(BaseModel):
    """Who pays."""

    id: str
    plan: str
    language: Language
    email: str
    status: Status
    status_reason: str
    paid_until: Instant | None = Field(description="the first instant after the last paid day; null: never paid")
    created: Instant

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            id=account.id,
            plan=account.plan,
            language=account.language,
            email=account.email,
            status=account.status,
            status_reason=account.status_reason,
            paid_until=iso_or_none(account.paid_until_us),
            created=iso(account.created_us),
        )


class AccountSet(AccountOut):
    """Who pays, as it is now, and what is odd about what was asked."""

    warnings: list[str] = []


class SubscriptionPayment(Body):
    """The subscription has been paid."""

    until: date | None = Field(None, description="the last paid day; left out: a month more than before")


class SubscriptionCorrection(Body):
    """What is paid of the subscription was recorded wrongly."""

    until: date = Field(description="the last paid day, also where it is earlier than was recorded")


# --- numbers ----------------------------------------------------------------------------------------------------


class NumberNew(Body):
    """A number for an account."""

    number: PhoneNumber
    account: Text
    forward_to: ForwardTo = ""
    paid_voicemail: StrictBool | None = Field(None, description="null: as the plan says")
    mailbox: Mailbox = ""


class NumberEdit(Edit):
    """What changes; members that are left out stay as they are."""

    forward_to: ForwardTo = ""
    paid_voicemail: StrictBool | None = None
    mailbox: Mailbox = ""


class NumberOut(BaseModel):
    """A number sold to a subscriber."""

    number: str
    account: str
    forward_to: str
    paid_voicemail: bool | None
    mailbox: str
    warnings: list[str] = []

    @classmethod
    def of(cls, number: Number, warnings: tuple[str, ...] = ()) -> Self:
        return cls(
            number=number.number,
            account=number.account,
            forward_to=number.forward_to,
            paid_voicemail=number.paid_voicemail,
            mailbox=number.mailbox,
            warnings=list(warnings),
        )

    @classmethod
    def of_set(cls, answer: NumberSet) -> Self:
        return cls.of(answer.number, answer.warnings)


# --- money ------------------------------------------------------------------------------------------------------


class TopUp(Body):
    """Credit that was bought."""

    amount: Amount


class Correction(Body):
    """Credit put right."""

    amount: Amount = Field(description="a leading minus takes credit away")
    reason: Reason


class CreditedOut(BaseModel):
    """The journal has it."""

    transfer: str
    created: bool = Field(description="false: the same was asked before, and nothing was changed now")
    amount: Euro
    credit: Euro = Field(description="posted credit after it")
    available: Euro

    @classmethod
    def of(cls, credited: Credited) -> Self:
        return cls(
            transfer=credited.transfer,
            created=credited.created,
            amount=format_euro(credited.amount),
            credit=format_euro(credited.credit.posted),
            available=format_euro(credited.credit.available),
        )


def whole_number(value: object) -> object:
    """What JSON calls an integer, 5.0 too: neither a truth value, which Python takes for one, nor a text. Raises
    PydanticCustomError for those."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "a whole number is expected")
    return value


class MinuteGrant(Body):
    """Free minutes given, or taken back."""

    minutes: Annotated[int, BeforeValidator(whole_number)] = Field(
        ge=-MINUTES_MAX,
        le=MINUTES_MAX,
        description="of the present month, not 0; negative: taken back",
        json_schema_extra={"not": {"const": 0}},
    )
    reason: Reason
    month: str | None = Field(
        None, pattern=MONTH, description="`YYYY-MM`: refused where it is not the present one; left out: the present one"
    )


class MinutesOut(BaseModel):
    """The journal has it."""

    transfer: str
    created: bool = Field(description="false: the same was asked before, and nothing was changed now")
    month: str
    free_seconds: int = Field(description="given; negative: taken back")
    left: int = Field(description="free seconds of the month that further calls may use")

    @classmethod
    def of(cls, made: Minutes) -> Self:
        return cls(
            transfer=made.transfer,
            created=made.created,
            month=made.month,
            free_seconds=made.seconds,
            left=made.free.available,
        )


class FaxAddressOut(BaseModel):
    """The account has a fax address of its own."""

    account: str
    made: Instant

    @classmethod
    def of(cls, address: FaxAddress) -> Self:
        return cls(account=address.account, made=iso(address.made_us))


class FaxAddressMade(FaxAddressOut):
    """A fax address just made."""

    name: str = Field(description="what stands before the @ of your fax domain; it is not shown again")

    @classmethod
    def made_of(cls, new: NewFaxAddress) -> Self:
        return cls(**FaxAddressOut.of(new).model_dump(), name=new.name)


class LegOut(BaseModel):
    """The change of one balance."""

    balance: str
    unit: str = Field(description="euro, second, call, page or message")
    posted: str
    reserved: str


class JournalLineOut(BaseModel):
    """A line of the journal."""

    number: int
    id: str
    kind: Kind
    at: Instant
    session: str | None
    reason: str = Field(description="of a correction a person's words, of a charge its service; else may be empty")
    actor: str = Field(
        description="who had it written, as of /changes; empty: a call, or it was not noted then, or the token has not "
        "the scope audit, or is bound to an account"
    )
    legs: list[LegOut]

    @classmethod
    def of(cls, line: JournalLine) -> Self:
        return cls(
            number=line.number,
            id=line.id,
            kind=line.kind,
            at=iso(line.at_us),
            session=line.session,
            reason=reason_shown(line),
            actor=line.actor if sees_actors() else "",
            legs=[
                LegOut(
                    balance=leg.balance,
                    unit=unit_of(leg.balance),
                    posted=amount_text(leg.balance, leg.posted),
                    reserved=amount_text(leg.balance, leg.reserved),
                )
                for leg in line.legs
            ],
        )


def unit_of(balance: str) -> str:
    """What a balance counts."""
    if is_money(balance) or balance.startswith("day:"):
        return "euro"
    if (sort := sort_of(balance.removeprefix("granted-").removeprefix("plan-"))) is not None:
        return UNITS[sort]
    is_seconds = is_free_seconds(balance) or balance.startswith(("granted:", "plan:", "unpaid:"))
    return "second" if is_seconds else "call"


def amount_text(balance: str, amount: int) -> str:
    """An amount in the balance's unit."""
    return format_euro(amount) if unit_of(balance) == "euro" else str(amount)


# --- calls ------------------------------------------------------------------------------------------------------


class CallOut(BaseModel):
    """A call that is open now."""

    session: str
    account: str
    number: str
    caller: str
    withheld: bool = Field(
        description="the caller withholds his number: show it to no customer (tokens bound to an account see none)"
    )
    target: str
    plan: str
    destination: str
    switch: str
    state: str = Field(
        description="reserved, ringing, running, ending or settling; in a balance as last stored: reserved until the "
        "answer, running until it is booked"
    )
    reason: str = Field(description="free_minutes or credit: what pays the first second")
    set_up: Instant
    answered: Instant | None
    elapsed_s: int
    cost: Euro = Field(description="credit used so far")
    free_seconds: int = Field(description="free seconds used so far")
    covered_s: int
    covered_until: Instant | None
    short: str = Field(description="money or cap: why no more is reserved; no: there is more")
    watched: bool = Field(description="false: the daemon of this switch does not look after it; as last stored")

    @classmethod
    def of(cls, view: CallView) -> Self:
        session = view.session
        return cls(
            session=session.id,
            account=session.account,
            number=session.number,
            caller="" if session.withheld and is_for_customer() else session.caller,
            withheld=session.withheld,
            target=session.target,
            plan=session.plan,
            destination=session.rate.destination,
            switch=session.switch,
            state=session.state,
            reason=session.reason,
            set_up=iso(session.opened.wall_us),
            answered=iso(session.start_us) if session.answered is not None else None,
            elapsed_s=view.elapsed_s,
            cost=format_euro(view.cost),
            free_seconds=sum(view.free_seconds.values()),
            covered_s=session.covered_s,
            covered_until=iso_or_none(view.covered_until_us),
            short=session.short,
            watched=view.watched,
        )


class DecisionOut(BaseModel):
    """What was decided over a call, and why."""

    id: str
    at: Instant
    turn: Turn = Field(
        description="incoming; unanswered: what to do after a forward that nobody took; delivery: an earlier answer "
        "could not be told to the dialplan"
    )
    outcome: str = Field(
        description="forward, voicemail, reject (not answered), or fallback: nothing was decided, or not heard, and "
        "the dialplan did what you chose for that case"
    )
    reason: str
    explanation: str = Field(description="outcome and reason in a sentence, for your staff")
    advice: str = Field(description="what to do about it; empty: nothing")
    number: str = Field(description="the subscriber's; masked where it is nobody's or was not looked up")
    account: str | None
    plan: str | None
    caller: str = Field(description="masked; empty: withheld or unknown")
    withheld: bool
    target: str = Field(description="where it is forwarded to, masked; empty: nowhere, or not looked up")
    destination: str = Field(description="the tariff's name for the target's; empty: not looked up, or no price")
    credit_available: Euro | None = Field(description="before this call took any; null: not looked at")
    credit_reserved: Euro | None = Field(description="held by other calls and faxes then")
    free_seconds: int | None = Field(
        description="left of the month's then; whether they pay for the destination is the plan's matter"
    )
    message_price: Euro | None = Field(description="of a voicemail, where it had to be reserved; null: it had not")
    message_refusal: str = Field(
        description="why no paid message was taken: no_credit, or day_limit (the plan's credit a day); empty: it was, "
        "or none was for sale"
    )
    quota_s: int | None = Field(description="seconds that were reserved at first; null: not forwarded")
    session: str | None = Field(description="of the call, where one was opened: its CDR has it too")
    detail: str = Field(description="how the dialling ended, or what went wrong, in the program's words")
    switch: str
    daemon: str = Field(description="which process decided: host and process id")
    took_ms: int = Field(description="milliseconds from the dialplan's question to the decision")

    @classmethod
    def of(cls, kept: Kept) -> Self:
        one = kept.decided
        euro = {
            name: None if (amount := getattr(one, name)) is None else format_euro(amount)
            for name in ("credit_available", "credit_reserved", "message_price")
        }
        return cls(
            id=kept.id,
            at=iso(one.at_us),
            turn=one.turn,
            outcome=one.outcome,
            reason=one.reason,
            explanation=explanation(one),
            advice=advice(one),
            number=one.number,
            account=one.account or None,
            plan=one.plan or None,
            caller=one.caller,
            withheld=one.withheld,
            target=one.target,
            destination=one.destination,
            credit_available=euro["credit_available"],
            credit_reserved=euro["credit_reserved"],
            free_seconds=one.free_seconds,
            message_price=euro["message_price"],
            message_refusal=one.message_refusal,
            quota_s=one.quota_s,
            session=one.session or None,
            detail=one.detail,
            switch=one.switch,
            daemon=one.daemon,
            took_ms=one.took_ms,
        )


class CreditOut(BaseModel):
    """Credit in euro."""

    posted: Euro
    reserved: Euro
    available: Euro = Field(description="what further calls may reserve")
    now: Euro = Field(description="what the customer still has: posted, less what running calls used since")


class PromotionOut(CreditOut):
    """Promotional credit of one end: it pays before bought credit, the soonest end first."""

    last_day: date = Field(description="what begins on it may use it, to its own end")


class FreeSecondsOut(BaseModel):
    """The free seconds of the present month."""

    month: str
    granted: bool = Field(description="false: it comes into being with its first use")
    posted: int
    reserved: int
    left: int = Field(description="what further calls may use")
    now: int = Field(description="posted, less what running calls used since")


def _euros(credit: CreditView) -> dict[str, str]:
    return {name: format_euro(getattr(credit, name)) for name in CreditOut.model_fields}


class PackOut(BaseModel):
    """Minutes of a pack that end on one day."""

    pack: str = Field(description="its name in the tariff")
    title: str = Field(description="what customers call it")
    last_day: date
    posted: int = Field(description="seconds")
    reserved: int
    left: int = Field(description="what further calls may use")
    now: int = Field(description="posted, less what running calls used since")

    @classmethod
    def of(cls, view: PackView) -> Self:
        amounts = {name: getattr(view, name) for name in ("posted", "reserved", "left", "now")}
        return cls(pack=view.pack, title=view.title, last_day=date.fromisoformat(view.last_day), **amounts)


class PiecesOut(BaseModel):
    """Free fax pages or messages that end on one day."""

    kind: str = Field(description="fax_pages or messages")
    pack: str | None = Field(description="its name in the tariff; null: those that the plan gives this month")
    title: str = Field(description="what customers call the pack, or the plan")
    last_day: date
    posted: int
    reserved: int
    left: int = Field(description="what further ones may use")

    @classmethod
    def of(cls, view: PiecesView) -> Self:
        amounts = {name: getattr(view, name) for name in ("posted", "reserved", "left")}
        last_day = date.fromisoformat(view.last_day)
        return cls(kind=WORDS[view.sort], pack=view.pack or None, title=view.title, last_day=last_day, **amounts)


class BalanceOut(BaseModel):
    """What an account has now, running calls included (R5)."""

    account: str
    plan: str
    status: Status
    credit: CreditOut = Field(description="that was bought")
    promotional: list[PromotionOut] = Field(description="in the order in which it pays, before what was bought")
    free_seconds: FreeSecondsOut
    packs: list[PackOut] = Field(description="minutes with an end of their own, by it")
    pieces: list[PiecesOut] = Field(description="fax pages and messages that cost no credit")
    calls: list[CallOut]

    @classmethod
    def of(cls, view: BalanceView) -> Self:
        credit, free = view.credit, view.free
        return cls(
            account=view.account.id,
            plan=view.account.plan,
            status=view.account.status,
            credit=CreditOut(**_euros(credit)),
            promotional=[
                PromotionOut(**_euros(one), last_day=date.fromisoformat(one.last_day)) for one in view.promotions
            ],
            free_seconds=FreeSecondsOut(
                month=free.month,
                granted=free.granted,
                posted=free.posted,
                reserved=free.reserved,
                left=free.left,
                now=free.now,
            ),
            packs=list(map(PackOut.of, view.packs)),
            pieces=list(map(PiecesOut.of, view.pieces)),
            calls=[CallOut.of(call) for call in view.calls],
        )
