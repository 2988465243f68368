"""The service as HTTP resources."""

from __future__ import annotations

from typing import Any

import httpx

from charging.errors import ConfigError, LedgerCorrupt, LedgerUnavailable, Problem
from charging.ledger.model import Closed, Kind, Opened, Outcome, Transfer
from charging.service.import_file import PART_BYTES_MAX
from charging.web.control import control_app
from tests.unit.service.conftest import Shop
from tests.unit.web.conftest import Api

NUMBER = "+31201234567"


async def test_health_answers_while_the_store_does(api: Api, shop: Shop) -> None:
    assert await api("GET", "/health") == {"status": "ok", "facts": {}, "sandbox": False}

    async def broken() -> None:
        raise LedgerUnavailable("the disk is full")

    shop.store.ping = broken  # type: ignore[method-assign]
    assert (await api("GET", "/health", 503))["code"] == "ledger_unavailable"


async def test_an_account_from_its_making_to_its_end(api: Api) -> None:
    made = await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    assert (made["plan"], made["language"], made["status"], made["paid_until"]) == ("light", "nl", "active", None)
    assert made["created"] == "2026-11-21T12:00:00.000+00:00"
    await api("POST", "/accounts", 409, json={"id": "anna", "plan": "light"})
    changed = await api("PATCH", "/accounts/anna", json={"language": "en"})
    assert (changed["plan"], changed["language"]) == ("light", "en")
    await api("PUT", "/accounts/anna/status", 422, json={"status": "suspended"})
    suspended = await api("PUT", "/accounts/anna/status", json={"status": "suspended", "reason": "unpaid"})
    assert (suspended["status"], suspended["status_reason"]) == ("suspended", "unpaid")
    await api("PUT", "/accounts/anna/status", json={"status": "active"})
    await api("PUT", "/accounts/anna/status", json={"status": "closed", "reason": "moved"})
    assert (await api("PATCH", "/accounts/anna", 409, json={"plan": "pro"}))["code"] == "closed"
    await api("GET", "/accounts/bert", 404)


async def test_a_mail_address_that_another_account_has_is_warned_of(api: Api) -> None:
    """Whoever gets it second would stop the faxes that the first one mails (fax.mail_from_counts)."""
    his = {"plan": "light", "email": "anna@example.nl"}
    assert (await api("POST", "/accounts", 201, json={"id": "anna", **his}))["warnings"] == []
    (warned,) = (await api("POST", "/accounts", 201, json={"id": "bert", **his}))["warnings"]
    assert "account 'anna' has this mail address too: with fax.mail_from_counts" in warned
    assert (await api("PATCH", "/accounts/bert", json={"email": ""}))["warnings"] == []
    (warned,) = (await api("PATCH", "/accounts/bert", json={"email": "Anna@Example.nl"}))["warnings"]
    assert "account 'anna' has" in warned
    assert (await api("PATCH", "/accounts/anna", json={"language": "en"}))["warnings"] == [], "it stays as it was"
    await api("PUT", "/accounts/bert/status", json={"status": "closed", "reason": "moved"})
    assert (await api("PATCH", "/accounts/anna", json={"email": "anna@example.nl"}))["warnings"] == []


