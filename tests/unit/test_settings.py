"""Settings: the shipped file says what the code does, and every problem is named at its place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from charging import settings
from charging.errors import ConfigError, Problem
from charging.settings import Config, Settings, load_config
from charging.web.settings import Console, CustomerPage
from charging.yaml_model import _inner
from charging.yaml_text import parse_document

SHIPPED = Path(__file__).parents[2] / "config" / "charging.yaml"
SIGNED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENVIRONMENT = {"AMI": "open sesame", "CHARGING_AMI_SECRET": "open sesame", "WEBHOOK_WEBSITE": SIGNED}
MINIMAL = """\
switch:
  ami:
    secret_env: AMI
ledger:
  url: sqlite:///money.db
tariff: tariff.yaml
control:
  socket: charging.sock
"""


def config_from_text(text: str, file: Path, environ: Mapping[str, str]) -> Config:
    return settings.config_of(parse_document(text, str(file)), environ)


def config_of(text: str, environ: Mapping[str, str] = ENVIRONMENT) -> Config:
    return config_from_text(text, Path("/etc/charging/charging.yaml"), environ)


def problems_of(text: str) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        config_of(text)
    return {problem.path: problem for problem in caught.value.problems}


def with_section(section: str, line: str) -> str:
    """MINIMAL with one more line in a section."""
    if f"{section}:\n" in MINIMAL:
        indent = "    " if section == "  ami" else "  "
        return MINIMAL.replace(f"{section}:\n", f"{section}:\n{indent}{line}\n", 1)
    return f"{MINIMAL}{section}:\n  {line}\n"


def keys_of(model: type[BaseModel], path: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        keys |= keys_of(inner, f"{path}{name}.") if is_section else {f"{path}{name}"}
    return keys


def uncommented(text: str) -> str:
    """Every commented-out key put in force, but for the alternatives to a secret in the environment."""
    lines = [line for line in text.splitlines() if "_file:" not in line and "password_" not in line]
    return "\n".join(re.sub(r"^( *)#(  |- )?(?=[a-z_]+:)", r"\1\2", line) for line in lines)


def test_shipped_file_is_valid() -> None:
    assert load_config(SHIPPED, ENVIRONMENT).ami_secret.get_secret_value() == "open sesame"


def test_shipped_file_shows_the_defaults_in_its_comments() -> None:
    text = SHIPPED.read_text()
    shown = config_from_text(uncommented(text), SHIPPED, ENVIRONMENT).settings
    assert shown.console == Console(), "which is off in the file, with its keys"
    assert shown.customer_page == CustomerPage(), "likewise"
    assert [one.name for one in shown.webhooks] == ["website"]
    off = {"console": None, "customer_page": None, "webhooks": ()}
    in_force = yaml.safe_load(text).keys()
    assert not off.keys() & in_force, "an older version, which knows them not, must read the file after a way back"
    assert shown.model_copy(update=off) == load_config(SHIPPED, ENVIRONMENT).settings


def test_shipped_file_names_every_key() -> None:
    named: set[str] = set()
    sections: list[tuple[int, str]] = []
    for line in SHIPPED.read_text().splitlines():
        if match := re.match(r"( *)#?(  |- )?([a-z_]+):( |$)", line):
            depth = len(match[1] + (match[2] or ""))
            sections = [one for one in sections if one[0] < depth]
            named.add(".".join([*(name for _, name in sections), match[3]]))
            sections.append((depth, match[3]))
    assert keys_of(Settings) <= named


HOOK = "webhooks: [{name: site, url: %s, %s}]\n"
GOOD_HOOK = HOOK % ("https://site.example/hooks", "secret_env: HOOK")


def test_a_webhook_has_its_secret() -> None:
    config = config_of(MINIMAL + GOOD_HOOK, {"AMI": "x", "HOOK": f"{SIGNED} {SIGNED}"})
    assert [one.get_secret_value() for one in config.webhook_secrets] == [f"{SIGNED} {SIGNED}"]
    assert SIGNED not in repr(config)


@pytest.mark.parametrize(
    ("hook", "key", "expected"),
    [
        (HOOK % ("http://site.example/", "secret_env: HOOK"), "webhooks[0]", "a url with https://"),
        (HOOK % ("https://u:p@site.example/", "secret_env: HOOK"), "webhooks[0].url", "a web address without a user"),
        (HOOK % ("https://site.example/#x", "secret_env: HOOK"), "webhooks[0].url", "a web address without a user"),
        (HOOK % ("https://my..example/", "secret_env: HOOK"), "webhooks[0].url", "a web address without a user"),
        (HOOK % (f"https://{64 * 'a'}.nl", "secret_env: HOOK"), "webhooks[0].url", "a web address without a user"),
        (HOOK % ("https://site.example", "events: []"), "webhooks[0]", "one of secret_env and secret_file"),
        (HOOK % ("https://site.example", "secret_env: AMI"), "webhooks[0].secret_env", "one that is whsec_ and"),
        (HOOK % ("https://site.example", "secret_env: NO"), "webhooks[0].secret_env", "a secret in the environment"),
        (HOOK % ("https://a.example", "secret_env: HOOK, events: [call.endet]"), "webhooks[0].events[0]", "call.ended"),
        (GOOD_HOOK.replace("}]", "}, {name: site, url: https://a, secret_env: HOOK}]"), "webhooks[1].name", "a name"),
        ("webhooks: [" + ", ".join(GOOD_HOOK[11:-2] for _ in range(17)) + "]\n", "webhooks", "at most 16"),
    ],
)
def test_a_webhook_that_cannot_be_is_a_problem_at_its_place(hook: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_of(MINIMAL + hook, {"AMI": "x", "HOOK": SIGNED})
    assert expected in next(one.expected for one in refused.value.problems if one.path == key)
    assert SIGNED not in str(refused.value)


@pytest.mark.parametrize("url", ["http://localhost:8000/hooks", "http://127.0.0.1/", "http://[::1]:8000?x=1"])
def test_on_this_machine_a_webhook_needs_no_tls(url: str) -> None:
    text = HOOK % (f'"{url}"', "secret_env: HOOK")
    assert config_of(MINIMAL + text, {"AMI": "x", "HOOK": SIGNED}).settings.webhooks[0].url == url


PAGE = "customer_page: {url: https://my.voice.example, payment_provider: %s%s}\n"


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        (PAGE % ("none", ""), True),
        (PAGE % ("mollie", ""), False),
        (PAGE % ("mollie", ", payment_key_env: AMI"), True),
        (PAGE % ("mollie", ", payment_key_env: A, payment_key_file: b"), False),
        (PAGE % ("stripe", ", payment_key_env: AMI"), False),
        (PAGE % ("stripe", ", payment_key_env: AMI, payment_hook_secret_env: AMI"), True),
        (PAGE % ("none", ", payment_hook_secret_env: AMI"), True),
        ("customer_page: {payment_key_env: AMI}\n", False),
        ("customer_page: {payment_url: http://localhost:1}\n", False),
    ],
)
def test_a_payment_provider_needs_its_secrets(text: str, is_good: bool) -> None:
    if not is_good:
        with pytest.raises(ConfigError):
            config_of(MINIMAL + text)
        return
    config = config_of(MINIMAL + text)
    assert (config.payment_key is not None) == ("payment_key" in text)
    assert (config.payment_hook_secret is not None) == ("hook_secret" in text)


OPENID = {
    "openid_issuer": "https://login.example/staff",
    "openid_client_id": "charging",
    "openid_client_secret_env": "AMI",
    "openid_url": "https://console.example",
    "openid_admin": ["chiefs"],
}


@pytest.mark.parametrize(
    ("changed", "is_good"),
    [
        ({}, True),
        ({"openid_issuer": "http://127.0.0.1:8080", "openid_url": "http://localhost:9480"}, True),
        ({"openid_issuer": "http://login.example/staff"}, False),
        ({"openid_issuer": "http://127.0.0.1.example"}, False),
        ({"openid_issuer": "https://a@login.example"}, False),
        ({"openid_url": "http://console.example"}, False),
        ({"openid_client_id": None}, False),
        ({"openid_client_secret_env": None}, False),
        ({"openid_client_secret_file": "secret"}, False),
        ({"openid_client_secret_env": "NOT_THERE"}, False),
        ({"openid_admin": None}, False),
        ({"openid_issuer": None}, False),
        ({"openid_admin": None, "openid_view": ["staff"]}, True),
        (dict.fromkeys(OPENID) | {"openid_role_claim": "roles"}, False),
    ],
    ids=str,
)
def test_a_login_provider_is_named_wholly_and_spoken_to_in_secret(changed: dict[str, object], is_good: bool) -> None:
    keys = {name: one for name, one in (OPENID | changed).items() if one is not None}
    text = f"{MINIMAL}console: {json.dumps(keys)}\n"
    if is_good:
        assert config_of(text).openid_secret is not None
    else:
        assert problems_of(text).keys() <= {"console", "console.openid_client_secret_env"} != set()


def test_what_is_said_of_a_login_provider_that_is_not_named_is_refused_by_its_key() -> None:
    problems = problems_of(f"{MINIMAL}console: {{openid_view: [staff]}}\n")
    assert "openid_issuer beside openid_view" in str(problems["console"])
    assert config_of(f"{MINIMAL}console: {{}}\n").openid_secret is None


@pytest.mark.parametrize("key", ["test_abc", "sk_test_abc", "live_abc", "sk_live_abc", "xtest_abc"])
def test_a_sandbox_takes_no_key_by_which_money_moves(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    page = PAGE % ("mollie", f", payment_key_file: {tmp_path / 'key'}")
    real = config_of(MINIMAL + page)
    assert real.payment_key is not None
    if key.startswith(("test_", "sk_test_")):
        assert config_of(MINIMAL + page + "sandbox: yes\n").payment_key == real.payment_key
        return
    problems = problems_of(MINIMAL + page + "sandbox: yes\n")
    assert problems.keys() == {"customer_page.payment_key_file"}
    assert key not in str(problems)


@pytest.mark.parametrize(
    ("section", "is_good"),
    [
        ("url: http://my.voice.example", False),
        ("#", False),
        ("url: https://my.voice.example", True),
        ("{url: http://localhost:9481, payment_url: http://localhost:1}", True),
    ],
)
def test_who_sells_has_a_page_with_tls_unless_the_provider_is_a_test(section: str, is_good: bool) -> None:
    page = {"payment_provider": "mollie", "payment_key_env": "AMI", **(yaml.safe_load(section) or {})}
    text = MINIMAL + yaml.safe_dump({"customer_page": page})
    if is_good:
        assert config_of(text).payment_key is not None
        return
    with pytest.raises(ConfigError, match="a url with https://"):
        config_of(text)


def test_minimal_file_takes_every_default() -> None:
    settings = config_of(MINIMAL).settings
    assert settings.charging.tick_s == 60
    assert settings.charging.answer_tolerance_ms == 200
    assert settings.switch.ami.ping_interval_s == 2.0
    assert settings.logs.format == "json"


def test_section_without_keys_takes_its_defaults() -> None:
    assert config_of(MINIMAL + "charging:\nlogs:\n") == config_of(MINIMAL)


def test_relative_paths_start_at_the_folder_of_the_file() -> None:
    settings = config_of(MINIMAL.replace("socket: charging.sock", "socket: ../run/c.sock")).settings
    assert settings.tariff == Path("/etc/charging/tariff.yaml")
    assert settings.control.socket == Path("/etc/run/c.sock")
    assert settings.ledger.sqlite_file == Path("/etc/charging/money.db")


def test_absolute_paths_stay() -> None:
    settings = config_of(MINIMAL.replace("sqlite:///money.db", "sqlite:////srv/money.db")).settings
    assert settings.ledger.sqlite_file == Path("/srv/money.db")
    assert settings.ledger.url == "sqlite:////srv/money.db"


@pytest.mark.parametrize(
    ("section", "line", "expected"),
    [
        ("charging", "tick_s: 0", "a whole number of seconds from 1 to 3600"),
        ("charging", "tick_s: 3601", "a whole number of seconds from 1 to 3600"),
        ("charging", "tick_s: 1_0", "a whole number of seconds from 1 to 3600"),
        ("charging", "tick_s: 1.5", "a whole number of seconds from 1 to 3600"),
        ("charging", "tick_s:", "a whole number of seconds from 1 to 3600"),
        ("charging", "tick_s: [1]", "a whole number of seconds from 1 to 3600"),
        ("charging", "answer_tolerance_ms: 1000", "a whole number of milliseconds from 0 to 999"),
        ("agi", "header_timeout_s: 0.09", "seconds from 0.1 to 60, with at most three decimals"),
        ("agi", "header_timeout_s: 1e1", "seconds from 0.1 to 60, with at most three decimals"),
        ("charging", "region: nl", "a country's two capital letters, for example NL"),
        ("charging", "default_language: fr", "nl or en"),
        ("agi", "port: 65536", "a whole number from 1 to 65535"),
        ("agi", "host: a b", "a host name or an IP address"),
        ("http", "host: 127.0.0.1:80", "a host name or an IP address"),
        ("agi", "host: 'pbx.example:'", "a host name or an IP address"),
        ("switch", "id: Main", "up to 32 small letters, digits and dashes"),
        ("switch", "prompts_dir_on_switch: sounds", "an absolute folder on the switch"),
        ("logs", "level: loud", "debug, info, warning or error"),
    ],
)
def test_value_out_of_its_range_is_refused(section: str, line: str, expected: str) -> None:
    problems = problems_of(with_section(section, line))
    key = f"{section}.{line.partition(':')[0]}"
    assert problems[key].expected == expected
    assert list(problems) == [key]


@pytest.mark.parametrize(
    ("sections", "wrong"),
    [
        ("agi: {port: 4600}\nhttp: {port: 4600}\n", "http.port"),
        ("agi: {port: 4600, host: 0.0.0.0}\napi: {port: 4600}\n", "api.port"),
        ("http: {port: 4600}\napi: {port: 4600, host: '::'}\n", "api.port"),
        ("api: {port: 4600}\nconsole: {port: 4600}\n", "console.port"),
        ("api: {port: 4600}\ncustomer_page: {port: 4600}\n", "customer_page.port"),
        ("agi: {port: 4600, host: localhost}\nhttp: {port: 4600}\n", "http.port"),
        ("console: {port: 9479}\napi:\n", "console.port"),
        ("agi: {port: 4600, host: 127.0.0.3}\nhttp: {port: 4600, host: localhost}\n", ""),
        ("agi: {port: 4600}\nhttp: {port: 4600, host: 127.0.0.2}\n", ""),
        ("agi: {port: 4600}\nhttp: {port: 4601}\n", ""),
    ],
)
def test_two_sections_on_one_port_are_refused(sections: str, wrong: str) -> None:
    if not wrong:
        config_of(MINIMAL + sections)
        return
    problem = problems_of(MINIMAL + sections)[wrong]
    assert problem.found in ("port 4600", "port 9479")
    assert problem.expected.startswith("another port than that of ")
    assert problem.hint == "give each section its own"


@pytest.mark.parametrize(
    ("ami", "section", "is_refused"),
    [
        ("", "agi: {port: 5038}\n", True),
        ("", "http: {port: 5038, host: 0.0.0.0}\n", True),
        ("    host: localhost\n    port: 5039\n", "api: {port: 5039}\n", True),
        ("", "api: {port: 5039}\n", False),
        ("    host: 192.0.2.1\n", "agi: {port: 5038}\n", False),
    ],
)
def test_the_port_of_the_switch_on_this_machine_is_no_sections(ami: str, section: str, is_refused: bool) -> None:
    text = MINIMAL.replace("  ami:\n", f"  ami:\n{ami}") + section
    key = f"{section.partition(':')[0]}.port"
    if not is_refused:
        config_of(text)
        return
    assert problems_of(text)[key].expected.startswith("another port than that of the manager interface, switch.ami (")


@pytest.mark.parametrize("there", [True, False])
def test_systemds_copy_of_a_secret_goes_first(tmp_path: Path, there: bool) -> None:
    """The unit's user may not read the file itself; root, who checks before the first start, may."""
    (tmp_path / "ami.secret").write_text("the file's own\n")
    (tmp_path / "ami.secret").chmod(0o600)
    (tmp_path / "passed").mkdir()
    if there:
        (tmp_path / "passed" / "ami.secret").write_text("systemd's copy\n")
        (tmp_path / "passed" / "ami.secret").chmod(0o440)
    text = MINIMAL.replace("secret_env: AMI", "secret_file: ami.secret")
    config = config_from_text(text, tmp_path / "charging.yaml", {"CREDENTIALS_DIRECTORY": str(tmp_path / "passed")})
    assert config.ami_secret.get_secret_value() == ("systemd's copy" if there else "the file's own")


