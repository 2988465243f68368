"""The AMI link, call control and the AGI server on a real Asterisk with the shipped configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
import pytest_asyncio

from agi.port import Answer, IncomingCall
from agi.routes import routes_for
from agi.server import AgiServer
from charging.asterisk.black_box import FORGET_CHARACTERS_MAX, BlackBoxRecord, packed
from charging.asterisk.control import CallControl, ChannelStatus, DeadlineOutcome
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.prompts import PromptOutcome, PromptSettings
from charging.asterisk.reply import LinkSettings, LinkState
from charging.asterisk.translate import translate
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    DialEnded,
    PromptStopped,
    SwitchEvent,
)
from charging.clock import Instant, SystemClock
from charging.lab import Call, Lab, mobile
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from tests.asterisk.conftest import PROMPT_TONE_HZ
from tests.asterisk.parties import operator_sets
from tests.fakes.ami import eventually
from tests.fakes.recording_link import statuses

pytestmark = pytest.mark.asterisk

NUMBER = "+31850000001"
SESSION = "s-live-1"
Kind = TypeVar("Kind")


@dataclass
class Engine:
    """The least that a daemon is: it answers every call alike and remembers what the switch told."""

    clock: SystemClock = field(default_factory=SystemClock)
    answer: Answer = field(default_factory=lambda: Answer("reject", "unknown_number"))
    events: list[SwitchEvent] = field(default_factory=list)
    states: list[LinkState] = field(default_factory=list)
    restarts: list[bool] = field(default_factory=list)
    abandoned_sessions: list[str] = field(default_factory=list)
    unanswered_calls: list[tuple[str, str]] = field(default_factory=list)
    link: AmiLink = field(init=False)
    control: CallControl = field(init=False)

    def start(self, lab: Lab, secret: str = "", prompts: PromptSettings | None = None) -> None:
        access = lab.switch.charging_ami
        settings = LinkSettings(access.host, access.port, access.user, secret or access.secret)
        self.link = AmiLink(
            settings,
            self.clock,
            on_state=lambda state, detail: self.states.append(state),
        )
        self.control = CallControl(self.link, self.clock, prompts)

    def on_event(self, message: AmiMessage) -> None:
        if (event := translate(message)) is not None:
            self.control.observe(event)
            self.events.append(event)

    async def on_up(self, restarted: bool) -> None:
        self.restarts.append(restarted)

    async def incoming(self, request: IncomingCall) -> Answer:
        return self.answer

    async def unanswered(self, session: str, dial_status: str) -> Answer:
        self.unanswered_calls.append((session, dial_status))
        return Answer("reject", "unknown_number", session)

    async def abandoned(self, session: str, *, undelivered: bool = False) -> None:
        self.abandoned_sessions.append(session)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def callee_uid(self) -> str:
        return self.of(DialEnded)[-1].callee_uid

    async def bridged(self, lab: Lab, target: str, quota_s: int = 30) -> Call:
        """A forwarded call whose two parties talk."""
        self.answer = Answer("forward", "credit", SESSION, quota_s, target, 20, "nl", switch="east")
        call = await lab.place_call(NUMBER)
        await eventually(lambda: len(self.of(BridgeEntered)) >= 2)
        return call

    def talked_s(self) -> float:
        """From answer to the end of the conversation, by the switch's own stamps."""
        began, ended = self.of(DialEnded)[-1].at_us, self.of(BridgeLeft)[0].at_us
        assert began is not None
        assert ended is not None
        return (ended - began) / 1e6


@asynccontextmanager
async def at_work(
    lab: Lab, engine: Engine, secret: str = "", prompts: PromptSettings | None = None
) -> AsyncIterator[Engine]:
    engine.start(lab, secret, prompts)
    server = AgiServer(routes_for(engine), engine.clock)
    await server.start("127.0.0.1", lab.agi_port)
    task = asyncio.create_task(engine.link.run(engine.on_event, engine.on_up))
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(lab: Lab) -> AsyncIterator[Engine]:
    async with at_work(lab, Engine()) as engine:
        await eventually(lambda: engine.link.is_up, "the link is up")
        yield engine


