"""A payment that could not be credited by itself: a person decides, and no later answer of the provider's does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.ledger.model import CREDIT, Balance
from charging.service.payments import KEPT_DAYS, LOOK_MOST_S, OPEN_DAYS, PAID_BACK, Outcome, Payment, State
from charging.service.proven_time import COLLECTION, NOTE, ProvenTime
from charging.service.refusal import Code
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused

PAID = Outcome("tr_1", is_paid=True, is_over=True, amount=25 * EURO, currency="EUR")


async def stuck(shop: Shop) -> Payment:
    """Anna's, whose provider could not be asked for too long."""
    await shop.anna()
    payments = shop.service.payments
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    await shop.clock.advance((OPEN_DAYS + 1) * 86_400)
    found = await payments.not_now(begun.id)
    assert isinstance(found, Payment)
    assert found.state is State.STUCK
    return found


async def told_again(shop: Shop, payment: Payment) -> tuple[State, int]:
    """What becomes of it as someone who knows its hook says again and again that it was paid, and of the credit."""
    for _ in range(2):
        await shop.service.payments.settle(payment.id, PAID)
    after = await shop.service.payments.get(payment.id)
    assert isinstance(after, Payment)
    return after.state, (await shop.store.balances("anna")).get(CREDIT, Balance()).posted


@pytest.mark.parametrize("is_asked", [True, False])
async def test_no_payment_is_given_up_by_a_clock_that_is_wrongly_ahead(shop: Shop, is_asked: bool) -> None:
    """Nor can the provider be asked by such a clock: no certificate is good."""
    await shop.anna()
    time = ProvenTime(shop.store, shop.clock)
    assert await time.believed()
    payments = shop.service.payments
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    unmade = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    assert isinstance(unmade, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    shop.clock.step_wall((KEPT_DAYS + 1) * 86_400)
    assert not await time.believed()
    if is_asked:
        await payments.settle(begun.id, replace(PAID, is_paid=False, is_over=False))
    await payments.not_now(begun.id)
    await payments.not_now(unmade.id)
    for one in (begun, unmade):
        after = await payments.get(one.id)
        assert isinstance(after, Payment)
        assert after.state is State.OPEN
    shop.clock.step_wall(-(KEPT_DAYS + 1) * 86_400)
    assert await told_again(shop, begun) == (State.CREDITED, 25 * EURO)


async def test_what_is_begun_while_the_clock_is_behind_is_not_old_once_it_is_right(shop: Shop) -> None:
    await shop.anna()
    assert await ProvenTime(shop.store, shop.clock).believed()
    payments = shop.service.payments
    shop.clock.step_wall(-(KEPT_DAYS + 1) * 86_400)
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    shop.clock.step_wall((KEPT_DAYS + 1) * 86_400)
    await payments.settle(begun.id, replace(PAID, is_paid=False, is_over=False))
    await payments.not_now(begun.id)
    assert await told_again(shop, begun) == (State.CREDITED, 25 * EURO)


async def test_what_was_put_off_by_a_clock_that_was_ahead_is_asked_about_once_it_is_right(shop: Shop) -> None:
    """That clock is not right for the provider's certificate either, so nothing was heard of the payment meanwhile."""
    await shop.anna()
    time = ProvenTime(shop.store, shop.clock)
    assert await time.believed()
    payments = shop.service.payments
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    shop.clock.step_wall(400 * 86_400)
    await payments.not_now(begun.id)
    shop.clock.step_wall(-400 * 86_400)
    await shop.clock.advance(LOOK_MOST_S)
    assert [one.id for one in await payments.due()] == [begun.id]


async def test_r22_what_was_paid_is_credited_though_the_note_of_the_time_cannot_be_read(shop: Shop) -> None:
    await shop.anna()
    await shop.store.documents.put_document(COLLECTION, NOTE, "{")
    begun = await shop.service.payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await shop.service.payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    await shop.service.payments.not_now(begun.id)
    assert await told_again(shop, begun) == (State.CREDITED, 25 * EURO)


async def test_what_is_stuck_is_not_credited_by_itself(shop: Shop) -> None:
    assert await told_again(shop, await stuck(shop)) == (State.STUCK, 0)


@pytest.mark.parametrize(("is_corrected", "state"), [(True, State.STUCK), (False, State.CREDITED)])
async def test_what_a_person_has_credited_is_not_credited_again_by_who_knows_the_hook(
    shop: Shop, is_corrected: bool, state: State
) -> None:
    """By a correction, or under the payment's own id, as the documentation says."""
    payment = await stuck(shop)
    if is_corrected:
        await shop.service.money.correct("anna", 25 * EURO, "stuck payment", "by-hand")
    else:
        await shop.service.money.top_up("anna", 25 * EURO, f"{payment.provider}-{payment.reference}")
    assert await told_again(shop, payment) == (state, 25 * EURO)


@pytest.mark.parametrize(("is_credited", "state", "why"), [(False, State.STUCK, PAID_BACK), (True, State.CREDITED, "")])
async def test_r21_a_payment_of_which_is_only_heard_that_it_was_taken_back_is_not_taken_for_unpaid(
    shop: Shop, is_credited: bool, state: State, why: str
) -> None:
    """Whether it was credited before, the books say: the daemon may have been killed before it noted so."""
    await shop.anna()
    payments = shop.service.payments
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    if is_credited:
        await shop.service.money.top_up("anna", 25 * EURO, "mollie-tr_1")
    after = await payments.settle(begun.id, replace(PAID, is_paid=False, taken_back=True))
    assert isinstance(after, Payment)
    assert (after.state, after.why, after.taken_back) == (state, why, True)


async def test_what_nobody_could_ask_about_is_over_once_the_provider_says_that_it_was_never_paid(shop: Shop) -> None:
    payment = await stuck(shop)
    after = await shop.service.payments.settle(payment.id, replace(PAID, is_paid=False))
    assert isinstance(after, Payment)
    assert (after.state, after.why) == (State.FAILED, "")


async def test_the_answer_about_another_payment_of_the_provider_credits_nothing(shop: Shop) -> None:
    """Whoever knows a payment's hook could have it asked about one that was paid for someone else."""
    await shop.anna()
    payments = shop.service.payments
    begun = await payments.begin("anna", 25 * EURO, "mollie")
    assert isinstance(begun, Payment)
    await payments.known_by(begun.id, "tr_1", "https://provider.test/1")
    refused(await payments.settle(begun.id, replace(PAID, reference="tr_2")), Code.NOT_ALLOWED)
    assert (await shop.store.balances("anna")).get(CREDIT, Balance()) == Balance()
