"""Orders about one call, against a link that remembers them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from charging.asterisk import variables
from charging.asterisk.black_box import BlackBoxRecord
from charging.asterisk.control import (
    KEY_ENDS,
    MAX_DEADLINE_TRIES,
    REPEATED_MAX,
    CallControl,
    ChannelStatus,
    DeadlineOutcome,
    milliseconds_left,
)
from charging.asterisk.fax_line import AsteriskFaxLine, pages_confirmed
from charging.asterisk.link import AmiLink
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import Order, Reply
from charging.asterisk.switch import AsteriskSwitch
from charging.clock import Instant
from charging.errors import ActionRefused, ActionTimeout, LinkDown, SwitchError
from charging.tasks import Breath
from tests.fakes.clock import FakeClock
from tests.fakes.effort import turns_of
from tests.fakes.recording_link import UID, RecordingLink, gone, statuses
from tests.fakes.recordings import BRANCHES, ami_messages

CONFIG = Path(__file__).parents[3] / "config" / "asterisk"


async def set_deadline(control: CallControl, at: Instant) -> DeadlineOutcome | SwitchError:
    """Of one channel."""
    (outcome,) = await control.set_deadlines([(UID, at)])
    return outcome


@pytest.mark.parametrize(
    ("left_us", "sent"),
    [(1, "0.001"), (1000, "0.001"), (1001, "0.002"), (60_000_000, "60.000"), (60_000_001, "60.001")],
)
async def test_a_deadline_is_sent_as_what_is_left_rounded_up(
    control: CallControl, link: RecordingLink, clock: FakeClock, left_us: int, sent: str
) -> None:
    now = clock.now()
    at = Instant(now.mono_us + left_us, now.wall_us)  # the wall clock has no say
    assert await set_deadline(control, at) is DeadlineOutcome.SET
    assert link.orders == [("AbsoluteTimeout", {"Channel": UID, "Timeout": sent})]


@pytest.mark.parametrize("left_us", [0, -1, -5_000_000])
async def test_a_deadline_that_has_passed_hangs_up(
    control: CallControl, link: RecordingLink, clock: FakeClock, left_us: int
) -> None:
    now = clock.now()
    assert await set_deadline(control, Instant(now.mono_us + left_us, 0)) is DeadlineOutcome.HUNG_UP
    assert link.names() == ["Hangup"]


async def test_a_deadline_whose_answer_came_late_is_told_again_with_what_is_left_then(
    control: CallControl, link: RecordingLink, clock: FakeClock
) -> None:
    delays = [0.051, 0.050]
    link.meanwhile = lambda: clock._move_to(clock.now().plus(delays.pop(0)).mono_us)
    assert await set_deadline(control, clock.now().plus(10)) is DeadlineOutcome.SET
    assert [fields["Timeout"] for _, fields in link.orders] == ["10.000", "9.949"]


async def test_of_many_orders_that_are_late_as_many_as_a_call_has_are_told_again_at_a_time(
    control: CallControl, link: RecordingLink, clock: FakeClock
) -> None:
    """What makes all of them late is load; to repeat each would double it. However they are asked for together."""
    calls = [f"17000000.{number}" for number in range(5)]

    async def slowly(orders: Sequence[Order], **_: object) -> list[Reply | SwitchError]:
        await clock.sleep_until(clock.now().plus(1).mono_us)
        return await actions(orders)

    actions = link.actions
    link.actions = slowly  # type: ignore[method-assign]
    at = clock.now().plus(60)
    batches = [control.set_deadlines([(uid, at) for uid in some]) for some in (calls[:3], calls[3:])]
    tasks = [asyncio.create_task(batch) for batch in batches]
    await clock.advance(10)
    assert {outcome for task in tasks for outcome in await task} == {DeadlineOutcome.SET_LATE}
    assert len(link.orders) == len(calls) + REPEATED_MAX * (MAX_DEADLINE_TRIES - 1)
    link.actions = actions  # type: ignore[method-assign]
    assert await set_deadline(control, at) is DeadlineOutcome.SET


async def test_deadlines_of_many_calls_are_one_write_and_what_becomes_of_one_touches_no_other(
    control: CallControl, link: RecordingLink, clock: FakeClock
) -> None:
    link.refuse = {
        "AbsoluteTimeout gone": gone("AbsoluteTimeout"),
        "AbsoluteTimeout forbidden": ActionRefused("Permission denied"),
    }
    later = clock.now().plus(10)
    deadlines = [("first", later), ("gone", later), ("forbidden", later), ("over", clock.now()), ("last", later)]
    first, went, forbidden, over, last = await control.set_deadlines(deadlines)
    assert (first, went, over, last) == (
        DeadlineOutcome.SET,
        DeadlineOutcome.GONE,
        DeadlineOutcome.HUNG_UP,
        DeadlineOutcome.SET,
    )
    assert isinstance(forbidden, ActionRefused)
    assert [fields["Channel"] for _, fields in link.orders] == [uid for uid, _ in deadlines]


async def test_a_switch_that_always_answers_late_is_said_to(
    control: CallControl, link: RecordingLink, clock: FakeClock
) -> None:
    link.meanwhile = lambda: clock._move_to(clock.now().plus(1).mono_us)
    assert await set_deadline(control, clock.now().plus(10)) is DeadlineOutcome.SET_LATE
    assert [fields["Timeout"] for _, fields in link.orders] == ["10.000", "9.000", "8.000"]


async def test_a_deadline_for_a_channel_that_is_gone_is_no_error(
    control: CallControl, link: RecordingLink, clock: FakeClock
) -> None:
    link.refuse = {"AbsoluteTimeout": gone("AbsoluteTimeout"), "Hangup": gone("Hangup")}
    assert await set_deadline(control, clock.now().plus(10)) is DeadlineOutcome.GONE
    assert await set_deadline(control, clock.now()) is DeadlineOutcome.GONE
    assert await control.hang_up(UID) is False


@pytest.mark.parametrize("error", [LinkDown(), ActionTimeout(), ActionRefused("Permission denied")])
async def test_an_order_that_was_not_carried_out_is_told_so(
    control: CallControl, link: RecordingLink, clock: FakeClock, error: Exception
) -> None:
    link.refuse = {"AbsoluteTimeout": error, "Hangup": error}
    assert await set_deadline(control, clock.now().plus(10)) is error
    with pytest.raises(type(error)):
        await control.hang_up(UID)


async def test_a_channels_variable_is_asked_for_by_its_unique_id(control: CallControl, link: RecordingLink) -> None:
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", Variable="X", Value="decide"))
    assert await control.variable(UID, "X", 1.0) == "decide"
    assert link.orders == [("Getvar", {"Channel": UID, "Variable": "X"})]
    link.refuse = {"Getvar": gone("Getvar")}
    assert await control.variable(UID, "X", 1.0) is None
    link.refuse = {"Getvar": ActionTimeout()}
    with pytest.raises(ActionTimeout):
        await control.variable(UID, "X", 1.0)


async def test_hanging_up_names_its_cause(control: CallControl, link: RecordingLink) -> None:
    assert await control.hang_up(UID, 44) is True
    assert link.orders == [("Hangup", {"Channel": UID, "Cause": "44"})]


def test_milliseconds_left_round_up_on_both_sides_of_zero() -> None:
    def left(mono_us: int) -> int:
        return milliseconds_left(Instant(0, 0), Instant(mono_us, 0))

    assert [left(us) for us in (-1001, -1000, -999, 0, 1, 1000, 1001)] == [-1, -1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("branch", BRANCHES)
async def test_a_recorded_status_is_read(control: CallControl, link: RecordingLink, branch: str) -> None:
    messages = ami_messages("answered_caller_hangs_up", branch)
    entries = tuple(message for message in messages if message.event == "Status")
    link.replies["Status"] = Reply(AmiMessage.of(Response="Success"), entries)
    bridges = {message.get("BridgeUniqueid") for message in messages} - {""}
    both = sorted(await statuses(control), key=lambda one: one.channel)
    assert [(one.channel, one.session, one.leg, one.switch, one.state) for one in both] == [
        ("PJSIP/world-00000000", "s-rec-1", "caller", "", "Up"),
        ("PJSIP/world-00000001", "s-rec-1", "callee", "", "Up"),
    ]
    assert {one.bridge_id for one in both} == bridges
    caller, callee = both
    assert 35_000 < (caller.time_left_ms or 0) < 37_000, "ringing, the quota and five seconds, and one is over"
    assert 28_000 < (callee.time_left_ms or 0) < 29_500
    assert (caller.seconds_since_creation, callee.seconds_since_creation) == (1, 1)


async def test_channels_are_asked_alone_by_one_write_and_what_becomes_of_one_touches_no_other(
    control: CallControl, link: RecordingLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger can spoil the answer about his own channel, and about no other."""
    answered = AmiMessage.of(("Variable", "CHARGING_SESSION=s-1"), Event="Status", Uniqueid="1.1")
    spoilt = AmiMessage.of(("Variable", "CHARGING_SESSION=s-1"), Event="Status")
    replies: dict[str, Reply | SwitchError] = {
        "1.1": Reply(AmiMessage.of(), (answered,)),
        "1.2": ActionRefused("Status: No such channel"),
        "1.3": Reply(AmiMessage.of(), (), (spoilt,)),
        "1.4": ActionTimeout("Status: no answer within 3 s"),
        "1.5": Reply(AmiMessage.of(), (answered,)),
    }
    writes: list[Sequence[Order]] = []

    async def actions(orders: Sequence[Order], *, list_end: str | None = None) -> list[Reply | SwitchError]:
        assert list_end == "StatusComplete"
        writes.append(orders)
        return [replies[str(fields["Channel"])] for _, fields in orders]

    monkeypatch.setattr(link, "actions", actions)
    first, gone, foreign, silent, another = await control.statuses_of(list(replies))
    assert isinstance(first, ChannelStatus)
    assert (first.uid, first.session) == ("1.1", "s-1")
    assert gone is None
    assert isinstance(foreign, ActionRefused)
    assert isinstance(silent, ActionTimeout)
    assert another is None, "the answer is about another channel"
    assert len(writes) == 1


