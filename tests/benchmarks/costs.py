"""What the daemon's main works cost, counted instead of timed: `python -m tests.benchmarks.costs [--keep]`.

A cost is the number of steps of the interpreter (`tests.fakes.effort.steps_run`), in multiples of those of a reference
loop. It is the same on every machine, however busy, so that a test can hold it: ``tests/unit/test_costs.py`` fails
where one has grown by more than :data:`GROWTH_MAX` over what ``tests/data/costs.json`` keeps. ``--keep`` (`make costs`)
writes that file again. What C code does within one call is not seen: seconds are measured by `make bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from charging.asterisk.control import channel_status
from charging.asterisk.message import AmiMessage
from charging.asterisk.shape import flaw
from charging.asterisk.translate import translate
from charging.ledger.accounts import Account, Number
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.sqlite.store import SqliteStore
from tests.benchmarks import bench_rating, ledger_sqlite
from tests.benchmarks.doors import agi_server
from tests.benchmarks.ledger_load import account_id, call, next_session
from tests.fakes.agi_client import AgiClient, header
from tests.fakes.effort import steps_run, threads_counted
from tests.fakes.recordings import ami_events, ami_messages
from tests.fakes.rig import EURO, TARGET, Rig, make_rig

KEPT = Path(__file__).parents[1] / "data" / "costs.json"
GROWTH_MAX = 0.15
CALLS = 20
"""So many of each are done, and the cost is that of one."""
TOP_UP = 100 * EURO
RATED = ("cost of 1 h, 1 s increments", "limit of 3 h, 1 s increments", "charge of 1 h with a night band")

REFERENCE = "the reference loop"

Costs = dict[str, int]


def reference() -> int:
    """The loop that costs are multiples of: numbers, texts, a dictionary, calls."""
    seen: dict[str, int] = {}
    for number in range(100):
        key = f"key-{number % 10}"
        seen[key] = seen.get(key, 0) + len(key) * number
    return sum(seen.values())


def number_of(index: int) -> str:
    return f"+3120765{index:04d}"


async def subscribers(rig: Rig, count: int) -> None:
    """Each has one number, and money for hours."""
    at_us = rig.clock.now().wall_us
    for index in range(count):
        who = f"a{index}"
        await rig.store.directory.put_account(Account(who, "light"))
        await rig.store.directory.put_number(Number(number_of(index), who, TARGET))
        await rig.store.apply(Transfer("top-up", who, Kind.TOP_UP, at_us, (Leg(CREDIT, TOP_UP),)))


async def a_decision() -> int:
    """From the dialplan's connection to the last variable that is set; another thread asks, and costs nothing."""
    async with make_rig() as rig, agi_server(rig) as server:
        await subscribers(rig, CALLS + 1)
        await asyncio.to_thread(ask, server.port, 0)

        def ask_all() -> None:
            for index in range(1, CALLS + 1):
                ask(server.port, index)

        return await steps_run(partial(asyncio.to_thread, ask_all)) // CALLS


def ask(port: int, index: int) -> None:
    """A dialplan that is forwarded. Answers to commands that came together are sent together."""
    client, number, uid = AgiClient(), number_of(index), f"1795262400.{index}"
    raw = header("incoming", number, f"+3110765{index:04d}", uid, "PJSIP/trunk-1", "allowed", "")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(raw.replace(b"1795262400.1\n", f"{uid}\n".encode(), 1))
        unread = b""
        while data := connection.recv(1 << 16):
            *lines, unread = (unread + data).split(b"\n")
            if lines:
                connection.sendall(b"".join(client.answer(line.decode()) for line in lines))
    assert client.variables["CHARGING_DECISION"] == "forward", client.variables


