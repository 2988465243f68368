"""Moves closed periods from the store to files, one file a month. In the store, one opening line for each account takes
the place of the archived lines; `verify` understands it.

Lines are written to the files and flushed first, and removed from the store second. After a crash between the two, the
next run writes the same lines again; readers of the files tell lines apart by account and number.

The ids of archived lines are forgotten: a transfer that is repeated later is applied again. So the command refuses to
archive anything younger than IDS_REMEMBERED_S, which no daemon can still be repeating. Ids made by callers from outside
(top-ups, corrections, faxes) are remembered separately, for longer (`charging.ledger.remembered`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path

from charging.clock import MICROSECONDS
from charging.errors import LedgerUnavailable
from charging.files import flush
from charging.ledger.books.exclusive import Alone, alone
from charging.ledger.books.portable import Counts, encode
from charging.ledger.books.verify import all_cdrs
from charging.ledger.credit_life import CreditHistory
from charging.ledger.durable import append_lines
from charging.ledger.model import CdrRow, JournalLine, Kind, Leg, contents_digest
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.ledger.remembered import forget_old, remember

FEED_ROWS = 500


def archivable(lines: Sequence[JournalLine], before_us: int) -> Sequence[JournalLine]:
    """The lines at the head of a journal that can be archived: as many as possible, all older than ``before_us``, so
    that no session has lines on both sides and nothing is reserved at the end."""
    last_line = {line.session: line.number for line in lines if line.session is not None}
    unfinished: set[str] = set()
    holds: dict[str, int] = defaultdict(int)
    end = 0
    for place, line in enumerate(lines, 1):
        if line.at_us >= before_us:
            break
        for leg in line.legs:
            holds[leg.balance] += leg.reserved
        if line.session is not None:
            unfinished.add(line.session)
            if last_line[line.session] == line.number:
                unfinished.discard(line.session)
        if not unfinished and not any(holds.values()):
            end = place
    return lines[:end]


def opening_line(archived: Sequence[JournalLine]) -> JournalLine:
    """The line that replaces archived lines: it has the number of the last and the time of the latest of them, the sum
    of their legs, and when credit was last bought and used."""
    posted: dict[str, int] = defaultdict(int)
    for leg in (leg for line in archived for leg in line.legs):
        posted[leg.balance] += leg.posted
    reason = reduce(CreditHistory.after, archived, CreditHistory()).opening_reason()
    last = archived[-1]
    latest_us = max(line.at_us for line in archived)
    legs = tuple(Leg(name, amount) for name, amount in sorted(posted.items()) if amount)
    identity = f"opening/{last.number}"
    digest = contents_digest(last.account, Kind.OPENING, legs, None, reason)
    return JournalLine(last.number, identity, last.account, Kind.OPENING, latest_us, legs, None, reason, digest)


async def archive(
    store: Store,
    before_us: int,
    now_us: int,
    folder: Path,
    month_of: Callable[[int], str],
    counts: Counts,
    owner: str = "archive",
) -> None:
    """Move every account's journal lines and CDRs older than ``before_us`` to ``journal-MONTH.jsonl`` and
    ``cdrs-MONTH.jsonl`` in ``folder``, which is created if it is missing. ``counts`` shows the progress; ``owner``
    identifies this run, since only one runs at a time. ``before_us`` and ``now_us`` are wall clock, µs.

    Raises ValueError if ``before_us`` is too near ``now_us``, LedgerUnavailable, OSError.
    """
    if before_us > now_us - IDS_REMEMBERED_S * MICROSECONDS:
        raise ValueError("only what is older than 35 days can be archived: younger ids must be remembered")
    folder.mkdir(mode=0o700, exist_ok=True)  # noqa: ASYNC240  once
    flush(folder.absolute().parent)  # noqa: ASYNC240  so that the folder itself outlives a power cut
    async with alone(store, owner) as sole:
        await forget_old(store, now_us)
        await store.feed.last_place()  # what was booked takes its place, so that the feed's readers learn of the gap
        async for account in store.directory.accounts():
            counts.accounts += 1
            journal = [line async for line in sole.over(store.journal(account.id))]
            lines = archivable(journal, before_us)
            gone = {line.session for line in lines}
            stays = {line.session for line in journal[len(lines) :]}
            all_of_account = sole.over(all_cdrs(store, account.id))
            old = [cdr async for cdr in all_of_account if cdr.ended_us < before_us or cdr.session in gone]
            cdrs = [cdr for cdr in old if cdr.session not in stays]
            if cdrs:  # before their lines, never while a line stays, which would not be known for what it was
                _append(folder, "cdrs", ((month_of(cdr.ended_us), cdr) for cdr in cdrs))
                await sole.renew()
                await store.forget_cdrs(cdrs)
                counts.cdrs += len(cdrs)
            if lines and (len(lines) > 1 or lines[0].kind is not Kind.OPENING):
                gone_lines = [line for line in lines if line.kind is not Kind.OPENING]  # its lines are in the files
                _append(folder, "journal", ((month_of(line.at_us), line) for line in gone_lines))
                await sole.renew()
                await remember(store, gone_lines, now_us)
                await sole.renew()
                if not await store.replace_head(opening_line(lines), lines):
                    raise LedgerUnavailable(f"the journal of {account.id} was archived by another: begin again")
                counts.lines += len(gone_lines)
        await _trim_feed(store, sole)


async def _trim_feed(store: Store, sole: Alone) -> None:
    """Remove the entries at the head of the feed that were archived or deleted, except the last archived one. That one
    shows readers that have not come so far that entries are missing."""
    last_gone = place = 0
    while page := await store.feed.read_feed(place, FEED_ROWS):
        place = page[-1].place
        await sole.renew()
        stays = next((place for place, entry in enumerate(page) if entry.found is not None), len(page))
        for entry in page[:stays]:  # documents are forgotten, which is no gap
            last_gone = entry.place if entry.account else last_gone
        if stays < len(page):
            break
    await store.feed.forget_feed(last_gone)


def _append(folder: Path, what: str, records: Iterable[tuple[str, JournalLine | CdrRow]]) -> None:
    """Append each record to the file of its month."""
    texts: dict[str, list[str]] = defaultdict(list)
    for month, record in records:
        texts[month].append(f"{record.account}\t{encode(record)}\n")
    for month, lines in texts.items():
        append_lines(folder / f"{what}-{month}.jsonl", lines)
