"""A login provider as OpenID Connect documents it, over HTTP on loopback: discovery, authorization, token and keys.

It is strict about what a client must send: PKCE, the redirect, the secret. What it hands out can be spoilt."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from charging.clock import MICROSECONDS, Clock
from charging.web.settings import OPENID_BACK, Console

CLIENT, SECRET = "charging", "a secret: with + and %"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
NEW_KEY = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
NOT_OURS = (
    {"kty": "AKP", "alg": "ML-DSA-65", "kid": "later", "pub": "AAAA"},
    {"kty": "EC", "crv": "brainpoolP256r1", "kid": "odd", "x": "AAAA", "y": "AAAA"},
    {"kty": "RSA", "kid": "broken", "n": 7},
    OTHER_KEY.as_dict(private=False) | {"kid": "enc", "use": "enc", "alg": "RSA-OAEP"},
)
"""Keys that a provider may have beside those by which it signs ID tokens."""
REDIRECT = "https://console.test/login/openid/back"

Claims = dict[str, Any]


def signed(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)


def signed_anew(claims: Claims) -> str:
    return jwt.encode({"alg": "ES256", "kid": "two"}, claims, NEW_KEY)


def signed_without_a_keys_name(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256"}, claims, KEY)


def by_a_key_that_it_brings(claims: Claims) -> str:
    brought = OTHER_KEY.as_dict(private=False)
    return jwt.encode({"alg": "RS256", "kid": "brought", "jwk": brought}, claims, OTHER_KEY)


def by_another_key(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, OTHER_KEY)


def by_no_key(claims: Claims) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join(urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


def nested_in(part: str) -> Callable[[Claims], str]:
    """Signed as it should be, with lists in lists in the header or among the claims, deeper than a reader goes down."""
    deep = "[" * 2_000 + "]" * 2_000

    def sign(claims: Claims) -> str:
        texts = {"header": json.dumps({"alg": "RS256", "kid": "one"}), "claims": json.dumps(claims)}
        texts[part] = texts[part].removesuffix("}") + f',"deep":{deep}}}'
        head, body = (urlsafe_b64encode(one.encode()).rstrip(b"=") for one in texts.values())
        signature = KEY.get_op_key("sign").sign(head + b"." + body, PKCS1v15(), SHA256())
        return b".".join((head, body, urlsafe_b64encode(signature).rstrip(b"="))).decode()

    return sign


def by_our_secret(claims: Claims) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET.ljust(32, "x")), algorithms=["HS256"])


def by_the_public_key_as_a_secret(claims: Claims) -> str:
    secret = urlsafe_b64encode(KEY.as_pem(private=False)).rstrip(b"=").decode()
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, OctKey.import_key({"kty": "oct", "k": secret}))


class Provider:
    """One that knows one person."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        self.redirect = REDIRECT
        """The one that it was told of."""
        self.person: Claims = {"sub": "alice", "groups": ["staff", "desk"]}
        self.spoil: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = signed
        self.keys: list[Any] = [KEY.as_dict(private=False)]
        self.is_ill = False
        self.asks_people = False
        """Whether it shows a page, as to someone whom it does not know yet; else it sends the browser back."""
        self.goes_on = threading.Event()
        """It answers nothing while this is not set."""
        self.goes_on.set()
        self.tokens_asked = 0
        self.codes: dict[str, dict[str, str]] = {}

    def known_to(self, console: str, clock: Clock, **more: object) -> Console:
        """The settings of a console at a web address, which this provider knows from now on; its clock, too."""
        self.redirect = f"{console}{OPENID_BACK}"
        self.now = lambda: clock.now().wall_us / MICROSECONDS
        return Console.model_validate(
            {
                "openid_issuer": self.issuer,
                "openid_client_id": CLIENT,
                "openid_client_secret_env": "X",
                "openid_url": console,
                "openid_view": ["staff"],
                "openid_support": ["desk", "night desk"],
                "openid_admin": ["chiefs"],
                **more,
            }
        )

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        assert (asked["client_id"], asked["redirect_uri"]) == (CLIENT, self.redirect)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{self.redirect}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """What a code is good for, once; ``None``: it is refused."""
        self.tokens_asked += 1
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        is_client = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        if authorization:
            pair = b64decode(authorization.removeprefix("Basic ")).decode()
            (id, secret) = (parse_qs(f"x={part}")["x"][0] for part in pair.split(":"))
            is_client = (id, secret) == (CLIENT, SECRET)
        if asked is None or not is_client or challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        if (form["grant_type"], form["redirect_uri"]) != ("authorization_code", self.redirect):
            return None
        now = int(self.now())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(self.spoil(claims | self.person))}

    now: Callable[[], float] = staticmethod(time.time)


@contextmanager
def running() -> Iterator[Provider]:
    """A provider that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            if place.path == "/authorize":
                back = provider.authorize({name: values[0] for name, values in parse_qs(place.query).items()})
                page = f'<!doctype html><title>Login</title><a href="{escape(back)}">I am alice</a>'.encode()
                self.send_response(200 if provider.asks_people else 302)
                self.send_header("Content-Type", "text/html")
                if not provider.asks_people:
                    self.send_header("Location", back)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
            elif place.path == "/.well-known/openid-configuration":
                self._say(provider.document)
            else:
                self._say({"keys": provider.keys})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._say(provider.token(form, self.headers.get("Authorization", "")))

        def _say(self, answer: dict[str, Any] | None) -> None:
            provider.goes_on.wait()
            body = json.dumps(answer or {"error": "invalid_grant"}).encode()
            self.send_response(503 if provider.is_ill else 400 if answer is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # who has asked may have gone
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.goes_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
