"""The statement of a month adds up, whatever the journal says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.ledger.accounts import Account, Language
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, JournalLine, Kind, Leg
from charging.service.refusal import Code
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import statement_page
from charging.service.statements import CALL, Part, Statement, month_bounds_us, statement
from charging.tariff.tariff import Vat
from charging.web.routes.statements import StatementOut
from tests.fakes.rig import EURO, make_tariff
from tests.unit.service.conftest import Shop, refused

TARIFF = replace(make_tariff(), vat=Vat(2100))
ANNA = Account("anna", "pro", Language.NL)
SECOND = 1_000_000
NOVEMBER_US, DECEMBER_US = month_bounds_us("2026-11", TARIFF.zone)
CDR = {"number": "+31201234567", "caller": "+31107654321", "target": "+31612345678", "charged_s": 125}


def line(number: int, at_us: int, kind: Kind, *legs: Leg, session: str | None = None, reason: str = "") -> JournalLine:
    return JournalLine(number, f"id{number}", "anna", kind, at_us, legs, session, reason, "")


def november(*journal: JournalLine, now_us: int = DECEMBER_US) -> Statement:
    return statement(ANNA, "2026-11", TARIFF, now_us, journal, {"s1": CDR})


def a_month() -> Statement:
    day = 24 * 3600 * SECOND
    return november(
        line(1, NOVEMBER_US - 1, Kind.TOP_UP, Leg(CREDIT, 10 * EURO)),
        line(2, NOVEMBER_US, Kind.GRANT, Leg(bundle("2026-11"), 600)),
        line(3, NOVEMBER_US + day, Kind.RESERVE, Leg(CREDIT, 0, EURO), session="s1"),
        line(4, NOVEMBER_US + day + 1, Kind.EXTEND, Leg(CREDIT, -200_000), Leg(bundle("2026-11"), -60), session="s1"),
        line(5, NOVEMBER_US + day + 2, Kind.SETTLE, Leg(CREDIT, -10_000), session="s1"),
        line(6, NOVEMBER_US + 2 * day, Kind.CORRECT, Leg(CREDIT, -EURO), reason="chargeback <b>of a top-up"),
        line(7, DECEMBER_US - 1, Kind.TOP_UP, Leg(CREDIT, 25 * EURO)),
        line(8, DECEMBER_US, Kind.EXPIRE, Leg(bundle("2026-11"), -540)),
        line(9, DECEMBER_US, Kind.TOP_UP, Leg(CREDIT, 50 * EURO)),
    )


def test_a_month_begins_and_ends_by_the_operators_clock() -> None:
    made = a_month()
    assert (made.opening, made.closing) == (10 * EURO, 33_790_000)
    assert [one.kind for one in made.lines] == [CALL, "correct", "top_up"]
    assert made.lines[-1].balance == made.closing


def test_a_call_charged_in_pieces_is_one_line_with_what_its_cdr_tells() -> None:
    call = a_month().lines[0]
    assert (call.credit, call.free_seconds, call.id, call.cdr) == (-210_000, 60, "s1", CDR)


def over_the_edge(month: str, **cdr: object) -> Statement:
    """A call of eleven minutes, of which one was posted in November."""
    journal = (
        line(1, NOVEMBER_US, Kind.TOP_UP, Leg(CREDIT, 10 * EURO)),
        line(2, DECEMBER_US - 121 * SECOND, Kind.RESERVE, Leg(CREDIT, 0, EURO), session="s1"),
        line(3, DECEMBER_US - 60 * SECOND, Kind.EXTEND, Leg(CREDIT, -120_000), session="s1"),
        line(4, DECEMBER_US + 540 * SECOND, Kind.SETTLE, Leg(CREDIT, -1_200_000), session="s1"),
    )
    cdrs = {"s1": CDR | {"charged_s": 660, "answered": "2026-11-30T22:58:00.000+00:00"} | cdr}
    return statement(ANNA, month, TARIFF, 2 * DECEMBER_US, journal, cdrs)


def test_a_call_over_the_month_s_edge_is_dated_by_its_start_and_tells_its_duration_once() -> None:
    (_, first), (continued,) = over_the_edge("2026-11").lines, over_the_edge("2026-12").lines
    assert (first.at_us, first.credit, first.part, first.seconds) == (
        DECEMBER_US - 120 * SECOND,
        -120_000,
        Part.FIRST,
        660,
    )
    assert (continued.at_us, continued.credit, continued.part, continued.seconds) == (
        DECEMBER_US + 540 * SECOND,
        -1_200_000,
        Part.CONTINUED,
        None,
    )


def test_a_page_says_which_part_of_a_call_over_the_month_s_edge_it_shows() -> None:
    first, continued = (statement_page(over_the_edge(month)) for month in ("2026-11", "2026-12"))
    assert "<td>30 nov 23:58</td><td>Doorgeschakeld gesprek → +31612345678<small>" in first
    assert "; de rest van het bedrag staat in het overzicht van de volgende maand</small>" in first
    assert '<td class="n wide">11:00</td>' in first
    assert '<small class="narrow">Duur 11:00</small>' in first, "where there is no room for its column"
    assert "<td>1 dec 00:09</td><td>Vervolg: Doorgeschakeld gesprek → +31612345678<small>" in continued
    assert "; begonnen op 30 nov 23:58</small>" in continued
    assert "11:00" not in continued


def test_csv_and_json_of_both_months_tell_the_seconds_of_a_call_over_the_edge_once() -> None:
    made = [over_the_edge(month) for month in ("2026-11", "2026-12")]
    rows = [row for one in made for row in csv.DictReader(io.StringIO(statement_csv(one))) if row["kind"] == CALL]
    assert [(row["part"], row["seconds"], row["amount"]) for row in rows] == [
        ("first", "660", "-0.12"),
        ("continued", "", "-1.20"),
    ]
    lines = [row for one in made for row in StatementOut.of(one).model_dump(mode="json")["lines"] if row["cdr"]]
    assert [(row["part"], row["seconds"]) for row in lines] == [("first", 660), ("continued", None)]


def test_a_call_all_of_which_was_posted_after_the_month_s_edge_is_whole_and_tells_when_it_began() -> None:
    journal = (line(1, DECEMBER_US, Kind.SETTLE, Leg(CREDIT, -120_000), session="s1"),)
    cdrs = {"s1": CDR | {"answered": "2026-11-30T22:59:59.000+00:00"}}
    made = statement(ANNA, "2026-12", TARIFF, 2 * DECEMBER_US, journal, cdrs)
    assert [(one.at_us, one.part, one.seconds) for one in made.lines] == [(DECEMBER_US, Part.WHOLE, 125)]
    assert "; begonnen op 30 nov 23:59</small>" in statement_page(made)


def test_the_free_seconds_of_a_call_over_the_edge_are_those_of_each_month_s_part() -> None:
    journal = (
        line(1, DECEMBER_US - 1, Kind.EXTEND, Leg(bundle("2026-11"), -60), session="s1"),
        line(2, DECEMBER_US, Kind.SETTLE, Leg(bundle("2026-12"), -600), session="s1"),
    )
    made = [statement(ANNA, month, TARIFF, 2 * DECEMBER_US, journal, {}).lines for month in ("2026-11", "2026-12")]
    assert [[(one.part, one.free_seconds) for one in lines] for lines in made] == [
        [(Part.FIRST, 60)],
        [(Part.CONTINUED, 600)],
    ]


@pytest.mark.parametrize("answered", [None, "", "yesterday", "2026-11-30T22:58:00", 7])
def test_a_cdr_that_does_not_tell_when_a_call_began_leaves_the_line_at_its_first_piece(answered: object) -> None:
    assert over_the_edge("2026-11", answered=answered).lines[1].at_us == DECEMBER_US - 60 * SECOND


def test_messages_and_faxes_are_dated_by_their_start_too() -> None:
    assert over_the_edge("2026-11", answered=None, set_up="2026-11-30T22:57:00+00:00").lines[1].at_us == (
        DECEMBER_US - 180 * SECOND
    )


@pytest.mark.parametrize(("language", "words"), [(Language.NL, "loopt nog"), (Language.EN, "still running")])
@pytest.mark.parametrize(("end", "runs"), [(None, True), (Kind.SETTLE, False), (Kind.RELEASE, False)])
def test_a_call_that_goes_on_says_so_in_the_place_of_its_number_and_duration(
    language: Language, words: str, end: Kind | None, runs: bool
) -> None:
    journal = [line(1, NOVEMBER_US, Kind.EXTEND, Leg(CREDIT, -200_000), session="s2")]
    if end is not None:
        journal.append(line(2, DECEMBER_US, end, session="s2"))
    made = statement(replace(ANNA, language=language), "2026-11", TARIFF, DECEMBER_US, journal, {})
    assert (f"<small>{words}</small>" in statement_page(made)) == runs


def test_a_reservation_alone_is_no_line() -> None:
    made = november(line(1, NOVEMBER_US, Kind.RESERVE, Leg(CREDIT, 0, EURO), session="s1"))
    assert made.lines == ()


def test_r11_free_seconds_are_those_of_the_months_own_bundle() -> None:
    free = a_month().free
    assert (free.granted, free.used, free.expired, free.left) == (600, 60, 540, 0)


def test_vat_is_the_part_of_the_usage_rounded_to_cents() -> None:
    made = a_month()
    assert (made.usage, made.usage_vat) == (210_000, 40_000)  # 0.21 × 21/121 = 0.03644…
    half = november(line(1, NOVEMBER_US, Kind.SETTLE, Leg(CREDIT, -28_810), session="s"))
    assert half.usage_vat == 10_000  # 0.005000… exactly half a cent is a cent
    less = november(line(1, NOVEMBER_US, Kind.SETTLE, Leg(CREDIT, -28_809), session="s"))
    assert less.usage_vat == 0


DAY = 24 * 3600 * SECOND
USED = (
    line(1, NOVEMBER_US + 10 * DAY - 1, Kind.SETTLE, Leg(CREDIT, -1_210_000), session="a"),
    line(2, NOVEMBER_US + 10 * DAY, Kind.CHARGE, Leg(CREDIT, -1_090_000)),
    line(3, NOVEMBER_US + 11 * DAY, Kind.CORRECT, Leg(CREDIT, -EURO)),
)


def under(vat: Vat) -> Statement:
    return statement(ANNA, "2026-11", replace(TARIFF, vat=vat), DECEMBER_US, USED, {})


def test_vat_is_by_the_rate_of_each_line_s_day() -> None:
    made = under(Vat(2100, ((date(2026, 11, 11), 900),)))
    assert [(one.rate, one.usage, one.vat) for one in made.vat] == [
        (2100, 1_210_000, 210_000),
        (900, 1_090_000, 90_000),
    ]
    assert (made.usage, made.usage_vat) == (2_300_000, 300_000)
    page = statement_page(made)
    assert "waarvan €\u00a00,21 btw (21%) en €\u00a00,09 btw (9%)" in page
    assert "inclusief 21% en 9% btw" in page
    told = [row for row in csv.DictReader(io.StringIO(statement_csv(made))) if row["kind"] == "vat_in_usage"]
    assert [(row["amount"], row["reason"]) for row in told] == [("0.21", "21%"), ("0.09", "9%")]
    assert StatementOut.of(made).model_dump()["vat"] == [
        {"percent": "21.00", "usage": "1.21", "vat": "0.21"},
        {"percent": "9.00", "usage": "1.09", "vat": "0.09"},
    ]


def test_another_rate_from_a_later_day_leaves_the_statement_as_it_was() -> None:
    assert under(Vat(2100, ((date(2026, 12, 1), 900),))) == under(Vat(2100))
    assert under(Vat(2100, ((date(2026, 11, 30), 900),))) != under(Vat(2100))


def test_a_month_that_goes_on_says_so() -> None:
    assert november(now_us=DECEMBER_US).is_over
    running = november(now_us=DECEMBER_US - 1)
    assert not running.is_over
    assert "loopt nog" in statement_page(running)


@given(
    st.lists(
        st.tuples(
            st.integers(NOVEMBER_US - 3, DECEMBER_US + 3) | st.sampled_from([NOVEMBER_US, DECEMBER_US]),
            st.integers(-(10**12), 10**12),
            st.sampled_from([None, "s1", "s2"]),
        )
    )
)
def test_opening_lines_and_closing_add_up_whatever_the_order(rows: list[tuple[int, int, str | None]]) -> None:
    journal = [
        line(number, at_us, Kind.SETTLE if session else Kind.CORRECT, Leg(CREDIT, posted), session=session)
        for number, (at_us, posted, session) in enumerate(rows, 1)
    ]
    made = november(*journal)
    assert made.opening == sum(posted for at_us, posted, _ in rows if at_us < NOVEMBER_US)
    assert made.closing == sum(posted for at_us, posted, _ in rows if at_us < DECEMBER_US)
    assert made.opening + sum(one.credit for one in made.lines) == made.closing


def figures_of_page(page: str) -> list[Decimal]:
    """The amounts above the table: opening, topped up, usage, others, closing."""
    shown = re.findall(r"<dd>(−?)€\u00a0([0-9.,]+)", page)
    return [Decimal(sign.replace("−", "-") + text.replace(".", "").replace(",", ".")) for sign, text in shown]


@given(
    st.lists(
        st.tuples(
            st.integers(NOVEMBER_US - 3, DECEMBER_US + 3),
            st.sampled_from(Kind),
            st.integers(-(10**12), 10**12),
            st.sampled_from([None, "s1", "s2"]),
        )
    )
)
def test_the_sums_shown_lead_from_opening_to_closing_whatever_the_kinds(
    rows: Sequence[tuple[int, Kind, int, str | None]],
) -> None:
    journal = [
        line(number, at_us, kind, Leg(CREDIT, posted), session=session)
        for number, (at_us, kind, posted, session) in enumerate(rows, 1)
    ]
    made = november(*journal)
    opening, topped_up, usage, others, closing = figures_of_page(statement_page(made))
    assert opening + topped_up - usage + others == closing
    shown = StatementOut.of(made)
    sums = map(Decimal, (shown.opening, shown.topped_up, shown.corrections, shown.expired))
    assert sum(sums) - Decimal(shown.usage) == Decimal(shown.closing)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", Kind)
def test_a_line_of_any_kind_is_told_in_the_reader_s_words(kind: Kind, language: Language) -> None:
    made = replace(november(line(1, NOVEMBER_US, kind, Leg(CREDIT, -EURO))), account=replace(ANNA, language=language))
    named = {
        Kind.CHARGE: ("Voicemailbericht", "Voicemail message"),
        Kind.TOP_UP: ("Opwaardering", "Top-up"),
        Kind.EXPIRE: ("Vervallen tegoed", "Expired credit"),
    }.get(kind, ("Correctie", "Correction"))
    assert f"<td>{named[language is Language.EN]}<" in statement_page(made)


def test_r3_a_message_charged_after_an_outage_is_usage_with_its_vat() -> None:
    made = november(line(1, NOVEMBER_US, Kind.CHARGE, Leg(CREDIT, -150_000), reason="voicemail"))
    assert [(one.kind, one.credit, one.reason) for one in made.lines] == [("voicemail", -150_000, "")]
    assert (made.usage, made.usage_vat) == (150_000, 30_000)  # 0.15 × 21/121 = 0.02603…


def test_the_csv_adds_up_and_holds_no_formula() -> None:
    cdr = CDR | {"caller": "=HYPERLINK(1)", "destination": "x;=1+1"}
    made = replace(a_month(), lines=tuple(replace(one, cdr=cdr if one.cdr else {}) for one in a_month().lines))
    rows = list(csv.DictReader(io.StringIO(statement_csv(made))))
    assert [row["kind"] for row in rows] == [
        "opening_balance",
        "call",
        "correct",
        "top_up",
        "closing_balance",
        "vat_in_usage",
    ]
    assert sum(Decimal(row["amount"]) for row in rows[:-1]) == Decimal(rows[-2]["balance"]) == Decimal("33.79")
    assert rows[1]["caller"] == "'=HYPERLINK(1)"
    assert rows[1]["destination"] == "x;'=1+1"
    assert rows[1]["target"] == "+31612345678"
    assert rows[2]["reason"] == "chargeback <b>of a top-up"
    assert rows[0]["at"] == "2026-11-01T00:00:00+01:00"


@pytest.mark.parametrize(
    ("language", "words"), [(Language.NL, "een anoniem nummer"), (Language.EN, "a withheld number")]
)
def test_a_withheld_number_is_in_no_statement_though_the_operator_keeps_it(language: Language, words: str) -> None:
    journal = line(1, NOVEMBER_US, Kind.SETTLE, Leg(CREDIT, -10_000), session="s1")
    account = replace(ANNA, language=language)
    made = statement(account, "2026-11", TARIFF, DECEMBER_US, [journal], {"s1": CDR | {"withheld": True}})
    assert made.lines[0].cdr["caller"] == "", "what the API gives as JSON"
    assert words in statement_page(made)
    assert list(csv.DictReader(io.StringIO(statement_csv(made))))[1]["caller"] == "withheld"


def test_the_page_speaks_the_accounts_language_and_shows_reasons_harmlessly() -> None:
    dutch = statement_page(a_month())
    assert "Overzicht november 2026" in dutch
    assert "chargeback &lt;b&gt;of a top-up" in dutch
    assert "€\u00a033,79" in dutch
    assert "waarvan €\u00a00,04 btw (21%)" in dutch
    english = statement_page(replace(a_month(), account=replace(ANNA, language=Language.EN)))
    assert "Statement November 2026" in english
    assert "€\u00a033.79" in english
    assert not re.search(r"\{[a-z]+\}", dutch.partition("</style>")[2] + english.partition("</style>")[2])


def test_r3_messages_and_faxes_are_usage_with_names_of_their_own() -> None:
    journal = (
        line(1, NOVEMBER_US, Kind.SETTLE, Leg(CREDIT, -100_000), session="v"),
        line(2, NOVEMBER_US + 1, Kind.SETTLE, Leg(CREDIT, -300_000), session="f"),
        line(3, NOVEMBER_US + 2, Kind.SETTLE, Leg(CREDIT, -1), session="unknown"),
    )
    cdrs: dict[str, dict[str, Any]] = {
        "v": {"service": "voicemail", "number": "+31201234567", "caller": "+31107654321"},
        "f": {"service": "fax", "number": "+31201234567", "target": "+31701234567", "pages": 3},
    }
    made = statement(ANNA, "2026-11", TARIFF, DECEMBER_US, journal, cdrs)
    assert [one.kind for one in made.lines] == ["voicemail", "fax", CALL]
    assert made.usage == 400_001
    page = statement_page(made)
    assert "Voicemailbericht<small>van +31107654321 naar uw nummer +31201234567" in page
    assert "Verzonden fax → +31701234567<small>pagina&#x27;s: 3" in page
    assert [row["pages"] for row in csv.DictReader(io.StringIO(statement_csv(made)))] == ["", "", "3", "", "", ""]


def test_amounts_on_a_page_have_two_four_or_six_decimals_and_never_three() -> None:
    for posted, opening in ((-1_230_000, "0,00"), (-1_234_000, "0,0000"), (-1_234_100, "0,0000"), (-1, "0,000000")):
        page = statement_page(november(line(1, NOVEMBER_US, Kind.SETTLE, Leg(CREDIT, posted), session="s")))
        assert f">€\u00a0{opening}<" in page
    large = november(line(1, NOVEMBER_US, Kind.TOP_UP, Leg(CREDIT, 1_234_567 * EURO)))
    assert "+€\u00a01.234.567,00" in statement_page(large)


async def test_a_statement_of_the_store_takes_the_journal_and_tells_reasons(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "k")
    await shop.service.money.correct("anna", -5 * EURO, "chargeback by the bank", "c")
    made = await shop.service.statements.of("anna", "2026-11")
    assert isinstance(made, Statement)
    assert [(one.kind, one.credit, one.reason) for one in made.lines[1:]] == [
        ("correct", -5 * EURO, "chargeback by the bank")
    ]
    assert made.closing == 20 * EURO
    assert not made.is_over


async def test_a_month_that_is_none_or_not_begun_is_refused(shop: Shop) -> None:
    await shop.anna()
    refused(await shop.service.statements.of("anna", "2026-13"), Code.INVALID)
    refused(await shop.service.statements.of("anna", "2026-12"), Code.NOT_ALLOWED)
    refused(await shop.service.statements.of("bert", "2026-11"), Code.NOT_FOUND)
    assert isinstance(await shop.service.statements.of("anna", "2025-01"), Statement)


def test_r11_minutes_that_a_person_gave_or_took_back_are_lines_of_the_statement() -> None:
    month = november(
        line(1, NOVEMBER_US, Kind.GRANT, Leg(bundle("2026-11"), 600)),
        line(2, NOVEMBER_US + 1, Kind.CORRECT, Leg(bundle("2026-11"), 1800), reason="sorry for the outage"),
        line(3, NOVEMBER_US + 2, Kind.CORRECT, Leg(bundle("2026-11"), -60), reason="a slip"),
    )
    assert [(one.kind, one.credit, one.free_seconds, one.reason) for one in month.lines] == [
        ("correct", 0, -1800, "sorry for the outage"),
        ("correct", 0, 60, "a slip"),
    ]
    assert (month.free.granted, month.free.left) == (2340, 2340)
    page = statement_page(month)
    assert "sorry for the outage" in page
