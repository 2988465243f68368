"""Who sends to a webhook, how many accounts at a time, and how long it is left alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from charging.clock import MICROSECONDS
from charging.errors import LedgerCorrupt
from charging.service.refusal import Code, Refused
from charging.service.webhooks import BEHIND_S, FAILURES, TURN_S, Endpoint, Letter, Report, Webhooks, behind_us
from charging.web.control import control_app
from charging.web.routes.webhooks import WebhookOut
from charging.web.signed_post import wanted_s
from charging.web.webhook_lanes import LANE_EVENTS_MAX
from charging.web.webhooks import (
    LANES,
    PAUSE_S,
    RENEW_S,
)
from tests.unit.service.conftest import Shop, refused
from tests.unit.web.webhook_desk import (
    TOP_UPS,
    Desk,
    Program,
    Slow,
    desk,
    pay,
    program,
    sending,
    several,
    two,
)

__all__ = ["desk", "program", "two"]


async def test_of_two_daemons_one_sends_and_the_other_takes_over_when_it_has_died(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    other = Desk(shop, "two")
    async with sending(desk, program), sending(other, program):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(3 * TURN_S)
        told = len(program.got)
        assert len(set(program.got)) == told == 1
        assert other.seen[-1] == (None, None)
    async with sending(other, program):
        await pay(shop, "anna", "a-2")
        await shop.clock.advance(2 * TURN_S)
    assert len(set(program.got)) == len(program.got) == 2


@pytest.mark.parametrize("apart_s", [-86_400, 0, 86_400])
async def test_whoever_waits_takes_the_turn_once_nothing_was_renewed_however_far_the_clocks_are_apart(
    shop: Shop, desk: Desk, two: None, apart_s: int
) -> None:
    other = Desk(shop, "two").book

    async def is_taken_by_the_other() -> bool:
        shop.clock.step_wall(apart_s)
        answer = await other.take("site")
        shop.clock.step_wall(-apart_s)
        return isinstance(answer, Endpoint)

    assert not await is_taken_by_the_other(), "it was not seen before"
    for number in range(5):
        await shop.clock.advance(TURN_S - 1)
        assert isinstance(await desk.book.move("site", f"{number + 1}", Report(1)), Endpoint)
        assert not await is_taken_by_the_other()
    await shop.clock.advance(TURN_S - 1)
    assert not await is_taken_by_the_other()
    await shop.clock.advance(1)
    assert await is_taken_by_the_other()
    assert isinstance(await desk.book.move("site", "9", Report(1)), Refused)


async def test_several_accounts_are_told_at_a_time_and_each_one_after_the_other(shop: Shop, desk: Desk) -> None:
    slow = Slow()
    names = await several(shop, desk, LANES + 2, each=2)
    async with sending(desk, slow, TOP_UPS):
        assert slow.got == names[:LANES]
        slow.answer("a03")
        await shop.clock.rest()
        assert slow.got[LANES:] == [names[LANES]], "each account's first comes before one's second"
        for _ in range(len(names)):
            for account, _, _ in list(slow.waiting):
                slow.answer(account)
            await shop.clock.advance(2)
    assert sorted(slow.got) == sorted([*names, *names])


async def test_one_accounts_many_events_hold_up_no_other_account(shop: Shop, desk: Desk) -> None:
    """As callers do who ring one account's numbers and give up, all the time."""
    slow = Slow()
    names = await several(shop, desk, 2)
    async with sending(desk, slow, TOP_UPS):
        slow.answer(names[1])
        for number in range(10 * LANE_EVENTS_MAX):
            await pay(shop, names[0], f"more-{number}")
        await pay(shop, names[1], "later")
        await shop.clock.advance(10)
        assert slow.got == [*names, names[1]], "the first account's first is not answered yet"
        slow.answer(names[1])
        while slow.waiting:
            slow.answer(names[0])
            await shop.clock.rest()
        await shop.clock.advance(2 * RENEW_S)
        assert slow.waiting == []
        told = slow.ids(names[0])
        assert len(set(told)) == len(told) == 10 * LANE_EVENTS_MAX + 1, "each once"
        assert told == sorted(told)
        assert desk.behind_s <= RENEW_S + 1