async def test_a_misspelt_member_is_an_error_and_not_ignored(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    problem = await api("PATCH", "/accounts/anna", 422, json={"plan": "pro", "emial": "a@b.nl"})
    assert "emial" in problem["detail"]
    assert (await api("GET", "/accounts/anna"))["plan"] == "light"


async def test_accounts_are_listed_page_by_page(api: Api) -> None:
    for account in ("a", "b", "c"):
        await api("POST", "/accounts", 201, json={"id": account, "plan": "light"})
    first = await api("GET", "/accounts", params={"limit": 2})
    assert ([one["id"] for one in first["items"]], first["next"]) == (["a", "b"], "b")
    last = await api("GET", "/accounts", params={"limit": 2, "cursor": first["next"]})
    assert ([one["id"] for one in last["items"]], last["next"]) == (["c"], None)
    exact = await api("GET", "/accounts", params={"limit": 3})
    assert (len(exact["items"]), exact["next"]) == (3, None)
    await api("GET", "/accounts", 422, params={"limit": 0})
    await api("GET", "/accounts", 422, params={"limit": 1001})


async def test_r22_a_top_up_is_credited_once_and_calls_are_told(api: Api, shop: Shop) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    made = await api("POST", "/accounts/anna/top-ups", 201, key="k", json={"amount": "25,00"})
    assert made == {
        "transfer": "top-up/k",
        "created": True,
        "amount": "25.00",
        "credit": "25.00",
        "available": "25.00",
    }
    again = await api("POST", "/accounts/anna/top-ups", 200, key="k", json={"amount": "25"})
    assert (again["created"], again["credit"]) == (False, "25.00")
    assert (await api("POST", "/accounts/anna/top-ups", 409, key="k", json={"amount": "10"}))["code"] == "key_reused"
    await api("POST", "/accounts/anna/top-ups", 422, json={"amount": "25"})
    assert "anna" in shop.told


async def test_amounts_that_are_none_are_refused(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    for amount in ("", "x", "1.000", "--5", "+", "1e3", "10.001", "٣", 25, 25.0, None):
        await api("POST", "/accounts/anna/top-ups", 422, key="k", json={"amount": amount})
    assert (await api("GET", "/accounts/anna/journal"))["items"] == []


async def test_a_correction_goes_up_and_down(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    body = {"amount": "+5", "reason": "goodwill"}
    assert (await api("POST", "/accounts/anna/corrections", 201, key="a", json=body))["credit"] == "5.00"
    body = {"amount": "-2.50", "reason": "mistake"}
    assert (await api("POST", "/accounts/anna/corrections", 201, key="b", json=body))["credit"] == "2.50"
    body = {"amount": "-2.51", "reason": "mistake"}
    assert (await api("POST", "/accounts/anna/corrections", 409, key="c", json=body))["code"] == "insufficient"


async def test_the_journal_is_paged_newest_first(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    for key in "abc":
        await api("POST", "/accounts/anna/corrections", 201, key=key, json={"amount": "1", "reason": "r"})
    first = await api("GET", "/accounts/anna/journal", params={"limit": 2})
    assert ([line["number"] for line in first["items"]], first["next"]) == ([3, 2], "2")
    assert first["items"][0]["legs"] == [{"balance": "credit", "unit": "euro", "posted": "1.00", "reserved": "0.00"}]
    last = await api("GET", "/accounts/anna/journal", params={"limit": 2, "cursor": "2"})
    assert ([line["number"] for line in last["items"]], last["next"]) == ([1], None)
    for cursor in ("0", "x", "-1", "²", "9" * 17):
        await api("GET", "/accounts/anna/journal", 422, params={"cursor": cursor})


async def test_r5_a_balance_shows_credit_and_free_seconds(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "pro"})
    balance = await api("GET", "/accounts/anna/balance")
    zero = {"posted": "0.00", "reserved": "0.00", "available": "0.00", "now": "0.00"}
    free = {"month": "2026-11", "granted": False, "posted": 600, "reserved": 0, "left": 600, "now": 600}
    assert (balance["credit"], balance["free_seconds"], balance["calls"]) == (zero, free, [])


async def test_numbers_are_resources_by_any_spelling(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    body = {"number": "020 1234567", "account": "anna", "forward_to": "+4930123456"}
    made = await api("POST", "/numbers", 201, json=body)
    assert made["number"] == NUMBER
    assert made["warnings"]
    assert (await api("GET", "/numbers/0201234567"))["number"] == NUMBER
    changed = await api("PATCH", f"/numbers/{NUMBER}", json={"paid_voicemail": True})
    assert (changed["paid_voicemail"], changed["forward_to"]) == (True, "+4930123456")
    changed = await api("PATCH", f"/numbers/{NUMBER}", json={"paid_voicemail": None})
    assert changed["paid_voicemail"] is None
    assert len((await api("GET", "/accounts/anna/numbers"))["items"]) == 1
    await api("POST", "/numbers", 201, json={"number": "020 1234568", "account": "anna"})
    first = await api("GET", "/accounts/anna/numbers", params={"limit": 1})
    assert [one["number"] for one in first["items"]] == [NUMBER]
    rest = await api("GET", "/accounts/anna/numbers", params={"limit": 1, "cursor": first["next"]})
    assert ([one["number"] for one in rest["items"]], rest["next"]) == (["+31201234568"], None)
    removed = await api("DELETE", "/numbers/+31201234568")
    assert ["in the mailbox 31201234568: remove that" in one for one in removed["warnings"]] == [True]
    assert len((await api("GET", "/numbers", params={"account": "anna"}))["items"]) == 1
    await api("GET", "/numbers", 404, params={"account": "bert"})
    await api("DELETE", f"/numbers/{NUMBER}")
    await api("DELETE", f"/numbers/{NUMBER}", 404)


async def test_r18_a_subscription_payment_is_recorded(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "pro"})
    where = "/accounts/anna/subscription-payments"
    paid = await api("POST", where, json={"until": "2027-01-31"}, key="invoice-7")
    assert paid["paid_until"] == "2027-01-31T23:00:00.000+00:00"
    await api("POST", where, 422, json={"until": "31-01-2027"}, key="invoice-7")
    await api("POST", where, 422, json={"until": "2027-01-31"})


async def test_r18_a_subscription_payment_told_again_changes_nothing(api: Api) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "pro"})
    where = "/accounts/anna/subscription-payments"
    first = await api("POST", where, json={}, key="invoice-7")
    assert await api("POST", where, json={}, key="invoice-7") == first
    assert (await api("POST", where, 409, json={"until": "2027-01-31"}, key="invoice-7"))["code"] == "key_reused"
    assert {**await api("GET", "/accounts/anna"), "warnings": []} == first


async def test_calls_that_are_not_there(api: Api) -> None:
    assert await api("GET", "/calls") == {"items": [], "next": None}
    await api("GET", "/calls/none", 404)
    await api("DELETE", "/calls/none", 404)
    await api("DELETE", "/calls/none", 422, params={"reason": " "})


async def test_cdrs_refuse_what_is_no_time_account_or_cursor(api: Api) -> None:
    assert await api("GET", "/cdrs", params={"since": "2026-11-01", "until": "2026-12-01T00:00:00"}) == {
        "items": [],
        "next": None,
    }
    turned = await api("GET", "/cdrs", 422, params={"since": "2026-12-01", "until": "2026-11-01"})
    assert turned["detail"] == "found since 2026-12-01 after until 2026-11-01, expected the earlier one as since"
    for bad in ({"since": "yesterday"}, {"until": "2026-13-01"}, {"cursor": "x"}, {"cursor": "x.y"}):
        await api("GET", "/cdrs", 422, params=bad)
    await api("GET", "/cdrs", 404, params={"account": "nobody"})


async def test_cdrs_are_followed_page_by_page(api: Api, shop: Shop) -> None:
    await api("POST", "/accounts", 201, json={"id": "anna", "plan": "light"})
    for number in range(7):
        await shop.clock.advance(number % 2)  # some end in the same microsecond
        now_us = shop.clock.now().wall_us
        begun = Transfer(f"s{number}/1", "anna", Kind.RESERVE, now_us, (), f"s{number}", Opened("test", "{}"))
        over = Closed(f'{{"session": "s{number}"}}', now_us, follows=1)
        ended = Transfer(f"s{number}/2", "anna", Kind.RELEASE, now_us, (), f"s{number}", over)
        for transfer in (begun, ended):
            assert (await shop.store.apply(transfer)).outcome is Outcome.CREATED
    pages: list[Any] = []
    cursor = None
    while cursor is not None or not pages:
        page = await api("GET", "/cdrs", params={"limit": 3} | ({} if cursor is None else {"cursor": cursor}))
        pages.append([one["session"] for one in page["items"]])
        cursor = page["next"]
    assert pages == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]]


