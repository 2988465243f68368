"""What is remembered of a mail that was handed in as a fax, and for how long."""

from __future__ import annotations

import pytest

from charging.fax.mailed import COLLECTION, KEPT_DAYS, REPLIES_MAX, MailedFaxes
from charging.fax.sending import session_of
from charging.ledger.memory import MemoryStore
from charging.service.proven_time import confirm_time
from tests.fakes.clock import FakeClock

KEY = "mail-" + "0" * 32
ANNA, ANNA_2 = session_of("anna", KEY), session_of("anna-2", KEY)
DAY_S = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def mailed(store: MemoryStore, clock: FakeClock) -> MailedFaxes:
    return MailedFaxes(store, clock)


async def test_a_mail_that_was_faxed_is_one_accounts(mailed: MailedFaxes) -> None:
    assert await mailed.hindrance(KEY, ANNA_2) is None
    await mailed.faxed(KEY, ANNA)
    assert await mailed.hindrance(KEY, ANNA) is None
    assert await mailed.hindrance(KEY, ANNA_2) is not None
    assert await mailed.hindrance(KEY[:-1] + "1", ANNA_2) is None


async def test_a_mail_that_was_answered_alone_may_be_faxed_for_any_account(mailed: MailedFaxes) -> None:
    await mailed.answered(KEY)
    assert await mailed.hindrance(KEY, ANNA_2) is None
    await mailed.faxed(KEY, ANNA)
    assert await mailed.hindrance(KEY, ANNA_2) is not None


async def test_a_mail_is_answered_so_often_and_no_more(mailed: MailedFaxes) -> None:
    for _ in range(REPLIES_MAX):
        assert await mailed.may_be_answered(KEY)
        await mailed.answered(KEY)
    assert not await mailed.may_be_answered(KEY)
    assert await mailed.may_be_answered(KEY[:-1] + "1")


@pytest.mark.parametrize(("seconds", "left"), [(KEPT_DAYS * DAY_S - 1, 2), (KEPT_DAYS * DAY_S, 1)])
async def test_what_is_over_goes_with_the_next(
    mailed: MailedFaxes, store: MemoryStore, clock: FakeClock, seconds: int, left: int
) -> None:
    await mailed.faxed(KEY, ANNA)
    await clock.advance(seconds)
    await confirm_time(store, clock)
    await mailed.answered(KEY[:-1] + "1")
    assert len(await store.documents.list_documents(COLLECTION)) == left


@pytest.mark.parametrize("ahead_s", [-2 * KEPT_DAYS * DAY_S, 2 * KEPT_DAYS * DAY_S])
async def test_a_clock_that_nobody_believes_forgets_nothing(
    mailed: MailedFaxes, store: MemoryStore, clock: FakeClock, ahead_s: int
) -> None:
    """Else a copy could be faxed again as soon as a machine starts years ahead of the right time, or is set right."""
    await confirm_time(store, clock)
    clock.step_wall(min(0, ahead_s))
    await mailed.faxed(KEY, ANNA)
    clock.step_wall(abs(ahead_s))
    await mailed.answered(KEY[:-1] + "1")
    clock.step_wall(-max(0, ahead_s))
    assert await mailed.hindrance(KEY, ANNA_2) is not None


async def test_nothing_in_it_leads_to_a_person(mailed: MailedFaxes, store: MemoryStore) -> None:
    await mailed.faxed(KEY, ANNA)
    (document,) = await store.documents.list_documents(COLLECTION)
    assert "anna" not in document.body + document.id
    assert ANNA in document.body