async def test_a_channel_without_session_or_deadline_reads_as_such(control: CallControl, link: RecordingLink) -> None:
    unset = [("Variable", f"{name}=(null)") for name in ("CHARGING_SESSION", "CHARGING_LEG")]
    entry = AmiMessage.of(*unset, ("Variable", "TIMEOUT(absolute)=0"), Event="Status", Uniqueid="9.9")
    link.replies["Status"] = Reply(AmiMessage.of(), (entry,))
    assert await statuses(control) == [ChannelStatus("9.9", "", "", "", "", "", "", None, 0)]


async def test_the_black_box_is_read_by_key_and_unreadable_records_stay_behind(
    control: CallControl, link: RecordingLink
) -> None:
    good = AmiMessage.of(Event="DBGetTreeResponse", Key="/charging/s-1", Val="v1|dial=BUSY")
    bad = AmiMessage.of(Event="DBGetTreeResponse", Key="/charging/s-2", Val="v9|dial=BUSY")
    link.replies["DBGetTree"] = Reply(AmiMessage.of(), (good, bad))
    records = await control.black_box()
    assert {key: record and record.dial_status for key, record in records.items()} == {"s-1": "BUSY"}


async def test_of_booked_records_it_is_only_seen_that_they_are_there(control: CallControl, link: RecordingLink) -> None:
    """After a minute of short calls they are nearly all, and to take one apart costs as much as half a tick."""
    entries = [AmiMessage.of(Event="DBGetTreeResponse", Key=f"/charging/s-{n}", Val="v1|dial=BUSY") for n in (1, 2)]
    link.replies["DBGetTree"] = Reply(AmiMessage.of(), tuple(entries))
    records = await control.black_box({"s-2"})
    assert {key: record and record.dial_status for key, record in records.items()} == {"s-1": "BUSY", "s-2": None}


