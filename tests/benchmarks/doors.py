"""How many doors a newcomer opens to follow one thing through the house: `make doors`.

Six walks over the tests' rig (fake switch and clock, the ledger in memory), each traced call by call. *Files* and
*functions* of `charging` and `agi` that are entered, and *moves*: calls that go from one file to another. Fewer are
better, as long as what stands together belongs together.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CodeType, FrameType

import structlog

from agi.routes import routes_for
from agi.server import AgiServer
from charging.clock import SystemClock
from charging.engine.runner import ENDS_TOGETHER_S
from charging.ledger.memory import MemoryDocuments, MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify.notifier import Notifier
from charging.notify.outbox import Outbox
from charging.notify.render import Operator, Templates
from charging.notify.worker import Worker
from tests.fakes.agi_client import AgiClient, header
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig
from tests.unit.notify.factories import ANNA, make_mail, the_tariff
from tests.unit.notify.test_worker import FakeSmtp

ROOT = Path(__file__).parents[2]
HOUSE = (f"{ROOT}/charging/", f"{ROOT}/agi/")
GOALS = {"decision": 20, "answer": 0, "tick": 14, "end": 14, "top-up": 15, "notice": 17}
"""Files; 0: none is set."""
AT_MOST = {"decision": 21, "answer": 16, "top-up": 13, "tick": 13, "end": 14, "notice": 16}
"""What the walks enter now. `tests/unit/test_doors.py` lets none grow; lower a number when its walk has fewer."""


class Walk:
    """What was entered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.functions: dict[CodeType, int] = {}
        self.moves = 0

    @property
    def files(self) -> list[str]:
        """In the order in which they were entered first."""
        return list(dict.fromkeys(code.co_filename.removeprefix(f"{ROOT}/") for code in self.functions))

    def enter(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<") or not _is_ours(code):
            return
        self.functions[code] = self.functions.get(code, 0) + 1
        caller = frame.f_back
        while caller is not None and not _is_ours(caller.f_code):
            caller = caller.f_back
        self.moves += caller is not None and caller.f_code.co_filename != code.co_filename


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(HOUSE) and code.co_filename.endswith(".py")


@contextmanager
def traced(name: str, walks: list[Walk]) -> Iterator[None]:
    walk = Walk(name)
    sys.setprofile(walk.enter)
    try:
        yield
    finally:
        sys.setprofile(None)
    walks.append(walk)


@asynccontextmanager
async def agi_server(rig: Rig) -> AsyncIterator[AgiServer]:
    server = AgiServer(routes_for(rig.desk), SystemClock())
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.close()


async def decision(walks: list[Walk]) -> None:
    """From the dialplan's question to the answer in its variables."""
    async with make_rig() as rig, agi_server(rig) as server:
        await rig.subscriber(credit=10 * EURO)
        await ask(server, AgiClient(), "1795262400.8")
        client = AgiClient()
        with traced("decision", walks):
            await ask(server, client, "1795262400.9")
        assert client.variables["CHARGING_DECISION"] == "forward", client.variables


async def ask(server: AgiServer, client: AgiClient, uid: str) -> None:
    arguments = (NUMBER, f"+31107654{uid[-1] * 3}", uid, "PJSIP/trunk-1", "allowed", "")
    await client.call(server.port, "", raw=header("incoming", *arguments).replace(b"1795262400.1", uid.encode()))


async def call(walks: list[Walk]) -> None:
    """Answered, ticked, topped up, ended."""
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO // 10)
        talking = await rig.talking()
        await rig.hang_up(talking)
        await rig.clock.advance(3.5 - ENDS_TOGETHER_S)  # so that no audit and no look at the clocks falls into a walk
        ringing = await rig.ringing()
        with traced("answer", walks):
            rig.switch.answer(ringing.session)
            await rig.clock.advance(0)
        await rig.clock.advance(10)
        before = rig.session_of(ringing)
        with traced("top-up", walks):
            await rig.credit(10 * EURO, key="second")
            await rig.clock.advance(0)
        assert rig.session_of(ringing).enforced_s > before.enforced_s
        await rig.clock.advance(49)
        posted = len(rig.heard("tick_posted"))
        with traced("tick", walks):
            await rig.clock.advance(1)
        assert len(rig.heard("tick_posted")) == posted + 1
        await rig.clock.advance(1)
        with traced("end", walks):
            await rig.hang_up(ringing)
        assert rig.heard("call_settled")


async def notice(walks: list[Walk]) -> None:
    """From a charge to the mail that is handed over."""
    clock = FakeClock()
    store, box, mail = MemoryStore(clock), FakeSmtp(clock), make_mail()
    outbox = Outbox(MemoryDocuments())
    words = Templates(Operator("Example", "https://www.voice.example/"))
    worker = Worker(outbox, words, mail, lambda: box, clock)
    tariff = the_tariff()  # a daemon reads it once
    notifier = Notifier(store, MemoryDocuments(), outbox, lambda: tariff, clock, lambda _: None, worker.wake)
    await store.directory.put_account(ANNA)
    tasks = [asyncio.create_task(one.run()) for one in (notifier, worker)]

    async def move(key: str, micro: int) -> None:
        kind = Kind.TOP_UP if micro > 0 else Kind.SETTLE
        await store.apply(Transfer(key, "anna", kind, clock.now().wall_us, (Leg(CREDIT, micro),)))
        notifier.touched("anna")
        await clock.advance(10)

    for turn, micro in enumerate((10 * EURO, -9 * EURO, 10 * EURO)):
        await move(f"t{turn}", micro)
    taken = len(box.got)
    with traced("notice", walks):
        await move("last", -9 * EURO - EURO // 2)
    assert len(box.got) == taken + 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def walk_all() -> list[Walk]:
    walks: list[Walk] = []
    for one in (decision, call, notice):
        await one(walks)
    return walks


def main(show: Callable[[str], None] = print) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    show(f"{'walk':10} {'files':>5} {'goal':>5} {'functions':>9} {'moves':>5}")
    for walk in asyncio.run(walk_all()):
        goal = GOALS[walk.name] or "-"
        show(f"{walk.name:10} {len(walk.files):5} {goal:>5} {len(walk.functions):9} {walk.moves:5}")
        if "-v" in sys.argv:
            show("  " + " ".join(walk.files))


if __name__ == "__main__":
    main()
