"""A fax that is handed in several times at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from charging.fax.desk import FaxSent, FaxWish
from charging.fax.sending import session_of
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


async def subscribed(office: Office, account: str, number: str) -> None:
    """Beside anna, who has the office's first number."""
    store, at_us = office.rig.store, office.rig.clock.now().wall_us
    await store.directory.put_account(Account(account, "light"))
    await store.directory.put_number(Number(number, account), None)
    await store.apply(Transfer(f"top-up/{account}", account, Kind.TOP_UP, at_us, (Leg(CREDIT, 10 * EURO),)))


async def test_no_more_faxes_at_once_than_allowed(office: Office) -> None:
    """An account has at most half of the lines: so none keeps all others from sending."""
    await subscribed(office, "ben", "+31201234568")
    await subscribed(office, "carl", "+31201234569")
    await office.sent("one")
    second = await office.sent("two")
    busy = refused(await office.send("three"), Code.UNAVAILABLE)
    assert "2 faxes of account 'anna' are being sent now" in busy.message
    assert "send it again" in busy.advice
    for account in ("ben", "carl"):
        assert isinstance(await office.faxes.send(account, FaxWish(TARGET, b"doc"), account), FaxSent)
    busy = refused(await office.faxes.send("carl", FaxWish(TARGET, b"doc"), "six"), Code.UNAVAILABLE)
    assert "all lines are busy: 4 faxes" in busy.message
    await office.ends(second.session, "SUCCESS", 3)
    assert "1 faxes of account 'anna'" in refused(await office.send("three"), Code.UNAVAILABLE).message
    await office.ends(session_of("ben", "ben"), "SUCCESS", 3)
    await office.sent("three")


async def test_accounts_that_have_lines_leave_some_to_those_that_have_none(office: Office) -> None:
    """Two held all of them, at machines that confirm no page, and paid nothing."""
    office.at_once = 10
    office.faxes = office.opened()
    had = {}
    for nth, account in enumerate(("ben", "carl", "dora", "emil", "fay")):
        await subscribed(office, account, f"+3120123460{nth}")
        sent = [
            isinstance(await office.faxes.send(account, FaxWish(TARGET, b"doc"), f"{account}-{key}"), FaxSent)
            for key in range(10)
        ]
        had[account] = sent.count(True)
    assert had == {"ben": 5, "carl": 3, "dora": 1, "emil": 1, "fay": 0}


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
    office.desk.at_once_of_account = 4
    for key in ("two", "three", "four"):
        await office.sent(key)
