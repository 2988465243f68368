"""The console in a real Chromium, during a played call: questions answered, acts done, and usable by everyone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from charging.ledger.accounts import Status
from charging.tariff.file import load_tariff
from tests.fakes import openid
from tests.fakes.rig import EURO
from tests.integration.browser import chromium, found_by_axe, window
from tests.integration.console_scene import PASSWORD, Scene, a_day, console_scene

pytestmark = pytest.mark.timeout(300)


async def log_in(page: Page, name: str) -> None:
    await page.goto("/login")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Today")).to_be_visible()


async def test_support_answers_its_three_questions_and_acts_during_a_call(tmp_path: Path) -> None:
    """Which calls run, why was one not forwarded, what happened to this balance; then a top-up (R22) and a hang-up."""
    async with console_scene(tmp_path) as scene, chromium() as browser:
        await a_day(scene)
        async with window(browser, scene.url) as page:
            await log_in(page, "sam")
            calls = page.get_by_role("region", name="Table: running calls")
            await expect(calls).to_contain_text("1:23")
            await scene.rig.clock.advance(7)
            await expect(calls).to_contain_text("1:30")  # by itself
            await why_not_forwarded(page)
            await page.get_by_role("searchbox").fill("020-1234567")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="anna")).to_be_visible()
            await expect(page.get_by_role("img", name="Credit over time")).to_be_visible()
            await expect(page.get_by_role("region", name="Table: journal")).to_contain_text("top up")
            await expect(page.get_by_role("region", name="Table: notices")).to_contain_text("low credit")
            await top_up(page, scene)
            await hang_up(page, scene)


async def why_not_forwarded(page: Page) -> None:
    await page.get_by_role("link", name="Why?", exact=True).first.click()
    await page.get_by_label("Number that was called").fill("0201234569")
    await page.get_by_role("button", name="Look").click()
    decision = page.get_by_role("article")
    await expect(decision).to_have_count(1)
    await expect(decision).to_contain_text("neither free minutes nor credit sufficed")
    await expect(decision).to_contain_text("What to do: a top-up works at once")


async def top_up(page: Page, scene: Scene) -> None:
    before = (await scene.rig.balance()).posted
    await page.get_by_role("link", name="Top up").click()
    await page.get_by_label("Amount").fill("10.00")
    await page.get_by_role("button", name="Top up").click()
    await expect(page.get_by_text("Add € 10.00 of bought credit to anna?")).to_be_visible()
    assert (await scene.rig.balance()).posted == before, "nothing before the question is answered"
    await page.get_by_role("button", name="Yes: top up").click()
    await expect(page.get_by_role("status")).to_contain_text("€ 10.00 was added to anna.")
    assert (await scene.rig.balance()).posted == before + 10 * EURO
    changes = page.get_by_role("region", name="Table: who did what")
    await expect(changes).to_contain_text("console:sam")
    await expect(changes).to_contain_text("credit.topped_up")


async def hang_up(page: Page, scene: Scene) -> None:
    await page.get_by_role("link", name="Hang up").click()
    await page.get_by_label("Why, in one line").fill("asked by the customer")
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("button", name="Yes: hang up").click()
    await expect(page.get_by_role("status")).to_contain_text("is being ended")
    await scene.rig.clock.advance(2)
    await expect(page.get_by_text("No call is running.")).to_be_visible()


async def test_an_admin_sees_what_an_edit_of_the_tariff_changes_before_it_is_saved(tmp_path: Path) -> None:
    async with console_scene(tmp_path) as scene, chromium() as browser, window(browser, scene.url) as page:
        await log_in(page, "ada")
        await page.get_by_role("link", name="Tariff").click()
        text = page.get_by_label("The file's text")
        written = await text.input_value()
        await text.fill(written.replace("minimum: 10.00", "minimum: ten"))
        await page.get_by_role("button", name="Show what changes").click()
        await expect(page.get_by_role("alert")).to_contain_text("It cannot be saved:")
        assert scene.tariff.read_text() == written
        edited = written.replace("revision: 2026-11", "revision: 2026-12").replace("amounts: [10.00, ", "amounts: [")
        await page.get_by_label("The file's text").fill(edited)
        await page.get_by_role("button", name="Show what changes").click()
        await expect(page.get_by_role("region", name="For whom")).to_contain_text("top_up")
        assert scene.tariff.read_text() == written
        await page.get_by_role("button", name="Yes: save the tariff").click()
        await expect(page.get_by_role("status")).to_contain_text("The tariff is saved.")
        assert scene.tariff.read_text() == edited
        assert load_tariff(scene.tariff).revision == "2026-12"
        assert not list(scene.tariff.parent.glob(".tariff*")), "nothing is left behind"


async def test_someone_logs_in_by_the_login_provider_acts_under_his_name_and_logs_out(tmp_path: Path) -> None:
    """Between two sites, so that the browser applies `SameSite`; while the provider is away a password works."""
    with openid.running() as provider:
        provider.asks_people = True
        provider.document["end_session_endpoint"] = f"{provider.issuer}/end"
        async with console_scene(tmp_path, provider) as scene, chromium() as browser:
            await a_day(scene)
            async with window(browser, scene.url) as page:
                await page.goto("/accounts/anna")
                assert await found_by_axe(page) == []
                await page.get_by_role("link", name="Log in by 127.0.0.1").click()
                await page.get_by_role("link", name="I am alice").click()
                await expect(page.get_by_role("heading", name="anna")).to_be_visible()
                assert page.url == f"{scene.url}/accounts/anna"
                assert await page.get_by_role("link", name="Correct").count() == 0, "that needs an admin"
                await page.get_by_role("link", name="Top up").click()
                await page.get_by_label("Amount").fill("10.00")
                await page.get_by_role("button", name="Top up").click()
                await page.get_by_role("button", name="Yes: top up").click()
                await expect(page.get_by_role("region", name="Table: who did what")).to_contain_text(
                    "console:openid:alice"
                )
                await page.get_by_role("button", name="Log out").click()
                await expect(page.get_by_role("link", name="Log out of 127.0.0.1 too")).to_be_visible()
                assert await found_by_axe(page) == []
                await page.goto("/accounts/anna")
                await expect(page.get_by_role("heading", name="charging console")).to_be_visible()
                provider.is_ill = True
                await page.get_by_role("link", name="Log in by 127.0.0.1").click()
                await expect(page.get_by_role("alert")).to_contain_text("cannot be asked now")
                await log_in(page, "sam")


PLACES = (
    *("/", "/calls", "/decisions", "/accounts/anna", "/accounts/anna/journal", "/accounts/anna/correct", "/search?q=a"),
    *("/accounts/anna/top-up", "/accounts/anna/suspend", "/tariff", "/health", "/no-such-page"),
)

TAB_HIDDEN = """(() => {
  const tab = document.querySelector("nav [aria-current]")?.getBoundingClientRect();
  return tab && (tab.left < -1 || tab.right > innerWidth + 1);
})()"""


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_window(
    tmp_path: Path, phone: bool, dark: bool
) -> None:
    async with console_scene(tmp_path) as scene, chromium() as browser:
        await a_day(scene)
        async with window(browser, scene.url, phone=phone, dark=dark) as page:
            await page.goto("/login")
            found = {"/login": await found_by_axe(page)}
            await log_in(page, "ada")
            for place in PLACES:
                await page.goto(place)
                found[place] = await found_by_axe(page)
                await page.screenshot(path=tmp_path / f"{place.strip('/').replace('/', '-') or 'overview'}.png")
                wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
                assert not wide, f"{place} is wider than its window"
                hidden = await page.evaluate(TAB_HIDDEN)
                assert not hidden, f"{place}: its tab is out of sight"
            assert {place: what for place, what in found.items() if what} == {}


async def test_the_console_is_worked_by_keyboard(tmp_path: Path) -> None:
    async with console_scene(tmp_path) as scene, chromium() as browser:
        await a_day(scene)
        async with window(browser, scene.url) as page:
            await log_in(page, "sam")
            await page.keyboard.press("Tab")
            assert await focused(page) == "Skip to the content"
            await page.keyboard.press("Enter")
            for _ in range(20):
                await page.keyboard.press("Tab")
                if (await focused(page)).startswith("Hang up"):
                    break
            await scene.rig.clock.advance(3)
            await expect(page.get_by_role("region", name="Table: running calls")).to_contain_text("1:26")
            assert (await focused(page)).startswith("Hang up"), "a part that is renewed keeps the focus"
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("heading", name="Hang up")).to_be_visible()
            stored = await scene.rig.store.directory.account("anna")
            assert stored is not None
            assert stored.status is Status.ACTIVE


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.textContent.trim()"))
