"""Running calls as people see them: on the engine's heart with a fake switch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from charging.call.model import Session, from_json
from charging.clock import Instant
from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account, Status
from charging.ledger.balances import bundle, promo
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Applied, Kept, Kind, Leg, Opened, Transfer
from charging.service import live
from charging.service.actor import acting
from charging.service.balance import BalanceView
from charging.service.changes import Act
from charging.service.live import CallView, LiveCalls, NoCalls, RegistryCalls, call_view
from charging.service.refusal import Code
from charging.service.service import Service
from charging.service.trail import Sought, Trail
from charging.web.models import BalanceOut
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff
from tests.unit.service.conftest import refused

MONTH = "2026-11"


def service_of(rig: Rig, calls: LiveCalls | None = None) -> Service:
    return Service(
        store=rig.store,
        tariff=lambda: rig.tariff,
        clock=rig.clock,
        funds_changed=rig.registry.funds_changed,
        live=calls or RegistryCalls(rig.registry),
    )


async def view_of(rig: Rig) -> BalanceView:
    view = await service_of(rig).balances.view("anna")
    assert isinstance(view, BalanceView)
    return view


async def test_r5_the_balance_includes_what_a_running_call_has_used_since_its_last_tick() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        await rig.clock.advance(30)
        view = await view_of(rig)
        assert view.credit.posted == EURO
        assert view.credit.now == EURO - 30_000
        assert view.credit.reserved == 120_000
        assert view.credit.available == EURO - 120_000
        assert [(call.elapsed_s, call.cost) for call in view.calls] == [(30, 30_000)]


@pytest.mark.parametrize(("status", "left_s"), [(Status.ACTIVE, 600), (Status.SUSPENDED, 600), (Status.CLOSED, 0)])
async def test_r5_closed_account_has_no_minutes_that_it_was_not_granted(status: Status, left_s: int) -> None:
    """A suspended one may be active again in this month."""
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        account = await rig.store.directory.account("anna")
        assert account is not None
        await rig.store.directory.put_account(replace(account, status=status))
        view = await view_of(rig)
        assert (view.free.left, view.credit.available) == (left_s, EURO)


@pytest.mark.parametrize(("talked_s", "minutes"), [(60, 1), (60.2, 1), (60.3, 2)])
async def test_r5_the_balance_shown_in_a_call_is_what_it_would_be_if_the_call_ended_now(
    talked_s: float, minutes: int
) -> None:
    """Also in the moment after an increment, which the switch's own lateness in cutting does not make anyone pay."""
    async with make_rig(tariff=make_tariff(price=120_000, increment_s=60)) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(talked_s)
        shown = (await view_of(rig)).credit.now
        await rig.hang_up(call)
        await rig.clock.advance(1)
        assert shown == (await view_of(rig)).credit.now == 10 * EURO - minutes * 120_000


async def test_r5_what_a_tick_has_settled_is_counted_once() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        await rig.clock.advance(90)
        view = await view_of(rig)
        assert EURO - 61_000 <= view.credit.posted <= EURO - 59_000
        assert view.credit.now == EURO - 90_000
        assert view.calls[0].cost == 90_000


