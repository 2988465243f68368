"""The Redis ledger against what Redis does with less.

The same EVALSHA: the ledger's own script, keys and words, in the same pipelines, but the words were made before and the
answer is not read. What is between the two is the ledger's part of the client.

A bare EVALSHA: a script that carries out the same commands, with as many words, on the same keys, but decides nothing,
composes nothing and answers constants. It goes through the same client: once alone, a round trip each, and once in the
pipelines that the ledger shares between all that is asked at the same moment. What is between the two is also what the
script decides.

The server keeps an append-only file (appendfsync everysec), which is not rewritten meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from redis.asyncio import ConnectionPool, Redis

from charging.ledger.accounts import Account
from charging.ledger.model import Closed, Kept, Opened, Outcome, Transfer
from charging.ledger.redis import url as redis_url
from charging.ledger.redis.client import CONNECTIONS_MAX, BatchingConnection, RedisClient, Script
from charging.ledger.redis.pipeline import Word
from charging.ledger.redis.records import Keys, apply_arguments
from charging.ledger.redis.store import RedisStore
from tests.benchmarks.ledger_load import (
    STATE,
    TASKS,
    Apply,
    Figure,
    Rounds,
    account_id,
    at_least,
    at_most,
    call,
    next_session,
    play,
    top_up,
)
from tests.integration.redis_servers import RedisServer

BARE, PIPELINED, LEDGER = "bare EVALSHA", "bare EVALSHA in pipelines", "Redis ledger"
SAME = "the same EVALSHA in pipelines"

COPIES_AT_ONCE = 1_000
"""Accounts copied by one script."""

_COPY = """
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
for number = first, last do
    local account = string.format("account-%07d", number)
    for i, key in ipairs(KEYS) do
        for _, prefix in ipairs({"charging", "bare"}) do
            redis.call("COPY", key, prefix .. ":{" .. account .. "}:" .. ARGV[2 + i])
        end
    end
end
"""

# KEYS as apply.lua has them; ARGV 1 id, 2 session, 3 line of the journal, 4 digest, 5 the session's record, 6 CDR.
_TEXTS = {
    Opened: """
redis.call("HMGET", KEYS[1], "#lines", "p:credit", "r:credit", "p:calls", "r:calls")
redis.call("HGET", KEYS[2], ARGV[1])
redis.call("HGET", KEYS[4], ARGV[2])
redis.call("HEXISTS", KEYS[5], ARGV[2])
redis.call("RPUSH", KEYS[3], ARGV[3])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[4])
redis.call("HSET", KEYS[1], "#lines", "1", "r:credit", "120", "r:calls", "1")
local time = redis.call("TIME")
redis.call("ZADD", "bare:{#feed}:news", time[1] * 1000000 + time[2], "account-0000001")
redis.call("HSET", KEYS[4], ARGV[2], ARGV[5])
redis.call("SADD", "bare:switch:{switch}", ARGV[2] .. " account-0000001")
redis.call("SADD", "bare:switches", "switch")
return {"created", "", "switch", 1000000000, 120, 0, 1}
""",
    Kept: """
redis.call("HMGET", KEYS[1], "#lines", "p:credit", "r:credit")
redis.call("HGET", KEYS[2], ARGV[1])
redis.call("HGET", KEYS[4], ARGV[2])
redis.call("RPUSH", KEYS[3], ARGV[3])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[4])
redis.call("HSET", KEYS[1], "#lines", "2", "p:credit", "999999940")
redis.call("HSET", KEYS[4], ARGV[2], ARGV[5])
return {"created", "", "switch", 999999940, 120}
""",
    Closed: """
redis.call("HMGET", KEYS[1], "#lines", "p:credit", "r:credit", "p:calls", "r:calls")
redis.call("HGET", KEYS[2], ARGV[1])
redis.call("HGET", KEYS[4], ARGV[2])
redis.call("RPUSH", KEYS[3], ARGV[3])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[4])
redis.call("HSET", KEYS[1], "#lines", "3", "p:credit", "999999910", "r:credit", "0", "r:calls", "0")
local time = redis.call("TIME")
redis.call("ZADD", "bare:{#feed}:news", time[1] * 1000000 + time[2], "account-0000001")
redis.call("HDEL", KEYS[4], ARGV[2])
redis.call("ZADD", KEYS[6], "3", ARGV[2])
redis.call("HSET", KEYS[5], ARGV[2], ARGV[6])
redis.call("SREM", "bare:switch:{switch}", ARGV[2] .. " account-0000001")
redis.call("ZADD", "bare:cdrs", "3", ARGV[2] .. " account-0000001 3")
return {"created", "", "switch", 999999910, 0, 0, 0}
""",
}
_DIGEST = "0123456789abcdef0123456789abcdef"
_LINE = f'1 ["bench-1/1","reserve",1,[["credit",0,120],["calls",0,1]],"bench-1","","{_DIGEST}"]'
_CONSTANTS = (_LINE, _DIGEST, f"0 1 credit=120;calls=1\nswitch\n{STATE}", f"3 {STATE}")


def digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _script(text: str) -> Script:
    script = Script("apply")
    script.text, script.digest = text, digest(text)
    return script


SCRIPTS = {change: _script(text) for change, text in _TEXTS.items()}

_NAMED = "SESSION"
_APPLY = Script("apply")


def _words(indexes: str) -> dict[type, list[Word]]:
    """The ARGV of ``apply.lua`` for each transfer of a call, with a word in the place of the session's name."""
    transfers = list(call(_NAMED, account_id(0)))
    return {type(one.change): apply_arguments(one, (), "", indexes) for one in transfers}


def _of_session(words: list[Word], session: str) -> list[Word]:
    return [word.replace(_NAMED, session) if isinstance(word, str) and _NAMED in word else word for word in words]