async def test_prices_are_told(api: Api) -> None:
    tariff = await api("GET", "/tariff")
    assert (tariff["revision"], tariff["top_up_amounts"]) == ("r1", ["10.00", "25.00"])
    asked = {"number": "0612345678", "plan": "light"}
    quote = await api("GET", "/quotes", params={**asked, "seconds": 90})
    assert (quote["total"], quote["charged_s"], quote["lines"][0]["price"]) == ("0.09", 90, "0.06")
    assert quote["explanation"]
    limit = await api("GET", "/limits", params={**asked, "credit": "0.05"})
    assert (limit["seconds"], limit["total"]) == (50, "0.05")
    assert (await api("GET", "/limits", params={**asked, "credit": "0.049999"}))["seconds"] == 49
    for wrong in ("0.0499999", "-0.05", "much"):
        refused = await api("GET", "/limits", 422, params={**asked, "credit": wrong})
        assert "up to 6 decimals" in refused["detail"]
    await api("GET", "/quotes", 422, params={**asked, "seconds": -1})
    await api("GET", "/quotes", 422, params={**asked, "seconds": 60, "at": "soon"})


async def test_the_books_are_audited_line_by_line(api: Api) -> None:
    response = await api.http.get("/ledger/findings")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.text == '{"findings": 0}\n'


