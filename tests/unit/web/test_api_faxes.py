"""Faxes on the public interface: uploaded, answered at once with enough or what is missing, looked up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from charging.fax.desk import FaxDesk, Paper
from charging.ledger.accounts import Language
from charging.pricing.money import format_euro
from charging.service.live import RegistryCalls
from charging.service.service import Service
from charging.service.tokens import Bounds, NewToken, Scope
from charging.web.api_gate import UPLOADS_MAX, UPLOADS_MAX_EACH, UPLOADS_RESERVED
from charging.web.limits import SLOW_S, Places
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.fakes.fax_line import FAX_TABLES, MAX_BYTES, PAGE, Paperless, SlowBodies, TakesAll, fax_desk
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig, make_tariff, plan
from tests.unit.web import door
from tests.unit.web.door import SETTINGS, Door

FAXES = "/accounts/anna/faxes"
TARGET = "+31612345678"


class Held(Paperless):
    """Documents that are not ready before it is told to go on."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.count = 0

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper:
        self.count += 1
        await self.go.wait()
        return await super().prepare(account, session, data)


@dataclass
class FaxDoor:
    """The public interface of an operator who sends faxes."""

    rig: Rig
    line: TakesAll
    desk: FaxDesk
    door: Door
    service: Service

    async def upload(
        self,
        status: int,
        document: Any = b"a document of three pages",
        *,
        who: str = "fax",
        key: str = "k",
        **asked: str,
    ) -> httpx.Response:
        params = {"target": TARGET, "name": "offer.pdf"} | asked
        headers = {"Content-Type": "application/pdf"} | ({"Idempotency-Key": key} if key else {})
        return await self.door(who, "POST", FAXES, status, content=document, params=params, headers=headers)


@pytest.fixture
async def office() -> AsyncIterator[FaxDoor]:
    async with make_rig(tariff=replace(make_tariff(), tables=FAX_TABLES)) as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        line = TakesAll(rig.switch)
        desk = fax_desk(rig.registry, line)
        service = Service(
            store=rig.store,
            tariff=lambda: rig.tariff,
            clock=rig.clock,
            funds_changed=rig.registry.funds_changed,
            live=RegistryCalls(rig.registry),
            fax=desk,
        )
        door = Door(service)
        await door.open()
        yield FaxDoor(rig, line, desk, door, service)


async def test_r14_upload_is_answered_at_once_with_its_pages_and_their_price(office: FaxDoor) -> None:
    sent = (await office.upload(201)).json()
    assert (sent["state"], sent["pages"], sent["page_price"], sent["cost"]) == ("sending", 3, "0.08", "0.24")
    assert (sent["number"], sent["target"], sent["document"]) == (NUMBER, TARGET, "offer.pdf")
    assert [order.target for order in office.line.orders] == [TARGET]
    assert (await office.rig.reserved())["credit"] == 3 * PAGE


async def test_r9_r14_upload_without_enough_credit_says_what_is_missing_whatever_free_minutes_are_left(
    office: FaxDoor,
) -> None:
    short = (await office.upload(402, b"x" * 130)).json()
    assert short["code"] == "insufficient"
    told = {name: short[name] for name in ("pages", "page_price", "needed", "available", "missing")}
    assert told == {"pages": 13, "page_price": "0.08", "needed": "1.04", "available": "1.00", "missing": "0.04"}
    assert "top up 0.04 euro or more" in short["advice"]
    assert (office.line.orders, await office.rig.reserved()) == ([], {})


async def test_r14_same_upload_is_sent_after_the_missing_credit_was_topped_up(office: FaxDoor) -> None:
    await office.upload(402, b"x" * 130)
    await office.rig.credit(40_000, "the rest")
    assert (await office.upload(201, b"x" * 130)).json()["cost"] == "1.04"


async def test_same_key_sends_once_and_another_document_under_it_is_refused(office: FaxDoor) -> None:
    first = (await office.upload(201)).json()
    assert (await office.upload(200)).json()["session"] == first["session"]
    assert (await office.upload(409, b"another")).json()["code"] == "key_reused"
    await office.upload(422, key="")
    assert len(office.line.orders) == 1


