"""R9: a fax is dialled once at most, also where the switch that was ordered to dial it can tell nothing of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from charging.call.model import Policy
from charging.engine.recovery import AUDIT_S
from charging.errors import LedgerUnavailable, LinkDown, SwitchError
from charging.fax.desk import FaxSent
from charging.pricing.rate import Step
from charging.service.refusal import Code
from charging.tariff.tariff import Price, RateTable
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, make_rig, make_tariff
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]


async def _was_dialled_once_for_nothing(office: Office) -> None:
    """No page was confirmed, and to ask again dials nothing."""
    assert await office.rig.reserved() == {}
    assert (await office.rig.balance()).posted == EURO
    office.trouble = None
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, len(office.orders)) == (False, 1)


@pytest.mark.parametrize("trouble", [LinkDown(), None], ids=["in doubt", "taken"])
@pytest.mark.parametrize("stands_by", [False, True], ids=["leads", "takes over"])
async def test_r9_fax_that_may_have_died_with_the_switch_is_not_dialled_again(
    office: Office, trouble: SwitchError | None, stands_by: bool
) -> None:
    """Asterisk dies after it was ordered to dial: that there is no record of it says nothing."""
    registry, office.trouble = office.rig.registry, trouble
    await office.send()
    office.rig.switch.calls.clear()
    if stands_by:
        await office.rig.recovery.stand_by()
    await office.rig.recovery.reconcile(restarted=True)
    if stands_by:
        await office.rig.recovery.lead(registry.epoch)
    await office.rig.clock.advance(120)
    await _was_dialled_once_for_nothing(office)


async def test_r9_fax_that_the_switch_took_is_not_dialled_again_where_its_record_is_lost(office: Office) -> None:
    await office.sent()
    office.rig.switch.calls.clear()
    await office.rig.clock.advance(120)
    assert await office.rig.reserved() == {}
    again = await office.send()
    assert isinstance(again, FaxSent)
    assert (again.created, len(office.orders)) == (False, 1)


@pytest.mark.parametrize("trouble", [LinkDown(), None], ids=["in doubt", "taken"])
async def test_r9_fax_that_may_have_died_with_switch_and_daemon_is_not_dialled_again(
    office: Office, trouble: SwitchError | None
) -> None:
    """Both die after the order: the next daemon has seen no restart, but the fax says under which start it was."""
    office.trouble = trouble
    await office.send()
    await office.rig.kill_daemon()
    office.rig.switch.calls.clear()
    office.rig.switch.restart()
    await office.rig.start_daemon()
    office.faxes = office.opened()
    await office.rig.clock.advance(120)
    await _was_dialled_once_for_nothing(office)


@pytest.mark.parametrize("later_s", range(8))
async def test_r3_fax_that_a_fail_over_has_lost_is_not_opened_again_while_it_is_looked_after(
    office: Office, later_s: int
) -> None:
    """What looks after the lost one would find that nobody was dialled, and close the new one uncharged."""
    store = office.rig.store
    assert isinstance(store, FaultyStore)
    store.remember()
    store.lose_reservation = True
    with pytest.raises(LedgerUnavailable):
        await office.send()
    await office.rig.clock.advance(AUDIT_S)
    assert office.rig.registry.open.faxes(), "found in the ledger"
    store.fail_over()
    await office.rig.clock.advance(later_s)
    while not isinstance(answer := await office.send(), FaxSent):
        refused(answer, Code.UNAVAILABLE)
        assert office.orders == []
        await office.rig.clock.advance(1)
    await office.rig.clock.advance(60)
    await office.ends(answer.view.session, "SUCCESS", 3)
    await office.rig.clock.advance(10)
    assert len(office.orders) == 1
    assert (await office.rig.balance()).posted == EURO - 3 * PAGE
    assert await office.rig.reserved() == {}


@pytest.mark.parametrize("is_over", [False, True], ids=["under way", "over"])
async def test_r3_fax_that_a_fail_over_has_lost_after_it_was_dialled_is_not_dialled_again(is_over: bool) -> None:
    """The same key is asked again: it was delivered twice, and paid once."""
    tables = {"table": RateTable("table", {"nl_mobile": Price((Step(0, 60_000, 60, 1),), fax_page=PAGE)})}
    store = FaultyStore(random.Random(1))
    tariff = replace(make_tariff(), tables=tables)
    async with make_rig(Policy(short_poll_s=1), tariff, store=store) as rig:
        await rig.subscriber(credit=EURO)
        office = Office(rig)
        store.remember()
        session = (await office.sent()).session
        await rig.clock.advance(1)
        await rig.recovery.stand_by()  # the lease was lost with the rest
        store.fail_over()
        if is_over:
            await office.ends(session, "SUCCESS", 3)
        assert (await office.sent()).session == session
        assert len(office.orders) == 1
        await rig.clock.advance(2)
        if not is_over:
            await office.ends(session, "SUCCESS", 3)
        await rig.clock.advance(60)
        assert (await rig.balance()).posted == EURO - 3 * PAGE
        assert await rig.reserved() == {}
