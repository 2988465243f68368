"""The console's door: who gets in, how long he stays, what a form must bring, who may do what. No browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
import pytest
import structlog
from argon2 import PasswordHasher

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Status
from charging.ledger.model import CREDIT, Balance
from charging.log_limit import LINES, LINES_S
from charging.pricing.packs import pack_of
from charging.service.operators import Operator, Operators, Role
from charging.service.passwords import fits, hashed
from charging.service.tokens import Tokens
from charging.service.webhooks import Webhooks
from charging.tariff.accepted import Accepted
from charging.tariff.file import load_tariff
from charging.tariff.plans import Pack
from charging.web.asks import Asks
from charging.web.browser import HEADERS
from charging.web.console.app import console_app
from charging.web.console.gate import COMPARED_PER_MINUTE, COOKIE, NAME_TIMES
from charging.web.console.tariff_file import BYTES_MAX, TariffFile, Written
from charging.web.settings import Console
from tests.fakes.rig import EURO, make_tariff
from tests.unit.service.conftest import Shop, shop

__all__ = ["shop"]

PASSWORD = "four plain words here"
HASH = PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1).hash(PASSWORD)
"""The least effort that is taken: tests log in often."""
LOGIN_TRIES = 3
CONFIG = Path(__file__).parents[3] / "config"
PAGES = ("/", "/live", "/calls", "/search?q=anna", "/accounts/anna", "/decisions", "/tariff", "/health")


class NoMails:
    async def of_account(self, account: str) -> list[dict[str, str]]:
        return []

    async def health(self) -> tuple[bool, str]:
        return True, "none"


class Visitor:
    """A browser, as far as the door can tell."""

    def __init__(self, app: object, address: str = "192.0.2.7") -> None:
        transport = httpx.ASGITransport(app, client=(address, 1))  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(transport=transport, base_url="https://console.test")

    async def get(self, place: str, status: int = 200, headers: Mapping[str, str] | None = None) -> str:
        response = await self.http.get(place, headers=headers)
        assert response.status_code == status, response.text
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        return response.text

    async def log_in(self, name: str = "ada", password: str = PASSWORD, place: str = "") -> httpx.Response:
        page = await self.get("/login")
        form = {"token": hidden(page, "token"), "name": name, "password": password, "next": place}
        return await self.http.post("/login", data=form)

    async def send(self, place: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """A form as its page has it, filled in."""
        page = await self.get(place)
        given = {name: hidden(page, name) for name in ("csrf", "key", "back")}
        return await self.http.post(place, data=given | form, headers=headers)


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return unescape(found[1])


class Place:
    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self.operators = Operators(shop.store.documents, shop.clock)
        (folder / "tariff.yaml").write_text("revision: x\n")
        self.file = TariffFile(folder / "tariff.yaml", Accepted(folder / "editions"))
        settings = Console(failed_logins_per_minute=LOGIN_TRIES, idle_min=30, session_h=12)
        tokens = Tokens(shop.store, shop.clock)
        self.hooks = Webhooks(shop.store, shop.clock, ["site"], "one")
        asks = Asks(shop.service)
        self.app = console_app(asks, self.operators, settings, NoMails(), self.file, tokens=tokens, hooks=self.hooks)

    async def let_in(self, name: str, role: Role) -> None:
        assert isinstance(await self.operators.add(name, role, HASH), Operator)

    async def visitor(self, name: str = "ada") -> Visitor:
        """Who is logged in."""
        visitor = Visitor(self.app)
        assert (await visitor.log_in(name)).status_code == 303
        return visitor

    async def credit(self) -> Balance:
        return (await self.shop.store.balances("anna")).get(CREDIT, Balance())


@pytest.fixture
async def place(shop: Shop, tmp_path: Path) -> Place:
    await shop.anna()
    made = Place(shop, tmp_path)
    for name, role in (("vera", Role.VIEW), ("sam", Role.SUPPORT), ("ada", Role.ADMIN)):
        await made.let_in(name, role)
    return made


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Each hash that a password was compared with, at no cost; only PASSWORD is good."""
    made: list[str | None] = []

    def quick(hash: str | None, password: str) -> bool:
        made.append(hash)
        return hash is not None and password == PASSWORD

    monkeypatch.setattr("charging.web.console.gate.fits", quick)
    return made


