"""Every reader of a CDR meets those of every service, those that an earlier version wrote, which lack a member, and
those that cannot be read: each page, statement and list shows them all."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charging.call import fax as faxes
from charging.call import voicemail as voicemails
from charging.call.booking import final_charge
from charging.call.events import BlackBoxRead
from charging.call.fax import Fax
from charging.call.finished import cdr_document
from charging.call.model import Duration, Proof, Session
from charging.call.storage import revive
from charging.call.voicemail import Voicemail
from charging.cli.calls import CSV_COLUMNS
from charging.clock import iso
from charging.ledger.accounts import Account, Language
from charging.ledger.model import CREDIT, CdrRow, JournalLine, Kind, Leg
from charging.service.operators import Role
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import statement_page
from charging.service.statement_pdf import statement_pdf
from charging.service.statements import statement
from charging.web.customers.words import WORDS
from charging.web.routes.statements import StatementOut
from tests.fakes.rig import EURO, make_tariff
from tests.unit.service.conftest import Shop, shop
from tests.unit.test_stored import GOLDEN, NOW
from tests.unit.web import test_console, test_customers
from tests.unit.web.conftest import Api, api

__all__ = ["api", "shop"]

TIMES = ("set_up", "answered", "ended")
UNREADABLE = ["[]", "no JSON"]


def written(record: Session | Voicemail | Fax) -> dict[str, Any]:
    """The CDR that this record leaves."""
    ended_us = record.opened.wall_us + 65_000_000
    if isinstance(record, Voicemail):
        text = voicemails.cdr_document(record, stored=True, promos={}, ended_us=ended_us)
    elif isinstance(record, Fax):
        box = BlackBoxRead(found=True, dial_status="ANSWER", fax_status="PARTIAL")
        text = faxes._cdr(record, box, 1, ended_us, 0)
    else:
        lasted = Duration(65_000, 65, 0, Proof.UNPROVEN, ended_us)
        text = cdr_document(record, lasted, final_charge(record, lasted.billed_s))
    document: dict[str, Any] = json.loads(text)
    return document


RECORDS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*/*.json"))}
WHOLE = {name: written(revive(text, NOW, 4)) for name, text in RECORDS.items()}
SERVICES = {"forward", "voicemail", "fax"}


@dataclass(frozen=True)
class Ledger:
    """The CDR of one service, and the same without each of its members; all of Anna's."""

    rows: list[CdrRow]

    @classmethod
    def of(cls, whole: dict[str, Any], now_us: int) -> Ledger:
        at = {name: iso(now_us - 60_000_000) for name in TIMES if whole.get(name)}
        texts = [json.dumps(whole | at | {"account": "anna"})]
        texts += [
            json.dumps({key: value for key, value in (whole | at).items() if key != name} | {"account": "anna"})
            for name in whole
            if name not in ("session", "account")  # no version wrote one without
        ]
        texts += UNREADABLE
        sessions = [f"s{number}" for number in range(len(texts))]
        told = [
            text.replace(json.dumps(whole["session"]), json.dumps(id)) for text, id in zip(texts, sessions, strict=True)
        ]
        return cls([CdrRow(id, "anna", now_us - 60_000_000, text) for id, text in zip(sessions, told, strict=True)])


@pytest.fixture(params=WHOLE)
async def whole(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = WHOLE[request.param]
    return found


@pytest.fixture
async def ledger(shop: Shop, whole: dict[str, Any]) -> Ledger:
    await shop.anna()
    made = Ledger.of(whole, shop.clock.now().wall_us)
    await shop.store.restore_cdrs(made.rows)
    return made


def test_there_is_a_record_of_every_service() -> None:
    assert {one["service"] for one in WHOLE.values()} == SERVICES


async def test_the_customers_page_shows_each(shop: Shop, ledger: Ledger, whole: dict[str, Any]) -> None:
    visitor = await test_customers.Place(shop).visitor()
    for page in ("/", "/calls"):
        text = await visitor.get(page)
        assert "None" not in text
    assert WORDS[Language.NL][whole["service"]] in text
    assert text.count("<tr>") == len(ledger.rows) + 1
    if whole["service"] == "fax":
        assert f"1 van {whole['document_pages']} pagina" in text


async def test_the_console_shows_each(shop: Shop, ledger: Ledger, whole: dict[str, Any], tmp_path: Path) -> None:
    place = test_console.Place(shop, tmp_path)
    await place.let_in("ada", Role.ADMIN)
    visitor = await place.visitor()
    text = await visitor.get("/accounts/anna")
    charged = f"0:{whole.get('charged_s', 0):02d}" if whole.get("charged_s", 0) < 60 else "1:05"
    shown = {"fax": f"1 of {whole.get('document_pages')} pages", "voicemail": "1 message", "forward": charged}
    assert shown[whole["service"]] in text
    await visitor.get("/")
    await visitor.get(f"/search?q={whole.get('caller') or whole['target']}".replace("+", "%2B"))
    for row in ledger.rows:
        text = await visitor.get(f"/calls/{row.session}?account=anna", 404 if row.document in UNREADABLE else 200)
        assert "None" not in text


async def test_the_interface_and_its_lists_tell_each(api: Api, ledger: Ledger, whole: dict[str, Any]) -> None:
    told = (await api("GET", "/cdrs", params={"account": "anna", "limit": 500}))["items"]
    assert sorted(one["session"] for one in told) == sorted(row.session for row in ledger.rows)
    for row in ledger.rows:
        await api("GET", f"/cdrs/{row.session}", params={"account": "anna"})
    assert (await api("GET", "/cdrs", params={"service": whole["service"]}))["items"]


def test_the_commands_table_of_every_field_has_every_field(whole: dict[str, Any]) -> None:
    assert set(whole) - {"funding"} <= set(CSV_COLUMNS)


def test_a_statement_of_each_is_made_in_every_form(whole: dict[str, Any]) -> None:
    now_us = NOW.wall_us
    ledger = Ledger.of(whole, now_us)
    lines = [
        JournalLine(number, f"id{number}", "anna", Kind.SETTLE, now_us, (Leg(CREDIT, -EURO),), row.session, "call", "")
        for number, row in enumerate(ledger.rows, 1)
    ]
    cdrs = {row.session: _object(row.document) for row in ledger.rows}
    tariff = make_tariff()
    for language in Language:
        made = statement(Account("anna", "pro", language), tariff.month_of(now_us), tariff, now_us, lines, cdrs)
        assert len(made.lines) == len(lines)
        assert len(list(csv.reader(io.StringIO(statement_csv(made))))) > len(lines)
        assert "None" not in statement_page(made)
        assert statement_pdf(made).startswith(b"%PDF")
        assert len(StatementOut.of(made).lines) == len(lines)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