async def test_what_stands_against_a_fax_is_a_word_for_programs(office: FaxDoor) -> None:
    assert (await office.upload(422, target="+31900123456")).json()["obstacle"] == "premium_number"
    assert (await office.upload(402, b"x" * 130)).json()["obstacle"] == "", "its code says it"


async def test_fax_is_looked_up_alone_and_in_a_list(office: FaxDoor) -> None:
    sent = (await office.upload(201)).json()
    assert (await office.door("read", "GET", f"{FAXES}/{sent['session']}")).json() == sent
    assert (await office.door("read", "GET", FAXES)).json() == {"items": [sent], "next": None}
    await office.door("read", "GET", f"{FAXES}/none", 404)
    await office.door("read", "GET", "/accounts/nobody/faxes", 404)
    await office.door("read", "GET", FAXES, 422, params={"cursor": "x"})


async def _pages(office: FaxDoor, order: str) -> list[Any]:
    pages: list[Any] = []
    cursor = None
    while cursor is not None or not pages:
        params = {"limit": "2", "order": order} | ({} if cursor is None else {"cursor": cursor})
        page = (await office.door("read", "GET", FAXES, params=params)).json()
        pages.append([one["session"] for one in page["items"]])
        cursor = page["next"]
    return pages


async def test_faxes_that_are_over_are_followed_page_by_page_to_the_last_one_under_way(office: FaxDoor) -> None:
    sent = []
    for key in "abcde":
        sent.append((await office.upload(201, b"a page", key=key)).json()["session"])
        if key != "e":
            await office.rig.clock.advance(120)  # nobody dials it: it is given up
    assert await _pages(office, "asc") == [sent[:2], sent[2:]]
    assert await _pages(office, "desc") == [[sent[4], sent[3], sent[2]], [sent[1], sent[0]]]
    assert (await office.door("read", "GET", FAXES, params={"limit": "4"})).json()["items"][-1]["state"] == "sending"


@pytest.mark.parametrize("who", ["read", "credit", "operate"])
async def test_fax_needs_its_scope(office: FaxDoor, who: str) -> None:
    response = await office.upload(403, who=who)
    assert 'scope="fax"' in response.headers["www-authenticate"]


async def test_document_at_its_limit_passes_and_one_byte_more_does_not(office: FaxDoor) -> None:
    await office.upload(402, b"x" * MAX_BYTES)
    await office.upload(413, b"x" * (MAX_BYTES + 1))


async def test_document_that_grows_beyond_its_limit_is_not_read_to_its_end(office: FaxDoor) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(1000)

    await office.upload(413, endless())
    assert asked == MAX_BYTES // 1000 + 1


async def test_other_bodies_keep_their_limit(office: FaxDoor) -> None:
    headers = {"Content-Type": "application/json"}
    await office.door("operate", "PATCH", "/accounts/anna", 413, content=b" " * 2_001, headers=headers)


async def test_plus_that_came_as_a_space_is_not_taken_for_a_national_number(office: FaxDoor) -> None:
    response = await office.upload(422, target=" 31612345678")
    assert response.json()["obstacle"] == "invalid_number"
    assert "%2B" in response.json()["advice"]
    assert office.line.orders == []


async def test_busy_lines_say_so_and_when_to_ask_again(office: FaxDoor) -> None:
    await office.upload(201, key="one")
    await office.upload(201, key="two")
    response = await office.upload(503, key="three")
    assert response.headers["retry-after"] == "30"
    assert (response.json()["code"], response.json()["advice"]) == (
        "unavailable",
        "nothing was charged; send it again in a minute",
    )


async def test_so_many_documents_are_taken_in_at_a_time_and_no_more(office: FaxDoor) -> None:
    slow = SlowBodies()

    office.desk.at_once = 2 * UPLOADS_MAX + 2
    sent = [asyncio.create_task(office.upload(201, slow.one(), key=f"k{number}")) for number in range(UPLOADS_MAX)]
    await eventually(lambda: slow.begun == UPLOADS_MAX, "all are on their way")
    crowded = await office.upload(503, key="one-more")
    assert (crowded.json()["detail"], crowded.headers["retry-after"]) == (
        "8 documents, or 2 of this account, are being taken in now",
        "5",
    )
    await office.door("read", "GET", FAXES)
    slow.go.set()
    await asyncio.gather(*sent)
    await office.upload(201, b"x", key="one-more")


