"""The Redis store while its server is killed, frozen, restarted, failed over or wrongly set up: nothing is doubled."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from charging.app_surroundings import LEDGER_LOOK_S, tell_what_loses_money
from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.accounts import Account, Number
from charging.ledger.documents import Put
from charging.ledger.model import Applied, Kept, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import SOLE, Store
from charging.ledger.redis.client import in_steps
from charging.ledger.redis.indexes import PAGE_ROWS
from charging.ledger.redis.pipeline import PIPELINES_MAX, QUEUE_MAX
from tests.contract.scenario import add_account, run
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock, running
from tests.fakes.relay import Relay
from tests.integration.redis_load import (
    Opener,
    assert_exact,
    has_all,
    insist,
    lose_the_master_and_nothing,
    lose_the_master_and_the_last_moments,
    top_up,
)
from tests.integration.redis_replicated import Sentinels
from tests.integration.redis_servers import DEADLINE_S, RedisServer, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


async def test_a_killed_server_loses_and_doubles_nothing(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    await add_account(store)
    load = opened.load(store)
    for _ in range(2):
        await load.more(50)
        server.kill()
        with pytest.raises(LedgerUnavailable):
            await store.apply(top_up("while-dead"))
        server.start()  # its script cache is empty now
    await load.more(50)
    await load.stop()
    await assert_exact(store, load)


async def test_more_sessions_and_numbers_than_may_wait_for_redis_at_a_time_are_read(
    server: RedisServer, opened: Opener
) -> None:
    """A daemon that is started, or takes a switch over, reads all its open calls: each is another account's. If those
    were more questions than the client lets wait, none would be found again, and all be cut."""
    store, many = await opened(f"{server.url}?timeout_s=30"), QUEUE_MAX + 1  # a busy machine is no finding here
    await add_account(store)
    for names in in_steps([f"{number:06}" for number in range(many)], PAGE_ROWS):
        assert all(await asyncio.gather(*(store.directory.put_account(Account(one, "plan")) for one in names)))
        assert all(await asyncio.gather(*(store.directory.put_number(Number(f"+31{one}", "a", "")) for one in names)))
        opening = [
            Transfer("0", one, Kind.TOP_UP, 1, (Leg("credit", 1),), f"s-{one}", Opened("switch", "{}")) for one in names
        ]
        for answer in await store.apply_all([(transfer, ()) for transfer in opening]):
            assert isinstance(answer, Applied)
            assert answer.outcome is Outcome.CREATED
    assert len(await store.sessions("switch")) == many
    assert len(await store.directory.numbers("a")) == many


async def test_a_frozen_server_is_unavailable_in_time_and_doubles_nothing(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url + "?timeout_s=0.3")
    await add_account(store)
    load = opened.load(store)
    await load.more(50)
    server.freeze()
    for number in range(5):  # long enough for every task to have timed out, some several times
        with pytest.raises(LedgerUnavailable):
            await store.apply(top_up(f"frozen/{number}"))
    server.thaw()
    await load.more(50)
    await load.stop()
    for number in range(5):  # whether these were carried out is unknown, until they are asked again
        assert (await insist(store, top_up(f"frozen/{number}"))).outcome.applied
        load.acknowledged.add(f"frozen/{number}")
    await assert_exact(store, load)


async def test_flushed_scripts_are_sent_again(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    await add_account(store)
    await run(store, "t1 top_up credit=+1 -> created credit 1/0")
    server.cli("script", "flush", "sync")
    await run(store, "t2 top_up credit=+1 -> created credit 2/0")
    server.cli("script", "flush", "sync")
    found = await store.apply_all([(top_up(f"t{number}"), ()) for number in range(2, 5)])
    assert [one.outcome for one in found if isinstance(one, Applied)] == [Outcome.EXISTS, *[Outcome.CREATED] * 2]


async def test_of_many_transfers_each_is_told_why_it_was_not_booked(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    await add_account(store)
    await add_account(store, "spoilt")
    server.cli("set", "charging:{spoilt}:books", "not a hash")
    spoilt = Transfer("t", "spoilt", Kind.TOP_UP, 1, (Leg("credit", 1),))
    first, refused, second = await store.apply_all([(top_up("t1"), ()), (spoilt, ()), (top_up("t2"), ())])
    assert isinstance(refused, LedgerCorrupt)
    assert isinstance(first, Applied) and isinstance(second, Applied)  # noqa: PT018 - for the types
    assert (first.outcome, second.outcome, second.balances["credit"].posted) == (Outcome.CREATED, Outcome.CREATED, 2)
    server.kill()
    found = await store.apply_all([(top_up(f"dead/{number}"), ()) for number in range(2)])
    assert [type(one) for one in found] == [LedgerUnavailable] * 2


async def test_a_cancelled_caller_confuses_nobody(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    await add_account(store)
    load = opened.load(store)
    for number in range(40):
        task = asyncio.create_task(store.apply(top_up(f"cancelled/{number}")))
        await load.more(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        load.acknowledged.add(f"cancelled/{number}")
        assert (await insist(store, top_up(f"cancelled/{number}"))).outcome.applied
    await load.stop()
    await assert_exact(store, load)


async def test_a_server_that_is_not_there_is_told_at_once(server: RedisServer, opened: Opener) -> None:
    server.kill()
    async with asyncio.timeout(30):
        with pytest.raises(LedgerUnavailable, match="did not answer"):
            await open_store(f"{server.url}?timeout_s=60").open()


async def test_a_replica_is_no_place_for_a_ledger(server: RedisServer, tmp_path: Path, opened: Opener) -> None:
    await opened(server.url)
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}") as replica:
        wait_until(lambda: "master_link_status:up" in replica.cli("info", "replication"), "replica not in sync")
        with pytest.raises(LedgerUnavailable, match="read only replica"):
            await open_store(replica.url).open()


@pytest.mark.parametrize("acknowledged", ["", "&min_replicas_ack=1"], ids=["plain", "acknowledged"])
async def test_an_address_whose_master_was_demoted_is_asked_anew(
    server: RedisServer, tmp_path: Path, opened: Opener, acknowledged: str
) -> None:
    """An address that moves with the master (a name, a virtual IP, a proxy): connections that were made to the old one
    stay good for reading, and refused every write until a restart."""
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}") as replica:
        wait_until(lambda: "master_link_status:up" in replica.cli("info", "replication"), "replica not in sync")
        async with Relay(server.port) as address:
            await add_account(await opened(server.url))  # a busy replica may not acknowledge it in time
            store = await opened(f"redis://127.0.0.1:{address.port}/0?timeout_s=2{acknowledged}")
            assert (await insist(store, top_up("t1"))).outcome.applied
            await asyncio.to_thread(wait_until, lambda: has_all(server), "the replica has not said that it has all")
            replica.cli("replicaof", "no", "one")
            server.cli("replicaof", "127.0.0.1", str(replica.port))
            wait_until(lambda: "master_link_status:up" in server.cli("info", "replication"), "not in sync")
            with pytest.raises(LedgerUnavailable, match="read only replica"):
                await store.apply(top_up("t2"))  # the address still leads to the old one
            address.to_port = replica.port
            assert (await insist(store, top_up("t2"))).outcome is Outcome.CREATED
            assert (await store.balances("a"))["credit"].posted == 2


async def test_a_ping_of_a_demoted_master_fails_though_it_answers_reads(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    await add_account(store)
    await store.ping()
    server.cli("replicaof", "127.0.0.1", "1")
    with pytest.raises(LedgerUnavailable, match="read only replica"):
        await store.ping()
    assert await store.directory.account("a") is not None
    server.cli("replicaof", "no", "one")
    await store.ping()


async def unacknowledged(act: Callable[[], Awaitable[object]]) -> None:
    """It is refused, since no replica has what it wrote. A busy server that answers too late is asked again."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with pytest.raises(LedgerUnavailable) as refused:
                await act()
            if "only 0 of 1 replicas" in str(refused.value):
                return


