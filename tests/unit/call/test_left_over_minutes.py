"""Free minutes left after a change of plan have the rules of the plan that granted them (R8, R10, R11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from charging.clock import MICROSECONDS
from charging.ledger.balances import bundle
from charging.service.quotes import Asked, Quotes
from charging.tariff.plans import Plan
from charging.tariff.tariff import Destination, Tariff
from charging.whatif.quote import Limit, Quote
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_rig, make_tariff

NOVEMBER, DECEMBER = "2026-11", "2026-12"
AMERICA = "+12125550123"
PLANS = {
    "light": Plan("light", "table"),
    "pro": Plan("pro", "table", free_seconds=600, free_destinations=frozenset({"nl_mobile"}), free_increment_s=30),
    "small": Plan("small", "table", free_seconds=300),
}


def the_tariff() -> Tariff:
    tariff = make_tariff()
    table = tariff.tables["table"]
    prices = {**table.prices, "america": table.prices["nl_mobile"]}
    return replace(
        tariff,
        plans=MappingProxyType(PLANS),
        destinations={**tariff.destinations, "america": Destination("america", ("+1",))},
        tables={"table": replace(table, prices=prices)},
    )


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(tariff=the_tariff()) as one:
        yield one


async def move_to(rig: Rig, plan: str) -> None:
    stored = await rig.store.directory.account("anna")
    assert stored is not None
    assert await rig.store.directory.put_account(replace(stored, plan=plan))


async def forward_to(rig: Rig, target: str) -> None:
    number = await rig.store.directory.number(NUMBER)
    assert number is not None
    assert await rig.store.directory.put_number(replace(number, forward_to=target), number)


async def call(rig: Rig, seconds: float) -> None:
    one = await rig.talking()
    await rig.clock.advance(seconds)
    await rig.hang_up(one)


def before_midnight(rig: Rig, seconds: int) -> None:
    """So long before November ends."""
    end = datetime(2026, 12, 1, tzinfo=ZoneInfo(rig.tariff.zone)).timestamp()
    rig.clock.step_wall(end - seconds - rig.clock.now().wall_us / MICROSECONDS)


async def left_over(rig: Rig, credit: int = EURO) -> None:
    """Of Pro's 600 seconds 570 are left, and the account is Light's."""
    await rig.subscriber(credit=credit, plan="pro")
    await call(rig, 10)
    await move_to(rig, "light")


async def test_r8_left_over_minutes_pay_no_destination_that_they_did_not_pay_before(rig: Rig) -> None:
    await left_over(rig)
    await forward_to(rig, AMERICA)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - 100_000
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570


async def test_r10_left_over_minutes_go_first_where_they_did_before_in_their_own_increments(rig: Rig) -> None:
    await left_over(rig)
    await call(rig, 31.1)
    assert (await rig.balance()).posted == EURO
    assert (await rig.balance(bundle(NOVEMBER))).posted == 510


@pytest.mark.parametrize(("target", "decision"), [(TARGET, "forward"), (AMERICA, "voicemail")])
async def test_r12_left_over_minutes_alone_begin_only_what_they_pay(rig: Rig, target: str, decision: str) -> None:
    await left_over(rig, credit=0)
    await forward_to(rig, target)
    assert (await rig.ring()).decision == decision


async def test_r11_minutes_of_the_next_month_that_a_call_before_midnight_granted_keep_their_rules(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    before_midnight(rig, 30)
    await call(rig, 10)  # its horizon reaches into December
    assert (await rig.balance(bundle(DECEMBER))).posted == 600
    await move_to(rig, "light")
    await rig.clock.advance(60)
    await forward_to(rig, AMERICA)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - 100_000
    assert (await rig.balance(bundle(DECEMBER))).posted == 600


async def test_r11_a_call_over_midnight_uses_each_months_minutes_by_their_own_rules(rig: Rig) -> None:
    """November's are Pro's, and pay for no call to America; December's are Small's, and do."""
    await left_over(rig)
    await move_to(rig, "small")
    await forward_to(rig, AMERICA)
    before_midnight(rig, 40)
    await call(rig, 100.1)
    assert (await rig.balance(bundle(NOVEMBER))).posted == 570
    assert (await rig.balance(bundle(DECEMBER))).posted == 300 - 60
    assert (await rig.balance()).posted == EURO - 40_000


@pytest.mark.parametrize("target", [TARGET, AMERICA])
async def test_what_is_quoted_of_left_over_minutes_is_what_is_charged(rig: Rig, target: str) -> None:
    await left_over(rig)
    await forward_to(rig, target)
    quotes = Quotes(rig.store, lambda: rig.tariff, rig.clock)
    quote = await quotes.quote(Asked(target, account="anna"), 100)
    limit = await quotes.limit(Asked(target, account="anna"), 0)
    assert isinstance(quote, Quote)
    assert isinstance(limit, Limit)
    assert limit.seconds == (570 if target == TARGET else 0)
    await call(rig, 100.1)
    assert (await rig.balance()).posted == EURO - quote.total
