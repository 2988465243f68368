"""Seeded days with every fault at once; a failing seed is printed by its test's name."""

from __future__ import annotations

import random

import pytest

from charging.session.model import Policy
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import make_rig, make_tariff
from tests.simulation.auditor import audit
from tests.simulation.workload import Workload

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
async def test_books_are_exact_after_a_day_of_faults(seed: int) -> None:
    chance = random.Random(seed)
    store = FaultyStore(chance)
    tariff = make_tariff(price=chance.choice((60_000, 90_000, 600_000)), increment_s=chance.choice((1, 6, 60)))
    tick_s = chance.choice((5, 30, 60))
    poll_s = chance.choice((0, 0, 5))
    policy = Policy(tick_s=tick_s, horizon_s=chance.choice((20, 60)), warn_before_s=20, short_poll_s=poll_s)
    async with make_rig(policy=policy, tariff=tariff, store=store) as rig:
        await rig.subscriber(plan=chance.choice(("light", "pro")))
        day = Workload(rig, store, chance)
        await day.run(steps=120)
        await audit(rig, day)
