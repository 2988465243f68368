"""A fail-over of the ledger loses its last writes: what was acknowledged is not there any more."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from charging.call.model import Policy
from charging.clock import MICROSECONDS
from charging.engine.closed import KEPT_S, ClosedRecords
from charging.engine.recovery import AUDIT_S
from charging.ledger.balances import bundle, left, promo
from charging.ledger.model import CREDIT, LEGS_MAX, Balance, Kind, Leg, OpenSession, Transfer
from charging.pricing.packs import pack_of
from charging.tariff.plans import Pack
from tests.contract.scenario import assert_sound
from tests.fakes.clock import START_WALL_US
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff
from tests.unit.call.test_promotional import give

SECOND = 1_000
NEW_MONTH = datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Amsterdam")).timestamp()


class LossyStore(FaultyStore):
    """A store whose fail-overs lose what they lose at a chosen moment."""

    hang_up: Callable[[], Awaitable[None]] | None = None
    """Done once, when open sessions have been read and are not told yet."""

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        found = await super().sessions(switch, account)
        if switch is not None and self.hang_up is not None:
            hang_up, self.hang_up = self.hang_up, None
            await hang_up()
        return found


@pytest.fixture
async def store() -> LossyStore:
    return LossyStore(random.Random(1))


@pytest.fixture
async def rig(store: LossyStore) -> AsyncIterator[Rig]:
    async with make_rig(store=store) as one:
        yield one


async def test_running_call_whose_opening_was_lost_reasserts_itself_and_is_charged_whole(
    rig: Rig, store: LossyStore
) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(70)
    store.fail_over()
    await rig.clock.advance(60)
    assert len(rig.heard("session_reasserted")) == 1
    assert rig.session_of(call).covered_s >= 180
    assert (await rig.balance()).reserved > 0
    await rig.clock.advance(20.1)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 150 * SECOND
    assert await rig.reserved() == {}


async def others_take(rig: Rig, left: int) -> None:
    """What a lost session had reserved goes to others, all but ``left`` micro-euro."""
    available = (await rig.balance()).available
    leg = Leg(CREDIT, left - available)
    await rig.store.apply(Transfer("others", "anna", Kind.CORRECT, 0, (leg,), reason="other calls"))


@pytest.mark.parametrize("left_s", [0, 50, 100, 150])
@pytest.mark.parametrize("ends_at_once", [False, True], ids=["goes_on", "is_over"])
async def test_r23_call_whose_money_went_to_others_in_a_fail_over_goes_on_as_far_as_what_is_left_pays(
    rig: Rig, store: LossyStore, left_s: int, ends_at_once: bool
) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(70.1)
    store.fail_over()
    await others_take(rig, left_s * SECOND)
    if ends_at_once:
        await rig.hang_up(call)
    await rig.clock.advance(400)
    assert not rig.heard("session_lost")
    assert bool(rig.heard("session_reasserted_short")) is not (ends_at_once and left_s > 70)
    assert await store.sessions() == []
    assert await rig.reserved() == {}
    paid_s = min(left_s, 70) if ends_at_once else left_s
    assert (await rig.balance()).posted == (left_s - paid_s) * SECOND
    if not ends_at_once:
        assert call.true_ms <= max(120, left_s) * 1000 + 1000, "the switch cuts it when its money is gone"
    await assert_sound(store)


async def test_r23_call_that_is_left_nothing_is_cut_as_soon_as_the_switch_obeys(rig: Rig, store: LossyStore) -> None:
    """Without a second that is paid there is nothing to warn of. Found by the simulated city: the daemon ended."""
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(70.1)
    store.fail_over()
    await others_take(rig, 0)
    await rig.clock.advance(45)
    rig.switch.disobeys = lambda: True
    await rig.clock.advance(20)
    assert not call.ended.is_set()
    rig.switch.disobeys = lambda: False
    await rig.clock.advance(2)
    assert (call.ended.is_set(), rig.switch.prompts) == (True, [])
    await rig.clock.advance(30)
    assert await rig.reserved() == {}
    await assert_sound(store)


async def test_call_that_ends_after_its_opening_was_lost_is_charged_whole(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(30.1)
    store.fail_over()
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 30 * SECOND
    assert await rig.reserved() == {}


@pytest.mark.parametrize("plan", ["light", "pro"])  # credit alone; a bundle whose grant may be lost too, then credit
@pytest.mark.parametrize("lost_from_s", [0, 30, 61, 70, 130])
@pytest.mark.parametrize("until_s", [1, 59, 70, 200])
@pytest.mark.parametrize("noticed", ["at_a_tick", "at_the_end"])
async def test_ticks_that_were_lost_are_settled_and_reserved_anew_and_nothing_is_doubled(
    rig: Rig, store: LossyStore, plan: str, lost_from_s: int, until_s: int, noticed: str
) -> None:
    free_seconds = 600 if plan == "pro" else 0
    await rig.subscriber(credit=10 * EURO, plan=plan)
    call = await rig.talking()
    await rig.clock.advance(lost_from_s)
    store.remember()
    await rig.clock.advance(until_s)
    store.fail_over()
    if noticed == "at_a_tick":
        await rig.clock.advance(600)
        assert rig.session_of(call).covered_s >= lost_from_s + until_s + 600 + 60, "the horizon is held again"
        assert dict(rig.session_of(call).held) == await rig.reserved()
    await rig.clock.advance(0.1)
    await rig.hang_up(call)
    await rig.clock.advance(60)
    used_s = lost_from_s + until_s + (600 if noticed == "at_a_tick" else 0)
    (row,) = await store.cdrs()
    assert json.loads(row.document)["billed_s"] == used_s
    assert (await rig.balance()).posted == 10 * EURO - max(0, used_s - free_seconds) * SECOND
    left = [one.posted for key, one in (await store.balances("anna")).items() if key.startswith("bundle:")]
    assert left == ([max(0, free_seconds - used_s)] if free_seconds else [])
    assert await rig.reserved() == {}
    assert not rig.heard("session_lost")
    await assert_sound(store)


async def test_a_loss_while_the_call_s_end_is_being_booked_is_settled_whole(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(50)
    store.remember()
    await rig.clock.advance(80.1)
    store.failing = 1.0
    await rig.hang_up(call)
    store.fail_over()
    store.failing = 0.0
    await rig.clock.advance(30)
    assert (await rig.balance()).posted == 10 * EURO - 130 * SECOND
    assert await rig.reserved() == {}
    assert len(rig.heard("session_reasserted")) == 1
    await assert_sound(store)


async def test_a_lost_tick_whose_money_is_spent_meanwhile_shortens_the_call(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=400 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(50)
    store.remember()
    await rig.clock.advance(20)
    assert rig.session_of(call).covered_s == 180
    store.fail_over()
    await rig.credit(-270 * SECOND, "chargeback")
    await rig.clock.advance(59)
    assert rig.session_of(call).covered_s == 130
    await rig.clock.advance(2)
    assert call.ended.is_set()
    await rig.clock.advance(30)
    assert await rig.balance() == Balance(0, 0)
    await assert_sound(store)


async def test_a_forward_that_turned_into_a_voicemail_and_was_lost_as_such_is_charged_as_one(
    rig: Rig, store: LossyStore
) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free")
    call = await rig.ringing()
    store.remember()
    rig.switch.fail(call.session, "BUSY")
    await rig.clock.advance(0)
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert answer.decision == "voicemail"
    store.fail_over()
    rig.switch.leave_message(call.session, call.caller_uid)
    await rig.clock.advance(30)
    assert (await rig.balance()).posted == 10 * EURO - 100_000
    assert await rig.reserved() == {}
    assert rig.heard("session_reasserted")
    await assert_sound(store)


async def test_lost_opening_whose_money_is_spent_meanwhile_is_told_loudly(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=150 * SECOND)
    store.remember()
    await rig.talking()
    store.fail_over()
    await rig.credit(-140 * SECOND, "chargeback")
    await rig.clock.advance(90)
    assert [told["seconds"] for told in rig.heard("session_reasserted_short")] == [110]
    assert not rig.heard("session_lost")
    assert (await rig.balance()).posted == 0, "the ten seconds that there was money for"


async def test_r11_a_lost_tick_that_brought_the_next_month_s_minutes_into_being_is_settled_with_its_grant(
    rig: Rig, store: LossyStore
) -> None:
    await rig.subscriber(plan="pro")
    rig.clock.step_wall(round((NEW_MONTH - START_WALL_US / 1_000_000) - 150))
    call = await rig.talking()
    await rig.clock.advance(30)
    store.remember()
    await rig.clock.advance(150.1)
    store.fail_over()
    assert bundle("2026-12") not in await store.balances("anna")
    await rig.hang_up(call)
    await rig.clock.advance(10)
    assert (await rig.balance(bundle("2026-11"))).posted == 600 - 150
    assert left(await store.balances("anna"), "2026-12", 600).posted == 600 - 30
    assert await rig.reserved() == {}
    await assert_sound(store)


SHARED = Policy(short_poll_s=5)
"""Of a daemon whose ledger can fail over."""


@pytest.mark.parametrize("lost_from_s", [0, 30, 70, 130])
async def test_the_end_of_a_call_that_was_lost_is_booked_again(store: LossyStore, lost_from_s: int) -> None:
    async with make_rig(SHARED, store=store) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(lost_from_s)
        store.remember()
        await rig.clock.advance(130.1 - lost_from_s)
        await rig.hang_up(call)
        await rig.clock.advance(5)
        (booked,) = await store.cdrs()
        store.fail_over()
        assert await store.cdrs() == []
        await rig.clock.advance(40)
        assert rig.switch.records == {}, "what the switch knew of it is gone"
        assert await store.cdrs() == [booked]
        assert (await rig.balance()).posted == 10 * EURO - 130 * SECOND
        assert await rig.reserved() == {}
        assert rig.heard("session_reasserted")
        assert not rig.heard("session_lost")
        await assert_sound(store)
        await rig.clock.advance(600)
        assert await store.cdrs() == [booked]


@pytest.mark.parametrize("stored", [True, False])
async def test_the_end_of_a_voicemail_that_was_lost_is_booked_again(store: LossyStore, stored: bool) -> None:
    async with make_rig(SHARED, store=store) as rig:
        await rig.subscriber(credit=EURO, plan="free", forward_to="")
        answer = await rig.ring()
        assert answer.session is not None
        store.remember()
        rig.switch.leave_message(answer.session, "u1", stored=stored)
        await rig.clock.advance(1)
        booked = await store.cdrs()
        store.fail_over()
        await rig.clock.advance(60)
        assert await store.cdrs() == booked
        assert await rig.balance() == Balance(EURO - 100_000 * stored)


@pytest.mark.parametrize("policy", [SHARED, Policy()], ids=["shared", "alone"])
async def test_a_call_that_ends_while_the_stored_sessions_are_read_is_not_taken_for_a_lost_one(
    store: LossyStore, policy: Policy
) -> None:
    async with make_rig(policy, store=store) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(29)
        rig.registry.doubt()
        store.hang_up = lambda: rig.hang_up(call)
        await rig.clock.advance(2)
        assert await store.sessions() == []
        assert not rig.heard("session_reasserted")
        assert not rig.heard("session_lost")
        assert not rig.heard("session_restored")
        assert len(rig.heard("call_settled")) == 1


async def test_what_is_doubted_while_the_stored_sessions_are_read_is_looked_for_once_more(store: LossyStore) -> None:
    async with make_rig(store=store) as rig:
        await rig.subscriber(credit=10 * EURO)

        async def doubt() -> None:
            rig.registry.doubt()

        store.hang_up = doubt
        rig.registry.doubt()
        await rig.clock.advance(AUDIT_S + 1)
        read, sessions = list[str](), store.sessions

        async def counted(switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
            read.append("once more")
            return await sessions(switch=switch, account=account)

        store.sessions = counted  # type: ignore[method-assign]
        await rig.clock.advance(90)
        assert read == ["once more"]


@pytest.mark.parametrize("goes_on_s", [0, 40], ids=["ends_at_once", "goes_on"])
async def test_r23_a_call_whose_lost_ticks_money_went_to_others_is_closed_and_pays_what_is_left(
    store: LossyStore, goes_on_s: int
) -> None:
    """The ledger lost its last ticks, not its opening: what they settled is not paid."""
    async with make_rig(Policy(tick_s=20, horizon_s=20, warn_before_s=5, short_poll_s=1), store=store) as rig:
        await rig.subscriber(credit=100 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(30)
        store.remember()
        await rig.clock.advance(50)
        store.fail_over()
        await others_take(rig, 5 * SECOND)
        await rig.clock.advance(goes_on_s)
        if not call.ended.is_set():
            await rig.hang_up(call)
        await rig.clock.advance(120)
        assert not rig.heard("session_lost")
        assert await store.sessions() == []
        assert await rig.reserved() == {}
        assert (await rig.balance()).posted == 0
        (row,) = await store.cdrs()
        assert json.loads(row.document)["billed_s"] == 60 + 5, "what was held before the loss, and what was left"
        await assert_sound(store)


DAYS = [f"2026-12-{day:02d}" for day in range(1, LEGS_MAX + 3)]
MANY = {"promos": {promo(day): 10 * SECOND for day in DAYS}, "packs": {pack_of("p", day): 10 for day in DAYS}}


@pytest.mark.parametrize("gifts", MANY.values(), ids=MANY)
@pytest.mark.parametrize("lost", ["opening", "ticks"])
@pytest.mark.parametrize("noticed", ["at_a_tick", "at_the_end"])
async def test_a_call_that_used_more_gifts_than_a_transfer_has_legs_survives_a_fail_over(
    store: LossyStore, gifts: dict[str, int], lost: str, noticed: str
) -> None:
    tariff = replace(make_tariff(), packs={"p": Pack("p", "", 600, 30)})
    async with make_rig(
        Policy(tick_s=5, horizon_s=5, warn_before_s=5, short_poll_s=1), tariff=tariff, store=store
    ) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, gifts)
        if lost == "opening":
            store.remember()
        call = await rig.talking()
        if lost == "ticks":
            store.remember()
        used_s = 10 * len(gifts)
        await rig.clock.advance(used_s + 0.1)
        store.fail_over()
        if noticed == "at_a_tick":
            await rig.clock.advance(30)
            used_s += 30
        await rig.hang_up(call)
        await rig.clock.advance(30)
        assert rig.heard("session_reasserted")
        assert not rig.heard("session_lost")
        assert await store.sessions() == []
        assert await rig.reserved() == {}
        (row,) = await store.cdrs()
        assert json.loads(row.document)["billed_s"] == used_s
        assert (await rig.balance(next(iter(gifts)))).posted == 0, "the first of them pays still"
        await assert_sound(store)


@pytest.mark.parametrize("gifts", MANY.values(), ids=MANY)
async def test_an_end_that_is_planned_anew_waits_for_a_ledger_that_is_away(
    store: LossyStore, gifts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fail-over it may be away for longer than as many tries as a refused plan has."""
    tariff = replace(make_tariff(), packs={"p": Pack("p", "", 600, 30)})
    async with make_rig(
        Policy(tick_s=5, horizon_s=5, warn_before_s=5, short_poll_s=1), tariff=tariff, store=store
    ) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, gifts)
        call = await rig.talking()
        store.remember()
        await rig.clock.advance(10 * len(gifts) + 0.1)
        store.fail_over()
        reads = store.balances

        async def gone(account: str) -> Mapping[str, Balance]:
            store.failing, store.unreadable = 1.0, True  # from the first reading on
            return await reads(account)

        monkeypatch.setattr(store, "balances", gone)
        await rig.hang_up(call)
        await rig.clock.advance(600)
        assert not rig.heard("session_lost")
        monkeypatch.undo()
        store.failing, store.unreadable = 0.0, False
        await rig.clock.advance(60)
        assert not rig.heard("session_lost")
        assert await store.sessions() == []
        (row,) = await store.cdrs()
        assert json.loads(row.document)["billed_s"] == 10 * len(gifts)
        await assert_sound(store)


