"""The section ``mail`` of ``config/charging.yaml``: how notices leave."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from charging.yaml_model import FilePath, Host, Port, Section, Text, decimal, pattern, refusal, whole

MailAddress = Annotated[
    str, pattern(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "a mail address in ASCII")
]
Website = Annotated[str, pattern(r"https?://[!-~]{1,400}", "a web address that begins with https:// or http://")]
EnvironmentName = Annotated[str, pattern(r"[A-Za-z_][A-Za-z0-9_]{0,99}", "the name of an environment variable")]


class Mail(Section):
    """The server that takes mail, who it is from, and what it links to."""

    host: Host = "127.0.0.1"
    port: Port = 25
    tls: Literal["none", "starttls", "implicit"] = "none"
    ca_file: FilePath | None = None
    user: Text | None = None
    password_env: EnvironmentName | None = None
    password_file: FilePath | None = None
    sender_address: MailAddress = Field(description="the address that notices come from")
    sender_name: Text = Field(description="the operator's name, as customers know it")
    top_up_url: Website = Field(description="where customers buy credit")
    templates: FilePath | None = None
    timeout_s: Annotated[float, decimal("0.1", "120", "seconds")] = 30.0
    retry_first_s: Annotated[int, whole(1, 3600, "seconds")] = 60
    retry_most_s: Annotated[int, whole(1, 86_400, "seconds")] = 3600
    give_up_after_h: Annotated[int, whole(1, 720, "hours")] = 72
    missed_calls_pause_min: Annotated[int, whole(0, 1440, "minutes")] = 15

    @model_validator(mode="after")
    def _secret_only_where_it_stays_secret(self) -> Self:
        given = [one for one in (self.password_env, self.password_file) if one is not None]
        if len(given) != (self.user is not None):
            found = f"{'a' if self.user else 'no'} user and {('no password', 'one', 'both of them')[len(given)]}"
            raise refusal("a user with one of password_env and password_file, or none of the three", found=found)
        if self.user is not None and self.tls == "none" and not _is_loopback(self.host):
            raise refusal("tls: starttls or implicit where a password goes over the network", found="tls: none")
        return self

    @model_validator(mode="after")
    def _retries_in_order(self) -> Self:
        if self.retry_most_s < self.retry_first_s:
            raise refusal(f"retry_most_s of at least retry_first_s ({self.retry_first_s} s)")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
