"""The log of stories, and what is published of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation import soaked
from tests.simulation.soaked import MS_AN_HOUR, note, noted, publish, summary


def test_a_log_has_each_story_once_and_says_which_broke_a_rule(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note(log, 1, 2 * MS_AN_HOUR, 1.0, {"daemon killed": 3}, "")
    note(log, 2, MS_AN_HOUR, 1.0, {"daemon killed": 4}, "money is conserved")
    assert summary(noted([log, log])).splitlines() == [
        "3 call-hours in 2 stories, 2 for each second of CPU",
        "2: money is conserved",
    ]


def test_what_is_published_counts_every_kind_of_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, published = tmp_path / "log", tmp_path / "soaked.json"
    monkeypatch.setattr(soaked, "PUBLISHED", published)
    note(log, 1, 2 * MS_AN_HOUR, 1.0, {"daemon killed": 3, "event lost": 5}, "")
    for seed in (3, 2, 7):
        note(log, seed, 0, 1.0, {}, "")
    publish(noted([log]), "abc", "2026-11-29")
    kept = json.loads(published.read_text())
    assert (kept["call_hours"], kept["violations"], kept["seeds"]) == (2, 0, [[1, 3], [7, 7]])
    assert kept["faults"]["daemons killed at one of their awaits"] == 3
    assert kept["faults"]["events lost"] == 5
    assert kept["faults"]["backups restored"] == 0
