"""From a YAML document's text to pydantic models, with every problem at once and each at its place.

The types here read text (:mod:`charging.yaml_text` types nothing) and say what they expect in an operator's
words. Models derive from :class:`Section`: frozen, unknown keys refused with a suggestion, a section whose
keys are all commented out takes its defaults.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from charging.errors import ConfigError, Problem
from charging.yaml_text import Document, DocumentPath, describe, suggest

BASE_FOLDER = "base_folder"
"""The validation context's key for the folder that relative paths start from."""


class Section(BaseModel):
    """A map of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
    GONE: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier versions, and what to do now."""

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_when_empty(cls, value: object) -> object:
        return {} if value is None else value


SectionT = TypeVar("SectionT", bound=Section)


def validate(document: Document, model: type[SectionT], *, base_folder: Path | None = None) -> SectionT:
    """The document as ``model``. Raises ConfigError with every problem found.

    ``base_folder`` is where relative paths (:data:`FilePath`) start; by default the document's folder.
    """
    base = base_folder or Path(document.file).resolve().parent
    try:
        return model.model_validate(document.root, context={BASE_FOLDER: base})
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError(sorted_problems(_problem(document, model, one) for one in details)) from None


def sorted_problems(problems: Any) -> list[Problem]:
    """Problems in the file's order."""
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def refusal(expected: str, *, found: str = "", hint: str = "") -> PydanticCustomError:
    """The error that a validator raises; ``found`` by default describes the value itself."""
    return PydanticCustomError("refusal", "{expected}", {"expected": expected, "found": found, "hint": hint})


def _problem(document: Document, model: type[Section], error: ErrorDetails) -> Problem:
    path: DocumentPath = tuple(part for part in error["loc"] if part != "[key]")
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(model, path[:-1])
            if instead := getattr(_model_at(model, path[:-1]), "GONE", {}).get(path[-1]):
                return document.problem(path, f"{path[-1]!r}", "this key no more", instead, at_key=True)
            expected = "a known key: " + ", ".join(known)
            hint = suggest(str(path[-1]), known)
            return document.problem(path, f"the unknown key {path[-1]!r}", expected, hint, at_key=True)
        case "missing":
            return document.problem(path, "nothing", _description(model, path))
        case "refusal":
            found = context["found"] or describe(error["input"])
            return document.problem(path, found, context["expected"], context["hint"])
        case "model_type" | "dict_type":
            return document.problem(path, describe(error["input"]), "a map of keys")
        case "list_type" | "tuple_type":
            return document.problem(path, describe(error["input"]), "a list")
        case "literal_error":
            expected = context["expected"].replace("'", "")
            hint = suggest(str(error["input"]), expected.replace(" or ", ", ").split(", "))
            return document.problem(path, describe(error["input"]), expected, hint)
    return document.problem(path, describe(error["input"]), error["msg"])


def _model_at(model: type[BaseModel], path: DocumentPath) -> type[BaseModel] | None:
    """The model that describes the map at ``path``."""
    here: Any = model
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = _inner(here.model_fields[str(part)].annotation)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """The model within ``Model | None``, ``list[Model]``, ``dict[str, Model]``; else the annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    found = [_inner(argument) for argument in get_args(annotation)]
    models = [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]
    return models[0] if models else annotation


def _known_keys(model: type[BaseModel], path: DocumentPath) -> list[str]:
    owner = _model_at(model, path)
    return [field.alias or name for name, field in owner.model_fields.items()] if owner else []


def _description(model: type[BaseModel], path: DocumentPath) -> str:
    owner = _model_at(model, path[:-1])
    field = owner.model_fields.get(str(path[-1])) if owner else None
    return (field.description if field else None) or "a value"


def text_of(value: object, expected: str) -> str:
    """The scalar as text; lists, maps and absent values are refused."""
    if not isinstance(value, str) or not value.strip():
        raise refusal(expected)
    return value


def typed(reader: Callable[[str], Any], expected: str) -> BeforeValidator:
    """What ``reader`` makes of the text; ``None`` is refused."""

    def read(value: object) -> Any:
        if isinstance(value, (int, float)):  # a default, or a model made by a test
            value = str(value)
        result = reader(text_of(value, expected))
        if result is None:
            raise refusal(expected)
        return result

    return BeforeValidator(read)


def whole(low: int, high: int, unit: str) -> BeforeValidator:
    """A whole number (of ``unit``) between two bounds, both included."""

    of = f" of {unit}" if unit else ""

    def read(text: str) -> int | None:
        fits = re.fullmatch(r"[0-9]{1,15}", text) is not None and low <= int(text) <= high
        return int(text) if fits else None

    return typed(read, f"a whole number{of} from {low} to {high}")


def decimal(low: str, high: str, unit: str) -> BeforeValidator:
    """A number with up to three decimals between two bounds, both included. Never for money."""

    def read(text: str) -> Decimal | None:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text) is None:
            return None
        return Decimal(text) if Decimal(low) <= Decimal(text) <= Decimal(high) else None

    return typed(read, f"{unit} from {low} to {high}, with at most three decimals")


def pattern(regex: str, expected: str) -> BeforeValidator:
    """Text that matches ``regex`` from beginning to end."""
    return typed(lambda text: text if re.fullmatch(regex, text) else None, expected)


def _path(value: object, info: Any) -> Path:
    if isinstance(value, Path):
        return value
    text = text_of(value, "the path of a file")
    context: Mapping[str, Path] = info.context or {}
    return Path(os.path.normpath(context.get(BASE_FOLDER, Path()) / text))


def _network(text: str) -> str | None:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def yes_or_no(text: str) -> bool | None:
    """``None``: it is neither."""
    return {"yes": True, "no": False, "true": True, "false": False}.get(text.lower())


FilePath = Annotated[Path, BeforeValidator(_path)]
"""A path; a relative one starts at the file's own folder."""
Flag = Annotated[bool, typed(yes_or_no, "yes or no")]
Port = Annotated[int, whole(1, 65535, "")]
Host = Annotated[str, pattern(r"(?![^:]*:[0-9]*\Z)[A-Za-z0-9.:_-]{1,253}", "a host name or an IP address")]
"""Without a port, which has a key of its own."""
Networks = tuple[Annotated[str, typed(_network, "an IP address, or a network like 10.0.0.0/24")], ...]
EnvironmentName = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_]{0,99}", "the name of an environment variable")]
Text = Annotated[str, pattern(r"[^\x00-\x1f\x7f\x85\u2028-\u202e\u2066-\u2069]{1,500}", "one line of text")]
"""Without any character that breaks a line or turns its direction."""
