"""A page that renews itself, in a real Chromium: it takes neither the focus nor a click from who reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.integration.browser import chromium, window
from tests.integration.console_scene import a_day, console_scene
from tests.integration.customer_scene import customer_scene
from tests.integration.test_console_browser import log_in
from tests.integration.test_customer_browser import come_in

pytestmark = pytest.mark.timeout(300)

LOOKED_AGAIN = "**/buy/*"


async def looks_again(page: Page) -> None:
    """The page asks once more how the payment stands, and has read the answer."""
    async with page.expect_response(LOOKED_AGAIN) as answer:
        await page.clock.run_for(6_000)
    await (await answer.value).finished()


async def test_a_payment_that_waits_keeps_the_page_the_focus_and_what_is_pressed(tmp_path: Path) -> None:
    """Until it is paid: then it says so, by itself, and asks no more."""
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url) as page:
            await come_in(page, customers)
            await page.clock.install()
            await page.goto("/buy")
            await page.get_by_label("50,00").check()
            await page.get_by_role("button", name="Verder naar betalen").click()
            await page.goto(f"{page.url}?back")
            onward = page.locator("[data-onward] a").first
            await onward.focus()
            await page.evaluate("window.isTheSame = true")
            for _ in range(2):
                await looks_again(page)
                await expect(onward).to_be_focused()
            await onward.hover()
            await page.mouse.down()
            asked: list[str] = []
            page.on("request", lambda one: asked.append(one.url))
            await page.clock.run_for(13_000)
            assert asked == [], "nothing is renewed under a finger"
            await page.mouse.move(1, 1)
            await page.mouse.up()
            customers.double.only().status = "paid"
            await looks_again(page)
            await expect(page.get_by_role("heading", name="Betaald: dank u wel")).to_be_visible()
            await expect(page.get_by_role("status")).to_contain_text("bij uw tegoed opgeteld")
            await expect(page.locator("[data-onward]")).not_to_contain_text("betaalpagina")
            assert await page.evaluate("window.isTheSame"), "it was not loaded again"
            asked.clear()
            await page.clock.run_for(13_000)
            assert asked == []


async def test_a_customers_table_keeps_the_focus_while_its_figures_change(tmp_path: Path) -> None:
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url) as page:
            await come_in(page, customers)
            table = page.locator("#live .wide")
            await table.focus()
            await customers.scene.rig.clock.advance(60)
            await expect(page.locator("#live")).to_contain_text("2:23")
            await expect(table).to_be_focused()


async def test_a_link_that_is_pressed_while_the_console_renews_its_table_is_followed(tmp_path: Path) -> None:
    async with console_scene(tmp_path) as scene, chromium() as browser:
        await a_day(scene)
        async with window(browser, scene.url) as page:
            await log_in(page, "sam")
            await page.get_by_role("link", name="Hang up").hover()
            await page.mouse.down()
            async with page.expect_response("**/live") as first:
                pass
            await (await first.value).finished()
            async with page.expect_response("**/live"):
                pass
            await page.mouse.up()
            await expect(page.get_by_role("heading", name="Hang up")).to_be_visible()