async def set_deadline(engine: Engine, uid: str, at: Instant) -> object:
    """What became of it."""
    (outcome,) = await engine.control.set_deadlines([(uid, at)])
    return outcome


async def test_the_shipped_rights_lack_nothing(lab: Lab, engine: Engine) -> None:
    missing = await engine.control.permissions()
    assert (missing.needed, missing.optional) == ((), ())


async def test_a_deadline_moves_the_cut_of_the_quota_out(lab: Lab, engine: Engine) -> None:
    call = await engine.bridged(lab, mobile.answers(), quota_s=2)
    at = engine.clock.now().plus(3.5)
    assert await set_deadline(engine, engine.callee_uid(), at) is DeadlineOutcome.SET
    await call.wait_end()
    assert 3.5 <= engine.talked_s() < 6, "how exactly is test_cut's"


async def test_a_deadline_moves_the_cut_of_the_quota_in(lab: Lab, engine: Engine) -> None:
    call = await engine.bridged(lab, mobile.answers(), quota_s=30)
    began: Instant = engine.clock.now()
    assert await set_deadline(engine, engine.callee_uid(), began.plus(1)) is DeadlineOutcome.SET
    await call.wait_end()
    assert 1.0 <= engine.talked_s() < 6, "how exactly is test_cut's"


async def test_a_deadline_that_has_passed_ends_the_call_and_a_second_one_finds_it_gone(
    lab: Lab, engine: Engine
) -> None:
    call = await engine.bridged(lab, mobile.answers())
    uid, past = engine.callee_uid(), engine.clock.now()
    assert await set_deadline(engine, uid, past) is DeadlineOutcome.HUNG_UP
    await call.wait_end()
    await eventually(lambda: len(engine.of(ChannelEnded)) == 2)
    assert await set_deadline(engine, uid, past) is DeadlineOutcome.GONE
    future = engine.clock.now().plus(9)
    assert await set_deadline(engine, uid, future) is DeadlineOutcome.GONE
    assert await engine.control.hang_up(uid) is False


async def test_the_status_tells_both_legs_and_what_is_left(lab: Lab, engine: Engine) -> None:
    await engine.bridged(lab, mobile.answers(), quota_s=30)
    legs = {status.leg: status for status in await statuses(engine.control)}
    assert set(legs) == {"caller", "callee"}
    assert {leg.session for leg in legs.values()} == {SESSION}
    assert 25_000 < (legs["callee"].time_left_ms or 0) <= 30_000
    assert legs["callee"].bridge_id == legs["caller"].bridge_id != ""
    assert legs["callee"].uid == engine.callee_uid()


@asynccontextmanager
async def told_how_long_it_is_up(lab: Lab) -> AsyncIterator[None]:
    """By a file that goes on as /proc/uptime does, which is not in every lab."""
    file, new = lab.switch.folder / "uptime", lab.switch.folder / "uptime.new"

    async def goes_on() -> None:
        while True:
            new.write_text(f"{time.monotonic():.2f} 1.00\n", encoding="ascii")
            new.rename(file)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(goes_on())
    try:
        async with operator_sets(lab, "CHARGING_UPTIME", str(file)):
            yield
    finally:
        task.cancel()
        file.unlink(missing_ok=True)


async def test_the_forwarded_leg_asked_alone_says_when_it_answered(lab: Lab, engine: Engine) -> None:
    """By the clocks by which its record is written, which are this machine's."""
    async with told_how_long_it_is_up(lab):
        await engine.bridged(lab, mobile.answers())
    asked_us = time.time_ns() // 1000
    (callee,) = await engine.control.statuses_of([engine.callee_uid()])
    told_us = time.time_ns() // 1000
    answered_us = engine.of(DialEnded)[-1].at_us
    assert isinstance(callee, ChannelStatus)
    assert callee.since_answer_ms is not None
    assert answered_us is not None
    assert (asked_us - answered_us) // 1000 - 500 < callee.since_answer_ms < (told_us - answered_us) // 1000 + 500
    assert callee.answered is not None
    assert abs(callee.answered.wall_us - answered_us) < 500_000
    assert abs(callee.answered.apart_us - engine.clock.now().apart_us) < 500_000, "it has been up as long as we have"
    caller = next(one for one in await statuses(engine.control) if one.leg == "caller")
    (alone,) = await engine.control.statuses_of([caller.uid])
    assert isinstance(alone, ChannelStatus)
    assert (alone.since_answer_ms, alone.answered) == (None, None), "only the forwarded leg has answered to be paid for"