class Side:
    """One server with so many accounts in it, and the four that ask it."""

    def __init__(self, server: RedisServer, accounts: int) -> None:
        self._server = server
        self._accounts = accounts
        self._keys = Keys("bare")
        self._ledger_keys = Keys("charging")
        self._words = _words("charging")
        self._store = RedisStore(redis_url.parse(server.url + "?timeout_s=30"))
        self._client = RedisClient(redis_url.parse(server.url + "?timeout_s=30"))
        pool = ConnectionPool(BatchingConnection, host="127.0.0.1", port=server.port, protocol=2)
        self._redis = Redis.from_pool(pool)
        self._turn = asyncio.Semaphore(CONNECTIONS_MAX)

    async def open(self) -> None:
        await self._store.open()
        self._server.cli("config", "set", "appendonly", "no")
        await self._fill()
        for setting in ("auto-aof-rewrite-percentage 0", "appendfsync everysec", "appendonly yes"):
            self._server.cli("config", "set", *setting.split())
        await asyncio.to_thread(self._wait_until_rewritten)
        for script in SCRIPTS.values():
            await self._redis.script_load(script.text)
        wanted = await self._commands(self._ledger)
        for bare in (self._alone, self._together):
            if (found := await self._commands(bare)) != wanted:
                raise SystemExit(f"the bare scripts run {found}, the ledger's run {wanted}: make them alike again")

    async def close(self) -> None:
        await self._store.close()
        await self._client.close()
        await self._redis.aclose()

    def contenders(self, seconds: float) -> dict[str, Callable[[], Awaitable[Figure]]]:
        kinds = {BARE: self._alone, PIPELINED: self._together, SAME: self._same, LEDGER: self._ledger}
        return {
            name(kind, self._accounts, tasks): partial(play, apply, self._accounts, tasks, seconds, self._server_s)
            for tasks in TASKS
            for kind, apply in kinds.items()
        }

    async def _fill(self) -> None:
        """The store makes one account with a top-up; the server copies its keys for all others, on both sides."""
        await self._store.directory.put_account(Account("pattern", "voice_free"))
        await self._store.apply(top_up("pattern"))
        keys = [key.decode() async for key in self._redis.scan_iter(match="*{pattern}*")]
        kinds = [key.rpartition(":")[2] for key in keys]
        for start in range(0, self._accounts, COPIES_AT_ONCE):
            last = min(start + COPIES_AT_ONCE, self._accounts) - 1
            await self._redis.eval(_COPY, len(keys), *keys, start, last, *kinds)

    def _wait_until_rewritten(self) -> None:
        while self._info("persistence")["aof_rewrite_in_progress"] != "0":
            time.sleep(0.2)

    def _info(self, section: str) -> dict[str, str]:
        lines = self._server.cli("info", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _server_s(self) -> float:
        cpu = self._info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    async def _commands(self, apply: Apply) -> dict[str, int]:
        """The commands of one call's scripts, and how many of each."""
        self._server.cli("config", "resetstat")
        for transfer in call(next_session(), account_id(0)):
            await apply(transfer)
        stats = self._info("commandstats")
        inside = {"hmget", "hget", "hexists", "hset", "hdel", "rpush", "sadd", "srem", "zadd"}
        counts = {command: stats.get(f"cmdstat_{command}", "calls=0,") for command in inside}
        return {command: int(text.split(",")[0].removeprefix("calls=")) for command, text in sorted(counts.items())}

    # -- the four

    async def _ledger(self, transfer: Transfer) -> None:
        applied = await self._store.apply(transfer)
        assert applied.outcome is Outcome.CREATED, applied

    async def _same(self, transfer: Transfer) -> None:
        assert transfer.session is not None
        words = _of_session(self._words[type(transfer.change)], transfer.session)
        answer = await self._client.script(_APPLY, self._ledger_keys.needed(transfer), words)
        assert answer[0] == b"created", answer

    async def _together(self, transfer: Transfer) -> None:
        assert transfer.session is not None
        arguments = (transfer.id, transfer.session, *_CONSTANTS)
        await self._client.script(SCRIPTS[type(transfer.change)], self._keys.needed(transfer), arguments)

    async def _alone(self, transfer: Transfer) -> None:
        assert transfer.session is not None
        arguments = (transfer.id, transfer.session, *_CONSTANTS)
        keys, script = self._keys.needed(transfer), SCRIPTS[type(transfer.change)]
        async with self._turn:
            await self._redis.evalsha(script.digest, len(keys), *keys, *arguments)


def name(kind: str, accounts: int, tasks: int) -> str:
    return f"{kind}, {accounts:,} accounts, {tasks} tasks"


async def bench(folder: Path, sizes: list[int], seconds: float, rounds: int) -> None:
    """All Redis figures, each size on a server of its own."""
    async with AsyncExitStack() as stack:
        sides = [Side(stack.enter_context(RedisServer(folder)), size) for size in sizes]
        for side in sides:
            stack.push_async_callback(side.close)
            await side.open()
        measured = Rounds({key: one for side in sides for key, one in side.contenders(seconds).items()})
        await measured.run(rounds)
    measured.show()
    for size in sizes:
        ledger = name(LEDGER, size, 200)
        for kind in (SAME, PIPELINED, BARE):
            measured.judge(f"{size:,} accounts: against {kind}", ledger, name(kind, size, 200), *at_least(0.8))
    few, many = sizes[0], sizes[-1]
    for kind in (LEDGER, PIPELINED):
        what = f"{kind}: cost at {many:,} against {few:,}"
        measured.judge(what, name(kind, few, 200), name(kind, many, 200), *at_most(1.5))
