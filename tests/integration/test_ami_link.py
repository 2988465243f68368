"""The link against a manager interface over real sockets; the numbers are hazards of ASTERISK.md §8."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkState
from charging.clock import SystemClock
from charging.errors import ActionRefused, ActionTimeout, LinkDown, LocalProtocolError
from tests.fakes.ami import COMMANDS, FakeAmi, block, eventually, listing, success
from tests.fakes.clock import FakeClock


@dataclass
class Owner:
    """Whoever owns the link: remembers what it was told."""

    events: list[AmiMessage] = field(default_factory=list)
    states: list[tuple[LinkState, str]] = field(default_factory=list)
    ups: list[bool] = field(default_factory=list)
    reconcile: Callable[[], Awaitable[None]] | None = None
    fail_on: str = ""

    def on_event(self, event: AmiMessage) -> None:
        if self.fail_on and event.event == self.fail_on:
            raise ValueError("a handler that fails")
        self.events.append(event)

    def on_state(self, state: LinkState, detail: str) -> None:
        self.states.append((state, detail))

    async def on_up(self, restarted: bool) -> None:
        self.ups.append(restarted)
        if self.reconcile is not None:
            await self.reconcile()

    def names(self) -> list[str]:
        return [event.event for event in self.events if event.event != "FullyBooted"]

    def reached(self, state: LinkState) -> bool:
        return any(state is seen for seen, _ in self.states)


@asynccontextmanager
async def running(ami: FakeAmi, owner: Owner, **settings: object) -> AsyncIterator[AmiLink]:
    """A link that runs for the length of the block."""
    link = AmiLink(
        ami.settings(**settings),
        SystemClock(),
        on_event=owner.on_event,
        on_up=owner.on_up,
        on_state=owner.on_state,
    )
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as server:
        yield server


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def link(ami: FakeAmi, owner: Owner) -> AsyncIterator[AmiLink]:
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up, "the link is up")
        yield link


async def test_an_action_is_answered(ami: FakeAmi, link: AmiLink) -> None:
    reply = await link.action("CoreStatus")
    assert reply.headers.get("corestartuptime") == "12:00:00"


async def test_an_error_raises_with_the_switchs_words(ami: FakeAmi, link: AmiLink) -> None:
    with pytest.raises(ActionRefused, match="Permission denied"):
        await link.action("Command", {"Command": "core stop now"})


async def test_a_list_returns_its_entries_and_not_its_end(ami: FakeAmi, link: AmiLink) -> None:
    entries = [(("Event", "Status"), ("Uniqueid", str(number))) for number in range(3)]
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", entries)
    reply = await link.action("Status", list_end="StatusComplete")
    assert [event.get("Uniqueid") for event in reply.events] == ["0", "1", "2"]


async def test_hazard_12_a_list_that_is_refused_raises(ami: FakeAmi, owner: Owner) -> None:
    ami.commands = tuple(name for name in COMMANDS if name != "Originate")
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        with pytest.raises(ActionRefused):
            await link.action("Originate", list_end="StatusComplete")


async def test_an_empty_list_is_a_list(ami: FakeAmi, link: AmiLink) -> None:
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [])
    assert (await link.action("Status", list_end="StatusComplete")).events == ()


async def test_hazard_6_what_was_not_answered_is_not_sent_again(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("AbsoluteTimeout")
    order = asyncio.create_task(link.action("AbsoluteTimeout", {"Channel": "1.2", "Timeout": "60"}))
    await eventually(lambda: ami.actions("AbsoluteTimeout"))
    ami.drop()
    with pytest.raises(LinkDown):
        await order
    ami.mute.clear()
    await eventually(lambda: ami.connections_made == 2 and link.is_up)
    await link.action("CoreStatus")  # and whatever panoramisk would have sent has come before it
    assert len(ami.actions("AbsoluteTimeout")) == 1


async def test_hazard_6_nothing_is_queued_while_down(ami: FakeAmi, link: AmiLink) -> None:
    await ami.stop()
    await eventually(lambda: not link.is_up)
    with pytest.raises(LinkDown):
        await link.action("Hangup", {"Channel": "1.2"})
    await ami.listen()
    await eventually(lambda: link.is_up)
    await link.action("CoreStatus")
    assert ami.actions("Hangup") == []


async def test_hazard_7_it_comes_up_without_the_right_that_shows_fully_booted(ami: FakeAmi, owner: Owner) -> None:
    ami.answers["Login"] = lambda message: [success(message)]
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)


async def test_hazard_8_an_originate_response_without_its_order_is_an_event(
    ami: FakeAmi, link: AmiLink, owner: Owner
) -> None:
    ami.event("OriginateResponse", ActionID="never-sent", Response="Failure")
    ami.event("Next")
    await eventually(lambda: owner.names() == ["OriginateResponse", "Next"])


async def test_hazard_9_a_handler_that_raises_loses_nothing_else(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    owner.fail_on = "Third"
    ami.send(b"".join(block(("Event", name)) for name in ("First", "Second", "Third", "Fourth", "Fifth")))
    await eventually(lambda: owner.names() == ["First", "Second", "Fourth", "Fifth"])
    assert link.is_up
    assert ami.connections_made == 1


async def test_hazard_10_events_of_one_segment_keep_their_order(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    names = [f"Event{number}" for number in range(500)]
    ami.send(b"".join(block(("Event", name)) for name in names))
    await eventually(lambda: len(owner.names()) == len(names))
    assert owner.names() == names


async def test_hazard_11_a_half_open_link_is_dropped_and_made_anew(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, pong_deadline_s=0.3) as link:
        await eventually(lambda: link.is_up)
        ami.mute.add("Ping")
        await eventually(lambda: owner.reached(LinkState.LOST))
        assert "half-open" in next(detail for state, detail in owner.states if state is LinkState.LOST)
        ami.mute.clear()
        await eventually(lambda: link.is_up and len(owner.ups) >= 2)


async def test_hazard_13_an_action_that_timed_out_leaves_nothing_behind(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("Setvar")
    for _ in range(20):
        with pytest.raises(ActionTimeout):
            await link.action("Setvar", timeout_s=0.001)
    assert link._connection is not None
    await eventually(lambda: link._connection is not None and link._connection.outstanding == 0)


async def test_hazard_13_a_late_answer_is_nobodys(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    ami.delay_s["Setvar"] = 0.05
    with pytest.raises(ActionTimeout):
        await link.action("Setvar", timeout_s=0.001)
    assert (await link.action("CoreStatus")).headers.get("CoreStartupTime") == "12:00:00"
    assert owner.names() == []


async def test_a_cancelled_action_leaves_nothing_behind(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("Setvar")
    order = asyncio.create_task(link.action("Setvar"))
    await eventually(lambda: ami.actions("Setvar"))
    order.cancel()
    await asyncio.gather(order, return_exceptions=True)
    await eventually(lambda: link._connection is not None and link._connection.outstanding == 0)


async def test_hazard_14_a_wrong_secret_is_said_and_tried_again(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, secret="wrong") as link:
        await eventually(lambda: ami.connections_made >= 3)
        assert link.state is LinkState.WRONG_SECRET
        assert owner.states[1:] == [(LinkState.WRONG_SECRET, "user 'charging': Login: Authentication failed")]
        ami.secret = "wrong"
        await eventually(lambda: link.is_up)


async def test_hazard_14_a_port_that_says_nothing_is_given_up(ami: FakeAmi, owner: Owner) -> None:
    ami.silent_before_login = True
    async with running(ami, owner, login_timeout_s=0.1) as link:
        await eventually(lambda: ami.connections_made >= 2)
        assert link.state is LinkState.UNREACHABLE


async def test_a_switch_that_is_not_there_is_said_once_and_found_later(ami: FakeAmi, owner: Owner) -> None:
    await ami.stop()
    async with running(ami, owner) as link:
        await eventually(lambda: link.state is LinkState.UNREACHABLE)
        await ami.listen()
        await eventually(lambda: link.is_up)
    unreachable = [detail for state, detail in owner.states if state is LinkState.UNREACHABLE]
    assert len(unreachable) == 1
    assert str(ami.port) in unreachable[0]


async def test_a_missing_right_is_named(ami: FakeAmi, owner: Owner) -> None:
    ami.commands = tuple(name for name in COMMANDS if name not in ("Status", "AbsoluteTimeout"))
    async with running(ami, owner) as link:
        await eventually(lambda: link.state is LinkState.FORBIDDEN)
        assert owner.states[-1] == (
            LinkState.FORBIDDEN,
            "not allowed: AbsoluteTimeout (call), Status (call)",
        )
        assert owner.ups == []
        ami.commands = COMMANDS
        await eventually(lambda: link.is_up)


async def test_hazard_15_a_stopped_link_does_not_come_back(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        ami.drop()
        await eventually(lambda: not link.is_up)
    made = ami.connections_made
    assert link.state is LinkState.STOPPED
    async with running(ami, Owner()) as other:  # long enough for a reconnect that was pending
        await eventually(lambda: other.is_up)
    assert ami.connections_made <= made + 1


async def test_hazard_16_an_order_before_the_first_connection_is_refused(ami: FakeAmi) -> None:
    owner = Owner()
    link = AmiLink(ami.settings(), SystemClock(), on_event=owner.on_event, on_up=owner.on_up)
    with pytest.raises(LinkDown):
        await link.action("Ping")


@pytest.mark.parametrize("value", ["1\r\nAction: Hangup", "a\nb", "a\0b"])
async def test_hazard_17_a_line_break_in_a_value_is_not_sent(ami: FakeAmi, link: AmiLink, value: str) -> None:
    with pytest.raises(LocalProtocolError):
        await link.action("Setvar", {"Variable": "X", "Value": value})
    assert ami.actions("Setvar") == []


async def test_a_pattern_as_channel_is_not_sent(ami: FakeAmi, link: AmiLink) -> None:
    with pytest.raises(LocalProtocolError):
        await link.action("Hangup", {"Channel": "/.*/"})
    assert ami.actions("Hangup") == []


async def test_hazard_18_text_survives_in_both_directions(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    await link.action("Setvar", {"Variable": ["X=Ångström", "Y=€"], "Value": "Zoë €"})
    assert ami.actions("Setvar")[0].get("Value") == "Zoë €"
    assert ami.actions("Setvar")[0].all("Variable") == ("X=Ångström", "Y=€")
    for byte in block(("Event", "Name"), ("CallerIDName", "Ångström €")):
        ami.send(bytes([byte]))
        await asyncio.sleep(0)
    await eventually(lambda: owner.names() == ["Name"])
    assert owner.events[-1].get("CallerIDName") == "Ångström €"


async def test_bytes_that_are_no_utf8_harm_nobody(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    ami.send(b"Event: Bad\r\nCallerIDName: \xff\xfe\xc3\r\n\r\n" + block(("Event", "Good")))
    await eventually(lambda: owner.names() == ["Bad", "Good"])


async def test_hazard_19_repeated_and_single_and_empty_headers_are_read_alike(
    ami: FakeAmi, link: AmiLink, owner: Owner
) -> None:
    ami.event("Two", ("ChanVariable", "A=1"), ("ChanVariable", "B=2"))
    ami.event("One", ("ChanVariable", "A=1"))
    ami.event("None", ("ChanVariable", ""))
    await eventually(lambda: len(owner.names()) == 3)
    two, one, none = owner.events[-3:]
    assert (two.channel_variable("A"), two.channel_variable("B")) == ("1", "2")
    assert (one.channel_variable("A"), one.channel_variable("B")) == ("1", "")
    assert none.channel_variable("A") == ""


async def test_hazard_20_an_event_with_an_answered_orders_id_is_delivered(
    ami: FakeAmi, link: AmiLink, owner: Owner
) -> None:
    def answer(message: AmiMessage) -> list[bytes]:
        identity = ("ActionID", message.get("ActionID"))
        return [success(message) + block(("Event", "OriginateResponse"), identity)]

    ami.answers["Originate"] = answer
    await link.action("Originate", {"Async": "true"})
    await eventually(lambda: owner.names() == ["OriginateResponse"])


async def test_two_orders_with_one_id_at_once_are_refused(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("Originate")
    order = asyncio.create_task(link.action("Originate", {"ActionID": "same"}))
    await eventually(lambda: ami.actions("Originate"))
    with pytest.raises(LocalProtocolError):
        await link.action("Originate", {"ActionID": "same"})
    order.cancel()
    await asyncio.gather(order, return_exceptions=True)


async def test_a_message_without_end_is_cut_off(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    ami.send(b"Event: Endless\r\n" + b"X: y\r\n" * 200_000)
    await eventually(lambda: owner.reached(LinkState.LOST))
    assert (LinkState.LOST, "the connection ended") in owner.states  # not because of a ping that it swallowed
    await eventually(lambda: link.is_up)


async def test_a_handler_that_raises_on_a_held_event_loses_nothing_else(ami: FakeAmi, owner: Owner) -> None:
    async def reconcile() -> None:
        ami.send(b"".join(block(("Event", name)) for name in ("First", "Second", "Third")))
        await asyncio.wait_for(ami_answered.wait(), 5)

    ami_answered = asyncio.Event()
    owner.reconcile, owner.fail_on = reconcile, "Second"
    async with running(ami, owner) as link:
        await eventually(lambda: owner.ups)
        await link.action("CoreStatus")
        ami_answered.set()
        await eventually(lambda: link.is_up)
        assert owner.names() == ["First", "Third"]


async def test_events_wait_for_reconciliation_and_keep_their_order(ami: FakeAmi, owner: Owner) -> None:
    gate = asyncio.Event()
    owner.reconcile = gate.wait  # type: ignore[assignment]  # its value is not used
    async with running(ami, owner) as link:
        await eventually(lambda: link.state is LinkState.SYNCING)
        for number in range(5):
            ami.event(f"Held{number}")
        await link.action("CoreStatus")  # orders work meanwhile, and the events are here before the answer
        assert owner.events == []
        assert link.proven_mono_us is None
        gate.set()
        await eventually(lambda: link.is_up)
        assert owner.names() == [f"Held{number}" for number in range(5)]


async def test_held_events_are_delivered_when_the_link_is_lost(ami: FakeAmi, owner: Owner) -> None:
    gate = asyncio.Event()
    owner.reconcile = gate.wait  # type: ignore[assignment]  # its value is not used
    async with running(ami, owner) as link:
        await eventually(lambda: link.state is LinkState.SYNCING)
        ami.event("Held")
        await link.action("CoreStatus")
        owner.reconcile = None
        ami.drop()
        await eventually(lambda: link.is_up)
        assert owner.names() == ["Held"]


async def test_a_reconciliation_that_fails_is_done_again(ami: FakeAmi, owner: Owner) -> None:
    async def fail() -> None:
        owner.reconcile = None
        raise LinkDown

    owner.reconcile = fail
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        assert owner.ups == [False, False]


async def test_a_restart_of_the_switch_is_noticed(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        ami.drop()
        await eventually(lambda: len(owner.ups) == 2)
        await ami.stop()
        ami.started = "12:34:56"
        await ami.listen()
        await eventually(lambda: len(owner.ups) == 3)
        assert owner.ups == [False, False, True]
        assert link.switch_started == "2026-11-21 12:34:56"


async def test_what_is_proven_is_when_the_answered_ping_was_sent(ami: FakeAmi, owner: Owner) -> None:
    clock = FakeClock()
    link = AmiLink(ami.settings(), clock, on_event=owner.on_event, on_up=owner.on_up)
    task = asyncio.create_task(link.run())
    await eventually(lambda: link.is_up)
    before = clock.now().mono_us

    def answer_later(message: AmiMessage) -> list[bytes]:
        clock._move_to(clock.now().plus(0.5).mono_us)
        return [success(message, ("Ping", "Pong"))]

    ami.answers["Ping"] = answer_later
    proven = await link.prove()
    del ami.answers["Ping"]
    ami.mute.add("Ping")
    asked = asyncio.create_task(link.prove())
    await eventually(lambda: link._connection is not None and link._connection.outstanding > 0)
    proven_before_the_answer = link.proven_mono_us
    task.cancel()
    await asyncio.gather(task, asked, return_exceptions=True)
    assert proven == before == proven_before_the_answer


async def test_events_before_the_answer_to_a_ping_are_delivered_before_it_proves_anything(
    ami: FakeAmi, link: AmiLink, owner: Owner
) -> None:
    ami.answers["Ping"] = lambda message: [block(("Event", "Before")) + success(message, ("Ping", "Pong"))]
    seen = len(owner.names())
    await link.prove()
    assert len(owner.names()) > seen


async def test_pauses_grow_to_their_ceiling_and_start_over(ami: FakeAmi) -> None:
    owner = Owner()
    link = AmiLink(
        ami.settings(retry_min_s=1.0, retry_max_s=8.0),
        FakeClock(),
        on_event=owner.on_event,
        on_up=owner.on_up,
        jitter=lambda: 0.0,
    )
    assert [link._pause_s(attempt) for attempt in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_it_comes_back_after_every_drop(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    for _ in range(5):
        ups = len(owner.ups)
        ami.drop()
        await eventually(lambda ups=ups: link.is_up and len(owner.ups) > ups)  # type: ignore[misc]
    assert (await link.action("CoreStatus")).headers.get("CoreStartupTime") == "12:00:00"
