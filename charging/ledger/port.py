"""What every store promises: the contract, in prose and as a Protocol. `tests/contract` holds each store to it.

Rules
-----
1. **All or nothing.** A transfer, its legs, the session it opens, keeps or closes, and its CDR are one atomic,
   durable step. When `apply` returns CREATED, a power cut loses nothing.
2. **Idempotent.** The same id with the same contents answers EXISTS and changes nothing (not the session either);
   with other contents it answers DIFFERS. A refusal leaves no trace: the id may be tried again with other contents.
3. **Checked inside the write.** No balance is read first and acted upon later. A leg that lowers available
   (``posted - reserved < 0``) is refused as INSUFFICIENT if available would end below the leg's floor. A leg that
   raises available is never refused as INSUFFICIENT.
4. **Holds.** A leg's ``reserved`` is added to what its session holds; a hold never goes below zero
   (EXCEEDS_RESERVATION), and a session closes only when its legs bring every hold to exactly zero
   (else EXCEEDS_RESERVATION as well). For every balance, reserved is the sum of the holds.
5. **Grants come with the need.** A transfer may be preceded by grants (`apply(..., grants=...)`): each is applied in
   the same atomic step if its id is new and skipped if it exists. So a month's bundle is created by its first use, and
   only once. If the main transfer is refused or exists, the grants are not made either;
   a grant that is itself refused refuses the main transfer, with its outcome. Grants are of the same account and have
   no session (else ValueError).
6. **Fenced and in sequence.** A change of a session carries an epoch. An older epoch than the session's is refused as
   FENCED; a newer one becomes the session's. The change also names the number of the transfer that it follows. If the
   session's last transfer has another number, the change is refused as OUT_OF_SEQUENCE, with the session as it is
   stored. So the next change detects what a fail-over has lost, and never overwrites what another process has posted.
7. **Order of refusals**: EXISTS/DIFFERS, ACCOUNT_NOT_FOUND, session (SESSION_NOT_OPEN, SESSION_EXISTS, FENCED,
   OUT_OF_SEQUENCE), EXCEEDS_RESERVATION, then leg by leg, the grants' before the transfer's, EXCEEDS_LIMIT and
   INSUFFICIENT.
8. **Failure.** A store that cannot answer raises LedgerUnavailable: the outcome is unknown, ask again with the same
   transfer. A store that contradicts itself raises LedgerCorrupt. Nothing else is raised, and every call ends within
   the store's own time-out.
9. **Ids are remembered.** A line stays in the journal for at least IDS_REMEMBERED_S, and until then its id is known. A
   caller that may repeat an id later than that must first check how old its event is. Ids made by callers from outside
   are remembered separately, for OUTSIDE_REMEMBERED_S (`charging.ledger.remembered`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from charging.errors import LedgerError
from charging.ledger.accounts import Account, Number
from charging.ledger.documents import Documents
from charging.ledger.feed import Feed
from charging.ledger.model import (
    Applied,
    Balance,
    Called,
    CdrRow,
    JournalLine,
    Kept,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
)

IDS_REMEMBERED_S = 35 * 24 * 3600
"""Seconds that a transfer's id is remembered at least: a month and some days."""

Wanted = tuple[Transfer, Sequence[Transfer]]
"""A transfer and the grants that it may be preceded by."""


