"""Logging in to the console by OpenID Connect: who gets in, in which role, and everything by which nobody does. The
provider is a double that speaks the protocol over HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog
from joserfc.jwk import ECKey, RSAKey

from charging.app_api import openid_of
from charging.service.operators import Role
from charging.settings import load_config
from charging.web.asks import Asks
from charging.web.console import openid
from charging.web.console.app import console_app
from charging.web.console.gate import COOKIE, OPENID, OPENID_PER_MINUTE
from charging.web.console.openid import FLOW_S, LEEWAY_S, PLACE_MAX, WAITING_MAX, OpenId
from tests.fakes import openid as fake
from tests.fakes.ami import eventually
from tests.fakes.openid import CLIENT, SECRET, Claims, Provider
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_console import NoMails, Place, Visitor, hidden

__all__ = ["shop"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with fake.running() as provider:
        yield provider


class Staffed(Place):
    """The console with a provider beside its own operators."""

    def __init__(self, shop: Shop, folder: Path, provider: Provider, http: httpx.AsyncClient, **more: object) -> None:
        super().__init__(shop, folder)
        settings = provider.known_to("https://console.test", shop.clock, **more)
        self.openid = OpenId(settings, SECRET, shop.clock, http)
        self.app = console_app(Asks(shop.service), self.operators, settings, NoMails(), self.file, openid=self.openid)


@pytest.fixture
async def place(shop: Shop, tmp_path: Path, provider: Provider) -> AsyncIterator[Staffed]:
    await shop.anna()
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        made = Staffed(shop, tmp_path, provider, http)
        await made.let_in("ada", Role.ADMIN)
        yield made


async def there(visitor: Visitor, next: str = "/") -> str:
    """To the provider, and what it sends the browser back to."""
    sent = await visitor.http.get("/login/openid", params={"next": next})
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
        answer = await browser.get(sent.headers["location"])
    assert answer.status_code == 302
    return answer.headers["location"]


async def is_refused(visitor: Visitor, back: str) -> None:
    answer = await visitor.http.get(back)
    assert (answer.status_code, COOKIE in answer.cookies) == (403, False), answer.text
    assert 'name="password"' in answer.text
    assert (await visitor.http.get("/")).status_code == 303


async def test_whom_the_provider_knows_gets_in_with_the_highest_of_his_roles(place: Staffed) -> None:
    visitor = Visitor(place.app)
    assert "Log in by 127.0.0.1" in await visitor.get("/login")
    answer = await visitor.http.get(await there(visitor, "/accounts/anna"))
    assert 'content="0;url=/accounts/anna"' in answer.text
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}=")]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert OPENID not in visitor.http.cookies
    page = await visitor.get("/accounts/anna")
    assert "openid:alice" in page
    assert '<span class="badge">support</span>' in page
    await visitor.get("/accounts/anna/correct", 403)


@pytest.mark.parametrize("name", ["alice", "a" * 73, "f:1f2e:alice", "+kA/b2=", "auth0|7"])
async def test_what_he_does_is_noted_under_a_name_that_no_operator_of_ours_can_have(
    place: Staffed, provider: Provider, name: str
) -> None:
    provider.person["sub"] = name
    visitor = Visitor(place.app)
    await visitor.http.get(await there(visitor))
    sent = await visitor.send("/accounts/anna/top-up", {"amount": "25.00", "back": "/accounts/anna", "sure": "yes"})
    assert sent.status_code == 303, sent.text
    (line,) = await place.shop.store.journal_page("anna", None, 10)
    assert line.actor == f"console:openid:{name}"


@pytest.mark.parametrize(
    ("groups", "role"),
    [("chiefs", "admin"), (["chiefs", "staff"], "admin"), ("night desk", "support"), (["staff", 7], "view")],
)
async def test_a_claim_is_a_text_or_a_list(place: Staffed, provider: Provider, groups: object, role: str) -> None:
    provider.person["groups"] = groups
    visitor = Visitor(place.app)
    assert (await visitor.http.get(await there(visitor))).status_code == 200
    assert f'<span class="badge">{role}</span>' in await visitor.get("/")


@pytest.mark.parametrize("ways", [None, ["client_secret_post"], ["client_secret_basic", "client_secret_post"]])
async def test_the_secret_goes_the_way_that_the_provider_takes(
    place: Staffed, provider: Provider, ways: list[str] | None
) -> None:
    if ways is not None:
        provider.document["token_endpoint_auth_methods_supported"] = ways
    visitor = Visitor(place.app)
    assert (await visitor.http.get(await there(visitor))).status_code == 200


def with_claims(**changed: object) -> Callable[[Claims], Claims]:
    return lambda claims: {name: one for name, one in (claims | changed).items() if one is not None}


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"aud": [CLIENT, "another"]},
        {"azp": "another"},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "al ice"},
        {"sub": "<b>"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": 1e400},
        {"sub": ["alice"]},
        {"sub": "a" * 74},
        {"groups": None},
        {"groups": []},
        {"groups": "Staff"},
        {"groups": {"staff": True}},
        {"groups": ["staf", "staff desk"]},
    ],
    ids=str,
)
async def test_a_token_that_is_not_wholly_right_lets_nobody_in(
    place: Staffed, provider: Provider, changed: dict[str, object]
) -> None:
    provider.spoil = with_claims(**changed)
    visitor = Visitor(place.app)
    await is_refused(visitor, await there(visitor))


@pytest.mark.parametrize(("over_s", "is_good"), [(LEEWAY_S - 1, True), (LEEWAY_S + 1, False)])
@pytest.mark.parametrize(("claim", "sign"), [("exp", -1), ("iat", 1), ("nbf", 1)])
async def test_a_token_is_good_in_its_time_and_clocks_may_differ_by_so_much(
    place: Staffed, provider: Provider, claim: str, sign: int, over_s: int, is_good: bool
) -> None:
    provider.spoil = lambda claims: claims | {claim: int(provider.now()) + sign * over_s}
    visitor = Visitor(place.app)
    back = await there(visitor)
    if is_good:
        assert (await visitor.http.get(back)).status_code == 200
    else:
        await is_refused(visitor, back)


@pytest.mark.parametrize(
    "sign",
    [
        fake.by_another_key,
        fake.by_a_key_that_it_brings,
        fake.by_no_key,
        fake.by_our_secret,
        fake.by_the_public_key_as_a_secret,
        lambda claims: "",
        lambda claims: "a.b.c",
        lambda claims: fake.signed(claims)[:-8],
    ],
)
async def test_a_token_that_the_provider_has_not_signed_lets_nobody_in(
    place: Staffed, provider: Provider, sign: Callable[[Claims], str]
) -> None:
    provider.sign = sign
    visitor = Visitor(place.app)
    await is_refused(visitor, await there(visitor))


@pytest.mark.parametrize("part", ["header", "claims"])
async def test_a_token_that_is_nested_deeper_than_can_be_read_lets_nobody_in(
    place: Staffed, provider: Provider, part: str
) -> None:
    """Though the provider itself has signed it."""
    provider.sign = fake.nested_in(part)
    visitor = Visitor(place.app)
    await is_refused(visitor, await there(visitor))


async def test_a_key_is_good_for_as_long_as_the_provider_names_it(place: Staffed, provider: Provider) -> None:
    """Also for whoever has logged in before: nothing is kept of it."""
    cases: tuple[tuple[list[RSAKey | ECKey], Callable[[Claims], str], bool], ...] = (
        ([fake.KEY], fake.signed, True),
        ([fake.KEY], fake.signed_anew, False),
        ([fake.KEY, fake.NEW_KEY], fake.signed_anew, True),
        ([fake.NEW_KEY], fake.signed_anew, True),
        ([fake.NEW_KEY], fake.signed, False),
    )
    for keys, sign, is_good in cases:
        provider.keys, provider.sign = [one.as_dict(private=False) for one in keys], sign
        visitor = Visitor(place.app)
        assert (await visitor.http.get(await there(visitor))).is_success == is_good


@pytest.mark.parametrize("sign", [fake.signed, fake.signed_without_a_keys_name])
async def test_keys_of_another_kind_or_use_are_passed_over(
    place: Staffed, provider: Provider, sign: Callable[[Claims], str]
) -> None:
    """RFC 7517, 5. A token need not name the only key that can have signed it (OpenID Connect Core 1.0, 10.1)."""
    provider.keys, provider.sign = [*fake.NOT_OURS, *provider.keys], sign
    visitor = Visitor(place.app)
    assert (await visitor.http.get(await there(visitor))).status_code == 200


@pytest.mark.parametrize("keys", [[], list(fake.NOT_OURS), ["x"], [None]], ids=["none", "others", "text", "null"])
async def test_without_a_key_that_signs_nobody_gets_in(place: Staffed, provider: Provider, keys: list[object]) -> None:
    provider.keys = keys
    visitor = Visitor(place.app)
    await is_refused(visitor, await there(visitor))


@pytest.mark.parametrize("verified", [True, False, None, "true"])
async def test_a_mail_address_is_a_name_only_if_the_provider_has_verified_it(
    shop: Shop, tmp_path: Path, provider: Provider, verified: object
) -> None:
    """Elsewhere people write into it what they like, also another's."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        place = Staffed(shop, tmp_path, provider, http, openid_name_claim="email")
        provider.person |= {"email": "alice@voice.example"}
        if verified is not None:
            provider.person |= {"email_verified": verified}
        visitor = Visitor(place.app)
        back = await there(visitor)
        if verified is True:
            assert (await visitor.http.get(back)).status_code == 200
            assert "openid:alice@voice.example" in await visitor.get("/")
        else:
            await is_refused(visitor, back)


