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
    # digits that spaces or commas part
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
