"""Who may send faxes to a switch, and how many lines he holds, on the real Asterisk."""

from __future__ import annotations

from collections import Counter

import pytest

from charging.lab import Lab
from tests.asterisk.parties import operator_sets
from tests.asterisk.raw_call import raw_call
from tests.asterisk.test_crowds import turned_away
from tests.asterisk.test_dialplan_strangers import FAX, _hung_up, number_of_caller
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


async def test_whoever_is_put_in_the_place_of_a_fax_machine_keeps_that_place(lab: Lab) -> None:
    """What Asterisk counts of a channel leaves with its caller: one telephone held any number of lines."""
    await lab.switch.cli("module load res_pjsip_refer.so")
    try:
        async with raw_call(lab, FAX, caller=number_of_caller(1)) as first:
            await first.is_answered("INVITE", 200)
            async with (
                operator_sets(lab, "CHARGING_FAX_IN_A_NUMBER", "1"),
                raw_call(lab, FAX, first.replaces, "Require: replaces", caller=number_of_caller(2)) as second,
            ):
                await second.is_answered("INVITE", 200)
                await eventually(lambda: _hung_up(first), "the first call to be over")
                before = await turned_away(lab)
                async with raw_call(lab, FAX, caller=number_of_caller(3)) as third:
                    assert await third.is_answered("INVITE", 200, 486) == 486
                assert await turned_away(lab) == before + Counter({"fax_number": 1})
                second.ask("BYE")
                await second.is_answered("BYE", 200)
                await eventually(lambda: _is_let_in(lab), "room for the next fax")
    finally:
        await lab.reset()
        await lab.switch.cli("module unload res_pjsip_refer.so")


async def _is_let_in(lab: Lab) -> bool:
    async with raw_call(lab, FAX, caller=number_of_caller(4)) as call:
        return await call.is_answered("INVITE", 200, 486) == 200


async def test_no_fax_is_received_unless_the_operator_has_said_that_this_is_the_asterisk_for_it(lab: Lab) -> None:
    """What reads faxes is a part of Asterisk, and one wrong fax ends it."""
    for said, status in (("no", 486), ("", 486), ("yes", 200)):
        async with operator_sets(lab, "CHARGING_FAX_IN_HERE", said), raw_call(lab, FAX) as call:
            assert await call.is_answered("INVITE", 200, 486) == status


async def test_a_number_that_is_dialled_leaves_no_name_in_asterisks_memory(lab: Lab) -> None:
    """It never deletes a global: whoever dialled all numbers of a range would have left one for each."""
    async with raw_call(lab, FAX) as call:
        assert await call.is_answered("INVITE", 200, 486) == 200
        held = await lab.switch.cli("dialplan show globals")
    names = [line.partition("=")[0].strip() for line in held.splitlines() if "CHARGING_PLACE_" in line]
    assert "CHARGING_PLACE_faxes-1" in names
    digits = "".join(filter(str.isdigit, FAX))
    assert [name for name in names if digits[-9:] in name] == []