class Ledger(Protocol):
    """Money, sessions, and the journal."""

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        """Put a transfer into the journal (rules 1 to 8)."""

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        """Apply several transfers, each as by `apply`: each is atomic by itself and independent of the others, and they
        are applied in any order. So none may need another that is asked for with it: what follows a session's transfer
        waits for the answer to that. The answers come in the order of the question; a transfer without an answer has
        its error instead. If the store can, all share one durable step. Raises LedgerError if there was no answer to
        any."""

    async def keep_session(self, account: str, session: str, kept: Kept) -> Outcome:
        """Store an open session's new record without moving value or counting as a transfer: CREATED, SESSION_NOT_OPEN,
        FENCED or OUT_OF_SEQUENCE."""

    async def balances(self, account: str) -> Mapping[str, Balance]:
        """Every balance of the account that the journal has touched; empty for an unknown account."""

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        """The balances of each, in this order, by one question where the store can; as `apply_all`."""

    async def drop_balances(self, account: str, names: Sequence[str]) -> None:
        """Drop those of the named balances that are zero, posted and reserved, in one atomic step. A balance that is
        not there is zero, so the books stay as they are."""

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        """The open sessions, oldest first (then by id and account); of one switch or account, or all."""

    async def sessions_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[OpenSession]:
        """The first ``limit`` (1 to 1,001) open sessions with ids beyond ``after`` (empty: all), by id; fewer: there
        are no more. However many are open, no more records are read. ``backwards``: the last before ``after`` (empty:
        of all), last first; so wherever it is said here."""

    async def session(self, session: str, switch: str | None = None) -> OpenSession | None:
        """The open session of this id, of one switch or any; ``None``: there is none. However many are open, one
        record is read."""

    async def snapshot(self, account: str) -> Snapshot:
        """Balances, open sessions and the number of the newest line, read in one atomic step: what the journal up to
        that line adds up to. Empty for an unknown account."""

    def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        """The account's journal from the line after number ``after``, oldest first."""

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine]:
        """The newest ``limit`` (1 to 1,001) lines with a number below ``before``, newest first."""

    async def cdrs(
        self,
        *,
        account: str | None = None,
        since_us: int = 0,
        until_us: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
        backwards: bool = False,
    ) -> Sequence[CdrRow]:
        """CDRs by end of call, oldest first (``backwards``: newest first); ``after`` is the (ended_us, session) of the
        last row seen."""

    async def cdr(self, account: str, session: str) -> CdrRow | None:
        """The CDR that a session of the account has left, or ``None``. However many there are, one record is read."""


class Directory(Protocol):
    """Accounts and their numbers."""

    async def account(self, account: str) -> Account | None:
        """The account, or ``None``."""

    async def put_account(self, account: Account) -> bool:
        """Store a new account (``version`` 0) or an edited one (``version`` as read); the stored version is one more.
        ``False``: someone else was faster; read again."""

    def accounts(self) -> AsyncIterator[Account]:
        """Every account, by id."""

    def account_ids(self) -> AsyncIterator[str]:
        """The id of every account, in order, also of one whose record is damaged."""

    async def accounts_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[Account]:
        """The first ``limit`` (1 to 1,001) accounts with ids beyond ``after`` (empty: all), by id; fewer: there are no
        more. What it costs grows with ``limit``, not with the accounts."""

    async def accounts_of_mail(self, address: str, limit: int) -> Sequence[Account]:
        """The first ``limit`` (1 to 100) accounts by id that have this mail address (`Account.found_by`, so no closed
        one), in whatever case it is written; none for an empty one. What it costs grows with ``limit`` alone."""

    async def number(self, number: str) -> Number | None:
        """The number's record, or ``None``."""

    async def put_number(self, number: Number, expected: Number | None = None) -> bool:
        """Store a number's record in the place of ``expected``, which was read before; ``None``: the number is new.
        ``False``: something else is stored (someone was faster; read again), it belongs to another account, or there
        is no such account."""

    async def called(self, numbers: Sequence[str]) -> Called | None:
        """The first of these numbers that belongs to an account, with all that a decision about a call to it needs, by
        as few requests to the store as possible. The parts are read one after the other, not in one snapshot."""

    async def remove_number(self, expected: Number) -> bool:
        """Forget a number whose record is ``expected``, which was read before. ``False``: something else is stored
        (someone was faster; it may be another account's by now), or nothing."""

    async def restore_account(self, account: Account) -> None:
        """Store an account of an export, that is not there yet, with the version it has. Nobody else may use the store
        meanwhile."""

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        """The numbers of one account, or all, in order."""

    def number_ids(self) -> AsyncIterator[str]:
        """Every number, in order, also one whose record is damaged."""

    async def numbers_page(
        self, after: str, limit: int, account: str | None = None, *, backwards: bool = False
    ) -> Sequence[Number]:
        """Of one account's numbers, or all, the first ``limit`` (1 to 1,001) beyond ``after`` (empty: from the first),
        in order; as `accounts_page`."""


