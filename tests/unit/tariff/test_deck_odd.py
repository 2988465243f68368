"""Rate decks: what may be money or time is understood or refused, wherever it stands; nothing else is in the way."""

from __future__ import annotations

from datetime import date

import pytest

from charging.errors import ConfigError
from charging.tariff.deck import DeckRow
from charging.tariff.deck_file import parse_deck


def _row_of(text: str) -> DeckRow | None:
    return parse_deck(text.encode(), "deck.csv").deck.match("+3221234567", date(2026, 11, 15))


UNDERSTOOD_OR_REFUSED = [
    # a decimal comma moves what follows it into the next column
    ("prefix,name,price,currency\n32,0,05,EUR\n", "a whole number before another one, in 1 rows"),
    ("prefix,increments,price\n32,1,60\n", "a whole number before another one, in 1 rows"),
    # prices of another unit, said in words
    ("prefix,price,unit\n32,0.001,second\n", "'second'"),
    ("prefix,price,per\n32,0.05,call\n", "'call'"),
    ("prefix,price,rate type\n32,0.001,per second\n", "'per second' in a column that is not known"),
    ("prefix,price,mode\n32,0.05,/call\n", "'/call' in a column that is not known"),
    ("prefix,price,remarks\n32,0.05,price per call\n", "'price per call'"),
    # words for money or time in a column that is not known
    ("prefix,price,rounding\n32,0.05,down\n", "'down' in a column that is not known"),
    ("prefix,price,grace\n32,0.05,five\n", "'five' in a column that is not known"),
    ("prefix,price,money\n32,0.05,USD\n", "'USD' in a column that is not known"),
    ("prefix,price,info\n32,0.05,cents\n", "'cents' in a column that is not known"),
    ("prefix,price,notes\n32,0.05,plus 0.10 setup\n", "'plus 0.10 setup'"),
    ("prefix,price,comment\n32,0.05,valid until 1 Dec\n", "'valid until 1 Dec'"),
    # a column whose name was merged with its neighbour's, or forgotten
    ("prefix,,price\n32,0.10,0.05\n", "'0.10' in a column without a name"),
    ("prefix;price;;name\n32;0,05;0,03;Belgium\n", "'0,03' in a column without a name"),
    # rows that are no offer
    ("prefix,price,status\n32,0.05,inactive\n", "'inactive'"),
    ("prefix,price,active\n32,0.05,N\n", "'N'"),
    ("prefix,price,enabled\n32,0.05,0\n", "'0'"),
    ("prefix,price,available\n32,0.05,no\n", "'no'"),
    ("prefix,price,change\n32,0.05,Deleted\n", "'Deleted'"),
    ("prefix,price,direction\n32,0.05,inbound\n", "'inbound'"),
    ("prefix,price,remarks\n32,0.05,not available\n", "'not available'"),
    # thousands
    ('prefix,price\n32,0.05\n33,"1,234"\n', "'1,234' where other prices have their decimals behind the other sign"),
    ('prefix,price\n33,"1,234"\n32,0.05\n', "'1,234' where other prices have their decimals behind the other sign"),
    ("prefix;price\n32;0,05\n33;1.234\n", "'1.234' where other prices have their decimals behind the other sign"),
    # what is said beside the rows
    ("Prices in eurocent\nprefix,price\n32,5\n", "'Prices in eurocent' before the columns"),
    ("Prices per second\nprefix,price\n32,0.001\n", "'Prices per second' before the columns"),
    ("Effective 2026-12-01\nprefix,price\n32,0.05\n", "'Effective 2026-12-01' before the columns"),
    ("All billed 30/6, setup 0.05\nprefix,price\n32,0.05\n", "'All billed 30/6, setup 0.05' before the columns"),
    ("prefix,price\n32,0.05\n# all in USD\n33,0.06\n", "'# all in USD' between the rows"),
    ("prefix,price\n32,0.05\n# surcharge 0.10 to mobiles\n", "'# surcharge 0.10 to mobiles' between the rows"),
    ("prefix,price\n32,0.05\n# rows: 1\n33,0.06\n", "'# rows: 1' before further rows"),
    # amounts, increments and days in words beside the price, and in the name
    ("prefix,price,notes\n32,0.05,off-peak 0.03\n", "'off-peak 0.03'"),
    ("prefix,price,notes\n32,0.05,€1 at weekends\n", "'€1 at weekends'"),
    ("prefix,price,change\n32,0.05,increase to 0.07\n", "'increase to 0.07'"),
    ("prefix,price,level\n32,0.50,0.60\n", "'0.60'"),
    ("prefix,country,price\n32,0.05,0.50\n", "'0.05'"),
    ("prefix,price,notes\n32,0.05,60/60\n", "'60/60'"),
    ("prefix,price,notes\n32,0.05,min. 30 s\n", "'min. 30 s'"),
    ("prefix,price,opmerking\n32,0.05,nieuw vanaf 1 januari\n", "'nieuw vanaf 1 januari'"),
    ("prefix,price,notes\n32,0.05,starting Dec\n", "'starting Dec'"),
    *(
        (f"prefix,price,notes\n32,0.05,from {month}\n", f"'from {month}'")
        for month in (
            "Jan",
            "1 february",
            "mrt",
            "March 1",
            "april",
            "Mei",
            "june",
            "juli",
            "1-augustus",
            "Sept",
            "Nov26",
        )
    ),
    ("prefix,price,change\n32,0.05,+5.25% EUR\n", "'+5.25% EUR'"),
    ("prefix,price,notes\n32,0.05,surcharge 5.25%\n", "'surcharge 5.25%'"),
    ("prefix,name,price\n32,Belgium (per call),0.50\n", "'Belgium (per call)'"),
    ("prefix,name,price\n32,Belgium setup 0.10,0.50\n", "'Belgium setup 0.10'"),
    # to whom, and for what, a price is due
    ("prefix,price,origin\n32,0.05,EEA\n", "'EEA' in a column that is not known"),
    ("prefix,type,price\n32,SMS,0.01\n", "'SMS'"),
    ("prefix,product,price\n32,toll-free inbound,0.01\n", "'toll-free inbound'"),
    # whether VAT is in the prices says the tariff alone
    ("Prices excluding VAT\nprefix,price\n32,0.05\n", "'Prices excluding VAT' before the columns"),
    ("Prijzen excl. btw\nprefix;prijs\n32;0,05\n", "'Prijzen excl. btw' before the columns"),
    ("Nettopreise\nNetto\nprefix;price\n32;0,05\n", "'Nettopreise Netto' before the columns"),
    ("prefix,price\n32,0.05\n# prices exclude VAT\n", "'# prices exclude VAT' between the rows"),
    ("prefix,price,notes\n32,0.05,plus VAT\n", "'plus VAT'"),
    ("prefix,price,info\n32,0.05,ex btw\n", "'ex btw' in a column that is not known"),
    ("prefix,name,price\n32,Belgium excl. btw,0.05\n", "'Belgium excl. btw'"),
    # at which hours, and on which days
    ("prefix,price,type\n32,0.05,peak\n", "'peak'"),
    ("prefix,price,category\n32,0.05,Weekend\n", "'Weekend'"),
    ("prefix,price,days\n32,0.05,Mon-Fri\n", "'Mon-Fri' in a column that is not known"),
    ("prefix,price,slot\n32,0.05,weekdays\n", "'weekdays' in a column that is not known"),
    ("prefix,name,price\n32,Belgium off-peak,0.05\n", "'Belgium off-peak'"),
    ("prefix,price\nWeekend,\n32,0.05\n", "'Weekend' between the rows"),
    # increments in the name, seconds and dates in a remark
    ("prefix,name,price\n32,Belgium 30/6,0.05\n", "'Belgium 30/6'"),
    ("prefix,price,notes\n32,0.05,first 30 sec\n", "'first 30 sec'"),
    ("prefix,price,notes\n32,0.05,mobile 0.3\n", "'mobile 0.3'"),
    ("prefix,price,notes\n32,0.05,now 0.05.\n", "'now 0.05.'"),
    ("prefix,price,notes\n32,0.05,2026-12-01\n", "'2026-12-01'"),
    ("prefix,price,change\n32,0.05,increase 1 Dec 2026\n", "'increase 1 Dec 2026'"),
    # a name that is the prefix, where the other one is a carrier's own; or a second price
    ("prefix,destination,price\n32,3212,0.05\n", "'3212'"),
    ("prefix,name,price\n32,0.07,0.05\n", "'0.07'"),
    # words between the rows
    ("prefix,name,price\n32,B,0.05\nDiscontinued codes:,,\n33,F,0.05\n", "'Discontinued codes:' between the rows"),
    ("prefix,name,price\n,,ct/min\n32,B,5\n", "'ct/min' between the rows"),
    ("prefix,name,price\n,,sec\n32,B,0.001\n", "'sec' between the rows"),
    # prices and dates as others write them
    ("prefix,price\n32,N/A\n", "'N/A'"),
    ("prefix;price\n32;5E-02\n", "'5E-02'"),
    ("prefix,price,effective\n32,0.05,46357\n", "'46357'"),
    ("prefix,price,effective\n32,0.05,01-Dec-26\n", "'01-Dec-26'"),
    ("prefix,price,effective\n32,0.05,1 maybe 2026\n", "'1 maybe 2026'"),
    ("prefix,price,effective\n32,0.05,2026-12-01T00:00:00Z\n", "'2026-12-01T00:00:00Z'"),
    ("prefix,price,stopdate\n32,0.05,2036-01-01 00:00:00\n", "'2036-01-01 00:00:00'"),
    ("prefix,price,rateunit\n32,0.05,1s\n", "'1s'"),
    # digits that spaces or commas part
    ("prefix,price\n32 33 34,0.05\n", "'32 33 34'"),
    ("prefix,price\n31 32,0.05\n", "'31 32'"),
    ("prefix,price,increments\n32,0.05,6 1\n", "'6 1'"),
    ("prefix,price\n321 322,0.05\n", "'321 322'"),
    ('prefix,price\n"3212,13,14",0.05\n', "'3212,13,14'"),
    ('prefix;price\n"321,2,3";0,05\n', "'321,2,3'"),
]


