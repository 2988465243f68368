"""Ledger scenarios as readable rows, one transfer a row::

    ID KIND [SESSION:CHANGE[:EPOCH[:FOLLOWS]]] LEG… [after GRANT-ID LEG…] -> OUTCOME [BALANCE POSTED/RESERVED]…

A change is ``open``, ``keep``, ``close``, ``close+cdr`` or ``once`` (opens, and closes with a CDR);
it follows the session's last transfer where it does not say
which. A leg is ``BALANCE=POSTED/RESERVED@FLOOR``, each part but the first optional (``credit=-45/-60``,
``calls=/1@-2``). The balances named after the outcome are asked from the store after the transfer, and compared with
the answer's own. All is on account ``a``. Empty lines and ``#`` comments are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from charging.ledger.accounts import Account
from charging.ledger.books.audit_calls import Contents
from charging.ledger.books.verify import verify
from charging.ledger.model import (
    Applied,
    Balance,
    Closed,
    Kept,
    Kind,
    Leg,
    Opened,
    Outcome,
    SessionChange,
    Transfer,
)
from charging.ledger.port import Store, Wanted

_LEG = re.compile(r"(?P<balance>[a-z0-9:-]+)=(?P<posted>[+-]\d+)?(/(?P<reserved>[+-]?\d+))?(@(?P<floor>-?\d+))?")
ENDED_US = 5
EMPTY: Mapping[str, int] = {}


async def add_account(store: Store, account: str = "a") -> None:
    assert await store.directory.put_account(Account(account, "voice_free"))


async def run(store: Store, table: str, beside: Sequence[str] = ()) -> None:
    """Run the rows one after another; the first that does not answer as it says fails. ``beside``: accounts to which
    the same happens in the same moment, asked for together."""
    for number, row in enumerate(table.splitlines(), 1):
        if text := row.split("#")[0].strip():
            await _run_row(store, text, number, beside)


async def _run_row(store: Store, row: str, at_us: int, beside: Sequence[str]) -> None:
    request, _, expected = row.partition(" -> ")
    main, _, grant = request.partition(" after ")
    grants = [_transfer(f"{grant.split()[0]} grant {' '.join(grant.split()[1:])}", at_us)] if grant else []
    last = {session.id: session.sequence for session in (await store.snapshot("a")).sessions}
    wanted = _transfer(main, at_us, last)
    if not beside:
        applied = await store.apply(wanted, grants)
    else:
        own, *answers = await store.apply_all([_of(account, wanted, grants) for account in ("a", *beside)])
        assert isinstance(own, Applied), own
        applied = own
        for account, answer in zip(beside, answers, strict=True):
            assert isinstance(answer, Applied), answer
            assert (answer.outcome, answer.balances) == (applied.outcome, applied.balances), account
    outcome, *rest = expected.split()
    assert applied.outcome is Outcome(outcome), f"{row}: {applied}"
    stored = await store.balances("a")
    for name, amounts in zip(rest[::2], rest[1::2], strict=True):
        posted, reserved = amounts.split("/")
        expected_balance = Balance(int(posted), int(reserved))
        assert stored.get(name, Balance()) == expected_balance, f"{row}: {stored}"
        assert applied.balances.get(name, expected_balance) == expected_balance, f"{row}: {applied}"


def _of(account: str, wanted: Transfer, grants: Sequence[Transfer]) -> Wanted:
    return replace(wanted, account=account), [replace(one, account=account) for one in grants]


def _transfer(text: str, at_us: int, last: Mapping[str, int] = EMPTY) -> Transfer:
    identity, kind, *words = text.split()
    session: str | None = None
    change: SessionChange | None = None
    if words and not _LEG.fullmatch(words[0]):
        session, change = _change(words.pop(0), last)
    legs = tuple(leg(word) for word in words)
    return Transfer(identity, "a", Kind(kind), at_us, legs, session, change)


def _change(word: str, last: Mapping[str, int]) -> tuple[str, SessionChange]:
    session, what, *numbers = word.split(":")
    epoch = int(numbers[0]) if numbers else 0
    follows = int(numbers[1]) if len(numbers) > 1 else last.get(session, 0)
    changes: dict[str, SessionChange] = {
        "open": Opened("switch-1", "opened", epoch),
        "keep": Kept("kept", epoch, follows),
        "close": Closed("", ENDED_US, epoch, follows),
        "close+cdr": Closed('{"seconds":45}', ENDED_US, epoch, follows),
        "once": Closed('{"seconds":0}', ENDED_US, epoch, follows, opens=True),
    }
    return session, changes[what]


def leg(word: str) -> Leg:
    match = _LEG.fullmatch(word)
    assert match, f"not a leg: {word}"
    return Leg(match["balance"], int(match["posted"] or 0), int(match["reserved"] or 0), int(match["floor"] or 0))


async def assert_sound(store: Store, contents: Contents | None = None) -> None:
    """The audit finds nothing."""
    found = [str(finding) async for finding in verify(store, contents)]
    assert not found, found[:5]