async def test_nobody_sees_a_page_without_logging_in(place: Place) -> None:
    stranger = Visitor(place.app)
    for page in PAGES:
        answer = await stranger.http.get(page)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login"), page
        part = await stranger.http.get(page, headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"], part.text) == (204, "/login", ""), page
    insider = await place.visitor("vera")
    for page in PAGES:
        assert (await insider.http.get(page)).status_code in (200, 303), page


async def test_the_cookie_is_for_this_browser_session_and_host_and_no_script(place: Place) -> None:
    visitor = Visitor(place.app)
    made = (await visitor.log_in()).headers.get_list("set-cookie")
    (session,) = [one for one in made if one.startswith(f"{COOKIE}=")]
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Secure"} == set(session.split("; ")[1:])
    assert "ada" in await visitor.get("/")


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("", "")])
async def test_a_wrong_name_and_a_wrong_password_look_alike(place: Place, name: str, password: str) -> None:
    answer = await Visitor(place.app).log_in(name, password)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text


async def test_failed_logins_are_limited_by_address_and_keep_nobody_from_logging_in_elsewhere(place: Place) -> None:
    for turn in range(2 * LOGIN_TRIES):
        await Visitor(place.app, f"192.0.2.{turn}").log_in("ada", "wrong")
    assert (await Visitor(place.app, "192.0.2.99").log_in("ada")).status_code == 303
    one = Visitor(place.app, "198.51.100.1")
    for name in ("a", "b", "c"):
        await one.log_in(name, "wrong")
    assert "Too many failed logins" in (await one.log_in("sam")).text
    await place.shop.clock.advance(61)
    assert (await one.log_in("sam")).status_code == 303


async def test_guesses_at_one_name_from_many_addresses_are_limited_too(
    place: Place, compared: list[str | None]
) -> None:
    for turn in range(NAME_TIMES * LOGIN_TRIES):
        await Visitor(place.app, f"198.51.100.{turn}").log_in("ada", "wrong")
    assert "Too many failed logins" in (await Visitor(place.app, "192.0.2.99").log_in("ada")).text
    assert len(compared) == NAME_TIMES * LOGIN_TRIES
    assert (await Visitor(place.app, "192.0.2.99").log_in("sam")).status_code == 303


async def test_the_addresses_of_one_customer_by_ipv6_count_as_one(place: Place, compared: list[str | None]) -> None:
    for turn in range(LOGIN_TRIES + 5):
        await Visitor(place.app, f"2001:db8::{turn + 1:x}").log_in(f"n{turn}", "wrong")
    assert len(compared) == LOGIN_TRIES
    await Visitor(place.app, "2001:db8:0:1::1").log_in("sam", "wrong")
    assert len(compared) == LOGIN_TRIES + 1


async def test_many_guesses_at_once_count_as_many(
    place: Place, compared: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    get = place.operators.get

    async def slow(name: str) -> Operator | None:
        await asyncio.sleep(0)
        return await get(name)

    monkeypatch.setattr(place.operators, "get", slow)
    guesser = Visitor(place.app)
    token = hidden(await guesser.get("/login"), "token")
    form = {"token": token, "name": "ada", "password": "wrong"}
    await asyncio.gather(*(guesser.http.post("/login", data=form) for _ in range(20)))
    assert len(compared) == LOGIN_TRIES


async def test_so_many_passwords_are_compared_in_a_minute_whoever_asks(
    place: Place, compared: list[str | None]
) -> None:
    for turn in range(COMPARED_PER_MINUTE + 5):
        await Visitor(place.app, f"10.1.{turn // 250}.{turn % 250}").log_in(f"n{turn}", "wrong")
    assert len(compared) == COMPARED_PER_MINUTE
    await place.shop.clock.advance(1)
    assert (await place.visitor()).http.cookies[COOKIE]


async def test_a_login_while_the_ledger_is_away_is_no_failed_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(name: str) -> Operator | None:
        raise LedgerUnavailable("it is away")

    visitor = Visitor(place.app)
    with monkeypatch.context() as patch:
        patch.setattr(place.operators, "get", away)
        for _ in range(LOGIN_TRIES + 1):
            assert (await visitor.log_in()).status_code == 503
    assert (await visitor.log_in()).status_code == 303


async def test_failed_logins_from_many_addresses_fill_no_disk_with_log_lines(
    place: Place, compared: list[str | None]
) -> None:
    with structlog.testing.capture_logs() as logs:
        for turn in range(LINES + 20):
            await Visitor(place.app, f"10.1.2.{turn}").log_in(f"n{turn}", "wrong")
        await place.shop.clock.advance(LINES_S)
        await Visitor(place.app).log_in("eve", "wrong")
    lines = [one for one in logs if one["event"] == "console_login_failed"]
    assert (len(lines), lines[-1]["more"]) == (LINES + 1, 20)


async def test_good_logins_are_not_limited(place: Place) -> None:
    for _ in range(LOGIN_TRIES + 2):
        await place.visitor("ada")


async def test_a_login_form_of_another_browser_logs_nobody_in(place: Place) -> None:
    """Else a stranger could log someone in under the stranger's name."""
    token = hidden(await Visitor(place.app).get("/login"), "token")
    victim = Visitor(place.app)
    await victim.get("/login")
    answer = await victim.http.post("/login", data={"token": token, "name": "ada", "password": PASSWORD})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/accounts/anna?x=1", "/accounts/anna?x=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
    ],
)
async def test_a_login_leads_to_a_page_of_ours_only(place: Place, wanted: str, goes: str) -> None:
    assert (await Visitor(place.app).log_in(place=wanted)).headers["location"] == goes