@pytest.mark.parametrize(("text", "found"), UNDERSTOOD_OR_REFUSED, ids=[one[0][-40:] for one in UNDERSTOOD_OR_REFUSED])
def test_what_may_be_money_or_time_is_never_passed_over(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_deck(text.encode(), "deck.csv")
    assert found in [problem.found for problem in error.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "prefix,price,unit\n32,0.05,minute\n",
        "prefix,price,per\n32,0.05,EUR/min\n",
        "prefix,price,per\n32,0.05,\n",
        "prefix,price,rate type\n32,0.05,per minute\n",
        "prefix,price,discount,seconds\n32,0.05,none,0.00\n",
        "prefix,price,active,enabled\n32,0.05,Y,TRUE\n",
        "prefix,price,status\n32,0.05,active\n",
        "prefix,price,change,notes\n32,0.05,increase,new in 2026!\n",
        "prefix,price,#notes\n32,0.05,plus 0.10 setup per call\n",
        "prefix,,price,\n32,,0.05,\n",
        "Price list of ACME\nprefix,price\n32,0.05\n# end of list\n",
        "prefix,price,origin,notes,asr,version\n32,0.05,all,support 24/7,56.25,1.25\n",
        "prefix,price,change,quality\n32,0.05,-5.25%,99.50 %\n33,0.05,+12%,100%\n",
        "prefix,price,notes\n32,0.05,parted from Mayotte\n33,0.05,as of Marseille\n34,0.05,since Decatur left\n",
        'prefix,price\n"32,+1,0031",0.05\n',
        "prefix,price\n 32 ,0.05\n   ,  \n",
        "prefix,price\n32 3,0.07\n32,0.05\n",
        "prefix,price\n32,0.05\n00 32 3,0.05\n",
        "prefix|price\n32|0,05\n",
        "prefix|price\n31;32|0,05\n",
        "prefix,Rate (EUR)\n32,0.05\n",
        "prefix;Price [€/min]\n32;0,05\n",
        "prefix;Preis in Euro;price per minute\n32;;0,05\n",
        "prefix,price,currency\n32,Eur 0.05,978\n",
        "prefix,rate,rateunit,connectfee\n32,0.05,60s,0\n",
        'prefix;price\n="32";0,05\n',
        "prefix,price,stopdate\n32,0.05,NULL\n",
        "prefix,price,end date\n32,0.05,0000-00-00 00:00:00\n",
        "Destination|Code|Price\nEurope||\nBelgium|32|0.05\nDestination|Code|Price\nFrance|33|0.06\nConfidential||\n",
        "prefix,price,notes\n32,0.05,ASR 55.50%\n33,0.05,checked 1.11.2026\n34,0.05,v2.10 of the list\n",
        "prefix,price,notes\n32,0.05,one code per call centre\n33,0.05,connected via 2 switches\n",
        "prefix,price,network,region\n32,0.05,Mills Wireless,CT\n33,0.05,Cent Telecom,\n",
        "prefix,destination,price\n32,32,0.05\n",
        "prefix,destination,price\n32,+32,0.05\n",
        "prefix,destination,price\n0032,0032,0.05\n",
    ],
)
def test_what_changes_no_price_beside_one_is_read(text: str) -> None:
    row = _row_of(text)
    assert row is not None
    assert (row.prefix, row.price, row.first_s, row.connect_fee) == ("+32", 50_000, 60, 0)


