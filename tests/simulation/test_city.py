"""Stories of a simulated city end with exact books; a mistake in the engine is found, and told in a few lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.clock import Instant
from tests.simulation.machine import SwitchLine
from tests.simulation.story import Step, Story, drawn, read, run, shortened

SEEDS = tuple(seed for seed in range(1, 40) if not drawn(seed).setting.is_slow)[:8]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_story_of_faults_ends_with_exact_books(seed: int) -> None:
    assert run(drawn(seed, steps=40)).violation == ""


def test_a_story_is_told_the_same_way_twice() -> None:
    story = drawn(2, steps=15)
    assert run(story) == run(story)


def test_a_story_is_read_back_as_it_is_written() -> None:
    story = drawn(3)
    assert read(str(story).splitlines()) == story


def _calm() -> Story:
    story = drawn(1)
    setting = replace(story.setting, switches=1, daemons=1, tick_s=60, horizon_s=60, audit_s=10, calls_at_once=5)
    needless = Step("pass", (0.05,))
    call = Step("call", (1.0, 0.0, 0.4, 400.0, "leave"))
    return replace(story, setting=setting, steps=(needless, call, needless, Step("pass", (90.0,)), needless))


def test_a_calm_story_breaks_no_rule() -> None:
    outcome = run(_calm())
    assert outcome.violation == ""
    assert outcome.counts["call answered"] == 1
    assert outcome.talked_ms > 90_000


def test_a_switch_that_lets_talk_for_longer_than_is_paid_is_found_and_told_in_two_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    obey = SwitchLine.set_deadline

    async def too_late(line: SwitchLine, uid: str, at: Instant) -> None:
        await obey(line, uid, at.plus(60))

    monkeypatch.setattr(SwitchLine, "set_deadline", too_late)
    assert "may talk unpaid" in run(_calm()).violation
    short = shortened(_calm(), lambda one: bool(run(one).violation))
    assert [step.word for step in short.steps] == ["call", "pass"]
