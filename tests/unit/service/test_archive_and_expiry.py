"""Archiving closed months changes neither the day on which credit expires nor a mail about it (R15, R19, R20)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from charging.ledger.books.archive import archive
from charging.ledger.books.portable import Counts
from charging.ledger.model import CREDIT, Kind, Leg
from charging.notify.notifier import COLLECTION, Notifier
from charging.notify.outbox import Outbox
from charging.tariff.plans import Plan
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.unit.service.house import House

Told = list[tuple[date, int, tuple[str, ...]]]
Past = Callable[[House], Awaitable[None]]
ARCHIVED_ON = "2028-02-10T12:00"
BEFORE = "2028-01-01T00:00"


async def free_calls_after_a_use(house: House) -> None:
    """The last event is of June; what came after it cost nothing."""
    await house.top_up()
    await house.until("2027-06-01T12:00")
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))
    await house.until("2027-12-24T18:00")
    await house.use_month("2027-12", 60)


async def a_purchase_alone(house: House) -> None:
    await house.until("2027-07-15T12:00")
    await house.top_up()
    await house.until("2027-11-01T12:00")
    await house.use_month("2027-11", 60)


async def a_use_after_the_archived_months(house: House) -> None:
    await house.top_up()
    await house.until("2028-01-10T12:00")
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))


async def almost_everything_used(house: House) -> None:
    """Low credit was told of before; archiving must not arm it again."""
    await house.top_up()
    await house.until("2027-05-05T12:00")
    await house.move(Kind.SETTLE, Leg(CREDIT, -(9 * EURO + EURO // 2)))
    await house.until("2027-10-05T12:00")
    await house.use_month("2027-10", 60)


async def expired_and_bought_again(house: House) -> None:
    await house.top_up()
    await house.credit_after_turn("2027-11-22T12:00")
    await house.top_up(25)
    await house.until("2027-12-05T12:00")
    await house.use_month("2027-12", 60)


class Year:
    """A house whose mails are kept, and what became of it."""

    def __init__(self) -> None:
        self.house = House(FakeClock())
        plans = {"pro": Plan("pro", "table", is_paid=True, free_seconds=600, low_credit=EURO)}
        self.house.tariff = replace(self.house.tariff, plans=MappingProxyType(plans), expiry_notices_days=(60, 30, 7))
        self.outbox = Outbox(self.house.store.documents)

    @property
    def notifier(self) -> Notifier:
        """Of a daemon that has just been started."""
        house = self.house
        return Notifier(
            house.store,
            house.store.documents,
            self.outbox,
            lambda: house.tariff,
            house.clock,
            lambda one: one.paid_at_us,
            lambda: None,
        )

    async def begin(self, past: Past) -> None:
        await self.house.open(plan="pro")
        await self.house.edit(email="anna@example.nl")
        await past(self.house)
        await self.notifier.look("anna")
        await self.house.until(ARCHIVED_ON)
        await self.notifier.look("anna")

    async def archive(self, folder: Path) -> None:
        house = self.house
        before, now = house.at(BEFORE), house.clock.now().wall_us
        await archive(house.store, before, now, folder, house.tariff.month_of, Counts())

    async def forget_record(self) -> None:
        record = await self.house.store.documents.get_document(COLLECTION, "anna")
        assert record is not None
        await self.house.store.documents.delete_document(record)

    async def pass_by(self) -> Told:
        """By day, to the end of the next year: the credit, and the mails put."""
        told = []
        day = date(2028, 2, 11)
        while day < date(2029, 2, 1):
            credit = await self.house.credit_after_turn(f"{day}T10:00")
            told.append((day, credit, tuple(one.id for one in await self.notifier.look("anna"))))
            day += timedelta(days=1)
        return told


@pytest.mark.parametrize("record", ["kept", "lost"])
@pytest.mark.parametrize(
    "past",
    [
        free_calls_after_a_use,
        a_purchase_alone,
        a_use_after_the_archived_months,
        almost_everything_used,
        expired_and_bought_again,
    ],
)
async def test_r19_r20_archived_months_let_credit_expire_and_warn_on_the_same_days(
    past: Past, record: str, tmp_path: Path
) -> None:
    whole, archived = Year(), Year()
    await whole.begin(past)
    await archived.begin(past)
    await archived.archive(tmp_path)
    assert (await anext(archived.house.store.journal("anna"))).kind is Kind.OPENING
    if record == "lost":
        await archived.forget_record()
    expected = await whole.pass_by()
    assert await archived.pass_by() == expected
    assert expected[0][1] > 0, "there was credit to begin with"
    assert expected[-1][1] == 0, "and it expired"
    assert any(mails for _, _, mails in expected), "and was warned of"
    _named_the_day(expected)


def _named_the_day(told: Told) -> None:
    """R20: each warning named the last day on which the credit was there, so many days ahead."""
    last_day = max(day for day, credit, _ in told if credit)
    for day, _, mails in told:
        for _, named, ahead in (mail.split("/") for mail in mails if mail.startswith("expiry/")):
            assert date.fromisoformat(named) == last_day
            assert (last_day - day).days == int(ahead)
