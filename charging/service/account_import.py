"""Imports accounts and numbers from a CSV file, which `import_file.py` reads.

The whole file is checked first; if anything is wrong, nothing is written. Accounts and numbers that exist already and
are equal are skipped, so an interrupted import can be repeated. If they exist and differ, that is an error: an import
creates, it does not edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from charging.clock import Clock
from charging.errors import Problem
from charging.ledger.accounts import Account, Language, Number, Status
from charging.ledger.port import Store
from charging.service import text
from charging.service.accounts import Accounts
from charging.service.import_file import ImportRow, read_rows
from charging.service.numbers import NumberChanges, Numbers, NumberSet
from charging.service.refusal import Refused
from charging.tariff.numbering import expected
from charging.tariff.tariff import Tariff

T = TypeVar("T")

BATCH = 100
"""Accounts checked or written at the same time; a ledger commits those of one moment together."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many accounts of the file are done in this phase."""

    phase: str
    """``checking`` or ``writing``."""
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning: the number is created, but will not do what its line seems to want."""

    file: str
    line: int
    number: str
    warning: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The result: how much was created (in a dry run: would be), and how much existed already."""

    accounts: int
    numbers: int
    known_accounts: int
    known_numbers: int
    written: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one account of the file comes to."""

    account: Account
    is_known: bool
    numbers: tuple[Number, ...]
    """Those to be made."""
    known_numbers: int
    problems: tuple[Problem, ...]
    warned: tuple[Warned, ...]


ImportEvent = Progress | Problem | Warned | Imported


class AccountImport:
    """Imports into the store."""

    def __init__(
        self, store: Store, tariff: Callable[[], Tariff], clock: Clock, accounts: Accounts, numbers: Numbers
    ) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._accounts = accounts
        self._numbers = numbers

    async def run(self, data: bytes, file: str, *, language: Language, dry_run: bool) -> AsyncIterator[ImportEvent]:
        """Import ``data``, which problems call ``file``. If there are problems, they are yielded in the file's order
        and nothing is written. Else warnings are yielded, and then the accounts are written (not in a dry run).
        ``language`` is for rows that name none. Raises LedgerUnavailable: repeat the import."""
        rows, problems = read_rows(data, file, language)
        plans: list[_Plan] = []
        own = frozenset(normal for row in rows if (normal := self._tariff().normalise(row.number)))
        problems += _repeated(rows, file, self._tariff())
        groups = [
            list(group) for _, group in groupby(sorted(rows, key=lambda one: one.account), lambda one: one.account)
        ]
        for batch in _batches(groups):
            plans += await asyncio.gather(*(self._plan(group, file, own) for group in batch))
            yield Progress("checking", len(plans), len(groups))
        problems += [problem for plan in plans for problem in plan.problems]
        if problems:
            for problem in sorted(problems, key=lambda one: (one.line or 0, one.column or 0)):
                yield problem
            return
        for warned in sorted((one for plan in plans for one in plan.warned), key=lambda one: one.line):
            yield warned
        if not dry_run:
            async for event in self._write(plans, file):
                yield event
                if isinstance(event, Problem):
                    return
        yield Imported(
            sum(not plan.is_known for plan in plans),
            sum(len(plan.numbers) for plan in plans),
            sum(plan.is_known for plan in plans),
            sum(plan.known_numbers for plan in plans),
            written=not dry_run,
        )

    async def _write(self, plans: Sequence[_Plan], file: str) -> AsyncIterator[ImportEvent]:
        done = 0
        for batch in _batches(plans):
            for problem in await asyncio.gather(*(self._write_one(plan, file) for plan in batch)):
                if problem is not None:
                    yield problem
            done += len(batch)
            yield Progress("writing", done, len(plans))

    async def _write_one(self, plan: _Plan, file: str) -> Problem | None:
        hint = "someone else works on it; repeat the import"
        if not plan.is_known and not await self._accounts.make(plan.account):
            return Problem(file, "account", f"account {plan.account.id!r} made since", "no such account", hint=hint)
        for number in plan.numbers:
            if not await self._numbers.store(number):
                return Problem(file, "number", f"{number.number} taken since", "a number of nobody's", hint=hint)
        return None

    async def _plan(self, rows: Sequence[ImportRow], file: str, own: frozenset[str]) -> _Plan:
        """Look at one account's rows."""
        first = rows[0]
        wanted = Account(first.account, first.plan, first.language, first.email, created_us=self._clock.now().wall_us)
        stored = await self._store.directory.account(first.account)
        problems = [*self._account_problems(rows, file, stored)]
        numbers: list[Number] = []
        warned: list[Warned] = []
        known = 0
        for row in rows:
            if not row.number:
                continue
            found = await self._number(row, stored or wanted, file, own)
            if isinstance(found, Problem):
                problems.append(found)
            elif found is None:
                known += 1
            else:
                numbers.append(found.number)
                warned += (Warned(file, row.line, found.number.number, one) for one in found.warnings)
        return _Plan(stored or wanted, stored is not None, tuple(numbers), known, tuple(problems), tuple(warned))

    def _account_problems(self, rows: Sequence[ImportRow], file: str, stored: Account | None) -> Iterator[Problem]:
        first = rows[0]
        plans = self._tariff().plans
        for row in rows:
            for column, wrong in (("account", text.account_id(row.account)), ("email", text.email(row.email))):
                if wrong is not None:
                    found, _, expected = wrong.message.removeprefix("found ").partition(", expected ")
                    yield row.problem(file, column, found, expected)
            if row.plan not in plans:
                yield row.problem(file, "plan", repr(row.plan[:80]), "one of " + ", ".join(plans))
            for column in ("plan", "language", "email"):
                there = getattr(stored if stored is not None else first, column)
                if getattr(row, column) != there:
                    where = "as stored" if stored is not None else f"as in line {first.line}, of the same account"
                    yield row.problem(file, column, repr(str(getattr(row, column))), f"{str(there)!r}, {where}")
        if stored is not None and stored.status is Status.CLOSED:
            yield first.problem(file, "account", "a closed account", "one that is open")

    async def _number(
        self, row: ImportRow, account: Account, file: str, own: frozenset[str]
    ) -> NumberSet | Problem | None:
        """The number to be made; ``None``: it is there already, just the same."""
        changes = NumberChanges(forward_to=row.forward_to, paid_voicemail=row.paid_voicemail, mailbox=row.mailbox)
        normal = self._tariff().normalise(row.number)
        if normal is None or not normal.startswith("+"):
            return row.problem(file, "number", repr(row.number[:40]), expected(row.number, self._tariff().region))
        target = self._tariff().normalise(row.forward_to) if row.forward_to else None
        if target in own:
            return row.problem(file, "forward_to", f"{target}, a number of this file", "a number elsewhere")
        prepared = await self._numbers.prepared(Number(normal, account.id), account, changes)
        if isinstance(prepared, Refused):
            column = "mailbox" if "mailbox" in prepared.message else "forward_to"
            found = prepared.message.removeprefix("found ").partition(", expected ")
            return row.problem(file, column, found[0], found[2] or prepared.advice or "another one")
        stored = await self._store.directory.number(normal)
        if stored is None:
            return prepared
        if stored == prepared.number:
            return None
        found_text = f"a number of account {stored.account!r}" if stored.account != account.id else "another setting"
        return row.problem(file, "number", found_text, "a new number, or one with these very settings")


def _repeated(rows: Sequence[ImportRow], file: str, tariff: Tariff) -> list[Problem]:
    """Numbers that stand in the file twice."""
    lines: dict[str, int] = {}
    problems = []
    for row in rows:
        normal = tariff.normalise(row.number) if row.number else None
        if normal is not None and lines.setdefault(normal, row.line) != row.line:
            problems.append(row.problem(file, "number", f"{normal} again (line {lines[normal]})", "each number once"))
    return problems


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
