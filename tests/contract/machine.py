"""Drives several stores with the same random operations and compares everything they answer and hold.

The memory store, first in the list, is the specification. Identifiers and amounts come from small pools, so that
repeated ids, double closes, short balances and old epochs are common.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from charging.ledger.accounts import Account, Number, Status
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Closed,
    Kept,
    Kind,
    Leg,
    Opened,
    SessionChange,
    Transfer,
)
from charging.ledger.port import Store
from charging.ledger.verify import verify

ACCOUNTS = st.sampled_from(["a", "b", "missing"])
SESSIONS = st.sampled_from(["s1", "s2", "s3"])
EPOCHS = st.sampled_from([0, 0, 0, 1, 2])
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
    st.builds(Opened, st.sampled_from(["x", "y"]), st.text(max_size=3), EPOCHS),
    st.builds(Kept, st.text(max_size=3), EPOCHS),
    st.builds(Closed, st.sampled_from(["", "{}"]), TIMES_US, EPOCHS),
)
IDS = st.integers(1, 30).map(str)
GRANTS = st.lists(st.integers(1, 3), max_size=2, unique=True)


class Machine(RuleBasedStateMachine):
    """One run: the stores are made empty by ``make``, in its own event loop."""

    def __init__(self, make: Callable[[], Awaitable[Sequence[Store]]]) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._make = make
        self._stores: Sequence[Store] = ()

    @initialize()
    def set_up(self) -> None:
        self._stores = self._runner.run(_awaited(self._make()))
        for account in ("a", "b"):
            self._same(lambda store, account=account: store.put_account(Account(account, "voice_free")))

    def teardown(self) -> None:
        try:
            if self._stores:
                self._check_sound()
        finally:
            for store in self._stores:
                self._runner.run(store.close())
            self._runner.close()

    # -- operations

    @rule(
        account=ACCOUNTS,
        identity=IDS,
        at_us=TIMES_US,
        amount=st.integers(1, 100),
        balance=st.sampled_from(["credit", "bundle:2026-11"]),
    )
    def credit(self, account: str, identity: str, at_us: int, amount: int, balance: str) -> None:
        self._apply(Transfer(identity, account, Kind.TOP_UP, at_us, (Leg(balance, amount),)))

    @rule(account=ACCOUNTS, identity=IDS, at_us=TIMES_US, legs=LEGS, session=SESSIONS, change=CHANGES, granted=GRANTS)
    def change_session(
        self,
        account: str,
        identity: str,
        at_us: int,
        legs: tuple[Leg, ...],
        session: str,
        change: SessionChange,
        granted: list[int],
    ) -> None:
        grants = [
            Transfer(f"grant/{number}", account, Kind.GRANT, at_us, (Leg("bundle:2026-11", number),))
            for number in granted
        ]
        self._apply(Transfer(identity, account, Kind.EXTEND, at_us, legs, session, change), grants)

    @rule(account=ACCOUNTS, identity=IDS, session=SESSIONS, reserved=st.integers(1, 60))
    def reserve(self, account: str, identity: str, session: str, reserved: int) -> None:
        legs = (Leg("credit", 0, reserved), Leg("calls", 0, 1, -2))
        self._apply(Transfer(identity, account, Kind.RESERVE, 1, legs, session, Opened("x", "")))

    @rule(identity=IDS, cdr=st.sampled_from(["", "{}"]), which=st.integers(0, 5), used=st.integers(0, 60))
    def close_one(self, identity: str, cdr: str, which: int, used: int) -> None:
        """Close an open session as the runner would: give back all it holds, and charge some of it."""
        sessions = self._same(lambda store: store.sessions())
        if not sessions:
            return
        session = sessions[which % len(sessions)]
        legs = tuple(Leg(name, -min(used, held), -held) for name, held in sorted(session.holds.items()))
        change = Closed(cdr, 7, session.epoch)
        self._apply(Transfer(identity, session.account, Kind.SETTLE, 2, legs, session.id, change))

    @rule(account=ACCOUNTS, session=SESSIONS, state=st.text(max_size=5), epoch=EPOCHS)
    def keep(self, account: str, session: str, state: str, epoch: int) -> None:
        self._same(lambda store: store.keep_session(account, session, state, epoch))

    @rule(account=ACCOUNTS, version=st.integers(0, 3), status=st.sampled_from(Status), email=st.text(max_size=4))
    def edit_account(self, account: str, version: int, status: Status, email: str) -> None:
        if account != "missing":
            edited = Account(account, "voice_pro", email=email, status=status, version=version)
            self._same(lambda store: store.put_account(edited))

    @rule(number=st.sampled_from(["+311", "+312"]), account=ACCOUNTS, paid=st.sampled_from([None, True, False]))
    def edit_number(self, number: str, account: str, paid: bool | None) -> None:
        self._same(lambda store: store.put_number(Number(number, account, paid_voicemail=paid)))

    @rule(number=st.sampled_from(["+311", "+312"]))
    def remove_number(self, number: str) -> None:
        self._same(lambda store: store.remove_number(number))

    # -- what must be the same

    @invariant()
    def same_balances_and_sessions(self) -> None:
        if self._stores:
            for account in ("a", "b", "missing"):
                self._same(lambda store, account=account: _dict(store.balances(account)))
            self._same(lambda store: _list(store.sessions()))
            self._same(lambda store: _list(store.sessions("x", "a")))

    def _check_sound(self) -> None:
        for account in ("a", "b", "missing"):
            self._same(lambda store, account=account: _drained(store.journal(account)))
            self._same(lambda store, account=account: _list(store.journal_page(account, 9, 4)))
            self._same(lambda store, account=account: _list(store.cdrs(account=account)))
            self._same(lambda store, account=account: _list(store.numbers(account)))
        self._same(lambda store: _list(store.cdrs(since_us=3, until_us=15, limit=5)))
        self._same(lambda store: _drained(store.accounts()))
        findings = self._same(lambda store: _drained(verify(store)))
        assert {finding.fault for finding in findings} <= {"negative"}, findings

    def _apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> None:
        self._same(lambda store: _comparable(store.apply(transfer, grants)))

    def _same(self, operation: Callable[[Store], Awaitable[Any]]) -> Any:
        """The answer that all stores give."""
        specified, *answers = [self._runner.run(_awaited(operation(store))) for store in self._stores]
        for store, answer in zip(self._stores[1:], answers, strict=True):
            assert answer == specified, f"{type(store).__name__}: {answer}, but the specification: {specified}"
        return specified


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _list(awaitable: Awaitable[Sequence[Any]]) -> list[Any]:
    return list(await awaitable)


async def _dict(awaitable: Awaitable[Any]) -> dict[str, Any]:
    return dict(await awaitable)


async def _drained(iterator: Any) -> list[Any]:
    return [item async for item in iterator]


async def _comparable(awaitable: Awaitable[Applied]) -> tuple[Any, ...]:
    """The details are for logs, and each store words them as it likes."""
    applied = await awaitable
    return applied.outcome, dict(applied.balances)
