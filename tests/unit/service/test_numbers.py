"""Numbers are normalised, belong to one account, and forward only to where a call can be paid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from charging.ledger.accounts import Language, Number
from charging.service.actor import acting
from charging.service.numbers import NumberSet
from charging.service.refusal import Code, Refused
from charging.service.service import WARNINGS_MAX
from charging.service.trail import Sought
from tests.fakes.rig import with_short_code
from tests.unit.service.conftest import NUMBER, Shop, refused

TARGET = "+31612345678"
PAID_WITHOUT_PRICE = ("voicemail costs nothing until plan 'light' has a price for a message",)


def meanwhile(shop: Shop, act: Callable[[], Awaitable[object]]) -> None:
    """Have something done between the next edit's look at a number and its write."""
    put = shop.store.directory.put_number

    async def late(number: Number, expected: Number | None = None) -> bool:
        shop.store.directory.put_number = put  # type: ignore[method-assign]
        await act()
        return await put(number, expected)

    shop.store.directory.put_number = late  # type: ignore[method-assign]


@pytest.mark.parametrize("who", ["customer:anna", "token:4f2a9c0d1e2f"])
async def test_a_number_that_becomes_anothers_while_its_customer_edits_it_stays_as_that_one_has_it(
    shop: Shop, who: str
) -> None:
    await shop.anna()
    await shop.service.accounts.add("ben", "light", Language.NL)
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET})

    async def moves() -> None:
        with acting("cli:operator"):
            await shop.service.numbers.remove(NUMBER)
            await shop.service.numbers.add("ben", NUMBER, {"forward_to": "+31687654321"})

    meanwhile(shop, moves)
    with acting(who, customer="" if who.startswith("customer") else "anna"):
        refused(await shop.service.numbers.change(NUMBER, {"forward_to": "+31611112222"}), Code.NOT_FOUND)
        refused(await shop.service.numbers.get(NUMBER), Code.NOT_FOUND)
    kept = await shop.service.numbers.get(NUMBER)
    assert isinstance(kept, Number)
    assert (kept.account, kept.forward_to) == ("ben", "+31687654321")


def before_it_is_removed(shop: Shop, act: Callable[[], Awaitable[object]]) -> None:
    """Have something done between the next removal's look at a number and its write."""
    remove = shop.store.directory.remove_number

    async def late(expected: Number) -> bool:
        shop.store.directory.remove_number = remove  # type: ignore[method-assign]
        await act()
        return await remove(expected)

    shop.store.directory.remove_number = late  # type: ignore[method-assign]


async def acts(shop: Shop) -> list[str]:
    """What is noted."""
    page = await shop.service.changes(Sought(), None, 100)
    assert not isinstance(page, Refused)
    return [one.change.act for one in page[0]]


@pytest.mark.parametrize(("who", "code"), [("cli:other", Code.CONFLICT), ("customer:anna", Code.NOT_FOUND)])
async def test_a_number_that_becomes_anothers_while_it_is_removed_stays_that_ones(
    shop: Shop, who: str, code: Code
) -> None:
    await shop.anna()
    await shop.service.accounts.add("ben", "light", Language.NL)
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET})

    async def moves() -> None:
        with acting("cli:operator"):
            await shop.service.numbers.remove(NUMBER)
            await shop.service.numbers.add("ben", NUMBER, {})

    before_it_is_removed(shop, moves)
    shop.touched.clear()
    with acting(who):
        refused(await shop.service.numbers.remove(NUMBER), code)
    kept = await shop.service.numbers.get(NUMBER)
    assert isinstance(kept, Number)
    assert kept.account == "ben"
    assert (await acts(shop)).count("number.removed") == 1, "nothing is noted of who came too late"


async def test_a_number_that_is_edited_while_it_is_removed_is_removed(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {})
    before_it_is_removed(shop, lambda: shop.service.numbers.change(NUMBER, {"forward_to": TARGET}))
    removed = await shop.service.numbers.remove(NUMBER)
    assert isinstance(removed, Number)
    assert removed.forward_to == TARGET
    refused(await shop.service.numbers.get(NUMBER), Code.NOT_FOUND)


