"""The customers' page: who gets in and by what, that he sees and does nothing beyond his account, the widget's token
and the list of its sites. No browser."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from typing import Any

import httpx
import pytest

from charging.clock import iso
from charging.fax.listed import CDRS_MAX
from charging.ledger.accounts import Language
from charging.ledger.model import CdrRow, Closed, Kind, Opened, Outcome, Transfer
from charging.service.gifts import Given, PackGiven, PackWish
from charging.service.page_tokens import COLLECTION, NewPageToken, PagePlace, PageTokens, Use
from charging.service.refusal import Code
from charging.service.service import Service
from charging.tariff.plans import Pack
from charging.web.asks import Asks
from charging.web.browser import HEADERS
from charging.web.customers import gate
from charging.web.customers.app import PRIVATE, customers_app
from charging.web.customers.gate import BAD_LINKS_PER_MINUTE, COOKIE, REQUESTS_PER_MINUTE
from charging.web.customers.own import Own, Watch
from charging.web.customers.pages import PRINTS_PER_MINUTE, STATEMENT_POLICY, STATEMENTS_PER_MINUTE
from charging.web.customers.printing import Printing
from charging.web.customers.shown import cut_to_cents, euro, preferred
from charging.web.customers.words import WORDS
from charging.web.limits import EDITS_PER_MINUTE, EDITS_SAVED_MINUTES
from charging.web.settings import CustomerPage
from tests.fakes.ami import eventually
from tests.fakes.rig import EURO
from tests.unit.call.test_table import running
from tests.unit.service.conftest import NUMBER, Shop, refused, shop

__all__ = ["shop"]

SITE = "https://www.voice.example"
BENS = "+31201234568"
HIDDEN = "+31687654321"
PLACE = PagePlace("https://my.voice.example", link_s=120, widget_s=3600)
PAGES = ("/", "/calls", "/settings", "/statements/2026-11", "/statements/2026-11?format=csv")


class Visitor:
    """A browser, as far as the page can tell."""

    def __init__(self, app: Any, address: str = "192.0.2.7") -> None:
        transport = httpx.ASGITransport(app, client=(address, 1))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://my.voice.example")

    async def get(self, place: str, status: int = 200, **headers: str) -> str:
        response = await self.http.get(place, headers=headers)
        assert response.status_code == status, response.text
        return response.text

    async def come_in(self, url: str) -> httpx.Response:
        """By the website's link, and the button behind it."""
        page = await self.get(url.removeprefix(PLACE.url))
        form = {name: hidden(page, name) for name in ("token", "link")}
        return await self.http.post("/enter", data=form)

    async def send(self, place: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """A form of the page's own."""
        csrf = hidden(await self.get("/settings"), "csrf")
        return await self.http.post(place, data={"csrf": csrf} | form, headers=headers)


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return unescape(found[1])


class Place:
    def __init__(self, shop: Shop, service: Service | None = None, fax_bytes_max: int | None = None) -> None:
        self.shop = shop
        service = service or shop.service
        self.tokens = service.page_tokens = PageTokens(shop.store, shop.clock, PLACE)
        settings = CustomerPage(widget_origins=(SITE,), sign_in_url=f"{SITE}/login")
        self.asks = Asks(service, private=PRIVATE)
        self.app = customers_app(self.asks, settings, fax_bytes_max=fax_bytes_max)

    async def token(self, use: Use = Use.PAGE, account: str = "anna") -> NewPageToken:
        made = await self.tokens.make(account, use)
        assert isinstance(made, NewPageToken)
        return made

    async def visitor(self, account: str = "anna") -> Visitor:
        """Who is logged in."""
        visitor = Visitor(self.app)
        assert (await visitor.come_in((await self.token(account=account)).url)).status_code == 303
        return visitor

    async def widget(self, token: str, origin: str = SITE, address: str = "192.0.2.8") -> httpx.Response:
        http = Visitor(self.app, address).http
        return await http.get("/widget/balance", headers={"Authorization": f"Bearer {token}", "Origin": origin})


@pytest.fixture
async def place(shop: Shop) -> Place:
    await shop.anna()
    await shop.service.accounts.add("ben", "light", Language.EN)
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": "+31612345678"})
    await shop.service.numbers.add("ben", BENS, {"forward_to": "+31612345679"})
    await shop.service.money.top_up("anna", 25 * EURO, "order-1")
    return Place(shop)


async def gifts(place: Place) -> None:
    """Promotional credit and a pack, for Anna."""
    place.shop.tariff = replace(place.shop.tariff, packs={"addon": Pack("addon", "Add-on <60>", 3600, 30)})
    given = place.shop.service.gifts
    assert isinstance(await given.give_credit("anna", 5_019_999, date(2026, 12, 31), "welcome", "g1"), Given)
    pack = PackWish("addon", date(2026, 12, 9))
    assert isinstance(await given.give_pack("anna", pack, "bought", "g2"), PackGiven)


# --- coming in -------------------------------------------------------------------------------------------------------


async def test_nobody_sees_a_page_without_the_websites_link(place: Place) -> None:
    stranger = Visitor(place.app)
    for page in PAGES:
        text = await stranger.get(page, 401)
        assert f"{SITE}/login" in text
        assert "25" not in text
    assert (await stranger.http.get("/live")).status_code == 204, "by which a browser asks no more"
    insider = await place.visitor()
    for page in PAGES:
        await insider.get(page)


async def test_a_sandbox_says_so_on_every_page_and_the_real_one_on_none(place: Place) -> None:
    for sandbox in (False, True):
        settings = CustomerPage(sign_in_url=f"{SITE}/login")
        place.app = customers_app(Asks(place.shop.service, private=PRIVATE), settings, sandbox=sandbox)
        insider, stranger = await place.visitor(), Visitor(place.app)
        pages = [page for page in PAGES if not page.startswith("/statements/")]  # which are documents, none of our look
        texts = [await insider.get(page) for page in pages] + [await stranger.get(page, 401) for page in pages]
        assert {'class="sandbox"' in text for text in texts} == {sandbox}
        english = await stranger.get("/", 401, **{"accept-language": "en"})
        assert ("no money is real" in english) is sandbox


async def test_a_link_signs_in_once(place: Place) -> None:
    made = await place.token()
    first, second = Visitor(place.app), Visitor(place.app)
    form = {}
    for visitor in (first, second):  # both see the button before either presses it
        page = await visitor.get(made.url.removeprefix(PLACE.url))
        form[visitor] = {name: hidden(page, name) for name in ("token", "link")}
    answers = await asyncio.gather(*(one.http.post("/enter", data=form[one]) for one in (first, second)))
    assert sorted(answer.status_code for answer in answers) == [303, 403]
    assert (await first.http.post("/enter", data=form[first])).status_code == 403
    assert await place.shop.store.documents.list_documents(COLLECTION) == []


async def test_looking_at_a_link_uses_nothing_up_and_signs_nobody_in(place: Place) -> None:
    made = await place.token()
    scanner = Visitor(place.app)
    assert "anna" in await scanner.get(made.url.removeprefix(PLACE.url)), "whose page it is can be seen"
    await scanner.get("/", 401)
    assert (await Visitor(place.app).come_in(made.url)).status_code == 303


@pytest.mark.parametrize(("later_s", "status"), [(119, 200), (120, 403)])
async def test_a_link_is_good_for_as_long_as_the_settings_say(place: Place, later_s: int, status: int) -> None:
    made = await place.token()
    await place.shop.clock.advance(later_s)
    await Visitor(place.app).get(made.url.removeprefix(PLACE.url), status)


async def test_a_link_of_another_browser_signs_nobody_in(place: Place) -> None:
    """An attacker's own link, sent by a form of his page: the victim would pay for the attacker's account."""
    made = await place.token()
    attacker, victim = Visitor(place.app), Visitor(place.app)
    page = await attacker.get(made.url.removeprefix(PLACE.url))
    form = {name: hidden(page, name) for name in ("token", "link")}
    assert (await victim.http.post("/enter", data=form)).status_code == 403
    cross = await attacker.http.post("/enter", data=form, headers={"sec-fetch-site": "cross-site"})
    assert cross.status_code == 403


async def test_the_widgets_token_signs_nobody_in_and_a_link_shows_no_widget(place: Place) -> None:
    widget, page = await place.token(Use.WIDGET), await place.token()
    await Visitor(place.app).get(f"/enter?token={widget.secret}", 403)
    assert (await place.widget(page.secret)).status_code == 401


async def test_bad_links_are_limited_by_address(place: Place) -> None:
    guesser = Visitor(place.app)
    for _ in range(BAD_LINKS_PER_MINUTE):
        await guesser.get("/enter?token=guess", 403)
    await guesser.get("/enter?token=guess", 429)
    assert (await Visitor(place.app, "192.0.2.99").come_in((await place.token()).url)).status_code == 303
    await guesser.get("/enter?token=guess", 429)
    assert (await Visitor(place.app).come_in((await place.token()).url)).status_code == 303, (
        "a neighbour has a good one"
    )
    await guesser.get("/enter?token=guess", 429)


async def test_the_cookie_is_for_this_host_and_no_script(place: Place) -> None:
    made = (await Visitor(place.app).come_in((await place.token()).url)).headers.get_list("set-cookie")
    (session,) = [one for one in made if one.startswith(f"{COOKIE}=")]
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} == set(session.split("; ")[1:])


