"""/ledger: does the money add up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.engine.findings import Kind
from charging.errors import LedgerError
from charging.service.findings import ReportedFinding
from charging.service.service import Service
from charging.web.models import Body, Instant, Page, Text, iso_or_none
from charging.web.parts import TheService, wall_us
from charging.web.problem import granted

router = APIRouter(prefix="/ledger", tags=["ledger"])
audit = APIRouter(prefix="/ledger", tags=["ledger"])
"""Reads everything there is."""

NDJSON = "application/x-ndjson"


class FindingOut(BaseModel):
    """What contradicts a booking."""

    id: str
    kind: Kind
    session: str
    found: Instant
    account: str = Field(description="empty where it is not known")
    meaning: str
    advice: str
    figures: dict[str, Any] = Field(description="what the switch noted, and what was booked")
    done: Instant | None = Field(description="when someone acknowledged it; null: it is open")
    reason: str = Field(description="what was done about it")

    @classmethod
    def of(cls, one: ReportedFinding) -> Self:
        return cls(
            id=one.id,
            kind=one.kind,
            session=one.session,
            found=iso(one.found_us),
            account=one.account,
            meaning=one.meaning,
            advice=one.advice,
            figures=dict(one.figures),
            done=iso_or_none(one.done_us),
            reason=one.reason,
        )


class Acknowledgement(Body):
    """What was done about a finding."""

    id: Text = Field(description="as the list shows it")
    reason: Text


class Warnings(BaseModel):
    """Sentences for the operator."""

    items: list[str]


@audit.get("/findings", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def findings(service: TheService) -> StreamingResponse:
    """Everything that does not add up, as it is found: JSON lines ``{"finding": …}``, then ``{"findings": N}``; where
    the audit could not be finished ``{"error": …}`` ends it instead."""
    return StreamingResponse(_lines(service), media_type=NDJSON)


@audit.get("/contradictions")
async def contradictions(service: TheService) -> Page[FindingOut]:
    """What contradicts a booking, open or acknowledged, the newest first."""
    return Page(items=[FindingOut.of(one) for one in await service.contradictions.all()])


@router.post("/contradictions/acknowledgements")
async def acknowledge(service: TheService, body: Acknowledgement) -> FindingOut:
    """Note what was done about a finding, once; it stays."""
    return FindingOut.of(granted(await service.contradictions.acknowledge(body.id, body.reason)))


@router.get("/warnings")
async def warnings(service: TheService) -> Warnings:
    """What should be mended before the store is trusted with money."""
    return Warnings(items=list(await service.ledger_warnings()))


class Confirmed(BaseModel):
    """The time that an operator confirmed."""

    time: str


@router.post("/time-confirmations", status_code=201)
async def confirm_time(service: TheService) -> Confirmed:
    """This machine's clock is right: what waits for it expires when it is due."""
    return Confirmed(time=iso(await service.confirm_time()))


@router.post("/redactions", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def redaction(
    service: TheService, before: Annotated[str, Query(max_length=40, description="a day or a time")]
) -> StreamingResponse:
    """Hide the last digits of others' numbers in older CDRs: a JSON line ``{"hidden": N}`` for each page of CDRs, then
    ``{"done": true}`` or ``{"error": …}``."""
    before_us = wall_us(before, service.tariff().zone, "?before")
    return StreamingResponse(_redaction(service, before_us), media_type=NDJSON)


@audit.get("/people/{account}", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def known(service: TheService, account: str) -> StreamingResponse:
    """Everything that is known of an account's customer: JSON lines, then ``{"done": true}`` or ``{"error": …}``."""
    return StreamingResponse(_known(granted(await service.people.known(account))), media_type=NDJSON)


class Erasure(BaseModel):
    """What was erased."""

    cdrs: int
    numbers: int
    documents: int
    decisions: int
    left: str = Field(description="what the operator must do himself about the store's files; empty: nothing")


@router.post("/people/{account}/erasures")
async def erase(service: TheService, account: str) -> Erasure:
    """Erase what the books do not need of a closed account's customer. May be repeated."""
    return Erasure(**asdict(granted(await service.people.erase(account))))


async def _known(pieces: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    try:
        async for piece in pieces:
            yield json.dumps(piece, ensure_ascii=False) + "\n"
    except (LedgerError, ValueError) as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield json.dumps({"done": True}) + "\n"


async def _redaction(service: Service, before_us: int) -> AsyncIterator[str]:
    try:
        async for changed in service.hide_numbers(before_us):
            yield json.dumps({"hidden": changed}) + "\n"
    except LedgerError as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield json.dumps({"done": True}) + "\n"


async def _lines(service: Service) -> AsyncIterator[str]:
    count = 0
    try:
        async for finding in service.findings():
            count += 1
            yield json.dumps({"finding": finding}) + "\n"
    except LedgerError as error:
        yield json.dumps({"error": str(error)}) + "\n"
    else:
        yield json.dumps({"findings": count}) + "\n"