@pytest.mark.parametrize("typed", ["+31201234567", "020 123 4567", "0031201234567", "+31 (20) 1234567"])
async def test_a_number_is_stored_as_e164_however_it_is_typed(shop: Shop, typed: str) -> None:
    await shop.anna()
    made = await shop.service.numbers.add("anna", typed, {"forward_to": "06-12345678"})
    assert made == NumberSet(Number(NUMBER, "anna", TARGET))
    assert await shop.service.numbers.get(typed) == made.number


@pytest.mark.parametrize("typed", ["", "x", "12", "+", "+31", "1" * 50, "sip:a@b"])
async def test_what_is_no_number_is_refused(shop: Shop, typed: str) -> None:
    await shop.anna()
    refused(await shop.service.numbers.add("anna", typed, {}), Code.INVALID)
    refused(await shop.service.numbers.get(typed), Code.NOT_FOUND)
    if typed:
        refused(await shop.service.numbers.add("anna", NUMBER, {"forward_to": typed}), Code.INVALID)
    assert await shop.store.directory.numbers() == []


async def test_a_number_belongs_to_one_account_and_says_whose(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.add("bert", "light", Language.NL)
    await shop.service.numbers.add("anna", NUMBER, {})
    assert "'anna'" in refused(await shop.service.numbers.add("bert", NUMBER, {}), Code.EXISTS).message
    refused(await shop.service.numbers.add("carl", "+31201234568", {}), Code.NOT_FOUND)


async def test_an_edit_changes_what_is_named_and_nothing_else(shop: Shop) -> None:
    await shop.anna("free")
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET, "mailbox": "box-1"})
    changed = await shop.service.numbers.change(NUMBER, {"paid_voicemail": True})
    assert changed == NumberSet(Number(NUMBER, "anna", TARGET, True, "box-1"))
    changed = await shop.service.numbers.change(NUMBER, {"forward_to": "", "paid_voicemail": None})
    assert changed == NumberSet(Number(NUMBER, "anna", "", None, "box-1"))
    refused(await shop.service.numbers.change("+31201234568", {}), Code.NOT_FOUND)


async def test_an_edit_that_comes_second_is_made_anew(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET})
    meanwhile(shop, lambda: shop.service.numbers.change(NUMBER, {"forward_to": "+31687654321"}))
    changed = await shop.service.numbers.change(NUMBER, {"paid_voicemail": True})
    assert changed == NumberSet(Number(NUMBER, "anna", "+31687654321", True), PAID_WITHOUT_PRICE)
    assert await shop.store.directory.number(NUMBER) == changed.number


async def test_an_edit_does_not_bring_back_a_number_that_was_removed(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {})
    meanwhile(shop, lambda: shop.service.numbers.remove(NUMBER))
    refused(await shop.service.numbers.change(NUMBER, {"mailbox": "1"}), Code.NOT_FOUND)
    assert await shop.store.directory.number(NUMBER) is None


async def test_of_two_who_add_a_number_the_second_is_told_whose_it_is(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.add("bert", "light", Language.NL)
    meanwhile(shop, lambda: shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET}))
    assert "'anna'" in refused(await shop.service.numbers.add("bert", NUMBER, {}), Code.EXISTS).message
    meanwhile(shop, lambda: shop.service.numbers.add("anna", "+31201234568", {"forward_to": TARGET}))
    refused(await shop.service.numbers.add("anna", "+31201234568", {}), Code.EXISTS)
    assert [one.forward_to for one in await shop.store.directory.numbers()] == [TARGET, TARGET]


@pytest.mark.parametrize("act", ["add", "change", "remove"])
async def test_a_number_that_others_keep_editing_is_given_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {})

    async def never(_number: Number, _expected: Number | None = None) -> bool:
        return False

    for write in ("put_number", "remove_number"):
        monkeypatch.setattr(shop.store.directory, write, never)
    numbers = shop.service.numbers
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "add": lambda: numbers.add("anna", "+31201234568", {}),
        "change": lambda: numbers.change(NUMBER, {"mailbox": "1"}),
        "remove": lambda: numbers.remove(NUMBER),
    }
    refused(await acts[act](), Code.CONFLICT)


