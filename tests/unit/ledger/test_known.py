"""What the process that writes a ledger file knows of it without reading."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from charging.ledger.accounts import Account, Number
from charging.ledger.model import CREDIT, Balance, Called
from charging.ledger.sqlite import known as module
from charging.ledger.sqlite.known import Known

NUMBER = Number("+31850000001", "a", "+31612345678")
ACCOUNT = Account("a", "light", version=1)
TEN = {CREDIT: Balance(10, 0)}
READ = Called(NUMBER, ACCOUNT, {}, target_is_ours=False)


CHANGES: dict[str, Callable[[Known], None]] = {
    "account": lambda known: known.account_changed("a"),
    "number": lambda known: known.number_changed(NUMBER.number, comes_or_goes=False),
    "another number comes": lambda known: known.number_changed("+31850000002", comes_or_goes=True),
}
changes = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


def with_balances(known: Known, account: str = "a") -> Known:
    known.moved(account, TEN)
    known.committed()
    return known


def test_balances_are_known_once_they_are_committed() -> None:
    known = Known()
    known.moved("a", TEN)
    assert known.balances("a") is None
    known.committed()
    assert known.balances("a") == TEN


def test_balances_that_were_rolled_back_never_were() -> None:
    known = with_balances(Known())
    known.moved("a", {CREDIT: Balance(9, 0)})
    known.rolled_back()
    known.committed()
    assert known.balances("a") == TEN


def test_balances_that_were_moved_unseen_are_read_again() -> None:
    known = with_balances(Known())
    known.moved("a", None)
    known.committed()
    assert known.balances("a") is None


def test_a_number_is_known_with_its_account_and_the_balances_of_now() -> None:
    known = Known()
    known.keep(READ, known.age)
    assert known.called(NUMBER.number) is None, "its balances are to be read"
    with_balances(known)
    assert known.called(NUMBER.number) == Called(NUMBER, ACCOUNT, TEN, target_is_ours=False)


@changes
def test_what_was_read_is_not_kept_where_the_directory_has_changed_since(change: Callable[[Known], None]) -> None:
    known = with_balances(Known())
    age = known.age
    change(known)
    known.committed()
    known.keep(READ, age)
    assert known.called(NUMBER.number) is None


@changes
def test_what_is_read_while_the_directory_changes_is_not_kept(change: Callable[[Known], None]) -> None:
    known = with_balances(Known())
    change(known)
    age = known.age
    known.committed()
    known.keep(READ, age)
    assert known.called(NUMBER.number) is None


def test_what_is_kept_while_the_directory_changes_is_forgotten_with_the_change() -> None:
    known = with_balances(Known())
    age = known.age
    known.account_changed("a")
    known.keep(READ, age)
    assert known.called(NUMBER.number) is None
    known.committed()
    assert known.called(NUMBER.number) is None


@changes
@pytest.mark.parametrize("end", [Known.committed, Known.doubted], ids=["changed", "doubted"])
def test_a_change_of_the_directory_forgets_what_is_kept_of_it(
    change: Callable[[Known], None], end: Callable[[Known], None]
) -> None:
    known = with_balances(Known())
    known.keep(READ, known.age)
    change(known)
    end(known)
    with_balances(known)
    assert known.called(NUMBER.number) is None
    known.keep(READ, known.age)
    assert known.called(NUMBER.number) is not None, "and is kept again"


def test_a_change_of_another_number_or_account_forgets_nothing_of_this_one() -> None:
    known = with_balances(Known())
    known.keep(READ, known.age)
    known.account_changed("b")
    known.number_changed("+31850000002", comes_or_goes=False)
    known.committed()
    assert known.called(NUMBER.number) is not None


@changes
def test_a_change_that_was_rolled_back_forgets_nothing(change: Callable[[Known], None]) -> None:
    known = with_balances(Known())
    known.keep(READ, known.age)
    change(known)
    known.rolled_back()
    known.account_changed("b")
    known.committed()
    assert known.called(NUMBER.number) is not None


def test_after_a_commit_of_which_it_is_not_known_what_became_all_is_read_again() -> None:
    known = with_balances(Known())
    known.keep(READ, known.age)
    known.moved("b", TEN)
    known.doubted()
    assert [known.balances(one) for one in ("a", "b")] == [None, None]


def test_a_number_without_an_account_is_not_kept() -> None:
    known = with_balances(Known())
    known.keep(Called(NUMBER, None, {}, target_is_ours=False), known.age)
    assert known.called(NUMBER.number) is None


def test_a_process_that_does_not_write_knows_nothing_for_another_may_change_it() -> None:
    known = with_balances(Known(writes=False))
    known.keep(READ, known.age)
    assert known.called(NUMBER.number) is None


def test_the_accounts_that_were_moved_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCOUNTS_MAX", 2)
    known = Known()
    for account in ("a", "b", "a", "c"):
        with_balances(known, account)
    assert [known.balances(one) is None for one in "abc"] == [False, True, False]


def test_the_numbers_that_were_read_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUMBERS_MAX", 2)
    known = Known()
    for name in "abc":
        with_balances(known, name)
        number = Number(f"+3185000000{ord(name)}", name)
        known.keep(Called(number, Account(name, "light"), {}, target_is_ours=False), known.age)
    assert [known.called(f"+3185000000{ord(name)}") is None for name in "abc"] == [True, False, False]
