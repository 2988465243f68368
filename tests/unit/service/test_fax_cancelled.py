"""Faxes that are ended: those that their senders cancel, between two pages, for a machine has a page before it confirms
it; and those that are behind their pages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from charging.call.fax import BETWEEN_PAGES_S, PAGES_SPARED, RING_S, SEND_PAGE_S, Fax, send_s
from charging.errors import ActionRefused
from charging.fax.sending import DIAL_WITHIN_S
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


async def test_cancelling_again_asks_nothing_and_writes_nothing(office: Office) -> None:
    view = await office.sent()
    office.rig.switch.pages_confirmed[office.rig.switch.calls[view.session].caller_uid] = 0
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(0.1)
    asked = office.rig.switch.asked_alone
    for _ in range(10):
        await office.faxes.cancel("anna", view.session)
        await office.rig.clock.advance(0)
    assert office.rig.switch.asked_alone == asked


async def test_fax_that_was_cancelled_stays_so_if_the_daemon_is_started_again(office: Office) -> None:
    """Its customer was told so, and would pay for the pages that follow."""
    view = await office.sent()
    uid = office.rig.switch.calls[view.session].caller_uid
    office.rig.switch.pages_confirmed[uid] = 0
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(0)
    await office.rig.kill_daemon()
    await office.rig.start_daemon()
    await office.rig.clock.advance(5)
    assert office.rig.switch.hung_up == []
    office.rig.switch.pages_confirmed[uid] = 1
    await office.rig.clock.advance(2 * BETWEEN_PAGES_S)
    assert uid in office.rig.switch.hung_up


async def test_r3_how_many_are_confirmed_is_asked_anew_when_it_is_cancelled(office: Office) -> None:
    """What was known last is up to a look old: he may have them all, and be none behind."""
    office.pages = 50
    await office.rig.credit(10 * EURO, key="more")
    view = await office.sent()
    uid = office.rig.switch.calls[view.session].caller_uid
    office.rig.switch.pages_confirmed[uid] = 0
    await office.rig.clock.advance(longest_s(0) - 1)
    office.rig.switch.pages_confirmed[uid] = 9
    await office.rig.clock.advance(1)
    await office.faxes.cancel("anna", view.session)
    await office.rig.clock.advance(2 * BETWEEN_PAGES_S)
    assert office.rig.switch.hung_up == []


@pytest.mark.parametrize("tells", [True, False], ids=["the switch tells of pages", "it does not"])
async def test_cancelled_page_that_takes_longer_than_any_is_broken_off(
    office: Office, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    """The line of a machine that never ends one is given back; so it is where the switch has no words for pages."""
    if not tells:
        monkeypatch.setattr(office.rig.switch, "fax_pages", refused)
    uid = await cancelled_after(office, 0)
    await office.rig.clock.advance(longest_s(0) - 60 - 2)
    assert office.rig.switch.hung_up == []
    await office.rig.clock.advance(3)
    assert uid in office.rig.switch.hung_up


@pytest.mark.parametrize("pages", [0, 1])
async def test_fax_that_is_behind_its_pages_is_hung_up(office: Office, pages: int) -> None:
    """Its first page could else take the time of fifty, of which none is paid."""
    office.pages = 50
    await office.rig.credit(10 * EURO, key="more")
    view = await office.sent()
    uid = office.rig.switch.calls[view.session].caller_uid
    office.rig.switch.pages_confirmed[uid] = pages
    await office.rig.clock.advance(longest_s(pages) - 1)
    assert office.rig.switch.hung_up == []
    await office.rig.clock.advance(Fax.LOOK_S + 1)
    assert uid in office.rig.switch.hung_up


async def test_fax_that_keeps_pace_with_its_pages_goes_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()

    async def told(uids: Sequence[str]) -> int:
        asked.append(uids)
        return office.rig.switch.pages_confirmed[uids[0]]

    monkeypatch.setattr(office.rig.switch, "fax_pages", told)
    office.pages = 50
    await office.rig.credit(10 * EURO, key="more")
    view = await office.sent()
    uid = office.rig.switch.calls[view.session].caller_uid
    for pages in range(10):
        office.rig.switch.pages_confirmed[uid] = pages
        await office.rig.clock.advance(SEND_PAGE_S)
    assert office.rig.switch.hung_up == []
    assert 0 < len(asked) <= 10, "it is asked about where it may be behind, and no sooner"


async def test_fax_of_a_switch_that_knows_no_pages_is_asked_about_at_each_look_alone(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office.rig.switch, "fax_pages", refused)
    office.pages = 20
    await office.rig.credit(10 * EURO, key="more")
    await office.sent()
    await office.rig.clock.advance(longest_s(0) + 10 * Fax.LOOK_S)
    assert office.rig.switch.hung_up == []
    assert 0 < len(office.rig.heard("switch_failed")) <= 11


async def refused(_uids: object) -> int:
    raise ActionRefused("FAXSessions: permission denied")


def longest_s(pages: int) -> int:
    """So long after it was ordered a fax with so many confirmed pages is behind."""
    return DIAL_WITHIN_S + RING_S + send_s(pages + 1 + PAGES_SPARED)
