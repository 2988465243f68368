"""Words of strangers, customers and programs on the pages of both fronts, in a real Chromium: they are words there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Page, expect

from charging.ledger.accounts import Language
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify.model import LowCredit, Notice, NoticeKind
from charging.notify.outbox import Outbox
from tests.fakes.rig import EURO, Rig
from tests.integration.browser import chromium, window
from tests.integration.console_scene import PASSWORD, a_day
from tests.integration.customer_scene import customer_scene

pytestmark = pytest.mark.timeout(300)

WORDS = (
    "<script>owned()</script><img src=x onerror=owned()>",
    "\"' autofocus onfocus=owned() x='",
    "</textarea></title></script><svg onload=owned()>",
    "javascript:owned()//{{ 7*7 }}${7*7}{% raw %}<%= 7*7 %>#{7*7}",
    "\u202eexe.fdp\u200b\ufeff <base href=//evil.example><meta http-equiv=refresh content=0;url=//evil.example>",
    '<form action="//evil.example"><iframe srcdoc="<script>parent.owned()</script>"></iframe>',
)
ALL = " ".join(WORDS)
GUARD = "globalThis.owned = () => { globalThis.wasOwned = true; };"
FOUND = """(() => {
  const all = [...document.querySelectorAll("*")];
  const acts = all.filter(one => [...one.attributes].some(at => at.name.startsWith("on")));
  const places = [...document.querySelectorAll("[href], [src], [action]")].flatMap(one =>
    ["href", "src", "action"].filter(name => one.hasAttribute(name)).map(name => [name, one.getAttribute(name)]));
  const away = places.filter(([name, at]) => new URL(at, location.href).origin !== location.origin);
  const strange = [...document.querySelectorAll("iframe, object, embed, base, meta[http-equiv]")];
  const scripts = [...document.scripts].filter(one => !one.src);
  return [...acts, ...strange, ...scripts].map(one => one.outerHTML).concat(away.map(String),
    globalThis.wasOwned ? ["a script of theirs has run"] : []);
})()"""
"""What no page of ours has."""
CONSOLE = (
    *("/accounts/anna", "/accounts/anna/journal", "/accounts/anna/top-up", "/", "/calls", "/health", "/tariff"),
    *("/accounts/WORDS", "/accounts/WORDS/suspend", "/calls/WORDS?account=WORDS", "/numbers/WORDS/forward"),
    *("/search?q=WORDS", "/decisions?number=WORDS&account=WORDS&at=WORDS", "/login?next=WORDS", "/WORDS"),
    "/accounts/anna/suspend?back=WORDS",
)
CUSTOMERS = ("/", "/calls", "/settings", "/fax", "/buy", "/WORDS", "/fax/sent/WORDS")


def words() -> str:
    """As a part of an address."""
    return "".join(f"%{octet:02X}" for octet in ALL.encode()).replace("%2F", "%252F")


async def harmless(page: Page, place: str = "") -> None:
    if place:
        await page.goto(place, wait_until="domcontentloaded")
    assert await page.evaluate(FOUND) == [], page.url


async def written_everywhere(rig: Rig) -> None:
    """What someone can have had written about anna, past every check of ours."""
    stored = await rig.store.directory.account("anna")
    assert stored is not None
    assert await rig.store.directory.put_account(replace(stored, email=ALL, status_reason=ALL, version=1))
    now_us = rig.clock.now().wall_us
    legs = (Leg(CREDIT, -1 * EURO),)
    await rig.store.apply(
        Transfer("correct/words", "anna", Kind.CORRECT, now_us, legs, reason=ALL[:500], actor=WORDS[0])
    )
    outbox, facts = Outbox(rig.store.documents), LowCredit(900_000, 0, True, False)
    await outbox.put(Notice("low-credit/2", NoticeKind.LOW_CREDIT, "anna", Language.NL, ALL, now_us, facts))
    for entry in await outbox.claim(now_us, 10):
        await outbox.give_up(entry, now_us, ALL)


async def test_words_of_others_are_words_on_the_console(tmp_path: Path) -> None:
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        scene = customers.scene
        await a_day(scene)
        await written_everywhere(scene.rig)
        async with window(browser, scene.url) as page:
            await page.add_init_script(GUARD)
            await page.goto("/login")
            await page.get_by_label("Name").fill("ada")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Log in").click()
            await expect(page.get_by_role("heading", name="Today")).to_be_visible()
            for place in CONSOLE:
                await harmless(page, place.replace("WORDS", words()))
            await page.goto("/accounts/anna")
            await expect(page.get_by_role("region", name="Table: journal")).to_contain_text(WORDS[0])
            await expect(page.get_by_role("region", name="Table: notices")).to_contain_text(WORDS[0])
            await page.get_by_role("link", name="Suspend").click()
            await page.get_by_label("Why, in one line").fill(ALL)
            await page.get_by_role("button", name="Suspend").click()
            await expect(page.get_by_text(WORDS[0])).to_be_visible()
            await harmless(page)
            await page.goto("/tariff")
            await page.get_by_label("The file's text").fill(f"revision: {ALL}\\n</textarea>{ALL}")
            await page.get_by_role("button", name="Show what changes").click()
            await expect(page.get_by_role("alert")).to_contain_text("It cannot be saved:")
            await harmless(page)


async def test_words_of_a_customer_are_words_on_his_page(tmp_path: Path) -> None:
    async with customer_scene(tmp_path) as customers, chromium() as browser:
        await a_day(customers.scene)
        await written_everywhere(customers.scene.rig)
        async with window(browser, customers.url) as page:
            await page.add_init_script(GUARD)
            await page.goto(await customers.link())
            await page.get_by_role("button", name="anna").click()
            await expect(page.locator("#live")).to_be_visible()
            for place in CUSTOMERS:
                await harmless(page, place.replace("WORDS", words()))
            await page.goto("/settings")
            await page.locator("form.forwarding input[type=tel]").fill(WORDS[0][:40])
            await page.locator("form.forwarding button").click()
            await expect(page.get_by_role("alert")).to_contain_text(WORDS[0][:40])
            await harmless(page)
            await page.goto("/fax")
            document = FilePayload(name=ALL.replace("/", "") + ".pdf", mimeType="application/pdf", buffer=b"%PDF-x")
            await page.locator("input[type=file]").set_input_files(document)
            await page.locator("main form input[name=target]").fill("+31201112222")
            await page.locator("main form button").click()
            await expect(page.get_by_text("exe.fdp")).to_be_visible()
            await harmless(page)
            await page.goto("/statements/2026-11")
            await expect(page.get_by_text(WORDS[3])).to_be_visible()
            assert await page.evaluate("globalThis.wasOwned ?? false") is False
