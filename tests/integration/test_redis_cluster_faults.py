"""The Redis store on a cluster that loses the master of an account: its replica takes over, and nothing is doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.model import Balance, Closed, Kept, Kind, Leg, Opened, Outcome, Transfer
from tests.contract.scenario import add_account, assert_sound
from tests.fakes.relay import Relay
from tests.integration.redis_load import (
    Opener,
    answered,
    has_all,
    insist,
    lose_the_master_and_nothing,
    lose_the_master_and_the_last_moments,
    promoted,
    top_up,
)
from tests.integration.redis_replicated import Cluster
from tests.integration.redis_servers import PROMOTED_S, RedisServer, wait_until


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, replicas=1) as cluster:
        yield cluster


async def test_a_cluster_s_lost_master_under_load_loses_only_the_last_moments_and_doubles_nothing(
    cluster: Cluster, opened: Opener
) -> None:
    store = await opened(cluster.url)
    await add_account(store)
    lost = await asyncio.to_thread(cluster.master_and_replica, "a")
    await lose_the_master_and_the_last_moments(store, opened, *lost)


async def test_a_cluster_s_lost_master_with_waiting_for_its_replica_loses_nothing(
    cluster: Cluster, opened: Opener
) -> None:
    store = await opened(cluster.url + "&min_replicas_ack=1")
    await add_account(store)
    lost = await asyncio.to_thread(cluster.master_and_replica, "a")
    await lose_the_master_and_nothing(store, opened, *lost)


async def test_a_cluster_that_was_gone_as_a_whole_is_found_again(cluster: Cluster, opened: Opener) -> None:
    store = await opened(cluster.url)
    await add_account(store)
    cluster.kill()
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await store.apply(top_up("t1"))
    await asyncio.to_thread(cluster.start)
    assert (await insist(store, top_up("t1"))).outcome is Outcome.CREATED
    await assert_sound(store)


async def test_a_cluster_that_came_back_at_other_addresses_is_found_where_the_url_says(
    tmp_path: Path, opened: Opener
) -> None:
    """The driver keeps to the nodes that it was told of last; people keep the address in the URL right."""
    with Cluster(tmp_path / "here", replicas=0) as here, Cluster(tmp_path / "there", replicas=0) as there:
        async with Relay(here.port) as entrance:
            store = await opened(Cluster.url_by(entrance.port))
            await add_account(store)
            assert (await store.apply(top_up("t1"))).outcome is Outcome.CREATED
            entrance.to_port = there.port
            here.kill()
            elsewhere = await insist(store, top_up("t1"))
            assert elsewhere.outcome is Outcome.ACCOUNT_NOT_FOUND  # these are other books


async def test_a_transfer_on_a_cluster_waits_for_its_replica(cluster: Cluster, opened: Opener) -> None:
    store = await opened(cluster.url + "&min_replicas_ack=1")
    await add_account(store)
    assert (await store.apply(top_up("t1"))).outcome is Outcome.CREATED
    master, replica = await asyncio.to_thread(cluster.master_and_replica, "a")
    await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has all")
    replica.freeze()
    for _ in range(2):  # created, then exists
        with pytest.raises(LedgerUnavailable, match="only 0 of 1 replicas"):
            await store.apply(top_up("t2"))
    replica.thaw()
    assert (await insist(store, top_up("t2"))).outcome is Outcome.EXISTS


async def test_the_name_of_an_open_session_on_a_cluster_waits_for_its_own_replica(
    cluster: Cluster, opened: Opener
) -> None:
    """It is in another slot than the session. Without it no daemon that starts would find the call."""
    store = await opened(cluster.url + "&min_replicas_ack=1")
    await add_account(store)
    await insist(store, Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 100),)))
    switch, (master, replica) = await asyncio.to_thread(_elsewhere, cluster)
    opens = _change("s1", 1, Opened(switch, "opened"), 30)
    await insist(store, _change("s0", 1, Opened(switch, "opened"), 30))  # the switch is known from now on
    await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has all")
    replica.freeze()
    master.cli("client", "kill", "type", "replica")  # else what follows waits for it in a socket's buffer
    with pytest.raises(LedgerUnavailable, match="only 0 of 1 replicas"):
        await store.apply(opens)
    master.kill()
    replica.thaw()
    await asyncio.to_thread(wait_until, lambda: promoted(replica), "the replica was not promoted", PROMOTED_S)
    later = await answered(lambda: opened(cluster.url), "the cluster")
    assert (await insist(later, opens)).outcome is Outcome.CREATED
    found = await answered(lambda: later.sessions(switch), "what is open")
    assert sorted(session.id for session in found) == ["s0", "s1"]


async def test_the_name_of_a_call_whose_end_was_told_twice_leaves_the_list_of_open_ones(
    cluster: Cluster, opened: Opener
) -> None:
    """Each that stayed was looked at by every look at the open calls, for good."""
    store = await opened(cluster.url)
    await add_account(store)
    assert (await store.apply(_change("s2", 1, Opened("x", ""), 0))).outcome is Outcome.CREATED
    end = _change("s2", 2, Closed("{}", 5, 0, 1), 0)
    assert (await store.apply(end)).outcome is Outcome.CREATED
    of_switch, _ = cluster.master_and_replica("x")
    assert of_switch.cli("smembers", "charging:switch:{x}").split() == []
    of_switch.cli("sadd", "charging:switch:{x}", "s2 a")  # as where the daemon has heard no answer
    assert (await store.apply(end)).outcome is Outcome.EXISTS
    assert of_switch.cli("smembers", "charging:switch:{x}").split() == []


async def test_the_name_of_a_session_that_was_refused_leaves_the_list_of_open_ones_if_nobody_tries_it_again(
    cluster: Cluster, opened: Opener
) -> None:
    """Each that stayed was looked at by every look at the open calls, for good."""
    store = await opened(cluster.url)
    await add_account(store)
    of_switch, _ = cluster.master_and_replica("x")
    for session, is_only_try, reserved in (("s1", True, 0), ("s2", True, 10), ("s3", False, 10)):
        opening = _change(session, 1, Opened("x", "", is_only_try=is_only_try), reserved)
        expected = Outcome.INSUFFICIENT if reserved else Outcome.CREATED
        assert (await store.apply(opening)).outcome is expected
    named = of_switch.cli("smembers", "charging:switch:{x}").split()
    assert sorted(set(named)) == ["a", "s1", "s3"], "s3 may be another daemon's just now"
    assert [session.id for session in await store.sessions("x")] == ["s1"]


def _elsewhere(cluster: Cluster) -> tuple[str, tuple[RedisServer, RedisServer]]:
    """A switch whose sessions another node names than that of the account, and that node and its replica."""
    of_account = cluster.master_and_replica("a")
    each = ((switch, cluster.master_and_replica(switch)) for switch in "xyzvwtu")
    return next((switch, servers) for switch, servers in each if servers != of_account)


async def test_transfers_on_a_cluster_that_wait_for_a_replica_need_no_connections_of_their_own(
    cluster: Cluster, opened: Opener
) -> None:
    store = await opened(cluster.url + "&min_replicas_ack=1")
    await add_account(store)
    master, _ = await asyncio.to_thread(cluster.master_and_replica, "a")
    await asyncio.gather(*(insist(store, top_up(f"before/{number}")) for number in range(20)))
    before = _connections(master)
    for number in range(20):
        await insist(store, top_up(f"t{number}"))
    assert _connections(master) - before <= 2  # one is that which asks
    assert (await store.balances("a"))["credit"].posted == 40


def _connections(server: RedisServer) -> int:
    """So many were made to it until now."""
    stats = server.cli("info", "stats")
    return int(stats.partition("total_connections_received:")[2].split()[0])


async def test_what_a_cluster_s_fail_over_lost_of_sessions_is_noticed_and_posted_again(
    cluster: Cluster, opened: Opener
) -> None:
    """What `charging/call/failover.py` builds upon, on servers that really lose it."""
    store = await opened(cluster.url)
    await add_account(store)
    await store.apply(Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 100),)))
    opens = {name: _change(name, 1, Opened("x", "opened"), 30) for name in ("s1", "s2")}
    ticks = _change("s1", 2, Kept("ticked", 0, 1), 5, posted=-20)
    assert (await store.apply(opens["s1"])).outcome is Outcome.CREATED
    master, replica = await asyncio.to_thread(cluster.master_and_replica, "a")
    await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has all")
    replica.freeze()
    master.cli("client", "kill", "type", "replica")  # else what follows waits for it in a socket's buffer
    assert (await store.apply(opens["s2"])).outcome is Outcome.CREATED
    assert (await store.apply(ticks)).outcome is Outcome.CREATED
    master.kill()
    replica.thaw()
    await asyncio.to_thread(wait_until, lambda: promoted(replica), "the replica was not promoted", PROMOTED_S)
    end = _change("s1", 3, Closed("{}", 5, 0, 2), -35, posted=-5)
    refused = await insist(store, end)
    assert refused.outcome is Outcome.OUT_OF_SEQUENCE
    assert refused.session is not None
    assert (refused.session.sequence, dict(refused.session.holds)) == (1, {"credit": 30})
    settled = await insist(store, _change("s1", 2, Closed("{}", 5, 0, 1), -30, posted=-25))
    assert settled.outcome is Outcome.CREATED
    gone = await insist(store, _change("s2", 2, Closed("{}", 6, 0, 1), -30))
    assert gone.outcome is Outcome.SESSION_NOT_OPEN
    assert (await insist(store, opens["s2"])).outcome is Outcome.CREATED
    assert await store.balances("a") == {"credit": Balance(75, 30)}
    await assert_sound(store)


def _change(session: str, number: int, change: Opened | Kept | Closed, reserved: int, *, posted: int = 0) -> Transfer:
    legs = (Leg("credit", posted, reserved),)
    return Transfer(f"{session}/{number}", "a", Kind.EXTEND, number, legs, session, change)
