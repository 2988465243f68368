"""Who may ask FastAGI."""

from __future__ import annotations

import pytest

from charging.sources import Sources

ELSEWHERE = "192.0.2.9"
"""An address that no machine of ours has (RFC 5737)."""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
async def test_a_switch_on_this_machine_may_come_from_loopback(host: str, source: str) -> None:
    sources = Sources([], host)
    await sources.resolve()
    assert sources.admits(source, "127.0.0.1")


async def test_a_switch_on_this_machine_may_come_from_the_address_that_it_calls() -> None:
    sources = Sources([], "127.0.0.1")
    await sources.resolve()
    assert sources.admits("10.1.2.3", "10.1.2.3")
    assert not sources.admits("10.1.2.4", "10.1.2.3")


@pytest.mark.parametrize("source", ["127.0.0.1", "::1", "192.0.2.10", "10.1.2.3", "", "unknown"])
async def test_a_switch_elsewhere_may_come_from_its_address_alone(source: str) -> None:
    sources = Sources([], ELSEWHERE)
    await sources.resolve()
    assert sources.admits(ELSEWHERE, "10.1.2.3")
    assert sources.admits(f"::ffff:{ELSEWHERE}", "::ffff:10.1.2.3")
    assert not sources.admits(source, "10.1.2.3")


@pytest.mark.parametrize("source", [ELSEWHERE, "127.0.0.1", "10.0.1.0", "fd00::2"])
async def test_networks_that_are_named_stand_for_the_switchs_address(source: str) -> None:
    sources = Sources(["10.0.0.0/24", "fd00::1"], ELSEWHERE)
    await sources.resolve()
    assert sources.admits("10.0.0.255", "10.0.0.1")
    assert sources.admits("fd00::1", "fd00::9")
    assert not sources.admits(source, "10.0.0.1")


async def test_before_the_switch_is_found_and_where_it_is_not_nobody_may(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources([], "switch.invalid")
    assert not sources.admits("127.0.0.1", "127.0.0.1")
    await sources.resolve()
    assert not sources.admits("127.0.0.1", "127.0.0.1")


async def test_an_address_once_found_stays_while_names_are_not_answered() -> None:
    sources = Sources([], "localhost")
    await sources.resolve()
    sources._switch_host = "switch.invalid"
    await sources.resolve()
    assert sources.admits("127.0.0.1", "127.0.0.1")


async def test_a_switch_that_has_moved_is_admitted_and_its_former_address_no_more() -> None:
    sources = Sources([], ELSEWHERE)
    await sources.resolve()
    assert sources.admits(ELSEWHERE, "10.1.2.3")
    assert not sources.admits("203.0.113.99", "10.1.2.3")
    sources._switch_host = "203.0.113.99"
    await sources.resolve()
    assert sources.admits("203.0.113.99", "10.1.2.3")
    assert not sources.admits(ELSEWHERE, "10.1.2.3")
