"""/rehearsal: the money and number of `charging check --call`. Only on the control socket."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from charging.pricing.money import format_euro
from charging.service.rehearsals import Cleared
from charging.web.forms import PhoneNumber
from charging.web.models import Body, Euro, NumberOut
from charging.web.parts import TheService, exact_euro
from charging.web.problem import granted

router = APIRouter(prefix="/rehearsal", tags=["switch"])


class RehearsalWish(Body):
    """What the call costs, and what it is priced as."""

    number: PhoneNumber
    plan: str = Field(max_length=100)
    target: PhoneNumber
    amount: str = Field(max_length=40, description="euro, with all decimals that prices have")


class ClearedOut(BaseModel):
    """What is left: nothing, once the call is booked."""

    taken_back: Euro
    posted: Euro
    reserved: Euro

    @classmethod
    def of(cls, cleared: Cleared) -> Self:
        posted, reserved = cleared.credit.posted, cleared.credit.reserved
        return cls(
            taken_back=format_euro(cleared.taken_back), posted=format_euro(posted), reserved=format_euro(reserved)
        )


@router.put("")
async def begin_rehearsal(body: RehearsalWish, service: TheService) -> NumberOut:
    """The number is in service, with the money of one call."""
    amount = exact_euro(body.amount, "#/amount")
    return NumberOut.of(granted(await service.rehearsals.begin(body.number, body.plan, body.target, amount)))


@router.delete("")
async def end_rehearsal(service: TheService) -> ClearedOut:
    """The number is out of service, and what is left of the money is taken back."""
    return ClearedOut.of(await service.rehearsals.end())
