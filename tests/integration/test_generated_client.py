"""`charging-client`, made from the interface's description by openapi-python-client: it changes nothing that was not
named, and the shipped example works with it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from charging.ledger.accounts import Number
from charging.service.tokens import Scope
from tests.pages import DOCS, ROOT
from tests.unit.service.conftest import NUMBER, Shop, shop
from tests.unit.web.door import Door

__all__ = ["shop"]

pytestmark = pytest.mark.timeout(600)  # the first time it installs the generator


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
