"""The operator's own ARI application moves and hears the channels of a charged call: exact as any other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab
from tests.asterisk.ari import APPLICATION, Ari, ari
from tests.asterisk.engine import Engine, engine
from tests.asterisk.operator_setup import STRAIGHT, operator_setup
from tests.asterisk.swapped import ENDS_S, talking

pytestmark = pytest.mark.asterisk


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Engine, Ari]]:
    async with (
        operator_setup(session_lab),
        ari(session_lab) as operator,
        engine(session_lab, tmp_path_factory.mktemp("ari"), credit="1000.00") as live,
    ):
        yield live, operator


async def test_both_in_a_bridge_of_the_application_go_on_and_the_caller_is_not_left_behind_unpaid(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, operator = shared
    one = await talking(live, STRAIGHT)
    await one.redirect(await one.name("caller"), "in-ari", await one.name("callee"))
    await operator.joined(*await operator.in_application(2))
    await one.ticks(3)
    await one.call.mobile_hangs_up()
    cdr = await one.is_charged_exactly(may_be=["unpaid_channel_seen"])
    assert cdr["hangup_reason"] == ""
    await one.call.wait_state(CallState.ENDED, ENDS_S)


async def test_leg_that_the_application_keeps_out_of_every_bridge_is_ended(
    lab: Lab, shared: tuple[Engine, Ari]
) -> None:
    live, _ = shared
    one = await talking(live, STRAIGHT)
    await one.ticks()
    await one.redirect(await one.name("callee"), "in-ari")
    assert (await one.is_charged_exactly())["hangup_reason"] == "moved"


async def test_snooping_and_whispering_by_the_application_change_nothing(lab: Lab, shared: tuple[Engine, Ari]) -> None:
    live, operator = shared
    one = await talking(live, STRAIGHT)
    leg = (await one.channel("callee"))["Uniqueid"]
    await operator.post(f"/channels/{leg}/snoop", spy="both", whisper="out", app=APPLICATION)
    await one.ticks(2)
    await one.call.mobile_hangs_up()
    assert (await one.is_charged_exactly())["hangup_reason"] == ""
