"""What SQLite carries out by a few statements for many is what it would do one after the other: the same answers, the
same rows. Chance makes what comes together; few accounts and sessions, so that much of it meets."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charging.errors import LedgerError
from charging.ledger.model import Applied, Closed, Kept, Kind, Leg, Opened, Outcome, SessionChange, Transfer
from charging.ledger.port import Wanted
from charging.ledger.sqlite import rows
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account

ACCOUNTS = [f"a{number}" for number in range(12)]
BATCHES = 80
TABLES = "journal", "balances", "sessions", "cdrs", "documents"


class Dealer:
    """Makes transfers by chance, most of which can be booked."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._serial = 0
        self._open: dict[str, dict[str, int]] = {account: {} for account in ACCOUNTS}
        """By account and session, the number of its last transfer."""
        self._asked: list[Wanted] = []

    def batch(self) -> list[Wanted]:
        return [self._wanted() for _ in range(self._chance.choice((1, 3, 5, 12, 30)))]

    def learn(self, transfer: Transfer, answer: Applied) -> None:
        if answer.outcome is Outcome.CREATED and transfer.session is not None and transfer.change is not None:
            if isinstance(transfer.change, Closed):
                self._open[transfer.account].pop(transfer.session, None)
            else:
                self._open[transfer.account][transfer.session] = transfer.change.follows + 1

    def _wanted(self) -> Wanted:
        chance = self._chance
        if self._asked and chance.random() < 0.1:
            transfer, grants = chance.choice(self._asked)
            return (transfer, grants) if chance.random() < 0.7 else (replace(transfer, reason="another"), grants)
        self._serial += 1
        account = chance.choice(ACCOUNTS) if chance.random() < 0.97 else "nobody"
        session, change = self._change(self._open.get(account, {}))
        transfer = Transfer(
            f"x{self._serial}",
            account,
            chance.choice((Kind.RESERVE, Kind.EXTEND, Kind.SETTLE, Kind.TOP_UP)),
            self._serial,
            tuple(self._legs(opens=isinstance(change, Opened), session=session)),
            session,
            change,
            chance.choice(("", 'é "\\ \n', "null")),
            "boss" if chance.random() < 0.05 else "",
        )
        minutes = Leg("bundle:2026-11", 30)
        grants = [Transfer(f"grant/{chance.randrange(3)}", account, Kind.GRANT, 1, (minutes,))]
        self._asked = [*self._asked[-30:], (transfer, grants if chance.random() < 0.1 else ())]
        return self._asked[-1]

    def _change(self, known: dict[str, int]) -> tuple[str | None, SessionChange | None]:
        chance, new = self._chance, f"s{self._serial}"
        epoch, state = chance.choice((1, 1, 1, 1, 0, 2)), chance.choice(("{}", '{"of":"é \\n"}', "1e3"))
        if not known or chance.random() < 0.4:
            is_new = not known or chance.random() < 0.9
            return (new if is_new else chance.choice(list(known))), Opened("x", state, epoch)
        session = chance.choice(list(known)) if chance.random() < 0.95 else new
        follows = known.get(session, 1) + (chance.random() < 0.05)
        if (kind := chance.random()) < 0.7:
            return session, Kept(state, epoch, follows)
        return (session, Closed("{}", self._serial, epoch, follows)) if kind < 0.85 else (None, None)

    def _legs(self, *, opens: bool, session: str | None) -> list[Leg]:
        chance = self._chance
        names = chance.sample(("credit", "calls", "promo:2026-12-31"), chance.randrange(3))
        floors = 0, -2, -(10**9), -(10**9)
        reserved = (0, 0) if session is None else (0, 10) if opens else (0, 5, -10)
        return [
            Leg(name, chance.choice((0, 0, -5, 10)), chance.choice(reserved), chance.choice(floors)) for name in names
        ]


def stored(path: Path) -> dict[str, list[Any]]:
    """All rows; of the feed, which lines of each account have a place, in their order."""
    with closing(sqlite3.connect(path)) as connection:
        found: dict[str, list[Any]] = {
            one: sorted(connection.execute(f"SELECT * FROM {one}"), key=repr) for one in TABLES
        }
        places = connection.execute("SELECT place, account, number FROM feed ORDER BY place").fetchall()
    assert len({place for place, _, _ in places}) == len(places)
    found["feed"] = sorted(((account, number) for _, account, number in places), key=lambda one: one[0])
    return found


async def one_by_one(store: SqliteStore, wanted: Sequence[Wanted]) -> list[Applied | LedgerError]:
    answers: list[Applied | LedgerError] = []
    for transfer, grants in wanted:
        try:
            answers.append(await store.apply(transfer, grants))
        except LedgerError as error:
            answers.append(error)
    return answers


async def damage(store: SqliteStore, account: str) -> None:
    """One of its sessions, if it has any."""
    holds = (
        "UPDATE sessions SET holds = '[' WHERE account = ?1 AND id = (SELECT min(id) FROM sessions WHERE account = ?1)"
    )
    await store._writer.changed(holds, (account,))


@pytest.mark.parametrize("seed", range(4))
async def test_what_comes_together_is_answered_and_stored_as_if_it_came_one_after_the_other(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, together_of, outcomes = random.Random(seed), rows._book, Counter[str]()

    def counting(*asked: Any) -> dict[int, Applied]:
        booked = together_of(*asked)
        outcomes["together"] += len(booked)
        return booked

    monkeypatch.setattr(rows, "_book", counting)
    dealer, together, apart = Dealer(chance), SqliteStore(tmp_path / "a.db"), SqliteStore(tmp_path / "b.db")
    for store in (together, apart):
        await store.open()
        for account in ACCOUNTS:
            await add_account(store, account)
            await store.apply(Transfer("t1", account, Kind.TOP_UP, 1, (Leg("credit", 200),)))
    for number in range(BATCHES):
        wanted = dealer.batch()
        if number % 20 == 19:
            account = chance.choice(ACCOUNTS)
            await asyncio.gather(damage(together, account), damage(apart, account))
        answers = await together.apply_all(wanted)
        expected = await one_by_one(apart, wanted)
        for (transfer, _), answer, alone in zip(wanted, answers, expected, strict=True):
            if isinstance(alone, Applied):
                assert answer == alone, transfer
                dealer.learn(transfer, alone)
                outcomes[alone.outcome] += 1
            else:
                assert type(answer) is type(alone), transfer
                outcomes["damaged"] += 1
        known = [await together.balances(account) for account in ACCOUNTS]
        assert known == [await apart.balances(account) for account in ACCOUNTS]
    assert stored(tmp_path / "a.db") == stored(tmp_path / "b.db")
    assert outcomes["together"] > 30
    seen = {"damaged", Outcome.EXISTS, Outcome.DIFFERS, Outcome.INSUFFICIENT, Outcome.FENCED, Outcome.SESSION_EXISTS}
    assert seen < set(outcomes)
    await together.close()
    await apart.close()