@pytest.mark.parametrize("document", [b"x", None])
async def test_documents_that_are_being_made_ready_keep_nobody_elses_out(
    office: FaxDoor, document: bytes | None
) -> None:
    """A few accounts' documents that take a minute each kept every other customer's out. ``None``: there is none, and
    it waits for its account's turn all the same."""
    taken = Held()
    office.desk.papers, office.desk.at_once = taken, 2 * UPLOADS_MAX + 2
    held = [asyncio.create_task(office.upload(201, document, key=f"k{number}")) for number in range(UPLOADS_MAX)]
    await eventually(lambda: taken.count == UPLOADS_MAX, "all are being made ready")
    held.append(asyncio.create_task(office.upload(201, b"x", key="one-more")))
    await eventually(lambda: taken.count == UPLOADS_MAX + 1, "so is one more")
    taken.go.set()
    await asyncio.gather(*held)


async def test_a_token_of_one_account_leaves_the_others_their_places(office: FaxDoor) -> None:
    taken = Held()
    office.desk.papers, office.desk.at_once = taken, 2 * UPLOADS_MAX
    bound = await office.door.tokens.add("his", [Scope.FAX], Bounds(account="anna"))
    assert isinstance(bound, NewToken)
    waiting = [
        asyncio.create_task(office.upload(201, b"x", key=f"k{number}", who=bound.secret))
        for number in range(UPLOADS_MAX_EACH)
    ]
    await eventually(lambda: taken.count == UPLOADS_MAX_EACH, "his are taken in")
    crowded = await asyncio.wait_for(office.upload(503, b"x", key="one-more", who=bound.secret), 20)
    assert crowded.headers["retry-after"] == "5"
    waiting.append(asyncio.create_task(office.upload(201, b"x", key="operator")))
    await eventually(lambda: taken.count == UPLOADS_MAX_EACH + 1, "the operator's is taken in")
    taken.go.set()
    await asyncio.gather(*waiting)
    await office.upload(201, b"x", key="one-more", who=bound.secret)


