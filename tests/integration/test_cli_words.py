"""What a person typed that cannot be, or changes nothing, is told in words that say what was expected."""

from __future__ import annotations

import pytest

from charging.cli.client import connected, path
from charging.settings import load_config
from tests.integration.command import Command


@pytest.fixture
def anna(charging: Command) -> str:
    assert charging("account", "add", "anna", "--plan", "pro").code == 0
    return "anna"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("account set anna --language de", "'--language': found 'de', expected one of 'nl', 'en'"),
        (
            "token add x --scope all",
            "'--scope': found 'all', expected one of 'read', 'audit', 'credit', 'fax', 'minutes', 'numbers', "
            "'accounts', 'correct', 'calls', 'sign_in', 'operate'",
        ),
        ("number set 1 --paid-voicemail 1", "'--paid-voicemail': found '1', expected one of 'yes', 'no', 'plan'"),
        ("tariff quote 1 --seconds x", "'--seconds' / '-s': found 'x', expected a whole number"),
        ("cdr list --limit 0", "'--limit': found '0', expected at least 1"),
        ("calls --interval 0", "'--interval': found '0', expected at least 0.1"),
    ],
)
def test_an_option_that_cannot_be_is_told_what_was_expected(charging: Command, arguments: str, told: str) -> None:
    assert f"Invalid value for {told}; see" in charging(*arguments.split()).err


def test_a_day_and_a_number_out_of_range_are_told_what_was_expected(charging: Command, anna: str) -> None:
    for day in ("31-01-2027", "2027-02-30"):
        assert "expected a day such as 2027-01-31" in charging("subscription", "paid", anna, "--until", day).problem
    asked = ("tariff", "quote", "0612345678", "--plan", "pro", "--seconds", "100000000")
    assert "expected at most 1000000" in charging(*asked).problem


def test_a_period_that_ends_earlier_than_what_is_paid_is_told_to_change_nothing(charging: Command, anna: str) -> None:
    later = charging("subscription", "paid", anna, "--until", "2027-01-31", "--id", "k1")
    assert (later.code, later.err) == (0, "")
    told = "already paid until 2027-01-31; nothing was changed; `charging subscription correct` puts a wrong one right"
    for key in ("k2", "k2", "k3"):
        ran = charging("subscription", "paid", anna, "--until", "2026-12-31", "--id", key)
        assert (ran.code, ran.err) == (0, f"charging: warning: account 'anna' is {told}\n")
        assert later.out == ran.out
    for key in ("k1", "k4"):
        assert charging("subscription", "paid", anna, "--until", "2027-01-31", "--id", key) == later
    assert charging("subscription", "correct", anna, "--until", "2026-12-31", "--json").json["warnings"] == []


def test_payments_that_are_stuck_are_listed(charging: Command, anna: str) -> None:
    with connected(load_config(charging.place.config, {"TEST_AMI_SECRET": "x"}).settings) as client:
        begun = client.send("POST", path("accounts", anna, "payments"), {"amount": "25.00", "provider": "mollie"})
        place = path("payments", begun["id"])
        client.send("PATCH", place, {"reference": "tr_1", "checkout": "https://provider.test/tr_1"})
        outcome = {"reference": "tr_1", "paid": True, "over": True, "amount": "24.00", "currency": "EUR"}
        client.send("POST", f"{place}/outcomes", outcome)
    (stuck,) = charging("payment", "list", "--state", "stuck", "--json").json
    assert (stuck["account"], stuck["amount"], stuck["why"]) == (anna, "25.00", "24.00 EUR was paid for 25.00 EUR")
    assert charging("payment", "list", "--state", "credited", "--json").json == []
