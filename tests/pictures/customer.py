"""The customers' page and the widget, as their test plays them, in a real Chromium."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.async_api import expect

from tests.integration.browser import chromium, window
from tests.integration.console_scene import a_day
from tests.integration.customer_scene import customer_scene


async def pictures(folder: Path) -> None:
    """Writes them as PNG files: a desktop, a phone in the dark, and a site's page with the widget."""
    with tempfile.TemporaryDirectory() as place:
        async with customer_scene(Path(place)) as customers, chromium() as browser:
            await a_day(customers.scene)
            for name, path, phone in (("customer-overview", "/", False), ("customer-phone", "/settings", True)):
                async with window(browser, customers.url, phone=phone, dark=phone) as page:
                    await page.goto(await customers.link())
                    await page.get_by_role("button", name="anna").click()
                    await page.get_by_role("button", name="English").click()
                    await page.goto(path)
                    await page.screenshot(path=folder / f"{name}.png")
            async with window(browser, customers.site) as page:
                await page.set_viewport_size({"width": 640, "height": 200})
                await page.goto("/")
                await expect(page.get_by_role("link", name="Credit")).to_contain_text("€")
                await page.screenshot(path=folder / "customer-widget.png")