async def test_slow_documents_of_several_accounts_make_room_for_anothers(
    office: FaxDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowBodies()

    async def token(account: str) -> str:
        bound = await office.door.tokens.add(f"of {account}", [Scope.FAX], Bounds(account=account))
        assert isinstance(bound, NewToken)
        return bound.secret

    monkeypatch.setattr(door, "SETTINGS", SETTINGS.model_copy(update={"body_timeout_s": 60.0}))
    patient = Door(office.service)
    office.door, sent = patient, []
    for number in range(UPLOADS_MAX - UPLOADS_RESERVED):
        account = f"slow{number}"
        await office.service.accounts.add(account, "light", Language.EN)
        asked = patient.ask(
            await token(account), "POST", f"/accounts/{account}/faxes", content=slow.one(), params={"target": TARGET}
        )
        sent.append(asyncio.create_task(asked))
    await eventually(lambda: slow.begun == len(sent), "all have their places")
    honest = await token("anna")
    await office.upload(503, who=honest)
    await office.rig.clock.advance(SLOW_S + 1)
    await office.upload(201, who=honest)
    await eventually(lambda: any(one.done() for one in sent), "one made room")
    assert [one.result().status_code for one in sent if one.done()] == [408]
    slow.go.set()
    await asyncio.gather(*sent)


def test_tokens_of_many_accounts_leave_a_place_to_the_operators() -> None:
    places = Places(FakeClock(), UPLOADS_MAX, UPLOADS_MAX_EACH, UPLOADS_RESERVED)
    with ExitStack() as stack:
        for number in range(UPLOADS_MAX - UPLOADS_RESERVED):
            assert places.has_room(f"account {number}")
            stack.enter_context(places.taken(f"account {number}", asyncio.Queue().get))
        assert not places.has_room("one more")
        for _ in range(UPLOADS_RESERVED):
            assert places.has_room("")
            stack.enter_context(places.taken("", asyncio.Queue().get))
        assert not places.has_room("")


async def test_fax_is_cancelled_by_who_may_send_one(office: FaxDoor) -> None:
    where = f"{FAXES}/{(await office.upload(201)).json()['session']}/cancellation"
    await office.door("operate", "POST", where, 403)
    assert (await office.door("fax", "POST", where, 202)).json()["state"] == "sending"
    await office.door("fax", "POST", f"{FAXES}/none/cancellation", 404)


async def test_document_tells_the_upload_and_what_is_missing(office: FaxDoor) -> None:
    document = (await office.door("", "GET", "/openapi.json")).json()
    operation = document["paths"]["/accounts/{account}/faxes"]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/pdf", "image/tiff", "multipart/form-data"}
    (schema,) = operation["responses"]["402"]["content"].values()
    assert list(operation["responses"]["402"]["content"]) == ["application/problem+json"]
    missing = document["components"]["schemas"][schema["schema"]["$ref"].rpartition("/")[2]]
    assert {"pages", "needed", "available", "missing"} <= set(missing["required"])


async def test_price_of_a_fax_is_told_before_it_is_sent_and_is_what_is_charged(office: FaxDoor) -> None:
    for payer in ("account=anna", "plan=pro"):
        path = f"/fax-quotes?{payer}&pages=3&number={TARGET.replace('+', '%2B')}"
        quote = (await office.door("read", "GET", path)).json()
        sent = (await office.upload(201, key=payer.replace("=", "-"))).json()
        assert (quote["pages"], quote["page_price"]) == (sent["pages"], sent["page_price"])
        assert quote["total"] == format_euro(3 * PAGE)
    await office.door("read", "GET", "/fax-quotes?plan=pro&number=0201234567", 422)
    await office.door("read", "GET", "/fax-quotes?plan=golden&number=0612345678", 422)
    await office.door("read", "GET", "/fax-quotes?plan=pro&number=0612345678&pages=0", 422)
    await office.door("read", "GET", "/fax-quotes?number=0612345678", 422)


CHECKS = "/accounts/anna/fax-checks"


async def test_r14_document_can_be_checked_before_it_is_sent(office: FaxDoor) -> None:
    """Pages, price and whether the credit suffices, told with the same figures as sending; nothing is sent or held."""
    asked: dict[str, Any] = {"params": {"target": TARGET}, "headers": {"Content-Type": "application/pdf"}}
    found = (await office.door("fax", "POST", CHECKS, 200, content=b"x" * 120, **asked)).json()
    assert found == {
        "target": TARGET,
        "number": NUMBER,
        "pages": 12,
        "free_pages": 0,
        "page_price": "0.08",
        "cost": "0.96",
        "available": "1.00",
        "missing": "0.00",
        "suffices": True,
    }
    short = (await office.door("fax", "POST", CHECKS, 200, content=b"x" * 130, **asked)).json()
    assert (short["suffices"], short["missing"], short["cost"]) == (False, "0.04", "1.04")
    assert (office.line.orders, await office.rig.reserved()) == ([], {})
    await office.door("operate", "POST", CHECKS, 403, content=b"x", **asked)
    await office.door("fax", "POST", CHECKS, 413, content=b"x" * (MAX_BYTES + 1), **asked)
    await office.door("fax", "POST", "/accounts/ben/fax-checks", 404, content=b"x", **asked)
    await office.door("fax", "POST", CHECKS, 422, content=b"x", params={"target": "nobody"})


async def test_r14_pages_that_are_free_are_no_cost_of_a_checked_document(office: FaxDoor) -> None:
    """A check says what sending would take: as many free pages as there are, and credit for the others."""
    office.rig.tariff = plan(office.rig.tariff, "pro", free_pages=2)
    asked: dict[str, Any] = {"params": {"target": TARGET}, "headers": {"Content-Type": "application/pdf"}}
    for pages, free, cost in ((2, 2, "0.00"), (3, 2, "0.08")):
        found = (await office.door("fax", "POST", CHECKS, 200, content=b"x" * 10 * pages, **asked)).json()
        assert (found["pages"], found["free_pages"], found["cost"]) == (pages, free, cost)
    enough = (await office.door("fax", "POST", CHECKS, 200, content=b"x" * 140, **asked)).json()
    assert (enough["cost"], enough["missing"], enough["suffices"]) == ("0.96", "0.00", True)
    short = (await office.door("fax", "POST", CHECKS, 200, content=b"x" * 150, **asked)).json()
    assert (short["cost"], short["missing"], short["suffices"]) == ("1.04", "0.04", False)


async def form(office: FaxDoor, path: str, status: int, **parts: Any) -> dict[str, Any]:
    """A document in a form, as a browser or `curl -F` sends it."""
    response = await office.door("fax", "POST", path, status, headers={"Idempotency-Key": "k"}, **parts)
    document: dict[str, Any] = response.json()
    return document


async def test_document_may_come_in_a_form(office: FaxDoor) -> None:
    """Its fields beside it or in the query; the file's name is the document's."""
    file = {"document": ("offer.pdf", b"a document of three pages", "application/pdf")}
    found = await form(office, CHECKS, 200, files=file, data={"target": TARGET})
    assert (found["pages"], found["target"]) == (3, TARGET)
    sent = await form(office, FAXES, 201, files=file, data={"target": TARGET, "number": NUMBER})
    assert (sent["document"], sent["pages"], sent["target"]) == ("offer.pdf", 3, TARGET)
    again = await form(office, FAXES, 200, files=file, params={"target": TARGET})
    assert again["session"] == sent["session"], "the same key and document, however it comes"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"data": {"target": TARGET}, "files": {"other": b"x"}}, "expected the document"),
        ({"files": {"document": b"x"}, "data": {"target": TARGET}, "params": {"target": TARGET}}, "and in the query"),
        ({"files": {"document": b"x"}, "data": {"taget": TARGET}}, "taget"),
        ({"files": [("document", b"x"), ("document", b"y")], "data": {"target": TARGET}}, "cannot be read"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, "cannot be read"),
    ],
)
async def test_form_that_is_wrong_is_refused_with_what_is_wrong(
    office: FaxDoor, parts: dict[str, Any], says: str
) -> None:
    headers = {"Idempotency-Key": "k"} | parts.pop("headers", {})
    problem = (await office.door("fax", "POST", FAXES, 422, headers=headers, **parts)).json()
    assert says in problem["detail"], problem
    assert problem["errors"], problem
    assert office.line.orders == []


