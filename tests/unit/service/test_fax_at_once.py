"""A fax that is handed in several times at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from charging.fax.desk import FaxSent, FaxWish
from charging.ledger.accounts import Account, Number
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.service.refusal import Code
from tests.fakes.ami import eventually
from tests.fakes.rig import EURO
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import PAGE, TARGET, Office, office

__all__ = ["office"]  # a fixture


@pytest.mark.parametrize("other", [b"doc", b"another"])
async def test_key_that_comes_several_times_at_the_same_moment_is_one_fax(office: Office, other: bytes) -> None:
    """As of a mail that two mail servers hand over, or a signed one that somebody hands in again. Both lines are free,
    and each document was made ready before any was reserved."""
    office.ready = asyncio.Event()
    wishes = [asyncio.create_task(office.send("one", data, by_mail=True)) for data in (b"doc", other, b"doc", other)]
    await eventually(lambda: len(office.prepared) == len(wishes), "each document is being made ready")
    office.ready.set()
    answers = await asyncio.gather(*wishes)
    assert [isinstance(one, FaxSent) and one.created for one in answers].count(True) == 1
    assert (len(office.orders), len(office.removed)) == (1, len(wishes) - 1)
    assert (await office.rig.reserved())["credit"] == 3 * PAGE


async def test_no_more_faxes_at_once_than_allowed(office: Office) -> None:
    """An account has at most half of the lines: so none keeps all others from sending."""
    store = office.rig.store
    for account, number in (("ben", "+31201234568"), ("carl", "+31201234569")):
        await store.directory.put_account(Account(account, "light"))
        await store.directory.put_number(Number(number, account), None)
        legs = (Leg(CREDIT, EURO),)
        await store.apply(Transfer(f"top-up/{account}", account, Kind.TOP_UP, office.rig.clock.now().wall_us, legs))
    await office.sent("one")
    second = await office.sent("two")
    busy = refused(await office.send("three"), Code.UNAVAILABLE)
    assert "2 faxes of account 'anna' are being sent now" in busy.message
    assert "send it again" in busy.advice
    for key in ("four", "five"):
        assert isinstance(await office.faxes.send("ben", FaxWish(TARGET, b"doc"), key), FaxSent)
    busy = refused(await office.faxes.send("carl", FaxWish(TARGET, b"doc"), "six"), Code.UNAVAILABLE)
    assert "all lines are busy: 4 faxes" in busy.message
    await office.ends(second.session, "SUCCESS", 3)
    await office.sent("three")


@pytest.mark.parametrize(("at_once", "of_account"), [(1, 1), (2, 1), (3, 1), (4, 2), (10, 5)])
async def test_an_account_has_half_of_the_lines_and_at_least_one(office: Office, at_once: int, of_account: int) -> None:
    office.at_once = at_once
    office.opened()
    assert office.desk.of_account == of_account


async def test_an_account_has_as_many_lines_as_the_settings_say(office: Office) -> None:
    office.faxes = office.opened()
    office.desk.at_once_of_account = 1
    await office.sent("one")
    assert "1 faxes of account 'anna'" in refused(await office.send("two"), Code.UNAVAILABLE).message
    office.desk.at_once_of_account = 2
    await office.sent("two")