async def test_an_audit_that_could_not_be_finished_says_so(api: Api, shop: Shop) -> None:
    async def broken() -> list[str]:
        raise LedgerUnavailable("the disk is full")

    shop.store.self_check = broken  # type: ignore[method-assign]
    assert (await api.http.get("/ledger/findings")).text == '{"error": "the disk is full"}\n'


async def test_whatever_fails_is_a_problem_document(api: Api, shop: Shop) -> None:
    failures = {
        LedgerUnavailable("no answer"): (503, "ledger_unavailable"),
        LedgerCorrupt("it contradicts itself"): (500, "ledger_corrupt"),
        ConfigError([Problem("tariff.yaml", "plans", "x", "y", 3)]): (503, "bad_file"),
        RuntimeError("secret"): (500, "bug"),
    }
    for failure, (status, code) in failures.items():

        async def fail(_account: str, failure: Exception = failure) -> None:
            raise failure

        shop.store.directory.account = fail  # type: ignore[method-assign, assignment]
        problem = await api("GET", "/accounts/anna", status)
        assert problem["code"] == code
        assert "secret" not in problem["detail"]
    await api("GET", "/nowhere", 404)
    await api("POST", "/calls", 405)


async def test_the_interface_describes_itself(api: Api) -> None:
    document = await api("GET", "/openapi.json")
    assert {"/accounts/{account}/top-ups", "/calls/{session}", "/cdrs", "/quotes"} <= document["paths"].keys()


async def test_application_of_the_process_that_decides_calls_has_nothing_whose_cost_has_no_bound(shop: Shop) -> None:
    """R12, R13: a call waits for its decision in the same loop."""
    unbounded = ("/accounts/anna/statements/2026-11", "/ledger/findings", "/ledger/people/anna", "/openapi.json")
    for decides_calls in (False, True):
        app = control_app(shop.service, decides_calls=decides_calls)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            await http.post("/accounts", json={"id": "anna", "plan": "light"})
            for path in unbounded:
                assert (await http.get(path)).status_code == (404 if decides_calls else 200)
            for rows in (100, 101):
                listed = await http.get("/accounts", params={"limit": rows})
                assert listed.status_code == (422 if decides_calls and rows > 100 else 200)
            for size in (PART_BYTES_MAX, PART_BYTES_MAX + 1):
                imported = await http.post("/imports/accounts", content=b"x" * size)
                assert imported.status_code == (422 if decides_calls and size > PART_BYTES_MAX else 200)
