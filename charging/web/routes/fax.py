"""/accounts/{account}/faxes: sending a document, and what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from charging.fax.desk import FaxCheck, FaxSent, FaxWish, TooLittle
from charging.fax.mailed import Answer
from charging.fax.sending import session_of
from charging.fax.views import FaxView
from charging.ledger.accounts import Account
from charging.pricing.money import format_euro
from charging.service.refusal import Code, Dropped, Obstacle, Refused
from charging.web.forms import EXACT_AMOUNT, NUMBER
from charging.web.models import Body, Euro, Instant, Page
from charging.web.parts import CdrCursor, Limit, Order, TheService, cdr_cursor, cdr_place, exact_euro
from charging.web.problem import MEDIA_TYPE, ProblemDocument, Refusal, granted, problem_response
from charging.web.routes.accounts import IdempotencyKey

router = APIRouter(prefix="/accounts/{account}/faxes", tags=["faxes"])
checks = APIRouter(tags=["faxes"])
by_mail = APIRouter(tags=["faxes"])
"""What a fax handed in by mail needs; only on the control socket."""

Target = Annotated[
    str,
    Query(
        max_length=100,
        description="the fax number; in an address a + is written %2B",
        json_schema_extra={"pattern": NUMBER},
    ),
]
Sending = Annotated[
    str,
    Query(
        max_length=100,
        description="the sender's number; left out: the account's first",
        json_schema_extra={"pattern": rf"^$|{NUMBER}"},
    ),
]
MailKey = Annotated[str, Path(pattern=r"^mail-[0-9a-f]{32}$", description="under which a mail is noted")]
Payer = Annotated[str, Query(max_length=100, description="the account that the mail is of")]
Note = Annotated[
    str,
    Query(
        pattern=r"^(mail-[0-9a-f]{32})?$",
        description="under which it is noted that the mail was faxed; left out: under the idempotency key",
    ),
]
CostMax = Annotated[
    str | None,
    Query(
        max_length=20,
        description="euros that the sender has agreed to, such as the `cost` of fax-checks: where it would cost more "
        "by now it is refused (409, `price`); left out: whatever it costs",
        json_schema_extra={"pattern": EXACT_AMOUNT},
    ),
]
Name = Annotated[str, Query(max_length=500, description="what the sender calls the document")]


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
        return cls(**{name: value for name, value in asdict(view).items() if name in cls.model_fields})


class FaxCheckOut(BaseModel):
    """What a document would cost to send. Nothing was sent or charged."""

    target: str
    number: Annotated[str, Field(description="the sender's")]
    pages: int
    free_pages: Annotated[int, Field(description="of them, those that the plan or a pack would pay")]
    page_price: Euro
    cost: Annotated[Euro, Field(description="if every page is delivered")]
    available: Annotated[Euro, Field(description="of credit, promotional and bought")]
    missing: Annotated[Euro, Field(description="what a top-up must bring at least")]
    suffices: Annotated[bool, Field(description="whether it could be paid now")]

    @classmethod
    def of(cls, found: FaxCheck) -> Self:
        return cls(
            target=found.target,
            number=found.number,
            pages=found.pages,
            free_pages=found.free_pages,
            page_price=format_euro(found.page_price),
            cost=format_euro(found.cost),
            available=format_euro(found.available),
            missing=format_euro(found.missing),
            suffices=not found.missing,
        )


class TooLittleDocument(ProblemDocument):
    """What is missing (R14)."""

    pages: Annotated[int, Field(description="of the document; 1 where not even one page could be paid: not counted")]
    free_pages: Annotated[int, Field(description="of them, those that the plan or a pack would pay")]
    page_price: Euro
    needed: Euro
    available: Euro
    missing: Euro


class Sender(BaseModel):
    """An account that faxes of a mail address are charged to."""

    account: str
    language: str
    email: str

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(account=account.id, language=account.language.value, email=account.email)


class Wait(Body):
    """For a domain's name servers: to prove a mail's sender, or to take a reply to him."""

    domain: Annotated[str, Field(max_length=254, description="of his address, in small letters")]
    network: Annotated[str, Field(max_length=50, description="from which the mail came")] = ""


class WaitWanted(Wait):
    """A wait that would begin."""

    mail: Annotated[str, Field(max_length=200, description="over which it is waited, by any name; empty: a reply")] = ""


class WaitBegun(BaseModel):
    """A wait that someone would begin."""

    may_begin: Annotated[bool, Field(description="false: the domain's name servers are slow, and it was asked lately")]
    may_come_again: Annotated[bool, Field(description="false: too many mails of the domain from there wait already")]


class WaitEnded(Wait):
    """A wait that is over."""

    took_s: Annotated[
        float, Field(ge=0, le=3600, description="seconds for which the domain's name servers were waited for")
    ]


class DroppedMail(Body):
    """A mail for a fax that was neither faxed nor answered."""

    reason: Dropped


class MailedFax(BaseModel):
    """A mail for a fax."""

    answer: Annotated[
        Answer,
        Field(
            description="reply; no_more_today: by one that says that there will be none until tomorrow; none: copies "
            "of it, or mails of the account's on this day, have been answered often enough"
        ),
    ]


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": FaxOut, "description": "the same was asked before; nothing was done now"},
    402: {"model": TooLittleDocument, "description": "not enough credit: what is missing. Nothing was sent or charged"},
}
DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the document itself; or a form with it as the file `document`, which names it. In a form the "
        "parameters of the query may be fields instead",
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/pdf", "image/tiff")},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"document": {"type": "string", "format": "binary"}},
                    "required": ["document"],
                    "additionalProperties": False,
                }
            },
        },
    }
}


@router.post("", status_code=201, responses=ANSWERS, response_model=FaxOut, openapi_extra=DOCUMENT)
async def send_fax(
    account: str,
    service: TheService,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey,
    target: Target,
    number: Sending = "",
    name: Name = "",
    cost_max: CostMax = None,
) -> FaxOut | JSONResponse:
    """Send a document. The answer is immediate: its pages are paid for and it is being dialled, or what is missing."""
    most = None if cost_max is None else exact_euro(cost_max, "?cost_max")
    data = await _document(request, granted(service.faxes.document_limit()))
    wish = FaxWish(_typed(target), data, name, _typed(number, "?number"), most)
    return told_of(await service.faxes.send(account, wish, idempotency_key), response)


@checks.post("/accounts/{account}/fax-checks", openapi_extra=DOCUMENT)
async def check_fax(
    account: str, service: TheService, request: Request, target: Target, number: Sending = "", name: Name = ""
) -> FaxCheckOut:
    """Read a document and count its pages, to say what it would cost and whether the credit suffices. Nothing is sent
    or set aside: `POST /accounts/{account}/faxes` counts and checks again."""
    data = await _document(request, granted(service.faxes.document_limit()))
    wish = FaxWish(_typed(target), data, name, _typed(number, "?number"))
    return FaxCheckOut.of(granted(await service.faxes.check(account, wish)))


@router.get("")
async def list_faxes(
    account: str, service: TheService, order: Order = "asc", limit: Limit = 100, cursor: CdrCursor = None
) -> Page[FaxOut]:
    """The account's faxes: those that are over by their end, and those under way as the newest, beside the page."""
    found = granted(await service.listed_faxes.page(account, cdr_place(cursor), limit, backwards=order == "desc"))
    following = None if found.next is None else cdr_cursor(*found.next)
    return Page(items=[FaxOut.of(view) for view in found.faxes], next=following)