async def test_while_one_account_is_behind_a_sender_that_is_killed_leaves_none_of_its_events_out(
    shop: Shop, desk: Desk
) -> None:
    slow = Slow()
    names = await several(shop, desk, 2)
    for number in range(3 * LANE_EVENTS_MAX):
        await pay(shop, names[0], f"more-{number}")
    await pay(shop, names[1], "later")
    async with sending(desk, slow, TOP_UPS):
        for _ in range(2):
            slow.answer(names[1])
            await shop.clock.advance(2)
        for _ in range(LANE_EVENTS_MAX + 5):
            slow.answer(names[0])
            await shop.clock.rest()
        await shop.clock.advance(2 * RENEW_S)
    assert len(slow.ids(names[1])) == 2
    program = Program()
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
    told = program.of(names[0])
    assert told[-1] == max(told)
    assert told == sorted(told)
    left = set(told) - set(slow.ids(names[0])[:-1])
    assert len(left) == 3 * LANE_EVENTS_MAX + 1 - (LANE_EVENTS_MAX + 5)


async def test_an_account_whose_record_is_damaged_is_told_its_events_once(
    shop: Shop, desk: Desk, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that are read again: else all were begun again, and told to all, without an end."""
    (name,) = await several(shop, desk, 1, each=LANE_EVENTS_MAX + 5)

    async def damaged(_account: str) -> None:
        raise LedgerCorrupt("no record")

    monkeypatch.setattr(shop.store.directory, "account", damaged)
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(3 * PAUSE_S)
    assert len(set(program.of(name))) == len(program.of(name)) == LANE_EVENTS_MAX + 5


async def test_an_accounts_many_letters_hold_up_no_other_account(shop: Shop, desk: Desk) -> None:
    """As after `charging webhook resend`: they are tried one after the other, beside what happens to others."""
    refusing, slow = Program(), Slow()
    refusing.answer = lambda _account: 400
    names = await several(shop, desk, 1, each=9)
    await shop.service.accounts.add("bert", "light")
    async with sending(desk, refusing, TOP_UPS):
        await shop.clock.advance(4)
    assert len(await desk.letters()) == 9
    await desk.book.resend("site", "", 100)
    async with sending(desk, slow, TOP_UPS):
        for number in range(3):
            await pay(shop, "bert", f"b-{number}")
            await shop.clock.advance(6)
            assert slow.got == [*names, *["bert"] * (number + 1)], "the first letter is not answered yet"
            slow.answer("bert")
        for _ in range(9):
            slow.answer(names[0])
            await shop.clock.rest()
    told = slow.ids(names[0])
    assert len(told) == 9
    assert told == sorted(told)
    assert await desk.letters() == []


async def test_one_that_hangs_is_told_again_and_nothing_is_left_out_if_its_sender_is_killed(
    shop: Shop, desk: Desk
) -> None:
    slow = Slow()
    await several(shop, desk, 3, each=2)
    async with sending(desk, slow, TOP_UPS):
        for name in ("a01", "a02", "a02"):
            slow.answer(name)
            await shop.clock.rest()
        await shop.clock.advance(2 * TURN_S)
    endpoint = await desk.book.state("site")
    assert isinstance(endpoint, Endpoint)
    program = Program()
    async with sending(desk, program, TOP_UPS):
        await shop.clock.advance(5)
    for name in ("a00", "a01", "a02"):
        assert len(program.of(name)) == 2, "all again"
        assert program.of(name) == sorted(program.of(name))


async def test_while_the_receiver_is_away_one_is_tried_for_all_and_once_it_is_back_the_rest_is_told(
    shop: Shop, desk: Desk
) -> None:
    slow = Slow()
    names = await several(shop, desk, LANES)
    async with sending(desk, slow, TOP_UPS):
        for name in names:
            slow.answer(name, 503)
        for seconds in (5, 10, 20):
            await shop.clock.advance(seconds)
            assert [account for account, _, _ in slow.waiting] == names[:1]
            slow.answer(names[0], 503)
        await shop.clock.advance(40)
        before = shop.clock.now()
        for name in names:
            assert [account for account, _, _ in slow.waiting] == [name]
            slow.answer(name)
            await shop.clock.rest()
        assert shop.clock.now() == before, "nobody waits any more"
    assert slow.got == [*names, *names[:1] * 4, *names[1:]]
    assert await desk.letters() == []


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        *[("", 0), ("0", 0), ("7", 7), ("3600", 3600), ("3601", 3600), ("9" * 5000, 3600)],
        *[("-7", 0), ("1.5", 0), ("soon", 0), ("²", 0)],
        *[("Fri, 20 Nov 2026 12:00:30 GMT", 30), ("Fri, 20 Nov 2026 11:00:00 GMT", 0)],
        *[("Sat, 01 Jan 0001 00:00:00 +2359", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600)],
    ],
)
def test_how_long_a_receiver_asks_to_be_left_alone(retry_after: str, seconds: int) -> None:
    now_s = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
    assert wanted_s(retry_after, now_s) == seconds


async def test_a_receiver_that_asks_for_time_is_left_alone_for_it(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.retry_after = "600"
    for status in (503, 400):
        before = len(program.got)
        program.answer = lambda _account, status=status: status  # type: ignore[misc]
        async with sending(desk, program, TOP_UPS):
            await pay(shop, "anna", f"a-{status}")
            await shop.clock.advance(595)
            assert len(program.got) - before == 1
            program.answer = lambda _account: 200
            await shop.clock.advance(15)
            assert len(program.got) - before == 2


async def test_an_account_over_which_a_receiver_asks_for_time_holds_up_the_others_for_an_hour_at_most(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    """A program's own 503 for one customer, again and again."""
    program.retry_after = "3600"
    program.answer = lambda account: 503 if account == "anna" else 200
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(3_590)
        assert program.of("bert") == [], "it is the receiver that has asked"
        await shop.clock.advance(30)
        assert len(program.of("bert")) == 1
        (letter,) = await desk.letters()
        assert letter.account == "anna"
        assert letter.next_us is not None
        assert letter.next_us - shop.clock.now().wall_us > 3_500 * MICROSECONDS, "as it has asked"
        program.answer = lambda _account: 200
        await shop.clock.advance(3_600)
        assert await desk.letters() == []


async def test_of_the_lanes_that_find_the_place_old_one_writes_it(
    shop: Shop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, moves, move = Slow(), list[str](), desk.writes.move
    names = await several(shop, desk, LANES)

    async def dawdles(name: str, place: str, *report: Any, **more: Any) -> Any:
        moves.append(place)
        for _ in range(100):  # so long that each lane has had its answer meanwhile
            await asyncio.sleep(0)
        return await move(name, place, *report, **more)

    monkeypatch.setattr(desk.writes, "move", dawdles)
    async with sending(desk, slow, TOP_UPS):
        shop.clock.pass_unseen(RENEW_S + 1)
        moves.clear()
        for name in names:
            slow.answer(name)
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert len(moves) == 2, "a lane, and at the end of all"


async def test_one_that_has_left_the_settings_is_shown_sent_nothing_and_can_be_dropped(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda _account: 400
    async with sending(desk, program, TOP_UPS):
        for number in range(3):
            await pay(shop, "anna", f"a-{number}")
        await shop.clock.advance(10)
    refused(await desk.book.forget("site", ""), Code.CONFLICT)
    assert await desk.book.former() == []
    later = Webhooks(shop.store, shop.clock, ["another"])
    assert await later.former() == ["site"]
    assert isinstance(await later.state("site"), Endpoint)
    assert "charging webhook forget site" in refused(await later.resend("site", "", 100), Code.CONFLICT).advice
    first, *_ = await desk.letters()
    assert isinstance(await later.drop("site", first.event), Letter)
    assert await later.forget("site", "") == (2, None)
    assert await desk.letters() == []
    assert await later.former() == []
    refused(await later.forget("site", ""), Code.NOT_FOUND)
    refused(await later.resend("site", "", 100), Code.NOT_FOUND)
    refused(await later.drop("site", first.event), Code.NOT_FOUND)


async def test_while_the_receiver_is_away_it_is_told_since_when_it_is_behind(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    async def seen() -> tuple[int | None, int]:
        endpoint = await desk.book.state("site")
        assert isinstance(endpoint, Endpoint)
        return await behind_us(desk.book, endpoint), endpoint.begins.place

    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(BEHIND_S + 5)
        assert (await seen())[0] is None
        program.answer = lambda _account: 503
        began_us = shop.clock.now().wall_us
        await pay(shop, "anna", "a-2")
        await shop.clock.advance(BEHIND_S - 2)
        assert (await seen())[0] is None, "it has just happened"
        await shop.clock.advance(30)
        since_us, _ = await seen()
        assert since_us is not None
        assert 0 <= since_us - began_us <= MICROSECONDS
        assert await desk.letters() == []
        program.answer = lambda _account: 200
        await shop.clock.advance(60)
        assert (await seen())[0] is None


async def shown(desk: Desk) -> WebhookOut:
    """As `charging webhook list` and the console have it."""
    app = control_app(desk.shop.service, hooks=desk.book)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control") as client:
        return WebhookOut(**(await client.get("/webhooks")).json()["items"][0])


async def test_while_the_receiver_is_away_it_is_said_why_and_when_the_next_try_is(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    async with sending(desk, program, TOP_UPS):
        program.answer = lambda _account: 503
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(2)
        seen = await shown(desk)
        assert seen.why == "it answered 503"
        assert seen.next is not None
        tries = len(program.got)
        await shop.clock.advance(-(shop.clock.now().wall_us - us(seen.next)) // MICROSECONDS + 1)
        assert len(program.got) == tries + 1, "it was tried when it was said"
        program.answer = lambda _account: 200
        await shop.clock.advance(60)
        seen = await shown(desk)
        assert (seen.why, seen.next) == ("", None)


async def test_of_letters_the_reason_and_the_next_try_of_the_soonest_are_said(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    program.answer = lambda account: 400 if account == "anna" else 200
    async with sending(desk, program, TOP_UPS):
        await pay(shop, "anna", "a-1")
        await pay(shop, "bert", "b-1")
        await shop.clock.advance(3)
        (letter,) = await desk.letters()
        seen = await shown(desk)
        assert (seen.waiting, seen.why) == (1, "it answered 400")
        assert seen.next is not None
        assert letter.next_us is not None
        assert us(seen.next) == letter.next_us // 1000 * 1000


async def test_another_daemon_says_why_too(shop: Shop, desk: Desk, program: Program, two: None) -> None:
    async with sending(desk, program, TOP_UPS):
        program.answer = lambda _account: 503
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(2)
    assert (await shown(Desk(shop, "two"))).why == "it answered 503"
    program.answer = lambda _account: 200
    taking_over = Desk(shop, "two")
    async with sending(taking_over, program, TOP_UPS):
        await shop.clock.advance(2 * TURN_S)
    assert (await shown(taking_over)).why == ""
    await Webhooks(shop.store, shop.clock, [], "two").forget("site", "")
    assert await shop.store.documents.get_document(FAILURES, "site") is None


async def test_what_is_said_of_one_that_is_forgotten_is_forgotten(
    shop: Shop, desk: Desk, program: Program, two: None
) -> None:
    async with sending(desk, program, TOP_UPS):
        program.answer = lambda _account: 503
        await pay(shop, "anna", "a-1")
        await shop.clock.advance(2)
    await Webhooks(shop.store, shop.clock, [], "one").forget("site", "")
    assert await shop.store.documents.get_document(FAILURES, "site") is None


def us(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000) * 1000
