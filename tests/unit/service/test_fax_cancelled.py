"""A fax that its sender cancels ends between two pages: a machine has a page some seconds before it confirms it."""

from __future__ import annotations

import pytest

from charging.call.fax import BETWEEN_PAGES_S, RING_S, send_s
from charging.errors import ActionRefused
from tests.fakes.rig import EURO
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]


async def cancelled_after(office: Office, pages: int) -> str:
    """A fax of three pages, under way, cancelled when so many are confirmed; its sending channel."""
    view = await office.sent()
    uid = office.rig.switch.calls[view.session].caller_uid
    office.rig.switch.pages_confirmed[uid] = pages
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(60)
    return uid


@pytest.mark.parametrize("pages", [0, 2])
async def test_r3_page_that_is_being_sent_when_it_is_cancelled_is_sent_to_its_end(office: Office, pages: int) -> None:
    uid = await cancelled_after(office, pages)
    assert office.rig.switch.hung_up == []
    office.rig.switch.pages_confirmed[uid] = pages + 1
    await office.rig.clock.advance(2 * BETWEEN_PAGES_S)
    assert uid in office.rig.switch.hung_up


async def test_r3_fax_whose_last_page_is_confirmed_after_it_was_cancelled_is_charged(office: Office) -> None:
    view = await office.sent()
    office.rig.switch.pages_confirmed[office.rig.switch.calls[view.session].caller_uid] = 2
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(5)
    await office.ends(view.session, "SUCCESS", 3)
    await office.rig.clock.advance(5)
    assert (await office.view(view.session)).state == "sent"
    assert (await office.rig.balance()).available == EURO - 3 * PAGE


@pytest.mark.parametrize("pages", [0, 2])
@pytest.mark.parametrize("tells", [True, False], ids=["the switch tells of pages", "it does not"])
async def test_page_that_takes_longer_than_any_is_broken_off(
    office: Office, monkeypatch: pytest.MonkeyPatch, pages: int, tells: bool
) -> None:
    """The line of a machine that never ends one is given back; so it is where the switch has no words for pages."""

    async def refused(_uids: object) -> int:
        raise ActionRefused("FAXSessions: permission denied")

    if not tells:
        monkeypatch.setattr(office.rig.switch, "fax_pages", refused)
    uid = await cancelled_after(office, pages)
    longest_s = RING_S + send_s(pages + 1 if tells else 1)
    await office.rig.clock.advance(longest_s - 65)
    assert office.rig.switch.hung_up == []
    await office.rig.clock.advance(30)
    assert uid in office.rig.switch.hung_up
