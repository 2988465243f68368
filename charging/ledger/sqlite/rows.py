"""Between the ledger's objects and SQLite's rows: what one transfer reads and writes inside the transaction.

Few statements, and few rows: for each, the thread that carries it out lets go of the interpreter and waits to have it
again. That is dear where the loop that decides calls has much to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from charging.errors import LedgerCorrupt
from charging.ledger.codec import (
    dump,
    dump_holds,
    dump_legs,
    dump_rows,
    holds_of,
    load_account,
    load_balances,
    load_balances_of_many,
    load_holds,
    load_legs,
    load_number,
    load_rows,
)
from charging.ledger.documents import Document
from charging.ledger.feed import FeedEntry
from charging.ledger.model import (
    Applied,
    Balance,
    Called,
    Decision,
    JournalLine,
    Kept,
    Kind,
    Opened,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
    View,
    decide,
    decide_keep,
)
from charging.ledger.sqlite.file import queries
from charging.ledger.sqlite.known import Known

AT_ONCE_MIN = 4
"""So many take less by statements for all of them than one after the other: each is a wait for the interpreter."""

ONE_BY_ONE = 3
"""So many accounts' balances are read each by a statement of its own."""


def apply(
    connection: sqlite3.Connection,
    transfer: Transfer,
    grants: Sequence[Transfer],
    wall_us: Callable[[], int],
    known: Known,
) -> Applied:
    """Read, decide, write: rules 1 to 7 of the port. ``wall_us`` reads the clock; ``known`` is told the balances."""
    view, lines = _view(connection, transfer, grants)
    decision = decide(transfer, grants, view)
    if decision.applied.outcome is Outcome.CREATED:
        _carry_out(connection, transfer.account, lines, decision, wall_us)
    if view.account_exists:
        known.moved(transfer.account, {**view.balances, **decision.balances})
    return decision.applied


@dataclass(frozen=True, slots=True, eq=False)
class Booking:
    """What one caller wants booked: a work for the writer."""

    transfer: Transfer
    grants: Sequence[Transfer]
    wall_us: Callable[[], int]
    known: Known

    def __call__(self, connection: sqlite3.Connection) -> Applied:
        """Carry it out by itself."""
        return apply(connection, self.transfer, self.grants, self.wall_us, self.known)

    @property
    def is_plain(self) -> bool:
        """Whether it writes its line of the journal, its balances and its session, and nothing else."""
        return not self.grants and not self.transfer.actor


def apply_together(connection: sqlite3.Connection, bookings: Sequence[Booking]) -> list[Applied]:
    """The same of many: what each was answered. Those of many accounts that open a session, or go on with one, take a
    few statements for all of them, and while SQLite carries one out the loop has the interpreter. An account's bookings
    see those before them."""
    first: dict[str, int] = {}
    for place, one in enumerate(bookings):
        first.setdefault(one.transfer.account, place)
    plain = {place: bookings[place].transfer for place in first.values() if bookings[place].is_plain}
    found: dict[int, Applied] = {}
    for look, change in (("look_at_ticks", Kept), ("look_at_openings", Opened)):
        alike = {place: one for place, one in plain.items() if isinstance(one.change, change)}
        if len(alike) >= AT_ONCE_MIN:
            found |= _book(connection, alike, queries()[look], bookings[0])
    return [found.get(place) or one(connection) for place, one in enumerate(bookings)]


def _book(
    connection: sqlite3.Connection, transfers: Mapping[int, Transfer], look: str, any_of_them: Booking
) -> dict[int, Applied]:
    """Carry out those that are booked without further ado, and answer these, by their place. Any other (its session is
    not there, its money is short, it is asked a second time) changes nothing here."""
    asked = [(one.account, one.id, one.session) for one in transfers.values()]
    (found,) = connection.execute(look, (dump_rows(asked),)).fetchone()
    booked: dict[int, Applied] = {}
    moved: dict[str, Mapping[str, Balance]] = {}
    lines: list[tuple[Any, ...]] = []
    places: list[tuple[Any, ...]] = []
    balances: list[tuple[Any, ...]] = []
    sessions: list[tuple[Any, ...]] = []
    for (place, transfer), seen in zip(transfers.items(), load_rows(found), strict=True):
        number, is_not_plain, of_balances, switch, holds, epoch, opened_us, sequence = seen
        if is_not_plain:
            continue
        session = None
        if switch is not None:
            place_of = transfer.session or "", transfer.account, switch, ""
            session = OpenSession(*place_of, holds_of(holds), epoch, opened_us, sequence)
        balances_before = {name: Balance(posted, reserved) for name, posted, reserved in of_balances}
        decision = decide(transfer, (), View(True, {}, balances_before, session, has_cdr=False))
        if decision.applied.outcome is not Outcome.CREATED or decision.session is None:
            continue
        booked[place] = decision.applied
        moved[transfer.account] = {**balances_before, **decision.balances}
        lines.append(_line(transfer, number + 1))
        if transfer.kind.has_place:
            places.append((transfer.account, number + 1))
        balances += [(transfer.account, name, one.posted, one.reserved) for name, one in decision.balances.items()]
        sessions.append(_session(decision.session))
    if booked:
        connection.execute(queries()["append_lines"], (dump_rows(lines),))
        connection.execute(queries()["store_balances_of_many"], (dump_rows(balances),))
        connection.execute(queries()["store_sessions"], (dump_rows(sessions),))
    if places:
        connection.execute(queries()["place_lines"], {"at": any_of_them.wall_us(), "lines": dump_rows(places)})
    for account, after in moved.items():
        any_of_them.known.moved(account, after)
    return booked


