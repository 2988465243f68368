"""Stories of a simulated city, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from charging.pricing.rate import MAX_CALL_S
from tests.simulation.city import ACCOUNTS, BEGUN, TARGETS
from tests.simulation.numbers import MOVING
from tests.simulation.script import Step, Story
from tests.simulation.setting import DAY_S, LONGEST_S, PACK_OF, PLANS, Rates, Setting

LEAP, *_SOME = reversed(BEGUN)
STARTS = ("2026-11-21T12:00:00", *reversed(_SOME))

LEAVERS = 0.5
"""The share of stories in which somebody leaves Pro with minutes left."""

KEEPERS = 0.5
"""The share of stories in which a switch deletes no records for a while."""

LOSERS = 0.3
"""The share of stories in which a switch and its daemons are lost in the moment in which a fax is dialled."""

RUSHES = 0.4
"""The share of stories in which many call in the very moment in which a daemon gains a lease."""

RESETTERS = 0.2
"""The share of stories in which the clocks are stepped twice, the second time back, so that a daemon may see no more
than what is left of both."""

MISSETTERS = 0.05
"""The share of stories in which every machine starts with a clock that is far from the right time."""

HOUSEKEEPERS = 0.25
"""The share of stories in which closed months are archived, and that in which the ledger moves to another store."""

DISKS = 0.25
"""The share of stories whose ledger is a SQLite file."""

CROWDED = 0.7
"""The share of power cuts in which there is much to write."""

WAITERS = 0.8
"""The share of fail-overs in which nothing is lost that was acknowledged."""

YEARS = 0.15
"""The share of stories that go on for a year, in which credit expires."""

LEAPERS = 0.05
"""The share of stories that begin half an hour before a 29th of February."""

RESTORERS = 0.1
"""The share of stories in which a backup is restored."""

SLOW = 0.3
"""The share of stories in which calls last hours, and ticks come seldom."""


def drawn(seed: int, steps: int = 80) -> Story:
    """The story of a seed."""
    chance = random.Random(seed)
    is_slow = chance.random() < SLOW
    tick_s = chance.choice((1800, 3600, 7200) if is_slow else (10, 60))
    longest_s = random.Random(f"long{seed}").choice((LONGEST_S, DAY_S)) if is_slow else MAX_CALL_S
    if longest_s == DAY_S:
        tick_s *= 4
    setting = Setting(
        switches=chance.choice((1, 1, 2, 3)),
        daemons=chance.choice((1, 2, 2, 3)),
        start=chance.choice(STARTS),
        tick_s=tick_s,
        horizon_s=tick_s if is_slow else chance.choice((20, 60)),
        audit_s=(1800 if longest_s < DAY_S else 5400) if is_slow else 10,
        calls_at_once=40 if is_slow else 5,
        rates=tuple(
            Rates(chance.choice((6_000, 60_000, 90_000)), chance.choice((1, 6, 60)), chance.choice((0, 0, 50_000)))
            for _ in range(3)
        ),
        longest_s=longest_s,
        apart=seed % 2 == 0,
        is_old=seed % 6 == 1,
    )
    if random.Random(f"leap{seed}").random() < LEAPERS:
        setting = replace(setting, start=LEAP)
    if random.Random(f"disk{seed}").random() < DISKS:
        setting = replace(setting, switches=1, daemons=1, on_disk=True)
    told = _with_gifts([_step(chance, setting) for _ in range(steps)], random.Random(f"gifts{seed}"), setting)
    told = _with_rushes(told, random.Random(f"rush{seed}"), setting)
    told = _with_two_steps(told, random.Random(f"two steps{seed}"), setting)
    return Story(seed, setting, told + _wrong_clock(random.Random(f"wrong{seed}"), setting))


def _with_gifts(steps: list[Step], chance: random.Random, setting: Setting) -> tuple[Step, ...]:
    """Gifts, and all that follows, have a chance of their own: a seed's story is otherwise what it was."""
    for _ in range(chance.randrange(5)):
        account, euro = float(chance.randrange(ACCOUNTS)), chance.choice((-0.05, 0.05, 0.2, 2.0))
        _put(steps, chance, Step("gift", (account, euro, chance.choice((0.0, 0.0, 1.0, 3.0)))))
    for _ in range(chance.randrange(4)):
        account, pack = float(chance.randrange(ACCOUNTS)), chance.choice(tuple(PACK_OF))
        given = (account, pack, chance.choice((-5.0, 1.0, 5.0, 30.0)), chance.choice((0.0, 0.0, 1.0)))
        _put(steps, chance, Step("pack", given))
    if chance.random() < KEEPERS:
        _put(steps, chance, Step("keeps", (float(chance.randrange(setting.switches)), chance.choice((30.0, 300.0)))))
    if chance.random() < LEAVERS:
        _put(steps, chance, *_leaver(chance, setting))
    _add_mail(steps, chance, setting)
    for _ in range(chance.randrange(12)):
        _put(steps, chance, *_moving_number(chance, setting))
    if chance.random() < YEARS:
        steps += _year(chance, setting)
    _add_house_keeping(steps, chance, setting)
    return tuple(steps)


