"""The section `mail` as an operator writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from charging.errors import ConfigError
from charging.notify.settings import Mail
from charging.yaml_model import Section, validate
from charging.yaml_text import parse_document

LEAST = "sender_address: no-reply@voice.example, sender_name: Example, top_up_url: https://www.voice.example/"


class Whole(Section):
    mail: Mail = Field(description="a section mail")


def read(text: str) -> Mail:
    return validate(parse_document(f"mail: {{{LEAST}, {text}}}\n", "c.yaml"), Whole, base_folder=Path("/etc/c")).mail


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    return str(problem)


def test_sender_and_links_are_enough() -> None:
    mail = read("port: 25")
    assert (mail.host, mail.port, mail.tls, mail.user) == ("127.0.0.1", 25, "none", None)
    assert (mail.retry_first_s, mail.retry_most_s, mail.give_up_after_h) == (60, 3600, 72)


def test_paths_start_at_the_files_folder() -> None:
    mail = read("templates: mails, ca_file: /etc/ca.pem")
    assert (mail.templates, mail.ca_file) == (Path("/etc/c/mails"), Path("/etc/ca.pem"))


@pytest.mark.parametrize("missing", ["sender_address", "sender_name", "top_up_url"])
def test_what_has_no_default_is_asked_for(missing: str) -> None:
    kept = ", ".join(part for part in LEAST.split(", ") if not part.startswith(missing))
    with pytest.raises(ConfigError, match=rf"mail\.{missing}"):
        validate(parse_document(f"mail: {{{kept}}}\n", "c.yaml"), Whole)


@pytest.mark.parametrize("secret", ["password_env: X", "password_file: secret"])
def test_a_user_has_one_password(secret: str) -> None:
    assert read(f"tls: starttls, user: charging, {secret}").user == "charging"
    assert "a user and no password" in refused("user: charging")
    assert "a user and both of them" in refused("user: charging, password_env: X, password_file: y")
    assert "no user and one" in refused(secret)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", '"::1"'])
def test_a_password_may_go_in_the_clear_on_this_machine(host: str) -> None:
    assert read(f"host: {host}, user: charging, password_env: X").tls == "none"


@pytest.mark.parametrize("host", ["mail.example.nl", "10.0.0.1", "localhost.example.nl"])
def test_a_password_does_not_go_over_a_network_in_the_clear(host: str) -> None:
    assert "starttls or implicit" in refused(f"host: {host}, user: charging, password_env: X")
    assert read(f"host: {host}, user: charging, password_env: X, tls: implicit").tls == "implicit"
    assert read(f"host: {host}").tls == "none"


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    assert read("retry_first_s: 60, retry_most_s: 60").retry_most_s == 60
    assert "retry_most_s of at least" in refused("retry_first_s: 61, retry_most_s: 60")


@pytest.mark.parametrize(
    "text",
    [
        'sender_address: "Voice <a@b.nl>"',
        "sender_address: voice",
        "top_up_url: www.voice.example",
        'top_up_url: "javascript:alert(1)"',
        'sender_name: "a\\r\\nBcc: x"',
        "tls: ssl",
        "port: 0",
        "retry: 3",
        "timeout_s: 121",
    ],
)
def test_what_cannot_work_is_refused(text: str) -> None:
    key = text.partition(":")[0]
    parts = [part for part in LEAST.split(", ") if not part.startswith(key)]
    document = parse_document(f"mail: {{{', '.join([*parts, text])}}}\n", "c.yaml")
    with pytest.raises(ConfigError, match=key):
        validate(document, Whole)
