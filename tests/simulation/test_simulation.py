"""Seeded days with every fault at once; a failing seed is printed by its test's name."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from charging.call.model import Policy
from charging.pricing.rate import Step
from charging.tariff.tariff import Tariff
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import make_rig, make_tariff, plan
from tests.simulation.auditor import audit
from tests.simulation.workload import Workload

SEEDS = range(int(os.environ.get("SEEDS", "120")))
"""``SEEDS=1000 pytest tests/simulation`` goes further."""


def drawn_tariff(chance: random.Random) -> Tariff:
    """A price a minute; every second time with something that makes one stretch of a call cost other than the next."""
    flat = make_tariff(price=chance.choice((60_000, 90_000, 600_000)), increment_s=chance.choice((1, 6, 60)))
    price = flat.tables["table"].prices["nl_mobile"]
    (step,) = price.steps
    uneven = (
        replace(price, steps=(step, Step(120, 0, 60, step.increment_s))),
        replace(price, steps=(Step(0, 0, 60, step.increment_s), replace(step, from_s=60))),
        replace(price, steps=(step, replace(step, from_s=60, price=3 * step.price))),
        replace(price, min_charge=150_000),
        replace(price, max_cost=150_000),
        replace(price, max_cost=1_950_000, ends_at_max=True),
        replace(price, connect_fee=50_000),
    )
    drawn = chance.choice((*(price for _ in uneven), *uneven))
    return replace(flat, tables={"table": replace(flat.tables["table"], prices={"nl_mobile": drawn})})


@pytest.mark.parametrize("seed", SEEDS)
async def test_books_are_exact_after_a_day_of_faults(seed: int) -> None:
    chance = random.Random(seed)
    store = FaultyStore(chance)
    tariff = drawn_tariff(chance)
    tick_s = chance.choice((5, 30, 60))
    poll_s = chance.choice((0, 0, 5))
    policy = Policy(tick_s=tick_s, horizon_s=chance.choice((20, 60)), warn_before_s=20, short_poll_s=poll_s)
    if poll_s:  # free seconds that a fail-over gives back are still there to be taken again, like the credit
        tariff = plan(tariff, "pro", free_seconds=60_000)
    async with make_rig(policy=policy, tariff=tariff, store=store) as rig:
        await rig.subscriber(plan=chance.choice(("light", "pro")))
        day = Workload(rig, store, chance)
        await day.run(steps=120)
        await audit(rig, day)
