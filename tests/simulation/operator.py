"""What the operator of a simulated city does with the ledger while no daemon runs."""

from __future__ import annotations

from charging.clock import MICROSECONDS
from charging.errors import LedgerUnavailable
from charging.ledger.books.archive import archive
from charging.ledger.books.move import export_lines, import_lines
from charging.ledger.books.portable import Counts
from charging.ledger.port import IDS_REMEMBERED_S
from tests.simulation.city import City
from tests.simulation.replica import audit

SETTLED_WITHIN_S = 120
"""After a start daemons have booked what was left open."""
A_MOMENT = 0.02
"""Days: longer than a lease."""


async def archive_after(city: City, days: float) -> None:
    """Nobody works for so long; what is left open is found, and settled, and then months that are over are archived."""
    await city.leap(days, lambda: _verify(city))
    await city.clock.advance(SETTLED_WITHIN_S)
    await city.leap(A_MOMENT, lambda: _archive(city))


async def _verify(city: City) -> None:
    """`charging ledger verify` names every session that is open for so long, and nothing else."""
    expected = {f"session {one.id}" for one in await city.store.sessions()}
    assert {finding.subject for finding in await audit(city)} == expected, "verify names every session that nobody ends"
    city.counts["session named by verify"] += len(expected)


async def _archive(city: City) -> None:
    now_us, counts = city.clock.now().wall_us, Counts()
    before_us = now_us - IDS_REMEMBERED_S * MICROSECONDS
    await archive(city.store, before_us, now_us, city.archives, city.tariff.month_of, counts)
    city.archived_us = before_us
    city.counts["archived"] += 1
    city.counts["lines archived"] += counts.lines
    await _verify(city)


async def move_house(city: City) -> None:
    """Everybody hangs up, and the ledger goes into another store, from which it comes out as it went in."""
    city.is_over = True
    city.end_calls()
    await city.clock.advance(SETTLED_WITHIN_S)
    city.is_over = False
    await city.leap(A_MOMENT, lambda: _move(city))


async def _move(city: City) -> None:
    try:
        exported = [line async for line in export_lines(city.store, Counts())]
    except LedgerUnavailable:  # a session is open yet: a daemon has to settle it first
        city.counts["move refused"] += 1
        return
    before, city.store = city.store, city.new_store()
    await city.store.open()
    await import_lines(city.store, exported, Counts())
    again = [line async for line in export_lines(city.store, Counts())]
    assert again == exported, "the ledger comes out of the other store as it went in"
    await before.close()
    city.counts["moved"] += 1
