"""A real Chromium, driven by Playwright; and what axe finds on its page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)
GRAVE = ("serious", "critical")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's: `.ci/setup tools chromium` installs it."""
    program = shutil.which("chromium")
    assert program is not None, "there is no chromium: run `.ci/setup tools chromium`"
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(browser: Browser, base_url: str, *, phone: bool = False, dark: bool = False) -> AsyncIterator[Page]:
    """A page of its own, which remembers nothing of others. Ends with a complaint where its page had complained: of a
    script that failed, or of what the page's own policy forbids."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    context = await browser.new_context(
        base_url=base_url,
        viewport=size,  # type: ignore[arg-type]
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        yield page
    finally:
        await context.close()
    assert complaints == []


async def found_by_axe(page: Page) -> list[str]:
    """What keeps people from using the page: rule and element, serious or worse."""
    answer: dict[str, Any] = (await Axe().run(page)).response
    return [
        f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for one in answer["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]
