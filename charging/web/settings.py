"""The section ``api`` of charging.yaml: where the website and other programs ask; and ``console``: where the
operator's people look and act in their browsers. Left out, nothing is served there."""

from __future__ import annotations

from typing import Annotated

from charging.yaml_model import Host, Networks, Port, Section, decimal, whole

FRONTS = ("api", "console")
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
