"""The customers' page and the widget in a real Chromium, during a played call."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Page, expect

from tests.fakes.fax_line import MAX_BYTES
from tests.fakes.rig import EURO
from tests.integration.browser import chromium, found_by_axe, window
from tests.integration.console_scene import a_day, top_up
from tests.integration.customer_scene import Customers, customer_scene

pytestmark = pytest.mark.timeout(300)


async def come_in(page: Page, customers: Customers) -> None:
    """By the website's link."""
    await page.goto(await customers.link())
    await page.get_by_role("button", name="anna").click()
    await expect(page.locator("#live")).to_be_visible()


async def test_r5_a_customer_sees_his_balance_fall_during_a_call_and_rise_by_a_top_up(tmp_path: Path) -> None:
    """R4, R5, R22: by itself, without a click; then his settings, calls and statement, in both languages."""
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url) as page:
            await come_in(page, customers)
            live = page.locator("#live")
            await expect(live).to_contain_text("1:23")
            before = await live.locator(".figure").first.inner_text()
            await customers.scene.rig.clock.advance(60)
            await expect(live).to_contain_text("2:23")
            assert await live.locator(".figure").first.inner_text() < before
            await top_up(customers.scene.rig, "anna", 50)
            await customers.scene.rig.clock.advance(1)
            await expect(live.locator(".figure").first).not_to_contain_text(before[:4])
            await sees_calls_and_statement(page)
            await sets_forwarding(page)
            await page.get_by_role("button", name="Log out").click()
            await expect(page.get_by_role("heading", name="You are logged out.")).to_be_visible()


async def sees_calls_and_statement(page: Page) -> None:
    await page.get_by_role("link", name="Gesprekken", exact=True).click()
    calls = page.get_by_role("region", name="Gesprekken van de laatste 31 dagen")
    await expect(calls.get_by_role("row")).to_have_count(6)
    await page.get_by_role("link", name="Overzicht van").first.click()
    await expect(page.get_by_role("heading", name="Overzicht")).to_be_visible()
    ground = await page.evaluate("getComputedStyle(document.querySelector('dl')).display")
    assert ground == "grid", "the statement's own style counts"
    await page.go_back()


async def sets_forwarding(page: Page) -> None:
    await page.get_by_role("button", name="English").click()
    await page.get_by_role("link", name="Forwarding").click()
    field = page.get_by_role("textbox", name="forward to")
    await field.fill("nobody")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_contain_text("This is no telephone number: nobody")
    await field.fill("06 1111 2222")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_contain_text("is forwarded to +31611112222.")


async def test_the_widget_shows_the_balance_on_the_sites_of_the_list_alone(tmp_path: Path) -> None:
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.site) as page:
            await page.goto("/")
            await expect(page.get_by_role("link", name="Credit")).to_contain_text("on a call")
            await expect(page.get_by_role("link", name="Credit")).to_contain_text("€")
            assert await found_by_axe(page) == []
            assert await page.context.cookies() == []
        async with window(browser, customers.strange_site) as page:
            async with page.expect_event("requestfailed"):
                await page.goto("/")
            assert "€" not in await page.locator("main").inner_text()


async def test_r2_r22_a_customer_buys_credit_at_the_providers_checkout(tmp_path: Path) -> None:
    """And comes back logged in, before any hook has told us; during a call."""
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url) as page:
            await come_in(page, customers)
            before = (await customers.scene.rig.balance()).posted
            await page.get_by_role("link", name="Tegoed kopen").first.click()
            assert await found_by_axe(page) == []
            await page.get_by_label("50,00").check()
            await page.get_by_role("button", name="Verder naar betalen").click()
            await page.get_by_role("link", name="Betaal € 50,00").click()
            await page.get_by_role("button", name="Pay", exact=True).click()
            await expect(page.get_by_role("heading", name="Betaald: dank u wel")).to_be_visible()
            assert (await customers.scene.rig.balance()).posted == before + 50 * EURO
            assert await found_by_axe(page) == []


