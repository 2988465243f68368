"""Past months expire (R11), and how the caretaker makes its rounds."""

from __future__ import annotations

from collections.abc import AsyncIterator

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account
from charging.ledger.model import CREDIT, Balance, Kind, Leg
from charging.service.caretaker import PAGE_ACCOUNTS, PAGE_REST_S, REST_S
from tests.fakes.rig import EURO
from tests.unit.service.house import House

# --- months ---------------------------------------------------------------------------------------------------


async def test_r11_unused_free_minutes_expire_with_their_month(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-11-30T23:59:59")
    await house.caretaker.turn()
    assert (await house.balance("bundle:2026-11")).posted == 500
    await house.until("2026-12-01T00:00:00")
    await house.caretaker.turn()
    assert (await house.balance("bundle:2026-11")).posted == 0
    assert await house.expiries() == ["expire/bundle:2026-11"]


async def test_r11_a_daemon_that_was_down_for_months_ends_each_of_them(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-12-15T12:00")
    await house.use_month("2026-12", 200)
    await house.until("2027-02-03T12:00")
    await house.use_month("2027-02", 300)
    await house.another().turn()
    assert await house.expiries() == ["expire/bundle:2026-11", "expire/bundle:2026-12"]
    assert (await house.balance("bundle:2027-02")).posted == 300


async def test_r11_a_call_over_midnight_uses_the_old_months_minutes_to_its_end(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-11-30T23:59:30")
    await house.call("s", Leg("bundle:2026-11", 0, 30))
    async with house.running():
        await house.until("2026-12-01T00:05")
        assert await house.balance("bundle:2026-11") == Balance(500, 30)
        await house.hang_up("s", Kind.SETTLE, Leg("bundle:2026-11", -30, -30))
        await house.clock.advance(REST_S)
    assert await house.balance("bundle:2026-11") == Balance()
    line = [line async for line in house.store.journal("anna")][-1]
    assert (line.id, line.legs) == ("expire/bundle:2026-11", (Leg("bundle:2026-11", -470),))


async def test_r11_a_bundle_made_over_midnight_by_an_older_plans_call_is_raised(house: House) -> None:
    """The call began on pro; the account moved to max before midnight."""
    await house.edit(plan="max")
    await house.until("2026-12-01T00:01")
    await house.use_month("2026-12", 60, plan="pro")
    await house.another().turn()
    assert (await house.balance("bundle:2026-12")).posted == 1440


# --- as a task ------------------------------------------------------------------------------------------------


async def test_a_round_is_made_at_the_start_and_soon_after_each_midnight(house: House) -> None:
    rounds = 0
    accounts = house.store.directory.accounts

    async def counted() -> AsyncIterator[Account]:
        nonlocal rounds
        rounds += 1
        async for account in accounts():
            yield account

    house.store.directory.accounts = counted  # type: ignore[method-assign]
    async with house.running():
        assert rounds == 1
        await house.until("2026-11-21T23:59:59")
        assert rounds == 1
        await house.clock.advance(1 + REST_S)
        assert rounds == 2
        await house.clock.advance(3600)
        assert rounds == 2


async def test_a_restart_repeats_nothing(house: House) -> None:
    await house.top_up()
    await house.credit_after_turn("2027-11-22T00:00")
    lines = [line async for line in house.store.journal("anna")]
    await house.another().turn()
    assert [line async for line in house.store.journal("anna")] == lines


async def test_a_round_rests_after_each_page(house: House) -> None:
    for number in range(2 * PAGE_ACCOUNTS):
        await house.open(f"b{number:05}")
    looks: list[str] = []
    balances = house.store.balances

    async def seen(account: str) -> object:
        looks.append(account)
        return await balances(account)

    house.store.balances = seen  # type: ignore[method-assign, assignment]
    async with house.running():
        assert len(looks) == PAGE_ACCOUNTS
        await house.clock.advance(PAGE_REST_S)
        assert len(looks) == 2 * PAGE_ACCOUNTS
        await house.clock.advance(PAGE_REST_S)
        assert len(looks) == 2 * PAGE_ACCOUNTS + 1


async def test_a_round_that_the_ledger_interrupts_goes_on_where_it_was(house: House) -> None:
    for name in ("b", "c"):
        await house.open(name)
    looks: list[str] = []
    balances = house.store.balances

    async def failing(account: str) -> object:
        looks.append(account)
        if looks == ["anna", "b"]:
            raise LedgerUnavailable
        return await balances(account)

    house.store.balances = failing  # type: ignore[method-assign, assignment]
    async with house.running():
        assert looks == ["anna", "b"]
        await house.clock.advance(REST_S)
        assert looks == ["anna", "b", "b", "c"]


async def test_a_fault_about_one_account_stops_no_other(house: House) -> None:
    await house.open("b")
    await house.move(Kind.TOP_UP, Leg(CREDIT, EURO), account="b")
    balances = house.store.balances

    async def faulty(account: str) -> object:
        if account == "anna":
            raise ValueError("damaged")
        return await balances(account)

    house.store.balances = faulty  # type: ignore[method-assign, assignment]
    await house.until("2027-11-22T00:00")
    await house.caretaker.turn()
    assert (await balances("b"))[CREDIT].posted == 0
