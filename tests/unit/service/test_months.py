"""Months of free minutes (R11): plan changes within one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from types import MappingProxyType

import pytest

from charging.ledger.accounts import Account
from charging.ledger.balances import bundle, grant
from charging.ledger.model import Applied, Balance, Kind, Leg, Outcome, Transfer
from charging.service.balance import BalanceView
from charging.service.caretaker import Caretaker
from charging.service.months import Months, counters_before, past_months
from charging.tariff.plans import Plan
from tests.fakes.clock import right, settle
from tests.unit.service.conftest import Shop

MONTH = "2026-11"
PLANS = {
    "light": Plan("light", "table", is_paid=True),
    "pro": Plan("pro", "table", is_paid=True, free_seconds=600),
    "max": Plan("max", "table", is_paid=True, free_seconds=1500),
}


@pytest.fixture
def months(shop: Shop) -> Months:
    object.__setattr__(shop.tariff, "plans", MappingProxyType(PLANS))
    return Months(shop.store, lambda: shop.tariff, shop.clock)


async def use(shop: Shop, seconds: int, plan: str) -> None:
    """A call of so many free seconds, as a session's ledger operations make it."""
    at_us = shop.clock.now().wall_us
    spent = Transfer(f"call/{at_us}/{seconds}", "anna", Kind.CORRECT, at_us, (Leg(bundle(MONTH), -seconds),))
    granted = grant("anna", MONTH, PLANS[plan].free_seconds, at_us, plan)
    assert (await shop.store.apply(spent, [granted])).outcome is Outcome.CREATED


async def set_plan(shop: Shop, plan: str) -> None:
    """As an edit does, and nothing after it."""
    stored = await shop.store.directory.account("anna")
    assert stored is not None
    assert await shop.store.directory.put_account(replace(stored, plan=plan))


async def left(shop: Shop) -> int | None:
    balance = (await shop.store.balances("anna")).get(bundle(MONTH))
    return None if balance is None else balance.available


