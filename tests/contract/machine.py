"""Drives several stores with the same random operations and compares everything they answer and hold.

The memory store, first in the list, is the specification. Identifiers and amounts come from small pools, so that
repeated ids, double closes, short balances and old epochs are common.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from charging.ledger.accounts import Account, Number, Status
from charging.ledger.books.verify import verify
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Closed,
    Kept,
    Kind,
    Leg,
    Opened,
    OpenSession,
    SessionChange,
    Transfer,
)
from charging.ledger.port import Store

ACCOUNTS = st.sampled_from(["a", "a", "a", "b", "b", "missing"])
NUMBERS = ("+311", "+312")
"""Mail addresses as well."""
WHICH = st.integers(0, 50)
NEWER = st.sampled_from([0, 0, 0, 0, 1, 1, -1])
OFF = st.sampled_from([0, 0, 0, 0, 0, 1, -1])
SESSIONS = st.sampled_from(["s1", "s2", "s3"])
EPOCHS = st.sampled_from([0, 0, 0, 1, 2])
FOLLOWS = st.sampled_from([0, 1, 1, 2, 3])
TIMES_US = st.integers(1, 20)
AMOUNTS = st.one_of(st.integers(-20, 40), st.integers(-20, 40), st.sampled_from([AMOUNT_MAX, -AMOUNT_MAX]))
LEGS = st.lists(
    st.builds(
        Leg,
        st.sampled_from(["credit", "bundle:2026-11", "calls", "day:2026-11-21"]),
        posted=AMOUNTS,
        reserved=AMOUNTS,
        floor=st.sampled_from([0, 0, 0, -10, -AMOUNT_MAX]),
    ),
    max_size=3,
    unique_by=lambda leg: leg.balance,
).map(tuple)
CHANGES = st.one_of(
    st.builds(Opened, st.sampled_from(["x", "y"]), st.text(max_size=3), EPOCHS, FOLLOWS),
    st.builds(Kept, st.text(max_size=3), EPOCHS, FOLLOWS),
    st.builds(Closed, st.sampled_from(["", "{}"]), TIMES_US, EPOCHS, FOLLOWS, st.booleans()),
)
GRANTS = st.lists(st.integers(1, 3), max_size=2, unique=True)


class Machine(RuleBasedStateMachine):
    """One run: the stores are made empty by ``make``, in its own event loop."""

    def __init__(self, make: Callable[[], Awaitable[Sequence[Store]]]) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._make = make
        self._stores: Sequence[Store] = ()
        self._differed = False
        self._sent: list[tuple[Transfer, Sequence[Transfer]]] = []

    @initialize()
    def set_up(self) -> None:
        self._stores = self._runner.run(_awaited(self._make()))
        for account in ("a", "b"):
            self._of(account, lambda store, account: store.directory.put_account(Account(account, "voice_free")))
            self._apply(Transfer("start", account, Kind.TOP_UP, 1, (Leg("credit", 200),)))

    def teardown(self) -> None:
        try:
            if self._stores and not self._differed:
                self._check_sound()
        finally:
            for store in self._stores:
                self._runner.run(store.close())
            self._runner.close()

    # -- operations

    @rule(account=ACCOUNTS, amount=st.integers(1, 100), balance=st.sampled_from(["credit", "bundle:2026-11"]))
    def top_up(self, account: str, amount: int, balance: str) -> None:
        self._apply(Transfer(self._next_id(), account, Kind.TOP_UP, amount, (Leg(balance, amount),)))

    @rule(account=ACCOUNTS, session=SESSIONS, reserved=st.integers(0, 90), granted=GRANTS, at_us=TIMES_US)
    def reserve(self, account: str, session: str, reserved: int, granted: list[int], at_us: int) -> None:
        legs = (Leg("credit", 0, reserved), Leg("calls", 0, 1, -3), *([Leg("bundle:2026-11", 0, 1)] if granted else []))
        change = Opened("x", "opened", reserved % 3)
        transfer = Transfer(self._next_id(), account, Kind.RESERVE, at_us, legs, session, change)
        self._apply(transfer, _grants(account, granted))

    @rule(which=WHICH, legs=LEGS, state=st.text(max_size=3), newer=NEWER, off=OFF)
    def tick(self, which: int, legs: tuple[Leg, ...], state: str, newer: int, off: int) -> None:
        if session := self._open_session(which):
            change = Kept(state, max(0, session.epoch + newer), max(0, session.sequence + off))
            self._apply(Transfer(self._next_id(), session.account, Kind.EXTEND, 3, legs, session.id, change))

    @rule(
        which=WHICH,
        cdr=st.sampled_from(["", "{}"]),
        used=st.integers(0, 60),
        newer=NEWER,
        rest=st.sampled_from([0, 0, 0, 1]),
        off=OFF,
    )
    def settle(self, which: int, cdr: str, used: int, newer: int, rest: int, off: int) -> None:
        """Close a session as the runner would (but for ``rest``): charge some of what it holds and give back all."""
        if session := self._open_session(which):
            legs = tuple(Leg(name, -min(used, held), rest - held) for name, held in sorted(session.holds.items()))
            change = Closed(cdr, used, max(0, session.epoch + newer), max(0, session.sequence + off))
            self._apply(Transfer(self._next_id(), session.account, Kind.SETTLE, 2, legs, session.id, change))

    @rule(which=WHICH, state=st.text(max_size=5), newer=NEWER, off=OFF)
    def keep(self, which: int, state: str, newer: int, off: int) -> None:
        if session := self._open_session(which):
            kept = Kept(state, max(0, session.epoch + newer), max(0, session.sequence + off))
            self._keep(session.account, session.id, kept)
        else:
            self._keep("a", "s1", Kept(state))

    @rule(which=WHICH, changed=st.booleans())
    def repeat(self, which: int, changed: bool) -> None:
        """Send something again that was sent before, applied or not, the same or with other contents."""
        if self._sent:
            transfer, grants = self._sent[which % len(self._sent)]
            self._apply(replace(transfer, reason="other") if changed else transfer, grants)

    @rule(account=ACCOUNTS, legs=LEGS, session=SESSIONS, change=CHANGES, granted=GRANTS)
    def anything(
        self, account: str, legs: tuple[Leg, ...], session: str, change: SessionChange, granted: list[int]
    ) -> None:
        transfer = Transfer(self._next_id(), account, Kind.EXTEND, 9, legs, session, change)
        self._apply(transfer, _grants(account, granted))

    @rule(
        what=st.integers(0, 2),
        account=ACCOUNTS,
        version=st.integers(0, 3),
        seen=st.integers(0, 3),
        number=st.sampled_from(NUMBERS),
    )
    def directory(self, what: int, account: str, version: int, seen: int, number: str) -> None:
        records = [Number(number, account, paid_voicemail=paid) for paid in (None, True, False)]
        record, expected = records[version % 3], [*records, None][seen]
        status = Status.CLOSED if seen == 0 else Status.SUSPENDED
        edited = Account(account, "voice_pro", email=number, status=status, version=version)
        if what == 0 and account != "missing":
            self._same(lambda store: store.directory.put_account(edited))
        elif what == 1:
            self._same(lambda store: store.directory.put_number(record, expected))
        else:
            self._same(lambda store: store.directory.remove_number(record))

    # -- what must be the same

    @invariant()
    def same_balances_and_sessions(self) -> None:
        if self._stores:
            self._same(_balances_and_sessions)

    def _check_sound(self) -> None:
        for account in ("a", "b", "missing"):
            self._of(account, lambda store, account: _drained(store.journal(account)))
            self._of(account, lambda store, account: _list(store.journal_page(account, 9, 4)))
            self._of(account, lambda store, account: _list(store.cdrs(account=account)))
            self._of(account, lambda store, account: _list(store.directory.numbers(account)))
        self._same(lambda store: _list(store.cdrs(since_us=3, until_us=15, limit=5)))
        self._same(lambda store: _drained(store.directory.accounts()))
        self._same(lambda store: _list(store.directory.accounts_page("a", 1)))
        for address in NUMBERS:
            self._of(address, lambda store, address: _list(store.directory.accounts_of_mail(address, 2)))
        self._same(lambda store: _list(store.directory.numbers_page("+3120", 2)))
        findings = self._same(lambda store: _drained(verify(store)))
        assert {finding.fault for finding in findings} <= {"negative"}, findings

    def _next_id(self) -> str:
        return f"t{len(self._sent)}"

    def _open_session(self, which: int) -> OpenSession | None:
        sessions = self._same(lambda store: _list(store.sessions()))
        return sessions[which % len(sessions)] if sessions else None

    def _keep(self, account: str, session: str, kept: Kept) -> None:
        self._same(lambda store: store.keep_session(account, session, kept))

    def _apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> None:
        self._sent.append((transfer, grants))
        self._same(lambda store: _comparable(store.apply(transfer, grants)))

    def _of(self, subject: str, operation: Callable[[Store, str], Awaitable[Any]]) -> None:
        self._same(lambda store: operation(store, subject))

    def _same(self, operation: Callable[[Store], Awaitable[Any]]) -> Any:
        """The answer that all stores give."""
        specified, *answers = [self._runner.run(_awaited(operation(store))) for store in self._stores]
        for store, answer in zip(self._stores[1:], answers, strict=True):
            self._differed = answer != specified
            assert answer == specified, f"{type(store).__name__}: {answer}, but the specification: {specified}"
        return specified


def run_machine(make: Callable[[], Awaitable[Sequence[Store]]], how: settings) -> None:
    """Runs of what ``make`` makes empty. Raises AssertionError at the first difference."""
    factory: Any = lambda: Machine(make)  # noqa: E731  Hypothesis takes any factory, though its types say a class
    run_state_machine_as_test(factory, settings=how)


def _grants(account: str, granted: list[int]) -> list[Transfer]:
    legs = [(Leg("bundle:2026-11", number),) for number in granted]
    return [Transfer(f"grant/{leg[0].posted}", account, Kind.GRANT, 1, leg) for leg in legs]


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _balances_and_sessions(store: Store) -> list[Any]:
    """Asked together: a run asks a thousand times, and each time waits for the store once."""
    balances = [_dict(store.balances(account)) for account in ("a", "b", "missing")]
    sessions = [_list(store.sessions()), _list(store.sessions("x", "a"))]
    return list(await asyncio.gather(*balances, *sessions))


async def _list(awaitable: Awaitable[Sequence[Any]]) -> list[Any]:
    return list(await awaitable)


async def _dict(awaitable: Awaitable[Any]) -> dict[str, Any]:
    return dict(await awaitable)


async def _drained(iterator: Any) -> list[Any]:
    return [item async for item in iterator]


async def _comparable(awaitable: Awaitable[Applied]) -> tuple[Any, ...]:
    """The details are for logs, and each store words them as it likes."""
    applied = await awaitable
    return applied.outcome, dict(applied.balances), applied.session