def test_warning_earlier_than_the_horizon_is_refused() -> None:
    text = with_section("charging", "warn_before_s: 61")
    assert problems_of(text)["charging.warn_before_s"].expected == "at most horizon_s (60 s)"


def test_warning_as_early_as_the_horizon_is_taken() -> None:
    assert config_of(with_section("charging", "warn_before_s: 60")).settings.charging.warn_before_s == 60


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("charging", "tick_s: 1"),
        ("charging", "tick_s: 3600"),
        ("charging", "answer_tolerance_ms: 999"),
        ("agi", "header_timeout_s: 0.1"),
        ("charging", "default_language: en"),
        ("agi", "port: 65535"),
        ("agi", "host: '::1'"),
        ("logs", "level: debug"),
    ],
)
def test_value_at_the_edge_of_its_range_is_taken(section: str, line: str) -> None:
    name, _, text = line.partition(": ")
    value = getattr(getattr(config_of(with_section(section, line)).settings, section), name)
    assert str(value) == text.strip("'")


def test_unknown_key_is_refused_with_a_suggestion_and_its_place() -> None:
    problem = problems_of(MINIMAL + "charging:\n  tik_s: 3\n")["charging.tik_s"]
    assert (problem.line, problem.column) == (10, 3)
    assert problem.found == "the unknown key 'tik_s'"
    assert problem.hint == "did you mean 'tick_s'?"


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    text = "switch: {id: X, ami: {port: 0, secret_env: AMI}}\nledger: {url: mysql://x}\ntarif: t\nlogs: []\n"
    paths = list(problems_of(text))
    assert set(paths) == {"switch.id", "switch.ami.port", "ledger.url", "tarif", "logs", "tariff", "control"}
    lines = [problem.line or 0 for problem in problems_of(text).values()]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/db",
        "sqlite://money.db",
        "sqlite:///",
        "sqlite:///a?mode=ro",
        "money.db",
        "redis://",
        "redis://h:port/0",
        "redis://h/0 1",
        "redis://[::1",
        "redis://h?",
        "redis://h?a b",
        "redis://h/0?min_replica_ack=1",
        "redis://h/0?min_replicas_ack=one",
        "redis://h/first",
        "redis+sentinel://h",
        "redis+cluster://h/1",
        "rediss://h?tls=no",
    ],
)
def test_ledger_url_of_another_form_is_refused(url: str) -> None:
    assert "ledger.url" in problems_of(MINIMAL.replace("sqlite:///money.db", repr(url)))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:6379/0",
        "rediss://user@[::1]:7/1",
        "redis+sentinel://a:1,b:2/m/0",
        "rediss://user@h?ca_file=/etc/ca.pem&min_replicas_ack=1",
    ],
)
def test_redis_urls_are_taken(url: str) -> None:
    assert config_of(MINIMAL.replace("sqlite:///money.db", url)).settings.ledger.url == url


