"""Faxes that hold a line and deliver no page cost their sender nothing (R3): for so long a day, and no longer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from charging.call.events import BlackBoxRead
from charging.call.fax import RING_S, UNPAID_HELD_S, UNPAID_PART, Fax, send_s
from charging.call.switch_events import ChannelEnded
from charging.fax.desk import FaxSent
from charging.fax.sending import DIAL_WITHIN_S
from charging.ledger.model import Balance
from charging.service.refusal import Code, Obstacle
from tests.fakes.rig import EURO
from tests.unit.service.conftest import refused
from tests.unit.service.test_fax import PAGE, Office, office

__all__ = ["office"]

MOST_S = 600
DAY_S = 24 * 3600


def bounded(office: Office, most_s: int = MOST_S) -> list[int]:
    """The desk with this bound; what it is told of refusals."""
    told: list[int] = []
    office.at_once = 10
    office.faxes = office.opened()
    office.desk.unpaid_max_s = most_s
    office.desk.unpaid_refused = lambda: told.append(1)
    return told


async def fails(office: Office, key: str, held_s: float, pages: int = 0, dial_status: str = "") -> None:
    """A fax that ends after so long, with so many pages delivered."""
    session = (await office.sent(key)).session
    await office.rig.clock.advance(held_s)
    stamp = office.rig.clock.now().wall_us
    status = "" if dial_status else "FAILED"
    box = BlackBoxRead(True, dial_status, ended_us=stamp, fax_status=status, fax_pages=pages)
    office.rig.switch.records[session] = box
    office.rig.switch.calls.pop(session)
    office.rig.switch.deliver(ChannelEnded(session, f"f-{session}-2", "PJSIP/x", "callee", 16, stamp))
    await office.rig.clock.advance(1)


async def unpaid(office: Office) -> Balance:
    balances = await office.rig.store.balances("anna")
    (found,) = (one for name, one in balances.items() if name.startswith("unpaid:"))
    return found


async def test_r3_who_has_held_lines_unpaid_for_as_long_as_he_may_is_refused_and_told_why(office: Office) -> None:
    told = bounded(office)
    await fails(office, "a", 200)
    assert await unpaid(office) == Balance(-200, 0)
    await fails(office, "b", 101)
    assert await unpaid(office) == Balance(-301, 0)
    prepared = len(office.prepared)
    no = refused(await office.send("c"), Code.NOT_ALLOWED)
    assert no.obstacle is Obstacle.UNPAID_LINE
    assert "for which no page was delivered" in no.message
    assert (len(office.orders), len(office.prepared)) == (2, prepared), "nobody was dialled, no document looked at"
    assert told == [1]
    assert (await office.rig.balance()).available == EURO


async def test_the_next_day_faxes_are_sent_again(office: Office) -> None:
    bounded(office)
    await fails(office, "a", 301)
    refused(await office.send("b"), Code.NOT_ALLOWED)
    await office.rig.clock.advance(DAY_S)
    await office.sent("c")


@pytest.mark.parametrize(("held_s", "sends"), [(MOST_S - UNPAID_HELD_S, True), (MOST_S - UNPAID_HELD_S + 1, False)])
async def test_the_bound_is_exact(office: Office, held_s: int, sends: bool) -> None:
    bounded(office)
    await fails(office, "a", held_s)
    assert isinstance(await office.send("b"), FaxSent) is sends


async def test_faxes_at_once_share_what_may_be_held_unpaid(office: Office) -> None:
    bounded(office)
    await office.sent("a")
    await office.sent("b")
    refused(await office.send("c"), Code.NOT_ALLOWED)


async def test_the_same_key_is_told_what_became_of_its_fax_though_the_bound_is_reached(office: Office) -> None:
    bounded(office)
    await fails(office, "a", MOST_S)
    again = await office.send("a")
    assert isinstance(again, FaxSent)
    assert (again.created, again.view.state) == (False, "failed")


@pytest.mark.parametrize(
    ("pages", "held_s", "counted_s"),
    [(3, send_s(3), 0), (1, send_s(1), 0), (1, send_s(1) + 50, 50), (0, 20, 60), (0, 70, 70)],
)
async def test_delivered_pages_pay_for_the_time_that_they_may_take(
    office: Office, pages: int, held_s: int, counted_s: int
) -> None:
    bounded(office)
    await fails(office, "a", held_s, pages)
    assert await unpaid(office) == Balance(-counted_s, 0)
    assert (await office.rig.balance()).posted == EURO - pages * PAGE
    assert json.loads((await office.rig.store.cdrs())[0].document)["unpaid_s"] == counted_s


@pytest.mark.parametrize(
    ("status", "held_s", "counted_s"),
    [
        *(("BUSY", 62, 16), ("NOANSWER", 68, 17), ("NOANSWER", 52, 15), ("CANCEL", 0.3, 15)),
        *(("ANSWER", 61, 61), ("ANSWER", 50, 60), ("ANSWER", 0.3, 60), ("", 0.3, 60)),
        *(("CHANUNAVAIL", 0.3, 5), ("CONGESTION", 20, 5), ("BUSY", 21, 6), ("CONGESTION", 61, 16)),
    ],
)
async def test_a_machine_that_rings_and_does_not_answer_counts_by_a_quarter(
    office: Office, status: str, held_s: float, counted_s: int
) -> None:
    """Else the same numbers, rung again and again, would keep all others from sending, for nothing. What the trunk does
    not take is none of the customer's, and over at once; a far end that rings for four seconds and then says the same
    is no trunk. Who answers counts a minute at least: carriers bill a first increment, however soon he hangs up."""
    bounded(office)
    await fails(office, "a", held_s, dial_status=status)
    assert await unpaid(office) == Balance(-counted_s, 0)


@pytest.mark.parametrize(("before_s", "counted_s"), [(MOST_S // UNPAID_PART - 1, 5), (MOST_S // UNPAID_PART, 60)])
@pytest.mark.parametrize("status", ["CHANUNAVAIL", "CONGESTION", "BUSY"])
async def test_that_nobody_answered_is_believed_for_a_part_of_the_day(
    office: Office, status: str, before_s: int, counted_s: int
) -> None:
    """Of an answer behind a BYE, or with audio of no use, Asterisk tells nobody; the BYE may say any cause for it. The
    carrier bills its first minute: twelve hours of those were free in a day."""
    bounded(office)
    await fails(office, "a", before_s)
    await fails(office, "b", 0.3, dial_status=status)
    assert await unpaid(office) == Balance(-before_s - counted_s, 0)


@pytest.mark.parametrize(("most_s", "held_s", "counted_s"), [(3600, 901, 900), (3600, 899, 899), (7200, 3000, 1800)])
async def test_one_fax_uses_up_no_more_than_a_quarter_of_what_a_day_has(
    office: Office, most_s: int, held_s: int, counted_s: int
) -> None:
    """The machine may be a stranger's, which has the last page sent again for hours."""
    office.pages = 20
    await office.rig.credit(10 * EURO, key="more")
    bounded(office, most_s)
    await fails(office, "a", held_s)
    assert await unpaid(office) == Balance(-counted_s, 0)


