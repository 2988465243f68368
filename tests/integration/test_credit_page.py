"""The site that the docs show, against a sandbox, in a real Chromium: what a developer gets in five minutes."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from charging.cli.sandbox import WEBHOOK_SECRET
from charging.lab.ports import free_port
from charging.web.settings import signing_keys
from charging.web.signed_post import signature
from tests.corpus.pdf import plain
from tests.integration.browser import chromium, found_by_axe, window
from tests.integration.test_sandbox import Sandbox, sandbox
from tests.pages import DOCS

__all__ = ["sandbox"]

pytestmark = pytest.mark.timeout(420)

HOOK = '#webhooks:\n#  - {name: website, url: "http://127.0.0.1:8080/'
RING = """curl -H "Authorization: Bearer $TOKEN" --json '{"number": "+31201234567", "answers_after_s": 0}' \
http://127.0.0.1:9479/v1/test/calls"""


@asynccontextmanager
async def site(sandbox: Sandbox, port: int) -> AsyncIterator[str]:
    """The example as a process, where the sandbox's webhook leads; its address."""
    program = (sys.executable, DOCS / "examples" / "credit_page.py", sandbox.folder, port)
    process = await asyncio.create_subprocess_exec(
        *(str(one) for one in program), f"http://127.0.0.1:{sandbox.ports['9479']}/v1"
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            while True:
                try:
                    await client.get(url)
                    break
                except httpx.TransportError:
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
        yield url
    finally:
        process.kill()
        await process.wait()


async def shows_every_cent(page: Page) -> None:
    """4.35 was shown as 4.34."""
    credit = {"now": ""}

    async def answer(route: Route) -> None:
        await route.fulfill(json={"credit": credit, "calls": []})

    await page.route("**/balance", answer)
    for credit["now"], shown in (("4.35", "4.35"), ("1.159999", "1.15"), ("0.29", "0.29"), ("-0.004", "-0.00")):
        await expect(page.locator("#now")).to_have_text(shown)
    await page.unroute("**/balance")


async def test_a_page_written_from_the_docs_shows_a_call_a_top_up_a_fax_and_what_has_happened(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    port, settings = free_port(), sandbox.config.read_text()
    assert HOOK in settings
    sandbox.config.write_text(settings.replace(HOOK, HOOK.replace("#", "").replace("8080", str(port))))
    (tmp_path / "offer.pdf").write_bytes(plain(2))
    async with sandbox.running(), site(sandbox, port) as url, chromium() as browser, window(browser, url) as page:
        await page.goto("/")
        await page.get_by_label("Name").fill("alice")
        await page.get_by_label("Password").fill("secret")
        assert await found_by_axe(page) == []
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("#now")).to_have_text("10.00")
        assert await found_by_axe(page) == []

        call = await sandbox.curl(RING)
        await expect(page.locator("#running")).to_have_text(", and a call runs")
        await expect(page.locator("#now")).to_have_text(re.compile("9[.]9[0-8]"))
        hang_up = f'curl -H "Authorization: Bearer $TOKEN" --json {{}} http://127.0.0.1:9479/v1/test/calls/{call["id"]}/hang-up'
        await sandbox.curl(hang_up)
        await expect(page.locator("#running")).to_have_text("")

        await page.get_by_role("button", name="Buy 10 euro").click()
        await page.get_by_role("button", name="Pay").click()
        await expect(page.get_by_role("status")).to_have_text("Thank you")
        await expect(page.locator("#now")).to_have_text(re.compile("19[.]"))

        await page.get_by_label("Document").set_input_files(tmp_path / "offer.pdf")
        await page.get_by_role("button", name="What does it cost?").click()
        await expect(page.get_by_text("2 pages cost 0.10 euro.")).to_be_visible()
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("status")).to_have_text("It is being sent")

        await shows_every_cent(page)
        told = page.locator("#events li")
        expected = ["call.begun", "call.ended", "credit.topped_up", "fax.begun", "fax.ended"]
        await expect(told).to_have_text(expected, timeout=60_000)
        async with httpx.AsyncClient(base_url=url) as stranger:
            body, sent = b'{"type":"fax.ended","data":{"account":"demo"}}', int(asyncio.get_running_loop().time())
            headers = {"webhook-id": "evt_1", "webhook-timestamp": str(sent), "webhook-signature": "v1,AAAA"}
            assert (await stranger.post("/hooks/charging", content=body, headers=headers)).status_code == 401
            keys = signing_keys((sandbox.folder / WEBHOOK_SECRET).read_text())
            headers["webhook-signature"] = signature(keys, "evt_1", sent, body)
            old = await stranger.post("/hooks/charging", content=body, headers=headers)
            assert old.status_code == 401, "it is of long ago"
            assert (await stranger.get("/happened")).json() == []
            assert (await stranger.get("/balance")).status_code in (404, 422)
