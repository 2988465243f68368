"""The console's advice leads to the console's own pages; only what it cannot do is a command."""

from __future__ import annotations

import pytest

from charging.call.decided import _WORDS
from charging.web.console.advice import Part, advised

ONLY_COMMANDS = {
    "charging number add ACCOUNT +31201234567",
    "charging tariff quote",
    "charging drain --end",
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
