"""A larger plan within a month (R11): its seconds are there with the next use, whoever was killed before that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest

from charging.ledger.balances import bundle, grant, granted
from charging.ledger.model import Applied, Balance, Kind, Leg, Transfer
from charging.tariff.plans import Plan
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff

MONTH = "2026-11"
PLANS = {
    "light": Plan("light", "table", is_paid=True),
    "pro": Plan("pro", "table", is_paid=True, free_seconds=600),
    "max": Plan("max", "table", is_paid=True, free_seconds=1500),
}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(tariff=replace(make_tariff(), plans=MappingProxyType(PLANS))) as one:
        yield one


async def move_to(rig: Rig, plan: str) -> None:
    """The plan's edit, after which the daemon was killed: nothing was granted."""
    stored = await rig.store.directory.account("anna")
    assert stored is not None
    assert await rig.store.directory.put_account(replace(stored, plan=plan))


async def call(rig: Rig, seconds: float) -> None:
    one = await rig.talking()
    await rig.clock.advance(seconds)
    await rig.hang_up(one)


async def grants(rig: Rig) -> list[str]:
    return [line.id async for line in rig.store.journal("anna") if line.kind is Kind.GRANT]


async def test_r11_a_call_after_an_upgrade_that_was_not_granted_brings_its_seconds_with_it(rig: Rig) -> None:
    await rig.subscriber(plan="pro")
    await call(rig, 600.1)
    assert (await rig.ring()).decision == "voicemail", "all are used, and there is no credit"
    await move_to(rig, "max")
    await rig.ringing()
    assert await grants(rig) == [f"grant/{MONTH}", f"grant/{MONTH}/after-600"]
    assert await rig.balance(granted(MONTH)) == Balance(1500)
    await call(rig, 30.1)
    assert (await rig.balance(bundle(MONTH))).posted == 870


async def test_r11_after_a_gift_an_upgrade_is_granted_once(rig: Rig) -> None:
    await rig.subscriber(plan="light")
    gift = (Leg(bundle(MONTH), 60), Leg(granted(MONTH), 0))
    await rig.store.apply(Transfer("correct/sorry", "anna", Kind.CORRECT, 1, gift))
    await move_to(rig, "pro")
    for _ in range(2):
        await call(rig, 30.1)
    assert await grants(rig) == [f"grant/{MONTH}"]
    assert await rig.balance(granted(MONTH)) == Balance(600)
    assert (await rig.balance(bundle(MONTH))).posted == 600


async def test_r11_a_running_call_shares_the_seconds_that_another_brought(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="pro")
    running = await rig.talking()
    await rig.clock.advance(590)
    await move_to(rig, "max")
    await rig.ringing()
    await rig.clock.advance(300)
    await rig.hang_up(running)
    assert (await rig.balance()).posted == EURO, "it went on from free minutes"


async def test_r11_a_bundle_that_an_older_plans_call_made_in_the_same_moment_is_raised_by_the_next(rig: Rig) -> None:
    await rig.subscriber(plan="max")
    apply = rig.store.apply

    async def late(transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        rig.store.apply = apply  # type: ignore[method-assign]
        await apply(grant("anna", MONTH, 600, 1, "pro"))
        return await apply(transfer, grants)

    rig.store.apply = late  # type: ignore[method-assign]
    await call(rig, 30.1)
    await call(rig, 30.1)
    assert await grants(rig) == [f"grant/{MONTH}", f"grant/{MONTH}/after-600"]
    assert (await rig.balance(bundle(MONTH))).posted == 1440
