"""Rate decks: as carriers send them, to the row; bad ones refused to the line."""

from __future__ import annotations

import hashlib
import pickle
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from charging.errors import ConfigError
from charging.pricing.rate import Rate, cost_of_seconds
from charging.tariff import deck_file
from charging.tariff import tariff as tariff_module
from charging.tariff.deck import DeckRow
from charging.tariff.deck_columns import NAME_MAX, RANGE_MAX
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
    ("prefix,price\n32,0.05\n\x00,1\n", 3, "", "the byte 0x00", "text in UTF-8"),
    ("prefix,name,price\n32,Bel\x00gium,1\n", 2, "", "the byte 0x00", "text in UTF-8"),
    ("prefix,name,price,increments\n90,Turkey,0,12,60/1\n", 2, "", "5 fields", "at most 4, as in the first line"),
    ("prefix,name,price,increments,\n90,Turkey,0,12,60/1\n", 2, "", "5 fields", "at most 4, as in the first line"),
    ("prefix;name;price\n90;Turkey; fixed;0,12\n", 2, "", "4 fields", "at most 3, as in the first line"),
    ("prefix;price;incremnts\n90;1;1/1\n", 1, "", "the unknown column 'incremnts'", "its name corrected"),
    ("prefix;price;Interval 1\n90;1;1\n", 1, "", "a column of first increments alone", "one of further increments too"),
    ("prefix;price;billing block\n90;1;1\n", 1, "", "a column of further increments alone", "one of first increments"),
    ("prefix;price;conectfee\n90;1;1\n", 1, "", "the unknown column 'conectfee'", "its name corrected"),
    ("prefix;price;end-date\n90;1;\n", 1, "", "the unknown column 'end-date'", "its name corrected"),
    ("prefix;price;Valid_To\n90;1;2099-12-31\n", 2, "valid_to", "'2099-12-31'", "no day on which a price ends"),
    ("prefix;price;ccy\n90;1;USD\n", 2, "currency", "'USD'", "EUR"),
]


def test_the_first_line_of_a_file_that_is_no_deck_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        row_of("s3cret;price-less\n")
    assert [one.found for one in refused.value.problems] == ["a line without any"] * 2


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


def test_a_misspelt_name_beside_the_right_one_is_a_warning_and_columns_for_people_are_none() -> None:
    text = b"prefix;price;old price;increments;incremnt;Comments;#margin;\n32;0.05;9;1;;new 7;3;\n"
    read = parse_deck(text, "deck.csv")
    assert [one.found for one in read.warnings] == ["the unknown column 'incremnt'"]
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


