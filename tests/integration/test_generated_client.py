"""Clients made from the interface's description, `charging-client` by openapi-python-client and types by
openapi-typescript: they change nothing that was not named, and the shipped examples work with them."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from charging.lab.ports import free_port
from charging.ledger.accounts import Number
from charging.service.tokens import Scope
from charging.tasks import end
from charging.web.listen import Front, serve_port
from tests.pages import DOCS, ROOT
from tests.unit.service.conftest import NUMBER, Shop, shop
from tests.unit.web.door import Door

__all__ = ["shop"]

pytestmark = pytest.mark.timeout(600)  # the first time it installs the generators

STRICT = ("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--moduleResolution", "node10")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package's module of clients."""
    folder = tmp_path_factory.mktemp("client")
    subprocess.run([".ci/setup", "clients"], cwd=ROOT, check=True, timeout=500)
    subprocess.run([sys.executable, ".ci/client.py", str(folder)], cwd=ROOT, check=True, timeout=300)
    sys.path[:0] = [str(folder), str(DOCS / "examples")]
    yield importlib.import_module("charging_client.client")
    del sys.path[:2]
    for name in [one for one in sys.modules if one.partition(".")[0] in ("charging_client", "website")]:
        del sys.modules[name]


def connected(client: Any, door: Door, scope: str) -> Any:
    """A client with a token, to the interface in this process."""
    made = client.AuthenticatedClient("http://test/v1", door.secrets[scope])
    headers = {"Authorization": f"Bearer {door.secrets[scope]}"}
    transport = httpx.ASGITransport(door.app)
    return made.set_async_httpx_client(
        httpx.AsyncClient(transport=transport, base_url="http://test/v1", headers=headers)
    )


async def test_the_generated_client_reads_a_list_from_its_newest_on(client: Any, shop: Shop) -> None:
    await shop.anna()
    for key in ("first", "second"):
        await shop.service.money.top_up("anna", 10_000_000, key)
    door = Door(shop.service)
    await door.open()
    journal = importlib.import_module("charging_client.api.accounts.journal")
    order = importlib.import_module("charging_client.models").JournalOrder
    asks = connected(client, door, "read")
    for way, numbers in ((order.ASC, [1, 2]), (order.DESC, [2, 1])):
        page = await journal.asyncio("anna", client=asks, order=way)
        assert [one.number for one in page.items] == numbers


async def test_a_change_of_one_member_by_the_generated_client_leaves_the_others(client: Any, shop: Shop) -> None:
    """For every schema of a change, and seen on a number and an account."""
    models = importlib.import_module("charging_client.models")
    await shop.anna()
    await shop.service.accounts.change("anna", {"email": "anna@example.nl"})
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": "+31612345678"})
    door = Door(shop.service)
    await door.open()
    bodies = [one["patch"]["requestBody"] for one in door.app.openapi()["paths"].values() if "patch" in one]
    edits = {one["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for one in bodies}
    assert {"AccountEdit", "NumberEdit"} <= edits
    assert {name: getattr(models, name)().to_dict() for name in edits} == {name: {} for name in edits}
    asks = connected(client, door, "operate")
    edit_number = importlib.import_module("charging_client.api.numbers.edit_number")
    edit_account = importlib.import_module("charging_client.api.accounts.edit_account")
    await edit_number.asyncio(NUMBER, client=asks, body=models.NumberEdit(paid_voicemail=True))
    await edit_account.asyncio("anna", client=asks, body=models.AccountEdit(plan="pro"))
    number, account = await shop.store.directory.number(NUMBER), await shop.store.directory.account("anna")
    assert isinstance(number, Number)
    assert (number.paid_voicemail, number.forward_to) == (True, "+31612345678")
    assert account is not None
    assert (account.plan, account.email) == ("pro", "anna@example.nl")


async def test_the_shipped_example_works(client: Any, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {})
    door = Door(shop.service)
    await door.open()
    both = await door.tokens.add("the website", [Scope.READ, Scope.CREDIT, Scope.NUMBERS])
    door.secrets["website"] = getattr(both, "secret", "")
    await importlib.import_module("website").main(connected(client, door, "website"), "anna", NUMBER)
    assert capsys.readouterr().out.splitlines()[-1] == f"anna has 25.00 euro; {NUMBER} forwards to +31612345678"


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the interface's types, and what checks programs that use them."""
    folder = tmp_path_factory.mktemp("typescript")
    subprocess.run([".ci/setup", "typescript"], cwd=ROOT, check=True, timeout=500)
    subprocess.run([sys.executable, ".ci/client.py", "--types", str(folder)], cwd=ROOT, check=True, timeout=300)
    (folder / "node_modules").symlink_to(ROOT / ".cache" / "typescript" / "node_modules")
    return folder


def compiled(folder: Path, *files: str) -> str:
    """What the compiler complains of."""
    command = (str(folder / "node_modules/.bin/tsc"), *STRICT, "--module", "commonjs", "--target", "es2022", *files)
    said = subprocess.run(command, cwd=folder, capture_output=True, timeout=400, check=False)
    return (said.stdout + said.stderr).decode()


def test_a_typescript_program_that_names_nothing_of_a_change_is_right_and_a_misspelt_one_is_not(
    typescript: Path, shop: Shop
) -> None:
    """A member with a default would be one that must be sent."""
    paths = Door(shop.service).app.openapi()["paths"].values()
    bodies = [
        one["patch"]["requestBody"]["content"]["application/json"]["schema"]["$ref"] for one in paths if "patch" in one
    ]
    edits = sorted({one.rpartition("/")[2] for one in bodies})
    assert {"AccountEdit", "NumberEdit"} <= {*edits}
    lines = ['import type { components } from "./charging";']
    for name in edits:
        of = f'components["schemas"]["{name}"]'
        lines += [f"export const no{name}: {of} = {{}};"]
        lines += ["// @ts-expect-error", f'export const bad{name}: {of} = {{ misspelt: "" }};']
    (typescript / "edits.ts").write_text("\n".join(lines))
    assert compiled(typescript, "edits.ts") == ""


async def test_the_shipped_typescript_example_works(typescript: Path, shop: Shop) -> None:
    shutil.copy(DOCS / "examples" / "website.ts", typescript)
    assert await asyncio.to_thread(compiled, typescript, "website.ts") == ""
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {"mailbox": "box-7"})
    door = Door(shop.service)
    await door.open()
    both = await door.tokens.add("the website", [Scope.READ, Scope.CREDIT, Scope.NUMBERS])
    port, ready = free_port(), asyncio.Event()
    serving = asyncio.create_task(serve_port(door.app, "127.0.0.1", port, ready, front=Front("api")))
    try:
        await ready.wait()
        command = ("node", "website.js", f"http://127.0.0.1:{port}", getattr(both, "secret", ""), "anna", NUMBER)
        process = await asyncio.create_subprocess_exec(*command, cwd=typescript, stdout=subprocess.PIPE)
        said, _ = await process.communicate()
    finally:
        await end((serving,))
    assert said.decode() == f"anna has 25.00 euro; {NUMBER} forwards to +31612345678\n"
    number = await shop.store.directory.number(NUMBER)
    assert number is not None
    assert (number.forward_to, number.mailbox) == ("+31612345678", "box-7")
