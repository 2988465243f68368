"""Forms with a document in them (``multipart/form-data``): read as a whole, which the caller has bounded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charging.web.forward import DOCUMENTS
from charging.web.problem import ErrorAt, problem_response

TYPE = "multipart/form-data"
DOCUMENT = "document"
"""The part that is the document."""
ENVELOPE_BYTES = 16_384
"""Of all that is around it."""
FIELDS_MAX = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A part that is a file."""

    name: str
    """What its sender calls it."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """What was sent."""

    fields: Mapping[str, str]
    document: Document | None


def is_multipart(headers: Headers) -> bool:
    """Whether a body is such a form."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == TYPE


async def read_parts(headers: Headers, body: bytes) -> Parts:
    """The fields, each once, and the document. Raises ValueError with what was found and what was expected."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    if not is_multipart(headers):
        raise ValueError(f"found another type, or none, expected {TYPE}")
    charset = parse_options_header(headers.get("content-type", ""))[1].get(b"charset", b"utf-8")
    if charset.lower() != b"utf-8":  # another could say half of a surrogate pair, which nothing behind us can write
        raise ValueError(f"found a form in {charset[:40].decode('latin-1')!r}, expected UTF-8")
    parser = MultiPartParser(headers, whole(), max_files=1, max_fields=FIELDS_MAX, max_part_size=ENVELOPE_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ValueError(f"found a form that cannot be read: {error.message}") from error
    fields: dict[str, str] = {}
    document = None
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) != (name == DOCUMENT):
                raise ValueError(f"found {name[:40]!r}, expected the document, and it alone, as the file {DOCUMENT!r}")
            if isinstance(value, UploadFile):
                document = Document(value.filename or "", await value.read())
            elif name in fields:
                raise ValueError(f"found {name[:40]!r} twice, expected it once")
            else:
                fields[name] = value
    finally:
        await form.close()
    return Parts(fields, document)


def _whole(body: bytes, behind: Receive) -> Receive:
    """By which an application receives a body, once, and then what comes ``behind`` it."""
    waiting = [body]

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await behind()

    return receive


class Unfolded:
    """Takes a document out of its form: what is behind it is sent the document itself, and the form's fields as
    parameters of the query. So the process that decides calls never reads a form."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not DOCUMENTS.fullmatch(scope["path"]) or not is_multipart(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            parts = await read_parts(request.headers, await request.body())
            asked = _as_query(parts, request.query_params)
        except ValueError as error:
            errors = [ErrorAt(detail=str(error), pointer="#")]
            await problem_response(422, "invalid", str(error), errors=errors)(scope, receive, send)
            return
        assert parts.document is not None
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers["content-type"] = "application/octet-stream"
        headers["content-length"] = str(len(parts.document.data))
        inner = {**scope, "headers": headers.raw, "query_string": urlencode(asked).encode()}
        whole = _whole(parts.document.data, receive)
        del request, parts  # a document waits for minutes; what it came in is not kept for as long
        await self._app(inner, whole, send)


def _as_query(parts: Parts, query: Mapping[str, str]) -> list[tuple[str, str]]:
    """Raises ValueError."""
    if parts.document is None:
        raise ValueError(f"found no document, expected it as the file {DOCUMENT!r}")
    if twice := sorted(set(parts.fields) & set(query)):
        raise ValueError(f"found {twice[0][:40]!r} in the form and in the query, expected it once")
    asked = {**query, **parts.fields}
    return list(({"name": parts.document.name} | asked if parts.document.name else asked).items())
