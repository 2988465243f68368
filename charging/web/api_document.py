"""The OpenAPI document of the public interface, made true: who may ask what, and how each request can fail.

FastAPI writes what a route takes and answers. Added here: the bearer tokens with the scope that each operation needs,
and the problems (RFC 9457) that can come instead of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from charging.service.tokens import OPERATED, Scope
from charging.web.problem import MEDIA_TYPE, ProblemDocument

SCHEME = "bearer"
ALWAYS = (401, 403, 422, 429, 500, 503)
WITH_BODY = (400, 408, 409, 413)
DESCRIPTIONS = {
    400: "the body cannot be read",
    401: "no token, or one that is not known (any more)",
    402: "not enough credit",
    403: "the token has not the scope that this needs, or its bounds (account, largest amount) do not allow it",
    404: "there is no such account, number, call…",
    408: "the body did not arrive in time",
    409: "it contradicts what is stored: it exists already, the account is closed, the idempotency key was used for "
    "something else, credit would fall below zero…",
    410: "what is asked of was archived, or undone by a restore of the ledger; `after` is the cursor to go on from",
    413: "the body is too large",
    422: "what was given is malformed, or against the tariff or a rule of the service",
    429: "too many requests of this token, or too many failed logins from this address",
    500: "a fault in the program",
    503: "it cannot be done just now (the store or the tariff cannot be read, the switch is out of reach, all lines "
    "are busy); for a change: ask again with the same idempotency key",
}
HEADERS: Mapping[int, Mapping[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    403: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    429: {
        "Retry-After": {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}
    },
}
FAXES = "/accounts/{account}/faxes"
FAX_CHECKS = "/accounts/{account}/fax-checks"
CANCELLATION = f"{FAXES}/{{session}}/cancellation"
STATEMENT = "/accounts/{account}/statements/{month}"
EVENTS = "/accounts/{account}/events"
ALL_EVENTS = "/events"
_SCOPES = {
    "/accounts/{account}/top-ups": Scope.CREDIT,
    "/accounts/{account}/subscription-payments": Scope.CREDIT,
    "/accounts/{account}/minute-grants": Scope.MINUTES,
    "/accounts/{account}/pack-grants": Scope.MINUTES,
    "/accounts/{account}/credit-grants": Scope.CORRECT,
    FAXES: Scope.FAX,
    CANCELLATION: Scope.FAX,
    FAX_CHECKS: Scope.FAX,
    "/accounts": Scope.ACCOUNTS,
    "/accounts/{account}": Scope.ACCOUNTS,
    "/accounts/{account}/fax-address": Scope.ACCOUNTS,
    "/accounts/{account}/corrections": Scope.CORRECT,
    "/accounts/{account}/subscription-corrections": Scope.CORRECT,
    "/numbers": Scope.ACCOUNTS,
    "/calls/{session}": Scope.CALLS,
    "/accounts/{account}/page-tokens": Scope.SIGN_IN,
}
"""Of changes; those at other paths need ``operate``."""
NUMBER = "/numbers/{number}"
CHANGES = "/changes"


def scope_of(method: str, template: str) -> Scope:
    """The scope that an operation needs."""
    if method == "GET":
        return Scope.AUDIT if template == CHANGES else Scope.READ
    if template == NUMBER:
        return Scope.NUMBERS if method == "PATCH" else Scope.ACCOUNTS
    return _SCOPES.get(template, Scope.OPERATE)


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document, completed in place."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = ProblemDocument.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDocument"] = problem
    components["responses"] = {f"Problem{status}": _problem(status) for status in DESCRIPTIONS}
    description = "made by `charging token add`; each operation names the scope that it needs"
    components["securitySchemes"] = {SCHEME: {"type": "http", "scheme": "bearer", "description": description}}
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            scope = scope_of(method.upper(), template)
            wider = [Scope.OPERATE] if scope in OPERATED else []
            operation["security"] = [{SCHEME: [one.value]} for one in (scope, *wider)]
            operation["x-scope"] = scope.value
            references = {
                str(one): {"$ref": f"#/components/responses/Problem{one}"} for one in _fates(template, operation)
            }
            operation["responses"] = references | _answers(operation)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _sendable(parameter["schema"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _answers(operation: Mapping[str, Any]) -> dict[str, Any]:
    """What the route itself says of its answers; a problem with members of its own is a problem by its media type."""
    answers = {}
    for code, one in operation["responses"].items():
        if code.startswith("2"):
            answers[code] = one
        elif "content" in one and code != "422":
            (content,) = one["content"].values()
            answers[code] = {**one, "content": {MEDIA_TYPE: content}}
    return answers


def _sendable(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null. FastAPI writes ``X | None`` as ``anyOf``, and no request can say null: a
    parameter is left out, and the four letters are a text."""
    if "anyOf" not in schema:
        return schema
    (real,) = [dict(one) for one in schema["anyOf"] if one != {"type": "null"}]
    return real | {name: value for name, value in schema.items() if name != "anyOf"}


def _fates(template: str, operation: Mapping[str, Any]) -> list[int]:
    """Every status with which the operation can fail."""
    fates = set(ALWAYS)
    asks_account = any(one["name"] == "account" for one in operation.get("parameters", ()))
    if re.search(r"\{", template) or asks_account:
        fates.add(404)
    if "requestBody" in operation:
        fates.update((*WITH_BODY, 404))
    if template in ("/calls/{session}", CANCELLATION) or operation["operationId"] == "remove_number":
        fates.add(409)
    if template in (STATEMENT, EVENTS, ALL_EVENTS):
        fates.add(410)
    return sorted(fates)


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": f"{HTTPStatus(status).phrase}: {DESCRIPTIONS[status]}",
        "headers": dict(HEADERS.get(status, {})),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
