"""Arguments that come from the network in the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agi import routes
from charging.errors import RemoteProtocolError


@pytest.mark.parametrize("text", ["1", "+1", "0" * 32, "+" + "9" * 32])
def test_a_number_is_taken(text: str) -> None:
    assert routes.number(text) == text


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (routes.number, ""),
        (routes.number, "+"),
        (routes.number, "0" * 33),
        (routes.number, "12\n"),
        (routes.session_id, ""),
        (routes.session_id, "a" * 41),
        (routes.session_id, "A"),
        (routes.session_id, "a/b"),
        (routes.dial_status, "busy"),
        (routes.dial_status, "A" * 33),
    ],
)
def test_what_does_not_match_is_refused(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        check(text)


def test_a_session_and_a_status_are_taken() -> None:
    assert routes.session_id("a" * 40) == "a" * 40
    assert routes.dial_status("") == ""
    assert routes.dial_status("CHANUNAVAIL") == "CHANUNAVAIL"


def test_free_text_is_cut_and_loses_what_is_not_printable() -> None:
    assert routes.printable("a\r\nb\0c\u202ed") == "abcd"
    assert routes.printable("x" * 81) == "x" * 80


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", ()),
        (":>:>", ()),
        (":+31850000001>:>", ("+31850000001",)),
        (":>:><:+31850000001@192>;", ("+31850000001",)),
        (":>:><:0850000001@10><:+31612345678@10>;", ("0850000001", "+31612345678")),
        (":>:><:+31850000001>", ("+31850000001",)),
        (":>:><:%2B31850000001@10><:%2b31612345678;>|", ("+31850000001", "+31612345678")),
        (":>:><:+31850000001;-:+31>", ("+31850000001",)),
        (":>:>|<:+31850000001@10>;1", ()),
        (":>:>|<:+31850000001@10>;1<:+31612345678@10>;11<:+31850000001@10>;111", ("+31850000001", "+31612345678")),
        (":>:>|<:+31850000001@a>;1<:+31850000001@b>;11<:+31850000001@c>;111", ()),
        (":>:>|<:+31612345678@a>;1<:+31850000001@b>;11<:+31850000001@c>;111", ("+31612345678",)),
        (":12>:@>:+>:x>:" + "1" * 33 + ">", ()),
        (":>" * 500 + ":+31850000001>", ()),
    ],
)
def test_what_a_call_was_diverted_from(text: str, numbers: tuple[str, ...]) -> None:
    """As charging-diverted writes it. The last entry of History-Info is the number that is called now."""
    assert routes.diverted(text) == numbers


@pytest.mark.parametrize(
    ("diversion", "history", "cut"), [(499, 499, False), (499, 500, True), (500, 0, True), (0, 998, False)]
)
def test_what_the_dialplan_has_cut_is_told(diversion: int, history: int, cut: bool) -> None:
    """It gives 1,000 characters at most: of Diversion 500, and the rest of History-Info."""
    text = "".join(f":+3185{one:07}>" for one in range(100))
    assert routes.is_cut(f"{text[:diversion]}|{text[:history]}") is cut
