"""Load on a Redis store that insists on every answer, while its servers are lost."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import TypeVar

import httpx
from pydantic import SecretStr

from charging.clock import SystemClock
from charging.errors import LedgerUnavailable
from charging.ledger.feed import FeedEntry
from charging.ledger.model import Applied, Kind, Leg, Outcome, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.service.events import Events
from charging.service.webhooks import Webhooks
from charging.tasks import end
from charging.web.settings import Webhook as WebhookSettings
from charging.web.signed_post import Hook, Receiver
from charging.web.webhooks import Sender
from tests.contract.scenario import assert_sound
from tests.integration.redis_servers import PROMOTED_S, RedisServer, wait_until

TASKS = 20
AHEAD = 300
"""So many top-ups are asked for beyond those that are waited for: the load goes on beside what comes next. Without an
end it would be so many on a busy machine, while a server is lost and found, that they were not told in minutes."""
DEADLINE_S = 40
T = TypeVar("T")
NOT_THANKED = (10, 90)
"""Of a webhook's requests."""


def top_up(name: str) -> Transfer:
    return Transfer(name, "a", Kind.TOP_UP, 1, (Leg("credit", 1),))


async def insist(store: Store, transfer: Transfer) -> Applied:
    """Ask with the same id until there is an answer, as the daemon does."""
    return await answered(lambda: store.apply(transfer), transfer.id)


