"""A domain whose name servers are slow holds one of the mail server's places at most."""

from __future__ import annotations

import pytest

from charging.fax.slow_domains import DOMAINS_MAX, PAUSE_S, SLOW_FOR_S, SLOW_S, WAIT_MAX_S, SlowDomains
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def proofs(clock: FakeClock) -> SlowDomains:
    return SlowDomains(clock)


def begun(proofs: SlowDomains, *domains: str) -> list[bool]:
    return [proofs.may_begin(domain) for domain in domains]


async def test_mails_of_a_domain_that_answers_are_proven_side_by_side(proofs: SlowDomains) -> None:
    assert begun(proofs, *["a.nl"] * 50) == [True] * 50
    proofs.ended("a.nl", SLOW_S - 0.01)
    assert begun(proofs, *["a.nl"] * 50) == [True] * 50


async def test_a_slow_domain_pauses_and_then_has_one_at_a_time(proofs: SlowDomains, clock: FakeClock) -> None:
    proofs.ended("a.nl", SLOW_S)
    await clock.advance(PAUSE_S - 1)
    assert begun(proofs, "a.nl", "b.nl") == [False, True]
    await clock.advance(1)
    assert begun(proofs, "a.nl", "a.nl") == [True, False]
    proofs.ended("a.nl", 0.1)
    assert begun(proofs, "a.nl", "a.nl") == [True, False], "the next may begin at once, and alone"
    proofs.ended("a.nl", 20)
    assert begun(proofs, "a.nl") == [False]
    await clock.advance(SLOW_FOR_S)
    assert begun(proofs, "a.nl", "a.nl") == [True, True]


async def test_a_proof_whose_end_nobody_told_is_over_in_time(proofs: SlowDomains, clock: FakeClock) -> None:
    proofs.ended("a.nl", 20)
    await clock.advance(PAUSE_S)
    assert begun(proofs, "a.nl") == [True]
    await clock.advance(WAIT_MAX_S - 1)
    assert begun(proofs, "a.nl") == [False]
    await clock.advance(1)
    assert begun(proofs, "a.nl") == [True]


async def test_no_more_domains_are_remembered_than_so_many(proofs: SlowDomains) -> None:
    for number in range(DOMAINS_MAX + 1):
        proofs.ended(f"{number}.nl", 20)
    assert begun(proofs, "0.nl", "1.nl") == [True, False]
