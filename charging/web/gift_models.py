"""Requests and answers about gifts that end on a day: promotional credit and packs of minutes."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field

from charging.pricing.money import format_euro
from charging.pricing.packs import MINUTES_MAX, PIECES_MAX
from charging.service.gifts import Given, PackGiven
from charging.web.forms import Amount, Reason
from charging.web.models import Body, Euro, Text, whole_number


class CreditGrant(Body):
    """Promotional credit given, or taken back."""

    amount: Amount = Field(description="a leading minus takes back")
    last_day: date = Field(description="the last day, in the operator's zone, on which it can be spent")
    reason: Reason


class GivenOut(BaseModel):
    """The journal has it."""

    transfer: str
    created: bool = Field(description="false: the same was asked before, and nothing was changed now")
    last_day: date
    amount: Euro
    available: Euro = Field(description="of all promotional credit that ends on that day")

    @classmethod
    def of(cls, given: Given) -> Self:
        return cls(
            transfer=given.transfer,
            created=given.created,
            last_day=given.last_day,
            amount=format_euro(given.amount),
            available=format_euro(given.left.available),
        )


class PackGrant(Body):
    """A pack of minutes, fax pages or messages given, or taken back."""

    pack: Text = Field(description="its name in the tariff")
    reason: Reason
    last_day: date | None = Field(
        None,
        description="the last day on which it pays; left out: as the tariff says, from today on (name it where you may "
        "send the same key on another day)",
    )
    minutes: Annotated[int | None, BeforeValidator(whole_number)] = Field(
        None, ge=-MINUTES_MAX, le=MINUTES_MAX, description="left out: as the tariff says; negative: taken back"
    )
    pieces: Annotated[int | None, BeforeValidator(whole_number)] = Field(
        None, ge=-PIECES_MAX, le=PIECES_MAX, description="the same of a pack of fax pages or messages"
    )


class PackGivenOut(BaseModel):
    """The journal has it."""

    transfer: str
    created: bool = Field(description="false: the same was asked before, and nothing was changed now")
    pack: str
    last_day: date
    seconds: int = Field(description="given; negative: taken back; 0 of a pack of pieces")
    pieces: int = Field(description="fax pages or messages given, likewise; 0 of a pack of minutes")
    left: int = Field(description="seconds, or pieces, of it that may yet be used")

    @classmethod
    def of(cls, given: PackGiven) -> Self:
        return cls(
            transfer=given.transfer,
            created=given.created,
            pack=given.pack,
            last_day=given.last_day,
            seconds=0 if given.sort else given.amount,
            pieces=given.amount if given.sort else 0,
            left=given.left.available,
        )
