"""What is remembered of a mail that was handed in as a fax, and for how long."""

from __future__ import annotations

import pytest

from charging.clock import MICROSECONDS
from charging.fax.mailed import COLLECTION, KEPT_DAYS, REPLIES_A_DAY, REPLIES_MAX, Answer, MailedFaxes
from charging.fax.sending import session_of
from charging.ledger.memory import MemoryStore
from charging.service.proven_time import confirm_time
from tests.fakes.clock import FakeClock

KEY, KEY_2 = "mail-" + "f" * 32, "mail-" + "f" * 31 + "2"
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
    await mailed.answered(KEY, "anna")
    assert await mailed.hindrance(KEY, ANNA_2) is None
    await mailed.faxed(KEY, ANNA)
    assert await mailed.hindrance(KEY, ANNA_2) is not None


async def test_a_mail_is_answered_so_often_and_no_more(mailed: MailedFaxes) -> None:
    for _ in range(REPLIES_MAX):
        assert await mailed.answer(KEY, "anna") is Answer.REPLY
        await mailed.answered(KEY, "anna")
    assert await mailed.answer(KEY, "anna") is Answer.NONE
    assert await mailed.answer(KEY[:-1] + "1", "anna") is Answer.REPLY


async def test_an_account_gets_so_many_replies_a_day_and_one_that_says_that_it_is_the_last(
    mailed: MailedFaxes, clock: FakeClock
) -> None:
    """Whoever knows a secret address had its customer's mailbox filled with the operator's mails."""
    clock.step_wall(DAY_S - clock.now().wall_us // MICROSECONDS % DAY_S)
    for nth in range(REPLIES_A_DAY):
        assert await mailed.answer(f"mail-{nth:032x}", "anna") is Answer.REPLY
        await mailed.answered(f"mail-{nth:032x}", "anna")
    assert await mailed.answer(KEY_2, "anna") is Answer.NO_MORE_TODAY
    await mailed.answered(KEY_2, "anna")
    assert await mailed.answer(f"mail-{99:032x}", "anna") is Answer.NONE
    assert await mailed.answer(f"mail-{99:032x}", "anna-2") is Answer.REPLY
    clock.step_wall(DAY_S - 1)
    assert await mailed.answer(f"mail-{99:032x}", "anna") is Answer.NONE
    clock.step_wall(1)
    assert await mailed.answer(f"mail-{99:032x}", "anna") is Answer.REPLY


@pytest.mark.parametrize(("seconds", "left"), [(KEPT_DAYS * DAY_S - 1, 3), (KEPT_DAYS * DAY_S, 2)])
async def test_what_is_over_goes_with_the_next(
    mailed: MailedFaxes, store: MemoryStore, clock: FakeClock, seconds: int, left: int
) -> None:
    await mailed.faxed(KEY, ANNA)
    await clock.advance(seconds)
    await confirm_time(store, clock)
    await mailed.answered(KEY[:-1] + "1", "anna")
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
    await mailed.answered(KEY[:-1] + "1", "anna")
    clock.step_wall(-max(0, ahead_s))
    assert await mailed.hindrance(KEY, ANNA_2) is not None


async def test_nothing_in_it_leads_to_a_person(mailed: MailedFaxes, store: MemoryStore) -> None:
    await mailed.faxed(KEY, ANNA)
    await mailed.answered(KEY, "anna")
    documents = await store.documents.list_documents(COLLECTION)
    assert len(documents) == 2
    assert not any("anna" in document.body + document.id for document in documents)
    assert sum(ANNA in document.body for document in documents) == 1
