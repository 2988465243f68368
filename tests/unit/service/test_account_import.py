"""Accounts and numbers from a CSV file: all of it, or nothing."""

from __future__ import annotations

import pytest

from charging.errors import Problem
from charging.ledger.accounts import Account, Language, Number
from charging.service.account_import import Imported, ImportEvent, Progress, Warned
from charging.service.import_file import LINE_MAX, PART_BYTES_MAX, PART_ROWS, parts, read_rows
from charging.service.numbers import NumberChanges
from tests.fakes.effort import assert_linear
from tests.unit.service.conftest import Shop

GOOD = """account,plan,language,email,number,forward_to,paid_voicemail,mailbox
anna,light,nl,anna@example.nl,+31201234567,+31612345678,,
anna,light,nl,anna@example.nl,020-7654321,06 12345678,yes,7654321
bert,pro,en,,,,,
"""


async def run(shop: Shop, text: str | bytes, *, dry_run: bool = False) -> list[ImportEvent]:
    data = text.encode() if isinstance(text, str) else text
    return [one async for one in shop.service.imports.run(data, "f.csv", language=Language.NL, dry_run=dry_run)]


async def end(shop: Shop, text: str, *, dry_run: bool = False) -> Imported:
    last = (await run(shop, text, dry_run=dry_run))[-1]
    assert isinstance(last, Imported), last
    return last


async def problems(shop: Shop, text: str | bytes) -> list[str]:
    found = [str(one) for one in await run(shop, text) if isinstance(one, Problem)]
    assert [one async for one in shop.store.directory.accounts()] == []
    return found


async def test_accounts_and_numbers_are_made_and_a_repetition_makes_nothing(shop: Shop) -> None:
    assert await end(shop, GOOD) == Imported(2, 2, 0, 0, written=True)
    anna = await shop.store.directory.account("anna")
    assert anna is not None
    assert (anna.plan, anna.language, anna.email) == ("light", Language.NL, "anna@example.nl")
    assert anna.created_us == shop.clock.now().wall_us
    assert await shop.store.directory.number("+31207654321") == Number(
        "+31207654321", "anna", "+31612345678", True, "7654321"
    )
    assert await end(shop, GOOD) == Imported(0, 0, 2, 2, written=True)


async def test_a_dry_run_tells_the_same_and_writes_nothing(shop: Shop) -> None:
    assert await end(shop, GOOD, dry_run=True) == Imported(2, 2, 0, 0, written=False)
    assert await shop.store.directory.account("anna") is None
    assert await shop.store.directory.numbers() == []


async def test_progress_goes_from_checking_to_writing(shop: Shop) -> None:
    rows = "".join(f"a{number},light\n" for number in range(150))
    events = await run(shop, "account,plan\n" + rows)
    assert [(one.phase, one.done, one.of) for one in events if isinstance(one, Progress)] == [
        ("checking", 100, 150),
        ("checking", 150, 150),
        ("writing", 100, 150),
        ("writing", 150, 150),
    ]


ODD = """account,plan,number,forward_to
bert,light,+31201234568,+4930123456
anna,light,+31201234567,+31612345678
cora,light,+31201234569,+4930123456
"""


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_number_that_will_not_ring_is_warned_of_with_its_line(shop: Shop, dry_run: bool) -> None:
    warned = [one for one in await run(shop, ODD, dry_run=dry_run) if isinstance(one, Warned)]
    assert [(one.file, one.line, one.number) for one in warned] == [
        ("f.csv", 2, "+31201234568"),
        ("f.csv", 4, "+31201234569"),
    ]
    assert all("not_covered" in one.warning for one in warned)


async def test_semicolons_a_byte_order_mark_and_other_orders_of_columns_are_read(shop: Shop) -> None:
    assert (
        await end(shop, "\ufeffPlan;Account;E-mail\r\n".replace("E-mail", "email") + "light;anna;\r\n")
    ).accounts == 1


