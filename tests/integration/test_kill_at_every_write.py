"""`kill -9` at every single write of a call's life: a fresh daemon finds everything, and the books are exact.

A walk: one undisturbed life counts the writes; then for each of them one process dies just before it, and another when
it is durable and not answered yet. The processes and their deaths are real, and so are the SQLite file and the Redis;
the switch and the clock are not, so that a life of minutes takes a fraction of a second.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.clock import MICROSECONDS
from charging.ledger.balances import bundle, granted, promo
from charging.ledger.model import CREDIT, Balance
from charging.pricing.packs import pack_of
from tests.fakes.killing_store import When
from tests.integration.doomed_life import (
    DECEMBER_US,
    FREE_S,
    GIFT,
    PACK_S,
    TALK_S,
    TOP_UP,
    Books,
    doomed,
    doomed_message,
    doomed_over_midnight,
    recover,
    recover_message,
)
from tests.integration.killing_ground import Ground, Life, ground_of

SECOND = 1_000
"""Micro-euro."""
BILLED_S = 191
"""Of 190.4 s, less the tolerance."""


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with ground_of(request.param, tmp_path) as one:
        yield one


def wrong(books: Books) -> list[str]:
    """Everything that is not as it should be."""
    charged = [cdr for cdr in books.cdrs if cdr["billed_s"]]
    credit = books.balances[CREDIT]
    november_s = min(BILLED_S, -((books.answered_us - DECEMBER_US) // MICROSECONDS))
    talked_s = {"2026-11": november_s, "2026-12": BILLED_S - november_s}
    free_left = {month: max(0, FREE_S - seconds) for month, seconds in talked_s.items() if seconds}
    paid_s = BILLED_S - PACK_S - sum(FREE_S - left for left in free_left.values())
    bundles = {key: one for key, one in books.balances.items() if key.startswith("bundle:")}
    checks = {
        "the parties were not cut": not books.cut,
        "the switch's record": books.talked_ms == [round(TALK_S * 1000)],
        "the credit": credit.posted == TOP_UP + GIFT - paid_s * SECOND,
        "the pack, which pays before credit": books.balances[pack_of("addon", "2027-01-01")].posted == 0,
        "the gift, which pays first": books.balances[promo("2027-01-01")].posted == 0,
        "the free seconds": bundles == {bundle(month): Balance(left) for month, left in free_left.items()},
        "each month granted once": all(books.balances[granted(month)].posted == FREE_S for month in free_left),
        "nothing reserved": all(one.reserved == 0 for one in books.balances.values()),
        "no open session": not books.open_sessions,
        "one CDR for each opening": len(books.cdrs) == books.openings,
        "one charged call": [(cdr["billed_s"], cdr["proof"]) for cdr in charged] == [(BILLED_S, "black_box")],
        "an honest ledger": not books.findings,
        "each beginning told": sum(what == "call.begun" for what, _ in books.told) == books.openings,
        "each end told with its CDR": [cdr for what, cdr in books.told if what == "call.ended"] == books.cdrs,
    }
    return [what for what, holds in checks.items() if not holds]


def test_a_life_writes_at_every_step_that_the_walk_is_to_visit(ground: Ground) -> None:
    writes = ground.undisturbed(doomed, *ground.new())
    if ground.kind != "sqlite":
        commands = [name.partition(" ")[0] for name in writes]
        assert commands.count("EVALSHA") >= 8, writes
        assert ("SREM" in commands) == (ground.kind == "cluster"), "indexes lie in slots of their own there"
    else:
        steps = ["acquire_lease", "apply reserve", "keep_session", "apply extend", "apply settle"]
        places = iter(writes)
        assert all(step in places for step in steps), writes
        assert writes.count("apply extend") >= 3


async def walk(ground: Ground, life: Life, when: When) -> list[str]:
    """A death at every write of the life, each in a world of its own; what was wrong afterwards."""
    failures = []
    for number, name in enumerate(ground.undisturbed(life, *ground.new()), start=1):
        url, folder = ground.new()
        assert ground.live(life, url, folder, number, when) == -signal.SIGKILL, name
        books = await recover(url, folder / "world")
        if found := wrong(books):
            failures.append(f"killed {when} write {number}, {name}: not {', '.join(found)}: {books}")
    return failures


@pytest.mark.parametrize("when", ["before", "after"])
async def test_kill_at_any_write_loses_and_doubles_nothing(ground: Ground, when: When) -> None:
    failures = await walk(ground, doomed, when)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("ground", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_r10_r11_kill_at_any_write_over_the_months_end_grants_and_uses_each_months_once(
    ground: Ground, when: When
) -> None:
    failures = await walk(ground, doomed_over_midnight, when)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("ground", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_r3_kill_at_any_write_of_an_included_message_uses_it_once(ground: Ground, when: When) -> None:
    for number, name in enumerate(ground.undisturbed(doomed_message, *ground.new()), start=1):
        url, folder = ground.new()
        assert ground.live(doomed_message, url, folder, number, when) == -signal.SIGKILL, name
        balances, cdrs, findings = await recover_message(url, folder / "world")
        told = f"killed {when} write {number}, {name}: {balances} {cdrs} {findings}"
        assert balances["vmail:2026-11"] == Balance(0), told
        assert balances[granted("2026-11", "vmail")].posted == 1, told
        assert balances[CREDIT].posted == TOP_UP, told
        assert all(one.reserved == 0 for one in balances.values()), told
        assert [cdr["free_messages"] for cdr in cdrs if cdr["messages"]] == [{"2026-11": 1}], told
        assert findings == [], told