async def test_a_session_ends_without_a_click_and_what_a_page_asks_by_itself_is_none(place: Place) -> None:
    visitor, clock = await place.visitor(), place.shop.clock
    await clock.advance(29 * 60)
    await visitor.get("/calls")
    await clock.advance(29 * 60)
    await visitor.get("/live", headers={"hx-request": "true"})
    await clock.advance(61)
    await visitor.get("/live", 204, headers={"hx-request": "true"})


async def test_a_session_ends_after_its_time_in_any_case(place: Place) -> None:
    visitor, clock = await place.visitor(), place.shop.clock
    for _ in range(24 * 2 - 1):
        await clock.advance(15 * 60)
        await visitor.get("/calls")
    await clock.advance(15 * 60)
    await visitor.get("/calls", 303)


async def test_a_sessions_id_changes_and_the_one_before_is_soon_good_for_nothing(place: Place) -> None:
    visitor, clock = await place.visitor(), place.shop.clock
    old = visitor.http.cookies[COOKIE]
    await clock.advance(16 * 60)
    await visitor.get("/calls")
    assert visitor.http.cookies[COOKIE] != old
    await visitor.get("/calls")
    thief = Visitor(place.app)
    thief.http.cookies.set(COOKIE, old)
    await thief.get("/calls")
    await clock.advance(30)
    await thief.get("/calls", 303)
    await visitor.get("/calls")


async def test_an_answer_that_is_lost_as_the_id_changes_logs_nobody_out(place: Place) -> None:
    visitor, clock = await place.visitor(), place.shop.clock
    old = visitor.http.cookies[COOKIE]
    await clock.advance(16 * 60)
    sent = (await visitor.http.get("/calls")).cookies[COOKIE]
    await clock.advance(60)
    visitor.http.cookies.clear()
    visitor.http.cookies.set(COOKIE, old)
    again = (await visitor.http.get("/calls")).cookies[COOKIE]
    assert (again == sent, sent == old) == (True, False)


@pytest.mark.parametrize("answer_is_lost", [False, True])
async def test_who_logs_out_after_the_id_was_due_to_change_is_logged_out(place: Place, answer_is_lost: bool) -> None:
    visitor, clock = await place.visitor(), place.shop.clock
    csrf, old = hidden(await visitor.get("/"), "csrf"), visitor.http.cookies[COOKIE]
    await clock.advance(16 * 60)
    if answer_is_lost:
        await visitor.get("/")
    ids = {old, visitor.http.cookies[COOKIE]}
    sent = await visitor.http.post("/logout", data={"csrf": csrf}, headers={"cookie": f"{COOKIE}={old}"})
    assert sent.status_code == 303
    ids |= {value for name, value in sent.cookies.items() if name == COOKIE}
    for id in ids:
        thief = Visitor(place.app)
        thief.http.cookies.set(COOKIE, id)
        await thief.get("/", 303)


async def test_logging_in_again_or_out_ends_the_session(place: Place) -> None:
    visitor = await place.visitor()
    before = visitor.http.cookies[COOKIE]
    await visitor.log_in()
    csrf = hidden(await visitor.get("/"), "csrf")
    assert (await visitor.http.post("/logout", data={"csrf": csrf})).status_code == 303
    await visitor.get("/", 303)
    thief = Visitor(place.app)
    thief.http.cookies.set(COOKIE, before)
    await thief.get("/", 303)


