"""A request of the wrong form is told what was found and what was expected."""

from __future__ import annotations

import pytest

from charging.web.parts import first_twice
from tests.unit.web.conftest import Api

KEY = {"Idempotency-Key": "k"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"id": "dora"}', "found no member `plan`, expected one"),
        ('{"id": "d", "plan": "light", "colour": 1}', "found the unknown member `colour`, expected none of this name"),
        ('{"id": "dora"', "found no JSON in the body (at character 13), expected a JSON object"),
        ("[]", "found [] as body, expected a JSON object (Content-Type: application/json)"),
        ('{"id": 7, "plan": "light"}', "found 7 as member `id`, expected a text in quotes"),
        ('{"id": "d", "plan": ["\\ud800"]}', r'found ["\ud800"] as member `plan`, expected a text in quotes'),
        ('{"id": "d", "plan": "light", "\\ud800": 1}', r'found "\ud800" as body, expected text of whole characters'),
        ('{"id": "d", "plan": "light", "language": "de"}', "found \"de\" as member `language`, expected 'nl' or 'en'"),
    ],
)
async def test_a_body_that_is_none_is_told_what_was_found_and_expected(api: Api, body: str, problem: str) -> None:
    api.http.headers["Content-Type"] = "application/json"
    answer = await api("POST", "/accounts", 422, content=body)
    assert answer["problems"] == [problem]
    assert answer["detail"] == problem


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/accounts", '{"id": "\\ud800", "plan": "light"}'),
        ("/accounts", '{"id": "d", "plan": "light", "language": "\\ud800"}'),
        ("/accounts", '{"id": "d", "plan": "light", "email": "\\ud800@example.nl"}'),
        ("/accounts/anna/top-ups", '{"amount": "\\ud800"}'),
        ("/accounts/anna/corrections", '{"amount": "1", "reason": "\\udfff"}'),
        ("/accounts/anna/subscription-payments", '{"until": "\\ud800"}'),
        ("/numbers", '{"number": "+31201234567", "account": "anna", "paid_voicemail": "\\ud800"}'),
        ("/numbers", '{"number": "\\ud800", "account": "anna"}'),
        ("/numbers", '{"number": "+31201234567", "account": "anna", "mailbox": "\\ud800"}'),
        ("/numbers", '{"number": "+31201234567", "account": "anna", "forward_to": "\\ud800"}'),
    ],
)
async def test_half_of_a_surrogate_pair_is_refused_wherever_it_stands(api: Api, path: str, body: str) -> None:
    """JSON can say it, UTF-8 cannot: it is neither kept, nor said back as it is."""
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    api.http.headers["Content-Type"] = "application/json"
    await api("POST", path, 422, content=body, key="k")


@pytest.mark.parametrize("place", ["/accounts/%ED%A0%80", "/cdrs?account=%ED%A0%80", "/quotes?number=%ED%A0%80"])
async def test_half_of_a_surrogate_pair_in_an_address_is_no_fault(api: Api, place: str) -> None:
    answer = await api.http.get(place)
    assert answer.status_code in (200, 404, 422)


async def test_a_body_that_is_no_json_is_told_its_type(api: Api) -> None:
    answer = await api("POST", "/accounts", 422, content="id=dora")
    assert "expected a JSON object (Content-Type: application/json)" in answer["detail"]


@pytest.mark.parametrize(
    ("content_type", "content", "shown"),
    [
        ("application/x-www-form-urlencoded", b"amount=10", '"amount=10"'),
        ("text/plain", b'{"id": "dora"}', r'"{\"id\": \"dora\"}"'),
        ("application/octet-stream", b"\xff\xfe", r'"\\xff\\xfe"'),
        ("application/octet-stream", b"x" * 5_000_000, '"' + 39 * "x" + "…"),
    ],
)
async def test_a_body_of_another_type_is_said_back_as_text(
    api: Api, content_type: str, content: bytes, shown: str
) -> None:
    """Not as Python writes its bytes."""
    api.http.headers["Content-Type"] = content_type
    answer = await api("POST", "/accounts", 422, content=content)
    assert answer["detail"] == f"found {shown} as body, expected a JSON object (Content-Type: application/json)"


