"""The OpenAPI document's word on every query and header parameter is what the program does with it.

Texts of many forms are sent as each of them: what its schema forbids is refused as malformed, and what it allows is
refused for what lies beyond its form only, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
import jsonschema_rs

from charging.web.api import resources
from charging.web.api_document import FAXES
from tests.asterisk.api_hooks import BEYOND_FORM
from tests.unit.web.test_api_faxes import FaxDoor, office

__all__ = ["office"]

PLACES = {"account": "anna", "session": "none", "number": "+31201234567", "month": "2026-11"}
ALSO = {"idempotency-key": "key", "number": "+31612345678", "target": "+31612345678", "seconds": "60", "plan": "light"}
"""Beside the parameter that is tried, where they are asked."""
BODIES: dict[str, Any] = {
    "top-ups": {"amount": "25"},
    "corrections": {"amount": "25", "reason": "r"},
    "minute-grants": {"minutes": 5, "reason": "r"},
    "credit-grants": {"amount": "5", "last_day": "2027-01-31", "reason": "r"},
    "pack-grants": {"pack": "none", "last_day": "2027-01-31", "reason": "r"},
    "subscription-payments": {"until": "2027-01-01"},
    "subscription-corrections": {"until": "2027-01-01"},
}

TEXTS = (
    *(
        "",
        "null",
        "x" * 501,
        "1_0",
        " 1",
        "2026-11-28 10:00",
        "2026-11-28",
        "12:30",
        "2026-11-28T10:00:00.123456+01:00",
    ),
    *("+31201234567", "++31", "0", "100", "1001", "1,50", "a b", "\x00", "anna", "cli:alice", "csv", "1.a", "1.a b"),
    *("0000000000000001-00-0123abcd.1", "0000000000000001-0123abcd", "0000000000000001-0123ABCD"),
)
"""The first of them that a parameter allows, and the first that it forbids, are sent as it."""
EACH = 6


def parameters(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
    """Method and path of an operation, a parameter of its query or headers, and the others."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found = [one for one in operation.get("parameters", ()) if one["in"] in ("query", "header")]
            for one in found:
                yield method.upper(), path, one, [other for other in found if other is not one]


def read(schema: Mapping[str, Any], text: str) -> str | int:
    """What a client's program would have meant by what stands in the address."""
    return int(text) if schema.get("type") == "integer" and re.fullmatch("-?[0-9]+", text) else text


def can_be_sent(where: str, text: str) -> bool:
    """HTTP takes spaces off a header's value, and has no control characters there (RFC 9110, 5.5)."""
    return where == "query" or (text.isascii() and text.isprintable() and text.strip() == text)


def asking(path: str, one: Mapping[str, Any], others: Iterable[Mapping[str, Any]], text: str) -> dict[str, Any]:
    """A request that is right but for the text of one parameter."""
    texts = {other["name"]: ALSO[other["name"]] for other in others if other["required"]}
    if one["name"] != "account" and any(other["name"] == "plan" for other in others):
        texts["plan"] = ALSO["plan"]  # a price is asked of one of them
    texts[one["name"]] = text
    places = {other["name"]: other["in"] for other in (one, *others)}
    asked: dict[str, Any] = {"params": {}, "headers": {}}
    for name, value in texts.items():
        asked["params" if places[name] == "query" else "headers"][name] = value
    if path == FAXES:
        asked["headers"]["content-type"] = "application/pdf"
        return {**asked, "content": b"a document"}
    body = BODIES.get(path.rpartition("/")[2])
    return {**asked, "json": body} if body else asked


async def test_no_parameter_can_be_null(office: FaxDoor) -> None:
    """No request can say it: ``null`` in an address is a text of four letters."""
    for _, path, one, _ in parameters(office.door.app.openapi()):
        assert "'null'" not in str(one["schema"]), (path, one)


async def test_the_document_says_of_each_parameter_what_the_program_does_with_it(office: FaxDoor) -> None:
    wrong, app = [], resources(office.service)
    document = app.openapi()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for method, path, one, others in parameters(document):
            is_allowed = jsonschema_rs.validator_for({**one["schema"], "components": document["components"]}).is_valid
            texts = [text for text in TEXTS if can_be_sent(one["in"], text)]
            right = [text for text in texts if is_allowed(read(one["schema"], text))]
            forbidden = [text for text in texts if text not in right]
            for text in (*right[:EACH], *forbidden[:EACH]):
                answer = await http.request(method, path.format(**PLACES), **asking(path, one, others, text))
                malformed = answer.status_code == 422 and answer.json()["code"] == "invalid"
                if malformed and text in right:
                    malformed = not BEYOND_FORM.search(answer.json()["detail"])
                refused = 400 <= answer.status_code < 500
                if malformed if text in right else not refused:
                    wrong.append((method, path, one["name"], text, answer.status_code, answer.text[:150]))
    assert not wrong, "\n".join(map(str, wrong))