def keep_session(connection: sqlite3.Connection, account: str, session: str, kept: Kept) -> Outcome:
    """Store an open session's new record, which moves no value (rule 5 of the port)."""
    row = connection.execute(queries()["session"], (account, session)).fetchone()
    outcome, record = decide_keep(open_session(row) if row else None, kept)
    if record is not None:
        _store_session(connection, record)
    return outcome


def balances(connection: sqlite3.Connection, account: str) -> dict[str, Balance]:
    """All of an account, by name."""
    (found,) = connection.execute(queries()["balances"], (account,)).fetchone()
    return load_balances(found)


def balances_of(connection: sqlite3.Connection, accounts: Sequence[str]) -> list[dict[str, Balance]]:
    """Those of each account, in the order of ``accounts``. Few are read one by one: the statement for many takes as
    long as three."""
    if len(accounts) <= ONE_BY_ONE:
        return [balances(connection, account) for account in accounts]
    (found,) = connection.execute(queries()["balances_of"], (dump(list(accounts)),)).fetchone()
    return load_balances_of_many(found)


def called(connection: sqlite3.Connection, numbers: Sequence[str]) -> Called | None:
    """The first of ``numbers`` that is an account's; ``None``: none of them is. Raises LedgerCorrupt."""
    for one in numbers:
        row = connection.execute(queries()["called"], (one,)).fetchone()
        if row is not None:
            number, version, account, found, target_is_ours = row
            whose = None if account is None else load_account(account, version)
            return Called(load_number(number), whose, load_balances(found), bool(target_is_ours))
    return None


def snapshot(connection: sqlite3.Connection, account: str) -> Snapshot:
    """By one statement, which sees one moment."""
    rows = connection.execute(queries()["snapshot"], (account,)).fetchall()
    last_number, found = rows[0][:2]
    sessions = tuple(open_session(row[2:]) for row in rows if row[2] is not None)
    return Snapshot(last_number, load_balances(found), sessions)


def open_session(row: Sequence[Any]) -> OpenSession:
    """A row of ``session`` or ``sessions_of_account``. Raises LedgerCorrupt."""
    account, session, switch, state, holds, epoch, opened_us, sequence = row
    return OpenSession(session, account, switch, state, load_holds(holds), epoch, opened_us, sequence)


def journal_line(row: Sequence[Any]) -> JournalLine:
    """A row of the journal, with its actor. Raises LedgerCorrupt."""
    account, number, identity, kind, at_us, legs, session, reason, digest, actor = row
    try:
        known_kind = Kind(kind)
    except ValueError as error:
        raise LedgerCorrupt(f"journal of {account}, line {number}: {kind} is no kind of transfer") from error
    return JournalLine(number, identity, account, known_kind, at_us, load_legs(legs), session, reason, digest, actor)


def feed_entry(row: Sequence[Any]) -> FeedEntry:
    """A place in the feed, with the line or document that it names, if that is still there. Raises LedgerCorrupt."""
    (place, account, number, name), line, document = row[:4], row[4:14], row[14:]
    found: JournalLine | Document | None = journal_line(line) if line[0] is not None else None
    if document[0] is not None:
        found = Document(*document)
    return FeedEntry(place, account, number, name, found)


def self_check(connection: sqlite3.Connection) -> list[str]:
    """SQLite's own findings: damaged pages, indexes that miss rows, rows whose account is missing."""
    damaged = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    orphans = {(table, parent) for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check")}
    return damaged + [f"rows of {table} name no row of {parent}" for table, parent in sorted(orphans)]


def restore_lines(
    connection: sqlite3.Connection, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]
) -> None:
    """Append lines of an export as they are, and put the balances that they add up to."""
    for line in lines:
        _append(connection, line)
    _store_balances(connection, account, balances)


