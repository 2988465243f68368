"""What callers from outside tell again after an archive is known (rule 9 of the port): money moves once, a fax goes
once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from charging.clock import MICROSECONDS
from charging.ledger.books.archive import archive
from charging.ledger.books.portable import Counts
from charging.ledger.model import CREDIT, Closed, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.ledger.remembered import OUTSIDE_REMEMBERED_S, carried_out, session_was_archived
from charging.service.money import Credited, Money
from charging.service.refusal import Code, Refused
from charging.tariff.tariff import TopUps
from tests.contract.scenario import add_account, assert_sound
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, make_tariff

DAY_S = 86_400


class Shop:
    """Who tells of payments, at a ledger whose old months are archived."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.clock = FakeClock()
        self.tariff = replace(make_tariff(), top_ups=TopUps(10 * EURO, ()))
        self.money = Money(store, lambda: self.tariff, self.clock, lambda _account: None)
        self._folder = folder

    async def archive(self) -> None:
        now_us = self.clock.now().wall_us
        await archive(
            self.store, now_us - IDS_REMEMBERED_S * MICROSECONDS, now_us, self._folder, lambda _: "m", Counts()
        )

    async def archived_after(self, seconds: float) -> None:
        """Something else happens by then, so that there is a journal to go on with."""
        await self.clock.advance(seconds)
        await self.archive()

    async def credit(self) -> int:
        return (await self.store.balances("a"))[CREDIT].posted


@pytest.fixture
async def shop(store: Store, tmp_path: Path) -> Shop:
    await add_account(store)
    return Shop(store, tmp_path)


def created(answer: Credited | Refused) -> bool:
    assert isinstance(answer, Credited), answer
    return answer.created


@pytest.mark.parametrize("days", [36, 399])
async def test_what_is_told_again_after_an_archive_is_not_carried_out_again(shop: Shop, days: int) -> None:
    assert created(await shop.money.top_up("a", 10 * EURO, "order-1"))
    assert created(await shop.money.correct("a", -EURO, "goodwill", "case-1"))
    await shop.archived_after(days * DAY_S)
    assert not created(await shop.money.top_up("a", 10 * EURO, "order-1"))
    assert not created(await shop.money.correct("a", -EURO, "goodwill", "case-1"))
    other = await shop.money.top_up("a", 25 * EURO, "order-1")
    assert isinstance(other, Refused)
    assert other.code is Code.KEY_REUSED
    assert await shop.credit() == 9 * EURO
    assert created(await shop.money.top_up("a", 10 * EURO, "order-2")), "another one"
    await assert_sound(shop.store)


async def test_an_id_is_known_however_often_the_journal_is_archived(shop: Shop) -> None:
    await shop.money.top_up("a", 10 * EURO, "order-1")
    for number in range(2, 5):
        await shop.archived_after(60 * DAY_S)
        await shop.money.top_up("a", 10 * EURO, f"order-{number}")
    assert not created(await shop.money.top_up("a", 10 * EURO, "order-1"))
    assert await shop.credit() == 40 * EURO


async def test_a_repeated_amount_that_is_not_sold_any_more_is_still_known(shop: Shop) -> None:
    await shop.money.top_up("a", 10 * EURO, "order-1")
    await shop.archived_after(40 * DAY_S)
    shop.tariff = replace(shop.tariff, top_ups=TopUps(50 * EURO, ()))
    assert not created(await shop.money.top_up("a", 10 * EURO, "order-1"))


async def test_an_id_is_forgotten_when_it_was_remembered_as_long_as_is_said(shop: Shop) -> None:
    transfer = Transfer("top-up/k", "a", Kind.TOP_UP, shop.clock.now().wall_us, (Leg(CREDIT, 1),), reason="top_up")
    await shop.store.apply(transfer)
    await shop.archived_after(OUTSIDE_REMEMBERED_S - 1)
    assert await carried_out(shop.store, transfer) is Outcome.EXISTS
    await shop.archived_after(1)
    assert await carried_out(shop.store, transfer) is None


async def test_a_line_that_is_too_old_already_is_not_kept(shop: Shop) -> None:
    transfer = Transfer("top-up/k", "a", Kind.TOP_UP, shop.clock.now().wall_us, (Leg(CREDIT, 1),), reason="top_up")
    await shop.store.apply(transfer)
    await shop.archived_after(OUTSIDE_REMEMBERED_S)
    assert await carried_out(shop.store, transfer) is None


@pytest.mark.parametrize("attempt", ["", "-2"])
async def test_a_fax_that_was_archived_is_known_by_its_key(shop: Shop, attempt: str) -> None:
    await shop.money.top_up("a", 10 * EURO, "order-1")
    session, at_us = f"fax-0123456789abcdef{attempt}", shop.clock.now().wall_us
    opened = Transfer(
        f"{session}/1", "a", Kind.RESERVE, at_us, (Leg(CREDIT, 0, EURO),), session, Opened("s", "{}"), "fax"
    )
    closed = Closed('{"session":"x"}', at_us, follows=1)
    settled = Transfer(f"{session}/2", "a", Kind.SETTLE, at_us, (Leg(CREDIT, -EURO, -EURO),), session, closed, "fax")
    for one in (opened, settled):
        assert (await shop.store.apply(one)).outcome is Outcome.CREATED
    await shop.archived_after(40 * DAY_S)
    assert await session_was_archived(shop.store, "a", "fax-0123456789abcdef")
    assert not await session_was_archived(shop.store, "a", "fax-fedcba9876543210")