@pytest.mark.parametrize("verified", [True, False, None, "true"])
async def test_a_mail_address_gives_a_role_only_if_the_provider_has_verified_it(
    shop: Shop, tmp_path: Path, provider: Provider, verified: object
) -> None:
    """Whoever may register there would name the boss's, and be an admin."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        boss = "boss@voice.example"
        place = Staffed(shop, tmp_path, provider, http, openid_role_claim="email", openid_admin=[boss])
        provider.person |= {"email": boss}
        if verified is not None:
            provider.person |= {"email_verified": verified}
        visitor = Visitor(place.app)
        back = await there(visitor)
        if verified is True:
            assert (await visitor.http.get(back)).status_code == 200
        else:
            await is_refused(visitor, back)


async def test_an_answer_is_good_once(place: Staffed, provider: Provider) -> None:
    visitor = Visitor(place.app)
    back = await there(visitor)
    held = visitor.http.cookies[OPENID]
    assert (await visitor.http.get(back)).status_code == 200
    thief = Visitor(place.app)
    thief.http.cookies.set(OPENID, held)
    await is_refused(thief, back)
    assert provider.tokens_asked == 1, "nothing is asked for it"


async def test_an_answer_is_good_in_the_browser_alone_that_has_asked(place: Staffed) -> None:
    visitor, stranger = Visitor(place.app), Visitor(place.app)
    back = await there(visitor)
    await is_refused(stranger, back)
    await there(stranger)
    await is_refused(stranger, back)
    assert (await visitor.http.get(back)).status_code == 200, "whom a stranger's try does not stop"


@pytest.mark.parametrize("query", ["", "?state=", "?code=x", "?code=x&state=made-up"])
async def test_an_answer_that_nobody_has_asked_for_lets_nobody_in(place: Staffed, query: str) -> None:
    visitor = Visitor(place.app)
    await there(visitor)
    await is_refused(visitor, f"/login/openid/back{query}")


async def test_who_is_refused_there_or_comes_from_another_issuer_does_not_get_in(place: Staffed) -> None:
    visitor = Visitor(place.app)
    state = parse_qs(urlsplit(await there(visitor)).query)["state"][0]
    await is_refused(visitor, f"/login/openid/back?error=access_denied&state={state}")
    await is_refused(visitor, f"{await there(visitor)}&iss=https://other.example")


async def test_where_the_provider_promises_to_say_who_answers_an_answer_of_nobody_lets_nobody_in(
    place: Staffed, provider: Provider
) -> None:
    """RFC 9207, 2.4."""
    provider.document["authorization_response_iss_parameter_supported"] = True
    visitor = Visitor(place.app)
    await is_refused(visitor, await there(visitor))
    assert (await visitor.http.get(f"{await there(visitor)}&iss={provider.issuer}")).status_code == 200


async def test_the_redirect_is_that_of_the_settings_whatever_host_a_request_names(place: Staffed) -> None:
    visitor = Visitor(place.app)
    sent = await visitor.http.get("/login/openid", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert asked["redirect_uri"] == ["https://console.test/login/openid/back"]
    assert (asked["code_challenge_method"], len(asked["code_challenge"][0])) == (["S256"], 43)


async def test_a_login_has_a_session_of_its_own_and_ends_the_one_before(place: Staffed) -> None:
    visitor, planted = await place.visitor(), Visitor(place.app)
    planted.http.cookies.set(COOKIE, "planted")
    for one in (visitor, planted):
        before = one.http.cookies[COOKIE]
        assert (await one.http.get(await there(one))).status_code == 200
        assert one.http.cookies.get(COOKIE, domain="console.test") != before
        thief = Visitor(place.app)
        thief.http.cookies.set(COOKIE, before)
        assert (await thief.http.get("/")).status_code == 303


@pytest.mark.parametrize("leaving", [None, "https://login.example/end?x=1", "javascript:alert(1)"])
async def test_who_logs_out_is_told_that_the_provider_still_knows_him_and_where_to_log_out_there(
    place: Staffed, provider: Provider, leaving: str | None
) -> None:
    provider.document["end_session_endpoint"] = leaving
    visitor = Visitor(place.app)
    await visitor.http.get(await there(visitor))
    held = visitor.http.cookies[COOKIE]
    page = (await visitor.http.post("/logout", data={"csrf": hidden(await visitor.get("/"), "csrf")})).text
    assert "You are logged out of the console" in page
    is_safe = leaving is not None and leaving.startswith("https:")
    assert ("https://login.example/end?x=1&amp;client_id=charging" in page) == is_safe
    assert "javascript" not in page
    visitor.http.cookies.set(COOKIE, held)
    assert (await visitor.http.get("/")).status_code == 303
    own = await place.visitor()
    left = await own.http.post("/logout", data={"csrf": hidden(await own.get("/"), "csrf")})
    assert left.headers["location"] == "/login", "a password is known here alone"


@pytest.mark.parametrize(("after_s", "is_good"), [(FLOW_S - 1, True), (FLOW_S + 1, False)])
async def test_who_stays_too_long_at_the_provider_begins_again(place: Staffed, after_s: int, is_good: bool) -> None:
    visitor = Visitor(place.app)
    back = await there(visitor)
    await place.shop.clock.advance(after_s)
    if is_good:
        assert (await visitor.http.get(back)).status_code == 200
    else:
        await is_refused(visitor, back)


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example"])
async def test_nobody_is_led_elsewhere(place: Staffed, next: str) -> None:
    visitor = Visitor(place.app)
    answer = await visitor.http.get(await there(visitor, next))
    assert 'content="0;url=/"' in answer.text
    assert "evil" not in answer.text


async def test_where_the_provider_is_away_the_page_says_so_and_a_password_works(
    place: Staffed, provider: Provider
) -> None:
    visitor = Visitor(place.app)
    back = await there(visitor)
    provider.is_ill = True
    for asked, status in ((back, 403), ("/login/openid", 503)):
        answer = await visitor.http.get(asked)
        assert answer.status_code == status
        assert "The login provider cannot be asked now" in answer.text
    assert (await visitor.log_in("ada")).status_code == 303
    await visitor.get("/")


async def test_a_provider_that_hangs_keeps_no_more_than_so_many_waiting_and_a_password_works(
    place: Staffed, provider: Provider
) -> None:
    provider.goes_on.clear()
    visitors = [Visitor(place.app, f"192.0.2.{number}") for number in range(WAITING_MAX)]
    waiting = [asyncio.create_task(one.http.get("/login/openid")) for one in visitors]
    await eventually(lambda: place.openid.waiting == WAITING_MAX)
    refused = await Visitor(place.app, "192.0.2.99").http.get("/login/openid")
    assert (refused.status_code, "cannot be asked now" in refused.text) == (503, True)
    assert (await Visitor(place.app).log_in("ada")).status_code == 303
    provider.goes_on.set()
    assert {one.status_code for one in await asyncio.gather(*waiting)} <= {303, 503}
    assert place.openid.waiting == 0
    assert (await Visitor(place.app, "192.0.2.99").http.get("/login/openid")).status_code == 303


async def test_what_a_stranger_leaves_in_memory_by_beginning_logins_is_bounded(
    place: Staffed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "FLOWS_MAX", 3)
    early, late = Visitor(place.app, "192.0.2.8"), Visitor(place.app, "192.0.2.9")
    back = await there(early)
    for _ in range(2):
        await there(late)
    assert (await early.http.get(back)).status_code == 200
    early = Visitor(place.app, "192.0.2.8")
    back = await there(early)
    for _ in range(3):
        await there(late)
    await is_refused(early, back)
    answer = await late.http.get(await there(late, f"/{'x' * PLACE_MAX}"))
    assert 'content="0;url=/"' in answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"token_endpoint": "http://login.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_a_provider_that_speaks_for_another_or_in_the_clear_is_not_asked(
    place: Staffed, provider: Provider, changed: dict[str, object]
) -> None:
    provider.document |= changed
    assert (await Visitor(place.app).http.get("/login/openid")).status_code == 503


async def test_one_address_begins_so_many_logins_in_a_minute(place: Staffed) -> None:
    visitor = Visitor(place.app)
    for _ in range(OPENID_PER_MINUTE):
        assert (await visitor.http.get("/login/openid")).status_code == 303
    assert (await visitor.http.get("/login/openid")).status_code == 503
    assert (await Visitor(place.app, "192.0.2.8").http.get("/login/openid")).status_code == 303


async def test_without_a_provider_there_is_no_such_way_in(shop: Shop, tmp_path: Path) -> None:
    visitor = Visitor(Place(shop, tmp_path).app)
    assert "/login/openid" not in await visitor.get("/login")
    await visitor.get("/login/openid", 404)
    await visitor.get("/login/openid/back", 404)


@pytest.mark.parametrize("file", [None, "ca.pem"])
async def test_a_ca_that_cannot_be_read_takes_that_way_in_alone(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None
) -> None:
    """The process serves the API and payments too."""
    monkeypatch.setenv("AMI_SECRET", "a secret")
    (tmp_path / "ca.pem").write_text("no certificate")
    console = {
        "openid_issuer": "https://login.example",
        "openid_client_id": CLIENT,
        "openid_client_secret_env": "AMI_SECRET",
        "openid_url": "https://console.test",
        "openid_ca_file": file,
        "openid_view": ["staff"],
    }
    (tmp_path / "charging.yaml").write_text(
        "tariff: tariff.yaml\ncontrol: {socket: charging.sock}\n"
        "switch: {ami: {secret_env: AMI_SECRET}}\n"
        "ledger: {url: 'sqlite:///money.db'}\n"
        f"console: {json.dumps({name: one for name, one in console.items() if one is not None})}\n"
    )
    with structlog.testing.capture_logs() as said:
        made = openid_of(load_config(tmp_path / "charging.yaml"), shop.clock)
    if file is None:
        assert made is not None
        await made.close()
    else:
        assert made is None
        assert [one["event"] for one in said] == ["console_openid_away"]
        assert "ca.pem" in said[0]["error"]


def test_what_reads_tokens_is_read_when_it_is_needed() -> None:
    code = "import sys, charging.app_api; print('joserfc' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"
