"""/accounts/{account}/statements/{month}: what a month's journal says, in a customer's words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from charging.clock import iso
from charging.pricing.money import format_euro
from charging.pricing.packs import MESSAGES, PAGES
from charging.service.actor import customer
from charging.service.refusal import Code, Refused
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import statement_page
from charging.service.statements import FreeSeconds, Line, Part, Statement, VatOfUsage
from charging.web.cdr_models import Cdr
from charging.web.forms import MONTH
from charging.web.models import Euro, Instant
from charging.web.parts import TheService
from charging.web.problem import Refusal, granted
from charging.web.untaken import Untaken

router = APIRouter(prefix="/accounts/{account}/statements", tags=["statements"])

Month = Annotated[str, Path(description="in the operator's zone", json_schema_extra={"pattern": MONTH})]


class Form(StrEnum):
    """How a statement is shown."""

    JSON = "json"
    CSV = "csv"
    HTML = "html"


class StatementLineOut(BaseModel):
    """One thing that changed the credit, or a call, fax or message that something free has paid."""

    at: Instant
    kind: str = Field(
        description="call, voicemail, fax, top_up, correct, expire, promotion, promotion_expired, pack, pack_expired, "
        "pieces or pieces_expired"
    )
    amount: Euro = Field(description="negative: taken")
    balance: Euro = Field(description="posted credit after it")
    promotional: Euro = Field(description="of promotional credit, which is in no balance here; negative: taken")
    free_seconds: int
    free_fax_pages: int = Field(description="used; negative: given")
    free_messages: int = Field(description="likewise")
    reason: str
    id: str = Field(description="the session's or the transfer's")
    seconds: int | None = Field(
        description="how long the whole call was charged for; null in a month that it is continued in"
    )
    part: Part = Field(description="of the charge of a call that was charged in several months")
    cdr: Cdr | None = Field(description="of a call, where it has left one: of the whole call, in each of its months")

    @classmethod
    def of(cls, line: Line) -> Self:
        return cls(
            at=iso(line.at_us),
            kind=line.kind,
            amount=format_euro(line.credit),
            balance=format_euro(line.balance),
            promotional=format_euro(line.promotional),
            free_seconds=line.free_seconds,
            free_fax_pages=line.pieces.get(PAGES, 0),
            free_messages=line.pieces.get(MESSAGES, 0),
            reason=line.reason,
            id=line.id,
            seconds=line.seconds,
            part=line.part,
            cdr=line.cdr or None,
        )


class FreeOfMonth(BaseModel):
    """What the plan gave for the month, and what became of it."""

    granted: int
    used: int
    expired: int
    left: int

    @classmethod
    def of(cls, free: FreeSeconds) -> Self:
        return cls(granted=free.granted, used=free.used, expired=free.expired, left=free.left)


class PromotionalOfMonth(BaseModel):
    """Promotional credit: a gift, so it is in no other sum here."""

    opening: Euro
    given: Euro = Field(description="less what was taken back")
    used: Euro
    expired: Euro
    left: Euro


class VatOfUsageOut(BaseModel):
    """What was used on the days of one rate of VAT."""

    percent: str = Field(description="with two decimals, such as 21.00")
    usage: Euro = Field(description="VAT included")
    vat: Euro = Field(description="the VAT in it, rounded to cents")

    @classmethod
    def of(cls, part: VatOfUsage) -> Self:
        percent = f"{part.rate // 100}.{part.rate % 100:02d}"
        return cls(percent=percent, usage=format_euro(part.usage), vat=format_euro(part.vat))


class StatementOut(BaseModel):
    """A month of one account. Opening balance and lines add up to the closing balance."""

    account: str
    month: str
    complete: bool = Field(description="false: the month goes on")
    opening: Euro
    closing: Euro
    topped_up: Euro
    usage: Euro = Field(description="what calls, messages and faxes took, VAT included")
    usage_vat: Euro = Field(description="the VAT in it")
    vat: list[VatOfUsageOut] = Field(description="by the rates that count on days of the month")
    corrections: Euro
    expired: Euro
    free_seconds: FreeOfMonth
    free_fax_pages: FreeOfMonth
    free_messages: FreeOfMonth
    promotional: PromotionalOfMonth
    lines: list[StatementLineOut]

    @classmethod
    def of(cls, statement: Statement) -> Self:
        return cls(
            account=statement.account.id,
            month=statement.month,
            complete=statement.is_over,
            opening=format_euro(statement.opening),
            closing=format_euro(statement.closing),
            topped_up=format_euro(statement.total("top_up")),
            usage=format_euro(statement.usage),
            usage_vat=format_euro(statement.usage_vat),
            vat=[VatOfUsageOut.of(part) for part in statement.vat],
            corrections=format_euro(statement.total("correct")),
            expired=format_euro(statement.total("expire")),
            free_seconds=FreeOfMonth.of(statement.free),
            free_fax_pages=FreeOfMonth.of(statement.pieces[PAGES]),
            free_messages=FreeOfMonth.of(statement.pieces[MESSAGES]),
            promotional=PromotionalOfMonth(
                **{name: format_euro(getattr(statement.promotional, name)) for name in PromotionalOfMonth.model_fields}
            ),
            lines=[StatementLineOut.of(line) for line in statement.lines],
        )


_MEDIA = {"application/json": Form.JSON, "text/csv": Form.CSV, "text/html": Form.HTML}
_ANY = ("*/*", "application/*")
_WEIGHT = re.compile(r"\bq=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)(?![0-9.])")
_TEXT = {"schema": {"type": "string"}}


@router.get(
    "/{month}", response_model=StatementOut, responses={200: {"content": {"text/csv": _TEXT, "text/html": _TEXT}}}
)
async def show_statement(
    request: Request,
    account: str,
    month: Month,
    service: TheService,
    form: Annotated[
        Form | SkipJsonSchema[None],
        Query(alias="format", description="left out: the first that `Accept` names, else json"),
    ] = None,
) -> Response:
    """The statement of a month, as JSON, as CSV or as a page for people, in the account's language."""
    untaken: Untaken = request.app.state.untaken
    written, media = _WRITTEN[form or accepted_form(request.headers.get("accept", ""))]
    granted(untaken.hindrance(customer()))
    statement = granted(await service.statements.of(account, month))
    told = await asyncio.to_thread(written, statement)
    granted(untaken.hindrance(customer()))  # those that were made meanwhile
    return untaken.answer(customer(), told, media, {})


