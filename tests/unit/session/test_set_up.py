"""Between the decision and the dialling: the switch does not know the session's name yet."""

from __future__ import annotations

import pytest

from charging.session.model import Policy
from charging.session.registry import AUDIT_S
from tests.fakes.rig import EURO, make_rig


async def test_look_at_the_switch_before_its_channel_has_a_name_ends_no_call() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.clock.advance(AUDIT_S - 0.001)
        answer = await rig.ring()
        assert answer.session is not None
        assert answer.quota_s is not None
        await rig.clock.advance(0.002)
        call = rig.switch.dial(answer.session, answer.quota_s, "u1")
        rig.switch.answer(call.session)
        await rig.clock.advance(300)
        assert not call.ended.is_set(), "it can pay"
        await rig.hang_up(call)
        assert (await rig.balance()).posted == 10 * EURO - 300_000


@pytest.mark.parametrize(("after_s", "is_reserved"), [(-0.1, True), (5.1, False)])
async def test_call_that_never_gets_a_name_is_given_up_when_its_set_up_is_over(
    after_s: float, is_reserved: bool
) -> None:
    policy = Policy()
    async with make_rig(policy=policy) as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.clock.advance(AUDIT_S - 0.001)
        await rig.ring()
        assert policy.black_box_wait_s == 5
        await rig.clock.advance(policy.setup_timeout_s + after_s)
        assert bool(await rig.reserved()) is is_reserved
