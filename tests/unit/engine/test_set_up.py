"""Between the decision and the dialling: the switch does not know the session's name yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agi.port import Declined, IncomingCall, Unproven
from charging.call.model import Policy
from charging.call.switch_events import ChannelEnded
from charging.engine.recovery import AUDIT_S
from charging.errors import SwitchError
from charging.ledger.accounts import REHEARSAL, Account, Language, Number, Status
from charging.ledger.model import CREDIT, Applied, Balance, Kind, Leg, Opened, Transfer
from charging.pricing.rate import REHEARSAL_PRICE
from tests.fakes.rig import EURO, TARGET, make_rig, make_tariff

SPARE = "+31201234599"


async def test_a_stranger_is_not_forwarded_for_a_rehearsals_money() -> None:
    """`charging check --call` puts a number into service, for one call of its own."""
    async with make_rig() as rig:
        await rig.store.directory.put_account(Account(REHEARSAL, "light", Language.EN))
        await rig.store.directory.put_number(Number(SPARE, REHEARSAL, TARGET))
        await rig.store.apply(Transfer("one", REHEARSAL, Kind.CORRECT, 0, (Leg(CREDIT, EURO),)))
        stranger = await rig.ring(SPARE)
        assert (stranger.decision, stranger.reason, stranger.session) == ("reject", "unknown_number", None)
        assert (await rig.store.balances(REHEARSAL))[CREDIT] == Balance(EURO)
        rig.switch.rehearsals = {"u2", "u3"}
        assert (await rig.ring(SPARE)).decision == "forward"
        rig.switch.up = False
        with pytest.raises(SwitchError):
            await rig.desk.incoming(IncomingCall(SPARE, "+31107654321", "u3", "PJSIP/world-1"))


@pytest.mark.parametrize("plan", ["light", "pro"])
async def test_a_rehearsal_lasts_as_long_as_its_money_by_the_second_in_every_plan(plan: str) -> None:
    """A customer's call of this plan would be paid by free minutes, or by a minute at least."""
    async with make_rig(tariff=make_tariff(increment_s=60)) as rig:
        await rig.store.directory.put_account(Account(REHEARSAL, plan, Language.EN))
        await rig.store.directory.put_number(Number(SPARE, REHEARSAL, TARGET))
        await rig.store.apply(Transfer("one", REHEARSAL, Kind.CORRECT, 0, (Leg(CREDIT, 8 * REHEARSAL_PRICE),)))
        rig.switch.rehearsals = {"u1"}
        answer = await rig.ring(SPARE)
        assert (answer.decision, answer.reason, answer.quota_s) == ("forward", "credit", 8)


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


@pytest.mark.parametrize(("after_s", "is_reserved"), [(-0.1, True), (0.1, False)])
async def test_money_of_a_call_that_never_rings_comes_back_after_its_set_up_without_a_look_at_all_channels(
    after_s: float, is_reserved: bool
) -> None:
    policy = Policy(setup_timeout_s=3, black_box_wait_s=5)
    assert policy.setup_timeout_s + policy.black_box_wait_s + after_s < AUDIT_S
    async with make_rig(policy=policy) as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.ring()
        await rig.clock.advance(policy.setup_timeout_s + policy.black_box_wait_s + after_s)
        assert bool(await rig.reserved()) is is_reserved


async def test_caller_who_leaves_before_he_is_dialled_for_holds_neither_place_nor_money() -> None:
    """One line that does so again and again keeps no honest caller out."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        answer = await rig.ring()
        assert answer.session is not None
        assert await rig.reserved() != {}
        rig.switch.deliver(ChannelEnded(answer.session, rig.caller_uid, "PJSIP/world-1", "caller", 16, None))
        await rig.clock.advance(0.2)
        assert await rig.reserved() == {}
        (cdr,) = await rig.store.cdrs()
        assert json.loads(cdr.document)["proof"] == "never_answered"


async def test_caller_in_whose_place_another_is_put_before_the_dialling_is_charged_as_ever() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        answer = await rig.ring()
        assert answer.session is not None
        assert answer.quota_s is not None
        call = rig.switch.dial(answer.session, answer.quota_s, "u2")
        rig.switch.deliver(ChannelEnded(answer.session, rig.caller_uid, "PJSIP/world-1", "caller", 16, None))
        await rig.clock.advance(0.2)
        assert await rig.reserved() != {}, "somebody is there"
        rig.switch.end(call.session)


@pytest.mark.parametrize(
    ("status", "plan", "decision", "reason"),
    [
        (Status.CLOSED, "light", "reject", "account_closed"),
        (Status.CLOSED, "free", "reject", "account_closed"),
        (Status.SUSPENDED, "light", "voicemail", "account_suspended"),
    ],
)
async def test_a_closed_account_is_not_answered_and_a_suspended_one_has_the_voicemail_that_its_plan_includes(
    status: Status, plan: str, decision: str, reason: str
) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO, plan=plan)
        account = await rig.store.directory.account("anna")
        assert account is not None
        await rig.store.directory.put_account(replace(account, status=status))
        answer = await rig.ring()
        assert (answer.decision, answer.reason) == (decision, reason)
        assert await rig.reserved() == {}


@pytest.mark.parametrize(("owned", "reason"), [(TARGET, "loop"), (SPARE, "credit")])
async def test_a_forward_to_a_number_of_the_operators_own_is_not_dialled(owned: str, reason: str) -> None:
    """It would come back to him, and its caller would go round for the account's money."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.store.directory.put_number(Number(owned, "anna"))
        answer = await rig.ring()
        assert answer.reason == reason
        assert bool(await rig.reserved()) is (reason == "credit")


async def test_a_call_that_the_switch_does_not_have_reserves_nothing() -> None:
    """Whoever reaches FastAGI could else keep an account's calls busy by asking about its number."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        rig.switch.without_call = {f"u{number}" for number in range(1, 10)}
        for _ in range(9):
            with pytest.raises(Unproven):
                await rig.ring()
        assert not await rig.reserved()
        assert rig.registry.open.calls() == []
        assert (await rig.ring()).decision == "forward", "a true one"


async def test_a_reservation_that_comes_too_late_is_tried_again_as_another_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another call has taken some of the money meanwhile. Of the first session's name no trace is kept."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        apply = rig.store.apply
        tried: list[Transfer] = []

        async def late(transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
            tried.append(transfer)
            if len(tried) == 1:
                (wanted,) = (leg.reserved for leg in transfer.legs if leg.balance == CREDIT)
                await apply(
                    Transfer("taken", transfer.account, Kind.CORRECT, 1, (Leg(CREDIT, wanted - 1 - 10 * EURO),))
                )
            return await apply(transfer, grants)

        monkeypatch.setattr(rig.store, "apply", late)
        answer = await rig.ring()
        assert answer.decision == "forward"
        first, second = tried
        assert first.session != second.session == answer.session
        assert all(isinstance(one.change, Opened) and one.change.is_only_try for one in tried)


async def test_while_the_link_is_away_for_less_than_the_horizon_a_call_is_taken_at_its_word() -> None:
    policy = Policy()
    async with make_rig(policy=policy) as rig:
        await rig.subscriber(credit=10 * EURO)
        rig.switch.up = False
        await rig.clock.advance(policy.horizon_s - 1)
        assert (await rig.ring()).decision == "forward"


async def test_a_session_that_is_not_open_is_declined_without_a_noise() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        with pytest.raises(Declined, match="no such session is open"):
            await rig.desk.unanswered("s-of-nobody", "BUSY")
