"""Sending faxes from the customers' page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest

from charging.ledger.accounts import Account, Language, Number
from charging.ledger.memory import MemoryStore
from charging.service.live import RegistryCalls
from charging.service.service import Service
from charging.web.customers.faxing import CHECKS_PER_MINUTE, DRAFT_S, size
from charging.web.customers.gate import UPLOADS_MAX, UPLOADS_MAX_EACH
from charging.web.limits import SLOW_S
from tests.fakes.ami import eventually
from tests.fakes.fax_line import FAX_TABLES, MAX_BYTES, SlowBodies, TakesAll, fax_desk
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan
from tests.unit.service.conftest import Shop
from tests.unit.web.test_customers import Place, Visitor, hidden


@dataclass
class Office:
    """The page of an operator who sends faxes."""

    rig: Rig
    line: TakesAll
    place: Place

    async def upload(self, visitor: Visitor, size: int, *, status: int = 303, **form: str) -> httpx.Response:
        csrf = hidden(await visitor.get("/settings"), "csrf")
        fields = {"csrf": csrf, "target": "+31612345678"} | form
        files = {"document": ("offer.pdf", b"x" * size, "application/pdf")}
        answer = await visitor.http.post("/fax", data=fields, files=files)
        assert answer.status_code == status, answer.text
        return answer


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with make_rig(tariff=replace(make_tariff(), tables=FAX_TABLES)) as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        line = TakesAll(rig.switch)
        service = Service(
            store=rig.store,
            tariff=lambda: rig.tariff,
            clock=rig.clock,
            funds_changed=rig.registry.funds_changed,
            live=RegistryCalls(rig.registry),
            fax=fax_desk(rig.registry, line),
        )
        assert isinstance(rig.store, MemoryStore)
        shop = Shop(rig.clock, rig.store, rig.tariff)
        yield Office(rig, line, Place(shop, service, fax_bytes_max=MAX_BYTES))


async def test_r14_fax_page_tells_pages_price_and_what_is_missing_and_sends_nothing(office: Office) -> None:
    visitor = await office.place.visitor()
    await office.upload(visitor, 120)
    ready = await visitor.get("/fax/ready")
    assert "€\u00a00,96" in ready
    assert hidden(ready, "draft")
    await office.upload(visitor, 130)
    short = await visitor.get("/fax/ready")
    assert "er ontbreekt €\u00a00,04" in short
    assert 'name="draft"' not in short
    assert (office.line.orders, await office.rig.reserved()) == ([], {})


async def test_r14_fax_page_lets_a_fax_go_that_free_pages_pay(office: Office) -> None:
    office.rig.tariff = plan(office.rig.tariff, "pro", free_pages=2)
    visitor = await office.place.visitor()
    await office.upload(visitor, 140)
    ready = await visitor.get("/fax/ready")
    assert "<dt>Daarvan gratis</dt><dd>2</dd>" in ready
    assert "€\u00a00,96" in ready
    sent = await visitor.send("/fax/ready", {"draft": hidden(ready, "draft")})
    assert sent.headers["location"].startswith("/fax/sent/")
    assert len(office.line.orders) == 1


async def test_fax_page_sends_a_document_once_and_only_its_own_logins(office: Office) -> None:
    visitor, other = await office.place.visitor(), await office.place.visitor()
    await office.upload(visitor, 30)
    draft = hidden(await visitor.get("/fax/ready"), "draft")
    assert (await other.send("/fax/ready", {"draft": draft})).headers["location"] == "/fax", "another login's"
    assert (await visitor.send("/fax/ready", {"draft": draft}, **{"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert office.line.orders == []
    first = await visitor.send("/fax/ready", {"draft": draft})
    again = await visitor.send("/fax/ready", {"draft": draft})
    assert first.headers["location"] == again.headers["location"]
    assert first.headers["location"].startswith("/fax/sent/")
    assert [order.target for order in office.line.orders] == ["+31612345678"]
    assert "wordt verstuurd" in await visitor.get(first.headers["location"])


async def test_document_that_waits_is_forgotten_after_a_while(office: Office) -> None:
    visitor = await office.place.visitor()
    await office.upload(visitor, 30)
    draft = hidden(await visitor.get("/fax/ready"), "draft")
    await office.rig.clock.advance(DRAFT_S + 1)
    assert (await visitor.send("/fax/ready", {"draft": draft})).headers["location"] == "/fax"
    assert office.line.orders == []


async def test_customer_with_many_logins_drives_out_no_document_of_another(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.web.customers.faxing.DRAFTS_BYTES_MAX", 100)
    await office.rig.store.directory.put_account(Account("ben", "pro"))
    await office.rig.store.directory.put_number(Number("+31201234568", "ben"))
    ben = await office.place.visitor("ben")
    await office.upload(ben, 30)
    logins = [await office.place.visitor() for _ in range(4)]
    for login in logins:
        await office.upload(login, 30)
    kept = [(await login.http.get("/fax/ready")).status_code for login in (ben, *logins)]
    assert kept == [200, 303, 303, 200, 200], "two of anna's fit beside ben's"


async def test_document_that_was_just_handed_in_stays_though_it_is_the_largest(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.web.customers.faxing.DRAFTS_BYTES_MAX", 100)
    await office.rig.store.directory.put_account(Account("ben", "pro"))
    await office.rig.store.directory.put_number(Number("+31201234568", "ben"))
    anna, ben = await office.place.visitor(), await office.place.visitor("ben")
    await office.upload(anna, 49)
    await office.upload(ben, 52)
    assert [(await one.http.get("/fax/ready")).status_code for one in (anna, ben)] == [303, 200]


async def test_fax_page_says_what_is_wrong_in_the_customers_words(office: Office) -> None:
    visitor = await office.place.visitor()
    assert "Het faxnummer bestaat niet" in (await office.upload(visitor, 9, status=422, target="nobody")).text
    assert "Kies een document" in (await office.upload(visitor, 0, status=422)).text
    assert "te groot" in (await office.upload(visitor, MAX_BYTES + 1, status=422)).text
    assert "te groot" in (await office.upload(visitor, MAX_BYTES + 50_000, status=413)).text
    await office.upload(visitor, 9, status=403, csrf="another")
    assert office.line.orders == []


def _sending(visitor: Visitor, slow: SlowBodies) -> asyncio.Task[httpx.Response]:
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    return asyncio.create_task(visitor.http.post("/fax", content=slow.one(), headers=form))


async def test_a_customer_who_sends_slowly_leaves_the_others_their_places(office: Office) -> None:
    visitor, slow = await office.place.visitor(), SlowBodies(b"--b\r\n")
    sent = [_sending(visitor, slow) for _ in range(UPLOADS_MAX)]
    turned_away = UPLOADS_MAX - UPLOADS_MAX_EACH
    await eventually(lambda: sum(one.done() for one in sent) == turned_away, "the others are turned away")
    assert {one.result().status_code for one in sent if one.done()} == {503}
    await office.place.asks.service.accounts.add("ben", "light", Language.EN)
    await office.upload(await office.place.visitor("ben"), 9, status=422)
    slow.go.set()
    await asyncio.gather(*sent)
    await office.upload(visitor, 9)


async def test_slow_documents_of_several_customers_make_room_for_anothers(office: Office) -> None:
    slow, sent = SlowBodies(b"--b\r\n"), []
    for number in range(UPLOADS_MAX):
        await office.place.asks.service.accounts.add(f"slow{number}", "light", Language.EN)
        sent.append(_sending(await office.place.visitor(f"slow{number}"), slow))
    await eventually(lambda: slow.begun == UPLOADS_MAX, "all have their places")
    honest = await office.place.visitor()
    await office.upload(honest, 9, status=503)
    await office.rig.clock.advance(SLOW_S + 1)
    await office.upload(honest, 9)
    await eventually(lambda: any(one.done() for one in sent), "one made room")
    assert [one.result().status_code for one in sent if one.done()] == [408]
    slow.go.set()
    await asyncio.gather(*sent)


async def test_one_account_has_so_many_documents_read_a_minute_whatever_its_logins(office: Office) -> None:
    visitor, other = await office.place.visitor(), await office.place.visitor()
    for number in range(CHECKS_PER_MINUTE):
        await office.upload((visitor, other)[number % 2], 9)
    assert "te veel verzoeken" in (await office.upload(other, 9, status=429)).text
    await office.rig.clock.advance(60 // CHECKS_PER_MINUTE)
    await office.upload(other, 9)


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "punycode", "nonsense"])
async def test_a_form_in_another_charset_is_refused_for_it_could_say_what_no_text_can(
    office: Office, charset: str
) -> None:
    visitor = await office.place.visitor()
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    half = {"utf-7": b"+2AA-"}.get(charset, b"\\ud800")
    body = b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n' + half + b"\r\n--b--\r\n"
    assert (await visitor.http.post("/fax", content=body, headers=headers)).status_code == 400


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"'])
async def test_a_form_that_says_its_charset_is_read(office: Office, charset: str) -> None:
    visitor = await office.place.visitor()
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = await visitor.http.post("/fax", content=b"--b--\r\n", headers=headers)
    assert answer.status_code == 403, "what is missing is the secret of its page"


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(1024, "1 kB"), (999_999, "999 kB"), (1_000_000, "1 MB"), (1_500_000, "1500 kB"), (12_345_678, "12 MB")],
)
def test_the_largest_document_is_told_in_a_unit_in_which_it_is_not_nothing(octets: int, shown: str) -> None:
    assert size(octets) == shown


async def test_r14_fax_page_charges_no_more_than_the_button_said(office: Office) -> None:
    """Two people of a company with one free page; both buttons say that it costs nothing."""
    office.rig.tariff = plan(office.rig.tariff, "pro", free_pages=1)
    visitors = [await office.place.visitor() for _ in range(2)]
    for visitor in visitors:
        await office.upload(visitor, 10)
    first, second = [hidden(await visitor.get("/fax/ready"), "draft") for visitor in visitors]
    assert (await visitors[0].send("/fax/ready", {"draft": first})).status_code == 303
    dearer = await visitors[1].send("/fax/ready", {"draft": second})
    assert dearer.status_code == 409
    assert "De prijs is intussen veranderd" in dearer.text
    assert "€\u00a00,08" in dearer.text
    assert len(office.line.orders) == 1
    agreed = await visitors[1].send("/fax/ready", {"draft": hidden(dearer.text, "draft")})
    assert agreed.headers["location"].startswith("/fax/sent/")
    assert len(office.line.orders) == 2
