"""Record what a real Asterisk says: `make recordings` writes ``tests/data/ami/BRANCH`` and ``tests/data/agi/BRANCH``.

The Asterisk is the lab's (docs/supply.md says how to have it take another), the login is the daemon's, and so are the
orders: they are sent by the code under test. `tests.fakes.recordings` reads the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from agi.port import Answer
from agi.protocol import assigning, command
from agi.routes import assignments
from charging.asterisk import variables
from charging.asterisk.control import CallControl, ChannelStatus
from charging.asterisk.message import AmiMessage
from charging.asterisk.prompts import Prompter, PromptOutcome
from charging.asterisk.reply import Each, Fields, Order, Reply
from charging.asterisk.translate import translate
from charging.clock import SystemClock
from charging.errors import SwitchError
from charging.lab import Call, CallState, Lab, mobile
from tests.asterisk.operator_setup import RING_GROUP, STRAIGHT, operator_setup
from tests.asterisk.waiting import eventually
from tests.fakes.recordings import DATA, branch_of

SESSION = "s-rec-1"
END = b"\r\n\r\n"
Scene = Callable[[], Awaitable[None]]

BY_HAND: tuple[tuple[str, ...], ...] = (
    ("SET VARIABLE", "RECORDED", "yes"),
    ("NOOP", "x"),
    ("FROB",),
    ("SET VARIABLE",),
    ("GET VARIABLE", "UNSET_ONE"),
    ("GET VARIABLE", "RECORDED"),
)
"""One AGI command for each kind of answer."""


class Wire:
    """The daemon's login, of which every message is kept as it came; the part of the link that call control needs."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.control = CallControl(self, SystemClock())
        self._numbers = itertools.count(1)

    async def open(self, lab: Lab) -> None:
        access = lab.switch.charging_ami
        reader, self._writer = await asyncio.open_connection(access.host, access.port)
        greeting = (await reader.readline()).decode()
        self._reading = asyncio.create_task(self._read(reader))
        await self.action("Login", {"Username": access.user, "Secret": access.secret})
        await self.told(0, "FullyBooted")
        self.kept[0] = greeting + self.kept[0]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        await self._writer.wait_closed()

    async def actions(self, orders: Sequence[Order], *, list_end: str | None = None) -> list[Reply | SwitchError]:
        return [await self.action(*order, list_end=list_end) for order in orders]

    async def action(
        self,
        name: str,
        fields: Fields | None = None,
        *,
        timeout_s: float = 3.0,
        list_end: str | None = None,
        each: Each | None = None,
        aside: bool = False,
    ) -> Reply:
        """Send an order; a refusal is an answer like any other here."""
        named = {"ActionID": f"rec-{next(self._numbers)}", **(fields or {})}
        headers = [("Action", name)]
        for key, values in named.items():
            headers += [(key, value) for value in ([values] if isinstance(values, str) else values)]
        since = len(self.kept)
        self._writer.write("".join(f"{key}: {value}\r\n" for key, value in headers).encode() + b"\r\n")

        async def ours() -> list[AmiMessage]:
            said = [one for one in self.messages(since) if one.get("ActionID") == named["ActionID"]]
            is_list = list_end is not None and said and said[0].response != "Error"
            return said if not is_list or said[-1].event == list_end else []

        said = await eventually(ours, f"the answer to {name}", timeout_s)
        entries = tuple(one for one in said[1:] if one.get("EventList") != "Complete")
        if each is not None:
            for entry in entries:
                each(entry)
        return Reply(said[0], entries, end=said[-1])

    def messages(self, since: int) -> list[AmiMessage]:
        return [AmiMessage.parse(text) for text in self.kept[since:]]

    async def told(self, since: int, event: str, times: int = 1, **headers: str) -> None:
        """Wait until the switch has sent an event so often."""

        async def there() -> bool:
            found = [one for one in self.messages(since) if one.event == event]
            return sum(all(one.get(name) == value for name, value in headers.items()) for one in found) >= times

        await eventually(there, f"{times} {event}", 20)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            text = (await reader.readuntil(END)).decode().removesuffix("\r\n")
            self.kept.append(text)
            event = translate(AmiMessage.parse(text))
            if event is not None:
                self.control.observe(event)


class Tap:
    """Answers AGI as told, and keeps each conversation: ``<`` from Asterisk, ``>`` from us."""

    def __init__(self) -> None:
        self.commands: dict[str, list[bytes]] = {}
        self.kept: dict[str, list[str]] = {}

    def answers(self, route: str, answer: Answer) -> None:
        self.commands[route] = [assigning(assignments(answer))]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n")
        route = header.split("agi_network_script: ")[1].split("\n")[0]
        self.kept[route] = kept = [f"< {line}" for line in header.split("\n")]
        for line in self.commands[route]:
            writer.write(line)
            kept.append(f"> {line.decode().rstrip()}")
            kept.append(f"< {(await reader.readline()).decode().rstrip()}")
            while kept[-1].startswith("< 520-") or not kept[-1].startswith(("< 2", "< 5")):
                kept.append(f"< {(await reader.readline()).decode().rstrip()}")
        writer.close()


