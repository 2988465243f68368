"""Sessions of a switch that no daemon leads are told: nobody ends them, and what they hold is locked away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.engine import told
from charging.engine.left_open import LOOK_S, LeftOpen
from charging.ledger.model import Kind, Leg, Opened, Transfer
from charging.tasks import Tasks
from tests.fakes.rig import EURO, Rig, make_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        await one.subscriber(credit=10 * EURO)
        yield one


@pytest.fixture
async def shown(rig: Rig) -> AsyncIterator[list[float]]:
    """What the gauge shows, as the daemon looks."""
    figures, tasks = list[float](), Tasks()
    tasks.begin(LeftOpen(rig.registry, rig.store.leases, figures.append).run(), "left-open")
    yield figures
    await tasks.end()


async def opened_at(rig: Rig, switch: str, session: str = "s1") -> None:
    """A call of another switch's."""
    change = Opened(switch, "{}", 0, 0)
    leg = (Leg("credit", 0, EURO, 0),)
    opening = Transfer(f"{session}/1/reserve", "anna", Kind.RESERVE, rig.clock.now().wall_us, leg, session, change)
    await rig.store.apply(opening)


def heard(rig: Rig) -> list[dict[str, int]]:
    return [dict(one.switches) for one in rig.told if isinstance(one, told.SessionsLeftOpen)]


async def test_sessions_of_a_switch_that_no_daemon_leads_are_told_once(rig: Rig, shown: list[float]) -> None:
    """Its switch.id was changed while calls ran: whoever had one call at once was never forwarded again."""
    await opened_at(rig, "old")
    await opened_at(rig, "old", "s2")
    await rig.clock.advance(LOOK_S + 1)
    assert (heard(rig), shown) == ([], [0]), "its daemon may be about to come back"
    await rig.clock.advance(2 * LOOK_S)
    assert (heard(rig), shown[-1]) == ([{"old": 2}], 2)
    await opened_at(rig, "old", "s3")
    await rig.clock.advance(LOOK_S)
    assert (heard(rig), shown[-1]) == ([{"old": 2}, {"old": 3}], 3)


async def test_sessions_of_a_switch_that_a_daemon_leads_are_not(rig: Rig, shown: list[float]) -> None:
    await opened_at(rig, "east")
    await rig.ringing()
    await rig.store.leases.acquire_lease("east", "its daemon", 10 * LOOK_S)
    await rig.clock.advance(3 * LOOK_S)
    assert (heard(rig), shown[-1]) == ([], 0)
    await rig.clock.advance(10 * LOOK_S)
    assert heard(rig) == [{"east": 1}], "the lease has lapsed"


async def test_a_daemon_that_stands_by_leaves_it_to_the_one_that_leads(rig: Rig, shown: list[float]) -> None:
    """It shows none, and as it leads again two looks have to find them anew."""
    await opened_at(rig, "old")
    await rig.clock.advance(3 * LOOK_S)
    assert (len(heard(rig)), shown[-1]) == (1, 1)
    rig.registry.leads = lambda: False
    await rig.clock.advance(LOOK_S)
    assert shown[-1] == 0
    rig.registry.leads = lambda: True
    await rig.clock.advance(LOOK_S)
    assert (len(heard(rig)), shown[-1]) == (1, 0)
    await rig.clock.advance(LOOK_S)
    assert (len(heard(rig)), shown[-1]) == (2, 1)
