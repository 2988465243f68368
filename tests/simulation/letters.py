"""What subscribers were told by mail, held to the rules of notices by someone who shares nothing with the engine: R13
(each call that was not answered for want of credit, once), R15 and R16 (credit or free minutes nearly gone: once for
each crossing). No mail arrives twice but where its sender could not know that it had arrived."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from charging.ledger.model import JournalLine
from tests.simulation.callers import Caller
from tests.simulation.city import City
from tests.simulation.post import Arrived
from tests.simulation.setting import FREE_S, LOW_CREDIT, LOW_FREE_S

MICRO = 1_000_000
NOT_FOR_WANT_OF_CREDIT = frozenset(("account_suspended", "too_many_wait", "unknown_number"))
"""Why a caller may not be answered, and more credit would have changed nothing."""
RECORDED_WITHIN_US = 700_000
"""A missed call is stored by then; where the ledger does not answer, the caller is not kept waiting for longer."""
MARKED_WITHIN_US = 30 * MICRO
"""A mail that is out is marked as such by then, where nothing is wrong."""
TOLD_WITHIN_S = 150
"""Of a crossing, where nothing is wrong and ticks are not far apart."""
DEAREST_MINUTE = 200_000
"""More than a minute with its fee costs in any edition."""
CALLER = re.compile(r"\+31107[0-9]{6}")
SEVERAL = re.compile(r"(\+31107[0-9]{6}): [0-9]+ times")
CALLS = re.compile(r"You missed ([0-9]+) calls")


def is_money(balance: str) -> bool:
    """Bought credit, or given."""
    return balance == "credit" or balance.startswith("promo:")


def local_day(wall_us: int) -> str:
    """``YYYY-MM-DD`` in Amsterdam."""
    return datetime.fromtimestamp(wall_us / MICRO, ZoneInfo("Europe/Amsterdam")).strftime("%Y-%m-%d")


Told = Mapping[tuple[str, str], Sequence[Arrived]]
"""By account and kind."""


def told_by_kind(city: City) -> Told:
    """Every mail, once. Raises AssertionError for one that was sent twice for no reason."""
    told: defaultdict[tuple[str, str], list[Arrived]] = defaultdict(list)
    for mail in _once_each(city):
        told[mail.account, mail.kind].append(mail)
    return told


def check_mail(city: City, told: Told, journals: Mapping[str, Sequence[JournalLine]], plans: Mapping[str, str]) -> None:
    """``plans``: of accounts that are active in the end. Raises AssertionError for the first thing that is not as it
    must be."""
    for account, lines in journals.items():
        missed = [*told[account, "missed call"], *told[account, "missed calls"]]
        _check_missed(city, account, missed)
        _check_low_credit(city, account, lines, told[account, "low credit"], is_active=account in plans)
        _check_low_minutes(city, account, lines, told[account, "low free minutes"], plans.get(account))


def _once_each(city: City) -> list[Arrived]:
    """Every mail, without those that came once more, as the first did."""
    first: dict[str, Arrived] = {}
    for mail in city.post.arrived:
        known = first.setdefault(mail.id, mail)
        if known is mail:
            continue
        city.counts["mail arrived again"] += 1
        assert known.account == mail.account, (mail.id, "says something else")
        if city.people.forgot or city.wrong_us:  # what was sent, and what was said in it, may be lost, or years over
            continue
        assert known.text == mail.text, (mail.id, "says something else")
        assert city.post.is_doubtful(known) or _in_trouble(city, known.switch, known.mono_us, MARKED_WITHIN_US), (
            known,
            "was sent twice",
        )
    return list(first.values())


def _in_trouble(city: City, switch: int, at_us: int, for_us: int) -> bool:
    """Whether something was wrong at a switch, from then on for so long."""
    return any(one == switch and begun <= at_us + for_us and end >= at_us for one, begun, end in city.troubles)


def _check_missed(city: City, account: str, mails: Sequence[Arrived]) -> None:
    """R13: each call that was not answered for want of credit is told, once."""
    must: set[str] = set()
    may: set[str] = set()
    for caller in (one for one in city.callers if account in one.owners | one.later):
        if set(caller.turned) - NOT_FOR_WANT_OF_CREDIT:
            may.add(caller.shown)
            if (
                caller.owners | caller.later == {account}  # who has a number by then is told what it has missed
                and not _may_be_forgotten(city, caller)
                and account not in city.people.suspended
            ):
                must.add(caller.shown)
        elif caller.unheard:
            may.add(caller.shown)
    named = [number for mail in mails for number in CALLER.findall(f"{mail.subject} {mail.text}")]
    calls = sum(int(many[1]) if (many := CALLS.match(mail.subject)) else 1 for mail in mails)
    for mail in mails:
        assert not SEVERAL.search(mail.text), (account, "a call is told as several", mail.text)
    if city.people.forgot:
        assert set(named) <= may, (account, "was not missed", set(named) - may)
        return
    listed = [number for mail in mails for number in set(CALLER.findall(f"{mail.subject} {mail.text}"))]
    assert len(listed) == len(set(listed)), (account, "a missed call is told twice", listed)
    assert set(named) <= may, (account, "was not missed", set(named) - may)
    assert len(must) <= calls <= len(may), (account, "missed calls told", calls, "of", len(must), "to", len(may))
    if calls == len(set(named)):
        assert must <= set(named), (account, "a missed call was not told", must - set(named))


def _may_be_forgotten(city: City, caller: Caller) -> bool:
    """The ledger did not take it in time, or its daemon died at that very moment."""
    since_us = caller.turned_us - RECORDED_WITHIN_US
    return _in_trouble(city, caller.switch, since_us, 2 * RECORDED_WITHIN_US)


def _states(lines: Sequence[JournalLine], now_us: int) -> Iterator[tuple[int, bool, int]]:
    """By line: when, whether credit was ever bought or given, and what could be spent; before and after each, and now:
    what has ended may have no line yet."""
    by_name: dict[str, int] = defaultdict(int)
    cured = False

    def spendable(at_us: int) -> int:
        day = local_day(at_us)
        return sum(amount for name, amount in by_name.items() if name == "credit" or name[6:] >= day)

    for line in lines:
        if cured:
            yield line.at_us, cured, spendable(line.at_us)
        for leg in line.legs:
            if is_money(leg.balance):
                by_name[leg.balance] += leg.posted
                cured = cured or (line.session is None and leg.posted > 0)
        yield line.at_us, cured, spendable(line.at_us)
    yield now_us, cured, spendable(now_us)


def _check_low_credit(
    city: City, account: str, lines: Sequence[JournalLine], mails: Sequence[Arrived], *, is_active: bool
) -> None:
    """R15: once for each crossing, and none is left out."""
    crossings, was_low, since_us = 0, False, 0
    for at_us, cured, credit in _states(lines, city.clock.now().wall_us):
        is_low = cured and credit < LOW_CREDIT
        crossings += is_low and not was_low
        was_low = is_low
        if not is_low:
            since_us = at_us
    if not city.people.forgot:
        fair = [mail for mail in mails if not city.is_wrong(mail.due_us)]  # years ahead each gift is over
        assert len(fair) <= crossings, (account, "is told of low credit too often", crossings, mails)
    if 0 < since_us < city.archived_us:  # a gift that came and went while nobody looked, and has no line any more
        return
    if was_low and is_active:
        since_us -= round((2 + city.steps.either_way_s) * MICRO)
        if city.people.forgot:  # that there was enough in between may be among what the ledger lost
            since_us = 0
        assert any(mail.due_us > since_us for mail in mails), (account, "is not told of low credit", since_us, mails)


def _check_low_minutes(
    city: City, account: str, lines: Sequence[JournalLine], mails: Sequence[Arrived], plan: str | None
) -> None:
    """R16: who has little left and no credit to go on with, and nobody else."""
    for mail in mails:
        if city.people.forgot or city.is_wrong(mail.due_us):
            continue
        near = list(_near(lines, mail.due_us, round((60 + city.steps.either_way_s) * MICRO)))
        assert min(credit for credit, _ in near) < DEAREST_MINUTE, (account, "has credit to go on with", mail)
        assert min(free for _, free in near) < LOW_FREE_S, (account, "has free minutes left", mail)
    month = local_day(city.clock.now().wall_us)[:7]
    credit, free = list(_near(lines, city.clock.now().wall_us, 0))[-1]
    if plan == "pro" and free < LOW_FREE_S and credit <= 0:
        assert any(local_day(mail.due_us)[:7] == month for mail in mails), (account, "is not told of free minutes")


def _near(lines: Sequence[JournalLine], at_us: int, within_us: int) -> Iterator[tuple[int, int]]:
    """Credit that could be used, and the month's free seconds, that an account had about that time: before the first
    line that is so near, and after each of these. A gift whose day is over may have no line of its end yet."""
    money: dict[str, int] = defaultdict(int)
    free, bundle, day = FREE_S, f"bundle:{local_day(at_us)[:7]}", local_day(at_us + within_us)
    is_granted = False

    def credit() -> int:
        return sum(amount for name, amount in money.items() if name == "credit" or name[6:] >= day)

    for line in lines:
        if line.at_us > at_us + within_us:
            break
        if line.at_us >= at_us - within_us:
            yield credit(), free
        for leg in line.legs:
            if is_money(leg.balance):
                money[leg.balance] += leg.posted
            if leg.balance == bundle:
                free, is_granted = (free if is_granted else 0) + leg.posted, True
    yield credit(), free