@pytest.mark.parametrize("prices", [('"1,234"', '"0,05"'), ("1.234", "0.05"), ('"1,234"', '"2,345"')])
def test_three_decimals_are_decimals_where_the_file_has_no_other_sign(prices: tuple[str, str]) -> None:
    row = _row_of(f"prefix,price\n32,{prices[0]}\n33,{prices[1]}\n")
    assert row is not None
    assert row.price == 1_234_000


@pytest.mark.parametrize(
    "typed",
    [
        "2026/12/01",
        "20261201",
        "01-Dec-2026",
        "1 december 2026",
        "December 1, 2026",
        "2026-Dec-01",
        "2026-12-01T00:00:00.000",
        "1.12.2026 00:00",
    ],
)
def test_a_day_that_can_be_no_other_is_read(typed: str) -> None:
    text = f'prefix;price;effective\n32;0.05;"{typed}"\n'
    deck = parse_deck(text.encode(), "deck.csv").deck
    assert [row.valid_from for row in deck.rows("+32")] == [date(2026, 12, 1)]


@pytest.mark.parametrize("name", ["mrt", "maart", "mei", "okt", "Sept"])
def test_a_month_is_read_in_dutch_and_english(name: str) -> None:
    deck = parse_deck(f"prefix;price;effective\n32;0.05;2 {name} 2026\n".encode(), "deck.csv").deck
    months = {"mrt": 3, "maart": 3, "mei": 5, "okt": 10, "Sept": 9}
    assert [row.valid_from for row in deck.rows("+32")] == [date(2026, months[name], 2)]