async def test_a_transfer_waits_for_its_replicas_also_when_it_exists(
    server: RedisServer, tmp_path: Path, opened: Opener
) -> None:
    store = await opened(server.url + "?min_replicas_ack=1&timeout_s=0.5")
    await add_account(await opened(server.url))
    for _ in range(2):  # created, then exists: neither is acknowledged by a replica
        await unacknowledged(lambda: store.apply(top_up("t1")))
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}") as replica:
        assert (await insist(store, top_up("t1"))).outcome is Outcome.EXISTS
        assert "t1" in replica.cli("hkeys", "charging:{a}:ids")
        await asyncio.to_thread(wait_until, lambda: has_all(server), "the replica has not said that it has all")
        replica.freeze()
        await unacknowledged(lambda: store.apply(top_up("t1")))
        replica.thaw()


Act = Callable[[Store], Awaitable[object]]

UNACKNOWLEDGED: dict[str, Act] = {
    "an account that is new": lambda store: store.directory.put_account(Account("b", "pro")),
    "an account that is there": lambda store: store.directory.put_account(Account("other", "pro")),
    "an account whose paid period was prolonged": lambda store: store.directory.put_account(
        Account("a", "pro", paid_until_us=5, version=1)
    ),
    "a number": lambda store: store.directory.put_number(Number("+31201", "a")),
    "a number that is another's": lambda store: store.directory.put_number(Number("+31200", "other")),
    "a number that is removed": lambda store: store.directory.remove_number(Number("+31200", "a")),
    "a number that is gone": lambda store: store.directory.remove_number(Number("+31202", "a")),
    "a session's record": lambda store: store.keep_session("a", "s1", Kept("{}", follows=1)),
}


