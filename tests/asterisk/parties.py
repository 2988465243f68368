"""Words that the dialplan's tests share: answers of a daemon, and looks at the switch."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from charging.engine.black_boxes import HOUSEKEEPING_S
from charging.lab import Call, Lab
from tests.asterisk.stub_agi import StubAgi
from tests.asterisk.waiting import eventually

NUMBER = "+31850000001"
NUMBER_WITHOUT_MAILBOX = "+31859999999"
RECORDS_GONE_S = 3 * HOUSEKEEPING_S
"""A record that comes just after a look is found by the next, and deleted then; and the machine is slow."""


def forward(target: str, quota: str = "30", session: str = "s-1", **more: str) -> StubAgi:
    """A daemon that forwards every call, and has no second opinion."""
    answer = {
        "__CHARGING_SESSION": session,
        "CHARGING_DECISION": "forward",
        "CHARGING_REASON": "credit",
        "CHARGING_QUOTA": quota,
        "CHARGING_TARGET": target,
        "CHARGING_RING_S": "20",
    }
    return StubAgi({"incoming": answer | more})


def decide(decision: str, reason: str = "", session: str = "s-1") -> dict[str, str]:
    return {"__CHARGING_SESSION": session, "CHARGING_DECISION": decision, "CHARGING_REASON": reason}


async def black_box_record(lab: Lab, key: str = "s-1") -> dict[str, str]:
    """The fields of one record, once it is there."""

    async def look() -> str | None:
        return (await lab.switch.black_box()).get(key)

    version, *fields = (await eventually(look, f"black-box record {key}")).split("|")
    assert version == "v2"
    return dict(field.split("=", 1) for field in fields)


def answered_ms(record: dict[str, str]) -> int:
    """How long the forwarded leg was answered, by its own record."""
    ended, answered = (int(record[name].replace(".", "")) for name in ("ended", "answered"))
    return ended - answered


async def only_record(lab: Lab) -> tuple[str, dict[str, str]]:
    """Key and fields of the only record there is."""
    box = await eventually(lab.switch.black_box, "a black-box record")
    assert len(box) == 1, box
    key = next(iter(box))
    return key, await black_box_record(lab, key)


async def records_gone(lab: Lab) -> None:
    """Every black-box record is deleted, in the time that it may take."""

    async def empty() -> bool:
        return not await lab.switch.black_box()

    await eventually(empty, "the records to be deleted", RECORDS_GONE_S)


async def channels_gone(lab: Lab, deadline_s: float = 20) -> None:
    """The switch has let go of every channel: what its dialplan does for a call whose caller has left is done."""

    async def gone() -> bool:
        return not await lab.switch.channels()

    await eventually(gone, "every channel to end", deadline_s)


async def leave_message(lab: Lab, call: Call, *, seconds: float, mailbox: str = NUMBER.removeprefix("+")) -> None:
    """As the outside caller: skip the greeting, talk for at least ``seconds`` and hang up."""
    await call.press("#", on_mobile=False)
    await message_is_recorded(lab, seconds=seconds, mailbox=mailbox)
    await call.hang_up()
    await call.wait_end()


async def message_is_recorded(lab: Lab, *, seconds: float, mailbox: str = NUMBER.removeprefix("+")) -> None:
    """Wait until so much of a message is there."""
    message = lab.switch.folder / f"spool/voicemail/charging/{mailbox}/tmp"

    async def recording() -> Path | None:
        return next(message.glob("*.wav"), None)

    recorded = await eventually(recording, "the recording to begin", 60)
    assert recorded is not None

    async def long_enough() -> bool:  # Asterisk writes two seconds at a time
        return recorded.stat().st_size >= 16_000 * seconds

    await eventually(long_enough, f"{seconds} s to be recorded", 30 + seconds)


@contextlib.asynccontextmanager
async def operator_sets(lab: Lab, name: str, value: str) -> AsyncIterator[None]:
    """A dialplan global with another value for a while."""
    before = (await lab.switch.action("Getvar", {"Variable": name}))["Value"]
    await lab.switch.action("Setvar", {"Variable": name, "Value": value})
    try:
        yield
    finally:
        await lab.switch.action("Setvar", {"Variable": name, "Value": before})


@contextlib.asynccontextmanager
async def operator_adds(lab: Lab, extension: str, *steps: str) -> AsyncIterator[None]:
    """An extension of the trunk's for a while."""
    for priority, step in enumerate(steps, 1):
        await lab.switch.cli(f"dialplan add extension {extension},{priority},{step} into trunk")
    try:
        yield
    finally:
        await lab.reset()
        await lab.switch.cli(f"dialplan remove extension {extension}@trunk")


async def dialog_of(lab: Lab, channel: str) -> str:
    """The dialog of a channel as RFC 3891 names it to its own user agent, the switch."""

    async def known(what: str) -> str:
        return (await lab.switch.action("Getvar", {"Channel": channel, "Variable": f"CHANNEL(pjsip,{what})"}))["Value"]

    call_id, ours, theirs = [await known(what) for what in ("call-id", "local_tag", "remote_tag")]
    return f"{call_id};to-tag={ours};from-tag={theirs}"
