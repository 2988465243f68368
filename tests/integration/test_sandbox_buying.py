"""Credit bought in a sandbox, in a real Chromium, at the Mollie and the Stripe that it plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.integration.browser import chromium, found_by_axe, window
from tests.integration.test_sandbox import Sandbox, sandbox, until

__all__ = ["sandbox"]

pytestmark = pytest.mark.timeout(420)

LINK = """curl -H "Authorization: Bearer $TOKEN" --json '{"use": "page"}' \
http://127.0.0.1:9479/v1/accounts/demo/page-tokens"""


async def bought(page: Page, button: str, *, look: Path | None = None) -> str:
    """What the payment's page says after this button of the checkout, once it waits for nothing."""
    await page.goto("/buy")
    await page.get_by_label("10.00").check()
    await page.get_by_role("button", name="Go on").click()
    await page.get_by_role("link", name="Pay").click()
    await expect(page.get_by_text("This is a sandbox: no money moves.")).to_be_visible()
    assert await found_by_axe(page) == []
    if look is not None:
        await page.screenshot(path=look)
    await page.get_by_role("button", name=button, exact=True).click()
    return str(await page.get_by_role("heading", level=1).text_content())


async def credit(sandbox: Sandbox) -> str:
    return str((await sandbox.get("/accounts/demo/balance"))["credit"]["posted"])


@pytest.mark.parametrize("provider", ["mollie", "stripe"])
async def test_credit_is_bought_at_the_provider_that_the_sandbox_plays(
    sandbox: Sandbox, provider: str, tmp_path: Path
) -> None:
    settings = sandbox.config.read_text()
    assert "payment_provider: mollie" in settings
    sandbox.config.write_text(settings.replace("payment_provider: mollie", f"payment_provider: {provider}"))
    async with (
        sandbox.running(),
        chromium() as browser,
        window(browser, f"http://127.0.0.1:{sandbox.ports['9481']}") as page,
    ):
        await page.goto((await sandbox.curl(LINK))["url"])
        await page.get_by_role("main").get_by_role("button").click()
        cancelled = {"mollie": "Payment cancelled or expired", "stripe": "Payment cancelled"}
        assert await bought(page, "Cancel") == cancelled[provider]
        assert await credit(sandbox) == "10.00"
        assert await bought(page, "Pay", look=tmp_path / "checkout.png") == "Paid: thank you"
        await until(lambda: credit(sandbox), lambda shown: shown == "20.00")
        assert await bought(page, "Pay, and tell the hook nothing") == "Paid: thank you"
        await until(lambda: credit(sandbox), lambda shown: shown == "30.00")
        told = await sandbox.get("/accounts/demo/journal?limit=2")
        assert [one["actor"] for one in told["items"]] == [f"payment:{provider}"] * 2
