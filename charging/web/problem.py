"""Every error as one document: ``application/problem+json`` (RFC 9457).

Besides the standard's members a problem carries ``code`` (a word for programs, stable), ``advice`` (what to do next),
``problems`` (each thing wrong with a file or a request, one line each), ``after`` (a cursor to go on from) and
``obstacle`` (a word for what stands against a fax).
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from charging.errors import ConfigError, LedgerCorrupt, LedgerError
from charging.service.refusal import Code, Obstacle, Refused
from charging.web.invalid import pointer_of, problem_of

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:charging:problem:"

_STATUS = {
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.NOT_ALLOWED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.ARCHIVED: HTTPStatus.GONE,
    Code.REWOUND: HTTPStatus.GONE,
    Code.EXISTS: HTTPStatus.CONFLICT,
    Code.CLOSED: HTTPStatus.CONFLICT,
    Code.KEY_REUSED: HTTPStatus.CONFLICT,
    Code.INSUFFICIENT: HTTPStatus.CONFLICT,
    Code.CONFLICT: HTTPStatus.CONFLICT,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
ERRORS_MAX = 50
"""Of one request, in its answer."""
RETRY_AFTER_S = 30
"""When what is unavailable may be asked again."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ErrorAt(BaseModel):
    """One thing wrong with the request, and where (as in RFC 9457, 3)."""

    detail: str
    pointer: str = Field(
        description="a JSON Pointer into the body, such as #/email; ?name of a parameter; or a header's name"
    )


class ProblemDocument(BaseModel):
    """What went wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="a stable word for programs")
    advice: str = Field("", description="what to do next")
    problems: list[str] = Field([], description="each thing wrong with a file or the request")
    errors: list[ErrorAt] = Field([], description="where in the request it is wrong, as far as that is known")
    instance: str = Field("", description="urn:charging:request: and the id of the request, as in X-Request-Id")
    after: str = Field("", description="of a cursor that is of no use any more: the one to go on from")
    obstacle: str = Field("", description=f"what stands against a fax: {', '.join(Obstacle)}; empty: the code says it")


class Refusal(Exception):
    """A refusal on its way out of a route, to its handler."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


def granted(answer: T | Refused) -> T:
    """What the service answered. Raises Refusal for a refusal: the request ends with its problem."""
    if isinstance(answer, Refused):
        raise Refusal(answer)
    return answer


def problem_response(
    status: int,
    code: str,
    detail: str,
    advice: str = "",
    problems: Sequence[str] = (),
    errors: Sequence[ErrorAt] = (),
    obstacle: str = "",
    after: str = "",
) -> JSONResponse:
    """The response that says what went wrong."""
    document = ProblemDocument(
        type=TYPE_PREFIX + code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        advice=advice,
        problems=list(problems),
        errors=list(errors),
        instance="",
        obstacle=obstacle,
        after=after,
    )
    return JSONResponse(document.model_dump(), status, media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Answer every exception by a problem document."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(LedgerError, _ledger)
    app.add_exception_handler(ConfigError, _config)
    app.add_exception_handler(Exception, _bug)


async def _refusal(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return refusal_response(error.refused)


def refusal_response(refused: Refused) -> JSONResponse:
    """The response where the service refused."""
    status, obstacle = _STATUS[refused.code], refused.obstacle or ""
    errors = [ErrorAt(detail=refused.message, pointer=refused.at)] if refused.at else ()
    more = {"obstacle": obstacle, "after": refused.after}
    response = problem_response(status, refused.code, refused.message, refused.advice, errors=errors, **more)
    if refused.code is Code.UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    errors = [ErrorAt(detail=problem_of(one), pointer=pointer_of(one)) for one in found[:ERRORS_MAX]]
    problems = [one.detail for one in errors]
    if (more := len(found) - len(errors)) > 0:
        problems.append(f"and {more} more")
    return problem_response(422, Code.INVALID, "; ".join(problems)[:1000], problems=problems, errors=errors)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    response = problem_response(error.status_code, code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _ledger(_request: Request, error: Exception) -> JSONResponse:
    return ledger_response(error)


def ledger_response(error: Exception) -> JSONResponse:
    """The response where the store could not answer."""
    if isinstance(error, LedgerCorrupt):
        log.error("ledger_found_corrupt", error=str(error))
        return problem_response(500, "ledger_corrupt", str(error), "run `charging ledger verify`")
    log.warning("ledger_not_reached", error=str(error))
    return problem_response(503, "ledger_unavailable", str(error), "the outcome is unknown: ask again, same key")


async def _config(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ConfigError)
    return bad_file_response(error)


def bad_file_response(error: ConfigError) -> JSONResponse:
    """The response if there is no good tariff to answer by."""
    problems = [str(one) for one in error.problems]
    return problem_response(503, "bad_file", "a file must be mended first", problems=problems)


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    return bug_response(error)


def bug_response(error: Exception) -> JSONResponse:
    """The response to what nobody foresaw, which the log tells whole."""
    log.error("request_failed", exc_info=error)
    return problem_response(
        500, "bug", f"a fault in the program: {type(error).__name__}", "the daemon's log tells more"
    )
