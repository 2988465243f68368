"""The command on a SQLite file of its own, with no daemon running."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest

from charging.cli import main
from charging.cli.client import Client
from charging.ledger.sqlite.file import FileLock
from charging.ledger.sqlite.store import SqliteStore
from charging.tariff.accepted import Accepted
from charging.tariff.file import load_tariff
from tests.integration.command import Command, Place, run_process

NUMBER = "+31201234567"


@pytest.fixture
async def begun(place: Place) -> None:
    """A ledger with nothing in it, as a daemon leaves that has started once."""
    store = SqliteStore(place.folder / "ledger.db")
    await store.open()
    await store.close()


@pytest.fixture
def anna(charging: Command) -> str:
    assert charging("account", "add", "anna", "--plan", "pro").code == 0
    return "anna"


async def test_a_first_hour_as_processes_of_their_own(place: Place) -> None:
    """The same file, opened and closed by one process after the other; settings by environment and by option."""
    env = {"CHARGING_CONFIG": str(place.config)}
    added = await run_process("account", "add", "anna", "--plan", "pro", "--email", "anna@example.nl", env=env)
    assert (added.code, added.err) == (0, "")
    topped = await run_process("top-up", "anna", "25,00", "--id", "order-1", "--json", env=env)
    assert topped.json["credit"] == "25.00"
    again = await run_process("top-up", "anna", "25", "--id", "order-1", "--json", "--config", str(place.config))
    assert (again.json["created"], again.json["credit"]) == (False, "25.00")
    refused = await run_process("top-up", "nobody", "25", env=env)
    assert refused.problem.startswith("there is no account 'nobody'")
    shown = await run_process("account", "show", "anna", env=env)
    assert "€ 25.00" in shown.out
    assert "\x1b" not in shown.out


def test_promotional_credit_is_given_shown_and_taken_back(charging: Command, anna: str) -> None:
    last_day = (date.today() + timedelta(days=30)).isoformat()  # noqa: DTZ011  the operator's day, or the one before
    for amount, left in (("5.00", "5.00"), ("-1.50", "3.50")):
        given = charging("account", "grant-credit", anna, amount, "--until", last_day, "--reason", "welcome", "--json")
        assert (given.json["available"], given.json["last_day"]) == (left, last_day)
    assert f"€ 3.50 through {last_day}" in charging("account", "show", anna).out
    refused = charging("account", "grant-credit", anna, "-3.51", "--until", last_day, "--reason", "mistake")
    assert (refused.code, "at most the available 3.50" in refused.problem) == (1, True)
    assert "promo:" in charging("account", "journal", anna).out


def test_a_pack_is_given_shown_and_taken_back(charging: Command, anna: str) -> None:
    given = charging("account", "grant-pack", anna, "addon_60", "--reason", "order 17", "--json")
    assert (given.json["seconds"], given.json["left"]) == (3600, 3600)
    last_day = str(given.json["last_day"])
    assert f"3600 s of addon_60 through {last_day}" in charging("account", "show", anna).out
    taken = ("--minutes", "-60", "--until", last_day, "--reason", "given by mistake")
    assert charging("account", "grant-pack", anna, "addon_60", *taken, "--json").json["left"] == 0
    refused = charging("account", "grant-pack", anna, "addon", "--reason", "order 17")
    assert (refused.code, "expected one of addon_60" in refused.problem) == (1, True)


def test_an_account_shown_as_json_is_complete(charging: Command, anna: str) -> None:
    charging("number", "add", anna, "0201234567", "--forward-to", "0612345678")
    shown = charging("account", "show", anna, "--json").json
    assert shown["balance"]["credit"]["now"] == "0.00"
    assert shown["balance"]["free_seconds"]["left"] == 600
    assert [number["forward_to"] for number in shown["numbers"]] == ["+31612345678"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["account", "show", "nobody"],
        ["account", "journal", "nobody"],
        ["account", "set", "nobody", "--plan", "light"],
        ["account", "suspend", "nobody", "--reason", "unpaid"],
        ["account", "close", "nobody", "--reason", "moved"],
        ["account", "correct", "nobody", "1", "--reason", "why"],
        ["top-up", "nobody", "25"],
        ["subscription", "paid", "nobody", "--id", "invoice-7"],
        ["number", "add", "nobody", NUMBER],
        ["number", "list", "--account", "nobody"],
        ["cdr", "list", "--account", "nobody"],
        ["calls", "--decided", "--account", "nobody"],
        ["tariff", "quote", "0612345678", "--account", "nobody"],
    ],
    ids=" ".join,
)
def test_an_unknown_account_is_one_line_and_exit_1(charging: Command, begun: None, arguments: list[str]) -> None:
    assert charging(*arguments).problem.startswith("there is no account 'nobody'; ")


@pytest.mark.parametrize("amount", ["abc", "", "1.000", "25.001", "1e3", "€25", "2 5", "99999999999", "10.00.00"])
def test_a_malformed_amount_is_one_line_and_exit_1(charging: Command, anna: str, amount: str) -> None:
    for arguments in (["top-up", anna, amount], ["account", "correct", anna, amount, "--reason", "why"]):
        assert charging(*arguments).problem.startswith(f"found the amount {amount!r}, expected ")
    assert charging("account", "journal", anna, "--json").json == []


@pytest.mark.parametrize("number", ["abc", "", "12", "+", "+999999999999999999", "0612345678x1", "sip:anna@example.nl"])
def test_a_malformed_number_is_one_line_and_exit_1(charging: Command, anna: str, number: str) -> None:
    assert "expected a telephone number" in charging("number", "add", anna, number).problem
    for arguments in (["set", number, "--mailbox", "x"], ["remove", number]):
        assert charging("number", *arguments).problem
    assert "expected a telephone number" in charging("tariff", "quote", number, "--plan", "pro").problem


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["account", "add", "Anna", "--plan", "pro"], "expected an account id"),
        (["account", "add", "anna", "--plan", "gold"], "expected one of light, pro"),
        (["account", "add", "anna", "--plan", "pro"], "there is an account 'anna' already"),
        (["account", "set", "anna", "--email", "anna"], "expected a mail address"),
        (["account", "suspend", "anna", "--reason", ""], "expected a reason"),
        (["top-up", "anna", "9.99"], "expected at least 10.00"),
        (["top-up", "anna", "11"], "expected one of 10.00, 25.00"),
        (["top-up", "anna", "-25"], "expected at least 10.00"),
        (["account", "correct", "anna", "-0.01", "--reason", "why"], "credit never falls below zero"),
        (["number", "set", NUMBER, "--mailbox", "x"], "is none of our numbers"),
        (["number", "add", "anna", NUMBER, "--forward-to", NUMBER], "the call would come back"),
        (["number", "add", "anna", NUMBER, "--forward-to", "0900 1234"], "the tariff refuses calls"),
        (["subscription", "paid", "anna", "--until", "soon"], "until"),
        (["hangup", "none"], "there is no call 'none' now"),
        (["cdr", "list", "--since", "yesterday"], "expected a day such as"),
        (["calls", "--decided", "--since", "yesterday"], "expected a day such as"),
        (["calls", "--decided", "--at", "2026-11-21"], "expected one such as 14:03"),
        (["calls", "--decided", "--at", "14:03", "--until", "2026-11-21"], "expected the one or the others"),
        (["calls", "--decided", "--number", "anna"], "expected a telephone number"),
        (["tariff", "quote", "+4930123456", "--plan", "pro"], "the tariff has no price"),
        (["tariff", "quote", "0612345678", "--plan", "gold"], "expected one of light, pro"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_is_one_line_that_says_what_was_expected(
    charging: Command, anna: str, arguments: list[str], expected: str
) -> None:
    assert expected in charging(*arguments).problem


@pytest.mark.parametrize(
    "arguments",
    [
        ["acount"],
        ["account", "lst"],
        ["account", "add", "anna"],
        ["account", "set", "anna"],
        ["account", "suspend", "anna"],
        ["account", "list", "--bogus"],
        ["account", "correct", "anna", "1", "--reson", "why"],
        ["number", "set", NUMBER],
        ["top-up", "anna"],
        ["cdr", "list", "--csv", "--json"],
        ["calls", "--decided", "--watch"],
        ["calls", "--number", NUMBER],
        ["number", "add", NUMBER, "anna"],
        ["top-up", "25", "anna"],
        ["account", "correct", "-5", "anna", "--reason", "why"],
        ["tariff", "quote", "0612345678"],
        ["tariff", "quote", "0612345678", "--plan", "pro", "--account", "anna"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_2(charging: Command, arguments: list[str]) -> None:
    ran = charging(*arguments)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert "--help`" in line


def test_arguments_in_the_wrong_order_are_answered_with_the_right_one(charging: Command, anna: str) -> None:
    swapped = charging("number", "add", "0201234567", anna)
    assert "found '0201234567' where the account belongs, expected `charging number add ACCOUNT NUMBER`" in swapped.err
    assert "`charging top-up ACCOUNT AMOUNT`" in charging("top-up", "25", anna).err
    assert "`charging account correct ACCOUNT AMOUNT`" in charging("account", "correct", "5", anna, "--reason", "x").err
    assert "found 'nonsense', expected a telephone number" in charging("number", "add", anna, "nonsense").problem


def test_a_command_without_arguments_shows_what_there_is(charging: Command) -> None:
    for arguments in ([], ["account"], ["tariff"]):
        ran = charging(*arguments)
        assert ran.code == 2
        assert "Commands:" in ran.out


def test_an_account_through_its_life(charging: Command, anna: str) -> None:
    assert charging("account", "set", anna, "--language", "en", "--json").json["language"] == "en"
    assert charging("account", "suspend", anna, "--reason", "unpaid", "--json").json["status"] == "suspended"
    assert charging("account", "activate", anna, "--json").json["status"] == "active"
    assert charging("account", "correct", anna, "5", "--reason", "goodwill", "--json").json["credit"] == "5.00"
    assert charging("account", "correct", anna, "-5", "--reason", "oops", "--json").json["credit"] == "0.00"
    paid = charging("subscription", "paid", anna, "--until", "2027-01-31", "--json").json
    assert paid["paid_until"] == "2027-01-31T23:00:00.000+00:00"
    for _ in range(2):
        again = charging("subscription", "paid", anna, "--id", "invoice-7", "--json").json
        assert again["paid_until"] == "2027-02-28T23:00:00.000+00:00"
    reused = charging("subscription", "paid", anna, "--id", "invoice-7", "--until", "2027-04-30")
    assert reused.problem.startswith("key 'invoice-7' was used before, for a payment of another period")
    assert charging("subscription", "paid", anna).code == 2
    journal = charging("account", "journal", anna)
    assert [line.split()[0] for line in journal.out.splitlines()] == ["line", "2", "1"]
    assert "credit -5.00" in journal.out
    assert journal.out.splitlines()[1].rstrip().endswith("oops")
    assert len(charging("account", "journal", anna, "--limit", "1", "--json").json) == 1
    assert charging("account", "close", anna, "--reason", "moved", "--json").json["status"] == "closed"
    assert charging("account", "activate", anna).problem.startswith("account 'anna' is closed")
    assert charging("account", "list", "--json").json[0]["status_reason"] == "moved"


def test_r2_the_tariff_says_which_top_ups_are_sold(charging: Command, place: Place, anna: str) -> None:
    assert charging("top-up", anna, "10").code == 0
    assert "expected at least 10.00" in charging("top-up", anna, "9.99").problem
    tariff = place.folder / "tariff.yaml"
    tariff.write_text(tariff.read_text().replace("{minimum: 10.00, amounts: [10.00, 25.00]}", "{minimum: 20.00}"))
    assert "expected at least 20.00" in charging("top-up", anna, "10").problem
    assert "expected at least 20.00" in charging("top-up", anna, "19.99").problem
    assert charging("top-up", anna, "20").code == 0
    assert charging("top-up", anna, "20.01").code == 0


def test_r21_cancelling_by_the_command_line_pays_nothing_out(charging: Command, anna: str) -> None:
    assert charging("top-up", anna, "25", "--id", "order-1").code == 0
    before = charging("account", "journal", anna, "--json").json
    for code, *words in (
        (1, "top-up", anna, "-25"),
        (2, "account", "correct", anna, "-25"),  # without a reason
        (0, "subscription", "paid", anna, "--until", "2025-01-31"),
        (0, "account", "set", anna, "--plan", "light"),
        (0, "account", "suspend", anna, "--reason", "cancelled"),
        (0, "account", "close", anna, "--reason", "cancelled"),
        (1, "top-up", anna, "25"),
        (1, "account", "set", anna, "--plan", "pro"),
    ):
        assert charging(*words).code == code, words
    after = charging("account", "journal", anna, "--json").json
    assert [line for line in after if line["kind"] != "grant"] == before, (
        "but the month's free minutes, which stay (R11)"
    )
    credit = charging("account", "show", anna, "--json").json["balance"]["credit"]
    assert credit == {"posted": "25.00", "reserved": "0.00", "available": "25.00", "now": "25.00"}


def test_numbers_through_their_life(charging: Command, anna: str) -> None:
    added = charging("number", "add", anna, "0201234567", "--forward-to", "+4930123456")
    assert added.code == 0
    assert added.err.startswith("charging: warning: calls to +4930123456 are not forwarded")
    changed = charging("number", "set", NUMBER, "--forward-to", "0612345678", "--paid-voicemail", "yes", "--json")
    assert (changed.json["forward_to"], changed.json["paid_voicemail"]) == ("+31612345678", True)
    assert charging("number", "set", NUMBER, "--paid-voicemail", "plan", "--json").json["paid_voicemail"] is None
    assert charging("number", "set", NUMBER, "--forward-to", "", "--json").json["forward_to"] == ""
    assert [one["number"] for one in charging("number", "list", "--json").json] == [NUMBER]
    assert NUMBER in charging("number", "list").out
    assert charging("number", "remove", NUMBER).code == 0
    assert charging("number", "list", "--json").json == []


def test_a_key_that_was_used_for_another_amount_is_refused(charging: Command, anna: str) -> None:
    charging("top-up", anna, "25", "--id", "order-1")
    assert charging("top-up", anna, "10", "--id", "order-1").problem.startswith("key 'order-1' was used before")


def test_empty_listings_are_empty_for_programs_and_said_to_people(charging: Command, begun: None) -> None:
    for arguments in (["account", "list"], ["number", "list"], ["calls"], ["cdr", "list"]):
        assert charging(*arguments, "--json").json == []
        ran = charging(*arguments)
        assert (ran.code, ran.out) == (0, "")
        assert ran.err
    assert charging("cdr", "list", "--csv").out.startswith("session,account,number,")


def test_a_watch_without_a_terminal_is_lines(charging: Command, begun: None) -> None:
    ran = charging("calls", "--watch", "--count", "2", "--interval", "0.1", "--json")
    assert ran.out == "[]\n[]\n"
    assert charging("calls", "--watch", "--count", "1").out == "no call is running\n"


def test_listings_of_more_than_a_page_are_complete(
    charging: Command, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abcde":
        charging("account", "correct", anna, "1", "--reason", "r", "--id", key)
    monkeypatch.setattr("charging.cli.client.PAGE_ROWS", 2)
    lines = charging("account", "journal", anna, "--json").json
    assert [line["number"] for line in lines] == [5, 4, 3, 2, 1]
    assert len(charging("account", "journal", anna, "--limit", "3", "--json").json) == 3


def test_a_tariff_is_checked_with_every_problem_on_its_line(charging: Command, place: Place) -> None:
    checked = charging("tariff", "check", "--json").json
    assert (checked["revision"], checked["destinations"]) == ("test-1", 2)
    bad = place.folder / "bad.yaml"
    bad.write_text((place.folder / "tariff.yaml").read_text().replace("0.06", "much").replace("plans:", "plnas:"))
    ran = charging("tariff", "check", str(bad))
    assert (ran.code, ran.out) == (1, "")
    assert len(ran.err.splitlines()) >= 2
    assert all(line.startswith(f"charging: {bad}") for line in ran.err.splitlines())


def test_a_doubtful_edition_of_a_deck_is_named_and_counts_once_it_is_accepted(charging: Command, place: Place) -> None:
    tariff, deck = place.folder / "tariff.yaml", place.folder / "deck.csv"
    tariff.write_text(tariff.read_text().replace("standard:\n", "standard:\n    decks: [deck.csv]\n"))
    deck.write_text("prefix;price\n32;0.10\n33;0.10\n")
    kept = Accepted(place.folder / "accepted-tariff")
    kept.keep(tariff, load_tariff(tariff))  # as a daemon does at its start
    deck.write_text("prefix;price\n32;0.10\n33;0.90\n")
    checked = charging("tariff", "check", "--json")
    assert "such as +33 from 0.10 to 0.90" in checked.err
    digest = checked.json["digest"]
    assert f"charging tariff accept {digest}" in checked.err
    found = charging("check")
    assert found.code == 1
    assert f"charging tariff accept {digest}" in found.out
    quote = ("tariff", "quote", "+33123456789", "--plan", "light", "--json")
    assert charging(*quote).json["total"] == "0.10"
    assert "expected 0123456789abcdef" in charging("tariff", "accept", "0123456789abcdef").problem
    assert charging(*quote).json["total"] == "0.10"
    assert charging("tariff", "accept", digest, "--reason", "agreed").code == 0
    assert charging(*quote).json["total"] == "0.90"
    assert charging("tariff", "check", "--json").err == ""
    (noted,) = charging("changes", "--json").json
    assert (noted["act"], noted["after"]) == ("tariff.accepted", {"digest": digest, "reason": "agreed"})
    assert noted["actor"].startswith("cli:")


def test_a_quote_explains_itself(charging: Command, anna: str) -> None:
    quoted = charging("tariff", "quote", "0612345678", "--plan", "light", "--seconds", "61", "--json").json
    assert (quoted["charged_s"], quoted["total"]) == (120, "0.12")
    said = charging("tariff", "quote", "0612345678", "--account", anna, "--seconds", "61").out
    assert "120 s free" in said


def test_a_quote_on_a_tariff_that_is_not_in_force_leaves_the_store_alone(charging: Command, place: Place) -> None:
    other = place.folder / "other.yaml"
    other.write_text((place.folder / "tariff.yaml").read_text().replace("0.06", "0.60"))
    quoted = charging("tariff", "quote", "0612345678", "--plan", "light", "--file", str(other), "--json")
    assert quoted.json["total"] == "0.60"
    assert not (place.folder / "ledger.db").exists()


def test_r3_a_fax_is_quoted_by_its_pages_or_has_no_price(charging: Command, place: Place) -> None:
    other = place.folder / "other.yaml"
    other.write_text((place.folder / "tariff.yaml").read_text().replace("increments: 60/60}", "fax_page: 0.08}"))
    asked = ("tariff", "quote", "0612345678", "--pages", "3", "--plan", "light")
    assert "3 × 0.08 = 0.24" in charging(*asked, "--file", str(other)).out
    assert charging(*asked, "--file", str(other), "--json").json["total"] == "0.24"
    assert "the tariff has no fax price for +31612345678" in charging(*asked).problem


def test_a_limit_says_how_long_money_lasts_and_what_ends_it(charging: Command, anna: str) -> None:
    said = charging("tariff", "limit", "0612345678", "0.12", "--plan", "light").out
    assert said == "120 s, for 0.12 of credit; one more increment would make it 0.18\n"
    assert charging("tariff", "limit", "0612345678", "0.11", "--plan", "light", "--json").json["seconds"] == 60
    assert charging("tariff", "limit", "0612345678", "--account", anna, "--json").json["seconds"] == 600
    assert "expected an amount" in charging("tariff", "limit", "0612345678", "--plan", "light").problem


def test_an_edit_is_compared_before_it_is_made(charging: Command, place: Place, begun: None) -> None:
    new = place.folder / "new.yaml"
    new.write_text((place.folder / "tariff.yaml").read_text().replace("0.06", "0.07"))
    (change,) = charging("tariff", "diff", str(new), "--json").json
    assert (change["effect"], sorted(change["plans"])) == ("dearer", ["light", "pro"])
    assert "dearer" in charging("tariff", "diff", str(place.folder / "tariff.yaml"), str(new)).out
    assert charging("tariff", "diff", str(new), str(new)).out == "nothing changes for anyone\n"
    for wrong in ([str(new)] * 3, ["--cdrs", str(new), str(new)], ["--since", "2026-11-01", str(new)]):
        assert charging("tariff", "diff", *wrong).code == 2
    assert "no such" in charging("tariff", "diff", str(place.folder / "none.yaml")).problem.lower()
    assert charging("tariff", "diff", "--cdrs", str(new), "--json").json == {"plans": [], "left_out": 0}


def test_accounts_are_listed_while_the_tariff_is_being_edited(charging: Command, place: Place, anna: str) -> None:
    (place.folder / "tariff.yaml").write_text("nonsense")
    assert len(charging("account", "list", "--json").json) == 1
    assert "tariff.yaml" in charging("top-up", anna, "25").problem


def test_the_books_are_verified_and_planted_errors_found(charging: Command, place: Place, anna: str) -> None:
    charging("top-up", anna, "25")
    assert charging("ledger", "verify").code == 0
    with sqlite3.connect(place.folder / "ledger.db") as books:
        books.execute("UPDATE balances SET posted = posted + 1 WHERE name = 'credit'")
    books.close()
    ran = charging("ledger", "verify")
    assert ran.code == 1
    assert "posted_differs" in ran.out
    assert charging("ledger", "verify", "--json").json["findings"]


async def _keep_findings(ledger: Path, found: dict[str, dict[str, object]]) -> None:
    store = SqliteStore(ledger)
    await store.open()
    for id, body in found.items():
        session, kind = id.split("/")
        await store.documents.put_document("findings", id, json.dumps({"session": session, "kind": kind, **body}))
    await store.close()


def test_what_contradicts_a_booking_is_listed_until_somebody_says_what_he_did(
    charging: Command, place: Place, anna: str
) -> None:
    assert charging("ledger", "findings", "--json").json == []
    early, late = "c1/record_without_booking", "c2/record_contradicts_booking"
    figures = {"answered_ms": 20_000, "booked_ms": 5000}
    kept = {early: {"found_us": 1, "number": ""}, late: {"found_us": 2, "account": anna, **figures}}
    asyncio.run(_keep_findings(place.folder / "ledger.db", kept))
    assert [one["id"] for one in charging("ledger", "findings", "--json").json] == [late, early], "newest first"
    told = charging("ledger", "findings").out
    assert all(said in told for said in ("charging account correct anna", "answered_ms 20000", "booked_ms 5000"))
    verified = charging("ledger", "verify")
    assert (verified.code, verified.out.count("charging ledger findings")) == (1, 2)

    done = charging("ledger", "findings", "--done", late, "--reason", "took 0.30", "--json").json
    assert (done["reason"], done["figures"]) == ("took 0.30", figures)
    assert done["done"] is not None
    assert charging("ledger", "verify").out.count("charging ledger findings") == 1
    assert [one["id"] for one in charging("ledger", "findings", "--json").json] == [early]
    assert [one["id"] for one in charging("ledger", "findings", "--all", "--json").json] == [late, early]
    assert "done already: took 0.30" in charging("ledger", "findings", "--done", late, "--reason", "again").problem
    assert "there is no finding" in charging("ledger", "findings", "--done", "c3", "--reason", "x").problem
    assert charging("ledger", "findings", "--done", early).code == 2
    charging("ledger", "findings", "--done", early, "--reason", "an old call")
    assert charging("ledger", "verify").code == 0


def test_settings_that_are_not_there_are_said_with_what_to_do(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    assert main(["account", "list", "--config", str(place.folder / "none.yaml")]) == 1
    assert "charging init" in capsys.readouterr().err


def test_a_store_that_another_process_has_is_said_in_one_line(charging: Command, place: Place, begun: None) -> None:
    lock = FileLock(place.folder / "ledger.db")
    lock.acquire()
    try:
        assert "a daemon has this ledger open" in charging("account", "list").problem
    finally:
        lock.release()


def test_a_fault_of_ours_is_one_line_and_its_traceback_a_file(
    charging: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("impossible")

    monkeypatch.setattr(Client, "get", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    line = charging("calls").problem
    assert "RuntimeError: impossible" in line
    assert "Traceback" in Path(line.rpartition(" ")[2]).read_text()


def test_csv_is_read_back_by_a_csv_reader(charging: Command) -> None:
    (header,) = csv.reader(io.StringIO(charging("cdr", "list", "--csv").out))
    assert {"session", "cost", "free_seconds"} <= set(header)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("charging ")
