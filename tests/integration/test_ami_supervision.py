"""How the link comes up, stays up and comes back; the numbers are hazards of ASTERISK.md §8."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from charging.asterisk import connection
from charging.asterisk import link as link_module
from charging.asterisk.connection import PATIENCE, Connection, _Outstanding
from charging.asterisk.far_end import FarEnd
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkSettings, LinkState
from charging.clock import SystemClock
from charging.errors import ActionTimeout, LinkDown
from tests.fakes.ami import BANNER, COMMANDS, FakeAmi, block, eventually, refusal, success
from tests.fakes.clock import FakeClock
from tests.fakes.link import Owner, running


async def test_hazard_7_it_comes_up_without_the_right_that_shows_fully_booted(ami: FakeAmi, owner: Owner) -> None:
    ami.answers["Login"] = lambda message: [success(message)]
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)


async def test_hazard_11_a_half_open_link_is_dropped_and_made_anew(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, pong_deadline_s=0.3) as link:
        await eventually(lambda: link.is_up)
        ami.mute.add("Ping")
        await eventually(lambda: owner.reached(LinkState.LOST))
        assert "half-open" in next(detail for state, detail in owner.states if state is LinkState.LOST)
        ami.mute.clear()
        await eventually(lambda: link.is_up and len(owner.ups) >= 2)


@pytest.mark.parametrize(
    ("speaks", "deadlines"),
    [([], 1), ([True], 2), ([True, True], 3), ([True, False, True], 2), ([True] * 9, PATIENCE + 1)],
    ids=["silent", "speaks once", "speaks on", "falls silent", "speaks for ever"],
)
async def test_hazard_11_a_switch_that_speaks_is_not_half_open_though_its_pong_comes_late(
    ami: FakeAmi, monkeypatch: pytest.MonkeyPatch, speaks: list[bool], deadlines: int
) -> None:
    """A list of very many channels stands before the pong: the link must not be dropped for it, and all asked anew."""
    busy = Connection(ami.settings(), lambda _message: None, lambda _message, _why: None)
    later: list[Callable[[], object]] = []

    def call_later(_seconds: float, work: Callable[..., object], *arguments: object) -> None:
        later.append(lambda: work(*arguments))

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    waiting = _Outstanding("Ping", None, asyncio.get_running_loop().create_future())
    heard = iter(speaks)
    later.append(lambda: busy._late(waiting, 3.0, PATIENCE, 0))
    for passed in later:  # which grows
        busy._heard += next(heard, False)
        passed()
    assert isinstance(waiting.future.exception(), ActionTimeout)
    assert len(later) == deadlines


async def test_the_link_lives_on_while_a_pong_waits_behind_what_the_switch_says(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, pong_deadline_s=0.2) as link:
        await eventually(lambda: link.is_up)
        ami.mute.add("Ping")
        until = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < until and link.is_up:
            ami.send(block(("Event", "Talk")))
            await asyncio.sleep(0)
        assert link.is_up
        assert not owner.reached(LinkState.LOST)


async def test_hazard_14_a_wrong_secret_is_said_and_tried_again(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, secret="wrong") as link:
        await eventually(lambda: ami.connections_made >= 3)
        assert link.state is LinkState.WRONG_SECRET
        assert owner.states[1:] == [(LinkState.WRONG_SECRET, "user 'charging': Login: Authentication failed")]
        ami.secret = "wrong"
        await eventually(lambda: link.is_up)


async def test_password_is_told_to_nobody_who_listens_at_the_switchs_port(owner: Owner) -> None:
    """While Asterisk is restarted any user of its machine can. What he hears is good for his own challenge alone."""
    heard, password = bytearray(), "a-password-of-a-switch"

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        while raw := await reader.read(4096):
            heard.extend(raw)
            for one in re.findall(rb"ActionID: (\w+)", raw):
                writer.write(b"Response: Success\r\nActionID: " + one + b"\r\nChallenge: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(listens, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = LinkSettings("127.0.0.1", port, "charging", password)
    link = AmiLink(settings, SystemClock())
    task = asyncio.create_task(link.run(owner.on_event, owner.on_up))
    try:
        await eventually(lambda: b"Login" in heard)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
    assert password.encode() not in heard
    assert b"AuthType: MD5" in heard


async def test_nobody_logs_in_at_another_users_program(
    ami: FakeAmi, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He could hand the login on to the true switch, and give orders in it."""
    uid = 4711
    monkeypatch.setattr(link_module, "FarEnd", lambda: FarEnd(lambda _ours, _theirs: uid))
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        logins = len(ami.actions("Login"))
        uid = 65_534
        ami.drop()
        await eventually(lambda: owner.reached(LinkState.PLAYED))
        assert len(ami.actions("Login")) == logins
        assert any("nobody" in detail for state, detail in owner.states if state is LinkState.PLAYED)
        uid = 4711
        await eventually(lambda: link.is_up)


