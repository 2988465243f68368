"""How the public interface speaks HTTP: versions, HEAD, request ids, ETags, pace, and problems for programs."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from charging.ledger.accounts import Language
from tests.unit.service.conftest import Shop
from tests.unit.web.door import SETTINGS, Door


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service)
    await made.open()
    await shop.anna()
    return made


async def test_a_path_with_its_version_means_the_same_as_without(door: Door) -> None:
    plain = await door("read", "GET", "/accounts/anna")
    versioned = await door("read", "GET", "/v1/accounts/anna")
    assert versioned.json() == plain.json()
    await door("read", "GET", "/v2/accounts/anna", 404)
    await door("read", "GET", "/v1/v1/accounts/anna", 404)
    await door("credit", "GET", "/v1/accounts/anna", 403)
    assert door.app.openapi()["servers"][0]["url"] == "/v1"


async def test_head_is_answered_as_get_without_the_body(door: Door) -> None:
    full = await door("read", "GET", "/accounts/anna")
    head = await door("read", "HEAD", "/accounts/anna")
    assert head.content == b""
    assert head.headers["content-length"] == str(len(full.content))
    assert head.headers["etag"] == full.headers["etag"]


async def test_an_answer_that_the_client_has_is_not_sent_again(door: Door) -> None:
    first = await door("read", "GET", "/accounts/anna/balance")
    tag = first.headers["etag"]
    for known in (tag, f'W/{tag}, "other"', "*"):
        again = await door("read", "GET", "/accounts/anna/balance", 304, headers={"If-None-Match": known})
        assert again.content == b""
        assert "content-type" not in again.headers
    await door("read", "GET", "/accounts/anna/balance", headers={"If-None-Match": '"other"'})
    body: dict[str, Any] = {"json": {"amount": "10"}, "headers": {"Idempotency-Key": "k"}}
    assert "etag" not in (await door("credit", "POST", "/accounts/anna/top-ups", 201, **body)).headers
    changed = await door("read", "GET", "/accounts/anna/balance", headers={"If-None-Match": tag})
    assert changed.headers["etag"] != tag


async def test_each_request_has_an_id_in_answer_problem_and_log(door: Door) -> None:
    given = {"X-Request-Id": "website-17"}
    assert (await door("read", "GET", "/accounts/anna", headers=given)).headers["x-request-id"] == "website-17"
    problem = await door("read", "GET", "/accounts/bert", 404, headers=given)
    assert problem.json()["instance"] == "urn:charging:request:website-17"
    made = [(await door("read", "GET", "/accounts/anna")).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    forged = await door("read", "GET", "/accounts/anna", headers={"X-Request-Id": "a b\x1b[31m"})
    assert forged.headers["x-request-id"].isalnum()
    with structlog.testing.capture_logs() as logs:
        change: dict[str, Any] = {"json": {"email": ""}, "headers": given}
        await door("operate", "PATCH", "/accounts/anna", **change)
    assert [one["request"] for one in logs if one["event"] == "api_change_asked"] == ["website-17"]


async def test_the_pace_that_is_left_is_told_until_it_is_used_up(door: Door) -> None:
    left = []
    for _ in range(SETTINGS.requests_per_minute):
        headers = (await door("read", "GET", "/accounts/anna")).headers
        assert headers["ratelimit-limit"] == str(SETTINGS.requests_per_minute)
        left.append(int(headers["ratelimit-remaining"]))
    assert left == list(range(SETTINGS.requests_per_minute - 1, -1, -1))
    over = await door("read", "GET", "/accounts/anna", 429)
    assert over.headers["ratelimit-remaining"] == "0"
    assert 0 < int(over.headers["ratelimit-reset"]) <= 60
    assert "ratelimit-limit" not in (await door("", "GET", "/accounts/anna", 401)).headers


async def test_no_problem_advises_a_client_to_run_a_command_of_the_operators(door: Door) -> None:
    for who, method, path, status, body in (
        ("", "GET", "/accounts", 401, None),
        ("read", "POST", "/accounts/anna/top-ups", 403, {"amount": "10"}),
        ("read", "GET", "/accounts/bert", 404, None),
        ("operate", "POST", "/accounts", 409, {"id": "anna", "plan": "light"}),
        ("read", "GET", "/numbers/+31201234567", 404, None),
    ):
        request: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "k"}} if body else {}
        assert "`charging" not in (await door(who, method, path, status, **request)).text


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("PATCH", "/accounts/anna", {"email": "nobody"}, "#/email"),
        ("PATCH", "/accounts/anna", {"plan": "golden"}, "#/plan"),
        ("PATCH", "/accounts/anna", {"mail": "a@b.nl"}, "#/mail"),
        ("PATCH", "/accounts/anna", {"language": "fr"}, "#/language"),
        ("POST", "/accounts", {"id": "No Id", "plan": "light"}, "#/id"),
        ("POST", "/accounts/anna/corrections", {"amount": "1,2,3", "reason": "r"}, "#/amount"),
        ("POST", "/accounts/anna/corrections", {"amount": "0", "reason": "r"}, "#/amount"),
        ("POST", "/accounts/anna/corrections", {"amount": "1", "reason": " "}, "#/reason"),
        ("POST", "/accounts/anna/minute-grants", {"minutes": 0, "reason": "r"}, "#/minutes"),
        ("POST", "/accounts/anna/minute-grants", {"minutes": True, "reason": "r"}, "#/minutes"),
        ("POST", "/numbers", {"number": "12", "account": "anna"}, "#/number"),
        ("POST", "/numbers", {"number": "+31201234567", "account": "anna", "forward_to": "x"}, "#/forward_to"),
        ("POST", "/numbers", {"number": "+31201234567", "account": "anna", "mailbox": "a b"}, "#/mailbox"),
    ],
)
async def test_a_problem_points_at_the_member_that_is_wrong(
    door: Door, method: str, path: str, body: dict[str, object], pointer: str
) -> None:
    who = "minutes" if path.endswith("minute-grants") else "operate"
    problem = (await door(who, method, path, 422, json=body, headers={"Idempotency-Key": "k"})).json()
    assert [one["pointer"] for one in problem["errors"]] == [pointer]
    assert problem["errors"][0]["detail"] in problem["detail"]


async def test_a_problem_points_at_the_parameter_and_the_header_that_are_wrong(door: Door) -> None:
    problem = (await door("read", "GET", "/accounts?limit=0", 422)).json()
    assert [one["pointer"] for one in problem["errors"]] == ["?limit"]
    problem = (await door("credit", "POST", "/accounts/anna/top-ups", 422, json={"amount": "10"})).json()
    assert [one["pointer"] for one in problem["errors"]] == ["Idempotency-Key"]


async def test_no_schema_of_a_patch_has_a_default_that_a_generated_client_would_send(door: Door) -> None:
    """`NumberEdit(mailbox="box")` of a generated client also sent `forward_to: ""`: the forwarding was gone."""
    document = door.app.openapi()
    found = 0
    for methods in document["paths"].values():
        if "patch" not in methods:
            continue
        content = methods["patch"]["requestBody"]["content"]["application/json"]
        members = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
        assert not [name for name, member in members.items() if "default" in member]
        found += 1
    assert found >= 2


async def test_names_of_operations_are_short_and_told_once(door: Door) -> None:
    names = [one["operationId"] for methods in door.app.openapi()["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names)) > 20
    assert {"show_balance", "top_up", "send_fax", "hang_up"} <= set(names)
    assert max(map(len, names)) <= 24


@pytest.mark.parametrize(
    "path", ["/quotes?plan=light&seconds=60", "/limits?plan=light&credit=1", "/fax-quotes?plan=light"]
)
async def test_plus_of_a_query_that_came_as_a_space_is_not_priced_as_a_national_number(door: Door, path: str) -> None:
    problem = (await door("read", "GET", path + "&number=+12125550123", 422)).json()
    assert "%2B" in problem["detail"]
    assert [one["pointer"] for one in problem["errors"]] == ["?number"]
    await door("read", "GET", "/decisions?number=+31201234567", 422)
    await door("read", "GET", "/numbers?cursor=+31201234567", 422)
    await door("read", "GET", "/accounts/anna/numbers?cursor=+31201234567", 422)


@pytest.mark.parametrize(
    "path",
    [
        *("/accounts/bert", "/accounts/bert/balance", "/accounts/bert/journal", "/accounts/bert/numbers"),
        *("/accounts/bert/statements/2026-11", "/accounts/bert/faxes", "/accounts/bert/fax-address"),
        *("/calls?account=bert", "/cdrs?account=bert", "/numbers?account=bert", "/decisions?account=bert"),
        *("/quotes?account=bert&number=0612345678&seconds=1", "/limits?account=bert&number=0612345678"),
        "/fax-quotes?account=bert&number=0201234567",
    ],
)
async def test_an_account_that_is_not_there_is_not_found_wherever_it_is_asked_for(door: Door, path: str) -> None:
    await door("read", "GET", path, 404)


async def test_an_account_for_which_no_language_is_named_has_that_of_the_settings(shop: Shop, door: Door) -> None:
    await door("operate", "POST", "/accounts", 201, json={"id": "nora", "plan": "light"})
    assert (await door("read", "GET", "/accounts/nora")).json()["language"] == "nl"
    shop.service.accounts._default_language = Language.EN
    await door("operate", "POST", "/accounts", 201, json={"id": "enid", "plan": "light"})
    assert (await door("read", "GET", "/accounts/enid")).json()["language"] == "en"


async def test_prices_in_json_are_decimal_numbers_also_where_they_do_not_end(door: Door) -> None:
    quote = (await door("read", "GET", "/quotes?plan=light&number=0612345678&seconds=1&free_seconds=0")).json()
    for name in ("subtotal", "within_limits", "with_vat", "total", "connect_fee"):
        float(quote[name])
    for line in quote["lines"]:
        float(line["amount"])