async def test_a_login_ends_at_the_log_out_and_when_nobody_clicks(place: Place) -> None:
    visitor = await place.visitor()
    assert (await visitor.send("/leave", {})).status_code == 200
    await visitor.get("/", 401)
    visitor = await place.visitor()
    await place.shop.clock.advance(1_799)
    await visitor.get("/")
    await place.shop.clock.advance(1_800)
    await visitor.get("/", 401)


async def test_links_that_are_over_are_removed(place: Place) -> None:
    for _ in range(3):
        await place.token()
    await place.shop.clock.advance(121)
    await place.token()
    assert len(await place.shop.store.documents.list_documents(COLLECTION)) == 1


async def test_there_are_no_links_to_accounts_that_there_are_not(place: Place) -> None:
    refused(await place.tokens.make("nobody", Use.PAGE), Code.NOT_FOUND)


async def test_where_no_page_is_served_a_token_is_refused_and_no_later_either(place: Place) -> None:
    """By a rule, not as what may be asked again (503)."""
    nowhere = PageTokens(place.shop.store, place.shop.clock, None)
    no = refused(await nowhere.make("anna", Use.PAGE), Code.NOT_ALLOWED)
    assert "`customer_page`" in no.advice


# --- what is seen and done -------------------------------------------------------------------------------------------