def _with_rushes(steps: tuple[Step, ...], chance: random.Random, setting: Setting) -> tuple[Step, ...]:
    """Many call as a lease is gained, which some daemon has lost."""
    if chance.random() >= RUSHES:
        return steps
    more = list(steps)
    for _ in range(chance.randrange(1, 4)):
        lost_s = setting.lease_s + chance.choice((5.0, 60.0))
        loses = chance.choice(
            (
                Step("freeze", (float(_daemon(chance, setting)), lost_s)),
                Step("cut", (float(_daemon(chance, setting)), lost_s)),
                Step("kill", (float(_daemon(chance, setting)), 1.0, lost_s)),
            )
        )
        _put(more, chance, Step("rush", (float(chance.choice((4, 12))),)), loses, Step("pass", (lost_s + 30,)))
    return tuple(more)


def _with_two_steps(steps: tuple[Step, ...], chance: random.Random, setting: Setting) -> tuple[Step, ...]:
    """The clocks are stepped while many call, and back again, as a wrong time server and the next one do; and a daemon
    is frozen meanwhile, or dead, or hears nothing of its switch."""
    if chance.random() >= RESETTERS:
        return steps
    more = list(steps)
    for _ in range(chance.randrange(1, 4)):
        first_s, second_s = chance.choice(((40.0, -30.0), (-30.0, 40.0), (40.0, -40.0), (-30.0, 30.0), (5.0, -30.0)))
        daemon, away_s = float(_daemon(chance, setting)), chance.choice((4.0, 25.0, 75.0, 300.0))
        faults = Step("freeze", (daemon, away_s)), Step("kill", (daemon, 1.0, away_s)), Step("cut", (daemon, away_s))
        crowd = Step("crowd", (9.0, chance.choice((5.0, 30.0, 300.0))))
        begin = chance.choice(([crowd], *([one, crowd] for one in faults), *([crowd, one] for one in faults)))
        later = (Step("pass", (chance.choice((0.7, 3.0, 11.0)),)) for _ in range(2))
        between = [next(later)] if chance.random() < 0.5 else []
        clocks = Step("clock", (first_s,)), *between, Step("clock", (second_s,))
        _put(more, chance, *begin, next(later), *clocks, Step("pass", (chance.choice((0.7, 11.0, 90.0)),)))
    return tuple(more)


def _put(steps: list[Step], chance: random.Random, *some: Step) -> None:
    """Somewhere among them, together."""
    at = chance.randrange(len(steps))
    steps[at:at] = some


def _leaver(chance: random.Random, setting: Setting) -> list[Step]:
    """Who leaves Pro with minutes left, and calls abroad."""
    account, switch = float(chance.randrange(1, ACCOUNTS, 3)), float(chance.randrange(setting.switches))
    return [
        Step("call", (account, switch, 0.0, 20.0, "leave")),
        Step("pass", (35.0,)),
        Step("plan", (account, "light")),
        Step("abroad", (account,)),
        Step("pass", (3.0,)),
        Step("call", (account, switch, 0.4, 200.0, "leave")),
    ]


