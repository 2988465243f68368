"""How many payments an account may begin."""

from __future__ import annotations

import pytest

from charging.ledger.accounts import Language
from charging.service import payments
from charging.service.payments import Outcome, Payment
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop


@pytest.mark.parametrize("others", [payments.BEGUN_MOST, payments.LOOKED_THROUGH])
async def test_payments_of_another_account_whose_ids_begin_alike_keep_nobody_from_buying(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The beginning is short, and who may choose an account's name can have it begin as another's."""
    monkeypatch.setattr(payments, "_beginning", lambda _: "00000000")
    await shop.anna()
    await shop.service.accounts.add("mallory", "light", Language.EN)
    theirs = await shop.service.payments.begin("mallory", 25 * EURO, "mollie")
    assert isinstance(theirs, Payment)
    document = await shop.store.documents.get_document(payments.COLLECTION, theirs.id)
    assert document is not None
    for number in range(others):
        id = f"0000000000{number:022x}"
        body = document.body.replace(theirs.id, id).replace('"open"', '"failed"')
        await shop.store.documents.put_document(payments.COLLECTION, id, body, None)
    begun = [await shop.service.payments.begin("anna", 25 * EURO, "mollie") for _ in range(2)]
    assert all(isinstance(one, Payment) for one in begun)


@pytest.mark.parametrize(("earlier", "begins"), [(payments.BEGUN_MOST - 1, True), (payments.BEGUN_MOST, False)])
async def test_an_account_begins_so_many_payments_in_a_month_at_most(shop: Shop, earlier: int, begins: bool) -> None:
    await shop.anna()
    await begin_and_give_up(shop, earlier)
    assert isinstance(await shop.service.payments.begin("anna", 25 * EURO, "mollie"), Payment) == begins


async def test_payments_of_earlier_months_do_not_count(shop: Shop) -> None:
    """Also where they stand on one page with those of the month."""
    await shop.anna()
    await begin_and_give_up(shop, payments.PAGE)
    await shop.clock.advance(payments.OPEN_DAYS * 86_400)
    await begin_and_give_up(shop, payments.BEGUN_MOST - payments.PAGE // 2)
    assert isinstance(await shop.service.payments.begin("anna", 25 * EURO, "mollie"), Payment)


async def begin_and_give_up(shop: Shop, many: int) -> None:
    for _ in range(many):
        await shop.clock.advance(1)
        payment = await shop.service.payments.begin("anna", 25 * EURO, "mollie")
        assert isinstance(payment, Payment)
        await shop.service.payments.known_by(payment.id, "tr_1", "https://provider.test/1")
        outcome = Outcome("tr_1", is_paid=False, is_over=True, amount=25 * EURO, currency="EUR")
        await shop.service.payments.settle(payment.id, outcome)
    await shop.clock.advance(1)
