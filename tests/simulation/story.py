"""What happens in a simulated city, step by step: drawn from a seed, written as lines that a person can read and that
can be replayed, and shortened to what is needed for a fault to show."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from charging.ledger.port import Store
from charging.ledger.sqlite.store import SqliteStore
from charging.pricing.rate import MAX_CALL_S
from charging.service.accounts import AccountChanges
from charging.service.numbers import NumberChanges
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.simulation import operator, replica
from tests.simulation.city import ABROAD, ACCOUNTS, TARGETS, City
from tests.simulation.inspector import Inspector
from tests.simulation.loop import StoryLoop
from tests.simulation.machine import LOUD, Loud
from tests.simulation.post import templates
from tests.simulation.setting import DAY_S, LONGEST_S, PACK_OF, PLANS, Rates, Setting

STARTS = (
    "2026-11-21T12:00:00",
    "2026-11-30T22:40:00",  # twenty minutes before a month's end in Amsterdam
    "2026-12-31T22:30:00",
    "2026-03-29T00:30:00",  # the clocks go forward
    "2026-10-25T00:20:00",  # and back
)


_NUMBER = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")


LEAVERS = 0.5
"""The share of stories in which somebody leaves Pro with minutes left."""

KEEPERS = 0.5
"""The share of stories in which a switch deletes no records for a while."""

HOUSEKEEPERS = 0.25
"""The share of stories in which closed months are archived, and that in which the ledger moves to another store."""

WAITERS = 0.8
"""The share of fail-overs in which nothing is lost that was acknowledged."""

RESTORERS = 0.1
"""The share of stories in which a backup is restored."""

SLOW = 0.3
"""The share of stories in which calls last hours, and ticks come seldom."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: a word and what it is given."""

    word: str
    given: tuple[float | str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.word, *(f"{one:g}" if isinstance(one, float) else str(one) for one in self.given)))

    @classmethod
    def read(cls, line: str) -> Step:
        """From its line. Raises ValueError where there is no word."""
        word, *given = line.split()
        return cls(word, tuple(_number(one) for one in given))


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Story:
    """A seed (for all that is drawn while it is told), a setting, and the steps."""

    seed: int
    setting: Setting
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *map(str, self.steps)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended."""

    counts: dict[str, int]
    talked_ms: int
    violation: str = ""
    books: str = ""
    """A digest of every journal line."""


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
    )
    return Story(
        seed,
        setting,
        _with_gifts([_step(chance, setting) for _ in range(steps)], random.Random(f"gifts{seed}"), setting),
    )


def _with_gifts(steps: list[Step], chance: random.Random, setting: Setting) -> tuple[Step, ...]:
    """Gifts have a chance of their own, so that a seed's story is otherwise what it was; and so has who leaves Pro with
    minutes left, and calls abroad."""
    for _ in range(chance.randrange(5)):
        account, euro = float(chance.randrange(ACCOUNTS)), chance.choice((-0.05, 0.05, 0.2, 2.0))
        steps.insert(chance.randrange(len(steps)), Step("gift", (account, euro, chance.choice((0.0, 0.0, 1.0, 3.0)))))
    for _ in range(chance.randrange(4)):
        account, pack = float(chance.randrange(ACCOUNTS)), chance.choice(tuple(PACK_OF))
        given = (account, pack, chance.choice((-5.0, 1.0, 5.0, 30.0)), chance.choice((0.0, 0.0, 1.0)))
        steps.insert(chance.randrange(len(steps)), Step("pack", given))
    if chance.random() < KEEPERS:
        step = Step("keeps", (float(chance.randrange(setting.switches)), chance.choice((30.0, 300.0))))
        steps.insert(chance.randrange(len(steps)), step)
    if chance.random() < LEAVERS:
        account, switch = float(chance.randrange(1, ACCOUNTS, 3)), float(chance.randrange(setting.switches))
        at = chance.randrange(len(steps))
        steps[at:at] = [
            Step("call", (account, switch, 0.0, 20.0, "leave")),
            Step("pass", (35.0,)),
            Step("plan", (account, "light")),
            Step("abroad", (account,)),
            Step("pass", (3.0,)),
            Step("call", (account, switch, 0.4, 200.0, "leave")),
        ]
    for _ in range(chance.randrange(4)):
        fault, seconds = chance.choice(("down", "puts-off", "forgets")), chance.choice((30.0, 300.0, 600.0))
        share = 1.0 if fault == "down" else chance.choice((0.3, 0.8))
        steps.insert(chance.randrange(len(steps)), Step("mail", (fault, share, seconds)))
    if chance.random() < HOUSEKEEPERS:
        steps.insert(chance.randrange(len(steps)), Step("archive", (chance.choice((36.0, 45.0, 80.0)),)))
    if chance.random() < HOUSEKEEPERS:
        steps.insert(chance.randrange(len(steps)), Step("move", (0.0,)))
    if setting.daemons > 1 or setting.switches > 1:
        for _ in range(chance.randrange(3)):
            waits = "waits" if chance.random() < WAITERS else "forgets"
            step = Step("fail-over", (waits, chance.choice((0.2, 1.0, 1.9) if waits == "forgets" else (0.2, 2.0, 8.0))))
            steps.insert(chance.randrange(len(steps)), step)
    if chance.random() < RESTORERS:
        step = Step("restore", (chance.choice((5.0, 900.0, 20_000.0) if setting.is_slow else (5.0, 90.0, 900.0)),))
        steps.insert(chance.randrange(len(steps)), step)
    return tuple(steps)


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


async def _crowd(city: City, people: float, talk_s: float) -> None:
    for _ in range(int(people)):
        lasts = round(city.chance.uniform(0.2, 1.0) * talk_s, 1)
        account, switch = city.chance.randrange(ACCOUNTS), city.chance.randrange(city.setting.switches)
        city.ring(account, switch, 2.0, lasts, "message")


async def _start_with_a_wrong_clock(city: City, years: float) -> None:
    """Every machine comes up so far from the right time, for half an hour; then somebody sets the clock."""
    for by_s in (years * 365 * 86_400, -years * 365 * 86_400):
        city.is_off = True
        for daemon in list(city.alive()):
            await daemon.kill()
        city.step_clock(by_s)
        await city.leap(0.01)
        await city.clock.advance(1800)
    city.counts["started with a wrong clock"] += 1


async def tell(city: City, step: Step) -> None:
    """Let one step happen."""
    first, *rest = step.given
    index = int(first) if isinstance(first, float) else 0
    match step.word, rest:
        case "call", [switch, ring_s, talk_s, after]:
            city.ring(index, int(switch), float(ring_s), float(talk_s), str(after))
        case "crowd", [talk_s]:
            await _crowd(city, float(first), float(talk_s))
        case "pass", []:
            await city.clock.advance(float(first))
        case "top-up", [euro]:
            city.live(city.people.top_up(index, round(float(euro) * EURO)))
        case "correct", [euro]:
            city.live(city.people.correct(index, round(float(euro) * EURO)))
        case "gift", [euro, days]:
            city.live(city.people.give(index, round(float(euro) * EURO), int(days)))
        case "pack", [pack, minutes, days]:
            city.live(city.people.give_pack(index, str(pack), int(minutes), int(days)))
        case "fax", [switch, pages]:
            city.live(city.office.send(f"a{index}", int(switch), int(pages)))
        case "tariff", []:
            city.edition = index
            city.counts["tariff edited"] += 1
        case "kill", [awaits, away_s]:
            city.live(city.kill(index, int(awaits), float(away_s)))
        case "freeze", [seconds]:
            city.live(city.freeze(index, float(seconds)))
        case "cut", [seconds]:
            city.live(city.cut_link(index, float(seconds)))
        case "disobeys" | "garbles" | "failing", [share, seconds]:
            city.live(city.disturb(index, step.word, float(share), float(seconds)))
        case "mail", [share, seconds]:
            city.live(city.disturb_mail(str(first), float(share), float(seconds)))
        case "keeps", [seconds]:
            city.live(city.keep_records(index, float(seconds)))
        case "restart", []:
            city.live(city.restart_switch(index))
        case "clock", []:
            await city.clock.advance(0.001)  # nothing real happens in the very microsecond of a step
            city.step_clock(float(first))
        case "days-off", []:
            await city.leap(float(first))
        case "wrong-clock", []:
            await _start_with_a_wrong_clock(city, float(first))
        case "archive" | "fail-over" | "restore" | "move", _:
            await _keep_house(city, step)
        case _:
            _edit(city, step)


async def _keep_house(city: City, step: Step) -> None:
    """What becomes of the ledger as a whole."""
    first, *rest = step.given
    match step.word, rest:
        case "archive", []:
            await operator.archive_after(city, float(first))
        case "fail-over", [seconds]:
            city.live(replica.fail_over(city, float(seconds), waits=first == "waits"))
        case "restore", []:
            await replica.restore(city, float(first))
        case _:
            await operator.move_house(city)


def _edit(city: City, step: Step) -> None:
    """What support and website change."""
    first, *rest = step.given
    index = int(first) if isinstance(first, float) else 0
    account = f"a{index}"
    match step.word, rest:
        case "minutes", [minutes]:
            key = f"m{len(city.callers)}-{city.clock.now().mono_us}"
            city.live(
                city.people.change(
                    lambda one: one.service.money.grant_minutes(account, int(minutes), "support", key), "minutes given"
                )
            )
        case "plan", [plan]:
            changes = AccountChanges(plan=str(plan))
            city.live(city.people.change(lambda one: one.service.accounts.change(account, changes), "plan changed"))
        case "suspend", []:
            city.people.suspended.add(account)
            city.live(city.people.change(lambda one: one.service.accounts.suspend(account, "why"), "account suspended"))
        case "activate", []:
            city.live(city.people.change(lambda one: one.service.accounts.activate(account), "account activated"))
        case "abroad", []:
            _edit(city, Step("forward", (float(index), ABROAD)))
        case "forward", [target]:
            to = NumberChanges(forward_to="" if target == "nowhere" else str(target))
            number = f"+3120123450{index:02}"
            city.live(city.people.change(lambda one: one.service.numbers.change(number, to), "forward changed"))
        case _:
            raise ValueError(f"nobody knows how to {step}")


async def _told(story: Story, store: Callable[[FakeClock], Store]) -> Outcome:
    city = City(story.setting, story.seed, store)
    with patch("charging.app_notices.Smtp", city.post.carrier):
        return await _told_of(city, story)


async def _told_of(city: City, story: Story) -> Outcome:
    inspector = Inspector(city)
    violation = books = ""
    try:
        await city.begin()
        for step in story.steps:
            await tell(city, step)
            await city.clock.advance(0)
            city.check_lives()
            await inspector.look()
        await city.end()
        books = await inspector.close()
    except Exception as error:  # noqa: BLE001  whatever a task of a daemon has failed with
        violation = str(error) if isinstance(error, AssertionError) and str(error) else repr(error)
    finally:
        await city.close()
    talked_ms = sum(one.talked.true_ms for one in city.callers if one.talked is not None)
    return Outcome(dict(city.counts), talked_ms, violation, books)


def run(story: Story, store: Callable[[FakeClock], Store] = replica.Ledger) -> Outcome:
    """Tell a story on a ledger of its own; each time the same."""
    names = random.Random(story.seed)
    with ExitStack() as changed:
        for module in LOUD:
            changed.enter_context(patch(f"{module}.log", Loud(module)))
        return _run(story, store, names)


def _run(story: Story, store: Callable[[FakeClock], Store], names: random.Random) -> Outcome:
    with (
        patch("charging.fax.sending.asyncio.to_thread", _at_once),
        patch("charging.engine.desk.token", lambda size: names.randbytes(size).hex()),
        patch("charging.engine.recovery.AUDIT_S", story.setting.audit_s),
        patch("charging.engine.recovery.AUDIT_MAX_S", story.setting.audit_s),
        patch("charging.engine.black_boxes.HOUSEKEEPING_S", story.setting.audit_s),
        patch("charging.clock.WATCH_S", story.setting.pace),
        patch("charging.service.caretaker.REST_S", 60 * story.setting.pace),
        patch("charging.app_notices.Templates", templates),
        patch("charging.notify.notifier.GATHER_S", story.setting.pace),
        patch("charging.notify.worker.POLL_S", max(15, story.setting.pace)),
        patch("charging.notify.missed_desk.POLL_S", max(15, story.setting.pace)),
        asyncio.Runner(loop_factory=StoryLoop) as runner,
    ):
        return runner.run(_told(story, store))


async def _at_once(work: Callable[..., object], *arguments: object, **options: object) -> object:
    """In the place of a thread, for which the simulated clock would not wait."""
    return work(*arguments, **options)


def run_on_file(story: Story) -> Outcome:
    """Tell a story on a ledger in a SQLite file."""
    with TemporaryDirectory(prefix="city-") as folder:
        number = count()
        return run(story, lambda clock: SqliteStore(Path(folder) / f"ledger-{next(number)}.db", clock=clock))


def shortened(story: Story, fails: Callable[[Story], bool]) -> Story:
    """The story with as few steps as it takes for ``fails``: halves, quarters, single steps are left out (delta
    debugging)."""
    size = max(1, len(story.steps) // 2)
    while True:
        shorter = _without(story, size, fails)
        if shorter is not None:
            story = shorter
            continue
        if size == 1:
            return story
        size = max(1, size // 2)


def _without(story: Story, size: int, fails: Callable[[Story], bool]) -> Story | None:
    for first in range(0, len(story.steps), size):
        candidate = replace(story, steps=(*story.steps[:first], *story.steps[first + size :]))
        if fails(candidate):
            return candidate
    return None


def read(lines: Sequence[str]) -> Story:
    """A story from its lines, as `str` writes them."""
    first, *rest = (line for line in lines if line.strip())
    seed = int(first.removeprefix("seed "))
    return replace(drawn(seed), steps=tuple(Step.read(line) for line in rest))
