"""What happens in a simulated city, told step by step, and shortened to what is needed for a fault to show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from charging.ledger.port import Store
from charging.service.accounts import AccountChanges
from charging.service.numbers import NumberChanges
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.simulation import filed, operator, replica
from tests.simulation.city import ABROAD, ACCOUNTS, TARGETS, TOLD_WITHIN_S, City
from tests.simulation.drawing import drawn
from tests.simulation.inspector import Inspector
from tests.simulation.loop import StoryLoop
from tests.simulation.machine import LOUD, Loud
from tests.simulation.numbers import MOVING
from tests.simulation.post import templates
from tests.simulation.script import Step, Story

MORNING_S = 240
"""So long everything is told within, where a second is a second."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a story ended."""

    counts: dict[str, int]
    talked_ms: int
    violation: str = ""
    books: str = ""
    """A digest of every journal line."""


EDITS = frozenset(("minutes", "plan", "suspend", "activate", "abroad", "forward"))
"""By support and website."""


async def _crowd(city: City, people: float, talk_s: float) -> None:
    for _ in range(int(people)):
        lasts = round(city.chance.uniform(0.2, 1.0) * talk_s, 1)
        account, switch = city.chance.randrange(ACCOUNTS), city.chance.randrange(city.setting.switches)
        city.ring(account, switch, 2.0, lasts, "message")


async def _start_with_a_wrong_clock(city: City, years: float) -> None:
    """Every machine comes up so far from the right time, for half an hour; then somebody sets the clock."""
    right, wrong_s = city.clock.now(), years * 365 * 86_400
    for by_s in (wrong_s, -wrong_s):
        city.is_off = True
        for daemon in list(city.alive()):
            await daemon.kill()
        city.steps.step(by_s)
        await city.leap(0.01)
        await city.clock.advance(1800)
    first_us, lasts_us = right.plus(wrong_s).wall_us, city.clock.now().mono_us - right.mono_us
    city.wrong_us.append((first_us, first_us + lasts_us))
    city.counts["started with a wrong clock"] += 1


async def tell(city: City, step: Step) -> None:
    """Let one step happen."""
    city.is_morning = step.word == "morning"
    first, *rest = step.given
    index = int(first) if isinstance(first, float) else 0
    match step.word, rest:
        case "call", [switch, ring_s, talk_s, after]:
            city.ring(index, int(switch), float(ring_s), float(talk_s), str(after))
        case "call-moving", [switch, ring_s, talk_s, after]:
            city.ring_moving(index, int(switch), float(ring_s), float(talk_s), str(after))
        case "number", [act, account]:
            _change_number(city, index, str(act), int(float(account)))
        case "crowd", [talk_s]:
            await _crowd(city, float(first), float(talk_s))
        case "pass", []:
            await city.clock.advance(float(first))
        case "top-up", [euro]:
            city.live(city.people.top_up(index, round(float(euro) * EURO)))
        case "subscription", [days]:
            city.live(city.people.pay(index, int(float(days))))
        case "correct", [euro]:
            city.live(city.people.correct(index, round(float(euro) * EURO)))
        case "gift", [euro, days]:
            city.live(city.people.give(index, round(float(euro) * EURO), int(days)))
        case "pack", [pack, minutes, days]:
            city.live(city.people.give_pack(index, str(pack), int(minutes), int(days)))
        case "fax", [switch, pages]:
            city.live(city.office.send(f"a{index}", int(switch), int(pages)))
        case "fax-by-mail", [switch, pages]:
            city.live(city.office.hand_in(f"a{index}", int(switch), int(pages)))
        case "fax-lost", [switch, pages, away_s]:
            city.live(city.office.lose_next(f"a{index}", int(switch), int(pages), float(away_s)))
        case "tariff", []:
            city.edition = index
            city.counts["tariff edited"] += 1
        case "archive" | "fail-over" | "restore" | "move" | "power-cut", _:
            await _keep_house(city, step)
        case _ if step.word in EDITS:
            _edit(city, step)
        case _:
            await _disturb(city, step)


async def _disturb(city: City, step: Step) -> None:
    """Faults, and time that passes."""
    first, *rest = step.given
    index = int(first) if isinstance(first, float) else 0
    match step.word, rest:
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
        case "rush", []:
            city.rush = index
        case "keeps", [seconds]:
            city.live(city.keep_records(index, float(seconds)))
        case "restart", []:
            city.live(city.restart_switch(index))
        case "clock", []:
            await city.clock.advance(0.001)  # nothing real happens in the very microsecond of a step
            city.steps.step(float(first))
        case "days-off", []:
            await city.leap(float(first))
        case "morning", []:
            await city.morning(index, TOLD_WITHIN_S if city.setting.is_slow else MORNING_S)
        case "wrong-clock", []:
            await _start_with_a_wrong_clock(city, float(first))
        case _:
            raise ValueError(f"nobody knows how to {step}")


def _change_number(city: City, index: int, act: str, account: int) -> None:
    number = MOVING[index % len(MOVING)]
    match act:
        case "added":
            city.live(city.numbers.give(number, f"a{account}", TARGETS[0]))
        case "removed":
            city.live(city.numbers.take(number))
        case _:
            city.live(city.numbers.move(number, f"a{account}", TARGETS[0]))


async def _keep_house(city: City, step: Step) -> None:
    """What becomes of the ledger as a whole."""
    first, *rest = step.given
    match step.word, rest:
        case "archive", []:
            await operator.archive_after(city, float(first))
        case "fail-over", [seconds]:
            city.live(replica.fail_over(city, float(seconds), waits=first == "waits"))
        case "power-cut", [seconds]:
            await filed.cut_power(city, int(first), float(seconds))
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


def run(story: Story) -> Outcome:
    """Tell a story on a ledger of its own; each time the same."""
    names = random.Random(story.seed)
    with ExitStack() as changed:
        for module in LOUD:
            changed.enter_context(patch(f"{module}.log", Loud(module)))
        if not story.setting.on_disk:
            return _run(story, replica.Ledger, names)
        folder = Path(changed.enter_context(TemporaryDirectory(prefix="city-")))
        return _run(story, filed.ledgers(folder, story.seed), names)


def _run(story: Story, store: Callable[[FakeClock], Store], names: random.Random) -> Outcome:
    with (
        patch("charging.fax.sending.asyncio.to_thread", _at_once),
        patch("charging.unguessable.token", lambda size: names.randbytes(size).hex()),
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
    """Tell a story on a ledger in a SQLite file, whatever its seed says."""
    return run(replace(story, setting=replace(story.setting, on_disk=True)))


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