async def test_many_records_are_read_in_turns_with_the_calls(control: CallControl, link: RecordingLink) -> None:
    """As many as a stranger likes to leave there: each takes a tenth of a millisecond."""
    keys = [f"nosession-{number}.1" for number in range(1_000)]
    entries = [AmiMessage.of(Event="DBGetTreeResponse", Key=f"/charging/{key}", Val="v2|dial=BUSY") for key in keys]
    link.replies["DBGetTree"] = Reply(AmiMessage.of(), tuple(entries))
    reading = asyncio.create_task(control.black_box())
    assert await turns_of(reading) >= 1_000 // Breath.TURNS
    assert list(await reading) == keys


async def test_many_records_are_asked_for_in_parts_and_few_at_once(control: CallControl, link: RecordingLink) -> None:
    """While Asterisk tells a list, no other order is answered, and no dialplan reads its database."""
    keys = [f"nosession-{number}.1" for number in range(2_000)]

    def tell(count: int) -> None:
        entries = [
            AmiMessage.of(Event="DBGetTreeResponse", Key=f"/charging/{k}", Val="v2|dial=BUSY") for k in keys[:count]
        ]
        link.replies["DBGetTree"] = Reply(AmiMessage.of(), tuple(entries))

    async def parts(count: int) -> list[str]:
        tell(count)
        link.orders.clear()
        assert len(await control.black_box()) == count
        return [str(fields.get("Key", "")) for _, fields in link.orders]

    every = [f"%{sign}" for sign in KEY_ENDS]
    assert await parts(2_000) == every, "nobody knows yet"
    assert await parts(1_000) == every, "there were many"
    assert await parts(1_001) == [""], "there were few"
    assert await parts(3) == every
    assert await parts(0) == [""]


