"""A token that its owner has written where it does not belong is stored nowhere and answered to nobody."""

from __future__ import annotations

from typing import Any

import pytest

from charging.service.tokens import secret_of
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service)
    await made.open()
    await shop.anna()
    return made


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("who", "method", "path", "request_", "pointer"),
    [
        ("credit", "POST", "/accounts/anna/top-ups", {"key": "order-{}", "json": {"amount": "25"}}, "Idempotency-Key"),
        ("credit", "POST", "/accounts/anna/top-ups", {"key": "Bearer {}", "json": {"amount": "25"}}, "Idempotency-Key"),
        (
            "fax",
            "POST",
            "/accounts/anna/faxes?target=%2B31201112222",
            {"key": "{}", "content": b"%PDF"},
            "Idempotency-Key",
        ),
        ("operate", "POST", "/accounts", {"json": {"id": "bert", "name": "{}", "plan": "light"}}, "#"),
        ("operate", "PATCH", "/accounts/{}", {"json": {"plan": "light"}}, None),
        ("read", "GET", "/accounts?cursor={}", {}, None),
    ],
)
async def test_a_token_in_a_key_an_id_or_a_name_is_refused_and_not_repeated(
    door: Door, who: str, method: str, path: str, request_: dict[str, Any], pointer: str | None, whole: bool
) -> None:
    token = door.secrets[who]
    told = token if whole else secret_of(token)
    request = {name: _filled(value, told) for name, value in request_.items()}
    headers = {"Idempotency-Key": request.pop("key")} if "key" in request else {}
    response = await door(who, method, path.replace("{}", told), 422, headers=headers, **request)
    assert secret_of(token) not in response.text + str(response.headers)
    assert "secret of the token" in response.json()["detail"]
    assert [one["pointer"] for one in response.json()["errors"]] == ([pointer] if pointer else [])


def _filled(value: Any, told: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, told) for name, one in value.items()}
    return value.replace("{}", told) if isinstance(value, str) else value


async def test_a_key_that_has_only_the_tokens_id_is_as_good_as_any(door: Door) -> None:
    """The id is no secret: lists show it."""
    key = door.secrets["credit"].removesuffix(secret_of(door.secrets["credit"]))
    headers = {"Idempotency-Key": key}
    made = await door("credit", "POST", "/accounts/anna/top-ups", 201, headers=headers, json={"amount": "25"})
    assert key in made.text


@pytest.mark.parametrize("given", ["mine-{}", "mine"])
async def test_a_request_named_by_its_token_gets_another_name(door: Door, given: str) -> None:
    name = given.replace("{}", secret_of(door.secrets["read"]))
    response = await door("read", "GET", "/accounts", headers={"X-Request-ID": name})
    assert (response.headers["x-request-id"] == name) is (given == "mine")
