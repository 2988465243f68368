"""What the one process that writes a ledger file knows of it without reading: a cache that is exact.

Nothing changes the file but this process' writer (a lock file sees to it), so whatever the writer commits is known.

- An account's balances come from the transactions that move them: each has read all of them. They are put here after
  its commit and before its caller is answered, so who has been answered finds them. Nothing else puts balances here.
- A number, and the account whose it is, come from a read. What was read may be older than a change that is being
  committed: then it is not kept (`keep`).

A change of the directory forgets the numbers and accounts that it changes, and no others, for people change something
all day long. Only where a number comes or goes all are forgotten: others may be forwarded to it.

What became of a commit that failed is not known: all is forgotten, and read again.

The loop asks, and keeps what it has read; the writer's thread does all else. Values are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TypeVar

from charging.ledger.accounts import Account, Number
from charging.ledger.model import Balance, Called

ACCOUNTS_MAX = 32_768
"""Accounts whose balances are known, some 1 KiB each: those of the calls that run, and of the last callers."""
NUMBERS_MAX = 8_192
"""Numbers that are known, and as many accounts, some 2 KiB together."""

T = TypeVar("T")
Balances = Mapping[str, Balance]


class Known:
    """What is known of one ledger file."""

    def __init__(self, *, writes: bool = True) -> None:
        """``writes``: whether it is this process that does; else nothing is ever known."""
        self._writes = writes
        self._balances: dict[str, Balances] = {}
        self._numbers: dict[str, tuple[Number, bool]] = {}
        """With whether the number that it is forwarded to is one of ours."""
        self._accounts: dict[str, Account] = {}
        self._changed: dict[str, Balances | None] = {}
        """Balances that the transaction under way has moved; ``None``: they are to be read."""
        self._changed_numbers: set[str] = set()
        self._changed_accounts: set[str] = set()
        """What the same has changed of the directory."""
        self._comes_or_goes = False
        """Whether there is a number more, or one less."""
        self._changes = 0
        """How often the directory has begun to change, and has changed."""
        self._keeping = Lock()
        """Of who keeps or forgets a part of the directory; whoever asks takes what there is."""

    # --- in the loop ------------------------------------------------------------------------------------------

    def balances(self, account: str) -> Balances | None:
        """All balances of the account; ``None``: they have to be read."""
        return self._balances.get(account)

    def called(self, number: str) -> Called | None:
        """A number that is rung; ``None``: it has to be read."""
        if (found := self._numbers.get(number)) is None:
            return None
        account = self._accounts.get(found[0].account)
        balances = self._balances.get(found[0].account)
        return None if account is None or balances is None else Called(found[0], account, balances, found[1])

    @property
    def age(self) -> int | None:
        """How many changes of the directory have begun or ended so far, to be given to :meth:`keep` after a read that
        begins now; ``None``: nothing is kept."""
        return self._changes if self._writes else None

    def keep(self, called: Called, age: int | None) -> None:
        """Keep what was read of a number and its account, unless the directory has changed since."""
        if age is None or called.account is None:
            return
        number, account = called.number, called.account
        with self._keeping:  # a change that ends after this has it forgotten
            if self._changes == age:
                _put(self._numbers, number.number, (number, called.target_is_ours), NUMBERS_MAX)
                _put(self._accounts, account.id, account, NUMBERS_MAX)

    # --- in the writer's thread -------------------------------------------------------------------------------

    def moved(self, account: str, balances: Balances | None) -> None:
        """The transaction leaves the account with these balances; ``None``: with others than are known."""
        self._changed[account] = balances

    def account_changed(self, account: str) -> None:
        """The transaction has changed what is said of the account."""
        self._changed_accounts.add(account)
        self._changes += 1

    def number_changed(self, number: str, *, comes_or_goes: bool) -> None:
        """The transaction has changed what is said of the number, or whether there is one."""
        self._changed_numbers.add(number)
        self._comes_or_goes |= comes_or_goes
        self._changes += 1

    def committed(self) -> None:
        """The transaction is in the file."""
        for account, balances in self._changed.items():
            if balances is None:
                self._balances.pop(account, None)
            else:
                _put(self._balances, account, balances, ACCOUNTS_MAX)
        self._changed.clear()
        if self._changed_numbers or self._changed_accounts:
            self._forget_changed()

    def rolled_back(self) -> None:
        """The transaction has left the file as it was."""
        self._changed.clear()
        self._forget_changes()

    def doubted(self) -> None:
        """What became of the transaction is not known."""
        self.rolled_back()
        self._balances = {}
        with self._keeping:
            self._changes += 1
            self._numbers.clear()
            self._accounts.clear()

    def _forget_changed(self) -> None:
        with self._keeping:
            self._changes += 1
            if self._comes_or_goes:
                self._numbers.clear()
            for number in self._changed_numbers:
                self._numbers.pop(number, None)
            for account in self._changed_accounts:
                self._accounts.pop(account, None)
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._changed_numbers.clear()
        self._changed_accounts.clear()
        self._comes_or_goes = False


def _put(known: dict[str, T], name: str, value: T, most: int) -> None:
    """Note it as the newest; the oldest goes."""
    known.pop(name, None)
    known[name] = value
    if len(known) > most:
        del known[next(iter(known))]