@router.get("/{session}")
async def show_fax(account: str, session: str, service: TheService) -> FaxOut:
    """One fax."""
    return FaxOut.of(granted(await service.listed_faxes.get(account, session)))


@router.post("/{session}/cancellation", status_code=202)
async def cancel_fax(account: str, session: str, service: TheService) -> FaxOut:
    """End a fax that is on its way, behind the page that is being sent: that one is charged, too."""
    return FaxOut.of(granted(await service.faxes.cancel(account, session)))


@by_mail.get("/fax-senders")
async def list_senders(service: TheService, email: Annotated[str, Query(max_length=254)]) -> Page[Sender]:
    """The accounts, but closed ones, that have a mail address."""
    return Page(items=[Sender.of(one) for one in await service.listed_faxes.senders(email)])


@by_mail.post("/name-server-waits", status_code=201)
async def begin_wait(service: TheService, body: WaitWanted) -> WaitBegun:
    """Whether name servers of this domain may be waited for now: to prove who sent a mail, or by a mail server that is
    handed a reply. Tell the end of it."""
    slow = service.slow_domains
    may_begin = slow.may_begin(body.domain, body.network, body.mail)
    stays = may_begin or not body.mail or slow.may_come_again(body.domain, body.network, body.mail)
    return WaitBegun(may_begin=may_begin, may_come_again=stays)


