"""The section ``api`` of charging.yaml: where the website and other programs ask; ``console``: where the operator's
people look and act in their browsers; and ``customer_page``: where the customers do. A section that is missing serves
nothing. And ``webhooks``: the operator's own programs, which events are posted to."""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from charging.yaml_model import (
    EnvironmentName,
    FilePath,
    Flag,
    Host,
    Networks,
    Port,
    Section,
    Text,
    decimal,
    pattern,
    refusal,
    whole,
)

Origin = Annotated[
    str,
    pattern(
        r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?", "an address such as https://my.voice.example, without a path"
    ),
]
Place = Annotated[str, pattern(r"https?://[!-~]{1,1000}", "a web address")]
Scope = Annotated[str, pattern(r"[!#-\[\]-~]{1,100}", "a scope (RFC 6749, 3.3)")]

OPENID_BACK = "/login/openid/back"
"""Where a login provider sends the browser back to."""

HookUrl = Annotated[
    str,
    pattern(
        r"https?://(?:[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?|\[[0-9A-Fa-f:]{2,45}\])"
        r"(?::[0-9]{1,5})?(?:[/?][!-\"$-~]{0,1000})?",
        "a web address without a user and a fragment, such as https://my.voice.example/hooks/charging",
    ),
]
HookName = Annotated[str, pattern(r"[a-z0-9][a-z0-9-]{0,31}", "up to 32 small letters, digits and dashes")]
EventType = Literal[
    "credit.topped_up",
    "credit.corrected",
    "credit.expired",
    "credit.granted",
    "credit.grant_expired",
    "minutes.granted",
    "minutes.expired",
    "pieces.granted",
    "pieces.expired",
    "call.begun",
    "call.ended",
    "voicemail.begun",
    "voicemail.ended",
    "fax.begun",
    "fax.ended",
    "call.refused",
    "credit.low",
    "credit.expiring",
    "minutes.low",
    "notice.queued",
    "notice.sent",
    "notice.failed",
    "setting.changed",
    "ledger.restored",
]
"""`charging.service.events.What`."""
WEBHOOKS_MAX = 16
SECRET_PREFIX = "whsec_"  # noqa: S105  how each of them begins
SECRET_BYTES = range(24, 65)
"""By the standard."""

FRONTS = ("api", "console", "customer_page")
"""These sections, and what their listeners are called: a process of its own serves them."""


def is_safe_place(place: str) -> bool:
    """Whether what is said to a web address is heard by nobody else: over TLS, or on this machine."""
    try:
        parts = urlsplit(place)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if "@" in parts.netloc or parts.fragment or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1"))


class Api(Section):
    """The HTTP interface behind bearer tokens. It speaks plain HTTP: beyond this machine it belongs behind a proxy that
    speaks TLS."""

    host: Host = "127.0.0.1"
    port: Port = 9479
    max_connections: Annotated[int, whole(4, 10_000, "connections")] = 200
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` is believed."""
    requests_per_minute: Annotated[int, whole(1, 1_000_000, "requests")] = 600
    """Of one token."""
    failed_logins_per_minute: Annotated[int, whole(1, 10_000, "requests")] = 10
    """Of one address."""
    max_body_bytes: Annotated[int, whole(1_024, 16_777_216, "bytes")] = 65_536
    """Of one request."""
    body_timeout_s: Annotated[float, decimal("0.1", "60", "seconds")] = 10.0
    """For a request's body to arrive."""


class Console(Section):
    """The operator's console, for browsers. It speaks plain HTTP: beyond this machine it belongs behind a proxy that
    speaks TLS."""

    host: Host = "127.0.0.1"
    port: Port = 9480
    max_connections: Annotated[int, whole(4, 10_000, "connections")] = 50
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` is believed."""
    idle_min: Annotated[int, whole(1, 1_440, "minutes")] = 30
    """After so long without a click a session is over."""
    session_h: Annotated[int, whole(1, 168, "hours")] = 12
    """After so long it is over in any case."""
    failed_logins_per_minute: Annotated[int, whole(1, 1_000, "logins")] = 5
    """Of one address; one name may have 20 times as many, from all addresses."""
    openid_issuer: Place | None = None
    """The login provider's, by whom people may log in too (OpenID Connect)."""
    openid_client_id: Text | None = None
    """What the provider calls us."""
    openid_client_secret_env: EnvironmentName | None = None
    openid_client_secret_file: FilePath | None = None
    """What it has given us with that."""
    openid_ca_file: FilePath | None = None
    """By whose certificates the provider is known, in place of the public ones."""
    openid_url: Origin = "http://localhost:9480"
    """Where browsers reach the console."""
    openid_scopes: tuple[Scope, ...] = ()
    """What is asked for beside ``openid``, so that the token has the claims."""
    openid_name_claim: Text = "sub"
    """By what someone is called, in the journal too: it must be one person's for ever."""
    openid_role_claim: Text = "groups"
    """A text, or a list of them: each value may give a role; without one nobody gets in."""
    openid_view: tuple[Text, ...] = ()
    openid_support: tuple[Text, ...] = ()
    openid_admin: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _whole_openid(self) -> Self:
        if self.openid_issuer is None:
            if meant := _set(self, "openid_"):
                raise refusal(f"openid_issuer beside {meant}: without it nobody logs in by a provider", found="none")
            return self
        if not is_safe_place(self.openid_issuer) or not is_safe_place(self.openid_url):
            expected = "openid_issuer and openid_url with https://, or with http:// on this machine"
            raise refusal(expected, found=f"{self.openid_issuer}, {self.openid_url}")
        if self.openid_client_id is None:
            raise refusal("openid_client_id, as the provider calls us", found="none")
        secret = [one for one in (self.openid_client_secret_env, self.openid_client_secret_file) if one is not None]
        if len(secret) != 1:
            found = "both" if secret else "neither of them"
            raise refusal("one of openid_client_secret_env and openid_client_secret_file", found=found)
        if not (self.openid_view or self.openid_support or self.openid_admin):
            raise refusal("values of openid_role_claim in openid_view, openid_support or openid_admin", found="none")
        return self


