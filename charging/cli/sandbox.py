"""What ``charging run --sandbox`` lays down: settings, a tariff, a ledger that says what it is, someone to call."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import shutil
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from charging.cli.failure import Refusal
from charging.cli.options import DEFAULT_CONFIG
from charging.cli.state_folder import make_state_folder
from charging.shipped import shipped_config

if TYPE_CHECKING:
    from charging.settings import Settings

FOLDER = Path("charging-sandbox")
"""Where the command was run, if no other is named."""
TOKEN = "token"  # noqa: S105 - a file's name
WEBHOOK_SECRET = "webhook-secret"  # noqa: S105 - likewise
PAYMENT_KEY, PAYMENT_HOOK_SECRET = "payment-key", "payment-hook-secret"
TARIFF, STATE = "tariff.yaml", "var"
MADE = frozenset({TARIFF, STATE, TOKEN, WEBHOOK_SECRET, PAYMENT_KEY, PAYMENT_HOOK_SECRET})
"""Beside the settings."""
SETTINGS = """\
# The settings of a sandbox: `charging run --sandbox`. No Asterisk is asked, and no money is real.
sandbox: yes

switch:
  id: sandbox
  ami: {secret_env: CHARGING_NO_SECRET}   # not read: there is no Asterisk

ledger: {url: "sqlite:///var/charging.db"}
tariff: tariff.yaml
control: {socket: var/charging.sock}
http:
  #port: 9478
api:
  #port: 9479
console:
  #port: 9480
customer_page:
  #port: 9481
  url: "http://127.0.0.1:9481"
  # Sites of yours that may show the balance widget: without one, browsers show it on none.
  #widget_origins: ["http://127.0.0.1:8080"]
  # Credit is bought at a Mollie that the sandbox plays at the page's own address; `stripe` is played too. With a test
  # key of theirs, and without payment_url, it is bought at theirs.
  payment_provider: mollie
  payment_key_file: payment-key
  payment_hook_secret_file: payment-hook-secret
  payment_url: "http://127.0.0.1:9481"
fax: {folder: var/fax, sandbox: where_available}
# What happens is told to a program of yours, signed with what stands in the file:
#webhooks:
#  - {name: website, url: "http://127.0.0.1:8080/hooks/charging", secret_file: webhook-secret}

charging: {tick_s: 5, horizon_s: 15, warn_before_s: 15}
logs: {format: console}
"""
BY_THE_MINUTE, BY_THE_SECOND = "increments: 60/60", "increments: 1/1"
"""So that a balance is seen to fall."""
ACCOUNT, NUMBER, TARGET = "demo", "+31201234567", "+31612345678"


def sandbox_at(config: Path) -> Path:
    """The settings of the sandbox at ``config``, laid down if there is none. Raises Refusal, ConfigError."""
    file = FOLDER / DEFAULT_CONFIG.name if config == DEFAULT_CONFIG else config
    if not file.exists():
        sys.stdout.write(f"Making a sandbox in {file.parent}: settings, a tariff, a ledger.\n")
        sys.stdout.flush()
        try:
            _lay_down(file)
        except OSError as error:
            raise Refusal(f"{error.filename or file}: {error.strerror or error}") from error
    token = file.parent / TOKEN
    sys.stdout.write(
        f"A sandbox: no Asterisk, and no money is real. Settings, tariff and ledger are in {file.parent}.\n"
        f"Account {ACCOUNT} has the number {NUMBER}, which is forwarded to {TARGET}. The token is in {token}.\n"
    )
    sys.stdout.flush()
    return file


def _lay_down(file: Path) -> None:
    from charging.settings import Settings
    from charging.web.settings import SECRET_PREFIX
    from charging.yaml_model import validate
    from charging.yaml_text import read_document

    folder = file.parent
    new = folder / f"{file.name}.new"
    _begin_again(folder, new)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(new):
        new.write_text(SETTINGS, encoding="utf-8")
        tariff = (shipped_config() / TARIFF).read_text(encoding="utf-8")
        assert BY_THE_MINUTE in tariff, "as it ships"
        (folder / TARIFF).write_text(tariff.replace(BY_THE_MINUTE, BY_THE_SECOND), encoding="utf-8")
        settings = validate(read_document(new), Settings)
        make_state_folder(folder / STATE)
        asyncio.run(_mark(settings))
        _settle(settings, folder / TOKEN)
        _write_secret(folder / WEBHOOK_SECRET, SECRET_PREFIX + b64encode(secrets.token_bytes(32)).decode())
        _write_secret(folder / PAYMENT_KEY, f"test_{secrets.token_hex(16)}")
        _write_secret(folder / PAYMENT_HOOK_SECRET, f"whsec_{secrets.token_hex(16)}")
        new.rename(file)


def _begin_again(folder: Path, new: Path) -> None:
    """Take away what a first start has made that was interrupted: the settings' new file is there from the first to the
    last of it. Whatever else lies there is not ours: then nothing is touched. Raises Refusal."""
    found = {one.name for one in folder.iterdir()} if folder.is_dir() else set()
    if found and (new.name not in found or found - {*MADE, new.name}):
        raise Refusal(f"{folder} is there already, and not empty: nothing was written; name another folder")
    if not found:
        return
    with _alone(new):
        shutil.rmtree(folder / STATE, ignore_errors=True)
        for name in MADE - {STATE}:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def _alone(new: Path) -> Iterator[None]:
    """Of two first starts at a time one makes it. Raises Refusal."""
    with new.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(
                f"another `charging run --sandbox` is just making {new.parent}: start again in a moment"
            ) from error
        yield


async def _mark(settings: Settings) -> None:
    from charging.cli.in_process import store_of
    from charging.sandbox import ground

    store = store_of(settings, begins=True)
    await store.open()
    try:
        await ground.mark(store.documents)
    finally:
        await store.close()


def _settle(settings: Settings, token: Path) -> None:
    """Someone to call, and a token that may do everything."""
    from charging.cli.client import connected
    from charging.service.tokens import Scope

    with connected(settings) as client:
        client.send("POST", "/accounts", {"id": ACCOUNT, "plan": "voice_light", "language": "en"})
        client.send("POST", "/numbers", {"number": NUMBER, "account": ACCOUNT, "forward_to": TARGET})
        client.send("POST", f"/accounts/{ACCOUNT}/top-ups", {"amount": "10"}, key="sandbox-1")
        made = client.send("POST", "/tokens", {"name": "the sandbox", "scopes": [*Scope]})
    _write_secret(token, made["token"])


def _write_secret(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(f"{secret}\n", encoding="utf-8")
