"""/ledger: does the money add up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from charging.errors import LedgerError
from charging.service.service import Service
from charging.web.parts import TheService

router = APIRouter(prefix="/ledger", tags=["ledger"])

NDJSON = "application/x-ndjson"


@router.get("/findings", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def findings(service: TheService) -> StreamingResponse:
    """Everything that does not add up, as it is found: JSON lines ``{"finding": …}``, then ``{"findings": N}``; where
    the audit could not be finished ``{"error": …}`` ends it instead."""
    return StreamingResponse(_lines(service), media_type=NDJSON)


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
