"""Orders and events over the link, against a manager interface over real sockets; the numbers are hazards of
ASTERISK.md §8."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from charging.asterisk.connection import READ_BYTES
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkState, Order, Reply
from charging.clock import SystemClock
from charging.errors import ActionRefused, ActionTimeout, LinkDown, LocalProtocolError
from tests.fakes.ami import COMMANDS, DEADLINE_S, FakeAmi, block, eventually, listing, refusal, status_entry, success
from tests.fakes.link import Owner, running
from tests.integration.smtp_server import Certificate


@pytest.fixture
def written(link: AmiLink, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to the switch, write by write."""
    assert link._connection is not None
    transport, calls = link._connection._manager.protocol.transport, list[bytes]()
    write = transport.write

    def noting(data: bytes) -> None:
        calls.append(data)
        write(data)

    monkeypatch.setattr(transport, "write", noting)
    return calls


async def test_an_action_is_answered(ami: FakeAmi, link: AmiLink) -> None:
    reply = await link.action("CoreStatus")
    assert reply.headers.get("corestartuptime") == "12:00:00"


async def test_what_is_ordered_at_once_is_written_at_once(ami: FakeAmi, link: AmiLink, written: list[bytes]) -> None:
    await asyncio.gather(*(link.action("CoreStatus") for _ in range(20)))
    (once,) = (data for data in written if b"Action: CoreStatus" in data)
    assert once.count(b"Action: CoreStatus\r\n") == 20


async def test_an_order_that_cannot_be_encoded_fails_alone(ami: FakeAmi, link: AmiLink) -> None:
    """A surrogate may come from a stranger's display name that was not UTF-8."""
    orders = [link.action("CoreStatus"), link.action("CoreStatus", {"Name": "\udc80"}), link.action("CoreStatus")]
    async with asyncio.timeout(60):
        first, bad, last = await asyncio.gather(*orders, return_exceptions=True)
    assert isinstance(bad, LocalProtocolError)
    assert [one.headers.get("corestartuptime") for one in (first, last)] == ["12:00:00"] * 2  # type: ignore[union-attr]


async def test_several_orders_are_one_write_and_what_becomes_of_one_touches_no_other(
    ami: FakeAmi, link: AmiLink, written: list[bytes]
) -> None:
    orders: list[Order] = [("CoreStatus", {}), ("Nonsense", {}), ("CoreStatus", {"Name": "\udc80"}), ("CoreStatus", {})]
    good, refused, unsent, last = await link.actions(orders, timeout_s=60)
    assert isinstance(good, Reply)
    assert good.headers.get("corestartuptime") == "12:00:00"
    assert isinstance(last, Reply)
    assert [type(one) for one in (refused, unsent)] == [ActionRefused, ActionRefused]
    (once,) = (data for data in written if b"Action: CoreStatus" in data)
    assert b"Action: Nonsense" in once
    assert link._connection is not None
    await eventually(lambda: link._connection is not None and link._connection.outstanding == 0)
    assert await link.actions([]) == []


async def test_of_several_orders_those_without_an_answer_in_time_are_told_so_and_leave_nothing_behind(
    ami: FakeAmi, link: AmiLink
) -> None:
    ami.mute.add("Setvar")
    assert [type(one) for one in await link.actions([("Setvar", {})] * 3, timeout_s=0.001)] == [ActionTimeout] * 3
    await eventually(lambda: link._connection is not None and link._connection.outstanding == 0)


async def test_orders_that_are_under_way_when_the_link_is_lost_are_told_so(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("Setvar")
    under_way = asyncio.create_task(link.actions([("Setvar", {}), ("Setvar", {})], timeout_s=60))
    await eventually(lambda: len(ami.actions("Setvar")) == 2)
    assert link._connection is not None
    link._connection.abort()
    assert [type(answer) for answer in await under_way] == [LinkDown, LinkDown]


async def test_no_two_actions_have_the_same_id(ami: FakeAmi, link: AmiLink, written: list[bytes]) -> None:
    await asyncio.gather(*(link.action("CoreStatus") for _ in range(600)))
    ids = re.findall(rb"ActionID: (\w+)", b"".join(written))
    assert len(set(ids)) == len(ids) >= 600
    assert {len(one) for one in ids} == {32}, "each of 128 bits"


async def test_an_error_raises_with_the_switchs_words(ami: FakeAmi, link: AmiLink) -> None:
    with pytest.raises(ActionRefused, match="Permission denied"):
        await link.action("Command", {"Command": "core stop now"})


async def test_a_list_returns_its_entries_and_not_its_end(ami: FakeAmi, link: AmiLink) -> None:
    entries = [status_entry(str(number)) for number in range(3)]
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", entries)
    reply = await link.action("Status", list_end="StatusComplete")
    assert [event.get("Uniqueid") for event in reply.events] == ["0", "1", "2"]


async def test_a_list_is_heard_as_it_comes_and_leaves_no_messages(ami: FakeAmi, link: AmiLink) -> None:
    """Of tens of thousands of channels the messages would take more memory than all calls."""
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [status_entry(str(n)) for n in range(3)])
    heard: list[str] = []
    reply = await link.action("Status", list_end="StatusComplete", each=lambda one: heard.append(one.get("Uniqueid")))
    assert heard == ["0", "1", "2"]
    assert reply.events == ()


