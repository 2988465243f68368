"""Numbers of others are hidden in old CDRs, page by page, once and for all; nothing else changes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from charging.call.decided import Decided, Turn
from charging.clock import SystemClock
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.documents import COLLECTIONS
from charging.ledger.model import CdrRow
from charging.ledger.port import Store
from charging.ledger.sqlite.store import SqliteStore
from charging.safe_text import HIDDEN
from charging.service import privacy
from charging.service.changes import Act, Changes
from charging.service.decisions import DecisionKeeper, Decisions, Sought
from charging.service.privacy import ERASED_COLLECTIONS, TOLD_COLLECTIONS, Erased, People, hide_numbers
from charging.service.refusal import Code, Refused
from charging.service.tokens import Bounds, NewToken, Scope, Tokens
from tests.contract.scenario import add_account, assert_sound, run

DAY_US = privacy.DAY_US
CDRS = 7


def document(number: int) -> str:
    cdr = {"session": f"s{number}", "caller": "+31612345678", "target": "+31201234567", "cost": "0.06"}
    return json.dumps(cdr | {"free_seconds": {"2026-11": 60}, "funding": [[0, 60, "bundle:2026-11"]]})


@pytest.fixture
async def filled(store: Store) -> Store:
    """A store with a CDR a day: the end of s1 is day 1."""
    await add_account(store)
    for number in range(1, CDRS + 1):
        await run(store, f"r{number} reserve s{number}:open -> created\ne{number} release s{number}:close -> created")
    await store.restore_cdrs([CdrRow(f"s{n}", "a", n * DAY_US, document(n)) for n in range(1, CDRS + 1)])
    return store


async def hide(store: Store, before_us: int) -> list[int]:
    return [changed async for changed, _ in hide_numbers(store, SystemClock(), before_us)]


async def shown(store: Store, account: str | None = None) -> list[bool]:
    """Of each CDR whether its caller is whole."""
    rows = await store.cdrs(account=account)
    return [json.loads(row.document)["caller"] == "+31612345678" for row in rows]


async def test_numbers_before_the_day_are_hidden_and_later_ones_are_not(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "PAGE_ROWS", 2)
    before = await filled.cdrs()
    balances = await filled.balances("a")
    assert await hide(filled, 4 * DAY_US) == [2, 1]
    assert await shown(filled) == await shown(filled, "a") == [False] * 3 + [True] * 4
    after = await filled.cdrs()
    assert [(row.session, row.account, row.ended_us) for row in after] == [
        (row.session, row.account, row.ended_us) for row in before
    ]
    assert json.loads(after[0].document) == json.loads(document(1)) | {
        "caller": "+3161234xxxx",
        "target": "+3120123xxxx",
    }
    assert await filled.balances("a") == balances
    await assert_sound(filled)


async def test_hiding_again_changes_nothing(filled: Store) -> None:
    assert await hide(filled, 4 * DAY_US + 1) == [4]
    once = await filled.cdrs()
    assert await hide(filled, 4 * DAY_US + 1) == [0]
    assert await filled.cdrs() == once


async def test_a_cdr_that_was_archived_meanwhile_does_not_come_back(filled: Store) -> None:
    rows = await filled.cdrs()
    await filled.forget_cdrs(rows[:1])
    await filled.replace_cdrs(rows)
    assert await filled.cdrs() == rows[1:]
    assert await filled.cdrs(account="a") == rows[1:]
    await assert_sound(filled)


# --- one customer: told, and erased ---------------------------------------------------------------------------

FINDINGS: dict[str, dict[str, object]] = {
    "s1": {"account": "a", "number": "", "answered_ms": 7000},
    "s8": {"number": "+31201112233", "fax_pages": 2},
    "s9": {"account": "a-b", "number": "+31209998877"},
}
CHECKOUT = "https://pay.example/checkout/7Qx"
PAYMENT: dict[str, object] = {
    **{"account": "a", "provider": "mollie", "amount": 10_000_000, "made_us": 1},
    **{"state": "stuck", "reference": "tr_7Qx", "checkout": CHECKOUT, "why": "account 'a' is closed"},
    "taken_back": False,
}
MAIL, OWN, MOBILE, CALLER, OTHERS_MAIL = "anna@x.nl", "+31201112233", "+31655556666", "+31612345678", "bob@x.nl"


@pytest.fixture
async def customer(filled: Store) -> Store:
    """Account ``a`` with all that may be known of a customer, and ``a-b`` beside it, whose id begins alike."""
    account = await filled.directory.account("a")
    assert account is not None
    await filled.directory.put_account(_with(account, email=MAIL))
    await filled.directory.put_account(Account("a-b", account.plan, email=OTHERS_MAIL))
    await filled.directory.put_number(Number(OWN, "a", forward_to=MOBILE))
    await filled.directory.put_number(Number("+31209998877", "a-b"))
    await filled.documents.put_document("missed-calls", "a", json.dumps({"caller": CALLER}), 1)
    await filled.documents.put_document("missed-calls", "a-b", json.dumps({"caller": CALLER}), 1)
    await filled.documents.put_document("notice-records", "a", "{}")
    for number in range(3):
        await filled.documents.put_document("notices", f"a/credit_low/{number}", json.dumps({"address": MAIL}), 1)
        await filled.documents.put_document(
            "notices", f"a-b/credit_low/{number}", json.dumps({"address": OTHERS_MAIL}), 1
        )
    for account_id in ("a", "a-b"):
        await filled.documents.put_document("notice-results", f"{account_id}/credit_low/0", "{}", 1)
    for session, finding in FINDINGS.items():
        await filled.documents.put_document("findings", f"{session}/record_without_booking", json.dumps(finding))
    for number, account_id in enumerate(("a", "a-b", "a")):
        payment = PAYMENT | {"id": f"{number:032x}", "account": account_id}
        await filled.documents.put_document("payments", f"{number:032x}", json.dumps(payment), 1)
        await filled.documents.put_document(
            "page-tokens", f"{number:064x}", json.dumps({"account": account_id, "use": "page"}), 1
        )
    return filled


def _with(account: Account, **changes: object) -> Account:
    return replace(account, **changes)  # type: ignore[arg-type]


async def close(store: Store) -> None:
    account = await store.directory.account("a")
    assert account is not None
    await store.directory.put_account(_with(account, status=Status.CLOSED, status_reason="asked by Anna Jansen"))


async def test_all_that_is_known_of_a_customer_is_told_and_nothing_of_another(
    customer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "PAGE_ROWS", 2)
    pieces = await People(customer, SystemClock()).known("a")
    assert not isinstance(pieces, Refused)
    told = [piece async for piece in pieces]
    kinds = [next(iter(piece)) for piece in told]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        **{"account": 1, "number": 1, "journal": len([one async for one in customer.journal("a")])},
        **{"cdr": CDRS, "document": 12},
    }
    text = json.dumps(told)
    assert all(known in text for known in (MAIL, OWN, MOBILE, CALLER, CHECKOUT))
    assert OTHERS_MAIL not in text
    assert "+31209998877" not in text


async def test_tokens_that_are_bound_to_an_account_go_with_it_and_so_does_their_name(customer: Store) -> None:
    """It is mostly a person's, and the token let a program in for an account that is nobody's any more."""
    people, tokens = People(customer, SystemClock()), Tokens(customer, SystemClock())
    made = [
        await tokens.add(f"site of {whose}", [Scope.READ], Bounds(account))
        for whose, account in (("Jan", "a"), ("Piet", "a-b"), ("Joris", ""), ("Corneel", "a"))
    ]
    assert all(isinstance(one, NewToken) for one in made)
    ids = [one.token.id for one in made if isinstance(one, NewToken)]
    await tokens.note_uses(dict.fromkeys(ids, 1))
    await tokens.revoke(ids[3])
    told = await people.known("a")
    assert not isinstance(told, Refused)
    text = json.dumps([piece async for piece in told])
    assert ["site of Jan" in text, "site of Piet" in text, "site of Joris" in text] == [True, False, False]
    await close(customer)
    assert isinstance(await people.erase("a"), Erased)
    assert {one.id for one in await tokens.all()} == set(ids[1:3])
    assert (await tokens.uses()).keys() == set(ids[1:3])
    notes = "".join(one.body for one in await customer.documents.list_documents("changes"))
    assert [whose in notes for whose in ("Jan", "Corneel", "Piet", "Joris")] == [False, False, True, True]


async def test_what_the_books_do_not_need_of_a_closed_account_is_erased_once_and_for_all(
    customer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "PAGE_ROWS", 2)
    people = People(customer, SystemClock())
    await close(customer)
    journal = [one async for one in customer.journal("a")]
    balances, cdrs = await customer.balances("a"), await customer.cdrs(account="a")
    erased = await people.erase("a")
    assert isinstance(erased, Erased)
    assert (erased.cdrs, erased.numbers, erased.documents) == (CDRS, 1, 10)
    pieces = await people.known("a")
    assert not isinstance(pieces, Refused)
    left = json.dumps([piece async for piece in pieces])
    assert not [known for known in (MAIL, OWN, MOBILE, CALLER[:-4], "Anna Jansen", CHECKOUT) if known in left]
    assert [one async for one in customer.journal("a")] == journal
    assert await customer.balances("a") == balances
    assert [json.loads(row.document) for row in await customer.cdrs(account="a")] == [
        json.loads(row.document) | {"caller": HIDDEN, "target": HIDDEN} for row in cdrs
    ]
    again = await people.erase("a")
    assert isinstance(again, Erased)
    assert (again.cdrs, again.numbers, again.documents) == (0, 0, 0)
    other = await customer.directory.account("a-b")
    assert other is not None
    assert other.email == OTHERS_MAIL
    assert len(await customer.documents.list_documents("notices")) == 3
    assert len(await customer.documents.list_documents("notice-results")) == 1
    assert await customer.documents.get_document("missed-calls", "a-b") is not None
    findings = [json.loads(one.body) for one in await customer.documents.list_documents("findings")]
    assert findings == [FINDINGS["s1"], FINDINGS["s8"] | {"number": HIDDEN}, FINDINGS["s9"]]
    payments = await customer.documents.list_documents("payments")
    assert [one.due_us for one in payments] == [1, 1, 1], "what is open is still asked about"
    assert [json.loads(one.body) for one in payments] == [
        PAYMENT | {"id": f"{0:032x}", "checkout": ""},
        PAYMENT | {"id": f"{1:032x}", "account": "a-b"},
        PAYMENT | {"id": f"{2:032x}", "checkout": ""},
    ]
    assert [one.id for one in await customer.documents.list_documents("page-tokens")] == [f"{1:064x}"]
    await assert_sound(customer)


async def test_findings_of_numbers_that_were_removed_before_are_hidden_unless_they_are_anothers_now(
    customer: Store,
) -> None:
    changes = Changes(customer, SystemClock())
    for session, number in (("s2", "+31205550001"), ("s3", "+31205550002"), ("s4", "+31205550003")):
        body = json.dumps({"number": number, "fax_pages": 1})
        await customer.documents.put_document("findings", f"{session}/record_without_booking", body)
    for number in ("+31205550001", "+31205550002"):
        await changes.noted(Act.NUMBER_REMOVED, account="a", number=number)
    await customer.directory.put_number(Number("+31205550002", "a-b"))
    await close(customer)
    assert isinstance(await People(customer, SystemClock()).erase("a"), Erased)
    findings = {
        one.id[:2]: json.loads(one.body)["number"] for one in await customer.documents.list_documents("findings")
    }
    assert {one: findings[one] for one in ("s2", "s3", "s4")} == {
        **{"s2": HIDDEN, "s3": "+31205550002", "s4": "+31205550003"},
    }


async def test_a_number_that_is_edited_meanwhile_is_erased_too(
    customer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await close(customer)
    directory = customer.directory

    async def edited_before(expected: Number) -> bool:
        monkeypatch.undo()
        await directory.put_number(replace(expected, forward_to=MOBILE[:-1]), expected)
        return await directory.remove_number(expected)

    monkeypatch.setattr(directory, "remove_number", edited_before)
    erased = await People(customer, SystemClock()).erase("a")
    assert isinstance(erased, Erased)
    assert erased.numbers == 1
    assert await directory.numbers("a") == []
    await assert_sound(customer)


async def test_an_account_in_use_is_not_erased(customer: Store) -> None:
    people = People(customer, SystemClock())
    for account, code in (("a", Code.NOT_ALLOWED), ("nobody", Code.NOT_FOUND)):
        refused = await people.erase(account)
        assert isinstance(refused, Refused)
        assert refused.code is code
    await run(customer, "r99 reserve s99:open -> created")
    await close(customer)
    refused = await people.erase("a")
    assert isinstance(refused, Refused)
    assert refused.code is Code.CONFLICT
    kept = await customer.directory.account("a")
    assert kept is not None
    assert kept.email == MAIL


async def test_no_file_of_a_sqlite_ledger_still_has_what_was_erased(customer: Store) -> None:
    """Neither its write-ahead log nor a page that is free now."""
    if not isinstance(customer, SqliteStore):
        assert ("BGREWRITEAOF" in await customer.scrub()) == ("Redis" in type(customer).__name__)
        return
    await close(customer)
    folder = customer._path.parent
    assert any(MAIL.encode() in one.read_bytes() for one in folder.glob(f"{customer._path.name}*"))
    erased = await People(customer, SystemClock()).erase("a")
    assert isinstance(erased, Erased)
    assert erased.left == ""
    for file in folder.glob(f"{customer._path.name}*"):
        for known in (MAIL, OWN, MOBILE, "Anna Jansen"):
            assert known.encode() not in file.read_bytes(), (file.name, known)


async def test_log_is_emptied_by_its_writer_and_a_reader_in_the_way_holds_up_no_write(
    customer: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections that carry the log over at once can lose pages of it (SQLite before 3.51.3)."""
    if not isinstance(customer, SqliteStore):
        return
    monkeypatch.setattr("charging.ledger.sqlite.store.SCRUB_PAUSE_S", 0)
    with closing(sqlite3.connect(customer._path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        await customer.directory.put_account(Account("z1", "light"))
        monkeypatch.setattr("sqlite3.connect", lambda *_, **__: pytest.fail("by another connection"))
        assert "repeat this later" in await customer.scrub()
        await customer.directory.put_account(Account("z2", "light"))
        reader.execute("COMMIT")
    assert await customer.scrub() == ""
    assert customer._path.with_name(f"{customer._path.name}-wal").stat().st_size == 0


async def test_what_was_decided_over_a_customers_calls_is_told_and_erased_and_no_others(customer: Store) -> None:
    keeper = DecisionKeeper(customer.documents, SystemClock())
    for account in ("a", "a-b", "a"):
        keeper.keep(Decided(1, Turn.INCOMING, "reject", "no_credit", "main", 1, number=OWN, account=account))
    await keeper.write()
    people = People(customer, SystemClock())
    known = await people.known("a")
    assert not isinstance(known, Refused)
    assert [piece["decision"]["account"] async for piece in known if "decision" in piece] == ["a", "a"]
    await close(customer)
    for count in (2, 0):
        erased = await people.erase("a")
        assert isinstance(erased, Erased)
        assert erased.decisions == count
    (left,), _ = await Decisions(customer.documents, SystemClock()).page(Sought(), None, 10)
    assert left.decided.account == "a-b"


def test_each_collection_of_documents_is_told_or_is_no_customers() -> None:
    others = {"archived-ids", "changes", "decisions", "fax-addresses", "operators", "token-uses"}
    """Changes and decisions are told and hidden by a way of their own."""
    others |= {"mailed-faxes"}  # digests, and a count: they lead to nobody
    others |= {"sandbox", "packs"}  # a mark, and rules of the tariff's: nobody's
    others |= {
        "webhooks",
        "webhook-letters",
        "webhook-failures",
    }  # a letter names an event of an account, and holds nothing of it
    assert {*TOLD_COLLECTIONS, *others} == set(COLLECTIONS)
    revoked = {"api-tokens"}
    assert {*ERASED_COLLECTIONS, *revoked, "notice-records", "findings", "payments"} == set(TOLD_COLLECTIONS)
