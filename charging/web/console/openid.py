"""Logging in to the console by OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1;
RFC 7636), for people whom the operator's own login provider knows.

A flow is begun by a browser and ends in the same one, once: its state is known here alone, together with the nonce, the
PKCE verifier and what that browser's cookie holds. Who comes back is who the ID token says, in the role to which a
claim of it is mapped; without a role nobody gets in. Nothing of the provider is kept that says who is who: its document
and its keys are asked for again at each login, so a key that it has withdrawn is good for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import ssl
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import httpx

from charging.clock import MICROSECONDS, Clock
from charging.service.operators import Operator, Role
from charging.web.browser import same
from charging.web.settings import OPENID_BACK, Console, is_safe_place

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ACTOR = "openid:"
"""How the names of those begin whom a provider knows: no name of an operator of ours has a colon."""
ALGORITHMS = ("RS256", "PS256", "ES256")
"""Of an ID token's signature: by a key of the provider's alone, never by a shared secret, and never none."""
WITHIN_S = 10
"""For everything that is asked of the provider in one step."""
FLOW_S = 600
"""In which whoever went to the provider must be back."""
FLOWS_MAX = 5_000
PLACE_MAX = 1_000
"""Of the page to go on to: a stranger may begin a login, and each that is under way is kept."""
WAITING_MAX = 10
"""Logins that wait for the provider at once. One that hangs must leave the console's connections to passwords."""
ANSWER_BYTES_MAX = 500_000
LEEWAY_S = 60
"""By how much the provider's clock and ours may differ."""
EMAIL = "email"
"""The claim that is someone's only if the provider has verified it (OpenID Connect Core 1.0, 5.1)."""
_NAME = re.compile(r"[A-Za-z0-9@._+|:/=-]{1,73}")
"""With ACTOR before it an actor's name (`charging.service.actor`): a longer one would be noted as nobody's."""
_KINDS = ("RSA", "EC")


class ProviderAway(Exception):
    """The provider cannot be reached, or has answered what cannot be understood."""


class NotLetIn(Exception):
    """Who came back is not let in; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What its discovery document says (OpenID Connect Discovery 1.0, 3)."""

    authorization: str
    token: str
    keys: str
    takes_basic: bool
    """Whether it takes our secret in a header; else in the form."""
    names_itself: bool
    """Whether it says in each answer who answers (RFC 9207)."""
    leaving: str
    """Where people log out of it (OpenID Connect RP-Initiated Logout 1.0); empty: it does not say."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One login under way."""

    provider: Provider
    begun_mono_us: int
    place: str
    """The page to go on to."""
    browser: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """What the cookie of the browser that began it holds."""
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)


