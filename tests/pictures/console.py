"""The console, as its test plays it, in a real Chromium."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.integration.browser import chromium, window
from tests.integration.console_scene import PASSWORD, a_day, console_scene

PAGES = {"console-overview": "/", "console-account": "/accounts/anna", "console-why": "/decisions?number=0201234569"}
PHONE = {"console-phone": "/accounts/anna"}


async def pictures(folder: Path) -> None:
    """Writes them as PNG files: pages on a desktop, and one on a phone in the dark."""
    with tempfile.TemporaryDirectory() as place:
        async with console_scene(Path(place)) as scene, chromium() as browser:
            await a_day(scene)
            for pages, phone in ((PAGES, False), (PHONE, True)):
                async with window(browser, scene.url, phone=phone, dark=phone) as page:
                    await page.goto("/login")
                    await page.fill("#name", "ada")
                    await page.fill("#password", PASSWORD)
                    await page.click("button")
                    for name, place_of in pages.items():
                        await page.goto(place_of)
                        await page.screenshot(path=folder / f"{name}.png")