class Recorder:
    """The scenes, one file each."""

    def __init__(self, lab: Lab, wire: Wire, tap: Tap) -> None:
        self._lab, self._wire, self._tap = lab, wire, tap
        self._branch = branch_of(lab.version)

    async def scene(self, name: str, title: str, play: Scene) -> None:
        since = len(self._wire.kept)
        await play()
        self._write_ami(name, title, "".join(f"{text}\r\n" for text in self._wire.kept[since:]))
        await self._lab.reset()

    async def call(
        self,
        name: str,
        title: str,
        play: Callable[[Call], Awaitable[None]],
        *,
        way_in: str = STRAIGHT,
        target: str = "",
        quota_s: int = 30,
        channels: int = 2,
    ) -> None:
        """A call that is forwarded, what ``play`` does with it until its ``channels`` are gone, and its record."""
        answer = Answer("forward", "credit", SESSION, quota_s, target or mobile.answers(), ring_s=2, language="nl")
        self._tap.answers("incoming", answer)

        async def whole() -> None:
            since = len(self._wire.kept)
            await play(await self._lab.place_call(way_in))
            await self._wire.told(since, "Hangup", times=channels)
            await self._wire.control.records_of([SESSION])

        await self.scene(name, title, whole)

    def write_agi(self, name: str, title: str, route: str) -> None:
        lines = [f"# {title}. < is what Asterisk {self._lab.version} wrote, > what the daemon wrote."]
        self._write("agi", name, [*lines, *self._tap.kept[route]])

    def write_login(self) -> None:
        self._write_ami("login", "Login", "".join(f"{text}\r\n" for text in self._wire.kept))

    def _write_ami(self, name: str, title: str, said: str) -> None:
        made = f"# Recorded from a real Asterisk {self._lab.version} by tests/asterisk/record.py, the daemon's login."
        self._write("ami", name, [f"# {title}", made, *said.removesuffix("\r\n").split("\r\n")])

    def _write(self, kind: str, name: str, lines: list[str]) -> None:
        folder = DATA / kind / self._branch
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


async def _idle(wire: Wire) -> None:
    """Answers, and refusals, of a switch without a call."""
    control = wire.control
    await control.permissions()
    await wire.action("CoreStatus")
    await wire.action("Ping")
    await control.black_box()
    await control.records_of(["s-0"])
    await wire.action("AbsoluteTimeout", {"Channel": "9.9", "Timeout": "5"})
    await wire.action("AbsoluteTimeout", {"Channel": "9.9"})
    await control.hang_up("9.9")
    await control.statuses(nobody)
    await wire.action("DBDel", {"Family": "charging", "Key": "s-0"})
    await wire.action("Command", {"Command": "core show version"})


def nobody(_status: ChannelStatus) -> None:
    """Nobody listens: what was said is kept."""


async def _talking(call: Call) -> None:
    await call.wait_state(CallState.ANSWERED)
    await asyncio.sleep(1)


async def _leg(lab: Lab, leg: str) -> tuple[str, str]:
    """Name and unique id of a leg of the only call."""
    for one in await lab.switch.channels():
        found = await lab.switch.action("Getvar", {"Channel": one["Channel"], "Variable": variables.LEG})
        if found["Value"] == leg:
            return one["Channel"], one["Uniqueid"]
    raise AssertionError(f"no {leg}")


async def _conversations(recorder: Recorder, lab: Lab, wire: Wire) -> None:
    async def caller_hangs_up(call: Call) -> None:
        await _talking(call)
        await wire.control.statuses(nobody)
        await call.hang_up()

    async def callee_hangs_up(call: Call) -> None:
        await _talking(call)
        await call.mobile_hangs_up()

    async def whisper(call: Call) -> None:
        since = len(wire.kept)
        await _talking(call)
        _, leg = await _leg(lab, variables.LEG_CALLEE)
        prompt = str(lab.prompts_dir / "nl" / "credit_low")
        for _ in range(2):
            assert await wire.control.play_prompt(SESSION, 1, leg, prompt) is PromptOutcome.WHISPERED
        await wire.told(since, "ChanSpyStop")
        assert await Prompter(wire, SystemClock()).fire(leg, prompt)
        await call.hang_up()

    await recorder.call(
        "answered_caller_hangs_up", "Forwarded, answered, Status asked, the caller hangs up", caller_hangs_up
    )
    recorder.write_agi("incoming", "The route incoming of a call that is forwarded", "incoming")
    await recorder.call("answered_callee_hangs_up", "Forwarded, answered, the subscriber hangs up", callee_hangs_up)
    await recorder.call("cut_by_quota", "Cut by S(2)", _talking, quota_s=2)
    title = "A whisper to the subscriber, the same order again, the feature digits; the caller hangs up"
    await recorder.call("whisper", title, whisper, channels=4)
    await recorder.call(
        "ring_group", "Through a Local channel that is optimised away", caller_hangs_up, way_in=RING_GROUP, channels=4
    )


