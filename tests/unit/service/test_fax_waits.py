"""What becomes different while a fax's document is being made ready, which may take minutes, counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from charging.fax.desk import FaxSent
from charging.ledger.accounts import Account, Status
from charging.pricing.rate import Step
from charging.service.refusal import Code, Obstacle, Refused
from charging.tariff.tariff import Price, RateTable
from tests.fakes.ami import eventually
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]


async def waits(office: Office) -> asyncio.Task[FaxSent | Refused]:
    """A fax whose document is being made ready."""
    office.ready.clear()
    sending = asyncio.create_task(office.send("one"))
    await eventually(lambda: len(office.prepared) == 1, "the document is being made ready")
    return sending


async def no(office: Office, sending: asyncio.Task[FaxSent | Refused], code: Code) -> Obstacle | None:
    office.ready.set()
    refusal = refused(await sending, code)
    assert (office.orders, len(office.removed)) == ([], 1)
    assert await office.rig.reserved() == {}
    return refusal.obstacle


@pytest.mark.parametrize(("status", "code"), [(Status.SUSPENDED, Code.NOT_ALLOWED), (Status.CLOSED, Code.CLOSED)])
async def test_the_fax_of_an_account_that_was_suspended_or_closed_meanwhile_is_not_sent(
    office: Office, status: Status, code: Code
) -> None:
    sending = await waits(office)
    store = office.rig.store
    anna = await store.directory.account("anna")
    assert anna is not None
    assert await store.directory.put_account(replace(anna, status=status))
    await no(office, sending, code)


async def test_no_fax_leaves_with_a_number_that_is_anothers_by_now(office: Office) -> None:
    sending = await waits(office)
    directory = office.rig.store.directory
    (number,) = await directory.numbers("anna")
    assert await directory.put_account(Account("ben", "light"))
    assert await directory.remove_number(number)
    assert await directory.put_number(replace(number, account="ben"))
    assert await no(office, sending, Code.NOT_ALLOWED) is Obstacle.NO_OWN_NUMBER


async def test_r9_a_page_costs_what_it_costs_when_the_fax_is_sent(office: Office) -> None:
    sending = await waits(office)
    dearer = RateTable("table", {"nl_mobile": Price((Step(0, 60_000, 60, 1),), fax_page=2 * PAGE)})
    office.rig.tariff = replace(office.rig.tariff, tables={"table": dearer})
    office.ready.set()
    answer = await sending
    assert isinstance(answer, FaxSent)
    assert (await office.rig.reserved())["credit"] == 6 * PAGE
