"""The daemon's own settings: ``config/charging.yaml`` as a checked, frozen :class:`Config`.

The tariff (prices, plans) is another file, named by the key ``tariff``. Every key, its unit and its default
stand commented in the shipped ``config/charging.yaml``; a test keeps that file and these models equal.

Secrets never stand in the YAML. A key ``…_env`` names an environment variable, a key ``…_file`` a file that
nobody but its owner and group may read. Relative paths start at the folder of the YAML file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, model_validator

from charging.errors import ConfigError, Problem
from charging.files import read_bytes
from charging.ledger.redis import url as redis_url
from charging.notify.settings import Mail
from charging.records import dataclass
from charging.web.settings import FRONTS, WEBHOOKS_MAX, Api, Console, CustomerPage, Webhook, signing_keys
from charging.yaml_model import (
    BASE_FOLDER,
    EnvironmentName,
    FilePath,
    Flag,
    Host,
    Networks,
    Port,
    Section,
    decimal,
    pattern,
    refusal,
    sorted_problems,
    text_of,
    typed,
    validate,
    whole,
    yes_or_no,
)
from charging.yaml_text import Document, DocumentPath, read_document

LEDGER_SCHEMES = ("sqlite", "redis", "rediss", "redis+sentinel", "redis+cluster")
SOCKET_PATH_MAX_BYTES = 100
"""Linux allows 107 in a Unix socket's address; some room is left for a temporary name."""
SECRET_MAX_BYTES = 4096
_PASSWORD_IN_URL = re.compile(r".*:.*:.*@|.*:.*@.*@|[^:]*:(?!//).*@|.*://[^@]*[/?#].*@", re.DOTALL)
"""Anything before an at sign that is more than SCHEME://USER: a password may hold any sign."""
_LEDGER_URLS = ", ".join(f"{one}://" for one in LEDGER_SCHEMES)
_HOST_AND_PORT = r"(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_REDIS_URL = re.compile(
    rf"[a-z+]+://(?:[^/@:\s]+@)?{_HOST_AND_PORT}(?:,{_HOST_AND_PORT})*(?:/[A-Za-z0-9_.-]*)*(?:\?[A-Za-z0-9_=&%/.:-]+)?"
)

Name = Annotated[str, pattern(r"[a-z0-9][a-z0-9-]{0,31}", "up to 32 small letters, digits and dashes")]
UserName = Annotated[str, pattern(r"[A-Za-z0-9_.-]{1,64}", "the name of an AMI user")]
Region = Annotated[str, pattern(r"[A-Z]{2}", "a country's two capital letters, for example NL")]
SwitchFolder = Annotated[str, pattern(r"/[A-Za-z0-9_./-]{0,200}", "an absolute folder on the switch")]