async def test_another_role_or_password_and_leaving_end_the_session_at_once(place: Place) -> None:
    visitor = await place.visitor("sam")
    await place.operators.change("sam", Role.VIEW, None)
    await visitor.get("/", 303)
    visitor = await place.visitor("sam")
    await place.operators.remove("sam")
    await visitor.get("/", 303)


@pytest.mark.parametrize("csrf", ["", "x", None])
async def test_a_form_that_is_not_of_this_login_changes_nothing(place: Place, csrf: str | None) -> None:
    visitor = await place.visitor()
    if csrf is None:  # another login's
        csrf = hidden(await (await place.visitor("sam")).get("/"), "csrf")
    form = {"csrf": csrf, "key": "k", "back": "/", "amount": "25.00", "sure": "yes"}
    assert (await visitor.http.post("/accounts/anna/top-up", data=form)).status_code == 403
    assert await place.credit() == Balance()


@pytest.mark.parametrize("name", ["csrf", "key"])
async def test_signs_that_no_form_of_ours_has_change_nothing(place: Place, name: str) -> None:
    visitor = await place.visitor()
    for text in ("\u00e9", "a\nb", "x" * 5000, ""):
        form = {"amount": "25.00", "sure": "yes", name: text}
        sent = await visitor.send("/accounts/anna/top-up", form)
        assert (sent.status_code, await place.credit()) == (403 if name == "csrf" else 400, Balance()), text


async def test_a_login_form_with_signs_that_ours_has_not_is_refused(place: Place) -> None:
    visitor = Visitor(place.app)
    await visitor.get("/login")
    sent = await visitor.http.post("/login", data={"token": "\u00e9", "name": "ada", "password": PASSWORD})
    assert (sent.status_code, "too old" in sent.text) == (403, True)


