"""The payment provider that a sandbox plays: where money is real there is none, whatever the settings say."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from charging.app_api import played_provider
from charging.settings import load_config
from tests.fakes.clock import FakeClock

SETTINGS = """\
sandbox: {sandbox}
tariff: tariff.yaml
control: {{socket: charging.sock}}
switch: {{ami: {{secret_env: SECRET}}}}
ledger: {{url: 'sqlite:///money.db'}}
customer_page:
  url: http://127.0.0.1:9481
  payment_provider: mollie
  payment_key_env: SECRET
  payment_url: {place}
"""


@pytest.mark.parametrize(
    ("sandbox", "place", "name"),
    [
        ("yes", "http://127.0.0.1:9481", "mollie"),
        ("yes", "http://127.0.0.1:9482", None),
        ("no", "http://127.0.0.1:9481", None),
    ],
)
async def test_a_provider_is_played_in_a_sandbox_alone(
    tmp_path: Path, sandbox: str, place: str, name: str | None
) -> None:
    file = tmp_path / "charging.yaml"
    file.write_text(SETTINGS.format(sandbox=sandbox, place=place))
    config = load_config(file, {"SECRET": "test_a_key"})
    async with httpx.AsyncClient() as http:
        played = played_provider(config, http, FakeClock())
    assert (played and played.name) == name