def _add_mail(steps: list[Step], chance: random.Random, setting: Setting) -> None:
    """Faxes that come by mail, or whose switch dies; and a mail server with faults."""
    for _ in range(chance.randrange(4)):
        pages = float(chance.choice((1, 2, 30, 200)))
        handed_in = float(chance.randrange(ACCOUNTS)), float(chance.randrange(setting.switches)), pages
        _put(steps, chance, Step("fax-by-mail", handed_in))
    if chance.random() < LOSERS:
        sent = float(chance.randrange(ACCOUNTS)), float(chance.randrange(setting.switches)), 2.0
        _put(steps, chance, Step("fax-lost", (*sent, chance.choice((1.0, 7.0, 70.0, 300.0)))))
    for _ in range(chance.randrange(4)):
        fault, seconds = chance.choice(("down", "puts-off", "forgets")), chance.choice((30.0, 300.0, 600.0))
        share = 1.0 if fault == "down" else chance.choice((0.3, 0.8))
        _put(steps, chance, Step("mail", (fault, share, seconds)))


def _add_house_keeping(steps: list[Step], chance: random.Random, setting: Setting) -> None:
    """What becomes of the ledger as a whole."""
    if chance.random() < HOUSEKEEPERS:
        _put(steps, chance, Step("archive", (chance.choice((36.0, 45.0, 80.0)),)))
    if chance.random() < HOUSEKEEPERS:
        _put(steps, chance, Step("move", (0.0,)))
    for _ in range(chance.randrange(3) if setting.daemons > 1 or setting.switches > 1 else 0):
        waits = "waits" if chance.random() < WAITERS else "forgets"
        after_s = chance.choice((0.2, 1.0, 1.9) if waits == "forgets" else (0.2, 2.0, 8.0))
        _put(steps, chance, Step("fail-over", (waits, after_s)))
    for _ in range(chance.randrange(2, 6) if setting.on_disk else 0):
        cut = Step("power-cut", (float(chance.choice((1, 2, 3, 5, 8, 20, 60))), chance.choice((1.0, 20.0, 300.0))))
        busy = [Step("crowd", (float(chance.randrange(4, 12)), 90.0))] if chance.random() < CROWDED else []
        _put(steps, chance, *busy, cut)
    if chance.random() < RESTORERS * (3 if setting.on_disk else 1):
        after_s = chance.choice((5.0, 900.0, 20_000.0) if setting.is_slow else (5.0, 90.0, 900.0))
        _put(steps, chance, Step("restore", (after_s,)))


def _wrong_clock(chance: random.Random, setting: Setting) -> tuple[Step, ...]:
    """In some stories every machine comes up years ahead, or past a month's end, or behind, when all else is over: of
    what comes while nobody knows the time, nobody can say whose it was."""
    if chance.random() >= MISSETTERS:
        return ()
    calm = Step("pass", (float(max(1200, setting.grace_s)),))
    return (calm, Step("wrong-clock", (chance.choice((2.0, 0.1, -0.1)),)), calm)


def _year(chance: random.Random, setting: Setting) -> list[Step]:
    """What is left of a year in which hardly anybody calls: mornings about the days on which credit ends, and on which
    that is told; and between them some who keep theirs."""
    steps: list[Step] = []
    for gap in (chance.randrange(100, 331), 0, 5, chance.randrange(5, 20), 7, 4, 2, 1, 1, 1, 2, 30):
        day = sum(int(one.given[0]) for one in steps if one.word == "morning")
        steps.append(Step("morning", (float(gap or max(1, 334 - day)),)))
        for _ in range(chance.randrange(4)):
            account = float(chance.randrange(ACCOUNTS))
            steps.append(
                chance.choice(
                    (
                        Step("top-up", (account, chance.choice((0.02, 10.0)))),
                        Step("subscription", (account, chance.choice((1.0, 8.0, 31.0, 365.0)))),
                        Step("call", (account, float(chance.randrange(setting.switches)), 0.4, 30.0, "leave")),
                        Step("fax", (account, float(chance.randrange(setting.switches)), 1.0)),
                        Step("correct", (account, chance.choice((-0.3, 0.3)))),
                    )
                )
            )
        steps.append(Step("pass", (60.0,)))
    return steps


def _moving_number(chance: random.Random, setting: Setting) -> list[Step]:
    """A number changes its owner, and somebody calls it before or after."""
    number, account = float(chance.randrange(len(MOVING))), float(chance.randrange(ACCOUNTS))
    change = Step("number", (number, chance.choice(("added", "removed", "moved", "moved")), account))
    after = chance.choices(("message", "leave"), (6, 3))[0]
    lasts = round(chance.uniform(1, setting.longest_s if setting.is_slow else 300), 1)
    ring_s, talk_s = chance.choice((0.0, 0.4, 12.0, 40.0)), chance.choice((0.0, lasts))
    call = Step("call-moving", (number, float(chance.randrange(setting.switches)), ring_s, talk_s, after))
    return chance.choice(([call, change], [change, call], [call, Step("pass", (3.0,)), change]))