def _document(statement: Statement) -> bytes:
    """Line by line, so that others have the interpreter in between: of 20,000 calls it is 17 MB."""
    made = StatementOut.of(statement)
    lines = b",".join(line.model_dump_json().encode() for line in made.lines)
    head, lines_begin, end = made.model_copy(update={"lines": []}).model_dump_json().rpartition("[")
    return f"{head}{lines_begin}".encode() + lines + end.encode()


_WRITTEN: dict[Form, tuple[Callable[[Statement], str | bytes], str]] = {
    Form.JSON: (_document, "application/json"),
    Form.CSV: (statement_csv, "text/csv"),
    Form.HTML: (statement_page, "text/html"),
}


def accepted_form(accept: str) -> Form:
    """What is preferred of an ``Accept`` (RFC 9110, 12.5.1); without one, JSON. Raises Refusal where it names nothing
    that there is."""
    wanted = []
    for one in accept.split(","):
        media, _, parameters = one.partition(";")
        weight = _WEIGHT.search(parameters)
        wanted.append((float(weight[1]) if weight else 1.0, media.strip().lower()))
    for quality, media in sorted(wanted, key=lambda one: -one[0]):
        if quality > 0 and (not media or media in _ANY):
            return Form.JSON
        if quality > 0 and media in _MEDIA:
            return _MEDIA[media]
    found = f"found Accept {accept[:60]!r}, expected one of {', '.join(_MEDIA)}"
    raise Refusal(Refused(Code.INVALID, found, "the customers' page has the statement as a PDF", at="Accept"))
