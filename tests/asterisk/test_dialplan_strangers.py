"""What a stranger writes into SIP is data: no digit of another number, no line of AMI, no line of AGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import Lab, mobile
from tests.asterisk.parties import NUMBER, NUMBER_WITHOUT_MAILBOX, decide, forward, operator_adds, operator_sets
from tests.asterisk.raw_call import RawCall, raw_call
from tests.asterisk.raw_sip import Asked, stranger
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.test_crowds import turned_away
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


PATIENTLY = "CHARGING_GUARD_S", "60"


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def patient(lab: Lab) -> AsyncIterator[None]:
    """On a busy machine a decision takes longer than the three seconds after which the fallback answers the stranger:
    the SIP answer that a test waits for would then never come."""
    async with operator_sets(lab, *PATIENTLY):
        yield


BREAK = "%0d%0a"


@pytest.mark.parametrize(
    "parameter", ["isub=1", "cic=1660", "tgrp=2;trunk-context=c.example", "npdi", "npdi;rn=+31600", "phone-context=+31"]
)
async def test_parameters_of_a_called_number_are_no_digits_of_it(lab: Lab, tmp_path: Path, parameter: str) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, f"{NUMBER};{parameter}") as call:
        await call.is_told(180)
    assert stub.requests[0].arguments[0] == NUMBER


async def test_no_word_of_a_called_number_stands_in_the_forwards_dial(lab: Lab) -> None:
    """A Local channel's name has all of it, and a bracket would end one of Dial's options and begin another: here the
    caller would go on in the operator's own context, and dial whom he likes."""
    way = f"_{NUMBER}!", "Dial(Local/${EXTEN}@charging-incoming/n)"
    user = f"{NUMBER};a))G(outbound%5e+447700900123%5e1"
    async with (
        operator_adds(lab, *way),
        serving(forward(mobile.never_answers()), lab.agi_port),
        raw_call(lab, user) as call,
    ):
        await call.is_answered("INVITE", 180)
        dialled = [one["ApplicationData"] for one in await lab.switch.channels() if one["Application"] == "Dial"]
    (ours,) = [one for one in dialled if "charging-predial" in one]
    assert "outbound" not in ours


@pytest.mark.parametrize("user", ["31850000001", "+31850000001", "0850000001;npdi"])
async def test_a_number_without_them_is_taken_as_it_is(lab: Lab, tmp_path: Path, user: str) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, user) as call:
        await call.is_told(180)
    assert stub.requests[0].arguments[0] == user.partition(";")[0]


@pytest.mark.parametrize(
    "user",
    [
        "c8oqz84zk7z",
        "0850000001x",
        "085o000001",
        "+3185000000a1",
        "0850000001*",
        "+;3185",
        f"{BREAK}0850000001",
        f"0850000001{BREAK}",
        f"0850000001{BREAK}{BREAK}Event%3a%20Shutdown",
        "0850000001%22",
        "0850000001)",
        # Behind the bracket that closes REGEX's, a colon begins an offset: 085… alone would be looked at.
        "0850000001)%3a0%3a1",
        "0850000001)%3a0%3a1%7cvm=SUCCESS",
        f"0850000001)%3a0%3a1{BREAK}Event%3a%20Shutdown",
        "0850000001,2",  # an operator's Goto with ${EXTEN} takes what follows a comma for a priority
        "0850000001,3",
        "receive",
    ],
)
async def test_what_is_no_number_is_not_found_and_nobody_is_asked(lab: Lab, tmp_path: Path, user: str) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, user) as call:
        await call.is_told(404)
    assert stub.requests == []


@pytest.mark.parametrize("behind", [",2", ",3", ",4", ",5", "+2"])
async def test_a_comma_in_a_number_makes_an_operators_goto_pass_no_wall(lab: Lab, behind: str) -> None:
    """``Goto(charging-incoming,${EXTEN},1)`` then enters behind the line that looks at the number: each line is safe to
    begin with."""
    stub = forward(mobile.never_answers())
    async with (
        operator_adds(lab, "_+3185XXXXXXX!", "Goto(charging-incoming,${EXTEN},1)"),
        serving(stub, lab.agi_port),
        raw_call(lab, f"{NUMBER}{behind}") as call,
    ):
        assert await call.is_answered("INVITE", 180, 404) == 404
    assert stub.requests == []


