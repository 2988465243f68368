"""A ledger moves from any store to any other and back, whole; and not while it is in use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

import charging
from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.accounts import Account, Number
from charging.ledger.books import exclusive as alone
from charging.ledger.books.move import export_lines, import_lines
from charging.ledger.books.portable import Counts
from charging.ledger.books.verify import verify
from charging.ledger.documents import COLLECTIONS
from charging.ledger.memory import MemoryStore
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import SOLE, Store
from tests.contract.scenario import add_account, assert_sound, run
from tests.fakes.clock import FakeClock

BOOKS = """
    t1 top_up credit=+100                             -> created
    r1 reserve s1:open credit=/60 bundle:2026-11=/5 after g1 bundle:2026-11=+9 -> created
    e1 settle s1:close+cdr credit=-45/-60 bundle:2026-11=/-5 -> created
    r2 reserve s2:open day:2026-11-21=/7@-500         -> created
    e2 release s2:close day:2026-11-21=/-7            -> created
"""


@pytest.fixture
async def house() -> MemoryStore:
    """A memory store with books in it."""
    store = MemoryStore()
    await add_account(store)
    await run(store, BOOKS)
    await store.directory.put_account(Account("b", "voice_pro", email="é@example.nl"))
    await store.directory.put_account(Account("b", "voice_light", version=1))
    await store.apply(Transfer("t1", "b", Kind.TOP_UP, 3, (Leg("credit", 7),), reason="“één”\n", actor="cli:é"))
    await store.directory.put_number(Number("+31201234567", "b", "+31612345678", paid_voicemail=False))
    await store.documents.put_document("notices", "low/1", '{"to":"é"}', 7)
    await store.documents.put_document("api-tokens", "t1", "hash")
    return store


async def exported(store: Store) -> list[str]:
    return [line async for line in export_lines(store, Counts())]


async def test_a_ledger_moves_in_and_out_unchanged(store: Store, house: MemoryStore) -> None:
    original = await exported(house)
    counts = Counts()
    await import_lines(store, original, counts)
    assert counts == Counts(accounts=2, lines=7, cdrs=1, numbers=1, documents=2)
    assert await exported(store) == original
    for account in ("a", "b"):
        assert await store.balances(account) == await house.balances(account)
    (due,) = await store.documents.due_documents("notices", 7, 10)
    assert (due.id, due.body, due.due_us) == ("low/1", '{"to":"é"}', 7)
    await assert_sound(store)


def test_every_collection_of_documents_moves() -> None:
    sources = (Path(charging.__file__).parent).rglob("*.py")
    named = {
        name
        for one in sources
        for name in re.findall(
            r'^(?:COLLECTION|RESULTS|USES|ENDPOINTS|LETTERS|FAILURES) = "(.*)"', one.read_text(), re.MULTILINE
        )
    }
    assert named - {"clock", "switches"} == set(COLLECTIONS), "of the place, not of the books"


async def test_a_moved_ledger_goes_on(store: Store, house: MemoryStore) -> None:
    await import_lines(store, await exported(house), Counts())
    await run(
        store,
        """
        t1 top_up credit=+100                      -> exists credit 55/0
        t1 top_up credit=+101                      -> differs credit 55/0
        r3 reserve s1:open credit=/1               -> session_exists credit 55/0
        r4 reserve s4:open credit=/55              -> created credit 55/55
        e4 settle s4:close+cdr credit=-55/-55      -> created credit 0/0
        """,
    )
    assert [line.number async for line in store.journal("a")] == list(range(1, 9))
    assert not await store.directory.put_account(Account("b", "voice_pro", version=1))
    assert await store.directory.put_account(Account("b", "voice_pro", version=2))
    await assert_sound(store)


async def test_a_ledger_with_open_sessions_does_not_move(store: Store, house: MemoryStore) -> None:
    await add_account(store)
    await run(store, "r9 reserve s9:open -> created")
    with pytest.raises(LedgerUnavailable, match=r"1 sessions are open, the first is s9"):
        await exported(store)
    with pytest.raises(LedgerUnavailable, match="sessions are open"):
        await import_lines(store, await exported(house), Counts())


async def test_a_ledger_that_daemons_use_does_not_move(store: Store, house: MemoryStore) -> None:
    epoch = await store.leases.acquire_lease("switch-1", "daemon-1", 60)
    assert epoch is not None
    with pytest.raises(LedgerUnavailable, match="switch switch-1 by daemon-1"):
        await exported(store)
    with pytest.raises(LedgerUnavailable, match="daemons are at work"):
        await import_lines(store, await exported(house), Counts())
    await store.leases.release_lease("switch-1", "daemon-1", epoch)
    await import_lines(store, await exported(house), Counts())


async def test_a_daemon_that_starts_during_an_export_gets_no_lease(store: Store) -> None:
    for account in ("a", "b"):
        await add_account(store, account)
    async with aclosing(export_lines(store, Counts())) as lines:
        await anext(lines)
        assert '"a"' in await anext(lines)
        assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is None
        with pytest.raises(LedgerUnavailable, match="another export, import or archive"):
            await anext(export_lines(store, Counts(), "export-2"))
        assert '"b"' in await anext(lines)
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is not None


async def test_an_export_that_is_broken_off_lets_go(store: Store) -> None:
    async with aclosing(export_lines(store, Counts())) as lines:
        await anext(lines)
    assert await store.leases.held_leases() == []


async def test_a_long_export_keeps_the_daemons_off_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "RENEWAL_ROWS", 2)
    store = SlowStore(alone.SOLE_TTL_S - 1)
    await add_account(store)
    await run(store, BOOKS)
    assert len(await exported(store)) == 16
    assert store.daemons_epochs == [None] * 7


async def test_a_second_import_is_refused_while_one_runs_and_one_that_ended_is_no_obstacle(
    store: Store, house: MemoryStore
) -> None:
    lines = await exported(house)
    epoch = await store.leases.acquire_lease(SOLE, "import-1", 60)
    assert epoch is not None
    with pytest.raises(LedgerUnavailable, match="another export, import or archive"):
        await import_lines(store, lines, Counts(), "import-2")
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is None
    assert await store.leases.held_leases() == [f"switch {SOLE} by import-1"]
    await store.leases.release_lease(SOLE, "import-1", epoch)
    await import_lines(store, lines, Counts(), "import-2")
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is not None


async def test_an_import_that_failed_lets_go(store: Store, house: MemoryStore) -> None:
    with pytest.raises(LedgerCorrupt):
        await import_lines(store, (await exported(house))[:-1], Counts())
    assert await store.leases.held_leases() == []


class Killed(BaseException):
    """What nothing in the program can answer to."""


@pytest.mark.parametrize("after", [2, 5, 10, 13])
async def test_what_an_import_left_behind_that_was_killed_is_no_ledger(
    store: Store, store_url: str, house: MemoryStore, after: int
) -> None:
    lines = await exported(house)

    def killed() -> Iterator[str]:
        yield from lines[:after]
        raise Killed

    with pytest.raises(Killed):
        await import_lines(store, killed(), Counts())
    with pytest.raises(LedgerUnavailable, match="broken off"):
        await anext(verify(store))
    with pytest.raises(LedgerUnavailable, match=r"broken off.*empty the store"):
        await import_lines(store, lines, Counts())
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 60) is None
    await store.close()
    with pytest.raises(LedgerUnavailable, match="broken off"):
        await (store if isinstance(store, MemoryStore) else open_store(store_url)).open()


async def test_a_file_of_which_nothing_came_in_leaves_the_store_as_it_was(store: Store, house: MemoryStore) -> None:
    lines = await exported(house)
    with pytest.raises(LedgerCorrupt, match=r"line 2: not a record.*; nothing was imported"):
        await import_lines(store, [lines[0], "a tariff, say"], Counts())
    await import_lines(store, lines, Counts())
    await assert_sound(store)


class SlowStore(MemoryStore):
    """A store that takes its time before each renewal of a lease."""

    def __init__(self, pause_s: float) -> None:
        self.clock = FakeClock()
        super().__init__(self.clock)
        self._pause_s = pause_s
        self.daemons_epochs: list[int | None] = []
        self._renew, self.leases.renew_lease = self.leases.renew_lease, self._renewed  # type: ignore[method-assign]

    async def _renewed(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        await self.clock.advance(self._pause_s)
        self.daemons_epochs.append(await self.leases.acquire_lease("switch-1", "daemon-1", 60))
        return await self._renew(switch, owner, epoch, ttl_s)


async def test_a_long_import_keeps_the_daemons_off_to_its_end(
    house: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "RENEWAL_ROWS", 2)
    store = SlowStore(alone.SOLE_TTL_S - 1)
    await import_lines(store, await exported(house), Counts())
    assert store.daemons_epochs == [None] * (len(await exported(house)) // 2 + 1)
    await assert_sound(store)


async def test_an_import_that_a_daemon_has_overtaken_gives_up(
    house: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "RENEWAL_ROWS", 2)
    store = SlowStore(alone.SOLE_TTL_S)
    with pytest.raises(LedgerUnavailable, match="took too long and lost the ledger"):
        await import_lines(store, await exported(house), Counts())
    assert store.daemons_epochs == [1]


async def test_a_store_that_is_not_empty_takes_nothing_in(store: Store, house: MemoryStore) -> None:
    await add_account(store, "c")
    with pytest.raises(LedgerUnavailable, match="not empty, it has account c"):
        await import_lines(store, await exported(house), Counts())


@pytest.mark.parametrize("collection", COLLECTIONS)
async def test_a_store_that_has_documents_takes_nothing_in(store: Store, house: MemoryStore, collection: str) -> None:
    await store.documents.put_document(collection, "t1", "{}")
    with pytest.raises(LedgerUnavailable, match=f"not empty, it has t1 of {collection}"):
        await import_lines(store, await exported(house), Counts())


def edit(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line.replace(old, new) for line in lines]


def number_in(lines: list[str]) -> int:
    """Where the one number stands."""
    return next(place for place, line in enumerate(lines) if line.startswith('["number"'))


SPOILT: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "cut short": (lambda lines: lines[:-1], "cut short"),
    "nothing": (lambda lines: [], "cut short"),
    "without its head": (lambda lines: lines[1:], "line 1: a record that is out of its place"),
    "of another format": (lambda lines: ['["ledger",99]', *lines[1:]], "line 1: format 99"),
    "a line lost": (lambda lines: [*lines[:3], *lines[4:]], "numbering of line 3"),
    "an amount edited": (edit("100,0", "900,0"), "digest of line 1"),
    "half a record": (lambda lines: [*lines[:2], lines[2][:30], *lines[3:]], "line 3: not a record"),
    "a float": (edit("100,0", "100.0,0"), "line 3: not a record"),
    "a time edited": (edit('"t1","top_up",2', '"t1","top_up",1'), "line 23: .*its sum is another"),
    "an id edited": (edit('"e1"', '"e9"'), "its sum is another"),
    "a CDR edited": (edit("45}", "46}"), "its sum is another"),
    "a target edited": (edit("+31612345678", "+31612345679"), "its sum is another"),
    "a token edited": (edit('"hash"', '"cash"'), "its sum is another"),
    "of the first format": (edit('["ledger",2]', '["ledger",1]'), "line 1: format 1, .* export again"),
    "a time beyond sense": (edit('"top_up",2,', f'"top_up",{10**20},'), "line 3: 10+ is beyond every limit"),
    "too deep": (edit('"payments":[]', '"payments":' + "[" * 900 + "]" * 900), "line 2: not a record"),
    "far too deep": (edit('["account"', "[" * 100_000), "line 2: not a record"),
    "half a character": (edit("“", r"\ud800"), "line 11: not a record"),
    "not a number": (edit('"paid_until_us":null', '"paid_until_us":NaN'), "line 2: not a record"),
    "an account without a name": (edit('"id":"a"', '"id":7'), "line 2: not a record"),
    "of no kind": (edit('"top_up"', "[]"), "line 3: not a record"),
    "text after the end": (lambda lines: [*lines, lines[1]], "out of its place"),
    "an account lost": (
        lambda lines: [*lines[:9], lines[number_in(lines)]],
        "number .* is of account b, which is not there",
    ),
    "a number twice": (
        lambda lines: [*lines[: number_in(lines) + 1], *lines[number_in(lines) :]],
        "number .* was there before",
    ),
    "a number lost": (lambda lines: [*lines[: number_in(lines)], *lines[number_in(lines) + 1 :]], "the file says"),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_a_spoilt_export_is_refused_with_the_line(house: MemoryStore, how: str) -> None:
    spoil, message = SPOILT[how]
    lines = spoil(await exported(house))
    with pytest.raises(LedgerCorrupt, match=message):
        await import_lines(MemoryStore(), lines, Counts())
