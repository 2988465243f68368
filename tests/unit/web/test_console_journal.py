"""The journal of an account on the console, a page at a time."""

from __future__ import annotations

import re
from html import unescape

import pytest

from charging.web.problem import granted
from tests.fakes.rig import EURO
from tests.unit.service.conftest import shop
from tests.unit.web.test_console import Place, place

__all__ = ["place", "shop"]


async def test_older_lines_of_a_journal_begin_with_the_credit_that_there_was_and_with_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is sent a link sees no credit that its sender made up."""
    monkeypatch.setattr("charging.web.console.pages.JOURNAL_LINES", 2)
    visitor = await place.visitor()
    for number, euro in enumerate((10, 25, 25)):
        granted(await place.shop.service.money.top_up("anna", euro * EURO, f"order-{number}"))
    newest = await visitor.get("/accounts/anna/journal")
    older = re.search(r'href="(/accounts/anna/journal[?]before=[^"]*)"', newest)
    assert older is not None
    link = unescape(older[1])
    assert "€ 10.00</td>" in await visitor.get(link)
    forged = link.replace("credit=10000000", "credit=990000000")
    assert forged != link
    for one in (
        forged,
        forged.partition("&seal")[0],
        link.replace("before=2", "before=1"),
        link.replace("anna", "bert"),
    ):
        page = (await visitor.http.get(one)).text
        assert "990.00" not in page
        assert one.count("bert") or page == newest, one
