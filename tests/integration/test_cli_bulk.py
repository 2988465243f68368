"""Imports, statements and tokens from the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from charging.clock import SystemClock
from charging.ledger.memory import MemoryStore
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.service.tokens import Token, Tokens, Unfit
from charging.web.control import control_app
from charging.web.listen import serve_unix
from tests.fakes.rig import make_tariff
from tests.integration.command import Command, Place

GOOD = "account,plan,email,number,forward_to\nanna,pro,a@b.nl,0201234567,0612345678\nbert,light,,,\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(GOOD)
    return path


def test_an_import_is_tried_done_and_repeated(charging: Command, file: Path) -> None:
    tried = charging("account", "import", str(file), "--dry-run")
    assert (tried.code, tried.err) == (0, "")
    assert tried.out.startswith("would import 2 accounts and 1 numbers")
    assert charging("account", "list", "--json").json == []
    assert charging("account", "import", str(file), "--json").json["accounts"] == 2
    assert charging("number", "list", "--json").json[0]["forward_to"] == "+31612345678"
    assert charging("account", "import", str(file), "--json").json["known_accounts"] == 2


def test_every_bad_line_is_told_at_once_and_nothing_is_written(charging: Command, file: Path) -> None:
    file.write_text(GOOD + "carl,gold,,,\ndora,light,x,,\n")
    ran = charging("account", "import", str(file))
    assert (ran.code, ran.out) == (1, "")
    first, second = ran.err.splitlines()
    assert first == f"charging: {file}:4:6: plan: found 'gold', expected one of light, pro"
    assert second.startswith(f"charging: {file}:5:12: email: found 'x', expected a mail address")
    assert charging("account", "list", "--json").json == []


def test_a_file_that_is_not_there_is_one_line(charging: Command, tmp_path: Path) -> None:
    assert "No such file" in charging("account", "import", str(tmp_path / "none.csv")).problem
    assert "Is a directory" in charging("account", "import", str(tmp_path)).problem


def test_a_statement_as_table_json_csv_and_page(charging: Command, file: Path, tmp_path: Path) -> None:
    charging("account", "import", str(file))
    charging("top-up", "anna", "25")
    charging("account", "correct", "anna", "-5", "--reason", "chargeback by the bank")
    now = SystemClock().now().wall_us
    month = make_tariff().month_of(now)
    shown = charging("statement", "anna", month)
    assert (shown.code, shown.err) == (0, "")
    assert "chargeback by the bank" in shown.out
    document = charging("statement", "anna", month, "--json").json
    assert (document["opening"], document["closing"], document["vat"][0]["percent"]) == ("0.00", "20.00", "21.00")
    rows = list(csv.DictReader(io.StringIO(charging("statement", "anna", month, "--csv").out)))
    assert [row["amount"] for row in rows] == ["0.00", "25.00", "-5.00", "0.00", "0.00"]
    page = tmp_path / "page.html"
    assert charging("statement", "anna", month, "--html", "-o", str(page)).out == ""
    assert "chargeback by the bank" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["anna", "2026-13"], 1, "found the month '2026-13', expected one such as 2026-11"),
        (["anna", "2099-01"], 1, "has not begun"),
        (["nobody", "2026-01"], 1, "there is no account 'nobody'"),
        (["anna", "2026-01", "--csv", "--html"], 2, "name one of"),
        (["anna", "2026-01", "-o", "x"], 2, "--output goes with"),
        (["anna", "2026-01", "--csv", "-o", "/nowhere/at/all.csv"], 1, "name a file that can be written"),
    ],
)
def test_a_statement_that_cannot_be_had_is_one_line(
    charging: Command, file: Path, arguments: list[str], code: int, said: str
) -> None:
    charging("account", "import", str(file))
    ran = charging("statement", *arguments)
    assert (ran.code, ran.out) == (code, "")
    (line,) = ran.err.splitlines()
    assert said in line


def test_a_chargeback_and_a_correction_stand_with_their_reasons_in_journal_and_statement(
    charging: Command, file: Path
) -> None:
    charging("account", "import", str(file))
    charging("top-up", "anna", "25", "--id", "order-1")
    charging("account", "correct", "anna", "2.50", "--reason", "goodwill: outage of 3 November", "--id", "case-17")
    for _ in range(2):
        taken = charging("account", "correct", "anna", "-25", "--reason", "order-1 was charged back", "--id", "back-1")
        assert taken.code == 0
    refused = charging("account", "correct", "anna", "-2.51", "--reason", "charged back")
    assert refused.problem.startswith("found -2.51, expected at most the available 2.50 taken")
    reasons = ["order-1 was charged back", "goodwill: outage of 3 November"]
    month = make_tariff().month_of(SystemClock().now().wall_us)
    assert [line["reason"] for line in charging("account", "journal", "anna", "--json").json[:2]] == reasons
    shown = charging("statement", "anna", month, "--json").json
    assert (shown["topped_up"], shown["corrections"], shown["closing"]) == ("25.00", "-22.50", "2.50")
    for form in ("--csv", "--html"):
        page = charging("statement", "anna", month, form).out
        assert all(reason in page for reason in reasons)


async def test_tokens_are_made_listed_and_revoked(charging: Command, place: Place) -> None:
    clock = SystemClock()
    tariff = make_tariff()
    service = Service(
        store=MemoryStore(), tariff=lambda: tariff, clock=clock, funds_changed=lambda one: None, live=NoCalls()
    )
    tokens = Tokens(MemoryStore(), clock)
    ready = asyncio.Event()
    serving = asyncio.create_task(serve_unix(control_app(service, tokens=tokens), place.socket, ready))
    await ready.wait()
    try:
        made = await charging.beside("token", "add", "the website", "--scope", "read", "--scope", "credit", "--json")
        assert made.json["scopes"] == ["credit", "read"]
        known = await tokens.authenticate(made.json["token"])
        assert isinstance(known, Token)
        listed = await charging.beside("token", "list")
        assert "the website" in listed.out
        assert made.json["token"][-43:] not in listed.out
        assert (await charging.beside("token", "add", "x", "--scope", "all")).code == 2
        assert (await charging.beside("token", "add", "x")).code == 2
        revoked = await charging.beside("token", "revoke", known.id, "--json")
        assert json.loads(revoked.out)["id"] == known.id
        assert await tokens.authenticate(made.json["token"]) is Unfit.UNKNOWN
        assert "there is no token" in (await charging.beside("token", "revoke", known.id)).problem
    finally:
        serving.cancel()
        await asyncio.wait([serving])


def test_tokens_are_made_listed_and_revoked_where_no_daemon_runs(charging: Command) -> None:
    charging("account", "add", "bert", "--plan", "pro")
    assert "there is no token yet" in charging("token", "list").err
    made = charging("token", "add", "the website", "--scope", "read", "--json").json
    (listed,) = charging("token", "list", "--json").json
    assert (listed["id"], listed["name"], listed["scopes"]) == (made["id"], "the website", ["read"])
    assert charging("token", "revoke", made["id"]).code == 0
    assert charging("token", "list", "--json").json == []
