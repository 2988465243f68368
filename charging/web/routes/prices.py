"""/tariff, /quotes and /limits: what things cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from charging.service.quotes import CALL_SECONDS_MAX, FAX_PAGES_MAX, Asked
from charging.web.forms import EXACT_AMOUNT, MOMENT, NUMBER
from charging.web.parts import DIGITS, QueryNumber, TheService, exact_euro, wall_us
from charging.web.problem import granted
from charging.web.tariff_models import FaxQuoteOut, LimitOut, QuoteOut, TariffOut

router = APIRouter(tags=["prices"])

Seconds = Annotated[int, Query(ge=0, le=CALL_SECONDS_MAX), DIGITS]
Name = Annotated[str | None, Query(max_length=100)]
Moment = Annotated[
    str | None,
    Query(max_length=40, description="a day or a time; left out: now", json_schema_extra={"pattern": MOMENT}),
]
AskedNumber = Annotated[QueryNumber, Query(max_length=100, json_schema_extra={"pattern": NUMBER})]
FreeSeconds = Annotated[int | None, Query(ge=0, le=100_000_000), DIGITS]
Amount = Annotated[
    str | None,
    Query(
        max_length=40, description="euro; left out: what the account has", json_schema_extra={"pattern": EXACT_AMOUNT}
    ),
]


async def _asked(
    service: TheService,
    number: AskedNumber,
    plan: Name = None,
    account: Name = None,
    at: Moment = None,
    free_seconds: FreeSeconds = None,
) -> Asked:
    at_us = wall_us(at, service.tariff().zone, "?at") if at is not None else None
    return Asked(number, account, plan, at_us, free_seconds)


TheCall = Annotated[Asked, Depends(_asked)]


@router.get("/tariff")
async def show_tariff(service: TheService) -> TariffOut:
    """The tariff in force."""
    return TariffOut.of(service.tariff(), service.clock.now().wall_us)


@router.get("/quotes")
async def quote(service: TheService, asked: TheCall, seconds: Seconds) -> QuoteOut:
    """What a call would cost under a plan, or for an account with the free seconds it has left."""
    return QuoteOut.of(granted(await service.quotes.quote(asked, seconds)))


@router.get("/fax-quotes")
async def quote_fax(
    service: TheService,
    number: AskedNumber,
    plan: Name = None,
    account: Name = None,
    at: Moment = None,
    pages: Annotated[int, Query(ge=1, le=FAX_PAGES_MAX), DIGITS] = 1,
) -> FaxQuoteOut:
    """What a fax would cost under a plan or for an account, if every page is delivered."""
    at_us = wall_us(at, service.tariff().zone, "?at") if at is not None else None
    return FaxQuoteOut.of(granted(await service.quotes.fax(Asked(number, account, plan, at_us), pages)))


@router.get("/limits")
async def limit(service: TheService, asked: TheCall, credit: Amount = None) -> LimitOut:
    """How long a call could last."""
    money = exact_euro(credit, "?credit") if credit is not None else None
    return LimitOut.of(granted(await service.quotes.limit(asked, money)))
