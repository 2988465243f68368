"""Makes the package `charging_client` in a folder, from the public interface's own description; with `--types` the
TypeScript types `charging.d.ts`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from charging.clock import SystemClock
from charging.ledger.memory import MemoryStore
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.tariff.tariff import Tariff
from charging.web.api import api_app
from charging.web.settings import Api

TOOLS = Path(".cache/clients/bin").resolve()
TYPES = Path(".cache/typescript/node_modules/.bin/openapi-typescript").resolve()


def _no_tariff() -> Tariff:
    raise AssertionError("nothing is asked of it")


def described() -> dict[str, object]:
    """The OpenAPI document."""
    clock = SystemClock()
    store = MemoryStore(clock)
    service = Service(store=store, tariff=_no_tariff, clock=clock, funds_changed=lambda _account: None, live=NoCalls())
    document: dict[str, object] = api_app(service, Tokens(store, clock), Api(), fax_bytes_max=1).openapi()
    return document


def main(folder: Path) -> None:
    """Raises CalledProcessError with what the generator says."""
    package, document = folder / "charging_client", _document_in(folder)
    shutil.rmtree(package, ignore_errors=True)
    command = [str(TOOLS / "openapi-python-client"), "generate", "--meta", "none", "--path", str(document)]
    subprocess.run(  # noqa: S603  our own lock's program
        [*command, "--output-path", str(package)],
        env={**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"},  # it lays its code out by ruff
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (package / "py.typed").touch()


def types(folder: Path) -> None:
    """Raises CalledProcessError with what the generator says."""
    command = [str(TYPES), str(_document_in(folder)), "--output", str(folder / "charging.d.ts")]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603  our own lock's program


def _document_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = folder / "openapi.json"
    document.write_text(json.dumps(described()))
    return document


if __name__ == "__main__":
    *option, place = sys.argv[1:]
    (types if option == ["--types"] else main)(Path(place))
