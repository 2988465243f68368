"""What in a subject is a telephone number and what is none: a wrong find sends a document to a stranger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.tariff.written_numbers import written_numbers

ONE = frozenset({"+31201112222"})
OTHER = frozenset({"+31207654321"})
NONE: frozenset[str] = frozenset()


def found(text: str, region: str = "NL") -> frozenset[str]:
    return written_numbers(text, region)


@pytest.mark.parametrize(
    "written",
    [
        "+31201112222",
        "+31 20 111 2222",
        "+31 20 111 22 22",
        "+31-20-1112222",
        "+31 (0)20 1112222",
        "+31 (20) 111 22 22",
        "0031201112222",
        "0031 20 1112222",
        "0201112222",
        "020-1112222",
        "020 - 111 22 22",
        "020 111 22 22",
        "020/111 22 22",
        "020.111.22.22",
        "(020) 1112222",
    ],
)
@pytest.mark.parametrize("text", ["{}", "Fax {}.", "Offerte naar {}, spoed", "fax:{}", "Fwd: <{}>", "({})", "x {}: y"])
def test_number_is_found_however_it_is_written(written: str, text: str) -> None:
    assert found(text.format(written)) == ONE


@pytest.mark.parametrize(
    ("none", "one"),
    [
        ("Factuur 12345678", "Factuur +31201112222"),
        ("Invoice 2026112233", "Invoice 0201112222"),
        ("Invoice 201112222", "Invoice 0201112222"),
        ("Invoice 31201112222", "Invoice +31201112222"),
        ("Fax to 14020", "Fax to 020-1112222"),
        ("Offerte 2026-11-22", "Offerte 2026-11-22 020-1112222"),
        ("d.d. 22-11-2026", "Fax to 020-1112222 d.d. 22-11-2026"),
        ("d.d. 2026/11/22", "Fax to 020-1112222 d.d. 2026/11/22"),
        ("01-02-2026", "020-1112222 01-02-2026"),
        ("F-0201112222", "F 0201112222"),
        ("fax0201112222", "fax+31201112222"),
        ("INV0201112222", "INV: 0201112222"),
        ("order #0201112222", "order 5: 0201112222"),
        ("2026/0201112222", "2026/1 0201112222"),
        ("0201112222/2026", "0201112222, 2026"),
        ("0201112222-A", "0201112222 A"),
        ("0201112222.5", "0201112222."),
        ("020-111222", "020-1112222"),
        ("020-11122223", "020-1112222 (3)"),
        ("+3120111222", "+31201112222"),
        ("020-1112222 ext 5", "020-1112222 (5 pages)"),
        ("+31201112222 x5", "+31201112222, 5 pages"),
        ("+31 20 1112222-33", "+31 20 1112222"),
        ("KvK 01234567", "KvK 01234567, fax 020-1112222"),
        ("BTW NL001234567B01", "BTW NL001234567B01 fax 020-1112222"),
        ("0201112222#", "0201112222!"),
    ],
)
def test_order_numbers_dates_and_numbers_that_cannot_be_are_none(none: str, one: str) -> None:
    assert (found(none), found(one)) == (NONE, ONE)


@pytest.mark.parametrize("hours", ["08.00-10.00", "08.00 - 10.00 uur", "09:00-10:30", "0800-1000", "0900-1234"])
def test_hours_are_no_number_of_a_service(hours: str) -> None:
    assert found(f"Open {hours}") == NONE
    for international in ("+31 800 1000", "0031 800 1000"):
        assert found(f"Open {international}") == frozenset({"+318001000"})


@pytest.mark.parametrize(
    ("region", "moment", "number"),
    [
        ("BE", "01-01-2026 1", "010 12 02 61"),
        ("DE", "02-01-2026", "0201 2026"),
        ("AT", "03.11.2026 (2)", "03 112026"),
        ("DE", "02.30-11.15", "02301 115"),
        ("AT", "01.30 - 11.15 h", "01301115"),
    ],
)
def test_date_and_hours_with_as_many_digits_as_a_number_are_none(region: str, moment: str, number: str) -> None:
    assert (found(f"Date {moment}", region), len(found(number, region))) == (NONE, 1)


@pytest.mark.parametrize(
    "text",
    [
        "+31201112222 or +31207654321",
        "020-1112222 en 020-7654321",
        "+31201112222, 0207654321",
        "fax van 020-1112222 naar 020-7654321",
    ],
)
def test_two_numbers_are_two(text: str) -> None:
    assert found(text) == ONE | OTHER


@pytest.mark.parametrize("between", ["+", "/+", "/", "-"])
def test_of_two_numbers_in_one_word_neither_is_taken(between: str) -> None:
    assert found(f"+31201112222{between}31207654321") == NONE


def test_same_number_written_twice_is_one() -> None:
    assert found("0201112222 (+31 20 1112222)") == ONE


def test_number_that_may_end_in_two_places_is_two() -> None:
    """German numbers differ in length: the 2 may count pages."""
    assert len(found("+49 30 123456 2")) == 2
    assert found("+49 30 1234562") == frozenset({"+49301234562"})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+33 1 23 45 67 89", "+33123456789"),
        ("0032 2 555 12 12", "+3225551212"),
        ("+44 (0) 20 7946 0958", "+442079460958"),
        ("+1 (212) 555-0123", "+12125550123"),
        ("+49 30/123456-0", "+49301234560"),
    ],
)
def test_number_abroad_is_found(text: str, number: str) -> None:
    assert found(text) == frozenset({number})


def test_national_number_is_read_in_its_country() -> None:
    assert (found("02 555 12 12", "BE"), found("02 555 12 12", "NL")) == (frozenset({"+3225551212"}), NONE)


@given(st.text("123456789 -/.()a", max_size=60))
def test_without_a_plus_or_a_zero_there_is_no_number(text: str) -> None:
    assert found(text) == NONE


@given(st.text(max_size=60))
def test_text_of_any_characters_is_read(text: str) -> None:
    assert all(number.startswith("+") for number in found(text))