@pytest.mark.parametrize("mailbox", ["a b", "../x", "a@b", "${X}", "x" * 41])
async def test_a_mailbox_that_would_harm_the_dialplan_is_refused(shop: Shop, mailbox: str) -> None:
    await shop.anna()
    refused(await shop.service.numbers.add("anna", NUMBER, {"mailbox": mailbox}), Code.INVALID)


async def test_forwarding_to_one_of_our_own_numbers_is_refused(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {})
    refused(await shop.service.numbers.change(NUMBER, {"forward_to": NUMBER}), Code.NOT_ALLOWED)
    refused(await shop.service.numbers.add("anna", "+31201234568", {"forward_to": NUMBER}), Code.NOT_ALLOWED)
    refused(await shop.service.numbers.add("anna", TARGET, {"forward_to": TARGET}), Code.NOT_ALLOWED)


async def test_forwarding_to_a_premium_number_is_refused(shop: Shop) -> None:
    await shop.anna()
    answer = refused(await shop.service.numbers.add("anna", NUMBER, {"forward_to": "0900 1234"}), Code.NOT_ALLOWED)
    assert "premium" in answer.message


async def test_forwarding_to_a_short_code_is_refused_even_where_it_has_a_price(shop: Shop) -> None:
    await shop.anna()
    shop.tariff = with_short_code(shop.tariff)
    answer = refused(await shop.service.numbers.add("anna", NUMBER, {"forward_to": "1233"}), Code.NOT_ALLOWED)
    assert "1233 is a short code" in answer.message


async def test_forwarding_to_what_the_tariff_has_no_price_for_is_stored_with_a_warning(shop: Shop) -> None:
    await shop.anna()
    made = await shop.service.numbers.add("anna", NUMBER, {"forward_to": "+4930123456"})
    assert isinstance(made, NumberSet)
    assert made.number.forward_to == "+4930123456"
    assert "not_covered" in made.warnings[0]


@pytest.mark.parametrize(("target", "odd"), [("061000", True), ("06 12345678", False)])
async def test_forwarding_to_a_number_that_its_country_does_not_give_out_is_stored_with_a_warning(
    shop: Shop, target: str, odd: bool
) -> None:
    """It is possible, so it may be newer than our tables."""
    await shop.anna()
    made = await shop.service.numbers.add("anna", NUMBER, {"forward_to": target})
    assert isinstance(made, NumberSet)
    assert any("is no number that its country gives out" in one for one in made.warnings) == odd


@pytest.mark.parametrize("target", ["06123456789012345", "061", "+316100", "06100"])
async def test_forwarding_to_what_is_too_short_or_too_long_for_a_number_is_refused(shop: Shop, target: str) -> None:
    await shop.anna()
    answer = refused(await shop.service.numbers.add("anna", NUMBER, {"forward_to": target}), Code.INVALID)
    assert "expected a telephone number such as" in answer.message or "without the 0" in answer.message


@pytest.mark.parametrize(("plan", "price"), [("light", "no price"), ("free", "")])
async def test_r13_paid_voicemail_on_a_plan_without_a_price_is_stored_with_a_warning(
    shop: Shop, plan: str, price: str
) -> None:
    await shop.anna(plan)
    made = await shop.service.numbers.add("anna", NUMBER, {"paid_voicemail": True})
    assert isinstance(made, NumberSet)
    assert made.number.paid_voicemail
    assert ["costs nothing until plan 'light' has a price" in one for one in made.warnings] == [True] * bool(price)
    assert (await shop.service.numbers.change(NUMBER, {"paid_voicemail": False})).warnings == ()  # type: ignore[union-attr]