async def test_an_answer_of_a_fault_is_sealed_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(name: str) -> Operator | None:
        raise ZeroDivisionError

    visitor = await place.visitor()
    monkeypatch.setattr(place.operators, "get", broken)
    transport = httpx.ASGITransport(place.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as http:
        answer = await http.get("/calls", headers={"cookie": f"{COOKIE}={visitor.http.cookies[COOKIE]}"})
    assert answer.status_code == 500
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"


async def test_who_only_looks_whether_the_login_page_is_there_finds_it(place: Place) -> None:
    assert (await Visitor(place.app).http.head("/login")).status_code == 200


async def test_no_field_of_a_form_says_on_whom_an_act_is(place: Place) -> None:
    visitor = await place.visitor()
    asked = await visitor.send("/accounts/anna/top-up", {"amount": "25.00", "subject": "berta"})
    assert "of bought credit to anna?" in asked.text


async def test_a_form_from_another_sites_page_changes_nothing(place: Place) -> None:
    visitor = await place.visitor()
    sent = await visitor.send(
        "/accounts/anna/top-up", {"amount": "25.00", "sure": "yes"}, **{"sec-fetch-site": "same-site"}
    )
    assert (sent.status_code, await place.credit()) == (403, Balance())


async def test_an_act_is_asked_once_more_and_then_done_once(place: Place) -> None:
    visitor = await place.visitor("sam")
    asked = await visitor.send("/accounts/anna/top-up", {"amount": "25.00", "back": "/accounts/anna"})
    assert (asked.status_code, await place.credit()) == (200, Balance())
    assert "Add € 25.00 of bought credit to anna?" in asked.text
    form = {name: hidden(asked.text, name) for name in ("csrf", "key", "back", "amount", "sure")}
    for _ in range(2):
        done = await visitor.http.post("/accounts/anna/top-up", data=form)
        assert (done.status_code, done.headers["location"]) == (303, "/accounts/anna")
    assert (await place.credit()).posted == 25 * EURO
    page = await visitor.get("/accounts/anna")
    assert "€ 25.00 was added to anna." in page
    assert "console:sam" in page, "in the journal's line and among the changes"
    (line,) = await place.shop.store.journal_page("anna", None, 10)
    assert line.actor == "console:sam"


@pytest.mark.parametrize(
    ("until", "last_day"), [("", "2026-12-20"), ("2026-12-31", "2026-12-31")], ids=["the tariff's", "named"]
)
async def test_a_pack_is_given_by_a_form_once(place: Place, until: str, last_day: str) -> None:
    pack = Pack("addon", "Add-on 60", 3600, 30)
    place.shop.tariff = replace(place.shop.tariff, packs={"addon": pack})
    visitor = await place.visitor()
    page = await visitor.get("/accounts/anna")
    assert all(f"/accounts/anna/{act}" in page for act in ("grant-credit", "grant-pack"))
    asked = await visitor.send("/accounts/anna/grant-pack", {"pack": "addon", "until": until, "reason": "shop"})
    assert "Give anna the pack “addon”" in asked.text
    names = ("csrf", "key", "back", "pack", "until", "reason", "sure")
    form = {name: hidden(asked.text, name) for name in names}
    for _ in range(2):
        assert (await visitor.http.post("/accounts/anna/grant-pack", data=form)).status_code == 303
    edition = place.shop.tariff.terms["addon"].edition
    assert await place.shop.store.balances("anna") == {pack_of(edition, last_day): Balance(3600)}
    assert f"Add-on 60, through {last_day}" in await visitor.get("/accounts/anna")


async def test_a_pack_that_the_tariff_does_not_have_is_told_in_the_form(place: Place) -> None:
    visitor = await place.visitor()
    wrong = {"pack": "none", "until": "soon", "reason": "shop", "sure": "yes"}
    assert (await visitor.send("/accounts/anna/grant-pack", wrong)).status_code == 422
    sent = await visitor.send("/accounts/anna/grant-pack", wrong | {"until": ""})
    assert "found the pack 'none'" in unescape(sent.text)


async def test_what_is_refused_is_told_in_the_form(place: Place) -> None:
    visitor = await place.visitor("sam")
    sent = await visitor.send("/accounts/anna/top-up", {"amount": "3.00", "sure": "yes"})
    assert sent.status_code == 422
    assert "found a top-up of 3.00" in unescape(sent.text)
    assert (await visitor.http.get("/accounts/nobody")).status_code == 404


EDIT = {"text": "revision: y\n", "digest": "", "sure": "yes"}
ALLOWED = {
    "/accounts/anna/top-up": Role.SUPPORT,
    "/accounts/anna/suspend": Role.SUPPORT,
    "/accounts/anna/activate": Role.SUPPORT,
    "/accounts/anna/correct": Role.ADMIN,
    "/accounts/anna/grant-credit": Role.ADMIN,
    "/accounts/anna/grant-pack": Role.ADMIN,
    "/numbers/1/forward": Role.SUPPORT,
    "/calls/s/hang-up": Role.SUPPORT,
}


@pytest.mark.parametrize(("name", "role"), [("vera", Role.VIEW), ("sam", Role.SUPPORT), ("ada", Role.ADMIN)])
async def test_a_role_does_what_it_may_and_nothing_else(place: Place, name: str, role: Role) -> None:
    visitor = await place.visitor(name)
    csrf = hidden(await visitor.get("/"), "csrf")
    for act, needed in ALLOWED.items():
        good = role.includes(needed)
        await visitor.get(act, 200 if good else 403)
        sent = await visitor.http.post(act, data={"csrf": csrf})
        assert sent.status_code == (400 if good else 403), act
    saved = await visitor.http.post("/tariff", data=EDIT | {"csrf": csrf})
    assert saved.status_code == (200 if role is Role.ADMIN else 403)
    assert not role.includes(Role.ADMIN) or "It cannot be saved" in saved.text


async def test_a_suspension_keeps_its_reason_and_writes_it_as_text(place: Place) -> None:
    visitor = await place.visitor()
    reason = '<script>alert(1)</script> & "more"'
    sent = await visitor.send("/accounts/anna/suspend", {"reason": reason, "sure": "yes"})
    assert sent.status_code == 303
    stored = await place.shop.store.directory.account("anna")
    assert stored is not None
    assert (stored.status, stored.status_reason) == (Status.SUSPENDED, reason)
    page = await visitor.get("/accounts/anna")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in page


async def test_what_is_searched_is_written_as_text(place: Place) -> None:
    page = await (await place.visitor()).get("/search?q=%3Cimg%20src=x%3E")
    assert "<img src=x>" not in page


async def test_an_account_is_found_by_its_id_its_number_and_its_mail_address(place: Place) -> None:
    await place.shop.service.accounts.change("anna", {"email": "anna@example.nl"})
    await place.shop.service.numbers.add("anna", "0201234567", {})
    visitor = await place.visitor("vera")
    for sought in ("anna", "ann", "020-1234567", "%2B31201234567", "anna@example.nl", "@Example"):
        answer = await visitor.http.get(f"/search?q={sought}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/accounts/anna"), sought


def test_a_password_is_long_and_its_hash_says_nothing() -> None:
    assert not isinstance(hashed("short"), str)
    made = hashed(PASSWORD)
    assert isinstance(made, str)
    assert PASSWORD not in made
    assert (fits(made, PASSWORD), fits(made, "other"), fits(None, PASSWORD)) == (True, False, False)


@pytest.mark.parametrize("text", ["", "plain", "$argon2id$v=19$m=9999999,t=3,p=4$" + "a" * 22 + "$" + "b" * 43])
async def test_an_operator_without_a_good_hash_is_refused(place: Place, text: str) -> None:
    assert not isinstance(await place.operators.add("eve", Role.ADMIN, text), Operator)


def priced_by(*decks: str) -> str:
    """The shipped tariff, with decks."""
    text = (CONFIG / "tariff.yaml").read_text()
    asked = text.replace("# decks: [decks/example.csv]", f"decks: [{', '.join(decks)}]", 1)
    assert asked != text
    return asked


async def test_nobody_reads_another_file_of_the_machine_by_naming_it_as_a_deck(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "ami.secret"
    for file in (elsewhere, tmp_path / "own.secret"):
        file.write_text("s3cret-9f3c77\n")
    (tmp_path / "link.csv").symlink_to(elsewhere)
    tariff = TariffFile(tmp_path / "tariff.yaml", Accepted(tmp_path / "editions"))
    text = priced_by(str(elsewhere), "link.csv", "own.secret", f"../{elsewhere.parent.name}/ami.secret")
    problems = "\n".join((await tariff.propose(text, make_tariff(), 0)).problems)
    assert problems.count("a deck elsewhere") == 3
    assert "expected a column 'price' in the first line" in problems
    assert "s3cret" not in problems


async def test_an_edit_that_will_wait_until_someone_accepts_it_is_said_to(place: Place) -> None:
    folder = place.file.path.parent
    (folder / "a.csv").write_text("prefix;price\n32;0.05\n49;0.05\n")
    (folder / "b.csv").write_text("prefix;price\n32;0.05\n")
    place.file.path.write_text(priced_by("a.csv"))
    Accepted(folder / "editions").keep(place.file.path, load_tariff(place.file.path))
    visitor = await place.visitor()
    page = await visitor.get("/tariff")
    form = {name: hidden(page, name) for name in ("csrf", "digest")} | {"text": priced_by("b.csv")}
    asked = unescape((await visitor.http.post("/tariff", data=form)).text)
    assert "It would wait, once it is saved, until someone accepts it:" in asked
    assert "charging tariff accept" in asked
    assert (await visitor.http.post("/tariff", data=form | {"sure": "yes"})).status_code == 303
    assert "It waits until someone accepts it" in await visitor.get("/tariff")
    assert place.file.path.read_text() == form["text"]


async def test_of_two_edits_that_began_from_the_same_text_one_is_saved_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    kept, link = tmp_path / "kept" / "prices.yaml", tmp_path / "tariff.yaml"
    kept.write_text("a\n")
    kept.chmod(0o640)
    link.symlink_to("kept/prices.yaml")
    file = TariffFile(link, Accepted(tmp_path / "editions"))
    begun = await file.read()
    assert isinstance(begun, Written)
    refused = await asyncio.gather(*(file.replace(text, begun.digest) for text in ("b\n", "c\n")))
    assert [one is None for one in refused] == [True, False]
    assert (link.is_symlink(), kept.read_text(), kept.stat().st_mode & 0o777) == (True, "b\n", 0o640)
    assert list(kept.parent.iterdir()) == [kept], "nothing is left behind"


async def test_a_tariff_is_edited_here_up_to_a_size(tmp_path: Path) -> None:
    file = TariffFile(tmp_path / "tariff.yaml", Accepted(tmp_path / "editions"))
    for more, good in ((0, True), (1, False)):
        file.path.write_text("#" * (BYTES_MAX + more))
        assert isinstance(await file.read(), Written) is good
    problems = (await file.propose("#" * (BYTES_MAX + 1), make_tariff(), 0)).problems
    assert problems == (f"expected at most {BYTES_MAX} bytes",)
