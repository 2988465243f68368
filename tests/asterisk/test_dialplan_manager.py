"""The AMI login that is shipped: what the daemon needs is allowed, nothing more, and there is no default password."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from charging.lab import Call, CallState, Lab, LabError, mobile
from charging.lab.ami import AmiAccess, LabAmi, Message
from charging.lab.folder import SHIPPED_CONFIG
from tests.asterisk.parties import NUMBER, black_box_record, channels_gone, forward
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


@contextlib.asynccontextmanager
async def logged_in(lab: Lab, events: list[Message] | None = None) -> AsyncIterator[LabAmi]:
    ami = LabAmi(lab.switch.charging_ami, None if events is None else events.append)
    await ami.connect()
    try:
        yield ami
    finally:
        await ami.close()


async def ended_call(lab: Lab) -> Call:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    return call


@pytest.mark.parametrize("secret", ["", "secret", "secret =", "charging"])
async def test_no_password_works_but_the_one_that_was_made(lab: Lab, secret: str) -> None:
    access = lab.switch.charging_ami
    ami = LabAmi(AmiAccess(access.host, access.port, access.user, secret))
    with pytest.raises(LabError, match="Authentication failed"):
        await ami.connect()
    await ami.close()


def test_the_shipped_files_hold_no_password() -> None:
    for file in SHIPPED_CONFIG.iterdir():
        lines = [line.strip() for line in file.read_text().splitlines()]
        assert not [line for line in lines if line.startswith("secret")], file


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("Command", {"Command": "core show version"}),
        ("ModuleLoad", {"LoadType": "unload", "Module": "app_dial.so"}),
        ("DBDel", {"Family": "charging", "Key": "s-1"}),
        ("Setvar", {"Variable": "DB(charging/x)", "Value": "1"}),
        ("Getvar", {"Variable": "SHELL(id)"}),
        (
            "Originate",
            {"Channel": "Local/s@charging-maintenance/n", "Application": "System", "Data": "id", "Async": "true"},
        ),
        ("Reload", {}),
    ],
)
async def test_the_login_may_not(lab: Lab, action: str, fields: dict[str, str]) -> None:
    async with logged_in(lab) as ami:
        with pytest.raises(LabError, match=r"(?i)permission|denied|access|not found|not set"):
            await ami.action(action, fields)


async def test_the_login_sees_the_events_of_a_call_and_no_others(lab: Lab) -> None:
    events: list[Message] = []
    async with logged_in(lab, events):
        await ended_call(lab)

        async def both_hung_up() -> bool:
            return sum(event["Event"] == "Hangup" for event in events) == 2

        await eventually(both_hung_up, "both Hangup events")
    names = [event["Event"] for event in events]
    assert set(names) == {"FullyBooted", "DialBegin", "DialEnd", "BridgeEnter", "BridgeLeave", "Hangup"}
    ended = next(event for event in events if event["Event"] == "DialEnd")
    assert ended["DialStatus"] == "ANSWER"
    assert "CHARGING_SESSION=s-1" in ended["DestChanVariable"]
    assert all("." in event["Timestamp"] for event in events if event["Event"] != "FullyBooted")


async def test_the_login_moves_the_deadline_of_a_running_call(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port), logged_in(lab) as ami:
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        legs = await ami.listing("Status", {"Variables": "CHARGING_LEG,CHARGING_SESSION"})
        callee = next(leg for leg in legs if "CHARGING_LEG=callee" in leg["Variable"])
        await ami.action("AbsoluteTimeout", {"Channel": callee["Uniqueid"], "Timeout": "1.5"})
        await call.wait_end()
    assert 1.5 <= call.duration_s < 6, "its quota was 30 s"


async def maintained(lab: Lab, forget: str) -> set[str]:
    """What is left of the records once the maintenance extension was given ``forget``, and nobody asked."""
    stub = StubAgi()
    async with serving(stub, lab.agi_port), logged_in(lab) as ami:
        order = {"Channel": "Local/s@charging-maintenance/n", "Async": "true", "Timeout": "5000"}
        where = {"Context": "charging-maintenance", "Exten": "idle", "Priority": "1"}
        await ami.action("Originate", order | where | {"Variable": f"__CHARGING_FORGET={forget}"})

        await channels_gone(lab)
    assert stub.requests == []
    return set(await lab.switch.black_box())


async def test_a_booked_record_is_deleted_by_the_maintenance_extension(lab: Lab) -> None:
    await ended_call(lab)
    await black_box_record(lab)
    await lab.switch.cli("database put charging s-2 v1|dial=BUSY")
    assert await maintained(lab, "s-1") == {"s-2"}


@pytest.mark.parametrize("forget", ["s-1:s-3", "::s-1:", "s-1:s-1", "$s;-(|1"])
async def test_the_maintenance_extension_ends_whatever_it_is_given(lab: Lab, forget: str) -> None:
    """What is no key's character is taken out before anything else."""
    for key in ("s-1", "s-2"):
        await lab.switch.cli(f"database put charging {key} v1|dial=BUSY")
    assert await maintained(lab, forget) == {"s-2"}


@pytest.mark.parametrize("forget", ["", ":", "::", "${}"])
async def test_the_maintenance_extension_that_is_given_no_key_deletes_nothing(lab: Lab, forget: str) -> None:
    await lab.switch.cli("database put charging s-1 v1|dial=BUSY")
    assert await maintained(lab, forget) == {"s-1"}


@pytest.mark.parametrize(
    "forget",
    [
        "s-9)}${DB_DELETE(charging/s-1",
        "${SHELL(true)}",
        "$[1 + 1]",
        "x)},${DB_DELETETREE(charging",
        "s-1;s-2",
        "s-1|s-2",
        "../charging/s-1",
    ],
)
async def test_a_key_is_no_dialplan(lab: Lab, forget: str) -> None:
    """Also where someone else has made the order, for the daemon makes none like these."""
    await lab.switch.cli("database put charging s-1 v1|dial=BUSY")
    assert "s-1" in await maintained(lab, forget)


async def test_the_black_box_survives_a_restart_of_asterisk(lab: Lab) -> None:
    await ended_call(lab)
    await black_box_record(lab)
    await lab.switch.restart()
    assert (await black_box_record(lab))["dial"] == "ANSWER"
