"""What is wrong with a request's form, in the words of everything else here: what was found, and what was expected.
Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN_LENGTH_MAX = 40
"""Characters of what someone sent that are said back."""


def problem_of(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors, for whoever wrote the request."""
    where = _where(error["loc"])
    match error["type"]:
        case "missing":
            return f"found no {where}, expected one"
        case "extra_forbidden":
            return f"found the unknown {where}, expected none of this name"
        case "json_invalid":
            return f"found no JSON in the body (at character {error['loc'][-1]}), expected a JSON object"
        case "model_attributes_type" | "dict_type" | "model_type":
            return f"found {_shown(error['input'])} as {where}, expected a JSON object (Content-Type: application/json)"
        case "string_type":
            return f"found {_shown(error['input'])} as {where}, expected a text in quotes"
        case "string_unicode":
            return f"found {_shown(error['input'])} as {where}, expected text of whole characters"
        case "enum" | "literal_error":
            return f"found {_shown(error['input'])} as {where}, expected {error['ctx']['expected']}"
    if expected := expected_of(error):
        return f"found {_shown(error['input'])} as {where}, expected {expected}"
    return f"found {_shown(error['input'])} as {where}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def pointer_of(error: Mapping[str, Any]) -> str:
    """Which part of the request one of pydantic's errors is about: a JSON Pointer into the body as a URI fragment (RFC
    6901, 6), or ``?name`` of a parameter, or a header's name."""
    kind, *path = map(str, error["loc"])
    match kind:
        case "query":
            return "?" + _sendable(".".join(path))
        case "header":
            return _sendable("-".join(path)).title()
    if error["type"] == "json_invalid":
        return "#"
    return _sendable("#" + "".join("/" + one.replace("~", "~0").replace("/", "~1") for one in path))


def expected_of(error: Mapping[str, Any]) -> str:
    """What one of pydantic's errors would rather have seen, where it is a number or a day; else nothing."""
    kind, bounds = error["type"], error.get("ctx", {})
    if kind.startswith("date_"):
        return "a day such as 2027-01-31"
    if kind.startswith("int_"):
        return "a whole number"
    if kind.startswith("float_"):
        return "a number"
    return {"greater_than_equal": f"at least {bounds.get('ge')}", "less_than_equal": f"at most {bounds.get('le')}"}.get(
        kind, ""
    )


def _where(place: Sequence[str | int]) -> str:
    kind, *path = map(str, place)
    name = _sendable(".".join(path))
    match kind:
        case "header":
            return f"header `{name.title()}`"
        case "query":
            return f"parameter `{name}`"
        case "body" if name:
            return f"member `{name}`"
    return kind if not name else f"`{name}` in the {kind}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):  # a body of another type than JSON: nobody knows how long
        value = value[: SHOWN_LENGTH_MAX + 1].decode("utf-8", "backslashreplace")
    text = _sendable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "…"


def _sendable(text: str) -> str:
    """With halves of surrogate pairs escaped, which JSON can bring and UTF-8 cannot take back."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
