"""The demo's own checks bite: whatever is not as it was promised is told, and told once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from charging.demo import scene
from charging.demo.books import running
from charging.demo.checks import CUT_LATE_MAX_MS, Evidence, all_checks
from charging.demo.ears import Ear, Ears
from charging.pricing.packs import pack_of

MONTH = "bundle:2026-11"


def line(number: int, kind: str, *, free: int = 0, credit: str = "0.00", reserved: str = "0.00") -> dict[str, Any]:
    legs = [
        {"balance": "credit", "unit": "euro", "posted": credit, "reserved": reserved},
        {"balance": MONTH, "unit": "second", "posted": str(free), "reserved": "0"},
        {"balance": "calls", "unit": "call", "posted": "0", "reserved": "1"},
    ]
    session = None if kind in ("grant", "top_up") else "s-1"
    return {"number": number, "at": "2026-11-22T00:00:00.000+00:00", "kind": kind, "session": session, "legs": legs}


def journal(last: str = "-10.00") -> list[dict[str, Any]]:
    return [
        line(1, "grant", free=8),
        line(2, "top_up", credit="10.00"),
        line(3, "reserve", reserved="2.00"),
        line(4, "extend", free=-8, credit="-10.00", reserved="8.00"),
        line(5, "top_up", credit="10.00"),
        line(6, "settle", credit=last, reserved="-10.00"),
    ]


def ear(speech_s: float, speech_db: float, voice_s: float = 28.0) -> Ear:
    return Ear(Path("heard.wav"), 28.0, voice_s, speech_s, speech_db)


def evidence(**other: Any) -> Evidence:
    """A demo in which everything was right, but for what ``other`` says."""
    cdr = {
        "free_seconds": {"2026-11": 8},
        "cost": "20.00",
        "funding": [[0, 8, MONTH], [8, 28, "credit"]],
        "billed_s": 28,
        "used_ms": 28_004,
        "warnings": 2,
        "cut": "money",
    }
    watch = {"credits_seen": [10, 8, 6, 16, 14, 0], "credit": 0, "free_s": 0}
    balance = {"credit": {"posted": "0.00", "reserved": "0.00"}, "calls": []}
    return Evidence(
        cast(Any, SimpleNamespace(**{**watch, **other.get("watch", {})})),
        cast(Any, SimpleNamespace(duration_s=other.get("duration_s", 28.01))),
        {**cdr, **other.get("cdr", {})},
        running(other.get("journal", journal())),
        {**balance, **other.get("balance", {})},
        other.get("ears", Ears(ear(7.0, -14.0), ear(0.0, -46.0), 3.5)),
        other.get("verified", "the books are exact: every balance is the sum of its journal"),
    )


def test_demo_as_promised_passes_every_check() -> None:
    assert [check.text for check in all_checks(evidence()) if not check.holds] == []


def test_expected_end_of_the_call_follows_from_the_scene() -> None:
    assert scene.TOTAL_S == 28


def test_seconds_of_a_pack_are_free_seconds_too() -> None:
    row = line(1, "settle")
    row["legs"].append({"balance": pack_of("a", "2026-12-31"), "unit": "second", "posted": "-5", "reserved": "0"})
    assert [one.free for one in running([row])] == [-5]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"cdr": {"funding": [[0, 28, "credit"]]}}, "free seconds went first"),
        ({"cdr": {"free_seconds": {"2026-11": 7}}}, "free seconds went first"),
        ({"journal": journal(last="-10.01")}, "charged once"),
        ({"journal": [*journal(), line(7, "settle", credit="-1.00")]}, "charged once"),
        ({"watch": {"credits_seen": [10, 10, 0]}}, "balance fell"),
        ({"ears": Ears(ear(5.5, -14.0), ear(0.0, -46.0), 3.5)}, "Anna heard the warning"),
        ({"cdr": {"warnings": 1}}, "Anna heard the warning"),
        ({"ears": Ears(ear(7.0, -14.0), ear(0.4, -46.0), 3.5)}, "the caller did not"),
        ({"ears": Ears(ear(7.0, -14.0), ear(0.0, -33.0), 3.5)}, "the caller did not"),
        ({"ears": Ears(ear(7.0, -14.0), ear(0.0, -46.0, voice_s=20.0), 3.5)}, "both went on hearing"),
        ({"cdr": {"used_ms": 27_999}, "duration_s": 28.0}, "was cut"),
        ({"cdr": {"used_ms": 28_001 + CUT_LATE_MAX_MS}, "duration_s": 29.0}, "was cut"),
        ({"cdr": {"cut": None}}, "end of the money"),
        ({"cdr": {"cut": "daemon_away"}}, "end of the money"),
        ({"duration_s": 27.4}, "the phones saw"),
        ({"watch": {"credit": 1}}, "shown live"),
        ({"balance": {"credit": {"posted": "0.00", "reserved": "1.00"}}}, "left reserved"),
        ({"balance": {"calls": ["s-1"]}}, "left reserved"),
        ({"verified": "account anna: credit is 1.00"}, "ledger verify"),
    ],
)
def test_what_is_not_as_promised_is_told(other: dict[str, Any], told: str) -> None:
    missed = [check.text for check in all_checks(evidence(**other)) if not check.holds]
    assert any(told in text for text in missed), missed
