"""A number that is stored, priced and refused is the number that is dialled, in every country."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberFormat

from charging.pricing.rate import Rate
from charging.tariff.file import load_tariff
from charging.tariff.numbering import country_code_of, expected, has_trunk_zero, is_certain
from charging.tariff.tariff import Refusal, Tariff
from tests.unit.tariff.tariffs import SHIPPED, changed, small

AT_US = 1_793_790_000_000_000
COUNTRIES = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
TRUNKS = (
    *"0 00 000 8 88 1 11 06 01 02 9 90 9090 15 0115 044 119 215 17911 1832 10010 1911 1500 180020".split(),
    *("(0)", "(0)(0)", "0-0"),
)
"""Trunk prefixes and carriers' codes of the world, once and twice."""
KINDS = "fixed_line mobile toll_free premium_rate shared_cost personal_number voip pager uan voicemail".split()


@pytest.fixture(scope="module")
def tariff(tmp_path_factory: pytest.TempPathFactory) -> Tariff:
    return small(tmp_path_factory.mktemp("tariff"))


def examples(kinds: list[str] = KINDS) -> Iterator[tuple[str, str]]:
    """A region and a number of it, for each kind that it has."""
    for code, regions in COUNTRIES.items():
        for region in regions:
            of_region = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            described = (getattr(of_region, kind) for kind in kinds)
            yield from ((region, f"+{code}{one.example_number}") for one in described if one and one.example_number)


def read_again(number: str) -> str:
    return phonenumbers.format_number(phonenumbers.parse(number), PhoneNumberFormat.E164)


@given(
    st.sampled_from(sorted(COUNTRIES)), st.sampled_from(["", *TRUNKS]), st.from_regex(r"[0-9]{2,13}", fullmatch=True)
)
def test_what_a_number_is_read_as_is_read_as_itself(tariff: Tariff, code: int, trunk: str, rest: str) -> None:
    """So nothing is priced in one spelling and dialled in another, whatever the network takes away."""
    for written in (f"+{code} {trunk} {rest}", f"00{code}{trunk}{rest}", trunk + rest):
        number = tariff.normalise(written)
        if number is not None:
            assert tariff.normalise(number) == number
            assert is_certain(number)
            assert not number.startswith("+") or read_again(number) == number


def test_no_country_has_a_number_that_is_read_twice_in_two_ways(tariff: Tariff) -> None:
    chance = random.Random(16)
    for code in COUNTRIES:
        for trunk in ["", *TRUNKS]:
            digits = "".join(chance.choice("0123456789") for _ in range(chance.randint(4, 11)))
            number = tariff.normalise(f"+{code}{trunk}{digits}")
            assert number is None or tariff.normalise(number) == number, (code, trunk, digits)


def test_a_number_of_every_country_and_kind_is_taken_as_it_is(tariff: Tariff) -> None:
    for region, number in examples():
        assert tariff.normalise(number) == number, region
        assert is_certain(number), region


def test_the_number_in_brackets_that_people_write_is_taken(tariff: Tariff) -> None:
    """+44 (0)20 …: once, where the country dials a 0 within itself."""
    for region, number in examples(["fixed_line", "mobile"]):
        code = phonenumbers.parse(number).country_code or 0
        of_region = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if of_region and of_region.national_prefix_for_parsing == "0":  # elsewhere a carrier's code may follow it
            written = f"+{code} (0){number.removeprefix(f'+{code}')}"
            assert tariff.normalise(written) == number, (region, written)