@pytest.mark.parametrize("act", UNACKNOWLEDGED)
async def test_what_is_written_waits_for_its_replicas_also_when_it_changes_nothing(
    server: RedisServer, opened: Opener, act: str
) -> None:
    plain = await opened(server.url)
    for account in ("a", "other"):
        await add_account(plain, account)
    assert await plain.directory.put_number(Number("+31200", "a"))
    await run(plain, "r1 reserve s1:open -> created")
    store = await opened(server.url + "?min_replicas_ack=1&timeout_s=1")
    await unacknowledged(partial(UNACKNOWLEDGED[act], store))
    assert await store.leases.acquire_lease("switch-1", "daemon-1", 15) is not None  # leases are fenced instead


async def test_what_another_has_written_is_told_once_the_replicas_have_it(
    server: RedisServer, tmp_path: Path, opened: Opener
) -> None:
    plain = await opened(server.url)
    for account in ("a", "other"):
        await add_account(plain, account)
    await plain.directory.put_number(Number("+31202", "a"))
    store = await opened(server.url + "?min_replicas_ack=1&timeout_s=0.5")
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}") as replica:
        await insist(store, top_up("t1"))  # the replica has caught up
        await asyncio.to_thread(wait_until, lambda: has_all(server), "the replica has not said that it has all")
        replica.freeze()
        await add_account(plain, "b")
        await plain.directory.put_number(Number("+31200", "a"))
        await plain.directory.remove_number(Number("+31202", "a"))
        for act in ("an account that is there", "a number that is another's", "a number that is gone"):
            await unacknowledged(partial(UNACKNOWLEDGED[act], store))
        replica.thaw()


async def test_what_waits_for_replicas_at_the_same_time_waits_together(
    server: RedisServer, tmp_path: Path, opened: Opener
) -> None:
    """Each on a connection of its own, and a WAIT each, took a round trip and a flush more for every transfer."""
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}"):
        store = await opened(server.url + "?min_replicas_ack=1")
        await add_account(await opened(server.url))
        await insist(store, top_up("first"))
        server.cli("config", "resetstat")
        found = await asyncio.gather(*(store.apply(top_up(f"t{number}")) for number in range(50)))
        assert {one.outcome for one in found} == {Outcome.CREATED}
        assert _calls(server, "wait") <= 2 * PIPELINES_MAX
        assert (await store.balances("a"))["credit"].posted == 51