@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_what_a_spreadsheet_makes_of_a_file_is_read_as_a_decks(coding: str) -> None:
    text = 'account|plan|number|\n# of the north\nanna|light|="0201234567"|\naccount|plan|number|\nbert|light||\n'
    rows, found = read_rows(text.encode(coding), "f.csv", Language.NL)
    assert found == []
    assert [(row.line, row.account, row.number) for row in rows] == [(3, "anna", "0201234567"), (5, "bert", "")]
    assert [count for count, _ in parts(text.encode(coding))] == [2]


async def test_every_problem_is_told_with_its_place_and_nothing_is_written(shop: Shop) -> None:
    found = await problems(
        shop,
        "account,plan,language,email,number,forward_to,paid_voicemail,mailbox\n"
        "anna,gold,nl,,,,,\n"
        "Bert,light,nl,nobody,,,,\n"
        "carl,light,fr,,,,,\n"
        "dora,light,nl,,12,,,\n"
        "emma,light,nl,,+31201111111,+31900123456,,\n"
        "fred,light,nl,,+31202222222,+31201111111,,\n"
        "gina,light,nl,,+31203333333,,maybe,\n"
        'hugo,light,nl,"x\n'
        "ines,light\n"
        "jans,light,nl,,,+31612345678,,\n"
        "kees,light,nl,,+31201111111,,,\n"
        "lena,light,nl,,,,,\n",
    )
    text = "\n".join(found)
    assert "f.csv:2:6: plan: found 'gold', expected one of light, pro, free" in found
    assert "f.csv:3:1: account: found 'Bert', expected an account id" in text
    assert "f.csv:3:15: email: found 'nobody', expected a mail address" in text
    assert "f.csv:4:12: language: found 'fr', expected nl, en" in found
    assert "f.csv:5:16: number: found '12', expected a telephone number such as +31201234567" in found
    assert "f.csv:6:29: forward_to: found the tariff refuses calls to +31900123456 (premium)" in text
    assert "f.csv:7:29: forward_to: found +31201111111, a number of this file, expected a number elsewhere" in found
    assert "f.csv:8:30: paid_voicemail: found 'maybe'" in text
    assert "f.csv:9: found unexpected end of data, expected quotes that end in their own line" in found
    assert "f.csv:10: found 2 columns, expected 8, as in line 1" in found
    assert "f.csv:11:17: forward_to: found '+31612345678', expected nothing, since the line has no number" in found
    assert "f.csv:12:16: number: found +31201111111 again (line 6), expected each number once" in found
    assert [one.split(":")[1] for one in found] == sorted((one.split(":")[1] for one in found), key=int)
    assert not [one for one in found if one.startswith("f.csv:13")]


async def test_a_header_that_is_wrong_is_told_alone(shop: Shop) -> None:
    found = await problems(shop, "acount,plan,plan\nx,y,z\n")
    assert any("account" in one and "acount" in one for one in found)
    assert any("twice" in one for one in found)
    assert any("expected a column account" in one for one in found)
    assert "UTF-8" in (await problems(shop, b"account,plan\nJos\xe9,light\n"))[0]
    assert "f.csv:2: found the byte 0x00" in (await problems(shop, b"account,plan\nan\0na,light\n"))[0]
    assert "no account" in (await problems(shop, "account,plan\n"))[0]


async def test_lines_of_one_account_that_contradict_one_another_are_wrong(shop: Shop) -> None:
    found = await problems(shop, "account,plan\nanna,light\nanna,pro\n")
    assert found == ["f.csv:3:6: plan: found 'pro', expected 'light', as in line 2, of the same account"]


