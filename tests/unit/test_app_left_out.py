"""A secret that calls do without and that cannot be read leaves its front out, and the daemon starts; every other wrong
word of the settings is refused as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.app_left_out import config_for_calls
from charging.errors import ConfigError
from tests.integration.command import Place

AMI = {"TEST_AMI_SECRET": "x"}
CONSOLE = """\
console: {port: 19001, openid_issuer: "https://id.example", openid_client_id: c, openid_url: "https://c.example",
  openid_view: [staff], openid_client_secret_file: none.secret}
"""
PAGE = """\
customer_page: {port: 19002, url: "https://page.example", payment_provider: mollie, payment_key_file: none.secret}
"""
HOOKS = """\
webhooks:
  - {name: one, url: "https://site.example/a", secret_file: none.secret}
  - {name: two, url: "https://site.example/b", secret_env: HOOK}
  - {name: three, url: "https://site.example/c", secret_env: SHORT}
"""
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAIL = """\
mail: {host: 127.0.0.1, sender_address: a@voice.example, sender_name: V, top_up_url: "https://v.example", user: u,
  password_file: none.secret}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.write()
    return made


def test_what_lacks_its_secret_is_left_out_and_told(place: Place) -> None:
    place.config.write_text(place.config.read_text() + CONSOLE + PAGE + HOOKS + MAIL)
    config = config_for_calls(place.config, {**AMI, "HOOK": HOOK, "SHORT": "short"})
    settings = config.settings
    assert (settings.console, settings.customer_page) == (None, None)
    assert [one.name for one in settings.webhooks] == ["two"]
    assert [one.get_secret_value() for one in config.webhook_secrets] == [HOOK]
    assert settings.mail is not None, "what there is to send waits"
    assert sorted(one.path for one in config.unread) == [
        "console.openid_client_secret_file",
        "customer_page.payment_key_file",
        "mail.password_file",
        "webhooks[0].secret_file",
        "webhooks[2].secret_env",
    ]


def test_with_every_secret_there_nothing_is_left_out(place: Place) -> None:
    secret = place.folder / "none.secret"
    secret.write_text(HOOK)
    secret.chmod(0o600)
    place.config.write_text(place.config.read_text() + CONSOLE + PAGE + HOOKS + MAIL)
    config = config_for_calls(place.config, {**AMI, "HOOK": HOOK, "SHORT": HOOK})
    assert config.unread == ()
    assert config.settings.console is not None
    assert len(config.settings.webhooks) == len(config.webhook_secrets) == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("secret_env: TEST_AMI_SECRET", "secret_env: NONE", "switch.ami.secret_env"),
        ('url: "sqlite:///ledger.db"', 'url: "redis://10.0.0.1", password_file: none.secret', "ledger.password_file"),
        ("port: 19001", "port: 0", "console.port"),
    ],
)
def test_what_calls_need_and_every_other_wrong_word_is_refused_with_all_problems(
    place: Place, old: str, new: str, told: str
) -> None:
    place.config.write_text((place.config.read_text() + CONSOLE).replace(old, new))
    with pytest.raises(ConfigError) as refused:
        config_for_calls(place.config, AMI)
    assert told in [one.path for one in refused.value.problems]


def test_a_sandbox_never_has_a_key_of_real_money(place: Place) -> None:
    page = PAGE.replace("payment_key_file: none.secret", "payment_key_env: KEY")
    place.config.write_text(place.config.read_text() + "sandbox: yes\n" + page)
    with pytest.raises(ConfigError, match="real money"):
        config_for_calls(place.config, {**AMI, "KEY": "live_key"})
