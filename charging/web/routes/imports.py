"""/imports: accounts by the hundred. Only on the control socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from charging.errors import LedgerError, Problem
from charging.ledger.accounts import Language
from charging.service.account_import import Imported, ImportEvent, Warned
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.web.parts import TheService
from charging.web.problem import Refusal
from charging.web.routes.ledger import NDJSON

router = APIRouter(prefix="/imports", tags=["imports"])


@router.post("/accounts", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def import_accounts(
    request: Request,
    service: TheService,
    language: Language | None = None,
    file: Annotated[str, Query(max_length=500, description="its name in problems")] = "import.csv",
    dry_run: bool = False,
) -> StreamingResponse:
    """The body is the CSV file. JSON lines: ``{"progress": …}``, then each ``{"problem": …}``, or each
    ``{"warning": …}`` and one ``{"imported": …}``; where the ledger could not answer ``{"error": …}`` ends it
    instead."""
    limit = request.app.state.import_bytes_max
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Refusal(Refused(Code.INVALID, f"found a file of more than {limit} bytes", "import it in parts"))
    return StreamingResponse(
        _lines(service, bytes(body), file, language or service.default_language, dry_run), media_type=NDJSON
    )


async def _lines(service: Service, data: bytes, file: str, language: Language, dry_run: bool) -> AsyncIterator[str]:
    try:
        async for event in service.imports.run(data, file, language=language, dry_run=dry_run):
            yield json.dumps(_document(event)) + "\n"
    except LedgerError as error:
        yield json.dumps({"error": str(error)}) + "\n"


def _document(event: ImportEvent) -> dict[str, object]:
    if isinstance(event, Problem):
        return {"problem": asdict(event)}
    if isinstance(event, Warned):
        return {"warning": asdict(event)}
    return {"imported" if isinstance(event, Imported) else "progress": asdict(event)}