async def test_a_fax_that_the_dialplan_found_too_late_to_dial_held_no_line(office: Office) -> None:
    bounded(office)
    session = (await office.sent("a")).session
    await office.rig.clock.advance(50)
    stamp = office.rig.clock.now().wall_us
    office.rig.switch.records[session] = BlackBoxRead(True, ended_us=stamp, undialled=True)
    office.rig.switch.calls.pop(session)
    office.rig.switch.deliver(ChannelEnded(session, f"f-{session}-2", "Local/x", "callee", 16, stamp))
    await office.rig.clock.advance(1)
    assert await unpaid(office) == Balance(0, 0)


@pytest.mark.parametrize(("beyond_s", "counted_s"), [(-1, -1), (0, 0), (1, 0), (DAY_S, 0)])
async def test_no_more_is_counted_than_the_switch_allows_a_fax_though_it_was_away(
    office: Office, beyond_s: int, counted_s: int
) -> None:
    bounded(office)
    most_s = DIAL_WITHIN_S + RING_S + send_s(office.pages)
    await fails(office, "a", most_s + beyond_s)
    assert await unpaid(office) == Balance(-(most_s + counted_s), 0)


async def test_a_fax_of_which_the_switch_has_no_record_held_no_line_that_anyone_knows_of(office: Office) -> None:
    bounded(office)
    session = (await office.sent("a")).session
    await office.rig.clock.advance(60)
    office.rig.switch.calls.pop(session)
    await office.rig.clock.advance(600)
    assert json.loads((await office.rig.store.cdrs())[0].document)["dialled"], "its channel was seen"
    assert await unpaid(office) == Balance(0, 0)


async def test_a_fax_that_held_a_line_for_longer_than_what_was_left_is_booked_all_the_same(office: Office) -> None:
    bounded(office, UNPAID_HELD_S)
    await fails(office, "a", 650)
    assert await unpaid(office) == Balance(-650, 0)
    assert await office.rig.store.sessions() == []
    assert await office.rig.reserved() == {}


async def test_a_fax_of_a_version_that_counted_none_holds_its_price_alone(office: Office) -> None:
    bounded(office)
    view = await office.sent("a")
    runner = office.rig.registry.open.find(view.session)
    assert runner is not None
    assert isinstance(runner.session, Fax)
    old = replace(runner.session, unpaid_max_s=None, day="")
    assert old.opening(PAGE) == {"credit": PAGE}