def test_a_second_zero_is_refused_in_every_country_that_dials_one(tariff: Tariff) -> None:
    for region, number in examples():
        if phonenumbers.ndd_prefix_for_region(region, True) == "0":
            code = phonenumbers.parse(number).country_code
            assert tariff.normalise(f"+{code}00{number.removeprefix(f'+{code}')}") is None, (region, number)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+39 06 6982 1234", "+390669821234"),  # Rome: the 0 is the number's
        ("+39 02 1234 5678", "+390212345678"),
        ("+39 347 123 4567", "+393471234567"),
        ("+378 0549 886377", "+3780549886377"),
        ("+225 01 23 45 67 89", "+2250123456789"),
        ("+241 06 03 12 34", "+24106031234"),
        ("+242 06 123 4567", "+242061234567"),
        ("+229 01 95 12 34 56", "+2290195123456"),
        ("+267 0800 012345", "+2670800012345"),
        ("+47 02000", "+4702000"),
        ("+7 800 123 45 67", "+78001234567"),  # an 8, and no trunk prefix
        ("+7 812 123 45 67", "+78121234567"),
        ("+375 801 123 4567", "+3758011234567"),
        ("+370 800 12345", "+37080012345"),
        ("+1 212 555 0123", "+12125550123"),
        ("+1 (1) 212 555 0123", "+12125550123"),
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+49 (0)30 123456", "+4930123456"),
        ("+43 (0)1 234 5678", "+4312345678"),
        ("+36 (06) 1 234 5678", "+3612345678"),
        ("+54 9 11 2345-6789", "+5491123456789"),
        ("+52 55 1234 5678", "+525512345678"),
        ("+55 11 96123-4567", "+5511961234567"),
        ("+86 10 1234 5678", "+861012345678"),
        ("+81 3 1234 5678", "+81312345678"),
        ("+353 1 234 5678", "+35312345678"),
        ("+31 (0)6 12345678", "+31612345678"),
        ("0031 (0)6 12345678", "+31612345678"),
    ],
)
def test_numbers_as_people_write_them_are_read_and_then_stay(tariff: Tariff, written: str, number: str) -> None:
    assert tariff.normalise(written) == number
    assert tariff.normalise(number) == number


@pytest.mark.parametrize(
    ("written", "code", "left"),
    [
        ("+31 00 252 7123456", "+31", "0"),  # would be dialled as 00 252 7123456: Somalia
        ("003100 252 7123456", "+31", "0"),
        ("+31(0)(0)252 7123456", "+31", "0"),
        ("+31 00 53 7123456", "+31", "0"),
        ("+31 00 900 123456", "+31", "0"),  # a premium number, once both are taken away
        ("+31 00 85 0000001", "+31", "0"),
        ("+3101234", "+31", "0"),
        ("+44 00 900 123456", "+44", "0"),
        ("+49 00 900 1234567", "+49", "0"),
        ("+33 00 89 123456", "+33", "0"),
        ("+34 00 2527123", "+34", "0"),  # Spain dials no 0 within itself: it would be dialled just so
        ("+39 00 252 71234", "+39", "0"),
        ("+86 0 11184 4430336", "+86", "11184"),
        ("+375 8 88 1234567", "+375", "8"),
    ],
)
def test_what_is_left_between_the_country_and_the_number_is_refused_and_named(
    tariff: Tariff, written: str, code: str, left: str
) -> None:
    assert tariff.normalise(written) is None
    words = f"the number itself behind {code}, without the {left} that stands between them"
    assert expected(written, tariff.region) == words


@pytest.mark.parametrize("number", ["+3102527123456", "+310900123456", "+310850000001", "+34002527123"])
def test_a_stored_number_that_is_no_certain_one_has_no_price(tariff: Tariff, number: str) -> None:
    assert not is_certain(number)
    assert tariff.rate_for("light", number, AT_US) is Refusal.NOT_A_NUMBER
    assert tariff.fax_page_for("light", number, AT_US) is Refusal.NOT_A_NUMBER


DEAR = ["premium_rate", "personal_number", "shared_cost", "pager"]
RESTS = ("1234567890123", "2222222222222", "5555555555555", "9990000000000")
"""Whatever follows the first four digits of some number of a kind, one of these does."""


REGIONS = "NL BE FR ES LU IE IT AT GB IM DK SE NO PL DE PT FI US CA".split()


def of_every_head(code: int, region: str, kinds: list[str], digits: int = 4) -> Iterator[str]:
    """A number of each of these kinds of a country for each so many digits with which one begins."""
    described = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    for one in (getattr(described, kind) for kind in kinds):
        if one is None or not one.national_number_pattern:
            continue
        pattern = re.compile(one.national_number_pattern)
        for length, head in product(one.possible_length, range(10**digits)):
            found = (f"{head:0{digits}d}{rest[: length - digits]}" for rest in RESTS)
            yield from (f"+{code}{national}" for national in islice(filter(pattern.fullmatch, found), 1))


def test_the_shipped_tariff_prices_no_premium_personal_shared_cost_or_pager_number() -> None:
    """By the examples of the numbering plans. Some of them stood at nine cents, and in the free minutes of a plan."""
    shipped = load_tariff(SHIPPED)
    priced = {number for _, number in examples(DEAR) if isinstance(shipped.rate_for("voice_pro", number, AT_US), Rate)}
    assert priced == set()