@by_mail.post("/name-server-waits/ended", status_code=201)
async def end_wait(service: TheService, body: WaitEnded) -> WaitEnded:
    """They were waited for, whatever came of it."""
    service.slow_domains.ended(body.domain, body.took_s, body.network)
    return body


@by_mail.get("/fax-addresses/{digest}")
async def show_address_owner(service: TheService, digest: str) -> Page[Sender]:
    """The account whose own fax address has this digest, unless it is closed."""
    owner = await service.fax_addresses.owner(digest)
    return Page(items=[] if owner is None else [Sender.of(owner)])


@by_mail.post("/accounts/{account}/mailed-faxes", status_code=201, responses=ANSWERS, response_model=FaxOut)
async def send_mailed_fax(
    account: str,
    service: TheService,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey,
    target: Target,
    name: Name = "",
    note: Note = "",
) -> FaxOut | JSONResponse:
    """Send a document that came by mail: the same, but that it counts towards what the plan lets a day cost."""
    data = await _document(request, granted(service.faxes.document_limit()))
    wish = FaxWish(_typed(target), data, name, by_mail=True)
    note, fax = note or idempotency_key, session_of(account, idempotency_key)
    if (hindrance := await service.mailed_faxes.hindrance(note, fax)) is not None:
        raise Refusal(hindrance)
    sent = await service.faxes.send(account, wish, idempotency_key)
    if isinstance(sent, FaxSent):
        await service.mailed_faxes.faxed(note, fax)
    return told_of(sent, response)


@by_mail.get("/mailed-faxes/{key}")
async def show_mailed_fax(service: TheService, key: MailKey, account: Payer) -> MailedFax:
    """What a mail for a fax may be answered."""
    return MailedFax(answer=await service.mailed_faxes.answer(key, account))


@by_mail.post("/mailed-faxes/{key}/replies", status_code=201)
async def count_reply(service: TheService, key: MailKey, account: Payer) -> MailedFax:
    """A mail for a fax was answered; it is counted."""
    await service.mailed_faxes.answered(key, account)
    return await show_mailed_fax(service, key, account)


@by_mail.post("/dropped-fax-mails", status_code=201)
async def count_dropped(service: TheService, body: DroppedMail) -> DroppedMail:
    """A mail was dropped; it is counted."""
    service.mail_dropped(body.reason)
    return body


def told_of(sent: FaxSent | Refused, response: Response) -> FaxOut | JSONResponse:
    """The answer to a document that was handed in."""
    if isinstance(sent, TooLittle):
        return _short(sent)
    answer = granted(sent)
    response.status_code = 201 if answer.created else 200
    return FaxOut.of(answer.view)


async def _document(request: Request, limit: int) -> bytes:
    """The body, of ``limit`` bytes at most. What is longer is let go by, so that its sender reads the answer."""
    data, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            data += chunk
    if size > limit:
        message = f"found a document of more than {limit} bytes"
        raise Refusal(Refused(Code.INVALID, message, "send it in parts", Obstacle.TOO_LARGE))
    return bytes(data)


def _typed(number: str, at: str = "?target") -> str:
    """A + that came as a space would make a foreign number a national one."""
    if number[:1].isspace():
        message = f"found the number {number[:40]!r}, expected a telephone number"
        advice = "in an address a + is written %2B"
        raise Refusal(Refused(Code.INVALID, message, advice, Obstacle.INVALID_NUMBER, at))
    return number


def _short(refused: TooLittle) -> JSONResponse:
    problem = problem_response(402, refused.code, refused.message, refused.advice)
    document = TooLittleDocument(
        **ProblemDocument.model_validate_json(bytes(problem.body)).model_dump(),
        pages=refused.pages,
        free_pages=refused.free_pages,
        page_price=format_euro(refused.page_price),
        needed=format_euro(refused.needed),
        available=format_euro(refused.available),
        missing=format_euro(refused.missing),
    )
    return JSONResponse(document.model_dump(), 402, media_type=MEDIA_TYPE)