class OpenId:
    """The way in by one provider."""

    def __init__(self, settings: Console, secret: str, clock: Clock, http: httpx.AsyncClient) -> None:
        """``settings`` name an issuer. ``http`` asks the provider."""
        assert settings.openid_issuer is not None, "else there is no such way in"
        self.issuer = settings.openid_issuer
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._http = http
        self._flows: OrderedDict[str, Flow] = OrderedDict()
        """By state, the oldest first."""
        self.waiting = 0
        """Logins for which the provider is asked just now."""
        self._leaving = ""

    async def close(self) -> None:
        """Leave the provider."""
        await self._http.aclose()

    def leaving(self) -> str:
        """Where people log out of the provider itself, as far as it has said so; else empty. Asks nobody."""
        return with_query(self._leaving, {"client_id": str(self._settings.openid_client_id)}) if self._leaving else ""

    async def begin(self, place: str) -> tuple[str, str]:
        """Where to send the browser, and what to leave in its cookie. Raises ProviderAway."""
        async with self._step():
            provider = await discovered(self._http, self.issuer)
        self._leaving = provider.leaving
        flow = Flow(provider, self._clock.now().mono_us, place if len(place) <= PLACE_MAX else "/")
        self._flows[flow.state] = flow
        if len(self._flows) > FLOWS_MAX:
            self._flows.popitem(last=False)
        challenge = urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": str(self._settings.openid_client_id),
            "redirect_uri": self._redirect,
            "scope": " ".join(("openid", *self._settings.openid_scopes)),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return with_query(provider.authorization, asked), flow.browser

    async def come_back(self, asked: Mapping[str, str], browser: str) -> tuple[Operator, str]:
        """Who has come back with such a query and cookie, and the page to go on to. Raises NotLetIn, ProviderAway."""
        flow = self._flows.get(asked.get("state", ""))
        if flow is None or not same(browser, flow.browser):
            raise NotLetIn("no login of this browser is under way with such a state")
        del self._flows[flow.state]
        if self._clock.now().mono_us - flow.begun_mono_us > FLOW_S * MICROSECONDS:
            raise NotLetIn("it has taken too long")
        if asked.get("iss", "" if flow.provider.names_itself else self.issuer) != self.issuer:
            raise NotLetIn("another issuer has answered")
        if "code" not in asked:
            raise NotLetIn(f"the provider has refused: {asked.get('error', '')[:100]!r}")
        async with self._step():
            claims = await self._claims(flow, asked["code"])
        return self._operator(claims), flow.place

    # --- asking the provider --------------------------------------------------------------------------------------

    @property
    def _redirect(self) -> str:
        return f"{self._settings.openid_url}{OPENID_BACK}"

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """While the provider is asked: by so many, for so long."""
        if self.waiting >= WAITING_MAX:
            raise ProviderAway(f"{WAITING_MAX} logins wait for it already")
        self.waiting += 1
        try:
            async with asyncio.timeout(WITHIN_S):
                yield
        except TimeoutError:
            raise ProviderAway(f"no answer within {WITHIN_S} s") from None
        finally:
            self.waiting -= 1

    async def _claims(self, flow: Flow, code: str) -> Mapping[str, Any]:
        """Those of the ID token for a code, after every check (OpenID Connect Core 1.0, 3.1.3.7)."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect}
        form["code_verifier"] = flow.verifier
        client, headers = str(self._settings.openid_client_id), {}
        if flow.provider.takes_basic:  # RFC 6749, 2.3.1
            pair = f"{quote_plus(client)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client, "client_secret": self._secret}
        answer = await _answer(self._http, "POST", flow.provider.token, data=form, headers=headers)
        keys = await _answer(self._http, "GET", flow.provider.keys)
        return checked(
            answer.get("id_token"),
            keys,
            issuer=self.issuer,
            client=client,
            nonce=flow.nonce,
            now_s=self._clock.now().wall_us // MICROSECONDS,
        )

    # --- who it is ------------------------------------------------------------------------------------------------

    def _operator(self, claims: Mapping[str, Any]) -> Operator:
        chosen = self._settings
        name = claims.get(chosen.openid_name_claim)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise NotLetIn(f"the claim {chosen.openid_name_claim} is no name")
        if EMAIL in (chosen.openid_name_claim, chosen.openid_role_claim) and claims.get("email_verified") is not True:
            raise NotLetIn("the provider does not say that the mail address is verified")
        role = self._role(claims.get(chosen.openid_role_claim))
        if role is None:
            raise NotLetIn(f"{name} has no value of {chosen.openid_role_claim} that is mapped to a role")
        return Operator(f"{ACTOR}{name}", role, self._clock.now().wall_us, "")

    def _role(self, held: object) -> Role | None:
        """The highest to which one of the claim's values is mapped."""
        values = {held} if isinstance(held, str) else set()
        if isinstance(held, list):
            values = {one for one in held if isinstance(one, str)}
        mapped: Sequence[tuple[Role, tuple[str, ...]]] = (
            (Role.ADMIN, self._settings.openid_admin),
            (Role.SUPPORT, self._settings.openid_support),
            (Role.VIEW, self._settings.openid_view),
        )
        return next((role for role, of_role in mapped if values.intersection(of_role)), None)