@pytest.mark.parametrize(("digits", "status"), [(32, 180), (33, 404)])
async def test_a_called_number_has_an_end(lab: Lab, digits: int, status: int) -> None:
    """The daemon takes no longer one: each such call would get the fallback, leave a record and warn an operator."""
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), raw_call(lab, "+31850".ljust(digits + 1, "7")) as call:
        assert await call.is_answered("INVITE", 180, 404) == status
    assert len(stub.requests) == (status == 180)


def number_of_caller(nth: int) -> str:
    return f"<sip:+3120123450{nth}@carrier.example>"


async def is_taken_by_voicemail(lab: Lab, caller: str) -> bool:
    """Whether who calls just now is let in; else he hears busy."""
    async with raw_call(lab, NUMBER, caller=caller) as another:
        return await another.is_answered("INVITE", 200, 486) == 200


@pytest.mark.parametrize(("a_mailbox", "taken"), [("1", 1), ("2", 2), ("", 3), ("many", 3)])
async def test_strangers_who_leave_messages_find_it_busy_when_there_are_too_many(
    lab: Lab, a_mailbox: str, taken: int
) -> None:
    """Paid messages have no share in the plan's calls at once: a caller with many lines would take all credit."""
    stub = StubAgi({"incoming": decide("voicemail")})
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_A_MAILBOX", a_mailbox),
        serving(stub, lab.agi_port),
        contextlib.AsyncExitStack() as strangers,
    ):
        for nth in range(taken):
            first = await strangers.enter_async_context(raw_call(lab, NUMBER, caller=number_of_caller(nth)))
            assert await first.is_answered("INVITE", 200, 486) == 200
        before = await turned_away(lab)
        assert not await is_taken_by_voicemail(lab, number_of_caller(8))
        assert await turned_away(lab) == before + Counter({"mailbox": 1})
        first.ask("BYE")
        await first.is_answered("BYE", 200)
        await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(9)), "room for the next caller")


@pytest.mark.parametrize(
    ("a_caller", "taken", "same", "other"),
    [
        ("", ["+31201234567"], "0201234567", "+31201234568"),
        ("many", ["+31201234567"], "+31201234567", "anonymous"),
        ("2", ["+31201234567", "0031201234567"], "0201234567", "+31201234568"),
        ("", ["anonymous"], "unknown", "+31201234567"),
    ],
)
async def test_one_caller_does_not_keep_all_others_from_a_mailbox(
    lab: Lab, a_caller: str, taken: list[str], same: str, other: str
) -> None:
    """However he writes his number. Who have none, or withhold it, are one caller together."""
    stub = StubAgi({"incoming": decide("voicemail")})
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_A_CALLER", a_caller),
        serving(stub, lab.agi_port),
        contextlib.AsyncExitStack() as strangers,
    ):
        for user in taken:
            one = await strangers.enter_async_context(raw_call(lab, NUMBER, caller=f"<sip:{user}@carrier.example>"))
            assert await one.is_answered("INVITE", 200, 486) == 200
        before = await turned_away(lab)
        assert not await is_taken_by_voicemail(lab, f"<sip:{same}@carrier.example>")
        assert await turned_away(lab) == before + Counter({"mailbox_caller": 1})
        assert await is_taken_by_voicemail(lab, f"<sip:{other}@carrier.example>")


@contextlib.contextmanager
def new_messages(lab: Lab, count: int) -> Iterator[None]:
    """So many are in the mailbox, whatever tests before have left there."""
    inbox = lab.switch.folder / "spool/voicemail/charging" / NUMBER[1:] / "INBOX"
    inbox.mkdir(parents=True, exist_ok=True)
    for left in inbox.iterdir():
        left.unlink()
    files = [inbox / f"msg{nth:04d}.{kind}" for nth in range(count) for kind in ("txt", "wav")]
    for file in files:
        file.touch()
    try:
        yield
    finally:
        for file in files:
            file.unlink()


