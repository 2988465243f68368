"""The benchmarks' Asterisk says what the real one was recorded to say, and the books of its calls are looked into."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from charging.asterisk.message import AmiMessage, assigned
from charging.asterisk.translate import translate
from tests.benchmarks import daemon_rows, played_words
from tests.benchmarks.figures import Table
from tests.benchmarks.ledgers import LEDGERS, Ledger
from tests.benchmarks.played import PlayedAsterisk, PlayedCall, ask
from tests.benchmarks.shipped_daemon import check
from tests.fakes.agi_client import AgiClient
from tests.fakes.ami import eventually
from tests.fakes.link import Owner, running
from tests.fakes.recordings import agi_bytes, ami_events, ami_messages

CALLER = "+31200000001"
MOVING = {"Timestamp", "TimeToHangup", "Seconds", "ActionID", "DNID", "Data", "DialString"}


def told(call: PlayedCall) -> dict[str, str]:
    """What this call's names are called in every recording."""
    names = {str(value): name for name, value in call.names().items() if value}
    return names | {f"CHARGING_SESSION={call.session}": "session"}


def recorded(name: str) -> dict[str, str]:
    return dict(played_words.Recorded.of(name).names) | {"CHARGING_SESSION=s-rec-1": "session"}


def alike(messages: Iterable[AmiMessage], names: dict[str, str]) -> list[list[tuple[str, str]]]:
    """The headers in order, with a call's own names taken out of them."""
    return [
        [(name, "" if name in MOVING else names.get(value, value)) for name, value in each]
        for each in messages
        if each.event
    ]


async def in_dialplan(asterisk: PlayedAsterisk) -> PlayedCall:
    call = asterisk.ring("+31850000001", CALLER)
    call.variables |= {"CHARGING_SESSION": "s-1", "CHARGING_QUOTA": "30", "CHARGING_DECISION": "forward"}
    return call


@pytest.mark.parametrize("recording", [played_words.ANSWERED, played_words.GIVEN_UP])
async def test_a_played_call_is_told_as_the_real_one_told_it(recording: str) -> None:
    owner = Owner()
    async with PlayedAsterisk() as asterisk, running(asterisk, owner) as link:
        await eventually(lambda: link.is_up)
        call = await in_dialplan(asterisk)
        asterisk.dial(call)
        if recording == played_words.ANSWERED:
            asterisk.answer(call)
        names = told(call)
        asterisk.end(call)
        await eventually(lambda: owner.names().count("Hangup") == 2)
    heard = [each for each in owner.events if each.event != "FullyBooted"]
    assert alike(heard, names) == alike(ami_events(recording), recorded(recording))
    assert all(translate(each) for each in heard)


async def test_a_played_list_of_channels_has_the_entries_of_the_real_one() -> None:
    async with PlayedAsterisk() as asterisk, running(asterisk, Owner()) as link:
        await eventually(lambda: link.is_up)
        call = await in_dialplan(asterisk)
        asterisk.dial(call)
        asterisk.answer(call)
        fields = {"Variables": "CHARGING_SESSION,CHARGING_LEG,CHARGING_SWITCH,TIMEOUT(absolute)"}
        reply = await link.action("Status", fields, list_end="StatusComplete")
        alone = await link.action("Status", fields | {"Channel": call.callee_uid}, list_end="StatusComplete")
        names = told(call)
    assert not reply.suspects
    assert alone.events[0].get("Uniqueid") == call.callee_uid
    ours = {one.get("Uniqueid") == call.uid: one for one in reply.events}
    theirs = {
        assigned(one.all("Variable"), "CHARGING_LEG") == "caller": one
        for one in ami_messages(played_words.STATUS)
        if one.event == "Status"
    }
    for is_caller in (True, False):
        mine = [pair for pair in alike([ours[is_caller]], names)[0] if pair[0] != "Variable"]
        real = [pair for pair in alike([theirs[is_caller]], recorded(played_words.STATUS))[0] if pair[0] != "Variable"]
        assert mine == real
        assert [one.partition("=")[0] for one in ours[is_caller].all("Variable")] == fields["Variables"].split(",")


async def test_the_black_box_is_written_as_by_the_real_dialplan() -> None:
    async with PlayedAsterisk() as asterisk:
        call = await in_dialplan(asterisk)
        asterisk.dial(call)
        asterisk.answer(call)
        asterisk.end(call)
    real = next(one for one in ami_messages(played_words.ANSWERED) if one.event == "DBGetResponse").get("Val")
    fields = [[part.partition("=")[0] for part in text.split("|")] for text in (asterisk.records["s-1"], real)]
    assert fields[0] == fields[1]


