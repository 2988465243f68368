"""A withheld number is told to no customer, and kept only where the operator chooses so."""

from __future__ import annotations

import json

import pytest

from charging.call.model import Policy
from tests.fakes.rig import EURO, make_rig

CALLER = "+31107654321"


@pytest.mark.parametrize(
    ("withheld", "keep", "caller"), [(True, False, ""), (True, True, CALLER), (False, False, CALLER)]
)
async def test_the_cdr_says_that_a_number_was_withheld(withheld: bool, keep: bool, caller: str) -> None:
    async with make_rig(Policy(keep_withheld=keep)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.ringing(withheld=withheld)
        rig.switch.answer(call.session)
        await rig.clock.advance(5)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        (row,) = await rig.store.cdrs()
    cdr = json.loads(row.document)
    assert (cdr["caller"], cdr["withheld"]) == (caller, withheld)


@pytest.mark.parametrize(("withheld", "told"), [(True, ""), (False, CALLER)])
@pytest.mark.parametrize("keep", [False, True])
async def test_r13_a_missed_call_never_tells_a_withheld_number(withheld: bool, keep: bool, told: str) -> None:
    async with make_rig(Policy(keep_withheld=keep)) as rig:
        await rig.subscriber(plan="free")
        await rig.ring(withheld=withheld)
        assert [missed.caller for missed in rig.missed] == [told]


@pytest.mark.parametrize(("withheld", "told"), [(True, ""), (False, CALLER)])
async def test_r13_nor_does_one_whose_forward_failed(withheld: bool, told: str) -> None:
    async with make_rig(Policy(keep_withheld=True)) as rig:
        await rig.subscriber(credit=99_999, plan="free")
        call = await rig.ringing(withheld=withheld)
        await rig.desk.unanswered(call.session, "BUSY")
        assert [missed.caller for missed in rig.missed] == [told]


async def test_a_paid_voicemail_keeps_it_too_over_a_restart() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO, plan="free", forward_to="")
        answer = await rig.ring(withheld=True)
        await rig.kill_daemon()
        await rig.start_daemon()
        runner = rig.registry.open.find(answer.session or "")
        assert runner is not None
        assert runner.session.withheld is True  # type: ignore[union-attr]