def test_the_rate_of_a_row_is_made_once_and_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What thousands of calls have in common is one object."""
    monkeypatch.setattr(tariff_module, "DECK_RATES_MAX", 2)
    tariff = small(tmp_path, with_deck(tmp_path, deck="prefix,price\n32,0.06\n33,0.07\n35,0.08\n"))
    plan = min(tariff.plans)
    first = tariff.rate_for(plan, "+3221234567", TODAY_US)
    assert isinstance(first, Rate)
    assert tariff.rate_for(plan, "+3228888888", TODAY_US) is first
    others = [tariff.rate_for(plan, number, TODAY_US) for number in ("+33123456789", "+351123456789")]
    assert len({first, *others}) == 3
    again = tariff.rate_for(plan, "+3221234567", TODAY_US)
    assert again == first
    assert again is not first, "it had made room"


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


@pytest.mark.parametrize(
    "rows",
    [
        "32;0.05\n" + "# rows: 1\n" * 2_000,
        "32;0.05\n" + " " * 8_000 + "x\n",
        "32;1" + " " * 16_000 + "x\n",
    ],
    ids=["footers", "spaces at the end", "spaces in a price"],
)
def test_reading_takes_no_time_that_grows_with_the_square_of_a_row(rows: str) -> None:
    """Each of these took more than ten seconds, and four times as long for twice its length."""
    began_s = time.thread_time()
    with suppress(ConfigError):
        parse_deck(("prefix;price\n" + rows).encode(), "deck.csv")
    assert time.thread_time() - began_s < 1


@pytest.mark.parametrize(("more", "read"), [(COLUMNS_MAX - 2, True), (COLUMNS_MAX - 1, False)])
def test_deck_has_no_more_columns_than_people_make(more: int, read: bool) -> None:
    text = "prefix;price" + ";note" * more + "\n32;0.05\n"
    if read:
        assert row_of(text) is not None
    else:
        with pytest.raises(ConfigError, match=f"{COLUMNS_MAX + 1} columns"):
            row_of(text)


# --- What carriers and switches send ---------------------------------------------------------------------------------

FORMATS = Path(__file__).parents[2] / "data" / "decks"
JAPAN = ("+81", 90_000, 60, 1, 50_000)
JAPAN_MOBILE = ("+8190", 190_000, 60, 1, 50_000)


@pytest.mark.parametrize("path", sorted(FORMATS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_format_of_every_vendor_says_the_same(path: Path) -> None:
    """Japan at 0.09 and its mobiles at 0.19 a minute, 60/1, 0.05 a call."""
    read = read_deck(path)
    rows = [read.deck.rows(prefix)[0] for prefix in ("+81", "+8190")]
    assert [(row.prefix, row.price, row.first_s, row.next_s, row.connect_fee) for row in rows] == [JAPAN, JAPAN_MOBILE]
    told = ("before the columns", "the unknown column", "lines of words between the rows")
    assert [one for one in read.warnings if not any(words in one.found for words in told)] == []


def test_the_formats_are_many() -> None:
    assert len(list(FORMATS.glob("*.csv"))) >= 9


@pytest.mark.parametrize(
    "name",
    ["surcharge", "grace time", "initial cost", "minimum", "rate 2", "peak", "price off-peak", "tax", "seconds", "x"],
)
@pytest.mark.parametrize(("value", "read"), [("", True), ("0", True), ("0.00", True), ("0.05", False), ("30", False)])
def test_a_number_in_a_column_that_is_not_known_is_never_passed_over(name: str, value: str, read: bool) -> None:
    text = f"prefix;price;increments;connect fee;{name}\n81;0.09;60/1;0.05;{value}\n"
    if read:
        assert row_of(text, "+8112345") is not None
    else:
        with pytest.raises(ConfigError, match="a column that is not known"):
            row_of(text, "+8112345")


@pytest.mark.parametrize(
    "text",
    [
        "prefix,name,price,increments\n81,Japan,0,60\n",
        "prefix,name,price,connect fee,increments\n81,Japan,0,9,60/1\n",
        "prefix,price,increments\n81,0,60\n",
    ],
)
def test_a_price_that_its_decimal_comma_may_have_broken_in_two_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a whole number before another one"):
        row_of(text)
    with_points = text + text.splitlines()[1].replace("81,", "82,").replace(",0,", ",0.60,") + "\n"
    assert row_of(with_points, "+8212345") is not None


@pytest.mark.parametrize(
    ("end", "read"),
    [
        ("8190;Japan;0,1", False),
        ("8190;Japan;0,19;6", False),
        ("8190;Japan", False),
        ("819", False),
        ("8190;Japan;0,19;60/1", True),
        ("8190;Japan;0,1;60/1\n", True),
    ],
)
def test_an_upload_that_may_have_broken_off_is_refused(end: str, read: bool) -> None:
    text = "prefix;name;price;increments\n81;Japan;0,09;60/1\n" + end
    if read:
        assert row_of(text, "+81901234") is not None
    else:
        with pytest.raises(ConfigError, match=r"broken off|price: found nothing"):
            row_of(text, "+81901234")


@pytest.mark.parametrize(
    ("footer", "read"),
    [
        ("# rows: 2\n", True),
        ("# rows: 3\n", False),
        ("TOTAL;2;;\n", True),
        ("EOF,3\n", False),
        ("# sha256: DIGEST\n", True),
        ("# sha256: " + "0" * 64 + "\n", False),
    ],
)
def test_a_deck_that_tells_what_is_in_it_is_held_to_it(footer: str, read: bool) -> None:
    text = "prefix;price\n81;0.09\n8190;0.19\n"
    text += footer.replace("DIGEST", hashlib.sha256(text.encode()).hexdigest())
    if read:
        assert len(parse_deck(text.encode(), "deck.csv").deck) == 2
    else:
        with pytest.raises(ConfigError, match="broken off"):
            parse_deck(text.encode(), "deck.csv")


def test_a_digest_beside_the_deck_is_compared(tmp_path: Path) -> None:
    deck = tmp_path / "deck.csv"
    deck.write_text("prefix;price\n81;0.09\n", encoding="utf-8")
    beside = tmp_path / "deck.csv.sha256"
    beside.write_text(hashlib.sha256(deck.read_bytes()).hexdigest() + "  deck.csv\n", encoding="utf-8")
    assert len(read_deck(deck).deck) == 1
    deck.write_text("prefix;price\n81;0.9\n", encoding="utf-8")
    for read in (read_deck, DeckCache()):
        with pytest.raises(ConfigError, match="whose digest"):
            read(deck)


@pytest.mark.parametrize(
    ("dates", "told"),
    [
        (["11-05-2026"], "warning"),
        (["11-05-2026", "12-31-2026"], "error"),
        (["11.05.2026"], ""),
        (["2026-05-11"], ""),
        (["11-11-2026"], ""),
        (["25-12-2026"], ""),
    ],
)
def test_a_date_whose_month_may_come_first_is_told(dates: list[str], told: str) -> None:
    rows = "".join(f"8{index};0.09;{day}\n" for index, day in enumerate(dates, 1))
    data = ("prefix;price;effective date\n" + rows).encode()
    if told == "error":
        with pytest.raises(ConfigError, match="the month seems to come first"):
            parse_deck(data, "deck.csv")
    else:
        warned = [one for one in parse_deck(data, "deck.csv").warnings if one.path == "valid_from"]
        assert bool(warned) == (told == "warning")


def test_prices_of_nothing_are_told_with_their_number() -> None:
    read = parse_deck(b"prefix;price\n81;0.09\n80;0\n800;0.00\n", "deck.csv")
    assert [(one.line, one.found) for one in read.warnings] == [(3, "2 prefixes that cost nothing, such as +80")]


@pytest.mark.parametrize("typed", ["0.09", "0.09000000", "0,0900000", "€ 0.09", "0.09 EUR"])
def test_a_price_is_read_however_many_zeros_follow(typed: str) -> None:
    row = row_of(f"prefix;price\n32;{typed}\n")
    assert row is not None
    assert row.price == 90_000


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("31612", ["+31612"]),
        ("31612, 31613", ["+31612", "+31613"]),
        ("32484-32487", ["+32484", "+32485", "+32486", "+32487"]),
        ("61 38,39", None),
        ("32487-32484", None),
        ("324-32487", None),
    ],
)
def test_several_prefixes_in_one_field_are_rows_of_their_own(typed: str, expected: list[str] | None) -> None:
    text = f"prefixes;price\n{typed};0.09\n".encode()
    if expected is None:
        with pytest.raises(ConfigError):
            parse_deck(text, "deck.csv")
    else:
        assert sorted(parse_deck(text, "deck.csv").deck.prefixes()) == expected


@pytest.mark.parametrize(
    ("field", "read"),
    [
        (f"10000-{RANGE_MAX + 9_999}", True),
        (f"10000-{RANGE_MAX + 9_999},9", False),
        ("10000-19998,1", True),
        ("10000-10999," * 11 + "9", False),
    ],
)
def test_a_field_has_no_more_prefixes_than_a_range(field: str, read: bool) -> None:
    """One of 131 kB made 70 million rows, and the machine had no memory left for calls."""
    text = f"prefix;price\n{field.replace(',', '|')};0.09\n"
    if read:
        assert len(parse_deck(text.encode(), "deck.csv").deck) == RANGE_MAX
    else:
        with pytest.raises(ConfigError):
            parse_deck(text.encode(), "deck.csv")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Belgi\u00eb  mobile\u00a0(all)", "Belgi\u00eb mobile (all)"),
        ("\x1b[2JBel\x07gium\u202e", "[2JBel gium"),
        ('"a\n=cmd"', "a =cmd"),
        ("x" * NAME_MAX, "x" * NAME_MAX),
        ("x" * 100_000, "x" * NAME_MAX),
        ("\x07", "+32"),
    ],
    ids=["as people write", "cursor", "lines", "longest", "too long", "nothing else"],
)
def test_a_name_moves_no_cursor_and_is_one_line_that_a_bill_shows(typed: str, shown: str) -> None:
    """`charging tariff quote` cleared the terminal of whoever asked."""
    row = row_of(f"prefix;name;price\n32;{typed};0.09\n")
    assert row is not None
    assert row.name == shown


@pytest.mark.parametrize(("lines", "read"), [(4, True), (5, False)])
def test_prefixes_count_as_rows(lines: int, read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deck_file, "MAX_ROWS", 40)
    text = "prefix;price\n" + "".join(f"{line}0-{line}9;0.09\n" for line in range(1, lines + 1))
    if read:
        assert len(parse_deck(text.encode(), "deck.csv").deck) == 40
    else:
        with pytest.raises(ConfigError, match="at most 40 rows"):
            parse_deck(text.encode(), "deck.csv")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("31;20;0.09;no;", "a prefix that begins with the row's country code"),
        ("31;3120;0.09;yes;", "no row that the carrier does not carry"),
        ("31;3120;0.09;no;deleted", "no row that the carrier does not carry"),
        ("31;3120;0.09;no;new", ""),
        ("NL;3120;0.09;0;", ""),
    ],
)
def test_a_row_whose_other_columns_say_that_it_does_not_count_is_refused(row: str, found: str) -> None:
    text = f"country code;prefix;price;forbidden;status\n{row}\n"
    if found:
        with pytest.raises(ConfigError, match=found):
            row_of(text, "+31201234567")
    else:
        assert row_of(text, "+31201234567") is not None


@pytest.mark.parametrize("title", ["sep=;", "Price list November", "", "\ufeffA;;;"])
def test_lines_before_the_names_of_the_columns_are_skipped(title: str) -> None:
    assert row_of(f"{title}\nprefix;name;price;increments\n32;Belgium;0,05;60/1\n") == BELGIUM


@pytest.mark.parametrize("title", ["All prices in USD", "Rates in $ per minute", "pence a minute"])
def test_a_title_that_names_another_currency_is_refused(title: str) -> None:
    with pytest.raises(ConfigError, match="prices in euros"):
        row_of(f"{title}\nprefix;name;price;increments\n32;Belgium;0,05;60/1\n")


def test_a_deck_tells_what_it_holds() -> None:
    read = read_deck(SHIPPED.parent / "decks" / "example.csv").deck
    for deck in (read, pickle.loads(pickle.dumps(read, protocol=5))):  # as another process gets it
        facts = deck.facts()
        assert (facts.rows, facts.prefixes) == (9, 8)
        assert (str(facts.cheapest), str(facts.dearest)) == ("+61 Australia 0.07", "+8170 Japan, mobile 0.19")


def test_a_minimum_charge_of_a_deck_is_charged(tmp_path: Path) -> None:
    tariff = small(tmp_path, with_deck(tmp_path, deck="prefix;price;minimum charge\n32;0.06;0.15\n"))
    rate = tariff.rate_for("light", "+3221234567", TODAY_US)
    assert isinstance(rate, Rate)
    assert [cost_of_seconds(rate, TODAY_US, seconds) for seconds in (0, 1, 120, 180)] == [0, 150_000, 150_000, 180_000]


@pytest.mark.parametrize(
    ("columns", "fields", "expected"),
    [
        ("price 1;price n", "0.10;0.10", ""),
        ("price 1;price n", "0.20;0.10", "one price a minute"),
        ("price;first increment;next increment", "0.10;60;1", ""),
        ("price;first increment;increment;next increment", "0.10;60;60/1;1", ""),
        ("price;first increment;increment;next increment", "0.10;60;30/6;1", "the same in all columns"),
        ("price;first increment;next increment", "0.10;0;", "seconds of each further increment"),
    ],
)
def test_what_two_columns_say_of_one_thing_must_agree(columns: str, fields: str, expected: str) -> None:
    text = f"prefix;{columns}\n32;{fields}\n"
    if expected:
        with pytest.raises(ConfigError, match=expected):
            row_of(text)
    else:
        assert row_of(text) is not None


def test_a_cache_that_is_bound_to_a_folder_reads_what_is_there_and_what_it_is_told_besides(tmp_path: Path) -> None:
    folder = tmp_path / "tariff"
    folder.mkdir()
    inside, used, other, link = folder / "a.csv", tmp_path / "used.csv", tmp_path / "other.csv", folder / "link.csv"
    for file in (inside, used, other):
        file.write_text("prefix;price\n32;0.05\n")
    link.symlink_to(other)
    cache = DeckCache(below=folder, besides=[used]).copy()
    assert [len(cache(file).deck) for file in (inside, used)] == [1, 1]
    for file in (other, link, folder / ".." / "other.csv"):
        with pytest.raises(ConfigError, match="a deck elsewhere"):
            cache(file)
