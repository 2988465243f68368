"""`kill -9` at every write of a round over months and credit, of an upgrade and of a payment: the next start, or the
same act again, comes to the books that there would have been (R11, R18, R19)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agi.port import IncomingCall
from charging.call.model import Policy
from charging.ledger.accounts import Number
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Balance
from charging.ledger.port import Store
from tests.fakes.clock import FakeClock
from tests.fakes.killing_store import When
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig
from tests.fakes.switch import FakeSwitch
from tests.integration.doomed_acts import (
    DECEMBER,
    NOVEMBER,
    Books,
    at,
    books,
    doomed_night,
    doomed_payment,
    doomed_upgrade,
    findings,
    night,
    opened,
    pay,
    prepare,
    the_tariff,
)
from tests.integration.killing_ground import Ground, Life, ground_of

BOTH_MOMENTS = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture(params=["sqlite", "redis"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with ground_of(request.param, tmp_path) as one:
        yield one


async def prepared(ground: Ground) -> tuple[str, Path]:
    url, folder = ground.new()
    await prepare(url)
    return url, folder


async def lived(ground: Ground, life: Life) -> tuple[list[str], Books]:
    """The writes of an act in which nobody dies, and the books after it."""
    url, folder = await prepared(ground)
    writes = ground.undisturbed(life, url, folder)
    async with opened(url) as store:
        return writes, await books(store)


async def killed(ground: Ground, life: Life, number: int, when: When) -> str:
    """The URL of books at which a process died in its ``number``-th write."""
    url, folder = await prepared(ground)
    assert ground.live(life, url, folder, number, when) == -signal.SIGKILL
    return url


def expiries(found: Books) -> dict[str, list[str]]:
    lines = {
        account: [line.id for line in journal if line.id.startswith("expire/")]
        for account, (_, journal) in found.items()
    }
    return {account: ids for account, ids in lines.items() if ids}


# --- the night --------------------------------------------------------------------------------------------------


async def test_r11_r19_the_night_ends_what_has_lapsed_and_grants_what_is_due(ground: Ground) -> None:
    _, found = await lived(ground, doomed_night)
    assert expiries(found) == {
        "anna": ["expire/credit/2027-12-01"],
        "bert": [f"expire/{bundle('2027-10')}", f"expire/{bundle(NOVEMBER)}"],
    }
    assert found["carl"][0][bundle(NOVEMBER)] == Balance(500, 60), "a running call holds some of it"
    assert found["dora"][0][bundle(DECEMBER)] == Balance(1440), "the plan is the larger one"
    assert found["erik"][0][CREDIT] == Balance(10 * EURO, EURO), "a running call postpones it"
    assert found["finn"][0][CREDIT] == Balance(9 * EURO), "the year from his last use ends tonight"


@BOTH_MOMENTS
async def test_r11_r19_a_round_killed_at_any_write_is_finished_by_the_next(ground: Ground, when: When) -> None:
    writes, expected = await lived(ground, doomed_night)
    assert len(writes) >= 4
    for number, name in enumerate(writes, start=1):
        async with opened(await killed(ground, doomed_night, number, when)) as store:
            await night(store)
            assert await books(store) == expected, f"killed {when} write {number}, {name}"
            assert await findings(store) == []


async def test_r11_r19_two_daemons_at_once_make_one_round(ground: Ground) -> None:
    _, expected = await lived(ground, doomed_night)
    url, _ = await prepared(ground)
    async with opened(url) as store:
        if ground.kind == "sqlite":  # one process alone has the file: two rounds of that one
            await asyncio.gather(night(store), night(store))
        else:
            async with opened(url) as other:
                await asyncio.gather(night(store), night(other), night(store))
        assert await books(store) == expected
        assert await findings(store) == []


# --- an upgrade -------------------------------------------------------------------------------------------------


async def by_the_next_call(store: Store) -> None:
    clock = FakeClock(wall_us=at("2027-11-20T13:00"))
    assert await store.directory.put_number(Number(NUMBER, "bert", forward_to=TARGET))
    rig = Rig(clock, store, FakeSwitch(clock), Policy(), the_tariff())
    await rig.recovery.reconcile()
    answer = await rig.desk.incoming(IncomingCall(NUMBER, "+31107654321", "u1", "PJSIP/world-1"))
    assert answer.reason == "free_minutes"
    await rig.kill_daemon()


@BOTH_MOMENTS
async def test_r11_an_upgrade_killed_at_any_write_is_whole_with_the_next_call(ground: Ground, when: When) -> None:
    """Before the plan is stored nothing has happened; from then on the seconds are there."""
    writes, expected = await lived(ground, doomed_upgrade)
    assert expected["bert"][0][bundle(NOVEMBER)] == Balance(1400)
    larger = []
    for number in range(1, len(writes) + 1):
        async with opened(await killed(ground, doomed_upgrade, number, when)) as store:
            stored = await store.directory.account("bert")
            assert stored is not None
            larger.append(stored.plan == "max")
            await by_the_next_call(store)
            left = (await store.balances("bert"))[bundle(NOVEMBER)].posted
            assert left == (1400 if stored.plan == "max" else 500), f"killed {when} write {number}"
            assert await findings(store) == []
    assert True in larger, "one was killed between the two"


# --- a payment --------------------------------------------------------------------------------------------------


@BOTH_MOMENTS
async def test_r18_a_payment_killed_at_any_write_is_recorded_once_by_telling_it_again(
    ground: Ground, when: When
) -> None:
    url, folder = await prepared(ground)
    writes = ground.undisturbed(doomed_payment, url, folder)
    async with opened(url) as store:
        expected = await store.directory.account("bert")
        await pay(store)
        assert await store.directory.account("bert") == expected
    for number in range(1, len(writes) + 1):
        async with opened(await killed(ground, doomed_payment, number, when)) as store:
            await pay(store)
            assert await store.directory.account("bert") == expected
