"""Closed periods go to files by month: what stays behind is one opening line an account, which `verify` understands.

Written to the files and flushed first, taken out of the store second: a crash between leaves both, and the next run
writes those lines once more; a reader of the files goes by account and number. The ids of archived lines are forgotten:
a transfer that is repeated after that is carried out again. So archive only what no daemon can still be repeating: the
command refuses anything younger than IDS_REMEMBERED_S. Ids that callers from outside made (top-ups, corrections, faxes)
are remembered apart from their lines, for longer (`charging.ledger.remembered`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path

from charging.clock import MICROSECONDS
from charging.errors import LedgerUnavailable
from charging.ledger.books.exclusive import Alone, alone
from charging.ledger.books.portable import Counts, encode
from charging.ledger.books.verify import all_cdrs
from charging.ledger.credit_events import CreditHistory
from charging.ledger.durable import append_lines, flush
from charging.ledger.model import CdrRow, JournalLine, Kind, Leg, contents_digest
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.ledger.remembered import forget_old, remember

FEED_ROWS = 500


def archivable(lines: Sequence[JournalLine], before_us: int) -> Sequence[JournalLine]:
    """The longest beginning of a journal in which every line is older than ``before_us`` and every session has ended
    for good: no later line is of a session in it, and it holds nothing."""
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
    """What takes their place: the last one's number, the latest one's time, what they all add up to, and what they say
    of the life of the credit."""
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
    """Take every account's journal lines and CDRs older than ``before_us`` to ``journal-MONTH.jsonl`` and
    ``cdrs-MONTH.jsonl`` in ``folder``, which is made where it is missing; ``counts`` tells how far it is; ``owner``
    tells this run from every other, of which there may be none meanwhile. The store may be in use.

    Raises ValueError where ``before_us`` is too near ``now_us``, LedgerUnavailable, OSError.
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
    """Take the feed's beginning out as far as all in it is archived or forgotten, but for the last of it, which tells
    whoever has not read so far that something is gone."""
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
    """Write them to the file of their month."""
    texts: dict[str, list[str]] = defaultdict(list)
    for month, record in records:
        texts[month].append(f"{record.account}\t{encode(record)}\n")
    for month, lines in texts.items():
        append_lines(folder / f"{what}-{month}.jsonl", lines)