@pytest.mark.parametrize("is_daemon_there", [True, False])
@pytest.mark.parametrize(("there", "speaks", "taken"), [(1, 0, True), (2, 0, False), (0, 1, True), (1, 1, False)])
async def test_r13_nobody_is_answered_to_hear_that_a_mailbox_is_full(
    lab: Lab, there: int, speaks: int, *, taken: bool, is_daemon_there: bool
) -> None:
    """One caller fills it in minutes. What others leave just now is counted, too."""
    async with contextlib.AsyncExitStack() as callers:
        if is_daemon_there:
            await callers.enter_async_context(serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port))
        await callers.enter_async_context(operator_sets(lab, "CHARGING_VOICEMAIL_MESSAGES", "2"))
        callers.enter_context(new_messages(lab, there))
        for nth in range(speaks):
            first = await callers.enter_async_context(raw_call(lab, NUMBER, caller=number_of_caller(nth)))
            assert await first.is_answered("INVITE", 200, 486) == 200
        before = await turned_away(lab)
        assert await is_taken_by_voicemail(lab, number_of_caller(8)) is taken
        assert await turned_away(lab) == before + Counter({"mailbox_full": not taken})


async def test_that_a_mailbox_was_full_is_noted_for_who_asks_later(lab: Lab) -> None:
    async def is_noted() -> bool:  # one a second of a kind is
        assert not await is_taken_by_voicemail(lab, number_of_caller(1))
        noted = (await lab.switch.black_box()).values()
        return any(f"|number={NUMBER}|" in one and "|phase=turned|why=mailbox_full|" in one for one in noted)

    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_MESSAGES", "1"),
        serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
    ):
        with new_messages(lab, 1):
            await eventually(is_noted, "a note")


async def test_whoever_is_put_in_the_place_of_a_caller_at_voicemail_keeps_that_place(lab: Lab) -> None:
    """What Asterisk counts of a channel leaves with the caller, who could leave any number of messages at a time."""
    stub = StubAgi({"incoming": decide("voicemail")})
    await lab.switch.cli("module load res_pjsip_refer.so")
    try:
        async with (
            operator_sets(lab, "CHARGING_VOICEMAIL_A_MAILBOX", "1"),
            serving(stub, lab.agi_port),
            raw_call(lab, NUMBER, caller=number_of_caller(1)) as first,
        ):
            await first.is_answered("INVITE", 200)
            async with raw_call(lab, NUMBER, first.replaces, "Require: replaces", caller=number_of_caller(2)) as second:
                await second.is_answered("INVITE", 200)
                await eventually(lambda: _hung_up(first), "the first call to be over")
                before = await turned_away(lab)
                assert not await is_taken_by_voicemail(lab, number_of_caller(8))
                assert await turned_away(lab) == before + Counter({"mailbox": 1})
                second.ask("BYE")
                await second.is_answered("BYE", 200)
                await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(9)), "room for the next caller")
    finally:
        await lab.reset()
        await lab.switch.cli("module unload res_pjsip_refer.so")


async def test_strangers_who_call_a_mailbox_in_the_same_instant_find_room_for_one(lab: Lab) -> None:
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_A_MAILBOX", "1"),
        serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
        contextlib.AsyncExitStack() as strangers,
    ):
        calls = [raw_call(lab, NUMBER, caller=number_of_caller(nth)) for nth in range(6)]
        there = await asyncio.gather(*(strangers.enter_async_context(one) for one in calls))
        said = await asyncio.gather(*(one.is_answered("INVITE", 200, 486) for one in there))
    assert sorted(said) == [200, 486, 486, 486, 486, 486]


async def test_a_caller_waits_for_another_who_is_just_being_given_a_place(lab: Lab) -> None:
    """Both would be given the same one. If that goes on, he finds it busy."""
    looks = "looks", f"Set(GROUP(charging-taking)={NUMBER[1:]})", "Wait(60)"

    async def is_looking() -> bool:
        return "charging-taking" in await lab.switch.cli("group show channels")

    async with (
        operator_adds(lab, *looks),
        serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
        raw_call(lab, "looks"),
    ):
        await eventually(is_looking, "the other to look")
        assert not await is_taken_by_voicemail(lab, number_of_caller(1))
        await lab.switch.cli("channel request hangup all")
        await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(2)), "his turn")