async def test_a_record_is_read_and_deleted_by_the_dialplan(lab: Lab, engine: Engine) -> None:
    assert await engine.control.black_box() == {}
    call = await engine.bridged(lab, mobile.answers())
    assert await engine.control.records_of([SESSION]) == [None]
    await call.hang_up()
    await eventually(lambda: len(engine.of(ChannelEnded)) == 2)
    record, none = await engine.control.records_of([SESSION, "s-0"])
    assert isinstance(record, BlackBoxRecord)
    assert none is None
    assert record == (await engine.control.black_box())[SESSION]
    assert abs((record.conversation_ms or 0) - engine.talked_s() * 1000) < 100
    assert record.switch == "east"
    await engine.control.delete_records([SESSION, "gone-already"])
    await _until_deleted(lab)
    assert await engine.control.black_box() == {}


async def test_more_records_than_one_order_names_are_deleted_to_the_last(lab: Lab, engine: Engine) -> None:
    keys = [f"19a0b1c2d3e-{number:012x}" for number in range(80)]
    assert len(list(packed(keys))) == 3
    for few in (keys[first : first + 8] for first in range(0, len(keys), 8)):  # consoles at once
        await asyncio.gather(*(lab.switch.cli(f"database put charging {key} v1|dial=BUSY") for key in few))
    assert len(await engine.control.black_box()) == 80
    await engine.control.delete_records(keys)
    await _until_deleted(lab)


async def test_the_longest_order_to_delete_that_is_made_is_taken(lab: Lab, engine: Engine) -> None:
    keys = ["s-1", *(f"{number}".rjust(200, "k") for number in range(4)), "k" * 92]
    assert [len(pack) for pack in packed(keys)] == [FORGET_CHARACTERS_MAX]
    await lab.switch.cli("database put charging s-1 v1|dial=BUSY")
    await engine.control.delete_records(keys)
    await _until_deleted(lab)


async def test_a_record_without_a_key_is_deleted_and_the_others_stay(lab: Lab, engine: Engine) -> None:
    """As a dialplan before wrote it for a leg whose session had been taken off."""
    await lab.switch.cli("database put charging s-1 v2|dial=BUSY")
    await lab.switch.cli('database put charging "" v2|dial=ANSWER')
    assert set(await lab.switch.black_box()) == {"", "s-1"}
    for _ in range(2):  # the first look asks by how keys end, as there may be many
        assert list(await engine.control.black_box()) == ["s-1"]
    await engine.control.delete_unnamed()
    async with asyncio.timeout(30):
        while set(await lab.switch.black_box()) != {"s-1"}:  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.02)
    await engine.control.delete_records(["s-1"])
    await _until_deleted(lab)


async def _until_deleted(lab: Lab) -> None:
    async with asyncio.timeout(30):
        while await lab.switch.black_box():  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.02)
    await _until_gone(lab)


@pytest.mark.parametrize(
    ("target", "status"),
    [(mobile.busy(), "BUSY"), (mobile.declines(), "CHANUNAVAIL"), (mobile.does_not_exist(), "CHANUNAVAIL")],
)
async def test_a_forward_that_fails_is_asked_about_again(lab: Lab, engine: Engine, target: str, status: str) -> None:
    engine.answer = Answer("forward", "credit", SESSION, 30, target, 20)
    call = await lab.place_call(NUMBER)
    await call.wait_end()
    assert engine.unanswered_calls == [(SESSION, status)]
    assert not call.was_answered


