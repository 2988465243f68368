"""What a simulated city's ledger loses: by a fail-over of Redis to a replica that lacks the last writes, and by the
restore of a backup.

With ``min_replicas_ack`` (`docs/high-availability.md`) a write is answered once a replica has it. A master that is cut
off from its replicas still carries out what it is sent, shows it to whoever reads, and acknowledges nothing of it: a
fail-over then loses only what nobody was told of, and the books must be exact. Without, and by a restore, acknowledged
writes are lost; what that may cost is written in `docs/limits.md` and `docs/operate.md`, and nothing may be doubled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from charging.clock import Clock
from charging.ledger.accounts import Number
from charging.ledger.books.audit import Discrepancy, Fault
from charging.ledger.books.verify import verify
from charging.ledger.documents import Document
from charging.ledger.feed import FeedEntry
from charging.ledger.memory import MemoryLeases, MemoryStore, _Books, _Lease
from charging.ledger.model import JournalLine
from charging.service.ledger_contents import LedgerContents
from tests.simulation import filed

if TYPE_CHECKING:
    from tests.simulation.city import City

READ_ONLY_S = 2.0
"""While the replica takes over, and connections still lead to the old master."""
A_MOMENT = 0.002
"""Days."""


class Leases(MemoryLeases):
    """As `lease.lua` gives out epochs: never one again, also where the last ones were lost."""

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        if await super().acquire_lease(switch, owner, ttl_s) is None:
            return None
        lease = self._leases[switch]
        lease.epoch = max(lease.epoch, self._clock.now().mono_us // 1000)
        return lease.epoch


class Ledger(MemoryStore):
    """In memory, with a memory of what it was."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.leases = Leases(clock, self.documents._stored)
        self.is_cut_off = False
        """The master has lost its replicas: it carries out what it is sent, and no write is acknowledged."""
        self.is_read_only = False
        """The replica is not the master yet."""
        self.times_lost = 0
        """How often what came after a moment was."""

    def copied(self) -> Copy:
        """As it is now."""
        books = {
            account: replace(
                one,
                journal=list(one.journal),
                digests=dict(one.digests),
                balances=dict(one.balances),
                sessions=dict(one.sessions),
                cdrs=dict(one.cdrs),
            )
            for account, one in self._books.items()
        }
        by_mail = {address: set(found) for address, found in self.directory._by_mail.items()}
        leases = {switch: replace(one) for switch, one in self.leases._leases.items()}
        documents, numbers = dict(self.documents._stored), dict(self.directory._numbers)
        return Copy(books, documents, numbers, by_mail, leases, list(self.feed._entries))

    def become(self, copy: Copy) -> None:
        """What came since is lost."""
        self.times_lost += 1
        parts: tuple[tuple[dict[Any, Any], Mapping[Any, Any]], ...] = (
            (self._books, copy.books),
            (self.documents._stored, copy.documents),
            (self.directory._numbers, copy.numbers),
            (self.directory._by_mail, copy.by_mail),
            (self.leases._leases, copy.leases),
        )
        for mine, its in parts:
            mine.clear()
            mine.update(its)
        self.feed._entries = copy.entries


@dataclass(frozen=True, slots=True)
class Copy:
    """A ledger at one moment. To be given back once."""

    books: Mapping[str, _Books]
    documents: Mapping[tuple[str, str], Document]
    numbers: Mapping[str, Number]
    by_mail: Mapping[str, set[str]]
    leases: Mapping[str, _Lease]
    entries: list[FeedEntry]


async def fail_over(city: City, seconds: float, *, waits: bool) -> None:
    """The master dies, so many seconds after its replica has heard of anything. ``waits``: it has acknowledged nothing
    since."""
    ledger = city.store
    if not isinstance(ledger, Ledger) or ledger.is_cut_off or ledger.is_read_only or city.is_off:
        return
    city.counts["fail-over with waiting" if waits else "fail-over without waiting"] += 1
    for switch in range(city.setting.switches):
        city.trouble(switch, seconds + READ_ONLY_S)
    copy, since_us, times = ledger.copied(), city.clock.now().mono_us, ledger.times_lost
    ledger.is_cut_off = waits
    await city.wait(seconds)
    ledger.is_cut_off, ledger.is_read_only = False, True
    if ledger.times_lost == times:  # no backup was restored meanwhile
        ledger.become(copy)
        if not waits:
            await city.people.forget(since_us)
    await city.wait(READ_ONLY_S)
    ledger.is_read_only = False


async def restore(city: City, seconds: float) -> None:
    """A backup is made; so many seconds later the disk of the ledger dies, and every daemon with it: the copy is it."""
    before = city.store
    if isinstance(before, filed.FiledLedger) and not city.is_off:
        await filed.restore(city, seconds, _lines, _audited)
    if not isinstance(before, Ledger) or city.is_off:
        return
    copy, since_us, archived = before.copied(), city.clock.now().mono_us, city.counts["archived"]
    times = before.times_lost
    then = await _lines(city)
    await city.clock.advance(seconds)
    if city.store is not before or city.counts["archived"] != archived or before.times_lost != times:
        return  # by a fail-over, people know of what is lost: the backup would bring some of it back
    city.counts["backup restored"] += 1
    for daemon in list(city.alive()):
        await daemon.kill()
    before.become(copy)
    assert await _lines(city) == then, "a backup is the ledger of its moment"
    await city.people.forget(since_us)
    await city.leap(A_MOMENT, partial(_audited, city))


async def _audited(city: City) -> None:
    await audit(city)


async def _lines(city: City) -> list[JournalLine]:
    return [line for account in city.people.credited async for line in city.store.journal(account)]


async def audit(city: City) -> Sequence[Discrepancy]:
    """Whom `charging ledger verify` names: sessions that are open for so long. Raises AssertionError for all else, but
    for rules of packs that a fail-over without waiting has lost."""
    found = [finding async for finding in verify(city.store, LedgerContents(city.clock.now()))]
    if city.people.forgot:
        found = [finding for finding in found if finding.fault is not Fault.LOST_RULES]
    wrong = [str(finding) for finding in found if finding.fault is not Fault.OVERDUE]
    assert not wrong, wrong
    return found
