"""A domain whose name servers are slow holds one of the mail server's places at most."""

from __future__ import annotations

import pytest

from charging.fax.slow_domains import (
    ADDED_UP_S,
    AT_ONCE,
    DOMAINS_MAX,
    NETWORKS_MAX,
    PART,
    PAUSE_S,
    PAUSED_MAX,
    PUT_OFF_MAX,
    SLOW_FOR_S,
    SLOW_S,
    WAIT_MAX_S,
    SlowDomains,
)
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


async def test_who_forges_mails_of_a_slow_domain_takes_turns_of_its_own(proofs: SlowDomains, clock: FakeClock) -> None:
    """He asks every second, and each of his mails makes the domain slow again; the customer's server comes rarely."""
    proofs.ended("a.nl", SLOW_S, "evil")
    assert proofs.may_begin("a.nl", "customer"), "it was not the customer's mail that was waited over"
    proofs.ended("a.nl", 0.1, "customer")
    await clock.advance(PAUSE_S)
    assert proofs.may_begin("a.nl", "evil")
    assert not proofs.may_begin("a.nl", "evil")
    assert proofs.may_begin("a.nl", "customer")


async def test_a_slow_domain_holds_so_many_places_from_however_many_networks(
    proofs: SlowDomains, clock: FakeClock
) -> None:
    proofs.ended("a.nl", SLOW_S, "0")
    assert [proofs.may_begin("a.nl", str(number)) for number in range(1, AT_ONCE + 2)] == [True] * AT_ONCE + [False]
    proofs.ended("a.nl", 0.1, "1")
    assert proofs.may_begin("a.nl", str(AT_ONCE + 1))


async def test_so_many_mails_of_a_slow_domain_are_put_off_for_one_network(
    proofs: SlowDomains, clock: FakeClock
) -> None:
    """Each costs a place again and again, for a day."""
    names = [f"mail {number}" for number in range(PUT_OFF_MAX + 1)]
    assert all(proofs.may_come_again("a.nl", "evil", one) for one in names), "it is not slow"
    proofs.ended("a.nl", SLOW_S, "evil")
    assert [proofs.may_come_again("a.nl", "evil", one) for one in names] == [True] * PUT_OFF_MAX + [False]
    assert proofs.may_come_again("a.nl", "evil", names[0]), "it waits already"
    assert proofs.may_come_again("a.nl", "customer", names[-1])
    await clock.advance(SLOW_FOR_S)
    assert proofs.may_come_again("a.nl", "evil", names[-1])
    proofs.ended("a.nl", SLOW_S, "evil")
    assert proofs.may_come_again("a.nl", "evil", names[-1])


async def test_mail_that_has_its_turn_leaves_room_for_another_to_be_put_off(
    proofs: SlowDomains, clock: FakeClock
) -> None:
    """An office whose own name servers are slow sends one after the other, all day."""
    proofs.ended("a.nl", SLOW_S, "office")
    for number in range(2 * PUT_OFF_MAX):
        assert proofs.may_come_again("a.nl", "office", f"mail {number}")
        await clock.advance(PAUSE_S)
        assert proofs.may_begin("a.nl", "office", f"mail {number}")
        proofs.ended("a.nl", SLOW_S, "office")


async def test_no_more_networks_of_a_domain_are_remembered_than_so_many(proofs: SlowDomains) -> None:
    for number in range(NETWORKS_MAX + 1):
        proofs.ended("a.nl", SLOW_S, str(number))
    assert (proofs.may_begin("a.nl", "1"), proofs.may_begin("a.nl", "0")) == (False, True)


async def test_no_more_domains_are_remembered_than_so_many(proofs: SlowDomains) -> None:
    for number in range(DOMAINS_MAX + 1):
        proofs.ended(f"{number}.nl", 20)
    assert begun(proofs, "0.nl", "1.nl") == [True, False]


async def test_waits_that_are_just_not_slow_add_up_for_the_network_that_brings_them(
    proofs: SlowDomains, clock: FakeClock
) -> None:
    """His name servers answer a moment before they would be slow, to one mail after the other."""
    took_s = SLOW_S - 1
    for _ in range(int(ADDED_UP_S / took_s)):
        assert proofs.may_begin("a.nl", "evil")
        proofs.ended("a.nl", took_s, "evil")
    assert not proofs.may_begin("a.nl", "evil")
    assert all(proofs.may_come_again("a.nl", "evil", str(mail)) for mail in range(PAUSED_MAX))
    assert not proofs.may_come_again("a.nl", "evil", "one more"), "each is tried again and again, for a day"
    assert proofs.may_come_again("a.nl", "evil", "0"), "it waits already"
    assert proofs.may_come_again("a.nl", "customer", "one more")
    assert proofs.may_begin("a.nl", "customer"), "what a stranger forges is his own"
    assert proofs.may_begin("b.nl", "evil")
    await clock.advance(took_s / PART - 0.1)
    assert not proofs.may_begin("a.nl", "evil")
    await clock.advance(0.2)
    assert proofs.may_begin("a.nl", "evil", "0")
    assert proofs.may_come_again("a.nl", "evil", "one more"), "who has had his turn leaves room"


@pytest.mark.parametrize(("every_s", "is_paused"), [(6, False), (4, True)])
async def test_so_large_a_part_of_a_place_the_mails_of_one_network_may_have(
    proofs: SlowDomains, clock: FakeClock, every_s: int, is_paused: bool
) -> None:
    paused = False
    for _ in range(300):
        await clock.advance(every_s)
        if proofs.may_begin("a.nl"):
            proofs.ended("a.nl", 1.9)
        else:
            paused = True
    assert paused is is_paused


async def test_a_batch_of_honest_mails_is_proven_at_once(proofs: SlowDomains) -> None:
    for number in range(90):
        assert proofs.may_begin("a.nl", "office", str(number))
        proofs.ended("a.nl", 0.3, "office")
