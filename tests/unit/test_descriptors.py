"""Each listener's share of the process's descriptors."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from charging.descriptors import LEAST, OWN, raise_limit, shares, wanted
from charging.errors import ChargingError

OTHERS = {"control": 50, "http": 50, "api": 200}
CALLS = 200


def test_with_enough_everybody_gets_what_is_set() -> None:
    assert shares(wanted(CALLS, OTHERS), CALLS, OTHERS) == OTHERS


def test_with_one_less_the_others_give_way_and_the_calls_do_not() -> None:
    given = shares(wanted(CALLS, OTHERS) - 1, CALLS, OTHERS)
    assert sum(given.values()) < sum(OTHERS.values())


@pytest.mark.parametrize("limit", range(OWN + CALLS + 3 * LEAST, wanted(CALLS, OTHERS), 17))
def test_the_shares_never_exceed_the_limit_and_nobody_is_left_without(limit: int) -> None:
    given = shares(limit, CALLS, OTHERS)
    assert OWN + CALLS + sum(given.values()) <= limit
    assert min(given.values()) >= LEAST


def test_too_few_for_the_calls_is_said_with_what_to_do() -> None:
    least = OWN + CALLS + 3 * LEAST
    assert shares(least, CALLS, OTHERS) == dict.fromkeys(OTHERS, LEAST)
    with pytest.raises(ChargingError, match=f"at least {least}.*LimitNOFILE.*agi.max_connections"):
        shares(least - 1, CALLS, OTHERS)


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_to_what_is_wanted_and_never_lowered(limits: tuple[int, int]) -> None:
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    assert raise_limit(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, hard)
    assert raise_limit(550) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600, hard)


def test_the_limit_is_raised_no_further_than_the_hard_one(
    limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (500, 700))
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: asked.append(pair))
    assert raise_limit(900) == 700
    assert asked == [(700, 700)]
    monkeypatch.undo()