def _calls(server: RedisServer, command: str) -> int:
    """How often it was called since the statistics were reset."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", server.cli("info", "commandstats"))
    return int(found[1]) if found else 0


async def test_a_document_waits_for_its_replicas_also_when_it_exists(
    server: RedisServer, tmp_path: Path, opened: Opener
) -> None:
    store = await opened(server.url + "?min_replicas_ack=1&timeout_s=0.5")
    await add_account(await opened(server.url))
    await unacknowledged(lambda: store.documents.put_document("notices", "1", "x", 5))
    with RedisServer(tmp_path, f"replicaof 127.0.0.1 {server.port}") as replica:
        await insist(store, top_up("t1"))  # the replica has caught up
        patient = await opened(server.url + "?min_replicas_ack=1&timeout_s=30")
        assert await patient.documents.put_document("notices", "1", "x", 5) is Put.EXISTS
        assert "1" in replica.cli("hkeys", "charging:documents:{notices}")
        await asyncio.to_thread(wait_until, lambda: has_all(server), "the replica has not said that it has all")
        replica.freeze()
        await unacknowledged(lambda: store.documents.put_document("notices", "1", "x", 5))
        replica.thaw()


def _says(server: RedisServer, wanted: Sequence[str]) -> bool:
    told = server.cli("info", "persistence")
    return all(one in told for one in wanted)


@pytest.mark.parametrize("as_told", [True, False])
async def test_a_redis_that_gets_its_append_only_file_as_the_check_says_keeps_its_ledger(
    tmp_path: Path, opened: Opener, as_told: bool
) -> None:
    """With that line alone Redis starts empty, and writes an empty dump over the ledger as it stops."""
    server = RedisServer(tmp_path, "save 3600 1")
    settings = server.folder / "redis.conf"
    settings.write_text(settings.read_text().replace("appendonly yes", "appendonly no"))
    with server:
        store = await opened(server.url)
        await store.directory.put_account(Account("anna", "light"))
        if as_told:
            server.cli("config", "set", "rdb-key-save-delay", "200000")
            server.cli("bgsave")  # while it goes on, the append-only file is only scheduled
            server.cli("config", "set", "appendonly", "yes")
            assert "it has no append-only file yet" in " ".join(await store.warnings())
            done = ("aof_rewrite_in_progress:0", "aof_last_bgrewrite_status:ok", "aof_rewrite_scheduled:0")
            await asyncio.to_thread(wait_until, partial(_says, server, done), "it is not written")
            assert "append-only" not in " ".join(await store.warnings())
            server.cli("config", "rewrite")
            assert "\nappendonly yes" in settings.read_text()
        settings.write_text(settings.read_text().replace("appendonly no", "appendonly yes"))
        await store.close()
        server.cli("shutdown", "save")
        await asyncio.to_thread(wait_until, lambda: not server.is_running, "it does not stop")
        server.start()
        assert (await (await opened(server.url)).directory.account("anna") is not None) == as_told


async def test_a_daemon_tells_what_in_its_redis_can_lose_money_also_where_that_changes_while_it_runs(
    server: RedisServer, opened: Opener
) -> None:
    """A managed Redis may have such settings, and another server of a fail-over its own."""
    clock, store = FakeClock(), await opened(server.url)
    evicts = "maxmemory-policy is allkeys-lru: it may evict money"
    with capture_logs() as logs:
        async with running(tell_what_loses_money(store, clock), "looks"):
            await eventually(lambda: clock.sleepers == 1, "the first look")
            assert ["no replica" in line["problem"] for line in logs] == [True]
            server.cli("config", "set", "maxmemory-policy", "allkeys-lru")
            await clock.advance(LEDGER_LOOK_S - 1)
            assert len(logs) == 1
            await clock.advance(1)
            await eventually(lambda: len(logs) == 2, "what changed is told, and nothing twice")
    assert logs[1]["event"] == "ledger_unsafe"
    assert evicts in logs[1]["problem"]


async def test_unsafe_settings_are_warned_of(tmp_path: Path, server: RedisServer, opened: Opener) -> None:
    unsafe = RedisServer(tmp_path, "maxmemory-policy allkeys-lru")
    with unsafe:
        unsafe.cli("config", "set", "appendonly", "no")
        store = await opened(unsafe.url)
        warnings = " ".join(await store.warnings())
        assert "appendonly is no" in warnings
        assert "config set appendonly yes` FIRST" in warnings
        assert "maxmemory-policy is allkeys-lru" in warnings
        assert "no replica" in warnings
        assert "appendfsync" not in warnings  # where nothing is appended
        store = await opened(server.url)
    assert len(await store.warnings()) == 1  # the replica only


@pytest.mark.parametrize("policy", ["everysec", "no"])
async def test_a_server_that_answers_before_its_disk_has_it_is_warned_of(
    server: RedisServer, opened: Opener, policy: str
) -> None:
    """Rule 1 of the port: what is answered outlives a power cut. Redis' own default keeps the last second in memory."""
    store = await opened(server.url)
    server.cli("config", "set", "appendfsync", policy)
    assert f"appendfsync is {policy}" in " ".join(await store.warnings())


