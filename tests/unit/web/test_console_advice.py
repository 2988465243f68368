"""The console's advice leads to the console's own pages; only what it cannot do is a command. Its page of health says
what is the matter."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from charging.call.decided import _WORDS, Decided, Turn
from charging.service.decisions import DecisionKeeper
from charging.service.webhooks import Report
from charging.web.console.advice import Part, advised
from tests.unit.service.conftest import shop
from tests.unit.web.test_console import Place, place

__all__ = ["place", "shop"]

ONLY_COMMANDS = {
    "charging number add ACCOUNT +31201234567",
    "charging tariff quote",
    "charging drain --end",
    "charging check",
    "charging check --live",
}
"""What the console cannot do."""


def test_a_command_that_the_console_can_carry_out_is_its_page() -> None:
    advice = "a top-up works at once: `charging top-up anna AMOUNT`; what others held is free when they end"
    assert advised(advice, "anna", "+31201234567") == [
        Part("a top-up works at once: "),
        Part("top up", "/accounts/anna/top-up"),
        Part("; what others held is free when they end"),
    ]


def test_a_number_is_written_as_an_address_needs_it() -> None:
    (part,) = advised("`charging number set +31201234567 --forward-to …`", "anna", "+31201234567")
    assert part == Part("set the forward target", "/numbers/%2B31201234567/forward")


def test_without_an_account_the_command_stays() -> None:
    (part,) = advised("`charging top-up ACCOUNT AMOUNT`")
    assert part == Part("charging top-up ACCOUNT AMOUNT", is_command=True)


@pytest.mark.parametrize("reason", _WORDS)
def test_no_decision_is_explained_by_a_command_that_the_console_has_a_page_for(reason: str) -> None:
    number = "+31201234567"
    words = _WORDS[reason][1].replace("NUMBER", number).replace("charging top-up ACCOUNT", "charging top-up anna")
    commands = {
        one.text for one in advised(words, "anna", number) if one.is_command and one.text.startswith("charging ")
    }
    assert commands <= ONLY_COMMANDS


def test_words_between_quotes_that_are_no_command_stay_as_they_are() -> None:
    assert advised("`credit_a_day` of the plan is the limit", "anna")[0] == Part("credit_a_day", is_command=True)


async def test_health_says_why_a_webhook_is_not_told_and_when_it_is_tried_again(place: Place) -> None:
    support = await place.visitor("sam")
    assert "well" in (await support.get("/health")).partition("Webhooks")[2]
    await place.hooks.take("site")
    now_us = place.shop.clock.now().wall_us
    await place.hooks.move("site", "1", Report(now_us, why="it answered 503 <b>", next_us=now_us + 60_000_000))
    told = (await support.get("/health")).partition("Webhooks")[2]
    assert "it answered 503 &lt;b&gt;" in told
    zone = ZoneInfo(place.shop.tariff.zone)
    assert datetime.fromtimestamp(now_us / 1e6 + 60, zone).strftime("%H:%M:%S") in told


async def test_what_support_can_do_about_a_decision_is_a_link_and_no_command(place: Place) -> None:
    at_us, number = place.shop.clock.now().wall_us, "+31201234567"
    decided = Decided(at_us, Turn.INCOMING, "reject", "no_credit", "main", 3, account="anna", number=number)
    keeper = DecisionKeeper(place.shop.store.documents, place.shop.clock, daemon="host-1")
    keeper.keep(decided)
    await keeper.write()
    shown = await (await place.visitor("sam")).get(f"/decisions?number={quote(number)}")
    assert 'a top-up works at once: <a href="/accounts/anna/top-up">top up</a>' in shown