async def test_r11_an_upgrade_grants_the_difference_at_once(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await shop.service.accounts.change("anna", {"plan": "max"})
    assert await left(shop) == 1400


async def test_r11_an_upgrade_before_the_first_use_leaves_the_grant_to_it(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await shop.service.accounts.change("anna", {"plan": "max"})
    assert await left(shop) is None
    await use(shop, 100, "max")
    assert await left(shop) == 1400


async def test_r11_a_downgrade_keeps_what_was_granted_until_the_month_ends(shop: Shop, months: Months) -> None:
    await shop.anna("max")
    await use(shop, 100, "max")
    await shop.service.accounts.change("anna", {"plan": "pro"})
    assert await left(shop) == 1400
    await shop.service.accounts.change("anna", {"plan": "light"})
    assert await left(shop) == 1400


@pytest.mark.parametrize("plan", ["pro", "light"])
async def test_r11_a_downgrade_before_the_months_first_call_keeps_what_was_shown(
    shop: Shop, months: Months, plan: str
) -> None:
    await shop.anna("max")
    await shop.service.accounts.change("anna", {"plan": plan})
    view = await shop.service.balances.view("anna")
    assert isinstance(view, BalanceView)
    assert (view.free.left, view.free.granted) == (1500, True)
    await shop.service.accounts.change("anna", {"plan": plan})
    assert await left(shop) == 1500


async def test_r11_a_downgrade_keeps_an_upgrade_that_was_not_granted_yet(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    await shop.service.accounts.change("anna", {"plan": "light"})
    assert await left(shop) == 1400


async def test_r11_a_downgrade_keeps_the_bundle_of_the_plan_that_it_really_ends(
    shop: Shop, months: Months, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone else's upgrade comes between the look at the account and the edit."""
    await shop.anna("pro")
    put, raced = shop.store.directory.put_account, list[Account]()

    async def late(account: Account) -> bool:
        if not raced:
            raced.append(account)
            monkeypatch.setattr(shop.store.directory, "put_account", put)
            await shop.service.accounts.change("anna", {"plan": "max"})
        return await put(account)

    monkeypatch.setattr(shop.store.directory, "put_account", late)
    changed = await shop.service.accounts.change("anna", {"plan": "light"})
    assert isinstance(changed, Account)
    assert (changed.plan, await left(shop)) == ("light", 1500)


async def test_r11_a_downgrade_that_is_refused_grants_nothing(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await shop.service.accounts.change("anna", {"plan": "none"})
    await shop.service.accounts.close("anna", "moved")
    await shop.service.accounts.change("anna", {"plan": "light"})
    assert await left(shop) is None


async def test_r11_going_back_and_forth_earns_nothing(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 600, "pro")
    for plan in ("max", "pro", "max", "light", "max", "max"):
        await shop.service.accounts.change("anna", {"plan": plan})
    assert await left(shop) == 900


async def test_r11_upgrades_made_at_the_same_time_grant_once(
    shop: Shop, months: Months, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    apply = shop.store.apply

    async def late(transfer: Transfer) -> Applied:
        await settle()  # until all have looked
        return await apply(replace(transfer, at_us=next(later)))

    later = count()
    monkeypatch.setattr(shop.store, "apply", late)
    assert sorted(await asyncio.gather(*(months.raise_to_plan("anna") for _ in range(3)))) == [0, 0, 900]
    assert await left(shop) == 1400


async def test_r11_what_was_granted_is_found_behind_many_lines(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 1, "pro")
    for number in range(250):
        line = Transfer(f"top-up/{number}", "anna", Kind.TOP_UP, shop.clock.now().wall_us, (Leg("credit", 1),))
        await shop.store.apply(line)
    await shop.service.accounts.change("anna", {"plan": "max"})
    assert await left(shop) == 1499


async def test_an_edit_that_does_not_touch_the_plan_grants_nothing(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    await shop.service.accounts.change("anna", {"email": "anna@example.nl"})
    assert await left(shop) == 500


async def test_nobody_is_granted_nothing(months: Months) -> None:
    assert await months.raise_to_plan("nobody") == 0


# --- a daemon killed between the edit and the grant -----------------------------------------------------------


async def test_r5_r11_an_upgrade_that_was_not_granted_yet_is_shown(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    view = await shop.service.balances.view("anna")
    assert isinstance(view, BalanceView)
    assert (view.free.left, view.free.granted) == (1400, True)


async def test_r11_the_nightly_round_grants_an_upgrade_that_was_missed(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    for _ in range(2):
        await Caretaker(shop.store, lambda: shop.tariff, shop.clock, believed=right).turn()
        assert await left(shop) == 1400


async def test_r11_a_closed_account_is_granted_nothing_more(shop: Shop, months: Months) -> None:
    await shop.anna("pro")
    await use(shop, 100, "pro")
    await set_plan(shop, "max")
    await shop.service.accounts.close("anna", "moved")
    await Caretaker(shop.store, lambda: shop.tariff, shop.clock, believed=right).turn()
    assert await left(shop) == 500


def test_r11_past_months_are_those_before_with_something_left() -> None:
    balances = {
        "credit": Balance(5),
        bundle("2026-12"): Balance(5),
        bundle("2026-11"): Balance(5),
        bundle("2026-10"): Balance(5, 5),
        bundle("2026-09"): Balance(0),
        bundle("2025-12"): Balance(1),
    }
    assert past_months(balances, "2026-11") == ["bundle:2025-12", "bundle:2026-10"]
    assert past_months(balances, "2026-12") == ["bundle:2025-12", "bundle:2026-10", "bundle:2026-11"]


def test_counters_of_months_before_are_over_unless_something_is_reserved_of_them() -> None:
    balances = {
        "day:2026-09-30": Balance(-5, 0),
        "granted:2026-08": Balance(600, 0),
        "day:2026-09-29": Balance(-5, 3),
        "day:2026-10-01": Balance(-5, 0),
        "credit": Balance(5, 0),
    }
    assert counters_before(balances, "2026-10") == ["day:2026-09-30", "granted:2026-08"]
