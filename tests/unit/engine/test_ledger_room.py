"""What becomes of calls while the disk of the ledger is full."""

from __future__ import annotations

import pytest

from charging.call.decide import NO_ROOM
from charging.engine import told
from charging.engine.desk import Desk
from charging.engine.ledger_room import ENOUGH_BYTES, LOW_BYTES, USED_UP_BYTES, LedgerRoom
from charging.metrics import Metrics
from tests.fakes.rig import EURO, make_rig


def watching(heard: list[told.Told]) -> LedgerRoom:
    return LedgerRoom(lambda what, _session=None: heard.append(what))


@pytest.mark.parametrize(
    ("looks", "events"),
    [
        ((LOW_BYTES, LOW_BYTES - 1), [told.LedgerRoomLow(67)]),
        ((LOW_BYTES - 1, ENOUGH_BYTES - 1), [told.LedgerRoomLow(67)]),
        ((LOW_BYTES - 1, ENOUGH_BYTES), [told.LedgerRoomLow(67), told.LedgerHasRoom(134)]),
        ((LOW_BYTES - 1, USED_UP_BYTES), [told.LedgerRoomLow(67)]),
        ((LOW_BYTES - 1, USED_UP_BYTES - 1), [told.LedgerRoomLow(67), told.LedgerOutOfRoom(8)]),
        ((USED_UP_BYTES - 1, ENOUGH_BYTES), [told.LedgerOutOfRoom(8), told.LedgerHasRoom(134)]),
        ((None, LOW_BYTES), []),
    ],
)
def test_someone_is_told_while_the_ledger_lives_on_its_own_room(
    looks: tuple[int | None, ...], events: list[told.Told]
) -> None:
    heard: list[told.Told] = []
    room = watching(heard)
    for left in looks:
        room.saw(left)
    assert heard == events


@pytest.mark.parametrize(
    ("looks", "refuses"),
    [
        ((USED_UP_BYTES,), False),
        ((USED_UP_BYTES - 1,), True),
        ((USED_UP_BYTES - 1, 2 * USED_UP_BYTES - 1), True),
        ((USED_UP_BYTES - 1, 2 * USED_UP_BYTES), False),
    ],
)
async def test_the_last_of_the_ledgers_room_is_for_calls_that_run(looks: tuple[int, ...], refuses: bool) -> None:
    """A new one is turned away and told why; nothing is written for it."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        room = watching([])
        for left in looks:
            room.saw(left)
        rig.desk = Desk(
            store=rig.store,
            tariff=lambda: rig.tariff,
            registry=rig.registry,
            switch=rig.switch,
            clock=rig.clock,
            policy=rig.policy,
            switch_id="test",
            observe=rig.observe,
            turns_away=lambda: NO_ROOM if room.is_used_up else None,
        )
        answer = await rig.ring()
        assert ((answer.decision, answer.reason) == ("reject", "no_room")) is refuses


def test_room_is_shown_where_the_ledger_knows_of_it() -> None:
    metrics = Metrics()
    room = LedgerRoom(lambda what, _session=None: None, metrics.ledger_room.set)
    room.saw(None)
    assert b"charging_ledger_room_bytes NaN" in metrics.render()
    room.saw(7_000_000)
    assert b"charging_ledger_room_bytes 7e+06" in metrics.render()