Domains = tuple[Annotated[str, pattern(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", "a mail domain")], ...]
FaxHeader = Annotated[str, pattern(r"[A-Za-z0-9 .:/+-]{1,50}", "up to 50 letters, digits, spaces and . : / + -")]


def _name_server(text: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9a-fA-F:.]+)", text)
    address, port = (found[1] or found[2] or found[4], int(found[3] or 53)) if found else ("", 0)
    try:
        return (str(ip_address(address)), port) if 0 < port < 65_536 else None
    except ValueError:
        return None


NameServer = Annotated[tuple[str, int], typed(_name_server, "an IP address, with :PORT behind it at will")]


class Ami(Section):
    """How to reach the switch's manager interface."""

    host: Host = "127.0.0.1"
    port: Port = 5038
    user: UserName = "charging"
    secret_env: EnvironmentName | None = None
    secret_file: FilePath | None = None
    ping_interval_s: Annotated[float, decimal("0.1", "60", "seconds")] = 2.0
    action_timeout_s: Annotated[float, decimal("0.1", "60", "seconds")] = 3.0

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            found = "neither of them" if self.secret_env is None else "both"
            raise refusal("one of secret_env and secret_file", found=found)
        return self


class Switch(Section):
    """The Asterisk whose calls are charged."""

    id: Name = "asterisk"
    ami: Ami
    lease_s: Annotated[int, whole(2, 600, "seconds")] = 15
    prompts_dir_on_switch: SwitchFolder = "/usr/share/asterisk/sounds/charging"
    voicemail_dir_on_switch: SwitchFolder = "/var/spool/asterisk/voicemail"
    """Whose free space is watched, if it is on the daemon's machine."""


class Agi(Section):
    """The FastAGI server that the dialplan asks."""

    host: Host = "127.0.0.1"
    port: Port = 4573
    max_connections: Annotated[int, whole(1, 10_000, "connections")] = 200
    allow: Networks = ()
    """Who may ask; with nobody named, the switch alone."""
    header_timeout_s: Annotated[float, decimal("0.1", "60", "seconds")] = 2.0
    request_timeout_s: Annotated[float, decimal("0.1", "60", "seconds")] = 2.5


def _ledger_url(value: object, info: ValidationInfo) -> str:
    text = text_of(value, "the ledger's URL")
    scheme, separator, rest = text.partition("://")
    if scheme != "sqlite" and _PASSWORD_IN_URL.match(text):
        hint = "" if scheme in LEDGER_SCHEMES else f"of these: {_LEDGER_URLS}"
        expected = "a URL without a password; name it by password_env or password_file"
        raise refusal(expected, found="a password", hint=hint)
    if not separator or scheme not in LEDGER_SCHEMES:
        raise refusal(f"one of {_LEDGER_URLS}")
    if scheme != "sqlite":
        return _redis_url(text)
    name = rest.removeprefix("/")
    if not rest.startswith("/") or not name or "\0" in name or "?" in name:
        raise refusal("sqlite:///FILE, or sqlite:////FOLDER/FILE for an absolute path")
    base: Path = (info.context or {}).get(BASE_FOLDER, Path())
    return f"sqlite:///{os.path.normpath(base / name)}"


def _redis_url(text: str) -> str:
    if not _REDIS_URL.fullmatch(text):
        found = f"{text.partition('://')[0]}://…"  # the rest may be a slip with a secret in it
        raise refusal("SCHEME://HOST:PORT/NUMBER, for sentinels and clusters with several HOST:PORT", found=found)
    try:
        redis_url.parse(text)
    except ValueError as error:
        raise refusal(redis_url.EXPECTED, found=redis_url.without_secrets(text), hint=str(error)) from error
    return text


class Ledger(Section):
    """The store of money and open sessions."""

    url: Annotated[str, BeforeValidator(_ledger_url)] = Field(description="the ledger's URL")
    password_env: EnvironmentName | None = None
    password_file: FilePath | None = None
    sentinel_password_env: EnvironmentName | None = None
    sentinel_password_file: FilePath | None = None

    @model_validator(mode="after")
    def _fitting_password(self) -> Self:
        given = [one for one in (self.password_env, self.password_file) if one is not None]
        if len(given) > 1:
            raise refusal("at most one of password_env and password_file", found="both")
        if given and self.url.startswith("sqlite"):
            raise refusal("a Redis ledger where a password is named", found="a password for SQLite")
        return self

    @model_validator(mode="after")
    def _fitting_sentinel_password(self) -> Self:
        given = [one for one in (self.sentinel_password_env, self.sentinel_password_file) if one is not None]
        if len(given) > 1:
            raise refusal("at most one of sentinel_password_env and sentinel_password_file", found="both")
        if given and not self.url.startswith("redis+sentinel:"):
            raise refusal("redis+sentinel:// where a sentinel password is named", found="a ledger without sentinels")
        return self

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file, absolute; ``None`` for the other stores."""
        return Path(unquote(self.url.removeprefix("sqlite:///"))) if self.url.startswith("sqlite:") else None


class Control(Section):
    """The Unix socket by which the command line speaks with the running daemon."""

    socket: FilePath = Field(description="the path of a Unix socket")
    max_connections: Annotated[int, whole(4, 10_000, "connections")] = 80

    @model_validator(mode="after")
    def _short_enough(self) -> Self:
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX_BYTES:
            expected = f"a socket whose whole path has at most {SOCKET_PATH_MAX_BYTES} bytes"
            raise refusal(expected, found=str(self.socket))
        return self


class Http(Section):
    """Where ``/metrics`` is served."""

    host: Host = "127.0.0.1"
    port: Port = 9478
    max_connections: Annotated[int, whole(4, 10_000, "connections")] = 50


class Charging(Section):
    """How calls are charged."""

    tick_s: Annotated[int, whole(1, 3600, "seconds")] = 60
    horizon_s: Annotated[int, whole(1, 3600, "seconds")] = 60
    warn_before_s: Annotated[int, whole(0, 3600, "seconds")] = 60
    answer_tolerance_ms: Annotated[int, whole(0, 999, "milliseconds")] = 200
    ring_s: Annotated[int, whole(1, 600, "seconds")] = 30
    setup_timeout_s: Annotated[int, whole(1, 60, "seconds")] = 10
    black_box_wait_s: Annotated[int, whole(0, 60, "seconds")] = 5
    loop_evidence: Literal["headers", "caller", "any"] = "caller"
    given_up_a_minute: Annotated[int, whole(0, 6000, "calls")] = 20
    messages_an_hour: Annotated[int, whole(0, 6000, "calls")] = 10
    default_language: Literal["nl", "en"] = "nl"
    region: Region = "NL"


def _mail_from(text: str) -> bool | str | None:
    return "dkim" if text.lower() == "dkim" else yes_or_no(text)


MailFrom = Annotated[bool | Literal["dkim"], typed(_mail_from, "yes, no or dkim")]
"""``dkim``: only if it is signed."""


class Fax(Section):
    """Sending faxes. Left out, none are sent."""

    GONE: ClassVar[Mapping[str, str]] = {
        "mail_verified_by": "what your mail server writes into a mail is not believed any more: remove this key, set "
        "mail_from_counts: yes, and take the new lines for Postfix (docs/fax-by-mail.md)"
    }

    folder: FilePath = Field(description="the folder where documents wait")
    folder_on_switch: SwitchFolder | None = None
    header: FaxHeader | None = None
    max_pages: Annotated[int, whole(1, 500, "pages")] = 50
    max_bytes: Annotated[int, whole(1024, 100_000_000, "bytes")] = 10_000_000
    at_once: Annotated[int, whole(1, 1000, "faxes")] = 10
    at_once_of_account: Annotated[int, whole(1, 1000, "faxes")] | None = None
    unpaid_line_s: Annotated[int, whole(300, 86_400, "seconds")] = 3600
    keep_days: Annotated[int, whole(1, 3650, "days")] = 7
    mail_from_counts: MailFrom = False
    mail_dns: NameServer | None = None
    mail_domains: Domains = ()
    sandbox: Literal["required", "where_available"] = "required"


class Privacy(Section):
    """Which personal data is kept, and how long."""

    cdr_numbers_days: Annotated[int, whole(0, 36_500, "days")] = 0
    keep_withheld_numbers: Flag = False
    decisions_days: Annotated[int, whole(1, 365, "days")] = 14
    decisions_most: Annotated[int, whole(1000, 10_000_000, "decisions")] = 200_000


class Editions(Section):
    """What a new edition of a rate deck may change before it waits for a person (`charging tariff accept`)."""

    folder: FilePath | None = None
    """Where the files that counted last are kept; left out: beside the SQLite ledger, or the control socket."""
    gone_percent: Annotated[int, whole(0, 100, "percent")] = 0
    jump_factor: Annotated[int, whole(2, 1000, "times")] = 2
    jump_percent: Annotated[int, whole(0, 100, "percent")] = 0


class Logs(Section):
    """What the daemon writes about itself."""

    file: FilePath | None = None
    """Instead of the standard error."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _there_without_keys(value: object) -> object:
    """An empty section (``api:``) enables the feature with defaults; a missing one disables it."""
    return {} if value is None else value


def _none_listed(value: object) -> object:
    """A list whose items are all commented out is empty."""
    return [] if value is None else value


class Settings(Section):
    """The whole file."""

    switch: Switch = Field(description="a section switch")
    agi: Agi = Agi()
    ledger: Ledger = Field(description="a section ledger with a url")
    tariff: FilePath = Field(description="the tariff's file")
    control: Control = Field(description="a section control with a socket")
    http: Http = Http()
    charging: Charging = Charging()
    api: Annotated[Api | None, BeforeValidator(_there_without_keys)] = None
    console: Annotated[Console | None, BeforeValidator(_there_without_keys)] = None
    customer_page: Annotated[CustomerPage | None, BeforeValidator(_there_without_keys)] = None
    webhooks: Annotated[tuple[Webhook, ...], BeforeValidator(_none_listed)] = ()
    fax: Fax | None = None
    mail: Mail | None = None
    privacy: Privacy = Privacy()
    editions: Editions = Editions()
    logs: Logs = Logs()
    sandbox: Flag = False
    """A test mode without an Asterisk, for `charging run --sandbox` alone."""

    @property
    def editions_folder(self) -> Path:
        """Where the tariff that counted last is kept."""
        beside = self.ledger.sqlite_file or self.control.socket
        return self.editions.folder or beside.parent / "accepted-tariff"


TEST_KEYS = ("test_", "sk_test_", "rk_test_")
"""How Mollie's and Stripe's keys begin that are for tests (docs.mollie.com/reference/authentication,
docs.stripe.com/keys)."""


@dataclass(frozen=True, slots=True)
class Config:
    """The checked settings, with the secrets that they refer to."""

    file: Path
    settings: Settings
    ami_secret: SecretStr = field(repr=False)
    ledger_password: SecretStr | None = field(repr=False)
    mail_password: SecretStr | None = field(default=None, repr=False)
    sentinel_password: SecretStr | None = field(default=None, repr=False)
    payment_key: SecretStr | None = field(default=None, repr=False)
    payment_hook_secret: SecretStr | None = field(default=None, repr=False)
    webhook_secrets: tuple[SecretStr, ...] = field(default=(), repr=False)
    """In the order of the settings."""
    openid_secret: SecretStr | None = field(default=None, repr=False)
    unread: tuple[Problem, ...] = ()
    """What is wrong with secrets that calls do without: those of mail, customers' page, webhooks and console."""


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read, check and complete the settings at ``path``. Raises ConfigError with every problem found."""
    return config_of(read_document(path), environ)


def config_of(document: Document, environ: Mapping[str, str]) -> Config:
    """The Config that a document says. Raises ConfigError with every problem found."""
    config, problems = completed(document, validate(document, Settings), environ)
    if problems or config is None:
        raise ConfigError(sorted_problems(problems))
    return config


def completed(
    document: Document, settings: Settings, environ: Mapping[str, str] = os.environ
) -> tuple[Config | None, list[Problem]]:
    """A document's settings with the secrets that they refer to, ``None`` without the AMI secret; and everything that
    is missing or does not fit together."""
    problems: list[Problem] = []
    ami, ledger = settings.switch.ami, settings.ledger
    reader = _SecretReader(document.problem, environ, problems)
    ami_secret = _ami_secret(reader, settings)
    ledger_password = reader.read(("ledger", "password"), ledger.password_env, ledger.password_file)
    sentinel = ledger.sentinel_password_env, ledger.sentinel_password_file
    sentinel_password = reader.read(("ledger", "sentinel_password"), *sentinel)
    mail, unread = settings.mail, list[Problem]()
    reader = _SecretReader(document.problem, environ, unread)
    mail_password = reader.read(("mail", "password"), mail.password_env, mail.password_file) if mail else None
    page = settings.customer_page or CustomerPage()
    key = page.payment_key_env, page.payment_key_file
    hook = page.payment_hook_secret_env, page.payment_hook_secret_file
    payment_key = reader.read(("customer_page", "payment_key"), *key)
    payment_hook_secret = reader.read(("customer_page", "payment_hook_secret"), *hook)
    webhook_secrets, wrong = _webhook_secrets(document, reader, settings)
    problems += wrong
    console = settings.console or Console()
    openid = console.openid_client_secret_env, console.openid_client_secret_file
    openid_secret = reader.read(("console", "openid_client_secret"), *openid)
    if ami.action_timeout_s < ami.ping_interval_s:
        path = ("switch", "ami", "action_timeout_s")
        expected = f"at least ping_interval_s ({ami.ping_interval_s:g} s)"
        problems.append(document.problem(path, f"{ami.action_timeout_s:g} s", expected))
    chosen = settings.charging
    if chosen.warn_before_s > chosen.horizon_s:
        # A call knows its own end as far ahead as it reserves: a warning before that would have to be guessed.
        expected = f"at most horizon_s ({chosen.horizon_s} s)"
        problems.append(document.problem(("charging", "warn_before_s"), f"{chosen.warn_before_s} s", expected))
    if settings.switch.lease_s * 2 > chosen.horizon_s and settings.ledger.sqlite_file is None:
        # The daemon that takes over must find every call still within what is reserved for it.
        expected = f"at most half of charging.horizon_s ({chosen.horizon_s} s)"
        problems.append(document.problem(("switch", "lease_s"), f"{settings.switch.lease_s} s", expected))
    if settings.sandbox:
        problems += _too_real(document, settings, payment_key)
    problems += [*_addresses_taken_twice(document, settings), *unread]
    if ami_secret is None:
        return None, problems
    secrets = ami_secret, ledger_password, mail_password, sentinel_password, payment_key, payment_hook_secret
    return Config(Path(document.file), settings, *secrets, webhook_secrets, openid_secret, tuple(unread)), problems


def _ami_secret(reader: _SecretReader, settings: Settings) -> SecretStr | None:
    """A sandbox asks no Asterisk."""
    ami = settings.switch.ami
    if settings.sandbox:
        return SecretStr("")
    return reader.read(("switch", "ami", "secret"), ami.secret_env, ami.secret_file, is_stripped=True)


def _webhook_secrets(
    document: Document, reader: _SecretReader, settings: Settings
) -> tuple[tuple[SecretStr, ...], list[Problem]]:
    """The secrets of all webhooks that have a good one; and what is wrong with their names and number. What is wrong
    with a secret the reader notes."""
    found, problems = [], []
    hooks = settings.webhooks
    if len(hooks) > WEBHOOKS_MAX:
        problems.append(document.problem(("webhooks",), f"{len(hooks)} webhooks", f"at most {WEBHOOKS_MAX}"))
    for number, one in enumerate(hooks):
        path = ("webhooks", number)
        if one.name in [other.name for other in hooks[:number]]:
            problems.append(document.problem((*path, "name"), f"{one.name!r} again", "a name that no other has"))
        if (secret := reader.read((*path, "secret"), one.secret_env, one.secret_file)) is None:
            continue
        try:
            signing_keys(secret.get_secret_value())
        except ValueError as error:
            name = "secret_env" if one.secret_env is not None else "secret_file"
            hint = 'make one: echo "whsec_$(openssl rand -base64 32)"'
            reader.problems.append(document.problem((*path, name), "another secret", f"one that is {error}", hint))
            continue
        found.append(secret)
    return tuple(found), problems


LISTENERS = ("agi", "http", *FRONTS)
"""The sections that have a port each."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _too_real(document: Document, settings: Settings, payment_key: SecretStr | None) -> Iterator[Problem]:
    """What a sandbox must not touch: another's ledger, and real money."""
    if settings.ledger.sqlite_file is None:
        expected = "sqlite:///FILE, a file of its own, for a sandbox"
        yield document.problem(("ledger", "url"), "another ledger", expected)
    page = settings.customer_page or CustomerPage()
    if payment_key is not None and page.payment_provider != "none" and not is_test_key(payment_key):
        name = "payment_key_env" if page.payment_key_env is not None else "payment_key_file"
        expected = "one that begins with " + " or ".join(TEST_KEYS) + ", for a sandbox"
        yield document.problem(("customer_page", name), "a key with which customers pay real money", expected)


def is_test_key(key: SecretStr) -> bool:
    """Whether no money moves by a payment provider's key."""
    return key.get_secret_value().startswith(TEST_KEYS)


def _addresses_taken_twice(document: Document, settings: Settings) -> Iterator[Problem]:
    """Two sections cannot listen on one port, and none where the switch's manager interface does."""
    sections = {name: one for name in LISTENERS if (one := getattr(settings, name))}
    ami = settings.switch.ami
    for (first, one), (second, other) in combinations(sections.items(), 2):
        if one.port == other.port and _meet(one.host, other.host):
            expected = f"another port than that of {first} ({one.host}:{one.port})"
            yield document.problem((second, "port"), f"port {other.port}", expected, "give each section its own")
    for name, one in sections.items():
        if one.port == ami.port and ami.host in _LOOPBACK and _meet(one.host, ami.host):
            expected = f"another port than that of the manager interface, switch.ami ({ami.host}:{ami.port})"
            yield document.problem((name, "port"), f"port {one.port}", expected, "give each its own")


def _meet(one: str, other: str) -> bool:
    """Whether who listens at two hosts is in each other's way on the same port, by their names alone."""
    everywhere = {"0.0.0.0", "::"}  # noqa: S104  read, not listened on
    hosts = {one, other}
    return len(hosts) == 1 or bool(hosts & everywhere) or ("localhost" in hosts and hosts <= set(_LOOPBACK))


def ledger_password(settings: Settings) -> SecretStr | None:
    """The password of the settings' ledger alone, for who needs no other secret. Raises ConfigError."""
    return _secret(("ledger", "password"), settings.ledger.password_env, settings.ledger.password_file, os.environ)


def sentinel_password(settings: Settings) -> SecretStr | None:
    """The password of its sentinels alone, likewise. Raises ConfigError."""
    references = settings.ledger.sentinel_password_env, settings.ledger.sentinel_password_file
    return _secret(("ledger", "sentinel_password"), *references, os.environ)


def mail_password(mail: Mail) -> SecretStr | None:
    """The password of the settings' mail server alone. Raises ConfigError."""
    return _secret(("mail", "password"), mail.password_env, mail.password_file, os.environ)


def webhook_secret(webhook: Webhook) -> SecretStr | None:
    """The secret of one webhook alone. Raises ConfigError."""
    return _secret(("webhooks", "secret"), webhook.secret_env, webhook.secret_file, os.environ)


def _secret(key: DocumentPath, variable: str | None, file: Path | None, environ: Mapping[str, str]) -> SecretStr | None:
    problems: list[Problem] = []

    def problem(path: DocumentPath, found: str, expected: str, hint: str = "") -> Problem:
        return Problem("", ".".join(map(str, path)), found, expected, hint=hint)

    password = _SecretReader(problem, environ, problems).read(key, variable, file)
    if problems:
        raise ConfigError(problems)
    return password


@dataclass(frozen=True, slots=True)
class _SecretReader:
    problem: Callable[[DocumentPath, str, str, str], Problem]
    environ: Mapping[str, str]
    problems: list[Problem]

    def read(
        self, key: DocumentPath, variable: str | None, file: Path | None, *, is_stripped: bool = False
    ) -> SecretStr | None:
        """The secret that ``…_env`` or ``…_file`` refers to; ``None`` for none, or with a problem noted.

        ``is_stripped``: the other side takes spaces away from the ends of its own copy, so one that has them there
        never fits (Asterisk does so with all that its configuration says).
        """
        stem = str(key[-1])
        if variable is not None:
            path, where = (*key[:-1], f"{stem}_env"), f"the environment variable {variable}"
            secret, hint = self.environ.get(variable), f"set it, or name a file by {stem}_file"
        elif file is not None:
            path, where = (*key[:-1], f"{stem}_file"), f"the file {file}"
            if (secret := self._content(path, file)) is None:
                return None
            hint = ""
        else:
            return None
        if secret and is_stripped and secret != secret.strip():
            self._note(path, "a space at an end of the secret", f"a secret without one in {where}")
            return None
        return self._checked(path, secret, where, hint)

    def _content(self, path: DocumentPath, file: Path) -> str | None:
        """systemd's copy of the file goes first (``LoadCredential=NAME:FILE``): so one setting serves the unit, whose
        user may not read the file itself, and whoever may."""
        if (passed := self.environ.get("CREDENTIALS_DIRECTORY")) and Path(passed, file.name).is_file():
            file = Path(passed, file.name)
        try:
            mode = file.stat().st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            # The group may read: systemd shows credentials so (by an ACL), and root:charging 0640 is usual in /etc.
            if mode & 0o037:
                self._note(
                    path,
                    f"{file} with mode {mode & 0o777:04o}",
                    "a file that only its owner and group may read",
                    f"chmod 600 {file}",
                )
                return None
            content = read_bytes(file, SECRET_MAX_BYTES + 1)
            if len(content) > SECRET_MAX_BYTES:
                self._note(path, f"{file}: more than {SECRET_MAX_BYTES} bytes", "a file that holds the secret alone")
                return None
            return content.decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "bytes that are not UTF-8"
            self._note(path, f"{file}: {reason}", "a file that holds the secret")
            return None

    def _checked(self, path: DocumentPath, secret: str | None, where: str, hint: str = "") -> SecretStr | None:
        if not secret:
            self._note(path, "nothing", f"a secret in {where}", hint)
            return None
        if re.search(r"[\x00-\x1f\x7f]", secret):
            self._note(path, "a control character in the secret", f"one line of text in {where}")
            return None
        return SecretStr(secret)

    def _note(self, path: DocumentPath, found: str, expected: str, hint: str = "") -> None:
        self.problems.append(self.problem(path, found, expected, hint))