async def test_r5_the_balance_is_shown_in_both_languages(place: Place) -> None:
    visitor = await place.visitor()
    assert "€\u00a025,00" in await visitor.get("/")
    await visitor.send("/language", {"language": "en"})
    page = await visitor.get("/")
    assert "€\u00a025.00" in page
    assert 'lang="en"' in page


async def test_r5_what_was_given_is_shown_beside_what_was_bought(place: Place) -> None:
    await gifts(place)
    visitor = await place.visitor()
    page = await visitor.get("/")
    assert "€\u00a05,01</span> actietegoed, te gebruiken t/m 31 december 2026" in page
    assert "60</span> minuten over van Add-on &lt;60&gt;, te gebruiken t/m 9 december 2026" in page
    await visitor.send("/language", {"language": "en"})
    page = await visitor.get("/")
    assert "€\u00a05.01</span> promotional credit, usable through 31 December 2026" in page
    assert "60</span> minutes left of Add-on &lt;60&gt;, usable through 9 December 2026" in page


async def test_no_answer_leads_to_the_host_that_a_request_names(place: Place) -> None:
    visitor = await place.visitor()
    for path in ("/calls/", "/look", "/enter/"):
        response = await visitor.http.get(path, headers={"Host": "evil.example"})
        assert (response.status_code, response.headers.get("location")) == (404, None), path