def replace_head(connection: sqlite3.Connection, opening: JournalLine, archived: Sequence[JournalLine]) -> bool:
    """Put ``opening`` in place of the lines ``archived``; ``False``: they are not the journal's head."""
    (first,) = connection.execute(queries()["first_number"], (opening.account,)).fetchone()
    if first != archived[0].number:
        return False
    connection.execute(queries()["delete_journal_head"], (opening.account, opening.number))
    connection.execute(
        queries()["delete_actors"], (_actor_id(opening.account, 0), _actor_id(opening.account, opening.number))
    )
    _append(connection, opening)
    return True


def backup(connection: sqlite3.Connection, path: Path) -> None:
    """A consistent copy in one file; what is written meanwhile is not in it."""
    connection.execute("PRAGMA query_only = OFF")  # which VACUUM INTO heeds, though it writes another file
    try:
        connection.execute("VACUUM INTO ?", (str(path),))
    finally:
        connection.execute("PRAGMA query_only = ON")


def _view(connection: sqlite3.Connection, transfer: Transfer, grants: Sequence[Transfer]) -> tuple[View, int]:
    """What the decision looks at, and how many lines the journal has."""
    account = transfer.account
    row = connection.execute(queries()["look"], (account, transfer.id, transfer.session)).fetchone()
    if row is None:
        return View(account_exists=False, digests={}, balances={}, session=None, has_cdr=False), 0
    lines, digest, has_cdr, of_balances, *session = row
    digests = {transfer.id: digest} if digest is not None else {}
    for grant in grants:
        if found := connection.execute(queries()["digest"], (account, grant.id)).fetchone():
            digests[grant.id] = found[0]
    found_session = open_session(session) if session[0] is not None else None
    return View(True, digests, load_balances(of_balances), found_session, bool(has_cdr)), lines


def _carry_out(
    connection: sqlite3.Connection, account: str, lines: int, decision: Decision, wall_us: Callable[[], int]
) -> None:
    for number, line in enumerate(decision.lines, lines + 1):
        identity = line.id, line.account, line.kind, line.at_us
        rest = line.legs, line.session, line.reason, line.digest
        _append(connection, JournalLine(number, *identity, *rest, actor=line.actor))
        if line.kind.has_place:
            place = {"at": wall_us(), "account": account, "number": number}
            connection.execute(queries()["place_line"], place)
    _store_balances(connection, account, decision.balances)
    if decision.session is not None:
        _store_session(connection, decision.session)
    if decision.closes:
        connection.execute(queries()["delete_session"], (account, decision.lines[-1].session))
    if (cdr := decision.cdr) is not None:
        connection.execute(queries()["store_cdr"], (account, cdr.session, cdr.ended_us, cdr.document))


def _line(line: JournalLine | Transfer, number: int) -> tuple[Any, ...]:
    """A row of the journal."""
    place = line.account, number, line.id, line.kind, line.at_us
    return (*place, dump_legs(line.legs), line.session, line.reason, line.digest)


def _append(connection: sqlite3.Connection, line: JournalLine) -> None:
    connection.execute(queries()["append_journal"], _line(line, line.number))
    if line.actor:
        connection.execute(queries()["store_actor"], (_actor_id(line.account, line.number), line.actor))


def _actor_id(account: str, number: int) -> str:
    """Where the actor of a line is kept, as the statements that read lines say it too: beside the journal, among the
    documents, so that an older program can still work on the ledger."""
    return f"{account}/{number:016d}"


def _store_balances(connection: sqlite3.Connection, account: str, balances: Mapping[str, Balance]) -> None:
    if balances:
        rows = [(account, name, balance.posted, balance.reserved) for name, balance in balances.items()]
        connection.execute(storing(len(rows)), [value for row in rows for value in row])


@cache
def storing(rows: int) -> str:
    """The statement that stores so many balances."""
    return queries()["store_balances"].replace("(?, ?, ?, ?)", ", ".join(["(?, ?, ?, ?)"] * rows))


def _session(session: OpenSession) -> tuple[Any, ...]:
    """A row of the open sessions."""
    place = session.account, session.id, session.switch, session.state, dump_holds(session.holds)
    return (*place, session.epoch, session.opened_us, session.sequence)


def _store_session(connection: sqlite3.Connection, session: OpenSession) -> None:
    connection.execute(queries()["store_session"], _session(session))
