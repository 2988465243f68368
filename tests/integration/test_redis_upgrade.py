"""A Redis ledger that an older program filled is brought to today's schema when it is opened, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Number
from charging.ledger.model import CREDIT, Balance, CdrRow, Closed, Kept, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.open import open_store
from charging.ledger.redis.schema import SCHEMA
from tests.contract.scenario import assert_sound
from tests.integration.redis_servers import RedisServer

DUMPS = sorted((Path(__file__).parents[1] / "data" / "ledger").glob("redis-*.jsonl"))
"""The keys of every schema there has been before today's, as the commands that make them."""

AT_US = 1_795_262_400_000_000


@pytest.fixture(params=DUMPS, ids=lambda dump: dump.stem)
def old_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    dump: Path = request.param
    with RedisServer(tmp_path) as server:
        for line in dump.read_text(encoding="utf-8").splitlines():
            server.cli(*json.loads(line))
        assert server.cli("get", "charging:schema").strip() == dump.stem.removeprefix("redis-")
        yield server


def settle(follows: int) -> Transfer:
    change = Closed('{"seconds":9}', AT_US + 9, 1, follows)
    return Transfer("s2/9/settle", "anna", Kind.SETTLE, AT_US, (Leg(CREDIT, -50_000, -150_000),), "s2", change)


def test_there_is_a_ledger_of_every_older_schema() -> None:
    assert [int(dump.stem.removeprefix("redis-")) for dump in DUMPS] == list(range(1, SCHEMA))


async def test_an_older_ledger_is_upgraded_with_all_that_is_in_it(
    old_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    store = open_store(old_server.url, upgrades=True)
    await store.open()
    assert old_server.cli("get", "charging:schema").strip() == str(SCHEMA)
    assert [account.id async for account in store.directory.accounts()] == ["anna", "ben"]
    assert [number.number for number in await store.directory.numbers("anna")] == ["+31850001001"]
    assert await store.balances("anna") == {CREDIT: Balance(19_887_500, 150_000)}
    lines = [line.id async for line in store.journal("anna")]
    assert lines == ["top-up/1", "s1/1/reserve", "s1/2/settle", "s2/1/reserve"]
    assert await store.cdrs() == [CdrRow("s1", "anna", AT_US + 2, '{"seconds":45}')]
    (session,) = await store.sessions("asterisk")
    assert (session.id, session.state, session.epoch, session.opened_us) == ("s2", '{"a":2}', 1, AT_US + 3)
    assert dict(session.holds) == {CREDIT: 150_000}
    assert session.sequence == (0 if "redis-1" in request.node.name else 4), "the first had none"
    assert [one.id for one in await store.directory.accounts_of_mail("Anna@example.nl", 2)] == ["anna"]
    assert await store.self_check() == []
    await assert_sound(store)
    await store.close()


async def test_a_number_that_was_written_otherwise_is_changed_by_who_has_read_it(old_server: RedisServer) -> None:
    """The script compares text, and another version's may read the same."""
    store = open_store(old_server.url, upgrades=True)
    await store.open()
    known = Number("+31850001001", "anna")
    otherwise = json.dumps({"account": known.account, "number": known.number})
    old_server.cli("hset", "charging:number:{+31850001001}", "record", otherwise)
    assert await store.directory.number(known.number) == known
    edited = replace(known, mailbox="box")
    assert not await store.directory.put_number(edited, replace(known, forward_to="+31612345678"))
    assert not await store.directory.remove_number(replace(known, forward_to="+31612345678"))
    assert await store.directory.put_number(edited, known)
    assert await store.directory.number(known.number) == edited
    old_server.cli("hset", "charging:number:{+31850001001}", "record", otherwise)
    assert await store.directory.remove_number(known)
    assert await store.directory.number(known.number) is None
    await store.close()


async def test_a_session_that_an_older_program_opened_goes_on(old_server: RedisServer) -> None:
    store = open_store(old_server.url, upgrades=True)
    await store.open()
    assert await store.keep_session("anna", "s2", Kept("kept", 1, follows=4)) is Outcome.CREATED
    extend = Transfer("s2/5/extend", "anna", Kind.EXTEND, 1, (Leg(CREDIT, -5, 0),), "s2", Kept("on", 1, follows=4))
    assert (await store.apply(extend)).outcome is Outcome.CREATED
    assert (await store.apply(settle(follows=4))).outcome is Outcome.OUT_OF_SEQUENCE
    assert (await store.apply(settle(follows=5))).outcome is Outcome.CREATED
    assert [one.number for one in await store.feed.read_feed(0, 10)] == [6], "what is booked from now on"
    assert await store.balances("anna") == {CREDIT: Balance(19_837_495, 0)}
    await assert_sound(store)
    await store.close()


async def test_an_upgrade_that_was_cut_short_is_finished_and_leaves_what_is_new_alone(old_server: RedisServer) -> None:
    store = open_store(old_server.url, upgrades=True)
    await store.open()
    bare = Transfer("s3/1/reserve", "anna", Kind.RESERVE, 1, (), "s3", Opened("asterisk", "no holds 7\n"))
    assert (await store.apply(bare)).outcome is Outcome.CREATED
    before = await store.sessions()
    await store.close()
    old_server.cli("set", "charging:schema", "1")
    again = open_store(old_server.url, upgrades=True)
    await again.open()
    assert list(await again.sessions()) == list(before)
    await again.close()


async def test_an_older_ledger_is_not_upgraded_while_daemons_are_at_work(old_server: RedisServer) -> None:
    before = old_server.cli("get", "charging:schema").strip()
    old_server.cli("set", "charging:lease:{asterisk}", "1795317157231 host/7", "px", "60000")
    with pytest.raises(LedgerUnavailable, match=r"switch asterisk by host/7.*stop them all first"):
        await open_store(old_server.url, upgrades=True).open()
    assert old_server.cli("get", "charging:schema").strip() == before
    old_server.cli("del", "charging:lease:{asterisk}")
    store = open_store(old_server.url, upgrades=True)
    await store.open()
    await store.close()


async def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.cli("set", "charging:schema", str(SCHEMA + 1))
        with pytest.raises(LedgerUnavailable, match="use the newer program"):
            await open_store(server.url).open()
