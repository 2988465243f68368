"""What a browser sends back is read as the browser means it."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from charging.web.browser import cookie, must_lead_here

NAME = "__Host-charging-customer"


def sent(*headers: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", header) for header in headers]})


@pytest.mark.parametrize("between", [b"", b" ", b"\t", b" \t "])
def test_a_cookie_is_found_among_others(between: bytes) -> None:
    header = b"a=1;%b%b=x=y%b;b=2" % (between, NAME.encode(), between)
    assert cookie(sent(header), NAME) == "x=y"


@pytest.mark.parametrize("odd", [code for code in range(256) if chr(code).isspace() and code not in b" \t"])
def test_a_name_behind_what_python_calls_a_space_is_another_one(odd: int) -> None:
    """Such a one may be set by another host of the domain: what begins with ``__Host-`` may not (RFC 6265bis)."""
    assert cookie(sent(b"%c%b=theirs" % (odd, NAME.encode())), NAME) == ""
    assert cookie(sent(b"%b=ours; %c%b=theirs" % (NAME.encode(), odd, NAME.encode())), NAME) == "ours"


@pytest.mark.parametrize("headers", [(b"%b=ours; %b=theirs",), (b"%b=ours", b"%b=theirs")])
def test_two_of_a_name_are_none(headers: tuple[bytes, ...]) -> None:
    one, *more = headers
    filled = [header.replace(b"%b", NAME.encode()) for header in (one, *more)]
    assert cookie(sent(*filled), NAME) == ""


def asked_by(site: str, mode: str, dest: str) -> Request:
    said = (("site", site), ("mode", mode), ("dest", dest))
    return Request({"type": "http", "headers": [(f"sec-fetch-{name}".encode(), text.encode()) for name, text in said]})


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize(("mode", "dest"), [("no-cors", "empty"), ("cors", "empty"), ("navigate", "iframe")])
def test_what_another_sites_page_asks_for_by_itself_is_refused(site: str, mode: str, dest: str) -> None:
    """Another host of the operator's domain, whose questions carry the cookie: an open page there spent the pace of
    whoever has it in his browser."""
    with pytest.raises(HTTPException) as refused:
        must_lead_here(asked_by(site, mode, dest))
    assert refused.value.status_code == 403


@pytest.mark.parametrize(
    ("site", "mode", "dest"),
    [
        ("same-origin", "cors", "empty"),
        ("none", "navigate", "document"),
        ("same-site", "navigate", "document"),
        ("cross-site", "navigate", "document"),
    ],
)
def test_our_own_pages_and_links_that_lead_here_are_answered(site: str, mode: str, dest: str) -> None:
    must_lead_here(asked_by(site, mode, dest))
    must_lead_here(sent())