def logins(ami: FakeAmi) -> list[str]:
    return [one.get("Events") for one in ami.actions("Login")]


async def test_a_list_goes_over_a_connection_of_its_own_and_holds_up_no_order(ami: FakeAmi, link: AmiLink) -> None:
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [status_entry("1")])
    for _ in range(2):
        await link.action("Status", list_end="StatusComplete", each=lambda _entry: None)
    assert logins(ami) == ["on", "off"], "it stays open for the next list"


async def test_a_list_that_is_not_answered_in_time_has_its_connection_opened_anew(ami: FakeAmi, link: AmiLink) -> None:
    ami.mute.add("Status")
    for _ in range(2):
        with pytest.raises(ActionTimeout):
            await link.action("Status", timeout_s=0.05, list_end="StatusComplete", each=lambda _entry: None)
    assert logins(ami) == ["on", "off", "off"]
    assert link.is_up


async def test_a_switch_that_refuses_a_second_login_gives_its_lists_over_the_first(ami: FakeAmi, link: AmiLink) -> None:
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [status_entry("1")])
    ami.answers["Login"] = lambda message: [refusal(message, "Authentication failed")]
    heard: list[str] = []
    await link.action("Status", list_end="StatusComplete", each=lambda one: heard.append(one.get("Uniqueid")))
    assert heard == ["1"]
    assert link.is_up


async def test_what_a_party_keeps_the_switch_from_answering_holds_up_no_order(ami: FakeAmi, link: AmiLink) -> None:
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [status_entry("1")])
    ami.delay_s["Getvar"] = 60
    for _ in range(2):
        with pytest.raises(ActionTimeout):
            await link.action("Getvar", timeout_s=0.05, aside=True)
        await link.action("CoreStatus")
        await link.action("Status", list_end="StatusComplete", each=lambda _entry: None)
        await link.prove()
    assert logins(ami) == ["on", "off", "off", "off"], "the list's own, and one for each that was not answered"
    assert link.is_up


async def test_what_may_keep_the_switch_waiting_is_not_asked_where_a_second_login_is_refused(
    ami: FakeAmi, link: AmiLink
) -> None:
    ami.answers["Login"] = lambda message: [refusal(message, "Authentication failed")]
    with pytest.raises(LinkDown):
        await link.action("Getvar", aside=True)
    assert ami.actions("Getvar") == []
    assert link.is_up


async def test_a_list_of_which_an_entry_could_not_be_read_is_no_answer(ami: FakeAmi, link: AmiLink) -> None:
    ami.answers["Status"] = lambda message: listing(message, "StatusComplete", [status_entry(str(n)) for n in range(3)])

    def heard(entry: AmiMessage) -> None:
        assert entry.get("Uniqueid") != "1", "a fault of ours"

    with pytest.raises(ActionRefused, match="2 entries came of a list of 3"):
        await link.action("Status", list_end="StatusComplete", each=heard)


async def test_hazard_12_a_list_that_is_refused_raises(ami: FakeAmi, owner: Owner) -> None:
    ami.commands = tuple(name for name in COMMANDS if name != "Originate")
    async with running(ami, owner) as link:
        await eventually(lambda: link.is_up)
        with pytest.raises(ActionRefused):
            await link.action("Originate", list_end="StatusComplete")


@pytest.fixture(params=["plain", "tls"])
async def any_ami(request: pytest.FixtureRequest, tmp_path: Path, owner: Owner) -> AsyncIterator[FakeAmi]:
    """One that a link has reached, by TLS or without."""
    certificate = Certificate.made(tmp_path) if request.param == "tls" else None
    by_tls = {"tls": ssl.create_default_context(cafile=str(certificate.cert))} if certificate else {}
    server = FakeAmi(tls=certificate.context() if certificate else None)
    async with server, running(server, owner, **by_tls) as link:
        await eventually(lambda: link.is_up, "the link is up")
        yield server