async def test_r14_a_customer_sees_what_a_fax_costs_before_it_is_sent(tmp_path: Path) -> None:
    """Pages, price and whether the credit suffices at upload; sent once he says so, and once however often."""
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url) as page:
            await come_in(page, customers)
            await page.get_by_role("button", name="English").click()
            await page.get_by_role("link", name="Fax", exact=True).click()
            await upload(page, 30, "+31201112222")
            await expect(page.get_by_role("heading", name="Ready to send")).to_be_visible()
            facts = page.locator("dl.facts")
            await expect(facts).to_contain_text("3")
            await expect(facts).to_contain_text("offer.pdf")
            assert await found_by_axe(page) == []
            assert not await faxes(customers), "nothing is sent before he says so"
            button = page.get_by_role("button", name="Send for")
            await button.click()
            await expect(page.get_by_role("heading", name="The fax is being sent")).to_be_visible()
            assert await found_by_axe(page) == []
            await page.go_back()
            await page.get_by_role("button", name="Send for").click()
            await expect(page.get_by_role("heading", name="The fax is being sent")).to_be_visible()
            assert len(await faxes(customers)) == 1
            await page.goto("/fax")
            await upload(page, MAX_BYTES - 1, "+31201112222")
            await expect(page.get_by_text("Your credit is too low")).to_be_visible()
            await expect(page.get_by_role("link", name="Buy credit").last).to_be_visible()
            await page.goto("/fax")
            await upload(page, 30, "nobody")
            await expect(page.get_by_role("alert")).to_contain_text("The fax number does not exist")


async def upload(page: Page, size: int, target: str) -> None:
    document = FilePayload(name="offer.pdf", mimeType="application/pdf", buffer=b"%PDF-".ljust(size, b"x"))
    await page.get_by_label("Document").set_input_files(document)
    await page.get_by_label("Fax number of the receiver").fill(target)
    await page.get_by_role("button", name="what does it cost").click()


async def faxes(customers: Customers) -> list[str]:
    return [one.id for one in customers.scene.rig.registry.open.faxes()]


PLACES = ("/", "/calls", "/statements/2026-11", "/settings", "/fax", "/buy", "/no-such-page")

TAB_HIDDEN = """(() => {
  const tab = document.querySelector("nav [aria-current]")?.getBoundingClientRect();
  return tab && (tab.left < -1 || tab.right > innerWidth + 1);
})()"""


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize(("dark", "language"), [(False, "en"), (True, "nl")], ids=["light-en", "dark-nl"])
async def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_window(
    tmp_path: Path, phone: bool, dark: bool, language: str
) -> None:
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url, phone=phone, dark=dark) as page:
            link, found = await customers.link(), {}
            for place in ("/", link):
                await page.goto(place)
                found[place] = await found_by_axe(page)
            await come_in(page, customers)
            if await page.evaluate("document.documentElement.lang") != language:
                await page.locator('form[action="/language"] button').click()
                await expect(page.locator("html")).to_have_attribute("lang", language)
            for place in PLACES:
                await page.goto(place)
                is_document = place == "/statements/2026-11"  # which is in the account's
                assert is_document or await page.evaluate("document.documentElement.lang") == language
                found[place] = await found_by_axe(page)
                await page.screenshot(path=tmp_path / f"{place.strip('/').replace('/', '-') or 'overview'}.png")
                wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
                assert not wide, f"{place} is wider than its window"
                hidden = await page.evaluate(TAB_HIDDEN)
                assert not hidden, f"{place}: its tab is out of sight"
            assert {place: what for place, what in found.items() if what} == {}