async def test_a_caller_who_hangs_up_as_he_is_given_a_place_keeps_none(lab: Lab) -> None:
    """Three who did kept a mailbox from all for five minutes."""
    place = f"CHARGING_PLACE_{NUMBER[1:]}-1"
    noted = f"Set(CHARGING_PLACE={NUMBER[1:]}-1)", f"Set(GLOBAL({place})=9999999999.x)"
    await lab.switch.cli("dialplan add extension noted,1,Wait,60 into charging-take")

    async def is_noted() -> bool:
        return f"{place}=9999999999.x" in await lab.switch.cli("dialplan show globals")

    async def is_free() -> bool:
        return not await is_noted()

    async with operator_adds(lab, "noted", *noted, "Gosub(charging-take,noted,1)"), raw_call(lab, "noted"):
        await eventually(is_noted, "the place to be noted")
        await lab.switch.cli("channel request hangup all")
        await eventually(is_free, "the place to be given back", 10)
        await lab.switch.cli("dialplan remove extension noted@charging-take")


async def _sent_on(lab: Lab, caller: str, context: str, extension: str) -> None:
    """From voicemail, as by a key (operator, exitcontext)."""
    others = await lab.switch.channels()  # those of tests before may go later
    (channel,) = [one["Channel"] for one in others if f":{one['CallerIDNum']}@" in caller]
    there = {"Context": context, "Exten": extension, "Priority": "1"}
    await lab.switch.action("Redirect", {"Channel": channel, **there})


@contextlib.asynccontextmanager
async def _one_at_voicemail(lab: Lab, caller: str) -> AsyncIterator[RawCall]:
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_A_MAILBOX", "1"),
        serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
        raw_call(lab, NUMBER, caller=caller) as call,
    ):
        await call.is_answered("INVITE", 200)
        assert not await is_taken_by_voicemail(lab, number_of_caller(8))
        yield call


async def test_who_leaves_voicemail_for_another_extension_gives_his_place_back(lab: Lab) -> None:
    """Three who did kept a mailbox from all for five minutes."""
    async with _one_at_voicemail(lab, number_of_caller(1)) as first:
        await _sent_on(lab, number_of_caller(1), "charging-elsewhere", "leg")
        await eventually(lambda: _hung_up(first), "the first call to be over")
        await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(9)), "room for the next caller")


async def test_who_talks_on_to_the_operator_keeps_a_mailbox_no_longer_than_a_message_takes(lab: Lab) -> None:
    """By what Asterisk counts of a channel, he kept it for as long as he talked."""
    talks = "charging-rehearsal", "caller"
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_S", "15"),
        _one_at_voicemail(lab, number_of_caller(1)) as first,
    ):
        await _sent_on(lab, number_of_caller(1), *talks)
        await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(9)), "room for the next caller", 60)
        assert not await _hung_up(first)


async def test_who_comes_from_voicemail_to_another_number_gives_his_place_back_at_once(lab: Lab) -> None:
    async with _one_at_voicemail(lab, number_of_caller(1)) as first:
        await _sent_on(lab, number_of_caller(1), "charging-incoming", NUMBER_WITHOUT_MAILBOX)
        await eventually(lambda: is_taken_by_voicemail(lab, number_of_caller(9)), "room for the next caller", 15)
        assert not await _hung_up(first)