@pytest.mark.parametrize("coding", ["utf-16", "utf-8-sig"])
def test_what_a_spreadsheet_saves_as_unicode_is_read(coding: str) -> None:
    assert _row_of("prefix\tname\tprice\n32\tBelgië\t0,05\n") is not None
    deck = parse_deck("prefix\tname\tprice\n32\tBelgië\t0,05\n".encode(coding), "deck.csv").deck
    assert [row.name for row in deck.rows("+32")] == ["België"]


def test_half_a_character_of_unicode_is_a_file_that_broke_off() -> None:
    with pytest.raises(ConfigError, match="half a character"):
        parse_deck("prefix\tprice\n32\t0,05\n".encode("utf-16")[:-1], "deck.csv")


@pytest.mark.parametrize("name", ["price (ct)", "price per second", "rate USD", "rate (mills)", "price excl vat"])
def test_a_price_in_another_unit_is_told_to_be_converted_and_not_only_renamed(name: str) -> None:
    """Who renamed the column, as the refusal advised, asked for a hundred times the price."""
    with pytest.raises(ConfigError) as error:
        parse_deck(f"prefix,{name}\n32,5\n".encode(), "deck.csv")
    assert {problem.hint.partition(":")[0] for problem in error.value.problems} == {
        "prices are in euros a minute, and the tariff says whether with VAT"
    }