async def test_what_is_stored_otherwise_is_wrong_and_stays(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.service.numbers.add("anna", "+31201234567", NumberChanges(forward_to="+31687654321"))
    events = [str(one) for one in await run(shop, GOOD) if isinstance(one, Problem)]
    assert any("plan: found 'light', expected 'pro', as stored" in one for one in events)
    assert any("number: found another setting" in one for one in events)
    stored = await shop.store.directory.account("anna")
    assert isinstance(stored, Account)
    assert stored.plan == "pro"
    assert await shop.store.directory.account("bert") is None


async def test_a_number_of_another_account_or_a_closed_account_is_wrong(shop: Shop) -> None:
    await shop.service.accounts.add("carl", "light", Language.NL)
    await shop.service.numbers.add("carl", "+31201234567", NumberChanges())
    await shop.service.accounts.close("carl", "moved")
    events = [str(one) for one in await run(shop, GOOD) if isinstance(one, Problem)]
    assert any("a number of account 'carl'" in one for one in events)
    closed = [str(one) for one in await run(shop, "account,plan\ncarl,light\n") if isinstance(one, Problem)]
    assert "found a closed account" in closed[0]


@pytest.mark.parametrize("piece", ["x,", "account,", "plan,", ",", '"', "x"])
def test_first_line_of_any_length_costs_no_more_than_twice_for_twice_its_length(piece: str) -> None:
    """One of 120 kB took 16 s."""
    assert_linear(lambda pieces: read_rows((piece * pieces).encode(), "f.csv", Language.NL), 20, 500, 50_000)


async def test_line_that_no_account_needs_is_refused_by_its_number(shop: Shop) -> None:
    long = "x" * (LINE_MAX - len("anna,light,"))
    assert await problems(shop, f"account,plan,email\nanna,light,{long}x\n") == [
        f"f.csv:2: found {LINE_MAX + 1} characters, expected a line of at most {LINE_MAX}"
    ]
    assert len(f"anna,light,{long}") < LINE_MAX + 1


def test_file_goes_in_parts_that_a_daemon_takes() -> None:
    rows = [f"a{number},light,{'x' * (LINE_MAX - 20)}" for number in range(2 * PART_ROWS + 1)]
    data = "\ufeff" + "\r\n".join(["account,plan,email", "", *rows, "", ""])
    found = list(parts(data.encode()))
    assert [count for count, _ in found] == [PART_ROWS, PART_ROWS, 1]
    assert max(len(part) for _, part in found) <= PART_BYTES_MAX
    read = [read_rows(part, "f.csv", Language.NL) for _, part in found]
    assert [problem for _, problems_ in read for problem in problems_] == []
    assert [row.account for part, _ in read for row in part] == [f"a{number}" for number in range(2 * PART_ROWS + 1)]


@pytest.mark.parametrize("rows", [0, 1])
def test_file_without_a_row_has_no_part(rows: int) -> None:
    assert [count for count, _ in parts(b"account,plan\n" + b"a,light\n" * rows)] == [1] * rows


@pytest.mark.parametrize(
    "text",
    [
        '"account","plan","forward to","number"\n"anna","light","+31612345678","+31201234567"\n',
        "Account;Plan;Forward_To;Number;;\r\nanna;light;+31612345678;+31201234567;;\r\n;;;;;\r\n",
        "sep=;\naccount;plan;forward_to;number\nanna;light;+31612345678;+31201234567\n; ; ;\n\n",
        "\n\ufeff\naccount\tplan\tforward_to\tnumber\n\nanna\tlight\t+31612345678\t+31201234567\t\n".lstrip("\n"),
    ],
)
async def test_what_a_spreadsheet_makes_of_a_file_is_read_like_a_rate_deck(shop: Shop, text: str) -> None:
    assert await end(shop, text) == Imported(1, 1, 0, 0, written=True)
    assert await shop.store.directory.number("+31201234567") == Number("+31201234567", "anna", "+31612345678")
    [(rows, part)] = parts(text.encode())
    assert rows == 1
    assert read_rows(part, "part", Language.NL)[1] == []


async def test_a_field_beyond_the_last_column_is_told(shop: Shop) -> None:
    assert await problems(shop, "account,plan,\nanna,light,x\n") == [
        "f.csv:2: found 3 columns, expected 2, as in line 1"
    ]


async def test_a_number_with_a_zero_left_behind_its_country_code_is_a_problem_in_its_column(shop: Shop) -> None:
    found = await problems(
        shop,
        "account,plan,language,email,number,forward_to,paid_voicemail,mailbox\n"
        "emma,light,nl,,+31201111111,+31 00 252 7123456,,\n"
        "fred,light,nl,,003100201111111,,,\n",
    )
    expected = "expected the number itself behind +31, without the 0 that stands between them"
    assert f"f.csv:2:29: forward_to: found '+31 00 252 7123456', {expected}" in found
    assert f"f.csv:3:16: number: found '003100201111111', {expected}" in found