@pytest.mark.parametrize("region", REGIONS)
def test_the_shipped_tariff_prices_no_mobile_as_a_fixed_number(region: str) -> None:
    """Those of six countries stood at the price of fixed ones, and in the free minutes of a plan."""
    shipped, code = load_tariff(SHIPPED), phonenumbers.country_code_for_region(region)
    fixed = set()
    for number in of_every_head(code, region, ["mobile"]):
        if phonenumbers.number_type(phonenumbers.parse(number)) is phonenumbers.PhoneNumberType.MOBILE:
            found = shipped.destination_of(number)
            if found is not None and found[1].name in ("nl_fixed", "eu_fixed"):
                fixed.add(number[: len(str(code)) + 5])
    assert fixed == set()


PRICED_ALIKE = {"CA", "AX", "SJ"}
"""Lands under another's country code to which carriers take what they take to that one."""


@pytest.mark.parametrize(
    ("code", "region"),
    [(code, one) for code in (1, 39, 44, 47, 358) for one in COUNTRIES[code][1:] if one not in PRICED_ALIKE],
)
def test_the_shipped_tariff_prices_no_land_as_another_that_shares_its_country_code(code: int, region: str) -> None:
    """Guernsey, Jersey and Man stood at the price of a British mobile; carriers take several times as much."""
    shipped, areas = load_tariff(SHIPPED), PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if code == 1 and areas is not None and areas.leading_digits:
        known = {f"+{code}{one}5550100" for one in range(200, 1000) if re.fullmatch(areas.leading_digits, str(one))}
    else:
        numbers = of_every_head(code, region, ["fixed_line", "mobile"], digits=5)
        known = {one for one in numbers if phonenumbers.region_code_for_number(phonenumbers.parse(one)) == region}
    owners = ((number, shipped.destination_of(number)) for number in known)
    assert {number for number, owner in owners if owner is not None and owner[1].refuse is None} == set()
    assert known


def test_every_country_code_that_the_shipped_tariff_prices_and_lands_share_is_looked_at() -> None:
    destinations = load_tariff(SHIPPED).destinations.values()
    priced = {country_code_of(prefix) for one in destinations if one.refuse is None for prefix in one.prefixes}
    shared = {code for code in priced if code is not None and len(COUNTRIES[code]) > 1}
    assert shared == {1, 39, 44, 47, 358}


@pytest.mark.parametrize(
    ("number", "beside"),
    [
        ("+390549886377", "+390547612345"),  # San Marino, and Cesena beside it
        ("+390669812345", "+390669712345"),  # the Vatican, and Rome
        ("+31676123456", "+31681234567"),  # dial-in services of the Netherlands, and a mobile
        ("+31871234567", "+31851234567"),
        ("+18675550100", "+16045550100"),  # Yukon, and Vancouver
        ("+18085550100", "+12125550123"),
        ("+19075550100", "+12125550123"),
        ("+445612345678", "+441632960123"),  # British numbers of the internet and of companies
        ("+445512345678", "+442079460958"),
    ],
)
def test_the_shipped_tariff_prices_no_range_that_carriers_price_by_itself(number: str, beside: str) -> None:
    """What the numbering plan's metadata do not tell apart."""
    shipped = load_tariff(SHIPPED)
    assert shipped.rate_for("voice_pro", number, AT_US) is Refusal.BLOCKED
    assert isinstance(shipped.rate_for("voice_pro", beside, AT_US), Rate)


@pytest.mark.parametrize("region", REGIONS)
def test_the_shipped_tariff_prices_none_whatever_digits_it_begins_with(region: str) -> None:
    """An example is one number of a kind. Belgium's begins with 90, and its 70 costs as much."""
    shipped, code = load_tariff(SHIPPED), phonenumbers.country_code_for_region(region)
    priced = set()
    for number in of_every_head(code, region, DEAR):
        owner = shipped.destination_of(number)
        if owner is not None and owner[1].refuse is None:
            priced.add(number[: len(str(code)) + 5])
    assert priced == set()


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *((one, None) for one in ("+44 118 500", "+44 118118", "+46 118118", "+49 11833", "+353 11811", "+358 12000")),
        *((one, None) for one in ("+49 110", "+49 112", "+43 112", "+43 144")),  # emergency numbers
        *((one, None) for one in ("+1 555 1234", "+1 212 976 1234", "+1 604 976 0000", "+1 212 555 1212")),
        ("+44 118 912 3456", "+441189123456"),  # Reading
        ("+1 212 555 0123", "+12125550123"),
        ("+1 212 975 1234", "+12129751234"),
        ("+1 976 212 1234", "+19762121234"),
        ("+31 14 020", "+3114020"),  # reached from abroad, too
        ("+47 02000", "+4702000"),
        ("+298 201234", "+298201234"),
        ("+290 22158", "+29022158"),
        ("+352 2612", "+3522612"),
    ],
)
def test_what_is_reached_within_its_country_alone_is_no_number(
    tariff: Tariff, written: str, number: str | None
) -> None:
    """British directory enquiries cost nine euro a call, and stood at nine cents."""
    assert tariff.normalise(written) == number
    digits = written.replace(" ", "")
    assert is_certain(digits) is (number is not None)
    if number is None:
        assert expected(written, tariff.region) == f"a number that is reached from abroad, which {digits} is not"
        assert tariff.rate_for("light", digits, AT_US) is Refusal.NOT_A_NUMBER