async def test_a_server_that_does_not_tell_its_policy_is_warned_of(server: RedisServer, opened: Opener) -> None:
    server.cli("acl", "setuser", "daemon", "on", ">secret", "~*", "&*", "+@all", "-config")
    store = await opened(f"redis://daemon:secret@127.0.0.1:{server.port}/0")
    assert "appendfsync could not be read" in " ".join(await store.warnings())


async def test_tls_with_an_acl_user(tmp_path: Path, opened: Opener) -> None:
    await asyncio.to_thread(make_certificate, tmp_path)
    tls = (f"tls-cert-file {tmp_path}/cert.pem", f"tls-key-file {tmp_path}/key.pem")
    users = ("user default off", "user ledger on >se:cret/ ~charging:* +@all")
    server = RedisServer(tmp_path, *tls, f"tls-ca-cert-file {tmp_path}/cert.pem", "tls-auth-clients no", *users)
    server.listen_by_tls()
    with server:
        url = f"rediss://ledger:se%3Acret%2F@localhost:{server.port}?ca_file={tmp_path}/cert.pem"
        store = await opened(url)
        await add_account(store)
        await run(store, "t1 top_up credit=+1 -> created credit 1/0")
        for wrong in (url.replace("ledger:se", "ledger:te"), url.partition("?")[0]):  # the password; the authority
            with pytest.raises(LedgerUnavailable):
                await open_store(wrong).open()


@pytest.mark.parametrize(
    ("users", "option"),
    [(["requirepass own"], ""), (["user default off", "user watcher on >own ~* &* +@all"], "&sentinel_user=watcher")],
)
async def test_sentinels_by_tls_with_passwords_of_their_own(
    tmp_path: Path, opened: Opener, users: list[str], option: str
) -> None:
    await asyncio.to_thread(make_certificate, tmp_path)
    certificate = f"tls-cert-file {tmp_path}/cert.pem", f"tls-key-file {tmp_path}/key.pem"
    tls = (*certificate, f"tls-ca-cert-file {tmp_path}/cert.pem", "tls-auth-clients no", "tls-replication yes")
    master = RedisServer(tmp_path, *tls, "requirepass its")
    watch = f"sentinel monitor ledger 127.0.0.1 {master.port} 1", "sentinel auth-pass ledger its"
    sentinel = RedisServer(tmp_path, *tls, *watch, *users, sentinel=True)
    for server in (master, sentinel):
        server.listen_by_tls()
    with master, sentinel:
        plain = f"redis+sentinel://:its@127.0.0.1:{sentinel.port}/ledger?timeout_s=4{option}"
        url = f"{plain}&tls=yes&ca_file={tmp_path}/cert.pem"
        store = await opened(url, sentinel_password=SecretStr("own"))
        await add_account(store)
        await run(store, "t1 top_up credit=+1 -> created credit 1/0")
        for wrong, password in ((url, "its"), (plain, "own")):
            with pytest.raises(LedgerUnavailable):
                await open_store(wrong, sentinel_password=SecretStr(password)).open()


def make_certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=200)


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path) as sentinels:
        yield sentinels


async def test_a_fail_over_under_load_doubles_nothing_and_with_waiting_loses_nothing(
    sentinels: Sentinels, opened: Opener
) -> None:
    store = await opened(sentinels.url + "&min_replicas_ack=1")
    await add_account(store)
    await lose_the_master_and_nothing(store, opened, *sentinels.master_and_replica())


async def test_a_fail_over_without_waiting_loses_only_the_last_moments_and_doubles_nothing(
    sentinels: Sentinels, opened: Opener
) -> None:
    store = await opened(sentinels.url)
    await add_account(store)
    await lose_the_master_and_the_last_moments(store, opened, *sentinels.master_and_replica())


async def test_a_ledger_that_another_has_alone_does_not_open(server: RedisServer, opened: Opener) -> None:
    store = await opened(server.url)
    epoch = await store.leases.acquire_lease(SOLE, "host-1", 60)
    assert epoch is not None
    with pytest.raises(LedgerUnavailable, match="an export, import or archive has"):
        await open_store(server.url).open()
    await store.leases.release_lease(SOLE, "host-1", epoch)
    await opened(server.url)