async def test_closed_records_are_kept_for_a_while(rig: Rig) -> None:
    await rig.subscriber(credit=EURO)
    session = rig.session_of(await rig.talking())
    closed = ClosedRecords()
    closed.add(session, 7)
    assert closed.get(session.id) is session
    closed.add(replace(session, id="b"), 7 + KEPT_S * MICROSECONDS)
    assert closed.get(session.id) is session
    closed.add(replace(session, id="c"), 8 + KEPT_S * MICROSECONDS)
    assert closed.get(session.id) is None
    assert closed.get("b") is not None


async def test_a_lost_call_is_booked_again_whatever_calls_have_begun_since(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    store.fail_over()
    others = [await rig.ringing() for _ in range(5)]
    assert (await rig.ring()).reason == "too_many_calls"
    await rig.clock.advance(20.1)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 20 * SECOND
    assert (await rig.balance("calls")).reserved == len(others)
    assert not rig.heard("session_lost")


async def test_a_lost_opening_of_a_call_that_nobody_answers_needs_no_money(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=120 * SECOND)
    store.remember()
    call = await rig.ringing()
    store.fail_over()
    await rig.credit(-120 * SECOND, "chargeback")
    await rig.hang_up(call)
    assert not rig.heard("session_lost")
    (row,) = await store.cdrs()
    assert json.loads(row.document)["billed_s"] == 0
    assert await rig.reserved() == {}
