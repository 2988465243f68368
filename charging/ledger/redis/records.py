"""Between the ledger's objects and what Redis keeps: key names, arguments of the scripts, records read back. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account
from charging.ledger.codec import dump, dump_legs, dump_text, load, load_legs
from charging.ledger.model import (
    Applied,
    Balance,
    CdrRow,
    Closed,
    JournalLine,
    Kept,
    Kind,
    Leg,
    Opened,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
)
from charging.ledger.redis.pipeline import Word

_HEAD, _LINE = 13, 4
"""How many words of ARGV come before the lines, and how many a line has (``apply.lua``)."""
_pack_leg = struct.Struct("<B3d").pack
_BOOKS = "books", "ids", "journal", "sessions", "cdr", "cdrs", "actors"
_NEEDED = {type(None): 3, Kept: 4, Opened: 5, Closed: 6}
"""Of those, by what becomes of the session."""
_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}


class Keys:
    """The names of all keys. What is between braces chooses the cluster's slot: all of an account is in one.

    The indexes are in slots of their own. Outside a cluster ``apply.lua`` keeps those of sessions and CDRs (it knows
    their names too), and ``put_account.lua`` that of mail addresses. Else they are written *before* what they list and
    read with suspicion: an entry may name something that never came to be or is no more, but nothing that is can be
    missing from them.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.schema = f"{prefix}:schema"
        self.probe = f"{prefix}:probe"
        """Written to see whether it can be."""
        self.accounts = f"{prefix}:accounts"
        """zset, all scores 0: account ids in order."""
        self.mail = f"{prefix}:mail"
        """zset, all scores 0: "ADDRESS ACCOUNT" of what `Account.found_by` says."""
        self.numbers = f"{prefix}:numbers"
        """zset, all scores 0."""
        self.switches = f"{prefix}:switches"
        """set: switches that have had a session."""
        self.cdrs = f"{prefix}:cdrs"
        """zset: "SESSION ACCOUNT ENDED_US" by the end of the call; one that was refused stands beside the true one."""

        stem = f"{prefix}:{{#feed}}"
        self.feed, self.told, self.news = f"{stem}:feed", f"{stem}:told", f"{stem}:news"
        """See ``tell.lua``. No account is called so."""

    def of(self, account: str, what: str) -> str:
        return f"{self._prefix}:{{{account}}}:{what}"

    def books(self, account: str) -> list[str]:
        """All that ``apply.lua`` may need, in its order."""
        return self._books(account, len(_BOOKS))

    def needed(self, transfer: Transfer) -> list[str]:
        """The keys of ``apply.lua`` for this transfer."""
        return self._books(transfer.account, len(_BOOKS) if transfer.actor else _NEEDED[type(transfer.change)])

    def _books(self, account: str, first: int) -> list[str]:
        stem = self.of(account, "")
        return [stem + what for what in _BOOKS[:first]]

    def number(self, number: str) -> str:
        return f"{self._prefix}:number:{{{number}}}"

    def switch(self, switch: str) -> str:
        """set: "SESSION ACCOUNT" of sessions that may be open there."""
        return f"{self._prefix}:switch:{{{switch}}}"

    def documents(self, collection: str) -> list[str]:
        """The keys of ``write_document.lua`` and ``read_documents.lua``, in their order."""
        stem = f"{self._prefix}:documents:{{{collection}}}"
        return [stem, f"{stem}:due", f"{stem}:ids"]

    def lease(self, switch: str) -> list[str]:
        """The keys of ``lease.lua``, in its order."""
        return [f"{self._prefix}:lease:{{{switch}}}", f"{self._prefix}:lease:{{{switch}}}:epoch"]


def mail_member(account: Account) -> str:
    """Empty: no mail address leads to it."""
    return f"{account.found_by} {account.id}" if account.found_by else ""


def index_member(session: str, account: str) -> str:
    """A member of the set of sessions that are open on a switch."""
    return f"{session} {account}"


def split_index_member(member: bytes) -> tuple[str, str]:
    """Session and account."""
    session, _, account = member.decode().partition(" ")
    return session, account


def cdr_member(session: str, account: str, ended_us: int) -> str:
    """A member of the index of CDRs by the end of the call, wall clock in microseconds."""
    return f"{session} {account} {ended_us}"


def split_cdr_member(member: bytes) -> tuple[str, str]:
    """Session and account."""
    return split_index_member(member.rpartition(b" ")[0])


def feed_member(line: JournalLine) -> str:
    """With the beginning of its digest: a fail-over may put another line at the number of one that it has lost."""
    return f"{line.account} {line.number} {line.digest[:8]}"


def split_feed_member(member: bytes) -> tuple[str, int]:
    """Account and number."""
    account, number, _ = member.decode().split(" ")
    return account, int(number)


def load_cdr(session: str, account: str, record: bytes) -> CdrRow:
    """A CDR from its value in the hash of an account's CDRs. Raises LedgerCorrupt."""
    ended_us, _, document = record.decode().partition(" ")
    try:
        return CdrRow(session, account, int(ended_us), document)
    except ValueError as error:
        raise LedgerCorrupt(f"session {session} of {account}: not a CDR: {record[:100]!r}") from error