def shutting_down(message: AmiMessage) -> list[bytes]:
    return [refusal(message, "Asterisk is shutting down")]


async def test_connection_is_kept_for_its_events_while_asterisk_shuts_down_gracefully(
    ami: FakeAmi, owner: Owner
) -> None:
    async with running(ami, owner, ping_interval_s=0.05) as link:
        await eventually(lambda: link.is_up)
        before = ami.connections_made
        ami.answers["Ping"] = shutting_down
        await eventually(lambda: link.state is LinkState.SHUTTING_DOWN)
        proven = link.proven_mono_us
        owner.events.clear()
        pings = len(ami.actions("Ping"))
        await eventually(lambda: len(ami.actions("Ping")) >= pings + 2)
        ami.event("FullyBooted", Privilege="system,all", Status="Fully Booted")
        await eventually(lambda: "FullyBooted" in [event.event for event in owner.events])
        assert (ami.connections_made, link.proven_mono_us) == (before, proven), "a refusal proves nothing"

        del ami.answers["Ping"]  # core abort shutdown
        await eventually(lambda: link.is_up and len(owner.ups) == 2)
    assert not owner.reached(LinkState.WRONG_SECRET)


async def test_login_at_an_asterisk_that_shuts_down_is_no_wrong_secret(ami: FakeAmi, owner: Owner) -> None:
    ami.answers["Login"] = shutting_down
    async with running(ami, owner) as link:
        await eventually(lambda: ami.connections_made >= 2)
        assert link.state is LinkState.SHUTTING_DOWN
        del ami.answers["Login"]
        await eventually(lambda: link.is_up)
    assert not owner.reached(LinkState.WRONG_SECRET)


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


async def test_a_handler_that_raises_on_a_held_event_loses_nothing_else(ami: FakeAmi, owner: Owner) -> None:
    async def reconcile() -> None:
        ami.send(b"".join(block(("Event", name)) for name in ("First", "Second", "Third")))
        await asyncio.wait_for(ami_answered.wait(), 60)

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
    link = AmiLink(ami.settings(), clock)
    task = asyncio.create_task(link.run(owner.on_event, owner.on_up))
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
    link = AmiLink(
        ami.settings(retry_min_s=1.0, retry_max_s=8.0),
        FakeClock(),
        jitter=lambda: 0.0,
    )
    assert [link._pause_s(attempt) for attempt in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_it_comes_back_after_every_drop(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    for _ in range(5):
        ups = len(owner.ups)
        ami.drop()
        await eventually(lambda ups=ups: link.is_up and len(owner.ups) > ups)  # type: ignore[misc]
    assert (await link.action("CoreStatus")).headers.get("CoreStartupTime") == "12:00:00"


@pytest.mark.parametrize("turns", range(8))
async def test_it_stops_when_told_so_in_the_moment_in_which_the_connection_is_lost(
    ami: FakeAmi, owner: Owner, turns: int
) -> None:
    link = AmiLink(ami.settings(), SystemClock(), on_state=owner.on_state)
    run = asyncio.create_task(link.run(owner.on_event, owner.on_up))
    await eventually(lambda: link.is_up)
    assert link._connection is not None
    link._connection.abort()
    for _ in range(turns):  # the loss makes its way through the loop; an order at any turn of it must be obeyed
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait({run}, timeout=200)
    assert run.cancelled()


async def test_a_busy_link_is_not_taken_for_half_open(
    ami: FakeAmi, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All places are taken by our own orders; the Ping that proves the link is sent all the same."""
    async with running(ami, owner, ping_interval_s=0.01) as link:
        await eventually(lambda: link.is_up)
        ami.mute.add("Setvar")
        orders = [asyncio.create_task(link.action("Setvar", timeout_s=60.0)) for _ in range(3)]
        await eventually(lambda: len(ami.actions("Setvar")) == 3)
        monkeypatch.setattr(connection, "MAX_OUTSTANDING_ACTIONS", 3)
        with pytest.raises(ActionTimeout):
            await link.action("Hangup", {"Channel": "x"})
        before = len(ami.actions("Ping"))
        await eventually(lambda: len(ami.actions("Ping")) >= before + 3 or not link.is_up)
        assert link.is_up
        assert not owner.reached(LinkState.LOST)
        for order in orders:
            order.cancel()
        await asyncio.gather(*orders, return_exceptions=True)