async def test_r5_a_tick_that_is_booked_and_not_yet_answered_is_counted_once() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        answered, apply = asyncio.Event(), rig.store.apply

        async def apply_and_dawdle(transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
            applied = await apply(transfer, grants)
            await answered.wait()
            return applied

        rig.store.apply = apply_and_dawdle  # type: ignore[method-assign]
        await rig.clock.advance(61)
        view = await view_of(rig)
        assert view.credit.posted == EURO - 60_000, "the tick is in the books"
        assert view.calls[0].session.posted == {}, "and its runner does not know yet"
        assert (view.credit.now, view.calls[0].cost) == (EURO - 61_000, 61_000)
        answered.set()


async def test_r5_what_a_call_is_shown_to_cost_follows_what_was_settled_and_ends_as_it_leaves_its_bridge() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(90)
        session, now = rig.session_of(call), rig.clock.now()
        assert session.answered is not None

        def cost(of: Session, at: Instant) -> int:
            return call_view(of, at, True, of.posted, rig.policy.answer_tolerance_ms).cost

        assert cost(session, now) == 90_000
        assert cost(replace(session, left=now), now.plus(5)) == 90_000, "it does not talk any more"
        assert cost(session, session.answered.plus(1)) == session.fixed_s * 1000 > 1000, "no less than is settled"


async def test_a_running_call_takes_what_a_gift_pays_from_no_bought_credit() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        gift = promo("2026-12-31")
        await rig.store.apply(Transfer("gift", "anna", Kind.GRANT, 1, (Leg(gift, 300_000),)))
        await rig.talking()
        await rig.clock.advance(30)
        (view,) = await service_of(rig).calls.of("anna")
        assert view.unsettled_by == {gift: 30_000, CREDIT: 0}


async def test_r5_the_months_free_seconds_are_shown_before_they_are_granted() -> None:
    async with make_rig() as rig:
        await rig.subscriber(plan="pro")
        free = (await view_of(rig)).free
        assert (free.month, free.granted, free.posted, free.reserved, free.left) == (MONTH, False, 600, 0, 600)
        assert bundle(MONTH) not in await rig.store.balances("anna")


async def test_r5_free_seconds_fall_during_the_call_and_credit_does_not() -> None:
    async with make_rig() as rig:
        await rig.subscriber(plan="pro", credit=EURO)
        await rig.talking()
        await rig.clock.advance(30)
        view = await view_of(rig)
        assert (view.free.granted, view.free.posted, view.free.now, view.free.left) == (True, 600, 570, 480)
        assert (view.credit.now, view.calls[0].cost) == (EURO, 0)
        assert view.calls[0].free_seconds == {bundle(MONTH): 30}


async def test_a_plan_that_left_the_tariff_gives_no_free_seconds() -> None:
    async with make_rig() as rig:
        await rig.subscriber(plan="gone")
        assert (await view_of(rig)).free.left == 0


async def test_a_call_is_covered_from_its_answer_for_what_is_reserved() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.ringing()
        view = (await service_of(rig).calls.of("anna"))[0]
        assert (view.elapsed_s, view.cost, view.covered_until_us) == (0, 0, None)
        rig.switch.answer(call.session)
        await rig.clock.advance(10)
        view = (await service_of(rig).calls.of("anna"))[0]
        assert view.covered_until_us == view.session.start_us + 120 * EURO
        assert view.watched


@pytest.mark.parametrize("answered", [True, False])
async def test_the_process_beside_the_daemon_shows_the_same_balance_from_the_calls_records(answered: bool) -> None:
    """So no page that asks again and again asks the process that decides calls."""
    async with make_rig() as rig:
        await rig.subscriber(plan="pro", credit=EURO)
        if answered:
            await rig.talking()
        else:
            await rig.ringing()
        beside = service_of(rig, NoCalls(beside="test"))
        for seconds in (0.5, 5, 54.4, 1, 600, 37.2) if answered else (0.5, 5):
            await rig.clock.advance(seconds)
            daemons, ours = await view_of(rig), await beside.balances.view("anna")
            assert isinstance(ours, BalanceView)
            shown, same = (BalanceOut.of(view).model_dump() for view in (ours, daemons))
            assert [call.pop("state") for call in shown["calls"]] == ["running" if answered else "reserved"]
            assert [call.pop("state") for call in same["calls"]] == ["running" if answered else "ringing"]
            assert shown == same
            assert all(call.watched for call in ours.calls)


@pytest.mark.parametrize("stepped_s", [-3600, 3600])
async def test_r5_a_step_of_the_wall_clock_moves_no_balance_beside_the_daemon(stepped_s: float) -> None:
    """Also before the daemon has noted it in the call's record."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.talking()
        await rig.clock.advance(20)
        rig.clock.step_wall(stepped_s)
        shown = await service_of(rig, NoCalls(beside="test")).balances.view("anna")
        assert isinstance(shown, BalanceView)
        assert [call.elapsed_s for call in shown.calls] == [20]
        assert shown.credit.now == 10 * EURO - 20_000


async def test_the_calls_of_another_switch_are_not_looked_after_beside() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        (view,) = await service_of(rig, NoCalls(beside="another")).calls.of("anna")
        assert not view.watched


async def test_a_call_that_no_daemon_looks_after_is_shown_as_stored_and_stops_at_what_is_paid() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(61)
        await rig.kill_daemon()
        await rig.clock.advance(1000)
        service = service_of(rig, NoCalls())
        (view,) = await service.calls.of("anna")
        assert (view.session.id, view.watched) == (call.session, False)
        assert view.cost == view.session.covered_s * 1000
        refused(await service.calls.hang_up(call.session, "why"), Code.CONFLICT)


async def test_a_stored_session_that_can_not_be_read_hides_no_other() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.kill_daemon()
        await rig.store.keep_session("anna", call.session, Kept("nonsense", follows=1))
        assert await service_of(rig, NoCalls()).calls.of("anna") == []


async def test_a_call_is_hung_up_with_a_reason() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        service = service_of(rig)
        refused(await service.calls.hang_up("none", "why"), Code.NOT_FOUND)
        await service.calls.hang_up(call.session, "fraud")
        await rig.clock.advance(10)
        assert await service.calls.of("anna") == []
        (cdr,) = await rig.store.cdrs()
        assert '"hangup_reason":"fraud"' in cdr.document


async def test_a_call_is_hung_up_by_hand_also_while_the_ledger_answers_nothing() -> None:
    """The note comes after it; where it cannot be written the log has it, with who asked."""
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()

        async def fails(*_: object) -> Any:
            raise LedgerUnavailable("the disk is full")

        with pytest.MonkeyPatch.context() as patch, capture_logs() as logs, acting("cli:alice"):
            patch.setattr(rig.store.documents, "put_document", fails)
            patch.setattr(rig.store, "session", fails)
            view = await service_of(rig).calls.hang_up(call.session, "fraud")
        assert isinstance(view, CallView)
        [told] = [one for one in logs if one["event"] == "hang_up_not_noted"]
        assert (told["actor"], told["session"], told["account"]) == ("cli:alice", call.session, "anna")
        await rig.clock.advance(10)
        (cdr,) = await rig.store.cdrs()
        assert '"hangup_reason":"fraud"' in cdr.document


@pytest.mark.parametrize("obeyed", [True, False])
async def test_a_hang_up_is_noted_where_a_daemon_obeyed_it(obeyed: bool) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await service_of(rig, None if obeyed else NoCalls()).calls.hang_up(call.session, "fraud")
        found, _ = await Trail(rig.store, rig.clock).page(Sought(), None, 10)
        assert [(one.change.act, one.change.after) for one in found] == [
            (Act.HUNG_UP, {"session": call.session, "reason": "fraud"})
        ] * obeyed


async def test_calls_of_one_account_only() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        service = service_of(rig)
        assert len(await service.calls.of("anna")) == 1
        assert await service.calls.of("bert") == []


OTHERS = 300


async def others_talk(rig: Rig) -> None:
    """Open sessions of other accounts, by other daemons."""
    (stored,) = await rig.store.sessions()
    for n in range(OTHERS):
        await rig.store.directory.put_account(Account(f"other{n}", "light"))
        state, at_us = stored.state.replace(stored.id, f"z{n:04}"), stored.opened_us + 1 + n
        opened = Opened("elsewhere", state, stored.epoch)
        await rig.store.apply(Transfer(f"o{n}/0", f"other{n}", Kind.RESERVE, at_us, (), f"z{n:04}", opened))


async def test_what_one_account_asks_costs_nothing_of_the_calls_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(text: str, now: Instant, epoch: int, boot: str) -> Session:
        read.append(text)
        return from_json(text, now, epoch, boot)

    monkeypatch.setattr(live, "from_json", counted)
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await others_talk(rig)
        service = service_of(rig)
        for ask in (
            lambda: service.balances.view("anna"),
            lambda: service.calls.of("anna"),
            lambda: service.calls.get(call.session),
        ):
            read.clear()
            assert await ask()
            assert len(read) == 1
        read.clear()
        assert await service.calls.hang_up(call.session, "why")
        assert not read
        read.clear()
        await service.calls.page("", 20)
        assert len(read) == 20


async def test_calls_of_everybody_come_by_the_page_each_once() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await others_talk(rig)
        service, seen, after = service_of(rig), list[str](), ""
        while True:
            views, following = await service.calls.page(after, 100)
            seen += (view.session.id for view in views)
            if following is None:
                break
            after = following
        assert len(views) == 1
        assert len(seen) == len(set(seen)) == OTHERS + 1
        (watched,) = (one for one in (await service.calls.page("", 100))[0] if one.watched)
        assert watched.session.id == call.session


async def test_r22_a_top_up_by_a_person_prolongs_a_call_that_runs_out() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=30_000)
        await rig.talking()
        await rig.clock.advance(20)
        service = service_of(rig)
        assert (await service.calls.of("anna"))[0].session.covered_s == 30
        await service.money.top_up("anna", 10 * EURO, "k")
        await rig.clock.advance(1)
        assert (await service.calls.of("anna"))[0].session.covered_s > 60


async def test_a_correction_never_takes_what_a_running_call_has_reserved() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await rig.talking()
        service = service_of(rig)
        refused(await service.money.correct("anna", -EURO, "all of it", "c1"), Code.INSUFFICIENT)
        await service.money.correct("anna", -EURO + 120_000, "what is free", "c2")
        assert (await rig.store.balances("anna"))[CREDIT].available == 0


async def test_the_books_are_audited_through_the_service() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        assert [line async for line in service_of(rig).findings()] == []
        assert isinstance(rig.store, MemoryStore)
        rig.store._books["anna"].balances[CREDIT] = type(await rig.balance())(EURO + 1)
        (line,) = [line async for line in service_of(rig).findings()]
        assert "posted_differs" in line