def _step(chance: random.Random, setting: Setting) -> Step:
    # Late events are put right by the next look at the switch, which is far away where the story is slow.
    words = {word: weight for word, (weight, _) in _DRAW.items() if not (setting.is_slow and word == "garbles")}
    word = chance.choices(tuple(words), tuple(words.values()))[0]
    return Step(word, tuple(float(one) if isinstance(one, int) else one for one in _DRAW[word][1](chance, setting)))


def _call(chance: random.Random, setting: Setting) -> tuple[float | str, ...]:
    long_s = setting.longest_s + 3600 if setting.is_slow else 900
    talk_s = chance.choice((0, chance.uniform(0.1, 60), chance.uniform(60, long_s)))
    ring_s = chance.choice((0, 0.4, 5, 12, 40))
    after = chance.choices(("message", "leave", "vanish"), (6, 3, 1))[0]
    return chance.randrange(ACCOUNTS), chance.randrange(setting.switches), ring_s, round(talk_s, 1), after


def _daemon(chance: random.Random, setting: Setting) -> int:
    return chance.randrange(setting.switches * setting.daemons)


def _lasts(chance: random.Random) -> float:
    return chance.choice((0.5, 4, 12, 25, 70, 300))


Draw = Callable[[random.Random, Setting], tuple[float | str, ...]]

_PASSED = {True: (0.05, 0.7, 11, 900, 3600, 9000, 18_000), False: (0.05, 0.7, 3, 11, 35, 90)}
"""Seconds, where calls last hours and where not."""

_DRAW: dict[str, tuple[float, Draw]] = {
    "call": (20, _call),
    "crowd": (3, lambda c, s: (c.randrange(100, 600), s.longest_s + 3600) if s.is_slow else (c.randrange(4, 30), 300)),
    "pass": (
        18,
        lambda c, s: (c.choice(_PASSED[s.is_slow]) * (3 if s.longest_s == DAY_S else 1),),
    ),
    "fax": (3, lambda c, s: (c.randrange(ACCOUNTS), c.randrange(s.switches), c.choice((1, 2, 5)))),
    "top-up": (4, lambda c, _: (c.randrange(ACCOUNTS), c.choice((0.02, 0.5, 10)))),
    "correct": (1, lambda c, _: (c.randrange(ACCOUNTS), c.choice((-5, -0.3, 0.3)))),
    "minutes": (1, lambda c, _: (c.randrange(ACCOUNTS), c.choice((-20, 5, 30)))),
    "plan": (1, lambda c, _: (c.randrange(ACCOUNTS), c.choice(PLANS))),
    "suspend": (0.5, lambda c, _: (c.randrange(ACCOUNTS),)),
    "activate": (1, lambda c, _: (c.randrange(ACCOUNTS),)),
    "forward": (1, lambda c, _: (c.randrange(ACCOUNTS), c.choice((*TARGETS, "nowhere")))),
    "tariff": (1, lambda c, s: (c.randrange(len(s.rates)),)),
    "kill": (2, lambda c, s: (_daemon(c, s), c.choice((1, 2, 3, 7, 20)), _lasts(c))),
    "freeze": (2, lambda c, s: (_daemon(c, s), _lasts(c))),
    "cut": (2, lambda c, s: (_daemon(c, s), _lasts(c))),
    "disobeys": (1, lambda c, s: (_daemon(c, s), c.choice((0.3, 0.9, 1.0)), _lasts(c))),
    "garbles": (2, lambda c, s: (_daemon(c, s), c.choice((0.2, 0.9)), _lasts(c))),
    "failing": (2, lambda c, s: (_daemon(c, s), c.choice((0.3, 0.9, 1.0)), _lasts(c))),
    "restart": (0.7, lambda c, s: (c.randrange(s.switches),)),
    "clock": (0.5, lambda c, _: (c.choice((-30, -5, 5, 40)),)),
    "days-off": (0.3, lambda c, _: (c.choice((0.4, 2, 3.5)),)),
}
"""For each word: how often it is drawn, and what it is given."""
