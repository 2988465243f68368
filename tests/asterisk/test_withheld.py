"""Whoever withholds his number stays withheld, however his network says so, and wherever he is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.lab import Lab, mobile
from tests.asterisk.operator_setup import SECOND_RING_GROUP, operator_setup
from tests.asterisk.parties import decide, forward, operator_sets
from tests.asterisk.raw_sip import Asked, stranger
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.test_dialplan_strangers import PATIENTLY, channel_says
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

PRIVATE = {
    "Privacy: id": (
        "<sip:+31201234567@c.example>",
        ("Privacy: id", "P-Asserted-Identity: <sip:+31201234567@c.example>"),
    ),
    "Privacy: id;critical": (
        "<sip:+31201234567@c.example>",
        ("Privacy: id;critical", "P-Asserted-Identity: <sip:+31201234567@c.example>"),
    ),
    "Privacy: user, no PAI": ("<sip:+31201234567@c.example>", ("Privacy: user",)),
    "anonymous From with PAI": (
        '"Anonymous" <sip:anonymous@anonymous.invalid>',
        ("P-Asserted-Identity: <sip:+31201234567@c.example>",),
    ),
    "second Privacy": (
        "<sip:+31201234567@c.example>",
        ("Privacy: session", "Privacy: id", "P-Asserted-Identity: <tel:+31201234567>"),
    ),
    "third Privacy": (
        "<sip:+31201234567@c.example>",
        ("Privacy: session", "Privacy: session", "Privacy: id"),
    ),
    "Privacy with a tab": (
        "<sip:+31201234567@c.example>",
        ("Privacy: critical;\tid",),
    ),
    "restricted From with PAI": (
        "<sip:restricted@c.example>",
        ("P-Asserted-Identity: <sip:+31201234567@c.example>",),
    ),
    **{
        f"{user}@ with PAI": (
            f"<sip:{user}@c.example>",
            ("P-Asserted-Identity: <sip:+31201234567@c.example>",),
        )
        for user in ("unavailable", "Unknown", "private", "WITHHELD")
    },
    "From of nowhere with PAI": (
        "<sip:unavailable@unknown.invalid>",
        ("P-Asserted-Identity: <sip:+31201234567@c.example>",),
    ),
    "second RPID": (
        "<sip:+31201234567@c.example>",
        (
            "Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy=off",
            "Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy=full",
        ),
    ),
    "third RPID": (
        "<sip:+31201234567@c.example>",
        (
            "Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy=off",
            "Remote-Party-ID: <sip:+31850000001@c.example>;party=called;privacy=off",
            "Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy=full",
        ),
    ),
    "RPID privacy=name,uri": (
        "<sip:+31201234567@c.example>",
        ('Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy="name,uri"',),
    ),
    "RPID with white space": (
        "<sip:+31201234567@c.example>",
        ('Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy =\t"name,\turi"',),
    ),
    "RPID privacy=full": (
        "<sip:+31201234567@c.example>",
        ("Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;screen=yes;privacy=full",),
    ),
    "RPID privacy=uri": (
        "<sip:+31201234567@c.example>",
        ("Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;screen=yes;privacy=uri",),
    ),
}
OPEN = {
    "plain From": ("<sip:+31201234567@c.example>", ()),
    "PAI": ("<sip:stranger@c.example>", ("P-Asserted-Identity: <sip:+31201234567@c.example>",)),
    "PAI, and a From that only looks like it": (
        "<sip:unavailable.smith@private.example>",
        ("P-Asserted-Identity: <sip:+31201234567@c.example>",),
    ),
    "Privacy: session": ("<sip:+31201234567@not-invalid.example>", ("Privacy: session",)),
    "Privacy of another's": (
        "<sip:+31201234567@c.example>",
        ("Privacy: no-id;user-x",),
    ),
    "Privacy: none": (
        "<sip:+31201234567@c.example>",
        ("Privacy: none", "P-Asserted-Identity: <sip:+31201234567@c.example>"),
    ),
    "RPID privacy=name": (
        "<sip:+31201234567@c.example>",
        ("Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;privacy=name;screen=full",),
    ),
    "RPID privacy=off": (
        "<sip:+31201234567@c.example>",
        ("Remote-Party-ID: <sip:+31201234567@c.example>;party=calling;screen=yes;privacy=off",),
    ),
}


@pytest.mark.parametrize(
    ("how", "presentation"), [*((how, "withheld") for how in PRIVATE), *((how, "allowed") for how in OPEN)]
)
async def test_a_withheld_number_is_said_to_be_withheld(lab: Lab, tmp_path: Path, how: str, presentation: str) -> None:
    caller, headers = (PRIVATE | OPEN)[how]
    stub = StubAgi({"incoming": decide("reject", "unknown_number")})
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, caller=caller, headers=headers) as call:
        await call.is_told(404)
    assert (stub.requests[0].arguments[1], stub.requests[0].arguments[4]) == ("+31201234567", presentation)


@pytest.mark.parametrize(
    ("how", "presentation"),
    [("anonymous From with PAI", "withheld"), ("Privacy: id;critical", "withheld"), ("PAI", "allowed")],
)
async def test_a_withheld_number_is_withheld_behind_a_ring_group_too(
    lab: Lab, tmp_path: Path, how: str, presentation: str
) -> None:
    caller, headers = (PRIVATE | OPEN)[how]
    asked: Asked = {"caller": caller, "headers": (*headers, "History-Info: <sip:+31612345678@c.example>;index=1")}
    async with (
        operator_setup(lab),
        operator_sets(lab, *PATIENTLY),  # a dialplan that is read again has its settings again
        serving(forward(mobile.never_answers()), lab.agi_port) as stub,
    ):
        async with stranger(lab, tmp_path, SECOND_RING_GROUP, **asked) as call:
            await call.is_told(180)
        await lab.reset()
    _, number, _, _, told, diverted = stub.requests[0].arguments
    assert (number, told) == ("+31201234567", presentation)
    assert "+31612345678" in diverted


async def test_an_anonymous_caller_without_any_number_is_withheld(lab: Lab, tmp_path: Path) -> None:
    stub = StubAgi({"incoming": decide("reject", "unknown_number")})
    anonymous = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, caller=anonymous) as call:
        await call.is_told(404)
    assert (stub.requests[0].arguments[1], stub.requests[0].arguments[4]) == ("", "withheld")


@pytest.mark.parametrize("is_asked", [True, False], ids=["daemon", "no daemon"])
@pytest.mark.parametrize(
    ("how", "is_told"),
    [
        ("Privacy: id", '"" <>'),
        ("anonymous From with PAI", '"" <>'),
        ("RPID privacy=full", '"" <>'),
        ("RPID privacy=name", '"" <+31201234567>'),
        ("PAI", '"A Secret" <+31201234567>'),
    ],
)
async def test_what_a_caller_withholds_is_told_to_no_mailbox(
    lab: Lab, tmp_path: Path, how: str, is_told: str, is_asked: bool
) -> None:
    """Asterisk's voicemail writes and mails who is on its channel, and does not look whether he withholds it."""
    caller, headers = (PRIVATE | OPEN)[how]
    named = tuple(line.replace("<sip:+31201234567", '"A Secret" <sip:+31201234567') for line in headers)
    stub = StubAgi({"incoming": decide("voicemail")} if is_asked else {})

    async def listening() -> bool:
        return any(one.get("Application") == "VoiceMail" for one in await lab.switch.listing("CoreShowChannels"))

    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, caller=caller, headers=named):
        await eventually(listening, "the greeting")
        told = (await channel_says(lab, "CALLERID(all)"))["Value"]
        await lab.reset()
    assert told == is_told
