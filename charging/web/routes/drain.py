"""/drain: before Asterisk is restarted. Only on the control socket of a daemon that runs."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, StrictBool

from charging.call.model import Short
from charging.engine.drain import Drain, Drained
from charging.service.refusal import Code, Refused
from charging.web.models import Body
from charging.web.problem import Refusal

router = APIRouter(prefix="/drain", tags=["switch"])


class DrainWish(Body):
    """How to begin."""

    refuse_new: StrictBool = Field(False, description="new calls are turned away with 503 meanwhile")


class DrainOut(BaseModel):
    """How far it is. Calls are told by their sessions."""

    on: bool
    refuses_new: bool
    paid: list[str] = Field(description="reserved as far as they can be; the switch has their deadlines")
    short_of_money: list[str] = Field(description="those of them whose money ends before the plan's longest call")
    ringing: list[str] = Field(description="not answered yet: extended as soon as they are")
    behind: list[str] = Field(description="running, and not extended in time: they are cut at their horizon")

    @classmethod
    def of(cls, drained: Drained) -> Self:
        return cls(
            on=drained.is_on,
            refuses_new=drained.refuses_new,
            paid=[one.id for one in drained.paid],
            short_of_money=[one.id for one in drained.paid if one.short is Short.MONEY],
            ringing=[one.id for one in drained.ringing],
            behind=[one.id for one in drained.behind],
        )


def _drain(request: Request) -> Drain:
    drain: Drain | None = request.app.state.drain
    if drain is None:
        raise Refusal(Refused(Code.CONFLICT, "no daemon runs, so no call is looked after", "start it: `charging run`"))
    return drain


TheDrain = Annotated[Drain, Depends(_drain)]


@router.get("")
async def show_drain(drain: TheDrain) -> DrainOut:
    """Whether one is on, and how far it is."""
    return DrainOut.of(drain.state())


@router.put("")
async def begin_drain(body: DrainWish, drain: TheDrain) -> DrainOut:
    """Reserve for every running call as far as its account's money goes, and tell the switch: from then on Asterisk may
    be restarted gracefully. Answers when that is done, or after some seconds. May be repeated."""
    return DrainOut.of(await drain.begin(refuse_new=body.refuse_new))


@router.delete("")
async def end_drain(drain: TheDrain) -> DrainOut:
    """Reserve as ever, and take new calls; a restart of Asterisk or of the daemon ends it, too."""
    return DrainOut.of(drain.end())