async def a_call() -> Costs:
    """Calls of as many subscribers on the rig: answered, ticked, ended and booked."""
    async with make_rig() as rig:
        await subscribers(rig, CALLS)
        calls = []
        for index in range(CALLS):
            answer = await rig.ring(number_of(index))
            assert answer.session is not None
            assert answer.quota_s is not None
            calls.append(rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid))
        await rig.clock.advance(0)

        async def answered() -> None:
            for one in calls:
                rig.switch.answer(one.session)
            await rig.clock.advance(0)

        async def ticked() -> None:
            await rig.clock.advance(2)

        async def ended() -> None:
            for one in calls:
                rig.switch.end(one.session)
            await rig.clock.advance(1)

        costs = {"a call answered": await steps_run(answered)}
        await rig.clock.advance(58.5)
        lines = await written(rig)
        costs["a tick"] = await steps_run(ticked)
        assert await written(rig) == lines + CALLS, "each call was ticked once"
        await rig.clock.advance(10)
        costs["a settled call"] = await steps_run(ended)
        assert not await rig.store.sessions(), "every call is booked"
        return {name: cost // CALLS for name, cost in costs.items()}


async def written(rig: Rig) -> int:
    """Lines of all journals."""
    return sum([1 for index in range(CALLS) async for _ in rig.store.journal(f"a{index}")])


async def a_ledger() -> Costs:
    """The three transfers of a call on SQLite, with the thread that writes."""
    with TemporaryDirectory(prefix="costs-") as folder, threads_counted():
        path = Path(folder) / "ledger.db"
        await ledger_sqlite.make(path, 1)
        store = SqliteStore(path)
        await store.open()
        try:

            async def play() -> None:
                for _ in range(CALLS):
                    for transfer in call(next_session(), account_id(0)):
                        await store.apply(transfer)

            await play()
            return {"a call's transfers on SQLite": await steps_run(play) // CALLS}
        finally:
            await store.close()


async def events_of_a_call() -> int:
    messages = [
        "\r\n".join(f"{name}: {value}" for name, value in each) for each in ami_events("answered_callee_hangs_up")
    ]

    async def read() -> None:
        for text in messages:
            message = AmiMessage.parse(text)
            assert not flaw(message)
            assert translate(message) is not None

    return await steps_run(read)


async def a_channel() -> int:
    entry = next(each for each in ami_messages("answered_caller_hangs_up") if each.event == "Status")
    text = "\r\n".join(f"{name}: {value}" for name, value in entry)

    async def read() -> None:
        message = AmiMessage.parse(text)
        assert not flaw(message, "StatusComplete")
        assert channel_status(message).session

    return await steps_run(read)


async def rated() -> Costs:
    works = {name: work for name, work, _ in bench_rating.rows() if name in RATED}
    assert len(works) == len(RATED)
    return {name: await steps_run(as_async(works[name])) for name in RATED}


def as_async(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        work()

    return run


async def count_all() -> Costs:
    """The steps of each work, and of the reference loop."""
    costs = {REFERENCE: await steps_run(as_async(reference))}
    costs |= {"a decision": await a_decision(), **await a_call(), **await a_ledger()}
    costs |= {"the events of a call": await events_of_a_call(), "a channel of a list": await a_channel()}
    return costs | await rated()


def growth(kept: Costs, found: Costs) -> dict[str, float]:
    """By how much each costs more than it did, in multiples of the reference loop of its own run: 0.1 is a tenth more.
    What is not kept has grown without end."""
    units = {name: cost / found[REFERENCE] for name, cost in found.items()}
    return {
        name: units[name] / (kept[name] / kept[REFERENCE]) - 1 if name in kept else math.inf
        for name in found
        if name != REFERENCE
    }


def too_dear(kept: Costs, found: Costs) -> list[str]:
    return [f"{name}: {more:+.0%}" for name, more in growth(kept, found).items() if more > GROWTH_MAX]


def read_kept() -> Costs:
    return dict(json.loads(KEPT.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.name} again")
    options = parser.parse_args()
    found = asyncio.run(count_all())
    kept = read_kept() if KEPT.exists() else found
    more = growth(kept, found)
    for name in more:
        print(f"{name:34} {found[name]:9,} steps {found[name] / found[REFERENCE]:8.2f} × the loop {more[name]:+8.1%}")
    if options.keep:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")
        print(f"kept in {KEPT.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