def apply_arguments(transfer: Transfer, grants: Sequence[Transfer], touch: str, indexes: str) -> list[Word]:
    """The ARGV of ``apply.lua``, which its head explains; amounts are in their balances' units."""
    change, follows = _change_arguments(transfer)
    lines = (*grants, transfer)
    news = "1" if any([one.kind.has_place for one in lines]) else ""
    # The transfer's own balances come first, so that the answer begins with them.
    names = list(dict.fromkeys([leg.balance for line in (transfer, *grants) for leg in line.legs]))
    told: list[Word] = []
    for line in lines:
        legs = b"".join([_pack_leg(names.index(leg.balance), leg.posted, leg.reserved, leg.floor) for leg in line.legs])
        digest = line.digest
        told += (line.id, digest, _dump_line(line, digest), legs)
    for name in names:
        told += (f"p:{name}", f"r:{name}")
    main = _HEAD + 1 + _LINE * len(grants)
    return [*change, touch, indexes, follows, transfer.actor, news, follows + 1, main, *told]


def _change_arguments(transfer: Transfer) -> tuple[tuple[str | int, ...], int]:
    """What happens to the session, and the number of its last transfer."""
    change, session = transfer.change, transfer.session or ""
    if isinstance(change, Opened):
        return ("open", session, change.epoch, change.switch, transfer.at_us, change.state), change.follows
    if isinstance(change, Kept):
        return ("keep", session, change.epoch, "", transfer.at_us, change.state), change.follows
    if isinstance(change, Closed):
        what = "once" if change.opens else "close"
        return (what, session, change.epoch, "", change.ended_us, change.cdr), change.follows
    return ("", "", 0, "", transfer.at_us, ""), 0


def load_applied(reply: Sequence[Any], transfer: Transfer) -> tuple[Applied, str]:
    """The answer, and the switch of the session that the transfer changed."""
    outcome, detail, switch, *amounts = reply
    own = dict.fromkeys([leg.balance for leg in transfer.legs])
    amounts = amounts[: 2 * len(own)]  # those of the grants come behind
    each = zip(own, amounts[::2], amounts[1::2], strict=True)
    balances = {name: Balance(posted, reserved) for name, posted, reserved in each}
    if (told := _OUTCOMES[outcome]) is Outcome.OUT_OF_SEQUENCE:
        stored = load_session(transfer.account, transfer.session or "", detail)
        return Applied(told, balances, session=stored), switch.decode()
    return Applied(told, balances, detail.decode()), switch.decode()


def restore_arguments(lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> list[str | int]:
    """The ARGV of ``restore.lua``, which its head explains; amounts are in their balances' units."""
    arguments: list[str | int] = [len(lines)]
    for line in lines:
        arguments += (line.id, line.digest, f"{line.number} {_dump_line(line, line.digest)}", line.actor)
    arguments += ("#lines", lines[-1].number)
    for name, balance in balances.items():
        arguments += (f"p:{name}", balance.posted, f"r:{name}", balance.reserved)
    return arguments


def replace_head_arguments(
    opening: JournalLine, archived: Sequence[JournalLine], ids: Sequence[str]
) -> list[str | int]:
    """The ARGV of ``replace_head.lua``; ``ids`` are those that are still to be forgotten."""
    line = f"{opening.number} {_dump_line(opening, opening.digest)}"
    return [archived[0].number, len(archived), opening.id, opening.digest, line, *ids]


def _dump_line(line: Transfer | JournalLine, digest: str) -> str:
    session, reason = dump_text(line.session), dump_text(line.reason)
    return f'[{dump_text(line.id)},"{line.kind}",{line.at_us},{dump_legs(line.legs)},{session},{reason},"{digest}"]'


def load_line(account: str, text: bytes, actor: bytes | None = None) -> JournalLine:
    """A line of an account's journal; ``actor``: who had it done, which is kept beside it. Raises LedgerCorrupt."""
    number, _, json_text = text.decode().partition(" ")
    try:
        identity, kind, at_us, legs, session, reason, digest = load(json_text)
        line_legs: tuple[Leg, ...] = load_legs(dump(legs))
        told = line_legs, session, reason, digest, (actor or b"").decode()
        return JournalLine(int(number), identity, account, Kind(kind), at_us, *told)
    except (TypeError, ValueError) as error:
        raise LedgerCorrupt(f"journal of {account}: not a line: {text[:100]!r}") from error


def load_session(account: str, session: str, record: bytes) -> OpenSession:
    """An open session from its value in the hash of an account's sessions. Raises LedgerCorrupt."""
    try:
        head, switch, state = record.decode().split("\n", 2)
        epoch, opened_us, sequence, holds_text = head.split(" ")
        pairs = (hold.rsplit("=", 1) for hold in holds_text.split(";") if hold)
        holds = {name: int(amount) for name, amount in pairs}
        return OpenSession(session, account, switch, state, holds, int(epoch), int(opened_us), int(sequence))
    except ValueError as error:
        raise LedgerCorrupt(f"session {session} of {account}: not a session: {record[:100]!r}") from error


def load_snapshot(account: str, books: Sequence[bytes], sessions: Sequence[bytes]) -> Snapshot:
    """The answer of ``snapshot.lua``: the fields and values of two hashes, one after another."""
    fields = dict(zip(books[::2], books[1::2], strict=True))
    pairs = zip(sessions[::2], sessions[1::2], strict=True)
    found = tuple(load_session(account, session.decode(), record) for session, record in pairs)
    return Snapshot(int(fields.get(b"#lines", 0)), load_balances(fields), found)


def load_balances(fields: dict[bytes, bytes]) -> dict[str, Balance]:
    """The balances in a ``books`` hash. Raises LedgerCorrupt."""
    try:
        amounts = {name.decode(): int(amount) for name, amount in fields.items()}
    except ValueError as error:
        raise LedgerCorrupt(f"found a balance that is no number: {error}") from error
    names = sorted({name[2:] for name in amounts if name != "#lines"})
    return {name: Balance(amounts.get(f"p:{name}", 0), amounts.get(f"r:{name}", 0)) for name in names}
