"""Rate decks: as carriers send them, to the row; bad ones refused to the line."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from charging.errors import ConfigError
from charging.pricing.funding import cost_of_seconds
from charging.pricing.rate import Rate
from charging.tariff.deck import DeckRow
from charging.tariff.deck_file import COLUMNS_MAX, DeckCache, parse_deck, read_deck
from charging.tariff.tariff import Refusal
from tests.fakes.effort import assert_linear
from tests.unit.tariff.tariffs import SHIPPED, SMALL, small

TODAY = date(2026, 11, 15)
TODAY_US = 1_794_700_000_000_000
BELGIUM = DeckRow("+32", "Belgium", 50_000, 60, 1, 0, date.min)


def row_of(text: str, number: str = "+3221234567", today: date = TODAY) -> DeckRow | None:
    return parse_deck(text.encode(), "deck.csv").deck.match(number, today)


@pytest.mark.parametrize(
    "text",
    [
        "prefix,name,price,increments\n32,Belgium,0.05,60/1\n",
        "Prefix;Name;Price;Increments\r\n+32;Belgium;0,05;60/1\r\n",
        "\ufeffcode;destination;rate;billing\n0032;Belgium;0,050;60 / 1\n",
        'Dial_Code,Description,"Rate per minute",Interval\n"32","Belgium","0,05",60/1\n',
        "price\tincrements\tprefix\tname\tremarks\n0.05\t60/1\t32\tBelgium\tnew!\n",
        "kengetal;bestemming;prijs;eenheid\n\n32;Belgium;0,05;60/1\n;;;\n",
        "prefix;name;price;increments\n32;Belgium;0,05;60/1",
    ],
)
def test_the_dialects_of_carriers_are_read_alike(text: str) -> None:
    assert row_of(text) == BELGIUM


def test_columns_that_are_absent_or_empty_take_their_defaults() -> None:
    assert row_of("prefix,price\n32,0.05\n") == DeckRow("+32", "+32", 50_000, 60, 60, 0, date.min)
    full = "prefix,price,name,increments,connect_fee,valid_from\n32,0.05,,,,\n"
    assert row_of(full) == DeckRow("+32", "+32", 50_000, 60, 60, 0, date.min)


@pytest.mark.parametrize("typed", ["2026-11-15", "15-11-2026", "15.11.2026", "2026-11-15 00:00:00"])
def test_a_row_counts_from_its_date_on(typed: str) -> None:
    text = f"prefix,price,valid_from\n32,0.05,\n32,0.06,{typed}\n322,0.07,16-11-2026\n"
    prices = [row.price for day in (14, 15, 16) if (row := row_of(text, today=date(2026, 11, day)))]
    assert prices == [50_000, 60_000, 70_000]


def test_a_row_not_yet_in_force_leaves_the_number_uncovered() -> None:
    text = "prefix,price,valid_from\n32,0.05,2026-11-16\n"
    assert row_of(text) is None
    assert row_of(text, today=date(2026, 11, 16)) is not None


BAD = [
    ("prefix,price\n3x2,0.05\n", 2, "prefix", "'3x2'", "a prefix with its country code"),
    ("prefix,price\n3.16E+04,0.05\n", 2, "prefix", "'3.16E+04'", "a prefix with its country code"),
    ("prefix,price\n,0.05\n", 2, "prefix", "nothing", "a prefix with its country code"),
    ("prefix,price\n032,0.05\n", 2, "prefix", "'032'", "a prefix with its country code"),
    ("prefix,price\n32,\n", 2, "price", "nothing", "euros with up to 6 decimals, such as 12.50"),
    ("prefix;price\n32;1.000,05\n", 2, "price", "'1.000,05'", "euros with up to 6 decimals, such as 12.50"),
    ("prefix;price\n32;10000.01\n", 2, "price", "'10000.01'", "at most 10000.00"),
    ("prefix,price,increments\n32,1,1/1/1\n", 2, "increments", "'1/1/1'", "increments in seconds"),
    ("prefix,price,increments\n32,1,0\n", 2, "increments", "'0'", "increments in seconds"),
    ("prefix,price,effective\n32,1,11/12/2026\n", 2, "valid_from", "'11/12/2026'", "a date such as"),
    ("prefix,price,effective\n32,1,30-02-2026\n", 2, "valid_from", "'30-02-2026'", "a date such as"),
    ("prefix,cost\n32,1\n", 1, "", "'prefix;cost'", "a column 'price'"),
    ("prefix,code,price\n32,32,1\n", 1, "code", "the column a second time", "each column once"),
    ("prefix,price\n", 1, "", "no rows", "at least one price"),
    ("prefix,price\n32,0.05\n32,0.06\n", 3, "prefix", "+32 a second time (first on line 2)", "one price for a prefix"),
    ('prefix,price\n"32,0.05\n', 2, "", "unexpected end of data", "a row of a CSV file"),
    ("prefix,price\n32,0.05\n\x00,1\n", 3, "prefix", r"'\x00'", "a prefix with its country code"),
    ("prefix,name,price,increments\n90,Turkey,0,12,60/1\n", 2, "", "5 fields", "at most 4, as in the first line"),
    ("prefix,name,price,increments,\n90,Turkey,0,12,60/1\n", 2, "", "5 fields", "at most 4, as in the first line"),
    ("prefix;name;price\n90;Turkey; fixed;0,12\n", 2, "", "4 fields", "at most 3, as in the first line"),
    ("prefix;price;incremnts\n90;1;1/1\n", 1, "", "the unknown column 'incremnts'", "its name corrected"),
    ("prefix;price;Interval 1\n90;1;1\n", 1, "", "the unknown column 'interval 1'", "its name corrected"),
    ("prefix;price;first increment\n90;1;1\n", 1, "", "the unknown column 'first increment'", "its name corrected"),
    ("prefix;price;conectfee\n90;1;1\n", 1, "", "the unknown column 'conectfee'", "its name corrected"),
    ("prefix;price;end-date\n90;1;\n", 1, "", "the unknown column 'end-date'", "its name corrected"),
    ("prefix;price;Valid_To\n90;1;2099-12-31\n", 2, "valid_to", "'2099-12-31'", "no day on which a price ends"),
    ("prefix;price;ccy\n90;1;USD\n", 2, "currency", "'USD'", "EUR"),
]


@pytest.mark.parametrize(("text", "line", "path", "found", "expected"), BAD)
def test_a_bad_deck_is_refused_with_its_line(text: str, line: int, path: str, found: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        row_of(text)
    [problem] = refused.value.problems
    assert (problem.file, problem.line, problem.path) == ("deck.csv", line, path)
    assert problem.found.startswith(found)
    assert problem.expected.startswith(expected)


def test_a_decimal_comma_without_quotes_is_told_its_remedy() -> None:
    with pytest.raises(ConfigError, match=r'quote what has a comma, such as "0,12", or separate the columns'):
        row_of("prefix,name,price,increments\n90,Turkey,0,12,60/1\n")
    assert row_of('prefix,name,price,increments\n32,Belgium,"0,05",60/1\n') == BELGIUM


@pytest.mark.parametrize("end", ["", ";", "; ;"])
def test_a_row_as_long_as_its_header_or_with_nothing_beyond_it_is_read(end: str) -> None:
    assert row_of(f"prefix;name;price;increments\n32;Belgium;0,05;60/1{end}\n") == BELGIUM


@pytest.mark.parametrize("fee", ["setup charge", "Setup_Fee", "connection charge", "starttarief"])
def test_a_connect_fee_is_charged_under_every_name_that_carriers_give_it(fee: str) -> None:
    row = row_of(f"prefix;price;{fee}\n32;0,05;0.30\n")
    assert row is not None
    assert row.connect_fee == 300_000


@pytest.mark.parametrize("typed", ["EUR", "eur", "Euro", "€", ""])
def test_prices_in_euros_and_without_an_end_are_read(typed: str) -> None:
    assert row_of(f"prefix;name;price;increments;currency;end date\n32;Belgium;0,05;60/1;{typed};\n") == BELGIUM


@pytest.mark.parametrize(("name", "hint"), [("status", ""), ("Setup", "did you mean 'setup fee'?")])
def test_an_unknown_column_is_a_warning(name: str, hint: str) -> None:
    read = parse_deck(f"prefix;price;{name}\n32;0.05;x\n".encode(), "deck.csv")
    [warning] = read.warnings
    assert (warning.line, warning.found, warning.hint) == (1, f"the unknown column {name.lower()!r}", hint)
    assert warning.expected.startswith("a known column: prefix, name, price, increments")


def test_a_misspelt_name_beside_the_right_one_is_a_warning_and_remarks_are_none() -> None:
    read = parse_deck(b"prefix;price;old price;increments;incremnt;Comments;\n32;0.05;9;1;60;new;\n", "deck.csv")
    assert [one.found for one in read.warnings] == ["the unknown column 'old price'", "the unknown column 'incremnt'"]
    assert [row.next_s for row in read.deck.rows("+32")] == [1]


def test_a_warning_of_a_deck_is_one_of_the_tariff(tmp_path: Path) -> None:
    tariff = small(tmp_path, with_deck(tmp_path, deck="prefix,price,status\n32,0.06,x\n"))
    [warning] = [one for one in tariff.warnings if one.file.endswith("deck.csv")]
    assert warning.found == "the unknown column 'status'"


def test_every_bad_row_is_told_but_no_more_than_a_hundred() -> None:
    with pytest.raises(ConfigError) as refused:
        row_of("prefix,price\n" + "x,y\n" * 10)
    assert [problem.line for problem in refused.value.problems] == [line for line in range(2, 12) for _ in "xy"]
    with pytest.raises(ConfigError) as refused:
        row_of("prefix,price\n" + "x,1\n" * 500)
    assert len(refused.value.problems) == 100


def test_a_deck_that_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_deck("prefix,name,price\n32,België,1\n".encode("cp1252"), "deck.csv")
    assert refused.value.problems[0].line == 2


def test_a_row_repeated_with_the_same_price_is_a_warning() -> None:
    read = parse_deck(b"prefix,price\n32,0.05\n32,0.050\n", "deck.csv")
    assert [(one.line, one.found) for one in read.warnings] == [(3, "+32 a second time (first on line 2)")]
    assert len(read.deck) == 1


def test_progress_ends_with_all_of_the_file() -> None:
    told: list[tuple[int, int]] = []
    text = "prefix,price\n" + "".join(f"{number},0.05\n" for number in range(10_000, 22_000))
    parse_deck(text.encode(), "deck.csv", lambda done, total: told.append((done, total)))
    assert len(told) == 3
    assert told == sorted(told)
    assert told[-1] == (len(text), len(text))


def with_deck(folder: Path, **decks: str) -> str:
    for name, text in decks.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    names = ", ".join(f"{name}.csv" for name in decks)
    return SMALL.replace("standard:\n    fax", f"standard:\n    decks: [{names}]\n    fax")


def test_a_deck_prices_what_the_table_does_not_and_longer_prefixes_of_it(tmp_path: Path) -> None:
    deck = (
        "prefix,name,price,increments\n32,Belgium,0.06,60/1\n3120,Amsterdam,0.04,1\n31900,Premium,9,1\n316,Mobile,9,1\n"
    )
    tariff = small(tmp_path, with_deck(tmp_path, deck=deck))

    def found(number: str) -> str | Refusal:
        rate = tariff.rate_for("light", number, TODAY_US)
        return f"{rate.destination} {rate.prefix}" if isinstance(rate, Rate) else rate

    assert found("+3221234567") == "Belgium +32"
    assert found("+31201234567") == "Amsterdam +3120"
    assert found("+31301234567") == "nl +31"
    assert found("+31612345678") == "nl_mobile +316"
    assert found("+319001234") is Refusal.PREMIUM
    assert found("+33123456789") is Refusal.NOT_COVERED
    rate = tariff.rate_for("light", "+3221234567", TODAY_US)
    assert isinstance(rate, Rate)
    assert [cost_of_seconds(rate, TODAY_US, seconds) for seconds in (1, 60, 61)] == [60_000, 60_000, 61_000]


def test_free_minutes_of_chosen_destinations_reach_deck_rows_within_them_only(tmp_path: Path) -> None:
    tariff = small(tmp_path, with_deck(tmp_path, deck="prefix,price\n32,0.06\n3120,0.04\n"))
    rates = [tariff.rate_for("pro", number, TODAY_US) for number in ("+31201234567", "+3221234567")]
    assert [rate.free_minutes for rate in rates if isinstance(rate, Rate)] == [True, False]


def test_decks_of_one_table_that_overlap_are_a_warning_and_the_first_counts(tmp_path: Path) -> None:
    tariff = small(tmp_path, with_deck(tmp_path, one="prefix,price\n32,0.06\n33,1\n", two="prefix,price\n32,0.07\n"))
    [warning] = [one for one in tariff.warnings if "decks" in one.path]
    assert warning.path == "rates.standard.decks[1]"
    assert warning.found == "1 prefixes that one.csv has too, such as +32"
    rate = tariff.rate_for("light", "+3221234567", TODAY_US)
    assert isinstance(rate, Rate)
    assert rate.steps[0].price == 60_000


def test_the_example_deck_is_right_and_its_coming_price_counts_from_its_day_on() -> None:
    read = read_deck(SHIPPED.parent / "decks" / "example.csv")
    assert read.warnings == ()
    days = (date(2026, 12, 31), date(2027, 1, 1))
    rows = [read.deck.match("+61412345678", day) for day in days]
    assert [row.price for row in rows if row] == [160_000, 140_000]


def test_a_deck_that_has_not_changed_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "deck.csv"
    path.write_text("prefix,price\n32,0.05\n", encoding="utf-8")
    cache = DeckCache()
    first = cache(path)
    assert cache(path) is first
    path.write_text("prefix,price\n32,0.06\n", encoding="utf-8")
    assert cache(path) is not first


@pytest.mark.parametrize("piece", ["pricce;", "valid;", "x;", ";", "x", '"'])
def test_first_line_of_any_length_costs_no_more_than_twice_for_twice_its_length(piece: str) -> None:
    """One of unknown columns took 28 s for each MB."""

    def read(pieces: int) -> None:
        with suppress(ConfigError):
            parse_deck((piece * pieces + "prefix;price\n32;0.05\n").encode(), "deck.csv")

    assert_linear(read, 90, 1_000, 50_000)


@pytest.mark.parametrize(("more", "read"), [(COLUMNS_MAX - 2, True), (COLUMNS_MAX - 1, False)])
def test_deck_has_no_more_columns_than_people_make(more: int, read: bool) -> None:
    text = "prefix;price" + ";note" * more + "\n32;0.05\n"
    if read:
        assert row_of(text) is not None
    else:
        with pytest.raises(ConfigError, match=f"{COLUMNS_MAX + 1} columns"):
            row_of(text)
