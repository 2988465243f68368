"""How a forwarded call leaves: a second trunk, the number as the carrier wants it written, the number that is shown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from charging.lab import CallState, Lab, mobile
from tests.asterisk.engine import MEASURES_APART_S, engine
from tests.asterisk.parties import NUMBER, forward, operator_sets
from tests.asterisk.raw_sip import stranger
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.test_withheld import OPEN, PRIVATE

pytestmark = pytest.mark.asterisk

CALLER = "+31201234567"
OUT_OF_SERVICE = {"CHARGING_DIAL_SUFFIX": "@nowhere"}
SECOND_TRUNK = {"CHARGING_DIAL_PREFIX_2": "PJSIP/", "CHARGING_DIAL_SUFFIX_2": "@world"}


@contextlib.asynccontextmanager
async def globals_set(lab: Lab, settings: Mapping[str, str]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for name, value in settings.items():
            await stack.enter_async_context(operator_sets(lab, name, value))
        yield


def refuses(lab: Lab) -> dict[str, str]:
    """A first trunk that answers 503 to whatever number it is asked for."""
    uri = f"sip:{mobile.unreachable()}@127.0.0.1:{lab.world_sip_port}"
    return {"CHARGING_DIAL_PREFIX": f"PJSIP/world/{uri};number=", "CHARGING_DIAL_SUFFIX": ""}


def forward_or_reject(target: str) -> StubAgi:
    stub = forward(target)
    stub.variables["unanswered"] = {"CHARGING_DECISION": "reject", "CHARGING_REASON": "unknown_number"}
    return stub


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ({"CHARGING_DIAL_FORMAT": "plus"}, "+31610000000"),
        ({"CHARGING_DIAL_FORMAT": "digits"}, "31610000000"),
        ({"CHARGING_DIAL_FORMAT": "international"}, "0031610000000"),
        ({"CHARGING_DIAL_FORMAT": "national"}, "0610000000"),
        ({"CHARGING_DIAL_FORMAT": "national", "CHARGING_COUNTRY_CODE": "49"}, "0031610000000"),
        ({"CHARGING_DIAL_FORMAT": ""}, "+31610000000"),
    ],
)
async def test_the_number_is_dialled_as_the_carrier_wants_it(lab: Lab, settings: dict[str, str], written: str) -> None:
    async with globals_set(lab, settings), serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        assert call.mobile.written == written
        await call.hang_up()
        await call.wait_end()


ITALY = {"CHARGING_COUNTRY_CODE": "39", "CHARGING_NATIONAL_PREFIX": ""}
FRANCE = {"CHARGING_COUNTRY_CODE": "33", "CHARGING_NATIONAL_PREFIX": ""}
JAPAN = {"CHARGING_COUNTRY_CODE": "81", "CHARGING_INTERNATIONAL_PREFIX": "010"}
RUSSIA = {"CHARGING_COUNTRY_CODE": "7", "CHARGING_NATIONAL_PREFIX": "8", "CHARGING_INTERNATIONAL_PREFIX": "810"}


@pytest.mark.parametrize(
    ("target", "settings", "is_dialled"),
    [
        ("+3102527123456", {}, False),  # 0 and 0252…: Somalia
        ("+3300252712345", FRANCE, False),
        ("+811012345678", JAPAN, False),  # 0 and 10…
        ("+390612345678", ITALY, True),  # the zero is the number's own
        ("+78001234567", RUSSIA, True),
    ],
)
async def test_a_number_is_not_dialled_within_its_country_as_one_abroad(
    lab: Lab, target: str, settings: dict[str, str], is_dialled: bool
) -> None:
    """What is priced for one country is not dialled in another, whatever the daemon said. (The lab's world has none of
    these numbers, so what is dialled is asked about.)"""
    national = {"CHARGING_DIAL_FORMAT": "national", "CHARGING_FALLBACK": "reject", "CHARGING_NO_ANSWER_S": "1"}
    async with globals_set(lab, national | settings), serving(forward_or_reject(target), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        await call.wait_end()
    assert len(stub.requests) == (2 if is_dialled else 1)


@pytest.mark.parametrize("how", ["PAI", "Privacy: id", "anonymous From with PAI"])
@pytest.mark.parametrize("shown", ["caller", "subscriber"])
async def test_the_number_that_a_forward_shows(lab: Lab, tmp_path: Path, shown: str, how: str) -> None:
    """A withheld caller stays withheld, whoever is shown, and however his network said so."""
    caller, headers = (PRIVATE | OPEN)[how]
    async with (
        operator_sets(lab, "CHARGING_SHOWN", shown),
        serving(forward(mobile.answers()), lab.agi_port),
        stranger(lab, tmp_path, caller=caller, headers=headers) as call,
    ):
        await call.is_told(200)
        rung = lab.world.stray_mobiles[-1]
    assert rung.shown == ("anonymous" if how in PRIVATE else NUMBER if shown == "subscriber" else CALLER)


@pytest.mark.parametrize("settings", [OUT_OF_SERVICE, OUT_OF_SERVICE | SECOND_TRUNK], ids=["one trunk", "two"])
async def test_a_trunk_that_is_out_of_service_is_followed_by_the_second(lab: Lab, settings: dict[str, str]) -> None:
    async with globals_set(lab, settings), serving(forward_or_reject(mobile.answers()), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        if settings == OUT_OF_SERVICE:
            await call.wait_end()
            assert stub.requests[1].arguments == ["s-1", "CHANUNAVAIL"]
        else:
            await call.wait_state(CallState.ANSWERED)
            await call.hang_up()
            await call.wait_end()
        assert len(call.mobiles) == (0 if settings == OUT_OF_SERVICE else 1)


@pytest.mark.parametrize(
    ("target", "times", "status"),
    [
        (mobile.unreachable(), 2, "CONGESTION"),
        (mobile.declines(), 1, "CHANUNAVAIL"),
        (mobile.early_media(0.1), 1, "BUSY"),
        (mobile.busy(), 1, "BUSY"),
    ],
)
async def test_nobody_is_rung_twice_and_each_trunk_is_tried_once(
    lab: Lab, target: str, times: int, status: str
) -> None:
    async with globals_set(lab, SECOND_TRUNK), serving(forward_or_reject(target), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        await call.wait_end()
    assert len(call.mobiles) == times
    assert stub.requests[1].arguments == ["s-1", status]


async def test_r23_the_paid_deadline_holds_on_the_second_trunk_too(lab: Lab, tmp_path: Path) -> None:
    async with (
        globals_set(lab, refuses(lab) | SECOND_TRUNK),
        engine(lab, tmp_path, credit="0.005") as live,
    ):
        call = await live.call()
        await call.wait_state(CallState.ANSWERED)
        await call.wait_end(15)
        cdr = await live.cdr()
        assert [leg.target for leg in call.mobiles] == [mobile.unreachable(), mobile.answers()]
        assert (cdr["billed_s"], cdr["proof"]) == (5, "black_box")
        assert abs(call.duration_s - 5) < MEASURES_APART_S
        assert await live.posted() == 0
        await live.nothing_reserved()
