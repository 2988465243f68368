"""A fax by mail comes from someone who has not logged in: it counts towards the plan's credit a day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.fax.desk import FaxSent
from charging.ledger.model import Balance
from charging.service.refusal import Code, Obstacle
from tests.fakes.rig import EURO, Rig
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]

DAY_S = 24 * 3600


def capped(rig: Rig, cap: int) -> None:
    """The plan lets a day cost so many micro-euro."""
    plans = {name: replace(plan, max_credit_per_day=cap) for name, plan in rig.tariff.plans.items()}
    rig.tariff = replace(rig.tariff, plans=plans)


async def day(office: Office) -> Balance:
    balances = await office.rig.store.balances("anna")
    return next((one for name, one in balances.items() if name.startswith("day:")), Balance())


async def mailed(office: Office, key: str) -> str:
    answer = await office.send(key, by_mail=True)
    assert isinstance(answer, FaxSent), answer
    return answer.view.session


async def test_r14_faxes_by_mail_cost_no_more_in_a_day_than_the_plan_lets_one_cost(office: Office) -> None:
    capped(office.rig, 4 * PAGE)
    await office.ends(await mailed(office, "a"), "SUCCESS", 3)
    assert await day(office) == Balance(-3 * PAGE)
    no = refused(await office.send("b", by_mail=True), Code.NOT_ALLOWED)
    assert no.obstacle is Obstacle.DAY_LIMIT
    assert (len(office.orders), await day(office)) == (1, Balance(-3 * PAGE)), "nobody was dialled, nothing is held"
    assert (await office.rig.balance()).available == EURO - 3 * PAGE
    await office.rig.clock.advance(DAY_S)
    await mailed(office, "c")


async def test_where_not_one_page_is_left_of_the_day_no_document_is_looked_at(office: Office) -> None:
    capped(office.rig, 3 * PAGE)
    await office.ends(await mailed(office, "a"), "SUCCESS", 3)
    assert refused(await office.send("b", by_mail=True), Code.NOT_ALLOWED).obstacle is Obstacle.DAY_LIMIT
    assert len(office.prepared) == 1


@pytest.mark.parametrize(("cap", "sends"), [(3 * PAGE, True), (3 * PAGE - 1, False)])
async def test_the_bound_is_exact_and_pages_that_failed_are_given_back_to_the_day(
    office: Office, cap: int, sends: bool
) -> None:
    capped(office.rig, cap)
    answer = await office.send("a", by_mail=True)
    assert isinstance(answer, FaxSent) is sends
    if isinstance(answer, FaxSent):
        assert await day(office) == Balance(0, 3 * PAGE)
        await office.ends(answer.view.session, "FAILED", 1)
        assert await day(office) == Balance(-PAGE)


async def test_r14_what_a_customer_sends_with_a_login_needs_enough_credit_and_no_more(office: Office) -> None:
    """Strangers who call all day use the day up; they must not keep him from sending his own fax."""
    capped(office.rig, PAGE)
    await office.sent("a")
    assert await day(office) == Balance()


async def test_r14_too_little_credit_is_said_so_whatever_the_day(office: Office) -> None:
    capped(office.rig, PAGE)
    office.pages = EURO // PAGE + 1
    assert refused(await office.send("a", by_mail=True), Code.INSUFFICIENT).obstacle is None