async def test_of_a_switch_that_knows_no_patterns_all_are_asked_for(control: CallControl, link: RecordingLink) -> None:
    entry = AmiMessage.of(Event="DBGetTreeResponse", Key="/charging/s-1", Val="v2|dial=BUSY")
    whole = Reply(AmiMessage.of(), (entry,))

    def answer() -> None:
        literally = "Key" in link.orders[-1][1]
        link.replies["DBGetTree"] = Reply(AmiMessage.of()) if literally else whole

    link.meanwhile = answer
    assert list(await control.black_box()) == ["s-1"]


@pytest.mark.parametrize("key", ["s-1,x", "s-1:s-2", "a/b", "${SHELL(id)}", "s 1", "k" * 201])
async def test_a_record_whose_key_the_dialplan_can_not_have_written_is_left_alone_and_said_once(
    control: CallControl, link: RecordingLink, key: str
) -> None:
    odd = AmiMessage.of(Event="DBGetTreeResponse", Key=f"/charging/{key}", Val="v1|dial=BUSY")
    link.replies["DBGetTree"] = Reply(AmiMessage.of(), (odd,))
    with capture_logs() as logs:
        assert await control.black_box() == await control.black_box() == {}
    assert [line["event"] for line in logs] == ["black_box_record_unreadable"]


@pytest.mark.parametrize("may_delete", [True, False])
async def test_a_record_without_a_key_is_said_and_deleted_once(
    control: CallControl, link: RecordingLink, may_delete: bool
) -> None:
    """It is no call's that can be named; a login without `originate` deletes no record."""
    _shows_unnamed(link, "1.000")
    if not may_delete:
        link.refuse["Originate"] = ActionRefused("Originate: Permission denied")
    with capture_logs() as logs:
        for _ in range(2):
            assert list(await control.black_box()) == ["s-1"]
            await control.delete_unnamed()
    assert [(line["event"], line["found"]) for line in logs] == [("black_box_record_without_key", _unnamed("1.000"))]
    assert "charging account correct" in logs[0]["advice"]
    (ordered,) = [fields for name, fields in link.orders if name == "Originate"]
    assert ordered["Variable"][0] == "__CHARGING_FORGET=:"


async def test_who_only_reads_the_black_box_deletes_nothing(control: CallControl, link: RecordingLink) -> None:
    """`charging check --live` reads it too, and logs nothing: what the record held would be known to nobody."""
    _shows_unnamed(link, "1.000")
    await control.black_box()
    assert set(link.names()) == {"DBGetTree"}


async def test_the_daemon_has_it_deleted(control: CallControl, link: RecordingLink, clock: FakeClock) -> None:
    _shows_unnamed(link, "1.000")
    await AsteriskSwitch(cast(AmiLink, link), control, clock, "/prompts").black_boxes()
    assert link.names().count("Originate") == 1


async def test_another_record_without_a_key_is_said_and_deleted_too(control: CallControl, link: RecordingLink) -> None:
    with capture_logs() as logs:
        for answered in ("1.000", "2.000"):
            _shows_unnamed(link, answered)
            await control.black_box()
            await control.delete_unnamed()
    assert [line["found"] for line in logs] == [_unnamed("1.000"), _unnamed("2.000")]
    assert link.names().count("Originate") == 2