async def test_a_whispered_prompt_is_heard_by_the_mobile_only(lab: Lab, engine: Engine, tone_prompt: str) -> None:
    call = await engine.bridged(lab, mobile.answers())
    outcome = await engine.control.play_prompt(SESSION, 1, engine.callee_uid(), tone_prompt)
    assert outcome is PromptOutcome.WHISPERED
    await eventually(lambda: engine.of(PromptStopped))
    await call.hang_up()
    await call.wait_end()
    caller, callee = Sound.read(call.caller_heard), Sound.read(call.mobile_heard)
    assert callee.tone_db(PROMPT_TONE_HZ) > -30
    assert caller.tone_db(PROMPT_TONE_HZ) < -50
    assert {bridge.technology for bridge in engine.of(BridgeEntered)} == {"simple_bridge"}


async def test_the_same_prompt_ordered_again_is_not_played_twice(lab: Lab, engine: Engine, tone_prompt: str) -> None:
    await engine.bridged(lab, mobile.answers())
    for _ in range(2):
        outcome = await engine.control.play_prompt(SESSION, 1, engine.callee_uid(), tone_prompt)
        assert outcome is PromptOutcome.WHISPERED
    await eventually(lambda: engine.of(PromptStopped))
    assert len(engine.of(PromptStopped)) == 1


async def test_the_features_prompt_is_heard_by_the_mobile_only(lab: Lab, tone_prompt: str) -> None:
    async with at_work(lab, Engine(), prompts=PromptSettings(whisper=False)) as engine:
        await eventually(lambda: engine.link.is_up)
        call = await engine.bridged(lab, mobile.answers())
        outcome = await engine.control.play_prompt(SESSION, 1, engine.callee_uid(), tone_prompt)
        assert outcome is PromptOutcome.FEATURE
        deadline = engine.clock.now().plus(5)
        await set_deadline(engine, engine.callee_uid(), deadline)
        await call.wait_end()
    assert Sound.read(call.mobile_heard).tone_db(PROMPT_TONE_HZ) > -30
    assert Sound.read(call.caller_heard).tone_db(PROMPT_TONE_HZ) < -50
    assert Sound.read(call.caller_heard).tone_db(MOBILE_TONE_HZ) > -30
    assert Sound.read(call.mobile_heard).tone_db(CALLER_TONE_HZ) > -30


async def test_a_caller_who_is_gone_before_the_answer_is_given_back(lab: Lab, engine: Engine) -> None:
    gate, asked = asyncio.Event(), asyncio.Event()

    async def decide(request: IncomingCall) -> Answer:
        asked.set()
        await gate.wait()
        return Answer("forward", "credit", SESSION, 30, mobile.answers(), 20)

    engine.incoming = decide  # type: ignore[method-assign]
    call = await lab.place_call(NUMBER)
    await asyncio.wait_for(asked.wait(), 30)
    await call.hang_up()
    await call.wait_end()
    await _until_gone(lab)
    gate.set()
    await eventually(lambda: engine.abandoned_sessions == [SESSION])


async def _until_gone(lab: Lab) -> None:
    async with asyncio.timeout(30):
        while await lab.switch.channels():  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.02)


async def test_a_wrong_secret_is_said(lab: Lab) -> None:
    async with at_work(lab, Engine(), secret="wrong") as engine:
        await eventually(lambda: engine.link.state is LinkState.WRONG_SECRET)


async def test_a_restart_of_asterisk_is_noticed(lab: Lab, engine: Engine) -> None:
    await lab.switch.stop()
    await eventually(lambda: not engine.link.is_up)
    await lab.switch.start()
    await _eventually_slow(lambda: engine.restarts == [False, True])


async def test_a_frozen_asterisk_is_noticed_within_the_ping_and_its_deadline(lab: Lab, engine: Engine) -> None:
    proven = engine.link.proven_mono_us
    await eventually(lambda: engine.link.proven_mono_us != proven)
    lab.switch.freeze()
    try:
        await _eventually_slow(lambda: LinkState.LOST in engine.states)
    finally:
        lab.switch.thaw()
    await _eventually_slow(lambda: engine.link.is_up)
    assert engine.restarts == [False, False]


async def _eventually_slow(condition: Callable[[], object]) -> None:
    """For what takes Asterisk itself seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the condition may depend on anything
            await asyncio.sleep(0.02)
