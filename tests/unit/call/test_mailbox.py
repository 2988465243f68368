"""Which voicemail box a caller reaches, whichever way the call takes: the one of the number that was called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.rig import EURO, NUMBER, Rig, make_rig

DIGITS = NUMBER.lstrip("+")
BOXES = pytest.mark.parametrize(("chosen", "box"), [("", DIGITS), ("4711", "4711")])


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as one:
        yield one


@BOXES
async def test_a_forward_is_told_the_box_for_the_case_that_the_daemon_is_dead(rig: Rig, chosen: str, box: str) -> None:
    await rig.subscriber(credit=EURO, mailbox=chosen)
    answer = await rig.ring()
    assert (answer.decision, answer.mailbox) == ("forward", box)


@BOXES
async def test_included_voicemail_goes_to_the_box(rig: Rig, chosen: str, box: str) -> None:
    await rig.subscriber(mailbox=chosen)
    answer = await rig.ring()
    assert (answer.decision, answer.mailbox) == ("voicemail", box)


@BOXES
async def test_paid_voicemail_goes_to_the_box(rig: Rig, chosen: str, box: str) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="", mailbox=chosen)
    answer = await rig.ring()
    assert (answer.decision, answer.mailbox) == ("voicemail", box)


@BOXES
@pytest.mark.parametrize("plan", ["light", "free"])
async def test_voicemail_after_a_forward_that_failed_goes_to_the_box(
    rig: Rig, plan: str, chosen: str, box: str
) -> None:
    await rig.subscriber(credit=EURO, plan=plan, mailbox=chosen)
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert (answer.decision, answer.mailbox) == ("voicemail", box)