class CustomerPage(Section):
    """The customer's page, and the balance widget. It speaks plain HTTP: beyond this machine it belongs behind a proxy
    that speaks TLS."""

    host: Host = "127.0.0.1"
    port: Port = 9481
    max_connections: Annotated[int, whole(4, 10_000, "connections")] = 300
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` is believed."""
    url: Origin = "http://localhost:9481"
    """Where customers' browsers reach it."""
    sign_in_url: Place | None = None
    """The operator's own page on which a customer signs in."""
    link_s: Annotated[int, whole(10, 3_600, "seconds")] = 120
    """For which a link that signs in is good."""
    idle_min: Annotated[int, whole(1, 1_440, "minutes")] = 30
    """After so long without a click a session is over."""
    session_h: Annotated[int, whole(1, 168, "hours")] = 12
    """After so long it is over in any case."""
    widget_min: Annotated[int, whole(1, 1_440, "minutes")] = 60
    """For which a token of the balance widget is good."""
    widget_origins: tuple[Origin, ...] = ()
    """The sites in whose pages the widget may ask."""
    payment_provider: Literal["none", "mollie", "stripe"] = "none"
    """Where customers pay for credit."""
    payment_key_env: EnvironmentName | None = None
    payment_key_file: FilePath | None = None
    """The provider's secret key."""
    payment_hook_secret_env: EnvironmentName | None = None
    payment_hook_secret_file: FilePath | None = None
    """With which Stripe signs what it posts."""
    payment_url: Origin | None = None
    """Another place than the provider's own, for tests."""

    @model_validator(mode="after")
    def _secrets_of_the_provider(self) -> Self:
        key = [one for one in (self.payment_key_env, self.payment_key_file) if one is not None]
        hook = [one for one in (self.payment_hook_secret_env, self.payment_hook_secret_file) if one is not None]
        if "payment_provider" not in self.model_fields_set and (alone := _set(self, "payment_")):
            raise refusal("payment_provider, without which nothing is sold", found=f"{alone} alone")
        if self.payment_provider != "none" and len(key) != 1:
            found = "both" if key else "neither of them"
            raise refusal("one of payment_key_env and payment_key_file", found=found)
        if self.payment_provider == "stripe" and len(hook) != 1:
            found = "both" if hook else "neither of them"
            raise refusal("one of payment_hook_secret_env and payment_hook_secret_file", found=found)
        if self.payment_provider != "none" and self.payment_url is None and not self.url.startswith("https://"):
            raise refusal("a url with https://, where customers and the provider come back to", found=self.url)
        return self


class Webhook(Section):
    """A program of the operator's that is told what happens, by the rules of Standard Webhooks."""

    name: HookName = Field(description="a name, by which what it was told is remembered")
    url: HookUrl = Field(description="where events are posted")
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    """With which we sign."""
    events: tuple[EventType, ...] = ()
    """The types that are sent; empty: all."""
    private_addresses: Flag = False
    """Whether it may be at an address of a private network."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @model_validator(mode="after")
    def _signed_and_sealed(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            found = "neither of them" if self.secret_env is None else "both"
            raise refusal("one of secret_env and secret_file", found=found)
        if not self.url.startswith("https://") and not is_loopback(self.host):
            raise refusal("a url with https://: what is sent names people", found=self.url)
        return self


def _set(section: Section, prefix: str) -> str:
    """The first of the settings with such names that is something else than it would be if it were left out."""
    fields = type(section).model_fields.items()
    return next((name for name, one in fields if name.startswith(prefix) and getattr(section, name) != one.default), "")


def is_loopback(host: str) -> bool:
    """Whether a host, as a url names it, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def signing_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a webhook's secret, or of several with spaces between while one is changed for another. Raises
    ValueError."""
    keys = []
    for one in text.split():
        try:
            key = base64.b64decode(one.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not one.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
            raise ValueError("whsec_ and the base64 of 24 to 64 bytes")
        keys.append(key)
    return tuple(keys)