async def test_a_missing_key_is_named_as_the_header_that_it_is(api: Api) -> None:
    answer = await api("POST", "/accounts/anna/top-ups", 422, json={"amount": "25"})
    assert answer["problems"] == ["found no header `Idempotency-Key`, expected one"]


@pytest.mark.parametrize(
    ("limit", "expected"), [("0", "at least 1"), ("9999", "at most 1000"), ("x", "a whole number")]
)
async def test_a_parameter_out_of_range_is_told_the_range(api: Api, limit: str, expected: str) -> None:
    answer = await api("GET", "/accounts", 422, params={"limit": limit})
    assert answer["detail"] == f'found "{limit}" as parameter `limit`, expected {expected}'


@pytest.mark.parametrize("until", ["31-01-2027", "2027-02-30", "tomorrow", "2027-01-31T12:00:00", 7.5, True])
async def test_a_date_that_is_none_is_told_the_form_of_one(api: Api, until: object) -> None:
    answer = await api("POST", "/accounts/anna/subscription-payments", 422, key="k", json={"until": until})
    assert answer["detail"].endswith("as member `until`, expected a day such as 2027-01-31")


async def test_what_was_sent_is_said_back_shortened(api: Api) -> None:
    answer = await api("POST", "/accounts", 422, json={"id": ["x" * 1000], "plan": "light"})
    assert len(answer["detail"]) < 150


async def test_a_misspelt_parameter_is_an_error_and_not_ignored(api: Api) -> None:
    answer = await api("GET", "/cdrs", 422, params={"acount": "anna"})
    expected = "one of account, caller, cursor, limit, number, order, service, since, until"
    assert answer["detail"] == f"found the unknown parameter 'acount', expected {expected}"
    answer = await api("GET", "/tariff", 422, params={"x": ""})
    assert answer["detail"] == "found the unknown parameter 'x', expected none"
    await api("POST", "/accounts", 422, params={"dry_run": "yes"}, json={"id": "anna", "plan": "light"})
    await api("GET", "/accounts/anna", 404)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("/cdrs?account=anna&account=bert", "account"),
        ("/cdrs?account=anna&limit=1&account=anna", "account"),
        ("/accounts?limit=1&limit=2", "limit"),
        ("/accounts?order=asc&cursor=anna&order=desc", "order"),
        ("/accounts/anna/balance?x=1&x=2", "x"),
        ("/decisions?since=2026-11-21&since=2026-11-20", "since"),
    ],
)
async def test_a_parameter_that_stands_there_twice_is_refused(api: Api, query: str, name: str) -> None:
    """The last of them counted, and nobody was told."""
    answer = await api("GET", query, 422)
    assert answer["detail"] == f"found {name!r} twice, expected it once"
    assert answer["errors"][0]["pointer"] == f"?{name}"


class Counted(str):
    """A name that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_names_are_looked_for_twice_without_comparing_each_with_all_before_it() -> None:
    """A query of 60 kB held the loop that decides calls for 8 s."""
    names = [Counted(number) for number in range(1_000)]
    assert first_twice(names) is None
    assert Counted.compared < len(names)
    assert first_twice([*names, Counted(7)]) == "7"


@pytest.mark.parametrize("path", ["/accounts", "/calls", "/numbers", "/cdrs", "/decisions", "/changes"])
@pytest.mark.parametrize("cursor", ["%20x", "+31612345678", "a b", "x" * 201])
async def test_a_cursor_that_no_page_has_given_is_refused(api: Api, path: str, cursor: str) -> None:
    """It was passed over, and the list began again from its first."""
    await api("GET", f"{path}?cursor={cursor}", 422)