async def test_every_answer_is_sealed(place: Place) -> None:
    visitor = await place.visitor()
    for page in (*PAGES, "/no-such-page", "/enter?token=x", "/static/page.js"):
        headers = (await visitor.http.get(page)).headers
        own = {"Content-Security-Policy": STATEMENT_POLICY} if page.endswith("2026-11") else {}
        assert {name: headers[name] for name in HEADERS} == HEADERS | own, page


async def test_a_customer_sets_where_his_number_forwards_to_and_it_is_noted(place: Place) -> None:
    visitor = await place.visitor()
    assert (await visitor.send(f"/numbers/{NUMBER}", {"forward_to": "06 1111 2222"})).status_code == 303
    number = await place.shop.service.numbers.get(NUMBER)
    assert number.forward_to == "+31611112222"  # type: ignore[union-attr]
    page = await visitor.get("/settings")
    assert f"{NUMBER} wordt doorgeschakeld naar +31611112222." in page
    notes = [json.loads(one.body) for one in await place.shop.store.documents.list_documents("changes")]
    assert [one["actor"] for one in notes if one["act"] == "number.edited"] == ["customer:anna"]


async def test_a_customer_changes_where_he_is_forwarded_to_so_often_in_a_minute(place: Place) -> None:
    """Each change leaves a note that is kept for good, however many logins he has."""
    logins = [await place.visitor() for _ in range(8)]
    at_once = EDITS_PER_MINUTE * EDITS_SAVED_MINUTES
    forms = [{"forward_to": f"+31612345{number:03}"} for number in range(at_once + 1)]
    codes = [(await logins[turn % 8].send(f"/numbers/{NUMBER}", form)).status_code for turn, form in enumerate(forms)]
    assert codes == [303] * at_once + [429]
    await place.shop.clock.advance(60 / EDITS_PER_MINUTE)
    assert (await logins[0].send(f"/numbers/{NUMBER}", forms[-1])).status_code == 303


async def test_a_bad_forward_number_is_said_in_the_customers_words(place: Place) -> None:
    visitor = await place.visitor()
    answer = await visitor.send(f"/numbers/{NUMBER}", {"forward_to": "<b>nobody</b>"})
    assert answer.status_code == 422
    assert "Dit is geen telefoonnummer: &lt;b&gt;nobody&lt;/b&gt;" in answer.text
    own = await visitor.send(f"/numbers/{NUMBER}", {"forward_to": BENS})
    assert "kunnen we niet doorschakelen" in own.text


async def test_a_customer_sees_and_sets_nothing_of_another(place: Place) -> None:
    visitor = await place.visitor()
    before = await place.shop.service.numbers.get(BENS)
    for number in (BENS, "020-1234568", "0031201234568", "nonsense", "..", f"{NUMBER}/../{BENS}"):
        answer = await visitor.send(f"/numbers/{number}", {"forward_to": "+31611112222"})
        assert answer.status_code in (404, 405), number
    assert await place.shop.service.numbers.get(BENS) == before
    for page in PAGES:
        text = await visitor.get(page)
        assert "ben" not in re.findall(r"\b\w+\b", text.lower().replace("ben je", "")), page
        assert BENS not in text