@pytest.mark.parametrize(
    ("setting", "most", "same", "why"),
    [
        ("CHARGING_VAIN_A_CALLER", "1", True, "vain_caller"),
        ("CHARGING_VAIN_A_NUMBER", "1", False, "vain_number"),
        ("CHARGING_VAIN_AT_ONCE", "1", False, "vain"),
    ],
)
async def test_who_rings_in_vain_holds_no_more_lines_than_he_may(
    lab: Lab, setting: str, most: str, same: bool, why: str
) -> None:
    """Nobody pays for them, and a trunk has few."""
    stub = StubAgi({"incoming": decide("reject", "no_credit")})
    async with (
        operator_sets(lab, setting, most),
        serving(stub, lab.agi_port),
        raw_call(lab, NUMBER, caller=number_of_caller(1)) as first,
    ):
        assert await first.is_answered("INVITE", 180, 486) == 180
        before = await turned_away(lab)
        async with raw_call(lab, NUMBER, caller=number_of_caller(1 if same else 2)) as second:
            assert await second.is_answered("INVITE", 180, 486) == 486
        assert await turned_away(lab) == before + Counter({why: 1})
        if same:
            async with raw_call(lab, NUMBER, caller=number_of_caller(3)) as other:
                assert await other.is_answered("INVITE", 180, 486) == 180


async def test_callers_with_whom_the_switch_has_died_keep_no_place_at_a_mailbox(lab: Lab) -> None:
    async with (
        serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port),
        contextlib.AsyncExitStack() as strangers,
    ):
        for nth in range(3):
            one = await strangers.enter_async_context(raw_call(lab, NUMBER, caller=number_of_caller(nth)))
            assert await one.is_answered("INVITE", 200, 486) == 200
        assert not await is_taken_by_voicemail(lab, number_of_caller(8))
        await lab.switch.kill()
        await lab.switch.start()
        assert await is_taken_by_voicemail(lab, number_of_caller(9))


async def _hung_up(call: RawCall) -> bool:
    return "BYE" in call.asked


@pytest.mark.parametrize(("longest", "deadline_s"), [("", 300), ("long", 300), ("45", 45)])
async def test_a_caller_who_says_nothing_to_voicemail_has_an_end(lab: Lab, longest: str, deadline_s: int) -> None:
    stub = StubAgi({"incoming": decide("voicemail")})
    async with (
        operator_sets(lab, "CHARGING_VOICEMAIL_S", longest),
        serving(stub, lab.agi_port),
        raw_call(lab, NUMBER) as call,
    ):
        await call.is_answered("INVITE", 200)
        left = int((await channel_says(lab, "TIMEOUT(absolute)"))["Value"].partition(".")[0])
    assert deadline_s - 30 <= left <= deadline_s


NO_DISK_IS_SO_LARGE = "999999999"


async def _looks_anew(lab: Lab, what: str) -> None:
    """The switch forgets what it saw of a disk less than ten seconds ago."""
    await lab.switch.action("Setvar", {"Variable": f"CHARGING_LOOKED_{what}", "Value": "0"})


@pytest.mark.parametrize("is_daemon_there", [True, False])
async def test_while_the_disk_is_nearly_full_no_message_is_taken_whoever_decides(
    lab: Lab, is_daemon_there: bool
) -> None:
    """The switch looks itself: it needs no daemon, and none on the same machine."""
    stub = StubAgi({"incoming": decide("voicemail")})
    async with contextlib.AsyncExitStack() as there:
        if is_daemon_there:
            await there.enter_async_context(serving(stub, lab.agi_port))
        await _looks_anew(lab, "messages")
        assert await is_taken_by_voicemail(lab, number_of_caller(1))
        async with (
            operator_sets(lab, "CHARGING_ROOM_MB", NO_DISK_IS_SO_LARGE),
            raw_call(lab, NUMBER, caller=number_of_caller(2)) as call,
        ):
            assert await call.is_answered("INVITE", 180, 200) == 180
            call.ask("CANCEL", number=1)
            await eventually(lambda: _is_noted(lab), "a record that there was no room")
        async with operator_sets(lab, "CHARGING_VOICEMAIL_DIR", "/nobody/knows"):
            await _looks_anew(lab, "messages")
            async with operator_sets(lab, "CHARGING_ROOM_MB", NO_DISK_IS_SO_LARGE):
                assert await is_taken_by_voicemail(lab, number_of_caller(3))
        await _looks_anew(lab, "messages")


async def _is_noted(lab: Lab) -> bool:
    return any("|vm=NOROOM|" in record for record in (await lab.switch.black_box()).values())