async def test_a_record_without_a_key_is_ordered_deleted_until_the_order_is_answered(
    control: CallControl, link: RecordingLink
) -> None:
    _shows_unnamed(link, "1.000")
    await control.black_box()
    link.refuse["Originate"] = ActionTimeout("Originate: no answer")
    with pytest.raises(ActionTimeout):
        await control.delete_unnamed()
    del link.refuse["Originate"]
    for _ in range(2):
        await control.delete_unnamed()
    assert link.names().count("Originate") == 2


def _unnamed(answered: str) -> str:
    return f"v2|dial=ANSWER|answered={answered}|ended=5.000"


def _shows_unnamed(link: RecordingLink, answered: str) -> None:
    odd = AmiMessage.of(Event="DBGetTreeResponse", Key="/charging/", Val=_unnamed(answered))
    whole = AmiMessage.of(Event="DBGetTreeResponse", Key="/charging/s-1", Val="v2|dial=BUSY")
    link.replies["DBGetTree"] = Reply(AmiMessage.of(), (odd, whole))


@pytest.mark.parametrize("branch", BRANCHES)
async def test_one_recorded_black_box_record_is_read(control: CallControl, link: RecordingLink, branch: str) -> None:
    entry = next(each for each in ami_messages("busy", branch) if each.event == "DBGetResponse")
    link.replies["DBGet"] = Reply(AmiMessage.of(), (entry,))
    (record,) = await control.records_of(["s-rec-1"])
    assert isinstance(record, BlackBoxRecord)
    assert (record.key, record.dial_status) == ("s-rec-1", "BUSY")


async def test_a_record_that_is_not_there_is_none_and_a_refusal_is_not(
    control: CallControl, link: RecordingLink
) -> None:
    link.refuse["DBGet"] = ActionRefused("DBGet: Database entry not found")
    assert await control.records_of(["s-1"]) == [None]
    link.refuse["DBGet"] = ActionRefused("DBGet: Permission denied")
    (refused,) = await control.records_of(["s-1"])
    assert isinstance(refused, ActionRefused)


@pytest.mark.parametrize("branch", BRANCHES)
async def test_recorded_rights_lack_nothing_and_fewer_are_named(
    control: CallControl, link: RecordingLink, branch: str
) -> None:
    recorded = next(each for each in ami_messages("answers", branch) if "WaitEvent" in each)
    link.replies["ListCommands"] = Reply(recorded)
    missing = await control.permissions()
    assert (missing.needed, missing.optional) == ((), ())
    fewer = tuple((name, value) for name, value in recorded if name not in ("Hangup", "Originate"))
    link.replies["ListCommands"] = Reply(AmiMessage(fewer))
    missing = await control.permissions()
    assert (missing.needed, missing.optional) == (("Hangup (call)",), ("Originate (originate)",))


async def test_records_are_deleted_by_the_dialplan_which_is_told_their_keys(
    control: CallControl, link: RecordingLink
) -> None:
    await control.delete_records(["s-1", "nosession-1795305157.1"])
    ((name, fields),) = link.orders
    assert name == "Originate"
    assert (fields["Channel"], fields["Async"]) == ("Local/s@charging-maintenance/n", "true")
    assert fields["Variable"] == ["__CHARGING_FORGET=s-1:nosession-1795305157.1", "CDR_PROP(disable)=1"]


async def test_more_records_than_one_line_holds_are_told_in_several_orders(
    control: CallControl, link: RecordingLink
) -> None:
    keys = [f"19a0b1c2d3e-{number:012x}" for number in range(100)]
    await control.delete_records(keys)
    told = [fields["Variable"][0].partition("=")[2].split(":") for _, fields in link.orders]
    assert [len(each) for each in told] == [36, 36, 28]
    assert [key for each in told for key in each] == keys


async def test_no_record_to_delete_is_no_order(control: CallControl, link: RecordingLink) -> None:
    await control.delete_records([])
    assert link.orders == []


async def test_a_key_that_could_mean_more_than_a_record_is_never_told(
    control: CallControl, link: RecordingLink
) -> None:
    with pytest.raises(ValueError, match="not a black-box key"):
        await control.delete_records(["s-1", "x)},SHELL(id)"])
    assert link.orders == []


