"""Whatever type of exception a driver raises, it means "could not answer": never the end of the daemon's work (rule 8
of the port). Faults of our own stay what they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiosmtplib
import pytest
from redis.asyncio.connection import AbstractConnection

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account
from charging.ledger.model import Outcome
from charging.ledger.open import open_store
from charging.ledger.sqlite.reader import Reader
from charging.ledger.sqlite.writer import Writer
from charging.notify.smtp import MailServerTrouble, Smtp
from tests.contract.scenario import add_account
from tests.integration.redis_load import Opener, insist, top_up
from tests.integration.redis_replicated import Cluster
from tests.integration.redis_servers import RedisServer
from tests.unit.notify.factories import make_mail

ODD = [
    AttributeError("'NoneType' object has no attribute 'writelines'"),
    KeyError("slot"),
    RuntimeError("read() called"),
]
"""Of the first kind is what redis-py raises in a cluster if a node dies while it connects to it."""


def _odd(fault: Exception) -> str:
    return type(fault).__name__


@pytest.fixture(scope="module", params=["plain", "cluster"])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) if request.param == "plain" else Cluster(folder, replicas=0) as servers:
        yield servers.url


@pytest.mark.parametrize("fault", ODD, ids=_odd)
@pytest.mark.parametrize("step", ["connect_check_health", "send_packed_command"])
async def test_a_fault_of_the_redis_driver_is_no_answer_and_passes(
    redis_url: str, opened: Opener, monkeypatch: pytest.MonkeyPatch, fault: Exception, step: str
) -> None:
    store = await opened(redis_url)
    await store.directory.put_account(Account("a", "voice_free"))
    asked = top_up(f"{step}/{_odd(fault)}")

    async def stumbles(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, step, stumbles)
        calls: list[Callable[[], Awaitable[object]]]
        calls = [lambda: open_store(redis_url).open(), lambda: store.apply(asked)]
        for call in calls[: 1 if step == "connect_check_health" else 2]:  # the store that is open is connected
            with pytest.raises(LedgerUnavailable) as refused:
                await call()
            assert refused.value.__cause__ is not None
    assert (await insist(store, asked)).outcome.applied


async def test_a_cancelled_call_stays_cancelled(tmp_path: Path, opened: Opener) -> None:
    """And takes nothing with it."""
    with RedisServer(tmp_path) as server:
        store = await opened(server.url)
        await add_account(store)
        server.freeze()
        waiting = asyncio.create_task(store.apply(top_up("t1")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        server.thaw()
        assert (await insist(store, top_up("t2"))).outcome is Outcome.CREATED


@pytest.mark.parametrize("fault", [sqlite3.Warning("odd"), MemoryError(), sqlite3.InterfaceError("odd")], ids=_odd)
async def test_a_fault_of_the_sqlite_driver_is_no_answer(tmp_path: Path, fault: Exception) -> None:
    def stumbles(_connection: sqlite3.Connection) -> None:
        raise fault

    writer, reader = Writer(tmp_path / "any.db", 5), Reader(tmp_path / "any.db", 5)
    writer.start()
    for asks in (writer.submit, reader.read):
        with pytest.raises(LedgerUnavailable) as refused:
            await asks(stumbles)
        assert refused.value.__cause__ is fault
    await writer.stop()
    await reader.stop()


async def test_a_fault_of_our_own_is_told_as_what_it_is(tmp_path: Path) -> None:
    def stumbles(_connection: sqlite3.Connection) -> None:
        raise RuntimeError("ours")

    writer, reader = Writer(tmp_path / "any.db", 5), Reader(tmp_path / "any.db", 5)
    writer.start()
    for asks in (writer.submit, reader.read):
        with pytest.raises(RuntimeError, match="ours"):
            await asks(stumbles)
    await writer.stop()
    await reader.stop()
    for asks in (writer.submit, reader.read):
        with pytest.raises(LedgerUnavailable, match="is closed"):
            await asks(stumbles)


async def test_the_writing_thread_lives_on_whatever_fails_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every later write would wait for its time-out, until a restart."""

    def stumbles(*_: object) -> sqlite3.Connection:
        raise RuntimeError("can't start new thread")

    writer = Writer(tmp_path / "any.db", 5)
    writer.start()
    with monkeypatch.context() as patch:
        patch.setattr("charging.ledger.sqlite.writer.connect", stumbles)
        with pytest.raises(LedgerUnavailable, match="can't start new thread"):
            await writer.submit(lambda _connection: 1)
    assert await writer.submit(lambda _connection: 2) == 2
    await writer.stop()


@pytest.mark.parametrize("fault", ODD, ids=_odd)
@pytest.mark.parametrize("step", ["connect", "send_message"])
async def test_a_fault_of_the_mail_driver_is_trouble_with_the_server(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, step: str
) -> None:
    async def passes(*_: object, **__: object) -> None: ...

    async def stumbles(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(aiosmtplib.SMTP, "connect", passes)
    monkeypatch.setattr(aiosmtplib.SMTP, "is_ehlo_or_helo_needed", False)
    monkeypatch.setattr(aiosmtplib.SMTP, "is_connected", True)
    monkeypatch.setattr(aiosmtplib.SMTP, step, stumbles)
    monkeypatch.setattr(aiosmtplib.SMTP, "quit", stumbles)
    smtp = Smtp(make_mail())

    async def hand_over() -> None:
        await smtp.open()
        await smtp.send(None)  # type: ignore[arg-type]

    with pytest.raises(MailServerTrouble, match=type(fault).__name__):
        await hand_over()
    await smtp.close()