async def test_between_two_turns_of_a_long_list_calls_are_decided(any_ami: FakeAmi, owner: Owner) -> None:
    """A stranger chooses how long some lists are."""
    one = block(("Event", "Strange"), ("Privilege", "x" * 200))
    count = 16 * READ_BYTES // len(one)
    read: list[int] = []
    async with asyncio.timeout(60):
        while len(owner.names()) < count:
            if not read:
                any_ami.send(one * count)
            read.append(len(owner.names()))
            await asyncio.sleep(0)
    at_once = max(later - earlier for earlier, later in pairwise([*read, count]))
    assert at_once <= 2 * (READ_BYTES // len(one) + 1), "what ends one turn and begins the next may come between two"


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


def originate_response(action_id: str) -> bytes:
    return block(
        ("Event", "OriginateResponse"),
        ("Privilege", "call,all"),
        ("ActionID", action_id),
        ("Response", "Failure"),
        ("Channel", "Local/spy@charging-whisper/n"),
        ("Reason", "0"),
        ("Uniqueid", "<unknown>"),
        ("CallerIDNum", "<unknown>"),
    )


async def test_hazard_8_an_originate_response_without_its_order_is_an_event(
    ami: FakeAmi, link: AmiLink, owner: Owner
) -> None:
    ami.send(originate_response("never-sent"))
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


async def test_hazard_16_an_order_before_the_first_connection_is_refused(ami: FakeAmi) -> None:
    link = AmiLink(ami.settings(), SystemClock())
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


async def test_hazard_18_text_survives_in_both_directions(ami: FakeAmi, owner: Owner) -> None:
    async with running(ami, owner, ping_interval_s=3600) as link:  # no answer to it in the middle of an event
        await eventually(lambda: link.is_up)
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
        return [success(message) + originate_response(message.get("ActionID"))]

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


async def test_a_message_without_end_is_cut_off(ami: FakeAmi, owner: Owner) -> None:
    """By its length: it also swallows the answer to each ping, which has no deadline here that could come first."""
    async with running(ami, owner, pong_deadline_s=10 * DEADLINE_S) as link:
        await eventually(lambda: link.is_up)
        ami.send(b"Event: Endless\r\n" + b"X: y\r\n" * 200_000)
        await eventually(lambda: owner.reached(LinkState.LOST))
        assert (LinkState.LOST, "the connection ended") in owner.states
        await eventually(lambda: link.is_up)


@pytest.mark.parametrize("size", [1 << 20, 1])
async def test_a_stranger_in_a_list_neither_closes_it_nor_hides_others(
    ami: FakeAmi, link: AmiLink, owner: Owner, size: int
) -> None:
    entries = [
        status_entry("1.1", "CHARGING_SESSION=s-1"),
        status_entry("6.6", "CHARGING_SESSION=", CallerIDNum="x\r\n\r\nEvent: StatusComplete\r\nListItems: 1\r\nX: "),
        status_entry("1.2", "CHARGING_SESSION=s-2"),
        status_entry("1.3", "CHARGING_SESSION=s-3", CallerIDName="x\r\nBridgeID: y"),
    ]

    def answer(message: AmiMessage) -> Iterator[bytes]:
        data = b"".join(listing(message, "StatusComplete", entries))
        return (data[start : start + size] for start in range(0, len(data), size))

    ami.answers["Status"] = answer
    reply = await link.action("Status", list_end="StatusComplete")
    assert [entry.get("Uniqueid") for entry in reply.events] == ["1.1", "1.2"]
    assert len(reply.suspects) == 2
    assert owner.names() == [], "the pieces are not events either"
    assert owner.suspects == 3


async def test_a_list_with_entries_missing_is_no_answer(ami: FakeAmi, link: AmiLink) -> None:
    def answer(message: AmiMessage) -> list[bytes]:
        first, *_, last = listing(message, "StatusComplete", [status_entry("1.1"), status_entry("1.2")])
        return [first, last]

    ami.answers["Status"] = answer
    with pytest.raises(ActionRefused, match="0 entries came of a list of 2"):
        await link.action("Status", list_end="StatusComplete")


async def test_a_response_by_a_stranger_answers_nothing(ami: FakeAmi, link: AmiLink, owner: Owner) -> None:
    ami.mute.add("AbsoluteTimeout")
    order = asyncio.create_task(link.action("AbsoluteTimeout", {"Channel": "1.2", "Timeout": "60"}))
    await eventually(lambda: ami.actions("AbsoluteTimeout"))
    ami.send(block(("Response", "Success"), ("ActionID", "action/1")))
    ami.send(block(("Response", "Success"), ("X", ""), ("ActionID", ami.actions("AbsoluteTimeout")[0].get("ActionID"))))
    ami.event("Next")
    await eventually(lambda: owner.names() == ["Next"])
    assert not order.done()
    order.cancel()
    await asyncio.gather(order, return_exceptions=True)


async def test_no_two_orders_have_ids_that_tell_of_one_another(ami: FakeAmi, link: AmiLink) -> None:
    await link.action("CoreStatus")
    ids = [message.get("ActionID") for message in ami.received]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)