def client_of(settings: Console) -> httpx.AsyncClient:
    """What asks the provider. Raises ProviderAway, where the CA's file cannot be read."""
    if (file := settings.openid_ca_file) is None:
        return httpx.AsyncClient()
    try:
        return httpx.AsyncClient(verify=ssl.create_default_context(cafile=file))
    except OSError as error:
        raise ProviderAway(f"{file}: {error.strerror or error}; expected certificates in PEM") from None


async def trouble(settings: Console) -> str:
    """Why nobody can log in by the provider now; empty: it answers as itself."""
    assert settings.openid_issuer is not None, "else there is no such way in"
    try:
        async with client_of(settings) as http, asyncio.timeout(WITHIN_S):
            await discovered(http, settings.openid_issuer)
    except TimeoutError:
        return f"no answer within {WITHIN_S} s"
    except ProviderAway as error:
        return str(error)
    return ""


async def discovered(http: httpx.AsyncClient, issuer: str) -> Provider:
    """What a provider says of itself. Raises ProviderAway."""
    told = await _answer(http, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if told.get("issuer") != issuer:
        raise ProviderAway(f"its discovery document is of another issuer: {str(told.get('issuer'))[:200]!r}")
    places = [told.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    good = [one for one in places if isinstance(one, str) and is_safe_place(one)]
    if len(good) != len(places):
        raise ProviderAway("its discovery document lacks a place, or has one that is not safe")
    ways = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    takes_basic = isinstance(ways, list) and "client_secret_basic" in ways
    names_itself = told.get("authorization_response_iss_parameter_supported") is True
    leaving = told.get("end_session_endpoint")
    leaving = leaving if isinstance(leaving, str) and is_safe_place(leaving) else ""
    authorization, token, keys = good
    return Provider(authorization, token, keys, takes_basic, names_itself, leaving)


async def _answer(http: httpx.AsyncClient, method: str, place: str, **request: Any) -> dict[str, Any]:
    try:
        async with http.stream(method, place, follow_redirects=False, **request) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    raise ProviderAway(f"{_host(place)} answers too much")
        answer = json.loads(body) if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise ProviderAway(f"{_host(place)}: {type(error).__name__}") from None
    if not isinstance(answer, dict):
        raise ProviderAway(f"{_host(place)} answers {response.status_code}")
    return answer


def with_query(place: str, asked: Mapping[str, str]) -> str:
    """A web address with a query, beside the one that it may have."""
    return f"{place}{'&' if '?' in place else '?'}{urlencode(asked, quote_via=quote)}"


def checked(
    token: object, keys: Mapping[str, Any], *, issuer: str, client: str, nonce: str, now_s: int
) -> Mapping[str, Any]:
    """The claims of an ID token whose signature is by one of ``keys`` (a JWKS), and which is meant for us, for this
    login, and now. Raises NotLetIn."""
    from joserfc import jwt  # reading it takes a start's time, and few consoles need it
    from joserfc.errors import JoseError

    if not isinstance(token, str):
        raise NotLetIn("the provider gave no ID token")
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client},
        nonce={"essential": True, "value": nonce},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        claims = jwt.decode(token, _key_set(keys), algorithms=ALGORITHMS).claims
        registry.validate(claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotLetIn(f"the ID token is not good: {type(error).__name__}: {str(error)[:100]}") from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client) != client:
        raise NotLetIn("the ID token was given to another client")
    return claims


def _key_set(told: Mapping[str, Any]) -> KeySet:
    """Of a JWKS those that may sign by one of ALGORITHMS: what is of another kind, or not understood, is passed over
    (RFC 7517, 5)."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    good = []
    for one in told["keys"]:
        if one.get("kty") in _KINDS and one.get("use", "sig") == "sig":
            with suppress(JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                good.append(JWKRegistry.import_key(one))
    return KeySet(good)


def _host(place: str) -> str:
    return urlsplit(place).hostname or "the provider"