async def test_a_removed_number_is_gone_and_can_be_sold_again(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.add("bert", "light", Language.NL)
    await shop.service.numbers.add("anna", NUMBER, {})
    assert await shop.service.numbers.remove("0201234567") == Number(NUMBER, "anna")
    refused(await shop.service.numbers.remove(NUMBER), Code.NOT_FOUND)
    assert isinstance(await shop.service.numbers.add("bert", NUMBER, {}), NumberSet)


async def test_numbers_of_an_account_or_of_all(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.add("bert", "light", Language.NL)
    for account, number in (("anna", NUMBER), ("bert", "+31201234568")):
        await shop.service.numbers.add(account, number, {})
    assert [one.number for one in await shop.service.numbers.page("", 10, "bert")] == ["+31201234568"]  # type: ignore[union-attr]
    assert len(await shop.service.numbers.page("", 10)) == 2  # type: ignore[arg-type]
    refused(await shop.service.numbers.page("", 10, "carl"), Code.NOT_FOUND)


@pytest.mark.parametrize("written", ["+31 00 252 7123456", "003100900123456", "+31(0)(0)85 0000001"])
async def test_a_number_with_a_zero_left_behind_its_country_code_is_refused_with_what_to_leave_out(
    shop: Shop, written: str
) -> None:
    """It would be priced as a number of the country, and dialled as a foreign, a premium or one's own number."""
    await shop.anna()
    numbers, expected = shop.service.numbers, "expected the number itself behind +31, without the 0"
    assert expected in refused(await numbers.add("anna", written, {}), Code.INVALID).message
    await numbers.add("anna", NUMBER, {})
    answer = refused(await numbers.change(NUMBER, {"forward_to": written}), Code.INVALID)
    assert expected in answer.message
    assert answer.at == "#/forward_to"
    kept = await numbers.get(NUMBER)
    assert isinstance(kept, Number)
    assert kept.forward_to == ""


async def odd_numbers(shop: Shop) -> list[str]:
    return [one for one in await shop.service.ledger_warnings() if "no certain number" in one]


async def test_numbers_that_an_older_version_stored_so_are_told_and_can_be_mended_and_removed(shop: Shop) -> None:
    await shop.anna()
    numbers, directory = shop.service.numbers, shop.store.directory
    await numbers.add("anna", NUMBER, {"forward_to": TARGET})
    assert await odd_numbers(shop) == []
    odd = "+310851234567"
    await directory.put_number(Number(odd, "anna", forward_to="+3102527123456"), None)
    told = await odd_numbers(shop)
    assert [f"has the number {odd}" in one or "+3102527123456, which is no" in one for one in told] == [True] * 2
    changed = await numbers.change(odd, {"forward_to": TARGET})
    assert isinstance(changed, NumberSet)
    assert changed.number.number == odd
    assert len(await odd_numbers(shop)) == 1
    assert isinstance(await numbers.remove(odd), Number)
    assert await odd_numbers(shop) == []
    assert isinstance(await numbers.get(NUMBER), Number), "nothing else was touched"


async def test_very_many_numbers_that_are_no_certain_ones_are_told_in_part(shop: Shop) -> None:
    await shop.anna()
    for each in range(WARNINGS_MAX + 1):
        await shop.store.directory.put_number(Number(f"+31020{each:07}", "anna"), None)
    told = await shop.service.ledger_warnings()
    assert (len(told), told[-1]) == (WARNINGS_MAX + 1, "there are more of them")


@pytest.mark.parametrize(
    ("target", "service"),
    [("+39 899 123456", "premium"), ("+44 70 1234 5678", "personal"), ("+44 7640 123456", "pager"), (TARGET, "")],
)
async def test_forwarding_to_a_dear_service_that_the_tariff_prices_is_stored_with_a_warning(
    shop: Shop, target: str, service: str
) -> None:
    """A list of prefixes to be refused is never complete; the country's numbering plan knows what the number is."""
    await shop.anna()
    made = await shop.service.numbers.add("anna", NUMBER, {"forward_to": target})
    assert isinstance(made, NumberSet)
    assert any(f"is a {service} number of its country" in one for one in made.warnings) is bool(service)