async def test_a_message_is_taken_where_nobody_can_note_its_place(lab: Lab) -> None:
    """A subscriber's callers are let in: the groups count them all the same."""
    await lab.switch.cli("module unload func_global.so")
    try:
        async with serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port):
            assert await is_taken_by_voicemail(lab, number_of_caller(1))
    finally:
        await lab.switch.cli("module load func_global.so")


IDENTITIES: dict[str, Callable[[str], Asked]] = {
    "From": lambda user: {"caller": f"<sip:{user}@carrier.example>"},
    "P-Asserted-Identity": lambda user: {"headers": (f"P-Asserted-Identity: <sip:{user}@carrier.example>",)},
    "Remote-Party-ID": lambda user: {
        "headers": (f"Remote-Party-ID: <sip:{user}@carrier.example>;party=calling;screen=yes",)
    },
}


@pytest.mark.parametrize("header", IDENTITIES)
@pytest.mark.parametrize(
    ("user", "caller"),
    [
        ("+31201112233", "+31201112233"),
        ("0201112233;npdi;rn=+31600", "0201112233"),
        ("+31-20-111.2233", "+31201112233"),
        ("+31-20-111x2233", ""),
        ("c8oqz84zk7z", ""),
        ("0612345678x", ""),
        (f"06{BREAK}{BREAK}Event%3a%20FullyBooted", ""),
        (f"{BREAK}BridgeID%3a%20x", ""),
        ("x%3a0612345678", ""),
        ("x%220612345678", ""),
        ("x)0612345678", ""),
        ("0612345678)%3a0%3a2", ""),
        (f"0612345678)%3a0%3a2{BREAK}BridgeID%3a%20x", ""),
        ("anonymous", ""),
    ],
)
async def test_a_caller_who_is_no_number_is_unknown(
    lab: Lab, tmp_path: Path, header: str, user: str, caller: str
) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, **IDENTITIES[header](user)) as call:
        await call.is_told(180)
        lines, ani = await _told_of(lab), (await channel_says(lab, "CALLERID(ani-num)"))["Value"]
    assert stub.requests[0].arguments[1] == caller
    assert ani in ("", caller)
    assert not [line for line in lines if "Event: FullyBooted" in line or "BridgeID: x" in line]


LONGER_THAN_A_FUNCTION_TELLS = 5_000


@pytest.mark.parametrize(
    "dirty",
    [
        f"06{BREAK}X%3a%20y",
        f"06)%3a0%3a2{BREAK}X%3a%20y",
        "1" * LONGER_THAN_A_FUNCTION_TELLS,
        "1" * LONGER_THAN_A_FUNCTION_TELLS + f"{BREAK}X%3a%20y",
    ],
    ids=["a break", "a bracket", "long", "a break behind what is looked at"],
)
async def test_a_diversion_by_a_stranger_leaves_no_line_break(lab: Lab, dirty: str) -> None:
    diverted = f"Diversion: <sip:{dirty}@carrier.example>;reason=unconditional"
    async with serving(forward(mobile.never_answers()), lab.agi_port), raw_call(lab, NUMBER, diverted) as call:
        await call.is_answered("INVITE", 180)
        fields = [await channel_says(lab, f"REDIRECTING({party}-num)") for party in ("from", "to", "orig")]
    assert [field["Value"] for field in fields] == ["", NUMBER, ""]


async def channel_says(lab: Lab, name: str) -> dict[str, str]:
    """A variable of the stranger's channel."""

    async def channels() -> list[dict[str, str]]:
        return [dict(entry) for entry in await lab.switch.channels() if entry.get("Channel", "").startswith("PJSIP/")]

    found = await eventually(channels, "a channel")
    first = min(found, key=lambda entry: int(entry["Uniqueid"].rpartition(".")[2]))  # as texts .100 comes before .99
    return dict(await lab.switch.action("Getvar", {"Channel": first["Channel"], "Variable": name}))


async def _told_of(lab: Lab) -> list[str]:
    """The lines of a Status list, as the switch writes them."""
    return [f"{name}: {value}" for entry in await lab.switch.listing("Status") for name, value in entry.items()]