async def answered(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Ask until there is an answer."""
    reason = "asked once"
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return await ask()
                except LedgerUnavailable as error:
                    reason = str(error)
                    await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise TimeoutError(f"{what} had no answer; last: {reason}") from error


class Opener:
    """Opens stores and loads, and ends them with the test, however that ends."""

    def __init__(self) -> None:
        self._stores: list[Store] = []
        self._loads: list[Load] = []

    async def __call__(self, url: str, sentinel_password: SecretStr | None = None) -> Store:
        store = open_store(url, sentinel_password=sentinel_password)
        await store.open()
        self._stores.append(store)
        return store

    def load(self, store: Store) -> Load:
        self._loads.append(Load(store))
        return self._loads[-1]

    async def close(self) -> None:
        for load in self._loads:
            await load.cancel()
        for store in self._stores:
            await store.close()


class Load:
    """Tasks that top up on and on, `AHEAD` of what is waited for, and insist on each answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopping = False
        self._wanted = 0
        self._reached = asyncio.Event()
        self._begun, self._allowed = 0, AHEAD
        self._room = asyncio.Event()
        self.acknowledged: set[str] = set()
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(TASKS)]

    async def _run(self, task: int) -> None:
        number = 0
        while await self._may_begin():
            transfer = top_up(f"t{task}/{number}")
            outcome = (await insist(self._store, transfer)).outcome
            assert outcome.applied, (transfer.id, outcome)
            self.acknowledged.add(transfer.id)
            number += 1
            if len(self.acknowledged) >= self._wanted:
                self._reached.set()

    async def _may_begin(self) -> bool:
        """Wait for room for one more; ``False``: the load has been stopped."""
        while self._begun >= self._allowed and not self._stopping:
            self._room.clear()
            await self._room.wait()
        self._begun += 1
        return not self._stopping

    async def more(self, count: int) -> None:
        """Return once so many more have been acknowledged; others are on their way then."""
        self._wanted = len(self.acknowledged) + count
        self._allowed = self._wanted + AHEAD
        self._room.set()
        self._reached.clear()
        reached = asyncio.create_task(self._reached.wait())
        await asyncio.wait({reached, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():  # a task has given up: its error tells why
            reached.cancel()
            await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        self._stopping = True
        self._room.set()
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        await end(self._tasks)


class Follower:
    """Reads the feed on from where it was, as a program does that wants every event."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place = 0
        self.told: list[str] = []

    async def read_on(self) -> None:
        """Until there is no more, which under load would be never."""
        async with asyncio.timeout(DEADLINE_S):
            while await self._turn():
                pass

    async def read_until_told(self, wanted: Set[str]) -> None:
        """Until these have been told, beside a load that goes on."""
        async with asyncio.timeout(DEADLINE_S):
            while not wanted <= set(self.told):
                await self._turn()

    async def _turn(self) -> bool:
        """Read a page; whether it had anything."""
        page = await self._page()
        self.told += [one.found.id for one in page if one.found is not None]
        self._place = page[-1].place if page else self._place
        return bool(page)

    async def _page(self) -> Sequence[FeedEntry]:
        while True:
            try:
                return await self._store.feed.read_feed(self._place, 50)
            except LedgerUnavailable:
                await asyncio.sleep(0.02)


class RestingClock(SystemClock):
    """A clock that knows whether who goes by it sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.rests = asyncio.Event()

    async def sleep_until(self, mono_us: int) -> None:
        self.rests.set()
        try:
            await super().sleep_until(mono_us)
        finally:
            self.rests.clear()


class Webhook:
    """A program that is told every event of some types while its sender's store is lost and found; and now and then
    does not thank for it."""

    def __init__(self, store: Store, types: Sequence[str], named: Callable[[Mapping[str, object]], str]) -> None:
        """``named``: what an event is called, by its data."""
        self.requests = 0
        self._named = named
        self.told: dict[str, str] = {}
        """Ids of messages and what their events are called, in the order in which they came first."""
        self._clock = clock = RestingClock()
        self._book = Webhooks(store, clock, ["site"], "one")
        chosen = {"name": "site", "url": "https://site.example/", "secret_env": "X", "events": [*types]}
        hook = Hook(WebhookSettings.model_validate(chosen), (b"k" * 32,))
        self._receiver = Receiver(hook, clock, httpx.MockTransport(self._answer))
        self._sender = Sender(self._receiver, Events(store), self._book, clock, jitter=lambda: 1.0)
        self._sending: asyncio.Task[None] | None = None

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.told.setdefault(request.headers["webhook-id"], self._named(json.loads(request.content)["data"]))
        return httpx.Response(503 if self.requests in NOT_THANKED else 200)

    async def begin(self) -> None:
        """From now on it is told."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await self._book.take("site")
                    break
                except LedgerUnavailable:
                    await asyncio.sleep(0.02)
        self._sending = asyncio.create_task(self._sender.keep_sending())

    async def has(self, names: Set[str]) -> None:
        """Return once it was told of these."""
        try:
            async with asyncio.timeout(DEADLINE_S * 2):
                while not names <= set(self.told.values()):
                    assert self._sending is not None
                    if self._sending.done():
                        self._sending.result()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TimeoutError(f"told {len(self.told)} of {len(names)}, by {self.requests} requests") from error

    async def end(self) -> None:
        assert self._sending is not None
        assert not self._sending.done()
        async with asyncio.timeout(DEADLINE_S):
            await self._clock.rests.wait()  # redis-py leaves connections open if it is told to stop while it asks
        await end((self._sending,))
        await self._receiver.close()


async def assert_exact(store: Store, load: Load) -> None:
    """Every acknowledged transfer stands in the journal once, and nothing else."""
    ids = [line.id async for line in store.journal("a")]
    assert len(ids) == len(set(ids))
    assert set(ids) == load.acknowledged
    assert (await store.balances("a"))["credit"].posted == len(ids)
    await assert_sound(store)


def has_all(master: RedisServer) -> bool:
    """Whether the one replica has acknowledged every byte, so that only a new write can be missing there."""
    said = master.cli("info", "replication")
    return set(re.findall(r",offset=(\d+)", said)) == set(re.findall(r"master_repl_offset:(\d+)", said))


def promoted(replica: RedisServer) -> bool:
    return "role:master" in replica.cli("info", "replication")


async def lose_the_master_and_nothing(store: Store, opened: Opener, master: RedisServer, replica: RedisServer) -> None:
    """A store that waits for its replica: what was acknowledged before the master died is there after it, once."""
    follower = Follower(store)
    webhook = Webhook(store, ["credit.topped_up"], lambda data: str(data["transfer"]))
    await webhook.begin()
    load = opened.load(store)
    await load.more(100)
    before = set(load.acknowledged)
    await follower.read_until_told(before)
    await load.more(TASKS)
    await kill_and_promote(master, replica)
    await asyncio.to_thread(master.start)  # comes back as the replica; until then nothing is acknowledged
    await load.more(50)
    await load.stop()
    await follower.read_on()
    journal = [line.id async for line in store.journal("a")]
    assert before <= set(journal)
    assert follower.told == journal, "nothing is told that is not booked, and nothing booked is not told"
    await webhook.has(load.acknowledged)
    await webhook.end()
    assert list(webhook.told.values()) == journal, "likewise, each under one id"
    await assert_exact(store, load)


async def lose_the_master_and_the_last_moments(
    store: Store, opened: Opener, master: RedisServer, replica: RedisServer
) -> None:
    """A store that does not wait: a few of the last are lost, none is doubled, and what is asked again comes back."""
    await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has the account")
    load, follower = opened.load(store), Follower(store)
    await load.more(100)
    await follower.read_until_told(set(load.acknowledged))
    await load.more(TASKS)
    await kill_and_promote(master, replica)
    await load.more(50)
    await load.stop()
    ids = [line.id async for line in store.journal("a")]
    lost = load.acknowledged - set(ids)
    print(f"{len(lost)} of {len(load.acknowledged)} acknowledged transfers lost by the fail-over")
    assert len(ids) == len(set(ids))
    assert set(ids) <= load.acknowledged
    assert len(lost) <= 2 * TASKS
    for name in sorted(lost):
        assert (await insist(store, top_up(name))).outcome is Outcome.CREATED
    await assert_exact(store, load)
    await follower.read_on()
    assert set(follower.told) == load.acknowledged, "nothing that was booked goes untold"


async def kill_and_promote(master: RedisServer, replica: RedisServer) -> None:
    master.kill()
    await asyncio.to_thread(wait_until, lambda: promoted(replica), "the replica was not promoted", PROMOTED_S)