async def test_an_order_to_delete_that_is_refused_says_so(control: CallControl, link: RecordingLink) -> None:
    link.refuse = {"Originate": ActionRefused("Originate: Permission denied")}
    with pytest.raises(ActionRefused):
        await control.delete_records(["s-1"])


def test_the_shipped_feature_is_the_one_that_is_dialled() -> None:
    text = (CONFIG / "features_charging.conf").read_text()
    assert f"chgkeep => {variables.PROMPT_FEATURE_DIGITS},self,Gosub(charging-warn,s,1)" in text


@pytest.mark.parametrize(
    "name",
    [
        "SESSION",
        "DECISION",
        "REASON",
        "QUOTA",
        "TARGET",
        "RING_S",
        "LANGUAGE",
        "MAILBOX",
        "LEG",
        "PROMPT",
        "SPYEE",
        "SWITCH",
        "FORGET",
    ],
)
def test_the_shipped_dialplan_knows_every_variable(name: str) -> None:
    text = (CONFIG / "extensions_charging.conf").read_text()
    assert getattr(variables, name) in text


@pytest.mark.parametrize("route", ["INCOMING", "UNANSWERED"])
def test_the_shipped_dialplan_asks_every_route(route: str) -> None:
    text = (CONFIG / "extensions_charging.conf").read_text()
    assert f"AGI(agi://${{CHARGING_ASKED}}/{getattr(variables, f'ROUTE_{route}')}" in text


@pytest.mark.parametrize(
    ("context", "extension"),
    [
        ("charging-whisper", "spy"),
        (variables.PROMPT_CONTEXT, "s"),
        (variables.MAINTENANCE_CONTEXT, "s"),
        (variables.MAINTENANCE_CONTEXT, variables.MAINTENANCE_IDLE_EXTENSION),
    ],
)
def test_the_shipped_dialplan_has_every_extension_that_is_originated(context: str, extension: str) -> None:
    text = (CONFIG / "extensions_charging.conf").read_text()
    section = text.partition(f"[{context}]\n")[2].partition("\n[")[0]
    assert f"exten => {extension},1," in section


@pytest.mark.parametrize(("channels", "pages"), [(["PJSIP/a-1"], 2), (["PJSIP/b-2"], None), ([], None)])
async def test_pages_are_those_of_the_fax_that_one_of_the_channels_sends(
    link: RecordingLink, channels: list[str], pages: int | None
) -> None:
    entry = AmiMessage.of(Event="FAXSessionsEntry", Channel="PJSIP/a-1", SessionNumber="7")
    link.replies["FAXSessions"] = Reply(AmiMessage.of(Response="Success"), (entry,))
    link.replies["FAXSession"] = Reply(AmiMessage.of(), end=AmiMessage.of(Event="FAXSession", PagesTransmitted="2"))
    assert await pages_confirmed(link, channels) == pages
    assert [fields.get("SessionNumber") for _, fields in link.orders[1:]] == ["7"] * (pages is not None)


@pytest.mark.parametrize(("counted", "sends"), [("0", False), ("1", True), ("2", True), ("", False), (None, False)])
async def test_a_fax_is_on_the_line_while_the_switch_counts_a_leg_of_it(
    link: RecordingLink, counted: str | None, sends: bool
) -> None:
    """By one question that names no channel. A switch that cannot count has no answer (check --live tells)."""
    said = {} if counted is None else {"Value": counted}
    link.replies["Getvar"] = Reply(AmiMessage.of(Response="Success", **said))
    assert await AsteriskFaxLine(cast(AmiLink, link)).is_sending("act-0a") is sends
    assert link.orders == [("Getvar", {"Variable": "GROUP_COUNT(act-0a@charging-fax)"})]


async def test_pages_of_a_channel_that_the_switch_did_not_answer_for_are_not_known(
    link: RecordingLink, control: CallControl, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That none sends a fax would have a cancelled one hung up within its page."""

    async def actions(orders: Sequence[Order], *, list_end: str | None = None) -> list[Reply | SwitchError]:
        return [ActionTimeout("Status: no answer within 3 s") for _ in orders]

    monkeypatch.setattr(link, "actions", actions)
    with pytest.raises(ActionTimeout):
        await AsteriskSwitch(cast(AmiLink, link), control, clock, "/prompts").fax_pages(["1.1"])