FOCUSED = """(() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const inside = box.left >= -1 && box.top >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1;
  const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [one === document.body ? "" : one.outerHTML.slice(0, 120), inside || one.scrollHeight > innerHeight, ringed];
})()"""
TO_BE_REACHED = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter(one => one.type !== "hidden" && one.getClientRects().length && !one.disabled)
  .filter(one => one.type !== "radio" || one.checked)
  .map(one => one.outerHTML.slice(0, 120))"""


async def tabbed_through(page: Page) -> list[str]:
    """What the tab key leads to, each as a screen reader names it. It is in sight, has a ring around it and a name, and
    nothing that can be worked is passed over."""
    await page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    reached: list[str] = []
    names: list[str] = []
    for _ in range(100):
        await page.keyboard.press("Tab")
        element, in_sight, ringed = await page.evaluate(FOCUSED)
        if not element or element in reached[:1]:
            break
        deadline = time.monotonic() + 5
        while not in_sight and time.monotonic() < deadline:  # it is scrolled to in a moment
            _, in_sight, _ = await page.evaluate(FOCUSED)
        name = await page.locator(":focus").first.aria_snapshot()
        assert (in_sight, ringed) == (True, True), f"{page.url}: {element}"
        assert '"' in name.partition("\n")[0] or ": " in name.partition("\n")[0], f"{page.url}: {element} has no name"
        reached.append(element)
        names.append(name.partition("\n")[0])
    missed = [one for one in await page.evaluate(TO_BE_REACHED) if one not in reached]
    assert missed == [], page.url
    return names


async def tab_to(page: Page, name: str) -> None:
    """By the tab key alone, to what a screen reader calls so."""
    for _ in range(100):
        if name in (await page.locator(":focus").first.aria_snapshot() if await has_focus(page) else ""):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{page.url}: nothing is called {name}")


async def enter(page: Page) -> None:
    """What has the focus is pressed, and the next page is there."""
    async with page.expect_navigation():
        await page.keyboard.press("Enter")


async def has_focus(page: Page) -> bool:
    return bool(await page.evaluate("document.activeElement !== document.body"))


WORDS = {
    "en": ("Skip to the content", "Forwarding", "Forward to", "Save", "Buy credit", "Go on to pay", "Log out"),
    "nl": (
        *("Naar de inhoud", "Doorschakelen", "Doorschakelen naar", "Opslaan"),
        *("Tegoed kopen", "Verder naar betalen", "Uitloggen"),
    ),
}


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["en", "nl"])
async def test_a_customer_needs_no_mouse_and_hears_the_name_of_all_that_he_can_work(
    tmp_path: Path, phone: bool, language: str
) -> None:
    skip, settings, forward_to, save, buy, pay, leave = WORDS[language]
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        async with window(browser, customers.url, phone=phone) as page:
            await page.goto(await customers.link())
            await tabbed_through(page)
            await tab_to(page, "anna")
            await enter(page)
            await expect(page.locator("#live")).to_be_visible()
            if await page.evaluate("document.documentElement.lang") != language:
                await tab_to(page, {"en": "English", "nl": "Nederlands"}[language])
                await enter(page)
                await expect(page.locator("html")).to_have_attribute("lang", language)
            for place in PLACES:
                await page.goto(place)
                names = await tabbed_through(page)
                assert place.startswith("/statements") or skip in names[0], place
            await page.goto("/")
            await tab_to(page, f'link "{settings}"')
            await enter(page)
            await tab_to(page, forward_to.lower())
            await page.keyboard.press("Control+A")
            await page.keyboard.type("0611112222")
            await tab_to(page, f'button "{save} +')
            await enter(page)
            await expect(page.get_by_role("status")).to_contain_text("+31611112222")
            await tab_to(page, f'link "{buy}"')
            await enter(page)
            await expect(page.get_by_role("radio").first).to_be_visible()
            await tab_to(page, "radio")
            before = await page.evaluate("document.activeElement.value")
            await page.keyboard.press("ArrowDown")
            assert await page.evaluate("document.activeElement.value") != before
            await tab_to(page, pay)
            await enter(page)
            await expect(page.get_by_role("radio")).to_have_count(0)
            await page.go_back()
            await tab_to(page, leave)
            await enter(page)
            await expect(page.locator("nav")).to_have_count(0)