@pytest.mark.parametrize("sign", ["", "/", "#", "?", "@", "%", ":", "[", "//"])
@pytest.mark.parametrize(
    "url", ["redis://me:hush{}hush@h/0", "rediss://:hush{}hush@h", "redis:/me:hush{}@h", "db://me:hush{}@h"]
)
def test_password_in_the_ledger_url_is_refused_and_not_repeated(url: str, sign: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(MINIMAL.replace("sqlite:///money.db", repr(url.format(sign))))
    assert "a URL without a password" in str(caught.value)
    is_known = url.startswith(("redis://", "rediss://"))
    assert ("sqlite://," in str(caught.value)) != is_known, "of an unknown scheme: those that there are"
    assert "hush" not in str(caught.value)


def test_a_file_may_have_any_name() -> None:
    assert config_of(MINIMAL.replace("sqlite:///money.db", "sqlite:////a:b/c@d:e/f@g.db")).settings.ledger.sqlite_file


def test_password_for_sqlite_is_refused() -> None:
    text = MINIMAL.replace("ledger:\n", "ledger:\n  password_env: AMI\n")
    assert problems_of(text)["ledger"].found == "a password for SQLite"


def test_ledger_password_comes_from_its_reference() -> None:
    text = MINIMAL.replace("sqlite:///money.db", "redis://h/0\n  password_env: AMI")
    password = config_of(text).ledger_password
    assert password is not None
    assert password.get_secret_value() == "open sesame"


def test_sentinel_password_comes_from_its_reference() -> None:
    text = MINIMAL.replace("sqlite:///money.db", "redis+sentinel://h/m\n  sentinel_password_env: AMI")
    config = config_of(text)
    assert config.ledger_password is None
    assert config.sentinel_password is not None
    assert config.sentinel_password.get_secret_value() == "open sesame"


def test_sentinel_password_without_sentinels_or_named_twice_is_refused() -> None:
    text = MINIMAL.replace("sqlite:///money.db", "redis://h/0\n  sentinel_password_env: AMI")
    assert problems_of(text)["ledger"].found == "a ledger without sentinels"
    named = "redis+sentinel://h/m\n  sentinel_password_env: AMI\n  sentinel_password_file: s"
    assert problems_of(MINIMAL.replace("sqlite:///money.db", named))["ledger"].found == "both"


def test_secret_is_named_exactly_once() -> None:
    both = MINIMAL.replace("secret_env: AMI", "secret_env: AMI\n    secret_file: s")
    assert problems_of(both)["switch.ami"].found == "both"
    neither = MINIMAL.replace("    secret_env: AMI", "    user: u")
    assert problems_of(neither)["switch.ami"].found == "neither of them"


def test_secret_missing_from_the_environment_is_a_problem_that_names_the_variable() -> None:
    problem = problems_of(MINIMAL.replace("AMI", "ABSENT"))["switch.ami.secret_env"]
    assert problem.expected == "a secret in the environment variable ABSENT"
    assert problem.line == 3


def secret_file(folder: Path, content: bytes, mode: int) -> Path:
    path = folder / "ami.secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def file_config(path: Path) -> Config:
    return config_of(MINIMAL.replace("secret_env: AMI", f"secret_file: {path}"))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_secret_file_of_owner_and_group_is_read_without_its_line_end(tmp_path: Path, mode: int) -> None:
    config = file_config(secret_file(tmp_path, b"pass phrase\n", mode))
    assert config.ami_secret.get_secret_value() == "pass phrase"


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        (b"x\n", 0o660, "with mode 0660"),
        (b"x\n", 0o604, "with mode 0604"),
        (b"", 0o600, "nothing"),
        (b"\n", 0o600, "nothing"),
        (b"a\nAction: Command\n", 0o600, "a control character in the secret"),
        (b"\xff", 0o600, "bytes that are not UTF-8"),
        (b"sesame \n", 0o600, "a space at an end of the secret"),
        (b"\xc2\xa0sesame", 0o600, "a space at an end of the secret"),
        (b"s" * 4097, 0o600, "more than 4096 bytes"),
    ],
)
def test_secret_file_that_is_unsafe_or_empty_is_refused(tmp_path: Path, content: bytes, mode: int, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        file_config(secret_file(tmp_path, content, mode))
    (problem,) = caught.value.problems
    assert problem.path == "switch.ami.secret_file"
    assert found in problem.found


def test_spaces_at_the_ends_of_a_secret_are_refused_only_where_asterisk_takes_them_away(tmp_path: Path) -> None:
    assert file_config(secret_file(tmp_path, b"open sesame\n", 0o600)).ami_secret.get_secret_value() == "open sesame"
    text = MINIMAL.replace("url: sqlite:///money.db", "url: redis://h\n  password_env: PASSWORD")
    config = config_of(text, {"AMI": "sesame", "PASSWORD": " sesame "})
    assert config.ledger_password is not None
    assert config.ledger_password.get_secret_value() == " sesame "


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        file_config(tmp_path)


def test_secret_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        file_config(tmp_path / "none")


def test_secret_never_shows_when_the_config_is_printed() -> None:
    assert "sesame" not in repr(config_of(MINIMAL))


def test_control_socket_longer_than_the_system_allows_is_refused() -> None:
    fits = "/" + "s" * 99
    assert config_of(MINIMAL.replace("charging.sock", fits)).settings.control.socket == Path(fits)
    assert "control" in problems_of(MINIMAL.replace("charging.sock", fits + "s"))


def test_action_timeout_below_the_ping_interval_is_refused() -> None:
    text = MINIMAL.replace("  ami:\n", "  ami:\n    ping_interval_s: 5\n")
    problem = problems_of(text)["switch.ami.action_timeout_s"]
    assert (problem.found, problem.expected) == ("3 s", "at least ping_interval_s (5 s)")


def test_the_public_interface_is_served_where_its_section_stands_if_only_by_name() -> None:
    assert config_of(MINIMAL).settings.api is None
    assert config_of(MINIMAL).settings.console is None
    assert config_of(MINIMAL + "api:\n").settings.api == config_of(MINIMAL + "api: {port: 9479}\n").settings.api