async def test_the_dialplan_asks_and_obeys_as_the_real_one() -> None:
    said: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.readuntil(b"\n\n"))
        for command in agi_bytes("incoming", ">").splitlines(keepends=True):
            writer.write(command)
            said.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, PlayedAsterisk() as asterisk:
        call = asterisk.ring("+31850000001", CALLER)
        await ask(call, server.sockets[0].getsockname()[1])
    client = AgiClient()
    for command in agi_bytes("incoming", ">").decode().splitlines():
        client.answer(command)
    heard, recorded = b"".join(said).decode(), agi_bytes("incoming", "<").decode()
    uid = recorded.partition("agi_uniqueid: ")[2].partition("\n")[0]
    names = {call.uid: uid, str(call.names()["caller_channel"]): "PJSIP/world-00000000"}
    for mine, real in names.items():
        heard = heard.replace(mine, real)
    assert heard == recorded
    assert {name: call.variables[name] for name in client.variables} == client.variables


async def test_a_daemon_is_driven_and_its_books_are_compared(tmp_path: Path) -> None:
    """Six calls through the shipped daemon; books that say otherwise than the callers are found."""
    table = Table()
    side = daemon_rows.Side("sqlite", tmp_path, Ledger(""), table, argparse.Namespace())
    async with side:
        await side.begin(3)
        await side.fill_live(3)
        await asyncio.gather(*(side.conversation(0.3) for _ in range(3)))
        assert len(side.asterisk.live()) == 3
        await side.books("six calls")
        assert table.faults == []
        wrong = side.played[0]
        wrong.ended_ms = (wrong.ended_ms or 0) + 1
        found = (await check(side.daemon.ledger_url, side.played, 3)).faults
        missing = (await check(side.daemon.ledger_url, side.played[1:], 3)).faults
    assert len(found) == 1
    assert wrong.session in found[0]
    assert "calls that nobody made" in missing[0]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_two_daemons_hold_calls_die_and_come_back_with_exact_books(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On files each has its own accounts; in one Redis they share all."""
    monkeypatch.setattr(daemon_rows, "BESIDE_S", 1)
    table = Table()
    options = argparse.Namespace(calls=6, daemons=2, hold=0.5, away=0.5)
    with LEDGERS[store](tmp_path / "ledger") as ledger:
        async with daemon_rows.Side(store, tmp_path / "one", ledger, table, options) as side:
            await daemon_rows.live(side)
    assert table.faults == []
    cut = [row for row in table.rows if row["measure"] == "6 live on 2 daemons: paid calls cut"]
    assert sum(int(row["unit"].removeprefix("of ")) for row in cut) >= 6 + daemon_rows.BESIDE_A_SECOND - 1
    assert len(cut) == (2 if store == "sqlite" else 1), "so many ledgers"


async def test_a_restart_is_told_by_its_phases(tmp_path: Path) -> None:
    """Three calls, killed and started again at once: each phase comes after the one before, and all are paid ahead."""
    table = Table()
    options = argparse.Namespace(calls=3, daemons=1, hold=0, away=0)
    async with daemon_rows.Side("sqlite", tmp_path, Ledger(""), table, options) as side:
        await daemon_rows.restart(side)
    assert table.faults == []
    row = next(one for one in table.rows if "restart" in one["measure"])
    assert (row["cut"], row["behind"]) == (0, 0)
    assert 0 < row["begun_s"] <= row["ledger_s"] <= row["revived_s"] <= row["up_s"]
    assert row["begun_s"] <= row["link_s"] <= row["up_s"]
    assert 0 <= row["paid_cpu_s"] <= row["cpu_s"]


def test_phases_are_those_of_the_first_time_and_other_lines_are_passed_over() -> None:
    log = """a line of the interpreter
{"event": "ami_link_changed", "state": "connecting", "timestamp": "2026-11-29T23:00:44.250Z"}
{"event": "sessions_restored", "sessions": 3, "timestamp": "2026-11-29T23:00:45.500Z"}
{"event": "sessions_restored", "sessions": 1, "timestamp": "2026-11-29T23:00:55.500Z"}
["no event"]
"""
    begun_us = 1_795_993_243_000_000  # 2026-11-29T23:00:43Z
    found = daemon_rows.phases(log, begun_us)
    assert found == pytest.approx({"begun_s": 1.25, "revived_s": 2.5})
