"""Two calls of one account share its free minutes: what one gives back goes before credit in the other (R10)."""

from __future__ import annotations

import pytest

from charging.ledger.balances import bundle
from tests.fakes.rig import EURO, make_rig, make_tariff, plan

MONTH = bundle("2026-11")
SECOND = 1_000
FREE_S = 120
"""As much as the first call reserves at its set-up."""


@pytest.mark.parametrize(
    ("first_s", "second_s", "credit_s"),
    [
        (10.1, 50.1, 0),  # the second ends before its first tick
        (10.1, 100.1, 0),
        (10.1, 120.1, 10),  # 130 seconds in all: ten more than there are
        (70.1, 60.1, 60),  # at its tick all were still in the other's hands
    ],
)
async def test_r10_free_seconds_that_a_call_gives_back_are_used_before_credit(
    first_s: float, second_s: float, credit_s: int
) -> None:
    async with make_rig(tariff=plan(make_tariff(), "pro", free_seconds=FREE_S)) as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        calls = sorted([(first_s, await rig.talking()), (second_s, await rig.talking())], key=lambda one: one[0])
        passed_s = 0.0
        for ends_s, call in calls:
            await rig.clock.advance(ends_s - passed_s)
            passed_s = ends_s
            await rig.hang_up(call)
        used_s = int(first_s) + int(second_s)
        assert (await rig.balance()).posted == EURO - credit_s * SECOND
        assert (await rig.balance(MONTH)).posted == FREE_S - (used_s - credit_s)


async def test_a_call_that_credit_pays_by_the_tariff_is_not_woken_by_the_end_of_another() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO, plan="light")
        first, second = await rig.talking(), await rig.talking()
        await rig.clock.advance(10.1)
        before = (await rig.balance()).posted
        await rig.hang_up(first)
        assert (await rig.balance()).posted == before - 10 * SECOND, "the first alone was settled"
        await rig.hang_up(second)