async def _unanswered(recorder: Recorder, tap: Tap) -> None:
    async def nothing(_call: Call) -> None:
        pass

    async def gives_up(call: Call) -> None:
        await call.wait_state(CallState.RINGING)
        await call.hang_up()

    tap.answers("unanswered", Answer("reject", "unknown_number"))
    await recorder.call("busy", "The mobile is busy, then rejected", nothing, target=mobile.busy())
    recorder.write_agi("unanswered", "The route unanswered after a busy forward", "unanswered")
    never = mobile.never_answers()
    await recorder.call("no_answer", "The mobile never answers for two seconds, then rejected", nothing, target=never)
    await recorder.call("caller_gives_up", "The caller gives up while it rings", gives_up, target=never)


async def _moved(recorder: Recorder, lab: Lab) -> None:
    where = {"Context": "operator", "Exten": "elsewhere"}

    async def transferred(call: Call) -> None:
        await _talking(call)
        caller, _ = await _leg(lab, variables.LEG_CALLER)
        await lab.switch.action("BlindTransfer", {"Channel": caller, **where})
        await asyncio.sleep(1)
        await call.mobile_hangs_up()

    async def picked_up(call: Call) -> None:
        await call.wait_state(CallState.RINGING)
        leg, _ = await _leg(lab, variables.LEG_CALLEE)
        picks = {"Channel": "Local/elsewhere@operator/n", "Application": "PickupChan", "Data": leg, "Async": "true"}
        await lab.switch.action("Originate", picks)
        await _talking(call)
        await call.hang_up()

    await recorder.call("blind_transfer", "The caller sends the forward elsewhere (BlindTransfer)", transferred)
    never = mobile.never_answers()
    await recorder.call("picked_up", "Someone else picks up while it rings", picked_up, target=never, channels=4)


async def _asked(recorder: Recorder, lab: Lab, wire: Wire, tap: Tap) -> None:
    tap.commands["incoming"] = [command(*words) for words in BY_HAND]
    tap.answers("unanswered", Answer("reject", "unknown_number"))
    call = await lab.place_call(STRAIGHT)
    await eventually(lambda: _is_in(tap, "GET VARIABLE"), "the commands")
    await call.hang_up()
    recorder.write_agi("answers", "One command of each kind of answer", "incoming")
    await lab.reset()

    async def forgets() -> None:
        since = len(wire.kept)
        await wire.control.delete_records([SESSION])
        await wire.told(since, "OriginateResponse")

    await recorder.scene(
        "maintenance", "The maintenance extension, which deletes records and is never answered", forgets
    )


async def _is_in(tap: Tap, words: str) -> bool:
    kept = tap.kept.get("incoming", [])
    return sum(words in line for line in kept) == 2 and kept[-1].startswith("< ")


@contextlib.asynccontextmanager
async def _tapped(lab: Lab) -> AsyncIterator[tuple[Wire, Tap]]:
    wire, tap = Wire(), Tap()
    server = await asyncio.start_server(tap.handle, "127.0.0.1", lab.agi_port)
    await wire.open(lab)
    try:
        yield wire, tap
    finally:
        await wire.close()
        server.close()
        await server.wait_closed()


async def record() -> Path:
    """Record everything; gives the folder of what AMI said."""
    async with Lab() as lab, operator_setup(lab), _tapped(lab) as (wire, tap):
        recorder = Recorder(lab, wire, tap)
        recorder.write_login()
        await recorder.scene("answers", ANSWERS, lambda: _idle(wire))
        await _conversations(recorder, lab, wire)
        await _unanswered(recorder, tap)
        await _moved(recorder, lab)
        await _asked(recorder, lab, wire, tap)
        return DATA / "ami" / branch_of(lab.version)


ANSWERS = (
    "Answers to actions on an idle switch: ListCommands, CoreStatus, Ping, DBGetTree and DBGet of nothing, "
    "AbsoluteTimeout and Hangup of no channel, Status, and what is not allowed"
)


if __name__ == "__main__":
    print(asyncio.run(record()))