SOLE = "#sole"
"""No switch: its lease is held by an export, an import or an archive. While it is, every other lease is refused, so
that a daemon that starts meanwhile changes nothing; and a store that several share does not open."""


class Leases(Protocol):
    """Who ticks a switch, where several daemons share a ledger. The store's clock decides what has lapsed."""

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        """Take the lease for ``ttl_s`` seconds, if no other owner has it. Returns its epoch, larger than any before
        (also the owner's own), which every change of the switch's sessions must carry. ``None`` if another owner has
        this lease or SOLE, or an import is unfinished."""

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        """Keep the lease for ``ttl_s`` seconds from now. ``False`` if it has lapsed or passed to another owner: acquire
        it again, and reconcile."""

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        """Give the lease up, so that another owner need not wait. Nothing happens if it has passed on already."""

    async def held_leases(self) -> Sequence[str]:
        """The leases that have not lapsed, in words: ``switch SWITCH by OWNER``."""


class Restoring(Protocol):
    """Filling an empty store from an export. Nobody else may use the store meanwhile."""

    async def restore_lines(self, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> None:
        """Append lines as they are, and set the balances that all lines so far add up to, in one atomic step."""

    async def restore_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        """Store CDRs as they are."""


class Archiving(Protocol):
    """Taking out what is in the archive's files already."""

    async def replace_head(self, opening: JournalLine, archived: Sequence[JournalLine]) -> bool:
        """Put ``opening`` in the place of the lines that its account's journal begins with, in one atomic step. What
        they add up to is what it says, so no balance changes. Their ids are forgotten, in that step or before it.
        ``False``: the journal begins with another line by now."""

    async def replace_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        """Put these documents in the place of those of the same accounts' sessions; one that is gone stays so."""

    async def forget_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        """Take out these CDRs, all of one account."""


class Store(Ledger, Restoring, Archiving, Protocol):
    """What a ledger URL opens: the ledger itself, and what stands beside it in the same store, opened together."""

    @property
    def directory(self) -> Directory:
        """Whose the accounts and numbers are."""

    @property
    def documents(self) -> Documents:
        """What else must not be lost."""

    @property
    def leases(self) -> Leases:
        """Who ticks a switch."""

    @property
    def feed(self) -> Feed:
        """The bookings and other events of all accounts, in one order."""

    async def open(self) -> None:
        """Connect, create or migrate; raises LedgerUnavailable with what to do, also where an import was broken off."""

    async def close(self) -> None:
        """Finish what was begun and let go."""

    async def ping(self) -> int | None:
        """Return if the store answers and takes what is written, by writing something small that means nothing; else
        LedgerUnavailable: a full disk and a replica answer every read. Returns how many bytes it can still grow by;
        ``None``: its disk is not its matter. One that keeps room for itself makes a piece of what is missing."""

    async def wall_us(self) -> int | None:
        """What the clock of the store's own server says, wall clock in µs; ``None``: it has none but this machine's."""

    async def self_check(self) -> Sequence[str]:
        """What the store finds wrong with its own files or indexes, in sentences; for ``ledger verify``."""

    async def backup(self, path: Path) -> None:
        """Copy the ledger as it is at this moment to a new file, while it is in use, maybe by an older program: this
        store itself need not be open. The copy of a SQLite ledger is a ledger, of a Redis its ``dump.rdb``. Raises
        LedgerUnavailable, also where the store has no copy to give."""

    async def scrub(self) -> str:
        """Overwrite in the store's own files what edits and deletions have left there. What stays for the operator to
        do, in a sentence; empty: nothing. Raises LedgerUnavailable."""

    async def warnings(self) -> Sequence[str]:
        """What an operator should mend before trusting this store with money, in sentences; for ``check --live``."""
