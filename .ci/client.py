"""Makes the package `charging_client` in a folder, from the public interface's own description; with `--types` the
TypeScript types `charging.d.ts`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charging.clock import SystemClock
from charging.ledger.memory import MemoryStore
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.tariff.tariff import Tariff
from charging.web.api import api_app
from charging.web.settings import Api

TOOLS = Path(".cache/clients/bin").resolve()
FORM = "multipart/form-data"
TYPES = Path(".cache/typescript/node_modules/.bin/openapi-typescript").resolve()


def _no_tariff() -> Tariff:
    raise AssertionError("nothing is asked of it")


def described() -> dict[str, Any]:
    """The OpenAPI document."""
    clock = SystemClock()
    store = MemoryStore(clock)
    service = Service(store=store, tariff=_no_tariff, clock=clock, funds_changed=lambda _account: None, live=NoCalls())
    document: dict[str, Any] = api_app(service, Tokens(store, clock), Api(), fax_bytes_max=1).openapi()
    return document


def main(folder: Path) -> None:
    """Raises CalledProcessError with what the generator says."""
    package, document = folder / "charging_client", _document_in(folder, by_forms=True)
    shutil.rmtree(package, ignore_errors=True)
    command = [str(TOOLS / "openapi-python-client"), "generate", "--meta", "none", "--path", str(document)]
    command += ["--fail-on-warning"]
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


def _document_in(folder: Path, *, by_forms: bool = False) -> Path:
    """``by_forms``: documents are sent in a form alone, for a generator that knows no other way to send a file."""
    folder.mkdir(parents=True, exist_ok=True)
    told = described()
    if by_forms:
        for body in _bodies(told):
            if FORM in body["content"]:
                body["content"] = {FORM: body["content"][FORM]}
                body["content"][FORM]["schema"]["title"] = "files_body"  # as its class was named from the first on
    document = folder / "openapi.json"
    document.write_text(json.dumps(told))
    return document


def _bodies(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of all requests."""
    for methods in told["paths"].values():
        yield from (one["requestBody"] for one in methods.values() if "requestBody" in one)


if __name__ == "__main__":
    *option, place = sys.argv[1:]
    (types if option == ["--types"] else main)(Path(place))
