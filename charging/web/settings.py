"""The section ``api`` of charging.yaml: where the website and other programs ask; ``console``: where the operator's
people look and act in their browsers; and ``customer_page``: where his customers do. Left out, nothing is served
there."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from charging.yaml_model import (
    EnvironmentName,
    FilePath,
    Host,
    Networks,
    Port,
    Section,
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

FRONTS = ("api", "console", "customer_page")
"""These sections, and what their listeners are called: a process of its own serves them."""


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
        if self.payment_provider != "none" and len(key) != 1:
            found = "both" if key else "neither of them"
            raise refusal("one of payment_key_env and payment_key_file", found=found)
        if self.payment_provider == "stripe" and len(hook) != 1:
            found = "both" if hook else "neither of them"
            raise refusal("one of payment_hook_secret_env and payment_hook_secret_file", found=found)
        if self.payment_provider != "none" and self.payment_url is None and not self.url.startswith("https://"):
            raise refusal("a url with https://, where customers and the provider come back to", found=self.url)
        return self
