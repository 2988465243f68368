"""/accounts/{account}/faxes: sending a document, and what became of it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from charging.ledger.accounts import Account
from charging.money import format_euro
from charging.service.fax import FaxWish, TooLittle
from charging.service.fax_views import FaxView
from charging.service.refusal import Code, Refused
from charging.web.forms import PhoneNumber
from charging.web.models import Body, Euro, Instant, Page
from charging.web.parts import TheService
from charging.web.problem import MEDIA_TYPE, ProblemDocument, Refusal, granted, problem_response
from charging.web.routes.accounts import IdempotencyKey

DOCUMENT_LENGTH_MAX = 140_000_000

router = APIRouter(prefix="/accounts/{account}/faxes", tags=["faxes"])
senders = APIRouter(prefix="/fax-senders", tags=["faxes"])
"""Only on the control socket."""


class FaxNew(Body):
    """A document to be sent."""

    target: PhoneNumber
    number: Annotated[str, Field(max_length=500, description="the sender's; empty: the account's first")] = ""
    name: Annotated[str, Field(max_length=500, description="what the sender calls it")] = ""
    document: Annotated[str, Field(max_length=DOCUMENT_LENGTH_MAX, description="a PDF or TIFF, in base64")]


class FaxOut(BaseModel):
    """A fax."""

    session: str
    state: Annotated[str, Field(description="sending, sent, partly_sent or failed")]
    account: str
    number: str
    target: str
    document: str
    pages: int
    pages_sent: int
    page_price: Euro
    cost: Euro
    set_up: Instant
    ended: Instant | None
    status: str

    @classmethod
    def of(cls, view: FaxView) -> Self:
        return cls(**{name: value for name, value in asdict(view).items() if name != "digest"})


class TooLittleDocument(ProblemDocument):
    """What is missing (R14)."""

    pages: int
    page_price: Euro
    needed: Euro
    available: Euro
    missing: Euro


class Sender(BaseModel):
    """An account that faxes of a mail address are charged to."""

    account: str
    language: str
    active: bool

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(account=account.id, language=account.language.value, active=account.status == "active")


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": FaxOut, "description": "the same was asked before; nothing was done now"},
    409: {"model": TooLittleDocument, "description": "not enough credit: what is missing; or another problem"},
}


@router.post("", status_code=201, responses=ANSWERS, response_model=FaxOut)
async def send_fax(
    account: str, body: FaxNew, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> FaxOut | JSONResponse:
    """Send a document. The answer is immediate: its pages are paid for and it is being dialled, or what is missing."""
    wish = FaxWish(body.target, _decoded(body.document), body.name, body.number)
    sent = await service.faxes.send(account, wish, idempotency_key)
    if isinstance(sent, TooLittle):
        return _short(sent)
    answer = granted(sent)
    response.status_code = 201 if answer.created else 200
    return FaxOut.of(answer.view)


@router.get("")
async def list_faxes(account: str, service: TheService) -> Page[FaxOut]:
    """The account's faxes: those that are over by their end, then those under way."""
    return Page(items=[FaxOut.of(view) for view in granted(await service.faxes.of(account))])


@router.get("/{session}")
async def show_fax(account: str, session: str, service: TheService) -> FaxOut:
    """One fax."""
    return FaxOut.of(granted(await service.faxes.get(account, session)))


@senders.get("")
async def list_senders(service: TheService, email: Annotated[str, Query(max_length=254)]) -> Page[Sender]:
    """The accounts that have a mail address."""
    return Page(items=[Sender.of(one) for one in await service.faxes.senders(email)])


def _decoded(document: str) -> bytes:
    try:
        return base64.b64decode(document, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(Refused(Code.INVALID, "expected the document in base64")) from None


def _short(refused: TooLittle) -> JSONResponse:
    problem = problem_response(409, refused.code, refused.message, refused.advice)
    document = TooLittleDocument(
        **ProblemDocument.model_validate_json(bytes(problem.body)).model_dump(),
        pages=refused.pages,
        page_price=format_euro(refused.page_price),
        needed=format_euro(refused.needed),
        available=format_euro(refused.available),
        missing=format_euro(refused.missing),
    )
    return JSONResponse(document.model_dump(), 409, media_type=MEDIA_TYPE)