async def test_a_form_that_is_not_of_this_login_changes_nothing(place: Place) -> None:
    visitor, other = await place.visitor(), await place.visitor("ben")
    stolen = hidden(await other.get("/settings"), "csrf")
    for form in ({}, {"csrf": ""}, {"csrf": "guess"}, {"csrf": stolen}):
        answer = await visitor.http.post(f"/numbers/{NUMBER}", data=form | {"forward_to": ""})
        assert answer.status_code == 403, form
    answer = await visitor.send(f"/numbers/{NUMBER}", {"forward_to": ""}, **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    number = await place.shop.service.numbers.get(NUMBER)
    assert number.forward_to == "+31612345678"  # type: ignore[union-attr]


async def test_a_caller_who_withholds_his_number_stays_withheld(place: Place) -> None:
    """Though the operator keeps such numbers for his own eyes."""
    cdr = {
        "service": "forward",
        "session": "s1",
        "account": "anna",
        "number": NUMBER,
        "caller": HIDDEN,
        "withheld": True,
        "target": "+31612345678",
        "set_up": "2026-11-01T10:00:00.000Z",
        "ended": "2026-11-01T10:01:00.000Z",
        "billed_s": 51,
        "charged_s": 60,
        "cost": "0.10",
    }
    now_us, open = place.shop.clock.now().wall_us, replace(running(), account="anna", caller=HIDDEN, withheld=True)
    for session, kind, change in (
        (open.id, Kind.RESERVE, Opened("test", open.to_json())),
        ("s1", Kind.RELEASE, Closed(json.dumps(cdr), now_us, opens=True)),
    ):
        told = Transfer(id=session, account="anna", kind=kind, at_us=1, session=session, change=change, reason="call")
        assert (await place.shop.store.apply(told)).outcome is Outcome.CREATED
    visitor = await place.visitor()
    for page in ("/", "/calls"):
        text = await visitor.get(page)
        assert "+31612345678" in text
        assert "anoniem" in text
        assert HIDDEN not in text
    assert "1:00" in await visitor.get("/calls"), "as the statement has it: after increments"


async def test_the_newest_calls_are_shown_however_many_there_were_and_a_few_pages_are_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_us, store = place.shop.clock.now().wall_us, place.shop.store
    many = 6_000
    times_us = [now_us - number * 100_000_000 for number in range(many, -1, -1)]  # one each 100 seconds, 7 days
    calls = {"service": "forward", "account": "anna", "target": NUMBER, "billed_s": 51, "charged_s": 60, "cost": "0.10"}
    rows = [
        CdrRow(f"s{at_us}", "anna", at_us, json.dumps(calls | {"session": f"s{at_us}", "ended": iso(at_us)}))
        for at_us in times_us
    ]
    await store.restore_cdrs(rows)
    read, cdrs = list[int](), store.cdrs

    async def counted(**asked: Any) -> Any:
        read.append(asked["limit"])
        return await cdrs(**asked)

    monkeypatch.setattr(store, "cdrs", counted)
    own = Own(place.asks, Watch(place.asks), "anna")
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    for most in (5, 150):
        found = await own.calls(now, 31, most)
        assert [one["session"] for one in found] == [f"s{at_us}" for at_us in times_us[::-1][:most]]
    looks = len(read)
    assert sum(read) < 3_000
    await own.calls(now, 31, 150)
    assert len(read) == looks, "they are shared for a second"
    assert len(await own.calls(now, 400, 1_700)) == 1_700, "none is left out between two pages"


async def test_faxes_are_looked_for_among_so_many_calls(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers can call any number of times in vain, and each call leaves a CDR."""
    now_us, store = place.shop.clock.now().wall_us, place.shop.store
    calls = {"service": "forward", "account": "anna", "billed_s": 0, "charged_s": 0, "cost": "0.00"}
    await store.restore_cdrs(
        [
            CdrRow(f"s{at_us}", "anna", at_us, json.dumps(calls | {"session": f"s{at_us}", "ended": iso(at_us)}))
            for at_us in range(now_us - 6_000, now_us)
        ]
    )
    read, cdrs = list[int](), store.cdrs

    async def counted(**asked: Any) -> Any:
        read.append(len(found := await cdrs(**asked)))
        return found

    monkeypatch.setattr(store, "cdrs", counted)
    own = Own(place.asks, Watch(place.asks), "anna")
    assert await own.faxes(10) == []
    assert sum(read) <= CDRS_MAX


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_pages_of_an_account_are_made_one_after_the_other_and_anothers_beside_them(
    place: Place, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A hundred logins of one customer, each within its pace, kept every other customer's page waiting for seconds."""
    begun, go, balance = list[str](), asyncio.Event(), Own.balance

    async def held(own: Own) -> Any:
        begun.append(own.account)
        await go.wait()
        return await balance(own)

    monkeypatch.setattr(Own, "balance", held)
    visitors = [await place.visitor() for _ in range(3)] + [await place.visitor("ben")]
    asked = [asyncio.create_task(one.http.request(method, "/")) for one in visitors]
    await eventually(lambda: "ben" in begun, "his is made")
    assert sorted(begun) == ["anna", "ben"]
    go.set()
    assert [(await one).status_code for one in asked] == [200] * 4
    assert sorted(begun) == ["anna"] * 3 + ["ben"]


async def test_requests_of_one_login_are_limited(place: Place) -> None:
    visitor = await place.visitor()
    for _ in range(REQUESTS_PER_MINUTE):
        await visitor.get("/no-such-statement", 404)
        await visitor.http.post("/leave")
    answer = await visitor.http.get("/")
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)


async def test_who_logs_in_again_and_again_ends_logins_of_his_own_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His website makes a link as often as he presses its button."""
    monkeypatch.setattr(gate, "SESSIONS_MAX", gate.SESSIONS_MAX_EACH + 2)
    for account in ("anna", "ben"):
        await shop.service.accounts.add(account, "light", Language.NL)
    place = Place(shop)
    ben, anna = await place.visitor("ben"), await place.visitor()
    mine = []
    for _ in range(gate.SESSIONS_MAX_EACH + 1):
        await shop.clock.advance(1)
        mine.append(await place.visitor())
        await anna.get("/")
    await mine[0].get("/", 401)
    await mine[1].get("/", 401)
    await mine[2].get("/")
    await ben.get("/")


async def test_nothing_of_what_is_behind_the_page_is_told(place: Place) -> None:
    visitor = await place.visitor()
    text = await visitor.get("/statements/2026-13", 404)
    assert "journal" not in text
    assert "charging" not in re.sub(r"<head>.*</head>", "", text, flags=re.S).replace("/look/", "")
    assert "expected" not in text


# --- the widget ------------------------------------------------------------------------------------------------------


async def test_r5_the_widget_is_told_the_balance_and_nothing_else(place: Place) -> None:
    made = await place.token(Use.WIDGET)
    answer = await place.widget(made.secret)
    assert answer.json() == {"credit": "25.00", "free_minutes": 0, "calls": 0, "again_s": 15}
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_r5_the_widget_adds_what_was_given(place: Place) -> None:
    await gifts(place)
    told = (await place.widget((await place.token(Use.WIDGET)).secret)).json()
    assert (told["credit"], told["free_minutes"]) == ("30.01", 60)


async def test_a_site_that_is_not_in_the_list_cannot_read_the_answer(place: Place) -> None:
    made = await place.token(Use.WIDGET)
    assert "access-control-allow-origin" not in (await place.widget(made.secret, "https://evil.example")).headers
    http = Visitor(place.app).http
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for origin, status in ((SITE, 200), ("https://evil.example", 400), ("null", 400)):
        assert (await http.options("/widget/balance", headers=asks | {"Origin": origin})).status_code == status


@pytest.mark.parametrize(("later_s", "status"), [(3_599, 200), (3_600, 401)])
async def test_a_widgets_token_is_good_for_as_long_as_the_settings_say(place: Place, later_s: int, status: int) -> None:
    made = await place.token(Use.WIDGET)
    await place.shop.clock.advance(later_s)
    assert (await place.widget(made.secret)).status_code == status


async def test_the_widget_is_limited_by_account_and_strangers_by_address(place: Place) -> None:
    made = await place.token(Use.WIDGET)
    codes = [(await place.widget(made.secret)).status_code for _ in range(61)]
    assert codes == [200] * 60 + [429]
    codes = [(await place.widget("guess", address="192.0.2.9")).status_code for _ in range(61)]
    assert codes == [401] * 60 + [429]
    good = await place.token(Use.WIDGET, account="ben")
    assert (await place.widget(good.secret, address="192.0.2.9")).status_code == 200, "a neighbour has a good one"
    assert (await place.widget("guess", address="192.0.2.9")).status_code == 429


async def test_one_customer_has_so_many_statements_made_a_minute_whatever_his_logins(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of calls each takes seconds, in which nobody else's page and no payment is looked at. Here none is
    printed: each takes a process of least priority, which a busy machine does not let finish."""

    async def printed(_self: Printing, *_of: object) -> bytes:
        return b"%PDF-1.7"

    monkeypatch.setattr(Printing, "printed", printed)
    logins, ben = [await place.visitor() for _ in range(2)], await place.visitor("ben")
    month = place.shop.service.tariff().month_of(place.shop.clock.now().wall_us)
    for form, most in (("pdf", PRINTS_PER_MINUTE), ("csv", STATEMENTS_PER_MINUTE)):
        asked = f"/statements/{month}?format={form}"
        codes = [(await logins[turn % 2].http.get(asked)).status_code for turn in range(most + 1)]
        assert codes == [200] * most + [429], form
        assert (await ben.http.get(asked)).status_code == 200, form


async def test_the_widgets_script_may_be_loaded_by_other_sites(place: Place) -> None:
    answer = await Visitor(place.app).http.get("/widget.js")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "attachShadow" in answer.text


# --- words -----------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_words() -> None:
    dutch, english = (WORDS[language] for language in (Language.NL, Language.EN))
    assert dutch.keys() == english.keys()
    braces = re.compile(r"\{\w+\}")
    assert [key for key in dutch if braces.findall(dutch[key]) != braces.findall(english[key])] == []


@pytest.mark.parametrize(
    ("amount", "dutch", "english"),
    [
        ("12.50", "€\u00a012,50", "€\u00a012.50"),
        ("0.151666", "€\u00a00,151666", "€\u00a00.151666"),
        ("1234.567", "€\u00a01.234,5670", "€\u00a01,234.5670"),
        ("-3.00", "−€\u00a03,00", "−€\u00a03.00"),
        (None, "–", "–"),
    ],
)
def test_amounts_are_written_exactly_and_as_people_do(amount: str | None, dutch: str, english: str) -> None:
    assert (euro(amount, Language.NL), euro(amount, Language.EN)) == (dutch, english)


def test_a_balance_is_cut_to_cents_and_never_rounded_up() -> None:
    assert euro("9.999999", Language.NL, 2) == "€\u00a09,99"
    assert [cut_to_cents(one) for one in ("9.999999", "10", "0.5")] == ["9.99", "10.00", "0.50"]


@pytest.mark.parametrize(
    ("accepted", "language"), [("", "nl"), ("en-GB,en;q=0.9", "en"), ("de,nl;q=0.5,en;q=0.3", "nl"), ("fr", "nl")]
)
def test_who_is_not_logged_in_is_spoken_to_in_his_browsers_language(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


async def test_statement_comes_as_pdf(place: Place) -> None:
    answer = await (await place.visitor()).http.get("/statements/2026-11?format=pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'inline; filename="2026-11.pdf"'
    assert answer.content.startswith(b"%PDF-1.7")
