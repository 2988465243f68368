"""/tariff and /quotes: what things cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from charging.service.quotes import Asked
from charging.web.parts import TheService, wall_us
from charging.web.problem import granted
from charging.web.tariff_models import QuoteOut, TariffOut

router = APIRouter(tags=["prices"])

Seconds = Annotated[int, Query(ge=0, le=1_000_000)]


@router.get("/tariff")
async def show_tariff(service: TheService) -> TariffOut:
    """The tariff in force."""
    return TariffOut.of(service.tariff())


@router.get("/quotes")
async def quote(
    service: TheService,
    number: Annotated[str, Query(max_length=100)],
    seconds: Seconds,
    plan: Annotated[str | None, Query(max_length=100)] = None,
    account: Annotated[str | None, Query(max_length=100)] = None,
    at: Annotated[str | None, Query(max_length=40, description="a day or a time; left out: now")] = None,
    free_seconds: Annotated[int | None, Query(ge=0, le=100_000_000)] = None,
) -> QuoteOut:
    """What a call would cost under a plan, or for an account with the free seconds it has left."""
    at_us = wall_us(at, service.tariff().zone) if at else None
    return QuoteOut.of(granted(await service.quotes.quote(Asked(number, seconds, account, plan, at_us, free_seconds))))
