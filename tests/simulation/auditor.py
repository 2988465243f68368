"""An independent look at the books after a simulated day: what the engine says, against what the switch knows."""

from __future__ import annotations

import json
from typing import Any

from charging.pricing.money import parse_euro
from tests.fakes.rig import Rig
from tests.fakes.switch import FakeCall
from tests.simulation.workload import Workload

TOLERANCE_MS = 200


async def audit(rig: Rig, day: Workload) -> None:
    """Raises AssertionError for the first thing that is not as it must be."""
    assert not rig.heard("session_lost"), "books never differ while one daemon keeps them"
    assert await rig.store.sessions() == [], "every session closes"
    assert await rig.reserved() == {}, "nothing stays reserved"
    cdrs = {row.session: json.loads(row.document) for row in await rig.store.cdrs(limit=10_000)}
    cost = sum(parse_euro(cdr["cost"]) for cdr in cdrs.values())
    assert (await rig.balance()).posted == day.topped_up - cost, "money is conserved"
    await _check_free_seconds(rig, cdrs)
    for call in (one for one in day.calls if one.session not in day.forgotten):
        stepped_s = day.stepped.get(call.session, 0)
        cdr = cdrs[call.session]
        if call.session in day.tight and cdr["overrun_s"]:
            day.short_of_money += 1
            cdr |= {"billed_s": cdr["billed_s"] + cdr["overrun_s"], "overrun_s": 0}  # what nobody could pay any more
        _check_call(call, cdr, lost=call.session in day.lost, stepped_s=stepped_s)


async def _check_free_seconds(rig: Rig, cdrs: dict[str, Any]) -> None:
    used: dict[str, int] = {}
    for cdr in cdrs.values():
        for month, seconds in cdr["free_seconds"].items():
            used[month] = used.get(month, 0) + seconds
    granted = rig.tariff.plans["pro"].free_seconds
    for month, seconds in used.items():
        assert (await rig.balance(f"bundle:{month}")).posted == granted - seconds, "free seconds are conserved"


def _check_call(call: FakeCall, cdr: dict[str, Any], *, lost: bool, stepped_s: float) -> None:
    true_ms = call.true_ms
    due_s = 0 if call.answered is None else max(1, -(-(true_ms - TOLERANCE_MS) // 1000))
    assert cdr["overrun_s"] == 0, (call.session, "talked longer than it had paid for")
    if stepped_s and not lost:
        assert due_s - stepped_s <= cdr["billed_s"] <= due_s, (call.session, true_ms, stepped_s, cdr)
    elif lost:
        assert cdr["billed_s"] <= due_s, (call.session, "billed more than it lasted")
    else:
        assert cdr["billed_s"] == due_s, (call.session, true_ms, cdr)
