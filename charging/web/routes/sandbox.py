"""/test: what people do at their telephones, in the test mode alone (`charging run --sandbox`)."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.sandbox.desk import CallWish, FaxPlay, NotTaken, Telephones, play_fax
from charging.sandbox.switch import Phase, PlayedCall
from charging.web.forms import AccountId, PhoneNumber, told
from charging.web.models import Body, Instant, Page, iso_or_none
from charging.web.parts import TheService
from charging.web.problem import granted
from charging.web.routes.fax import ANSWERS, FaxOut, told_of

router = APIRouter(prefix="/test", tags=["test"])

PAGES_MAX = 500
Seconds = Annotated[int, Field(ge=0, le=14_400)]


class SandboxCallNew(Body):
    """A caller who rings a number of yours."""

    number: PhoneNumber
    caller: Annotated[str, told(r"^(\+?[0-9]{1,20})?$", max_length=21, description="his own number; empty: none")] = (
        "+31205550199"
    )
    withheld: bool = Field(False, description="he does not want his number to be told")
    answers_after_s: Seconds | None = Field(
        2, description="the subscriber takes the call after so long; null: when it is asked for, or not at all"
    )
    talks_s: Seconds | None = Field(None, description="they talk so long; null: until it is ended or cut")
    message_s: Seconds | None = Field(
        None, description="at voicemail he leaves a message after so long; null: when it is asked for, or none"
    )


class SandboxHangUp(Body):
    """How a call ends."""

    message: bool = Field(False, description="the caller, who is at voicemail, has left a message")


class SandboxRefusal(Body):
    """Why the subscriber does not take a call."""

    why: NotTaken = NotTaken.BUSY


class SandboxFaxNew(Body):
    """A fax without a document."""

    account: AccountId
    target: PhoneNumber
    number: Annotated[PhoneNumber | None, Field(description="the sender's; null: the account's first")] = None
    pages: Annotated[int, Field(ge=1, le=PAGES_MAX)] = 1
    confirmed: Annotated[int | None, Field(ge=0, le=PAGES_MAX, description="pages that arrive; null: all")] = None
    page_s: Annotated[int, Field(ge=0, le=180, description="seconds that each takes")] = 2


class SandboxCallOut(BaseModel):
    """A caller, and what became of him."""

    id: str
    state: Phase
    number: str
    caller: str
    decision: str = Field(description="forward, voicemail or reject; fallback: the daemon could not say")
    reason: str
    session: str = Field(description="of /v1/calls while it runs, of /v1/cdrs afterwards; empty: nothing is charged")
    target: str
    began: Instant
    answered: Instant | None
    ended: Instant | None
    was_cut: bool = Field(description="by the switch, when the money was used up")
    heard: list[str] = Field(description="what the subscriber heard in the call, such as nl/credit_low")

    @classmethod
    def of(cls, call: PlayedCall) -> Self:
        return cls(
            id=call.uid,
            state=call.phase,
            number=call.number,
            caller=call.caller,
            decision=call.decision,
            reason=call.reason,
            session=call.session,
            target=call.target,
            began=iso(call.began.wall_us),
            answered=iso_or_none(None if call.answered is None else call.answered.wall_us),
            ended=iso_or_none(None if call.ended is None else call.ended.wall_us),
            was_cut=call.was_cut,
            heard=list(call.heard),
        )


def _desk(request: Request) -> Telephones:
    desk: Telephones = request.app.state.telephones
    return desk


@router.post("/calls", status_code=201)
async def ring_test_call(body: SandboxCallNew, request: Request) -> SandboxCallOut:
    """A caller rings. The daemon decides, charges and cuts as it does for a real one; only the switch is played."""
    wish = CallWish(body.number, body.caller, body.withheld, body.answers_after_s, body.talks_s, body.message_s)
    return SandboxCallOut.of(granted(await _desk(request).ring(wish)))


@router.get("/calls")
async def list_test_calls(request: Request) -> Page[SandboxCallOut]:
    """The newest test calls, oldest first."""
    return Page(items=[SandboxCallOut.of(one) for one in _desk(request).all()])


@router.get("/calls/{id}")
async def show_test_call(id: str, request: Request) -> SandboxCallOut:
    """A test call."""
    return SandboxCallOut.of(granted(_desk(request).get(id)))


@router.post("/calls/{id}/answer")
async def answer_test_call(id: str, request: Request) -> SandboxCallOut:
    """The subscriber takes the call."""
    return SandboxCallOut.of(granted(_desk(request).answer(id)))


@router.post("/calls/{id}/refusal")
async def refuse_test_call(id: str, body: SandboxRefusal, request: Request) -> SandboxCallOut:
    """The subscriber does not take the call."""
    return SandboxCallOut.of(granted(await _desk(request).refuse(id, body.why)))


@router.post("/calls/{id}/hang-up")
async def hang_up_test_call(id: str, body: SandboxHangUp, request: Request) -> SandboxCallOut:
    """Someone hangs up."""
    return SandboxCallOut.of(granted(_desk(request).hang_up(id, message=body.message)))


@router.post("/faxes", status_code=201, responses={402: ANSWERS[402]}, response_model=FaxOut)
async def send_test_fax(body: SandboxFaxNew, service: TheService, response: Response) -> FaxOut | JSONResponse:
    """Send a fax without a document: priced, reserved and charged as a real one."""
    confirmed = body.pages if body.confirmed is None else body.confirmed
    play = FaxPlay(body.account, body.target, body.pages, confirmed, body.page_s, body.number or "")
    return told_of(await play_fax(service.faxes, play), response)