async def test_form_may_be_a_little_larger_than_its_document(office: FaxDoor) -> None:
    await form(office, CHECKS, 200, files={"document": ("d.pdf", b"x" * MAX_BYTES)}, data={"target": TARGET})
    too_long = {"document": ("d.pdf", b"x" * (MAX_BYTES + 1))}
    problem = await form(office, CHECKS, 422, files=too_long, data={"target": TARGET})
    assert problem["obstacle"] == "too_large"
    await form(office, CHECKS, 413, files={"document": ("d.pdf", b"x" * (MAX_BYTES + 20_000))}, data={"target": TARGET})


@pytest.mark.parametrize(("cost_max", "status"), [("0.24", 201), ("0.239999", 409), ("0", 409)])
async def test_r14_no_more_is_charged_than_was_agreed_to(office: FaxDoor, cost_max: str, status: int) -> None:
    sent = await office.upload(status, cost_max=cost_max)
    if status == 409:
        assert sent.json()["obstacle"] == "price"
        assert (office.line.orders, await office.rig.reserved()) == ([], {})
        assert (await office.upload(201, cost_max="0.24")).json()["cost"] == "0.24", "the key stays good"
    assert len(office.line.orders) == 1
    assert (await office.upload(200, cost_max="0")).json()["pages"] == 3, "it was sent before"


@pytest.mark.parametrize("cost_max", ["", "much", "-1", "1e3"])
async def test_what_was_agreed_to_is_an_amount(office: FaxDoor, cost_max: str) -> None:
    problem = (await office.upload(422, cost_max=cost_max)).json()
    assert problem["errors"][0]["pointer"] == "?cost_max"
