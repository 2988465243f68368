"""Payments by a whole daemon and a provider's double: what was paid while we were down is credited when we are back."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from charging.lab.ports import free_port
from charging.web.listen import Front, serve_on
from tests.fakes.ami import eventually
from tests.fakes.providers import KEY, Mollie
from tests.integration.command import Command
from tests.integration.console_scene import bound
from tests.integration.test_api_daemon import _cookies_of, is_served, place_with
from tests.integration.test_cli_run import daemon

SECTION = """customer_page:
  port: {port}
  url: http://localhost:{port}
  payment_provider: mollie
  payment_key_file: key
  payment_url: {provider}
"""


async def begun(port: int, link: str) -> None:
    """A customer comes in by a link, and begins to buy 25 euro of credit."""
    await eventually(lambda: is_served(port), "the customers' page is served")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=200) as browser:
        form = await browser.get(link[link.index("/enter") :])
        given = dict(re.findall('name="(token|link)" value="([^"]+)"', form.text))
        entered = await browser.post("/enter", data=given, headers=_cookies_of(form))
        amounts = await browser.get("/buy", headers=_cookies_of(entered))
        (csrf,) = set(re.findall('name="csrf" value="([^"]+)"', amounts.text))
        sent = await browser.post("/buy", data={"csrf": csrf, "amount": "25.00"}, headers=_cookies_of(entered))
        assert sent.status_code == 303, sent.text


async def test_r22_what_was_paid_while_the_daemon_was_down_is_credited_though_nobody_tells_us(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No hook arrives, and nobody connects: the process that asks the provider is started with the daemon."""
    double, listener, port = Mollie(), bound(), free_port()
    provider = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(serve_on(double.app(), [listener], Front("provider")))
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    place = place_with(tmp_path, SECTION.format(port=port, provider=provider))
    charging = Command(place, capsys).beside
    try:
        async with daemon(place):
            assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
            await begun(port, (await charging("account", "page-link", "anna", "--json")).json["url"])
        double.only().status = "paid"
        double.asked.clear()
        async with daemon(place):
            reference = double.only().reference
            await eventually(lambda: f"GET /v2/payments/{reference}" in double.asked, "the provider is asked")

            async def credited() -> bool:
                (one,) = (await charging("payment", "list", "--json")).json
                return bool(one["state"] == "credited")

            for _ in range(200):
                if await credited():
                    break
                await asyncio.sleep(0.1)
            journal = (await charging("account", "journal", "anna", "--json")).json
            assert [line["id"] for line in journal] == [f"top-up/mollie-{reference}"]
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
