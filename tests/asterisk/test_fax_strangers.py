"""Who may send faxes to a switch, and how many lines he holds, on the real Asterisk."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import pytest

from charging.lab import Lab
from tests.asterisk.parties import operator_sets
from tests.asterisk.raw_call import raw_call
from tests.asterisk.raw_sip import stranger
from tests.asterisk.test_crowds import turned_away
from tests.asterisk.test_dialplan_strangers import (
    NO_DISK_IS_SO_LARGE,
    _hung_up,
    _looks_anew,
    channel_says,
    number_of_caller,
)
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

FAX = "+31850000099"


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
                async with raw_call(lab, f"{FAX}1", caller=number_of_caller(1)) as again:
                    assert await again.is_answered("INVITE", 200, 486) == 486
                assert await turned_away(lab) == before + Counter({"fax_number": 1, "fax_caller": 1})
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


async def test_while_the_disk_is_nearly_full_no_fax_is_received(lab: Lab) -> None:
    await _looks_anew(lab, "faxes")
    async with operator_sets(lab, "CHARGING_ROOM_MB", NO_DISK_IS_SO_LARGE), raw_call(lab, FAX) as call:
        assert await call.is_answered("INVITE", 200, 486) == 486
    async with raw_call(lab, FAX) as call:
        assert await call.is_answered("INVITE", 200, 486) == 200


@pytest.mark.parametrize("user", ["+31850000099;isub=1", "+31850000099"])
async def test_a_fax_for_a_number_with_parameters_is_that_numbers(lab: Lab, tmp_path: Path, user: str) -> None:
    async with stranger(lab, tmp_path, user) as call:
        await call.is_told(200)
        station = (await channel_says(lab, "FAXOPT(localstationid)"))["Value"]
    assert station == "31850000099"


@pytest.mark.parametrize("user", ["+31850000099x", "+31850000099%0d%0a"])
async def test_a_fax_for_what_is_no_number_is_not_found(lab: Lab, tmp_path: Path, user: str) -> None:
    async with stranger(lab, tmp_path, user) as call:
        await call.is_told(404)


@pytest.mark.parametrize(
    ("at_once", "a_number", "taken", "too_many", "why"),
    [
        ("10", "2", [FAX, FAX], FAX, "fax_number"),
        ("2", "2", [FAX, f"{FAX}1"], f"{FAX}2", "fax"),
        ("", "", [FAX, FAX], FAX, "fax_number"),
        ("9", "1", [f"{FAX};isub=1"], FAX, "fax_number"),
    ],
)
async def test_strangers_who_send_faxes_find_it_busy_when_there_are_too_many(
    lab: Lab, at_once: str, a_number: str, taken: list[str], too_many: str, why: str
) -> None:
    async with (
        operator_sets(lab, "CHARGING_FAX_IN_AT_ONCE", at_once),
        operator_sets(lab, "CHARGING_FAX_IN_A_NUMBER", a_number),
        contextlib.AsyncExitStack() as strangers,
    ):
        for nth, user in enumerate(taken):
            one = await strangers.enter_async_context(raw_call(lab, user, caller=number_of_caller(nth)))
            await one.is_answered("INVITE", 200)
        before = await turned_away(lab)
        async with raw_call(lab, too_many, caller=number_of_caller(9)) as one:
            assert await one.is_answered("INVITE", 200, 486) == 486
        assert await turned_away(lab) == before + Counter({why: 1})


@pytest.mark.parametrize(
    ("a_caller", "taken", "same", "other"),
    [
        ("", ["+31201234567"], "0201234567", "+31201234568"),
        ("many", ["+31201234567"], "+31201234567", "anonymous"),
        ("2", ["+31201234567", "0031201234567"], "0201234567", "+31201234568"),
        ("", ["anonymous"], "unknown", "+31201234567"),
    ],
)
async def test_one_telephone_keeps_no_others_from_sending_faxes(
    lab: Lab, a_caller: str, taken: list[str], same: str, other: str
) -> None:
    """Two lines that said nothing kept a number's faxes out, and ten those to all numbers. However it writes its own;
    all who have none are one."""
    async with (
        operator_sets(lab, "CHARGING_FAX_IN_A_NUMBER", "5"),
        operator_sets(lab, "CHARGING_FAX_IN_A_CALLER", a_caller),
        contextlib.AsyncExitStack() as strangers,
    ):
        for nth, user in enumerate(taken):
            call = raw_call(lab, f"{FAX}{nth}", caller=f"<sip:{user}@carrier.example>")
            await (await strangers.enter_async_context(call)).is_answered("INVITE", 200)
        before = await turned_away(lab)
        for user, status in ((same, 486), (other, 200)):
            async with raw_call(lab, FAX, caller=f"<sip:{user}@carrier.example>") as one:
                assert await one.is_answered("INVITE", 200, 486) == status
        assert await turned_away(lab) == before + Counter({"fax_caller": 1})


@pytest.mark.parametrize("counts", ["func_groupcount", "func_global"])
async def test_strangers_who_send_faxes_find_it_busy_where_nobody_counts_them(lab: Lab, counts: str) -> None:
    """An expression of nothing would be false, and let everyone in."""
    await lab.switch.cli(f"module unload {counts}.so")
    try:
        async with raw_call(lab, FAX) as call:
            assert await call.is_answered("INVITE", 200, 486) == 486
    finally:
        await lab.switch.cli(f"module load {counts}.so")
    async with raw_call(lab, FAX) as call:
        assert await call.is_answered("INVITE", 200, 486) == 200


@pytest.mark.parametrize(("digits", "status"), [(15, 200), (16, 404)])
async def test_a_fax_number_has_an_end(lab: Lab, digits: int, status: int) -> None:
    async with raw_call(lab, FAX.ljust(digits + 1, "7")) as call:
        assert await call.is_answered("INVITE", 200, 404) == status


async def test_a_stranger_who_sends_no_fax_is_hung_up(lab: Lab) -> None:
    async with operator_sets(lab, "CHARGING_FAX_IN_S", "1"), raw_call(lab, FAX) as call:
        await call.is_answered("INVITE", 200)

        async def is_over() -> bool:
            return "BYE" in call.asked

        await eventually(is_over, "the call to be ended", 30)