def test_the_shipped_tariff_prices_ordinary_numbers_as_before() -> None:
    shipped = load_tariff(SHIPPED)
    regions = "NL BE FR ES LU IE IT AT GB DK SE NO PL DE PT FI US CA".split()
    ordinary = [number for region, number in examples(["fixed_line", "mobile"]) if region in regions]
    refused = [one for one in ordinary if not isinstance(shipped.rate_for("voice_pro", one, AT_US), Rate)]
    assert refused == []
    assert len(ordinary) == 2 * len(regions)


@pytest.mark.parametrize(
    ("destinations", "told"),
    [
        ('nl: {prefixes: ["+31"]}', ["+319061234 (premium)", "+31662345678 (pager)"]),
        ('nl: {prefixes: ["+31"]}\n  dear: {prefixes: ["+31906", "+3166"]}', []),
        ('nl: {prefixes: ["+31"]}\n  dear: {prefixes: ["+31906", "+3166"], refuse: premium}', []),
        ('nl: {prefixes: ["+316"]}', ["+31662345678 (pager)"]),
    ],
    ids=["with ordinary numbers", "priced by themselves", "refused", "mobile alone"],
)
def test_a_tariff_that_prices_dear_services_as_ordinary_numbers_is_warned_of(
    tmp_path: Path, destinations: str, told: list[str]
) -> None:
    """Lists of what is refused are never complete: at check it costs nothing, at the carrier's bill it does."""
    dear = "      dear: {price: 2.00}\n" if "dear: {prefixes" in destinations and "refuse" not in destinations else ""
    text = f"""\
revision: dear-1
zone: Europe/Amsterdam
region: NL
vat: {{percent: 21, included: yes}}
destinations:
  {destinations}
rates:
  standard:
    destinations:
      nl: {{price: 0.05}}
{dear}plans:
  light: {{rates: standard, paid_subscription: yes, voicemail: {{paid: no}}}}
"""
    warnings = [one for one in small(tmp_path, text).warnings if one.found.startswith("a price that is also")]
    assert [one.path for one in warnings] == (["destinations.nl.prefixes"] if told else [])
    assert all(number in warnings[0].found for number in told)


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        *(("+310", True), ("+3106", True), ("+440", True)),
        *((one, False) for one in ("+316", "+3906", "+2250", "+8000")),
    ],
)
def test_a_prefix_with_the_zero_of_calls_within_its_country_is_known(prefix: str, told: bool) -> None:
    assert has_trunk_zero(prefix) is told


def test_no_example_of_the_worlds_numbers_begins_with_a_prefix_that_is_warned_of() -> None:
    for _, number in examples():
        assert not any(has_trunk_zero(number[:length]) for length in range(2, len(number))), number


def test_prefixes_that_no_number_has_are_warned_of_in_the_file_and_its_decks(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix;price\n+3320;0.10\n+3306;0.10\n+34;0.10\n", encoding="utf-8")
    text = changed('["+316"]', '["+3106", "+316"]').replace(
        "    fax_page: 0.08", "    decks: [deck.csv]\n    fax_page: 0.08"
    )
    told = {one.path: one.found for one in small(tmp_path, text).warnings if "without that zero" in one.expected}
    assert told == {
        "destinations.nl_mobile.prefixes[0]": "+3106, with the zero of calls within the country, which no number has",
        "rates.standard.decks[0]": "1 prefixes with the zero of calls within the country, such as +3306",
    }
